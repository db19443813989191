package drivertest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// noSecret is law 9. It walks a kind through what it can do and what can go
// wrong, and looks for the canaries in everything that came out.
func noSecret(tb testing.TB, c Case) {
	logs := captureLogs()
	b := start(tb, c)
	var said transcript
	ctx := b.bounded()

	planned, err := b.inverse.Plan(ctx, b.target.Request)
	said.add("plan", planned, err)
	require.NoError(tb, err)
	action := b.action(planned)
	for what, wrong := range map[string]driver.PlanRequest{
		"plan with an unknown revision": {Target: action.Target, Revision: "999999999"},
		"plan with a false revision":    {Target: action.Target, Revision: "no such thing"},
		"plan before everything":        {Target: action.Target, Before: time.Unix(1, 0)},
		"plan with a false path":        {Target: incident.Target{System: b.system, Path: "//"}, Revision: "1"},
	} {
		planned, err := b.inverse.Plan(ctx, wrong)
		said.add(what, planned, err)
	}
	seen, err := b.inverse.Observe(ctx, action)
	said.add("observe", seen, err)

	if deniable(c) == "" {
		reader := b.connect(Reader)
		planned, err := reader.Plan(ctx, b.target.Request)
		said.add("plan as reader", planned, err)
		receipt, err := reader.Apply(ctx, action, actionKey)
		require.Error(tb, err, "a reader may apply")
		said.add("apply as reader", receipt, err)
	}
	if b.proxy != nil {
		for what, begin := range map[string]func(*Proxy){"down": (*Proxy).Down, "stalled": (*Proxy).Stall} {
			said.failing("while "+what, b, action, begin)
		}
	}
	require.NoError(tb, b.reopened().Reach(ctx, b.system), "a system that answers is not reached")
	out, err := b.execute(b.connect(Owner), action, actionKey)
	said.add("execute", out, err)
	require.NoError(tb, err)
	b.collect(&said)
	b.interfere()
	out, err = b.execute(b.connect(Owner), action, otherKey)
	said.add("execute after drift", out, err)
	requireDrift(b, err)

	text := said.String()
	for _, canary := range b.target.Canaries {
		requireAbsent(tb, "an answer of the driver", text, canary)
		requireAbsent(tb, "the log", logs.String(), canary)
	}
}

// failing makes calls that can not succeed, on a connection that was good.
func (s *transcript) failing(what string, b *bench, action incident.Action, begin func(*Proxy)) {
	inverse, set := b.connect(Owner), b.reopened()
	_, err := inverse.Observe(b.bounded(), action)
	require.NoError(b, err)
	require.NoError(b, set.Reach(b.bounded(), b.system), "a system that answers is not reached")
	begin(b.proxy)
	defer b.proxy.Up()
	call := func(name string, ask func(ctx context.Context) (any, error)) {
		ctx, cancel := context.WithTimeout(b.Context(), shortTime)
		defer cancel()
		answer, err := ask(ctx)
		require.Error(b, err, "%s succeeded %s", name, what)
		s.add(name+" "+what, answer, err)
	}
	call("observe", func(ctx context.Context) (any, error) { return inverse.Observe(ctx, action) })
	call("plan", func(ctx context.Context) (any, error) { return inverse.Plan(ctx, b.target.Request) })
	call("apply", func(ctx context.Context) (any, error) { return inverse.Apply(ctx, action, actionKey) })
	call("reach", func(ctx context.Context) (any, error) { return nil, set.Reach(ctx, b.system) })
}

// collect asks the change source and the collector that are registered under the
// name of the kind, where there are any.
func (b *bench) collect(said *transcript) {
	b.Helper()
	set := b.reopened()
	_, sources, collectors, _ := driver.Known()
	now := time.Now().UTC()
	for _, name := range sources {
		if name != b.kind {
			continue
		}
		source, err := set.Source(name, b.system)
		require.NoError(b, err)
		changes, err := source.Changes(b.bounded(), driver.ChangeQuery{Service: "law", Target: b.target.Request.Target, Since: now.Add(-time.Hour), Until: now.Add(time.Hour)})
		require.NoError(b, err, "list changes")
		require.NotEmpty(b, changes, "the change source does not see what was changed")
		said.add("changes", changes, err)
	}
	for _, name := range collectors {
		if name != b.kind {
			continue
		}
		collector, err := set.Collector(name, b.system)
		require.NoError(b, err)
		evidence, err := collector.Collect(b.bounded(), driver.CollectRequest{Target: b.target.Request.Target, From: now.Add(-time.Hour), Until: now.Add(time.Hour)})
		require.NoError(b, err, "collect evidence")
		for _, e := range evidence {
			said.add("evidence "+e.Name+" "+e.MediaType, string(e.Content), nil)
		}
	}
}

// reopened is a new connection after faults have struck the first.
func (b *bench) reopened() *driver.Set {
	b.Helper()
	address := ""
	if b.proxy != nil {
		address = b.proxy.Address()
	}
	set, err := driver.Open(b.Context(), []driver.System{b.target.Connect(address, Owner)})
	require.NoError(b, err)
	b.Cleanup(func() { _ = set.Close() }) // It ends with the test either way.
	return set
}

// requireAbsent looks for a canary as it is and in the spellings that text takes
// on its way.
func requireAbsent(tb testing.TB, where, text, canary string) {
	tb.Helper()
	for _, spelling := range []string{
		canary,
		base64.StdEncoding.EncodeToString([]byte(canary)),
		base64.RawURLEncoding.EncodeToString([]byte(canary)),
		hex.EncodeToString([]byte(canary)),
		url.QueryEscape(canary),
	} {
		// Not require.NotContains: it would print the secret again.
		if at := strings.Index(text, spelling); at >= 0 {
			line := text[strings.LastIndex(text[:at], "\n")+1 : at]
			tb.Errorf("%s holds a secret, behind %q", where, line)
			tb.FailNow()
		}
	}
}

// transcript is everything that a driver said.
type transcript struct{ lines []string }

// String is all of it.
func (s *transcript) String() string { return strings.Join(s.lines, "\n") }

// add writes a value as people, logs and the wire see it, and every error in the
// chain.
func (s *transcript) add(what string, value any, err error) {
	wire, _ := json.Marshal(value) // What can not be encoded is in the other forms.
	s.lines = append(s.lines, fmt.Sprintf("%s: %+v\n%s: %#v\n%s: %s", what, value, what, value, what, wire))
	for level := []error{err}; len(level) > 0; {
		e := level[0]
		level = level[1:]
		if e == nil {
			continue
		}
		s.lines = append(s.lines, fmt.Sprintf("%s: error: %v\n%s: error: %+v", what, e, what, e))
		if several, ok := e.(interface{ Unwrap() []error }); ok {
			level = append(level, several.Unwrap()...)
			continue
		}
		level = append(level, errors.Unwrap(e))
	}
}

// logBuffer keeps everything that this process logs.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write keeps the line.
func (l *logBuffer) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(line)
}

// String is all that was logged so far.
func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// captureLogs makes the process log into a buffer, at the first call; the log
// package follows the default logger.
var captureLogs = sync.OnceValue(func() *logBuffer {
	logs := &logBuffer{}
	slog.SetDefault(slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug})))
	return logs
})
