package runbooks

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backout/backout/runbooks/strict"
	"github.com/backout/backout/workflows/incident"
)

// The defaults of the recovery section, used for keys that are not spelled.
const (
	DefaultTolerance      = 0.1
	DefaultMinTraffic     = 0.2
	DefaultMinPoints      = 3
	DefaultWarmup         = 30 * time.Second
	DefaultShort          = time.Minute
	DefaultLong           = 5 * time.Minute
	DefaultStep           = 15 * time.Second
	DefaultBaselineLength = 10 * time.Minute
	DefaultBaselineGap    = time.Minute
	DefaultHold           = 2 * time.Minute
	DefaultDeadline       = 15 * time.Minute
)

// MaxDuration is the longest duration that a runbook may spell. An incident
// that waits longer needs a person, not a timer.
const MaxDuration = 24 * time.Hour

// maxTitle is Slack's limit for the text of a button, in characters.
// Source: https://docs.slack.dev/reference/block-kit/block-elements/button-element
const maxTitle = 75

// The patterns that the parser and the JSON Schema share.
const (
	slugPattern      = `^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$`
	kindPattern      = `^[a-z0-9]+([._-][a-z0-9]+)*$`
	pathPattern      = `^(\{service\}|[^{}\s])+$`
	systemPattern    = `^[A-Za-z0-9][A-Za-z0-9._-]*$`
	datePattern      = `^[0-9]{4}-[0-9]{2}-[0-9]{2}$`
	objectivePattern = `^[<>] ?-?[0-9]+(\.[0-9]+)?([eE]-?[0-9]+)?$`
)

var (
	slugForm      = regexp.MustCompile(slugPattern)
	kindForm      = regexp.MustCompile(kindPattern)
	pathForm      = regexp.MustCompile(pathPattern)
	systemForm    = regexp.MustCompile(systemPattern)
	dateForm      = regexp.MustCompile(datePattern)
	objectiveForm = regexp.MustCompile(objectivePattern)
)

var rungs = map[string]incident.Rung{
	"observe": incident.RungObserve, "visibility": incident.RungVisibility, "reversible": incident.RungReversible,
	"controlled": incident.RungControlled, "irreversible": incident.RungIrreversible,
}

// RungName is a rung as runbooks spell it; "unknown" for any other value.
func RungName(r incident.Rung) string {
	for name, v := range rungs {
		if v == r {
			return name
		}
	}
	return "unknown"
}

var (
	strategies = []string{
		string(incident.StrategyRollback), string(incident.StrategyFlagOff), string(incident.StrategyRestore),
		string(incident.StrategyCompensate), string(incident.StrategyRollForward),
	}
	changeKinds = []string{
		string(incident.ChangeDeploy), string(incident.ChangeConfig), string(incident.ChangeFlag), string(incident.ChangeMigration),
		string(incident.ChangeInfra), string(incident.ChangeAccess), string(incident.ChangeTraffic),
	}
	onFailures = []string{
		string(incident.OnFailureStop), string(incident.OnFailureContinue), string(incident.OnFailureCompensate), string(incident.OnFailureEscalate),
	}
)

// ParseRunbook reads one runbook strictly. All errors are reported at once,
// each with file, line and column. A runbook without recovery, evidence or
// max_time parses, so that Lint can say what to do about it; BuildPlan makes
// no plan of an action without max_time.
func ParseRunbook(f File) (*Runbook, error) {
	var in runbookDoc
	doc, err := strict.Decode(f, &in)
	if err != nil {
		return nil, fmt.Errorf("parse runbook: %w", err)
	}
	p := &runbookParser{doc: doc}
	r := p.runbook(in)
	if err := errors.Join(p.errs...); err != nil {
		return nil, fmt.Errorf("parse runbook: %w", err)
	}
	r.File, r.doc = f.Name, doc
	b, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode runbook %q: %w", r.Metadata.Name, err)
	}
	r.Digest = incident.DigestOf(b)
	return r, nil
}

type runbookParser struct {
	doc  *strict.Document
	errs []error
}

func (p *runbookParser) fail(path, format string, args ...any) {
	p.errs = append(p.errs, p.doc.Errorf(path, path+": "+format, args...))
}

func (p *runbookParser) oneOf(path, value string, known []string) {
	if !slices.Contains(known, value) {
		p.fail(path, "unknown value %q, known are %s", value, strings.Join(known, ", "))
	}
}

