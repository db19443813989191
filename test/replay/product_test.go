package replay_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	sdkworker "go.temporal.io/sdk/worker"

	"github.com/backout/backout/approvals"
	"github.com/backout/backout/bot"
	"github.com/backout/backout/integrations/ledger"
	"github.com/backout/backout/runbooks"
	"github.com/backout/backout/test/signing"
	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
	"github.com/backout/backout/workflows/worker"
	"github.com/backout/backout/workflows/worker/embedded"
)

// identity is what histories call the process that recorded them, in place of
// its machine's name.
const identity = "recorder"

// within bounds every wait of a recording.
const within = 2 * time.Minute

// poll is how often a recording looks whether something has happened.
const poll = 20 * time.Millisecond

// product is the product on an embedded server, its payloads not encrypted so
// that histories can be read, with vendors in memory.
type product struct {
	client  client.Client
	gateway *bot.Gateway
	world   world
}

func startProduct(t *testing.T, scenarios []scenario) *product {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	srv, err := embedded.Start(t.Context(), embedded.Options{
		Dir: t.TempDir(), UIPort: embedded.UIOff, Synchronous: embedded.SyncNormal,
		SearchAttributes: worker.SearchAttributes(), Logger: quiet,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, srv.Stop()) })
	c, err := client.DialContext(t.Context(), client.Options{
		HostPort: srv.Address(), Namespace: embedded.DefaultNamespace, Identity: identity, Logger: sdklog.NewStructuredLogger(quiet),
	})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	led, err := ledger.Open(t.Context(), filepath.Join(t.TempDir(), "ledger.db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, led.Close()) })

	signer, trusted := signing.Pair(t)
	p := &product{client: c, gateway: bot.NewGateway(c, signer), world: world{scenes: map[string]*scene{}}}
	for _, s := range scenarios {
		p.world.scenes[s.name] = newScene(s.name)
	}
	v := vendors{p.world}
	w := sdkworker.New(c, incident.TaskQueue, sdkworker.Options{WorkflowPanicPolicy: sdkworker.BlockWorkflow})
	worker.RegisterWorkflows(w)
	w.RegisterActivityWithOptions(&hurried{&activities.Activities{
		Ledger: audit{led, p.world}, Evidence: blobs{p.world}, Channel: v, Directory: v, Systems: p.world,
		Catalogue: catalogue(t, scenarios), Runbooks: books(t, scenarios), Policy: approvals.Default(), Attestations: trusted,
		Postmortem: func(v incident.View) (title, body string) { return "Postmortem of " + v.Key, v.Title },
		Review:     func(v incident.View, _ time.Time) (title, body string) { return "Review of " + v.Key, v.Title },
		Chart:      func(incident.Chart, bool) ([]byte, error) { return picture, nil },
		Now:        time.Now, Pager: v, Security: "PSECURITY", Tracker: tracker{v}, Intake: p.gateway, Held: v,
	}, p.world, new(atomic.Int32)}, activity.RegisterOptions{})
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)
	return p
}

// catalogue has a service for each scenario.
func catalogue(t *testing.T, scenarios []scenario) *runbooks.Catalogue {
	t.Helper()
	var doc strings.Builder
	for _, s := range scenarios {
		fmt.Fprintf(&doc, `---
apiVersion: backstage.io/v1alpha1
kind: Component
metadata:
  name: %s
  annotations: {pagerduty.com/service-id: %s, backout.dev/tier: revenue, backout.dev/owners: bo@example.com}
spec: {type: service, lifecycle: production, owner: shop}
`, s.name, serviceID(s.name))
	}
	c, err := runbooks.ParseCatalogue(runbooks.File{Name: "catalog-info.yaml", Content: []byte(doc.String())})
	require.NoError(t, err)
	return c
}

// serviceID is the pager's identifier of a service.
func serviceID(service string) string {
	return "P" + strings.ToUpper(strings.ReplaceAll(service, "-", ""))
}

