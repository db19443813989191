package harness

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/approvals/attest"
)

// ports remembers what freeAddress has handed out in this process.
var ports = struct {
	sync.Mutex
	taken map[int]bool
}{taken: map[int]bool{}}

const never = time.Hour

// writeFiles writes the configuration of the product.
func (w *World) writeFiles() {
	files := map[string]string{
		"slack-bot-token": w.Slack.BotToken(), "slack-app-token": w.Slack.AppToken(), "slack-signing-secret": w.Slack.SigningSecret(),
		"pagerduty-token": pagerToken, "pagerduty-webhook-secret": WebhookSecret, "pagerduty-rotated-secret": RotatedSecret,
		"github-token":          githubToken,
		"api-tokens":            "ada " + APIToken + "\n",
		"catalog-info.yaml":     w.catalogue(),
		"runbooks/release.yaml": w.runbook(),
		"backout.yaml":          w.config(w.Listen, w.opts.Split),
	}
	if w.opts.Split {
		files["worker.yaml"] = w.config(w.workerListen(), false)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(w.T, err)
	private, err := attest.FormatPrivate(key)
	require.NoError(w.T, err)
	public, err := attest.FormatPublic(key.Public().(ed25519.PublicKey))
	require.NoError(w.T, err)
	files["decision.key"], files["decision.pub"] = string(private), string(public)
	for name, content := range files {
		require.NoError(w.T, os.WriteFile(filepath.Join(w.Home, name), []byte(content), 0o600))
	}
}

// APIToken opens the API of the product for Ada.
const APIToken = "e2e-api-token-of-ada-which-is-long-enough"

// workerListen is where the worker listens with Split.
func (w *World) workerListen() string {
	if w.workerAddress == "" {
		w.workerAddress = freeAddress(w.T)
	}
	return w.workerAddress
}

// config is the configuration of one process; the bot of a split product
// reaches Temporal through the proxy.
func (w *World) config(listen string, bot bool) string {
	every := w.opts.ReconcileEvery
	if every == 0 {
		every = never
	}
	mode := "http"
	if w.opts.SocketMode {
		mode = "socket"
	}
	temporal := fmt.Sprintf("{ port: %d, codec_key_file: codec.key }", w.temporalPort)
	data := "data"
	if bot {
		temporal = fmt.Sprintf("{ address: %q, codec_key_file: codec.key }", w.TemporalProxy.Address())
		data = "bot-data"
	}
	return fmt.Sprintf(`data: %s
decisions: { key_file: decision.key, trusted_file: decision.pub }
listen: %s
log: { format: json, level: info }
temporal: %s
slack:
  team: %s
  mode: %s
  channel: %s
  bot_token_file: slack-bot-token
  app_token_file: slack-app-token
  signing_secret_file: slack-signing-secret
  api_url: %s
pagerduty:
  token_file: pagerduty-token
  webhook_secret_files: [pagerduty-webhook-secret, pagerduty-rotated-secret]
  from: backout@shop.example
  reconcile_every: %s
  api_url: %s
github:
  token_file: github-token
  postmortem_repo: %s
  api_url: %s
api: { tokens_file: api-tokens }
people:
  - { id: ada@shop.example, name: Ada Okafor, email: ada@shop.example, slack_user: %s, pagerduty_id: PADA, github_login: ada, logins: [ada] }
  - { id: bo@shop.example, name: Bo Lind, email: bo@shop.example, slack_user: %s, pagerduty_id: PBO, github_login: bo, logins: [bo] }
  - { id: grace@shop.example, name: Grace Lindqvist, email: grace@shop.example, slack_user: %s, pagerduty_id: PGRACE, github_login: grace, logins: [grace] }
  - { id: sam@shop.example, name: Sam Ruiz, email: sam@shop.example, slack_user: %s, pagerduty_id: PSAM, github_login: sam, logins: [sam] }
  - { id: gone@shop.example, name: Gone, email: gone@shop.example, slack_user: %s, pagerduty_id: PGONE, logins: [gone] }
catalogue: [catalog-info.yaml]
runbooks: [runbooks]
systems:
  - { name: shop, type: nats, settings: { url: "nats://%s" } }
  - { name: metrics, type: prometheus, settings: { url: "http://%s", lookback: 500ms, timeout: 2s } }
`, data, listen, temporal, SlackTeam, mode, Channel, w.Slack.APIURL(), every, w.PagerDuty.URL(), PostmortemsRepo, w.GitHub.URL(),
		Ada, Bo, Grace, Sam, Gone, w.NATS.Address(), w.Prometheus.Address())
}

func (w *World) catalogue() string {
	var b strings.Builder
	for _, s := range w.opts.Services {
		_, _ = fmt.Fprintf(&b, `---
apiVersion: backstage.io/v1alpha1
kind: Component
metadata:
  name: %s
  annotations:
    pagerduty.com/service-id: %s
    backout.dev/tier: revenue
    backout.dev/owners: grace@shop.example
spec:
  type: service
  lifecycle: production
  owner: orders
  system: shop
`, s, PagerDutyID(s))
	}
	return b.String()
}

func (w *World) runbook() string {
	v := w.opts.Windows
	return fmt.Sprintf(`apiVersion: backout.dev/v1
kind: Runbook
metadata:
  name: shop-release
  owner: orders
  reviewed: "2026-11-01"
match:
  services: ["*"]
changes:
  - source: nats.kv
    target: { system: shop, path: "%[1]s/{service}" }
    kind: deploy
options:
  - name: release-back
    title: Roll the release back
    strategy: rollback
    undoes: [nats.kv]
    actions:
      - kind: nats.kv
        target: { system: shop, path: "%[1]s/{service}" }
        max_time: 1m
        on_failure: stop
    rung: reversible
    expected_time: 5s
    risk: Orders in flight may fail once.
    wont_revert:
      - Orders that the newer release has priced.
%[9]sevidence:
  - collector: nats.kv
    target: { system: shop, path: "%[1]s/{service}" }
recovery:
  slis:
    - name: error ratio
      system: metrics
      query: %[2]s{service="{service}"}
      unit: ratio
      objective: "< 0.02"
      tolerance: 3
      traffic: %[3]s{service="{service}"}
      min_traffic: 0.3
      min_points: 3
  warmup: %[4]s
  short: %[5]s
  long: %[6]s
  step: 250ms
  baseline_length: 5s
  baseline_gap: 250ms
  hold: %[7]s
  deadline: %[8]s
`, Bucket, errorRatio, requestRate, v.Warmup, v.Short, v.Long, v.Hold, v.Deadline, w.secondOption())
}

// secondOption goes two releases back: the first revision of the bucket is the
// old release of its first service.
func (w *World) secondOption() string {
	if !w.opts.SecondOption {
		return ""
	}
	return fmt.Sprintf(`  - name: release-before
    title: Roll two releases back
    strategy: rollback
    undoes: [nats.kv]
    actions:
      - kind: nats.kv
        target: { system: shop, path: "%s/{service}" }
        revision: "1"
        max_time: 1m
        on_failure: stop
    rung: controlled
    expected_time: 10s
    risk: Everything that two releases brought is gone.
    wont_revert:
      - Orders that the newer releases have priced.
`, Bucket)
}
