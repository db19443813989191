package activities_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// cell is one case of the matrix: who decides on what, and when.
type cell struct {
	tier                     incident.Tier
	onCall, commander, owner bool
	identity                 string
	requester, author        bool
	moment                   string
	// window is what happens between the approval and the execution where the policy
	// has a window for objections; empty where it has none.
	window string
}

// The windows of the matrix.
const (
	windowOpen     = "people can still object"
	windowOver     = "nobody objected"
	windowObjected = "somebody objected"
)

// runs reports whether the plan is executed.
func (c cell) runs() bool {
	return c.want() == incident.OutcomeApproved && (c.window == "" || c.window == windowOver)
}

// want is what the default policy makes of one answer, worked out from the matrix of
// the requirement and not from the policy's code.
func (c cell) want() incident.Outcome {
	switch {
	case c.identity != "" || c.moment == "sent too long ago":
		return incident.OutcomeUnidentified
	case c.tier == incident.TierForbidden:
		return incident.OutcomeDenied
	case c.moment == "drifted" || c.moment == "handed over":
		return incident.OutcomeStale
	}
	switch c.tier {
	case incident.TierOnCall:
		if (c.onCall || c.commander) && !c.author {
			return incident.OutcomeApproved
		}
	case incident.TierCommander:
		if c.commander && !c.requester && !c.author {
			return incident.OutcomeApproved
		}
	case incident.TierCommanderAndOwner:
		if (c.commander || c.owner) && !c.requester {
			return incident.OutcomeWaiting // Two people, always.
		}
	case incident.TierUnknown, incident.TierForbidden:
	}
	return incident.OutcomeDenied
}

func matrix() []cell {
	var out []cell
	both := []bool{false, true}
	for _, tier := range []incident.Tier{incident.TierOnCall, incident.TierCommander, incident.TierCommanderAndOwner, incident.TierForbidden} {
		for _, identity := range []string{"", "a guest", "of another workspace", "deactivated", "a bot", "nobody"} {
			for _, moment := range []string{"", "sent too long ago", "drifted", "handed over"} {
				for bits := range 1 << 5 {
					if identity != "" && bits != 0 && bits != 1<<5-1 {
						continue // Nobody is nobody, with all the roles or none.
					}
					on := func(n int) bool { return both[bits>>n&1] }
					for _, window := range []string{"", windowOpen, windowOver, windowObjected} {
						if window != "" && tier != incident.TierCommander {
							continue // Only tier-2 can have one.
						}
						out = append(out, cell{
							tier: tier, identity: identity, moment: moment, window: window,
							onCall: on(0), commander: on(1), owner: on(2), requester: on(3), author: on(4),
						})
					}
				}
			}
		}
	}
	return out
}

// refusing is a directory that knows why somebody is nobody.
type refusing struct {
	activities.Directory
	why string
}

func (d refusing) Identify(_ context.Context, a incident.Actor) (incident.Person, error) {
	return incident.Person{}, &incident.NoIdentityError{Actor: a, Why: d.why}
}

// TestEveryCellOfTheMatrix has every combination of role, tier, identity, part in the
// change, moment and window decide, and nothing executes that is not approved, that
// people can still object to, or that somebody objected to.
func TestEveryCellOfTheMatrix(t *testing.T) {
	t.Parallel()
	executions := map[string]int{}
	patient := patientPolicy(t)
	for i, c := range matrix() {
		name := fmt.Sprintf("%+v", c)
		w := newWorld()
		login, me := "ada", ada
		if c.owner {
			login, me = "ben", ben
		}
		in := ask(t, c.tier, login, fmt.Sprint(i))
		in.Rollback = rollback
		if c.onCall {
			w.onCall["PCHECK"] = []incident.Person{me}
		}
		if c.commander {
			in.Commander = &me
		}
		if c.requester {
			in.Requester = &me
		}
		if c.author {
			in.Option.Authors = []string{me.Email}
		}
		a := w.activities(t)
		if c.window != "" {
			a.Policy = patient
		}
		if c.identity != "" {
			a.Directory = refusing{why: c.identity}
		}
		switch c.moment {
		case "drifted":
			in.Request.PlanDigest = incident.DigestOf([]byte("another plan"))
		case "handed over":
			in.VoidBefore = now.Add(time.Second)
		}
		got, err := clickAt(t, a, in, c.moment == "sent too long ago")
		require.NoError(t, err, name)
		require.Equal(t, c.want(), got.Decision.Outcome, "%s: %s", name, got.Decision.Sentence)
		require.Len(t, w.kind(incident.EventDecision), 1, name)

		passes(t, w, a, c, in, login)
		w.entries = append(w.entries, evidence(t, incident.Manifest{Rollback: rollback, Phase: incident.EvidenceBefore, Digest: incident.DigestOf(nil)}))
		run := execution(t, in.Option.Plan, 0, false)
		run.DecisionIDs = []string{in.EventID}
		_, err = a.ExecuteAction(t.Context(), run)
		executed := w.targets["config/checkout"].mutations
		if c.runs() {
			executions[c.window]++
			require.NoError(t, err, name)
			require.Equal(t, 1, executed, name)
			continue
		}
		require.Error(t, err, name)
		require.Zero(t, executed, name)
	}
	require.Positive(t, executions[""])
	require.Positive(t, executions[windowOver])
	t.Logf("%d cells, executed by window: %v", len(matrix()), executions)
}

