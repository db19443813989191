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

// patience is how long approvals wait for objections in these tests.
const patience = 2 * time.Minute

// windowed is a decision of a policy with a window: approvals wait, those that break
// the glass do not, and refusals refuse.
func windowed(in activities.DecideInput) (activities.DecideResult, error) {
	if in.Request.Answer == incident.AnswerRefuse {
		got := decided(in, incident.OutcomeRefused)
		got.Approvers = nil
		return got, nil
	}
	got := decided(in, incident.OutcomeApproved)
	got.Decision.BreakGlass = in.Request.BreakGlass
	if !in.Request.BreakGlass {
		got.Decision.ObjectionsUntil, got.Decision.ExpiresAt = in.Now.Add(patience), in.Now.Add(15*time.Minute)
	}
	return got, nil
}

// two offers two options, of which the first is recommended.
func two(t *testing.T, w *world) (first, second incident.Option) {
	t.Helper()
	first, second = option(t, "o1"), option(t, "o2")
	first.Recommended = true
	w.offers(first, second)
	return first, second
}

func (w *world) offers(options ...incident.Option) {
	w.collect = func(activities.CollectInput) (activities.CollectResult, error) {
		return activities.CollectResult{Service: "checkout", Ranking: incident.Ranking{Likely: -1}, Options: slices.Clone(options), DecideWithin: 3 * time.Minute}, nil
	}
}

func object(user, id string, o incident.Option) incident.DecideRequest {
	q := decide(user, id, o)
	q.Answer, q.Reason = incident.AnswerRefuse, "orders are being exported"
	return q
}

// seen is the view at a moment.
func (w *world) seen(t *testing.T, at time.Duration) *incident.View {
	t.Helper()
	v := new(incident.View)
	w.env.RegisterDelayedCallback(func() { *v = w.view(t) }, at)
	return v
}

// texts are what the ledger has under IDs with a suffix.
func (w *world) texts(suffix string) []string {
	var out []string
	for _, e := range w.written() {
		if strings.HasSuffix(e.ID, suffix) {
			out = append(out, e.Text)
		}
	}
	return out
}

