package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// options are the flags of the command.
type options struct {
	auto    bool
	kube    string
	timeout time.Duration
	// stuck plays the incident that a rollback does not end.
	stuck bool
	// view is the file that the incident's last view is written to; empty for none.
	view string
	// shipAfter is how long the shop runs well before it is broken: at least
	// the baseline window.
	shipAfter time.Duration
	// stay keeps everything running afterwards.
	stay bool
}

// Exit statuses.
const (
	exitOK    = 0
	exitBad   = 1
	exitUsage = 2
)

// run is the command: 0 when all went well, 1 when it did not, 2 when the
// flags were wrong.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var o options
	flags := flag.NewFlagSet("sandbox", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.BoolVar(&o.auto, "auto", false, "play the people too, print the timeline, end with a summary line in JSON")
	flags.StringVar(&o.kube, "kube", "", "`path` of the control plane's binary, to roll a Deployment back instead of a release pointer")
	flags.DurationVar(&o.timeout, "timeout", 4*time.Minute, "with -auto, how long it may take")
	flags.BoolVar(&o.stuck, "stuck", false, "with -auto, play the incident that a rollback does not end: refused, approved past the policy, not recovered")
	flags.StringVar(&o.view, "view", "", "with -auto, the `file` that the incident's last view is written to, as JSON")
	flags.DurationVar(&o.shipAfter, "ship-after", 25*time.Second, "with -auto, how long the shop runs well before it breaks")
	flags.BoolVar(&o.stay, "stay", false, "with -auto, stay until Ctrl-C or the timeout, to look at what came of it")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return exitOK
		}
		return exitUsage
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if o.auto {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.timeout)
		defer cancel()
	}
	w, err := build(ctx, o, log)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "sandbox:", err)
		return exitBad
	}
	defer func() {
		if err := w.Close(); err != nil {
			_, _ = fmt.Fprintln(stderr, "sandbox:", err)
		}
	}()
	w.introduce(stdout)
	if !o.auto {
		<-ctx.Done()
		return exitOK
	}
	play := w.play
	if o.stuck {
		play = w.playStuck
	}
	if err := play(ctx, o, stdout); err != nil {
		_, _ = fmt.Fprintln(stderr, "sandbox:", err)
		return exitBad
	}
	if o.stay {
		<-ctx.Done()
	}
	return exitOK
}

// introduce prints the addresses and what to do.
func (w *world) introduce(out io.Writer) {
	_, _ = fmt.Fprintln(out, "Backout's sandbox runs. Everything is on this machine and gone when you press Ctrl-C.")
	_, _ = fmt.Fprintln(out)
	for _, a := range w.addresses() {
		_, _ = fmt.Fprintf(out, "  %-40s %s\n", a.Title, a.URL)
	}
	_, _ = fmt.Fprintf(out, "\n%s\n\n", guide)
}
