package drivertest

import (
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSoundKind shows that the laws can be kept: all of them are tried.
func TestSoundKind(t *testing.T) {
	t.Parallel()
	Run(t, storeCase(kindOf(sound)))
}

// TestBrokenKinds shows that each law catches who breaks it.
func TestBrokenKinds(t *testing.T) {
	t.Parallel()
	broken := map[defect][]string{
		sound:              nil,
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
	}
	caught := map[string]bool{}
	for _, d := range defects {
		require.Equal(t, d == sound, len(broken[d]) == 0, "defect %q is caught by no law", d)
		for _, name := range broken[d] {
			at := slices.IndexFunc(laws(), func(l law) bool { return l.name == name })
			require.GreaterOrEqual(t, at, 0, "no law %q", name)
			caught[name] = true
			t.Run(string(d)+"/"+name, func(t *testing.T) {
				t.Parallel()
				failed, messages := trial(t, func(tb testing.TB) { laws()[at].check(tb, storeCase(kindOf(d))) })
				require.True(t, failed, "the law lets the defect pass")
				require.NotEmpty(t, messages, "the law does not say what is wrong")
			})
		}
	}
	for _, l := range laws() {
		if l.excuse(storeCase(kindOf(sound))) == "" {
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
		{"no start", func(c *Case) { c.Start = nil }, "Start is missing"},
		{"condition left out", func(c *Case) { delete(c.Preflight, DeployInFlight) }, "neither a scenario nor a reason"},
		{"condition without both", func(c *Case) { c.Preflight[DeployInFlight] = Scenario{} }, "either a scenario or a reason"},
		{"scenario that says nothing", func(c *Case) { s := c.Preflight[MissingTarget]; s.Says = ""; c.Preflight[MissingTarget] = s }, "must contain"},
		{"unknown condition", func(c *Case) { c.Preflight["rain"] = Scenario{NotApplicable: "indoors"} }, "not known"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := storeCase(kindOf(sound))
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
			c := storeCase(kindOf(sound))
			target := c.Start(t)
			require.Empty(t, target.problem(c))
			test.spoil(&c, target)
			require.Contains(t, target.problem(c), test.want)
		})
	}
}

// TestUncovered shows that a kind without a case fails, and so does a case
// without a kind. No case is registered by this package's tests.
func TestUncovered(t *testing.T) {
	t.Parallel()
	problems := uncovered()
	require.Len(t, problems, len(defects), "every kind of this test has no case")
	require.Contains(t, problems[0], "has no case")
	require.Contains(t, uncoveredBy([]string{"a", "b"}, []string{"b", "c"}), `case "c" has no kind: known are a, b`)
	require.Empty(t, uncoveredBy([]string{"a"}, []string{"a"}))
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
