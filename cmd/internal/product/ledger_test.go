package product

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/ledger"
	"github.com/backout/backout/workflows/incident"
)

func TestLedgerConfigIsChecked(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, content, want string }{
		{"neither", "ledger: { sinks: [ {} ] }\n", "ledger.sinks[0]: give either file or webhook"},
		{"both", "ledger: { sinks: [ { file: a, webhook: b, secret_file: c } ] }\n", "give either file or webhook"},
		{"a webhook without a secret", "ledger: { sinks: [ { file: a }, { webhook: \"https://x/y\" } ] }\n", "ledger.sinks[1]: secret_file is missing"},
		{"a file with a secret", "ledger: { sinks: [ { file: a, secret_file: c } ] }\n", "a file is not signed"},
		{"twice", "ledger: { sinks: [ { file: a }, { file: a } ] }\n", "it is there twice"},
		{"the ledger itself", "ledger: { path: a, sinks: [ { file: a } ] }\n", "the ledger itself"},
		{"an unknown key", "ledger:\n  sinks: [ { fiel: a } ]\n", `backout.yaml:2:14`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := LoadConfig(write(t, "backout.yaml", tt.content), nil)
			require.ErrorContains(t, err, tt.want)
		})
	}
	path := write(t, "backout.yaml", "data: d\nledger: { sinks: [ { file: a } ] }\n")
	c, err := LoadConfig(path, nil)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(filepath.Dir(path), "d", LedgerFile), c.Ledger.Path)
	require.Equal(t, filepath.Join(filepath.Dir(path), "a"), c.Ledger.Sinks[0].File)
}

func TestASinkIsPrintedWithoutItsSecrets(t *testing.T) {
	t.Parallel()
	require.Equal(t, "webhook https://siem.example.com:8443", SinkConfig{Webhook: "https://u:pw@siem.example.com:8443/T0/secret?token=x"}.String())
	require.Equal(t, "webhook https://siem.example.com", SinkConfig{Webhook: "https://siem.example.com?token=x"}.String())
	require.Equal(t, "file /a/b", SinkConfig{File: "/a/b"}.String())
}

// recorded makes a ledger of some entries, with an attack in each.
func recorded(t *testing.T, path string, n int) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(t.Context(), path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	appendTo(t, l, 1, n)
	return l
}

func appendTo(t *testing.T, l *ledger.Ledger, from, to int) {
	t.Helper()
	for i := from; i <= to; i++ {
		_, err := l.Append(t.Context(), incident.Entry{
			ID: fmt.Sprintf("cli/a/e%d", i), Incident: fmt.Sprintf("cli/a%d", i%2), Kind: incident.EventDecision,
			At: time.Unix(int64(i), 0), Text: fmt.Sprintf("=cmd|' /C calc'!A%d \x1b]0;owned\x07\u009b31m", i),
		})
		require.NoError(t, err)
	}
}

// cli runs a command and returns its exit status with everything it printed.
func cli(t *testing.T, args ...string) (status int, out, errs string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status = Main(t.Context(), "backout", args, nil, &stdout, &stderr, nil)
	for _, r := range stdout.String() + stderr.String() {
		require.False(t, r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0, "a terminal acts on %U in %q", r, stdout.String())
	}
	return status, stdout.String(), stderr.String()
}

