package approvals

import (
	"reflect"

	"github.com/backout/backout/runbooks/strict"
	"github.com/backout/backout/workflows/incident"
)

// ParserKeys are the keys that the parser knows, by the schema's definitions.
func ParserKeys() map[string]map[string]strict.Field {
	return map[string]map[string]strict.Field{
		"":         strict.Fields(reflect.TypeFor[policyDoc]()),
		"metadata": strict.Fields(reflect.TypeFor[metadataDoc]()),
		"fact":     strict.Fields(reflect.TypeFor[factDoc]()),
		"deny":     strict.Fields(reflect.TypeFor[denyDoc]()),
		"slot":     strict.Fields(reflect.TypeFor[slotDoc]()),
		"tier":     strict.Fields(reflect.TypeFor[tierDoc]()),
		"move":     strict.Fields(reflect.TypeFor[moveDoc]()),
		"glass":    strict.Fields(reflect.TypeFor[glassDoc]()),
	}
}

// Rule is what a test must know of a rule to say what it should do.
type Rule struct {
	Tier                incident.Tier
	Quorum              [][]incident.Role
	RequesterMayApprove bool
	AuthorMayBeSole     bool
	StepUp              bool
}

// Rules are the rules of a policy.
func (p *Policy) Rules() []Rule {
	var out []Rule
	for _, r := range p.rules {
		rule := Rule{Tier: r.Tier, RequesterMayApprove: r.RequesterMayApprove, AuthorMayBeSole: r.AuthorMayBeSole, StepUp: r.StepUp}
		for _, s := range r.Quorum {
			rule.Quorum = append(rule.Quorum, s.Roles)
		}
		out = append(out, rule)
	}
	return out
}
