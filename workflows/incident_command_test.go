package workflows_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

var errAway = errors.New("no answer")

func resolved(w *world, at time.Duration) {
	update(w, at, incident.UpdatePage, "resolved", page("resolved", incident.PageResolved, at))
}

// TestACallForHelpIsMadeAtOnce is somebody asking for the next level while a
// rollback runs, and while the options are being worked out.
func TestACallForHelpIsMadeAtOnce(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		slow string
	}{{"during a rollback", "ExecuteAction"}, {"while options are worked out", "CollectOptions"}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.takes[tt.slow] = 5 * time.Minute
			update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
			if tt.slow != "CollectOptions" {
				update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", option(t, "o1")))
			}
			got := command(w, 2*time.Minute, "c1", incident.VerbEscalate)
			var called []string
			w.env.RegisterDelayedCallback(func() { called = slices.Clone(w.escalate) }, 2*time.Minute+time.Second)
			resolved(w, time.Hour)
			w.run(t)
			require.Equal(t, incident.OutcomeAccepted, got.Outcome)
			require.Equal(t, []string{"asked for by Ada"}, called)
		})
	}
}

// TestEachCausePagesOnce counts pages: a repetition is none, another cause is
// another one, and an attempt that failed keeps its identity.
func TestEachCausePagesOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	failures := 2
	w.call = func(activities.EscalateInput) error {
		if failures > 0 {
			failures--
			return errAway
		}
		return nil
	}
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	command(w, time.Minute, "c1", incident.VerbEscalate)
	update(w, 2*time.Minute, incident.UpdateCommand, "again", incident.CommandRequest{CommandID: "c1", Verb: incident.VerbEscalate, Actor: incident.Actor{Via: incident.ViaCLI, Login: "ada"}})
	command(w, 3*time.Minute, "c2", incident.VerbEscalate)
	resolved(w, 9*time.Minute)
	w.run(t)
	require.Len(t, w.escalate, 2)
	require.Len(t, w.escalIDs, 4, "two attempts failed")
	require.Equal(t, w.escalIDs[0], w.escalIDs[1])
	require.Equal(t, w.escalIDs[0], w.escalIDs[2])
	require.NotEqual(t, w.escalIDs[0], w.escalIDs[3])
	for _, id := range w.escalIDs {
		require.True(t, slices.ContainsFunc(w.entries, func(e incident.Entry) bool { return e.ID == id && e.Kind == incident.EventEscalation }), "the cause is in the ledger")
	}
}

func TestRefreshingDoesNotPutOffThePageNorRepeatIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	command(w, 9*time.Minute, "c1", incident.VerbRefresh)
	var before, after []string
	w.env.RegisterDelayedCallback(func() { before = slices.Clone(w.escalate) }, 9*time.Minute+30*time.Second)
	w.env.RegisterDelayedCallback(func() { after = slices.Clone(w.escalate) }, 11*time.Minute)
	command(w, 12*time.Minute, "c2", incident.VerbRefresh)
	resolved(w, time.Hour)
	w.run(t)
	require.Empty(t, before)
	require.Equal(t, []string{"nobody decided on a rollback in time"}, after)
	require.Equal(t, after, w.escalate)
}

func TestWhyNobodyDecidedIsSaid(t *testing.T) {
	t.Parallel()
	blocked := option(t, "o1")
	blocked.Blocked = true
	for _, tt := range []struct {
		name    string
		options []incident.Option
		want    []string
	}{
		{"nothing to choose from", []incident.Option{blocked}, []string{"none of the options can be chosen; the card says why"}},
		{"nothing to offer", nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.collect = func(activities.CollectInput) (activities.CollectResult, error) {
				return activities.CollectResult{Service: "checkout", Ranking: incident.Ranking{Likely: -1}, Options: tt.options, DecideWithin: 10 * time.Minute}, nil
			}
			update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
			resolved(w, time.Hour)
			w.run(t)
			require.Equal(t, tt.want, w.escalate)
		})
	}
	t.Run("one of two has decided", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.decide = func(in activities.DecideInput) (activities.DecideResult, error) {
			d := decided(in, incident.OutcomeWaiting)
			d.Waiting = "an owner of checkout"
			return d, nil
		}
		update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
		update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", option(t, "o1")))
		resolved(w, time.Hour)
		w.run(t)
		require.Equal(t, []string{"a rollback waits for an owner of checkout"}, w.escalate)
	})
}

