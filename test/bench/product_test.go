package bench_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
	sdkworker "go.temporal.io/sdk/worker"

	"github.com/backout/backout/approvals"
	"github.com/backout/backout/bot"
	"github.com/backout/backout/integrations/ledger"
	"github.com/backout/backout/runbooks"
	"github.com/backout/backout/test/signing"
	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
	"github.com/backout/backout/workflows/worker"
	"github.com/backout/backout/workflows/worker/codec"
	"github.com/backout/backout/workflows/worker/embedded"
)

// product is the product with vendors that answer at once.
type product struct {
	gateway *bot.Gateway
	option  incident.Option
	vendors *vendors
	watch   *stopwatch

	mu sync.Mutex
	// answered are the newest revisions that were answered, by key.
	answered map[string]int
}

func newProduct(tb testing.TB, srv *embedded.Server) *product {
	tb.Helper()
	keys, err := codec.NewKeys(codec.GenerateKey())
	require.NoError(tb, err)
	c, err := codec.New(codec.Options{Keys: keys})
	require.NoError(tb, err)
	cl, err := worker.Dial(tb.Context(), worker.DialOptions{
		Address: srv.Address(), Namespace: embedded.DefaultNamespace, Codec: c,
		Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(tb, err)
	tb.Cleanup(cl.Close)

	led, err := ledger.Open(tb.Context(), filepath.Join(tb.TempDir(), "ledger.db"))
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, led.Close()) })
	catalogue, err := runbooks.ParseCatalogue()
	require.NoError(tb, err)
	v := &vendors{cards: map[string]*card{}}
	signer, trusted := signing.Pair(tb)
	p := &product{
		gateway: bot.NewGateway(cl, signer), option: option(tb), vendors: v, watch: newStopwatch(1), answered: map[string]int{},
	}

	w := sdkworker.New(cl, incident.TaskQueue, sdkworker.Options{Interceptors: []interceptor.WorkerInterceptor{p.watch}})
	worker.RegisterWorkflows(w)
	w.RegisterActivityWithOptions(&quick{
		Activities: &activities.Activities{
			Ledger: recorder{led}, Channel: v, Directory: v, Pager: v,
			Catalogue: catalogue, Policy: approvals.Default(), Attestations: trusted, Now: time.Now,
		},
		option: p.option,
	}, activity.RegisterOptions{})
	require.NoError(tb, w.Start())
	tb.Cleanup(w.Stop)
	return p
}

func (p *product) page(ctx context.Context, id, event string) error {
	res, err := p.gateway.Page(ctx, page(id, event))
	if err != nil {
		return err
	}
	if res.Outcome != incident.OutcomeAccepted {
		return fmt.Errorf("page %q: %s: %s", event, res.Outcome, res.Reason)
	}
	p.saw(id, res)
	return nil
}

// saw remembers how far the incident is.
func (p *product) saw(id string, res incident.Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := keyOf(id)
	p.answered[key] = max(p.answered[key], res.Revision)
}

func (p *product) prepare(ctx context.Context, id string) error {
	if err := p.page(ctx, id, "first"); err != nil {
		return err
	}
	return p.settle(ctx, id)
}

// settle returns when the card shows the options and all that was answered.
func (p *product) settle(ctx context.Context, id string) error {
	key := keyOf(id)
	p.mu.Lock()
	want := p.answered[key]
	p.mu.Unlock()
	return p.vendors.shown(ctx, key, want)
}

// decide is the click of somebody who may not decide: identity, roles, policy
// and ledger are all asked, and no rollback follows.
func (p *product) decide(ctx context.Context, id, event string) error {
	res, err := p.gateway.Decide(ctx, keyOf(id), incident.DecideRequest{
		DecisionID: event, OptionID: p.option.ID, PlanDigest: p.option.Digest, Answer: incident.AnswerApprove,
		Actor: incident.Actor{Via: incident.ViaSlack, SlackTeam: "T1", SlackUser: "U1"}, At: time.Now(),
	})
	if err != nil {
		return err
	}
	if res.Outcome != incident.OutcomeDenied {
		return fmt.Errorf("decide %q: %s: %s", event, res.Outcome, res.Reason)
	}
	p.saw(id, res)
	return nil
}

