package replay_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/backout/backout/approvals"
	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// The kinds and the one system of the world.
const (
	system    = "shop"
	kindStore = "store"
	kindDump  = "store.dump"
)

// scene is the part of the world that one scenario plays in: one service with
// its release and its configuration, its signal, and what goes wrong.
type scene struct {
	service string

	mu       sync.Mutex
	versions map[string][]version
	// signal is the service's error ratio; nil is a Prometheus without data.
	signal func(at time.Time) float64
	// beforeApply runs before a change of the path takes effect, without the
	// lock.
	beforeApply func(ctx context.Context, path string) error
	// afterPlan runs each time the path was planned, with the lock.
	afterPlan func(path string, n int)
	plans     map[string]int
	// forbidden are ports that answer with an error that trying again can not
	// mend: "evidence", "tracker", "pager", "ledger <kind>".
	forbidden []string
	// policy is what decides here, instead of the default policy.
	policy *approvals.Policy
	// decideWithin is how long people have, instead of what the product says.
	decideWithin time.Duration
	// open are the incidents that the pager reports as open, over those that it
	// says are over when it is asked, and held are those that are open here.
	open, over []incident.Page
	held       []string
}

type version struct {
	label string
	at    time.Time
}

func newScene(service string) *scene {
	s := &scene{
		service: service, versions: map[string][]version{}, plans: map[string]int{},
		signal: func(time.Time) float64 { return healthy },
	}
	for _, path := range []string{s.release(), s.config()} {
		s.versions[path] = []version{{"v41", time.Now().Add(-time.Hour)}, {"v42", time.Now().Add(-2 * time.Minute)}}
	}
	return s
}

// Error ratios of a service. The objective lies between them.
const (
	healthy = 0.001
	sick    = 0.4
)

func (s *scene) release() string { return "releases/" + s.service }
func (s *scene) config() string  { return "config/" + s.service }

// deploy changes a path, as somebody outside does.
func (s *scene) deploy(path, label string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(path, label)
}

func (s *scene) put(path, label string) {
	s.versions[path] = append(s.versions[path], version{label, time.Now()})
}

