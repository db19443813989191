package drivertest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/backout/backout/integrations/driver"
)

// law is one law, or one part of one.
type law struct {
	name string
	// excuse is the reason why the law can not apply to a case; empty when it
	// does.
	excuse func(c Case) string
	check  func(tb testing.TB, c Case)
	// weaker is how the law is weaker for a case; nil when it never is.
	weaker func(c Case) string
}

// remark tells how a law is weaker for a case.
func (l law) remark(c Case) string {
	if l.weaker == nil || l.weaker(c) == "" {
		return ""
	}
	return ", with what is overwritten put back: " + l.weaker(c)
}

func applies(Case) string     { return "" }
func remote(c Case) string    { return c.NotRemote }
func throttles(c Case) string { return c.NeverThrottled }

// returns is excused where nothing has a way back.
func returns(c Case) string {
	d, _ := driver.Describe(c.Kind)
	switch {
	case d.Reversible:
		return ""
	case d.OneWay == "":
		return "the kind is a one-way door"
	default:
		return "the kind is a one-way door: " + d.OneWay
	}
}

// oneWay is excused where everything has a way back, and in the cases of a
// reversible kind that leave its one-way doors to another.
func oneWay(c Case) string {
	d, _ := driver.Describe(c.Kind)
	switch {
	case !d.Reversible || c.OneWay != nil:
		return ""
	case d.OneWay == "":
		return "every target of the kind has a way back"
	default:
		return "another form of the kind has it: " + d.OneWay
	}
}

// laws are all laws in the order of their numbers.
func laws() []law {
	all := []law{
		{name: "1-plan-and-observe-change-nothing", excuse: applies, check: readsOnly},
		{name: "2-apply-twice-is-once", excuse: applies, check: applyTwice},
		{name: "2-lost-request-is-harmless", excuse: remote, check: lostRequest},
		{name: "2-lost-response-is-once", excuse: remote, check: lostResponse},
		{name: "3-drift-is-refused", excuse: applies, check: driftRefused},
		{name: "4-newer-change-is-never-clobbered", excuse: applies, check: newerChange},
		{name: "4-newer-change-during-apply-is-never-clobbered", excuse: remote, check: newerChangeDuringApply, weaker: func(c Case) string { return c.Overwrites }},
		{name: "5-involution", excuse: returns, check: involution},
		{name: "5-one-way-door", excuse: oneWay, check: oneWayDoor},
	}
	for _, condition := range Conditions() {
		all = append(all, law{
			name:   "6-preflight-" + string(condition),
			excuse: func(c Case) string { return c.Preflight[condition].NotApplicable },
			check:  func(tb testing.TB, c Case) { preflight(tb, c, c.Preflight[condition]) },
		})
	}
	return append(all,
		law{name: "7-killed-between-calls-completes", excuse: applies, check: killedBetweenCalls},
		law{name: "7-maximum-time-is-honoured", excuse: applies, check: maximumTime},
		law{name: "7-denied-is-final", excuse: deniable, check: deniedIsFinal},
		law{name: "7-timeouts-are-retried", excuse: remote, check: timeoutsRetried},
		law{name: "7-throttling-is-retried", excuse: throttles, check: throttlingRetried},
		law{name: "8-says-what-it-will-not-revert", excuse: applies, check: wontRevert},
		law{name: "9-no-secret-is-shown", excuse: applies, check: noSecret},
	)
}

// deniable is excused where no permission can be missing.
func deniable(c Case) string { return c.Preflight[MissingPermission].NotApplicable }

// Run tries every law on every case, as subtests named <kind>/<law>, or
// <kind>/<form>/<law> where the case has a form.
func Run(t *testing.T, cases ...Case) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.Name(), func(t *testing.T) {
			t.Parallel()
			if problem := c.problem(); problem != "" {
				t.Fatalf("the case of %q is incomplete: %s", c.Name(), problem)
			}
			if _, ok := driver.Describe(c.Kind); !ok {
				t.Fatalf("kind %q is not registered as an inverse", c.Kind)
			}
			var found verdicts
			// After all laws of the kind, which run beside each other.
			t.Cleanup(func() { t.Log(found.table(c.Name(), laws())) })
			for _, l := range laws() {
				t.Run(l.name, func(t *testing.T) {
					t.Parallel()
					if reason := l.excuse(c); reason != "" {
						found.set(l.name, "not applicable: "+reason)
						return
					}
					t.Cleanup(func() { found.set(l.name, outcome(t)+l.remark(c)) })
					l.check(t, c)
				})
			}
		})
	}
}

// outcome is how a test ended.
func outcome(t *testing.T) string {
	t.Helper()
	switch {
	case t.Failed():
		return "FAILED"
	case t.Skipped():
		return "NOT TRIED"
	default:
		return "passed"
	}
}

// verdicts are what became of the laws of one case, by the name of the law.
type verdicts struct {
	mu    sync.Mutex
	found map[string]string
}

func (v *verdicts) set(law, verdict string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.found == nil {
		v.found = map[string]string{}
	}
	v.found[law] = verdict
}

// table lists every law with its verdict, in the order of the laws.
func (v *verdicts) table(name string, all []law) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var text strings.Builder
	fmt.Fprintf(&text, "the laws on %s:", name)
	for _, l := range all {
		verdict := v.found[l.name]
		if verdict == "" {
			verdict = "NOT TRIED" // Left out by a filter of the command line.
		}
		fmt.Fprintf(&text, "\n%-52s %s", l.name, verdict)
	}
	return text.String()
}

// RunRegistered tries every law on every kind that is registered with the driver
// package. A kind without a case fails, also for one of its forms or for its
// one-way doors, and so does a case without a kind.
func RunRegistered(t *testing.T) {
	t.Helper()
	for _, problem := range uncovered(driver.Kinds(), Registered()) {
		t.Error(problem)
	}
	Run(t, Registered()...)
}

// uncovered lists what kinds lack a case for, and cases that do not fit a kind.
func uncovered(kinds []driver.Descriptor, cases []Case) []string {
	var problems []string
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	var known []string
	for _, d := range kinds {
		known = append(known, d.Kind)
		has := func(fits func(Case) bool) bool {
			return slices.ContainsFunc(cases, func(c Case) bool { return c.Kind == d.Kind && fits(c) })
		}
		if !has(func(Case) bool { return true }) {
			problem("kind %q has no case: write one and import it where the laws are run", d.Kind)
			continue
		}
		for _, form := range d.Forms {
			if !has(func(c Case) bool { return c.Form == form }) {
				problem("kind %q has no case for its form %q", d.Kind, form)
			}
		}
		doors := has(func(c Case) bool { return c.OneWay != nil })
		switch {
		case !d.Reversible && doors:
			problem("kind %q is not reversible at all: its cases do not set OneWay", d.Kind)
		case d.Reversible && d.OneWay != "" && !doors:
			problem("kind %q has no case for its one-way doors", d.Kind)
		case d.Reversible && d.OneWay == "" && doors:
			problem("kind %q has a case for one-way doors and does not say which targets are", d.Kind)
		}
	}
	for _, c := range cases {
		if !slices.Contains(known, c.Kind) {
			problem("case %q has no kind: known are %s", c.Name(), strings.Join(known, ", "))
		}
	}
	return problems
}
