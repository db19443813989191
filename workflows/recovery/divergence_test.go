package recovery_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/workflows/incident"
	"github.com/backout/backout/workflows/recovery"
)

const unpaid = "orders without a payment"

func check(name string, atMost int64) incident.DataCheck {
	return incident.DataCheck{Name: name, System: "shop-db", SQL: "SELECT count(*) FROM o", AtMost: atMost}
}

func counted(name string, n int64) incident.DataCount {
	return incident.DataCount{Name: name, Count: &n, At: judged}
}

func uncounted(name, why string) incident.DataCount {
	return incident.DataCount{Name: name, Missing: why, At: judged}
}

// sliVerdict is what the SLIs alone say.
func sliVerdict(v incident.Verdict) incident.RecoveryResult {
	return incident.RecoveryResult{Verdict: v, Reason: "errors: as they are.", At: judged, SLIs: []incident.SLIResult{{Name: "errors", Verdict: v}}}
}

func TestDataJoinsTheVerdict(t *testing.T) {
	t.Parallel()
	const well, bad, unknown = incident.VerdictRecovered, incident.VerdictNotRecovered, incident.VerdictUnknown
	one, two := []incident.DataCheck{check(unpaid, 0)}, []incident.DataCheck{check(unpaid, 0), check("carts without an owner", 5)}
	for _, tt := range []struct {
		name          string
		checks        []incident.DataCheck
		slis          incident.Verdict
		before, after []incident.DataCount
		want          incident.Verdict
		reason        string
		alone         bool
		diverging     int
	}{
		{"no checks", nil, well, nil, nil, well, "errors: as they are.", false, 0},
		{
			"repaired", one, well,
			[]incident.DataCount{counted(unpaid, 41)},
			[]incident.DataCount{counted(unpaid, 0)},
			well, "errors: as they are. Nothing diverges beyond its bound: orders without a payment, 0.", false, 0,
		},
		{
			"still there", one, well,
			[]incident.DataCount{counted(unpaid, 41)},
			[]incident.DataCount{counted(unpaid, 37)},
			bad, "The SLIs are well, but 37 still diverge: orders without a payment (41 before the rollback, at most 0 wanted). Going back does not repair data.", true, 1,
		},
		{
			"one, and nobody knows what was before", one, well, nil,
			[]incident.DataCount{counted(unpaid, 1)},
			bad, "The SLIs are well, but 1 still diverges: orders without a payment (not counted before the rollback, at most 0 wanted). Going back does not repair data.", true, 1,
		},
		{
			"not counted", one, well,
			[]incident.DataCount{counted(unpaid, 41)},
			[]incident.DataCount{uncounted(unpaid, "permission denied")},
			unknown, "The SLIs are well, but what diverges is not known of orders without a payment: permission denied.", true, 0,
		},
		{
			"nobody asked", one, well,
			[]incident.DataCount{counted(unpaid, 0)},
			nil,
			unknown, "The SLIs are well, but what diverges is not known of orders without a payment: nobody counted it.", true, 0,
		},
		{
			"a count without a number", one, well, nil,
			[]incident.DataCount{{Name: unpaid, At: judged}},
			unknown, "The SLIs are well, but what diverges is not known of orders without a payment: nobody says why.", true, 0,
		},
		{
			"below zero", one, well, nil,
			[]incident.DataCount{counted(unpaid, -1)},
			unknown, "The SLIs are well, but what diverges is not known of orders without a payment: the count is -1, and a count is never below zero.", true, 0,
		},
		{
			"counted twice", one, well, nil,
			[]incident.DataCount{counted(unpaid, 0), counted(unpaid, 0)},
			unknown, "The SLIs are well, but what diverges is not known of orders without a payment: nobody counted it.", true, 0,
		},
		{
			"at the bound", two, well, nil,
			[]incident.DataCount{counted(unpaid, 0), counted("carts without an owner", 5)},
			well, "errors: as they are. Nothing diverges beyond its bound in 2 data checks.", false, 0,
		},
		{
			"one above, one blind", two, well, nil,
			[]incident.DataCount{uncounted(unpaid, "away."), counted("carts without an owner", 6)},
			bad, "The SLIs are well, but 6 still diverge: carts without an owner (not counted before the rollback, at most 5 wanted); and what diverges is not known of orders without a payment: away. Going back does not repair data.", true, 1,
		},
		{
			"the SLIs are bad and nothing diverges", one, bad, nil,
			[]incident.DataCount{counted(unpaid, 0)},
			bad, "errors: as they are. Nothing diverges beyond its bound: orders without a payment, 0.", false, 0,
		},
		{
			"the SLIs are bad too", one, bad, nil,
			[]incident.DataCount{counted(unpaid, 2)},
			bad, "2 still diverge: orders without a payment (not counted before the rollback, at most 0 wanted). errors: as they are.", false, 1,
		},
		{
			"the SLIs are bad, and nobody counted", one, bad, nil, nil,
			bad, "What diverges is not known of orders without a payment: nobody counted it. errors: as they are.", false, 0,
		},
		{
			"the SLIs are unknown", one, unknown, nil,
			[]incident.DataCount{counted(unpaid, 2)},
			bad, "2 still diverge: orders without a payment (not counted before the rollback, at most 0 wanted). errors: as they are.", false, 1,
		},
		{
			"the SLIs are unknown and nothing diverges", one, unknown, nil,
			[]incident.DataCount{counted(unpaid, 0)},
			unknown, "errors: as they are. Nothing diverges beyond its bound: orders without a payment, 0.", false, 0,
		},
		{
			"checks that can not be judged",
			[]incident.DataCheck{check("", 0)},
			well, nil,
			[]incident.DataCount{counted("", 0)},
			unknown, `What diverges cannot be judged: check data: the name "" is empty or used twice. errors: as they are.`, false, 0,
		},
		{
			"checks that can not be judged beside bad SLIs",
			[]incident.DataCheck{check(unpaid, -1)},
			bad, nil, nil,
			bad, `What diverges cannot be judged: check data "orders without a payment": at most -1 is below zero. errors: as they are.`, false, 0,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := recovery.WithData(tt.checks, sliVerdict(tt.slis), tt.before, tt.after)
			require.Equal(t, tt.want, got.Verdict)
			require.Equal(t, tt.reason, got.Reason)
			require.Equal(t, tt.alone, got.DataAlone())
			require.Len(t, got.Diverging(), tt.diverging)
			require.Equal(t, judged, got.At)
			for _, d := range got.Data {
				require.Equal(t, d.Missing == "", d.After != nil, "a number or a reason")
				require.Equal(t, d.Missing != "", d.Verdict == unknown)
				require.NotEmpty(t, d.Reason)
				require.False(t, d.At.IsZero())
			}
		})
	}
}