func TestLedgerCommands(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, second := filepath.Join(dir, "ledger.db"), filepath.Join(dir, "second.jsonl")
	l := recorded(t, file, 5)
	sink, err := ledger.NewFileSink(second)
	require.NoError(t, err)
	relay := ledger.StartRelay(l, discard(), sink)
	require.Eventually(t, func() bool {
		at, err := sink.Cursor()
		return err == nil && at.Seq == 5
	}, 20*time.Second, time.Millisecond)
	relay.Stop()
	end, err := l.End(t.Context())
	require.NoError(t, err)
	head := fmt.Sprintf("%d:%s", end.Seq, end.Hash)

	status, out, errs := cli(t, "ledger", "verify", "--file", file, "--against", second, "--head", head)
	require.Equal(t, ExitOK, status, errs)
	require.Contains(t, out, `has the same 5 entries`)
	require.Contains(t, out, "ok: 5 entries, head 5 sha256:")

	status, out, _ = cli(t, "ledger", "show", "--file", file)
	require.Equal(t, ExitOK, status)
	require.Equal(t, 5, strings.Count(out, "\n"))

	for _, format := range []string{"jsonl", "csv"} {
		exported := filepath.Join(dir, "export."+format)
		status, _, errs = cli(t, "ledger", "export", "--file", file, "--format", format, "-o", exported)
		require.Equal(t, ExitOK, status, errs)
		require.Contains(t, errs, "5 entries; the ledger's head is "+head)
		status, out, errs = cli(t, "ledger", "verify", "--export", exported, "--head", head)
		require.Equal(t, ExitOK, status, errs)
		require.Contains(t, out, "ok: 5 entries, last 5 sha256:")
		status, _, errs = cli(t, "ledger", "export", "--file", file, "-o", exported)
		require.Equal(t, ExitFailed, status, "a file that is there is not written over")
		require.Contains(t, errs, "exists")

		content, err := os.ReadFile(exported)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(exported, bytes.Replace(content, []byte("!A3"), []byte("!A4"), 1), 0o600))
		status, _, errs = cli(t, "ledger", "verify", "--export", exported)
		require.Equal(t, ExitFailed, status)
		require.Contains(t, errs, "entry 3 (cli/a/e3)")

		status, out, _ = cli(t, "ledger", "export", "--file", file, "--format", format, "--incident", "cli/a1", "--since", "1970-01-01T00:00:02Z")
		require.Equal(t, ExitOK, status)
		require.NotContains(t, out, "cli/a/e1\"")
		require.Contains(t, out, "cli/a/e5")
		require.NotContains(t, out, "cli/a/e4")
	}

	// Another ledger of the same length is whole, and is not this one.
	other := filepath.Join(dir, "other.db")
	recorded(t, other, 4)
	status, _, _ = cli(t, "ledger", "verify", "--file", other)
	require.Equal(t, ExitOK, status)
	status, _, errs = cli(t, "ledger", "verify", "--file", other, "--against", second)
	require.Equal(t, ExitFailed, status)
	require.Contains(t, errs, "Entry 5 is missing: the copy has it")
	status, _, errs = cli(t, "ledger", "verify", "--file", other, "--head", head)
	require.Equal(t, ExitFailed, status)
	require.Contains(t, errs, "Entry 5 is missing: the head that was kept names it")

	for _, args := range [][]string{
		{"verify", "--file", file, "--head", "five"},
		{"verify", "--export", second, "--against", second},
		{"export", "--file", file, "--format", "xlsx"},
		{"export", "--file", file, "--since", "yesterday"},
	} {
		status, _, errs = cli(t, append([]string{"ledger"}, args...)...)
		require.Equal(t, ExitUsage, status, errs)
	}
}

// What a sink lacks and whether it fits is on the metrics page and in doctor.
func TestSinksAreWatched(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	require.NoError(t, os.WriteFile(secret, []byte("whsec_"+base64.StdEncoding.EncodeToString(make([]byte, 32))), 0o600))
	c := LedgerConfig{Path: filepath.Join(dir, "ledger.db"), Sinks: []SinkConfig{
		{File: filepath.Join(dir, "second.jsonl")}, {Webhook: "http://127.0.0.1:1/hook-path", SecretFile: secret},
	}}
	var said []string
	failed := 0
	doctor := func() string {
		said, failed = nil, 0
		doctorLedger(t.Context(), c, func(what string, err error) {
			if err != nil {
				failed++
			}
			said = append(said, fmt.Sprintf("%s: %v", what, err))
		})
		return strings.Join(said, "\n")
	}
	require.Contains(t, doctor(), "made by the first start")

	server := &Server{}
	registry := prometheus.NewPedanticRegistry()
	led, err := server.openLedger(t.Context(), Options{Config: Config{Ledger: c}, Log: discard()}, registry)
	require.NoError(t, err)
	appendTo(t, led, 1, 3)
	require.Eventually(t, func() bool {
		families, err := registry.Gather()
		if err != nil {
			return false
		}
		lags := map[string]float64{}
		for _, f := range families {
			if f.GetName() == "backout_ledger_sink_lag_entries" {
				for _, m := range f.GetMetric() {
					lags[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
				}
			}
		}
		return len(lags) == 2 && lags["file:"+c.Sinks[0].File] == 0 && lags["webhook:127.0.0.1:1"] == 3
	}, 20*time.Second, 5*time.Millisecond)
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	require.Empty(t, problems)
	require.Contains(t, doctor(), "webhook:127.0.0.1:1, which is 3 entries behind: <nil>")
	require.Zero(t, failed)
	require.NotContains(t, doctor(), "hook-path")
	require.NoError(t, server.Stop(t.Context()))

	require.NoError(t, os.Rename(c.Path, c.Path+".was"))
	require.NoError(t, os.Rename(c.Path+".head", c.Path+".was.head"))
	recorded(t, c.Path, 1)
	require.Contains(t, doctor(), "the ledger and this copy differ")
	require.Equal(t, 1, failed)
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
