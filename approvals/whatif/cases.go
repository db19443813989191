package whatif

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/backout/backout/approvals"
	"github.com/backout/backout/runbooks/strict"
	"github.com/backout/backout/workflows/incident"
)

// APIVersion and Kind are what a file of cases must say it is.
const (
	APIVersion = "backout.dev/v1"
	Kind       = "PolicyCases"
)

// defaultTime is when a case is judged that names no time.
var defaultTime = time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)

// Case is one thing to try.
type Case struct {
	Name string
	// At is where it stands in its file.
	At        strict.Position
	Situation approvals.Situation
	// Votes are the answers; nil means that only the tier is looked at.
	Votes      []approvals.Vote
	Requester  incident.Person
	Authors    []string
	VoidBefore time.Time
	Want       Want
}

// Want is what a case expects. An empty part is not looked at.
type Want struct {
	Tier    string
	Outcome incident.Outcome
	// Reason and Sentence are parts of what people are told about the tier and
	// about the answers.
	Reason, Sentence string
}

type casesDoc struct {
	APIVersion string    `yaml:"apiVersion,required"`
	Kind       string    `yaml:"kind,required"`
	Cases      []caseDoc `yaml:"cases,required"`
}

type caseDoc struct {
	Name     string    `yaml:"name,required"`
	Plan     planDoc   `yaml:"plan"`
	Radius   radiusDoc `yaml:"radius,required"`
	Severity string    `yaml:"severity"`
	SLOBurn  *float64  `yaml:"slo_burn"`
	Time     *moment   `yaml:"time"`
	// Requester and authors are names of people.
	Requester string    `yaml:"requester"`
	Authors   []string  `yaml:"authors"`
	Votes     []voteDoc `yaml:"votes"`
	Handover  bool      `yaml:"handover_after_votes"`
	Want      wantDoc   `yaml:"want,required"`
}

type planDoc struct {
	Service    string      `yaml:"service"`
	Strategy   string      `yaml:"strategy"`
	Runbook    string      `yaml:"runbook"`
	Option     string      `yaml:"option"`
	Rung       string      `yaml:"rung"`
	Source     string      `yaml:"source"`
	Reversible *bool       `yaml:"reversible"`
	Actions    []actionDoc `yaml:"actions"`
}

type actionDoc struct {
	Kind       string `yaml:"kind,required"`
	System     string `yaml:"system,required"`
	Path       string `yaml:"path,required"`
	Reversible bool   `yaml:"reversible,required"`
}

type radiusDoc struct {
	Services     []string `yaml:"services,required"`
	Dependents   []string `yaml:"dependents"`
	SharedData   []string `yaml:"shared_data"`
	Irreversible []string `yaml:"irreversible"`
	Global       string   `yaml:"global"`
	TrafficShare *float64 `yaml:"traffic_share"`
	Customers    *float64 `yaml:"customers"`
	Replicas     *float64 `yaml:"replicas"`
	Regions      *float64 `yaml:"regions"`
}

type voteDoc struct {
	Person     string        `yaml:"person,required"`
	Roles      []string      `yaml:"roles"`
	Answer     string        `yaml:"answer,required"`
	Ago        time.Duration `yaml:"ago"`
	Reason     string        `yaml:"reason"`
	BreakGlass bool          `yaml:"break_glass"`
	StepUp     bool          `yaml:"step_up"`
	OtherPlan  bool          `yaml:"other_plan"`
}

type wantDoc struct {
	Tier     string `yaml:"tier"`
	Outcome  string `yaml:"outcome"`
	Reason   string `yaml:"reason"`
	Sentence string `yaml:"sentence"`
}

// moment is a time as RFC 3339 spells it.
type moment struct{ time.Time }

// UnmarshalText reads RFC 3339, such as 2026-11-20T12:00:00Z.
func (m *moment) UnmarshalText(b []byte) error {
	t, err := time.Parse(time.RFC3339, string(b))
	if err != nil {
		return fmt.Errorf("%q is not a time such as 2026-11-20T12:00:00Z", b)
	}
	m.Time = t.UTC()
	return nil
}

// Parse reads cases strictly. All errors are reported at once, each with file,
// line and column.
func Parse(f strict.File) ([]Case, error) {
	var in casesDoc
	doc, err := strict.Decode(f, &in)
	if err != nil {
		return nil, fmt.Errorf("parse cases: %w", err)
	}
	r := reader{doc: doc}
	if in.APIVersion != APIVersion {
		r.fail("apiVersion", "%q is not supported, want %s", in.APIVersion, APIVersion)
	}
	if in.Kind != Kind {
		r.fail("kind", "%q is not supported, want %s", in.Kind, Kind)
	}
	if len(in.Cases) == 0 {
		r.fail("cases", "it is empty")
	}
	out := make([]Case, 0, len(in.Cases))
	for i, c := range in.Cases {
		path := fmt.Sprintf("cases[%d]", i)
		if slices.ContainsFunc(out, func(have Case) bool { return have.Name == c.Name }) {
			r.fail(path+".name", "%q stands there twice", c.Name)
		}
		out = append(out, r.read(path, c))
	}
	if err := errors.Join(r.errs...); err != nil {
		return nil, fmt.Errorf("parse cases: %w", err)
	}
	return out, nil
}

type reader struct {
	doc  *strict.Document
	errs []error
}

func (r *reader) fail(path, format string, args ...any) {
	r.errs = append(r.errs, r.doc.Errorf(path, path+": "+format, args...))
}

