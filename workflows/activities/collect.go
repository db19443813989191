package activities

import (
	"context"
	"fmt"
	"slices"
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
	out := a.collect(ctx, in)
	out.At = a.Now().UTC()
	return out, nil
}

func (a *Activities) collect(ctx context.Context, in CollectInput) CollectResult {
	out := CollectResult{Service: in.Service, Ranking: incident.Ranking{Likely: -1}, DecideWithin: decideWithin}
	svc, ok := a.service(in.Service, in.ServiceID)
	if !ok {
		out.Ranking.Reason = "no likely culprit: the paged service is not in the catalogue"
		out.Notes = append(out.Notes, fmt.Sprintf("Service %q (pager ID %q) is not in the catalogue, so nothing can be offered. Add it to a catalog-info.yaml.", in.Service, in.ServiceID))
		return out
	}
	out.Service, out.Team = svc.Name, svc.Owner

	books, notes := a.runbooksAround(svc)
	out.Notes = append(out.Notes, notes...)
	changes, notes := a.changes(ctx, books, in)
	out.Notes, out.Incomplete = append(out.Notes, notes...), len(notes) > 0
	out.Ranking = runbooks.Rank(runbooks.RankInput{
		Services: []string{svc.Name}, Catalogue: a.Catalogue, OnsetAt: in.OnsetAt, Changes: changes, Undoable: undoable(books),
	})

	options, notes := a.offer(ctx, in, svc.Name, books, out.Ranking)
	out.Notes = append(out.Notes, notes...)
	if in.Redo != nil {
		redo, err := a.redo(ctx, in)
		if err != nil {
			out.Notes = append(out.Notes, "Undoing the rollback can not be offered: "+said(err))
		} else {
			options = append(options, redo)
		}
	}
	a.measure(ctx, options, in.Now)
	for i := range options {
		o := &options[i]
		o.Tier, o.TierReason = a.Policy.Tier(situation(*o, in.Severity, in.Now))
		o.StepUp = o.Tier != incident.TierForbidden && a.Policy.StepUp(o.Tier)
		o.BreakGlass = a.Policy.BreakGlass(o.Tier)
		o.Reminder = a.reminder(*o, in.Now)
	}
	options = runbooks.Order(options, runbooks.OrderInput{Severity: in.Severity, Workload: svc.Workload, Ranking: out.Ranking})
	out.Options = runbooks.AssignIDs(in.Previous, options)
	for _, o := range out.Options {
		out.Incomplete = out.Incomplete || slices.ContainsFunc(o.Preflight, func(c incident.Preflight) bool {
			return c.Name == unanswered && c.Result == incident.PreflightBlocked
		})
	}
	if len(books) == 0 {
		out.Notes = append(out.Notes, fmt.Sprintf("No runbook matches %s.", svc.Name))
	}
	return out
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

// changes asks every source at once. Their order and repetitions mean nothing
// to the ranking.
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
					notes = append(notes, fmt.Sprintf("Changes of %s could not be read from %s: %s", w.Target, w.Source, said(err)))
					return nil
				}
				found = append(found, got...)
				return nil
			})
		}
	}
	_ = group.Wait()
	slices.Sort(notes)
	return found, slices.Compact(notes)
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

// offer plans every option that undoes a suspect, or stands alone, and says
// which could not be made. The order of the result is that of the runbooks,
// whichever driver answered first.
func (a *Activities) offer(ctx context.Context, in CollectInput, paged string, books []serviceBook, ranking incident.Ranking) ([]incident.Option, []string) {
	type slot struct {
		option incident.Option
		note   string
	}
	ctx, cancel := context.WithTimeout(ctx, planDeadline)
	defer cancel()
	var slots []*slot
	var group errgroup.Group
	group.SetLimit(maxConcurrentReads)
	for _, b := range books {
		for _, spec := range b.book.Options {
			suspect, wanted := suspectFor(spec, b.service, paged, ranking)
			if !wanted {
				continue
			}
			s := &slot{}
			slots = append(slots, s)
			group.Go(func() error {
				before := in.OnsetAt
				if suspect != nil {
					before = runbooks.ChangedAt(ranking, *suspect)
				}
				option, err := a.plan(ctx, in.Key, b, spec, suspect, before)
				if err != nil {
					s.note = fmt.Sprintf("Option %s of runbook %s can not be offered for %s: %s", spec.Name, b.book.Metadata.Name, b.service, said(err))
					return nil
				}
				if suspect != nil {
					option.Authors = runbooks.Authors(ranking, *suspect)
				}
				s.option = option
				return nil
			})
		}
	}
	_ = group.Wait()
	var out []incident.Option
	var notes []string
	for _, s := range slots {
		if s.note != "" {
			notes = append(notes, s.note)
			continue
		}
		out = append(out, s.option)
	}
	return out, notes
}

// suspectFor is the highest suspect of a service that an option undoes. An
// option that stands alone is offered for the paged service without one.
func suspectFor(spec runbooks.OptionSpec, service, paged string, ranking incident.Ranking) (*incident.Suspect, bool) {
	for i := range ranking.Suspects {
		s := ranking.Suspects[i]
		if s.Change.Service == service && spec.UndoesChange(s.Change) {
			return &s, true
		}
	}
	return nil, len(spec.Undoes) == 0 && service == paged
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

// unanswered names the check that a driver answers.
const unanswered = "system answers"

// planStep asks one driver. A driver that fails blocks the option, with the
// reason in sight.
func (a *Activities) planStep(ctx context.Context, s runbooks.Step) runbooks.Planned {
	blocked := func(err error) runbooks.Planned {
		return runbooks.Planned{Blocked: true, Preflight: []incident.Preflight{{
			Name: unanswered, Result: incident.PreflightBlocked, Reason: fmt.Sprintf("The state of %s could not be read: %s.", s.Target, said(err)),
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
