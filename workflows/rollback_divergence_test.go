package workflows_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
	"github.com/backout/backout/workflows/recovery"
)

const unpaid = "orders without a payment"

// unpaidOrders are rows that a bad version wrote, counted before the rollback and, as
// left says, at each look after it; nil is a count that fails. The service itself is
// well.
type unpaidOrders struct {
	w    *world
	left func(after time.Duration) *int64
	// asked are the moments of the counts after the rollback, from the first look.
	asked []time.Duration
	began time.Time
}

func newUnpaidOrders(t *testing.T, left func(after time.Duration) *int64) (*world, *unpaidOrders) {
	t.Helper()
	w := newWorld(t)
	u := &unpaidOrders{w: w, left: left}
	checks := []incident.DataCheck{{Name: unpaid, System: "shop-db", SQL: "SELECT count(*) FROM orders"}}
	w.evidence = func(in activities.EvidenceInput) (incident.Manifest, error) {
		m := incident.Manifest{Rollback: in.Rollback, Phase: in.Phase, Digest: incident.DigestOf([]byte(in.Phase))}
		if in.Phase == incident.EvidenceBefore {
			m.Counts = []incident.DataCount{{Name: unpaid, Count: new(int64(41)), At: w.env.Now()}}
		}
		return m, nil
	}
	w.judge = func(_ int, in activities.MeasureInput) incident.RecoveryResult {
		now := w.env.Now()
		if u.began.IsZero() {
			u.began = now
		}
		counts := recovery.Fresh(checks, in.Last, in.ActionsDoneAt, now)
		if counts == nil {
			u.asked = append(u.asked, now.Sub(u.began))
			c := incident.DataCount{Name: unpaid, Count: left(now.Sub(u.began)), At: now}
			if c.Count == nil {
				c.Missing = "permission denied"
			}
			counts = []incident.DataCount{c}
		}
		well := verdict(incident.VerdictRecovered, now)
		well.SLIs = []incident.SLIResult{{Name: "errors", Verdict: incident.VerdictRecovered}}
		return recovery.WithData(checks, well, in.Before, counts)
	}
	return w, u
}

func repairedAfter(d time.Duration) func(time.Duration) *int64 {
	return func(after time.Duration) *int64 {
		if after < d {
			return new(int64(37))
		}
		return new(int64(0))
	}
}

const never = 100 * time.Hour

// TestRowsThatDivergeKeepARollbackFromBeingRecovered is a service that is well, and
// rows of the bad version that are still there, or that nobody can count.
func TestRowsThatDivergeKeepARollbackFromBeingRecovered(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		left    func(time.Duration) *int64
		want    incident.Verdict
		reason  string
		atLeast time.Duration
	}{
		{"they stay", repairedAfter(never), incident.VerdictNotRecovered, "The SLIs are well, but 37 still diverge: orders without a payment (41 before the rollback, at most 0 wanted).", 5 * time.Minute},
		{"they are repaired", repairedAfter(2 * time.Minute), incident.VerdictRecovered, "Nothing diverges beyond its bound: orders without a payment, 0.", 2*time.Minute + 30*time.Second},
		{"there are none", repairedAfter(0), incident.VerdictRecovered, "Nothing diverges beyond its bound", 30 * time.Second},
		{"nobody can count them", func(time.Duration) *int64 { return nil }, incident.VerdictUnknown, "The SLIs are well, but what diverges is not known of orders without a payment: permission denied.", 5 * time.Minute},
		{"they come back once", func(after time.Duration) *int64 {
			if after >= 30*time.Second && after < time.Minute {
				return new(int64(1))
			}
			return new(int64(0))
		}, incident.VerdictRecovered, "Nothing diverges", 90 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w, u := newUnpaidOrders(t, tt.left)
			w.watch = &activities.RecoveryPlan{Warmup: 10 * time.Second, Every: 5 * time.Second, Long: time.Minute, Hold: 30*time.Second + time.Millisecond, Deadline: 5*time.Minute + 10*time.Second}
			v := runRollback(t, w, rollbackInput(option(t, "o1")))
			require.Equal(t, incident.RollbackDone, v.Status)
			require.Equal(t, tt.want, v.Recovery.Verdict)
			require.Contains(t, v.Recovery.Reason, tt.reason)
			require.EqualValues(t, 41, *v.Recovery.Data[0].Before, "counted with the evidence")
			require.GreaterOrEqual(t, v.Recovery.At.Sub(u.began), tt.atLeast)
			for i, at := range u.asked[1:] {
				require.GreaterOrEqual(t, at-u.asked[i], recovery.CountEvery, "not more often than needed")
			}
			i := slices.IndexFunc(w.entries, func(e incident.Entry) bool { return e.Kind == incident.EventVerdict })
			require.Contains(t, string(w.entries[i].Payload), `"data":[{"name":"orders without a payment"`, "the ledger has the counts")
		})
	}
}

