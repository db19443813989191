package replay_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"github.com/backout/backout/approvals"
	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// scenario is one path through the product.
type scenario struct {
	// name is the folder of its histories, and the service it happens to. A
	// name is never used for another path.
	name string
	// onFailure makes a rollback of two actions, of which the second says this.
	onFailure incident.OnFailure
	// quick scenarios are played in every run of the tests.
	quick bool
	// play plays it and returns the IDs of the workflows at its root.
	play func(p *play) (workflowIDs []string)
}

// scenarios are all paths that are recorded.
func scenarios() []scenario {
	return []scenario{
		{name: "recovered", quick: true, play: func(p *play) []string {
			p.approve(1, p.open(1), "back")
			p.page(1, incident.PageAcknowledged)
			p.phase(1, incident.PhaseRecovered)
			p.close(1)
			return p.roots(1)
		}},
		{name: "refused", quick: true, play: func(p *play) []string {
			v := p.open(1)
			o := p.option(v, "back")
			require.Equal(p, incident.OutcomeUnidentified, p.answer(1, eve, o, incident.AnswerApprove).Outcome)
			require.Equal(p, incident.OutcomeRefused, p.answer(1, bo, o, incident.AnswerRefuse).Outcome)
			require.Equal(p, incident.OutcomeDenied, p.answer(1, ada, o, incident.AnswerApprove).Outcome)
			o.Digest = incident.DigestOf([]byte("an older plan"))
			require.Equal(p, incident.OutcomeStale, p.answer(1, ada, o, incident.AnswerApprove).Outcome)
			p.close(1)
			return p.roots(1)
		}},
		{name: "broken-glass", play: func(p *play) []string {
			v := p.open(1)
			took := p.command(1, ada, "took", incident.VerbTakeCommand)
			require.Equal(p, incident.OutcomeAccepted, took.Outcome, took.Reason)
			gave := p.handOver(1, ada, "gave", bo)
			require.Equal(p, incident.OutcomeAccepted, gave.Outcome, gave.Reason)
			res := p.breakGlass(1, ada, p.option(v, "back"))
			require.Equal(p, incident.OutcomeApproved, res.Outcome, res.Reason)
			p.phase(1, incident.PhaseRecovered)
			p.close(1)
			return p.roots(1)
		}},
		{name: "objected", play: func(p *play) []string { return p.objected() }},
		{name: "unknown", play: func(p *play) []string {
			p.scene.set(func(s *scene) { s.signal = nil })
			return p.stuck(incident.VerdictUnknown)
		}},
		{name: "not-recovered", play: func(p *play) []string {
			p.scene.set(func(s *scene) { s.signal = func(time.Time) float64 { return sick } })
			return p.stuck(incident.VerdictNotRecovered)
		}},
		{name: "diverging", play: func(p *play) []string {
			p.scene.set(func(s *scene) { s.diverging = 3 })
			p.approve(1, p.open(1), "back")
			v := p.rolledBack(1, 1, incident.RollbackDone)
			require.True(p, v.LastRollback().Recovery.DataAlone())
			p.page(1, incident.PageResolved)
			p.until(1, "staying open", func(v incident.View) bool {
				return slices.ContainsFunc(v.Timeline, func(e incident.Event) bool { return strings.Contains(e.Text, "stays open here") })
			})
			require.Equal(p, incident.OutcomeAccepted, p.command(1, ada, "took", incident.VerbTakeCommand).Outcome)
			require.Equal(p, incident.OutcomeAccepted, p.command(1, ada, "closed", incident.VerbClose).Outcome)
			p.ended(1)
			return p.roots(1)
		}},
		{name: "void", play: func(p *play) []string {
			v := p.open(1)
			p.scene.deploy(p.scene.release(), "v43")
			p.approve(1, v, "back")
			p.rolledBack(1, 1, incident.RollbackVoid)
			p.approve(1, p.deciding(1), "back")
			p.phase(1, incident.PhaseRecovered)
			p.close(1)
			return p.roots(1)
		}},
		{name: "drifted", play: func(p *play) []string {
			v := p.open(1)
			p.scene.set(func(s *scene) { s.afterPlan = s.moved() })
			p.approve(1, v, "back")
			v = p.rolledBack(1, 1, incident.RollbackVoid)
			require.Equal(p, incident.ActionRefused, v.LastRollback().Actions[0].Status)
			p.close(1)
			return p.roots(1)
		}},
		{name: "stopped", onFailure: incident.OnFailureStop, play: func(p *play) []string {
			return p.secondFails(incident.ActionDone)
		}},
		{name: "compensated", onFailure: incident.OnFailureCompensate, play: func(p *play) []string {
			return p.secondFails(incident.ActionSkipped)
		}},
		{name: "cancelled", onFailure: incident.OnFailureContinue, play: func(p *play) []string {
			applying, cancelled := make(chan struct{}), make(chan struct{})
			p.scene.set(func(s *scene) {
				s.beforeApply = func(ctx context.Context, _ string) error {
					close(applying)
					select {
					case <-cancelled:
						return nil
					case <-ctx.Done():
						return ctx.Err()
					}
				}
			})
			p.approve(1, p.open(1), "back")
			<-applying
			require.Equal(p, incident.OutcomeAccepted, p.command(1, ada, "cancel", incident.VerbCancel).Outcome)
			close(cancelled)
			p.rolledBack(1, 1, incident.RollbackCancelled)
			p.close(1)
			return p.roots(1)
		}},
		{name: "locked", play: func(p *play) []string {
			p.scene.set(func(s *scene) { s.signal = nil })
			first, second := p.open(1), p.open(2)
			p.approve(1, first, "back")
			p.phase(1, incident.PhaseValidating)
			p.approve(2, second, "back")
			p.rolledBack(2, 1, incident.RollbackLocked)
			p.rolledBack(1, 1, incident.RollbackDone)
			p.close(1)
			p.close(2)
			return p.roots(1, 2)
		}},
		{name: "redone", play: func(p *play) []string {
			p.approve(1, p.open(1), "back")
			p.phase(1, incident.PhaseRecovered)
			require.Equal(p, incident.OutcomeAccepted, p.command(1, ada, "redo", incident.VerbRedo).Outcome)
			v := p.deciding(1)
			p.approve(1, v, "redo-back")
			p.rolledBack(1, 2, incident.RollbackDone)
			p.close(1)
			return p.roots(1)
		}},
		{name: "reopened", play: func(p *play) []string {
			p.approve(1, p.open(1), "back")
			p.phase(1, incident.PhaseRecovered)
			p.page(1, incident.PageReopened)
			p.deciding(1)
			p.close(1)
			return p.roots(1)
		}},
		{name: "commanded", play: func(p *play) []string {
			p.open(1)
			for _, c := range []struct {
				user, id string
				verb     incident.Verb
				want     incident.Outcome
			}{
				{eve, "c1", incident.VerbTakeCommand, incident.OutcomeUnidentified},
				{ada, "c2", incident.VerbTakeCommand, incident.OutcomeAccepted},
				{ada, "c2", incident.VerbTakeCommand, incident.OutcomeAccepted},
				{bo, "c3", incident.VerbCancel, incident.OutcomeDenied},
				{bo, "c4", incident.VerbRedo, incident.OutcomeDenied},
				{ada, "c5", incident.VerbRefresh, incident.OutcomeAccepted},
				{ada, "c6", incident.VerbEscalate, incident.OutcomeAccepted},
				{ada, "c7", incident.VerbClose, incident.OutcomeAccepted},
			} {
				res := p.command(1, c.user, c.id, c.verb)
				require.Equal(p, c.want, res.Outcome, "%s: %s", c.id, res.Reason)
			}
			p.ended(1)
			return p.roots(1)
		}},
		{name: "signalled", play: func(p *play) []string {
			v := p.open(1)
			id := incident.WorkflowID(p.key(1))
			for _, name := range []string{"approve", incident.SignalCancel, "approve"} {
				require.NoError(p, p.client.SignalWorkflow(p.Context(), id, "", name, "now"))
			}
			require.NoError(p, p.gateway.Attempt(p.Context(), p.key(1), incident.Attempt{Actor: incident.Actor{Via: incident.ViaConsole, Login: eve}, Text: "refused the second proof"}))
			p.until(1, "signalled", func(v incident.View) bool {
				n := 0
				for _, e := range v.Timeline {
					if e.Kind == incident.EventAttempt {
						n++
					}
				}
				return n == 4
			})
			p.approve(1, v, "back")
			p.phase(1, incident.PhaseRecovered)
			p.close(1)
			return p.roots(1)
		}},
		{name: "followed", play: func(p *play) []string {
			v := p.open(1)
			receipt, err := p.gateway.SendPin(p.Context(), p.key(1), incident.PinRequest{
				EventID: "pin-1", Channel: v.Card.Channel, TS: "1700000000.000200", Actor: actor(ada), At: time.Now(),
			})
			require.NoError(p, err)
			pinned, err := receipt.Result(p.Context())
			require.NoError(p, err)
			require.Equal(p, incident.OutcomeAccepted, pinned.Outcome, pinned.Reason)
			p.approve(1, v, "back")
			p.phase(1, incident.PhaseRecovered)
			p.close(1)
			ctx, cancel := context.WithTimeout(p.Context(), within)
			defer cancel()
			require.NoError(p, p.client.GetWorkflow(ctx, incident.FollowUpID(p.key(1)), "").Get(ctx, nil), "the last reminder was said")
			return p.roots(1)
		}},
		{name: "overdue", play: func(p *play) []string {
			p.scene.set(func(s *scene) { s.decideWithin = time.Second; s.forbidden = []string{"pager"} })
			p.open(1)
			p.until(1, "escalated", func(v incident.View) bool { return len(v.Notes) > 0 })
			p.close(1)
			return p.roots(1)
		}},
		{name: "without-evidence", play: func(p *play) []string {
			p.scene.set(func(s *scene) { s.forbidden = []string{"evidence"} })
			p.approve(1, p.open(1), "back")
			p.rolledBack(1, 1, incident.RollbackFailed)
			p.close(1)
			return p.roots(1)
		}},
		{name: "without-ledger", play: func(p *play) []string {
			p.scene.set(func(s *scene) { s.forbidden = []string{"ledger " + string(incident.EventPage), "tracker"} })
			p.approve(1, p.open(1), "back")
			v := p.rolledBack(1, 1, incident.RollbackFailed)
			require.Contains(p, v.LastRollback().Reason, "nothing was touched")
			p.close(1)
			return p.roots(1)
		}},
		{name: "uncatalogued", play: func(p *play) []string {
			e := p.event(1, incident.PageTriggered, "event-unknown")
			e.ServiceID = "PUNKNOWN"
			first := p.send(e)
			require.Equal(p, first, p.send(e), "the same page again is the same page")
			p.phase(1, incident.PhaseDeciding)
			p.close(1)
			return p.roots(1)
		}},
		{name: "continued", play: func(p *play) []string { return p.continued() }},
		{name: "reconciled", quick: true, play: func(p *play) []string { return p.reconciled() }},
		{name: "recording", quick: true, play: func(p *play) []string { return p.recording() }},
	}
}

