package approvals

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
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

// maxCount is the most people that one entry of a quorum may ask for.
const maxCount = 5

// File is a document and the name that errors call it by.
type File = strict.File

// Fact is something that holds for a plan. The zero value is invalid.
type Fact string

// The facts that a policy can name.
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
	rules      []rule
	moves      []move
	breakGlass *breakGlass
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

func (p *Policy) rule(t incident.Tier) (rule, bool) {
	for _, r := range p.rules {
		if r.Tier == t {
			return r, true
		}
	}
	return rule{}, false
}

type policyDoc struct {
	APIVersion string `yaml:"apiVersion,required"`
	Kind       string `yaml:"kind,required"`
	Metadata   struct {
		Name        string `yaml:"name,required"`
		Description string `yaml:"description"`
	} `yaml:"metadata,required"`
	Tiers      []tierDoc `yaml:"tiers,required"`
	Severity   []moveDoc `yaml:"severity"`
	BreakGlass *struct {
		Roles []string `yaml:"roles,required"`
		Tiers []string `yaml:"tiers,required"`
	} `yaml:"break_glass"`
}

type tierDoc struct {
	Tier      string   `yaml:"tier,required"`
	When      []string `yaml:"when,required"`
	Approvals []struct {
		Roles []string `yaml:"roles,required"`
		Count int      `yaml:"count"`
	} `yaml:"approvals,required"`
	RequesterMayApprove bool          `yaml:"requester_may_approve,required"`
	AuthorMayBeSole     bool          `yaml:"author_may_be_sole_approver,required"`
	ExpiresAfter        time.Duration `yaml:"expires_after,required"`
}

type moveDoc struct {
	Severities []string `yaml:"severities,required"`
	From       string   `yaml:"from,required"`
	To         string   `yaml:"to,required"`
	Unless     []string `yaml:"unless"`
	Reason     string   `yaml:"reason,required"`
}

// ParsePolicy reads a policy strictly. All errors are reported at once, each
// with file, line and column.
func ParsePolicy(f File) (*Policy, error) {
	var in policyDoc
	doc, err := strict.Decode(f, &in)
	if err != nil {
		return nil, fmt.Errorf("parse policy: %w", err)
	}
	r := &policyParser{doc: doc}
	p := r.policy(in)
	if err := errors.Join(r.errs...); err != nil {
		return nil, fmt.Errorf("parse policy: %w", err)
	}
	b, err := json.Marshal(struct {
		Name       string      `json:"name"`
		Rules      []rule      `json:"rules"`
		Moves      []move      `json:"moves"`
		BreakGlass *breakGlass `json:"break_glass"`
	}{p.name, p.rules, p.moves, p.breakGlass})
	if err != nil {
		return nil, fmt.Errorf("encode policy %q: %w", p.name, err)
	}
	p.digest = incident.DigestOf(b)
	return p, nil
}

type policyParser struct {
	doc  *strict.Document
	errs []error
}

func (r *policyParser) fail(path, format string, args ...any) {
	r.errs = append(r.errs, r.doc.Errorf(path, path+": "+format, args...))
}

func (r *policyParser) policy(in policyDoc) *Policy {
	if in.APIVersion != APIVersion {
		r.fail("apiVersion", "%q is not supported, want %s", in.APIVersion, APIVersion)
	}
	if in.Kind != Kind {
		r.fail("kind", "%q is not supported, want %s", in.Kind, Kind)
	}
	if strings.TrimSpace(in.Metadata.Name) == "" {
		r.fail("metadata.name", "it is empty")
	}
	p := &Policy{name: in.Metadata.Name}
	for i, t := range in.Tiers {
		p.rules = append(p.rules, r.tier(fmt.Sprintf("tiers[%d]", i), t))
	}
	r.checkOrder(p.rules)
	for i, m := range in.Severity {
		p.moves = append(p.moves, r.move(fmt.Sprintf("severity[%d]", i), m, p))
	}
	if b := in.BreakGlass; b != nil {
		p.breakGlass = &breakGlass{Roles: r.roles("break_glass.roles", b.Roles)}
		if len(b.Tiers) == 0 {
			r.fail("break_glass.tiers", "it is empty; leave the section out for no break-glass")
		}
		for i, t := range b.Tiers {
			p.breakGlass.Tiers = append(p.breakGlass.Tiers, r.known(fmt.Sprintf("break_glass.tiers[%d]", i), t, p))
		}
	}
	return p
}

