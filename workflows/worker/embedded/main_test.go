package embedded_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/workflows/worker/embedded"
)

const (
	// childEnv makes the test binary serve the folder it names until killed.
	childEnv = "BACKOUT_TEST_EMBEDDED_DIR"

	queue      = "embedded-test"
	signalName = "go"

	// startWithin bounds the start of a server on a busy machine.
	startWithin = time.Minute

	// killedRuns is how many workflows are under way when the child is killed.
	killedRuns = 20
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if err := serveUntilKilled(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// step returns what it was given; the worker's history shows that it ran.
func step(_ context.Context, text string) (string, error) { return text, nil }

// twoSteps runs a step, waits for a signal and runs another.
func twoSteps(ctx workflow.Context, name string) (string, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: startWithin})
	var first, second string
	if err := workflow.ExecuteActivity(ctx, step, name+"-1").Get(ctx, &first); err != nil {
		return "", err
	}
	workflow.GetSignalChannel(ctx, signalName).Receive(ctx, nil)
	if err := workflow.ExecuteActivity(ctx, step, name+"-2").Get(ctx, &second); err != nil {
		return "", err
	}
	return first + "," + second, nil
}

// start runs a server in dir for the length of the test.
func start(t *testing.T, opts embedded.Options) *embedded.Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startWithin)
	defer cancel()
	if opts.Synchronous == 0 {
		opts.Synchronous = embedded.SyncNormal
	}
	srv, err := embedded.Start(ctx, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, srv.Stop()) })
	return srv
}

func dial(t *testing.T, address string) client.Client {
	t.Helper()
	c, err := dialQuietly(t.Context(), address)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func dialQuietly(ctx context.Context, address string) (client.Client, error) {
	return client.DialContext(ctx, client.Options{
		HostPort:  address,
		Namespace: embedded.DefaultNamespace,
		Logger:    slog.New(slog.DiscardHandler),
	})
}

func work(c client.Client) (worker.Worker, error) {
	// A workflow whose worker is gone waits this long before another gets it.
	w := worker.New(c, queue, worker.Options{StickyScheduleToStartTimeout: time.Second})
	w.RegisterWorkflow(twoSteps)
	w.RegisterActivity(step)
	return w, w.Start()
}

// begin starts one twoSteps workflow and returns when Temporal has it.
func begin(ctx context.Context, c client.Client, id string) error {
	_, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: id, TaskQueue: queue}, twoSteps, id)
	return err
}

// countEvents counts the events of one type in a workflow's history.
func countEvents(t *testing.T, c client.Client, id string, kind enumspb.EventType) int {
	t.Helper()
	n := 0
	iter := c.GetWorkflowHistory(t.Context(), id, "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for iter.HasNext() {
		event, err := iter.Next()
		require.NoError(t, err)
		if event.GetEventType() == kind {
			n++
		}
	}
	return n
}

// serveUntilKilled starts a server, a worker and killedRuns workflows, says
// "ready" when every first step is in the history, and never returns.
func serveUntilKilled(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startWithin)
	defer cancel()
	srv, err := embedded.Start(ctx, embedded.Options{Dir: dir, UIPort: embedded.UIOff, Synchronous: embedded.SyncNormal})
	if err != nil {
		return err
	}
	c, err := dialQuietly(ctx, srv.Address())
	if err != nil {
		return err
	}
	if _, err := work(c); err != nil {
		return err
	}
	for i := range killedRuns {
		if err := begin(ctx, c, runID(i)); err != nil {
			return err
		}
	}
	for i := range killedRuns {
		if err := awaitFirstStep(ctx, c, runID(i)); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	select {}
}

func runID(i int) string { return fmt.Sprintf("run-%02d", i) }

// awaitFirstStep follows the history of a run until its first step completed.
func awaitFirstStep(ctx context.Context, c client.Client, id string) error {
	iter := c.GetWorkflowHistory(ctx, id, "", true, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for iter.HasNext() {
		event, err := iter.Next()
		if err != nil {
			return err
		}
		if event.GetEventType() == enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED {
			return nil
		}
	}
	return fmt.Errorf("follow history of %q: it ended before the first step", id)
}

// startChild runs this test binary as a server on dir and returns when its
// workflows are under way.
func startChild(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ready", strings.TrimSpace(line))
	return cmd
}