func TestOptionsThatCanNotBeWorkedOutPageOnceUntilTheyCan(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	down := true
	w.collect = func(activities.CollectInput) (activities.CollectResult, error) {
		if down {
			return activities.CollectResult{}, temporal.NewNonRetryableApplicationError("catalogue is away", incident.ErrTypeInvalid, nil)
		}
		return activities.CollectResult{Service: "checkout", Ranking: incident.Ranking{Likely: -1}, Options: []incident.Option{option(t, "o1")}, DecideWithin: 24 * time.Hour}, nil
	}
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	command(w, time.Minute, "c1", incident.VerbRefresh)
	var stuck incident.View
	w.env.RegisterDelayedCallback(func() { stuck = w.view(t); down = false }, 2*time.Minute)
	command(w, 3*time.Minute, "c2", incident.VerbRefresh)
	w.env.RegisterDelayedCallback(func() { down = true }, 4*time.Minute)
	command(w, 5*time.Minute, "c3", incident.VerbRefresh)
	resolved(w, time.Hour)
	w.run(t)
	require.Equal(t, incident.PhaseStuck, stuck.Phase)
	require.Contains(t, strings.Join(stuck.Notes, " "), "Refresh to try again")
	require.Len(t, w.escalate, 2, "once for each time that it broke: %v", w.escalate)
}

// TestASystemThatDidNotAnswerIsAskedAgain is a source that was reconnecting when
// the page came: nobody has to think of refreshing.
func TestASystemThatDidNotAnswerIsAskedAgain(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		until int
		looks int
	}{{"it comes back", 3, 3}, {"it stays away", 1000, 9}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			n := 0
			w.collect = func(activities.CollectInput) (activities.CollectResult, error) {
				got := activities.CollectResult{Service: "checkout", Ranking: incident.Ranking{Likely: -1}, DecideWithin: 10 * time.Minute}
				if n++; n < tt.until {
					got.Incomplete = true
				} else {
					got.Options = []incident.Option{option(t, "o1")}
				}
				return got, nil
			}
			update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
			var soon int
			w.env.RegisterDelayedCallback(func() { soon = n }, 20*time.Second)
			resolved(w, 2*time.Hour)
			w.run(t)
			require.Equal(t, 3, soon, "twice within twenty seconds")
			require.Equal(t, tt.looks, n)
		})
	}
}

func TestAPageThatCanNotBeMadeIsSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.takes["Escalate"] = 2 * time.Minute
	w.call = func(activities.EscalateInput) error {
		return temporal.NewNonRetryableApplicationError("it did not come from the pager", incident.ErrTypeInvalid, nil)
	}
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	w.collect = func(in activities.CollectInput) (activities.CollectResult, error) {
		return activities.CollectResult{Service: "checkout", Ranking: incident.Ranking{Likely: -1}, Options: []incident.Option{option(t, "o1")}, Notes: []string{"as of " + in.Now.Format(time.TimeOnly)}, DecideWithin: time.Hour}, nil
	}
	command(w, time.Minute, "c1", incident.VerbEscalate)
	command(w, 30*time.Minute, "c2", incident.VerbRefresh)
	var early incident.View
	w.env.RegisterDelayedCallback(func() { early = w.view(t) }, 2*time.Minute+30*time.Second)
	resolved(w, time.Hour)
	v := w.run(t)
	require.Contains(t, strings.Join(early.Notes, " "), "could not be paged yet; page them by hand")
	require.Contains(t, strings.Join(v.Notes, " "), "could not be paged; page them by hand", "a refresh does not hide it")
	require.Contains(t, v.Notes, "as of 03:30:00")
	require.NotContains(t, v.Notes, "as of 03:00:00")
}

