// Command backout is the whole product in one binary: bot, worker, CLI, and a
// Temporal server for those who have none.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/backout/backout/cmd/internal/embeddedtemporal"
	"github.com/backout/backout/cmd/internal/product"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := product.Main(ctx, "backout", os.Args[1:], os.Environ(), os.Stdout, os.Stderr, embeddedtemporal.Start)
	stop()
	os.Exit(code)
}
