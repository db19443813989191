package e2e_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/proxy"

	"github.com/backout/backout/test/e2e/harness"
	"github.com/backout/backout/workflows/incident"
)

// canaries is how many secrets are planted.
const canaries = 50

// onTargets are documents as targets hold them, each with room for one secret.
var onTargets = []string{
	"DB_PASSWORD=%s", "DATABASE_URL=postgres://shop:%s@db:5432/orders", "REDIS_URL=redis://:%s@cache:6379/0", "AMQP_URL=amqps://shop:%s@queue/vhost",
	"MONGODB_URI=mongodb+srv://shop:%s@cluster.example/orders?retryWrites=true", "dsn: shop:%s@tcp(db:3306)/orders?parseTime=true",
	"Authorization: Bearer %s", "X-Api-Key: %s", "AWS_SECRET_ACCESS_KEY=%s", "GITHUB_TOKEN=ghp_%s", "SLACK_BOT_TOKEN=xoxb-1-2-%s",
	"STRIPE_KEY=sk_live_%s", "VAULT_TOKEN=hvs.%s", "password: %s", "client_secret: %s", `{"apiKey":"%s"}`, `{"db":{"password":"%s"}}`,
	`{"env":[{"name":"DB_PASSWORD","value":"%s"}]}`, `{"kind":"Secret","data":{"token":"%s"}}`, "Server=db;Database=orders;User Id=shop;Password=%s;",
	"smtp_password = \"%s\"", "exec app --password=%s --verbose", "private_key: |\n  -----BEGIN PRIVATE KEY-----\n  %s\n  -----END PRIVATE KEY-----\n",
	"session_token=%s", "https://shop:%s@git.example/shop.git", "webhook_secret: whsec_%s", `<add key="ConnectionString" value="Host=db;Password=%s"/>`,
}

// inEnvironment are variables as hosts set them, for Backout and for others.
var inEnvironment = []string{
	"AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "PGPASSWORD", "VAULT_TOKEN", "GITHUB_TOKEN", "DATABASE_URL", "NPM_TOKEN", "SLACK_TOKEN", "GOOGLE_API_KEY", "SMTP_PASSWORD",
}

// canary is a secret of a name, as no other text contains it.
func canary(n int) string { return fmt.Sprintf("CaNaRy%02dx9Qw7Lm3Zt5Rv8", n) }

// plant puts secrets everywhere, and returns them by where they are.
func plant(t *testing.T, w *harness.World) map[string]string {
	t.Helper()
	planted := map[string]string{}
	next := func(where string) string {
		s := canary(len(planted))
		planted[where] = s
		return s
	}
	file := func(name, content string) {
		require.NoError(t, os.WriteFile(filepath.Join(w.Home, name), []byte(content), 0o600))
	}
	// What the stand-ins already know is a secret too.
	for _, name := range []string{"slack-bot-token", "slack-app-token", "slack-signing-secret", "pagerduty-token", "pagerduty-webhook-secret", "pagerduty-rotated-secret", "github-token"} {
		content, err := os.ReadFile(filepath.Join(w.Home, name))
		require.NoError(t, err)
		planted["file "+name] = strings.TrimSpace(string(content))
	}
	planted["file api-tokens"] = harness.APIToken
	file("nats-password", next("file nats-password"))
	file("prometheus-token", next("file prometheus-token"))
	hook := "whsec_" + base64.StdEncoding.EncodeToString([]byte(next("file ledger-secret")+"-padding"))
	file("ledger-secret", hook)
	planted["the ledger's secret as it is spelled"] = hook

	edit := func(name, old, text string) {
		path := filepath.Join(w.Home, name)
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Contains(t, string(content), old)
		require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(content), old, text, 1)), 0o600))
	}
	edit("backout.yaml", "type: nats, settings: {", "type: nats, settings: { user: shop, password_file: "+filepath.Join(w.Home, "nats-password")+",")
	edit("backout.yaml", "type: prometheus, settings: {", "type: prometheus, settings: { bearer_token_file: "+filepath.Join(w.Home, "prometheus-token")+",")
	edit("backout.yaml", "catalogue:", fmt.Sprintf("ledger: { sinks: [ { file: second.jsonl }, { webhook: \"http://127.0.0.1:1/%s?token=%s\", secret_file: ledger-secret } ] }\ncatalogue:",
		next("path of a URL"), next("query of a URL")))

	var evidence strings.Builder
	for i, document := range onTargets {
		key := fmt.Sprintf("settings-%d", i)
		require.NoError(t, w.Releases.Ship(t.Context(), key, fmt.Sprintf(document, next("target "+document)), "grace@shop.example"))
		_, _ = fmt.Fprintf(&evidence, "  - collector: nats.kv\n    target: { system: shop, path: \"%s/%s\" }\n", harness.Bucket, key)
	}
	edit("runbooks/release.yaml", "evidence:\n", "evidence:\n"+evidence.String())
	for _, name := range inEnvironment {
		w.Product.Setenv(name + "=" + next("environment "+name))
	}
	return planted
}

