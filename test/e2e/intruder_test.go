package e2e_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	sdkworker "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"golang.org/x/sync/errgroup"

	"github.com/backout/backout/approvals/attest"
	"github.com/backout/backout/test/e2e/harness"
	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// intruder can write to the Temporal namespace, and has even the key of its payloads.
type intruder struct {
	*harness.World
	client client.Client
	key    string
	view   incident.View
	option incident.Option
	// genuine is an answer that the bot signed, and that was denied.
	genuine incident.DecideRequest
	own     *attest.Signer

	mu       sync.Mutex
	attempts int
	// decisions are the events under which attempts must be on record, and others
	// counts those that must be there as refused attempts.
	decisions []string
	others    int
	rollbacks int
}

// TestAnIntruderInTemporalExecutesNothing tries at least 500 ways past the people
// whose decision it is: forged, altered, replayed and raced answers, signals, rollbacks
// started by hand with every field of the plan changed, and the activities themselves.
func TestAnIntruderInTemporalExecutesNothing(t *testing.T) {
	t.Parallel()
	w := harness.New(t, harness.Options{})
	x := &intruder{World: w, key: w.Page("checkout")}
	card, button := w.Offer(x.key)
	x.client, x.view = w.Dial(), w.Options(x.key)
	x.option = x.view.Options[0]
	seed := make([]byte, ed25519.SeedSize)
	var err error
	x.own, err = attest.NewSigner(ed25519.NewKeyFromSeed(seed))
	require.NoError(t, err)
	before, err := w.Releases.History(t.Context(), "checkout")
	require.NoError(t, err)

	// Sam may not decide this alone, having written the change.
	w.Until("Sam's click", func() bool {
		got, err := w.Press(harness.Sam, card, button)
		require.NoError(t, err)
		return got.Acked // A product that is too busy says so, and is asked again.
	})
	x.genuine = x.denied()

	x.forge()
	x.alter()
	x.replay()
	x.race()
	x.signal()
	x.startRollbacks()
	x.runActivities()

	after, err := w.Releases.History(t.Context(), "checkout")
	require.NoError(t, err)
	require.Equal(t, before, after, "something was executed")
	require.GreaterOrEqual(t, x.attempts, 500)
	v, err := harness.Look(t.Context(), x.client, x.key)
	require.NoError(t, err)
	require.Empty(t, approvers(v))
	require.Empty(t, v.Rollbacks)
	reasons := map[string]string{}
	w.Until("the reason of every attempt", func() bool {
		refused := 0
		for _, r := range w.Entries(x.key) {
			require.NotEqual(t, incident.EventIntent, r.Entry.Kind, r.Entry.ID)
			if reasons[r.Entry.ID] = r.Entry.Text; r.Entry.Kind == incident.EventAttempt {
				refused++
			}
		}
		return refused >= x.others
	})
	for _, id := range x.decisions {
		require.NotEmpty(t, reasons[id], "%s is not on record", id)
	}
	require.Equal(t, x.attempts, len(x.decisions)+x.others+x.rollbacks, "an attempt without a reason in the ledger")
	_, err = w.VerifyLedger(t.Context())
	require.NoError(t, err)
	t.Logf("%d attempts, 0 executions; reasons in the ledger: %d of answers, %d of rollbacks, %d of refused attempts", x.attempts, len(x.decisions), x.rollbacks, x.others)

	// The incident still listens to those whose decision it is.
	w.Approve(harness.Ada, x.key)
	require.Len(t, approvers(w.Recovered("checkout", x.key)), 1)
}

// denied is the signed answer that the ledger has.
func (x *intruder) denied() incident.DecideRequest {
	x.T.Helper()
	var was struct {
		Request incident.DecideRequest `json:"request"`
		Outcome incident.Outcome       `json:"outcome"`
	}
	x.Until("a denied answer", func() bool {
		for _, r := range x.Entries(x.key) {
			if r.Entry.Kind == incident.EventDecision && json.Unmarshal(r.Entry.Payload, &was) == nil && was.Request.Attestation != nil {
				return true
			}
		}
		return false
	})
	require.Equal(x.T, incident.OutcomeDenied, was.Outcome)
	return was.Request
}

