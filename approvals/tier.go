package approvals

import (
	"fmt"
	"slices"
	"strings"

	"github.com/backout/backout/workflows/incident"
)

// Tier is the tier of a plan and one sentence why. A radius that names no
// service is forbidden: nobody can judge what it touches. A severity that is
// not known lowers nothing.
func (p *Policy) Tier(r incident.BlastRadius, reversible bool, sev incident.Severity) (incident.Tier, string) {
	if len(r.Services) == 0 {
		return incident.TierForbidden, "The plan names no service, so nobody can judge what it touches."
	}
	held := facts(r, reversible)
	for _, rule := range p.rules {
		if !slices.ContainsFunc(rule.When, func(f Fact) bool { return f == FactAlways || slices.Contains(held, f) }) {
			continue
		}
		tier, reason := rule.Tier, sentence(r, held)
		for _, m := range p.moves {
			if m.From != tier || !slices.Contains(m.Severities, sev) || overlap(m.Unless, held) {
				continue
			}
			return m.To, reason + " By severity it moves from " + tier.String() + " to " + m.To.String() + ": " + m.Reason + "."
		}
		return tier, reason
	}
	return incident.TierForbidden, "No rule of the policy is for this plan."
}

// facts are the facts that hold for a plan, in a fixed order.
func facts(r incident.BlastRadius, reversible bool) []Fact {
	var out []Fact
	if len(distinct(r.Services)) > 1 {
		out = append(out, FactSeveralServices)
	}
	if len(r.SharedData) > 0 {
		out = append(out, FactSharedData)
	}
	if r.Global != nil {
		out = append(out, FactGlobal)
	}
	if !reversible || len(r.Irreversible) > 0 {
		out = append(out, FactIrreversible)
	}
	return out
}

func sentence(r incident.BlastRadius, held []Fact) string {
	services := distinct(r.Services)
	if len(held) == 0 {
		return "It changes one service, " + services[0] + ", touches no shared data and can be undone."
	}
	var parts []string
	for _, f := range held {
		switch f {
		case FactSeveralServices:
			parts = append(parts, fmt.Sprintf("changes %d services (%s)", len(services), strings.Join(services, ", ")))
		case FactSharedData:
			parts = append(parts, "touches shared data ("+strings.Join(distinct(r.SharedData), ", ")+")")
		case FactGlobal:
			parts = append(parts, "touches everybody at once ("+r.Global.Reason+")")
		case FactIrreversible:
			parts = append(parts, "can not be undone")
		case FactAlways:
		}
	}
	if len(parts) == 1 {
		return "It " + parts[0] + "."
	}
	return "It " + strings.Join(parts[:len(parts)-1], ", ") + " and " + parts[len(parts)-1] + "."
}

func distinct(in []incident.Reach) []string {
	out := make([]string, 0, len(in))
	for _, r := range in {
		if !slices.Contains(out, r.Name) {
			out = append(out, r.Name)
		}
	}
	return out
}

func overlap[T comparable](a, b []T) bool {
	return slices.ContainsFunc(a, func(x T) bool { return slices.Contains(b, x) })
}
