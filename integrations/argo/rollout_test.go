package argo

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// began is when the Rollout of these tests was created.
var began = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// minutes is a moment after that.
func minutes(n int) time.Time { return began.Add(time.Duration(n) * time.Minute) }

// revisions are revision 1, deployed at the begin, revision 2 after ten minutes, and so
// on. The digest of revision 1 is "d1".
func revisions(n int64) []revision {
	var all []revision
	for i := int64(1); i <= n; i++ {
		all = append(all, revision{
			number: i, hash: fmt.Sprintf("h%d", i), digest: fmt.Sprintf("d%d", i), label: fmt.Sprintf("v%d", i),
			created: minutes(int(i-1) * 10),
			set:     &unstructured.Unstructured{Object: map[string]any{}},
		})
	}
	return all
}

// world is a Rollout with n revisions, of which one is in the specification and one is
// stable.
func world(n, present, stable int64) rollout {
	r := rollout{reference: reference{namespace: "shop", name: "cart"}, history: newHistory(revisions(n), time.Time{})}
	r.object = &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"generation": int64(7)}}}
	r.present, r.recorded = r.history.byNumber(present)
	r.stable, r.promoted = r.history.byNumber(stable)
	r.Status.ObservedGeneration = "7"
	r.Status.CurrentPodHash, r.Status.StableRS = r.present.hash, r.stable.hash
	r.Status.Phase = "Healthy"
	if present != stable {
		r.Status.Phase, r.Status.Message = "Paused", "CanaryPauseStep"
	}
	return r
}

func aborted(r rollout) rollout {
	r.Status.Abort, r.Status.AbortedAt, r.Status.Phase, r.Status.Message = true, "2026-11-01T12:30:00Z", "Degraded", "RolloutAborted: because hunter2"
	r.stable.available = 1
	return r
}

func TestState(t *testing.T) {
	t.Parallel()
	unrecorded := world(2, 2, 1)
	unrecorded.recorded = false
	newer := aborted(world(3, 3, 1))
	newer.Status.CurrentPodHash = "h2" // The controller has not taken the abort of revision 2 back.
	for _, test := range []struct {
		name string
		r    rollout
		want incident.State
		err  error
	}{
		{name: "promoted", r: world(2, 2, 2), want: incident.State{Revision: "2", Digest: "d2", Label: "v2"}},
		{name: "in flight", r: world(2, 2, 1), want: incident.State{Revision: "2", Digest: "d2", Label: "v2"}},
		{name: "aborted", r: aborted(world(2, 2, 1)), want: byAbort(revisions(1)[0])},
		{name: "aborted, and another update since", r: newer, want: incident.State{Revision: "3", Digest: "d3", Label: "v3"}},
		{name: "aborted, and back at the stable one since", r: aborted(world(2, 1, 1)), want: incident.State{Revision: "1", Digest: "d1", Label: "v1"}},
		{name: "not taken up", r: unrecorded, err: errUnrecorded},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := test.r.state()
			require.ErrorIs(t, err, test.err)
			require.False(t, driver.Final(err), "it passes")
			require.Equal(t, test.want, got)
		})
	}
	require.NotEqual(t, byAbort(revisions(1)[0]).Digest, revisions(1)[0].digest, "an abort and an undo lead to one state")
}

// TestRecognise shows above all that a newer template is never taken for the one
// before, which the controller still names when it has just seen the change.
func TestRecognise(t *testing.T) {
	t.Parallel()
	of := func(image string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"metadata": map[string]any{"generation": int64(7)},
			"spec": map[string]any{"template": map[string]any{"spec": map[string]any{
				"containers": []any{map[string]any{"name": "cart", "image": image}},
			}}},
		}}
	}
	for _, test := range []struct {
		name, image, digest string
		generation          string
		want                int64 // 0 when it is not known.
	}{
		{name: "as the history has it", image: "cart:v9", digest: "d1", generation: "6", want: 1},
		{name: "as people write it", image: "cart:v2", digest: "other", generation: "7", want: 2},
		{name: "not seen", image: "cart:v2", digest: "other", generation: "6"},
		{name: "seen, and the status is of the one before", image: "cart:v3", digest: "other", generation: "7"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := world(2, 2, 1)
			r.present, r.recorded = revision{}, false
			r.object = of(test.image)
			for i := range r.history.revisions {
				r.history.revisions[i].set = of(fmt.Sprintf("cart:v%d", i+1))
			}
			r.Status.ObservedGeneration = test.generation
			r.recognise(test.digest)
			require.Equal(t, test.want != 0, r.recorded)
			require.Equal(t, test.want, r.present.number)
		})
	}
}

