package activities_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/runbooks"
	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
	"github.com/backout/backout/workflows/recovery"
)

const (
	unpaid = "orders without a payment"
	stuck  = "stuck messages"
)

// dataBook is book with two data checks.
const dataBook = book + `  data:
    - {name: orders without a payment, system: shop-db, sql: "SELECT count(*) FROM orders WHERE shop = '{service}'"}
    - {name: stuck messages, system: main, promql: "stuck{service='{service}'}", at_most: 5}
`

// dataWorld is a well service whose data is counted.
func dataWorld(t *testing.T, sql func(query string) (int64, error), promQL func() []incident.Series) (*world, *activities.Activities, incident.Plan) {
	t.Helper()
	w := newWorld()
	w.now = now.Add(10 * time.Minute)
	w.count = sql
	well := flat(0.001)
	w.series = func(q string, from, until time.Time, step time.Duration) ([]incident.Series, error) {
		if strings.HasPrefix(q, "stuck") {
			return promQL(), nil
		}
		return well(q, from, until, step)
	}
	a := w.activities(t)
	rb := runbook(t, dataBook)
	a.Runbooks = []*runbooks.Runbook{rb}
	p := plan(t)
	p.RunbookDigest = rb.Digest
	return w, a, p
}

func always(n int64) func(string) (int64, error) {
	return func(string) (int64, error) { return n, nil }
}

func sample(v float64) func() []incident.Series {
	return func() []incident.Series {
		return []incident.Series{{Points: []incident.Point{{At: now, Value: v}}}}
	}
}

func look(t *testing.T, a *activities.Activities, p incident.Plan, before []incident.DataCount, last []incident.DataResult) incident.RecoveryResult {
	t.Helper()
	got, err := a.MeasureRecovery(t.Context(), activities.MeasureInput{
		Plan: p, OnsetAt: onset, ChangedAt: onset.Add(-2 * time.Minute), StartedAt: now, ActionsDoneAt: now, Before: before, Last: last,
	})
	require.NoError(t, err)
	return got
}

// TestDataKeepsAWellServiceFromBeingRecovered is each way in which data can fail to be
// well: only counts within their bounds are recovered.
func TestDataKeepsAWellServiceFromBeingRecovered(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		sql    func(string) (int64, error)
		promQL func() []incident.Series
		change func(*world, *activities.Activities)
		want   incident.Verdict
		says   string
	}{
		{"repaired", always(0), sample(5), nil, incident.VerdictRecovered, "Nothing diverges beyond its bound in 2 data checks."},
		{"rows diverge", always(37), sample(0), nil, incident.VerdictNotRecovered, "The SLIs are well, but 37 still diverge: orders without a payment"},
		{"a series diverges", always(0), sample(6), nil, incident.VerdictNotRecovered, "6 still diverge: stuck messages (not counted before the rollback, at most 5 wanted)"},
		{"no permission", func(string) (int64, error) { return 0, fmt.Errorf("count: %w", driver.ErrDenied) }, sample(0), nil, incident.VerdictUnknown, "The SLIs are well, but what diverges is not known of orders without a payment: count: "},
		{"a secret in an error", func(string) (int64, error) { return 0, errors.New("away; token=abcdefghijklmnop") }, sample(0), nil, incident.VerdictUnknown, "away; token="},
		{"a driver that crashes", func(string) (int64, error) { panic("37 rows: a secret") }, sample(0), nil, incident.VerdictUnknown, "the driver crashed"},
		{"no series", always(0), func() []incident.Series { return nil }, nil, incident.VerdictUnknown, "stuck messages: the query found no series, which is not zero"},
		{"no such database", always(0), sample(0), func(_ *world, a *activities.Activities) {
			a.Runbooks[0].Recovery.Data[0].System = "gone"
		}, incident.VerdictUnknown, `find "counter" on "gone"`},
		{"no such Prometheus", always(0), sample(0), func(_ *world, a *activities.Activities) {
			a.Runbooks[0].Recovery.Data[1].System = "gone"
		}, incident.VerdictUnknown, `find "probe" on "gone"`},
		{"everything is away", always(0), sample(0), func(w *world, _ *activities.Activities) {
			w.fail = func(string) error { return errors.New("connection refused") }
		}, incident.VerdictUnknown, "what diverges is not known of orders without a payment: connection refused"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w, a, p := dataWorld(t, test.sql, test.promQL)
			if test.change != nil {
				test.change(w, a)
			}
			got := look(t, a, p, nil, nil)
			require.Equal(t, test.want, got.Verdict, got.Reason)
			require.Contains(t, strings.ToLower(got.Reason), strings.ToLower(test.says))
			require.NotContains(t, got.Reason, "secret")
			require.NotContains(t, got.Reason, "abcdefghijklmnop")
			require.Len(t, got.Data, 2)
		})
	}
}