// TestTheReasonStaysShort has as many data checks as a runbook can have.
func TestTheReasonStaysShort(t *testing.T) {
	t.Parallel()
	var checks []incident.DataCheck
	var above, blind []incident.DataCount
	for i := range 10 {
		name := fmt.Sprintf("check %d", i)
		checks, above, blind = append(checks, check(name, 0)), append(above, counted(name, 1)), append(blind, uncounted(name, "away"))
	}
	got := recovery.WithData(checks, sliVerdict(incident.VerdictRecovered), nil, above)
	require.Contains(t, got.Reason, "check 2 (not counted before the rollback, at most 0 wanted); and 7 more. Going back")
	require.Len(t, got.Diverging(), 10, "each has its own result")
	got = recovery.WithData(checks, sliVerdict(incident.VerdictRecovered), nil, blind)
	require.Equal(t, "The SLIs are well, but what diverges is not known of check 0: away; check 1: away; check 2: away; and 7 more.", got.Reason)
}

// TestTheWorstOfSLIsAndDataDecides tries all pairs: no count makes a verdict better.
func TestTheWorstOfSLIsAndDataDecides(t *testing.T) {
	t.Parallel()
	worse := map[incident.Verdict]int{incident.VerdictRecovered: 0, incident.VerdictUnknown: 1, incident.VerdictNotRecovered: 2}
	counts := map[incident.Verdict]incident.DataCount{
		incident.VerdictRecovered: counted(unpaid, 0), incident.VerdictUnknown: uncounted(unpaid, "away"), incident.VerdictNotRecovered: counted(unpaid, 1),
	}
	for slis := range worse {
		for data, c := range counts {
			t.Run(string(slis)+" and "+string(data), func(t *testing.T) {
				t.Parallel()
				got := recovery.WithData([]incident.DataCheck{check(unpaid, 0)}, sliVerdict(slis), nil, []incident.DataCount{c})
				require.Equal(t, max(worse[slis], worse[data]), worse[got.Verdict])
			})
		}
	}
}

