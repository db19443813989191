package workflows_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

const key = "pagerduty/Q1"

var opened = time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)

func page(id string, kind incident.PageKind, after time.Duration) incident.Page {
	return incident.Page{
		EventID: id, Source: incident.SourcePagerDuty, Kind: kind, IncidentID: "Q1", Title: "checkout fails", Severity: incident.Sev2,
		ServiceID: "PCHECK", OccurredAt: opened.Add(after), OpenedAt: opened,
	}
}

// update sends an update at a moment of workflow time and returns where its
// result will be.
func update[Req any](w *world, at time.Duration, name, id string, req Req) *incident.Result {
	res := &incident.Result{}
	w.env.RegisterDelayedCallback(func() {
		w.env.UpdateWorkflow(name, id, &testsuite.TestUpdateCallback{
			OnReject: func(err error) { res.Reason = "rejected: " + err.Error() },
			OnAccept: func() {},
			OnComplete: func(v any, err error) {
				if err != nil {
					res.Reason = err.Error()
				} else if r, ok := v.(incident.Result); ok {
					*res = r
				}
			},
		}, req)
	}, at)
	return res
}

func decide(user, id string, o incident.Option) incident.DecideRequest {
	return incident.DecideRequest{
		DecisionID: id, OptionID: o.ID, PlanDigest: o.Digest, Answer: incident.AnswerApprove,
		Actor: incident.Actor{Via: incident.ViaSlack, SlackTeam: "T1", SlackUser: user},
	}
}

func (w *world) run(t *testing.T) incident.View {
	t.Helper()
	w.env.ExecuteWorkflow(incident.WorkflowIncident, incident.IncidentInput{Key: key})
	require.True(t, w.env.IsWorkflowCompleted())
	require.NoError(t, w.env.GetWorkflowError())
	return w.view(t)
}

func (w *world) view(t *testing.T) incident.View {
	t.Helper()
	enc, err := w.env.QueryWorkflow(incident.QueryView)
	require.NoError(t, err)
	var v incident.View
	require.NoError(t, enc.Get(&v))
	return v
}

func TestIncidentFromPageToPostmortem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := option(t, "o1")
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	got := update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", o))
	update(w, 20*time.Minute, incident.UpdatePage, "p2", page("p2", incident.PageResolved, 20*time.Minute))
	v := w.run(t)
	require.Equal(t, incident.OutcomeApproved, got.Outcome)
	require.Equal(t, incident.PhaseClosed, v.Phase)
	require.Len(t, v.Rollbacks, 1)
	require.Equal(t, incident.VerdictRecovered, v.Rollbacks[0].Recovery.Verdict)
	require.Equal(t, 7, v.Postmortem.Number)
	require.Contains(t, w.calls, "NoteAtSource")
	require.Empty(t, w.escalate)
	last := w.cards[len(w.cards)-1]
	require.Equal(t, v.Revision, last.Revision, "the card shows the end")

	recorded := map[string]bool{}
	for _, e := range w.entries {
		require.False(t, recorded[e.ID], "entry %s twice", e.ID)
		recorded[e.ID] = true
	}
	for i, e := range v.Timeline {
		require.NotEmpty(t, e.ID)
		if i > 0 {
			require.False(t, e.At.Before(v.Timeline[i-1].At), "the timeline is in order")
		}
	}
}

