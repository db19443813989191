package fakeslack_test

import (
	"testing"
	"time"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/require"

	fakeslack "github.com/backout/backout/test/fakes/slack"
)

// trigger lets a person type a command and returns its trigger ID.
func trigger(t *testing.T, s *fakeslack.Server, a *app, user string) string {
	t.Helper()
	_, err := s.Slash(t.Context(), fakeslack.Slash{User: user, Channel: room, Command: "/rollback"})
	require.NoError(t, err)
	return a.last(t).form.Get("trigger_id")
}

func TestTriggers(t *testing.T) {
	t.Parallel()
	s, client := start(t, options())
	a := newApp(t, s)
	id := trigger(t, s, a, alice)
	_, err := client.OpenViewContext(t.Context(), id, modal("declare"))
	require.NoError(t, err)
	_, err = client.OpenViewContext(t.Context(), id, modal("declare"))
	require.EqualError(t, err, "exchanged_trigger_id")
	view, open := s.Modal(alice)
	require.True(t, open)
	require.Equal(t, "declare", view.CallbackID)
	_, open = s.Modal(bob)
	require.False(t, open)
}

func TestTriggerExpires(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		wait time.Duration
		code string
	}{
		{name: "in time", wait: 3 * time.Second},
		{name: "late", wait: 3*time.Second + time.Millisecond, code: "expired_trigger_id"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			// The clock is anchored in real time, or the app refuses stale signatures.
			moving := &clock{at: time.Now()}
			opts := options()
			opts.Now = moving.Now
			s, client := start(t, opts)
			a := newApp(t, s)
			id := trigger(t, s, a, alice)
			moving.Advance(c.wait)
			_, err := client.OpenViewContext(t.Context(), id, modal("declare"))
			if c.code == "" {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, c.code)
			}
		})
	}
}

func TestSubmitModal(t *testing.T) {
	t.Parallel()
	good := map[string]string{"reason": "it broke", "sev/severity": "sev1"}
	cases := []struct {
		name     string
		values   map[string]string
		answer   string
		open     bool
		errors   map[string]string
		requests int
		failed   bool
	}{
		{name: "closes", values: good, requests: 1},
		{name: "required input missing", values: map[string]string{"severity": "sev1"}, open: true, errors: map[string]string{"why": "Please complete this required field."}},
		{name: "input too long", values: map[string]string{"reason": "longer than twenty characters", "severity": "sev1"}, open: true, errors: map[string]string{"why": "This is too long."}},
		{name: "errors of the app", values: good, answer: `{"response_action":"errors","errors":{"why":"Say more."}}`, open: true, errors: map[string]string{"why": "Say more."}, requests: 1},
		{name: "errors for no block", values: good, answer: `{"response_action":"errors","errors":{"nope":"x"}}`, open: true, requests: 1, failed: true},
		{name: "update", values: good, answer: `{"response_action":"update","view":{"type":"modal","title":{"type":"plain_text","text":"Next"},"blocks":[]}}`, open: true, requests: 1},
		{name: "bad update", values: good, answer: `{"response_action":"update","view":{"type":"modal","blocks":[]}}`, open: true, requests: 1, failed: true},
		{name: "unknown action", values: good, answer: `{"response_action":"explode"}`, open: true, requests: 1, failed: true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, client := start(t, options())
			a := newApp(t, s)
			_, err := client.OpenViewContext(t.Context(), trigger(t, s, a, alice), modal("declare"))
			require.NoError(t, err)
			a.answersJSON(c.answer)
			result, err := s.SubmitModal(t.Context(), fakeslack.Submit{User: alice, Values: c.values})
			require.NoError(t, err)
			require.Equal(t, c.open, result.Open)
			require.Equal(t, c.errors, result.Errors)
			require.Equal(t, c.requests, a.count()-1)
			require.Equal(t, c.failed, len(s.Failures()) > 0)
			if c.requests > 0 {
				got := a.last(t).interaction(t)
				require.Equal(t, slack.InteractionTypeViewSubmission, got.Type)
				require.Equal(t, "memo", got.View.PrivateMetadata)
				require.Equal(t, "it broke", got.View.State.Values["why"]["reason"].Value)
				require.Equal(t, "sev1", got.View.State.Values["sev"]["severity"].SelectedOption.Value)
			}
		})
	}
}

