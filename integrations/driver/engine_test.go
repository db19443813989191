package driver_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

var (
	stateA = incident.State{Revision: "1", Digest: incident.DigestOf([]byte("a")), Label: "v1"}
	stateB = incident.State{Revision: "2", Digest: incident.DigestOf([]byte("b")), Label: "v2"}
	stateC = incident.State{Revision: "3", Digest: incident.DigestOf([]byte("c")), Label: "v3"}
)

// fromBToA is the action of these tests.
func fromBToA() incident.Action {
	return incident.Action{
		Kind: "test.value", Target: incident.Target{System: "test", Path: "value"},
		From: stateB, To: stateA, MaxTime: time.Minute, OnFailure: incident.OnFailureStop, Reversible: true,
	}
}

// value is an inverse over one value in memory.
type value struct {
	present incident.State
	// settles is how many observations at "to" are not settled yet.
	settles int
	// observe and apply are called before each call with its number, from 1; an
	// error is returned in its place.
	observe, apply func(ctx context.Context, n int) error
	// lost makes Apply return an error after its effect.
	lost              error
	observed, applied int
	keys              []string
}

func (*value) Plan(context.Context, driver.PlanRequest) (driver.Planned, error) {
	return driver.Planned{}, errors.New("the engine does not plan")
}

func (v *value) Observe(ctx context.Context, action incident.Action) (driver.Observation, error) {
	v.observed++
	if v.observe != nil {
		if err := v.observe(ctx, v.observed); err != nil {
			return driver.Observation{}, err
		}
	}
	seen := driver.Observation{State: v.present, Settled: true, Detail: "at " + v.present.Label}
	if v.present == action.To && v.settles > 0 {
		v.settles--
		seen.Settled = false
	}
	return seen, nil
}

func (v *value) Apply(ctx context.Context, action incident.Action, key string) (driver.Receipt, error) {
	v.applied++
	v.keys = append(v.keys, key)
	if v.apply != nil {
		if err := v.apply(ctx, v.applied); err != nil {
			return driver.Receipt{}, err
		}
	}
	v.present = action.To
	if v.lost != nil {
		return driver.Receipt{}, v.lost
	}
	return driver.Receipt{Mutated: true}, nil
}

// intents counts the calls of BeforeApply.
type intents struct {
	seen []driver.Observation
	err  error
}

func (i *intents) hooks() driver.Hooks {
	return driver.Hooks{BeforeApply: func(_ context.Context, seen driver.Observation) error {
		i.seen = append(i.seen, seen)
		return i.err
	}}
}

func TestExecuteApplies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := &value{present: stateB, settles: 3}
		var record intents
		hooks := record.hooks()
		var progress []driver.Observation
		hooks.Progress = func(seen driver.Observation) { progress = append(progress, seen) }
		out, err := driver.Execute(t.Context(), v, fromBToA(), "key", hooks)
		require.NoError(t, err)
		require.True(t, out.Applied)
		require.Equal(t, driver.Observation{State: stateA, Settled: true, Detail: "at v1"}, out.Last)
		require.Equal(t, []string{"key"}, v.keys)
		require.Equal(t, []driver.Observation{{State: stateB, Settled: true, Detail: "at v2"}}, record.seen, "the intent was not recorded once, with what was seen")
		require.Len(t, progress, v.observed, "not every observation was reported")
		require.Equal(t, 5, v.observed)
	})
}

func TestExecuteAtToChangesNothing(t *testing.T) {
	t.Parallel()
	v := &value{present: stateA}
	var record intents
	out, err := driver.Execute(t.Context(), v, fromBToA(), "key", record.hooks())
	require.NoError(t, err)
	require.False(t, out.Applied)
	require.Zero(t, v.applied)
	require.Empty(t, record.seen)
}

func TestExecuteWaitsForToToSettle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := &value{present: stateA, settles: 20}
		var record intents
		began := time.Now()
		out, err := driver.Execute(t.Context(), v, fromBToA(), "key", record.hooks())
		require.NoError(t, err)
		require.True(t, out.Last.Settled)
		require.False(t, out.Applied)
		// 25 ms grow by an eighth: 20 waits take 1.9 s.
		require.Less(t, time.Since(began), 2*time.Second)
		require.Equal(t, 21, v.observed, "the engine polls too often")
	})
}

