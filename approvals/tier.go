package approvals

import (
	"fmt"
	"slices"
	"strings"

	"github.com/backout/backout/workflows/incident"
)

// Judgement is the tier of a plan, and why.
type Judgement struct {
	Tier incident.Tier
	// Reason is one or more sentences for people.
	Reason string
	// Facts are those that hold, in a fixed order, and Unknown those of which
	// nobody knows, which count as whatever asks for more authority.
	Facts, Unknown []Fact
}

// Tier is the tier of a plan and why.
func (p *Policy) Tier(s Situation) (incident.Tier, string) {
	j := p.Judge(s)
	return j.Tier, j.Reason
}

// Judge works out the tier of a plan. A radius that names no service is
// forbidden: nobody can judge what it touches. What is not known could be
// either way, and the plan gets the highest tier of all that it could have.
func (p *Policy) Judge(s Situation) Judgement {
	if len(s.Radius.Services) == 0 {
		return Judgement{Tier: incident.TierForbidden, Reason: "The plan names no service, so nobody can judge what it touches."}
	}
	j := judging{policy: p, situation: s, activation: s.activation(), truths: make(map[Fact]truth)}
	j.weigh()
	for _, d := range p.denials {
		switch d.If.holds(j.activation) {
		case yes:
			j.could(incident.TierForbidden, "The policy forbids it: "+d.Reason+".", 0)
		case unknown:
			j.could(incident.TierForbidden, "The policy forbids it, because it is not known whether this is for it: "+d.Reason+".", 1)
		case no:
		}
	}
	for _, r := range p.rules {
		switch j.any(r.When) {
		case yes:
			j.moved(r, 0)
			return j.highest()
		case unknown:
			j.moved(r, 1)
		case no:
		}
	}
	return j.highest()
}

// outcome is a tier that a plan could have.
type outcome struct {
	tier   incident.Tier
	reason string
	// doubts counts what would have to hold for it and is not known.
	doubts int
}

// judging is one run of Judge.
type judging struct {
	policy     *Policy
	situation  Situation
	activation map[string]any
	truths     map[Fact]truth
	outcomes   []outcome
}

// weigh finds out which facts hold.
func (j *judging) weigh() {
	r := j.situation.Radius
	j.truths[FactAlways] = yes
	j.truths[FactSeveralServices] = truthOf(len(distinct(r.Services)) > 1)
	j.truths[FactSharedData] = truthOf(len(r.SharedData) > 0)
	j.truths[FactGlobal] = truthOf(r.Global != nil)
	j.truths[FactIrreversible] = truthOf(!j.situation.Plan.Reversible() || len(r.Irreversible) > 0)
	for _, d := range j.policy.facts {
		j.truths[d.Name] = d.If.holds(j.activation)
	}
}

// any says whether one of the facts holds.
func (j *judging) any(facts []Fact) truth {
	out := no
	for _, f := range facts {
		switch j.truths[f] {
		case yes:
			return yes
		case no:
		case unknown:
			out = unknown
		default:
			// A fact that nobody weighed.
			out = unknown
		}
	}
	return out
}

func (j *judging) could(t incident.Tier, reason string, doubts int) {
	j.outcomes = append(j.outcomes, outcome{t, reason, doubts})
}

// moved adds the tier of a rule, or what severity and burn make of it.
func (j *judging) moved(r rule, doubts int) {
	said := []string{j.sentence()}
	if doubts > 0 {
		for _, f := range r.When {
			if j.truths[f] == unknown {
				said = append(said, "Whether it "+j.policy.means(f)+" is not known, which counts as yes.")
			}
		}
	}
	why := strings.Join(said, " ")
	for _, m := range j.policy.moves {
		if m.From != r.Tier {
			continue
		}
		applies := j.applies(m)
		if applies == no {
			continue
		}
		reason := why + " By severity it moves from " + r.Tier.String() + " to " + m.To.String() + ": " + m.Reason + "."
		if applies == yes {
			j.could(m.To, reason, doubts)
			return
		}
		j.could(m.To, reason+" Whether that is so is not known, which counts as yes.", doubts+1)
	}
	j.could(r.Tier, why, doubts)
}

// applies says whether a move is for the plan.
func (j *judging) applies(m move) truth {
	out := yes
	switch {
	case !knownSeverity(j.situation.Severity):
		out = unknown
	case !slices.Contains(m.Severities, j.situation.Severity):
		return no
	}
	switch j.any(m.Unless) {
	case yes:
		return no
	case unknown:
		out = unknown
	case no:
	}
	if m.If == nil {
		return out
	}
	switch m.If.holds(j.activation) {
	case no:
		return no
	case unknown:
		return unknown
	case yes:
	}
	return out
}

// highest is the highest tier that the plan could have, for the reason with the
// fewest doubts.
func (j *judging) highest() Judgement {
	best := outcome{tier: incident.TierForbidden, reason: "No rule of the policy is for this plan."}
	for i, o := range j.outcomes {
		if i == 0 || o.tier > best.tier || o.tier == best.tier && o.doubts < best.doubts {
			best = o
		}
	}
	out := Judgement{Tier: best.tier, Reason: best.reason}
	for _, f := range j.policy.known() {
		switch j.truths[f] {
		case yes:
			out.Facts = append(out.Facts, f)
		case unknown:
			out.Unknown = append(out.Unknown, f)
		case no:
		}
	}
	return out
}

// known are all facts of the policy without always, in a fixed order.
func (p *Policy) known() []Fact {
	out := slices.Clone(builtin)
	for _, d := range p.facts {
		out = append(out, d.Name)
	}
	return out
}

// means is what a fact of the policy's own says of a plan.
func (p *Policy) means(f Fact) string {
	for _, d := range p.facts {
		if d.Name == f {
			return d.Means
		}
	}
	return strings.ReplaceAll(string(f), "_", " ")
}

// sentence says what holds for the plan.
func (j *judging) sentence() string {
	r := j.situation.Radius
	services := distinct(r.Services)
	var parts []string
	for _, f := range j.policy.known() {
		if j.truths[f] != yes {
			continue
		}
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
		default:
			parts = append(parts, j.policy.means(f))
		}
	}
	switch len(parts) {
	case 0:
		return "It changes one service, " + services[0] + ", touches no shared data and can be undone."
	case 1:
		return "It " + parts[0] + "."
	default:
		return "It " + strings.Join(parts[:len(parts)-1], ", ") + " and " + parts[len(parts)-1] + "."
	}
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
