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
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/evidence"
	"github.com/backout/backout/integrations/ledger"
	"github.com/backout/backout/test/attack"
	"github.com/backout/backout/workflows/incident"
)

const (
	describeName = "kubernetes.describe deployment/shop/checkout"
	hostileName  = "../../etc/passwd\x1b[2J\n<script>alert(1)</script>"
	picture      = "\x89PNG\r\n\x1a\n\x00\x00\xff"
)

// captured is a data folder with the evidence of one rollback before and after it,
// and the environment that names it. One document is hostile, one is no text, and one
// could not be had.
func captured(t *testing.T) (env []string, before, after incident.Manifest, folder string) {
	t.Helper()
	data := t.TempDir()
	folder = filepath.Join(data, "evidence")
	require.NoError(t, os.Mkdir(folder, 0o700))
	store, err := evidence.Open(t.Context(), "file://"+filepath.ToSlash(folder))
	require.NoError(t, err)
	l, err := ledger.Open(t.Context(), filepath.Join(data, LedgerFile))
	require.NoError(t, err)
	at := time.Date(2026, 3, 1, 3, 14, 0, 0, time.UTC)
	item := func(name, collector, content, media string) incident.EvidenceItem {
		digest, err := store.Put(t.Context(), []byte(content), media)
		require.NoError(t, err)
		return incident.EvidenceItem{Name: name, Collector: collector, Digest: digest, MediaType: media, Size: int64(len(content)), At: at}
	}
	record := func(phase incident.EvidencePhase, items ...incident.EvidenceItem) incident.Manifest {
		m := incident.Manifest{Rollback: "rollback/pagerduty/Q1/1", Phase: phase, Items: items}
		listed, err := json.Marshal(m)
		require.NoError(t, err)
		m.Digest, err = store.Put(t.Context(), listed, "application/json")
		require.NoError(t, err)
		payload, err := json.Marshal(m)
		require.NoError(t, err)
		_, err = l.Append(t.Context(), incident.Entry{
			ID: incident.EvidenceID(m.Rollback, phase), Incident: "pagerduty/Q1", Kind: incident.EventEvidence, At: at, Text: "evidence", Payload: payload,
		})
		require.NoError(t, err)
		return m
	}
	hostile := item(hostileName, "exec", "\x1b[2Jall is well\r\nline 2\xff\n", "text/plain; charset=utf-8")
	hostile.Redactions = 2
	before = record(incident.EvidenceBefore, item(describeName, "kubernetes.describe", `{"pods":3}`, "application/json"), hostile,
		incident.EvidenceItem{Name: "prometheus.range errors", Collector: "prometheus.range", Missing: "Prometheus did not answer\x1b[2J", At: at})
	after = record(incident.EvidenceAfter, item(describeName, "kubernetes.describe", `{"pods":2}`, "application/json"), item("chart", "prometheus.range", picture, "image/png"))
	_, err = l.Append(t.Context(), incident.Entry{
		ID: "rollback/pagerduty/Q1/1/e9", Incident: "pagerduty/Q1", Kind: incident.EventEvidence, At: at, Text: "evidence after the rollback could not be recorded",
	})
	require.NoError(t, err)
	require.NoError(t, errors.Join(store.Close(), l.Close()))
	return []string{"BACKOUT_DATA=" + data}, before, after, folder
}

func TestEvidenceIsListed(t *testing.T) {
	t.Parallel()
	env, before, _, _ := captured(t)
	code, out, errOut := run(t, env, "evidence", "list", "pagerduty/Q1")
	require.Equal(t, ExitOK, code, errOut)
	require.Equal(t, 8, strings.Count(out, "\n"), out)
	require.True(t, attack.Quiet(out), "%q", out)
	require.Contains(t, out, incident.ShortDigest(before.Digest))
	short := incident.ShortDigest(before.Items[0].Digest)
	require.Regexp(t, `(?m)^rollback/pagerduty/Q1/1 +before +`+describeName+` +kubernetes.describe +2026-03-01 03:14:00 +10 +0 +`+short+` +-$`, out)
	require.Regexp(t, `(?m)prometheus.range errors .* - +- +- +Prometheus did not answer`, out)

	code, _, errOut = run(t, env, "evidence", "list", "pagerduty/Q2")
	require.Equal(t, ExitFailed, code)
	require.Contains(t, errOut, "no evidence of incident")
}