func TestSubmitImpossible(t *testing.T) {
	t.Parallel()
	s, client := start(t, options())
	a := newApp(t, s)
	_, err := s.SubmitModal(t.Context(), fakeslack.Submit{User: alice})
	require.Error(t, err, "there is no modal")
	_, err = client.OpenViewContext(t.Context(), trigger(t, s, a, alice), modal("declare"))
	require.NoError(t, err)
	_, err = s.SubmitModal(t.Context(), fakeslack.Submit{User: alice, Values: map[string]string{"absent": "x"}})
	require.Error(t, err)
	_, err = s.SubmitModal(t.Context(), fakeslack.Submit{User: alice, Values: map[string]string{"reason": "x", "severity": "sev9"}})
	require.Error(t, err)
}

func TestUpdatePushAndCloseViews(t *testing.T) {
	t.Parallel()
	s, client := start(t, options())
	a := newApp(t, s)
	ctx := t.Context()
	opened, err := client.OpenViewContext(ctx, trigger(t, s, a, alice), modal("first"))
	require.NoError(t, err)
	_, err = client.UpdateViewContext(ctx, modal("second"), "", "stale", opened.ID)
	require.EqualError(t, err, "hash_conflict")
	updated, err := client.UpdateViewContext(ctx, modal("second"), "", opened.Hash, opened.ID)
	require.NoError(t, err)
	require.NotEqual(t, opened.Hash, updated.Hash)
	_, err = client.PushViewContext(ctx, trigger(t, s, a, alice), modal("on top"))
	require.NoError(t, err)
	top, _ := s.Modal(alice)
	require.Equal(t, opened.ID, top.PreviousID)
	out, err := s.ViewClosed(ctx, alice, "")
	require.NoError(t, err)
	require.True(t, out.Acked)
	require.Equal(t, slack.InteractionTypeViewClosed, a.last(t).interaction(t).Type)
	top, open := s.Modal(alice)
	require.True(t, open)
	require.Equal(t, "second", top.CallbackID)
	_, err = client.UpdateViewContext(ctx, modal("x"), "", "", "V0NOTHING")
	require.EqualError(t, err, "not_found")
}

func TestHome(t *testing.T) {
	t.Parallel()
	s, client := start(t, options())
	a := newApp(t, s)
	out, err := s.OpenHome(t.Context(), alice)
	require.NoError(t, err)
	require.True(t, out.Acked)
	require.Contains(t, string(a.last(t).body), "app_home_opened")
	button := slack.NewButtonBlockElement("declare", "", slack.NewTextBlockObject("plain_text", "Declare", false, false))
	_, err = client.PublishViewContext(t.Context(), slack.PublishViewContextRequest{UserID: alice, View: slack.HomeTabViewRequest{
		Type: slack.VTHomeTab, Blocks: slack.Blocks{BlockSet: []slack.Block{slack.NewActionBlock("a", button)}},
	}})
	require.NoError(t, err)
	home, ok := s.Home(alice)
	require.True(t, ok)
	_, err = s.Click(t.Context(), fakeslack.Click{User: alice, View: home.ID, ActionID: "declare"})
	require.NoError(t, err)
	got := a.last(t).interaction(t)
	require.Equal(t, "view", got.Container.Type)
	_, err = client.OpenViewContext(t.Context(), got.TriggerID, modal("declare"))
	require.NoError(t, err)
	_, err = s.Click(t.Context(), fakeslack.Click{User: bob, View: home.ID, ActionID: "declare"})
	require.Error(t, err, "a Home tab belongs to one person")
}
