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

// readyTimeout bounds the time from start to a ready API server. It takes about
// three seconds on two idle cores.
const readyTimeout = 2 * time.Minute

// removeAttempts bounds the attempts to delete the state directory at the end.
const removeAttempts = 10

// announcement is the one line on standard output, written when the API server
// is ready and the controllers run.
type announcement struct {
	// Kubeconfig is the path of the administrator's kubeconfig.
	Kubeconfig string `json:"kubeconfig"`
	// Users maps each user name to the path of its kubeconfig. All but admin
	// start without rights.
	Users map[string]string `json:"users"`
	// Server is the API server's https URL.
	Server string `json:"server"`
	// Etcd is the client URL of the key-value store, without authentication.
	Etcd string `json:"etcd"`
	// PID is the process to signal.
	PID int `json:"pid"`
	// ReadySeconds is the time from start to ready.
	ReadySeconds float64 `json:"ready_seconds"`
}

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run starts the control plane and blocks until it should end. The caller exits
// the process at once with the result: a graceful stop of the API server takes
// eleven seconds and saves nothing here.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	began := time.Now()
	log := slog.New(slog.NewTextHandler(stderr, nil))

	flags := flag.NewFlagSet("kube", flag.ContinueOnError)
	flags.SetOutput(stderr)
	dir := flags.String("dir", "", "state directory; a temporary one, removed at the end, when empty")
	port := flags.Int("port", 0, "port of the API server on 127.0.0.1; a free one when 0")
	readyAfter := flags.Duration("ready-after", 200*time.Millisecond, "time from binding a pod to its readiness")
	stopAfter := flags.Duration("stop-after", 100*time.Millisecond, "time from deleting a pod to its end")
	ignoreStdin := flags.Bool("ignore-stdin", false, "keep running when standard input ends")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if flags.NArg() > 0 {
		log.Error("refuse arguments", "arguments", flags.Args())
		return 2
	}

	// Whoever reads standard error may be gone first; that must not keep the state
	// directory from being removed.
	signal.Ignore(syscall.SIGPIPE)
	end := make(chan string, 3)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() { end <- (<-signals).String() }()
	if !*ignoreStdin {
		go func() {
			_, _ = io.Copy(io.Discard, stdin) // Whatever ends the input ends the program.
			end <- "standard input closed"
		}()
	}

	state := *dir
	if state == "" {
		made, err := os.MkdirTemp("", "backout-kube-")
		if err != nil {
			log.Error("make state directory", "error", err)
			return 1
		}
		state = made
		defer func() {
			if err := remove(made); err != nil {
				log.Warn("remove state directory", "directory", made, "error", err)
			}
		}()
	}
	state, err := filepath.Abs(state)
	if err != nil {
		log.Error("resolve state directory", "error", err)
		return 1
	}

	started := make(chan error, 1)
	stopped := make(chan error, 3)
	plane := &controlPlane{dir: state, port: *port, stopped: stopped}
	go func() {
		startCtx, cancel := context.WithTimeout(ctx, readyTimeout)
		defer cancel()
		if err := plane.start(startCtx); err != nil {
			started <- err
			return
		}
		lets := &kubelet{readyAfter: *readyAfter, stopAfter: *stopAfter, identities: plane.identities, stopped: stopped, log: log}
		if err := lets.start(ctx, plane.client); err != nil {
			started <- fmt.Errorf("start kubelet: %w", err)
			return
		}
		started <- json.NewEncoder(stdout).Encode(announcement{
			Kubeconfig:   plane.kubeconfigs[adminUser],
			Users:        plane.kubeconfigs,
			Server:       plane.server,
			Etcd:         plane.etcd,
			PID:          os.Getpid(),
			ReadySeconds: time.Since(began).Seconds(),
		})
	}()

	for {
		select {
		case err := <-started:
			if err != nil {
				log.Error("start control plane", "error", err)
				return 1
			}
		case err := <-stopped:
			log.Error("control plane stopped", "error", err)
			return 1
		case why := <-end:
			log.Info("end", "reason", why)
			return 0
		}
	}
}

// remove deletes the state directory while etcd still writes to it, so the first
// attempt can find a new file in a directory that it has just emptied.
func remove(dir string) error {
	var err error
	for range removeAttempts {
		if err = os.RemoveAll(dir); err == nil {
			return nil
		}
	}
	return err
}