func TestEvidenceIsShown(t *testing.T) {
	t.Parallel()
	env, before, after, folder := captured(t)
	raw := filepath.Join(t.TempDir(), "raw")
	for _, tt := range []struct {
		name string
		args []string
		code int
		out  string // All of standard output.
		says string // Part of standard error.
	}{
		{name: "by digest", args: []string{before.Items[0].Digest}, out: "{\"pods\":3}\n"},
		{name: "by the digits of a list", args: []string{incident.ShortDigest(after.Items[0].Digest)}, out: "{\"pods\":2}\n"},
		{name: "by name and phase", args: []string{describeName, "--phase", "after"}, out: "{\"pods\":2}\n"},
		{name: "by a name that lists show in another way", args: []string{"../../etc/passwd[2J <script>alert(1)</script>"}, out: "\\u001b[2Jall is well\nline 2\uFFFD\n"},
		{name: "as it is", args: []string{before.Items[1].Digest, "-o", raw}},
		{name: "what is no text into a pipe", args: []string{"chart"}, out: picture},
		{name: "a name of two", args: []string{describeName}, code: ExitFailed, says: "2 documents are called"},
		{name: "what could not be had", args: []string{"prometheus.range errors"}, code: ExitFailed, says: "could not be had: Prometheus did not answer"},
		{name: "no such name", args: []string{"chart", "--phase", "before"}, code: ExitFailed, says: "no document is called"},
		{name: "no such digest", args: []string{incident.DigestOf([]byte("other"))}, code: ExitFailed, says: "none has that digest"},
		{name: "too few digits", args: []string{incident.ShortDigest(before.Digest)[:7]}, code: ExitFailed, says: "no document is called"},
		{name: "no such phase", args: []string{"chart", "--phase", "during"}, code: ExitUsage, says: "before, after, chart or pinned"},
		{name: "no document", args: nil, code: ExitUsage, says: "show INCIDENT NAME|DIGEST"},
		{name: "a file that is there", args: []string{before.Digest, "-o", filepath.Join(filepath.Dir(folder), LedgerFile)}, code: ExitFailed, says: "exists"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, errOut := run(t, env, append([]string{"evidence", "show", "pagerduty/Q1"}, tt.args...)...)
			require.Equal(t, tt.code, code, errOut)
			require.Equal(t, tt.out, out)
			require.Contains(t, errOut, tt.says)
			require.True(t, attack.Quiet(errOut), "%q", errOut)
		})
	}
	content, err := os.ReadFile(raw)
	require.NoError(t, err)
	require.Equal(t, "\x1b[2Jall is well\r\nline 2\xff\n", string(content))

	terminal, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // A character device, as a terminal is.
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, terminal.Close()) })
	var errOut strings.Builder
	require.Equal(t, ExitFailed, Main(t.Context(), "backout", []string{"evidence", "show", "pagerduty/Q1", "chart"}, env, terminal, &errOut, nil))
	require.Contains(t, errOut.String(), "is no text")

	damage(t, folder, before.Items[0].Digest)
	code, out, said := run(t, env, "evidence", "show", "pagerduty/Q1", before.Items[0].Digest)
	require.Equal(t, ExitFailed, code)
	require.Empty(t, out)
	require.Contains(t, said, "does not match its digest")
}

// fileOf is where a folder store keeps a document.
func fileOf(folder, digest string) string {
	digits := strings.TrimPrefix(digest, "sha256:")
	return filepath.Join(folder, "sha256", digits[:2], digits[2:])
}

func damage(t *testing.T, folder, digest string) {
	t.Helper()
	require.NoError(t, os.WriteFile(fileOf(folder, digest), []byte("other"), 0o600))
}

// exported exports to a folder and returns its files.
func exported(t *testing.T, env []string, want int) (files map[string]string, said string) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "evidence")
	code, _, said := run(t, env, "evidence", "export", "pagerduty/Q1", "-o", out)
	require.Equal(t, want, code, said)
	files = map[string]string{}
	require.NoError(t, filepath.WalkDir(out, func(at string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(at)
		name, _ := filepath.Rel(out, at) // It is below.
		files[filepath.ToSlash(name)] = string(content)
		return err
	}))
	left, err := os.ReadDir(filepath.Dir(out))
	require.NoError(t, err)
	require.Len(t, left, 1, "no draft is left")
	sums := strings.Split(strings.TrimSpace(files["SHA256SUMS"]), "\n")
	require.Len(t, sums, len(files)-1)
	for _, line := range sums {
		sum, name, _ := strings.Cut(line, "  ")
		got := sha256.Sum256([]byte(files[name]))
		require.Equal(t, sum, hex.EncodeToString(got[:]), name)
	}
	return files, said
}

