package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/temporalio/ui-server/v2/server"
	uiconfig "github.com/temporalio/ui-server/v2/server/config"
	"github.com/temporalio/ui-server/v2/server/server_options"
)

const (
	// uiReadyWithin bounds the wait for the Web UI to answer.
	uiReadyWithin = 10 * time.Second
	// uiPollEvery is the pause between two looks at the Web UI.
	uiPollEvery = 10 * time.Millisecond
	// readHeaderTimeout bounds a request's header on the codec endpoint.
	readHeaderTimeout = 5 * time.Second
)

// startUI serves the Web UI, read-only, and the codec endpoint that it asks to
// decode payloads, both on loopback ports.
func (s *Server) startUI(ctx context.Context, opts Options) error {
	port := opts.UIPort
	// The UI ends the process when its port is taken, so look before.
	if port == 0 {
		free, err := freePort(ctx, map[int]bool{})
		if err != nil {
			return fmt.Errorf("start web ui: %w", err)
		}
		port = free
	} else if err := checkFree(ctx, port); err != nil {
		return fmt.Errorf("start web ui: %w", err)
	}
	address := ports{}.address(port)

	cfg := &uiconfig.Config{
		TemporalGRPCAddress: s.address,
		Host:                loopback,
		Port:                port,
		EnableUI:            true,
		DefaultNamespace:    opts.Namespace,
		DisableWriteActions: true,
		DisableNewsFetch:    true,
		NotifyOnNewVersion:  false,
		HideLogs:            true,
		// Loopback has no TLS, and a secure cookie would not come back.
		CORS: uiconfig.CORS{CookieInsecure: true},
	}
	if opts.UICodec != nil {
		handler, err := opts.UICodec("http://" + address)
		if err != nil {
			return err
		}
		endpoint, err := s.startCodec(ctx, handler)
		if err != nil {
			return err
		}
		cfg.Codec.Endpoint = endpoint
	}

	ui := server.NewServer(server_options.WithConfigProvider(cfg))
	done := make(chan error, 1)
	go func() { done <- ui.Start() }()
	s.closers = append(s.closers, func() error {
		ui.Stop()
		return <-done
	})
	if err := waitForListener(ctx, address); err != nil {
		return fmt.Errorf("start web ui: %w", err)
	}
	s.uiAddress = address
	return nil
}

// startCodec serves handler on a free loopback port and returns its address
// as the Web UI wants it: without the final /encode or /decode.
func (s *Server) startCodec(ctx context.Context, handler http.Handler) (string, error) {
	l, err := listenLoopback(ctx, 0)
	if err != nil {
		return "", fmt.Errorf("start codec endpoint: %w", err)
	}
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: readHeaderTimeout}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	s.closers = append(s.closers, func() error {
		err := srv.Close()
		if serveErr := <-done; !errors.Is(serveErr, http.ErrServerClosed) {
			err = errors.Join(err, serveErr)
		}
		return err
	})
	return "http://" + l.Addr().String() + "/codec", nil
}

// waitForListener returns when address accepts a connection.
func waitForListener(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, uiReadyWithin)
	defer cancel()
	tick := time.NewTicker(uiPollEvery)
	defer tick.Stop()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp4", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", address, err)
		}
	}
}
