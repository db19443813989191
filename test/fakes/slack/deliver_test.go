package fakeslack_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/slackevents"
	"github.com/stretchr/testify/require"

	fakeslack "github.com/backout/backout/test/fakes/slack"
)

// app is an app on the other side of the request URLs. It verifies every signature.
type app struct {
	mu       sync.Mutex
	requests []received
	answer   func(n int, r received, w http.ResponseWriter)
	url      string
}

type received struct {
	header http.Header
	body   []byte
	form   url.Values
}

func (r received) interaction(t *testing.T) slack.InteractionCallback {
	t.Helper()
	var callback slack.InteractionCallback
	require.NoError(t, json.Unmarshal([]byte(r.form.Get("payload")), &callback))
	return callback
}

func newApp(t *testing.T, s *fakeslack.Server) *app {
	t.Helper()
	a := &app{answer: func(int, received, http.ResponseWriter) {}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, "unreadable", http.StatusBadRequest)
			return
		}
		verifier, err := slack.NewSecretsVerifier(r.Header, s.SigningSecret())
		if err != nil {
			http.Error(w, "unsigned", http.StatusUnauthorized)
			return
		}
		if _, err := verifier.Write(body); err != nil || verifier.Ensure() != nil {
			http.Error(w, "wrong signature", http.StatusUnauthorized)
			return
		}
		var challenge slackevents.ChallengeResponse
		if json.Unmarshal(body, &challenge) == nil && challenge.Challenge != "" {
			_, _ = io.WriteString(w, challenge.Challenge)
			return
		}
		form, _ := url.ParseQuery(string(body))
		got := received{header: r.Header.Clone(), body: body, form: form}
		a.mu.Lock()
		a.requests = append(a.requests, got)
		n, answer := len(a.requests), a.answer
		a.mu.Unlock()
		answer(n, got, w)
	}))
	t.Cleanup(server.Close)
	a.url = server.URL
	require.NoError(t, s.SetRequestURLs(t.Context(), fakeslack.RequestURLs{
		Commands: server.URL, Interactivity: server.URL, Events: server.URL,
	}))
	return a
}

func (a *app) answers(f func(n int, r received, w http.ResponseWriter)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer = f
}

func (a *app) answersJSON(body string) {
	a.answers(func(_ int, _ received, w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body)
	})
}

func (a *app) last(t *testing.T) received {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	require.NotEmpty(t, a.requests)
	return a.requests[len(a.requests)-1]
}

func (a *app) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.requests)
}

func TestClickAndResponseURL(t *testing.T) {
	t.Parallel()
	s, client := start(t, options())
	a := newApp(t, s)
	ctx := t.Context()
	_, ts, err := client.PostMessageContext(ctx, room, card("digest-1"))
	require.NoError(t, err)
	out, err := s.Click(ctx, fakeslack.Click{User: alice, Channel: room, TS: ts, ActionID: "approve"})
	require.NoError(t, err)
	require.True(t, out.Acked)
	got := a.last(t).interaction(t)
	require.Equal(t, slack.InteractionTypeBlockActions, got.Type)
	require.Equal(t, alice, got.User.ID)
	require.Equal(t, room, got.Channel.ID)
	require.Equal(t, ts, got.Container.MessageTs)
	require.Equal(t, "digest-1", got.ActionCallback.BlockActions[0].Value)
	require.Equal(t, "choice", got.ActionCallback.BlockActions[0].BlockID)

	// An old card: the value is what the person saw.
	old, err := json.Marshal([]slack.Block{slack.NewActionBlock("choice",
		slack.NewButtonBlockElement("approve", "digest-0", slack.NewTextBlockObject("plain_text", "Approve", false, false)))})
	require.NoError(t, err)
	_, err = s.Click(ctx, fakeslack.Click{User: alice, Channel: room, TS: ts, ActionID: "approve", Seen: old})
	require.NoError(t, err)
	require.Equal(t, "digest-0", a.last(t).interaction(t).ActionCallback.BlockActions[0].Value)
	_, err = s.Click(ctx, fakeslack.Click{User: alice, Channel: room, TS: ts, ActionID: "absent"})
	require.Error(t, err)
	_, err = s.Click(ctx, fakeslack.Click{User: "U0NOBODY", Channel: room, TS: ts, ActionID: "approve"})
	require.Error(t, err)

	// Five answers, the first of them private, one of them replacing the card.
	say := func(options ...slack.MsgOption) error {
		_, _, err := client.PostMessageContext(ctx, room, options...)
		return err
	}
	respond := got.ResponseURL
	require.NoError(t, say(slack.MsgOptionText("too late", false), slack.MsgOptionResponseURL(respond, slack.ResponseTypeEphemeral)))
	require.Equal(t, "too late", s.Ephemerals(alice)[0].Text)
	require.NoError(t, say(slack.MsgOptionText("done", false), slack.MsgOptionReplaceOriginal(respond)))
	require.Equal(t, "done", s.Messages(room)[0].Text)
	for range 3 {
		require.NoError(t, say(slack.MsgOptionText("public", false), slack.MsgOptionResponseURL(respond, slack.ResponseTypeInChannel)))
	}
	require.Error(t, say(slack.MsgOptionText("sixth", false), slack.MsgOptionResponseURL(respond, slack.ResponseTypeInChannel)))
	require.Len(t, s.Messages(room), 4)
}

