package workflows_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/workflows/incident"
)

// The start and the update that follows it are two writes: whatever happens in
// between, the incident knows what it is about.
func TestFirstPageIsInTheStart(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		// delivered says how often the update arrives.
		delivered int
		want      []incident.Outcome
	}{
		{"the update is lost", 0, nil},
		{"the update arrives", 1, []incident.Outcome{incident.OutcomeAccepted}},
		{"the update arrives and is repeated", 2, []incident.Outcome{incident.OutcomeAccepted, incident.OutcomeDuplicate}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			first := page("p1", incident.PageTriggered, 0)
			var got []*incident.Result
			for i := range tt.delivered {
				got = append(got, update(w, time.Duration(i)*time.Second, incident.UpdatePage, "p1"+string(rune('a'+i)), first))
			}
			update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", option(t, "o1")))
			update(w, 20*time.Minute, incident.UpdatePage, "p2", page("p2", incident.PageResolved, 20*time.Minute))
			w.env.ExecuteWorkflow(incident.WorkflowIncident, incident.IncidentInput{Key: key, Page: &first})
			require.True(t, w.env.IsWorkflowCompleted())
			require.NoError(t, w.env.GetWorkflowError())
			v := w.view(t)
			require.Equal(t, incident.PhaseClosed, v.Phase)
			require.Equal(t, "checkout fails", v.Title)
			pages := 0
			for _, e := range v.Timeline {
				if e.Kind == incident.EventPage && e.Text == "triggered: checkout fails (sev2)" {
					pages++
				}
			}
			require.Equal(t, 1, pages)
			for i, want := range tt.want {
				require.Equal(t, want, got[i].Outcome)
			}
		})
	}
}

func TestStartRefusesAnothersPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := page("p1", incident.PageTriggered, 0)
	p.IncidentID = "Q2"
	w.env.ExecuteWorkflow(incident.WorkflowIncident, incident.IncidentInput{Key: key, Page: &p})
	require.ErrorContains(t, w.env.GetWorkflowError(), "does not fit")
}