func TestAbortHasOneStateWhateverWasAborted(t *testing.T) {
	t.Parallel()
	second, err := aborted(world(3, 2, 1)).state()
	require.NoError(t, err)
	third, err := aborted(world(3, 3, 1)).state()
	require.NoError(t, err)
	require.Equal(t, second, third)
}

func TestByMoment(t *testing.T) {
	t.Parallel()
	came := revisions(3)
	came[0].former, came[0].number = []int64{1}, 4 // Revision 1 came back as 4.
	for _, test := range []struct {
		name   string
		r      rollout
		before time.Time
		want   string // The revision of the state; empty when there is none.
		result incident.PreflightResult
	}{
		{"the update in flight is aborted", world(2, 2, 1), minutes(10), "1-by-abort", incident.PreflightOK},
		{"what never was promoted is passed over", world(3, 3, 1), minutes(20), "1-by-abort", incident.PreflightOK},
		{"a moment after the update", world(2, 2, 1), minutes(15), "2", incident.PreflightOK},
		{"before the stable one", world(3, 3, 2), minutes(10), "1", incident.PreflightOK},
		{"promoted", world(3, 3, 3), minutes(20), "2", incident.PreflightOK},
		{"the moment of the deploy itself", world(3, 3, 3), minutes(20).Add(time.Second), "3", incident.PreflightOK},
		{"before everything", world(3, 3, 3), minutes(0), "", incident.PreflightBlocked},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var checks driver.Findings
			got, ok := byMoment(&checks, test.r, test.before)
			require.Equal(t, test.want != "", ok)
			if ok {
				require.Equal(t, test.want, got.state().Revision)
			}
			require.Len(t, checks, 1)
			require.Equal(t, test.result, checks[0].Result, "%v", checks)
		})
	}
	t.Run("a return whose time nobody recorded", func(t *testing.T) {
		t.Parallel()
		r := world(3, 3, 3)
		r.history = newHistory(came, time.Time{})
		r.present, _ = r.history.byNumber(3)
		var checks driver.Findings
		got, ok := byMoment(&checks, r, minutes(60))
		require.True(t, ok)
		require.Equal(t, "4", got.state().Revision)
		require.Equal(t, incident.PreflightUnknown, checks[0].Result)
	})
}

