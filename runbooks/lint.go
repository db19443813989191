package runbooks

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/backout/backout/workflows/incident"
)

// StaleAfter is how old the last review of a runbook may be.
const StaleAfter = 180 * 24 * time.Hour

// LintSeverity says how bad a finding is. The zero value is invalid.
type LintSeverity string

// The severities of findings. A runbook with errors is not to be served.
const (
	LintError   LintSeverity = "error"
	LintWarning LintSeverity = "warning"
)

// The rules of lint.
const (
	RuleDuplicateName      = "duplicate-name"
	RuleUnknownKind        = "unknown-kind"
	RuleUnknownSource      = "unknown-source"
	RuleUnknownCollector   = "unknown-collector"
	RuleBadParameter       = "bad-parameter"
	RuleUnknownService     = "unknown-service"
	RuleUnknownResource    = "unknown-resource"
	RuleNoMaxTime          = "no-max-time"
	RuleOneWayUndeclared   = "one-way-undeclared"
	RuleOneWayNoReason     = "one-way-without-reason"
	RuleNoRisk             = "no-risk"
	RuleNoRecovery         = "no-recovery"
	RuleNoEvidence         = "no-evidence"
	RuleStaleReview        = "stale-review"
	RuleFutureReview       = "future-review"
	RuleNoTrafficGuard     = "no-traffic-guard"
	RuleBadQuery           = "bad-query"
	RuleNoInverse          = "no-inverse"
	RuleNoInverseButUndone = "no-inverse-but-undone"
	RuleNeverOffered       = "never-offered"
	RuleUnknownSystem      = "unknown-system"
	RuleBadSQL             = "bad-sql"
	RuleCountHidesSilence  = "count-hides-silence"
)

// Finding is one thing that lint found.
type Finding struct {
	File     string       `json:"file"`
	Line     int          `json:"line"`
	Severity LintSeverity `json:"severity"`
	// Rule is the finding's stable name, such as "stale-review".
	Rule string `json:"rule"`
	// Message is one sentence that says what to do.
	Message string `json:"message"`
}

// String is "file:line: severity: message (rule)".
func (f Finding) String() string {
	return fmt.Sprintf("%s:%d: %s: %s (%s)", f.File, f.Line, f.Severity, f.Message, f.Rule)
}

// KindInfo is what lint must know about a kind of inverse.
type KindInfo struct {
	Kind       string
	Reversible bool
}

// LintInput is what lint looks at beside the runbooks. A nil list, map or
// catalogue means that it is not known, and that nothing is checked against it.
type LintInput struct {
	Catalogue  *Catalogue
	Kinds      []KindInfo
	Sources    []string
	Collectors []string
	Now        time.Time
	// CheckParams reports what is wrong with the parameters of a collector that is
	// known, and with its target. Param is the name of the parameter that it is about;
	// empty where it is about none.
	CheckParams func(e incident.EvidenceSpec) (param string, err error)
	// CheckQuery reports what is wrong with a PromQL expression.
	CheckQuery func(query string) error
	// CheckSQL reports what keeps SQL from being a count that a database may be asked
	// for.
	CheckSQL func(query string) error
	// Systems are the types of the configured systems by their names.
	Systems map[string]string
}

// Lint checks runbooks against each other and against the world (REQUIREMENTS
// G1). Findings are ordered by file and line.
func Lint(all []*Runbook, in LintInput) []Finding {
	l := &linter{in: in}
	byName := map[string]*Runbook{}
	for _, r := range all {
		l.r = r
		if other, dup := byName[r.Metadata.Name]; dup {
			l.find("metadata.name", LintError, RuleDuplicateName, "Rename this runbook: %s is called %q too.", other.File, r.Metadata.Name)
		}
		byName[r.Metadata.Name] = r
		l.runbook()
	}
	slices.SortStableFunc(l.found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Message, b.Message))
	})
	return l.found
}

// HasErrors reports whether any finding is an error.
func HasErrors(findings []Finding) bool {
	return slices.ContainsFunc(findings, func(f Finding) bool { return f.Severity == LintError })
}

