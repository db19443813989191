package codec_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/proto"

	"github.com/backout/backout/workflows/worker/codec"
	"github.com/backout/backout/workflows/worker/embedded"
)

const queue = "codec-test"

var service = temporal.NewSearchAttributeKeyKeyword("BackoutService")

// everything uses each of the ways in which a workflow stores payloads.
func everything(ctx workflow.Context, again bool, text string) (string, error) {
	if again {
		return "", workflow.NewContinueAsNewError(ctx, everything, false, text)
	}
	if err := workflow.UpsertTypedSearchAttributes(ctx, service.ValueSet("checkout")); err != nil {
		return "", err
	}
	if err := workflow.UpsertMemo(ctx, map[string]any{"upserted": text}); err != nil {
		return "", err
	}
	workflow.GetVersion(ctx, "change", workflow.DefaultVersion, 1)
	var side string
	if err := workflow.SideEffect(ctx, func(workflow.Context) any { return text }).Get(&side); err != nil {
		return "", err
	}
	if err := workflow.MutableSideEffect(ctx, "id", func(workflow.Context) any { return text },
		func(a, b any) bool { return a == b }).Get(&side); err != nil {
		return "", err
	}
	if err := workflow.SetQueryHandler(ctx, "ask", func(q string) (string, error) { return q + side, nil }); err != nil {
		return "", err
	}
	updated := false
	if err := workflow.SetUpdateHandler(ctx, "tell", func(_ workflow.Context, u string) (string, error) {
		updated = true
		return u, nil
	}); err != nil {
		return "", err
	}

	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: time.Minute,
		Summary:             text,
		RetryPolicy:         &temporal.RetryPolicy{MaximumAttempts: 1},
	})
	if err := workflow.ExecuteActivity(ctx, fail, text).Get(ctx, nil); err == nil {
		return "", temporal.NewApplicationError("the activity did not fail", "test")
	}
	ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{StartToCloseTimeout: time.Minute})
	if err := workflow.ExecuteLocalActivity(ctx, repeat, text).Get(ctx, &side); err != nil {
		return "", err
	}
	if err := workflow.ExecuteChildWorkflow(ctx, child, text).Get(ctx, &side); err != nil {
		return "", err
	}
	var signalled string
	workflow.GetSignalChannel(ctx, "signal").Receive(ctx, &signalled)
	return signalled, workflow.Await(ctx, func() bool { return updated })
}

func child(_ workflow.Context, text string) (string, error) { return text, nil }

func repeat(_ context.Context, text string) (string, error) { return text, nil }

func fail(ctx context.Context, text string) error {
	activity.RecordHeartbeat(ctx, text)
	return temporal.NewApplicationError("failed on "+text, "test", text)
}

// waiting waits for a signal and returns what it was started with.
func waiting(ctx workflow.Context, text string) (string, error) {
	workflow.GetSignalChannel(ctx, "signal").Receive(ctx, nil)
	return text, nil
}

func startServer(t *testing.T) *embedded.Server {
	t.Helper()
	srv, err := embedded.Start(t.Context(), embedded.Options{
		Dir: t.TempDir(), UIPort: embedded.UIOff, Synchronous: embedded.SyncNormal,
		SearchAttributes: map[string]enumspb.IndexedValueType{service.GetName(): enumspb.INDEXED_VALUE_TYPE_KEYWORD},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, srv.Stop()) })
	return srv
}

// dial connects with the codec, or in plain text when it is nil.
func dial(t *testing.T, srv *embedded.Server, c *codec.Codec) client.Client {
	t.Helper()
	opts := client.Options{
		HostPort:  srv.Address(),
		Namespace: embedded.DefaultNamespace,
		Logger:    slog.New(slog.DiscardHandler),
	}
	if c != nil {
		opts.DataConverter, opts.FailureConverter = c.DataConverter(), c.FailureConverter()
	}
	cl, err := client.DialContext(t.Context(), opts)
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	return cl
}

func startWorker(t *testing.T, cl client.Client) worker.Worker {
	t.Helper()
	w := worker.New(cl, queue, worker.Options{StickyScheduleToStartTimeout: time.Second})
	w.RegisterWorkflow(everything)
	w.RegisterWorkflow(child)
	w.RegisterWorkflow(waiting)
	w.RegisterActivity(fail)
	w.RegisterActivity(repeat)
	require.NoError(t, w.Start())
	return w
}

