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
}

func applies(Case) string     { return "" }
func remote(c Case) string    { return c.NotRemote }
func throttles(c Case) string { return c.NeverThrottled }

// laws are all laws in the order of their numbers.
func laws() []law {
	all := []law{
		{"1-plan-and-observe-change-nothing", applies, readsOnly},
		{"2-apply-twice-is-once", applies, applyTwice},
		{"2-lost-request-is-harmless", remote, lostRequest},
		{"2-lost-response-is-once", remote, lostResponse},
		{"3-drift-is-refused", applies, driftRefused},
		{"4-newer-change-is-never-clobbered", applies, newerChange},
		{"4-newer-change-during-apply-is-never-clobbered", remote, newerChangeDuringApply},
		{"5-involution", applies, involution},
	}
	for _, condition := range Conditions() {
		all = append(all, law{
			name:   "6-preflight-" + string(condition),
			excuse: func(c Case) string { return c.Preflight[condition].NotApplicable },
			check:  func(tb testing.TB, c Case) { preflight(tb, c, c.Preflight[condition]) },
		})
	}
	return append(all,
		law{"7-killed-between-calls-completes", applies, killedBetweenCalls},
		law{"7-maximum-time-is-honoured", applies, maximumTime},
		law{"7-denied-is-final", deniable, deniedIsFinal},
		law{"7-timeouts-are-retried", remote, timeoutsRetried},
		law{"7-throttling-is-retried", throttles, throttlingRetried},
		law{"8-says-what-it-will-not-revert", applies, wontRevert},
		law{"9-no-secret-is-shown", applies, noSecret},
	)
}

// deniable is excused where no permission can be missing.
func deniable(c Case) string { return c.Preflight[MissingPermission].NotApplicable }

// Run tries every law on every case, as subtests named <kind>/<law>.
func Run(t *testing.T, cases ...Case) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.Kind, func(t *testing.T) {
			t.Parallel()
			if problem := c.problem(); problem != "" {
				t.Fatalf("the case of %q is incomplete: %s", c.Kind, problem)
			}
			if _, ok := driver.Describe(c.Kind); !ok {
				t.Fatalf("kind %q is not registered as an inverse", c.Kind)
			}
			var found verdicts
			// After all laws of the kind, which run beside each other.
			t.Cleanup(func() { t.Log(found.table(c.Kind, laws())) })
			for _, l := range laws() {
				t.Run(l.name, func(t *testing.T) {
					t.Parallel()
					if reason := l.excuse(c); reason != "" {
						found.set(l.name, "not applicable: "+reason)
						return
					}
					t.Cleanup(func() { found.set(l.name, outcome(t)) })
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

// verdicts are what became of the laws of one kind, by the name of the law.
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
func (v *verdicts) table(kind string, all []law) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var text strings.Builder
	fmt.Fprintf(&text, "the laws on %s:", kind)
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
// package. A kind without a case fails, and so does a case without a kind.
func RunRegistered(t *testing.T) {
	t.Helper()
	for _, problem := range uncovered() {
		t.Error(problem)
	}
	for _, kind := range Registered() {
		Run(t, registered[kind])
	}
}

// uncovered lists what is wrong with the cases that are registered.
func uncovered() []string {
	var kinds []string
	for _, d := range driver.Kinds() {
		kinds = append(kinds, d.Kind)
	}
	return uncoveredBy(kinds, Registered())
}

// uncoveredBy lists the kinds without a case and the cases without a kind.
func uncoveredBy(kinds, cases []string) []string {
	var problems []string
	for _, kind := range kinds {
		if !slices.Contains(cases, kind) {
			problems = append(problems, fmt.Sprintf("kind %q has no case: write one and import it where the laws are run", kind))
		}
	}
	for _, kind := range cases {
		if !slices.Contains(kinds, kind) {
			problems = append(problems, fmt.Sprintf("case %q has no kind: known are %s", kind, strings.Join(kinds, ", ")))
		}
	}
	return problems
}
