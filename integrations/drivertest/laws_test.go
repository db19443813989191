package drivertest

import (
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
)

// TestSoundKinds shows that the laws can be kept: all of them are tried.
func TestSoundKinds(t *testing.T) {
	t.Parallel()
	formed := storeCase(someOneWay)
	formed.Form = "formed"
	Run(t, storeCase(sound), formed, storeCase(allOneWay))
}

// TestBrokenKinds shows that each law catches who breaks it.
func TestBrokenKinds(t *testing.T) {
	t.Parallel()
	broken := map[defect][]string{
		sound:              nil,
		someOneWay:         nil,
		allOneWay:          nil,
		planWrites:         {"1-plan-and-observe-change-nothing"},
		observeWrites:      {"1-plan-and-observe-change-nothing"},
		appliesBlindly:     {"2-apply-twice-is-once", "3-drift-is-refused"},
		writesTwice:        {"2-apply-twice-is-once", "2-lost-request-is-harmless", "5-involution", "7-killed-between-calls-completes", "7-throttling-is-retried", "7-timeouts-are-retried"},
		noCompareAndSet:    {"4-newer-change-during-apply-is-never-clobbered"},
		retriesBlindly:     {"2-lost-response-is-once"},
		goesToPrevious:     {"4-newer-change-is-never-clobbered"},
		differenceUnnamed:  {"3-drift-is-refused", "4-newer-change-is-never-clobbered"},
		noWayBack:          {"5-involution"},
		deniesWayBack:      {"5-involution"},
		noPreflight:        {"6-preflight-missing-revision", "6-preflight-missing-permission"},
		missingIsError:     {"6-preflight-missing-target"},
		reasonIsNoSentence: {"6-preflight-missing-target", "6-preflight-missing-revision", "6-preflight-missing-permission"},
		outageIsFinal:      {"2-lost-request-is-harmless", "2-lost-response-is-once", "7-timeouts-are-retried"},
		outlivesItsTime:    {"7-maximum-time-is-honoured"},
		denialIsPassing:    {"7-denied-is-final"},
		throttlingIsFinal:  {"7-throttling-is-retried"},
		revertsEverything:  {"8-says-what-it-will-not-revert"},
		tokenInError:       {"9-no-secret-is-shown"},
		contentInDetail:    {"9-no-secret-is-shown"},
		tokenInLog:         {"9-no-secret-is-shown"},
		mutationDenied:     {"2-apply-twice-is-once"},
		reachIsNoQuestion:  {"9-no-secret-is-shown"},
		promisesWayBack:    {"5-one-way-door"},
	}
	caught := map[string]bool{}
	for _, d := range defects {
		require.Equal(t, slices.Contains(faultless, d), len(broken[d]) == 0, "defect %q is caught by no law", d)
		for _, name := range broken[d] {
			at := slices.IndexFunc(laws(), func(l law) bool { return l.name == name })
			require.GreaterOrEqual(t, at, 0, "no law %q", name)
			caught[name] = true
			t.Run(string(d)+"/"+name, func(t *testing.T) {
				t.Parallel()
				failed, messages := trial(t, func(tb testing.TB) { laws()[at].check(tb, storeCase(d)) })
				require.True(t, failed, "the law lets the defect pass")
				require.NotEmpty(t, messages, "the law does not say what is wrong")
			})
		}
	}
	for _, l := range laws() {
		if l.excuse(storeCase(sound)) == "" || l.excuse(storeCase(allOneWay)) == "" {
			require.True(t, caught[l.name], "no defect shows that law %q bites", l.name)
		}
	}
}

// TestLeakIsNotRepeated shows that a law that finds a secret does not print it.
func TestLeakIsNotRepeated(t *testing.T) {
	t.Parallel()
	failed, messages := trial(t, func(tb testing.TB) { requireAbsent(tb, "a text", "one line\nkey=abcdefgh1", "abcdefgh1") })
	require.True(t, failed)
	require.Equal(t, []string{`a text holds a secret, behind "key="`}, messages)
}

func TestIncompleteCases(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		spoil func(c *Case)
		want  string
	}{
		{"no kind", func(c *Case) { c.Kind = "" }, "kind is empty"},
		{"form that is no name", func(c *Case) { c.Form = "a/b" }, "form is not made of"},
		{"no start", func(c *Case) { c.Start = nil }, "Start is missing"},
		{"condition left out", func(c *Case) { delete(c.Preflight, DeployInFlight) }, "neither a scenario nor a reason"},
		{"condition without both", func(c *Case) { c.Preflight[DeployInFlight] = Scenario{} }, "either a scenario or a reason"},
		{"scenario that says nothing", func(c *Case) { s := c.Preflight[MissingTarget]; s.Says = ""; c.Preflight[MissingTarget] = s }, "must contain"},
		{"unknown condition", func(c *Case) { c.Preflight["rain"] = Scenario{NotApplicable: "indoors"} }, "not known"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := storeCase(sound)
			require.Empty(t, c.problem())
			test.spoil(&c)
			require.Contains(t, c.problem(), test.want)
		})
	}
}

