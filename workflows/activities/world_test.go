package activities_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/backout/backout/approvals"
	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/runbooks"
	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

const (
	key      = "pagerduty/Q1"
	rollback = "rollback/pagerduty/Q1/1"
)

// onset is when the harm begins, now is the present of every test.
var (
	onset = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	now   = onset.Add(5 * time.Minute)
)

var (
	ada   = incident.Person{ID: "ada", Name: "Ada", Email: "ada@example.com", PagerDutyID: "PADA"}
	ben   = incident.Person{ID: "ben", Name: "Ben", Email: "Ben@example.com", GitHubLogin: "benhub"}
	carla = incident.Person{ID: "carla", Name: "Carla", Email: "carla@example.com"}
	dora  = incident.Person{ID: "dora", Name: "Dora", Email: "dora@example.com"}
)

// errDead is what every port answers once the process was killed.
var errDead = errors.New("the process is dead")

// world is every port of the activities in memory. Each call of a port is
// counted and named in calls, and can be made to fail or to be the last.
type world struct {
	mu    sync.Mutex
	now   time.Time
	calls []string
	// fail answers a call with an error before it has an effect.
	fail func(call string) error
	// killAt is the number of the call, from 1, at which the process dies:
	// before its effect, or after it with afterEffect. Zero is never.
	killAt      int
	afterEffect bool
	dead        bool
	kill        context.CancelFunc

	entries  []incident.Entry
	blobs    map[string][]byte
	targets  map[string]*target
	people   map[string]incident.Person
	onCall   map[string][]incident.Person
	changes  map[string][]incident.Change
	docs     map[string][]driver.Evidence
	series   func(query string, from, until time.Time, step time.Duration) ([]incident.Series, error)
	count    func(query string) (int64, error)
	pages    []incident.Page
	noSystem bool
	// preflight, if set, is what every driver finds.
	preflight []incident.Preflight
}

// target is a key with its history and compare-and-set.
type target struct {
	versions  []version
	mutations int
	unsettled bool
	oneWay    bool
	// refuse is what Apply answers instead of an effect; lose is what it
	// answers after the effect, once.
	refuse, lose error
}

type version struct {
	value string
	at    time.Time
}

func (v version) state(revision int) incident.State {
	return incident.State{Revision: strconv.Itoa(revision), Digest: incident.DigestOf([]byte(v.value)), Label: v.value}
}

func (t *target) present() incident.State {
	return t.versions[len(t.versions)-1].state(len(t.versions))
}

func newWorld() *world {
	w := &world{
		now: now, blobs: map[string][]byte{}, targets: map[string]*target{}, people: map[string]incident.Person{},
		onCall: map[string][]incident.Person{}, changes: map[string][]incident.Change{}, docs: map[string][]driver.Evidence{},
	}
	for _, p := range []incident.Person{ada, ben, carla, dora} {
		w.people["cli:"+p.ID] = p
	}
	w.put("config/checkout", "good", onset.Add(-time.Hour))
	w.put("config/checkout", "bad", onset.Add(-2*time.Minute))
	return w
}

func (w *world) put(path, value string, at time.Time) *target {
	t, ok := w.targets[path]
	if !ok {
		t = &target{}
		w.targets[path] = t
	}
	t.versions = append(t.versions, version{value: value, at: at})
	return t
}

