package product

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/workflows/incident"
)

// TestDecisionKeys starts a bot and a worker of two hosts, and changes the key.
func TestDecisionKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := DecisionsConfig{KeyFile: filepath.Join(dir, "decision.key"), TrustedFile: filepath.Join(dir, "decision.pub")}
	_, _, err := decisionKeys(c, RoleWorker)
	require.ErrorContains(t, err, "copy decisions.trusted_file of the bot there")

	bot, _, err := decisionKeys(c, RoleBot)
	require.NoError(t, err)
	info, err := os.Stat(c.KeyFile)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	again, both, err := decisionKeys(c, RoleAll)
	require.NoError(t, err)

	worker := func() error {
		t.Helper()
		none, trusted, err := decisionKeys(DecisionsConfig{TrustedFile: c.TrustedFile}, RoleWorker)
		require.NoError(t, err)
		require.Nil(t, none)
		q, err := bot.Decision("pagerduty/Q1", incident.DecideRequest{DecisionID: "d1"})
		require.NoError(t, err)
		require.Equal(t, trusted.Decision("pagerduty/Q1", q), both.Decision("pagerduty/Q1", q))
		return trusted.Decision("pagerduty/Q1", q)
	}
	require.NoError(t, worker())
	q, err := again.Decision("pagerduty/Q1", incident.DecideRequest{DecisionID: "d1"})
	require.NoError(t, err)
	require.NoError(t, both.Decision("pagerduty/Q1", q), "the key is made once")

	for n := range 2 {
		_, err = rotate(c)
		require.NoError(t, err)
		_, both, err = decisionKeys(c, RoleAll)
		require.NoError(t, err)
		if n == 0 {
			require.NoError(t, worker(), "what was signed just before still counts")
		} else {
			require.Error(t, worker(), "and not for ever")
		}
	}

	require.NoError(t, os.Chmod(c.TrustedFile, 0o666))
	_, _, err = decisionKeys(c, RoleWorker)
	require.ErrorContains(t, err, "lets others write")
	require.NoError(t, os.Chmod(c.TrustedFile, 0o644))
	require.NoError(t, os.Chmod(c.KeyFile, 0o644))
	_, _, err = decisionKeys(c, RoleBot)
	require.ErrorContains(t, err, "lets others in")
	require.NoError(t, os.WriteFile(c.TrustedFile, []byte("nonsense"), 0o600))
	_, _, err = decisionKeys(c, RoleWorker)
	require.ErrorContains(t, err, "want PEM blocks")
}