func TestAnApprovalWaitsForObjections(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.decide = windowed
	first, second := two(t, w)
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	got := update(w, 2*time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", first))
	again := update(w, 150*time.Second, incident.UpdateDecide, "d2", decide("UBOB", "d2", first))
	other := update(w, 160*time.Second, incident.UpdateDecide, "d3", decide("UBOB", "d3", second))
	stale := decide("UBOB", "d4", first)
	stale.PlanDigest = incident.DigestOf([]byte("an older plan"))
	old := update(w, 170*time.Second, incident.UpdateDecide, "d4", stale)
	during, after := w.seen(t, 4*time.Minute-time.Second), w.seen(t, 4*time.Minute+time.Second)
	resolved(w, time.Hour)
	v := w.run(t)
	require.Equal(t, incident.OutcomeApproved, got.Outcome)
	require.Equal(t, incident.OutcomeLate, again.Outcome)
	require.Equal(t, "Ada", again.By)
	require.Equal(t, "o1 waits for objections, and starts at 03:04:00 UTC unless somebody objects; nothing was done", again.Reason)
	require.Contains(t, other.Reason, "to choose o2, object to o1 first")
	require.Equal(t, incident.OutcomeStale, old.Outcome)
	require.Len(t, w.decided, 1)

	require.Empty(t, during.Rollbacks)
	require.Equal(t, incident.PhaseDeciding, during.Phase)
	require.Equal(t, &incident.Objections{
		OptionID: "o1", PlanDigest: first.Digest, EventID: got.EventID, Approvers: []incident.Person{ada},
		Until: opened.Add(4 * time.Minute), ExpiresAt: opened.Add(17 * time.Minute),
	}, during.Objections)
	require.Empty(t, w.escalate, "nobody is paged because nobody decided")

	require.Nil(t, after.Objections)
	require.Len(t, v.Rollbacks, 1)
	require.Equal(t, opened.Add(4*time.Minute), v.Rollbacks[0].ApprovedAt)
	require.Len(t, w.executed, 1)
	require.Equal(t, incident.OutcomeApproved, v.Decisions[0].Outcome)
	require.True(t, slices.ContainsFunc(w.entries, func(e incident.Entry) bool {
		return e.Text == "nobody objected to o1 until 03:04:00 UTC"
	}))
}

func TestAnObjectionTakesTheApprovalBackAndLeadsToTheNextOption(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.decide = windowed
	first, second := two(t, w)
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	approved := update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", first))
	got := update(w, 2*time.Minute, incident.UpdateDecide, "d2", object("UBOB", "d2", first))
	after := w.seen(t, 5*time.Minute)
	next := update(w, 6*time.Minute, incident.UpdateDecide, "d3", decide("UADA", "d3", second))
	resolved(w, time.Hour)
	v := w.run(t)
	require.Equal(t, incident.OutcomeRefused, got.Outcome)
	require.Nil(t, after.Objections)
	require.Empty(t, after.Rollbacks, "it did not start")
	require.True(t, after.Options[0].Blocked)
	require.True(t, after.Options[1].Recommended)
	require.Equal(t, incident.OutcomeStale, after.Decisions[0].Outcome)
	require.Contains(t, after.Decisions[0].Sentence, "(void: Bob objected)")
	require.Contains(t, after.Notes, "The approval of o1 by Ada is void: Bob objected; nothing was done; choose another option.")
	require.Equal(t, []string{"the approval of o1 by Ada is void: Bob objected; nothing was done"}, w.texts(incident.VoidEventID(approved.EventID)))
	require.Equal(t, incident.OutcomeApproved, next.Outcome)
	require.Len(t, v.Rollbacks, 1)
	require.Equal(t, second.Digest, v.Rollbacks[0].PlanDigest)
}

// TestAnObjectionInTheLastMomentCounts has an objection judged while the window ends.
func TestAnObjectionInTheLastMomentCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, _ := two(t, w)
	w.decide = func(in activities.DecideInput) (activities.DecideResult, error) {
		if in.Request.Answer == incident.AnswerRefuse {
			w.takes["Decide"] = 0
		}
		return windowed(in)
	}
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", first))
	w.env.RegisterDelayedCallback(func() { w.mu.Lock(); defer w.mu.Unlock(); w.takes["Decide"] = 5 * time.Second }, 2*time.Minute)
	got := update(w, 3*time.Minute-time.Second, incident.UpdateDecide, "d2", object("UBOB", "d2", first))
	resolved(w, time.Hour)
	v := w.run(t)
	require.Equal(t, incident.OutcomeRefused, got.Outcome)
	require.Empty(t, v.Rollbacks)
	require.Empty(t, w.executed)
}

