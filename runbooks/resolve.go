package runbooks

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/backout/backout/workflows/incident"
)

// Select are the runbooks that match a service: those that name it, or, when
// none does, those for any service. Ordered by name, then file.
func Select(all []*Runbook, service string) []*Runbook {
	out := selectBy(all, service)
	if len(out) == 0 {
		out = selectBy(all, AnyService)
	}
	slices.SortFunc(out, func(a, b *Runbook) int {
		return cmp.Or(cmp.Compare(a.Metadata.Name, b.Metadata.Name), cmp.Compare(a.File, b.File))
	})
	return out
}

func selectBy(all []*Runbook, service string) []*Runbook {
	var out []*Runbook
	for _, r := range all {
		if slices.Contains(r.Match.Services, service) {
			out = append(out, r)
		}
	}
	return out
}

// For is the runbook with every placeholder replaced by the service's name. Its
// digest stays the digest of the runbook as it was parsed. A name that could
// mean something in a path or a query is an error, and so is a service that
// the runbook does not match.
func (r *Runbook) For(service string) (Runbook, error) {
	if !ValidServiceName(service) {
		return Runbook{}, fmt.Errorf("resolve runbook %q: %q is not a name of the catalogue", r.Metadata.Name, service)
	}
	if !slices.Contains(r.Match.Services, service) && !slices.Contains(r.Match.Services, AnyService) {
		return Runbook{}, fmt.Errorf("resolve runbook %q: it does not match service %q", r.Metadata.Name, service)
	}
	fill := func(s string) string { return strings.ReplaceAll(s, Placeholder, service) }
	target := func(t incident.Target) incident.Target {
		return incident.Target{System: t.System, Path: fill(t.Path)}
	}
	out := *r
	out.Changes = slices.Clone(r.Changes)
	for i := range out.Changes {
		out.Changes[i].Target = target(out.Changes[i].Target)
	}
	out.Options = slices.Clone(r.Options)
	for i := range out.Options {
		o := &out.Options[i]
		o.Actions = slices.Clone(o.Actions)
		for j := range o.Actions {
			o.Actions[j].Target = target(o.Actions[j].Target)
		}
	}
	out.Evidence = slices.Clone(r.Evidence)
	for i := range out.Evidence {
		out.Evidence[i] = filled(out.Evidence[i], service)
	}
	out.Recovery.SLIs = slices.Clone(r.Recovery.SLIs)
	for i := range out.Recovery.SLIs {
		out.Recovery.SLIs[i].Query = fill(out.Recovery.SLIs[i].Query)
		out.Recovery.SLIs[i].Traffic = fill(out.Recovery.SLIs[i].Traffic)
		out.Recovery.SLIs[i].Bad = fill(out.Recovery.SLIs[i].Bad)
		out.Recovery.SLIs[i].Total = fill(out.Recovery.SLIs[i].Total)
	}
	out.Recovery.Data = slices.Clone(r.Recovery.Data)
	for i := range out.Recovery.Data {
		d := &out.Recovery.Data[i]
		d.SQL, d.PromQL = fill(d.SQL), fill(d.PromQL)
	}
	return out, nil
}

// filled is what to collect for a service.
func filled(e incident.EvidenceSpec, service string) incident.EvidenceSpec {
	e.Target.Path = strings.ReplaceAll(e.Target.Path, Placeholder, service)
	params := make(map[string]string, len(e.Params))
	for k, v := range e.Params {
		params[k] = strings.ReplaceAll(v, Placeholder, service)
	}
	e.Params = params
	return e
}

// UndoesChange reports whether the option undoes a change: its source is one
// that the option undoes, and where an action works in the change's own
// system, one works on the very target that was changed.
func (o OptionSpec) UndoesChange(c incident.Change) bool {
	if !slices.Contains(o.Undoes, c.Source) {
		return false
	}
	sameSystem := false
	for _, a := range o.Actions {
		if a.Target == c.Target {
			return true
		}
		sameSystem = sameSystem || a.Target.System == c.Target.System
	}
	return c.Target.IsZero() || !sameSystem
}

// Step is what to ask a driver to plan: one action of an option. Exactly one
// of Revision and Before is set.
type Step struct {
	Kind     string
	Target   incident.Target
	Revision string
	Before   time.Time
}

// Steps are what to ask the drivers for, one for each action of the option.
// before is the moment whose preceding state is wanted: the time of the
// suspected change, or the onset when the option stands alone.
func Steps(o OptionSpec, before time.Time) ([]Step, error) {
	steps := make([]Step, 0, len(o.Actions))
	for _, a := range o.Actions {
		s := Step{Kind: a.Kind, Target: a.Target, Revision: a.Revision}
		if s.Revision == "" {
			if before.IsZero() {
				return nil, fmt.Errorf("plan option %q: action on %s has no revision and nothing says before when", o.Name, a.Target)
			}
			s.Before = before
		}
		steps = append(steps, s)
	}
	return steps, nil
}
