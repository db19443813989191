package product

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/runbooks"
)

// TestTheExamplesLintClean shows that every runbook that ships names only kinds,
// sources and collectors that this binary has, and says of one-way doors that they
// are.
func TestTheExamplesLintClean(t *testing.T) {
	t.Parallel()
	files, err := runbooks.Examples()
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, f := range files {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			r, err := runbooks.ParseRunbook(f)
			require.NoError(t, err)
			// No runbook goes stale in a test.
			require.Empty(t, runbooks.Lint([]*runbooks.Runbook{r}, lintInput(nil, r.Metadata.Reviewed)))
		})
	}
}

// TestEveryKindHasAnExample shows that no kind is left without a runbook to start
// from.
func TestEveryKindHasAnExample(t *testing.T) {
	t.Parallel()
	files, err := runbooks.Examples()
	require.NoError(t, err)
	shown := map[string]bool{}
	for _, f := range files {
		r, err := runbooks.ParseRunbook(f)
		require.NoError(t, err)
		for _, o := range r.Options {
			for _, a := range o.Actions {
				shown[a.Kind] = true
			}
		}
	}
	for _, kind := range lintInput(nil, time.Time{}).Kinds {
		require.True(t, shown[kind.Kind], "no runbook of runbooks/catalog uses %q", kind.Kind)
	}
}

// TestWhatCollectorsAreAskedIsChecked shows that what a collector would refuse in the
// middle of an incident is refused when runbooks are loaded, and by lint, at its line.
func TestWhatCollectorsAreAskedIsChecked(t *testing.T) {
	t.Parallel()
	files, err := runbooks.Examples()
	require.NoError(t, err)
	for _, test := range []struct{ name, evidence, want string }{
		{"an unknown parameter", "{collector: prometheus.range, target: {system: p, path: x}, params: {query: up,\n stepp: 15s}}", `:%d: error: Correct what prometheus.range is asked: parameter "stepp": it is unknown: prometheus.range knows query, name, step. (bad-parameter)`},
		{"a missing parameter", "{collector: prometheus.range, target: {system: p, path: x},\n params: {step: 15s}}", `:%d: error: Correct what prometheus.range is asked: parameter "query": it is missing: give the PromQL to capture. (bad-parameter)`},
		{"a malformed parameter", "{collector: kubernetes.logs, target: {system: k, path: deployment/shop/checkout}, params: {\n lines: many}}", `:%d: error: Correct what kubernetes.logs is asked: parameter "lines": want a number from 1 to 5000. (bad-parameter)`},
		{"a statement that writes", "{collector: postgres.query, target: {system: db, path: stuck}, params: {\n sql: DELETE FROM orders}}", `:%d: error: Correct what postgres.query is asked: parameter "sql": sql is not one SELECT. (bad-parameter)`},
		{"a parameter of a collector without any", "{collector: nats.kv, target: {system: n, path: a/b}, params: {\n rows: \"1\"}}", `:%d: error: Correct what nats.kv is asked: parameter "rows": it is unknown: nats.kv knows no parameter. (bad-parameter)`},
		{"an unknown collector", "{target: {system: n, path: a/b},\n collector: nats.dump}", ":%d: error: Use a collector that exists"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			file := filepath.Join(dir, "checkout.yaml")
			before, after, ok := strings.Cut(string(files[0].Content), "\nevidence:\n")
			require.True(t, ok)
			content := before + "\nevidence:\n  - " + test.evidence + "\n"
			_, rest, ok := strings.Cut(after, "\nrecovery:")
			require.True(t, ok)
			require.NoError(t, os.WriteFile(file, []byte(content+"recovery:"+rest), 0o600))
			want := file + fmt.Sprintf(test.want, strings.Count(content, "\n"))
			_, err := LoadRules(Config{Runbooks: []string{file}})
			require.ErrorContains(t, err, want)
			books, err := LoadRunbooks([]string{file})
			require.NoError(t, err)
			found := runbooks.Lint(books, lintInput(nil, books[0].Metadata.Reviewed))
			require.Len(t, found, 1)
			require.Contains(t, found[0].String(), want)
			require.True(t, runbooks.HasErrors(found))
		})
	}
}
