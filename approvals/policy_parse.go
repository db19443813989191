package approvals

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/backout/backout/runbooks/strict"
	"github.com/backout/backout/workflows/incident"
)

const (
	// maxCount is the most people that one entry of a quorum may ask for.
	maxCount = 5
	// maxClause is the longest clause that a policy puts into a sentence, in
	// characters: a reason has to fit on a card.
	maxClause = 200
)

// builtin are the facts of every policy, without always.
var builtin = []Fact{FactSeveralServices, FactSharedData, FactGlobal, FactIrreversible}

type policyDoc struct {
	APIVersion string      `yaml:"apiVersion,required"`
	Kind       string      `yaml:"kind,required"`
	Metadata   metadataDoc `yaml:"metadata,required"`
	Facts      []factDoc   `yaml:"facts"`
	Deny       []denyDoc   `yaml:"deny"`
	Tiers      []tierDoc   `yaml:"tiers,required"`
	Severity   []moveDoc   `yaml:"severity"`
	BreakGlass *glassDoc   `yaml:"break_glass"`
}

type metadataDoc struct {
	Name        string `yaml:"name,required"`
	Description string `yaml:"description"`
}

type factDoc struct {
	Name  string `yaml:"name,required"`
	CEL   string `yaml:"cel,required"`
	Means string `yaml:"means,required"`
}

type denyDoc struct {
	CEL    string `yaml:"cel,required"`
	Reason string `yaml:"reason,required"`
}

type glassDoc struct {
	Roles []string `yaml:"roles,required"`
	Tiers []string `yaml:"tiers,required"`
}

type tierDoc struct {
	Tier                string        `yaml:"tier,required"`
	When                []string      `yaml:"when,required"`
	Approvals           []slotDoc     `yaml:"approvals,required"`
	RequesterMayApprove bool          `yaml:"requester_may_approve,required"`
	AuthorMayBeSole     bool          `yaml:"author_may_be_sole_approver,required"`
	ExpiresAfter        time.Duration `yaml:"expires_after,required"`
	StepUp              bool          `yaml:"step_up"`
	RemindAfter         time.Duration `yaml:"remind_after"`
	ObjectionWindow     time.Duration `yaml:"objection_window"`
}

type slotDoc struct {
	Roles []string `yaml:"roles,required"`
	Count int      `yaml:"count"`
}

type moveDoc struct {
	Severities []string `yaml:"severities,required"`
	From       string   `yaml:"from,required"`
	To         string   `yaml:"to,required"`
	Unless     []string `yaml:"unless"`
	CEL        string   `yaml:"cel"`
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
	r := &policyParser{doc: doc, content: f.Content}
	p := r.policy(in)
	if err := errors.Join(r.errs...); err != nil {
		return nil, fmt.Errorf("parse policy: %w", err)
	}
	b, err := json.Marshal(struct {
		Name       string       `json:"name"`
		Facts      []definition `json:"facts,omitempty"`
		Denials    []denial     `json:"deny,omitempty"`
		Rules      []rule       `json:"rules"`
		Moves      []move       `json:"moves"`
		BreakGlass *breakGlass  `json:"break_glass"`
	}{p.name, p.facts, p.denials, p.rules, p.moves, p.breakGlass})
	if err != nil {
		return nil, fmt.Errorf("encode policy %q: %w", p.name, err)
	}
	p.digest = incident.DigestOf(b)
	return p, nil
}

