package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
)

// Run runs the binary as a person at the command line would, with the world's
// configuration. The error is about running it, not about its exit status.
func (w *World) Run(ctx context.Context, args ...string) (code int, stdout, stderr string, err error) {
	cmd := exec.CommandContext(ctx, Binary(w.T), args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	cmd.Env = append(environment(), "BACKOUT_CONFIG="+filepath.Join(w.Home, "backout.yaml"))
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), out.String(), errOut.String(), nil
	}
	if err != nil {
		return -1, "", "", fmt.Errorf("run backout: %w", err)
	}
	return 0, out.String(), errOut.String(), nil
}

// VerifyLedger runs "backout ledger verify" and returns what it printed.
func (w *World) VerifyLedger(ctx context.Context) (string, error) {
	code, stdout, stderr, err := w.Run(ctx, "ledger", "verify", "--file", w.Ledger)
	if err != nil {
		return "", err
	}
	if code != 0 {
		return "", fmt.Errorf("verify ledger: exit status %d: %s%s", code, stdout, stderr)
	}
	return stdout, nil
}
