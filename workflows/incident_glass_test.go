package workflows_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// An approval past the policy pages people at once and asks for its review, and
// skips neither evidence nor lock nor ledger.
func TestBreakGlassIsLoudAndSkipsNothing(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		broken bool
	}{{"an approval by the policy", false}, {"an approval past the policy", true}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			o := option(t, "o1")
			w.decide = func(in activities.DecideInput) (activities.DecideResult, error) {
				d := incident.Decision{
					ID: in.Request.DecisionID, EventID: in.EventID, OptionID: in.Request.OptionID, PlanDigest: in.Request.PlanDigest, Answer: in.Request.Answer, Person: ada,
					Outcome: incident.OutcomeApproved, Sentence: "approved", Reason: in.Request.Reason, BreakGlass: in.Request.BreakGlass, At: in.Now,
				}
				return activities.DecideResult{Decision: d, Approvers: []incident.Person{ada}}, nil
			}
			update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
			q := decide("UADA", "d1", o)
			q.BreakGlass, q.Reason = tt.broken, "all of Europe is down"
			got := update(w, time.Minute, incident.UpdateDecide, "d1", q)
			update(w, 20*time.Minute, incident.UpdatePage, "p2", page("p2", incident.PageResolved, 20*time.Minute))
			v := w.run(t)
			require.Equal(t, incident.OutcomeApproved, got.Outcome)
			require.Equal(t, incident.RollbackDone, v.LastRollback().Status)
			require.Equal(t, 1, w.count("CaptureEvidence before"))
			require.Equal(t, 1, w.count("Replan"))
			require.Equal(t, 1, w.count("ExecuteAction"))
			loud := slices.IndexFunc(w.escalate, func(reason string) bool { return strings.Contains(reason, "BREAK-GLASS") })
			if !tt.broken {
				require.Equal(t, -1, loud)
				require.Zero(t, w.count("OpenReview 2026-03-06"))
				return
			}
			require.GreaterOrEqual(t, loud, 0)
			require.Contains(t, w.escalate[loud], "all of Europe is down")
			require.Equal(t, 1, w.count("OpenReview 2026-03-06"))
			require.Less(t, slices.Index(w.calls, "Escalate"), slices.Index(w.calls, "ExecuteAction"), "people are paged before anything is touched")
			texts := func(text string) bool {
				return slices.ContainsFunc(w.entries, func(e incident.Entry) bool { return strings.Contains(e.Text, text) })
			}
			require.True(t, texts("BREAK-GLASS: "+ada.Name), "the ledger has it")
			require.True(t, texts("break-glass review due 2026-03-06: https://git.example.com/8"))
		})
	}
}
