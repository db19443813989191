package worker_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/backout/backout/workflows/incident"
	"github.com/backout/backout/workflows/worker"
)

// lists answers with one page after the other.
type lists struct {
	client.Client
	pages [][]string
	err   error
}

func (l lists) ListWorkflow(_ context.Context, r *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	if l.err != nil {
		return nil, l.err
	}
	n := len(r.GetNextPageToken())
	out := &workflowservice.ListWorkflowExecutionsResponse{}
	for _, id := range l.pages[n] {
		out.Executions = append(out.Executions, &workflowpb.WorkflowExecutionInfo{Execution: &commonpb.WorkflowExecution{WorkflowId: id}})
	}
	if n+1 < len(l.pages) {
		out.NextPageToken = make([]byte, n+1)
	}
	return out, nil
}

func TestHeld(t *testing.T) {
	t.Parallel()
	l := lists{pages: [][]string{
		{"incident/pagerduty/Q2", "incident/slack/s1", "rollback/pagerduty/Q1/1"},
		{"incident/pagerduty/Q1", "incident/pagerduty/Q2", "incident/pagerduty/../x"},
	}}
	got, err := worker.Held{Client: l}.Held(t.Context(), incident.SourcePagerDuty)
	require.NoError(t, err)
	require.Equal(t, []string{"Q1", "Q2"}, got)

	_, err = worker.Held{Client: lists{err: errors.New("visibility is away")}}.Held(t.Context(), incident.SourcePagerDuty)
	require.ErrorContains(t, err, "list running incidents: visibility is away")
}

func TestHeldIsBounded(t *testing.T) {
	t.Parallel()
	l := lists{}
	for page := range 60 {
		var ids []string
		for i := range 200 {
			ids = append(ids, fmt.Sprintf("incident/pagerduty/Q%d-%d", page, i))
		}
		l.pages = append(l.pages, ids)
	}
	got, err := worker.Held{Client: l}.Held(t.Context(), incident.SourcePagerDuty)
	require.NoError(t, err)
	require.Len(t, got, 5000)
}
