package product

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
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

// TestAPolicyThatCanNotBeCarriedOutIsRefused is what keeps people from believing in a
// wait that nobody keeps, and from a plan that nobody can approve.
func TestAPolicyThatCanNotBeCarriedOutIsRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, key, want string }{
		{"a window for objections", "objection_window: 1m", "objection_window and remind_after of tier-2 are not carried out yet"},
		{"a reminder", "remind_after: 1m", "objection_window and remind_after of tier-2 are not carried out yet"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "policy.yaml")
			require.NoError(t, os.WriteFile(file, []byte(guarded+test.key+rest), 0o600))
			_, err := LoadPolicy(file)
			require.ErrorContains(t, err, test.want)
		})
	}
	file := filepath.Join(t.TempDir(), "policy.yaml")
	require.NoError(t, os.WriteFile(file, []byte(guarded+"step_up: true"+rest), 0o600))
	policy, err := LoadPolicy(file)
	require.NoError(t, err)
	require.ErrorContains(t, checkStepUp(Config{Policy: file}, policy), "tier-2 is marked step_up, and there is no login")
	var withLogin Config
	withLogin.Login.OIDC.Issuer = "https://id.example.com"
	require.NoError(t, checkStepUp(withLogin, policy))
}
