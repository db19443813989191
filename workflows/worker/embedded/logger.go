package embedded

import (
	"context"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"

	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/log/tag"
)

// exitFatal is the status of a process whose embedded server gave up.
const exitFatal = 1

// logger hands the server's log lines to slog, warnings and above.
type logger struct {
	slog *slog.Logger
	tags []tag.Tag
	exit func(status int)
	// unsettled is shared by all loggers of one server and true while it starts
	// and stops. Its services come and go one after the other and warn at
	// length that the others are not there; meanwhile those lines are logged
	// at debug level, except for the one that ends the process.
	unsettled *atomic.Bool
}

var (
	_ log.Logger     = (*logger)(nil)
	_ log.WithLogger = (*logger)(nil)
)

func newLogger(l *slog.Logger) *logger {
	//nolint:forbidigo // The server demands the end of the process, and main is not asked.
	n := &logger{slog: l.With("component", "temporal"), exit: os.Exit, unsettled: new(atomic.Bool)}
	n.unsettled.Store(true)
	return n
}

// With implements log.WithLogger.
func (l *logger) With(tags ...tag.Tag) log.Logger {
	return &logger{slog: l.slog, tags: slices.Concat(l.tags, tags), exit: l.exit, unsettled: l.unsettled}
}

// Debug implements log.Logger and drops the line.
func (l *logger) Debug(string, ...tag.Tag) {}

// Info implements log.Logger and drops the line.
func (l *logger) Info(string, ...tag.Tag) {}

// Warn implements log.Logger.
func (l *logger) Warn(msg string, tags ...tag.Tag) { l.log(slog.LevelWarn, msg, tags) }

// Error implements log.Logger.
func (l *logger) Error(msg string, tags ...tag.Tag) { l.log(slog.LevelError, msg, tags) }

// DPanic implements log.Logger. The server panics here in development only.
func (l *logger) DPanic(msg string, tags ...tag.Tag) { l.log(slog.LevelError, msg, tags) }

// Panic implements log.Logger.
func (l *logger) Panic(msg string, tags ...tag.Tag) {
	l.log(slog.LevelError, msg, tags)
	panic("embedded temporal: " + msg)
}

// Fatal implements log.Logger. The server calls it when it must not go on, so
// the process ends; it continues from the file at the next start.
func (l *logger) Fatal(msg string, tags ...tag.Tag) {
	l.unsettled.Store(false)
	l.log(slog.LevelError, msg, tags)
	l.exit(exitFatal)
}

func (l *logger) log(level slog.Level, msg string, tags []tag.Tag) {
	ctx := context.Background()
	if l.unsettled.Load() {
		level = slog.LevelDebug
	}
	if !l.slog.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, len(l.tags)+len(tags))
	for _, t := range slices.Concat(l.tags, tags) {
		attrs = append(attrs, slog.Any(t.Key(), t.Value()))
	}
	//nolint:sloglint // The message is the server's own.
	l.slog.LogAttrs(ctx, level, msg, attrs...)
}
