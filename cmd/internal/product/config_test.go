package product

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func TestConfigIsReadStrictly(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, content, want string }{
		{"an unknown key", "log:\n  formta: json\n", `backout.yaml:2:3: log: unknown key "formta"`},
		{"a wrong type", "temporal:\n  ui_port: many\n", "backout.yaml:2:"},
		{"a bad duration", "pagerduty:\n  reconcile_every: soon\n", "backout.yaml:2:"},
		{"two documents", "data: a\n---\ndata: b\n", "more than one document"},
		{"an unknown log format", "log: { format: xml }\n", "want json or text"},
		{"Slack without a way to verify", "slack: { team: T1, channel: C1, bot_token_file: x }\n", "signing_secret_file is missing"},
		{"Socket Mode without a token", "slack: { mode: socket }\n", "app_token_file is missing"},
		{"a command without a slash", "slack: { command: rollback }\n", "want a slash first"},
		{"a person twice", "people:\n  - { id: a, name: A }\n  - { id: a, name: B }\n", `"a" is there twice`},
		{"a repository without an owner", "github: { token_file: x, postmortem_repo: pm }\n", "want owner/name"},
		{"a severity that is none", "pagerduty: { high_urgency: urgent }\n", "map high urgency"},
		{"a priority of no severity", "pagerduty: { priorities: { Critical: p1 } }\n", `map priority "Critical"`},
		{"security that is no service", "pagerduty: { security_service: the security team }\n", "want the ID of a PagerDuty service"},
		{"on-call levels below one", "pagerduty: { on_call_levels: -1 }\n", "want 1 to 20"},
		{"more on-call levels than there are", "pagerduty: { on_call_levels: 21 }\n", "want 1 to 20"},
		{"security without a token", "pagerduty: { security_service: PSEC }\n", "needs pagerduty.token_file"},
		{"an emoji with colons", "slack: { pin_emoji: \":pushpin:\" }\n", "want the name of an emoji without colons"},
		{"a postmortem due next year", "postmortem: { due: 300 }\n", "want at most 60 working days"},
		{"reminders all the time", "postmortem: { remind_every: 1h }\n", "want at least 12h"},
		{"reminders for ever", "postmortem: { reminders: 1000 }\n", "want 1 to 20"},
		{"an address without a port", "listen: localhost\n", "want host:port"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := LoadConfig(write(t, "backout.yaml", tt.content), nil)
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestConfigDefaults(t *testing.T) {
	t.Parallel()
	path := write(t, "backout.yaml", "listen: 127.0.0.1:9000\nslack: { signing_secret_file: secret }\n")
	c, err := LoadConfig(path, nil)
	require.NoError(t, err)
	require.Equal(t, "http://127.0.0.1:9000", c.URL)
	require.Equal(t, "/rollback", c.Slack.Command)
	require.Equal(t, time.Minute, c.PagerDuty.ReconcileEvery)
	require.Equal(t, "pushpin", c.Slack.PinEmoji)
	require.Equal(t, PostmortemConfig{Due: 5, RemindEvery: 72 * time.Hour, Reminders: 5}, c.Postmortem)
	require.Zero(t, (&PostmortemConfig{Due: -1}).followUp().WorkingDays, "no due date is none")
	require.Equal(t, filepath.Join(filepath.Dir(path), "secret"), c.Slack.SigningSecretFile)
	require.Equal(t, filepath.Join(filepath.Dir(path), "data", "codec.key"), c.Temporal.CodecKeyFile)

	_, err = LoadConfig("", nil)
	require.NoError(t, err, "no file means all defaults")
}

func TestEnvironmentOverridesTheFile(t *testing.T) {
	t.Parallel()
	path := write(t, "backout.yaml", "log: { level: info }\n")
	c, err := LoadConfig(path, []string{
		"BACKOUT_LOG_LEVEL=debug", "BACKOUT_TEMPORAL_UI_PORT=8233", "BACKOUT_PAGERDUTY_RECONCILE_EVERY=90s",
		"BACKOUT_RUNBOOKS=/a,/b", "BACKOUT_TEMPORAL_TLS_ENABLED=true", "BACKOUT_TEST_KUBE=/x", "HOME=/root",
	})
	require.NoError(t, err)
	require.Equal(t, "debug", c.Log.Level)
	require.Equal(t, 8233, c.Temporal.UIPort)
	require.Equal(t, 90*time.Second, c.PagerDuty.ReconcileEvery)
	require.Equal(t, []string{"/a", "/b"}, c.Runbooks)
	require.True(t, c.Temporal.TLS.Enabled)

	for _, bad := range []string{"BACKOUT_SLAKC_TEAM=T1", "BACKOUT_TEMPORAL_UI_PORT=many", "BACKOUT_PAGERDUTY_RECONCILE_EVERY=soon"} {
		_, err := LoadConfig(path, []string{bad})
		require.Error(t, err, bad)
	}
}

func TestTheExampleConfigurationIsValid(t *testing.T) {
	t.Parallel()
	c, err := LoadConfig(filepath.Join("..", "..", "..", "deploy", "backout.example.yaml"), nil)
	require.NoError(t, err)
	require.Len(t, c.Systems, 4)
	var settings struct {
		URL       string `yaml:"url"`
		TokenFile string `yaml:"token_file"`
	}
	require.NoError(t, c.Systems[3].Settings.Decode(&settings))
	require.ErrorContains(t, c.Systems[1].Settings.Decode(&settings), "credentials_file")
}

// commentedKey is a key that the example shows and leaves out.
var commentedKey = regexp.MustCompile(`(?m)^( *)# ((?: *- \{|[a-z_]+:).*)$`)

// TestWhatTheExampleLeavesOutIsValid takes the keys of the example out of their
// comments.
func TestWhatTheExampleLeavesOutIsValid(t *testing.T) {
	t.Parallel()
	example, err := os.ReadFile(filepath.Join("..", "..", "..", "deploy", "backout.example.yaml"))
	require.NoError(t, err)
	all := commentedKey.ReplaceAll(example, []byte("$1$2"))
	all = bytes.ReplaceAll(all, []byte("\n#   "), []byte("\n  ")) // Keys below those.
	c, err := LoadConfig(write(t, "all.yaml", string(all)), nil)
	require.NoError(t, err)
	require.NotEmpty(t, c.Temporal.Address)
	require.NotEmpty(t, c.Slack.APIURL)
	require.NotEmpty(t, c.PagerDuty.APIURL)
	require.NotEmpty(t, c.GitHub.APIURL)
	require.True(t, c.GitHub.Charts)
	require.NotEmpty(t, c.Evidence.URL)
	require.NotEmpty(t, c.API.TokensFile)
	require.NotEmpty(t, c.Login.Session)
	require.NotEmpty(t, c.Decisions.TrustedFile)
	require.Len(t, c.Ledger.Sinks, 2)
	require.NotEmpty(t, c.Policy)
}

func TestASecretNeverComesWithItsError(t *testing.T) {
	t.Parallel()
	path := write(t, "token", "  \n")
	_, err := secret("Slack bot token", path)
	require.ErrorContains(t, err, "is empty")
	_, err = secret("Slack bot token", path+"-gone")
	require.ErrorContains(t, err, "read Slack bot token")
}
