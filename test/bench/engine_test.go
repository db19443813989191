package bench_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
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
	// firstActivity is closed when the first activity of the incident begins.
	firstActivity(id string) <-chan struct{}
}

const (
	floorQueue  = "floor"
	floorUpdate = "update"
	floorSignal = "signal"
)

// startServer runs one engine for both sides.
func startServer(b *testing.B) *embedded.Server {
	b.Helper()
	srv, err := embedded.Start(b.Context(), embedded.Options{
		Dir: b.TempDir(), UIPort: embedded.UIOff, Synchronous: embedded.SyncNormal,
		SearchAttributes: worker.SearchAttributes(),
		Logger:           slog.New(slog.DiscardHandler),
	})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, srv.Stop()) })
	return srv
}

// floor is the bare engine: workflows that answer and do nothing else.
type floor struct {
	client client.Client
	*stopwatch
}

func newFloor(b *testing.B, srv *embedded.Server) *floor {
	b.Helper()
	watch := &stopwatch{started: map[string]chan struct{}{}}
	c, err := client.DialContext(b.Context(), client.Options{
		HostPort: srv.Address(), Namespace: embedded.DefaultNamespace,
		Logger:       slog.New(slog.DiscardHandler),
		Interceptors: []interceptor.ClientInterceptor{watch},
	})
	require.NoError(b, err)
	b.Cleanup(c.Close)
	w := sdkworker.New(c, floorQueue, sdkworker.Options{})
	w.RegisterWorkflow(bare)
	w.RegisterActivity(nothing)
	require.NoError(b, w.Start())
	b.Cleanup(w.Stop)
	return &floor{client: c, stopwatch: watch}
}

// bare runs one activity after its first message and answers all others.
func bare(ctx workflow.Context) error {
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
	if err := workflow.ExecuteActivity(ctx, nothing).Get(ctx, nil); err != nil {
		return err
	}
	return workflow.Await(ctx, func() bool { return false })
}

func nothing(context.Context) error { return nil }

func (f *floor) start(id string) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{
		ID: "floor/" + id, TaskQueue: floorQueue,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
	}
}

func (f *floor) page(ctx context.Context, id, event string) error {
	handle, err := f.client.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
		StartWorkflowOperation: f.client.NewWithStartWorkflowOperation(f.start(id), bare),
		UpdateOptions: client.UpdateWorkflowOptions{
			UpdateID: event, WorkflowID: "floor/" + id, UpdateName: floorUpdate, Args: []any{page(id, event)},
			WaitForStage: client.WorkflowUpdateStageAccepted,
		},
	})
	if err != nil {
		return err
	}
	return handle.Get(ctx, nil)
}

// signal is what page would be if nobody had to know that it was understood.
func (f *floor) signal(ctx context.Context, id, event string) error {
	opts := f.start(id)
	opts.WorkflowIDConflictPolicy = enumspb.WORKFLOW_ID_CONFLICT_POLICY_UNSPECIFIED
	_, err := f.client.SignalWithStartWorkflow(ctx, opts.ID, floorSignal, page(id, event), opts, bare)
	return err
}

func (f *floor) prepare(ctx context.Context, id string) error {
	if err := f.page(ctx, id, "first"); err != nil {
		return err
	}
	return await(ctx, f.firstActivity(id))
}

func (f *floor) decide(ctx context.Context, id, event string) error {
	handle, err := f.client.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		UpdateID: event, WorkflowID: "floor/" + id, UpdateName: floorUpdate, Args: []any{page(id, event)},
		WaitForStage: client.WorkflowUpdateStageAccepted,
	})
	if err != nil {
		return err
	}
	return handle.Get(ctx, nil)
}

func (f *floor) firstActivity(id string) <-chan struct{} { return f.of("floor/" + id) }

// page is the same event for both sides.
func page(id, event string) incident.Page {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return incident.Page{
		EventID: event, Source: incident.SourcePagerDuty, Kind: incident.PageTriggered, IncidentID: id,
		Title: "Checkout answers with errors", Severity: incident.Sev1, ServiceID: "PSVC", Service: "checkout",
		URL: "https://example.pagerduty.com/incidents/" + id, OccurredAt: at, OpenedAt: at,
	}
}

// stopwatch tells when the first activity of a workflow begins.
type stopwatch struct {
	interceptor.InterceptorBase
	mu      sync.Mutex
	started map[string]chan struct{}
}

func (s *stopwatch) of(workflowID string) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started[workflowID] == nil {
		s.started[workflowID] = make(chan struct{})
	}
	return s.started[workflowID]
}

func (s *stopwatch) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	i := &activityStopwatch{watch: s}
	i.Next = next
	return i
}

type activityStopwatch struct {
	interceptor.ActivityInboundInterceptorBase
	watch *stopwatch
}

func (i *activityStopwatch) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	i.watch.begun(workflowIDOf(ctx))
	return i.Next.ExecuteActivity(ctx, in)
}

func (s *stopwatch) begun(workflowID string) {
	c := s.of(workflowID)
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-c:
	default:
		close(c)
	}
}

func await(ctx context.Context, c <-chan struct{}) error {
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the first activity: %w", ctx.Err())
	}
}
