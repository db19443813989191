package redact_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/workflows/activities/redact"
	"github.com/backout/backout/workflows/activities/redact/redacttest"
)

// TestCanaries plants secrets of more than a hundred shapes, and none of them survives: not
// as it is, and not in the spellings that text takes on its way.
func TestCanaries(t *testing.T) {
	t.Parallel()
	planted := redacttest.Canaries()
	require.GreaterOrEqual(t, len(planted), 100)
	names := map[string]bool{}
	for _, c := range planted {
		require.False(t, names[c.Name], c.Name)
		names[c.Name] = true
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, c.Document, c.Secret, "the canary is not planted")
			out, n := redact.Document([]byte(c.Document), c.MediaType)
			require.Positive(t, n)
			for _, spelling := range []string{c.Secret, base64.StdEncoding.EncodeToString([]byte(c.Secret)), hex.EncodeToString([]byte(c.Secret)), url.QueryEscape(c.Secret)} {
				require.NotContains(t, string(out), spelling)
			}
			again, n := redact.Document(out, c.MediaType)
			require.Equal(t, string(out), string(again), "redacting twice is redacting once")
			require.Zero(t, n)
			if c.MediaType == "application/json" {
				require.True(t, json.Valid(out), string(out))
			}
		})
	}
}

// TestCanariesTogether plants all of them in one log, so that none hides another.
func TestCanariesTogether(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	for i, c := range redacttest.Canaries() {
		fmt.Fprintf(&log, "2026-03-01T12:00:%02dZ INFO canary %d\n%s\n\n", i%60, i, c.Document)
	}
	out, _ := redact.Document([]byte(log.String()), "text/plain")
	for i, c := range redacttest.Canaries() {
		require.NotContains(t, string(out), c.Secret, c.Name)
		require.Contains(t, string(out), fmt.Sprintf("INFO canary %d\n", i), "a line of the log is gone")
	}
}
