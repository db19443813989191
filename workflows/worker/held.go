package worker

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/backout/backout/workflows/incident"
)

// heldPage is how many executions are asked for at once, and maxHeld how many
// incidents are listed at most.
const (
	heldPage = 200
	maxHeld  = 5000
)

// Held lists the incidents whose workflows are running. It comes from
// Temporal's visibility store, which lags and may repeat itself.
type Held struct{ Client client.Client }

// Held lists the identifiers at the source of the incidents of a source, at
// most 5,000, each once and in order.
func (h Held) Held(ctx context.Context, source incident.Source) ([]string, error) {
	request := &workflowservice.ListWorkflowExecutionsRequest{
		PageSize: heldPage,
		Query:    fmt.Sprintf("WorkflowType = '%s' AND ExecutionStatus = 'Running'", incident.WorkflowIncident),
	}
	var ids []string
	for {
		page, err := h.Client.ListWorkflow(ctx, request)
		if err != nil {
			return nil, fmt.Errorf("list running incidents: %w", err)
		}
		for _, e := range page.GetExecutions() {
			key := incident.KeyOf(e.GetExecution().GetWorkflowId())
			if id, ok := strings.CutPrefix(key, string(source)+"/"); ok && incident.ValidKey(key) {
				ids = append(ids, id)
			}
		}
		request.NextPageToken = page.GetNextPageToken()
		if len(request.NextPageToken) == 0 || len(ids) >= maxHeld {
			slices.Sort(ids)
			return slices.Compact(ids), nil
		}
	}
}