func (p *runbookParser) form(path, value string, form *regexp.Regexp, want string) {
	if !form.MatchString(value) {
		p.fail(path, "%q must be %s", value, want)
	}
}

func (p *runbookParser) filled(path, value string) {
	if p.doc.Has(path) && strings.TrimSpace(value) == "" {
		p.fail(path, "it is empty")
	}
}

func (p *runbookParser) runbook(in runbookDoc) *Runbook {
	if in.APIVersion != APIVersion {
		p.fail("apiVersion", "%q is not supported, want %s", in.APIVersion, APIVersion)
	}
	if in.Kind != Kind {
		p.fail("kind", "%q is not supported, want %s", in.Kind, Kind)
	}
	r := &Runbook{Metadata: p.metadata(in.Metadata), Match: p.match(in.Match)}
	for i, w := range in.Changes {
		r.Changes = append(r.Changes, p.watch(fmt.Sprintf("changes[%d]", i), w))
	}
	if len(in.Options) == 0 {
		p.fail("options", "it is empty")
	}
	seen := map[string]bool{}
	for i, o := range in.Options {
		path := fmt.Sprintf("options[%d]", i)
		if seen[o.Name] {
			p.fail(path+".name", "option %q stands there twice", o.Name)
		}
		seen[o.Name] = true
		r.Options = append(r.Options, p.option(path, o, r.Changes))
	}
	for i, e := range in.Evidence {
		path := fmt.Sprintf("evidence[%d]", i)
		p.form(path+".collector", e.Collector, kindForm, "a kind such as prometheus.range")
		r.Evidence = append(r.Evidence, incident.EvidenceSpec{Collector: e.Collector, Target: p.target(path+".target", e.Target), Params: e.Params})
	}
	if in.Recovery != nil {
		r.Recovery = p.recovery(*in.Recovery)
	}
	return r
}

func (p *runbookParser) metadata(in metadataDoc) Metadata {
	p.form("metadata.name", in.Name, slugForm, "lower-case letters, digits, dots, dashes or underscores, at most 63")
	p.filled("metadata.owner", in.Owner)
	day, err := time.Parse(time.DateOnly, in.Reviewed)
	if err != nil || !dateForm.MatchString(in.Reviewed) {
		p.fail("metadata.reviewed", "%q is not a day such as 2026-01-31", in.Reviewed)
	}
	return Metadata{Name: in.Name, Description: in.Description, Owner: in.Owner, Reviewed: day}
}

func (p *runbookParser) match(in matchDoc) Match {
	if len(in.Services) == 0 {
		p.fail("match.services", "it is empty; name services, or %q for any", AnyService)
	}
	for i, s := range in.Services {
		path := fmt.Sprintf("match.services[%d]", i)
		switch {
		case s == AnyService && len(in.Services) > 1:
			p.fail(path, "%q must stand alone", AnyService)
		case s != AnyService:
			p.form(path, s, slugForm, "a name of the catalogue")
		}
		if slices.Contains(in.Services[:i], s) {
			p.fail(path, "service %q stands there twice", s)
		}
	}
	return Match(in)
}

func (p *runbookParser) target(path string, in targetDoc) incident.Target {
	p.form(path+".system", in.System, systemForm, "the name of a configured system")
	p.form(path+".path", in.Path, pathForm, "an absolute path without spaces; the only thing in braces may be "+Placeholder)
	return incident.Target{System: in.System, Path: in.Path}
}

func (p *runbookParser) watch(path string, in watchDoc) Watch {
	p.form(path+".source", in.Source, kindForm, "a kind such as nats.kv")
	if p.doc.Has(path + ".kind") {
		p.oneOf(path+".kind", in.Kind, changeKinds)
	}
	p.filled(path+".no_inverse", in.NoInverse)
	return Watch{Source: in.Source, Target: p.target(path+".target", in.Target), Kind: incident.ChangeKind(in.Kind), NoInverse: in.NoInverse}
}