func TestPagesMayComeTwiceAndInAnyOrder(t *testing.T) {
	t.Parallel()
	pages := []incident.Page{
		page("p1", incident.PageTriggered, 0), page("p2", incident.PageAcknowledged, time.Minute), page("p3", incident.PagePriority, 2*time.Minute),
		page("p4", incident.PageResolved, 3*time.Minute), page("p5", incident.PageReopened, 4*time.Minute), page("p6", incident.PageResolved, 5*time.Minute),
	}
	pages[5].Title = "the newest title"
	for seed := range uint64(20) {
		w := newWorld(t)
		deck := slices.Concat(pages, pages, pages)
		rand.New(rand.NewPCG(seed, 1)).Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		for i, p := range deck {
			update(w, time.Duration(i)*time.Millisecond, incident.UpdatePage, "", p)
		}
		v := w.run(t)
		require.Equal(t, incident.PhaseClosed, v.Phase, "seed %d", seed)
		require.Equal(t, "the newest title", v.Title, "seed %d", seed)
		require.Equal(t, opened, v.OpenedAt)
		n := 0
		for _, e := range v.Timeline {
			if e.Kind == incident.EventPage {
				n++
			}
		}
		require.LessOrEqual(t, n, len(pages), "seed %d: a repeated event is no event", seed)
	}
}

func TestOneOfTwoClicksDecides(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := option(t, "o1")
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	first := update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", o))
	second := update(w, time.Minute, incident.UpdateDecide, "d2", decide("UBOB", "d2", o))
	again := update(w, time.Minute+time.Second, incident.UpdateDecide, "d1-again", decide("UADA", "d1", o))
	update(w, time.Hour, incident.UpdatePage, "p2", page("p2", incident.PageResolved, time.Hour))
	v := w.run(t)
	require.Equal(t, incident.OutcomeApproved, first.Outcome)
	require.Equal(t, incident.OutcomeLate, second.Outcome)
	require.Equal(t, "Ada", second.By)
	require.Equal(t, first.EventID, again.EventID, "the same decision again is the same decision")
	require.Len(t, v.Rollbacks, 1)
	require.Len(t, w.executed, 1)
	require.True(t, slices.ContainsFunc(w.entries, func(e incident.Entry) bool { return e.ID == second.EventID }), "the late click is recorded")
}

func TestDecisionsThatDoNothing(t *testing.T) {
	t.Parallel()
	o := option(t, "o1")
	other := decide("UADA", "d1", o)
	other.PlanDigest = incident.DigestOf([]byte("an older plan"))
	for _, tt := range []struct {
		name    string
		request incident.DecideRequest
		outcome incident.Outcome
		decide  incident.Outcome
	}{
		{"a click on an old card", other, incident.OutcomeStale, ""},
		{"an unknown option", func() incident.DecideRequest { r := decide("UADA", "d1", o); r.OptionID = "o9"; return r }(), incident.OutcomeStale, ""},
		{"somebody unknown", decide("UEVE", "d1", o), incident.OutcomeUnidentified, incident.OutcomeUnidentified},
		{"somebody without the role", decide("UEVE", "d1", o), incident.OutcomeDenied, incident.OutcomeDenied},
		{"one of two approvals", decide("UADA", "d1", o), incident.OutcomeWaiting, incident.OutcomeWaiting},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.decide = func(in activities.DecideInput) (activities.DecideResult, error) { return decided(in, tt.decide), nil }
			update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
			got := update(w, time.Minute, incident.UpdateDecide, "d1", tt.request)
			update(w, 2*time.Minute, incident.UpdatePage, "p2", page("p2", incident.PageResolved, time.Hour))
			v := w.run(t)
			require.Equal(t, tt.outcome, got.Outcome)
			require.Empty(t, v.Rollbacks)
			require.Empty(t, w.executed)
		})
	}
}

func TestMalformedUpdatesAreRejected(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	noDigest := decide("UADA", "d1", option(t, "o1"))
	noDigest.PlanDigest = "sha256:abc"
	got := update(w, time.Minute, incident.UpdateDecide, "d1", noDigest)
	update(w, 2*time.Minute, incident.UpdatePage, "p2", page("p2", incident.PageResolved, time.Hour))
	w.run(t)
	require.Contains(t, got.Reason, "rejected: ")
	require.NotContains(t, w.calls, "Decide")
}

func TestNobodyDecidingPagesTheNextLevel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	update(w, time.Hour, incident.UpdatePage, "p2", page("p2", incident.PageResolved, time.Hour))
	w.run(t)
	require.Equal(t, []string{"nobody decided on a rollback in time"}, w.escalate)
}

