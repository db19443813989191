// Command backoutd is backout for clusters: the same commands, with no
// Temporal server in it. It needs the address of one.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/backout/backout/cmd/internal/product"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := product.Main(ctx, "backoutd", os.Args[1:], os.Environ(), os.Stdout, os.Stderr, nil)
	stop()
	os.Exit(code)
}
