package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/backout/backout/integrations/ledger"
	fakepagerduty "github.com/backout/backout/test/fakes/pagerduty"
	"github.com/backout/backout/workflows/incident"
	"github.com/backout/backout/workflows/worker"
	"github.com/backout/backout/workflows/worker/codec"
)

const (
	// patience bounds every wait for something that must happen.
	patience = 60 * time.Second
	// look is how often a condition that nobody announces is looked at.
	look = 50 * time.Millisecond
)

// Until waits for a condition and fails the test when it never comes.
func (w *World) Until(what string, condition func() bool) {
	w.T.Helper()
	require.NoError(w.T, w.Await(w.T.Context(), condition), "%s", what)
}

// Await waits for a condition, at most for the harness's patience.
func (w *World) Await(ctx context.Context, condition func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for !condition() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait: %w", ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}

// Page makes a monitoring tool page for a service, and returns the key of the
// incident.
func (w *World) Page(service string) string {
	w.T.Helper()
	i, err := w.PagerDuty.Trigger(fakepagerduty.TriggerOptions{ServiceID: PagerDutyID(service), Title: service + ": orders fail"})
	require.NoError(w.T, err)
	return incident.Key(incident.SourcePagerDuty, i.ID)
}

// Codec is the product's payload codec.
func (w *World) Codec() (*codec.Codec, error) {
	keys, err := codec.LoadKeyFile(filepath.Join(w.Home, "codec.key"))
	if err != nil {
		return nil, err
	}
	return codec.New(codec.Options{Keys: keys})
}

// Dial opens a connection to the product's Temporal, which is closed when the
// test ends. It survives restarts of the product.
func (w *World) Dial() client.Client {
	w.T.Helper()
	if len(w.clients) > 0 {
		return w.clients[0]
	}
	cdc, err := w.Codec()
	require.NoError(w.T, err)
	c, err := worker.Dial(w.T.Context(), worker.DialOptions{
		Address: w.temporalAddress(), Namespace: client.DefaultNamespace, Codec: cdc, Identity: "test",
		Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(w.T, err)
	w.T.Cleanup(c.Close)
	w.clients = append(w.clients, c)
	return c
}

// Look is the incident as it stands.
func Look(ctx context.Context, c client.Client, key string) (incident.View, error) {
	var v incident.View
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	value, err := c.QueryWorkflow(ctx, incident.WorkflowID(key), "", incident.QueryView)
	if err != nil {
		return v, fmt.Errorf("look at %q: %w", key, err)
	}
	return v, value.Get(&v)
}

// View waits until the incident is as the condition wants it.
func (w *World) View(key, what string, condition func(incident.View) bool) incident.View {
	w.T.Helper()
	c := w.Dial()
	var v incident.View
	var last error
	err := w.Await(w.T.Context(), func() bool {
		got, err := Look(w.T.Context(), c, key)
		if last = err; err != nil {
			return false
		}
		v = got
		return condition(v)
	})
	require.NoError(w.T, errors.Join(err, last), "wait for %s of %s: it is %s, rollbacks %s", what, key, v.Phase, short(v.Rollbacks))
	return v
}

func short(v any) string {
	b, _ := json.Marshal(v)
	if len(b) > 2000 {
		b = b[:2000]
	}
	return string(b)
}

// Options waits until the incident offers something.
func (w *World) Options(key string) incident.View {
	w.T.Helper()
	return w.View(key, "options", func(v incident.View) bool { return len(v.Options) > 0 })
}

// Ended waits until the incident's last rollback has ended.
func (w *World) Ended(key string) incident.View {
	w.T.Helper()
	return w.View(key, "the end of the rollback", func(v incident.View) bool {
		r := v.LastRollback()
		return r != nil && !r.FinishedAt.IsZero()
	})
}

// Recovered requires what one page, one approval and one rollback must have
// left behind, however often the product died meanwhile.
func (w *World) Recovered(service, key string) incident.View {
	w.T.Helper()
	v := w.View(key, "the postmortem", func(v incident.View) bool {
		return (v.Phase == incident.PhaseRecovered || v.Phase == incident.PhaseClosed) && v.Postmortem.Number != 0
	})
	r := v.LastRollback()
	require.Len(w.T, v.Rollbacks, 1)
	require.Equal(w.T, incident.RollbackDone, r.Status, r.Reason)
	require.Equal(w.T, incident.VerdictRecovered, r.Recovery.Verdict, r.Recovery.Reason)
	history, err := w.Releases.History(w.T.Context(), service)
	require.NoError(w.T, err)
	require.Equal(w.T, []string{OldRelease, GoodRelease, BadRelease, GoodRelease}, history, "%s was not changed exactly once", service)
	require.Len(w.T, w.Cards(key), 1, "cards of %s", key)
	require.Len(w.T, w.Postmortems(key), 1, "postmortems of %s", key)
	return v
}

// Entries are the ledger's entries of an incident.
func (w *World) Entries(key string) []ledger.Record {
	w.T.Helper()
	l, err := ledger.OpenReadOnly(w.T.Context(), w.Ledger)
	require.NoError(w.T, err)
	defer func() { require.NoError(w.T, l.Close()) }()
	records, err := l.Entries(w.T.Context(), key)
	require.NoError(w.T, err)
	return records
}

// Started is how many workflows of a type Temporal has ever started.
func (w *World) Started(workflowType string) int {
	w.T.Helper()
	var ids []string
	var token []byte
	for {
		page, err := w.Dial().ListWorkflow(w.T.Context(), &workflowservice.ListWorkflowExecutionsRequest{
			Query: fmt.Sprintf("WorkflowType = '%s'", workflowType), NextPageToken: token,
		})
		require.NoError(w.T, err)
		for _, e := range page.GetExecutions() {
			ids = append(ids, e.GetExecution().GetRunId())
		}
		if token = page.GetNextPageToken(); len(token) == 0 {
			return len(ids)
		}
	}
}

// History is every event of a workflow's latest run so far.
func (w *World) History(id string) []*historypb.HistoryEvent {
	w.T.Helper()
	var events []*historypb.HistoryEvent
	it := w.Dial().GetWorkflowHistory(w.T.Context(), id, "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for it.HasNext() {
		e, err := it.Next()
		require.NoError(w.T, err)
		events = append(events, e)
	}
	return events
}