// maxAsked is how often an answer is sent to a product that is too busy to say what
// became of it: the same update is one update.
const maxAsked = 10

// update sends an answer past the bot, and requires that it does nothing.
func (x *intruder) update(ctx context.Context, update string, q incident.DecideRequest) error {
	var handle client.WorkflowUpdateHandle
	var err error
	for range maxAsked {
		handle, err = x.client.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
			UpdateID: update, WorkflowID: incident.WorkflowID(x.key), UpdateName: incident.UpdateDecide, Args: []any{q},
			WaitForStage: client.WorkflowUpdateStageCompleted,
		})
		if _, busy := errors.AsType[*client.WorkflowUpdateServiceTimeoutOrCanceledError](err); !busy {
			break
		}
	}
	x.mu.Lock()
	x.attempts++
	x.mu.Unlock()
	if err != nil {
		return fmt.Errorf("send %s: %w", update, err)
	}
	var res incident.Result
	if err := handle.Get(ctx, &res); err != nil {
		x.mu.Lock()
		x.others++
		x.mu.Unlock()
		return nil //nolint:nilerr // The incident's own validator refused its form.
	}
	if !slices.Contains([]incident.Outcome{incident.OutcomeUnidentified, incident.OutcomeDenied, incident.OutcomeStale}, res.Outcome) {
		return fmt.Errorf("%s was taken: %s: %s", update, res.Outcome, res.Reason)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.decisions = append(x.decisions, res.EventID)
	return nil
}

// all sends answers, eight at a time.
func (x *intruder) all(name string, answers []incident.DecideRequest) {
	x.T.Helper()
	group, ctx := errgroup.WithContext(x.T.Context())
	group.SetLimit(8)
	for i, q := range answers {
		group.Go(func() error { return x.update(ctx, fmt.Sprintf("%s-%d", name, i), q) })
	}
	require.NoError(x.T, group.Wait())
}

// fresh is an answer that looks as the bot's do.
func (x *intruder) fresh(id string, actor incident.Actor) incident.DecideRequest {
	return incident.DecideRequest{
		DecisionID: id, OptionID: x.option.ID, PlanDigest: x.option.Digest, Revision: x.view.Revision,
		Actor: actor, Answer: incident.AnswerApprove, At: time.Now().UTC(),
	}
}

// forge speaks for everybody, without a signature and with one of its own.
func (x *intruder) forge() {
	x.T.Helper()
	actors := []incident.Actor{
		{Via: incident.ViaSlack, SlackTeam: x.genuine.Actor.SlackTeam, SlackUser: harness.Ada},
		{Via: incident.ViaSlack, SlackTeam: x.genuine.Actor.SlackTeam, SlackUser: harness.Bo},
		{Via: incident.ViaCLI, Login: "ada"},
		{Via: incident.ViaConsole, Login: "bo"},
		{Via: incident.ViaConsole, Login: "grace"},
	}
	var answers []incident.DecideRequest
	for n := range 160 {
		q := x.fresh(fmt.Sprintf("forged-%d", n), actors[n%len(actors)])
		q.BreakGlass = n%3 == 0
		q.Reason = "all of Europe is down"
		switch n % 4 {
		case 1:
			q = x.sign(q)
		case 2:
			q = x.sign(q)
			q.Attestation.KeyID = x.genuine.Attestation.KeyID
		case 3:
			q.Attestation = x.genuine.Attestation
		}
		answers = append(answers, q)
	}
	x.all("forged", answers)
}

func (x *intruder) sign(q incident.DecideRequest) incident.DecideRequest {
	x.T.Helper()
	q, err := x.own.Decision(x.key, q)
	require.NoError(x.T, err)
	return q
}