func TestResponseURLExpires(t *testing.T) {
	t.Parallel()
	c := newClock()
	opts := options()
	opts.Now = c.Now
	s, err := fakeslack.Start(t.Context(), opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	forms := make(chan url.Values, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.ParseForm() == nil {
			forms <- r.PostForm
		}
	}))
	t.Cleanup(server.Close)
	require.NoError(t, s.SetRequestURLs(t.Context(), fakeslack.RequestURLs{Commands: server.URL}))
	_, err = s.Slash(t.Context(), fakeslack.Slash{User: alice, Channel: room, Command: "/rollback"})
	require.NoError(t, err)
	form := <-forms
	answer := func(body string) map[string]any {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, form.Get("response_url"), strings.NewReader(body))
		require.NoError(t, err)
		return do(t, request)
	}
	require.Equal(t, true, answer(`{"text":"in time"}`)["ok"])
	require.Equal(t, "no_text", answer(`{}`)["error"])
	require.Equal(t, "invalid_payload", answer(`{"text":"x","colour":"red"}`)["error"])
	require.Equal(t, "invalid_blocks", answer(`{"blocks":[{"type":"shout"}]}`)["error"])
	c.Advance(30*time.Minute + time.Second)
	require.Equal(t, "expired_url", answer(`{"text":"late"}`)["error"])
	require.Len(t, s.Ephemerals(alice), 1)
}

func TestSlashCommands(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name        string
		contentType string
		body        string
		status      int
		private     string
		public      string
		failed      bool
	}{
		{name: "nothing", status: 200},
		{name: "text", contentType: "text/plain", body: "pick one", status: 200, private: "pick one"},
		{name: "private message", contentType: "application/json", body: `{"text":"menu"}`, status: 200, private: "menu"},
		{name: "public message", contentType: "application/json", body: `{"response_type":"in_channel","text":"all see"}`, status: 200, public: "all see"},
		{name: "bad blocks", contentType: "application/json", body: `{"blocks":[{"type":"shout"}]}`, status: 200, private: "invalid_blocks", failed: true},
		{name: "error", status: 500, private: "dispatch_failed", failed: true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, _ := start(t, options())
			a := newApp(t, s)
			a.answers(func(_ int, _ received, w http.ResponseWriter) {
				w.Header().Set("Content-Type", c.contentType)
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			})
			_, err := s.Slash(t.Context(), fakeslack.Slash{User: alice, Channel: room, Command: "/rollback", Text: "declare checkout"})
			require.NoError(t, err)
			got := a.last(t)
			require.Equal(t, "/rollback", got.form.Get("command"))
			require.Equal(t, "declare checkout", got.form.Get("text"))
			require.Equal(t, c.failed, len(s.Failures()) == 1)
			if c.private == "" {
				require.Empty(t, s.Ephemerals(alice))
			} else {
				require.Contains(t, s.Ephemerals(alice)[0].Text, c.private)
			}
			if c.public == "" {
				require.Empty(t, s.Messages(room))
			} else {
				require.Equal(t, c.public, s.Messages(room)[0].Text)
			}
		})
	}
}

