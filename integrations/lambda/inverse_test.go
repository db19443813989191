package lambda_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	_ "github.com/backout/backout/integrations/lambda"
	"github.com/backout/backout/integrations/lambda/lambdatest"
	fakelambda "github.com/backout/backout/test/fakes/lambda"
	"github.com/backout/backout/workflows/incident"
)

const kind = "lambda.alias"

var target = incident.Target{System: "aws", Path: "checkout/live"}

func connect(t *testing.T, w *lambdatest.World) (*driver.Set, driver.Inverse) {
	t.Helper()
	set, err := driver.Open(t.Context(), []driver.System{w.System(w.Address(), drivertest.Owner)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, set.Close()) })
	inverse, err := set.Inverse(kind, "aws")
	require.NoError(t, err)
	return set, inverse
}

func plan(t *testing.T, inverse driver.Inverse, req driver.PlanRequest) driver.Planned {
	t.Helper()
	req.Target = target
	p, err := inverse.Plan(t.Context(), req)
	require.NoError(t, err)
	return p
}

func action(p driver.Planned) incident.Action {
	return incident.Action{Kind: kind, Target: target, From: p.From, To: p.To, MaxTime: 10 * time.Second, OnFailure: incident.OnFailureStop, Reversible: p.Reversible}
}

func reason(t *testing.T, p driver.Planned, name string) incident.Preflight {
	t.Helper()
	for _, c := range p.Preflight {
		if c.Name == name {
			return c
		}
	}
	require.Failf(t, "check is missing", "%q in %v", name, p.Preflight)
	return incident.Preflight{}
}

// The alias of a World points to version 2 and shifts a quarter to version 3; versions
// were published one a minute, the fourth two minutes ago.
func TestPlan(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, test := range []struct {
		name    string
		req     driver.PlanRequest
		arrange func(w *lambdatest.World)
		want    string
		check   string
		says    string
		blocked bool
	}{
		{name: "a version", req: driver.PlanRequest{Revision: "1"}, want: "1", check: "permission", says: "may update"},
		{name: "the end of a shift", req: driver.PlanRequest{Revision: "2"}, want: "2", check: "traffic stands", says: "Version 2 with 25% to version 3"},
		{name: "another share", req: driver.PlanRequest{Revision: "2+3=0.50"}, want: "2+3=0.5", check: "version exists", says: "Version 2 of"},
		{name: "a share of nothing", req: driver.PlanRequest{Revision: "2+3=0.0"}, want: "2", check: "version exists", says: "Version 2 of"},
		{name: "where it is", req: driver.PlanRequest{Revision: "2+3=0.25"}, blocked: true, check: "not there already", says: "already"},
		{name: "a share of itself", req: driver.PlanRequest{Revision: "2+2=0.5"}, blocked: true, check: "version is known", says: "is no state of an alias"},
		{name: "the latest", req: driver.PlanRequest{Revision: "$LATEST"}, blocked: true, check: "version is known", says: "is no state of an alias"},
		{name: "before the second", req: driver.PlanRequest{Before: now.Add(-4*time.Minute - 30*time.Second)}, want: "1", check: "version is known", says: "keeps no history"},
		{name: "before the third", req: driver.PlanRequest{Before: now.Add(-3*time.Minute - 30*time.Second)}, want: "2", check: "version is known", says: "keeps no history"},
		{name: "before one that it does not point to", req: driver.PlanRequest{Before: now}, blocked: true, check: "version is known", says: "is 4, which is newer"},
		{name: "a version that has failed", req: driver.PlanRequest{Revision: "1"}, blocked: true, check: "version runs", says: "has failed", arrange: func(w *lambdatest.World) {
			w.Edit("checkout", 1, func(v *fakelambda.Version) { v.State = "Failed" })
		}},
		{name: "a version that is idle", req: driver.PlanRequest{Revision: "1"}, want: "1", check: "version runs", says: "idle", arrange: func(w *lambdatest.World) {
			w.Edit("checkout", 1, func(v *fakelambda.Version) { v.State = "Inactive" })
		}},
		{name: "a version in a state that is not known", req: driver.PlanRequest{Revision: "1"}, blocked: true, check: "version runs", says: `"Odd"`, arrange: func(w *lambdatest.World) {
			w.Edit("checkout", 1, func(v *fakelambda.Version) { v.State = "Odd" })
		}},
		{name: "an alias of the latest", req: driver.PlanRequest{Revision: "1"}, blocked: true, check: "alias exists", says: "$LATEST", arrange: func(w *lambdatest.World) {
			w.PointToLatest("checkout", "live")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := lambdatest.Start(t)
			if test.arrange != nil {
				test.arrange(w)
			}
			_, inverse := connect(t, w)
			p := plan(t, inverse, test.req)
			require.Equal(t, test.blocked, p.Blocked(), "%v", p.Preflight)
			require.Equal(t, test.want, p.To.Revision)
			require.Contains(t, reason(t, p, test.check).Reason, test.says)
		})
	}
}

// TestShareIsAPartOfTheState shows that the share of a second version goes, and comes
// back with the way back.
func TestShareIsAPartOfTheState(t *testing.T) {
	t.Parallel()
	w := lambdatest.Start(t)
	_, inverse := connect(t, w)
	there := action(plan(t, inverse, driver.PlanRequest{Revision: "2"}))
	_, err := inverse.Apply(t.Context(), there, "key")
	require.NoError(t, err)
	require.Empty(t, w.Alias("checkout", "live").Weights)
	require.Equal(t, "2", w.Alias("checkout", "live").Version)
	_, err = inverse.Apply(t.Context(), there.Swapped(), "other")
	require.NoError(t, err)
	require.Equal(t, map[string]float64{"3": 0.25}, w.Alias("checkout", "live").Weights)
}

