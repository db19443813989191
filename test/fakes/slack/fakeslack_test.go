package fakeslack_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/require"

	fakeslack "github.com/backout/backout/test/fakes/slack"
)

const (
	alice   = "U0ALICE"
	bob     = "U0BOB"
	gone    = "U0GONE"
	foreign = "U0FOREIGN"
	room    = fakeslack.DefaultChannelID
	other   = "C0OTHER"
	secret  = "C0SECRET"
)

// clock is a clock that moves only when it is told to.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Unix(1_700_000_000, 0)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func options() fakeslack.Options {
	return fakeslack.Options{
		Users: []fakeslack.User{
			{ID: alice, Name: "alice", RealName: "Alice Adams", Email: "alice@example.com"},
			{ID: bob, Name: "bob", RealName: "Bob Brown", Email: "bob@example.com"},
			{ID: gone, Name: "gone", Email: "gone@example.com", Deleted: true},
			{ID: foreign, Name: "foreign", TeamID: "T0ELSEWHERE"},
		},
		Channels: []fakeslack.Channel{
			{ID: room, Name: "incidents", Members: []string{fakeslack.DefaultBotUserID, alice, bob}},
			{ID: other, Name: "other", Members: []string{alice}},
			{ID: secret, Name: "secret", IsPrivate: true, Members: []string{alice}},
		},
		UserGroups: []fakeslack.UserGroup{{ID: "S0ONCALL", Handle: "oncall", Users: []string{alice, bob}}},
		Limits:     fakeslack.Limits{Off: true},
		Delivery:   fakeslack.Delivery{Deadline: 2 * time.Second, Retries: []time.Duration{0, 0, 0}},
	}
}

func start(t *testing.T, opts fakeslack.Options) (*fakeslack.Server, *slack.Client) {
	t.Helper()
	s, err := fakeslack.Start(t.Context(), opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s, slack.New(s.BotToken(), slack.OptionAPIURL(s.APIURL()), slack.OptionAppLevelToken(s.AppToken()))
}

// rawCall posts a form with the bot's token and returns the decoded answer.
func rawCall(t *testing.T, s *fakeslack.Server, token, method string, form url.Values) map[string]any {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.APIURL()+method, strings.NewReader(form.Encode()))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	return do(t, request)
}

func do(t *testing.T, request *http.Request) map[string]any {
	t.Helper()
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer func() { require.NoError(t, response.Body.Close()) }()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	var out map[string]any
	require.NoError(t, json.Unmarshal(body, &out), string(body))
	out["status"] = response.StatusCode
	out["retry_after"] = response.Header.Get("Retry-After")
	return out
}

func messagesOf(answer map[string]any) string {
	metadata, _ := answer["response_metadata"].(map[string]any)
	list, _ := metadata["messages"].([]any)
	var out []string
	for _, m := range list {
		out = append(out, m.(string))
	}
	return strings.Join(out, "\n")
}

// within is a context that ends with the test or after a generous while.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func card(value string) slack.MsgOption {
	button := slack.NewButtonBlockElement("approve", value, slack.NewTextBlockObject("plain_text", "Approve", false, false))
	button.Style = slack.StylePrimary
	return slack.MsgOptionBlocks(
		slack.NewSectionBlock(slack.NewTextBlockObject("mrkdwn", "*checkout* is down", false, false), nil, nil),
		slack.NewActionBlock("choice", button),
	)
}

func modal(callback string) slack.ModalViewRequest {
	plain := func(s string) *slack.TextBlockObject { return slack.NewTextBlockObject("plain_text", s, false, false) }
	reason := slack.NewPlainTextInputBlockElement(plain("Why"), "reason")
	reason.MaxLength = 20
	severity := slack.NewOptionsSelectBlockElement("static_select", plain("Choose"), "severity",
		slack.NewOptionBlockObject("sev1", plain("SEV1"), nil), slack.NewOptionBlockObject("sev2", plain("SEV2"), nil))
	return slack.ModalViewRequest{
		Type: slack.VTModal, Title: plain("Declare"), Submit: plain("Declare"), Close: plain("Cancel"), CallbackID: callback,
		PrivateMetadata: "memo", NotifyOnClose: true,
		Blocks: slack.Blocks{BlockSet: []slack.Block{
			slack.NewInputBlock("why", plain("Reason"), nil, reason),
			slack.NewInputBlock("sev", plain("Severity"), nil, severity),
		}},
	}
}
