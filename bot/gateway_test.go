package bot_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/bot"
	"github.com/backout/backout/workflows/incident"
)

func TestPagesInAnyOrderAreOneIncident(t *testing.T) {
	t.Parallel()
	g := bot.NewGateway(temporalClient, bot.Unsigned{})
	id := unique("Q")
	var pages []incident.Page
	for range 8 {
		for i, kind := range []incident.PageKind{incident.PageTriggered, incident.PageAcknowledged, incident.PageNoted, incident.PagePriority, incident.PageReconciled} {
			pages = append(pages, page(id, fmt.Sprintf("e%d", i), kind))
		}
	}
	shuffle := rand.New(rand.NewPCG(1, 2))
	shuffle.Shuffle(len(pages), func(i, j int) { pages[i], pages[j] = pages[j], pages[i] })
	var group sync.WaitGroup
	errs := make(chan error, len(pages))
	for i := range 8 {
		group.Go(func() {
			for j := i; j < len(pages); j += 8 {
				_, err := g.Page(within(t), pages[j])
				errs <- err
			}
		})
	}
	group.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	v := viewOf(t, g, "pagerduty/"+id)
	require.Len(t, v.Timeline, 5, "each event once")
	_, err := g.Page(within(t), page(id, "end", incident.PageResolved))
	require.NoError(t, err)
}

func TestPagesAboutIncidentsThatAreNotOpen(t *testing.T) {
	t.Parallel()
	g := bot.NewGateway(temporalClient, bot.Unsigned{})

	unknown := unique("Q")
	r, err := g.Page(within(t), page(unknown, "e1", incident.PageResolved))
	require.NoError(t, err)
	require.Equal(t, incident.OutcomeDuplicate, r.Outcome)
	_, err = g.View(within(t), "pagerduty/"+unknown)
	require.ErrorIs(t, err, bot.ErrNoIncident, "the end of something unknown begins nothing")

	id := unique("Q")
	workflowID := incident.WorkflowID("pagerduty/" + id)
	_, err = g.Page(within(t), page(id, "e1", incident.PageTriggered))
	require.NoError(t, err)
	_, err = g.Page(within(t), page(id, "e2", incident.PageResolved))
	require.NoError(t, err)
	require.NoError(t, temporalClient.GetWorkflow(within(t), workflowID, "").Get(within(t), nil))

	for _, p := range []incident.Page{
		page(id, "e1", incident.PageTriggered), page(id, "e2", incident.PageResolved), page(id, "e3", incident.PageAcknowledged),
		page(id, "e4", incident.PageReconciled), page(id, "e5", incident.PageReopened),
	} {
		r, err := g.Page(within(t), p)
		require.NoError(t, err, p.Kind)
		require.Contains(t, []incident.Outcome{incident.OutcomeDuplicate, incident.OutcomeAccepted}, r.Outcome)
	}
	require.Len(t, viewOf(t, g, "pagerduty/"+id).Timeline, 2, "a late event starts nothing")
	_, err = g.Decide(within(t), "pagerduty/"+id, decision("d1", incident.AnswerApprove))
	require.ErrorIs(t, err, bot.ErrNoIncident)

	again := page(id, "e6", incident.PageReopened)
	again.OccurredAt = time.Now().Add(time.Hour)
	r, err = g.Page(within(t), again)
	require.NoError(t, err)
	require.Equal(t, incident.OutcomeAccepted, r.Outcome)
	v := viewOf(t, g, "pagerduty/"+id)
	require.Len(t, v.Timeline, 1, "it was reopened, and is a new run")
	require.Equal(t, "e6", v.Timeline[0].ID)
	require.NoError(t, temporalClient.TerminateWorkflow(within(t), workflowID, "", "the test is over"))
}

func decision(id string, a incident.Answer) incident.DecideRequest {
	return incident.DecideRequest{
		DecisionID: id, OptionID: "o1", PlanDigest: planDigest("o1"), Answer: a,
		Actor: incident.Actor{Via: incident.ViaCLI, Login: id}, At: opened,
	}
}