// oneOf checks a value that may be left out.
func (r *reader) oneOf(path, value string, known ...string) {
	if value != "" && !slices.Contains(known, value) {
		r.fail(path, "unknown value %q, known are %s", value, strings.Join(known, ", "))
	}
}

var rungs = []string{"", "observe", "visibility", "reversible", "controlled", "irreversible"}

func (r *reader) read(path string, in caseDoc) Case {
	out := Case{Name: in.Name, At: r.doc.At(path), Requester: person(in.Requester), Authors: in.Authors, Want: Want{
		Tier: in.Want.Tier, Outcome: incident.Outcome(in.Want.Outcome), Reason: in.Want.Reason, Sentence: in.Want.Sentence,
	}}
	r.oneOf(path+".severity", in.Severity, "sev1", "sev2", "sev3", "sev4")
	r.oneOf(path+".want.tier", in.Want.Tier, "tier-1", "tier-2", "tier-3", "forbidden")
	r.oneOf(path+".want.outcome", in.Want.Outcome, string(incident.OutcomeApproved), string(incident.OutcomeWaiting), string(incident.OutcomeRefused), string(incident.OutcomeDenied))
	if in.Want == (wantDoc{}) {
		r.fail(path+".want", "it expects nothing: name a tier, an outcome, a reason or a sentence")
	}
	at := defaultTime
	if in.Time != nil {
		at = in.Time.Time
	}
	out.Situation = approvals.Situation{
		Plan: r.plan(path+".plan", in), Radius: r.radius(path+".radius", in.Radius), Severity: incident.Severity(in.Severity),
		Rung: incident.Rung(max(slices.Index(rungs, in.Plan.Rung), 0)), SLOBurn: r.measured(path+".slo_burn", in.SLOBurn), At: at,
	}
	if in.Handover {
		out.VoidBefore = at.Add(1)
	}
	for i, v := range in.Votes {
		out.Votes = append(out.Votes, r.vote(fmt.Sprintf("%s.votes[%d]", path, i), v, at))
	}
	return out
}

func (r *reader) plan(path string, in caseDoc) incident.Plan {
	d := in.Plan
	r.oneOf(path+".strategy", d.Strategy, "rollback", "flag_off", "restore", "compensate", "roll_forward")
	r.oneOf(path+".rung", d.Rung, rungs[1:]...)
	p := incident.Plan{Version: incident.PlanVersion, Service: d.Service, Strategy: incident.Strategy(d.Strategy), Runbook: d.Runbook, Option: d.Option}
	if d.Source != "" {
		p.Incident = d.Source + "/what-if"
	}
	if p.Service == "" && len(in.Radius.Services) > 0 {
		p.Service = in.Radius.Services[0]
	}
	for _, a := range d.Actions {
		p.Actions = append(p.Actions, incident.Action{Kind: a.Kind, Target: incident.Target{System: a.System, Path: a.Path}, Reversible: a.Reversible})
	}
	switch {
	case d.Reversible != nil && len(d.Actions) > 0:
		r.fail(path+".reversible", "the actions say so already")
	case len(d.Actions) == 0:
		// A plan for which nothing else is said can be undone.
		p.Actions = []incident.Action{{Reversible: d.Reversible == nil || *d.Reversible}}
	}
	return p
}

func (r *reader) radius(path string, d radiusDoc) incident.BlastRadius {
	reach := func(names []string) []incident.Reach {
		var out []incident.Reach
		for _, n := range names {
			out = append(out, incident.Reach{Name: n, Reason: "the case says so"})
		}
		return out
	}
	out := incident.BlastRadius{
		Services: reach(d.Services), Dependents: reach(d.Dependents), SharedData: reach(d.SharedData), Irreversible: reach(d.Irreversible),
		TrafficShare: r.measured(path+".traffic_share", d.TrafficShare), Customers: r.measured(path+".customers", d.Customers),
		Replicas: r.measured(path+".replicas", d.Replicas), Regions: r.measured(path+".regions", d.Regions),
	}
	if d.TrafficShare != nil && *d.TrafficShare > 1 {
		r.fail(path+".traffic_share", "%v must be 0 to 1", *d.TrafficShare)
	}
	if d.Global != "" {
		out.Global = &incident.Reach{Name: "all customers", Reason: d.Global}
	}
	return out
}

func (r *reader) measured(path string, v *float64) *incident.Measured {
	if v == nil {
		return nil
	}
	if *v < 0 || math.IsNaN(*v) || math.IsInf(*v, 0) {
		r.fail(path, "%v must be a number of zero or more", *v)
	}
	return &incident.Measured{Value: v, Reason: "the case says so"}
}

func (r *reader) vote(path string, d voteDoc, at time.Time) approvals.Vote {
	v := approvals.Vote{
		Person: person(d.Person), Answer: incident.Answer(d.Answer), At: at.Add(-d.Ago), PlanDigest: planDigest,
		Reason: d.Reason, BreakGlass: d.BreakGlass, SteppedUp: d.StepUp,
	}
	r.oneOf(path+".answer", d.Answer, string(incident.AnswerApprove), string(incident.AnswerRefuse))
	if d.OtherPlan {
		v.PlanDigest = incident.DigestOf([]byte("another plan"))
	}
	for i, role := range d.Roles {
		r.oneOf(fmt.Sprintf("%s.roles[%d]", path, i), role, string(incident.RoleOnCall), string(incident.RoleCommander), string(incident.RoleOwner))
		v.Roles = append(v.Roles, incident.Role(role))
	}
	return v
}

// person is somebody known by name alone; an empty name is nobody.
func person(name string) incident.Person { return incident.Person{ID: name, Name: name} }
