package activities_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/runbooks"
	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// bound is how old an answer may be for the lowest tier.
const bound = 5 * time.Second

// asked counts the calls of a port.
func (w *world) asked(prefix string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, c := range w.calls {
		if strings.HasPrefix(c, prefix) {
			n++
		}
	}
	return n
}

// lately is a world whose activities remember, with a clock that the test moves.
func lately(t *testing.T) (w *world, a *activities.Activities, decide func(tier incident.Tier, glass bool) incident.Outcome, pass func(time.Duration)) {
	t.Helper()
	w = newWorld()
	w.onCall["PCHECK"] = []incident.Person{ada}
	clock := now
	a = w.activities(t)
	a.Lately = activities.NewLately(func() time.Time { return clock })
	n := 0
	decide = func(tier incident.Tier, glass bool) incident.Outcome {
		n++
		in := ask(t, tier, "ada", fmt.Sprint(n))
		if in.Request.BreakGlass = glass; glass {
			in.Request.Reason = "all is lost"
		}
		got, err := click(t, a, in)
		require.NoError(t, err)
		return got.Decision.Outcome
	}
	return w, a, decide, func(d time.Duration) { clock = clock.Add(d) }
}

func TestTheLowestTierGoesByAnAnswerOfTheLastMoments(t *testing.T) {
	t.Parallel()
	w, _, decide, pass := lately(t)
	require.Equal(t, incident.OutcomeApproved, decide(incident.TierOnCall, false))
	w.onCall["PCHECK"] = nil
	pass(bound - time.Nanosecond)
	require.Equal(t, incident.OutcomeApproved, decide(incident.TierOnCall, false))
	require.Equal(t, 1, w.asked("on call"))
	pass(time.Nanosecond)
	require.Equal(t, incident.OutcomeDenied, decide(incident.TierOnCall, false), "a yes is never older than the bound")
	require.Equal(t, 2, w.asked("on call"))
	w.onCall["PCHECK"] = []incident.Person{ada}
	require.Equal(t, incident.OutcomeDenied, decide(incident.TierOnCall, false), "and a no neither")
	pass(bound)
	require.Equal(t, incident.OutcomeApproved, decide(incident.TierOnCall, false))
	w.onCall["PCHECK"] = nil
	pass(-time.Hour)
	require.Equal(t, incident.OutcomeDenied, decide(incident.TierOnCall, false), "a clock that was set back makes answers old")
}

func TestHigherTiersAskEveryTime(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		tier  incident.Tier
		glass bool
	}{
		{"tier 2", incident.TierCommander, false},
		{"tier 3", incident.TierCommanderAndOwner, false},
		{"forbidden", incident.TierForbidden, false},
		{"not computed", incident.TierUnknown, false},
		{"break-glass on the lowest", incident.TierOnCall, true},
		{"break-glass on tier 3", incident.TierCommanderAndOwner, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w, _, decide, _ := lately(t)
			require.Equal(t, incident.OutcomeApproved, decide(incident.TierOnCall, false), "it is remembered")
			for i := range 3 {
				decide(tt.tier, tt.glass)
				require.Equal(t, 2+i, w.asked("on call"))
			}
			w.onCall["PCHECK"] = nil
			require.NotEqual(t, incident.OutcomeApproved, decide(tt.tier, tt.glass), "who has gone off call meanwhile is not on call")
			require.Equal(t, incident.OutcomeDenied, decide(incident.TierOnCall, false), "and what was found out is remembered in place of the older answer")
			require.Equal(t, 5, w.asked("on call"))
		})
	}
}

func TestCommandsAskEveryTime(t *testing.T) {
	t.Parallel()
	w, a, decide, _ := lately(t)
	require.Equal(t, incident.OutcomeApproved, decide(incident.TierOnCall, false))
	w.onCall["PCHECK"] = nil
	got, err := typed(t, a, activities.AuthorizeInput{
		EventID: incident.CommandEventID(key, "c1"), Key: key, Service: "checkout", Now: now,
		Request: incident.CommandRequest{CommandID: "c1", Verb: incident.VerbTakeCommand, Actor: cli("ada")},
	})
	require.NoError(t, err)
	require.Equal(t, incident.OutcomeDenied, got.Outcome)
}

func TestErrorsAreNotRemembered(t *testing.T) {
	t.Parallel()
	w, a, decide, pass := lately(t)
	away := true
	w.fail = func(call string) error {
		if away && strings.HasPrefix(call, "on call") {
			return errors.New("it is away")
		}
		return nil
	}
	_, err := click(t, a, ask(t, incident.TierOnCall, "ada", "x"))
	requireError(t, err, "", false)
	away = false
	require.Equal(t, incident.OutcomeApproved, decide(incident.TierOnCall, false))
	away = true
	_, err = click(t, a, ask(t, incident.TierCommander, "ada", "y"))
	requireError(t, err, "", false)
	_, err = click(t, a, ask(t, incident.TierOnCall, "ada", "z"))
	requireError(t, err, "", false)
	require.Equal(t, 4, w.asked("on call"), "what a live question could not confirm is not relied on")
	pass(bound)
	away = false
	require.Equal(t, incident.OutcomeApproved, decide(incident.TierOnCall, false))
}

