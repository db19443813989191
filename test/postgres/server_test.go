package postgres_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/test/postgres"
)

// TestServer shows that the server of the tests, which initdb makes, is one for all
// of them and asks for a password.
func TestServer(t *testing.T) {
	t.Parallel()
	server := postgres.Require(t)
	require.Same(t, server, postgres.Require(t))
	var listens, verifier string
	admin := server.Connect(t, "postgres")
	require.NoError(t, admin.QueryRow(t.Context(), "SHOW listen_addresses").Scan(&listens))
	require.Equal(t, server.Host, listens)
	require.NoError(t, admin.QueryRow(t.Context(), "SELECT rolpassword FROM pg_authid WHERE rolname = $1", postgres.Admin).Scan(&verifier))
	require.Contains(t, verifier, "SCRAM-SHA-256")
	first, second := postgres.Name("a"), postgres.Name("a")
	require.NotEqual(t, first, second)
}
