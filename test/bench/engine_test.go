package bench_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	sdkworker "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/workflows/incident"
	"github.com/backout/backout/workflows/worker"
	"github.com/backout/backout/workflows/worker/embedded"
)

// side is one of the two that are compared.
type side interface {
	// page sends an event of an incident, starts the incident if there is none,
	// and returns when the incident has answered.
	page(ctx context.Context, id, event string) error
	// prepare brings an incident to where decide can be measured.
	prepare(ctx context.Context, id string) error
	// decide sends an update to an incident and returns its completed result.
	decide(ctx context.Context, id, event string) error
	// begun is closed when the first activity of the incident begins.
	begun(id string) <-chan struct{}
	// settle returns when the incident's background work is done, so that the
	// work of one side is not measured as the other's.
	settle(ctx context.Context, id string) error
	// workflow is the ID of the incident's workflow.
	workflow(id string) string
}

const (
	floorUpdate = "update"
	floorSignal = "signal"
)

// startServer runs one engine for both sides, with the settings of the product.
func startServer(tb testing.TB) *embedded.Server {
	tb.Helper()
	srv, err := embedded.Start(tb.Context(), embedded.Options{
		Dir: tb.TempDir(), UIPort: embedded.UIOff,
		SearchAttributes: worker.SearchAttributes(),
		Logger:           slog.New(slog.DiscardHandler),
	})
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, srv.Stop()) })
	return srv
}

// floor is the bare engine: workflows that answer and do next to nothing else.
type floor struct {
	// name begins the workflow IDs, and is the task queue.
	name   string
	run    func(workflow.Context) error
	client client.Client
	watch  *stopwatch
}

// newFloor is the engine with one activity, and newSteps with the steps of an
// incident.
func newFloor(tb testing.TB, srv *embedded.Server) *floor {
	tb.Helper()
	return newEngine(tb, srv, "floor", bare, 1)
}

func newSteps(tb testing.TB, srv *embedded.Server) *floor {
	tb.Helper()
	return newEngine(tb, srv, "steps", stepwise, 1)
}

func newEngine(tb testing.TB, srv *embedded.Server, name string, run func(workflow.Context) error, activities int) *floor {
	tb.Helper()
	watch := newStopwatch(activities)
	c, err := client.DialContext(tb.Context(), client.Options{
		HostPort: srv.Address(), Namespace: embedded.DefaultNamespace,
		Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(tb, err)
	tb.Cleanup(c.Close)
	w := sdkworker.New(c, name, sdkworker.Options{Interceptors: []interceptor.WorkerInterceptor{watch}})
	w.RegisterWorkflow(run)
	w.RegisterActivity(nothing)
	require.NoError(tb, w.Start())
	tb.Cleanup(w.Stop)
	return &floor{name: name, run: run, client: c, watch: watch}
}

// bare runs one activity after its first message and answers all others.
func bare(ctx workflow.Context) error {
	return answer(ctx, func(ctx workflow.Context) error {
		return workflow.ExecuteActivity(ctx, nothing).Get(ctx, nil)
	})
}

// stepwise is bare with the durable steps of an incident that was just paged: what
// the engine itself takes for collecting, and for ledger and card.
func stepwise(ctx workflow.Context) error {
	return answer(ctx, func(ctx workflow.Context) error {
		if err := workflow.ExecuteActivity(ctx, nothing).Get(ctx, nil); err != nil {
			return err
		}
		// The first card, with its record.
		ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{ScheduleToCloseTimeout: time.Second})
		return workflow.ExecuteLocalActivity(ctx, nothing).Get(ctx, nil)
	})
}

// answer answers messages, and takes the steps once after the first.
func answer(ctx workflow.Context, steps func(workflow.Context) error) error {
	messages := 0
	if err := workflow.SetUpdateHandler(ctx, floorUpdate, func(workflow.Context, incident.Page) (incident.Result, error) {
		messages++
		return incident.Result{Outcome: incident.OutcomeAccepted}, nil
	}); err != nil {
		return err
	}
	workflow.Go(ctx, func(ctx workflow.Context) {
		for workflow.GetSignalChannel(ctx, floorSignal).Receive(ctx, nil) {
			messages++
		}
	})
	if err := workflow.Await(ctx, func() bool { return messages > 0 }); err != nil {
		return err
	}
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
	if err := steps(ctx); err != nil {
		return err
	}
	return workflow.Await(ctx, func() bool { return false })
}

func nothing(context.Context) error { return nil }

func (f *floor) start(id string) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{
		ID: f.workflow(id), TaskQueue: f.name,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
	}
}

func (f *floor) page(ctx context.Context, id, event string) error {
	handle, err := f.client.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
		StartWorkflowOperation: f.client.NewWithStartWorkflowOperation(f.start(id), f.run),
		UpdateOptions: client.UpdateWorkflowOptions{
			UpdateID: event, WorkflowID: f.workflow(id), UpdateName: floorUpdate, Args: []any{page(id, event)},
			WaitForStage: client.WorkflowUpdateStageAccepted,
		},
	})
	if err != nil {
		return err
	}
	return handle.Get(ctx, nil)
}

func (f *floor) prepare(ctx context.Context, id string) error {
	if err := f.page(ctx, id, "first"); err != nil {
		return err
	}
	return f.settle(ctx, id)
}

func (f *floor) decide(ctx context.Context, id, event string) error {
	handle, err := f.client.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		UpdateID: event, WorkflowID: f.workflow(id), UpdateName: floorUpdate, Args: []any{page(id, event)},
		WaitForStage: client.WorkflowUpdateStageAccepted,
	})
	if err != nil {
		return err
	}
	return handle.Get(ctx, nil)
}

func (f *floor) begun(id string) <-chan struct{} { return f.watch.of(f.workflow(id)).begun }

func (f *floor) workflow(id string) string { return f.name + "/" + id }

func (f *floor) settle(ctx context.Context, id string) error {
	return await(ctx, f.watch.of(f.workflow(id)).ended)
}

// signals is what the floor would be if nobody had to know that a page was
// understood.
type signals struct{ *floor }

func (s signals) page(ctx context.Context, id, event string) error {
	opts := s.start(signalled(id))
	opts.WorkflowIDConflictPolicy = enumspb.WORKFLOW_ID_CONFLICT_POLICY_UNSPECIFIED
	_, err := s.client.SignalWithStartWorkflow(ctx, opts.ID, floorSignal, page(id, event), opts, s.run)
	return err
}

func (s signals) settle(ctx context.Context, id string) error {
	return s.floor.settle(ctx, signalled(id))
}

func (s signals) workflow(id string) string { return s.floor.workflow(signalled(id)) }

func signalled(id string) string { return "signal-" + id }

// page is the same event for both sides.
func page(id, event string) incident.Page {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return incident.Page{
		EventID: event, Source: incident.SourcePagerDuty, Kind: incident.PageTriggered, IncidentID: id,
		Title: "Checkout answers with errors", Severity: incident.Sev1, ServiceID: "PSVC", Service: "checkout",
		URL: "https://example.pagerduty.com/incidents/" + id, OccurredAt: at, OpenedAt: at,
	}
}

// events is how long the history of an incident is. It stands for what it costs
// the engine, and does not depend on how busy the machine is.
func (f *floor) events(ctx context.Context, s side, id string) (int64, error) {
	d, err := f.client.DescribeWorkflowExecution(ctx, s.workflow(id), "")
	if err != nil {
		return 0, err
	}
	return d.GetWorkflowExecutionInfo().GetHistoryLength(), nil
}
