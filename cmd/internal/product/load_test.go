package product

import (
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
