package e2e_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/test/e2e/harness"
	fakeslack "github.com/backout/backout/test/fakes/slack"
	"github.com/backout/backout/workflows/incident"
)

// cli runs a command that has to end with a status, and returns what it said.
func cli(t *testing.T, w *harness.World, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	code, stdout, stderr, err := w.Run(t.Context(), args...)
	require.NoError(t, err)
	require.Equal(t, want, code, "backout %s\n%s%s", strings.Join(args, " "), stdout, stderr)
	return stdout, stderr
}

// show is the whole view as the command line has it.
func show(t *testing.T, w *harness.World, key string) incident.View {
	t.Helper()
	out, _ := cli(t, w, 0, "incident", "show", key, "--json")
	var v incident.View
	require.NoError(t, json.Unmarshal([]byte(out), &v))
	return v
}

// The same path without Slack: declared, looked at, approved and closed from
// the command line, with the card following.
func TestCommandLine(t *testing.T) {
	t.Parallel()
	w := harness.New(t, harness.Options{SecondOption: true})
	out, _ := cli(t, w, 0, "incident", "list")
	require.Empty(t, strings.TrimSpace(out))
	_, errOut := cli(t, w, 1, "incident", "declare", "--service", "no-such-service", "orders fail")
	require.Contains(t, errOut, "not in the catalogue")
	cli(t, w, 2, "incident", "declare", "--service", "checkout", "--severity", "sev9", "orders fail")
	require.Zero(t, w.Started(incident.WorkflowIncident))

	out, _ = cli(t, w, 0, "incident", "declare", "--service", "checkout", "--severity", "sev2", "orders", "fail")
	key := strings.TrimSpace(out)
	require.True(t, incident.ValidKey(key), key)
	v := w.View(key, "two options", func(v incident.View) bool { return len(v.Options) == 2 })
	out, _ = cli(t, w, 0, "incident", "list")
	require.Contains(t, out, key)
	out, _ = cli(t, w, 0, "incident", "show", key)
	require.Contains(t, out, incident.ShortDigest(v.Options[0].Digest))
	require.Contains(t, out, "orders fail")
	require.Equal(t, v.Options[0].Digest, show(t, w, key).Options[0].Digest)

	first := recommended(t, v)
	// Without the digest, with a wrong one, for nothing that there is.
	cli(t, w, 2, "approve", key, first.ID)
	cli(t, w, 2, "approve", key, first.ID, "--digest", strings.Repeat("0", 64))
	cli(t, w, 1, "approve", key, "o9", "--digest", first.Digest)
	cli(t, w, 1, "approve", "cli/DNONE", first.ID, "--digest", first.Digest)
	require.Empty(t, show(t, w, key).Rollbacks)

	// Ada refuses the first option by its digest, and approves the next.
	cli(t, w, 0, "refuse", key, first.ID, "--digest", first.Digest, "--reason", "not that one")
	next := recommended(t, show(t, w, key))
	require.NotEqual(t, first.ID, next.ID)
	out, _ = cli(t, w, 0, "approve", key, next.ID, "--digest", incident.ShortDigest(next.Digest))
	require.Contains(t, out, "approved")
	w.Ended(key)
	require.Equal(t, harness.OldRelease, w.Releases.Running("checkout"))
	w.CardOf(key, "the recovery", func(m fakeslack.Message) bool { return contains(m, "ecovered") })

	out, _ = cli(t, w, 0, "ledger", "verify")
	require.Contains(t, out, "ok: ")
	out, _ = cli(t, w, 0, "ledger", "show", key)
	require.Contains(t, out, "not that one")
	w.View(key, "the postmortem", func(v incident.View) bool { return v.Postmortem.Number != 0 })
	cli(t, w, 0, "incident", "close", key)
	cli(t, w, 1, "incident", "show", "cli/DNONE")
	require.Len(t, w.Cards(key), 1)
}

// Commands about a rollback that was done: undone as an option of its own, and
// nothing to cancel.
func TestRedo(t *testing.T) {
	t.Parallel()
	w := harness.New(t, harness.Options{})
	key := w.Page("checkout")
	_, errOut := cli(t, w, 1, "rollback", "cancel", key)
	require.NotEmpty(t, errOut)
	w.Approve(harness.Ada, key)
	w.Recovered("checkout", key)
	cli(t, w, 0, "rollback", "redo", key)
	w.View(key, "an option that undoes the rollback", func(v incident.View) bool {
		for _, o := range v.Options {
			if len(o.Plan.Actions) == 1 && o.Plan.Actions[0].To.Label == harness.BadRelease {
				return true
			}
		}
		return false
	})
	require.Equal(t, harness.GoodRelease, w.Releases.Running("checkout"), "undoing needs an approval of its own")
}

// Doctor says what is well, and what is not, without showing a secret. The API
// takes nobody without a token.
func TestDoctor(t *testing.T) {
	t.Parallel()
	w := harness.New(t, harness.Options{})
	out, _ := cli(t, w, 0, "doctor")
	require.Contains(t, out, "ok   catalogue, runbooks and policy")
	require.Contains(t, out, "ok   ledger")
	for _, secret := range []string{harness.APIToken, harness.WebhookSecret, w.Slack.BotToken(), w.Slack.AppToken(), w.Slack.SigningSecret()} {
		require.NotContains(t, out, secret)
		require.NotContains(t, w.Product.FullLog(), secret)
	}
	w.NATS.Cut()
	w.Prometheus.Cut()
	out, _ = cli(t, w, 1, "doctor")
	require.Contains(t, out, "FAIL system shop")
	require.Contains(t, out, "FAIL system metrics")

	require.NoError(t, os.WriteFile(filepath.Join(w.Home, "api-tokens"), []byte("ada a-token-that-nobody-was-ever-given\n"), 0o600))
	cli(t, w, 1, "incident", "list")
}