// alter changes what the bot signed, field by field.
func (x *intruder) alter() {
	x.T.Helper()
	var answers []incident.DecideRequest
	for n := range 5 {
		for i := range reflect.TypeFor[incident.DecideRequest]().NumField() {
			q := x.genuine
			q.Attestation = new(*x.genuine.Attestation)
			switch f := reflect.ValueOf(&q).Elem().Field(i); v := f.Addr().Interface().(type) {
			case *string:
				*v += fmt.Sprint(n)
			case *int:
				*v += n + 1
			case *bool:
				*v = !*v
			case *time.Time:
				*v = v.Add(time.Duration(n+1) * time.Second)
			case *incident.Answer:
				*v = incident.AnswerRefuse
			case *incident.Actor:
				*v = incident.Actor{Via: incident.ViaCLI, Login: []string{"ada", "bo", "grace", "sam", "gone"}[n]}
			case **incident.StepUp:
				*v = &incident.StepUp{Method: incident.StepUpWebAuthn, PlanDigest: q.PlanDigest, At: time.Now()}
			case **incident.Attestation:
				(*v).Signature[n] ^= 1
			default:
				require.Failf(x.T, "a field is not tried", "%s", f.Type())
			}
			if q.DecisionID == x.genuine.DecisionID {
				// Under its own ID it is the answer that was given before.
				q.DecisionID = fmt.Sprintf("altered-%d-%d", n, i)
			}
			answers = append(answers, q)
		}
	}
	x.all("altered", answers)
}

// replay sends what the bot signed again.
func (x *intruder) replay() {
	x.T.Helper()
	var answers []incident.DecideRequest
	for range 50 {
		answers = append(answers, x.genuine)
	}
	x.all("replayed", answers)
}

// race sends 50 answers at the same instant.
func (x *intruder) race() {
	x.T.Helper()
	group, ctx := errgroup.WithContext(x.T.Context())
	start := make(chan struct{})
	for n := range 50 {
		q := x.sign(x.fresh(fmt.Sprintf("raced-%d", n), incident.Actor{Via: incident.ViaCLI, Login: "ada"}))
		group.Go(func() error { <-start; return x.update(ctx, q.DecisionID, q) })
	}
	close(start)
	require.NoError(x.T, group.Wait())
}

// signal reports rollbacks that never were, and cancels and releases what is not its own.
func (x *intruder) signal() {
	x.T.Helper()
	for n := range 40 {
		report := incident.RollbackView{
			ID: incident.RollbackID(x.key, n%3+1), OptionID: x.option.ID, PlanDigest: x.option.Digest, Status: incident.RollbackDone,
			Recovery: &incident.RecoveryResult{Verdict: incident.VerdictRecovered},
		}
		name := []string{incident.SignalRollback, incident.SignalCancel, incident.SignalRelease, "approve"}[n%4]
		require.NoError(x.T, x.client.SignalWorkflow(x.T.Context(), incident.WorkflowID(x.key), "", name, report))
		x.attempts++
		x.others++
	}
}

// startRollbacks starts the workflow that executes, with decisions that do not allow
// it, and with every field of the plan changed.
func (x *intruder) startRollbacks() {
	x.T.Helper()
	denied := incident.DecisionEventID(x.key, x.genuine.DecisionID)
	group, ctx := errgroup.WithContext(x.T.Context())
	group.SetLimit(8)
	for n, option := range append([]incident.Option{x.option}, x.changed()...) {
		id := incident.RollbackID(x.key, 100+n)
		group.Go(func() error {
			run, err := x.client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: id, TaskQueue: incident.TaskQueue}, incident.WorkflowRollback, incident.RollbackInput{
				ID: id, Incident: x.key, Option: option, ApprovedAt: time.Now(), DecisionIDs: []string{denied, x.key + "/e1"},
			})
			if err != nil {
				return err
			}
			var v incident.RollbackView
			if err := run.Get(ctx, &v); err != nil {
				return fmt.Errorf("%s: %w", id, err)
			}
			for _, a := range v.Actions {
				if a.Applied || !a.MutatedAt.IsZero() {
					return fmt.Errorf("%s has changed %s", id, a.Action.Target)
				}
			}
			if !slices.Contains([]incident.RollbackStatus{incident.RollbackVoid, incident.RollbackFailed, incident.RollbackLocked}, v.Status) {
				return fmt.Errorf("%s ended %s", id, v.Status)
			}
			return nil
		})
		x.attempts++
	}
	require.NoError(x.T, group.Wait())
	recorded := map[string]bool{}
	for _, r := range x.Entries(x.key) {
		if i := strings.Index(strings.TrimPrefix(r.Entry.ID, "rollback/"+x.key+"/"), "/"); strings.HasPrefix(r.Entry.ID, "rollback/") && i > 0 {
			recorded[r.Entry.ID[:len("rollback/"+x.key+"/")+i]] = true
		}
	}
	for n := range len(x.changed()) + 1 {
		require.True(x.T, recorded[incident.RollbackID(x.key, 100+n)], "rollback %d is not on record", 100+n)
		x.rollbacks++
	}
}