func TestEvidenceIsExported(t *testing.T) {
	t.Parallel()
	env, _, after, _ := captured(t)
	files, _ := exported(t, env, ExitOK)
	const one, two = "01-rollback_pagerduty_Q1_1-before/", "02-rollback_pagerduty_Q1_1-after/"
	require.Equal(t, `{"pods":3}`, files[one+"01-kubernetes.describe_deployment_shop_checkout.json"])
	require.Contains(t, files, one+"02-_.._etc_passwd__2J__script_alert_1___script_.txt")
	require.Contains(t, files, one+"00-manifest.json")
	require.Equal(t, picture, files[two+"02-chart.png"])
	require.Equal(t, one[:len(one)-1]+": prometheus.range errors: Prometheus did not answer[2J\n", files["MISSING.txt"])
	require.Len(t, files, 9)

	page := files["index.html"]
	require.NotContains(t, page, "<script>")
	require.Contains(t, page, "Prometheus did not answer")
	require.Contains(t, page, after.Items[0].Digest)
	links := regexp.MustCompile(`href="([^"]*)"`).FindAllStringSubmatch(page, -1)
	require.Len(t, links, 6)
	for _, link := range links {
		require.Contains(t, files, link[1])
	}

	archives := t.TempDir()
	var bytes [2][]byte
	for i := range bytes {
		name := filepath.Join(archives, []string{"one.tar", "two.tar"}[i])
		code, _, errOut := run(t, env, "evidence", "export", "pagerduty/Q1", "-o", name)
		require.Equal(t, ExitOK, code, errOut)
		var err error
		bytes[i], err = os.ReadFile(name)
		require.NoError(t, err)
	}
	require.Equal(t, bytes[0], bytes[1], "the same evidence is the same archive")
	inTar := map[string]string{}
	for r := tar.NewReader(strings.NewReader(string(bytes[0]))); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		require.True(t, filepath.IsLocal(h.Name), h.Name)
		content, err := io.ReadAll(r)
		require.NoError(t, err)
		inTar[h.Name] = string(content)
	}
	require.Equal(t, files, inTar)
}

func TestEvidenceThatIsLostIsNamed(t *testing.T) {
	t.Parallel()
	env, before, after, folder := captured(t)
	damage(t, folder, before.Items[0].Digest)
	require.NoError(t, os.Remove(fileOf(folder, after.Items[1].Digest)))
	files, said := exported(t, env, ExitFailed)
	require.Contains(t, said, "2 documents are no longer in the evidence store")
	for _, text := range []string{said, files["MISSING.txt"], files["index.html"]} {
		require.Contains(t, text, describeName)
		require.Contains(t, text, "does not match its digest")
		require.Contains(t, text, "no such document")
	}
	require.Len(t, files, 7, "the rest is exported")
	require.Contains(t, files, "02-rollback_pagerduty_Q1_1-after/01-kubernetes.describe_deployment_shop_checkout.json")
}

func TestExportRefuses(t *testing.T) {
	t.Parallel()
	env, _, _, folder := captured(t)
	taken := filepath.Join(t.TempDir(), "taken.tar")
	require.NoError(t, os.WriteFile(taken, []byte("mine"), 0o600))
	t.Cleanup(func() { // After the cases.
		content, err := os.ReadFile(taken)
		require.NoError(t, err)
		require.Equal(t, "mine", string(content))
	})
	for _, tt := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{name: "nowhere to write", args: []string{"pagerduty/Q1"}, code: ExitUsage, says: "--output"},
		{name: "a folder that is there", args: []string{"pagerduty/Q1", "-o", folder}, code: ExitFailed, says: "exists already"},
		{name: "a file that is there", args: []string{"pagerduty/Q1", "-o", taken}, code: ExitFailed, says: "exists"},
		{name: "no such incident", args: []string{"pagerduty/Q2", "-o", filepath.Join(t.TempDir(), "new")}, code: ExitFailed, says: "no evidence of incident"},
		{name: "no folder to put it in", args: []string{"pagerduty/Q1", "-o", filepath.Join(t.TempDir(), "no", "new")}, code: ExitFailed, says: "no such file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			code, _, errOut := run(t, env, append([]string{"evidence", "export"}, tt.args...)...)
			require.Equal(t, tt.code, code)
			require.Contains(t, errOut, tt.says)
		})
	}
}
