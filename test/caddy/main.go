package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp"              // The app "http", with its matchers and simple handlers.
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"      // The handler "headers".
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy" // The handler "reverse_proxy".
	_ "github.com/caddyserver/caddy/v2/modules/logging"                // The encoders of logs.
	_ "github.com/caddyserver/caddy/v2/modules/metrics"                // The path "/metrics" of the admin API.
	"github.com/caddyserver/certmagic"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run runs the configuration and blocks until it should end.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if err := serve(args, stdin, stdout); err != nil {
		_, _ = fmt.Fprintln(stderr, err) // There is nowhere else to tell it.
		return 1
	}
	return 0
}

func serve(args []string, stdin io.Reader, stdout io.Writer) error {
	if len(args) != 1 {
		return errors.New("want the path of a configuration file")
	}
	config, err := os.ReadFile(args[0])
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	caddy.DefaultStorage = &certmagic.FileStorage{Path: filepath.Join(filepath.Dir(args[0]), "storage")}
	if err := caddy.Load(config, true); err != nil {
		return fmt.Errorf("run configuration: %w", err)
	}
	if _, err := fmt.Fprintln(stdout, "ready"); err != nil {
		return fmt.Errorf("tell that Caddy is ready: %w", err)
	}
	_, err = io.Copy(io.Discard, stdin)
	return err
}