func TestNotRecoveredIsStuckAndEscalates(t *testing.T) {
	t.Parallel()
	for _, bad := range []incident.Verdict{incident.VerdictNotRecovered, incident.VerdictUnknown} {
		t.Run(string(bad), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.measure = func(_ int, at time.Time) incident.RecoveryResult { return verdict(bad, at) }
			update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
			update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", option(t, "o1")))
			var seen incident.View
			w.env.RegisterDelayedCallback(func() { seen = w.view(t) }, 9*time.Minute)
			update(w, time.Hour, incident.UpdatePage, "p2", page("p2", incident.PageResolved, time.Hour))
			w.run(t)
			require.NotEmpty(t, w.escalate)
			require.Contains(t, w.escalate[0], "did not bring the service back")
			require.NotEqual(t, incident.PhaseRecovered, seen.Phase)
			require.False(t, slices.ContainsFunc(w.entries, func(e incident.Entry) bool { return e.Text == "recovered" }))
		})
	}
}

func TestARefusalLeadsToTheNextOption(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := option(t, "o1"), option(t, "o2")
	first.Recommended = true
	w.collect = func(activities.CollectInput) (activities.CollectResult, error) {
		return activities.CollectResult{Service: "checkout", Ranking: incident.Ranking{Likely: -1}, Options: []incident.Option{first, second}, DecideWithin: time.Hour}, nil
	}
	w.decide = func(in activities.DecideInput) (activities.DecideResult, error) {
		return decided(in, incident.OutcomeRefused), nil
	}
	refusal := decide("UADA", "d1", first)
	refusal.Answer, refusal.Reason = incident.AnswerRefuse, "too risky"
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	got := update(w, time.Minute, incident.UpdateDecide, "d1", refusal)
	again := update(w, 2*time.Minute, incident.UpdateDecide, "d2", decide("UADA", "d2", first))
	var seen incident.View
	w.env.RegisterDelayedCallback(func() { seen = w.view(t) }, 3*time.Minute)
	update(w, 4*time.Minute, incident.UpdatePage, "p2", page("p2", incident.PageResolved, time.Hour))
	w.run(t)
	require.Equal(t, incident.OutcomeRefused, got.Outcome)
	require.Equal(t, incident.OutcomeDenied, again.Outcome)
	require.True(t, seen.Options[0].Blocked)
	require.True(t, seen.Options[1].Recommended)
	require.Len(t, seen.Decisions, 1)
}

func TestTheCardIsUpdatedAtMostOnceASecond(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 50 {
		update(w, time.Duration(i)*20*time.Millisecond, incident.UpdatePage, "", page("p"+strings.Repeat("x", i), incident.PageNoted, time.Duration(i)*time.Millisecond))
	}
	update(w, 5*time.Second, incident.UpdatePage, "end", page("end", incident.PageResolved, time.Hour))
	v := w.run(t)
	require.LessOrEqual(t, len(w.cards), 6)
	require.Equal(t, v.Revision, w.cards[len(w.cards)-1].Revision)
}

func TestHandoverVoidsWaitingApprovals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.decide = func(in activities.DecideInput) (activities.DecideResult, error) {
		return decided(in, incident.OutcomeWaiting), nil
	}
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", option(t, "o1")))
	update(w, 2*time.Minute, incident.UpdateCommand, "c1", incident.CommandRequest{CommandID: "c1", Verb: incident.VerbTakeCommand, Actor: incident.Actor{Via: incident.ViaCLI, Login: "ada"}})
	var seen incident.View
	w.env.RegisterDelayedCallback(func() { seen = w.view(t) }, 3*time.Minute)
	update(w, 4*time.Minute, incident.UpdatePage, "p2", page("p2", incident.PageResolved, time.Hour))
	w.run(t)
	require.Equal(t, incident.OutcomeStale, seen.Decisions[0].Outcome)
	require.Equal(t, "Ada", seen.Commander.Name)
}