// changed are options whose plan differs in one field, under the digest that people
// saw and under their own.
func (x *intruder) changed() []incident.Option {
	x.T.Helper()
	var out []incident.Option
	add := func(change func(*incident.Plan)) {
		o := x.option
		o.Plan.Actions = append([]incident.Action(nil), o.Plan.Actions...)
		change(&o.Plan)
		digest, err := o.Plan.Digest()
		require.NoError(x.T, err)
		own := o
		own.Digest = digest
		out = append(out, o, own)
	}
	add(func(p *incident.Plan) { p.Version++ })
	add(func(p *incident.Plan) { p.Incident = "pagerduty/Q0OTHER" })
	add(func(p *incident.Plan) { p.Service = "payments" })
	add(func(p *incident.Plan) { p.Strategy = incident.StrategyRestore })
	add(func(p *incident.Plan) { p.Runbook = "other" })
	add(func(p *incident.Plan) { p.RunbookDigest = incident.DigestOf([]byte("other")) })
	add(func(p *incident.Plan) { p.Option = "other" })
	add(func(p *incident.Plan) { p.Actions = append(p.Actions, p.Actions[0]) })
	add(func(p *incident.Plan) { p.Actions[0].Kind = "exec" })
	add(func(p *incident.Plan) { p.Actions[0].Target.Path += "2" })
	add(func(p *incident.Plan) { p.Actions[0].Target.System = "prometheus" })
	add(func(p *incident.Plan) { p.Actions[0].From.Revision += "0" })
	add(func(p *incident.Plan) { p.Actions[0].From.Digest = incident.DigestOf([]byte("other")) })
	add(func(p *incident.Plan) { p.Actions[0].To.Revision += "0" })
	add(func(p *incident.Plan) { p.Actions[0].To.Digest = incident.DigestOf([]byte("other")) })
	add(func(p *incident.Plan) { p.Actions[0].To.Label = "v1" })
	add(func(p *incident.Plan) { p.Actions[0] = p.Actions[0].Swapped() })
	add(func(p *incident.Plan) { p.Actions[0].MaxTime *= 2 })
	add(func(p *incident.Plan) { p.Actions[0].OnFailure = incident.OnFailureCompensate })
	add(func(p *incident.Plan) { p.Actions[0].Reversible = !p.Actions[0].Reversible })
	return out
}

