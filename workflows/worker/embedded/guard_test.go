package embedded

import (
	"bytes"
	"context"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/log/tag"
	"google.golang.org/grpc/metadata"
)

func TestBrowserGuard(t *testing.T) {
	t.Parallel()
	const service = "/temporal.api.workflowservice.v1.WorkflowService/"
	grpc := t.Context()
	http := metadata.NewIncomingContext(t.Context(), metadata.Pairs("x-forwarded-host", "127.0.0.1:7243"))
	tests := []struct {
		name string
		ctx  context.Context
		api  string
		want authorization.Decision
	}{
		{name: "grpc may start", ctx: grpc, api: service + "StartWorkflowExecution", want: authorization.DecisionAllow},
		{name: "http may list", ctx: http, api: service + "ListWorkflowExecutions", want: authorization.DecisionAllow},
		{name: "http may query", ctx: http, api: service + "QueryWorkflow", want: authorization.DecisionAllow},
		{name: "http may not update", ctx: http, api: service + "UpdateWorkflowExecution", want: authorization.DecisionDeny},
		{name: "http may not signal", ctx: http, api: service + "SignalWorkflowExecution", want: authorization.DecisionDeny},
		{name: "http may not terminate", ctx: http, api: service + "TerminateWorkflowExecution", want: authorization.DecisionDeny},
		{name: "http may not what is unknown", ctx: http, api: service + "Surprise", want: authorization.DecisionDeny},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := browserGuard{}.Authorize(tt.ctx, nil, &authorization.CallTarget{APIName: tt.api})
			require.NoError(t, err)
			require.Equal(t, tt.want, got.Decision)
		})
	}
}

func TestLoggerKeepsWarningsAndAbove(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	status := 0
	base := newLogger(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))
	base.exit = func(s int) { status = s }
	l := log.With(base, tag.String("shard", "1"))

	l.Error("noise of a start")
	require.Contains(t, out.String(), `level=DEBUG msg="noise of a start"`)
	base.unsettled.Store(false)
	out.Reset()

	l.Debug("debugged")
	l.Info("informed")
	require.Empty(t, out.String())

	l.Warn("warned", tag.Int("n", 3))
	require.Contains(t, out.String(), `level=WARN msg=warned component=temporal shard=1 n=3`)
	l.Error("erred")
	require.Contains(t, out.String(), `level=ERROR msg=erred`)

	require.PanicsWithValue(t, "embedded temporal: panicked", func() { l.Panic("panicked") })
	require.Zero(t, status)
	base.unsettled.Store(true)
	l.Fatal("fatal")
	require.Contains(t, out.String(), `level=ERROR msg=fatal`)
	require.Equal(t, exitFatal, status)
}
