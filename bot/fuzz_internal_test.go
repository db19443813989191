package bot

import (
	"context"
	"errors"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/bot/views"
	"github.com/backout/backout/workflows/incident"
)

// checkSent fails when something reached Temporal that no incident could take.
func checkSent(t *testing.T, temporal *DeafTemporal) {
	t.Helper()
	for _, sent := range temporal.Sent() {
		switch q := sent.(type) {
		case incident.DecideRequest:
			require.NoError(t, q.Validate())
			require.Equal(t, incident.ViaSlack, q.Actor.Via)
		case incident.CommandRequest:
			require.NoError(t, q.Validate())
			require.Equal(t, incident.ViaSlack, q.Actor.Via)
		case incident.Page:
			require.NoError(t, q.Validate())
			require.Equal(t, incident.SourceSlack, q.Source)
			require.Equal(t, incident.ViaSlack, q.Reporter.Via)
		default:
			t.Fatalf("sent a %T", sent)
		}
	}
}

// fuzzed is a server whose Temporal and Slack refuse at once.
func fuzzed(f *testing.F) (*Server, *DeafTemporal) {
	f.Helper()
	temporal := &DeafTemporal{Refuses: true}
	s := stubbed(f, temporal)
	s.desk.http.Transport = refusing{}
	s.desk.KeyAt = nil
	s.desk.API = slackThatRefuses()
	return s, temporal
}

func payloadOf(f *testing.F, body string) string {
	f.Helper()
	form, err := url.ParseQuery(body)
	require.NoError(f, err)
	return form.Get("payload")
}

// FuzzInteraction reads payloads of clicks and modals, as they come over HTTP
// and Socket Mode.
func FuzzInteraction(f *testing.F) {
	ref := views.Ref{Key: stubKey, Option: "o1", Digest: stubPlan(), Revision: 1}
	for _, action := range []string{"approve:0", "refuse:0", "command:close", "status", "list", "help", "declare"} {
		f.Add(payloadOf(f, pressedButton(f, action, ref.Encode())))
	}
	f.Add(payloadOf(f, pressedButton(f, "pick", views.Pick{Key: stubKey, Text: "approve o1"}.Encode())))
	f.Add(payloadOf(f, submitted(f, "refuse", views.Metadata{Ref: &ref, Channel: "C1"}, map[string]string{"reason": "no"})))
	f.Add(payloadOf(f, submitted(f, "declare", views.Metadata{Channel: "C1"}, map[string]string{"service": "checkout", "title": "down", "severity": "sev1"})))
	for _, odd := range []string{
		``, `null`, `[]`, `{}`, `0`, `{"type":"block_actions","user":{"id":"U1","team_id":"T1"},"trigger_id":"1","actions":[null]}`,
		`{"type":"block_actions","user":{"id":"U1","team_id":"T1"},"trigger_id":"1","actions":[{"block_id":""}]}`,
		`{"type":"view_submission","user":{"id":"U1","team_id":"T1"},"view":{"id":"V1","callback_id":"refuse","private_metadata":"{}","state":null}}`,
		`{"type":"view_submission","user":{"id":"U1","team_id":"T1"},"view":{"id":"V1","callback_id":"refuse","private_metadata":"{\"ref\":{\"k\":\"pagerduty/Q1\"}}","state":{"values":{"reason":{}}}}}`,
		`{"type":"block_actions","state":7}`,
	} {
		f.Add(odd)
	}
	s, temporal := fuzzed(f)
	f.Fuzz(func(t *testing.T, payload string) {
		_, err := s.desk.readInteraction(t.Context(), []byte(payload))
		if err != nil {
			require.ErrorIs(t, err, errUnreadable)
			require.Less(t, len(err.Error()), 100, "an error quotes nothing of a payload")
		}
		checkSent(t, temporal)
	})
}

// FuzzCommand reads bodies of slash commands.
func FuzzCommand(f *testing.F) {
	for _, text := range []string{
		"", "help", "list", "declare", "declare sev1 checkout it is down", "approve " + stubKey + " o1 " + incident.ShortDigest(stubPlan()),
		"refuse " + stubKey + " o1 no", "take " + stubKey, "status ../x", "\x00 \u202e <!channel> %s",
	} {
		f.Add(typed(text))
	}
	f.Add("%zz")
	f.Add("text=a&text=b&user_id=U1&user_id=U2&team_id=T1&trigger_id=1")
	s, temporal := fuzzed(f)
	f.Fuzz(func(t *testing.T, body string) {
		a, err := s.readCommand(t.Context(), []byte(body))
		if err != nil {
			require.ErrorIs(t, err, errUnreadable)
			return
		}
		require.True(t, a.taken, "a command is always answered with words")
		checkSent(t, temporal)
	})
}

// FuzzEvent reads bodies of events.
func FuzzEvent(f *testing.F) {
	for _, text := range []string{"", "take", "status " + stubKey, "refuse " + stubKey + " o1 no"} {
		f.Add(mentioned(text))
	}
	f.Add(`{"type":"url_verification","challenge":"x"}`)
	f.Add(`{"type":"event_callback","event":null}`)
	f.Add(`{"type":7}`)
	s, temporal := fuzzed(f)
	f.Fuzz(func(t *testing.T, body string) {
		if _, err := s.readEvent(t.Context(), []byte(body)); err != nil {
			require.ErrorIs(t, err, errUnreadable)
		}
		checkSent(t, temporal)
	})
}

// FuzzCall reads bodies of calls of the API.
func FuzzCall(f *testing.F) {
	f.Add(`{"key":"pagerduty/Q1","option_id":"o1","plan_digest":"` + stubPlan() + `","answer":"approve"}`)
	f.Add(`{"key":"pagerduty/Q1","verb":"close"}`)
	f.Add(`{"service":"checkout","title":"x","severity":"sev1"}`)
	f.Add(`{}{}`)
	f.Add(`null`)
	s, temporal := fuzzed(f)
	who := incident.Actor{Via: incident.ViaCLI, Login: "ada"}
	f.Fuzz(func(t *testing.T, body string) {
		for _, call := range []func(context.Context, incident.Actor, []byte) (any, error){s.apiDeclare, s.apiDecide, s.apiCommand, s.apiView} {
			_, err := call(t.Context(), who, []byte(body))
			require.Error(t, err, "Temporal refuses everything")
			require.True(t, errors.Is(err, ErrInvalid) || errors.Is(err, errRefused), "%v", err)
		}
		for _, sent := range temporal.Sent() {
			switch q := sent.(type) {
			case incident.DecideRequest:
				require.Equal(t, who, q.Actor, "nobody chooses who they are")
			case incident.CommandRequest:
				require.Equal(t, who, q.Actor, "nobody chooses who they are")
			case incident.Page:
				require.Equal(t, who, q.Reporter, "nobody chooses who they are")
			}
		}
	})
}
