package bot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/slack-go/slack"
)

// envelope is an event of Slack's Events API, as far as Backout reads it.
// Source: https://docs.slack.dev/apis/events-api
type envelope struct {
	Type      string `json:"type"`
	Challenge string `json:"challenge"`
	TeamID    string `json:"team_id"`
	EventID   string `json:"event_id"`
	Event     struct {
		Type     string `json:"type"`
		User     string `json:"user"`
		UserTeam string `json:"user_team"`
		BotID    string `json:"bot_id"`
		Text     string `json:"text"`
		Channel  string `json:"channel"`
		TS       string `json:"ts"`
		ThreadTS string `json:"thread_ts"`
		// Reaction and Item are those of a reaction.
		Reaction string `json:"reaction"`
		Item     struct {
			Type    string `json:"type"`
			Channel string `json:"channel"`
			TS      string `json:"ts"`
		} `json:"item"`
		// Subtype, Message and DeletedTS are those of an edit or a deletion.
		Subtype string `json:"subtype"`
		Message struct {
			TS    string `json:"ts"`
			BotID string `json:"bot_id"`
		} `json:"message"`
		DeletedTS string `json:"deleted_ts"`
	} `json:"event"`
}

// team is the workspace of the person, which differs from the app's in
// channels that two workspaces share.
func (e envelope) team() string {
	if e.Event.UserTeam != "" {
		return e.Event.UserTeam
	}
	return e.TeamID
}

// event answers an event. Those that Backout does not know are acknowledged.
func (d *desk) event(ctx context.Context, e envelope) answer {
	switch {
	case e.Type != "event_callback":
		return answer{taken: true}
	case e.Event.Type == "app_mention":
		return d.mention(ctx, e)
	default:
		return d.mark(ctx, e)
	}
}

// slackRequest verifies a request of Slack and answers it once.
func (s *Server) slackRequest(contentType string, read func(ctx context.Context, body []byte) (answer, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, ok := s.body(w, r, maxBody)
		if !ok {
			return
		}
		now := s.opts.Now()
		id, err := verifySlack([]byte(s.opts.Slack.SigningSecret), r.Header, body, now)
		if err == nil {
			err = s.replays.claim(id, now)
		}
		switch {
		case errors.Is(err, errCrowded):
			// It is genuine, and may come again.
			s.refuse(w, r, http.StatusServiceUnavailable, err)
			return
		case err != nil:
			s.refuse(w, r, http.StatusUnauthorized, err)
			return
		case !isType(r, contentType):
			s.refuse(w, r, http.StatusBadRequest, errType)
			return
		}
		done := false
		defer func() {
			// What was not taken may come again, and must not look like a replay.
			if !done {
				s.replays.release(id)
			}
		}()
		a, err := read(r.Context(), body)
		switch {
		case err != nil:
			done = true
			s.refuse(w, r, http.StatusBadRequest, err)
		case !a.taken:
			w.WriteHeader(http.StatusServiceUnavailable)
		case a.body == nil:
			done = true
			w.WriteHeader(http.StatusOK)
		default:
			done = true
			writeJSON(w, http.StatusOK, a.body)
		}
	}
}

func (s *Server) readCommand(ctx context.Context, body []byte) (answer, error) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return answer{}, fmt.Errorf("parse command: %w", errUnreadable)
	}
	return s.desk.command(ctx, slack.SlashCommand{
		TeamID: form.Get("team_id"), ChannelID: form.Get("channel_id"), UserID: form.Get("user_id"), Command: form.Get("command"),
		Text: form.Get("text"), ResponseURL: form.Get("response_url"), TriggerID: form.Get("trigger_id"),
	}), nil
}

func (s *Server) readInteraction(ctx context.Context, body []byte) (answer, error) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return answer{}, fmt.Errorf("parse interaction: %w", errUnreadable)
	}
	return s.desk.readInteraction(ctx, []byte(form.Get("payload")))
}

func (d *desk) readInteraction(ctx context.Context, payload []byte) (answer, error) {
	var c slack.InteractionCallback
	if err := json.Unmarshal(payload, &c); err != nil {
		return answer{}, fmt.Errorf("parse interaction: %w", errUnreadable)
	}
	return d.interaction(ctx, c), nil
}

func (s *Server) readEvent(ctx context.Context, body []byte) (answer, error) {
	var e envelope
	if err := json.Unmarshal(body, &e); err != nil {
		return answer{}, fmt.Errorf("parse event: %w", errUnreadable)
	}
	if e.Type == "url_verification" {
		return answer{taken: true, body: map[string]string{"challenge": e.Challenge}}, nil
	}
	return s.desk.event(ctx, e), nil
}

// newDesk connects the handlers of Slack.
func newDesk(o SlackOptions, s Options, w waits) *desk {
	lifetime, end := context.WithCancel(context.Background())
	return &desk{
		SlackOptions: o, gateway: s.Gateway, log: s.Log, now: s.Now, waits: w,
		http:  &http.Client{Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		slots: make(chan struct{}, maxLater), lifetime: lifetime, end: end,
	}
}
