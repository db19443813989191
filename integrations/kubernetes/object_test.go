package kubernetes_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

const objectKind = "kubernetes.object"

// settings is one ConfigMap in a namespace of its own.
type settings struct {
	*world
	recorder driver.Recorder
}

func newSettings(t *testing.T) *settings {
	t.Helper()
	w := newWorld(t)
	w.target.Path = "v1/configmaps/" + w.namespace + "/settings"
	return &settings{world: w, recorder: recorderOf(t, systemOf(w.plane.Kubeconfig))}
}

func recorderOf(t *testing.T, cluster driver.System) driver.Recorder {
	t.Helper()
	set, err := driver.Open(t.Context(), []driver.System{cluster})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, set.Close()) })
	recorder, err := set.Recorder(objectKind, system)
	require.NoError(t, err)
	return recorder
}

func (s *settings) inverse() driver.Inverse {
	s.t.Helper()
	inverse, err := connect(s.t, s.plane.Kubeconfig).Inverse(objectKind, system)
	require.NoError(s.t, err)
	return inverse
}

// set makes the ConfigMap hold exactly this.
func (s *settings) set(data map[string]string) {
	s.t.Helper()
	api := s.admin.CoreV1().ConfigMaps(s.namespace)
	wanted := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings"}, Data: data}
	if _, err := api.Update(s.t.Context(), wanted, metav1.UpdateOptions{}); err == nil {
		return
	}
	_, err := api.Create(s.t.Context(), wanted, metav1.CreateOptions{})
	require.NoError(s.t, err)
}

// release sets and records, in a second of its own.
func (s *settings) release(data map[string]string) incident.State {
	s.t.Helper()
	s.clock(time.Now().Truncate(time.Second).Add(time.Second))
	s.set(data)
	return s.record()
}

func (s *settings) record() incident.State {
	s.t.Helper()
	state, err := s.recorder.Record(s.t.Context(), s.target)
	require.NoError(s.t, err)
	return state
}

func (s *settings) data() map[string]string {
	s.t.Helper()
	live, err := s.admin.CoreV1().ConfigMaps(s.namespace).Get(s.t.Context(), "settings", metav1.GetOptions{})
	require.NoError(s.t, err)
	return live.Data
}

func (s *settings) planned(request driver.PlanRequest) driver.Planned {
	s.t.Helper()
	request.Target = s.target
	planned, err := s.inverse().Plan(s.t.Context(), request)
	require.NoError(s.t, err)
	return planned
}

func (s *settings) action(planned driver.Planned) incident.Action {
	action := s.world.action(planned)
	action.Kind = objectKind
	return action
}

func TestObjectHistory(t *testing.T) {
	t.Parallel()
	s := newSettings(t)
	good, bad := map[string]string{"mode": "safe", "limit": "10"}, map[string]string{"mode": "fast", "extra": "hunter2"}
	s.set(good)
	first := s.record()
	require.Equal(t, "1", first.Revision)
	require.Equal(t, first, s.record(), "recording twice is recording once")
	require.Equal(t, "2", s.release(bad).Revision)
	require.Equal(t, "3", s.release(good).Revision, "a state that comes back gets a number more")
	s.clock(time.Now().Truncate(time.Second).Add(time.Second))
	s.set(bad) // Nobody records it.

	source, err := connect(t, s.plane.Kubeconfig).Source(objectKind, system)
	require.NoError(t, err)
	found, err := source.Changes(t.Context(), driver.ChangeQuery{Service: "shop", Target: s.target, Since: time.Now().Add(-time.Hour), Until: time.Now()})
	require.NoError(t, err)
	require.Len(t, found, 4)
	last := found[3]
	require.Equal(t, incident.ChangeConfig, last.Kind)
	require.Equal(t, "captured revision 3", last.From)
	require.Equal(t, "captured revision 4", last.To, "the content was captured before")
	require.Equal(t, "data.extra added; data.limit removed; data.mode changed", last.Summary)
	require.Equal(t, incident.StateAbsent, found[0].From)
	ids := map[string]bool{}
	for _, change := range found {
		ids[change.ID] = true
		require.NotContains(t, change.Summary, "hunter2")
	}
	require.Len(t, ids, 4)

	planned := s.planned(driver.PlanRequest{Before: last.At})
	require.False(t, planned.Blocked(), "%+v", planned.Preflight)
	require.Equal(t, first.Digest, planned.To.Digest)
	require.Equal(t, "3", planned.To.Revision)
	require.Equal(t, planned.To, s.planned(driver.PlanRequest{Revision: "1"}).To, "a number that a state had before names it still")
	require.True(t, s.planned(driver.PlanRequest{Before: found[0].At}).Blocked(), "nothing was captured before the first")

	action := s.action(planned)
	out, err := execute(t.Context(), s.inverse(), action, "there")
	require.NoError(t, err)
	require.True(t, out.Applied)
	require.Equal(t, good, s.data(), "exactly the captured content, with nothing of the bad one left")
	_, err = execute(t.Context(), s.inverse(), action.Swapped(), "back")
	require.NoError(t, err)
	require.Equal(t, bad, s.data())
}