func TestExecuteFinalErrorsEndAtOnce(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		err  error
	}{
		{"denied", driver.ErrDenied},
		{"not found", driver.ErrNotFound},
		{"invalid", driver.ErrInvalid},
		{"drift", &driver.DriftError{Action: fromBToA(), Observed: stateC, Difference: "v3 is there"}},
	} {
		for _, call := range []string{"observe", "apply"} {
			t.Run(test.name+" on "+call, func(t *testing.T) {
				t.Parallel()
				v := &value{present: stateB}
				fail := func(context.Context, int) error { return errors.Join(errors.New("call"), test.err) }
				if call == "observe" {
					v.observe = fail
				} else {
					v.apply = fail
				}
				var record intents
				out, err := driver.Execute(t.Context(), v, fromBToA(), "key", record.hooks())
				require.ErrorIs(t, err, test.err)
				require.True(t, driver.Final(err))
				require.False(t, out.Applied)
				require.Equal(t, 1, v.observed)
				require.Equal(t, stateB, v.present)
			})
		}
	}
}

func TestExecuteRetriesWhatMayPass(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		passing := func(_ context.Context, n int) error {
			if n < 4 {
				return errors.New("busy")
			}
			return nil
		}
		v := &value{present: stateB, observe: passing, apply: passing}
		var record intents
		out, err := driver.Execute(t.Context(), v, fromBToA(), "key", record.hooks())
		require.NoError(t, err)
		require.True(t, out.Applied)
		require.Equal(t, 4, v.applied)
		require.Len(t, record.seen, 4, "an attempt has no intent")
		require.Equal(t, []string{"key", "key", "key", "key"}, v.keys, "the idempotency key changed")
	})
}

func TestExecuteAfterALostResponse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := &value{present: stateB, lost: errors.New("connection reset")}
		var record intents
		out, err := driver.Execute(t.Context(), v, fromBToA(), "key", record.hooks())
		require.NoError(t, err)
		require.Equal(t, 1, v.applied)
		require.Equal(t, stateA, out.Last.State)
	})
}

func TestExecuteRefusesDrift(t *testing.T) {
	t.Parallel()
	v := &value{present: stateC}
	var record intents
	out, err := driver.Execute(t.Context(), v, fromBToA(), "key", record.hooks())
	var drift *driver.DriftError
	require.ErrorAs(t, err, &drift)
	require.Equal(t, stateC, drift.Observed)
	require.Equal(t, "at v3", drift.Difference)
	require.Equal(t, stateC, out.Last.State, "the true state is not told beside the error")
	require.Zero(t, v.applied)
	require.Empty(t, record.seen)
	for _, part := range []string{"test.value", "test/value", "revision 2", "revision 3", incident.ShortDigest(stateC.Digest), "at v3"} {
		require.ErrorContains(t, err, part)
	}
}

func TestExecuteDoesNotFight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := &value{present: stateB, settles: 100}
		v.observe = func(_ context.Context, n int) error {
			if n == 3 {
				v.present = stateB
			}
			return nil
		}
		var record intents
		out, err := driver.Execute(t.Context(), v, fromBToA(), "key", record.hooks())
		var drift *driver.DriftError
		require.ErrorAs(t, err, &drift)
		require.Contains(t, drift.Difference, "changed it back")
		require.Equal(t, 1, v.applied)
		require.True(t, out.Applied, "what was done is not told beside the error")
	})
}

func TestExecuteWithoutIntentDoesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := &value{present: stateB}
		full := errors.New("ledger is full")
		record := intents{err: full}
		_, err := driver.Execute(t.Context(), v, fromBToA(), "key", record.hooks())
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, full)
		require.Zero(t, v.applied, "applied without an intent in the ledger")

		_, err = driver.Execute(t.Context(), v, fromBToA(), "key", driver.Hooks{})
		require.ErrorIs(t, err, driver.ErrInvalid)
		require.Zero(t, v.applied)
	})
}

func TestExecuteHonoursItsTime(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		v    *value
		want bool
	}{
		{"never settles", &value{present: stateB, settles: 1 << 30}, true},
		{"never answers", &value{present: stateB, observe: func(ctx context.Context, _ int) error { <-ctx.Done(); return ctx.Err() }}, false},
		{"never takes it", &value{present: stateB, apply: func(ctx context.Context, _ int) error { <-ctx.Done(); return ctx.Err() }}, false},
		{"always busy", &value{present: stateB, apply: func(context.Context, int) error { return errors.New("busy") }}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var record intents
				began := time.Now()
				out, err := driver.Execute(t.Context(), test.v, fromBToA(), "key", record.hooks())
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.Equal(t, time.Minute, time.Since(began))
				require.Equal(t, test.want, out.Applied)
			})
		})
	}
}

