package product

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/workflows/incident"
)

const guarded = `
apiVersion: backout.dev/v1
kind: Policy
metadata: {name: guarded}
tiers:
  - {tier: tier-2, when: [irreversible], approvals: [{roles: [incident_commander]}], requester_may_approve: false, author_may_be_sole_approver: false, expires_after: 15m, `

const rest = `}
  - {tier: tier-1, when: [always], approvals: [{roles: [on_call]}], requester_may_approve: true, author_may_be_sole_approver: false, expires_after: 15m}
`

// TestThePolicyOfAFileIsLoaded has clocks that are carried out, and clocks that can
// not be: people must not believe in a wait that nobody keeps.
func TestThePolicyOfAFileIsLoaded(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, keys, refused string }{
		{"a window for objections", "objection_window: 1m", ""},
		{"a reminder", "remind_after: 1m", ""},
		{"a window that outlasts every approval", "objection_window: 15m", "policy.yaml:6:190: tiers[0].objection_window: 15m0s must be below expires_after"},
		{"a window of nothing", "objection_window: 0s", "tiers[0].objection_window: 0s must be above zero"},
		{"a reminder after the end", "remind_after: 20m", "tiers[0].remind_after: 20m0s must be above zero and below expires_after"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "policy.yaml")
			require.NoError(t, os.WriteFile(file, []byte(guarded+test.keys+rest), 0o600))
			policy, err := LoadPolicy(file)
			if test.refused != "" {
				require.ErrorContains(t, err, test.refused)
				return
			}
			require.NoError(t, err)
			require.Equal(t, time.Minute, policy.ObjectionWindow(incident.TierCommander)+policy.RemindAfter(incident.TierCommander))
		})
	}
}

// TestAPolicyThatCanNotBeCarriedOutIsRefused is what keeps people from a plan that
// nobody can approve.
func TestAPolicyThatCanNotBeCarriedOutIsRefused(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "policy.yaml")
	require.NoError(t, os.WriteFile(file, []byte(guarded+"step_up: true"+rest), 0o600))
	policy, err := LoadPolicy(file)
	require.NoError(t, err)
	require.ErrorContains(t, checkStepUp(Config{Policy: file}, policy), "tier-2 is marked step_up, and there is no login")
	var withLogin Config
	withLogin.Login.OIDC.Issuer = "https://id.example.com"
	require.NoError(t, checkStepUp(withLogin, policy))
}