func TestTwoPeopleAtOnceAreOneDecision(t *testing.T) {
	t.Parallel()
	g := bot.NewGateway(temporalClient, bot.Unsigned{})
	key := begin(t, g, "")
	people := []string{"ada", "bob"}
	outcomes, errs := make([]incident.Outcome, len(people)), make([]error, len(people))
	var group sync.WaitGroup
	for i, id := range people {
		group.Go(func() {
			r, err := g.Decide(within(t), key, decision(id, incident.AnswerApprove))
			outcomes[i], errs[i] = r.Outcome, err
		})
	}
	group.Wait()
	require.NoError(t, errors.Join(errs...))
	require.ElementsMatch(t, []incident.Outcome{incident.OutcomeApproved, incident.OutcomeLate}, outcomes)
	before := viewOf(t, g, key)
	first, err := g.Decide(within(t), key, decision("ada", incident.AnswerApprove))
	require.NoError(t, err)
	require.Equal(t, before.Decisions, viewOf(t, g, key).Decisions, "the same decision again is no decision")
	again, err := g.Decide(within(t), key, decision("ada", incident.AnswerApprove))
	require.NoError(t, err)
	require.Equal(t, first, again)
}

func TestGatewayRefusesWhatCanNotBeTaken(t *testing.T) {
	t.Parallel()
	g := bot.NewGateway(temporalClient, bot.Unsigned{})
	noID := page("Q1", "", incident.PageTriggered)
	badKey := page("Q 1/../x", "e1", incident.PageTriggered)
	for _, p := range []incident.Page{{}, noID, badKey} {
		_, err := g.Page(within(t), p)
		require.ErrorIs(t, err, bot.ErrInvalid)
	}
	_, err := g.Decide(within(t), "pagerduty/Q1", incident.DecideRequest{})
	require.ErrorIs(t, err, bot.ErrInvalid)
	_, err = g.Decide(within(t), "nowhere", decision("d", incident.AnswerApprove))
	require.ErrorIs(t, err, bot.ErrInvalid)
	_, err = g.Command(within(t), "pagerduty/Q1", incident.CommandRequest{CommandID: "c", Verb: "dance", Actor: incident.Actor{Via: incident.ViaCLI, Login: "a"}})
	require.ErrorIs(t, err, bot.ErrInvalid)
	_, err = g.Command(within(t), "pagerduty/"+unique("Q"), incident.CommandRequest{CommandID: "c", Verb: incident.VerbClose, Actor: incident.Actor{Via: incident.ViaCLI, Login: "a"}})
	require.ErrorIs(t, err, bot.ErrNoIncident)
	_, err = g.View(within(t), "x")
	require.ErrorIs(t, err, bot.ErrInvalid)
}

func TestGatewayWithoutTemporal(t *testing.T) {
	t.Parallel()
	g := unreachable(t)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := g.Page(ctx, page("Q1", "e1", incident.PageTriggered))
	require.Error(t, err)
	require.NotErrorIs(t, err, bot.ErrInvalid)
	require.NotErrorIs(t, err, bot.ErrNoIncident)
	require.Error(t, g.Check(ctx))
	require.NoError(t, bot.NewGateway(temporalClient, bot.Unsigned{}).Check(within(t)))
}

func TestListAndView(t *testing.T) {
	t.Parallel()
	g := bot.NewGateway(temporalClient, bot.Unsigned{})
	key := begin(t, g, "C1")
	require.Equal(t, key, viewOf(t, g, key).Key)
	eventually(t, "the list shows the incident with its facts", func() bool {
		list, err := g.List(within(t))
		require.NoError(t, err)
		for _, s := range list {
			if s.Key == key && s.Phase == incident.PhaseDeciding && s.Service == "checkout" && !s.StartedAt.IsZero() {
				return true
			}
		}
		return false
	})
}