func TestByRevision(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, text string
		r          rollout
		want, says string
	}{
		{name: "undo", text: "1", r: world(3, 3, 3), want: "1"},
		{name: "undo of an update in flight", text: "1", r: world(2, 2, 1), want: "1"},
		{name: "abort", text: "1-by-abort", r: world(2, 2, 1), want: "1-by-abort"},
		{name: "abort of what is promoted", text: "1-by-abort", r: world(2, 2, 2), says: "too late to abort"},
		{name: "abort to another revision", text: "1-by-abort", r: world(3, 3, 2), says: "leads back to revision 2 (v2), and not to revision 1 (v1)"},
		{name: "gone", text: "9", r: world(3, 3, 3), says: "Revision 9 is not in the history of cart, which keeps 3 revisions."},
		{name: "abort to what is gone", text: "9-by-abort", r: world(2, 2, 1), says: "Revision 9 is not in the history"},
		{name: "no number", text: "previous\n", r: world(3, 3, 3), says: `"previous " is not a revision`},
		{name: "negative", text: "-1", r: world(3, 3, 3), says: "is not a revision"},
		{name: "nothing but the suffix", text: "-by-abort", r: world(3, 3, 3), says: "is not a revision"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var checks driver.Findings
			got, ok := byRevision(&checks, test.r, test.text)
			require.Equal(t, test.want != "", ok)
			require.Equal(t, !ok, checks.Blocked())
			require.Contains(t, checks[len(checks)-1].Reason, test.says)
			if ok {
				require.Equal(t, test.want, got.state().Revision)
			}
		})
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	with := func(r rollout, change func(r *rollout)) rollout {
		change(&r)
		return r
	}
	canary := func(r rollout) rollout {
		require.NoError(t, decodeInto(&r, map[string]any{"strategy": map[string]any{"canary": map[string]any{"steps": []any{
			map[string]any{"setWeight": int64(5)}, map[string]any{"pause": map[string]any{}}, map[string]any{"pause": map[string]any{"duration": "1m"}},
		}}}}))
		return r
	}
	for _, test := range []struct {
		name    string
		r       rollout
		resumed bool
		settled bool
		says    string
	}{
		{name: "healthy", r: with(world(2, 2, 2), func(r *rollout) { r.Status.AvailableReplicas = 1 }), settled: true, says: "1 of 1 pods available"},
		{name: "not observed", r: with(world(2, 2, 2), func(r *rollout) { r.Status.ObservedGeneration = "6" }), says: "has not begun"},
		{name: "the phase is of the revision before", r: with(world(2, 1, 2), func(r *rollout) { r.Status.Phase, r.Status.CurrentPodHash = "Healthy", "h2" }), says: "Healthy"},
		{name: "paused at a step", r: canary(with(world(2, 2, 1), func(r *rollout) { one := int64(1); r.Status.CurrentStepIndex = &one })), says: "Paused (CanaryPauseStep), 1 of 3 steps done"},
		{name: "resumed and paused again", r: world(2, 2, 1), resumed: true, settled: true, says: "under way again"},
		{name: "resumed, and the controller has not seen it", r: with(world(2, 2, 1), func(r *rollout) { r.Status.AbortedAt = "2026-11-01T12:30:00Z" }), resumed: true, says: "Paused"},
		{name: "aborted", r: aborted(world(2, 2, 1)), settled: true, says: "the update to revision 2 (v2) is aborted, 1 of 1 pods of revision 1 (v1) available"},
		{name: "abort not seen", r: with(aborted(world(2, 2, 1)), func(r *rollout) { r.Status.AbortedAt = "" }), says: "has not begun"},
		{name: "stable pods missing", r: with(aborted(world(2, 2, 1)), func(r *rollout) { r.stable.available = 0 }), says: "0 of 1 pods of revision 1 (v1) available"},
		{name: "canary pods left", r: with(canary(aborted(world(2, 2, 1))), func(r *rollout) { r.present.there = 2 }), says: "2 pods of revision 2 (v2) are still to go"},
		{name: "traffic left", r: withWeight(aborted(world(2, 2, 1)), 20), says: "20 % of the traffic still goes to revision 2 (v2)"},
		{name: "failed, with words from elsewhere", r: with(aborted(world(2, 2, 1)), func(r *rollout) { r.Status.Abort = false }), says: "Degraded (RolloutAborted)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			settled, detail := test.r.progress(test.resumed)
			require.Equal(t, test.settled, settled, detail)
			require.Contains(t, detail, test.says)
			require.NotContains(t, detail, "hunter2", "what a measurement says is told")
		})
	}
}

// decodeInto decodes the specification of a Rollout, as read does.
func decodeInto(r *rollout, spec map[string]any) error {
	status := r.Status
	err := decode(map[string]any{"spec": spec}, &r.fields)
	r.Status = status
	return err
}

func withWeight(r rollout, weight int64) rollout {
	type weights = struct {
		Canary struct {
			Weight int64 `json:"weight"`
		} `json:"canary"`
	}
	w := &weights{}
	w.Canary.Weight = weight
	r.Status.Canary.Weights = w
	return r
}

