package worker

import (
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	enumspb "go.temporal.io/api/enums/v1"

	"github.com/backout/backout/workflows"
	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// Limits of one worker process. Rollbacks are few and important; what bounds
// them is the systems they touch, not this process.
const (
	maxActivities    = 64
	maxWorkflowTasks = 32
	stopTimeout      = 10 * time.Second
)

// Registry is what both a worker and the replayer and test environments offer.
type Registry interface {
	RegisterWorkflowWithOptions(w any, options workflow.RegisterOptions)
}

// RegisterWorkflows makes every workflow known under its recorded name.
func RegisterWorkflows(r Registry) {
	for name, w := range map[string]any{
		incident.WorkflowIncident:  workflows.Incident,
		incident.WorkflowRollback:  workflows.Rollback,
		incident.WorkflowLock:      workflows.TargetLock,
		incident.WorkflowReconcile: workflows.Reconcile,
		incident.WorkflowRecording: workflows.Recording,
		incident.WorkflowFollowUp:  workflows.PostmortemFollowUp,
	} {
		r.RegisterWorkflowWithOptions(w, workflow.RegisterOptions{Name: name})
	}
}

// New returns a worker for all of Backout's workflows and activities. It is
// not started. Activities that do not say where to look up the incidents that
// are open here look in the client's namespace.
func New(c client.Client, acts *activities.Activities) worker.Worker {
	if acts.Held == nil {
		looking := *acts
		looking.Held = Held{Client: c}
		acts = &looking
	}
	w := worker.New(c, incident.TaskQueue, worker.Options{
		MaxConcurrentActivityExecutionSize:     maxActivities,
		MaxConcurrentWorkflowTaskExecutionSize: maxWorkflowTasks,
		WorkerStopTimeout:                      stopTimeout,
		// A panic in workflow code is a defect that a fixed version continues
		// from: the task is retried, the incident is not failed.
		WorkflowPanicPolicy: worker.BlockWorkflow,
		Interceptors:        []interceptor.WorkerInterceptor{newRefusals(acts)},
	})
	RegisterWorkflows(w)
	w.RegisterActivityWithOptions(acts, activity.RegisterOptions{})
	return w
}

// SearchAttributes are what lists of incidents are filtered by.
func SearchAttributes() map[string]enumspb.IndexedValueType {
	return map[string]enumspb.IndexedValueType{
		incident.SearchPhase:    enumspb.INDEXED_VALUE_TYPE_KEYWORD,
		incident.SearchService:  enumspb.INDEXED_VALUE_TYPE_KEYWORD,
		incident.SearchSeverity: enumspb.INDEXED_VALUE_TYPE_KEYWORD,
	}
}

var errInterval = errors.New("interval must be at least ten seconds")

// minReconcile keeps a reconciliation from using up the pager's rate limit.
const minReconcile = 10 * time.Second

func checkInterval(every time.Duration) error {
	if every < minReconcile {
		return fmt.Errorf("schedule reconciliation every %s: %w", every, errInterval)
	}
	return nil
}
