package bench_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/approvals"
	"github.com/backout/backout/bot"
	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/integrations/evidence"
	_ "github.com/backout/backout/integrations/kubernetes" // The kind that is measured.
	"github.com/backout/backout/integrations/ledger"
	"github.com/backout/backout/runbooks"
	"github.com/backout/backout/test/controlplane"
	"github.com/backout/backout/test/signing"
	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
	"github.com/backout/backout/workflows/worker"
	"github.com/backout/backout/workflows/worker/codec"
	"github.com/backout/backout/workflows/worker/embedded"
)

// rollbackRunbook has no recovery section: the watch over recovery comes after what is
// measured, and would be in the way of the next turn.
const rollbackRunbook = `
apiVersion: backout.dev/v1
kind: Runbook
metadata:
  name: deployment
  description: Take a Deployment back to the revision that ran before the suspected change.
  owner: shop
  reviewed: "2026-11-01"
match:
  services: ["*"]
changes:
  - source: kubernetes.workload
    target: { system: cluster, path: "deployment/%[1]s/{service}" }
    kind: deploy
options:
  - name: deployment-back
    title: Roll the Deployment back
    strategy: rollback
    undoes: [kubernetes.workload]
    actions:
      - kind: kubernetes.workload
        target: { system: cluster, path: "deployment/%[1]s/{service}" }
        max_time: 1m
        on_failure: stop
    rung: reversible
    expected_time: 1s
    risk: Capacity is lower while pods are replaced.
    wont_revert: ["Data that the newer version has written."]
evidence:
  - collector: kubernetes.describe
    target: { system: cluster, path: "deployment/%[1]s/{service}" }
`

// rollbackService is one service of the catalogue, by its name.
const rollbackService = `---
apiVersion: backstage.io/v1alpha1
kind: Component
metadata:
  name: %[1]s
  annotations:
    pagerduty.com/service-id: P-%[1]s
    backout.dev/tier: customer-facing
spec:
  type: service
  lifecycle: production
  owner: shop
`

// rollbacks is the product with real activities, a real cluster, ledger and evidence
// store, and vendors that answer at once.
type rollbacks struct {
	gateway    *bot.Gateway
	responders *responders
}

func newRollbacks(tb testing.TB, srv *embedded.Server, plane *controlplane.Plane, namespace string) *rollbacks {
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

	systems, err := driver.Open(tb.Context(), []driver.System{{
		Name: "cluster", Type: "kubernetes", Decode: drivertest.Settings(map[string]string{"kubeconfig": plane.Kubeconfig}),
	}})
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, systems.Close()) })
	led, err := ledger.Open(tb.Context(), filepath.Join(tb.TempDir(), "ledger.db"))
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, led.Close()) })
	store, err := evidence.Open(tb.Context(), "file://"+filepath.ToSlash(tb.TempDir()))
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, store.Close()) })

	book, err := runbooks.ParseRunbook(runbooks.File{Name: "deployment.yaml", Content: fmt.Appendf(nil, rollbackRunbook, namespace)})
	require.NoError(tb, err)
	var services strings.Builder
	for turn := range maxRollbacks {
		fmt.Fprintf(&services, rollbackService, productName(turn))
	}
	catalogue, err := runbooks.ParseCatalogue(runbooks.File{Name: "catalog-info.yaml", Content: []byte(services.String())})
	require.NoError(tb, err)

	signer, trusted := signing.Pair(tb)
	p := &rollbacks{gateway: bot.NewGateway(cl, signer), responders: &responders{views: map[string]incident.View{}, changed: make(chan struct{})}}
	w := worker.New(cl, &activities.Activities{
		Ledger: recorder{led}, Evidence: store, Channel: p.responders, Directory: p.responders, Pager: p.responders,
		Systems: systems, Catalogue: catalogue, Runbooks: []*runbooks.Runbook{book}, Policy: approvals.Default(), Attestations: trusted, Now: time.Now,
	})
	require.NoError(tb, w.Start())
	tb.Cleanup(w.Stop)
	return p
}

// prepare pages, and waits for the options on the card.
func (p *rollbacks) prepare(ctx context.Context, name string) (incident.View, error) {
	ctx, cancel := context.WithTimeout(ctx, turnWithin)
	defer cancel()
	now := time.Now()
	res, err := p.gateway.Page(ctx, incident.Page{
		EventID: name, Source: incident.SourcePagerDuty, Kind: incident.PageTriggered, IncidentID: name,
		Title: name + " answers with errors", Severity: incident.Sev2, ServiceID: "P-" + name, Service: name,
		URL: "https://example.pagerduty.com/incidents/" + name, OccurredAt: now, OpenedAt: now,
	})
	if err != nil {
		return incident.View{}, err
	}
	if res.Outcome != incident.OutcomeAccepted {
		return incident.View{}, fmt.Errorf("page: %s: %s", res.Outcome, res.Reason)
	}
	return p.responders.shown(ctx, keyOf(name), func(v incident.View) bool { return len(v.Options) > 0 })
}