// roots are the workflows of incidents.
func (p *play) roots(ns ...int) []string {
	var ids []string
	for _, n := range ns {
		ids = append(ids, incident.WorkflowID(p.key(n)))
	}
	return ids
}

// moved changes the release once it has been planned again, between the look
// and the effect.
func (s *scene) moved() func(path string, n int) {
	before := s.plans[s.release()]
	return func(path string, n int) {
		if path == s.release() && n == before+1 {
			s.put(path, "v43")
		}
	}
}

// stuck rolls back to no avail.
func (p *play) stuck(want incident.Verdict) []string {
	p.Helper()
	p.approve(1, p.open(1), "back")
	v := p.rolledBack(1, 1, incident.RollbackDone)
	require.Equal(p, want, v.LastRollback().Recovery.Verdict)
	require.NotEqual(p, incident.PhaseRecovered, v.Phase)
	p.close(1)
	return p.roots(1)
}

// patient is a policy with a reminder, and a window for objections.
const patient = `
apiVersion: backout.dev/v1
kind: Policy
metadata: {name: patient}
tiers:
  - {tier: tier-2, when: [always], approvals: [{roles: [on_call]}], requester_may_approve: true, author_may_be_sole_approver: true, expires_after: 15m, remind_after: 1s, objection_window: 6s}
`