type linter struct {
	in    LintInput
	r     *Runbook
	found []Finding
}

func (l *linter) find(path string, s LintSeverity, rule, format string, args ...any) {
	line := 1
	if l.r.doc != nil {
		line = l.r.doc.At(path).Line
	}
	l.found = append(l.found, Finding{File: l.r.File, Line: line, Severity: s, Rule: rule, Message: fmt.Sprintf(format, args...)})
}

func (l *linter) runbook() {
	r := l.r
	switch since := l.in.Now.Sub(r.Metadata.Reviewed); {
	case since > StaleAfter:
		l.find("metadata.reviewed", LintWarning, RuleStaleReview, "Review the runbook and set the day: the last review is %d days old, more than %d.", int(since.Hours()/24), int(StaleAfter.Hours()/24))
	case since < -24*time.Hour:
		l.find("metadata.reviewed", LintError, RuleFutureReview, "Correct the day of the review: it is in the future.")
	}
	for i, s := range r.Match.Services {
		if s != AnyService {
			l.service(fmt.Sprintf("match.services[%d]", i), s)
		}
	}
	for i, w := range r.Changes {
		l.watch(fmt.Sprintf("changes[%d]", i), w)
	}
	for i, o := range r.Options {
		l.option(fmt.Sprintf("options[%d]", i), o)
	}
	if len(r.Evidence) == 0 {
		l.find("options", LintError, RuleNoEvidence, "Add an evidence section: a rollback destroys what is not captured before it.")
	}
	for i, e := range r.Evidence {
		l.evidence(fmt.Sprintf("evidence[%d]", i), e)
	}
	if len(r.Recovery.SLIs) == 0 {
		l.find("options", LintError, RuleNoRecovery, "Add a recovery section with an SLI: without one recovery is never more than unknown.")
	}
	for i, s := range r.Recovery.SLIs {
		l.sli(fmt.Sprintf("recovery.slis[%d]", i), s)
	}
	for i, d := range r.Recovery.Data {
		l.data(fmt.Sprintf("recovery.data[%d]", i), d)
	}
}

// evidence checks what a collector is asked, for a service called like one.
func (l *linter) evidence(path string, e incident.EvidenceSpec) {
	if l.in.Collectors != nil && !slices.Contains(l.in.Collectors, e.Collector) {
		l.find(path+".collector", LintError, RuleUnknownCollector, "Use a collector that exists instead of %q: %s.", e.Collector, strings.Join(l.in.Collectors, ", "))
		return
	}
	if l.in.CheckParams == nil {
		return
	}
	param, err := l.in.CheckParams(filled(e, "service"))
	switch {
	case err == nil:
	case param == "":
		l.find(path, LintError, RuleBadParameter, "Correct what %s is asked: %v.", e.Collector, err)
	default:
		l.find(path+".params."+param, LintError, RuleBadParameter, "Correct what %s is asked: %v.", e.Collector, err)
	}
}

// CheckEvidence reports the collectors of runbooks that are unknown, and parameters
// that these would not take, each with file and line. A runbook with one is not to be
// served: what it was to capture would be found missing in the middle of an incident.
func CheckEvidence(all []*Runbook, in LintInput) error {
	l := &linter{in: in}
	for _, r := range all {
		l.r = r
		for i, e := range r.Evidence {
			l.evidence(fmt.Sprintf("evidence[%d]", i), e)
		}
	}
	errs := make([]error, len(l.found))
	for i, f := range l.found {
		errs[i] = errors.New(f.String())
	}
	return errors.Join(errs...)
}

func (l *linter) service(path, name string) {
	if l.in.Catalogue == nil {
		return
	}
	if _, ok := l.in.Catalogue.Service(name); !ok {
		l.find(path, LintError, RuleUnknownService, "Add %q to the service catalogue, or correct the name.", name)
	}
}

