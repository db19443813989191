package activities

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/runbooks"
	"github.com/backout/backout/workflows/incident"
)

// minMeasureInterval is the shortest time between two looks at the SLIs, so that
// a fine resolution does not fill the history.
const minMeasureInterval = 2 * time.Second

// How long one system may take to answer before people see options without it,
// and how far back changes are suspects.
const (
	sourceDeadline = 8 * time.Second
	planDeadline   = 10 * time.Second
	changeWindow   = 24 * time.Hour
	// decideWithin is how long nobody may decide before the next level is
	// paged: the target for the time to decide (REQUIREMENTS M).
	decideWithin = 10 * time.Minute
	// maxConcurrentReads bounds what one incident asks of all systems at once.
	maxConcurrentReads = 16
)

// CollectOptions finds out what changed, ranks the suspects, asks the drivers
// for plans and offers them in order. It changes nothing. A system that does
// not answer costs its own part and a note, never the rest.
func (a *Activities) CollectOptions(ctx context.Context, in CollectInput) (CollectResult, error) {
	defer beat(ctx)()
	out := CollectResult{Service: in.Service, Ranking: incident.Ranking{Likely: -1}, DecideWithin: decideWithin}
	svc, ok := a.service(in.Service, in.ServiceID)
	if !ok {
		out.Ranking.Reason = "no likely culprit: the paged service is not in the catalogue"
		out.Notes = append(out.Notes, fmt.Sprintf("Service %q (pager ID %q) is not in the catalogue, so nothing can be offered. Add it to a catalog-info.yaml.", in.Service, in.ServiceID))
		return out, nil
	}
	out.Service, out.Team = svc.Name, svc.Owner

	books, notes := a.runbooksAround(svc)
	out.Notes = append(out.Notes, notes...)
	changes, notes := a.changes(ctx, books, in)
	out.Notes = append(out.Notes, notes...)
	out.Ranking = runbooks.Rank(runbooks.RankInput{
		Services: []string{svc.Name}, Catalogue: a.Catalogue, OnsetAt: in.OnsetAt, Changes: changes, Undoable: undoable(books),
	})

	options := a.offer(ctx, in, books, out.Ranking)
	if in.Redo != nil {
		redo, err := a.redo(ctx, in)
		if err != nil {
			out.Notes = append(out.Notes, "Undoing the rollback can not be offered: "+err.Error())
		} else {
			options = append(options, redo)
		}
	}
	for i := range options {
		o := &options[i]
		o.Tier, o.TierReason = a.Policy.Tier(o.Radius, o.Plan.Reversible(), in.Severity)
	}
	options = runbooks.Order(options, runbooks.OrderInput{Severity: in.Severity, Workload: svc.Workload, Ranking: out.Ranking})
	out.Options = runbooks.AssignIDs(in.Previous, options)
	if len(books) == 0 {
		out.Notes = append(out.Notes, fmt.Sprintf("No runbook matches %s.", svc.Name))
	}
	return out, nil
}

// service finds the paged service by its name or by the pager's identifier.
func (a *Activities) service(name, pagerServiceID string) (runbooks.Service, bool) {
	if name != "" {
		if s, ok := a.Catalogue.Service(name); ok {
			return s, true
		}
	}
	if pagerServiceID == "" {
		return runbooks.Service{}, false
	}
	return a.Catalogue.ByPagerDutyID(pagerServiceID)
}

// serviceBook is a runbook made concrete for one service.
type serviceBook struct {
	service string
	book    runbooks.Runbook
}

// runbooksAround are the runbooks of the paged service and of what it depends
// on, nearest first.
func (a *Activities) runbooksAround(svc runbooks.Service) ([]serviceBook, []string) {
	names := []string{svc.Name}
	for _, n := range a.Catalogue.Dependencies(svc.Name) {
		names = append(names, n.Name)
	}
	var books []serviceBook
	var notes []string
	for _, name := range names {
		for _, rb := range runbooks.Select(a.Runbooks, name) {
			concrete, err := rb.For(name)
			if err != nil {
				notes = append(notes, fmt.Sprintf("Runbook %s does not fit %s: %v", rb.Metadata.Name, name, err))
				continue
			}
			books = append(books, serviceBook{service: name, book: concrete})
		}
	}
	return books, notes
}

