package workflows_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/workflows/incident"
)

// attempts are the texts of the refused attempts on record.
func attempts(w *world) []string {
	var out []string
	for _, e := range w.entries {
		if e.Kind == incident.EventAttempt {
			out = append(out, e.Text)
		}
	}
	return out
}

func TestASignalThatMeansNothingIsOnRecord(t *testing.T) {
	t.Parallel()
	report := incident.RollbackView{ID: incident.RollbackID("pagerduty/Q1", 1), Status: incident.RollbackDone}
	for _, tt := range []struct {
		name, signal string
		arg          any
		says         string
	}{
		{"of no name that is known", "approve", "yes", `the signal "approve" did nothing`},
		{"of a name from outside", "a\x1b[2J\n<!channel>" + strings.Repeat("x", 5000), nil, `the signal "a\x1b[2J\n<!channel>xxx`},
		{"that belongs to a rollback", incident.SignalCancel, nil, `the signal "` + incident.SignalCancel + `" did nothing`},
		{"that belongs to a lock", incident.SignalRelease, nil, `the signal "` + incident.SignalRelease + `" did nothing`},
		{"a report of a rollback that never was", incident.SignalRollback, report, "no such rollback runs"},
		{"a report that is none", incident.SignalRollback, 7, "it can not be read"},
		{"an attempt that is none", incident.SignalAttempt, 7, "can not be read"},
		{"an attempt of nobody", incident.SignalAttempt, incident.Attempt{Text: "x"}, "can not be read"},
		{"what the bot refused", incident.SignalAttempt, incident.Attempt{Actor: incident.Actor{Via: incident.ViaConsole, Login: "mallory"}, Text: "refused the second proof"}, "refused the second proof"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
			w.env.RegisterDelayedCallback(func() { w.env.SignalWorkflow(tt.signal, tt.arg) }, time.Minute)
			var then incident.View
			w.env.RegisterDelayedCallback(func() { then = w.view(t) }, 2*time.Minute)
			update(w, 30*time.Minute, incident.UpdatePage, "end", page("end", incident.PageResolved, time.Hour))
			w.run(t)
			require.Len(t, attempts(w), 1)
			require.Contains(t, attempts(w)[0], tt.says)
			require.Less(t, len(attempts(w)[0]), 600)
			require.Equal(t, incident.PhaseDeciding, then.Phase)
			require.Empty(t, then.Rollbacks)
			require.Empty(t, w.executed)
		})
	}
}

func TestAStormOfSignalsIsCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	for i := range 120 {
		w.env.RegisterDelayedCallback(func() { w.env.SignalWorkflow("approve", nil) }, time.Minute+time.Duration(i)*time.Second)
	}
	update(w, 30*time.Minute, incident.UpdatePage, "end", page("end", incident.PageResolved, time.Hour))
	w.run(t)
	require.Len(t, attempts(w), 50)
	_, numbered, _ := tallied(t, w.entries)
	require.Equal(t, 70, numbered, "not one is lost")
}

// The reports of a rollback that runs are no attempts, also when they arrive with its
// end; a signal that means nothing to it is one, and stops nothing.
func TestASignalToARollbackDoesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.takes["ExecuteAction"] = 2 * time.Minute
	for i := range 30 {
		w.env.RegisterDelayedCallback(func() { w.env.SignalWorkflow("approve", nil) }, time.Minute+time.Duration(i)*time.Millisecond)
	}
	v := runRollback(t, w, rollbackInput(option(t, "o1")))
	require.Equal(t, incident.RollbackDone, v.Status)
	require.Len(t, attempts(w), 20)
	require.True(t, slices.ContainsFunc(v.Events, func(e incident.Event) bool { return e.Kind == incident.EventAttempt }))
}