// TestADecisionDoesNotWaitForARefresh is a click while slow sources are being
// asked again.
func TestADecisionDoesNotWaitForARefresh(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	w.env.RegisterDelayedCallback(func() { w.takes["CollectOptions"] = 20 * time.Minute }, time.Minute)
	command(w, 2*time.Minute, "c1", incident.VerbRefresh)
	update(w, 3*time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", option(t, "o1")))
	resolved(w, 2*time.Hour)
	v := w.run(t)
	require.Len(t, v.Rollbacks, 1)
	require.Less(t, v.Rollbacks[0].StartedAt.Sub(v.Rollbacks[0].ApprovedAt), 5*time.Second)
	require.Equal(t, incident.PhaseClosed, v.Phase)
}

func TestARefusedPlanStaysRefused(t *testing.T) {
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
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", first))
	command(w, 2*time.Minute, "c1", incident.VerbRefresh)
	again := update(w, 3*time.Minute, incident.UpdateDecide, "d2", decide("UADA", "d2", first))
	resolved(w, 5*time.Minute)
	v := w.run(t)
	require.True(t, v.Options[0].Blocked)
	require.True(t, v.Options[1].Recommended)
	require.Equal(t, "Refused by Ada.", v.Options[0].Preflight[0].Reason)
	require.Contains(t, again.Reason, "that option was refused; choose another one")
}

func TestTheHandoverAndTheRequesterReachThePolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	redo := option(t, "o2")
	redo.Plan.Option = "redo-release"
	var err error
	redo.Digest, err = redo.Plan.Digest()
	require.NoError(t, err)
	w.collect = func(in activities.CollectInput) (activities.CollectResult, error) {
		got := activities.CollectResult{Service: "checkout", Ranking: incident.Ranking{Likely: -1}, Options: []incident.Option{option(t, "o1")}, DecideWithin: 10 * time.Minute}
		if in.Redo != nil {
			got.Options = append(got.Options, redo)
		}
		return got, nil
	}
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	command(w, time.Minute, "c1", incident.VerbTakeCommand)
	update(w, 2*time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", option(t, "o1")))
	command(w, 10*time.Minute, "c2", incident.VerbRedo)
	update(w, 11*time.Minute, incident.UpdateDecide, "d2", decide("UBOB", "d2", redo))
	resolved(w, 2*time.Hour)
	v := w.run(t)
	require.Len(t, v.Rollbacks, 2)
	require.Equal(t, opened.Add(time.Minute), w.decided[0].VoidBefore)
	require.Nil(t, w.decided[0].Requester)
	require.Equal(t, &ada, w.decided[1].Requester, "who asked for the undoing does not approve it alone")
	require.Equal(t, v.Rollbacks[1].ID, w.decided[1].Rollback)
}

func TestAskingForARedoAfterRecoveryPagesNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", option(t, "o1")))
	command(w, 10*time.Minute, "c1", incident.VerbRedo)
	resolved(w, time.Hour)
	w.run(t)
	require.Empty(t, w.escalate)
}

func TestCommandsThatAreDenied(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		verb incident.Verb
		at   time.Duration
		want string
	}{
		{"cancel nothing", incident.VerbCancel, time.Minute, "no rollback is running"},
		{"redo nothing", incident.VerbRedo, time.Minute, "changed nothing"},
		{"refresh during a rollback", incident.VerbRefresh, 3 * time.Minute, "a rollback is running"},
		{"redo during a rollback", incident.VerbRedo, 3 * time.Minute, "cancel it first"},
		{"close during a rollback", incident.VerbClose, 3 * time.Minute, "cancel it first"},
		{"anything after the end", incident.VerbRefresh, time.Hour + time.Minute, "the incident is closed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.takes["ExecuteAction"] = 3 * time.Minute
			// The tracker keeps a closed incident waiting.
			w.takes["WritePostmortem"] = 10 * time.Minute
			update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
			update(w, 2*time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", option(t, "o1")))
			got := command(w, tt.at, "c1", tt.verb)
			resolved(w, time.Hour)
			w.run(t)
			require.Equal(t, incident.OutcomeDenied, got.Outcome)
			require.Contains(t, got.Reason, tt.want)
			require.NotEmpty(t, got.EventID, "it is recorded")
		})
	}
}

func TestWhoCanNotBeCheckedIsToldToTryAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.decide = func(activities.DecideInput) (activities.DecideResult, error) {
		return activities.DecideResult{}, errAway
	}
	w.authorize = func(activities.AuthorizeInput) (activities.AuthorizeResult, error) {
		return activities.AuthorizeResult{}, errAway
	}
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	click := update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", option(t, "o1")))
	took := command(w, 2*time.Minute, "c1", incident.VerbTakeCommand)
	resolved(w, 5*time.Minute)
	v := w.run(t)
	for _, got := range []*incident.Result{click, took} {
		require.Equal(t, incident.OutcomeDenied, got.Outcome)
		require.Contains(t, got.Reason, "nothing was done; try again")
		require.True(t, slices.ContainsFunc(w.entries, func(e incident.Entry) bool { return e.ID == got.EventID }))
	}
	require.Nil(t, v.Commander)
	require.Empty(t, w.executed)
}

