package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/workflows/incident"
)

// maxLock bounds a lock whose rollback never released it. A rollback ends long
// before; the lock dies with it.
const maxLock = 24 * time.Hour

// TargetLock is the lock on one target: that it runs is the lock, because
// Temporal runs at most one workflow of an ID. It is a child of the rollback
// that holds it and is terminated with it, so that no lock outlives its
// holder.
func TargetLock(ctx workflow.Context, in incident.LockInput) error {
	if err := workflow.SetQueryHandler(ctx, incident.QueryHolder, func() (string, error) { return in.Holder, nil }); err != nil {
		return err
	}
	release := workflow.GetSignalChannel(ctx, incident.SignalRelease)
	selector := workflow.NewSelector(ctx)
	selector.AddReceive(release, func(c workflow.ReceiveChannel, _ bool) { c.Receive(ctx, nil) })
	selector.AddFuture(workflow.NewTimer(ctx, maxLock), func(workflow.Future) {})
	selector.Select(ctx)
	return nil
}
