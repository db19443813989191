package workflows_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
	"github.com/backout/backout/workflows/worker"
)

// TestRecording shows that a recording goes on for as long as there is something to
// record, whatever becomes of its attempts.
func TestRecording(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		result activities.KeepResult
		again  bool
	}{
		{"there is nothing to record", activities.KeepResult{}, false},
		{"all is recorded", activities.KeepResult{Targets: 2}, true},
		{"some is not", activities.KeepResult{Targets: 2, Failed: []string{"one"}}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var suite testsuite.WorkflowTestSuite
			env := suite.NewTestWorkflowEnvironment()
			worker.RegisterWorkflows(env)
			attempts := 0
			env.RegisterActivityWithOptions(func(_ context.Context, in activities.KeepInput) (activities.KeepResult, error) {
				require.Positive(t, in.For)
				if attempts++; attempts < 4 {
					return activities.KeepResult{}, temporal.NewApplicationError("the worker stops", "")
				}
				return tt.result, nil
			}, activity.RegisterOptions{Name: "KeepStates"})
			env.ExecuteWorkflow(incident.WorkflowRecording)
			require.True(t, env.IsWorkflowCompleted())
			require.Equal(t, 4, attempts)
			err := env.GetWorkflowError()
			require.Equal(t, tt.again, workflow.IsContinueAsNewError(err), "%v", err)
			if !tt.again {
				require.NoError(t, err)
			}
		})
	}
}