// book is a runbook with the windows of a hurry: a look at the SLIs every two
// seconds, and five seconds to recover.
const book = `
apiVersion: backout.dev/v1
kind: Runbook
metadata: {name: %[1]s, owner: shop, reviewed: "2026-11-01"}
match: {services: [%[2]s]}
changes:
  - {source: store, target: {system: shop, path: "releases/{service}"}, kind: deploy}
options:
  - name: back
    title: Take the release back
    strategy: rollback
    undoes: [store]
    actions:
%[3]s    rung: reversible
    expected_time: 1s
  - name: settings
    title: Take the configuration back
    strategy: compensate
    actions:
      - {kind: store, target: {system: shop, path: "config/{service}"}, revision: "1", max_time: 30s, on_failure: stop}
    rung: controlled
    expected_time: 1s
evidence:
  - {collector: store.dump, target: {system: shop, path: "releases/{service}"}}
  - {collector: missing.dump, target: {system: shop, path: "logs/{service}"}}
recovery:
  slis:
    - {name: error ratio, system: shop, query: "{service}", unit: ratio, objective: "< 0.05", min_points: 3}
  data:
    - {name: orders without a payment, system: shop, sql: "{service}"}
  warmup: 100ms
  short: 500ms
  long: 1s
  step: 100ms
  baseline_length: 5s
  baseline_gap: 100ms
  hold: 1s
  deadline: 5s
`

// books has a runbook for each scenario's service: one action, or two of which
// the second says what happens when it fails.
func books(t *testing.T, scenarios []scenario) []*runbooks.Runbook {
	t.Helper()
	const action = `      - {kind: store, target: {system: shop, path: "%s/{service}"}, %smax_time: 30s, on_failure: %s}` + "\n"
	var out []*runbooks.Runbook
	for _, s := range scenarios {
		actions := fmt.Sprintf(action, "releases", "", "stop")
		if s.onFailure != "" {
			actions = fmt.Sprintf(action, "config", `revision: "1", `, "stop") + fmt.Sprintf(action, "releases", "", s.onFailure)
		}
		text := fmt.Sprintf(book, "back-"+s.name, s.name, actions)
		rb, err := runbooks.ParseRunbook(runbooks.File{Name: s.name + ".yaml", Content: []byte(text)})
		require.NoError(t, err)
		out = append(out, rb)
	}
	return out
}

// play is one scenario while it is recorded.
type play struct {
	*testing.T
	*product
	scene *scene
	// pages counts the pages and clicks, for their IDs.
	pages, clicks int
}

func (p *play) key(n int) string {
	return incident.Key(incident.SourcePagerDuty, incidentID(p.scene.service, n))
}

// page sends an event of the n-th incident.
func (p *play) page(n int, kind incident.PageKind) incident.Result {
	p.Helper()
	p.pages++
	return p.send(p.event(n, kind, fmt.Sprintf("event-%d", p.pages)))
}

func (p *play) event(n int, kind incident.PageKind, id string) incident.Page {
	at := time.Now().UTC()
	return incident.Page{
		EventID: id, Source: incident.SourcePagerDuty, Kind: kind, IncidentID: incidentID(p.scene.service, n),
		Title: p.scene.service + " answers with errors", Severity: incident.Sev2, ServiceID: serviceID(p.scene.service),
		URL: "https://pager.example.com/incidents/" + incidentID(p.scene.service, n), OccurredAt: at, OpenedAt: at,
	}
}

func (p *play) send(e incident.Page) incident.Result {
	p.Helper()
	res, err := p.gateway.Page(p.Context(), e)
	require.NoError(p, err)
	return res
}

// until waits for a state of the n-th incident.
func (p *play) until(n int, what string, reached func(v incident.View) bool) incident.View {
	p.Helper()
	var v incident.View
	require.Eventually(p, func() bool {
		var err error
		v, err = p.gateway.View(p.Context(), p.key(n))
		return err == nil && reached(v)
	}, within, poll, "the incident never was %s", what)
	return v
}