type policyParser struct {
	doc     *strict.Document
	content []byte
	errs    []error
	// conditions counts them, and defined are the facts that the policy defines.
	conditions int
	defined    []Fact
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
	for i, f := range in.Facts {
		p.facts = append(p.facts, r.definition(fmt.Sprintf("facts[%d]", i), f))
	}
	for i, d := range in.Deny {
		path := fmt.Sprintf("deny[%d]", i)
		p.denials = append(p.denials, denial{If: r.condition(path+".cel", d.CEL), Reason: r.clause(path+".reason", d.Reason)})
	}
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
	out := rule{Tier: r.tierName(path+".tier", in.Tier), When: r.facts(path+".when", in.When, true), RequesterMayApprove: in.RequesterMayApprove, AuthorMayBeSole: in.AuthorMayBeSole, ExpiresAfter: in.ExpiresAfter, StepUp: in.StepUp, RemindAfter: in.RemindAfter, ObjectionWindow: in.ObjectionWindow}
	if len(in.When) == 0 {
		r.fail(path+".when", "it is empty")
	}
	if in.ExpiresAfter <= 0 || in.ExpiresAfter > MaxExpiry {
		r.fail(path+".expires_after", "%s must be above zero and at most %s", in.ExpiresAfter, MaxExpiry)
	}
	r.clocks(path, in, out.Tier)
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

// clocks checks what is optional and has to fit into the time of an approval.
func (r *policyParser) clocks(path string, in tierDoc, t incident.Tier) {
	if at := path + ".remind_after"; r.doc.Has(at) && (in.RemindAfter <= 0 || in.RemindAfter >= in.ExpiresAfter) {
		r.fail(at, "%s must be above zero and below expires_after", in.RemindAfter)
	}
	at := path + ".objection_window"
	switch {
	case !r.doc.Has(at):
	case in.ObjectionWindow <= 0:
		r.fail(at, "%s must be above zero; leave it out for no window", in.ObjectionWindow)
	case t != incident.TierCommander:
		r.fail(at, "only tier-2 can wait for objections: tier-1 is decided at once, tier-3 by two people")
	case in.ObjectionWindow >= in.ExpiresAfter:
		r.fail(at, "%s must be below expires_after, or every approval expires first", in.ObjectionWindow)
	}
}

// factName is what a policy may call a fact of its own.
var factName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,39}$`)

func (r *policyParser) definition(path string, in factDoc) definition {
	out := definition{Name: Fact(in.Name), Means: r.clause(path+".means", in.Means)}
	switch {
	case !factName.MatchString(in.Name):
		r.fail(path+".name", "%q must be 1 to 40 lower-case letters, digits or underscores, and begin with a letter", in.Name)
	case slices.Contains(builtin, out.Name) || out.Name == FactAlways:
		r.fail(path+".name", "%q is a fact of every policy; choose another name", in.Name)
	case slices.Contains(r.defined, out.Name):
		r.fail(path+".name", "%q stands there twice", in.Name)
	}
	out.If = r.condition(path+".cel", in.CEL)
	r.defined = append(r.defined, out.Name)
	return out
}

// clause is a part of a sentence for people.
func (r *policyParser) clause(path, s string) string {
	s = strings.TrimRight(strings.Join(strings.Fields(s), " "), ". ")
	switch {
	case s == "":
		r.fail(path, "it is empty")
	case utf8.RuneCountInString(s) > maxClause:
		r.fail(path, "it has more than %d characters", maxClause)
	}
	return s
}

func (r *policyParser) move(path string, in moveDoc, p *Policy) move {
	out := move{From: r.known(path+".from", in.From, p), To: r.known(path+".to", in.To, p), Unless: r.facts(path+".unless", in.Unless, false), Reason: r.clause(path+".reason", in.Reason)}
	if r.doc.Has(path + ".cel") {
		out.If = r.condition(path+".cel", in.CEL)
	}
	if out.From == out.To {
		r.fail(path+".to", "it is the same tier as from")
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
	known := slices.Concat(builtin, r.defined)
	var out []Fact
	for i, s := range in {
		f := Fact(s)
		if slices.Contains(known, f) || always && f == FactAlways {
			out = append(out, f)
			continue
		}
		names := make([]string, len(known))
		for j, k := range known {
			names[j] = string(k)
		}
		r.fail(fmt.Sprintf("%s[%d]", path, i), "unknown value %q, known are %s", s, strings.Join(names, ", "))
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
