package fakeslack_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/require"

	fakeslack "github.com/backout/backout/test/fakes/slack"
)

// send makes a request to the page with the headers given in pairs.
func send(t *testing.T, method, address, body string, headers ...string) (int, http.Header, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	require.NoError(t, err)
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			request.Host = headers[i+1]
			continue
		}
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	require.NoError(t, err)
	defer func() { require.NoError(t, response.Body.Close()) }()
	answered, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, response.Header, string(answered)
}

func TestPageLoadsNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	s, _ := start(t, options())
	status, header, page := send(t, http.MethodGet, s.URL()+"/", "")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, header.Get("Content-Security-Policy"), "default-src 'none'")
	require.NotContains(t, header.Get("Content-Security-Policy"), "unsafe")
	files := regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(page, -1)
	require.NotEmpty(t, files)
	for _, file := range files {
		require.NotContains(t, file[1], "//")
		status, _, content := send(t, http.MethodGet, s.URL()+"/"+file[1], "")
		require.Equal(t, http.StatusOK, status, file[1])
		require.NotContains(t, content, "innerHTML", "text from outside never becomes markup")
		require.NotContains(t, content, "insertAdjacentHTML")
	}
}

func TestPageRefusesOtherSites(t *testing.T) {
	t.Parallel()
	s, _ := start(t, options())
	say := `{"user":"` + alice + `","channel":"` + room + `","text":"hi"}`
	cases := []struct {
		name    string
		headers []string
		status  int
	}{
		{name: "foreign origin", headers: []string{"Origin", "http://evil.example"}, status: http.StatusForbidden},
		{name: "rebound name", headers: []string{"Host", "evil.example:80"}, status: http.StatusMisdirectedRequest},
		{name: "its own origin", headers: []string{"Origin", s.URL()}, status: http.StatusOK},
	}
	for _, c := range cases {
		status, _, _ := send(t, http.MethodPost, s.URL()+"/ui/type", say, c.headers...)
		require.Equal(t, c.status, status, c.name)
	}
	require.Len(t, s.Messages(room), 1)
}

func TestPageStateIsWhatOnePersonSees(t *testing.T) {
	t.Parallel()
	opts := options()
	opts.Guide = "one\ntwo"
	opts.Panels = []fakeslack.Panel{{Title: "World", URL: "http://127.0.0.1:1"}}
	s, client := start(t, opts)
	_, err := client.PostEphemeralContext(t.Context(), room, alice, slack.MsgOptionText("psst", false))
	require.NoError(t, err)
	state := func(user, channel string) map[string]any {
		_, _, body := send(t, http.MethodGet, s.URL()+"/ui/state?user="+user+"&channel="+channel, "")
		require.NotContains(t, body, "xoxb-")
		require.NotContains(t, body, s.SigningSecret())
		var out map[string]any
		require.NoError(t, json.Unmarshal([]byte(body), &out))
		return out
	}
	mine := state(alice, room)
	require.Len(t, mine["messages"], 1)
	require.Len(t, mine["channels"], 3)
	require.Equal(t, []any{"one", "two"}, mine["guide"])
	require.Len(t, mine["panels"], 1)
	theirs := state(bob, room)
	require.Empty(t, theirs["messages"])
	require.Len(t, theirs["channels"], 2, "the private channel is hidden")
	_, err = s.Say(t.Context(), fakeslack.Say{User: alice, Channel: secret, Text: "private"})
	require.NoError(t, err)
	require.Empty(t, state(bob, secret)["messages"])
	require.Equal(t, alice, state("", room)["user"])
}

func TestPageDeeds(t *testing.T) {
	t.Parallel()
	s, client := start(t, options())
	a := newApp(t, s)
	deed := func(name, body string) map[string]any {
		_, _, answered := send(t, http.MethodPost, s.URL()+"/ui/"+name, body)
		var out map[string]any
		require.NoError(t, json.Unmarshal([]byte(answered), &out), answered)
		return out
	}
	who := `"user":"` + alice + `","channel":"` + room + `"`
	require.Empty(t, deed("type", `{`+who+`,"text":"/rollback declare cart"}`)["error"])
	require.Equal(t, "declare cart", a.last(t).form.Get("text"))
	require.Contains(t, deed("type", `{`+who+`,"text":"/rollback","thread":"1.2"}`)["error"], "do not work in threads")
	_, err := client.OpenViewContext(t.Context(), a.last(t).form.Get("trigger_id"), modal("declare"))
	require.NoError(t, err)
	answer := deed("submit", `{`+who+`,"values":{"reason":""}}`)
	require.Len(t, answer["errors"], 2)
	require.Empty(t, deed("close", `{`+who+`}`)["error"])
	_, open := s.Modal(alice)
	require.False(t, open)
	_, ts, err := client.PostMessageContext(t.Context(), room, card("v"))
	require.NoError(t, err)
	require.Empty(t, deed("click", `{`+who+`,"ts":"`+ts+`","action_id":"approve"}`)["error"])
	require.Equal(t, "v", a.last(t).interaction(t).ActionCallback.BlockActions[0].Value)
	require.NotEmpty(t, deed("click", `{`+who+`,"ts":"`+ts+`","action_id":"nope"}`)["error"])
	require.NotEmpty(t, deed("click", `{"surprise":1}`)["error"])
	require.Empty(t, deed("type", `{`+who+`,"text":"@backout help","thread":"`+ts+`"}`)["error"])
	require.Contains(t, string(a.last(t).body), `"thread_ts":"`+ts+`"`)
}

func TestPageHearsOfChanges(t *testing.T) {
	t.Parallel()
	s, _ := start(t, options())
	request, err := http.NewRequestWithContext(within(t), http.MethodGet, s.URL()+"/ui/events", nil)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer func() { require.NoError(t, response.Body.Close()) }()
	lines := bufio.NewScanner(response.Body)
	next := func() string {
		for lines.Scan() {
			if lines.Text() != "" {
				return lines.Text()
			}
		}
		return ""
	}
	require.Equal(t, "data: changed", next(), "at once, for what happened before")
	_, err = s.Say(t.Context(), fakeslack.Say{User: alice, Channel: room, Text: "hi"})
	require.NoError(t, err)
	require.Equal(t, "data: changed", next())
}

func TestPermalinkLeadsToThePage(t *testing.T) {
	t.Parallel()
	s, _ := start(t, options())
	status, header, _ := send(t, http.MethodGet, s.URL()+"/archives/"+room+"/p1700000000000001", "")
	require.Equal(t, http.StatusFound, status)
	require.Equal(t, "/#"+room+"/1700000000.000001", header.Get("Location"))
}
