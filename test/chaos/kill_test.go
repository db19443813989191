//go:build unix && !race

package chaos_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	fakepagerduty "github.com/backout/backout/test/fakes/pagerduty"

	"github.com/backout/backout/test/e2e/harness"
	"github.com/backout/backout/workflows/incident"
)

const (
	// recorded is how many rollbacks are recorded undisturbed. An event that is
	// not in each of them depends on chance, and is not asked for.
	recorded = 6
	// worlds is how many products are killed beside each other, flying how many
	// incidents each has under way at a time, and services how many in all.
	worlds   = 2
	flying   = 14
	services = 128
	// apart is the pause between two pages.
	apart = 100 * time.Millisecond
	// slice is how long the product runs between two looks at its histories,
	// and glance how often its file is looked at when nothing happened for the
	// time called idle.
	slice  = 300 * time.Microsecond
	glance = 400 * time.Microsecond
	idle   = 20 * time.Millisecond
	// brief is how long the product stays halted at most to be looked at.
	brief = 20 * time.Millisecond
	// again is when a press is repeated that was not acknowledged, and decided
	// when one that was acknowledged had no effect.
	again   = 200 * time.Millisecond
	decided = 30 * time.Second
	// budget is how long killing may go on at most, and ending how long before
	// the test's own deadline it stops.
	budget = 12 * time.Minute
	ending = 2 * time.Minute
)

// The product is killed with SIGKILL at every event of a recorded rollback and
// of its incident. Several incidents are under way at a time; the process is
// halted every fraction of a millisecond, its durable histories are looked at,
// and when one of them stands at an event that was not killed at yet, the
// process dies there and starts again on the same folder.
func TestKillAtEveryEvent(t *testing.T) {
	t.Parallel()
	goals := newGoals()
	for n := range worlds {
		t.Run(fmt.Sprintf("world %d", n+1), func(t *testing.T) {
			t.Parallel()
			killIn(t, goals, n == 0)
		})
	}
}

// killIn kills the product of one world until all goals are reached.
func killIn(t *testing.T, goals *goals, first bool) {
	t.Helper()
	names := make([]string, services)
	for i := range names {
		names[i] = fmt.Sprintf("service-%02d", i)
	}
	windows := harness.QuickWindows
	// A rollback that dies a dozen times takes longer, and is no less good.
	windows.Deadline = 5 * time.Minute
	w := harness.New(t, harness.Options{
		Services: names, Healthy: true, Unlimited: true, Windows: windows,
		// PagerDuty comes back when a page is not taken, and sooner than it does.
		PagerDuty: fakepagerduty.Config{WebhookAttempts: 1000, WebhookRetry: 50 * time.Millisecond},
	})
	k := &killer{w: w, goals: goals, journal: newJournal(w.Data()), names: names, keys: map[string]string{}, fresh: map[*run]bool{}}
	t.Cleanup(func() { require.NoError(t, k.journal.close()) })

	people, goHome := context.WithCancel(t.Context())
	if first {
		// The others must not wait for a recording that failed.
		t.Cleanup(goals.done)
		k.record(people)
	} else {
		<-goals.recorded
		require.NotEmpty(t, goals.wanted, "nothing was recorded: see world 1")
	}
	began := time.Now()
	until := began.Add(budget)
	if deadline, ok := t.Deadline(); ok && deadline.Add(-ending).Before(until) {
		until = deadline.Add(-ending)
	}
	for len(goals.missing()) > 0 && time.Now().Before(until) {
		k.page(people)
		k.step(people)
	}
	require.NoError(t, w.Product.Signal(syscall.SIGCONT))
	t.Logf("killed %d times in %s, at last after %s, with %d incidents under way or over; %d events recorded, not asked for as chance: %q; %d looks failed",
		w.Product.Kills.Load(), time.Since(began).Round(time.Second), k.killed.Sub(began).Round(time.Second), len(k.order), len(goals.wanted), goals.excused(), k.blind)
	t.Cleanup(k.explain)
	w.Until("the end of all incidents", func() bool { return k.look(t.Context()) == nil && k.landed() })
	goHome()
	k.people.Wait()
	for _, key := range k.order {
		w.Recovered(k.keys[key], key)
	}
	require.Empty(t, goals.missing(), "events that the product was not killed at in %s", time.Since(began).Round(time.Second))
	require.Equal(t, len(k.order), w.Started(incident.WorkflowIncident), "one workflow an incident")
	require.Equal(t, len(k.order), w.Started(incident.WorkflowRollback), "one rollback an incident")
	out, err := w.VerifyLedger(t.Context())
	require.NoError(t, err)
	require.Contains(t, out, "ok: ")
}

