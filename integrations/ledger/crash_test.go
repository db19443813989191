package ledger_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/ledger"
)

// crashEnv makes the test binary append to that ledger until it is killed.
const crashEnv = "LEDGER_TEST_APPEND_TO"

func TestMain(m *testing.M) {
	if path := os.Getenv(crashEnv); path != "" {
		appendForever(path)
	}
	os.Exit(m.Run())
}

// appendForever appends the entries from 1 on and prints each number when it
// is durable.
func appendForever(path string) {
	ctx := context.Background()
	l, err := ledger.Open(ctx, path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for n := 1; ; n++ {
		if _, err := l.Append(ctx, entry(n)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(n)
	}
}

// A process is killed at a random moment again and again. What it had
// acknowledged is there, and the ledger is whole, each time.
func TestKillDuringAppend(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	const kills = 12
	acknowledged := 0
	for round := range kills {
		// The first lines are entries of earlier rounds, which exist.
		stopAfter := acknowledged + 1 + round%3
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), crashEnv+"="+path)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		lines := bufio.NewScanner(out)
		var killer *time.Timer
		for lines.Scan() {
			n, err := strconv.Atoi(lines.Text())
			require.NoError(t, err)
			acknowledged = max(acknowledged, n)
			if n == stopAfter {
				// A different moment of the next append in each round.
				killer = time.AfterFunc(time.Duration(round)*200*time.Microsecond, func() { _ = cmd.Process.Kill() })
			}
		}
		require.NotNil(t, killer, "the process ended by itself")
		require.Error(t, cmd.Wait())

		l, err := ledger.OpenReadOnly(t.Context(), path)
		require.NoError(t, err)
		report, err := l.Verify(t.Context())
		require.NoError(t, err)
		require.Nil(t, report.First)
		require.GreaterOrEqual(t, report.Entries, int64(acknowledged))
		require.LessOrEqual(t, report.Entries, int64(acknowledged+1), "at most the entry that was cut short is more")
		require.NoError(t, l.Close())
	}
	l := open(t, path)
	r, err := l.Append(t.Context(), entry(acknowledged))
	require.NoError(t, err)
	require.True(t, r.Existed)
	_, err = l.Append(t.Context(), entry(acknowledged+2))
	require.NoError(t, err)
	report, err := l.Verify(t.Context())
	require.NoError(t, err)
	require.Nil(t, report.First)
}