func (p *runbookParser) option(path string, in optionDoc, watches []Watch) OptionSpec {
	p.form(path+".name", in.Name, slugForm, "lower-case letters, digits, dots, dashes or underscores, at most 63")
	p.filled(path+".title", in.Title)
	if n := len([]rune(in.Title)); n > maxTitle {
		p.fail(path+".title", "it has %d characters, more than %d", n, maxTitle)
	}
	p.oneOf(path+".strategy", in.Strategy, strategies)
	for i, u := range in.Undoes {
		if !slices.ContainsFunc(watches, func(w Watch) bool { return w.Source == u }) {
			p.fail(fmt.Sprintf("%s.undoes[%d]", path, i), "source %q is not watched; add it to changes", u)
		}
	}
	rung, ok := rungs[in.Rung]
	if !ok {
		p.fail(path+".rung", "unknown value %q, known are observe, visibility, reversible, controlled, irreversible", in.Rung)
	}
	p.positive(path+".expected_time", in.ExpectedTime)
	p.filled(path+".global", in.Global)
	p.filled(path+".risk", in.Risk)
	for i, w := range in.WontRevert {
		p.filled(fmt.Sprintf("%s.wont_revert[%d]", path, i), w)
	}
	for i, s := range in.SharedData {
		p.form(fmt.Sprintf("%s.shared_data[%d]", path, i), s, slugForm, "the name of a resource of the catalogue")
	}
	if len(in.Actions) == 0 {
		p.fail(path+".actions", "it is empty")
	}
	o := OptionSpec{
		Name: in.Name, Title: in.Title, Strategy: incident.Strategy(in.Strategy), Undoes: in.Undoes, SharedData: in.SharedData,
		Global: in.Global, Rung: rung, ExpectedTime: in.ExpectedTime, Risk: in.Risk, WontRevert: in.WontRevert,
	}
	for i, a := range in.Actions {
		o.Actions = append(o.Actions, p.action(fmt.Sprintf("%s.actions[%d]", path, i), a))
	}
	return o
}

func (p *runbookParser) action(path string, in actionDoc) ActionSpec {
	p.form(path+".kind", in.Kind, kindForm, "a kind such as nats.kv")
	if p.doc.Has(path + ".service") {
		p.form(path+".service", in.Service, slugForm, "a name of the catalogue")
	}
	if p.doc.Has(path + ".max_time") {
		p.positive(path+".max_time", in.MaxTime)
	}
	p.filled(path+".revision", in.Revision)
	switch strings.ToLower(in.Revision) {
	case "previous", "latest", "current", "last", "head":
		p.fail(path+".revision", "%q is not absolute; leave it out for the state before the suspected change", in.Revision)
	}
	onFailure := incident.OnFailureStop
	if p.doc.Has(path + ".on_failure") {
		p.oneOf(path+".on_failure", in.OnFailure, onFailures)
		onFailure = incident.OnFailure(in.OnFailure)
	}
	return ActionSpec{
		Kind: in.Kind, Target: p.target(path+".target", in.Target), Service: in.Service,
		Revision: in.Revision, MaxTime: in.MaxTime, OnFailure: onFailure,
	}
}

func (p *runbookParser) positive(path string, d time.Duration) {
	if d <= 0 || d > MaxDuration {
		p.fail(path, "%s must be above zero and at most %s", d, MaxDuration)
	}
}

func (p *runbookParser) recovery(in recoveryDoc) incident.RecoverySpec {
	spec := incident.RecoverySpec{}
	for _, d := range []struct {
		key       string
		value     time.Duration
		into      *time.Duration
		byDefault time.Duration
		zero      bool
	}{
		{"warmup", in.Warmup, &spec.Warmup, DefaultWarmup, true},
		{"short", in.Short, &spec.Short, DefaultShort, false},
		{"long", in.Long, &spec.Long, DefaultLong, false},
		{"step", in.Step, &spec.Step, DefaultStep, false},
		{"baseline_length", in.BaselineLength, &spec.BaselineLength, DefaultBaselineLength, false},
		{"baseline_gap", in.BaselineGap, &spec.BaselineGap, DefaultBaselineGap, true},
		{"hold", in.Hold, &spec.Hold, DefaultHold, true},
		{"deadline", in.Deadline, &spec.Deadline, DefaultDeadline, false},
	} {
		*d.into = d.byDefault
		path := "recovery." + d.key
		if p.doc.Has(path) {
			*d.into = d.value
			if !d.zero || d.value != 0 {
				p.positive(path, d.value)
			}
		}
	}
	switch {
	case spec.Short > spec.Long:
		p.fail("recovery.short", "%s is longer than long, which is %s", spec.Short, spec.Long)
	case spec.Step > spec.Short:
		p.fail("recovery.step", "%s is longer than short, which is %s", spec.Step, spec.Short)
	case spec.Deadline < spec.Warmup+spec.Long+spec.Hold:
		p.fail("recovery.deadline", "%s is shorter than warmup, long and hold together, %s: nothing could ever recover", spec.Deadline, spec.Warmup+spec.Long+spec.Hold)
	}
	if len(in.SLIs) == 0 {
		p.fail("recovery.slis", "it is empty")
	}
	seen := map[string]bool{}
	for i, s := range in.SLIs {
		path := fmt.Sprintf("recovery.slis[%d]", i)
		if seen[s.Name] {
			p.fail(path+".name", "SLI %q stands there twice", s.Name)
		}
		seen[s.Name] = true
		spec.SLIs = append(spec.SLIs, p.sli(path, s, spec))
	}
	spec.Data = p.data(in.Data)
	return spec
}