// TestWhatNobodyRecordedHasAWayBack leaves a state that only Apply captures.
func TestWhatNobodyRecordedHasAWayBack(t *testing.T) {
	t.Parallel()
	s := newSettings(t)
	s.set(map[string]string{"mode": "safe"})
	s.record()
	s.set(map[string]string{"mode": "fast"})
	planned := s.planned(driver.PlanRequest{Revision: "1"})
	require.False(t, planned.Blocked(), "%+v", planned.Preflight)
	require.Equal(t, "unrecorded", planned.From.Revision)
	action := s.action(planned)
	_, err := execute(t.Context(), s.inverse(), action, "there")
	require.NoError(t, err)
	require.Equal(t, "safe", s.data()["mode"])
	_, err = execute(t.Context(), s.inverse(), action.Swapped(), "back")
	require.NoError(t, err)
	require.Equal(t, "fast", s.data()["mode"])
}

// TestServerSideApplyWouldNotRestore is why the kind does not use it: it leaves what
// another manager has added.
func TestServerSideApplyWouldNotRestore(t *testing.T) {
	t.Parallel()
	s := newSettings(t)
	good := map[string]string{"mode": "safe"}
	s.set(good)
	s.record()
	s.set(map[string]string{"mode": "fast", "extra": "on"})
	body, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "settings"}, "data": good})
	require.NoError(t, err)
	_, err = s.admin.CoreV1().ConfigMaps(s.namespace).Patch(t.Context(), "settings", types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: "backout", Force: new(true)})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"mode": "safe", "extra": "on"}, s.data())

	_, err = execute(t.Context(), s.inverse(), s.action(s.planned(driver.PlanRequest{Revision: "1"})), "key")
	require.NoError(t, err)
	require.Equal(t, good, s.data())
}

// TestOtherChangesOfTheObjectAreNoDrift changes what is not content between plan and
// apply, which moves the resource version.
func TestOtherChangesOfTheObjectAreNoDrift(t *testing.T) {
	t.Parallel()
	s := newSettings(t)
	s.set(map[string]string{"mode": "safe"})
	s.record()
	s.set(map[string]string{"mode": "fast"})
	action := s.action(s.planned(driver.PlanRequest{Revision: "1"}))
	patch := []byte(`{"metadata":{"labels":{"team":"shop"},"annotations":{"note":"kept"}}}`)
	_, err := s.admin.CoreV1().ConfigMaps(s.namespace).Patch(t.Context(), "settings", types.MergePatchType, patch, metav1.PatchOptions{})
	require.NoError(t, err)
	out, err := execute(t.Context(), s.inverse(), action, "key")
	require.NoError(t, err)
	require.True(t, out.Applied)
	live, err := s.admin.CoreV1().ConfigMaps(s.namespace).Get(t.Context(), "settings", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "shop", live.Labels["team"])
	require.Equal(t, "kept", live.Annotations["note"])
}

