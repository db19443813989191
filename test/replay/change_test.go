package replay_test

import (
	"time"

	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/workflow"
)

// InterceptWorkflow makes the change to every workflow.
func (c *change) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	return &changed{interceptor.WorkflowInboundInterceptorBase{Next: next}, c}
}

// changed is one workflow with the change.
type changed struct {
	interceptor.WorkflowInboundInterceptorBase
	change *change
}

func (w *changed) Init(outbound interceptor.WorkflowOutboundInterceptor) error {
	if w.change.commands != nil {
		outbound = w.change.commands(outbound)
	}
	return w.Next.Init(outbound)
}

func (w *changed) ExecuteWorkflow(ctx workflow.Context, in *interceptor.ExecuteWorkflowInput) (any, error) {
	if w.change.begin != nil {
		w.change.begin(ctx)
	}
	return w.Next.ExecuteWorkflow(ctx, in)
}

func base(next interceptor.WorkflowOutboundInterceptor) interceptor.WorkflowOutboundInterceptorBase {
	return interceptor.WorkflowOutboundInterceptorBase{Next: next}
}

// renaming runs activities under other names, or not at all where the other
// name is empty.
type renaming struct {
	interceptor.WorkflowOutboundInterceptorBase
	names map[string]string
}

func (i *renaming) ExecuteActivity(ctx workflow.Context, name string, args ...any) workflow.Future {
	other, renamed := i.names[name]
	switch {
	case !renamed:
		return i.Next.ExecuteActivity(ctx, name, args...)
	case other == "":
		return done(ctx)
	default:
		return i.Next.ExecuteActivity(ctx, other, args...)
	}
}

// remote has the server schedule a local activity, or runs none.
type remote struct {
	interceptor.WorkflowOutboundInterceptorBase
	name     string
	schedule bool
}

func (i *remote) ExecuteLocalActivity(ctx workflow.Context, name string, args ...any) workflow.Future {
	switch {
	case name != i.name:
		return i.Next.ExecuteLocalActivity(ctx, name, args...)
	case !i.schedule:
		return done(ctx)
	default:
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
		return workflow.ExecuteActivity(ctx, name, args...)
	}
}

// withoutTimers waits for what is waited for, however long it takes.
type withoutTimers struct {
	interceptor.WorkflowOutboundInterceptorBase
}

func (i *withoutTimers) NewTimer(ctx workflow.Context, _ time.Duration) workflow.Future {
	return never(ctx)
}

func (i *withoutTimers) NewTimerWithOptions(ctx workflow.Context, _ time.Duration, _ workflow.TimerOptions) workflow.Future {
	return never(ctx)
}

func (i *withoutTimers) Sleep(ctx workflow.Context, _ time.Duration) error {
	return never(ctx).Get(ctx, nil)
}

func (i *withoutTimers) AwaitWithTimeout(ctx workflow.Context, _ time.Duration, condition func() bool) (bool, error) {
	return true, i.Next.Await(ctx, condition)
}

func (i *withoutTimers) AwaitWithOptions(ctx workflow.Context, _ workflow.AwaitOptions, condition func() bool) (bool, error) {
	return true, i.Next.Await(ctx, condition)
}

// withoutChildren starts no child and goes on as if it had ended well.
type withoutChildren struct {
	interceptor.WorkflowOutboundInterceptorBase
}

func (i *withoutChildren) ExecuteChildWorkflow(ctx workflow.Context, _ string, _ ...any) workflow.ChildWorkflowFuture {
	return child{done(ctx)}
}

// child is one that was never started.
type child struct{ workflow.Future }

func (c child) GetChildWorkflowExecution() workflow.Future { return c.Future }

func (c child) SignalChildWorkflow(workflow.Context, string, any) workflow.Future { return c.Future }

// withoutSignals sends none, neither to children nor to others.
type withoutSignals struct {
	interceptor.WorkflowOutboundInterceptorBase
}

func (i *withoutSignals) SignalExternalWorkflow(ctx workflow.Context, _, _, _ string, _ any) workflow.Future {
	return done(ctx)
}

func (i *withoutSignals) SignalChildWorkflow(ctx workflow.Context, _, _ string, _ any) workflow.Future {
	return done(ctx)
}

// done is a future that is ready, with nothing in it.
func done(ctx workflow.Context) workflow.Future {
	f, settle := workflow.NewFuture(ctx)
	settle.Set(nil, nil)
	return f
}

// never is a future that is never ready.
func never(ctx workflow.Context) workflow.Future {
	f, _ := workflow.NewFuture(ctx)
	return f
}
