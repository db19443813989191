package workflows_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// rolledBack plays an incident that is approved after a minute and resolved at its
// source after a while.
func rolledBack(t *testing.T, w *world, until time.Duration) incident.View {
	t.Helper()
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", option(t, "o1")))
	resolved(w, until)
	return w.run(t)
}

func TestTheChartIsDrawnOnceTheVerdictIsFinal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := rolledBack(t, w, time.Hour)
	require.Equal(t, incident.PhaseClosed, v.Phase)
	rb := v.Rollbacks[0]
	require.Equal(t, &incident.ChartRef{
		Digest: incident.DigestOf([]byte("light")), DarkDigest: incident.DigestOf([]byte("dark")),
		SlackFile: "F1", SlackURL: "https://chat.example.com/files/U1/F1/chart.png",
	}, rb.Chart)

	require.Len(t, w.drawn, 1)
	in := w.drawn[0]
	require.Equal(t, incident.ChartID(rb.ID), in.EventID)
	require.Equal(t, *rb.Recovery, in.Recovery)
	require.Equal(t, rb.ApprovedAt, in.ApprovedAt)
	require.Equal(t, rb.FirstMutationAt, in.MutatedAt)
	require.Equal(t, rb.ActionsDoneAt, in.ActionsDoneAt)
	require.Equal(t, v.PagedAt, in.PagedAt)
	require.False(t, in.OnsetAt.IsZero())
	require.Equal(t, option(t, "o1").Plan, in.Plan)

	require.Len(t, w.shared, 1)
	require.Equal(t, v.Card, w.shared[0].Card)
	require.Contains(t, w.shared[0].Text, "Verdict: recovered. because")
	for _, id := range []string{incident.ChartID(rb.ID), incident.SharedChartID(rb.ID)} {
		require.True(t, slices.ContainsFunc(v.Timeline, func(e incident.Event) bool { return e.ID == id }), id)
	}
	require.Empty(t, v.Notes)
	require.GreaterOrEqual(t, w.count("WritePostmortem"), 2, "the draft gets the chart")
}

func TestAChartHoldsNothingUp(t *testing.T) {
	t.Parallel()
	final := temporal.NewNonRetryableApplicationError("call files.getUploadURLExternal: missing_scope", incident.ErrTypeDenied, nil)
	for _, tt := range []struct {
		name  string
		world func(*world)
		drawn bool
		note  string
	}{
		{"it can not be drawn", func(w *world) {
			w.draw = func(activities.ChartInput) (incident.ChartRef, error) { return incident.ChartRef{}, final }
		}, false, "could not be drawn: call files"},
		{"drawing fails for long", func(w *world) {
			w.draw = func(activities.ChartInput) (incident.ChartRef, error) {
				return incident.ChartRef{}, temporal.NewApplicationError("the store is away", "")
			}
		}, false, "could not be drawn: the store is away"},
		{"it can not be shown", func(w *world) {
			w.share = func(activities.ShareChartInput) (incident.PictureRef, error) { return incident.PictureRef{}, final }
		}, true, "could not be shown in the thread: call files.getUploadURLExternal: missing_scope"},
		{"Slack is away", func(w *world) {
			w.share = func(activities.ShareChartInput) (incident.PictureRef, error) {
				return incident.PictureRef{}, temporal.NewApplicationError("no answer", "")
			}
		}, true, "could not be shown in the thread: no answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tt.world(w)
			var soon incident.View
			w.env.RegisterDelayedCallback(func() { soon = w.view(t) }, 4*time.Minute)
			v := rolledBack(t, w, time.Hour)
			require.Equal(t, incident.PhaseRecovered, soon.Phase, "nothing waits for the chart")
			require.Equal(t, incident.PhaseClosed, v.Phase)
			require.Equal(t, incident.VerdictRecovered, v.Rollbacks[0].Recovery.Verdict)
			require.Equal(t, tt.drawn, v.Rollbacks[0].Chart != nil)
			require.Contains(t, strings.Join(v.Notes, " "), tt.note)
			require.True(t, slices.ContainsFunc(w.entries, func(e incident.Entry) bool {
				return e.Kind == incident.EventVerdict && strings.Contains(e.Text, tt.note)
			}), "the ledger has it")
			require.NotZero(t, w.count("WritePostmortem"))
		})
	}
}

func TestNoChartWithoutAVerdict(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.replan = func(in activities.ReplanInput) (activities.ReplanResult, error) {
		return activities.ReplanResult{Digest: in.Digest, Differences: []string{"it moved"}}, nil
	}
	v := rolledBack(t, w, time.Hour)
	require.Equal(t, incident.RollbackVoid, v.Rollbacks[0].Status)
	require.Nil(t, v.Rollbacks[0].Chart)
	require.Empty(t, w.drawn)
}

func TestAForgedReportBringsNoChart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := option(t, "o1")
	w.takes["ExecuteAction"] = 5 * time.Minute
	var during incident.View
	w.env.RegisterDelayedCallback(func() {
		w.env.SignalWorkflow(incident.SignalRollback, incident.RollbackView{
			ID: "rollback/pagerduty/Q1/1", OptionID: "o1", PlanDigest: o.Digest, Step: "forged",
			Actions: []incident.ActionView{{Action: o.Plan.Actions[0], Status: incident.ActionRunning}}, Chart: &incident.ChartRef{SlackURL: "https://evil.example.com"},
		})
	}, 2*time.Minute)
	w.env.RegisterDelayedCallback(func() { during = w.view(t) }, 2*time.Minute+time.Second)
	rolledBack(t, w, time.Hour)
	require.Equal(t, "forged", during.Rollbacks[0].Step)
	require.Nil(t, during.Rollbacks[0].Chart)
}