// TestConflictIsTriedAgain shows that an operation under way is waited for.
func TestConflictIsTriedAgain(t *testing.T) {
	t.Parallel()
	w := lambdatest.Start(t)
	_, inverse := connect(t, w)
	a := action(plan(t, inverse, driver.PlanRequest{Revision: "1"}))
	before := w.Alias("checkout", "live").Updates
	w.Conflict(2)
	out, err := driver.Execute(t.Context(), inverse, a, "key", driver.Hooks{BeforeApply: func(context.Context, driver.Observation) error { return nil }})
	require.NoError(t, err)
	require.True(t, out.Applied)
	require.Equal(t, before+1, w.Alias("checkout", "live").Updates)
}

// TestChangeOfTheDescriptionIsNoDrift shows that a RevisionId that moved without the
// state is looked at again, not refused and not overwritten.
func TestChangeOfTheDescriptionIsNoDrift(t *testing.T) {
	t.Parallel()
	w := lambdatest.Start(t)
	proxy := drivertest.NewProxy(t, w.Address())
	set, err := driver.Open(t.Context(), []driver.System{w.System(proxy.Address(), drivertest.Owner)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, set.Close()) })
	inverse, err := set.Inverse(kind, "aws")
	require.NoError(t, err)
	a := action(plan(t, inverse, driver.PlanRequest{Revision: "1"}))
	proxy.Pause(2, func() { w.Point("checkout", "live", "another text", 2, map[string]float64{"3": 0.25}) })
	_, err = inverse.Apply(t.Context(), a, "key")
	require.ErrorContains(t, err, "changed meanwhile")
	require.False(t, driver.Final(err))
	_, err = inverse.Apply(t.Context(), a, "key")
	require.NoError(t, err)
	require.Equal(t, "another text", w.Alias("checkout", "live").Description)
}

func TestChanges(t *testing.T) {
	t.Parallel()
	w := lambdatest.Start(t)
	set, _ := connect(t, w)
	source, err := set.Source(kind, "aws")
	require.NoError(t, err)
	now := time.Now()
	changes, err := source.Changes(t.Context(), driver.ChangeQuery{Service: "checkout", Target: target, Since: now.Add(-4*time.Minute - 30*time.Second), Until: now})
	require.NoError(t, err)
	require.Len(t, changes, 2, "versions before the window, or that the alias does not point to, are listed")
	require.Equal(t, "checkout/live@2", changes[0].ID)
	require.Equal(t, "version 1", changes[0].From)
	require.Equal(t, "version 3", changes[1].To)
	require.Equal(t, incident.ChangeDeploy, changes[1].Kind)
}

func TestReachAndRefusal(t *testing.T) {
	t.Parallel()
	w := lambdatest.Start(t)
	set, _ := connect(t, w)
	require.NoError(t, set.Reach(t.Context(), "aws"), "a credential that may not read the account is refused")
	wrong := filepath.Join(t.TempDir(), "wrong")
	require.NoError(t, os.WriteFile(wrong, []byte("canary-wrong"), 0o600))
	bad, err := driver.Open(t.Context(), []driver.System{{Name: "aws", Type: "lambda", Decode: drivertest.Settings(map[string]string{
		"region": fakelambda.Region, "url": w.URL(), "access_key_id": "AKIAOWNER", "secret_access_key_file": wrong,
	})}})
	require.NoError(t, err)
	err = bad.Reach(t.Context(), "aws")
	require.ErrorIs(t, err, driver.ErrDenied)
	require.NotContains(t, err.Error(), "canary")
}

func TestSettings(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(file, []byte("canary-secret"), 0o600))
	for _, test := range []struct {
		name     string
		settings map[string]string
		says     string
	}{
		{"the credential of the machine", map[string]string{"region": "eu-central-1"}, ""},
		{"a key", map[string]string{"region": "eu-central-1", "access_key_id": "AKIA", "secret_access_key_file": file}, ""},
		{"no region", map[string]string{}, "region is empty"},
		{"half a key", map[string]string{"region": "r", "access_key_id": "AKIA"}, "belong together"},
		{"a session without a key", map[string]string{"region": "r", "session_token_file": file}, "belongs to access_key_id"},
		{"a key that is not there", map[string]string{"region": "r", "access_key_id": "AKIA", "secret_access_key_file": file + "x"}, "no such file"},
		{"a url that is none", map[string]string{"region": "r", "url": "lambda"}, "url is malformed"},
		{"a credential in the url", map[string]string{"region": "r", "url": "https://a:canary-secret@lambda"}, "holds a credential"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			set, err := driver.Open(t.Context(), []driver.System{{Name: "aws", Type: "lambda", Decode: drivertest.Settings(test.settings)}})
			if test.says == "" {
				require.NoError(t, err)
				require.NoError(t, set.Close())
				return
			}
			require.ErrorContains(t, err, test.says)
			require.NotContains(t, err.Error(), "canary")
		})
	}
}

func TestTargets(t *testing.T) {
	t.Parallel()
	_, inverse := connect(t, lambdatest.Start(t))
	for _, path := range []string{"", "checkout", "checkout/", "/live", "checkout/1", "checkout/li:ve", "check out/live", "checkout/live/x"} {
		_, err := inverse.Observe(t.Context(), incident.Action{Kind: kind, Target: incident.Target{System: "aws", Path: path}})
		require.ErrorIs(t, err, driver.ErrInvalid, "%q is taken", path)
	}
}
