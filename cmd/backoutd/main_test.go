package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLinksNoTemporalServer(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").CombinedOutput()
	require.NoError(t, err, string(out))
	for pkg := range strings.FieldsSeq(string(out)) {
		require.False(t, strings.HasPrefix(pkg, "go.temporal.io/server"), "%s is linked", pkg)
	}
	require.Contains(t, string(out), "go.temporal.io/sdk/client")
}