// call counts one call of a port around its effect.
func (w *world) call(ctx context.Context, name string, effect func() error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead {
		return errDead
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	w.calls = append(w.calls, name)
	dies := w.killAt == len(w.calls)
	if dies {
		w.dead = true
		w.kill()
		if !w.afterEffect {
			return errDead
		}
	}
	if w.fail != nil {
		if err := w.fail(name); err != nil {
			return err
		}
	}
	if err := effect(); err != nil {
		return err
	}
	if dies {
		return errDead
	}
	return nil
}

// restart starts the process again after it was killed.
func (w *world) restart() {
	w.killAt, w.dead, w.calls = 0, false, nil
}

func (w *world) kinds() []incident.EventKind {
	var out []incident.EventKind
	for _, e := range w.entries {
		out = append(out, e.Kind)
	}
	return out
}

func (w *world) activities(t *testing.T) *activities.Activities {
	t.Helper()
	return &activities.Activities{
		Ledger: ledger{w}, Evidence: store{w}, Directory: directory{w}, Systems: systems{w}, Pager: pager{w},
		Channel: channel{w: w}, Attestations: verifier(t),
		Catalogue: catalogue(t), Runbooks: []*runbooks.Runbook{runbook(t, book)}, Policy: approvals.Default(),
		Now: func() time.Time { return w.now },
	}
}

type ledger struct{ w *world }

var errConflict = errors.New("the ledger holds another entry under this ID")

func (l ledger) Append(ctx context.Context, e incident.Entry) (rec incident.Recorded, err error) {
	err = l.w.call(ctx, "append "+string(e.Kind), func() error {
		for i, have := range l.w.entries {
			if have.ID != e.ID {
				continue
			}
			if have.Incident != e.Incident || have.Kind != e.Kind || have.Text != e.Text || string(have.Payload) != string(e.Payload) {
				return errConflict
			}
			rec = incident.Recorded{ID: e.ID, Seq: int64(i + 1), At: have.At, Existed: true}
			return nil
		}
		l.w.entries = append(l.w.entries, e)
		rec = incident.Recorded{ID: e.ID, Seq: int64(len(l.w.entries)), At: e.At}
		return nil
	})
	return rec, err
}

func (l ledger) AppendAll(ctx context.Context, entries []incident.Entry) (out []incident.Recorded, err error) {
	was := slices.Clone(l.w.entries)
	for _, e := range entries {
		rec, err := l.Append(ctx, e)
		if err != nil {
			l.w.entries = was
			return nil, err
		}
		out = append(out, rec)
	}
	return out, nil
}

func (l ledger) Get(ctx context.Context, id string) (e incident.Entry, ok bool, err error) {
	err = l.w.call(ctx, "get", func() error {
		i := slices.IndexFunc(l.w.entries, func(e incident.Entry) bool { return e.ID == id })
		if ok = i >= 0; ok {
			e = l.w.entries[i]
		}
		return nil
	})
	return e, ok && err == nil, err
}

func (l ledger) Of(ctx context.Context, of string, kind incident.EventKind) (out []incident.Entry, err error) {
	err = l.w.call(ctx, "list "+string(kind), func() error {
		for _, e := range l.w.entries {
			if e.Incident == of && e.Kind == kind {
				out = append(out, e)
			}
		}
		return nil
	})
	return out, err
}

type store struct{ w *world }

func (s store) Put(ctx context.Context, content []byte, _ string) (digest string, err error) {
	digest = incident.DigestOf(content)
	return digest, s.w.call(ctx, "put", func() error { s.w.blobs[digest] = slices.Clone(content); return nil })
}

func (s store) Get(ctx context.Context, digest string) (content []byte, err error) {
	err = s.w.call(ctx, "read", func() error {
		var ok bool
		if content, ok = s.w.blobs[digest]; !ok {
			return fmt.Errorf("get %s: no such document", digest)
		}
		return nil
	})
	return content, err
}

type directory struct{ w *world }

func (d directory) Identify(ctx context.Context, a incident.Actor) (p incident.Person, err error) {
	err = d.w.call(ctx, "identify", func() error {
		var ok bool
		if p, ok = d.w.people[a.String()]; !ok {
			return fmt.Errorf("identify %q: %w", a, incident.ErrNoIdentity)
		}
		return nil
	})
	return p, err
}

// channel shows cards and says lines in their threads.
type channel struct {
	activities.Channel
	w *world
}

func (c channel) Publish(ctx context.Context, v incident.View) (ref incident.CardRef, err error) {
	err = c.w.call(ctx, "publish "+v.Key, func() error {
		ref = incident.CardRef{Channel: "C1", TS: "1.1"}
		return nil
	})
	return ref, err
}

func (c channel) Say(ctx context.Context, card incident.CardRef, id, text string) error {
	return c.w.call(ctx, "say "+card.Channel+" "+card.TS+" "+id+" "+text, func() error { return nil })
}

type pager struct{ w *world }

func (p pager) Escalate(ctx context.Context, id, reason string) error {
	return p.w.call(ctx, "escalate "+id+" "+reason, func() error { return nil })
}

func (p pager) Note(ctx context.Context, id, noteID, _ string) error {
	return p.w.call(ctx, "note "+id+" "+noteID, func() error { return nil })
}

func (p pager) Open(ctx context.Context) (pages []incident.Page, err error) {
	return p.w.pages, p.w.call(ctx, "open", func() error { return nil })
}

func (p pager) OnCall(ctx context.Context, service string) (on []incident.Person, err error) {
	err = p.w.call(ctx, "on call "+service, func() error { on = p.w.onCall[service]; return nil })
	return on, err
}

type systems struct{ w *world }

func (s systems) find(kind, want, system string) error {
	if kind != want || system != "main" || s.w.noSystem {
		return fmt.Errorf("find %q on %q: %w: no such system", kind, system, driver.ErrInvalid)
	}
	return nil
}

func (s systems) Inverse(kind, system string) (driver.Inverse, error) {
	return inverse(s), s.find(kind, "kv", system)
}

func (s systems) Source(kind, system string) (driver.ChangeSource, error) {
	return source{s.w, kind}, s.find(kind, kind, system)
}

func (s systems) Collector(kind, system string) (driver.Collector, error) {
	return collector(s), s.find(kind, "kv.dump", system)
}

func (s systems) Probe(system string) (driver.Probe, error) {
	return probe(s), s.find("probe", "probe", system)
}

func (s systems) Counter(system string) (driver.Counter, error) {
	if system != "shop-db" {
		return nil, s.find("counter", "", system)
	}
	return counter(s), nil
}

type counter struct{ w *world }

func (c counter) Count(ctx context.Context, query string) (n int64, err error) {
	err = c.w.call(ctx, "count", func() error { n, err = c.w.count(query); return err })
	return n, err
}

type inverse struct{ w *world }

func (i inverse) Plan(ctx context.Context, req driver.PlanRequest) (p driver.Planned, err error) {
	err = i.w.call(ctx, "plan "+req.Target.Path, func() error {
		p = i.plan(req)
		return nil
	})
	return p, err
}

func (i inverse) plan(req driver.PlanRequest) driver.Planned {
	block := func(reason string) driver.Planned {
		return driver.Planned{Preflight: []incident.Preflight{{Name: "revision exists", Result: incident.PreflightBlocked, Reason: reason}}}
	}
	t, ok := i.w.targets[req.Target.Path]
	if !ok {
		return block("The key " + req.Target.Path + " does not exist.")
	}
	wanted := 0
	for n, v := range t.versions {
		if req.Revision == strconv.Itoa(n+1) || (req.Revision == "" && v.at.Before(req.Before)) {
			wanted = n + 1
		}
	}
	if wanted == 0 {
		return block("The revision " + req.Revision + " is gone.")
	}
	checks := i.w.preflight
	if checks == nil {
		checks = []incident.Preflight{{Name: "revision exists", Result: incident.PreflightOK, Reason: "It is there."}}
	}
	return driver.Planned{From: t.present(), To: t.versions[wanted-1].state(wanted), Reversible: !t.oneWay, ExpectedTime: time.Second, Preflight: checks}
}

func (i inverse) Observe(ctx context.Context, a incident.Action) (o driver.Observation, err error) {
	err = i.w.call(ctx, "observe", func() error {
		t := i.w.targets[a.Target.Path]
		o = driver.Observation{State: t.present(), Settled: !t.unsettled, Detail: "seen"}
		return nil
	})
	return o, err
}

func (i inverse) Apply(ctx context.Context, a incident.Action, _ string) (r driver.Receipt, err error) {
	err = i.w.call(ctx, "apply", func() error {
		t := i.w.targets[a.Target.Path]
		switch present := t.present(); {
		case t.refuse != nil:
			return t.refuse
		case present.Digest == a.To.Digest:
			return nil
		case present.Digest != a.From.Digest:
			return &driver.DriftError{Action: a, Observed: present, Difference: "something else is there"}
		}
		t.versions = append(t.versions, version{value: a.To.Label, at: i.w.now})
		t.mutations++
		if lost := t.lose; lost != nil {
			t.lose = nil
			return lost
		}
		r.Mutated = true
		return nil
	})
	if err != nil {
		return driver.Receipt{}, err
	}
	return r, nil
}

type source struct {
	w    *world
	kind string
}

func (s source) Changes(ctx context.Context, q driver.ChangeQuery) (found []incident.Change, err error) {
	err = s.w.call(ctx, "changes "+s.kind+" "+q.Target.Path, func() error {
		for _, c := range s.w.changes[s.kind+" "+q.Target.Path] {
			c.Source, c.Service, c.Kind = s.kind, q.Service, q.Kind
			found = append(found, c)
		}
		return nil
	})
	return found, err
}

type collector struct{ w *world }

func (c collector) Collect(ctx context.Context, r driver.CollectRequest) (docs []driver.Evidence, err error) {
	err = c.w.call(ctx, "collect "+r.Target.Path, func() error { docs = c.w.docs[r.Target.Path]; return nil })
	return docs, err
}

type probe struct{ w *world }

func (p probe) QueryRange(ctx context.Context, query string, from, until time.Time, step time.Duration) (s []incident.Series, err error) {
	err = p.w.call(ctx, "query", func() error {
		s, err = p.w.series(query, from, until, step)
		return err
	})
	return s, err
}

// catalogue is storefront -> checkout -> payments; checkout and payments share
// orders-db.
func catalogue(t *testing.T) *runbooks.Catalogue {
	t.Helper()
	var doc strings.Builder
	for _, s := range []struct{ name, pager, owner, dependsOn string }{
		{"storefront", "PSTORE", "dora@example.com", "component:default/checkout"},
		{"checkout", "PCHECK", "ben@example.com", "component:default/payments, resource:default/orders-db"},
		{"payments", "PPAY", "carla@example.com", "resource:default/orders-db"},
	} {
		fmt.Fprintf(&doc, `
apiVersion: backstage.io/v1alpha1
kind: Component
metadata:
  name: %s
  annotations: {pagerduty.com/service-id: %s, backout.dev/tier: revenue, backout.dev/owners: %s}
spec: {type: service, lifecycle: production, owner: shop, dependsOn: [%s]}
---`, s.name, s.pager, s.owner, strconvQuoteAll(s.dependsOn))
	}
	doc.WriteString("\napiVersion: backstage.io/v1alpha1\nkind: Resource\nmetadata: {name: orders-db}\nspec: {type: database, owner: shop}\n")
	c, err := runbooks.ParseCatalogue(runbooks.File{Name: "catalog-info.yaml", Content: []byte(doc.String())})
	require.NoError(t, err)
	return c
}

func strconvQuoteAll(list string) string {
	var out []string
	for s := range strings.SplitSeq(list, ", ") {
		out = append(out, strconv.Quote(s))
	}
	return strings.Join(out, ", ")
}

const book = `
apiVersion: backout.dev/v1
kind: Runbook
metadata: {name: config, owner: shop, reviewed: "2026-11-01"}
match: {services: ["*"]}
changes:
  - {source: kv, target: {system: main, path: "config/{service}"}, kind: config}
  - {source: deployments, target: {system: main, path: "repo/{service}"}, kind: deploy}
options:
  - name: config-back
    title: Take the configuration back
    strategy: rollback
    undoes: [kv]
    actions:
      - {kind: kv, target: {system: main, path: "config/{service}"}, max_time: 2m, on_failure: stop}
    rung: reversible
    expected_time: 10s
  - name: flag-off
    title: Switch the feature off
    strategy: flag_off
    actions:
      - {kind: kv, target: {system: main, path: "flags/{service}"}, revision: "1", max_time: 2m, on_failure: stop}
    shared_data: [orders-db]
    rung: reversible
    expected_time: 10s
evidence:
  - {collector: kv.dump, target: {system: main, path: "config/{service}"}}
  - {collector: kv.dump, target: {system: main, path: "logs/{service}"}}
recovery:
  slis:
    - name: error ratio
      system: main
      query: errors{service="{service}"}
      unit: ratio
      objective: "< 0.01"
      traffic: traffic{service="{service}"}
      min_traffic: 0.2
      min_points: 3
  warmup: 30s
  short: 1m
  long: 5m
  step: 15s
  hold: 2m
  deadline: 15m
`

func runbook(t *testing.T, text string) *runbooks.Runbook {
	t.Helper()
	rb, err := runbooks.ParseRunbook(runbooks.File{Name: "runbook.yaml", Content: []byte(text)})
	require.NoError(t, err)
	return rb
}

// plan takes the configuration of checkout from "bad" back to "good".
func plan(t *testing.T) incident.Plan {
	t.Helper()
	return incident.Plan{
		Version: incident.PlanVersion, Incident: key, Service: "checkout", Strategy: incident.StrategyRollback,
		Runbook: "config", RunbookDigest: runbook(t, book).Digest, Option: "config-back",
		Actions: []incident.Action{{
			Kind: "kv", Target: incident.Target{System: "main", Path: "config/checkout"},
			From: version{value: "bad"}.state(2), To: version{value: "good"}.state(1),
			MaxTime: 2 * time.Minute, OnFailure: incident.OnFailureStop, Reversible: true,
		}},
	}
}

func digest(t *testing.T, p incident.Plan) string {
	t.Helper()
	d, err := p.Digest()
	require.NoError(t, err)
	return d
}

// requireError requires an application error of a type, retryable or final.
func requireError(t *testing.T, err error, wantType string, final bool) {
	t.Helper()
	require.NotNil(t, failure(t, err, wantType, final))
}

// failure is the application error that is required.
func failure(t *testing.T, err error, wantType string, final bool) *temporal.ApplicationError {
	t.Helper()
	var app *temporal.ApplicationError
	require.ErrorAs(t, err, &app)
	require.Equal(t, wantType, app.Type(), app.Message())
	require.Equal(t, final, app.NonRetryable(), app.Message())
	return app
}
