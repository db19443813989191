package bench_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
)

// stopwatch tells when the first activity of a workflow begins, and when as many
// as there are have ended.
type stopwatch struct {
	interceptor.WorkerInterceptorBase
	activities int
	mu         sync.Mutex
	laps       map[string]*lap
}

// lap are the activities of one workflow.
type lap struct {
	begun, ended chan struct{}
	beginOnce    sync.Once
	left         atomic.Int32
}

func newStopwatch(activities int) *stopwatch {
	return &stopwatch{activities: activities, laps: map[string]*lap{}}
}

func (s *stopwatch) of(workflowID string) *lap {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.laps[workflowID]
	if l == nil {
		l = &lap{begun: make(chan struct{}), ended: make(chan struct{})}
		l.left.Store(int32(s.activities))
		s.laps[workflowID] = l
	}
	return l
}

func (s *stopwatch) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	i := &timedActivity{watch: s}
	i.Next = next
	return i
}

type timedActivity struct {
	interceptor.ActivityInboundInterceptorBase
	watch *stopwatch
}

func (i *timedActivity) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	l := i.watch.of(activity.GetInfo(ctx).WorkflowExecution.ID)
	l.beginOnce.Do(func() { close(l.begun) })
	defer func() {
		if l.left.Add(-1) == 0 {
			close(l.ended)
		}
	}()
	return i.Next.ExecuteActivity(ctx, in)
}

func await(ctx context.Context, c <-chan struct{}) error {
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for an activity: %w", ctx.Err())
	}
}