func (l *linter) watch(path string, w Watch) {
	if l.in.Sources != nil && !slices.Contains(l.in.Sources, w.Source) {
		l.find(path+".source", LintError, RuleUnknownSource, "Use a change source that exists instead of %q: %s.", w.Source, strings.Join(l.in.Sources, ", "))
	}
	undone := slices.ContainsFunc(l.r.Options, func(o OptionSpec) bool {
		return o.UndoesChange(incident.Change{Source: w.Source, Target: w.Target})
	})
	switch {
	case !undone && w.NoInverse == "":
		l.find(path, LintError, RuleNoInverse, "Add an option that undoes changes of %s, or say in no_inverse why there is none.", w.Target)
	case undone && w.NoInverse != "":
		l.find(path+".no_inverse", LintWarning, RuleNoInverseButUndone, "Remove no_inverse: an option undoes changes of %s.", w.Target)
	}
}

func (l *linter) option(path string, o OptionSpec) {
	for i, s := range o.SharedData {
		if l.in.Catalogue != nil && !l.in.Catalogue.HasResource(s) {
			l.find(fmt.Sprintf("%s.shared_data[%d]", path, i), LintError, RuleUnknownResource, "Add resource %q to the service catalogue, or correct the name.", s)
		}
	}
	if o.Rung == incident.RungIrreversible && len(o.WontRevert) == 0 {
		l.find(path+".rung", LintError, RuleOneWayNoReason, "List in wont_revert what option %q leaves behind: it can not be undone.", o.Name)
	}
	if o.Rung >= incident.RungControlled && o.Risk == "" {
		l.find(path+".rung", LintWarning, RuleNoRisk, "Say in risk what can go wrong with option %q.", o.Name)
	}
	if len(o.Undoes) > 0 && !slices.ContainsFunc(l.r.Changes, func(w Watch) bool {
		return o.UndoesChange(incident.Change{Source: w.Source, Target: w.Target})
	}) {
		l.find(path+".undoes", LintWarning, RuleNeverOffered, "Let an action of option %q work on a target that is watched: as it is, the option undoes no watched change.", o.Name)
	}
	for i, a := range o.Actions {
		l.action(fmt.Sprintf("%s.actions[%d]", path, i), o, a)
	}
}

func (l *linter) action(path string, o OptionSpec, a ActionSpec) {
	if a.MaxTime <= 0 {
		l.find(path, LintError, RuleNoMaxTime, "Give the action on %s a max_time.", a.Target)
	}
	if a.Service != "" {
		l.service(path+".service", a.Service)
	}
	if l.in.Kinds == nil {
		return
	}
	i := slices.IndexFunc(l.in.Kinds, func(k KindInfo) bool { return k.Kind == a.Kind })
	if i < 0 {
		known := make([]string, len(l.in.Kinds))
		for j, k := range l.in.Kinds {
			known[j] = k.Kind
		}
		l.find(path+".kind", LintError, RuleUnknownKind, "Use a kind that exists instead of %q: %s.", a.Kind, strings.Join(known, ", "))
		return
	}
	if !l.in.Kinds[i].Reversible && o.Rung != incident.RungIrreversible {
		l.find(path+".kind", LintError, RuleOneWayUndeclared, "Set the rung of option %q to irreversible: %s can not be undone.", o.Name, a.Kind)
	}
}

func (l *linter) sli(path string, s incident.SLI) {
	if s.Traffic == "" {
		l.find(path, LintWarning, RuleNoTrafficGuard, "Give SLI %q a traffic query, so that a dead service does not look healthy.", s.Name)
	}
	if l.in.CheckQuery == nil {
		return
	}
	for _, q := range []struct{ key, query string }{{".query", s.Query}, {".traffic", s.Traffic}, {".bad", s.Bad}, {".total", s.Total}} {
		if q.query == "" {
			continue
		}
		if err := l.in.CheckQuery(strings.ReplaceAll(q.query, Placeholder, "service")); err != nil {
			l.find(path+q.key, LintError, RuleBadQuery, "Correct the query of SLI %q: %v.", s.Name, err)
		}
	}
}
