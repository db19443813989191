package approvals

import "github.com/backout/backout/workflows/incident"

// Rule is what a test must know of a rule to say what it should do.
type Rule struct {
	Tier                incident.Tier
	Quorum              [][]incident.Role
	RequesterMayApprove bool
	AuthorMayBeSole     bool
}

// Rules are the rules of a policy.
func (p *Policy) Rules() []Rule {
	var out []Rule
	for _, r := range p.rules {
		rule := Rule{Tier: r.Tier, RequesterMayApprove: r.RequesterMayApprove, AuthorMayBeSole: r.AuthorMayBeSole}
		for _, s := range r.Quorum {
			rule.Quorum = append(rule.Quorum, s.Roles)
		}
		out = append(out, rule)
	}
	return out
}
