package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// readyTimeout bounds the time from start until the controller has read what there
// is. It takes about two seconds on two idle cores.
const readyTimeout = 2 * time.Minute

// announcement is the one line on standard output, written when the controller
// reconciles.
type announcement struct {
	// Kubeconfig is the path that was given.
	Kubeconfig string `json:"kubeconfig"`
	// PID is the process to signal.
	PID int `json:"pid"`
	// ReadySeconds is the time from start to ready.
	ReadySeconds float64 `json:"ready_seconds"`
}

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run starts the controller and blocks until it should end.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	began := time.Now()
	log := slog.New(slog.NewTextHandler(stderr, nil))

	flags := flag.NewFlagSet("argo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	kubeconfig := flags.String("kubeconfig", "", "kubeconfig of an administrator of the cluster")
	definition := flags.String("crd", "", "definition of the resource Rollout; crd.yaml beside this program when empty")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if flags.NArg() > 0 || *kubeconfig == "" {
		log.Error("refuse arguments: want -kubeconfig and nothing else", "arguments", flags.Args())
		return 2
	}
	if *definition == "" {
		program, err := os.Executable()
		if err != nil {
			log.Error("find this program", "error", err)
			return 1
		}
		*definition = filepath.Join(filepath.Dir(program), "crd.yaml")
	}

	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ended := make(chan error, 2)
	go func() {
		_, _ = io.Copy(io.Discard, stdin) // Whatever ends the input ends the program.
		ended <- nil
	}()
	go func() {
		starting, cancel := context.WithTimeout(ctx, readyTimeout)
		defer cancel()
		if err := start(ctx, starting, *kubeconfig, *definition); err != nil {
			ended <- fmt.Errorf("start controller: %w", err)
			return
		}
		if err := json.NewEncoder(stdout).Encode(announcement{
			Kubeconfig: *kubeconfig, PID: os.Getpid(), ReadySeconds: time.Since(began).Seconds(),
		}); err != nil {
			ended <- fmt.Errorf("announce: %w", err)
		}
	}()
	select {
	case <-ctx.Done():
		return 0
	case err := <-ended:
		if err != nil {
			log.Error("end", "error", err)
			return 1
		}
		return 0
	}
}
