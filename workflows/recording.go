package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// recordingFor is how long one run records. The next one begins at once, with a
// history of its own.
const recordingFor = 10 * time.Minute

// Recording keeps the states of the targets whose systems keep no history of them.
// There is one, however many workers there are: its activity runs on one of them,
// and on another when that one stops or dies. What changes meanwhile is captured
// as far as it is still there.
//
// Which targets that are the worker knows. When it knows of none the recording
// ends; its schedule begins it again.
func Recording(ctx workflow.Context) (activities.KeepResult, error) {
	var res activities.KeepResult
	in := activities.KeepInput{For: recordingFor}
	if err := workflow.ExecuteActivity(keepOptions(ctx, in.For), act.KeepStates, in).Get(ctx, &res); err != nil {
		return res, err
	}
	if len(res.Failed) > 0 {
		workflow.GetLogger(ctx).Error("The states of some targets were not kept.", "targets", res.Targets, "failed", len(res.Failed))
	}
	if res.Targets == 0 {
		return res, nil
	}
	return res, workflow.NewContinueAsNewError(ctx, incident.WorkflowRecording)
}
