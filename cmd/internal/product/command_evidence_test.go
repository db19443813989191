package product

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/evidence"
	"github.com/backout/backout/integrations/ledger"
	"github.com/backout/backout/test/attack"
	"github.com/backout/backout/workflows/incident"
)

// captured is a data folder with the evidence of one rollback before it, and the
// environment that names it. One document is hostile, and one could not be had.
func captured(t *testing.T) (env []string, m incident.Manifest, folder string) {
	t.Helper()
	data := t.TempDir()
	folder = filepath.Join(data, "evidence")
	require.NoError(t, os.Mkdir(folder, 0o700))
	store, err := evidence.Open(t.Context(), "file://"+filepath.ToSlash(folder))
	require.NoError(t, err)
	put := func(content, media string) string {
		digest, err := store.Put(t.Context(), []byte(content), media)
		require.NoError(t, err)
		return digest
	}
	at := time.Date(2026, 3, 1, 3, 14, 0, 0, time.UTC)
	m = incident.Manifest{Rollback: "rollback/pagerduty/Q1/1", Phase: incident.EvidenceBefore, Items: []incident.EvidenceItem{
		{Name: "kubernetes.describe deployment/shop/checkout", Collector: "kubernetes.describe", Digest: put(`{"pods":3}`, "application/json"), MediaType: "application/json", Size: 10, At: at},
		{Name: "../../etc/passwd\x1b[2J\n", Collector: "exec", Digest: put("\x1b[2Jall is well\r\nline 2\n", "text/plain"), MediaType: "text/plain; charset=utf-8", Size: 25, Redactions: 2, At: at},
		{Name: "prometheus.range errors", Collector: "prometheus.range", Missing: "Prometheus did not answer\x1b[2J", At: at},
	}}
	listed, err := json.Marshal(m)
	require.NoError(t, err)
	m.Digest = put(string(listed), "application/json")
	require.NoError(t, store.Close())
	payload, err := json.Marshal(m)
	require.NoError(t, err)
	l, err := ledger.Open(t.Context(), filepath.Join(data, LedgerFile))
	require.NoError(t, err)
	for _, e := range []incident.Entry{
		{ID: "rollback/pagerduty/Q1/1/before", Incident: "pagerduty/Q1", Kind: incident.EventEvidence, At: at, Text: "evidence before", Payload: payload},
		{ID: "rollback/pagerduty/Q1/1/e9", Incident: "pagerduty/Q1", Kind: incident.EventEvidence, At: at, Text: "evidence after the rollback could not be recorded"},
	} {
		_, err = l.Append(t.Context(), e)
		require.NoError(t, err)
	}
	require.NoError(t, l.Close())
	return []string{"BACKOUT_DATA=" + data}, m, folder
}

func TestEvidenceIsListedAndShown(t *testing.T) {
	t.Parallel()
	env, m, folder := captured(t)
	code, out, errOut := run(t, env, "evidence", "list", "pagerduty/Q1")
	require.Equal(t, ExitOK, code, errOut)
	require.Contains(t, out, m.Digest)
	require.Contains(t, out, m.Items[0].Digest)
	require.Contains(t, out, "MISSING: Prometheus did not answer")
	require.Equal(t, 5, strings.Count(out, "\n"))
	require.True(t, attack.Quiet(out), "%q", out)

	code, out, errOut = run(t, env, "evidence", "show", m.Items[1].Digest)
	require.Equal(t, ExitOK, code, errOut)
	require.Contains(t, out, "all is well")
	require.Contains(t, out, "\nline 2\n")
	require.True(t, attack.Quiet(out), "%q", out)
	raw := filepath.Join(t.TempDir(), "raw")
	code, _, errOut = run(t, env, "evidence", "show", m.Items[1].Digest, "-o", raw)
	require.Equal(t, ExitOK, code, errOut)
	content, err := os.ReadFile(raw)
	require.NoError(t, err)
	require.Equal(t, "\x1b[2Jall is well\r\nline 2\n", string(content))

	for _, tt := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"no such incident", []string{"list", "pagerduty/Q2"}, ExitFailed, "no evidence of incident"},
		{"no digest", []string{"show", "sha256:12"}, ExitUsage, "is no digest"},
		{"no such document", []string{"show", incident.DigestOf([]byte("other"))}, ExitFailed, "no such document"},
		{"nowhere to write", []string{"export", "pagerduty/Q1"}, ExitUsage, "--output"},
		{"a file that is there", []string{"show", m.Items[0].Digest, "-o", raw}, ExitFailed, "exists"},
		{"a folder that is there", []string{"export", "pagerduty/Q1", "-o", folder}, ExitFailed, "exists already"},
	} {
		code, _, errOut := run(t, env, append([]string{"evidence"}, tt.args...)...)
		require.Equal(t, tt.code, code, tt.name)
		require.Contains(t, errOut, tt.says, tt.name)
	}
}

// checked holds the files of an export against its own list of sums.
func checked(t *testing.T, files map[string]string) {
	t.Helper()
	sums := strings.Split(strings.TrimSpace(files["SHA256SUMS"]), "\n")
	require.Len(t, sums, len(files)-1)
	for _, line := range sums {
		sum, name, _ := strings.Cut(line, "  ")
		got := sha256.Sum256([]byte(files[name]))
		require.Equal(t, sum, hex.EncodeToString(got[:]), name)
	}
	require.Equal(t, `{"pods":3}`, files["rollback_pagerduty_Q1_1/before/01-kubernetes.describe_deployment_shop_checkout.json"])
	require.Contains(t, files, "rollback_pagerduty_Q1_1/before/02-_.._etc_passwd__2J_.txt")
	require.Contains(t, files, "rollback_pagerduty_Q1_1/before/manifest.json")
	require.Contains(t, files["MISSING.txt"], "Prometheus did not answer")
}

func TestEvidenceIsExported(t *testing.T) {
	t.Parallel()
	env, m, folder := captured(t)
	out := filepath.Join(t.TempDir(), "evidence")
	code, _, errOut := run(t, env, "evidence", "export", "pagerduty/Q1", "-o", out)
	require.Equal(t, ExitOK, code, errOut)
	files := map[string]string{}
	require.NoError(t, filepath.WalkDir(out, func(at string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(at)
		name, _ := filepath.Rel(out, at) // It is below.
		files[filepath.ToSlash(name)] = string(content)
		return err
	}))
	checked(t, files)

	archive := out + ".tar"
	code, _, errOut = run(t, env, "evidence", "export", "pagerduty/Q1", "-o", archive)
	require.Equal(t, ExitOK, code, errOut)
	f, err := os.Open(archive)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	files = map[string]string{}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		content, err := io.ReadAll(r)
		require.NoError(t, err)
		files[h.Name] = string(content)
	}
	checked(t, files)

	// A document that was damaged is told, and nothing is left that looks whole.
	hexDigits := strings.TrimPrefix(m.Items[0].Digest, "sha256:")
	require.NoError(t, os.WriteFile(filepath.Join(folder, "sha256", hexDigits[:2], hexDigits[2:]), []byte("other"), 0o600))
	again := filepath.Join(t.TempDir(), "again")
	code, _, errOut = run(t, env, "evidence", "export", "pagerduty/Q1", "-o", again)
	require.Equal(t, ExitFailed, code)
	require.Contains(t, errOut, "does not match its digest")
	require.NoDirExists(t, again)
}