func TestIncompleteTargets(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		spoil func(c *Case, target *Target)
		want  string
	}{
		{"no interference", func(_ *Case, target *Target) { target.Interfere = nil }, "must be set"},
		{"nothing to cut and no reason", func(_ *Case, target *Target) { target.Upstream = "" }, "NotRemote"},
		{"a reason beside something to cut", func(c *Case, _ *Target) { c.NotRemote = "it is here" }, "NotRemote"},
		{"no throttling and no reason", func(_ *Case, target *Target) { target.Throttle = nil }, "NeverThrottled"},
		{"no difference", func(_ *Case, target *Target) { target.Difference = "" }, "Difference"},
		{"no canary", func(_ *Case, target *Target) { target.Canaries = nil }, "no canary"},
		{"short canary", func(_ *Case, target *Target) { target.Canaries = []string{"abc"} }, "too short"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := storeCase(sound)
			target := c.Start(t)
			require.Empty(t, target.problem(c))
			test.spoil(&c, target)
			require.Contains(t, target.problem(c), test.want)
		})
	}
}

// TestExcusesOfLaw5 shows that both of its parts are tried where both can be, and
// that one always is.
func TestExcusesOfLaw5(t *testing.T) {
	t.Parallel()
	left := storeCase(someOneWay)
	left.OneWay = nil
	for _, test := range []struct {
		name           string
		c              Case
		returns, doors string
	}{
		{"all have a way back", storeCase(sound), "", "every target of the kind has a way back"},
		{"some have none", storeCase(someOneWay), "", ""},
		{"some have none, which another case tries", left, "", "another form of the kind has it: a value that can be written once more"},
		{"none has any", storeCase(allOneWay), "the kind is a one-way door: nothing is kept", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, test.returns, returns(test.c))
			require.Equal(t, test.doors, oneWay(test.c))
		})
	}
}

// TestOverwritesIsNoExcuse shows that a case can not claim it for a kind that does
// not put back what it overwrites, nor for one that overwrites nothing.
func TestOverwritesIsNoExcuse(t *testing.T) {
	t.Parallel()
	for _, d := range []defect{noCompareAndSet, sound} {
		c := storeCase(d)
		c.Overwrites = "the store has no compare-and-set"
		failed, _ := trial(t, func(tb testing.TB) { newerChangeDuringApply(tb, c) })
		require.True(t, failed, "defect %q", d)
	}
}

// TestUncovered shows that a kind without a case fails, for whatever it needs one,
// and so does a case without a kind.
func TestUncovered(t *testing.T) {
	t.Parallel()
	require.Empty(t, Registered(), "the tests of this package register no case")
	require.Len(t, uncovered(driver.Kinds(), Registered()), len(defects), "every kind of this test has no case")
	door := func(testing.TB) *Target { return nil }
	all := []driver.Descriptor{
		{Kind: "a", Reversible: true, Forms: []string{"x", "y"}, OneWay: "what is old"},
		{Kind: "b"},
	}
	for _, test := range []struct {
		name  string
		kinds []driver.Descriptor
		cases []Case
		want  []string
	}{
		{"all is covered", all, []Case{{Kind: "a", Form: "x"}, {Kind: "a", Form: "y", OneWay: door}, {Kind: "b"}}, nil},
		{"a kind has no case", all, []Case{{Kind: "a", Form: "x"}, {Kind: "a", Form: "y", OneWay: door}}, []string{`kind "b" has no case: write one`}},
		{"a form has no case", all, []Case{{Kind: "a", Form: "x"}, {Kind: "a", OneWay: door}, {Kind: "b"}}, []string{`kind "a" has no case for its form "y"`}},
		{"one-way doors have no case", all, []Case{{Kind: "a", Form: "x"}, {Kind: "a", Form: "y"}, {Kind: "b"}}, []string{`kind "a" has no case for its one-way doors`}},
		{"a one-way door that the kind does not know", []driver.Descriptor{{Kind: "a", Reversible: true}}, []Case{{Kind: "a", OneWay: door}}, []string{`does not say which targets are`}},
		{"a kind that has no way back at all", []driver.Descriptor{{Kind: "b", OneWay: "nothing is kept"}}, []Case{{Kind: "b", OneWay: door}}, []string{`kind "b" is not reversible at all`}},
		{"a case without a kind", all[1:], []Case{{Kind: "b"}, {Kind: "c", Form: "z"}}, []string{`case "c/z" has no kind: known are b`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			problems := uncovered(test.kinds, test.cases)
			require.Len(t, problems, len(test.want), "%v", problems)
			for n, want := range test.want {
				require.Contains(t, problems[n], want)
			}
		})
	}
}

func TestRegisterPanicsOnDuplicate(t *testing.T) {
	t.Parallel()
	require.Panics(t, func() { Register(Case{}) })
}

func TestSettingsAreStrict(t *testing.T) {
	t.Parallel()
	var into storeSettings
	require.NoError(t, Settings(map[string]string{"address": "here"})(&into))
	require.Equal(t, "here", into.Address)
	require.Error(t, Settings(map[string]string{"addr": "here"})(&into))
}

// trial runs a check that may fail, and reports whether it did and what it said.
func trial(t *testing.T, check func(tb testing.TB)) (failed bool, messages []string) {
	t.Helper()
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		check(r)
	}()
	<-done
	return r.failed, r.messages
}

// recorder is a test that keeps its failure to itself.
type recorder struct {
	testing.TB
	failed   bool
	messages []string
}

func (r *recorder) Errorf(format string, args ...any) {
	r.failed = true
	r.messages = append(r.messages, fmt.Sprintf(format, args...))
}

func (r *recorder) FailNow() {
	r.failed = true
	runtime.Goexit()
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	r.FailNow()
}
