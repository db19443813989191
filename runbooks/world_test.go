package runbooks_test

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/runbooks"
	"github.com/backout/backout/workflows/incident"
)

// onset is when the harm begins in every test.
var onset = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func file(t *testing.T, name string) runbooks.File {
	t.Helper()
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	return runbooks.File{Name: name, Content: b}
}

// shop is storefront -> checkout -> payments -> storefront, storefront ->
// catalogue; checkout and payments share orders-db.
func shop(t *testing.T) *runbooks.Catalogue {
	t.Helper()
	c, err := runbooks.ParseCatalogue(file(t, "testdata/catalog-info.yaml"))
	require.NoError(t, err)
	return c
}

func example(t *testing.T, name string) *runbooks.Runbook {
	t.Helper()
	r, err := runbooks.ParseRunbook(file(t, "catalog/"+name))
	require.NoError(t, err)
	return r
}

func state(label string) incident.State {
	return incident.State{Revision: label, Digest: incident.DigestOf([]byte(label)), Label: label}
}

func ok(name string) []incident.Preflight {
	return []incident.Preflight{{Name: name, Result: incident.PreflightOK, Reason: "It is there."}}
}
