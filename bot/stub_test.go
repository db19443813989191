package bot

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/slack-go/slack"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
)

// NewServerWithin is NewServer with other times: Temporal has wait for
// everything, and requests of Slack wait until answer for a result.
func NewServerWithin(o Options, wait, answer time.Duration) (*Server, error) {
	w := usualWaits()
	w.webhook, w.ready, w.call, w.accept, w.answer = wait, wait, wait, wait, answer
	return newServer(o, w)
}

// DeafTemporal is a Temporal that remembers what it was asked and never
// answers. A method that is not here panics.
type DeafTemporal struct {
	client.Client

	// Accepts makes it accept updates, and never work on them.
	Accepts bool
	// Refuses makes it answer at once, with an error.
	Refuses bool

	mu    sync.Mutex
	calls []string
	sent  []any
}

var errRefused = errors.New("refused by the stub")

// Calls are the names of what it was asked.
func (d *DeafTemporal) Calls() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.calls)
}

// Sent are the arguments of the updates that it was asked for.
func (d *DeafTemporal) Sent() []any {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.sent)
}

func (d *DeafTemporal) asked(ctx context.Context, call string, args ...any) error {
	d.mu.Lock()
	d.calls = append(d.calls, call)
	d.sent = append(d.sent, args...)
	d.mu.Unlock()
	if d.Refuses {
		return errRefused
	}
	<-ctx.Done()
	return ctx.Err()
}

// CheckHealth does not answer.
func (d *DeafTemporal) CheckHealth(ctx context.Context, _ *client.CheckHealthRequest) (*client.CheckHealthResponse, error) {
	return nil, d.asked(ctx, "CheckHealth")
}

// ListWorkflow does not answer.
func (d *DeafTemporal) ListWorkflow(ctx context.Context, _ *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	return nil, d.asked(ctx, "ListWorkflow")
}

// DescribeWorkflowExecution does not answer.
func (d *DeafTemporal) DescribeWorkflowExecution(ctx context.Context, _, _ string) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	return nil, d.asked(ctx, "DescribeWorkflowExecution")
}

// QueryWorkflow does not answer.
func (d *DeafTemporal) QueryWorkflow(ctx context.Context, _, _, _ string, _ ...any) (converter.EncodedValue, error) {
	return nil, d.asked(ctx, "QueryWorkflow")
}

// NewWithStartWorkflowOperation is of no use.
func (d *DeafTemporal) NewWithStartWorkflowOperation(client.StartWorkflowOptions, any, ...any) client.WithStartWorkflowOperation {
	return nil
}

// UpdateWithStartWorkflow does not answer.
func (d *DeafTemporal) UpdateWithStartWorkflow(ctx context.Context, o client.UpdateWithStartWorkflowOptions) (client.WorkflowUpdateHandle, error) {
	return nil, d.asked(ctx, "UpdateWithStartWorkflow", o.UpdateOptions.Args...)
}

// UpdateWorkflow does not answer, or accepts.
func (d *DeafTemporal) UpdateWorkflow(ctx context.Context, o client.UpdateWorkflowOptions) (client.WorkflowUpdateHandle, error) {
	if d.Accepts {
		return endless{id: o.UpdateID}, nil
	}
	return nil, d.asked(ctx, "UpdateWorkflow", o.Args...)
}

// endless is an update that is never worked on.
type endless struct {
	client.WorkflowUpdateHandle

	id string
}

// UpdateID is the update's ID.
func (e endless) UpdateID() string { return e.id }

// Get waits for nothing.
func (e endless) Get(ctx context.Context, _ any) error {
	<-ctx.Done()
	return ctx.Err()
}

// refusing is a network in which every call fails at once.
type refusing struct{}

// Do fails.
func (refusing) Do(*http.Request) (*http.Response, error) { return nil, errRefused }

// RoundTrip fails.
func (refusing) RoundTrip(*http.Request) (*http.Response, error) { return nil, errRefused }

func slackThatRefuses() *slack.Client {
	return slack.New("stub", slack.OptionHTTPClient(refusing{}))
}