// killer kills the product of a world.
type killer struct {
	w       *harness.World
	goals   *goals
	journal *journal
	names   []string
	// keys are the services of the incidents by key, order the keys.
	keys  map[string]string
	order []string
	// broken is how many services run the bad release.
	broken int
	paged  time.Time
	moved  time.Time
	killed time.Time
	// touched is when the file of the histories was written last.
	touched time.Time
	people  sync.WaitGroup
	// fresh are the runs with news since the product ran last.
	fresh map[*run]bool
	// blind counts the looks that were not possible.
	blind int
	// stages are how far each incident was seen to be.
	stages sync.Map
}

// record lets some incidents go their way, and keeps the labels of the events
// that all of them have.
func (k *killer) record(ctx context.Context) {
	t := k.w.T
	t.Helper()
	for range recorded {
		k.next(ctx)
	}
	k.w.Until("the end of the recording", func() bool { return k.look(ctx) == nil && k.landed() })
	times := map[string]int{}
	for _, r := range k.journal.runs {
		for l := range maps.Keys(set(r.labels)) {
			times[l]++
		}
	}
	var wanted []string
	for l, n := range times {
		if n == recorded {
			wanted = append(wanted, l)
		}
	}
	slices.Sort(wanted)
	require.NotEmpty(t, wanted)
	k.goals.wanted = wanted
	k.goals.done()
}

// How far an incident has come.
type progress int

const (
	started progress = iota + 1 // its rollback runs
	noted                       // its postmortem is linked at the source
	ended                       // its workflow is over
)

// look reads the histories and notes how far the incidents are.
func (k *killer) look(ctx context.Context) error {
	changed, err := k.journal.look(ctx)
	for _, r := range changed {
		k.fresh[r] = true
		if r.closed() {
			k.goals.end(r.labels)
		}
		id, rollback := strings.CutPrefix(r.workflow, "rollback/")
		if rollback {
			k.stages.Store(stage{strings.TrimSuffix(id, "/1"), started}, true)
			continue
		}
		key := incident.KeyOf(r.workflow)
		if slices.Contains(r.labels, "incident: ActivityTaskCompleted NoteAtSource#1") {
			k.stages.Store(stage{key, noted}, true)
		}
		if r.closed() {
			k.stages.Store(stage{key, ended}, true)
		}
	}
	if len(changed) > 0 {
		k.moved = time.Now()
	}
	return err
}

// landed reports whether all incidents are over.
func (k *killer) landed() bool {
	return !slices.ContainsFunc(k.order, func(key string) bool { return !k.is(key, ended) })
}

type stage struct {
	key string
	progress
}

func (k *killer) is(key string, p progress) bool {
	_, ok := k.stages.Load(stage{key, p})
	return ok
}

// next pages for one more service, and sends somebody who approves.
func (k *killer) next(ctx context.Context) string {
	t := k.w.T
	t.Helper()
	require.Less(t, len(k.order), len(k.names), "more incidents are needed; not killed at: %s", strings.Join(k.goals.missing(), "\n"))
	if k.broken == len(k.order) {
		batch := k.names[k.broken:min(k.broken+flying, len(k.names))]
		k.w.Break(batch...)
		k.broken += len(batch)
	}
	service := k.names[len(k.order)]
	key := k.w.Page(service)
	k.keys[key] = service
	k.order = append(k.order, key)
	k.people.Go(func() { k.respond(ctx, key) })
	return key
}

// page keeps incidents under way.
func (k *killer) page(ctx context.Context) {
	under := 0
	for _, key := range k.order {
		if !k.is(key, ended) {
			under++
		}
	}
	if under >= flying || time.Since(k.paged) < apart {
		return
	}
	require.NoError(k.w.T, k.w.Product.Signal(syscall.SIGCONT))
	k.next(ctx)
	k.paged = time.Now()
}

