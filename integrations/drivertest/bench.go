package drivertest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

const (
	// defaultMaxTime bounds a rollback of a target that sets no time itself.
	defaultMaxTime = 30 * time.Second
	// patience bounds one call of a driver that nothing is in the way of.
	patience = 20 * time.Second
	// actionKey is the idempotency key of the first action on a target.
	actionKey = "rollback/law/1-0"
	// otherKey is that of another action.
	otherKey = "rollback/law/2-0"
)

// bench is one fresh target with a connection through a proxy.
type bench struct {
	testing.TB
	kind   string
	target *Target
	// proxy is nil for a kind that is not remote.
	proxy *Proxy
	// inverse is connected as Owner.
	inverse driver.Inverse
	set     *driver.Set
	system  string
	// started counts the changes that the target saw before the law began.
	started int
}

func start(tb testing.TB, c Case) *bench {
	tb.Helper()
	target := c.Start(tb)
	if problem := target.problem(c); problem != "" {
		tb.Fatalf("the target of %q is incomplete: %s", c.Kind, problem)
	}
	b := &bench{TB: tb, kind: c.Kind, target: target}
	if c.NotRemote == "" {
		b.proxy = NewProxy(tb, target.Upstream)
	}
	b.inverse = b.connect(Owner)
	b.started = b.count()
	return b
}

// connect makes a connection of its own, as a process that starts does.
func (b *bench) connect(as Credential) driver.Inverse {
	b.Helper()
	address := ""
	if b.proxy != nil {
		address = b.proxy.Address()
	}
	system := b.target.Connect(address, as)
	set, err := driver.Open(b.Context(), []driver.System{system})
	require.NoError(b, err, "open the system")
	b.Cleanup(func() { _ = set.Close() }) // The proxy may have cut it.
	inverse, err := set.Inverse(b.kind, system.Name)
	require.NoError(b, err, "open the kind")
	if as == Owner && b.set == nil {
		b.set, b.system = set, system.Name
		b.target.Request.Target.System = system.Name
	}
	return inverse
}

// maxBusy is how many times in a row a target may be busy.
const maxBusy = 5

// bounded is a context for one call that nothing is in the way of.
func (b *bench) bounded() context.Context {
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	b.Cleanup(cancel)
	return ctx
}

// applied applies, again where the target was busy, as the engine does: a
// controller may write to it at the same moment.
func (b *bench) applied(action incident.Action, key string) driver.Receipt {
	b.Helper()
	for tries := 1; ; tries++ {
		receipt, err := b.inverse.Apply(b.bounded(), action, key)
		if err == nil {
			return receipt
		}
		require.False(b, driver.Final(err), "apply: %v", err)
		require.Less(b, tries, maxBusy, "apply: %v", err)
	}
}

// digest is the state as the case reads it.
func (b *bench) digest() string {
	b.Helper()
	digest, err := b.target.Digest(b.bounded())
	require.NoError(b, err, "read the state past the driver")
	require.NotEmpty(b, digest)
	return digest
}

func (b *bench) count() int {
	b.Helper()
	n, err := b.target.Mutations(b.bounded())
	require.NoError(b, err, "count the mutations past the driver")
	return n
}

// mutations counts the changes since the law began.
func (b *bench) mutations() int {
	b.Helper()
	return b.count() - b.started
}

func (b *bench) interfere() {
	b.Helper()
	require.NoError(b, b.target.Interfere(b.bounded()), "change the target as a third party")
}

func (b *bench) maxTime() time.Duration {
	if b.target.MaxTime > 0 {
		return b.target.MaxTime
	}
	return defaultMaxTime
}

// plan makes the plan that the target is there for.
func (b *bench) plan() driver.Planned {
	b.Helper()
	planned, err := b.inverse.Plan(b.bounded(), b.target.Request)
	require.NoError(b, err, "plan")
	require.False(b, planned.Blocked(), "the plan is blocked: %v", planned.Preflight)
	require.True(b, incident.ValidDigest(planned.From.Digest) && incident.ValidDigest(planned.To.Digest), "both states need digests")
	require.NotEqual(b, planned.From.Digest, planned.To.Digest, "the plan leads nowhere")
	require.NotEmpty(b, planned.From.Revision, "the present state has no absolute revision")
	require.NotEmpty(b, planned.To.Revision, "the wanted state has no absolute revision")
	return planned
}

func (b *bench) action(planned driver.Planned) incident.Action {
	return incident.Action{
		Kind:       b.kind,
		Target:     b.target.Request.Target,
		From:       planned.From,
		To:         planned.To,
		MaxTime:    b.maxTime(),
		OnFailure:  incident.OnFailureStop,
		Reversible: planned.Reversible,
	}
}

// planned is the action that the target is there for.
func (b *bench) planned() incident.Action {
	b.Helper()
	return b.action(b.plan())
}

// execute runs an action on the engine with an intent that is always recorded.
func (b *bench) execute(inverse driver.Inverse, action incident.Action, key string) (driver.Outcome, error) {
	b.Helper()
	return driver.Execute(b.Context(), inverse, action, key, driver.Hooks{BeforeApply: recorded})
}

// completes runs an action on a new connection and requires it to end well.
func (b *bench) completes(action incident.Action, key string) driver.Outcome {
	b.Helper()
	out, err := b.execute(b.connect(Owner), action, key)
	require.NoError(b, err, "execute")
	require.Equal(b, action.To.Digest, out.Last.State.Digest, "the target was last observed elsewhere")
	require.True(b, out.Last.Settled, "the target has not settled")
	return out
}

// observed reads the state through the driver.
func (b *bench) observed(action incident.Action) driver.Observation {
	b.Helper()
	seen, err := b.inverse.Observe(b.bounded(), action)
	require.NoError(b, err, "observe")
	return seen
}

func recorded(context.Context, driver.Observation) error { return nil }

// wrapped lets a law stand between the engine and an inverse. Nil functions pass
// through.
type wrapped struct {
	driver.Inverse
	observe func(ctx context.Context, action incident.Action) (driver.Observation, error)
	apply   func(ctx context.Context, action incident.Action, key string) (driver.Receipt, error)
}

// Observe passes through or is replaced.
func (w wrapped) Observe(ctx context.Context, action incident.Action) (driver.Observation, error) {
	if w.observe != nil {
		return w.observe(ctx, action)
	}
	return w.Inverse.Observe(ctx, action)
}

// Apply passes through or is replaced.
func (w wrapped) Apply(ctx context.Context, action incident.Action, key string) (driver.Receipt, error) {
	if w.apply != nil {
		return w.apply(ctx, action, key)
	}
	return w.Inverse.Apply(ctx, action, key)
}

// counter counts calls.
type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) next() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return c.n
}

func (c *counter) value() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}