// TestExecuteKilled shows that an execution whose process ends stops at once and
// does not claim that its time was over.
func TestExecuteKilled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, kill := context.WithCancel(t.Context())
		v := &value{present: stateB}
		v.observe = func(_ context.Context, n int) error {
			if n == 2 {
				kill()
				return context.DeadlineExceeded // As a request's own time-out.
			}
			return nil
		}
		var record intents
		_, err := driver.Execute(ctx, v, fromBToA(), "key", record.hooks())
		require.ErrorIs(t, err, context.Canceled)
		require.NotErrorIs(t, err, context.DeadlineExceeded, "a killed execution claims that its time was over")

		again, err := driver.Execute(t.Context(), v, fromBToA(), "key", record.hooks())
		require.NoError(t, err)
		require.False(t, again.Applied)
		require.Equal(t, 1, v.applied)
	})
}

func TestExecuteRefusesInvalidActions(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		spoil func(a *incident.Action)
	}{
		{"no kind", func(a *incident.Action) { a.Kind = "" }},
		{"no target", func(a *incident.Action) { a.Target.Path = "" }},
		{"no digest", func(a *incident.Action) { a.To.Digest = "" }},
		{"nowhere to go", func(a *incident.Action) { a.To = a.From }},
		{"no time", func(a *incident.Action) { a.MaxTime = 0 }},
		{"no policy for failure", func(a *incident.Action) { a.OnFailure = "" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			action := fromBToA()
			test.spoil(&action)
			v := &value{present: stateB}
			var record intents
			_, err := driver.Execute(t.Context(), v, action, "key", record.hooks())
			require.ErrorIs(t, err, driver.ErrInvalid)
			require.Zero(t, v.observed)
		})
	}
}

func TestBlocked(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		results []incident.PreflightResult
		want    bool
	}{
		{"no check", nil, true},
		{"good", []incident.PreflightResult{incident.PreflightOK}, false},
		{"warning", []incident.PreflightResult{incident.PreflightOK, incident.PreflightWarning}, false},
		{"unknown", []incident.PreflightResult{incident.PreflightUnknown}, false},
		{"blocked", []incident.PreflightResult{incident.PreflightOK, incident.PreflightBlocked}, true},
		{"zero value", []incident.PreflightResult{""}, true},
		{"invented", []incident.PreflightResult{"fine"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var p driver.Planned
			for _, r := range test.results {
				p.Preflight = append(p.Preflight, incident.Preflight{Name: "check", Result: r})
			}
			require.Equal(t, test.want, p.Blocked())
		})
	}
}

// telling is a value that settles after a while, and tells of it or fails to.
type telling struct {
	*value
	settled time.Time
	err     error
	awaited int
}

func (v *telling) Observe(ctx context.Context, action incident.Action) (driver.Observation, error) {
	seen, err := v.value.Observe(ctx, action)
	seen.Settled = !time.Now().Before(v.settled)
	return seen, err
}

func (v *telling) Await(ctx context.Context, _ incident.Action) error {
	v.awaited++
	if v.err != nil {
		return v.err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Until(v.settled)):
		return nil
	}
}

// TestExecuteNoticesWhatATargetTells notices that a target has settled when it tells,
// looks by itself when it does not, and leaves nothing waiting behind.
func TestExecuteNoticesWhatATargetTells(t *testing.T) {
	t.Parallel()
	const takes = 20*time.Second + time.Millisecond
	for _, tt := range []struct {
		name  string
		takes time.Duration
		err   error
		late  bool
		ends  error
	}{
		{name: "told", takes: takes},
		{name: "not told", takes: takes, err: driver.ErrDenied, late: true},
		{name: "never", takes: time.Hour, ends: context.DeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				v := &telling{value: &value{present: stateB}, settled: began.Add(tt.takes), err: tt.err}
				out, err := driver.Execute(t.Context(), v, fromBToA(), "key-1", driver.Hooks{BeforeApply: func(context.Context, driver.Observation) error { return nil }})
				require.Equal(t, 1, v.awaited)
				require.True(t, out.Applied)
				require.Equal(t, stateA, out.Last.State)
				if tt.ends != nil {
					require.ErrorIs(t, err, tt.ends)
					return
				}
				require.NoError(t, err)
				late := time.Since(v.settled)
				require.Equal(t, tt.late, late > 0, "noticed %s late", late)
				require.Less(t, late, tt.takes/8)
			})
		})
	}
}
