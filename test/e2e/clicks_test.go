package e2e_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/test/e2e/harness"
	fakeslack "github.com/backout/backout/test/fakes/slack"
	"github.com/backout/backout/workflows/incident"
)

// Two people click at the same instant: one of them decides, and the other is
// told privately who did. Somebody who clicks when all is over is told, too.
func TestTwoClicksAtOnce(t *testing.T) {
	t.Parallel()
	w := harness.New(t, harness.Options{})
	key := w.Page("checkout")
	card, button := w.Offer(key)
	var (
		start   sync.WaitGroup
		clicks  sync.WaitGroup
		got     [2]fakeslack.Outcome
		errs    [2]error
		clicker = [2]string{harness.Ada, harness.Bo}
	)
	start.Add(1)
	for i := range clicker {
		clicks.Go(func() {
			start.Wait()
			got[i], errs[i] = w.Press(clicker[i], card, button)
		})
	}
	start.Done()
	clicks.Wait()
	for i := range clicker {
		require.NoError(t, errs[i])
		require.True(t, got[i].Acked, got[i].Reason)
	}
	v := w.Recovered("checkout", key)
	approved := approvers(v)
	require.Len(t, approved, 1, "one decision")
	loser := harness.Ada
	if approved[0].SlackUser == harness.Ada {
		loser = harness.Bo
	}
	w.Told(loser, approved[0].Name, "Nothing more was done")
	w.Told(approved[0].SlackUser, "Approved")

	// The late one still looks at the card that could be approved.
	late, err := w.Press(harness.Grace, card, button)
	require.NoError(t, err)
	require.True(t, late.Acked, late.Reason)
	w.Told(harness.Grace, "Nothing more was done")
	require.Len(t, approvers(w.Recovered("checkout", key)), 1)
	require.Equal(t, 1, w.Started(incident.WorkflowRollback))
	require.Empty(t, saidInPublic(w, "Nothing more was done"), "it was told to everybody")
}

// approvers are the people whose decisions started a rollback.
func approvers(v incident.View) []incident.Person {
	var out []incident.Person
	for _, d := range v.Decisions {
		if d.Outcome == incident.OutcomeApproved {
			out = append(out, d.Person)
		}
	}
	return out
}

// People whom the workspace does not vouch for decide nothing and are told so
// privately, and the incident still waits for somebody who may.
func TestClicksOfOthers(t *testing.T) {
	t.Parallel()
	w := harness.New(t, harness.Options{})
	key := w.Page("checkout")
	card, button := w.Offer(key)
	w.Slack.SetUser(fakeslack.User{ID: harness.Gone, Name: "gone", RealName: "Gone", Email: "gone@shop.example", Deleted: true})
	for _, tt := range []struct{ name, user string }{
		{"somebody whom no configuration names", harness.Stranger},
		{"somebody deactivated who is on call", harness.Gone},
		{"a guest", harness.Guest},
		{"somebody of another workspace", harness.Foreigner},
	} {
		got, err := w.Press(tt.user, card, button)
		require.NoError(t, err, tt.name)
		require.True(t, got.Acked, "%s: %s", tt.name, got.Reason)
		w.Told(tt.user, "Nothing was done")
	}
	v := w.Options(key)
	require.Empty(t, v.Rollbacks)
	require.Empty(t, approvers(v))
	history, err := w.Releases.History(t.Context(), "checkout")
	require.NoError(t, err)
	require.Equal(t, harness.BadRelease, history[len(history)-1])
	require.Empty(t, saidInPublic(w, "Nothing was done"))

	// Sam made the change: nobody but the author is not enough, somebody else is.
	w.Approve(harness.Ada, key)
	require.Len(t, approvers(w.Recovered("checkout", key)), 1)
}

// saidInPublic are the messages in the channel that hold words.
func saidInPublic(w *harness.World, words string) []fakeslack.Message {
	var out []fakeslack.Message
	for _, m := range w.Slack.Messages(harness.Channel) {
		if contains(m, words) {
			out = append(out, m)
		}
	}
	return out
}

// A click on a card that shows a plan which has changed since does nothing, is
// told so, and the new card can be approved. The plan of before would have
// brought the wrong release.
func TestClickOnOldCard(t *testing.T) {
	t.Parallel()
	w := harness.New(t, harness.Options{})
	key := w.Page("checkout")
	old, button := w.Offer(key)
	before := w.Options(key)
	require.NoError(t, w.Releases.Ship(t.Context(), "checkout", "v43", "sam@shop.example"))
	code, out, errOut, err := w.Run(t.Context(), "incident", "refresh", key)
	require.NoError(t, err)
	require.Zero(t, code, out+errOut)
	w.View(key, "other plans", func(v incident.View) bool {
		return len(v.Options) > 0 && v.Options[0].Digest != before.Options[0].Digest
	})

	got, err := w.Press(harness.Ada, old, button)
	require.NoError(t, err)
	require.True(t, got.Acked, got.Reason)
	w.Told(harness.Ada, "Nothing was done")
	v := w.View(key, "other plans", func(v incident.View) bool { return len(v.Options) > 0 })
	require.Empty(t, v.Rollbacks)
	require.Empty(t, approvers(v))
	require.Equal(t, "v43", w.Releases.Running("checkout"))
}