func TestObjectPlanBlocksWhatCannotBe(t *testing.T) {
	t.Parallel()
	s := newSettings(t)
	s.set(map[string]string{"mode": "safe"})
	s.record()
	s.set(map[string]string{"mode": "fast"})
	created := time.Unix(1000, 0)
	tests := []struct {
		name    string
		request driver.PlanRequest
		arrange func()
		check   string
		reason  string
	}{
		{name: "no revision at all", request: driver.PlanRequest{Revision: "previous"}, check: "captured state exists", reason: `"previous" is not a revision: captured states have whole numbers.`},
		{name: "no such revision", request: driver.PlanRequest{Revision: "7"}, check: "captured state exists", reason: "No state 7 was captured of settings, of which 1 are kept."},
		{name: "before the first", request: driver.PlanRequest{Before: created}, check: "captured state exists", reason: "No state of settings was captured before 1970-01-01T00:16:40Z."},
		{name: "not captured", request: driver.PlanRequest{Before: time.Now().Add(time.Hour)}, check: "captured state exists", reason: "is what it says now, and was not captured."},
		{
			name: "immutable", request: driver.PlanRequest{Revision: "1"},
			arrange: func() {
				_, err := s.admin.CoreV1().ConfigMaps(s.namespace).Patch(t.Context(), "settings", types.MergePatchType, []byte(`{"immutable":true}`), metav1.PatchOptions{})
				require.NoError(t, err)
			},
			check: "accepted by the API server", reason: "The API server does not accept captured revision 1",
		},
	}
	for _, test := range tests {
		if test.arrange != nil {
			test.arrange()
		}
		planned := s.planned(test.request)
		require.True(t, planned.Blocked(), test.name)
		require.Zero(t, planned.From, test.name)
		found := check(t, planned, test.check)
		require.Equal(t, incident.PreflightBlocked, found.Result, test.name)
		require.Contains(t, found.Reason, test.reason, test.name)
	}
}

// TestRightsThatBackoutDoesNotHoldAreFoundBefore takes a Role back to rights that the
// credential itself lacks: the API server lets nobody grant those.
func TestRightsThatBackoutDoesNotHoldAreFoundBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.target.Path = "rbac.authorization.k8s.io/v1/roles/" + w.namespace + "/shop"
	rules := func(verb string) []rbacv1.PolicyRule {
		return []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{verb}}}
	}
	api := w.admin.RbacV1().Roles(w.namespace)
	made, err := api.Create(t.Context(), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "shop"}, Rules: rules("get")}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = recorderOf(t, systemOf(w.plane.Kubeconfig)).Record(t.Context(), w.target)
	require.NoError(t, err)
	made.Rules = rules("list")
	_, err = api.Update(t.Context(), made, metav1.UpdateOptions{})
	require.NoError(t, err)
	w.plane.Grant(t, w.namespace, "backout",
		rbacv1.PolicyRule{APIGroups: []string{rbacv1.GroupName}, Resources: []string{"roles"}, Verbs: []string{"get", "patch"}},
		rbacv1.PolicyRule{APIGroups: []string{"apps"}, Resources: []string{"controllerrevisions"}, Verbs: []string{"list", "create"}})
	inverse, err := connect(t, w.plane.UserKubeconfig(t, "backout")).Inverse(objectKind, system)
	require.NoError(t, err)
	planned, err := inverse.Plan(t.Context(), driver.PlanRequest{Target: w.target, Revision: "1"})
	require.NoError(t, err)
	require.True(t, planned.Blocked())
	found := check(t, planned, "accepted by the API server")
	require.Equal(t, incident.PreflightBlocked, found.Result)
	require.Contains(t, found.Reason, "does not let Backout write")
}

