package workflows_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// An approval past the policy pages security and the owners, each once, and says who
// could not be paged; the rollback waits for none of them.
func TestBreakGlassPagesSecurityAndOwners(t *testing.T) {
	t.Parallel()
	security := activities.Overseer{Name: "security", ServiceID: "PSEC"}
	owners := activities.Overseer{Name: "the owners of checkout", ServiceID: "PCHECK"}
	unreachable := func(in activities.PageOverseerInput) error {
		if in.Overseer == security {
			return temporal.NewNonRetryableApplicationError("PagerDuty answered 403", incident.ErrTypeDenied, nil)
		}
		return nil
	}
	for _, tt := range []struct {
		name   string
		found  activities.Overseers
		page   func(activities.PageOverseerInput) error
		slow   time.Duration
		paged  []string
		notes  []string
		texts  []string
		silent []string
	}{
		{
			name: "both", found: activities.Overseers{Page: []activities.Overseer{security, owners}},
			paged: []string{"PCHECK", "PSEC"}, texts: []string{"paging security", "paged security", "paged the owners of checkout"}, silent: []string{"Tell them by hand"},
		},
		{
			name: "nobody from security is known", found: activities.Overseers{Page: []activities.Overseer{owners}, Missing: []string{"nobody from security was paged: it is not set"}},
			paged: []string{"PCHECK"}, notes: []string{"BREAK-GLASS: nobody from security was paged: it is not set. Tell them by hand."}, texts: []string{"break-glass: nobody from security was paged"},
		},
		{
			name: "one can not be reached", found: activities.Overseers{Page: []activities.Overseer{security, owners}}, page: unreachable,
			paged: []string{"PCHECK"}, notes: []string{"BREAK-GLASS: security could not be paged: PagerDuty answered 403. Tell them by hand."},
			texts: []string{"break-glass: security could not be paged: PagerDuty answered 403", "paged the owners of checkout"},
		},
		{
			name: "the pager is slow", found: activities.Overseers{Page: []activities.Overseer{security}}, slow: 5 * time.Minute,
			paged: []string{"PSEC"}, texts: []string{"break-glass: security could not be paged yet", "paged security"}, silent: []string{"Tell them by hand"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.overseers, w.page, w.takes["PageOverseer"] = tt.found, tt.page, tt.slow
			o := option(t, "o1")
			w.decide = func(in activities.DecideInput) (activities.DecideResult, error) {
				got := decided(in, incident.OutcomeApproved)
				got.Decision.BreakGlass, got.Decision.Reason = in.Request.BreakGlass, in.Request.Reason
				return got, nil
			}
			update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
			q := decide("UADA", "d1", o)
			q.BreakGlass, q.Reason = true, "all of Europe is down"
			got := update(w, time.Minute, incident.UpdateDecide, "d1", q)
			again := update(w, 2*time.Minute, incident.UpdateDecide, "d1", q)
			update(w, 20*time.Minute, incident.UpdatePage, "p2", page("p2", incident.PageResolved, 20*time.Minute))
			v := w.run(t)
			require.Equal(t, incident.OutcomeApproved, got.Outcome)
			require.Equal(t, incident.OutcomeApproved, again.Outcome)
			require.Equal(t, incident.RollbackDone, v.LastRollback().Status)
			require.Less(t, v.LastRollback().StartedAt.Sub(v.LastRollback().ApprovedAt), time.Minute, "it waits for nobody")

			var paged []string
			for _, p := range w.paged {
				paged = append(paged, p.Overseer.ServiceID)
				require.Equal(t, incident.DecisionEventID(v.Key, "d1"), p.ID)
				require.Contains(t, p.Title, "BREAK-GLASS: Ada approved a rollback of checkout alone")
				require.Contains(t, p.Text, "all of Europe is down")
				require.Contains(t, p.Text, o.Digest)
			}
			slices.Sort(paged)
			require.Equal(t, tt.paged, paged)
			for _, n := range tt.notes {
				require.Contains(t, v.Notes, n)
			}
			for _, text := range tt.texts {
				require.True(t, slices.ContainsFunc(w.entries, func(e incident.Entry) bool {
					return e.Kind == incident.EventEscalation && strings.Contains(e.Text, text)
				}), text)
			}
			for _, text := range tt.silent {
				require.NotContains(t, strings.Join(v.Notes, "\n"), text)
			}
			require.Equal(t, 1, w.count("FindOverseers o1"))
		})
	}
}