func undoable(books []serviceBook) []string {
	var out []string
	for _, b := range books {
		for _, o := range b.book.Options {
			out = append(out, o.Undoes...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// changes asks every source at once.
func (a *Activities) changes(ctx context.Context, books []serviceBook, in CollectInput) ([]incident.Change, []string) {
	ctx, cancel := context.WithTimeout(ctx, sourceDeadline)
	defer cancel()
	var mu sync.Mutex
	var found []incident.Change
	var notes []string
	var group errgroup.Group
	group.SetLimit(maxConcurrentReads)
	for _, b := range books {
		for _, w := range b.book.Changes {
			group.Go(func() error {
				got, err := a.changesOf(ctx, b.service, w, in)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					notes = append(notes, fmt.Sprintf("Changes of %s could not be read from %s: %v", w.Target, w.Source, err))
					return nil
				}
				found = append(found, got...)
				return nil
			})
		}
	}
	_ = group.Wait()
	slices.SortFunc(found, func(x, y incident.Change) int {
		if c := x.At.Compare(y.At); c != 0 {
			return c
		}
		return strings.Compare(x.Source+x.ID, y.Source+y.ID)
	})
	slices.Sort(notes)
	return slices.CompactFunc(found, func(x, y incident.Change) bool {
		return x.Source == y.Source && x.ID == y.ID && x.Service == y.Service
	}), slices.Compact(notes)
}

func (a *Activities) changesOf(ctx context.Context, service string, w runbooks.Watch, in CollectInput) ([]incident.Change, error) {
	src, err := a.Systems.Source(w.Source, w.Target.System)
	if err != nil {
		return nil, err
	}
	return src.Changes(ctx, driver.ChangeQuery{
		Service: service, Target: w.Target, Kind: w.Kind, Since: in.OnsetAt.Add(-changeWindow), Until: in.Now,
	})
}

// offer plans every option that undoes a suspect, or stands alone. The order
// of the result is that of the runbooks, whichever driver answered first.
func (a *Activities) offer(ctx context.Context, in CollectInput, books []serviceBook, ranking incident.Ranking) []incident.Option {
	type slot struct {
		option incident.Option
		ok     bool
	}
	ctx, cancel := context.WithTimeout(ctx, planDeadline)
	defer cancel()
	var slots []*slot
	var group errgroup.Group
	group.SetLimit(maxConcurrentReads)
	for _, b := range books {
		for _, spec := range b.book.Options {
			suspect, wanted := suspectFor(spec, b.service, ranking)
			if !wanted {
				continue
			}
			s := &slot{}
			slots = append(slots, s)
			group.Go(func() error {
				before := in.OnsetAt
				if suspect != nil {
					before = suspect.Change.At
				}
				option, err := a.plan(ctx, in.Key, b, spec, suspect, before)
				if err == nil {
					if suspect != nil {
						option.Authors = runbooks.Authors(ranking, *suspect)
					}
					s.option, s.ok = option, true
				}
				return nil
			})
		}
	}
	_ = group.Wait()
	var out []incident.Option
	for _, s := range slots {
		if s.ok {
			out = append(out, s.option)
		}
	}
	return out
}

// suspectFor is the highest suspect of a service that an option undoes. An
// option that stands alone is offered for the paged service without one.
func suspectFor(spec runbooks.OptionSpec, service string, ranking incident.Ranking) (*incident.Suspect, bool) {
	for i := range ranking.Suspects {
		s := ranking.Suspects[i]
		if s.Change.Service == service && spec.UndoesChange(s.Change) {
			return &s, true
		}
	}
	return nil, len(spec.Undoes) == 0
}

// plan asks the drivers for one option.
func (a *Activities) plan(ctx context.Context, key string, b serviceBook, spec runbooks.OptionSpec, suspect *incident.Suspect, before time.Time) (incident.Option, error) {
	steps, err := runbooks.Steps(spec, before)
	if err != nil {
		return incident.Option{}, err
	}
	planned := make([]runbooks.Planned, len(steps))
	for i, s := range steps {
		planned[i] = a.planStep(ctx, s)
	}
	return runbooks.BuildPlan(runbooks.PlanInput{
		Incident: key, Service: b.service, Catalogue: a.Catalogue, Runbook: b.book, Option: spec, Planned: planned, Suspect: suspect,
	})
}

// planStep asks one driver. A driver that fails blocks the option, with the
// reason in sight.
func (a *Activities) planStep(ctx context.Context, s runbooks.Step) runbooks.Planned {
	blocked := func(err error) runbooks.Planned {
		return runbooks.Planned{Blocked: true, Preflight: []incident.Preflight{{
			Name: "system answers", Result: incident.PreflightBlocked, Reason: fmt.Sprintf("The state of %s could not be read: %v.", s.Target, err),
		}}}
	}
	inv, err := a.Systems.Inverse(s.Kind, s.Target.System)
	if err != nil {
		return blocked(err)
	}
	p, err := inv.Plan(ctx, driver.PlanRequest{Target: s.Target, Revision: s.Revision, Before: s.Before})
	if err != nil {
		return blocked(err)
	}
	return runbooks.Planned{
		From: p.From, To: p.To, Reversible: p.Reversible, ExpectedTime: p.ExpectedTime,
		WontRevert: p.WontRevert, Preflight: p.Preflight, Blocked: p.Blocked(),
	}
}

// redo is the inverse of a finished rollback: its changed targets, newest
// first, back to where they came from. Planned anew, so that its states are
// those of now.
func (a *Activities) redo(ctx context.Context, in CollectInput) (incident.Option, error) {
	rb, err := a.runbook(in.Redo.Runbook, "")
	if err != nil {
		return incident.Option{}, err
	}
	concrete, err := rb.For(in.Redo.Service)
	if err != nil {
		return incident.Option{}, err
	}
	spec := runbooks.OptionSpec{
		Name: "redo-" + in.Redo.Option, Title: "Undo the rollback: back to where it was", Strategy: incident.StrategyRollForward,
		Rung: incident.RungControlled, Risk: "Brings back the state that was rolled back.",
	}
	for _, o := range concrete.Options {
		if o.Name == in.Redo.Option {
			spec.SharedData, spec.Global, spec.ExpectedTime = o.SharedData, o.Global, o.ExpectedTime
		}
	}
	for _, av := range slices.Backward(in.Redo.Actions) {
		if !av.Applied {
			continue
		}
		if !av.Action.Reversible {
			return incident.Option{}, fmt.Errorf("%s is a one-way door", av.Action.Target)
		}
		spec.Actions = append(spec.Actions, runbooks.ActionSpec{
			Kind: av.Action.Kind, Target: av.Action.Target, Revision: av.Action.From.Revision, MaxTime: av.Action.MaxTime, OnFailure: av.Action.OnFailure,
		})
	}
	return a.plan(ctx, in.Key, serviceBook{service: in.Redo.Service, book: concrete}, spec, nil, in.Now)
}

// runbook finds a loaded runbook; with a digest, only that very version of it.
func (a *Activities) runbook(name, digest string) (*runbooks.Runbook, error) {
	for _, rb := range a.Runbooks {
		if rb.Metadata.Name != name {
			continue
		}
		if digest != "" && rb.Digest != digest {
			return nil, fmt.Errorf("find runbook %q: %w: it has changed since the plan was made", name, driver.ErrInvalid)
		}
		return rb, nil
	}
	return nil, fmt.Errorf("find runbook %q: %w: it is not loaded", name, driver.ErrInvalid)
}
