package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/backout/backout/workflows/incident"
)

// EnsureReconcile makes the reconciliation of a source run at an interval of
// at least ten seconds. A schedule that exists already is set to it; several
// processes may do so at once.
func EnsureReconcile(ctx context.Context, c client.Client, source incident.Source, every time.Duration) error {
	if err := checkInterval(every); err != nil {
		return err
	}
	spec := client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: every}}}
	_, err := c.ScheduleClient().Create(ctx, client.ScheduleOptions{
		ID:   incident.ReconcileID(source),
		Spec: spec,
		// A run that overlaps the next is left to finish; a missed one is not
		// made up for, because the next sees the same incidents.
		Overlap:       enumspb.SCHEDULE_OVERLAP_POLICY_SKIP,
		CatchupWindow: every,
		Action: &client.ScheduleWorkflowAction{
			ID: incident.ReconcileID(source), Workflow: incident.WorkflowReconcile, Args: []any{source}, TaskQueue: incident.TaskQueue,
			WorkflowExecutionTimeout: max(every, 2*time.Minute),
		},
		TriggerImmediately: true,
	})
	if !errors.Is(err, temporal.ErrScheduleAlreadyRunning) {
		if err != nil {
			return fmt.Errorf("create schedule %q: %w", incident.ReconcileID(source), err)
		}
		return nil
	}
	handle := c.ScheduleClient().GetHandle(ctx, incident.ReconcileID(source))
	err = handle.Update(ctx, client.ScheduleUpdateOptions{DoUpdate: func(in client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
		s := in.Description.Schedule
		s.Spec = &spec
		return &client.ScheduleUpdate{Schedule: &s}, nil
	}})
	if err != nil {
		return fmt.Errorf("update schedule %q: %w", incident.ReconcileID(source), err)
	}
	return nil
}

// recordingEvery is how soon a recording that was ended from outside begins again.
const recordingEvery = time.Minute

// EnsureRecording makes the states of targets be recorded, by one worker at a time.
// A recording that runs already goes on; several processes may do so at once.
func EnsureRecording(ctx context.Context, c client.Client) error {
	_, err := c.ScheduleClient().Create(ctx, client.ScheduleOptions{
		ID:   incident.RecordingID,
		Spec: client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: recordingEvery}}},
		// A recording runs until it is ended; the schedule is there for its end.
		Overlap:       enumspb.SCHEDULE_OVERLAP_POLICY_SKIP,
		CatchupWindow: recordingEvery,
		Action: &client.ScheduleWorkflowAction{
			ID: incident.RecordingID, Workflow: incident.WorkflowRecording, TaskQueue: incident.TaskQueue,
		},
		TriggerImmediately: true,
	})
	if err != nil && !errors.Is(err, temporal.ErrScheduleAlreadyRunning) {
		return fmt.Errorf("create schedule %q: %w", incident.RecordingID, err)
	}
	return nil
}
