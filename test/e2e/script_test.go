package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/ledger"
	"github.com/backout/backout/test/e2e/harness"
	"github.com/backout/backout/workflows/incident"
)

// The command line, as scripts: what is said, where, and with which status.
func TestScripts(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	name := "backout"
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	require.NoError(t, os.Symlink(harness.Binary(t), filepath.Join(bin, name)))
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", bin+string(os.PathListSeparator)+e.Getenv("PATH"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"ledger": writeLedger, "flip": flip, "cut": cut},
	})
}

// writeLedger writes a ledger of as many entries as asked for: ledger FILE
// ENTRIES.
func writeLedger(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: ledger FILE ENTRIES")
	}
	var entries int
	_, err := fmt.Sscan(args[1], &entries)
	ts.Check(err)
	l, err := ledger.Open(context.Background(), ts.MkAbs(args[0]))
	ts.Check(err)
	for n := range entries {
		_, err := l.Append(context.Background(), incident.Entry{
			ID: incident.EventID("cli/D1", n+1), Incident: "cli/D1", Kind: incident.EventPage,
			At: time.Date(2026, 11, 1, 12, 0, n, 0, time.UTC), Actor: "ada", Text: fmt.Sprintf("what happened in event number %d", n+1),
		})
		ts.Check(err)
	}
	ts.Check(l.Close())
}

// flip flips one bit in the first byte of every place of a file that holds a
// text: flip FILE TEXT.
func flip(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: flip FILE TEXT")
	}
	path := ts.MkAbs(args[0])
	content, err := os.ReadFile(path)
	ts.Check(err)
	text := []byte(args[1])
	places := bytes.Count(content, text)
	if places == 0 {
		ts.Fatalf("%s does not hold %q", args[0], text)
	}
	flipped := bytes.Clone(text)
	flipped[0] ^= 1
	ts.Check(os.WriteFile(path, bytes.ReplaceAll(content, text, flipped), 0o600))
	ts.Logf("flipped a bit in %d places", places)
}

// cut leaves a file without its last half: cut FILE.
func cut(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: cut FILE")
	}
	path := ts.MkAbs(args[0])
	info, err := os.Stat(path)
	ts.Check(err)
	ts.Check(os.Truncate(path, info.Size()/2))
}
