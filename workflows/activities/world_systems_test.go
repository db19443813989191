package activities_test

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

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