// set changes the scene while it is played.
func (s *scene) set(change func(s *scene)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

// allow is an error if a port is forbidden.
func (s *scene) allow(port string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(s.forbidden, port) {
		return fmt.Errorf("reach the %s of %q: %w", port, s.service, driver.ErrInvalid)
	}
	return nil
}

func (s *scene) state(path string, revision int) incident.State {
	v := s.versions[path][revision-1]
	return incident.State{Revision: strconv.Itoa(revision), Digest: incident.DigestOf([]byte(v.label)), Label: v.label}
}

func (s *scene) present(path string) incident.State { return s.state(path, len(s.versions[path])) }

// world is every system, with a scene for each service.
type world struct{ scenes map[string]*scene }

// at is the scene of a path, which ends with the service's name.
func (w world) at(path string) (*scene, error) {
	service := path[strings.LastIndex(path, "/")+1:]
	s, ok := w.scenes[service]
	if !ok {
		return nil, fmt.Errorf("find %q: %w", path, driver.ErrNotFound)
	}
	return s, nil
}

func (w world) Inverse(kind, in string) (driver.Inverse, error) {
	return w, known(kind, kindStore, in)
}

func (w world) Source(kind, in string) (driver.ChangeSource, error) {
	return w, known(kind, kindStore, in)
}

func (w world) Collector(kind, in string) (driver.Collector, error) {
	return w, known(kind, kindDump, in)
}

func (w world) Probe(in string) (driver.Probe, error) { return w, known("", "", in) }

// Counter is never asked for: the recorded runbooks count nothing.
func (w world) Counter(in string) (driver.Counter, error) { return nil, known("counter", "", in) }

func known(kind, want, in string) error {
	if kind != want || in != system {
		return fmt.Errorf("find %q on %q: %w: there is no such thing", kind, in, driver.ErrInvalid)
	}
	return nil
}

// Plan implements driver.Inverse.
func (w world) Plan(_ context.Context, req driver.PlanRequest) (driver.Planned, error) {
	path := req.Target.Path
	s, err := w.at(path)
	if err != nil {
		return driver.Planned{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	to := 0
	for i, v := range s.versions[path] {
		if req.Revision == strconv.Itoa(i+1) || (req.Revision == "" && v.at.Before(req.Before)) {
			to = i + 1
		}
	}
	if to == 0 {
		return driver.Planned{Preflight: []incident.Preflight{{
			Name: "revision exists", Result: incident.PreflightBlocked, Reason: "The revision is not in the history.",
		}}}, nil
	}
	p := driver.Planned{
		From: s.present(path), To: s.state(path, to), Reversible: true, ExpectedTime: time.Second,
		Preflight: []incident.Preflight{{Name: "revision exists", Result: incident.PreflightOK, Reason: "The revision is in the history."}},
	}
	s.plans[path]++
	if s.afterPlan != nil {
		s.afterPlan(path, s.plans[path])
	}
	return p, nil
}

// Observe implements driver.Inverse.
func (w world) Observe(_ context.Context, a incident.Action) (driver.Observation, error) {
	s, err := w.at(a.Target.Path)
	if err != nil {
		return driver.Observation{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return driver.Observation{State: s.present(a.Target.Path), Settled: true, Detail: "read"}, nil
}

// Apply implements driver.Inverse.
func (w world) Apply(ctx context.Context, a incident.Action, _ string) (driver.Receipt, error) {
	path := a.Target.Path
	s, err := w.at(path)
	if err != nil {
		return driver.Receipt{}, err
	}
	s.mu.Lock()
	before := s.beforeApply
	s.mu.Unlock()
	if before != nil {
		if err := before(ctx, path); err != nil {
			return driver.Receipt{}, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch seen := s.present(path); seen.Digest {
	case a.To.Digest:
		return driver.Receipt{}, nil
	case a.From.Digest:
		s.put(path, a.To.Label)
		return driver.Receipt{Mutated: true, Detail: "written"}, nil
	default:
		return driver.Receipt{}, &driver.DriftError{Action: a, Observed: seen, Difference: "somebody changed it"}
	}
}

// Changes implements driver.ChangeSource.
func (w world) Changes(_ context.Context, q driver.ChangeQuery) ([]incident.Change, error) {
	s, err := w.at(q.Target.Path)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []incident.Change
	for i, v := range s.versions[q.Target.Path] {
		if i == 0 || v.at.Before(q.Since) || v.at.After(q.Until) {
			continue
		}
		found = append(found, incident.Change{
			ID: fmt.Sprintf("%s@%d", q.Target.Path, i+1), Source: kindStore, Kind: q.Kind, Service: q.Service, Target: q.Target,
			At: v.at, Author: "sam", From: s.versions[q.Target.Path][i-1].label, To: v.label, Summary: "release " + v.label,
		})
	}
	return found, nil
}

// Collect implements driver.Collector.
func (w world) Collect(_ context.Context, req driver.CollectRequest) ([]driver.Evidence, error) {
	s, err := w.at(req.Target.Path)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return []driver.Evidence{{
		Name: req.Target.Path, MediaType: "text/plain", Content: []byte(s.present(req.Target.Path).Label),
	}}, nil
}

// QueryRange implements driver.Probe. The query is the service's name.
func (w world) QueryRange(_ context.Context, query string, from, until time.Time, step time.Duration) ([]incident.Series, error) {
	s, ok := w.scenes[query]
	if !ok {
		return nil, fmt.Errorf("query %q: %w", query, driver.ErrNotFound)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.signal == nil {
		return nil, nil
	}
	var series incident.Series
	for at := from; !at.After(until); at = at.Add(step) {
		series.Points = append(series.Points, incident.Point{At: at, Value: s.signal(at)})
	}
	return []incident.Series{series}, nil
}
