package e2e_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/test/e2e/harness"
	fakepagerduty "github.com/backout/backout/test/fakes/pagerduty"
	"github.com/backout/backout/workflows/incident"
)

// Bot and worker as two processes: the path is the same, a page that the bot
// can not hand over is not acknowledged and comes again, and either of them may
// die.
func TestSplitRoles(t *testing.T) {
	t.Parallel()
	w := harness.New(t, harness.Options{Split: true, Services: []string{"checkout", "basket"}})
	key := w.Page("checkout")
	w.Approve(harness.Ada, key)
	w.Product.Kill()
	require.NoError(t, w.Product.Start(t.Context()))
	w.Recovered("checkout", key)

	// Without Temporal the bot answers neither yes nor "never again".
	w.Webhooks.Hold()
	key = w.Page("basket")
	var page fakepagerduty.Event
	w.Webhooks.Release(func(held []fakepagerduty.Event) []fakepagerduty.Event { page = held[0]; return nil })
	header := http.Header{"X-Pagerduty-Signature": {fakepagerduty.Sign(page.Body, false, harness.WebhookSecret)}, "Content-Type": {jsonType}}
	w.TemporalProxy.Cut()
	status, err := post(t.Context(), w.URL+"/webhooks/pagerduty", page.Body, header)
	require.NoError(t, err)
	require.Equal(t, http.StatusServiceUnavailable, status)
	ready, err := get(t.Context(), w.URL+"/readyz")
	require.NoError(t, err)
	require.Equal(t, http.StatusServiceUnavailable, ready)
	w.TemporalProxy.Mend()
	require.NoError(t, deliver(t.Context(), w, page))

	require.NoError(t, w.Bot.Restart(t.Context()))
	w.Approve(harness.Bo, key)
	w.Recovered("basket", key)
	require.Equal(t, 2, w.Started(incident.WorkflowIncident))
	require.NoError(t, w.Bot.Stop())
	require.NoError(t, w.Product.Stop())
}

// Asked to stop in the middle of a rollback, the product stops with status 0,
// and goes on where it was when it is started again.
func TestGracefulStop(t *testing.T) {
	t.Parallel()
	w := harness.New(t, harness.Options{})
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		status, err := get(t.Context(), w.URL+path)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, status, path)
	}
	key := w.Page("checkout")
	w.Approve(harness.Ada, key)
	w.View(key, "a running rollback", func(v incident.View) bool { return v.LastRollback() != nil })
	require.NoError(t, w.Product.Stop())
	_, err := w.VerifyLedger(t.Context())
	require.NoError(t, err)
	require.NoError(t, w.Product.Start(t.Context()))
	w.Recovered("checkout", key)
	require.Zero(t, w.Product.Kills.Load())
}
