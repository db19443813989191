package worker

import (
	"context"
	"fmt"

	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// maxRefusals is how many refused updates are being recorded at once. What comes while
// as many are is logged by Temporal's client alone.
const maxRefusals = 32

// refusals records updates that an incident refused for their form. Temporal keeps
// no trace of those, and Backout's own bot sends none, so that somebody else did.
type refusals struct {
	interceptor.WorkerInterceptorBase

	acts  *activities.Activities
	slots chan struct{}
}

func newRefusals(acts *activities.Activities) *refusals {
	return &refusals{acts: acts, slots: make(chan struct{}, maxRefusals)}
}

// InterceptWorkflow stands before the validators of a workflow's updates.
func (r *refusals) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	w := &refusing{refusals: r}
	w.Next = next
	return w
}

type refusing struct {
	interceptor.WorkflowInboundInterceptorBase

	refusals *refusals
}

// ValidateUpdate records what the next validator refuses. It is asked once for each
// update, and not in a replay; it changes nothing of the workflow.
func (w *refusing) ValidateUpdate(ctx workflow.Context, in *interceptor.UpdateInput) error {
	err := w.Next.ValidateUpdate(ctx, in)
	if err != nil {
		attempt := fmt.Sprintf("take the update %q", in.Name)
		if info := workflow.GetCurrentUpdateInfo(ctx); info != nil {
			attempt += fmt.Sprintf(" with ID %q", info.ID)
		}
		// It is no part of the workflow: a validator runs once, and its refusal is in
		// no history.
		//workflowcheck:ignore
		w.refusals.take(incident.KeyOf(workflow.GetInfo(ctx).WorkflowExecution.ID), attempt, err)
	}
	return err
}

// take records a refusal beside the workflow's task, which does not wait.
func (r *refusals) take(key, attempt string, why error) {
	select {
	case r.slots <- struct{}{}:
	default:
		return
	}
	go func() {
		defer func() { <-r.slots }()
		activities.RecordRefusal(context.Background(), r.acts, key, attempt, why)
	}()
}