func (p *runbookParser) sli(path string, in sliDoc, spec incident.RecoverySpec) incident.SLI {
	p.filled(path+".name", in.Name)
	p.form(path+".system", in.System, systemForm, "the name of a configured system")
	p.filled(path+".query", in.Query)
	p.filled(path+".unit", in.Unit)
	p.filled(path+".traffic", in.Traffic)
	p.filled(path+".bad", in.Bad)
	p.filled(path+".total", in.Total)
	out := incident.SLI{
		Name: in.Name, System: in.System, Query: in.Query, Unit: in.Unit, Objective: p.objective(path+".objective", in.Objective),
		Tolerance: DefaultTolerance, Traffic: in.Traffic, MinPoints: DefaultMinPoints,
	}
	if p.doc.Has(path + ".tolerance") {
		out.Tolerance = in.Tolerance
		if math.IsNaN(in.Tolerance) || in.Tolerance <= 0 || in.Tolerance > 10 {
			p.fail(path+".tolerance", "%g must be above 0 and at most 10", in.Tolerance)
		}
	}
	if p.doc.Has(path + ".min_points") {
		out.MinPoints = in.MinPoints
		if in.MinPoints < 1 {
			p.fail(path+".min_points", "%d must be at least 1", in.MinPoints)
		}
	}
	if most := int(spec.Short/max(spec.Step, 1)) + 1; out.MinPoints > most {
		p.fail(path+".min_points", "%d samples do not fit into the short window, which holds %d", out.MinPoints, most)
	}
	p.events(path, in, &out)
	switch {
	case out.Traffic == "" && p.doc.Has(path+".min_traffic"):
		p.fail(path+".min_traffic", "it needs traffic, the query for events per second")
	case out.Traffic != "":
		out.MinTraffic = DefaultMinTraffic
		if p.doc.Has(path + ".min_traffic") {
			out.MinTraffic = in.MinTraffic
			if math.IsNaN(in.MinTraffic) || in.MinTraffic <= 0 || in.MinTraffic > 1 {
				p.fail(path+".min_traffic", "%g must be above 0 and at most 1", in.MinTraffic)
			}
		}
	}
	return out
}

// events takes over the queries of bad and of all events. All events are the
// traffic where no other is named.
func (p *runbookParser) events(path string, in sliDoc, out *incident.SLI) {
	switch {
	case in.Bad == "" && in.Total == "":
		return
	case in.Total == "":
		p.fail(path+".bad", "it needs total, the query for all events per second")
	case in.Bad == "":
		p.fail(path+".total", "it needs bad, the query for bad events per second")
	case in.Unit != "ratio" || out.Objective.Bound <= 0 || out.Objective.Bound >= 1:
		p.fail(path+".bad", "events are for the unit ratio and an objective between 0 and 1")
	}
	out.Bad, out.Total = in.Bad, in.Total
	if out.Traffic == "" {
		out.Traffic = in.Total
	}
}

func (p *runbookParser) objective(path, s string) incident.Objective {
	if !objectiveForm.MatchString(s) {
		p.fail(path, "%q is not an objective such as \"< 0.01\" or \"> 0.99\"", s)
		return incident.Objective{}
	}
	bound, err := strconv.ParseFloat(strings.TrimSpace(s[1:]), 64)
	if err != nil || math.IsInf(bound, 0) {
		p.fail(path, "%q has no bound that is a number", s)
	}
	return incident.Objective{Comparison: incident.Comparison(s[:1]), Bound: bound}
}