// rollBack approves the first option of a card, and measures from the click until the
// workflow knows that the rollout is complete. It returns when the rollback is over and
// the Deployment is at rest.
func (p *rollbacks) rollBack(ctx context.Context, f *fleet, name string, card incident.View) (parts, error) {
	ctx, cancel := context.WithTimeout(ctx, turnWithin)
	defer cancel()
	before, err := f.get(ctx, name)
	if err != nil {
		return parts{}, err
	}
	// The same watch as the floor's, beside the product: when the rollout was complete.
	type seen struct {
		at  time.Time
		err error
	}
	watched := make(chan seen, 1)
	go func() {
		at, err := f.rolledOut(ctx, before, before.Generation+1)
		watched <- seen{at, err}
	}()

	option := card.Options[0]
	took := parts{begin: time.Now()}
	res, err := p.gateway.Decide(ctx, card.Key, incident.DecideRequest{
		DecisionID: name, OptionID: option.ID, PlanDigest: option.Digest, Revision: card.Revision, Answer: incident.AnswerApprove,
		Actor: incident.Actor{Via: incident.ViaSlack, SlackTeam: "T1", SlackUser: "U1"}, At: took.begin,
	})
	if err != nil {
		return took, err
	}
	if res.Outcome != incident.OutcomeApproved {
		return took, fmt.Errorf("approve %q: %s: %s", option.Title, res.Outcome, res.Reason)
	}
	card, err = p.responders.shown(ctx, card.Key, func(v incident.View) bool {
		last := v.LastRollback()
		return last != nil && !last.FinishedAt.IsZero()
	})
	if err != nil {
		return took, err
	}
	if last := card.LastRollback(); last.Status != incident.RollbackDone {
		return took, fmt.Errorf("%s: %s: %s", last.ID, last.Status, last.Reason)
	}
	end := <-watched
	if end.err != nil {
		return took, end.err
	}
	took.marks = marksOf(card, end.at)
	return took, f.rest(ctx, name)
}

// marksOf reads what a rollback's time was spent on.
func marksOf(v incident.View, complete time.Time) []mark {
	r := v.LastRollback()
	first := func(kind incident.EventKind) time.Time {
		i := slices.IndexFunc(v.Timeline, func(e incident.Event) bool { return e.Kind == kind && strings.HasPrefix(e.ID, r.ID+"/") })
		if i < 0 {
			return time.Time{}
		}
		return v.Timeline[i].At
	}
	return []mark{
		{partDecision, r.StartedAt},
		{partLock, first(incident.EventLock)},
		{partEvidence, first(incident.EventEvidence)},
		{partReplan, r.FirstMutationAt},
		{partRollout, complete},
		{partNotice, r.Actions[0].FinishedAt},
		{partOutcome, r.ActionsDoneAt},
	}
}

// responders answer at once: a channel, a directory of one person, and a pager that has
// this person on call for everything.
type responders struct {
	activities.Pager

	mu sync.Mutex
	// views are what was published last, by key.
	views map[string]incident.View
	// changed is closed, and replaced, when a view is published.
	changed chan struct{}
}

func ada() incident.Person {
	return incident.Person{ID: "ada@example.com", Name: "Ada", Email: "ada@example.com"}
}

func (r *responders) Identify(context.Context, incident.Actor) (incident.Person, error) {
	return ada(), nil
}

func (r *responders) OnCall(context.Context, string) ([]incident.Person, error) {
	return []incident.Person{ada()}, nil
}

func (r *responders) Note(context.Context, string, string, string) error { return nil }

func (r *responders) Escalate(context.Context, string, string) error { return nil }

func (r *responders) Tell(context.Context, incident.Actor, string) error { return nil }

func (r *responders) Say(context.Context, incident.CardRef, string, string) error { return nil }

func (r *responders) Publish(_ context.Context, v incident.View) (incident.CardRef, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.views[v.Key] = v
	close(r.changed)
	r.changed = make(chan struct{})
	return incident.CardRef{Channel: "C1", TS: "1.1"}, nil
}

// shown waits for a card that shows what is wanted.
func (r *responders) shown(ctx context.Context, key string, wanted func(incident.View) bool) (incident.View, error) {
	for {
		r.mu.Lock()
		v, changed := r.views[key], r.changed
		r.mu.Unlock()
		if wanted(v) {
			return v, nil
		}
		if err := await(ctx, changed); err != nil {
			return v, fmt.Errorf("wait for the card of %q, which is %s with notes %q: %w", key, v.Phase, v.Notes, err)
		}
	}
}