func TestSlashRefusals(t *testing.T) {
	t.Parallel()
	s, _ := start(t, options())
	a := newApp(t, s)
	for name, command := range map[string]fakeslack.Slash{
		"thread":       {User: alice, Channel: room, Command: "/rollback", Thread: "1.2"},
		"unregistered": {User: alice, Channel: room, Command: "/other"},
		"stranger":     {User: "U9", Channel: room, Command: "/rollback"},
	} {
		_, err := s.Slash(t.Context(), command)
		require.Error(t, err, name)
	}
	require.Zero(t, a.count())
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	opts := options()
	opts.Delivery.Deadline = 30 * time.Millisecond
	s, client := start(t, opts)
	_, ts, err := client.PostMessageContext(t.Context(), room, card("v"))
	require.NoError(t, err)
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(release) })
	require.NoError(t, s.SetRequestURLs(t.Context(), fakeslack.RequestURLs{Commands: server.URL, Interactivity: server.URL}))
	out, err := s.Click(t.Context(), fakeslack.Click{User: alice, Channel: room, TS: ts, ActionID: "approve"})
	require.NoError(t, err)
	require.False(t, out.Acked)
	require.Equal(t, "operation_timeout", out.Reason)
	out, err = s.Slash(t.Context(), fakeslack.Slash{User: bob, Channel: room, Command: "/rollback"})
	require.NoError(t, err)
	require.Equal(t, "operation_timeout", out.Reason)
	require.Contains(t, s.Ephemerals(bob)[0].Text, "operation_timeout")
	require.Len(t, s.Failures(), 2)
	require.Error(t, s.SetRequestURLs(t.Context(), fakeslack.RequestURLs{Events: server.URL}), "the challenge is not answered")
}

func TestEventsAreRetried(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name     string
		failures int // answers with 500 before the first 200; negative means all
		noRetry  bool
		requests int
		failed   int
	}{
		{name: "acknowledged at once", requests: 1},
		{name: "acknowledged at the third", failures: 2, requests: 3},
		{name: "never acknowledged", failures: -1, requests: 4, failed: 1},
		{name: "no retry wanted", failures: -1, noRetry: true, requests: 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, _ := start(t, options())
			a := newApp(t, s)
			a.answers(func(n int, _ received, w http.ResponseWriter) {
				if c.noRetry {
					w.Header().Set("X-Slack-No-Retry", "1")
				}
				if c.failures < 0 || n <= c.failures {
					w.WriteHeader(http.StatusInternalServerError)
				}
			})
			_, err := s.Mention(t.Context(), fakeslack.Say{User: alice, Channel: room, Text: "help"})
			require.NoError(t, err)
			require.NoError(t, s.WaitFor(within(t), func() bool { return len(s.Failures()) == c.failed && a.count() >= c.requests }))
			require.Equal(t, c.requests, a.count())
			got := a.last(t)
			if c.requests > 1 {
				require.Equal(t, "http_error", got.header.Get("X-Slack-Retry-Reason"))
				require.Equal(t, string('0'+rune(c.requests-1)), got.header.Get("X-Slack-Retry-Num"))
			} else {
				require.Empty(t, got.header.Get("X-Slack-Retry-Num"))
			}
			event, err := slackevents.ParseEvent(got.body, slackevents.OptionNoVerifyToken())
			require.NoError(t, err)
			mention, ok := event.InnerEvent.Data.(*slackevents.AppMentionEvent)
			require.True(t, ok)
			require.Equal(t, "<@"+fakeslack.DefaultBotUserID+"> help", mention.Text)
			require.Equal(t, alice, mention.User)
		})
	}
}

func TestMentionsThatAreNotHeard(t *testing.T) {
	t.Parallel()
	s, _ := start(t, options())
	a := newApp(t, s)
	_, err := s.Say(t.Context(), fakeslack.Say{User: alice, Channel: room, Text: "no mention"})
	require.NoError(t, err)
	_, err = s.Mention(t.Context(), fakeslack.Say{User: alice, Channel: other, Text: "not a member"})
	require.NoError(t, err)
	require.Zero(t, a.count())
	_, err = s.Say(t.Context(), fakeslack.Say{User: bob, Channel: secret, Text: "let me in"})
	require.Error(t, err)
	_, err = s.Say(t.Context(), fakeslack.Say{User: alice, Channel: room, Text: "<!channel> & <b>"})
	require.NoError(t, err)
	require.Equal(t, "&lt;!channel&gt; &amp; &lt;b&gt;", s.Messages(room)[1].Text)
}

func TestForgedSignature(t *testing.T) {
	t.Parallel()
	s, _ := start(t, options())
	a := newApp(t, s)
	body := []byte("command=%2Frollback")
	header := s.Sign(body, time.Now())
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.url, strings.NewReader(string(body)+"x"))
	require.NoError(t, err)
	request.Header = header
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusUnauthorized, response.StatusCode)
	require.Zero(t, a.count())
}