func TestCountOf(t *testing.T) {
	t.Parallel()
	of := func(values ...float64) []incident.Series {
		s := incident.Series{}
		for _, v := range values {
			s.Points = append(s.Points, incident.Point{At: judged, Value: v})
		}
		return []incident.Series{s}
	}
	for _, tt := range []struct {
		name   string
		series []incident.Series
		want   int64
		why    string
	}{
		{"none", of(0), 0, ""},
		{"some", of(37), 37, ""},
		{"as many as can be counted", of(1 << 53), 1 << 53, ""},
		{"no series", nil, 0, "the query found no series, which is not zero"},
		{"several series", append(of(1), of(2)...), 0, "the query found 2 series"},
		{"no sample", of(), 0, "the series has 0 samples"},
		{"several samples", of(1, 1), 0, "the series has 2 samples"},
		{"no number", of(math.NaN()), 0, "the value is NaN"},
		{"infinite", of(math.Inf(1)), 0, "the value is +Inf"},
		{"below zero", of(-1), 0, "never below zero"},
		{"a part", of(0.5), 0, "a count is a whole number"},
		{"too many", of(1 << 54), 0, "too high to count"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n, why := recovery.CountOf(tt.series)
			require.Equal(t, tt.want, n)
			if tt.why == "" {
				require.Empty(t, why)
				return
			}
			require.Contains(t, why, tt.why)
		})
	}
}

// TestFresh shows that a production database is not asked again too soon, and that no
// count stands for longer, or for another check.
func TestFresh(t *testing.T) {
	t.Parallel()
	checks := []incident.DataCheck{check(unpaid, 0)}
	last := recovery.WithData(checks, sliVerdict(incident.VerdictRecovered), nil, []incident.DataCount{counted(unpaid, 3)}).Data
	blind := recovery.WithData(checks, sliVerdict(incident.VerdictRecovered), nil, []incident.DataCount{uncounted(unpaid, "away")}).Data
	doneAt := judged.Add(-time.Minute)
	for _, tt := range []struct {
		name        string
		checks      []incident.DataCheck
		last        []incident.DataResult
		doneAt, now time.Time
		want        []incident.DataCount
	}{
		{"just now", checks, last, doneAt, judged, []incident.DataCount{counted(unpaid, 3)}},
		{"a little later", checks, last, doneAt, judged.Add(recovery.CountEvery - 1), []incident.DataCount{counted(unpaid, 3)}},
		{"not counted, a little later", checks, blind, doneAt, judged.Add(time.Second), []incident.DataCount{uncounted(unpaid, "away")}},
		{"too old", checks, last, doneAt, judged.Add(recovery.CountEvery), nil},
		{"never", checks, nil, doneAt, judged, nil},
		{"before the actions were done", checks, last, judged.Add(1), judged.Add(1), nil},
		{"by a clock that is ahead", checks, last, doneAt, judged.Add(-1), nil},
		{"of another check", []incident.DataCheck{check("other", 0)}, last, doneAt, judged, nil},
		{"of fewer checks", append(checks, check("other", 0)), last, doneAt, judged, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, recovery.Fresh(tt.checks, tt.last, tt.doneAt, tt.now))
		})
	}
}

func TestCheckData(t *testing.T) {
	t.Parallel()
	require.NoError(t, recovery.CheckData([]incident.DataCheck{check("a", 0), {Name: "b", PromQL: "up"}}))
	for _, tt := range []struct {
		name   string
		checks []incident.DataCheck
		want   string
	}{
		{"a name twice", []incident.DataCheck{check("a", 0), check("a", 0)}, "used twice"},
		{"no query", []incident.DataCheck{{Name: "a"}}, "either SQL or PromQL"},
		{"two queries", []incident.DataCheck{{Name: "a", SQL: "SELECT 1", PromQL: "up"}}, "either SQL or PromQL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.ErrorContains(t, recovery.CheckData(tt.checks), tt.want)
		})
	}
}

// TestDataAndTheHold shows that a count above its bound is a relapse, and that the hold
// begins again after the repair.
func TestDataAndTheHold(t *testing.T) {
	t.Parallel()
	checks := []incident.DataCheck{check(unpaid, 0)}
	spec := incident.RecoverySpec{Hold: time.Minute, Long: 5 * time.Minute}
	var hold recovery.Hold
	look := func(after time.Duration, n int64) recovery.HoldState {
		res := sliVerdict(incident.VerdictRecovered)
		res.At = judged.Add(after)
		var state recovery.HoldState
		hold, state = hold.Next(spec, recovery.WithData(checks, res, nil, []incident.DataCount{counted(unpaid, n)}))
		return state
	}
	require.Equal(t, recovery.HoldWaiting, look(0, 37))
	require.Equal(t, recovery.HoldRunning, look(30*time.Second, 0))
	require.Equal(t, recovery.HoldRelapsed, look(60*time.Second, 1))
	require.Equal(t, recovery.HoldRunning, look(90*time.Second, 0))
	require.Equal(t, recovery.HoldDone, look(150*time.Second, 0))
}
