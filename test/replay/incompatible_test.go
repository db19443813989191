package replay_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/workflow"
)

// nondeterminism is how the SDK marks a workflow that does not do what its
// history says.
// Source: https://github.com/temporalio/rules/blob/main/rules/TMPRL1100.md
const nondeterminism = "TMPRL1100"

// change is a change of a workflow's code that open workflows would not
// survive. It is made to the real code, from outside.
type change struct {
	interceptor.WorkerInterceptorBase
	name string
	// reaches reports whether a history has what the change takes away.
	reaches func(h history) bool
	// commands changes what the workflow asks for.
	commands func(next interceptor.WorkflowOutboundInterceptor) interceptor.WorkflowOutboundInterceptor
	// begin runs before the workflow does.
	begin func(ctx workflow.Context)
}

// changes are what every workflow is tried with, and one for each activity
// type of a history.
func changes(h history) []change {
	all := []change{
		// How long a timer runs is no part of the comparison, so that a workflow
		// that begins with one takes another for its own.
		{name: "a wait is added at the start", reaches: beginsOtherwise, begin: func(ctx workflow.Context) { _ = workflow.Sleep(ctx, time.Minute) }},
		{name: "a child is added at the start", begin: func(ctx workflow.Context) { _ = workflow.ExecuteChildWorkflow(ctx, "Added").Get(ctx, nil) }},
		{name: "an activity is added at the start", begin: func(ctx workflow.Context) {
			ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
			_ = workflow.ExecuteActivity(ctx, "Added").Get(ctx, nil)
		}},
		{name: "timers are dropped", reaches: with(enumspb.EVENT_TYPE_TIMER_STARTED), commands: func(next interceptor.WorkflowOutboundInterceptor) interceptor.WorkflowOutboundInterceptor {
			return &withoutTimers{base(next)}
		}},
		{name: "children are dropped", reaches: with(enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED), commands: func(next interceptor.WorkflowOutboundInterceptor) interceptor.WorkflowOutboundInterceptor {
			return &withoutChildren{base(next)}
		}},
		{name: "signals are dropped", reaches: with(enumspb.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED), commands: func(next interceptor.WorkflowOutboundInterceptor) interceptor.WorkflowOutboundInterceptor {
			return &withoutSignals{base(next)}
		}},
	}
	for _, name := range h.local() {
		all = append(all,
			change{name: "local activity " + name + " is dropped", commands: func(next interceptor.WorkflowOutboundInterceptor) interceptor.WorkflowOutboundInterceptor {
				return &remote{base(next), name, false}
			}},
			change{name: "local activity " + name + " becomes a remote one", commands: func(next interceptor.WorkflowOutboundInterceptor) interceptor.WorkflowOutboundInterceptor {
				return &remote{base(next), name, true}
			}})
	}
	types := h.scheduled()
	for i, name := range types {
		all = append(all, change{name: "activity " + name + " is dropped", commands: func(next interceptor.WorkflowOutboundInterceptor) interceptor.WorkflowOutboundInterceptor {
			return &renaming{base(next), map[string]string{name: ""}}
		}})
		if i == 0 {
			continue
		}
		other := types[i-1]
		all = append(all, change{name: "activities " + other + " and " + name + " change places", commands: func(next interceptor.WorkflowOutboundInterceptor) interceptor.WorkflowOutboundInterceptor {
			return &renaming{base(next), map[string]string{name: other, other: name}}
		}})
	}
	return slices.DeleteFunc(all, func(c change) bool { return c.reaches != nil && !c.reaches(h) })
}

func with(event enumspb.EventType) func(h history) bool {
	return func(h history) bool { return h.has(event) }
}

// beginsOtherwise reports whether the first thing that a workflow asks for is
// something else than a timer.
func beginsOtherwise(h history) bool {
	for _, e := range h.Events {
		switch e.GetEventType() {
		case enumspb.EVENT_TYPE_TIMER_STARTED:
			return false
		case enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED, enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED,
			enumspb.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED, enumspb.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES:
			return true
		default:
		}
	}
	return true
}

// longest is the number of events above which a history is not tried with
// every change, because it takes seconds and shows nothing that others do not.
const longest = 1000

// TestIncompatibleChangeFails proves that TestEveryHistoryReplays can fail: for
// every history, every change that takes something away from it, or puts
// something before it, is found.
func TestIncompatibleChangeFails(t *testing.T) {
	t.Parallel()
	proven := map[string]map[string]bool{}
	for _, name := range types() {
		proven[name] = map[string]bool{}
	}
	for _, h := range recorded(t) {
		if len(h.Events) > longest {
			continue
		}
		for _, c := range changes(h) {
			require.Contains(t, proven, h.workflow())
			proven[h.workflow()][c.name] = true
			t.Run(h.name+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				require.ErrorContains(t, replay(h.History, &c), nondeterminism)
			})
		}
	}
	for name, found := range proven {
		require.GreaterOrEqual(t, len(found), 3, "workflow %s: only %v are proven to fail", name, slices.Sorted(maps.Keys(found)))
	}
}

// TestNoChangeReplays proves that it is the changes that fail, and not the way
// they are made.
func TestNoChangeReplays(t *testing.T) {
	t.Parallel()
	none := &change{commands: func(next interceptor.WorkflowOutboundInterceptor) interceptor.WorkflowOutboundInterceptor {
		return &renaming{base(next), nil}
	}}
	for _, h := range recorded(t) {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			require.NoError(t, replay(h.History, none))
		})
	}
}