// passes lets the time of a cell's window pass, with an objection of the commander
// where there is one.
func passes(t *testing.T, w *world, a *activities.Activities, c cell, in activities.DecideInput, login string) {
	t.Helper()
	switch c.window {
	case windowOpen:
		w.now = now.Add(time.Minute)
	case windowOver:
		w.now = now.Add(2 * time.Minute)
	case windowObjected:
		w.now = now.Add(2 * time.Minute)
		if c.want() != incident.OutcomeApproved {
			return // There is nothing to object to.
		}
		d := refusal(t, a, "objection", now.Add(time.Minute), func(q *activities.DecideInput) {
			q.Request.Actor, q.Commander = cli(login), in.Commander
		})
		require.Equal(t, incident.OutcomeRefused, d.Outcome)
	}
}

// clickAt is click, or click with an answer that was given six minutes before.
func clickAt(t *testing.T, a *activities.Activities, in activities.DecideInput, late bool) (activities.DecideResult, error) {
	t.Helper()
	if !late {
		return click(t, a, in)
	}
	in.Request.At = now.Add(-6 * time.Minute)
	var err error
	in.Request, err = signer(t, botKey).Decision(in.Key, in.Request)
	require.NoError(t, err)
	return a.Decide(t.Context(), in)
}

// said is one answer of a random sequence, as the test keeps it.
type said struct {
	event             string
	login             string
	commander, owner  bool
	approve, thisPlan bool
	at                time.Time
}

// TestNoPathToExecutionWithoutASatisfiedPolicy plays random sequences of answers,
// refusals, handovers and pauses on a plan of the highest tier, tries to execute after
// each step, and holds what happened to the matrix: two different people, one of them
// in command and one an owner, both within the last 15 minutes and since the last
// handover, for this very plan.
func TestNoPathToExecutionWithoutASatisfiedPolicy(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	executions := 0
	for range 400 {
		executions += playRandomly(t, r)
	}
	require.Positive(t, executions, "nothing was ever executed, so that nothing was shown")
	t.Logf("400 sequences, %d of them executed", executions)
}

func playRandomly(t *testing.T, r *rand.Rand) (executed int) {
	t.Helper()
	w := newWorld()
	base := w.activities(t)
	at, voidBefore := now, time.Time{}
	chief := ada
	commands(t, w, ada)
	var answers []said
	var prior []incident.Decision
	for n := range 10 {
		switch r.IntN(8) {
		case 0:
			at = at.Add(time.Duration(r.IntN(20)) * time.Minute)
		case 1:
			chief = []incident.Person{ada, ben, carla}[r.IntN(3)]
			at = at.Add(time.Second)
			w.entries = append(w.entries, command(t, signer(t, botKey), chief, fmt.Sprintf("handed-%d", n), at))
			voidBefore = at
		default:
			login := []string{"ada", "ben", "carla", "dora"}[r.IntN(4)]
			s := said{login: login, commander: login == chief.ID, owner: login == "ben", approve: r.IntN(5) > 0, thisPlan: r.IntN(5) > 0, at: at}
			in := ask(t, incident.TierCommanderAndOwner, login, fmt.Sprint(n))
			in.Now, in.Rollback, in.Commander, in.VoidBefore, in.Prior = at, rollback, &chief, voidBefore, prior
			if !s.approve {
				in.Request.Answer, in.Request.Reason = incident.AnswerRefuse, "no"
			}
			if !s.thisPlan {
				in.Request.PlanDigest = incident.DigestOf([]byte("another plan"))
			}
			got, err := click(t, base, in)
			require.NoError(t, err)
			prior = append(prior, got.Decision)
			s.event = in.EventID
			answers = append(answers, s)
		}
		if execute(t, w, base, answers, at) {
			require.True(t, satisfied(answers, at, voidBefore), "executed after %+v at %s, void before %s", answers, at, voidBefore)
			return 1
		}
	}
	return 0
}

// execute tries to execute with every answer that is on record.
func execute(t *testing.T, w *world, base *activities.Activities, answers []said, at time.Time) bool {
	t.Helper()
	a := *base
	a.Now = func() time.Time { return at }
	if !slices.ContainsFunc(w.entries, func(e incident.Entry) bool { return e.Kind == incident.EventEvidence }) {
		w.entries = append(w.entries, evidence(t, incident.Manifest{Rollback: rollback, Phase: incident.EvidenceBefore, Digest: incident.DigestOf(nil)}))
	}
	run := execution(t, plan(t), 0, false)
	run.DecisionIDs = nil
	for _, s := range answers {
		run.DecisionIDs = append(run.DecisionIDs, s.event)
	}
	_, err := a.ExecuteAction(t.Context(), run)
	done := w.targets["config/checkout"].mutations > 0
	require.Equal(t, done, err == nil)
	// A refused attempt is concluded; the next one starts anew.
	w.entries = slices.DeleteFunc(w.entries, func(e incident.Entry) bool { return e.Kind == incident.EventActionDone })
	return done
}

// satisfied is the matrix of the requirement for the highest tier.
func satisfied(answers []said, at, voidBefore time.Time) bool {
	holds := func(s said) bool {
		return s.approve && s.thisPlan && at.Sub(s.at) <= 15*time.Minute && !s.at.Before(voidBefore)
	}
	for _, c := range answers {
		for _, o := range answers {
			if c.login != o.login && c.commander && o.owner && holds(c) && holds(o) {
				return true
			}
		}
	}
	return false
}