// Answers about groups are remembered too: each for one group and one person with
// all of their accounts.
func TestAnswersAreOfOnePersonAndOneGroup(t *testing.T) {
	t.Parallel()
	w := newWorld()
	clock := now
	a := w.activities(t)
	a.Lately = activities.NewLately(func() time.Time { return clock })
	a.Catalogue, a.Owners = ownedBy(t, kinds[runbooks.OwnerSlackGroup]), members(w, "dora")
	roles := func(n int, login string) []incident.Role {
		got, err := click(t, a, ask(t, incident.TierOnCall, login, fmt.Sprint(n)))
		require.NoError(t, err)
		return got.Decision.Roles
	}
	require.Equal(t, []incident.Role{incident.RoleOwner}, roles(1, "dora"))
	require.Equal(t, []incident.Role{incident.RoleOwner}, roles(2, "dora"))
	require.Equal(t, 1, w.asked("member"))
	require.Empty(t, roles(3, "ben"))
	require.Equal(t, 2, w.asked("member"))
	moved := dora
	moved.SlackUser = "U0OTHER"
	w.people["cli:dora"] = moved
	roles(4, "dora")
	require.Equal(t, 3, w.asked("member"), "with another account it is another question")
}

// Many who ask for the same at once share one answer, and those who must ask for
// themselves do not wait for it.
func TestOneQuestionForAllWhoAskAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		release := make(chan struct{})
		w := newWorld()
		a := w.activities(t)
		a.Lately = activities.NewLately(time.Now)
		a.Pager = slowPager{Pager: a.Pager, onCall: func(ctx context.Context) ([]incident.Person, error) {
			asked.Add(1)
			select {
			case <-release:
				return []incident.Person{ada}, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}}
		var group sync.WaitGroup
		outcomes := make([]incident.Outcome, 20)
		for i := range outcomes {
			group.Go(func() {
				got, err := click(t, a, ask(t, incident.TierOnCall, "ada", fmt.Sprint(i)))
				if err == nil {
					outcomes[i] = got.Decision.Outcome
				}
			})
		}
		synctest.Wait()
		require.EqualValues(t, 1, asked.Load())
		group.Go(func() { _, _ = click(t, a, ask(t, incident.TierCommander, "ada", "live")) })
		synctest.Wait()
		require.EqualValues(t, 2, asked.Load())
		close(release)
		group.Wait()
		for _, o := range outcomes {
			require.Equal(t, incident.OutcomeApproved, o)
		}
	})
}

// Whoever asked for all may give up; the others do not share their fate.
func TestTheOneWhoAskedGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		w := newWorld()
		a := w.activities(t)
		a.Lately = activities.NewLately(time.Now)
		a.Pager = slowPager{Pager: a.Pager, onCall: func(ctx context.Context) ([]incident.Person, error) {
			if asked.Add(1) > 1 {
				return []incident.Person{ada}, nil
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		ctx, giveUp := context.WithCancel(t.Context())
		var group sync.WaitGroup
		var first, second error
		group.Go(func() { _, first = clickWithin(ctx, t, a, ask(t, incident.TierOnCall, "ada", "1")) })
		synctest.Wait()
		group.Go(func() { _, second = click(t, a, ask(t, incident.TierOnCall, "ada", "2")) })
		synctest.Wait()
		giveUp()
		group.Wait()
		require.Error(t, first)
		require.NoError(t, second)
		require.EqualValues(t, 2, asked.Load())
	})
}

// An answer that took longer than it holds is not shared: whoever waited asks anew.
func TestAnAnswerThatCameTooLateIsNotShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		w := newWorld()
		a := w.activities(t)
		a.Lately = activities.NewLately(time.Now)
		a.Pager = slowPager{Pager: a.Pager, onCall: func(context.Context) ([]incident.Person, error) {
			if asked.Add(1) > 1 {
				return nil, nil
			}
			<-time.After(bound)
			return []incident.Person{ada}, nil
		}}
		var group sync.WaitGroup
		var first, second activities.DecideResult
		group.Go(func() { first, _ = click(t, a, ask(t, incident.TierOnCall, "ada", "1")) })
		synctest.Wait()
		group.Go(func() { second, _ = click(t, a, ask(t, incident.TierOnCall, "ada", "2")) })
		group.Wait()
		require.Equal(t, incident.OutcomeApproved, first.Decision.Outcome, "it asked itself")
		require.Equal(t, incident.OutcomeDenied, second.Decision.Outcome)
	})
}

// slowPager answers who is on call as the test says.
type slowPager struct {
	activities.Pager
	onCall func(ctx context.Context) ([]incident.Person, error)
}

func (p slowPager) OnCall(ctx context.Context, _ string) ([]incident.Person, error) {
	return p.onCall(ctx)
}

// What is kept does not grow without bounds.
func TestManyQuestionsAreForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.onCall["PCHECK"] = []incident.Person{ada}
	a := w.activities(t)
	a.Lately = activities.NewLately(func() time.Time { return now })
	a.Catalogue, a.Owners = ownedBy(t, kinds[runbooks.OwnerSlackGroup]), members(w)
	for i := range 1100 {
		login := fmt.Sprintf("p%d", i)
		w.people["cli:"+login] = incident.Person{ID: login, Name: login}
		_, err := click(t, a, ask(t, incident.TierOnCall, login, login))
		require.NoError(t, err)
		w.entries = nil
	}
	asked := w.asked("member")
	_, err := click(t, a, ask(t, incident.TierOnCall, "p0", "again"))
	require.NoError(t, err)
	require.Equal(t, asked+1, w.asked("member"), "the first was forgotten")
	_, err = click(t, a, ask(t, incident.TierOnCall, "p1099", "again"))
	require.NoError(t, err)
	require.Equal(t, asked+1, w.asked("member"), "the last was not")
}
