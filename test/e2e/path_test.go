package e2e_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/test/e2e/harness"
	"github.com/backout/backout/workflows/incident"
)

// The whole path, over HTTP and over Socket Mode: page, card, click, rollback,
// verdict, postmortem; then the source resolves, and it is over.
func TestPagePath(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		socket bool
	}{{"http", false}, {"socket mode", true}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := harness.New(t, harness.Options{SocketMode: tt.socket})
			key := w.Page("checkout")
			w.Approve(harness.Ada, key)
			v := w.Recovered("checkout", key)
			require.Equal(t, []incident.Outcome{incident.OutcomeApproved}, outcomes(v))
			out, err := w.VerifyLedger(t.Context())
			require.NoError(t, err)
			require.Contains(t, out, "ok: ")
			require.Empty(t, w.Slack.Failures())

			require.NoError(t, w.PagerDuty.Resolve(incidentID(key), "PADA"))
			w.View(key, "its end", func(v incident.View) bool { return v.Phase == incident.PhaseClosed })
			require.NoError(t, w.Product.Stop(), "a graceful stop ends with status 0")
		})
	}
}
