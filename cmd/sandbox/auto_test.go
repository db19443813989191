package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/cmd/sandbox/internal/shop"
	"github.com/backout/backout/runbooks"
	"github.com/backout/backout/workflows/incident"
)

// TestRunbooksOfTheSandboxCountEvents shows that what is a share of events is judged by
// counting them.
func TestRunbooksOfTheSandboxCountEvents(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"release.yaml", "kube.yaml"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			content, err := fs.ReadFile(worldFiles, "world/"+name)
			require.NoError(t, err)
			book, err := runbooks.ParseRunbook(runbooks.File{Name: name, Content: content})
			require.NoError(t, err)
			ratios := 0
			for _, s := range book.Recovery.SLIs {
				if s.Unit == "ratio" {
					ratios++
					require.NotEmpty(t, s.Bad, s.Name)
					require.NotEmpty(t, s.Total, s.Name)
				}
			}
			require.Positive(t, ratios)
		})
	}
}

// TestAwaitWhole shows that the play waits for the postmortem and the chart, and how
// long.
func TestAwaitWhole(t *testing.T) {
	t.Parallel()
	ended := incident.View{Key: "a", Phase: incident.PhaseClosed, Rollbacks: []incident.RollbackView{{}}}
	there := incident.View{Key: "a", Phase: incident.PhaseClosed, Postmortem: incident.PostmortemRef{Number: 1}, Rollbacks: []incident.RollbackView{{Chart: &incident.ChartRef{SlackURL: "https://slack"}}}}
	for _, test := range []struct {
		name  string
		after time.Duration
		// away is how long nobody answers.
		away, patience time.Duration
		want           time.Duration
		whole          bool
		err            error
	}{
		{"at once", 0, 0, time.Hour, 0, true, nil},
		{"after a moment", 10 * time.Second, 0, time.Hour, 10 * time.Second, true, nil},
		{"nobody answers for a moment", 0, 5 * time.Second, time.Hour, 5 * time.Second, true, nil},
		{"never", time.Hour, 0, 2 * time.Hour, wholeWithin, false, nil},
		{"the play is over", time.Hour, 0, time.Second, time.Second, false, context.DeadlineExceeded},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), test.patience)
				defer cancel()
				v, err := awaitWhole(ctx, func(context.Context) (incident.View, error) {
					switch {
					case time.Since(begun) < test.away:
						return incident.View{}, errors.New("away")
					case time.Since(begun) < test.after:
						return ended, nil
					}
					return there, nil
				}, &follower{seen: map[string]bool{}, out: io.Discard})
				require.ErrorIs(t, err, test.err)
				require.Equal(t, "a", v.Key)
				require.Equal(t, test.whole, whole(v))
				require.Equal(t, test.want, time.Since(begun))
			})
		})
	}
}

func TestSummaryIsBroken(t *testing.T) {
	t.Parallel()
	good := summary{Verdict: incident.VerdictRecovered, Release: shop.GoodRelease, LedgerVerified: true, Postmortems: 1, Cards: 1, Chart: true}
	require.NoError(t, good.broken(""))
	for _, test := range []struct {
		name string
		edit func(s *summary)
		want string
	}{
		{"verdict", func(s *summary) { s.Verdict = incident.VerdictUnknown }, "the verdict is"},
		{"release", func(s *summary) { s.Release = shop.BadRelease }, "checkout answers from"},
		{"ledger", func(s *summary) { s.LedgerVerified = false }, "does not verify: entry 3"},
		{"postmortem", func(s *summary) { s.Postmortems = 0 }, "0 postmortems"},
		{"cards", func(s *summary) { s.Cards = 2 }, "2 cards"},
		{"chart", func(s *summary) { s.Chart = false }, "the chart is not in the thread"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := good
			test.edit(&s)
			require.ErrorContains(t, s.broken("entry 3"), test.want)
		})
	}
}