// objected waits until people are reminded, approves a plan that somebody objects to,
// and then one that nobody objects to.
func (p *play) objected() []string {
	p.Helper()
	policy, err := approvals.ParsePolicy(approvals.File{Name: "patient.yaml", Content: []byte(patient)})
	require.NoError(p, err)
	p.scene.set(func(s *scene) { s.policy = policy })
	p.open(1)
	v := p.until(1, "reminded", func(v incident.View) bool {
		return slices.ContainsFunc(v.Timeline, func(e incident.Event) bool { return e.Kind == incident.EventReminder })
	})
	p.approve(1, v, "settings")
	p.until(1, "waiting for objections", func(v incident.View) bool { return v.Objections != nil })
	again := p.answer(1, bo, p.option(v, "settings"), incident.AnswerApprove)
	require.Equal(p, incident.OutcomeLate, again.Outcome, again.Reason)
	no := p.answer(1, bo, p.option(v, "settings"), incident.AnswerRefuse)
	require.Equal(p, incident.OutcomeRefused, no.Outcome, no.Reason)
	p.approve(1, p.until(1, "taken back", func(v incident.View) bool { return v.Objections == nil }), "back")
	v = p.phase(1, incident.PhaseRecovered)
	require.Len(p, v.Rollbacks, 1)
	p.close(1)
	return p.roots(1)
}