func TestWithoutAdditions(t *testing.T) {
	t.Parallel()
	set := &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{"name": "cart-1", "annotations": map[string]any{
			metadataAnnotation: `{"labels":{"role":"canary"},"annotations":{"seen":"yes"}}`,
		}},
		"spec": map[string]any{"template": map[string]any{
			"metadata": map[string]any{
				"labels":      map[string]any{"app": "cart", hashLabel: "h1", "role": "canary"},
				"annotations": map[string]any{"seen": "yes"},
			},
			"spec": map[string]any{"affinity": map[string]any{
				"nodeAffinity": map[string]any{"kept": true},
				"podAntiAffinity": map[string]any{"requiredDuringSchedulingIgnoredDuringExecution": []any{
					map[string]any{"labelSelector": map[string]any{"matchExpressions": []any{map[string]any{"key": hashLabel, "operator": "NotIn"}}}},
				}},
			}},
		}},
	}}
	before := set.DeepCopy()
	bare, err := withoutAdditions(set)
	require.NoError(t, err)
	require.Equal(t, before, set, "the ReplicaSet itself was changed")
	require.Equal(t, map[string]any{
		"metadata": map[string]any{"labels": map[string]any{"app": "cart"}},
		"spec":     map[string]any{"affinity": map[string]any{"nodeAffinity": map[string]any{"kept": true}}},
	}, bare.Object["spec"].(map[string]any)["template"])

	own := set.DeepCopy()
	rule := map[string]any{"weight": int64(1), "podAffinityTerm": map[string]any{"labelSelector": map[string]any{"matchExpressions": []any{map[string]any{"key": "app"}}}}}
	require.NoError(t, unstructured.SetNestedSlice(own.Object, []any{rule}, "spec", "template", "spec", "affinity", "podAntiAffinity", "preferredDuringSchedulingIgnoredDuringExecution"))
	bare, err = withoutAdditions(own)
	require.NoError(t, err)
	left, _, _ := unstructured.NestedMap(bare.Object, "spec", "template", "spec", "affinity", "podAntiAffinity")
	require.Equal(t, map[string]any{"preferredDuringSchedulingIgnoredDuringExecution": []any{rule}}, left, "a rule of the owner's was taken out")

	set.SetAnnotations(map[string]string{metadataAnnotation: "{"})
	_, err = withoutAdditions(set)
	require.Error(t, err)
}

func TestReadRevisionNumbers(t *testing.T) {
	t.Parallel()
	set := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"template": map[string]any{}}}}
	set.SetCreationTimestamp(metav1.NewTime(began))
	_, numbered, err := readRevision(digests{}, set)
	require.NoError(t, err)
	require.False(t, numbered, "the controller has not numbered it")
	set.SetAnnotations(map[string]string{revisionAnnotation: "5", formerAnnotation: "3,1,3,5,x"})
	rev, numbered, err := readRevision(digests{}, set)
	require.NoError(t, err)
	require.True(t, numbered)
	require.Equal(t, []int64{1, 3}, rev.former)
	set.SetAnnotations(map[string]string{revisionAnnotation: "five"})
	_, _, err = readRevision(digests{}, set)
	require.Error(t, err)
}

// digests is a cluster that can do nothing but that.
type digests struct{ cluster }

func (digests) Template(*unstructured.Unstructured) (digest, label string, err error) {
	return "d", "v", nil
}

func TestWithinWindow(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		window int64
		back   int64
		want   bool
	}{
		{"no window", 0, 3, false},
		{"the one before", 1, 3, true},
		{"one between", 1, 2, false},
		{"one between, wider", 2, 2, true},
		{"not older", 9, 4, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := world(4, 4, 4)
			require.NoError(t, decodeInto(&r, map[string]any{"rollbackWindow": map[string]any{"revisions": test.window}}))
			back, _ := r.history.byNumber(test.back)
			require.Equal(t, test.want, r.withinWindow(back))
		})
	}
}

func TestParseTarget(t *testing.T) {
	t.Parallel()
	ref, err := parseTarget(incident.Target{Path: "shop/cart"})
	require.NoError(t, err)
	require.Equal(t, "shop/cart", ref.String())
	for _, path := range []string{"", "shop", "shop/", "/cart", "shop/cart/status", "shop/c%2Fart", "a%2f/b"} {
		_, err := parseTarget(incident.Target{Path: path})
		require.ErrorIs(t, err, driver.ErrInvalid, path)
	}
}
