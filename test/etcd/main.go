package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc"
)

const (
	// readyTimeout bounds the time from start to ready, which is under a second.
	readyTimeout = time.Minute
	// bcryptCost is the least that the server takes.
	bcryptCost = 4
	// window is how many bytes may be on the way unacknowledged.
	window = 1 << 20
)

// announcement is the one line on standard output.
type announcement struct {
	// Etcd is the client URL.
	Etcd string `json:"etcd"`
	// PID is the process to signal.
	PID int `json:"pid"`
}

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run starts the store and blocks until it should end.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	log := slog.New(slog.NewTextHandler(stderr, nil))
	flags := flag.NewFlagSet("etcd", flag.ContinueOnError)
	flags.SetOutput(stderr)
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
	end := make(chan string, 2)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() { end <- (<-signals).String() }()
	go func() {
		_, _ = io.Copy(io.Discard, stdin) // Whatever ends the input ends the program.
		end <- "standard input closed"
	}()
	dir, err := os.MkdirTemp("", "backout-etcd-")
	if err != nil {
		log.Error("make folder", "error", err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }() // It is in the folder for such things.
	address, err := start(dir)
	if err != nil {
		log.Error("start store", "error", err)
		return 1
	}
	if err := json.NewEncoder(stdout).Encode(announcement{Etcd: address, PID: os.Getpid()}); err != nil {
		log.Error("announce", "error", err)
		return 1
	}
	log.Info("end", "reason", <-end)
	return 0
}

// start returns the client URL of a store that is ready.
func start(dir string) (string, error) {
	cfg := embed.NewConfig()
	cfg.Dir = filepath.Join(dir, "data")
	cfg.LogLevel = "error"
	cfg.UnsafeNoFsync = true             // Nobody needs this state after a power cut.
	cfg.TickMs, cfg.ElectionMs = 10, 100 // One member has nobody to wait for.
	cfg.BcryptCost = bcryptCost
	// Windows that do not grow spare the pings that measure by how much they should,
	// so that each request is one chunk to a proxy that counts them.
	cfg.GRPCAdditionalServerOptions = []grpc.ServerOption{grpc.InitialWindowSize(window), grpc.InitialConnWindowSize(window)}
	client, err := freeURL()
	if err != nil {
		return "", err
	}
	peer, err := freeURL()
	if err != nil {
		return "", err
	}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	store, err := embed.StartEtcd(cfg)
	if err != nil {
		return "", fmt.Errorf("start etcd: %w", err)
	}
	select {
	case <-store.Server.ReadyNotify():
		return client.String(), nil
	case err := <-store.Err():
		return "", fmt.Errorf("start etcd: %w", err)
	case <-time.After(readyTimeout):
		return "", errors.New("start etcd: it does not get ready")
	}
}

// freeURL is a loopback URL whose port was free a moment ago.
func freeURL() (url.URL, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return url.URL{}, fmt.Errorf("find a free port: %w", err)
	}
	defer func() { _ = listener.Close() }()
	return url.URL{Scheme: "http", Host: listener.Addr().String()}, nil
}
