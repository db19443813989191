package e2e_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/test/e2e/harness"
	fakeslack "github.com/backout/backout/test/fakes/slack"
	"github.com/backout/backout/workflows/incident"
)

// The target moves between plan and approval: the approval is void, nothing is
// touched, and the card says what is different.
func TestDriftAfterPlan(t *testing.T) {
	t.Parallel()
	w := harness.New(t, harness.Options{})
	key := w.Page("checkout")
	card, button := w.Offer(key)
	require.NoError(t, w.Releases.Ship(t.Context(), "checkout", "v43", "sam@shop.example"))
	got, err := w.Press(harness.Ada, card, button)
	require.NoError(t, err)
	require.True(t, got.Acked, got.Reason)
	v := w.View(key, "a void rollback", func(v incident.View) bool {
		r := v.LastRollback()
		return r != nil && r.Status == incident.RollbackVoid
	})
	r := v.LastRollback()
	require.Contains(t, r.Reason, "v43", "the difference is not named")
	require.True(t, r.FirstMutationAt.IsZero())
	history, err := w.Releases.History(t.Context(), "checkout")
	require.NoError(t, err)
	require.Equal(t, []string{harness.OldRelease, harness.GoodRelease, harness.BadRelease, "v43"}, history)
	for _, e := range w.Entries(key) {
		require.NotEqual(t, incident.EventIntent, e.Entry.Kind, "an intent to touch what had drifted")
	}
	w.CardOf(key, "the difference", func(m fakeslack.Message) bool { return contains(m, "v43") })
	// The world is looked at again, and what is offered fits it.
	w.View(key, "options for v43", func(v incident.View) bool {
		return len(v.Options) > 0 && v.Options[0].Plan.Actions[0].From.Label == "v43"
	})
}

// A refusal is recorded with its reason and opens the next option, which can be
// approved.
func TestRefusalOpensNextOption(t *testing.T) {
	t.Parallel()
	w := harness.New(t, harness.Options{SecondOption: true})
	key := w.Page("checkout")
	w.Offer(key)
	v := w.View(key, "two options", func(v incident.View) bool { return len(v.Options) == 2 })
	first := recommended(t, v)
	card := w.CardOf(key, "a button that refuses", func(m fakeslack.Message) bool { _, ok := refusal(m, first); return ok })
	button, _ := refusal(card, first)
	got, err := w.Press(harness.Ada, card, button)
	require.NoError(t, err)
	require.True(t, got.Acked, got.Reason)
	modal, ok := w.Slack.Modal(harness.Ada)
	require.True(t, ok, "no modal asks for the reason")
	require.NotEmpty(t, modal.Content)
	const why = "v41 cannot read the orders of v42"
	submitted, err := w.Slack.SubmitModal(t.Context(), fakeslack.Submit{User: harness.Ada, Values: map[string]string{"reason": why}})
	require.NoError(t, err)
	require.True(t, submitted.Acked, submitted.Reason)
	v = w.View(key, "a recorded refusal", func(v incident.View) bool {
		return len(v.Decisions) == 1 && v.Decisions[0].Outcome == incident.OutcomeRefused
	})
	require.Equal(t, why, v.Decisions[0].Reason)
	require.Empty(t, v.Rollbacks)
	next := recommended(t, v)
	require.NotEqual(t, first.ID, next.ID)
	require.Equal(t, harness.OldRelease, next.Plan.Actions[0].To.Label)

	card = w.CardOf(key, "the next option's button", func(m fakeslack.Message) bool {
		b, ok := harness.Approval(m)
		return ok && strings.Contains(b.Value, next.ID)
	})
	approve, _ := harness.Approval(card)
	got, err = w.Press(harness.Ada, card, approve)
	require.NoError(t, err)
	require.True(t, got.Acked, got.Reason)
	r := w.Ended(key).LastRollback()
	require.Equal(t, incident.RollbackDone, r.Status, r.Reason)
	require.Equal(t, harness.OldRelease, w.Releases.Running("checkout"))
}

func recommended(t *testing.T, v incident.View) incident.Option {
	t.Helper()
	for _, o := range v.Options {
		if o.Recommended {
			return o
		}
	}
	require.Fail(t, "no option is recommended")
	return incident.Option{}
}

// refusal is the button that refuses an option.
func refusal(m fakeslack.Message, o incident.Option) (harness.Button, bool) {
	for _, b := range harness.Buttons(m) {
		if strings.HasPrefix(b.ActionID, "refuse") && strings.Contains(b.Value, o.ID) {
			return b, true
		}
	}
	return harness.Button{}, false
}
