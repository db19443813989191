package runbooks

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/backout/backout/workflows/incident"
)

// Bounds of the data checks of a runbook. They are Backout's own.
const (
	// MaxDataChecks is how many one runbook may have: each is a question to a production
	// database, again and again while recovery is watched.
	MaxDataChecks = 10
	// maxCheckName is how long the name of one may be, in characters: it is a line on
	// the card.
	maxCheckName = 120
	// maxCheckQuery bounds the query of one, in characters. The database's own bound is
	// as many bytes.
	maxCheckQuery = 8 << 10
	// maxAtMost is the highest bound: above it a number of Prometheus, which is a
	// float64, no longer counts one by one.
	maxAtMost = 1 << 53
)

// The types of systems that data checks ask.
const (
	typeSQL    = "postgres"
	typePromQL = "prometheus"
)

// data takes over the data checks.
func (p *runbookParser) data(in []dataDoc) []incident.DataCheck {
	if len(in) > MaxDataChecks {
		p.fail("recovery.data", "it has %d checks, more than %d; add counts up in one query", len(in), MaxDataChecks)
	}
	var out []incident.DataCheck
	seen := map[string]bool{}
	for i, d := range in {
		path := fmt.Sprintf("recovery.data[%d]", i)
		if seen[d.Name] {
			p.fail(path+".name", "data check %q stands there twice", d.Name)
		}
		seen[d.Name] = true
		out = append(out, p.dataCheck(path, d))
	}
	return out
}

func (p *runbookParser) dataCheck(path string, in dataDoc) incident.DataCheck {
	p.filled(path+".name", in.Name)
	if n := len([]rune(in.Name)); n > maxCheckName {
		p.fail(path+".name", "it has %d characters, more than %d", n, maxCheckName)
	}
	if strings.ContainsAny(in.Name, "\r\n") {
		p.fail(path+".name", "it has more than one line")
	}
	p.form(path+".system", in.System, systemForm, "the name of a configured system")
	for _, q := range []struct{ key, query string }{{".sql", in.SQL}, {".promql", in.PromQL}} {
		p.filled(path+q.key, q.query)
		if n := len([]rune(q.query)); n > maxCheckQuery {
			p.fail(path+q.key, "it has %d characters, more than %d", n, maxCheckQuery)
		}
	}
	switch sql, promQL := p.doc.Has(path+".sql"), p.doc.Has(path+".promql"); {
	case sql && promQL:
		p.fail(path+".promql", "it stands beside sql; a data check has one query, so leave one of them out")
	case !sql && !promQL:
		p.fail(path, "it counts nothing: add sql, for a database, or promql, for a Prometheus")
	}
	if in.AtMost < 0 || in.AtMost > maxAtMost {
		p.fail(path+".at_most", "%d must be at least 0 and at most %d", in.AtMost, int64(maxAtMost))
	}
	return incident.DataCheck{Name: in.Name, System: in.System, SQL: in.SQL, PromQL: in.PromQL, AtMost: int64(in.AtMost)}
}

// orZero is PromQL that answers with a zero where there is no data.
var orZero = regexp.MustCompile(`(?i)\bor\s+((on|ignoring)\s*\([^)]*\)\s*)?vector\s*\(`)

// data checks one data check.
func (l *linter) data(path string, d incident.DataCheck) {
	want, key := typeSQL, ".sql"
	if d.PromQL != "" {
		want, key = typePromQL, ".promql"
	}
	if l.in.Systems != nil {
		switch got, ok := l.in.Systems[d.System]; {
		case !ok:
			known := make([]string, 0, len(l.in.Systems))
			for name, t := range l.in.Systems {
				if t == want {
					known = append(known, name)
				}
			}
			slices.Sort(known)
			l.find(path+".system", LintError, RuleUnknownSystem, "Configure system %q, or name one that is: %s.", d.System, orNone(known))
		case got != want:
			l.find(path+".system", LintError, RuleUnknownSystem, "Name a system of type %s for data check %q: %q is of type %s.", want, d.Name, d.System, got)
		}
	}
	check, rule := l.in.CheckSQL, RuleBadSQL
	query := d.SQL
	if d.PromQL != "" {
		check, rule, query = l.in.CheckQuery, RuleBadQuery, d.PromQL
	}
	if check != nil {
		if err := check(strings.ReplaceAll(query, Placeholder, "service")); err != nil {
			l.find(path+key, LintError, rule, "Correct the query of data check %q: %v.", d.Name, err)
		}
	}
	if orZero.MatchString(d.PromQL) {
		l.find(path+key, LintWarning, RuleCountHidesSilence, "Leave \"or vector\" out of data check %q: a scrape that failed would look as if nothing diverged.", d.Name)
	}
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "there is none of that type"
	}
	return strings.Join(names, ", ")
}
