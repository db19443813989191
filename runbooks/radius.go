package runbooks

import (
	"fmt"
	"slices"
	"strings"

	"github.com/backout/backout/workflows/incident"
)

// Radius is what executing a plan can touch, each with a reason.
//
// A service is touched directly when an action says so, when its name or
// Kubernetes ID is a part of an action's path, or when the plan is for it and
// an action names no other. A service that is not in the catalogue makes the
// radius global, because nobody can say what else is touched. What is measured
// of the services comes later, by WithLive.
func Radius(plan incident.Plan, c *Catalogue, o OptionSpec) incident.BlastRadius {
	r := incident.BlastRadius{Services: touched(plan, c, o)}
	if o.Global != "" {
		r.Global = &incident.Reach{Name: "all customers", Reason: o.Global}
	}
	direct := map[string]bool{}
	for _, s := range r.Services {
		direct[s.Name] = true
		known := false
		if c != nil {
			_, known = c.Service(s.Name)
		}
		if !known && r.Global == nil {
			r.Global = &incident.Reach{Name: "unknown", Reason: s.Name + " is not in the service catalogue, so what else is touched is not known"}
		}
	}
	r.Dependents = dependents(c, r.Services, direct)
	for _, name := range o.SharedData {
		r.SharedData = append(r.SharedData, incident.Reach{Name: name, Reason: "the runbook says that the option writes it" + usersClause(c, name)})
	}
	switch plan.Strategy {
	case incident.StrategyRestore:
		addSharedData(&r, c, "restoring writes it")
	case incident.StrategyCompensate:
		addSharedData(&r, c, "compensating writes it")
	case incident.StrategyRollback, incident.StrategyFlagOff, incident.StrategyRollForward:
	}
	for _, a := range plan.Actions {
		switch {
		case o.Rung == incident.RungIrreversible:
			r.Irreversible = append(r.Irreversible, incident.Reach{Name: a.Target.String(), Reason: "the runbook says that it can not be undone"})
		case !a.Reversible:
			r.Irreversible = append(r.Irreversible, incident.Reach{Name: a.Target.String(), Reason: a.Kind + " has no exact undo here"})
		}
	}
	return r
}

// touched are the services that the plan changes directly, in order of first
// touch. There is always at least one.
func touched(plan incident.Plan, c *Catalogue, o OptionSpec) []incident.Reach {
	var out []incident.Reach
	add := func(name, reason string) {
		if !slices.ContainsFunc(out, func(r incident.Reach) bool { return r.Name == name }) {
			out = append(out, incident.Reach{Name: name, Reason: reason})
		}
	}
	for _, a := range plan.Actions {
		owner := plan.Service
		for _, spec := range o.Actions {
			if spec.Kind == a.Kind && spec.Target == a.Target && spec.Service != "" {
				owner = spec.Service
			}
		}
		add(owner, "its "+a.Target.String()+" is changed")
		for _, name := range namedIn(c, a.Target.Path) {
			add(name, a.Target.String()+" is named after it")
		}
	}
	if len(out) == 0 {
		add(plan.Service, "the plan is for it")
	}
	return out
}

// namedIn are the services whose name or Kubernetes ID is a part of a path.
func namedIn(c *Catalogue, path string) []string {
	if c == nil {
		return nil
	}
	parts := strings.Split(path, "/")
	var out []string
	for _, s := range c.Services() {
		if slices.Contains(parts, s.Name) || s.KubernetesID != "" && slices.Contains(parts, s.KubernetesID) {
			out = append(out, s.Name)
		}
	}
	return out
}

func dependents(c *Catalogue, services []incident.Reach, direct map[string]bool) []incident.Reach {
	if c == nil {
		return nil
	}
	var out []incident.Reach
	for _, s := range services {
		for _, n := range c.Dependents(s.Name) {
			if direct[n.Name] || slices.ContainsFunc(out, func(r incident.Reach) bool { return r.Name == n.Name }) {
				continue
			}
			reason := "it calls " + s.Name
			if n.Distance > 1 {
				reason = fmt.Sprintf("it reaches %s over %d calls, by way of %s", s.Name, n.Distance, n.Via)
			}
			out = append(out, incident.Reach{Name: n.Name, Reason: reason})
		}
	}
	return out
}

// addSharedData adds every shared store of the services touched.
func addSharedData(r *incident.BlastRadius, c *Catalogue, why string) {
	if c == nil {
		return
	}
	for _, s := range r.Services {
		for _, store := range c.SharedData(s.Name) {
			if !slices.ContainsFunc(r.SharedData, func(x incident.Reach) bool { return x.Name == store.Name }) {
				r.SharedData = append(r.SharedData, incident.Reach{Name: store.Name, Reason: why + usersClause(c, store.Name)})
			}
		}
	}
}

func usersClause(c *Catalogue, resource string) string {
	if c == nil {
		return ""
	}
	users := c.Users(resource)
	if len(users) == 0 {
		return ""
	}
	return "; it is used by " + strings.Join(users, ", ")
}
