package bench_test

import (
	"context"
	"fmt"
	"sync"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
)

// stopwatch tells when the first activity of a workflow begins and ends.
type stopwatch struct {
	interceptor.WorkerInterceptorBase
	mu    sync.Mutex
	first map[string]*lap
}

// lap is the first activity of one workflow.
type lap struct {
	begun, ended          chan struct{}
	beginOnce, finishOnce sync.Once
}

func newStopwatch() *stopwatch { return &stopwatch{first: map[string]*lap{}} }

func (s *stopwatch) of(workflowID string) *lap {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.first[workflowID]
	if l == nil {
		l = &lap{begun: make(chan struct{}), ended: make(chan struct{})}
		s.first[workflowID] = l
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
	defer l.finishOnce.Do(func() { close(l.ended) })
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
