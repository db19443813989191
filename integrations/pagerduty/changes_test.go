package pagerduty_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/pagerduty"
	fakepagerduty "github.com/backout/backout/test/fakes/pagerduty"
	"github.com/backout/backout/workflows/incident"
)

// source opens the registered change source the way the product does.
func source(t *testing.T, s *fakepagerduty.Server) driver.ChangeSource {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(path, []byte(canary), 0o600))
	set, err := driver.Open(t.Context(), []driver.System{{Name: "pd", Type: "pagerduty", Decode: func(into any) error {
		settings, ok := into.(*pagerduty.Settings)
		if !ok {
			return errors.New("unexpected settings")
		}
		settings.URL, settings.TokenFile = s.URL(), path
		return nil
	}}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, set.Close()) })
	src, err := set.Source("pagerduty.changes", "pd")
	require.NoError(t, err)
	return src
}

func TestChanges(t *testing.T) {
	t.Parallel()
	s := world(t)
	from := time.Date(2026, 1, 2, 10, 0, 0, 0, time.UTC)
	for i := range 120 {
		s.AddChange(fakepagerduty.ChangeEvent{ID: fmt.Sprintf("C%03d", i), Summary: "Deployed\nv" + strings.Repeat("9", i), Source: "ci", At: from.Add(time.Duration(i) * time.Minute), ServiceIDs: []string{"PSHOP"}, Link: "https://ci.example.com/1"})
	}
	s.AddChange(fakepagerduty.ChangeEvent{Summary: "Elsewhere", At: from.Add(time.Minute), ServiceIDs: []string{"PBARE"}})
	q := driver.ChangeQuery{Service: "checkout", Target: incident.Target{System: "pd", Path: "PSHOP"}, Since: from.Add(5 * time.Minute), Until: from.Add(110 * time.Minute)}
	got, err := source(t, s).Changes(t.Context(), q)
	require.NoError(t, err)
	require.Len(t, got, 106, "both ends are inside, over more than one page")
	require.Equal(t, incident.Change{
		ID: "C005", Source: "pagerduty.changes", Kind: incident.ChangeDeploy, Service: "checkout", At: from.Add(5 * time.Minute),
		Author: "ci", Summary: "Deployed v99999", URL: "https://ci.example.com/1",
	}, got[0])
	require.Equal(t, "C110", got[105].ID)
	q.Kind = incident.ChangeFlag
	q.Target.Path = "PNONE"
	_, err = source(t, s).Changes(t.Context(), q)
	require.ErrorIs(t, err, driver.ErrNotFound)
	q.Target.Path = "../users"
	_, err = source(t, s).Changes(t.Context(), q)
	require.ErrorIs(t, err, driver.ErrInvalid)
}