// secondFails rolls back two targets, of which the second has drifted, and
// checks what became of the first.
func (p *play) secondFails(first incident.ActionStatus) []string {
	p.Helper()
	v := p.open(1)
	p.scene.set(func(s *scene) { s.afterPlan = s.moved() })
	p.approve(1, v, "back")
	v = p.rolledBack(1, 1, incident.RollbackPartial)
	require.Equal(p, first, v.LastRollback().Actions[0].Status)
	require.Equal(p, incident.ActionRefused, v.LastRollback().Actions[1].Status)
	p.close(1)
	return p.roots(1)
}

// continued talks to an incident until it continues as new, without a pause
// for it to come to rest, and ends the incident in the run that follows.
func (p *play) continued() []string {
	p.Helper()
	// At 2,000 updates Temporal takes no more.
	// Source: https://docs.temporal.io/workflow-execution/limits
	const most, wave, inFlight = 1900, 50, 8
	p.open(1)
	first := p.runID(1)
	note := func(n int) incident.Page { return p.event(1, incident.PageNoted, fmt.Sprintf("note-%d", n)) }
	for sent := 0; sent < most && p.runID(1) == first; sent += wave {
		var group errgroup.Group
		group.SetLimit(inFlight)
		for n := range wave {
			group.Go(func() error { _, err := p.gateway.Page(p.Context(), note(sent+n)); return err })
		}
		require.NoError(p, group.Wait())
	}
	require.Eventually(p, func() bool { return p.runID(1) != first }, within, poll, "the incident did not continue as new")
	require.Equal(p, incident.OutcomeDuplicate, p.send(note(1)).Outcome, "the next run has forgotten a page")
	p.approve(1, p.deciding(1), "back")
	p.phase(1, incident.PhaseRecovered)
	p.close(1)
	return p.roots(1)
}

// runID is the present run of an incident.
func (p *play) runID(n int) string {
	p.Helper()
	d, err := p.client.DescribeWorkflowExecution(p.Context(), incident.WorkflowID(p.key(n)), "")
	require.NoError(p, err)
	return d.GetWorkflowExecutionInfo().GetExecution().GetRunId()
}

// reconciled reconciles a source that knows an incident whose first webhook was
// lost, one whose last webhook was lost, one that can not be delivered and one
// that it says nothing about; and a source that can not be asked.
func (p *play) reconciled() []string {
	p.Helper()
	p.open(2)
	p.scene.set(func(s *scene) {
		begun, bad := p.event(1, incident.PageReconciled, "reconciled-1"), p.event(1, incident.PageReconciled, "reconciled-2")
		bad.IncidentID = "not a key"
		over := p.event(2, incident.PageResolved, "reconciled-3")
		s.open, s.over = []incident.Page{begun, bad}, []incident.Page{over}
		s.held = []string{begun.IncidentID, over.IncidentID, incidentID(s.service, 3)}
	})
	reconcile := func(source incident.Source) (res activities.ReconcileResult, err error) {
		run, err := p.client.ExecuteWorkflow(p.Context(), client.StartWorkflowOptions{
			ID: incident.ReconcileID(source), TaskQueue: incident.TaskQueue,
		}, incident.WorkflowReconcile, source)
		require.NoError(p, err)
		err = run.Get(p.Context(), &res)
		return res, err
	}
	res, err := reconcile(incident.SourcePagerDuty)
	require.NoError(p, err)
	require.Equal(p, activities.ReconcileResult{Open: 2, Delivered: 1, Closed: 1, Failed: []string{"not a key", incidentID(p.scene.service, 3)}}, res)
	_, err = reconcile(incident.SourceAlertmanager)
	require.Error(p, err)
	p.ended(2)
	p.deciding(1)
	p.close(1)
	return append(p.roots(1, 2), incident.ReconcileID(incident.SourcePagerDuty), incident.ReconcileID(incident.SourceAlertmanager))
}

// recording keeps the states of a target, and goes on as new until none is left.
func (p *play) recording() []string {
	p.Helper()
	run, err := p.client.ExecuteWorkflow(p.Context(), client.StartWorkflowOptions{
		ID: incident.RecordingID, TaskQueue: incident.TaskQueue,
	}, incident.WorkflowRecording)
	require.NoError(p, err)
	first := run.GetRunID()
	var res activities.KeepResult
	require.NoError(p, run.Get(p.Context(), &res))
	require.Zero(p, res.Targets)
	require.NotEqual(p, first, run.GetRunID(), "it did not continue as new")
	return []string{incident.RecordingID}
}
