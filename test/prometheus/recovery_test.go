package realprom_test

import (
	"cmp"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/prometheus"
	realprom "github.com/backout/backout/test/prometheus"
	"github.com/backout/backout/workflows/incident"
	"github.com/backout/backout/workflows/recovery"
)

// world is a service as Prometheus recorded it: requests and errors counted
// every second, healthy, then bad, then whatever a test says.
type world struct {
	changed, done, now time.Time
	// rate and errors are per second after the rollback.
	rate, errors float64
	// resets makes the counters begin again at the rollback, as a restart does.
	resets bool
	// pods is how many series there are; zero means one.
	pods int
	// goneFor is how long before now the samples end; stale says that they end
	// with a marker.
	goneFor time.Duration
	stale   bool
}

func (w world) series(name string) []realprom.Series {
	var out []realprom.Series
	for pod := range max(1, w.pods) {
		labels := func(metric string) map[string]string {
			return map[string]string{"__name__": metric, "case": name, "pod": string(rune('a' + pod))}
		}
		requests := realprom.Series{Labels: labels("requests_total"), EndStale: w.stale}
		failures := realprom.Series{Labels: labels("errors_total"), EndStale: w.stale}
		var r, e float64
		for at := w.changed.Add(-2 * time.Minute); !at.After(w.now.Add(-w.goneFor)); at = at.Add(time.Second) {
			switch {
			case at.Before(w.changed):
				r += 100
			case at.Before(w.done):
				r, e = r+100, e+40
			default:
				if w.resets && at.Equal(w.done) {
					r, e = 0, 0
				}
				r, e = r+w.rate, e+w.errors
			}
			requests.Samples = append(requests.Samples, realprom.Sample{At: at, Value: r})
			failures.Samples = append(failures.Samples, realprom.Sample{At: at, Value: e})
		}
		out = append(out, requests, failures)
	}
	return out
}

// The verdicts on real PromQL: only a service that is there, busy and well is
// recovered.
func TestRecoveryIsJudgedFromRealPromQL(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Second)
	base := world{changed: now.Add(-2 * time.Minute), done: now.Add(-time.Minute), now: now, rate: 100}
	with := func(edit func(w *world)) world {
		w := base
		edit(&w)
		return w
	}
	const ratio, traffic = `sum(rate(errors_total[5s])) / sum(rate(requests_total[5s]))`, `sum(rate(requests_total[5s]))`
	prom, err := realprom.Start(t.Context(), realprom.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, prom.Close()) })
	for _, tt := range []struct {
		name  string
		world world
		query string
		down  bool
		want  incident.Verdict
		why   string
	}{
		{name: "well", world: base, want: incident.VerdictRecovered},
		{name: "well after a restart", world: with(func(w *world) { w.resets = true }), want: incident.VerdictRecovered},
		{name: "still failing", world: with(func(w *world) { w.errors = 40 }), want: incident.VerdictNotRecovered},
		{name: "failing a little", world: with(func(w *world) { w.errors = 0.5 }), want: incident.VerdictNotRecovered, why: "before the change"},
		{name: "no traffic", world: with(func(w *world) { w.rate = 0 }), want: incident.VerdictUnknown, why: "NaN"},
		{name: "hardly any traffic", world: with(func(w *world) { w.rate = 3 }), want: incident.VerdictUnknown, why: "Traffic is 3 events/s"},
		{name: "target gone", world: with(func(w *world) { w.goneFor, w.stale = 20*time.Second, true }), want: incident.VerdictUnknown, why: "There is no data in the short window"},
		{name: "scraping ended silently", world: with(func(w *world) { w.goneFor = 20 * time.Second }), want: incident.VerdictUnknown, why: "There is no data in the short window"},
		{name: "gauge whose scraping ended silently", world: with(func(w *world) { w.goneFor = 20 * time.Second }), query: `sum(requests_total) * 0`, want: incident.VerdictUnknown, why: "There is no data in the short window"},
		{name: "no such metric", world: base, query: `sum(rate(no_such_total[5s]))`, want: incident.VerdictUnknown, why: "no data"},
		{name: "a series for each pod", world: with(func(w *world) { w.pods = 2 }), query: `rate(errors_total[5s]) / rate(requests_total[5s])`, want: incident.VerdictUnknown, why: "2 series"},
		{name: "infinite", world: base, query: `1 / sum(rate(errors_total[5s]))`, want: incident.VerdictUnknown, why: "infinite"},
		{name: "wrong query", world: base, query: `sum(`, want: incident.VerdictUnknown, why: "got no answer"},
		{name: "Prometheus down", world: base, down: true, want: incident.VerdictUnknown, why: "got no answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.NoError(t, prom.Append(t.Context(), tt.world.series(tt.name)...))
			address := prom.URL()
			if tt.down {
				closed := httptest.NewServer(http.NotFoundHandler())
				closed.Close()
				address = closed.URL
			}
			conn, err := prometheus.New(prometheus.Settings{URL: address, Lookback: 3 * time.Second})
			require.NoError(t, err)
			defer func() { require.NoError(t, conn.Close()) }()

			// Each case has series of its own.
			own := func(query string) string {
				return strings.ReplaceAll(query, "_total", fmt.Sprintf("_total{case=%q}", tt.name))
			}
			query := own(cmp.Or(tt.query, ratio))
			spec := incident.RecoverySpec{
				SLIs: []incident.SLI{{
					Name: "error ratio", Query: query, Traffic: own(traffic), MinTraffic: 0.5, MinPoints: 5, Tolerance: 0.2,
					Objective: incident.Objective{Comparison: incident.Below, Bound: 0.01},
				}},
				Warmup: 10 * time.Second, Short: 10 * time.Second, Long: 40 * time.Second, Step: time.Second,
				BaselineLength: time.Minute, BaselineGap: 10 * time.Second, Deadline: time.Hour,
			}
			in := recovery.Input{Times: recovery.Times{ChangedAt: tt.world.changed, OnsetAt: tt.world.changed, ActionsDoneAt: tt.world.done, Now: now}}
			q := recovery.Windows(spec, in.Times)
			ask := func(query string) (a recovery.Answer) {
				for _, w := range []struct {
					r    recovery.Range
					into *[]incident.Series
				}{{q.Baseline, &a.Baseline}, {q.During, &a.During}, {q.After, &a.After}} {
					got, err := conn.QueryRange(t.Context(), query, w.r.From, w.r.Until, w.r.Step)
					if err != nil {
						a.Failed = err.Error()
						return a
					}
					*w.into = got
				}
				return a
			}
			in.SLIs = []recovery.Measurement{{Name: "error ratio", Signal: ask(query), Traffic: ask(own(traffic))}}
			r := recovery.Judge(spec, in)
			require.Equal(t, tt.want, r.Verdict, r.Reason)
			require.Contains(t, r.Reason, tt.why)
		})
	}
}