// TestAWatchThatIsStoppedKeepsTheCounts is a responder who does not wait: what was
// counted last is still to be repaired.
func TestAWatchThatIsStoppedKeepsTheCounts(t *testing.T) {
	t.Parallel()
	w, _ := newUnpaidOrders(t, repairedAfter(never))
	w.env.RegisterDelayedCallback(func() { w.env.SignalWorkflow(incident.SignalCancel, nil) }, time.Minute)
	v := runRollback(t, w, rollbackInput(option(t, "o1")))
	require.Equal(t, incident.VerdictUnknown, v.Recovery.Verdict)
	require.Contains(t, v.Recovery.Reason, "stopped by a responder; the last look said not recovered: The SLIs are well, but 37 still diverge")
	require.Len(t, v.Recovery.Diverging(), 1)
	require.False(t, v.Recovery.DataAlone(), "nobody judged the SLIs")
}

// TestAnIncidentWhoseDataDivergesStaysOpen is an alert that clears because the service
// is well, while rows diverge: only the repair, or somebody who closes it, ends it.
func TestAnIncidentWhoseDataDivergesStaysOpen(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		left func(time.Duration) *int64
		// cleared is when the alert clears, and closed when somebody closes the incident.
		cleared, closed time.Duration
		open            bool
		verdict         incident.Verdict
	}{
		{"cleared after the verdict", repairedAfter(never), 30 * time.Minute, 3 * time.Hour, true, incident.VerdictNotRecovered},
		{"cleared during the rollback", repairedAfter(never), 90 * time.Second, 3 * time.Hour, true, incident.VerdictNotRecovered},
		{"repaired in time", repairedAfter(time.Minute), 30 * time.Minute, 3 * time.Hour, false, incident.VerdictRecovered},
		{"nobody can count", func(time.Duration) *int64 { return nil }, 30 * time.Minute, 3 * time.Hour, false, incident.VerdictUnknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w, _ := newUnpaidOrders(t, tt.left)
			w.takes["ExecuteAction"] = time.Minute
			update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
			update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", option(t, "o1")))
			resolved(w, tt.cleared)
			var before incident.View
			if tt.open {
				w.env.RegisterDelayedCallback(func() { before = w.view(t) }, tt.closed-time.Minute)
				command(w, tt.closed, "c1", incident.VerbClose)
			}
			v := w.run(t)
			require.Equal(t, incident.PhaseClosed, v.Phase)
			require.Equal(t, tt.verdict, v.Rollbacks[0].Recovery.Verdict)
			stayed := slices.ContainsFunc(v.Timeline, func(e incident.Event) bool {
				return strings.Contains(e.Text, "stays open here because data still diverges (orders without a payment: 37, at most 0 wanted)")
			})
			require.Equal(t, tt.open, stayed)
			if !tt.open {
				require.Less(t, v.ClosedAt.Sub(opened), tt.closed)
				return
			}
			require.NotContains(t, []incident.Phase{incident.PhaseRecovered, incident.PhaseClosed}, before.Phase)
			require.Contains(t, strings.Join(before.Notes, " "), "data still diverges: orders without a payment. Repair it, then close the incident by hand.")
			require.Equal(t, 7, before.Postmortem.Number, "the postmortem does not wait")
			require.Equal(t, tt.closed, v.ClosedAt.Sub(opened))
			if tt.cleared > 10*time.Minute {
				require.Contains(t, w.escalate[0], "the service is well again, and its data still has to be looked at: verdict not recovered: The SLIs are well, but 37 still diverge")
			}
		})
	}
}
