package approvals

import (
	_ "embed"
	"slices"
	"sync"
	"time"

	"github.com/backout/backout/runbooks/strict"
	"github.com/backout/backout/workflows/incident"
)

// APIVersion and Kind are what a policy must say it is.
const (
	APIVersion = "backout.dev/v1"
	Kind       = "Policy"
)

// MaxExpiry is the longest that a policy may let an approval count. An
// approval is given to a moment, and expires in minutes (REQUIREMENTS A5).
const MaxExpiry = time.Hour

// File is a document and the name that errors call it by.
type File = strict.File

// Fact is something that holds for a plan. The zero value is invalid.
type Fact string

// The facts that every policy can name. Others are defined by the policy.
const (
	FactSeveralServices Fact = "several_services"
	FactSharedData      Fact = "shared_data"
	FactGlobal          Fact = "global"
	FactIrreversible    Fact = "irreversible"
	FactAlways          Fact = "always"
)

// Policy is a parsed policy. It is immutable.
type Policy struct {
	name       string
	digest     string
	facts      []definition
	denials    []denial
	rules      []rule
	moves      []move
	breakGlass *breakGlass
}

// definition is a fact that a policy defines.
type definition struct {
	Name Fact       `json:"name"`
	If   *condition `json:"if"`
	// Means says of a plan what it means, such as "touches most of the traffic".
	Means string `json:"means"`
}

// denial is a kind of plan that nobody may approve.
type denial struct {
	If     *condition `json:"if"`
	Reason string     `json:"reason"`
}

// rule says when a plan is in a tier, and what the tier needs.
type rule struct {
	Tier   incident.Tier `json:"tier"`
	When   []Fact        `json:"when"`
	Quorum []slot        `json:"quorum"`
	// RequesterMayApprove and AuthorMayBeSole relax separation of duties.
	RequesterMayApprove bool          `json:"requester_may_approve"`
	AuthorMayBeSole     bool          `json:"author_may_be_sole_approver"`
	ExpiresAfter        time.Duration `json:"expires_after"`
	// StepUp says that only those count who gave a second proof.
	StepUp bool `json:"step_up,omitempty"`
	// RemindAfter and ObjectionWindow are zero for none.
	RemindAfter     time.Duration `json:"remind_after,omitempty"`
	ObjectionWindow time.Duration `json:"objection_window,omitempty"`
}

// slot is one person of a quorum: any holder of one of the roles.
type slot struct {
	Roles []incident.Role `json:"roles"`
}

// move takes a plan from one tier to another at some severities.
type move struct {
	Severities []incident.Severity `json:"severities"`
	From       incident.Tier       `json:"from"`
	To         incident.Tier       `json:"to"`
	Unless     []Fact              `json:"unless"`
	If         *condition          `json:"if,omitempty"`
	Reason     string              `json:"reason"`
}

type breakGlass struct {
	Roles []incident.Role `json:"roles"`
	Tiers []incident.Tier `json:"tiers"`
}

//go:embed policies/default.yaml
var defaultPolicy []byte

var loadDefault = sync.OnceValue(func() *Policy {
	p, err := ParsePolicy(File{Name: "policies/default.yaml", Content: defaultPolicy})
	if err != nil {
		panic("approvals: the embedded policy is invalid: " + err.Error())
	}
	return p
})

// Default is the policy that ships with Backout.
func Default() *Policy { return loadDefault() }

// Name is the policy's own name.
func (p *Policy) Name() string { return p.name }

// Digest is the SHA-256 of the policy's parsed content, as "sha256:" and 64
// hexadecimal digits.
func (p *Policy) Digest() string { return p.digest }

// Expiry is how long an approval counts in a tier; zero for a tier in which
// nobody can approve.
func (p *Policy) Expiry(t incident.Tier) time.Duration {
	if r, ok := p.rule(t); ok {
		return r.ExpiresAfter
	}
	return 0
}

// BreakGlass reports whether one person may approve a plan in a tier alone, past its
// quorum.
func (p *Policy) BreakGlass(t incident.Tier) bool {
	return p.breakGlass != nil && slices.Contains(p.breakGlass.Tiers, t)
}

// StepUp reports whether an approval in a tier counts only with a second proof.
// A tier in which nobody can approve asks for it.
func (p *Policy) StepUp(t incident.Tier) bool {
	r, ok := p.rule(t)
	return !ok || r.StepUp
}

// RemindAfter is how long an answer may be missing in a tier before people are
// reminded; zero for never.
func (p *Policy) RemindAfter(t incident.Tier) time.Duration {
	r, _ := p.rule(t)
	return r.RemindAfter
}

// ObjectionWindow is how long a rollback of a tier waits for objections after
// its last approval; zero for not at all.
func (p *Policy) ObjectionWindow(t incident.Tier) time.Duration {
	r, _ := p.rule(t)
	return r.ObjectionWindow
}

// TierInfo is a tier of the policy in words.
type TierInfo struct {
	Tier incident.Tier
	// When are the names of the facts that put a plan into it.
	When []string
	// Needs are clauses: each person of the quorum, and what else holds.
	Needs []string
}

// Tiers are the tiers of the policy, the highest first.
func (p *Policy) Tiers() []TierInfo {
	out := make([]TierInfo, 0, len(p.rules))
	for _, r := range p.rules {
		t := TierInfo{Tier: r.Tier}
		for _, f := range r.When {
			t.When = append(t.When, string(f))
		}
		for _, s := range r.Quorum {
			t.Needs = append(t.Needs, orRoles(s.Roles))
		}
		t.Needs = append(t.Needs, "expires after "+minutes(r.ExpiresAfter))
		if r.RemindAfter > 0 {
			t.Needs = append(t.Needs, "reminder after "+minutes(r.RemindAfter))
		}
		if r.ObjectionWindow > 0 {
			t.Needs = append(t.Needs, "waits "+minutes(r.ObjectionWindow)+" for objections")
		}
		if r.StepUp {
			t.Needs = append(t.Needs, "with a second proof")
		}
		out = append(out, t)
	}
	return out
}

// Asks reports whether any condition of the policy asks for a measurement.
func (p *Policy) Asks(f incident.LiveFact) bool {
	asks := func(c *condition) bool { return c != nil && slices.Contains(c.live, f) }
	return slices.ContainsFunc(p.facts, func(d definition) bool { return asks(d.If) }) ||
		slices.ContainsFunc(p.denials, func(d denial) bool { return asks(d.If) }) ||
		slices.ContainsFunc(p.moves, func(m move) bool { return asks(m.If) })
}

func (p *Policy) rule(t incident.Tier) (rule, bool) {
	for _, r := range p.rules {
		if r.Tier == t {
			return r, true
		}
	}
	return rule{}, false
}
