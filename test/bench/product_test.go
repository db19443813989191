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
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	sdkworker "go.temporal.io/sdk/worker"

	"github.com/backout/backout/approvals"
	"github.com/backout/backout/bot"
	"github.com/backout/backout/integrations/ledger"
	"github.com/backout/backout/runbooks"
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
	*stopwatch
}

func newProduct(b *testing.B, srv *embedded.Server) *product {
	b.Helper()
	keys, err := codec.NewKeys(codec.GenerateKey())
	require.NoError(b, err)
	c, err := codec.New(codec.Options{Keys: keys})
	require.NoError(b, err)
	watch := &stopwatch{started: map[string]chan struct{}{}}
	cl, err := client.DialContext(b.Context(), client.Options{
		HostPort: srv.Address(), Namespace: embedded.DefaultNamespace,
		DataConverter: c.DataConverter(), FailureConverter: c.FailureConverter(),
		Logger:       slog.New(slog.DiscardHandler),
		Interceptors: []interceptor.ClientInterceptor{watch},
	})
	require.NoError(b, err)
	b.Cleanup(cl.Close)

	led, err := ledger.Open(b.Context(), filepath.Join(b.TempDir(), "ledger.db"))
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, led.Close()) })
	catalogue, err := runbooks.ParseCatalogue()
	require.NoError(b, err)
	v := &vendors{offered: map[string]chan struct{}{}}
	p := &product{gateway: bot.NewGateway(cl), option: option(b), vendors: v, stopwatch: watch}

	w := sdkworker.New(cl, incident.TaskQueue, sdkworker.Options{})
	worker.RegisterWorkflows(w)
	w.RegisterActivityWithOptions(&quick{
		Activities: &activities.Activities{
			Ledger: recorder{led}, Channel: v, Directory: v, Pager: v,
			Catalogue: catalogue, Policy: approvals.Default(), Now: time.Now,
		},
		option: p.option,
	}, activity.RegisterOptions{})
	require.NoError(b, w.Start())
	b.Cleanup(w.Stop)
	return p
}

func (p *product) page(ctx context.Context, id, event string) error {
	res, err := p.gateway.Page(ctx, page(id, event))
	if err == nil && res.Outcome != incident.OutcomeAccepted {
		err = fmt.Errorf("page %q: %s: %s", event, res.Outcome, res.Reason)
	}
	return err
}

// prepare returns when the card that offers the option is out.
func (p *product) prepare(ctx context.Context, id string) error {
	if err := p.page(ctx, id, "first"); err != nil {
		return err
	}
	return await(ctx, p.vendors.of(incident.Key(incident.SourcePagerDuty, id)))
}

// decide is the click of somebody who may not decide: identity, roles, policy
// and ledger are all asked, and no rollback follows.
func (p *product) decide(ctx context.Context, id, event string) error {
	res, err := p.gateway.Decide(ctx, incident.Key(incident.SourcePagerDuty, id), incident.DecideRequest{
		DecisionID: event, OptionID: p.option.ID, PlanDigest: p.option.Digest, Answer: incident.AnswerApprove,
		Actor: incident.Actor{Via: incident.ViaSlack, SlackTeam: "T1", SlackUser: "U1"}, At: time.Now(),
	})
	if err == nil && res.Outcome != incident.OutcomeDenied {
		err = fmt.Errorf("decide %q: %s: %s", event, res.Outcome, res.Reason)
	}
	return err
}

func (p *product) firstActivity(id string) <-chan struct{} {
	return p.of(incident.WorkflowID(incident.Key(incident.SourcePagerDuty, id)))
}

func workflowIDOf(ctx context.Context) string { return activity.GetInfo(ctx).WorkflowExecution.ID }

// quick are the product's activities, with one option that is at hand.
type quick struct {
	*activities.Activities
	option incident.Option
}

// CollectOptions takes the place of the search through the vendors.
func (q *quick) CollectOptions(_ context.Context, in activities.CollectInput) (activities.CollectResult, error) {
	return activities.CollectResult{
		Service: in.Service, Ranking: incident.Ranking{Likely: -1},
		Options: []incident.Option{q.option}, DecideWithin: time.Hour,
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

func option(b *testing.B) incident.Option {
	b.Helper()
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
	require.NoError(b, err)
	return incident.Option{ID: "o1", Title: "Roll checkout back", Plan: plan, Digest: digest, Tier: incident.TierOnCall}
}

// vendors answer at once: a channel, a directory of one person, and a pager
// with nobody on call.
type vendors struct {
	activities.Pager

	mu      sync.Mutex
	offered map[string]chan struct{}
}

func (v *vendors) of(key string) chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.offered[key] == nil {
		v.offered[key] = make(chan struct{})
	}
	return v.offered[key]
}

func (v *vendors) Publish(_ context.Context, view incident.View) (incident.CardRef, error) {
	if len(view.Options) > 0 {
		c := v.of(view.Key)
		v.mu.Lock()
		defer v.mu.Unlock()
		select {
		case <-c:
		default:
			close(c)
		}
	}
	return incident.CardRef{Channel: "C1", TS: "1.1"}, nil
}

func (v *vendors) Tell(context.Context, incident.Actor, string) error { return nil }

func (v *vendors) Say(context.Context, incident.CardRef, string, string) error { return nil }

func (v *vendors) Identify(context.Context, incident.Actor) (incident.Person, error) {
	return incident.Person{ID: "ada@example.com", Name: "Ada", Email: "ada@example.com"}, nil
}

func (v *vendors) OnCall(context.Context, string) ([]incident.Person, error) { return nil, nil }