func (p *play) phase(n int, want incident.Phase) incident.View {
	p.Helper()
	return p.until(n, string(want), func(v incident.View) bool { return v.Phase == want })
}

// open pages, and waits for options.
func (p *play) open(n int) incident.View {
	p.Helper()
	require.Equal(p, incident.OutcomeAccepted, p.page(n, incident.PageTriggered).Outcome)
	return p.deciding(n)
}

func (p *play) deciding(n int) incident.View {
	p.Helper()
	return p.until(n, "deciding", func(v incident.View) bool { return v.Phase == incident.PhaseDeciding && len(v.Options) > 0 })
}

// answer is one person's answer to an option.
func (p *play) answer(n int, user string, o incident.Option, a incident.Answer) incident.Result {
	p.Helper()
	return p.say(n, user, o, a, false)
}

// breakGlass is one person's approval past the policy.
func (p *play) breakGlass(n int, user string, o incident.Option) incident.Result {
	p.Helper()
	return p.say(n, user, o, incident.AnswerApprove, true)
}

func (p *play) say(n int, user string, o incident.Option, a incident.Answer, glass bool) incident.Result {
	p.Helper()
	p.clicks++
	res, err := p.gateway.Decide(p.Context(), p.key(n), incident.DecideRequest{
		DecisionID: fmt.Sprintf("click-%d", p.clicks), OptionID: o.ID, PlanDigest: o.Digest, Answer: a, Reason: "too risky now",
		BreakGlass: glass, Actor: actor(user), At: time.Now(),
	})
	require.NoError(p, err)
	return res
}

// approve approves the option of a name.
func (p *play) approve(n int, v incident.View, name string) {
	p.Helper()
	res := p.answer(n, ada, p.option(v, name), incident.AnswerApprove)
	require.Equal(p, incident.OutcomeApproved, res.Outcome, res.Reason)
}

func (p *play) option(v incident.View, name string) incident.Option {
	p.Helper()
	i := slices.IndexFunc(v.Options, func(o incident.Option) bool { return o.Plan.Option == name })
	require.GreaterOrEqual(p, i, 0, "option %q is not offered: %v", name, v.Notes)
	return v.Options[i]
}

func actor(user string) incident.Actor {
	return incident.Actor{Via: incident.ViaSlack, SlackTeam: "T1", SlackUser: user}
}

func (p *play) command(n int, user, id string, verb incident.Verb) incident.Result {
	p.Helper()
	res, err := p.gateway.Command(p.Context(), p.key(n), incident.CommandRequest{CommandID: id, Verb: verb, Actor: actor(user), At: time.Now()})
	require.NoError(p, err)
	return res
}

// handOver gives the command to somebody else.
func (p *play) handOver(n int, user, id, to string) incident.Result {
	p.Helper()
	next := actor(to)
	res, err := p.gateway.Command(p.Context(), p.key(n), incident.CommandRequest{CommandID: id, Verb: incident.VerbHandOver, Actor: actor(user), To: &next, At: time.Now()})
	require.NoError(p, err)
	return res
}

// rolledBack waits for the end of the newest rollback.
func (p *play) rolledBack(n, rollbacks int, want incident.RollbackStatus) incident.View {
	p.Helper()
	v := p.until(n, "rolled back", func(v incident.View) bool {
		return len(v.Rollbacks) == rollbacks && !v.LastRollback().FinishedAt.IsZero()
	})
	require.Equal(p, want, v.LastRollback().Status, v.LastRollback().Reason)
	return v
}

// close resolves the incident at its source and waits for its end.
func (p *play) close(n int) {
	p.Helper()
	p.page(n, incident.PageResolved)
	p.ended(n)
}

func (p *play) ended(n int) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), within)
	defer cancel()
	require.NoError(p, p.client.GetWorkflow(ctx, incident.WorkflowID(p.key(n)), "").Get(ctx, nil))
}

// types are the workflow types that the worker registers.
func types() []string {
	r := registry{}
	worker.RegisterWorkflows(r)
	return slices.Sorted(maps.Keys(r))
}