func TestWhoeverPutsItBackIsNamed(t *testing.T) {
	t.Parallel()
	for name, metadata := range map[string]string{
		"Argo CD": `{"annotations":{"argocd.argoproj.io/tracking-id":"shop:/ConfigMap:shop/settings"}}`,
		"Flux":    `{"labels":{"kustomize.toolkit.fluxcd.io/name":"shop"}}`,
		"Widget":  `{"ownerReferences":[{"apiVersion":"example.com/v1","kind":"Widget","name":"w","uid":"00000000-0000-0000-0000-000000000001","controller":true}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSettings(t)
			s.set(map[string]string{"mode": "safe"})
			_, err := s.admin.CoreV1().ConfigMaps(s.namespace).Patch(t.Context(), "settings", types.MergePatchType, []byte(`{"metadata":`+metadata+`}`), metav1.PatchOptions{})
			require.NoError(t, err)
			found := check(t, s.planned(driver.PlanRequest{Revision: "1"}), "stays as it is put")
			require.Equal(t, incident.PreflightWarning, found.Result)
			require.Contains(t, found.Reason, name)
		})
	}
}

// TestCapturedStateIsNeverChanged shows what the history stands on: the API server
// refuses to change the data of a captured state.
func TestCapturedStateIsNeverChanged(t *testing.T) {
	t.Parallel()
	s := newSettings(t)
	s.set(map[string]string{"mode": "safe"})
	s.record()
	api := s.admin.AppsV1().ControllerRevisions(s.namespace)
	kept, err := api.List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, kept.Items, 1)
	patch := []byte(`[{"op":"replace","path":"/data/content/data/mode","value":"fast"}]`)
	_, err = api.Patch(t.Context(), kept.Items[0].Name, types.JSONPatchType, patch, metav1.PatchOptions{})
	require.ErrorContains(t, err, "immutable")
}

func TestWatchCapturesEveryState(t *testing.T) {
	t.Parallel()
	s := newSettings(t)
	s.plane.Grant(t, s.namespace, "backout",
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "watch"}},
		rbacv1.PolicyRule{APIGroups: []string{"apps"}, Resources: []string{"controllerrevisions"}, Verbs: []string{"list", "create", "get", "patch", "delete"}})
	watcher := recorderOf(t, systemOf(s.plane.UserKubeconfig(t, "backout")))
	ended := make(chan error, 1)
	go func() { ended <- watcher.Watch(t.Context(), s.target) }()
	t.Cleanup(func() { require.Error(t, <-ended) }) // The context has ended by then.

	for _, mode := range []string{"a", "b", "c"} {
		s.set(map[string]string{"mode": mode})
		require.Eventually(t, func() bool {
			kept, err := s.admin.AppsV1().ControllerRevisions(s.namespace).List(t.Context(), metav1.ListOptions{})
			if err != nil {
				return false
			}
			for _, state := range kept.Items {
				if strings.Contains(string(state.Data.Raw), `"mode":"`+mode+`"`) {
					return true
				}
			}
			return false
		}, patience, 10*time.Millisecond, "state %s was not captured", mode)
	}
}

func TestOldestStatesAreForgotten(t *testing.T) {
	t.Parallel()
	s := newSettings(t)
	few := systemOf(s.plane.Kubeconfig)
	few.Decode = func(into any) error {
		return json.Unmarshal([]byte(`{"kubeconfig":"`+s.plane.Kubeconfig+`","keep_states":2}`), into)
	}
	recorder := recorderOf(t, few)
	for _, mode := range []string{"a", "b", "c"} {
		s.set(map[string]string{"mode": mode})
		_, err := recorder.Record(t.Context(), s.target)
		require.NoError(t, err)
	}
	require.True(t, s.planned(driver.PlanRequest{Revision: "1"}).Blocked())
	require.False(t, s.planned(driver.PlanRequest{Revision: "2"}).Blocked())

	few.Decode = func(into any) error { return json.Unmarshal([]byte(`{"keep_states":1}`), into) }
	_, err := driver.Open(t.Context(), []driver.System{few})
	require.ErrorContains(t, err, "keep_states")
}

func TestWatchEndsWhereItMayNot(t *testing.T) {
	t.Parallel()
	s := newSettings(t)
	s.plane.Grant(t, s.namespace, "reader", rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get"}})
	watcher := recorderOf(t, systemOf(s.plane.UserKubeconfig(t, "reader")))
	require.ErrorIs(t, watcher.Watch(t.Context(), s.target), driver.ErrDenied)
	require.ErrorIs(t, watcher.Watch(t.Context(), incident.Target{System: system, Path: "v1/secrets/shop/password"}), driver.ErrInvalid)
	require.ErrorIs(t, watcher.Check(t.Context(), s.target), driver.ErrDenied)
}

func TestCheckTellsWhatIsNotCaptured(t *testing.T) {
	t.Parallel()
	s := newSettings(t)
	require.ErrorIs(t, s.recorder.Check(t.Context(), s.target), driver.ErrNotFound, "there is nothing to capture yet")
	s.set(map[string]string{"mode": "a"})
	require.ErrorContains(t, s.recorder.Check(t.Context(), s.target), "is not captured")
	s.record()
	require.NoError(t, s.recorder.Check(t.Context(), s.target))
	s.set(map[string]string{"mode": "b"})
	require.ErrorContains(t, s.recorder.Check(t.Context(), s.target), "is not captured")
}