// checkOrder reports rules that could be skipped, or leave a plan without a
// tier.
func (r *policyParser) checkOrder(rules []rule) {
	if len(rules) == 0 {
		r.fail("tiers", "it is empty")
		return
	}
	for i, t := range rules {
		path := fmt.Sprintf("tiers[%d]", i)
		if i > 0 && t.Tier >= rules[i-1].Tier {
			r.fail(path+".tier", "%s must stand above %s: tiers are tried from the top, the highest first", t.Tier, rules[i-1].Tier)
		}
		always := slices.Contains(t.When, FactAlways)
		if last := i == len(rules)-1; last && !always {
			r.fail(path+".when", "the last tier must be for always, so that every plan has a tier")
		} else if !last && always {
			r.fail(path+".when", "only the last tier may be for always")
		}
	}
}

func (r *policyParser) tier(path string, in tierDoc) rule {
	out := rule{Tier: r.tierName(path+".tier", in.Tier), When: r.facts(path+".when", in.When, true), RequesterMayApprove: in.RequesterMayApprove, AuthorMayBeSole: in.AuthorMayBeSole, ExpiresAfter: in.ExpiresAfter}
	if len(in.When) == 0 {
		r.fail(path+".when", "it is empty")
	}
	if in.ExpiresAfter <= 0 || in.ExpiresAfter > MaxExpiry {
		r.fail(path+".expires_after", "%s must be above zero and at most %s", in.ExpiresAfter, MaxExpiry)
	}
	if len(in.Approvals) == 0 {
		r.fail(path+".approvals", "it is empty: somebody must decide")
	}
	for i, a := range in.Approvals {
		at := fmt.Sprintf("%s.approvals[%d]", path, i)
		roles, count := r.roles(at+".roles", a.Roles), 1
		if r.doc.Has(at + ".count") {
			count = a.Count
			if count < 1 || count > maxCount {
				r.fail(at+".count", "%d must be 1 to %d", count, maxCount)
				count = 1
			}
		}
		for range count {
			out.Quorum = append(out.Quorum, slot{Roles: roles})
		}
	}
	return out
}

func (r *policyParser) move(path string, in moveDoc, p *Policy) move {
	out := move{From: r.known(path+".from", in.From, p), To: r.known(path+".to", in.To, p), Unless: r.facts(path+".unless", in.Unless, false), Reason: in.Reason}
	if out.From == out.To {
		r.fail(path+".to", "it is the same tier as from")
	}
	if strings.TrimSpace(in.Reason) == "" {
		r.fail(path+".reason", "it is empty")
	}
	if len(in.Severities) == 0 {
		r.fail(path+".severities", "it is empty")
	}
	for i, s := range in.Severities {
		at := fmt.Sprintf("%s.severities[%d]", path, i)
		sev, err := incident.ParseSeverity(s)
		if err != nil {
			r.fail(at, "unknown value %q, known are sev1, sev2, sev3, sev4", s)
		}
		if out.To < out.From && (sev == incident.Sev3 || sev == incident.Sev4) {
			r.fail(at, "%s is no fire: less authority is for sev1 and sev2 only", s)
		}
		out.Severities = append(out.Severities, sev)
	}
	return out
}

func (r *policyParser) facts(path string, in []string, always bool) []Fact {
	var out []Fact
	for i, s := range in {
		switch f := Fact(s); f {
		case FactSeveralServices, FactSharedData, FactGlobal, FactIrreversible:
			out = append(out, f)
			continue
		case FactAlways:
			if always {
				out = append(out, f)
				continue
			}
		}
		r.fail(fmt.Sprintf("%s[%d]", path, i), "unknown value %q, known are several_services, shared_data, global, irreversible", s)
	}
	return out
}

func (r *policyParser) roles(path string, in []string) []incident.Role {
	if len(in) == 0 {
		r.fail(path, "it is empty")
	}
	var out []incident.Role
	for i, s := range in {
		switch role := incident.Role(s); role {
		case incident.RoleOnCall, incident.RoleCommander, incident.RoleOwner:
			out = append(out, role)
		default:
			r.fail(fmt.Sprintf("%s[%d]", path, i), "unknown value %q, known are on_call, incident_commander, service_owner", s)
		}
	}
	return out
}

func (r *policyParser) tierName(path, s string) incident.Tier {
	for _, t := range []incident.Tier{incident.TierOnCall, incident.TierCommander, incident.TierCommanderAndOwner} {
		if t.String() == s {
			return t
		}
	}
	r.fail(path, "unknown value %q, known are tier-1, tier-2, tier-3", s)
	return incident.TierUnknown
}

// known is a tier that the policy has a rule for, or forbidden.
func (r *policyParser) known(path, s string, p *Policy) incident.Tier {
	if s == incident.TierForbidden.String() && strings.HasSuffix(path, ".to") {
		return incident.TierForbidden
	}
	t := r.tierName(path, s)
	if _, ok := p.rule(t); !ok && t != incident.TierUnknown {
		r.fail(path, "the policy has no %s", s)
	}
	return t
}