// runActivities runs the worker's own activities from a workflow of one's own: it
// records approvals, has forged answers judged, and executes.
func (x *intruder) runActivities() {
	x.T.Helper()
	const queue = "intruder"
	w := sdkworker.New(x.client, queue, sdkworker.Options{})
	w.RegisterWorkflowWithOptions(callActivity, workflow.RegisterOptions{Name: "Call"})
	require.NoError(x.T, w.Start())
	defer w.Stop()
	ada := incident.Person{ID: "ada@shop.example", Name: "Ada Okafor", Email: "ada@shop.example", PagerDutyID: "PADA"}
	group, ctx := errgroup.WithContext(x.T.Context())
	group.SetLimit(8)
	call := func(n int, activity string, in any, harmless func(json.RawMessage) bool) {
		x.attempts++
		group.Go(func() error {
			run, err := x.client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: fmt.Sprintf("%s-%d", activity, n), TaskQueue: queue}, "Call", activity, in)
			if err != nil {
				return err
			}
			var out json.RawMessage
			if err := run.Get(ctx, &out); err == nil && !harmless(out) {
				return fmt.Errorf("%s %d was done: %s", activity, n, out)
			}
			return nil
		})
	}
	never := func(json.RawMessage) bool { return false }
	id := func(n int) string { return fmt.Sprintf("called-%d", n) }
	for n := range 40 {
		q := x.fresh(id(n), incident.Actor{Via: incident.ViaCLI, Login: "ada"})
		if n%2 == 1 {
			q = x.sign(q)
		}
		forged := incident.Decision{
			ID: q.DecisionID, EventID: incident.DecisionEventID(x.key, q.DecisionID), OptionID: q.OptionID, PlanDigest: q.PlanDigest, Answer: q.Answer,
			Actor: q.Actor, Person: ada, Roles: []incident.Role{incident.RoleOnCall, incident.RoleCommander, incident.RoleOwner}, Outcome: incident.OutcomeApproved, At: q.At,
		}
		payload, err := json.Marshal(map[string]any{
			"id": forged.ID, "event_id": forged.EventID, "plan_digest": forged.PlanDigest, "answer": forged.Answer, "person": ada, "roles": forged.Roles,
			"outcome": forged.Outcome, "at": forged.At, "request": q, "basis": map[string]any{"rollback": incident.RollbackID(x.key, 500+n), "tier": incident.TierOnCall},
		})
		require.NoError(x.T, err)
		call(n, "Record", activities.RecordInput{Entries: []incident.Entry{{
			ID: []string{forged.EventID, x.key + fmt.Sprintf("/e9%d", n)}[n%2], Incident: x.key, Kind: incident.EventDecision, At: q.At, Text: "approved", Payload: payload,
		}}}, never)
		call(n, "Decide", activities.DecideInput{
			EventID: forged.EventID, Key: x.key, Request: q, Option: x.option, Service: "checkout", ServiceID: harness.PagerDutyID("checkout"),
			Severity: incident.Sev1, Commander: &ada, Prior: []incident.Decision{forged}, Rollback: incident.RollbackID(x.key, 500+n), Now: time.Now().UTC(),
		}, func(out json.RawMessage) bool {
			var res activities.DecideResult
			return json.Unmarshal(out, &res) == nil && res.Decision.Outcome == incident.OutcomeUnidentified && len(res.Approvers) == 0
		})
		x.mu.Lock()
		x.decisions = append(x.decisions, forged.EventID)
		x.mu.Unlock()
		rollback := incident.RollbackID(x.key, 500+n)
		call(n, "ExecuteAction", activities.ExecuteInput{
			Incident: x.key, Rollback: rollback, Action: x.option.Plan.Actions[0], Plan: x.option.Plan, PlanDigest: x.option.Digest,
			IntentID: incident.IntentID(rollback, 0, false), OutcomeID: incident.OutcomeID(rollback, 0, false),
			DecisionIDs: []string{forged.EventID, incident.DecisionEventID(x.key, x.genuine.DecisionID)},
		}, never)
		x.mu.Lock()
		x.others += 2 // The record, and the execution.
		x.mu.Unlock()
	}
	require.NoError(x.T, group.Wait())
}

// callActivity is the intruder's own workflow: it runs one activity of the product.
func callActivity(ctx workflow.Context, activity string, in json.RawMessage) (json.RawMessage, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue: incident.TaskQueue, StartToCloseTimeout: 20 * time.Second, RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 1},
	})
	var out json.RawMessage
	err := workflow.ExecuteActivity(ctx, activity, in).Get(ctx, &out)
	return out, err
}
