package flaggertest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/workflows/incident"
)

// subject is a canary and a connection with the rights that the kind asks for.
type subject struct {
	*canary
	set     *driver.Set
	inverse driver.Inverse
	request driver.PlanRequest
}

func begin(t *testing.T) subject {
	t.Helper()
	target := start(t)
	system := target.Connect(target.Upstream, drivertest.Owner)
	set, err := driver.Open(t.Context(), []driver.System{system})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, set.Close()) })
	inverse, err := set.Inverse("flagger.canary", system.Name)
	require.NoError(t, err)
	target.Request.Target.System = system.Name
	return subject{canary: canaryOf(t, target), set: set, inverse: inverse, request: target.Request}
}

// plan plans and requires a check with a result that says a text.
func (s subject) plan(t *testing.T, result incident.PreflightResult, says string) incident.Action {
	t.Helper()
	planned, err := s.inverse.Plan(t.Context(), s.request)
	require.NoError(t, err)
	require.Equal(t, result == incident.PreflightBlocked, planned.Blocked(), "%v", planned.Preflight)
	found := false
	for _, check := range planned.Preflight {
		found = found || check.Result == result && strings.Contains(check.Reason, says)
	}
	require.True(t, found, "no %s check says %q: %v", result, says, planned.Preflight)
	return incident.Action{
		Kind: "flagger.canary", Target: s.request.Target, From: planned.From, To: planned.To,
		MaxTime: maxTime, OnFailure: incident.OnFailureStop, Reversible: planned.Reversible,
	}
}

// promote has Flagger promote what the target runs, without an analysis.
func (s subject) promote() {
	s.change(`{"spec":{"skipAnalysis":true}}`)
	s.advance("Succeeded")
}

// TestPromoted shows that the return of a version that Flagger has to promote first is
// not done before the primary runs it.
func TestPromoted(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.promote()
	action := s.plan(t, incident.PreflightOK, "promotes revision 1 without an analysis")
	s.change(`{"spec":{"suspend":true}}`) // It must not promote before it is looked at.
	receipt, err := s.inverse.Apply(t.Context(), action, "key")
	require.NoError(t, err)
	require.True(t, receipt.Mutated)
	require.NoError(t, s.taken(t.Context())) // The target has no pods, so that it is done with that.
	seen, err := s.inverse.Observe(t.Context(), action)
	require.NoError(t, err)
	require.Equal(t, action.To.Digest, seen.State.Digest)
	require.False(t, seen.Settled, "it is done, and the primary serves the bad version")
	require.Contains(t, seen.Detail, "the primary serves another version")

	s.change(`{"spec":{"suspend":false}}`)
	s.advance("Progressing")
	s.advance("Succeeded")
	out, err := driver.Execute(t.Context(), s.inverse, action, "key", driver.Hooks{
		BeforeApply: func(context.Context, driver.Observation) error { return nil },
	})
	require.NoError(t, err)
	require.False(t, out.Applied, "it was applied twice")
	require.True(t, out.Last.Settled)
}

func TestSuspended(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.change(`{"spec":{"suspend":true}}`)
	s.plan(t, incident.PreflightWarning, "keep the share of the traffic")

	s.change(`{"spec":{"suspend":false}}`)
	s.promote()
	s.change(`{"spec":{"suspend":true}}`)
	s.plan(t, incident.PreflightBlocked, "would not take on revision 1")
}

// TestMoment shows that a version that Flagger never promoted is not gone back to.
func TestMoment(t *testing.T) {
	t.Parallel()
	s := begin(t)
	source, err := s.set.Source("flagger.canary", s.request.Target.System)
	require.NoError(t, err)
	now := time.Now()
	changes := func() []incident.Change {
		found, err := source.Changes(t.Context(), driver.ChangeQuery{Service: "shop", Target: s.request.Target, Since: now.Add(-time.Hour), Until: now.Add(time.Hour)})
		require.NoError(t, err)
		return found
	}
	second := changes()[1]
	require.Equal(t, "revision 2 (v2)", second.To)
	require.Equal(t, "flagger.canary", second.Source)
	require.Equal(t, s.request.Target, second.Target)
	// Times are whole seconds: the third version is deployed in another one.
	require.Eventually(t, func() bool { return time.Since(second.At) > time.Second }, patience, poll)
	require.NoError(t, s.deploy(t.Context(), otherImage))
	s.request.Revision, s.request.Before = "", changes()[2].At
	action := s.plan(t, incident.PreflightOK, "The primary served revision 1 (v1) before")
	require.Equal(t, "1", action.To.Revision)
	require.Equal(t, "3", action.From.Revision)
}