// respond is what people do: press the button of the incident's card until a
// rollback runs, repeating a press that was not acknowledged, and resolve the
// incident when its postmortem is there.
func (k *killer) respond(ctx context.Context, key string) {
	for !k.is(key, started) && ctx.Err() == nil {
		pause := again
		for _, card := range k.w.Cards(key) {
			b, ok := harness.Approval(card)
			if !ok {
				continue
			}
			if got, err := k.w.Press(harness.Ada, card, b); err == nil && got.Acked {
				pause = decided
			}
		}
		k.wait(ctx, key, started, pause)
	}
	for !k.is(key, noted) && ctx.Err() == nil {
		k.wait(ctx, key, noted, again)
	}
	_, id, _ := strings.Cut(key, "/")
	if err := k.w.PagerDuty.Resolve(id, "PADA"); err != nil {
		k.w.T.Errorf("resolve %s: %v", key, err)
	}
}

func (k *killer) wait(ctx context.Context, key string, p progress, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !k.is(key, p) && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// step lets the product run for a moment, halts it, and kills it when one of
// its workflows stands where it was not killed at.
func (k *killer) step(ctx context.Context) {
	t := k.w.T
	product := k.w.Product
	clear(k.fresh)
	require.NoError(t, product.Signal(syscall.SIGCONT))
	if time.Since(k.moved) > idle {
		<-time.After(glance)
		touched := k.journal.touched()
		if touched.Equal(k.touched) {
			return
		}
		k.touched = touched
	} else {
		<-time.After(slice)
	}
	require.NoError(t, product.Signal(syscall.SIGSTOP))
	before := k.moved
	if halted := k.lookBriefly(ctx); !halted || k.moved.Equal(before) {
		return
	}
	if !slices.ContainsFunc(k.under(), func(r *run) bool { return k.goals.lacks(r.last()) }) {
		return
	}
	product.Kill()
	k.killed = time.Now()
	// What counts is what was in the file when the process died.
	require.NoError(t, k.look(ctx))
	for _, r := range k.under() {
		k.goals.reach(r.last())
	}
	require.NoError(t, k.journal.close())
	require.NoError(t, product.Start(ctx))
}

// lookBriefly looks at a halted product, and reports whether it still is. It may
// have been halted while it changed the file, and must then go on for anybody
// to read it.
func (k *killer) lookBriefly(ctx context.Context) (halted bool) {
	looked := make(chan bool, 1)
	go func() { looked <- k.look(ctx) == nil }()
	select {
	case ok := <-looked:
		return ok
	case <-time.After(brief):
	}
	require.NoError(k.w.T, k.w.Product.Signal(syscall.SIGCONT))
	k.blind++
	<-looked
	return false
}

// under are the runs of the incidents that are under way or have just ended.
func (k *killer) under() []*run {
	var out []*run
	for _, key := range k.order {
		for _, id := range []string{incident.WorkflowID(key), incident.RollbackID(key, 1)} {
			if r := k.journal.run(id); r != nil && (!r.closed() || k.fresh[r]) {
				out = append(out, r)
			}
		}
	}
	return out
}

func set(labels []string) map[string]bool {
	out := map[string]bool{}
	for _, l := range labels {
		out[l] = true
	}
	return out
}

// explain shows where the incidents stand that are not over.
func (k *killer) explain() {
	if !k.w.T.Failed() {
		return
	}
	for _, key := range k.order {
		if k.is(key, ended) {
			continue
		}
		_, source, _ := strings.Cut(key, "/")
		for _, d := range k.w.Webhooks.Deliveries() {
			if bytes.Contains(d.Body, []byte(source)) {
				k.w.T.Logf("%s of %s, attempt %d: %d", d.Type, key, d.Attempt, d.Status)
			}
		}
		for _, id := range []string{incident.WorkflowID(key), incident.RollbackID(key, 1)} {
			if r := k.journal.run(id); r != nil {
				k.w.T.Logf("%s stands at %s", id, strings.Join(r.labels[max(0, len(r.labels)-20):], ", "))
			}
		}
	}
}
