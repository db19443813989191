package activities_test

import (
	"context"
	"errors"
	"fmt"
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
