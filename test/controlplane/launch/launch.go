// Package launch starts the control plane of test/kube as a child process.
//
// The child ends with its parent, however that ends: it watches the pipe to its
// standard input. Package launch builds nothing and looks for nothing. The sandbox
// and test/controlplane import it.
package launch

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"
)

const (
	// startTimeout bounds the time from start to ready. It takes three seconds on
	// two idle cores.
	startTimeout = 2 * time.Minute
	// endTimeout bounds the wait for the end after standard input was closed.
	endTimeout = 5 * time.Second
	// maxSaid is how much of the end of standard error is kept, in bytes.
	maxSaid = 4 << 10
)

// Process is a running control plane.
type Process struct {
	// Kubeconfig is the path of the administrator's kubeconfig.
	Kubeconfig string `json:"kubeconfig"`
	// Users maps each user name to the path of its kubeconfig. All but "admin"
	// start without rights.
	Users map[string]string `json:"users"`
	// Server is the API server's https URL.
	Server string `json:"server"`
	// Etcd is the client URL of the store below it, without authentication.
	Etcd string `json:"etcd"`

	command *exec.Cmd
	stdin   io.Closer
}

// Start runs the binary and waits until the API server is ready. Ending ctx ends
// the wait and the start, and nothing after that.
func Start(ctx context.Context, binary string, args ...string) (*Process, error) {
	command := exec.Command(binary, args...) // The program outlives ctx.
	stdin, err := command.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("open standard input of the control plane: %w", err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("open standard output of the control plane: %w", err)
	}
	said := &tail{}
	command.Stderr = said
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start control plane: %w", err)
	}
	p := &Process{command: command, stdin: stdin}
	announced := make(chan []byte, 1)
	go func() {
		line, _ := bufio.NewReader(stdout).ReadBytes('\n') // An end without a line is told below.
		announced <- line
	}()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	select {
	case line := <-announced:
		err = json.Unmarshal(line, p)
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		closing := p.Close() // First, so that all it said is there.
		return nil, errors.Join(fmt.Errorf("read announcement of the control plane, which said %q: %w", said, err), closing)
	}
	return p, nil
}

// Close ends the control plane and waits for it.
func (p *Process) Close() error {
	_ = p.stdin.Close() // Closed by its end, it is what it should be.
	kill := time.AfterFunc(endTimeout, func() { _ = p.command.Process.Kill() })
	defer kill.Stop()
	var exit *exec.ExitError
	if err := p.command.Wait(); err != nil && !errors.As(err, &exit) {
		return fmt.Errorf("wait for the end of the control plane: %w", err)
	}
	return nil
}

// tail keeps the end of what a process says.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// Write keeps the end.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if extra := len(t.text) - maxSaid; extra > 0 {
		t.text = append(t.text[:0], t.text[extra:]...)
	}
	return len(p), nil
}

// String is what was kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text))
}
