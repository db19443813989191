package replay_test

import (
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/proxy"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/proto"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/activities/redact"
	"github.com/backout/backout/workflows/incident"
)

// TestEveryHistoryReplays fails when workflow code no longer does what it did
// in a recorded history. That change strands every incident that is open while
// it is deployed.
func TestEveryHistoryReplays(t *testing.T) {
	t.Parallel()
	for _, h := range recorded(t) {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			require.NoError(t, replay(h.History), "see testdata/README.md before you record anything again")
		})
	}
}

// registry remembers what a worker registers.
type registry map[string]any

func (r registry) RegisterWorkflowWithOptions(w any, options workflow.RegisterOptions) {
	r[options.Name] = w
}

func TestEveryWorkflowIsRecorded(t *testing.T) {
	t.Parallel()
	count := byWorkflow(recorded(t))
	for _, name := range types() {
		require.Positive(t, count[name], "workflow %s has no recorded history: add a scenario and record it", name)
	}
	for name := range count {
		require.True(t, slices.Contains(types(), name), "histories of %s are recorded, and no worker registers it", name)
	}
}

// TestEveryActivityIsRecorded keeps a new activity from being added without a
// history in which it runs.
func TestEveryActivityIsRecorded(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, h := range recorded(t) {
		for _, name := range slices.Concat(h.scheduled(), h.local()) {
			seen[name] = true
		}
	}
	all := reflect.TypeFor[*activities.Activities]()
	require.Positive(t, all.NumMethod())
	for method := range all.Methods() {
		require.True(t, seen[method.Name], "activity %s is in no recorded history: add a scenario and record it", method.Name)
	}
}

// TestEveryEndIsRecorded keeps the ways in which a rollback and an incident
// can end from being forgotten.
func TestEveryEndIsRecorded(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, h := range recorded(t) {
		last := h.Events[len(h.Events)-1]
		seen[h.workflow()+" "+last.GetEventType().String()] = true
		if h.workflow() != incident.WorkflowRollback {
			continue
		}
		var v incident.RollbackView
		require.NoError(t, converter.GetDefaultDataConverter().FromPayloads(last.GetWorkflowExecutionCompletedEventAttributes().GetResult(), &v))
		seen[string(v.Status)] = true
		if v.Recovery != nil {
			seen["verdict "+string(v.Recovery.Verdict)] = true
		}
		for _, a := range v.Actions {
			seen["action "+string(a.Status)] = true
		}
	}
	for _, want := range []string{
		"Incident WorkflowExecutionCompleted", "Incident WorkflowExecutionContinuedAsNew",
		"Rollback WorkflowExecutionCompleted", "TargetLock WorkflowExecutionCompleted",
		"Reconcile WorkflowExecutionCompleted", "Reconcile WorkflowExecutionFailed",
		string(incident.RollbackDone), string(incident.RollbackPartial), string(incident.RollbackFailed),
		string(incident.RollbackVoid), string(incident.RollbackLocked), string(incident.RollbackCancelled),
		"verdict " + string(incident.VerdictRecovered), "verdict " + string(incident.VerdictNotRecovered), "verdict " + string(incident.VerdictUnknown),
		"action " + string(incident.ActionDone), "action " + string(incident.ActionRefused), "action " + string(incident.ActionSkipped),
	} {
		require.True(t, seen[want], "no recorded history ends with %q", want)
	}
}

// TestHistoriesHoldNoSecrets also proves that people can read them.
func TestHistoriesHoldNoSecrets(t *testing.T) {
	t.Parallel()
	for _, h := range recorded(t) {
		payloads := 0
		require.NoError(t, proxy.VisitPayloads(t.Context(), proto.CloneOf(h.History), proxy.VisitPayloadsOptions{
			Visitor: func(_ *proxy.VisitPayloadsContext, in []*commonpb.Payload) ([]*commonpb.Payload, error) {
				for _, p := range in {
					payloads++
					require.Contains(t, []string{converter.MetadataEncodingJSON, converter.MetadataEncodingNil}, string(p.GetMetadata()[converter.MetadataEncoding]), h.name)
					clean, n := redact.Redact(p.GetData())
					require.Zero(t, n, "%s: %s", h.name, clean)
				}
				return in, nil
			},
		}))
		require.Positive(t, payloads, h.name)
		for _, e := range h.Events {
			if a := e.GetWorkflowTaskStartedEventAttributes(); a.GetIdentity() != "" {
				require.Equal(t, identity, a.GetIdentity(), "%s names the machine that recorded it", h.name)
			}
		}
	}
}

// TestEveryScenarioIsRecorded keeps the files and the recorder together.
func TestEveryScenarioIsRecorded(t *testing.T) {
	t.Parallel()
	played := map[string]bool{}
	for _, h := range recorded(t) {
		played[filepath.Dir(h.name)] = true
	}
	for _, s := range scenarios() {
		require.True(t, played[s.name], "scenario %q is not recorded", s.name)
	}
}
