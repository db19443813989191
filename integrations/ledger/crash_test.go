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

// writerEnv makes it append that many entries, which another process appends too,
// and as many of its own.
const (
	writerEnv = "LEDGER_TEST_WRITER"
	shared    = 15
)

func TestMain(m *testing.M) {
	if path := os.Getenv(crashEnv); path != "" {
		if name := os.Getenv(writerEnv); name != "" {
			if err := appendBeside(path, name); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
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

// appendBeside appends the entries from 1 to shared, and after each one of its own.
func appendBeside(path, name string) error {
	ctx := context.Background()
	l, err := ledger.Open(ctx, path)
	if err != nil {
		return err
	}
	for n := 1; n <= shared; n++ {
		if _, err := l.Append(ctx, entry(n)); err != nil {
			return err
		}
		own := entry(n)
		own.ID += "/" + name
		if r, err := l.Append(ctx, own); err != nil || r.Existed {
			return fmt.Errorf("append own entry %d, existed %t: %w", n, r.Existed, err)
		}
	}
	return l.Close()
}

// Three processes write to one file, some of it the same, while another one looks
// at it. Nothing is lost, nothing is there twice, and it is whole at any time.
func TestSeveralProcesses(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	l := open(t, path)
	writers := []string{"one", "two", "three"}
	ended := make(chan error, len(writers))
	for _, name := range writers {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), crashEnv+"="+path, writerEnv+"="+name)
		cmd.Stderr = os.Stderr
		require.NoError(t, cmd.Start())
		go func() { ended <- cmd.Wait() }()
	}
	for running := len(writers); running > 0; {
		reader, err := ledger.OpenReadOnly(t.Context(), path)
		require.NoError(t, err)
		report, err := reader.Verify(t.Context())
		require.NoError(t, err)
		require.Nil(t, report.First)
		require.NoError(t, reader.Close())
		select {
		case err := <-ended:
			require.NoError(t, err)
			running--
		default:
		}
	}
	requireWhole(t, l, shared*(1+len(writers)))
}