// spellings are the forms in which a secret would still be one.
func spellings(secret string) []string {
	out := []string{secret, hex.EncodeToString([]byte(secret)), url.QueryEscape(secret)}
	// A secret within something that was encoded may begin at any of three places.
	for shift := range 3 {
		coded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + secret))
		out = append(out, coded[4:len(coded)-4])
	}
	return out
}

// Everything that the product sends, keeps or shows is searched for every secret,
// after an incident in which a write to the target failed at first.
func TestNoSecretLeavesAgain(t *testing.T) {
	t.Parallel()
	w := harness.New(t, harness.Options{NotStarted: true, Unlimited: true})
	planted := plant(t, w)
	require.GreaterOrEqual(t, len(planted), canaries)
	w.Start()
	// The connection breaks with the first write to the target on its way.
	var broken atomic.Bool
	w.NATS.Watch(func(chunk []byte) bool {
		return !strings.Contains(string(chunk), "PUB $KV."+harness.Bucket+".checkout ") || !broken.CompareAndSwap(false, true)
	}, nil)
	key := w.Page("checkout")
	w.Approve(harness.Ada, key)
	v := w.View(key, "the postmortem", func(v incident.View) bool {
		return (v.Phase == incident.PhaseRecovered || v.Phase == incident.PhaseStuck) && v.Postmortem.Number != 0
	})
	require.True(t, broken.Load(), "the first write failed")
	before := v.LastRollback().Before
	require.NotNil(t, before)
	captured := 0
	for _, item := range before.Items {
		if item.Digest != "" {
			captured++
		}
	}
	require.Greater(t, captured, len(onTargets), "the documents on the targets were captured, or nothing could leak")
	require.NoError(t, w.PagerDuty.Resolve(incidentID(key), "PADA"))
	w.View(key, "its end", func(v incident.View) bool { return v.Phase == incident.PhaseClosed })

	seen := surfaces(t, w, key)
	require.NoError(t, w.Product.Stop())
	seen["log"] = w.Product.FullLog()
	for path, content := range files(t, w.Data()) {
		seen["file "+path] = content
	}
	second, err := os.ReadFile(filepath.Join(w.Home, "second.jsonl"))
	require.NoError(t, err)
	seen["second copy of the ledger"] = string(second)

	var leaks []string
	for place, content := range seen {
		require.NotEmpty(t, content, place)
		for where, secret := range planted {
			for _, s := range spellings(secret) {
				if strings.Contains(content, s) {
					leaks = append(leaks, fmt.Sprintf("%s: the secret of %s", place, where))
					break
				}
			}
		}
	}
	require.Empty(t, leaks)
}

// surfaces are what other systems were sent, and what a running product shows.
func surfaces(t *testing.T, w *harness.World, key string) map[string]string {
	t.Helper()
	spell := func(v any) string {
		b, err := json.Marshal(v)
		require.NoError(t, err)
		return string(b)
	}
	seen := map[string]string{"calls of Slack": spell(w.Slack.Calls())}
	var pager, tracker strings.Builder
	for _, c := range w.PagerDuty.Calls("") {
		_, _ = fmt.Fprintf(&pager, "%s %s %v %s\n", c.Method, c.Path, c.Query, c.Body)
	}
	for _, c := range w.GitHub.Calls("") {
		_, _ = fmt.Fprintf(&tracker, "%s %s %v %s\n", c.Method, c.Path, c.Query, c.Body)
	}
	seen["calls of PagerDuty"], seen["calls of GitHub"] = pager.String(), tracker.String()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.URL+"/metrics", nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	page, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Contains(t, string(page), "backout_ledger_sink_lag_entries")
	seen["metrics"] = string(page)
	view, err := harness.Look(t.Context(), w.Dial(), key)
	require.NoError(t, err)
	seen["view"] = spell(view)
	seen["history of the incident"] = history(t, w, incident.WorkflowID(key))
	seen["history of the rollback"] = history(t, w, view.LastRollback().ID)
	return seen
}

// history is every payload of a workflow, decoded.
func history(t *testing.T, w *harness.World, id string) string {
	t.Helper()
	cdc, err := w.Codec()
	require.NoError(t, err)
	var out strings.Builder
	for _, e := range w.History(id) {
		require.NoError(t, proxy.VisitPayloads(t.Context(), e, proxy.VisitPayloadsOptions{
			SkipSearchAttributes: true,
			Visitor: func(_ *proxy.VisitPayloadsContext, in []*commonpb.Payload) ([]*commonpb.Payload, error) {
				plain, err := cdc.Decode(in)
				for _, p := range plain {
					out.Write(p.GetData())
					out.WriteByte('\n')
				}
				return in, err
			},
		}))
		out.WriteString(e.String() + "\n")
	}
	return out.String()
}

// files are all files below a folder by their path in it.
func files(t *testing.T, folder string) map[string]string {
	t.Helper()
	out := map[string]string{}
	require.NoError(t, filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		name, _ := filepath.Rel(folder, path)
		if len(content) > 0 {
			out[name] = string(content)
		}
		return err
	}))
	require.Contains(t, out, "ledger.db")
	return out
}