// TestAnIncidentThatMovesIsLookedAtAgain is another service, and another
// severity, at the source.
func TestAnIncidentThatMovesIsLookedAtAgain(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		page  func() incident.Page
		check func(*testing.T, activities.CollectInput)
		looks int
	}{
		{"another service", func() incident.Page {
			p := page("p2", incident.PageService, time.Minute)
			p.ServiceID = "PPAY"
			return p
		}, func(t *testing.T, in activities.CollectInput) {
			require.Equal(t, "PPAY", in.ServiceID)
			require.Empty(t, in.Service, "the name was that of the service before")
		}, 2},
		{"another severity", func() incident.Page {
			p := page("p2", incident.PagePriority, time.Minute)
			p.Severity = incident.Sev1
			return p
		}, func(t *testing.T, in activities.CollectInput) { require.Equal(t, incident.Sev1, in.Severity) }, 2},
		{"the same", func() incident.Page { return page("p2", incident.PagePriority, time.Minute) }, nil, 1},
		{"older news", func() incident.Page {
			p := page("p2", incident.PagePriority, -time.Minute)
			p.Severity = incident.Sev1
			return p
		}, nil, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var ins []activities.CollectInput
			w.collect = func(in activities.CollectInput) (activities.CollectResult, error) {
				ins = append(ins, in)
				return activities.CollectResult{Service: "checkout", Ranking: incident.Ranking{Likely: -1}, Options: []incident.Option{option(t, "o1")}, DecideWithin: time.Hour}, nil
			}
			update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
			update(w, time.Minute, incident.UpdatePage, "p2", tt.page())
			resolved(w, 5*time.Minute)
			w.run(t)
			require.Len(t, ins, tt.looks)
			if tt.check != nil {
				tt.check(t, ins[1])
			}
		})
	}
}

// A storm of commands that do nothing fills neither ledger nor timeline beyond what
// judging each writes, and none of them takes effect when it comes again later.
func TestAStormOfCommandsThatDoNothingIsCounted(t *testing.T) {
	t.Parallel()
	const sent = 163
	for _, tt := range []struct {
		name      string
		authorize func(activities.AuthorizeInput) (activities.AuthorizeResult, error)
		verb      incident.Verb
		outcome   incident.Outcome
		single    int
	}{
		{"denied", func(activities.AuthorizeInput) (activities.AuthorizeResult, error) {
			return activities.AuthorizeResult{Outcome: incident.OutcomeDenied, Reason: "no role"}, nil
		}, incident.VerbClose, incident.OutcomeDenied, 0},
		{"unchecked", func(activities.AuthorizeInput) (activities.AuthorizeResult, error) {
			return activities.AuthorizeResult{}, temporal.NewNonRetryableApplicationError("no answer", incident.ErrTypeInvalid, nil)
		}, incident.VerbClose, incident.OutcomeDenied, 50},
		{"of no use now", nil, incident.VerbRedo, incident.OutcomeDenied, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.authorize = tt.authorize
			update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
			var results []*incident.Result
			for i := range sent {
				results = append(results, command(w, time.Minute+time.Duration(i)*time.Second, fmt.Sprintf("c%d", i), tt.verb))
			}
			results = append(results, command(w, 5*time.Minute, "c160", tt.verb))
			var storm incident.View
			w.env.RegisterDelayedCallback(func() { storm = w.view(t) }, 5*time.Minute+30*time.Second)
			update(w, 30*time.Minute, incident.UpdatePage, "end", page("end", incident.PageResolved, time.Hour))
			w.run(t)
			for i, res := range results {
				require.Equal(t, tt.outcome, res.Outcome, i)
			}
			single, lines := 0, 0
			for _, e := range w.entries {
				if e.Kind == incident.EventCommand {
					single++
				}
			}
			for _, e := range storm.Timeline {
				if e.Kind == incident.EventCommand {
					lines++
				}
			}
			require.Equal(t, tt.single, single)
			require.Equal(t, 50, lines)
			_, numbered, told := tallied(t, w.entries)
			require.Equal(t, sent-50, numbered, "not one is lost")
			require.Equal(t, 3, told)
		})
	}
}