// TestWhatTakesAnApprovalBack has everything happen, during the window, that makes the
// approval void, or that does not.
func TestWhatTakesAnApprovalBack(t *testing.T) {
	t.Parallel()
	drifted := func(t *testing.T) incident.Option {
		t.Helper()
		a := action("releases/checkout")
		a.From.Revision = "5"
		return option(t, "o1", a)
	}
	refresh := func(w *world) { command(w, 2*time.Minute, "c1", incident.VerbRefresh) }
	for _, tt := range []struct {
		name string
		send func(t *testing.T, w *world)
		// void is why; empty when the rollback starts.
		void string
	}{
		{"a handover", func(_ *testing.T, w *world) { command(w, 2*time.Minute, "c1", incident.VerbTakeCommand) }, "the command changed hands; nothing was done; approve again"},
		{"the plan drifted", func(t *testing.T, w *world) {
			w.env.RegisterDelayedCallback(func() { w.offers(drifted(t)) }, 90*time.Second)
			refresh(w)
		}, "the plan has changed; nothing was done; look at the new one"},
		{"a check forbids it", func(t *testing.T, w *world) {
			o := option(t, "o1")
			o.Blocked = true
			w.env.RegisterDelayedCallback(func() { w.offers(o) }, 90*time.Second)
			refresh(w)
		}, "a check forbids the plan now"},
		{"another tier", func(t *testing.T, w *world) {
			o := option(t, "o1")
			o.Tier = incident.TierCommanderAndOwner
			w.env.RegisterDelayedCallback(func() { w.offers(o) }, 90*time.Second)
			refresh(w)
		}, "the plan needs another authority now"},
		{"a refresh that finds the same", func(_ *testing.T, w *world) { refresh(w) }, ""},
		{"a page with another severity", func(_ *testing.T, w *world) {
			p := page("p2", incident.PagePriority, 2*time.Minute)
			p.Severity = incident.Sev1
			update(w, 2*time.Minute, incident.UpdatePage, "p2", p)
		}, "the incident moved to another service or severity"},
		{"a page that says the same", func(_ *testing.T, w *world) {
			update(w, 2*time.Minute, incident.UpdatePage, "p2", page("p2", incident.PageAcknowledged, 2*time.Minute))
		}, ""},
		{"resolved at its source", func(_ *testing.T, w *world) {
			update(w, 2*time.Minute, incident.UpdatePage, "p2", page("p2", incident.PageResolved, 2*time.Minute))
		}, "the incident was resolved at its source"},
		{"closed by hand", func(_ *testing.T, w *world) { command(w, 2*time.Minute, "c1", incident.VerbClose) }, "Ada closed the incident"},
		{"cancelled", func(_ *testing.T, w *world) { command(w, 2*time.Minute, "c1", incident.VerbCancel) }, "Ada cancelled it"},
		{"another option refused", func(t *testing.T, w *world) {
			update(w, 2*time.Minute, incident.UpdateDecide, "d2", object("UBOB", "d2", option(t, "o2")))
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.decide = windowed
			first, _ := two(t, w)
			update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
			got := update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", first))
			tt.send(t, w)
			resolved(w, time.Hour)
			v := w.run(t)
			require.Equal(t, incident.OutcomeApproved, got.Outcome)
			require.Nil(t, v.Objections)
			if tt.void == "" {
				require.Len(t, w.executed, 1)
				require.Equal(t, incident.OutcomeApproved, v.Decisions[0].Outcome)
				return
			}
			require.Empty(t, w.executed)
			require.Empty(t, v.Rollbacks)
			require.Equal(t, incident.OutcomeStale, v.Decisions[0].Outcome)
			require.Contains(t, strings.Join(v.Notes, "\n"), "The approval of o1 by Ada is void: "+tt.void)
			require.Len(t, w.texts(incident.VoidEventID(got.EventID)), 1)
		})
	}
}

// TestAFactThatMovedWhileItWasJudgedVoidsTheApproval has the severity change between
// the question and the answer.
func TestAFactThatMovedWhileItWasJudgedVoidsTheApproval(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.decide = windowed
	w.takes["Decide"] = 5 * time.Second
	first, _ := two(t, w)
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", first))
	p := page("p2", incident.PagePriority, time.Minute)
	p.Severity = incident.Sev1
	update(w, time.Minute+time.Second, incident.UpdatePage, "p2", p)
	resolved(w, time.Hour)
	v := w.run(t)
	require.Empty(t, w.executed)
	require.Equal(t, incident.OutcomeStale, v.Decisions[0].Outcome)
}

func TestCancellingInTemporalTakesTheApprovalBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.decide = windowed
	first, _ := two(t, w)
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	got := update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", first))
	w.env.RegisterDelayedCallback(w.env.CancelWorkflow, 2*time.Minute)
	w.env.ExecuteWorkflow(incident.WorkflowIncident, incident.IncidentInput{Key: key})
	require.True(t, temporal.IsCanceledError(w.env.GetWorkflowError()))
	require.Empty(t, w.executed)
	require.Len(t, w.texts(incident.VoidEventID(got.EventID)), 1)
}

