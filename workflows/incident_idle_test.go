package workflows_test

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

var moreAnswers = regexp.MustCompile(`^(\d+) more answers? (.*)$`)

// tallied are the entries that stand for one answer each, and the number for which
// the others stand.
func tallied(t *testing.T, entries []incident.Entry) (single, numbered, told int) {
	t.Helper()
	for _, e := range entries {
		if e.Kind != incident.EventDecision {
			continue
		}
		m := moreAnswers.FindStringSubmatch(e.Text)
		if m == nil {
			single++
			continue
		}
		n, err := strconv.Atoi(m[1])
		require.NoError(t, err)
		numbered, told = numbered+n, told+1
	}
	return single, numbered, told
}

// A storm of answers that do nothing fills neither ledger nor timeline, and not one of
// them is lost count of. Whoever sends one is told the same as ever.
func TestAStormOfAnswersThatDoNothingIsCounted(t *testing.T) {
	t.Parallel()
	const sent = 163
	stale := option(t, "o1", action("releases/other"))
	for _, tt := range []struct {
		name    string
		answer  incident.Option
		decide  func(activities.DecideInput) (activities.DecideResult, error)
		outcome incident.Outcome
		says    string
		numbers string
		judged  bool
	}{
		{
			name: "moot", answer: stale, outcome: incident.OutcomeStale, says: "the plan has changed since that card",
			numbers: "50 more answers did nothing since 03:01:50 UTC: the plan has changed since that card",
		},
		{
			name: "denied", answer: option(t, "o1"), outcome: incident.OutcomeDenied, says: "denied", judged: true,
			decide: func(in activities.DecideInput) (activities.DecideResult, error) {
				return decided(in, incident.OutcomeDenied), nil
			},
			numbers: "50 more answers were denied since 03:01:50 UTC",
		},
		{
			name: "unidentified", answer: option(t, "o1"), outcome: incident.OutcomeUnidentified, says: "unidentified", judged: true,
			decide: func(in activities.DecideInput) (activities.DecideResult, error) {
				return decided(in, incident.OutcomeUnidentified), nil
			},
			numbers: "50 more answers were unidentified since 03:01:50 UTC",
		},
		{
			name: "unchecked", answer: option(t, "o1"), outcome: incident.OutcomeDenied, says: "could not be checked, so nothing was done; try again: no answer",
			decide: func(activities.DecideInput) (activities.DecideResult, error) {
				return activities.DecideResult{}, temporal.NewNonRetryableApplicationError("no answer", incident.ErrTypeInvalid, nil)
			},
			numbers: "50 more answers did nothing since 03:01:50 UTC: who you are",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.decide = func(in activities.DecideInput) (activities.DecideResult, error) {
				if in.Request.DecisionID == "last" {
					return decided(in, incident.OutcomeApproved), nil
				}
				return tt.decide(in)
			}
			update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
			var results []*incident.Result
			for i := range sent {
				id := fmt.Sprintf("d%d", i)
				results = append(results, update(w, time.Minute+time.Duration(i)*time.Second, incident.UpdateDecide, id, decide("UADA", id, tt.answer)))
			}
			again := update(w, 5*time.Minute, incident.UpdateDecide, "again", decide("UADA", "d160", tt.answer))
			var storm incident.View
			w.env.RegisterDelayedCallback(func() { storm = w.view(t) }, 5*time.Minute+30*time.Second)
			last := update(w, 6*time.Minute, incident.UpdateDecide, "last", decide("UADA", "last", option(t, "o1")))
			update(w, 30*time.Minute, incident.UpdatePage, "end", page("end", incident.PageResolved, time.Hour))
			v := w.run(t)

			for _, res := range append(results, again) {
				require.Equal(t, tt.outcome, res.Outcome)
				require.True(t, strings.Contains(res.Reason, tt.says) || res == again, res.Reason)
				require.True(t, !tt.judged || res.EventID != "", "it is on record under its own ID")
			}
			require.Contains(t, again.Reason, strings.Split(tt.says, ":")[0])
			require.Equal(t, incident.OutcomeApproved, last.Outcome, "an answer that counts is never bounded")
			require.Equal(t, incident.RollbackDone, v.LastRollback().Status)

			repeated := 0
			if tt.judged {
				repeated = 1 // What the ledger has under its own ID is asked for again.
			}
			single, numbered, told := tallied(t, w.entries)
			require.Equal(t, sent-50+repeated, numbered, "not one is lost")
			require.Equal(t, 3, told)
			if tt.judged {
				require.Zero(t, single, "the activity has written each")
				require.Len(t, w.decided, sent+2)
			} else {
				require.Equal(t, 50, single)
			}
			lines := 0
			for _, e := range storm.Timeline {
				if e.Kind == incident.EventDecision {
					lines++
				}
			}
			require.Equal(t, 52, lines, "fifty and two numbers")
			require.LessOrEqual(t, len(storm.Decisions), 50)
			require.True(t, slices.ContainsFunc(w.entries, func(e incident.Entry) bool { return strings.HasPrefix(e.Text, tt.numbers) }), tt.numbers)
		})
	}
}

// Counting goes on in the next run, and so does what is known of answers that were
// only counted: one of them does not count because it comes again.
func TestAnswersThatWereOnlyCountedStaySpent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stale := option(t, "o1", action("releases/other"))
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	for i := range 60 {
		id := fmt.Sprintf("d%d", i)
		update(w, time.Minute+time.Duration(i)*time.Second, incident.UpdateDecide, id, decide("UADA", id, stale))
	}
	w.suggest(3 * time.Minute)
	update(w, 4*time.Minute, incident.UpdatePage, "p2", page("p2", incident.PageNoted, time.Minute))
	state := w.goesOn(t)
	require.Len(t, state.Idle, 1)
	require.Equal(t, 60, state.Idle[0].Count)
	require.Equal(t, 10, state.Idle[0].Untold)
	require.Len(t, state.Spent, 10)

	// By now that plan is the one on offer.
	state.View.Options = []incident.Option{stale}
	next := newWorld(t)
	next.env.SetStartTime(opened.Add(5 * time.Minute))
	again := update(next, time.Second, incident.UpdateDecide, "again", decide("UADA", "d55", stale))
	fresh := update(next, time.Minute, incident.UpdateDecide, "fresh", decide("UADA", "fresh", stale))
	update(next, time.Hour, incident.UpdatePage, "end", page("end", incident.PageResolved, time.Hour))
	next.env.ExecuteWorkflow(incident.WorkflowIncident, incident.IncidentInput{Key: key, State: state})
	require.NoError(t, next.env.GetWorkflowError())
	require.Equal(t, incident.OutcomeStale, again.Outcome)
	require.Contains(t, again.Reason, "the plan has changed since that card")
	require.Equal(t, incident.OutcomeApproved, fresh.Outcome)
	require.Len(t, next.executed, 1)
	_, numbered, _ := tallied(t, next.entries)
	require.Equal(t, 10, numbered, "the rest is told before the end")
}

// Answers that come when all is over are counted too.
func TestAnswersAfterTheEndAreCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	resolved(w, time.Minute)
	w.takes["WritePostmortem"] = 10 * time.Minute
	for i := range 55 {
		id := fmt.Sprintf("d%d", i)
		update(w, 2*time.Minute+time.Duration(i)*time.Second, incident.UpdateDecide, id, decide("UADA", id, option(t, "o1")))
	}
	w.run(t)
	single, numbered, _ := tallied(t, w.entries)
	require.Equal(t, []int{50, 5}, []int{single, numbered})
}