func (p *product) begun(id string) <-chan struct{} {
	return p.watch.of(p.workflow(id)).begun
}

func (p *product) workflow(id string) string { return incident.WorkflowID(keyOf(id)) }

func keyOf(id string) string { return incident.Key(incident.SourcePagerDuty, id) }

// quick are the product's activities, with one option that is at hand.
type quick struct {
	*activities.Activities
	option incident.Option
}

// CollectOptions takes the place of the search through the vendors.
func (q *quick) CollectOptions(_ context.Context, in activities.CollectInput) (activities.CollectResult, error) {
	return activities.CollectResult{
		Service: in.Service, Ranking: incident.Ranking{Likely: -1},
		Options: []incident.Option{q.option}, DecideWithin: time.Hour, At: time.Now().UTC(),
	}, nil
}

// recorder is the ledger as activities see it.
type recorder struct{ *ledger.Ledger }

func (r recorder) Get(ctx context.Context, id string) (incident.Entry, bool, error) {
	rec, err := r.Ledger.Get(ctx, id)
	if errors.Is(err, ledger.ErrNotFound) {
		return incident.Entry{}, false, nil
	}
	return rec.Entry, err == nil, err
}

func (r recorder) Of(ctx context.Context, key string, kind incident.EventKind) (entries []incident.Entry, err error) {
	records, err := r.Kind(ctx, key, kind)
	for _, rec := range records {
		entries = append(entries, rec.Entry)
	}
	return entries, err
}

func option(tb testing.TB) incident.Option {
	tb.Helper()
	plan := incident.Plan{
		Version: incident.PlanVersion, Incident: "pagerduty/any", Service: "checkout", Strategy: incident.StrategyRollback,
		Runbook: "release", RunbookDigest: incident.DigestOf([]byte("runbook")), Option: "back",
		Actions: []incident.Action{{
			Kind: "nats.kv", Target: incident.Target{System: "shop", Path: "releases/checkout"},
			From:    incident.State{Revision: "4", Digest: incident.DigestOf([]byte("v42")), Label: "v42"},
			To:      incident.State{Revision: "1", Digest: incident.DigestOf([]byte("v41")), Label: "v41"},
			MaxTime: time.Minute, OnFailure: incident.OnFailureStop, Reversible: true,
		}},
	}
	digest, err := plan.Digest()
	require.NoError(tb, err)
	return incident.Option{ID: "o1", Title: "Roll checkout back", Plan: plan, Digest: digest, Tier: incident.TierOnCall}
}

// vendors answer at once: a channel, a directory of one person, and a pager
// with nobody on call.
type vendors struct {
	activities.Pager

	mu    sync.Mutex
	cards map[string]*card
}

// card is what the channel shows of one incident.
type card struct {
	revision int
	options  int
	// changed is closed, and replaced, when the card is.
	changed chan struct{}
}

func (v *vendors) of(key string) *card {
	c := v.cards[key]
	if c == nil {
		c = &card{changed: make(chan struct{})}
		v.cards[key] = c
	}
	return c
}

func (v *vendors) Publish(_ context.Context, view incident.View) (incident.CardRef, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	c := v.of(view.Key)
	c.revision, c.options = view.Revision, len(view.Options)
	close(c.changed)
	c.changed = make(chan struct{})
	return incident.CardRef{Channel: "C1", TS: "1.1"}, nil
}

// shown waits for a card with options of at least that revision.
func (v *vendors) shown(ctx context.Context, key string, revision int) error {
	for {
		v.mu.Lock()
		c := v.of(key)
		ready, changed := c.options > 0 && c.revision >= revision, c.changed
		v.mu.Unlock()
		if ready {
			return nil
		}
		if err := await(ctx, changed); err != nil {
			return fmt.Errorf("wait for revision %d of %q: %w", revision, key, err)
		}
	}
}

func (v *vendors) Tell(context.Context, incident.Actor, string) error { return nil }

func (v *vendors) Say(context.Context, incident.CardRef, string, string) error { return nil }

func (v *vendors) Identify(context.Context, incident.Actor) (incident.Person, error) {
	return incident.Person{ID: "ada@example.com", Name: "Ada", Email: "ada@example.com"}, nil
}

func (v *vendors) OnCall(context.Context, string) ([]incident.Person, error) { return nil, nil }