func TestNothingIsStoredInPlainText(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	cl := dial(t, srv, newCodec(t, codec.Options{Keys: keys(t, 1)}))
	t.Cleanup(startWorker(t, cl).Stop)

	run, err := cl.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
		ID: "all", TaskQueue: queue,
		Memo:                  map[string]any{"started": secret},
		StaticSummary:         secret,
		TypedSearchAttributes: temporal.NewSearchAttributes(service.ValueSet("checkout")),
	}, everything, true, secret)
	require.NoError(t, err)
	first := run.GetRunID()
	awaitEvent(t, cl, "all", first, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW)
	require.NoError(t, cl.SignalWorkflow(t.Context(), "all", "", "signal", secret))
	update, err := cl.UpdateWorkflow(t.Context(), client.UpdateWorkflowOptions{
		WorkflowID: "all", UpdateName: "tell", Args: []any{secret}, WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	require.NoError(t, err)
	var told, asked, got string
	require.NoError(t, update.Get(t.Context(), &told))
	require.Equal(t, secret, told)
	require.NoError(t, run.Get(t.Context(), &got))
	require.Equal(t, secret, got)
	answer, err := cl.QueryWorkflow(t.Context(), "all", "", "ask", secret)
	require.NoError(t, err)
	require.NoError(t, answer.Get(&asked))
	require.Equal(t, secret+secret, asked)

	// Read it as somebody without the key would.
	plain := dial(t, srv, nil)
	seen := map[enumspb.EventType]int{}
	last := run.GetRunID()
	require.NotEqual(t, first, last)
	for _, runID := range []string{first, last} {
		iter := plain.GetWorkflowHistory(t.Context(), "all", runID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		for iter.HasNext() {
			event, err := iter.Next()
			require.NoError(t, err)
			seen[event.GetEventType()]++
			raw, err := proto.Marshal(event)
			require.NoError(t, err)
			require.NotContains(t, string(raw), secret, event.GetEventType())
		}
		described, err := plain.DescribeWorkflowExecution(t.Context(), "all", runID)
		require.NoError(t, err)
		raw, err := proto.Marshal(described)
		require.NoError(t, err)
		require.NotContains(t, string(raw), secret)
		require.NotEmpty(t, described.GetWorkflowExecutionInfo().GetMemo().GetFields())
	}
	// The workflow did do what it is here for.
	require.Equal(t, 4, seen[enumspb.EVENT_TYPE_MARKER_RECORDED], "version, two side effects, local activity")
	for _, kind := range []enumspb.EventType{
		enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED,
		enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED,
		enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW,
		enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
		enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED,
		enumspb.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED,
	} {
		require.NotZero(t, seen[kind], kind)
	}
}

func TestPlainInputNeverReachesAWorkflow(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	cl := dial(t, srv, newCodec(t, codec.Options{Keys: keys(t, 1)}))
	t.Cleanup(startWorker(t, cl).Stop)
	plain := dial(t, srv, nil)

	run, err := plain.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "forged", TaskQueue: queue}, waiting, "forged")
	require.NoError(t, err)
	require.Error(t, run.Get(t.Context(), nil))

	_, err = cl.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "open", TaskQueue: queue}, everything, false, "x")
	require.NoError(t, err)
	update, err := plain.UpdateWorkflow(t.Context(), client.UpdateWorkflowOptions{
		WorkflowID: "open", UpdateName: "tell", Args: []any{"forged"}, WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	require.NoError(t, err, "the server takes it; the workflow does not")
	require.Error(t, update.Get(t.Context(), nil))
	require.NoError(t, plain.SignalWorkflow(t.Context(), "open", "", "signal", "forged"))
	require.NoError(t, cl.SignalWorkflow(t.Context(), "open", "", "signal", "ours"))
	update, err = cl.UpdateWorkflow(t.Context(), client.UpdateWorkflowOptions{
		WorkflowID: "open", UpdateName: "tell", Args: []any{"ours"}, WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	require.NoError(t, err)
	require.NoError(t, update.Get(t.Context(), nil))
	var got string
	require.NoError(t, cl.GetWorkflow(t.Context(), "open", "").Get(t.Context(), &got))
	require.Equal(t, "ours", got, "the forged signal was dropped")
}

func TestMissingKeyDelaysAWorkflowAndDoesNotFailIt(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	cl := dial(t, srv, newCodec(t, codec.Options{Keys: keys(t, 1)}))
	_, err := cl.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
		ID: "kept", TaskQueue: queue,
		// How soon the step that failed is tried again.
		WorkflowTaskTimeout: time.Second,
	}, waiting, secret)
	require.NoError(t, err)
	require.NoError(t, cl.SignalWorkflow(t.Context(), "kept", "", "signal", secret))

	wrong := startWorker(t, dial(t, srv, newCodec(t, codec.Options{Keys: keys(t, 2)})))
	awaitEvent(t, cl, "kept", "", enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED)
	wrong.Stop()

	both := dial(t, srv, newCodec(t, codec.Options{Keys: keys(t, 2, 1)}))
	t.Cleanup(startWorker(t, both).Stop)
	var got string
	require.NoError(t, both.GetWorkflow(t.Context(), "kept", "").Get(t.Context(), &got))
	require.Equal(t, secret, got)
}

// awaitEvent follows a run's history until an event of the type is there.
func awaitEvent(t *testing.T, cl client.Client, id, runID string, kind enumspb.EventType) {
	t.Helper()
	iter := cl.GetWorkflowHistory(t.Context(), id, runID, true, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for iter.HasNext() {
		event, err := iter.Next()
		require.NoError(t, err)
		if event.GetEventType() == kind {
			return
		}
	}
	require.Fail(t, "the workflow ended without the event", kind)
}