// TestDataIsCountedAgainOnlyWhenItIsOld shows that looks every few seconds do not each
// ask a production database, and that a repair is seen soon.
func TestDataIsCountedAgainOnlyWhenItIsOld(t *testing.T) {
	t.Parallel()
	n, asked := int64(37), 0
	w, a, p := dataWorld(t, func(query string) (int64, error) {
		require.Equal(t, "SELECT count(*) FROM orders WHERE shop = 'checkout'", query)
		asked++
		return n, nil
	}, sample(0))
	before := []incident.DataCount{{Name: unpaid, Count: new(int64(41)), At: now}}
	first := look(t, a, p, before, nil)
	require.Equal(t, 1, asked)
	require.EqualValues(t, 41, *first.Data[0].Before)
	require.Nil(t, first.Data[1].Before)
	require.Equal(t, w.now, first.Data[0].At)

	n = 0
	w.now = w.now.Add(recovery.CountEvery - time.Second)
	second := look(t, a, p, before, first.Data)
	require.Equal(t, 1, asked, "it was counted just now")
	require.Equal(t, first.Data, second.Data)
	require.Equal(t, incident.VerdictNotRecovered, second.Verdict)

	w.now = w.now.Add(time.Second)
	third := look(t, a, p, before, second.Data)
	require.Equal(t, 2, asked)
	require.Equal(t, incident.VerdictRecovered, third.Verdict, third.Reason)
	require.EqualValues(t, 41, *third.Data[0].Before)
}

func TestDataIsCountedWithTheEvidenceBefore(t *testing.T) {
	t.Parallel()
	w, a, p := dataWorld(t, always(41), func() []incident.Series { return nil })
	in := capture(t, incident.EvidenceBefore)
	in.Plan = p
	m, err := a.CaptureEvidence(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, incident.DataCount{Name: unpaid, Count: new(int64(41)), At: w.now}, m.Counts[0])
	require.Equal(t, stuck, m.Counts[1].Name)
	require.Contains(t, m.Counts[1].Missing, "the query found no series")
	require.Contains(t, w.entries[0].Text, "; 41 diverge: orders without a payment; not counted: stuck messages")
	require.Contains(t, string(w.entries[0].Payload), `"count":41`, "the ledger has it")

	w.count = always(0)
	again, err := a.CaptureEvidence(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, m, again, "a retry says what was counted then")

	in = capture(t, incident.EvidenceAfter)
	in.Plan = p
	asked := len(slices.DeleteFunc(slices.Clone(w.calls), func(c string) bool { return c != "count" }))
	after, err := a.CaptureEvidence(t.Context(), in)
	require.NoError(t, err)
	require.Empty(t, after.Counts, "the judge counts after it")
	require.Len(t, slices.DeleteFunc(slices.Clone(w.calls), func(c string) bool { return c != "count" }), asked)
}

func TestNobodyCountsWithoutDataChecks(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.series = flat(0.001)
	w.now = now.Add(10 * time.Minute)
	got := look(t, w.activities(t), plan(t), nil, nil)
	require.Equal(t, incident.VerdictRecovered, got.Verdict, got.Reason)
	require.Nil(t, got.Data)
	require.NotContains(t, w.calls, "count")
}

// TestAReasonStaysShort is an error of a driver that says too much.
func TestAReasonStaysShort(t *testing.T) {
	t.Parallel()
	_, a, p := dataWorld(t, func(string) (int64, error) { return 0, errors.New(strings.Repeat("ö", 5000)) }, sample(0))
	require.Len(t, []rune(look(t, a, p, nil, nil).Data[0].Missing), 200)
}

// TestTheLineOfAManifestStaysShort counts more than a line can hold.
func TestTheLineOfAManifestStaysShort(t *testing.T) {
	t.Parallel()
	m := incident.Manifest{Phase: incident.EvidenceBefore, Digest: incident.DigestOf(nil)}
	for range 10 {
		m.Counts = append(m.Counts, incident.DataCount{Name: strings.Repeat("x", 120), Count: new(int64(1))})
	}
	text := activities.ManifestText(m)
	require.Less(t, len(text), 900)
	require.Contains(t, text, "and 5 more data checks")
}

// divergenceMeter remembers what it was told.
type divergenceMeter struct {
	activities.Meter
	told []string
}

func (m *divergenceMeter) Diverges(service string, checks []incident.DataCheck, counts []incident.DataCount) {
	for i, c := range counts {
		text := "unknown"
		if c.Count != nil {
			text = fmt.Sprint(*c.Count)
		}
		m.told = append(m.told, fmt.Sprintf("%s: %s: %s of %d", service, checks[i].Name, text, checks[i].AtMost))
	}
}

func TestCountsAreMetered(t *testing.T) {
	t.Parallel()
	_, a, p := dataWorld(t, always(37), func() []incident.Series { return nil })
	meter := &divergenceMeter{}
	a.Meter = meter
	first := look(t, a, p, nil, nil)
	look(t, a, p, nil, first.Data)
	require.Equal(t, []string{"checkout: orders without a payment: 37 of 0", "checkout: stuck messages: unknown of 5"}, meter.told, "once for each count")
}

// asleep is systems whose databases do not stop when they are told to.
type asleep struct{ systems }

func (asleep) Counter(string) (driver.Counter, error) { return asleep{}, nil }

func (asleep) Count(context.Context, string) (int64, error) {
	<-time.After(time.Hour)
	return 0, nil
}

// TestACountThatDoesNotEndHoldsNothingUp is a database that hangs.
func TestACountThatDoesNotEndHoldsNothingUp(t *testing.T) {
	t.Parallel()
	w, a, p := dataWorld(t, nil, sample(0))
	a.Systems = asleep{systems{w}}
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		got := look(t, a, p, nil, nil)
		require.Equal(t, 12*time.Second, time.Since(began))
		require.Equal(t, incident.VerdictUnknown, got.Verdict)
		require.Equal(t, "it was not counted in time, which is 12s at most", got.Data[0].Missing)
		require.NotNil(t, got.Data[1].After, "the others are counted")
		<-time.After(time.Hour) // The database wakes up.
	})
}