// TestAWindowOutlivesAContinueAsNew goes on in a new run in the middle of a window.
func TestAWindowOutlivesAContinueAsNew(t *testing.T) {
	t.Parallel()
	for _, objects := range []bool{false, true} {
		w := newWorld(t)
		w.decide = windowed
		first, _ := two(t, w)
		update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
		got := update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", first))
		w.suggest(90 * time.Second)
		update(w, 100*time.Second, incident.UpdatePage, "p2", page("p2", incident.PageNoted, time.Minute))
		state := w.goesOn(t)
		require.NotNil(t, state.View.Objections)
		require.Empty(t, w.executed)

		next := newWorld(t)
		next.decide = windowed
		next.env.SetStartTime(opened.Add(2 * time.Minute))
		if objects {
			update(next, 30*time.Second, incident.UpdateDecide, "d2", object("UBOB", "d2", first))
		}
		before := next.count
		next.env.RegisterDelayedCallback(func() { require.Zero(t, before("ExecuteAction")) }, 59*time.Second)
		update(next, time.Hour, incident.UpdatePage, "end", page("end", incident.PageResolved, time.Hour))
		next.env.ExecuteWorkflow(incident.WorkflowIncident, incident.IncidentInput{Key: key, State: state})
		require.NoError(t, next.env.GetWorkflowError())
		v := next.view(t)
		if objects {
			require.Empty(t, next.executed)
			require.Len(t, next.texts(incident.VoidEventID(got.EventID)), 1)
			continue
		}
		require.Len(t, next.executed, 1)
		require.Equal(t, opened.Add(3*time.Minute), v.Rollbacks[0].ApprovedAt)
	}
}

// TestBrokenGlassStartsAtOnce has the glass broken of the plan that waits, and of
// another one.
func TestBrokenGlassStartsAtOnce(t *testing.T) {
	t.Parallel()
	for id, voided := range map[string]int{"o1": 0, "o2": 1} {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.decide = windowed
			first, _ := two(t, w)
			chosen := option(t, id)
			update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
			waits := update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", first))
			glass := decide("UBOB", "d2", chosen)
			glass.BreakGlass, glass.Reason = true, "money is being lost"
			got := update(w, 90*time.Second, incident.UpdateDecide, "d2", glass)
			resolved(w, time.Hour)
			v := w.run(t)
			require.Equal(t, incident.OutcomeApproved, got.Outcome)
			require.Len(t, v.Rollbacks, 1)
			require.Equal(t, chosen.Digest, v.Rollbacks[0].PlanDigest)
			require.Equal(t, opened.Add(90*time.Second), v.Rollbacks[0].ApprovedAt)
			require.Len(t, w.texts(incident.VoidEventID(waits.EventID)), voided)
		})
	}
}

// TestAnApprovalThatWasTakenTooLateLeavesAWindow has the answer of the activity arrive
// when its window is over.
func TestAnApprovalThatWasTakenTooLateLeavesAWindow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, _ := two(t, w)
	w.decide = func(in activities.DecideInput) (activities.DecideResult, error) {
		got, err := windowed(in)
		got.Decision.At = in.Now.Add(-10 * time.Minute)
		got.Decision.ObjectionsUntil, got.Decision.ExpiresAt = in.Now.Add(-8*time.Minute), in.Now.Add(5*time.Minute)
		return got, err
	}
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", first))
	resolved(w, time.Hour)
	v := w.run(t)
	require.Equal(t, opened.Add(3*time.Minute), v.Rollbacks[0].ApprovedAt)
}

func TestAnApprovalThatExpiresInItsWindowIsVoid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, _ := two(t, w)
	w.decide = func(in activities.DecideInput) (activities.DecideResult, error) {
		got, err := windowed(in)
		got.Decision.ExpiresAt = in.Now.Add(time.Minute)
		return got, err
	}
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	got := update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", first))
	after := w.seen(t, 2*time.Minute+time.Second)
	resolved(w, time.Hour)
	w.run(t)
	require.Empty(t, w.executed)
	require.Contains(t, after.Notes, "The approval of o1 by Ada is void: it expired at 03:02:00 UTC while it waited for objections; nothing was done; approve again.")
	require.Len(t, w.texts(incident.VoidEventID(got.EventID)), 1)
}
