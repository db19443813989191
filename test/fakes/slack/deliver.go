package fakeslack

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Kinds of delivery, named as Socket Mode names them.
const (
	kindCommand     = "slash_commands"
	kindInteractive = "interactive"
	kindEvent       = "events_api"
)

// Reasons why a delivery failed, as Slack shows or sends them.
const (
	reasonTimeout  = "operation_timeout"
	reasonDispatch = "dispatch_failed"
)

// RequestURLs are where the app takes deliveries over HTTP. A kind with an empty URL
// goes over Socket Mode.
type RequestURLs struct {
	Commands      string
	Interactivity string
	Events        string
}

func (u RequestURLs) of(kind string) string {
	switch kind {
	case kindCommand:
		return u.Commands
	case kindInteractive:
		return u.Interactivity
	case kindEvent:
		return u.Events
	default:
		return ""
	}
}

// Outcome is what became of a delivery.
type Outcome struct {
	// Acked says that the app acknowledged in time.
	Acked bool
	// Status is the HTTP status, zero in Socket Mode or when there was no answer.
	Status int
	// Body is what the app answered.
	Body []byte
	// Attempts is how often it was sent so far.
	Attempts int
	// Reason is what the person sees when it failed, or empty.
	Reason string

	contentType string
	noRetry     bool
}

// delivery is one thing to tell the app.
type delivery struct {
	kind    string
	user    string
	form    url.Values      // for commands over HTTP
	payload json.RawMessage // for everything else
}

// body returns what is posted over HTTP and its content type.
func (d delivery) body() ([]byte, string) {
	const form = "application/x-www-form-urlencoded"
	switch d.kind {
	case kindCommand:
		return []byte(d.form.Encode()), form
	case kindInteractive:
		return []byte(url.Values{"payload": {string(d.payload)}}.Encode()), form
	default:
		return d.payload, "application/json"
	}
}

// SetRequestURLs configures where the app takes deliveries. Like Slack, it challenges
// the events URL first and refuses one that does not answer.
func (s *Server) SetRequestURLs(ctx context.Context, urls RequestURLs) error {
	if urls.Events != "" {
		if err := s.challenge(ctx, urls.Events); err != nil {
			return fmt.Errorf("verify events URL: %w", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.urls = urls
	s.notify()
	return nil
}

// challenge sends url_verification and wants the challenge back.
func (s *Server) challenge(ctx context.Context, target string) error {
	s.mu.Lock()
	challenge := s.world.id("challenge")
	s.mu.Unlock()
	payload, err := json.Marshal(map[string]any{
		"type": "url_verification", "token": "unused", "challenge": challenge,
	})
	if err != nil {
		return fmt.Errorf("encode challenge: %w", err)
	}
	out := s.post(ctx, target, delivery{kind: kindEvent, payload: payload}, 0, "")
	if !out.Acked {
		return fmt.Errorf("no answer to the challenge: %s", out.Reason)
	}
	answered := strings.TrimSpace(string(out.Body))
	var structured struct {
		Challenge string `json:"challenge"`
	}
	if json.Unmarshal(out.Body, &structured) == nil && structured.Challenge != "" {
		answered = structured.Challenge
	}
	if value, ok := strings.CutPrefix(answered, "challenge="); ok {
		answered = value
	}
	if answered != challenge {
		return errors.New("the challenge came back wrong")
	}
	return nil
}

// Sign returns the headers with which Slack signs a body at a moment. Tests use it to
// forge, age and replay requests.
// Source: https://docs.slack.dev/authentication/verifying-requests-from-slack
func (s *Server) Sign(body []byte, at time.Time) http.Header {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(s.opts.SigningSecret))
	mac.Write([]byte("v0:" + timestamp + ":"))
	mac.Write(body)
	header := http.Header{}
	header.Set("X-Slack-Request-Timestamp", timestamp)
	header.Set("X-Slack-Signature", "v0="+hex.EncodeToString(mac.Sum(nil)))
	return header
}

// post sends one signed request and waits as long as Slack does.
func (s *Server) post(ctx context.Context, target string, d delivery, retry int, why string) Outcome {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Delivery.Deadline)
	defer cancel()
	stop := context.AfterFunc(s.lifetime, cancel)
	defer stop()
	body, contentType := d.body()
	failed := Outcome{Attempts: 1, Reason: reasonDispatch}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return failed
	}
	request.Header = s.Sign(body, s.opts.Now())
	request.Header.Set("Content-Type", contentType)
	request.Header.Set("User-Agent", "Slackbot 1.0 (+https://api.slack.com/robots)")
	if retry > 0 {
		request.Header.Set("X-Slack-Retry-Num", strconv.Itoa(retry))
		request.Header.Set("X-Slack-Retry-Reason", why)
	}
	response, err := s.client.Do(request)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			failed.Reason = reasonTimeout
		}
		return failed
	}
	defer func() { _ = response.Body.Close() }()
	answered, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			failed.Reason = reasonTimeout
		}
		return failed
	}
	out := Outcome{
		Attempts: 1, Status: response.StatusCode, Body: answered, contentType: response.Header.Get("Content-Type"),
		noRetry: response.Header.Get("X-Slack-No-Retry") == "1",
	}
	if response.StatusCode/100 == 2 {
		out.Acked = true
	} else {
		out.Reason = "http_error"
		if d.kind != kindEvent {
			out.Reason = reasonDispatch
		}
	}
	return out
}

// deliver sends a command or an interaction, once over HTTP, or over sockets until
// one of two connections acknowledges.
func (s *Server) deliver(ctx context.Context, d delivery) Outcome {
	s.mu.Lock()
	target := s.urls.of(d.kind)
	s.mu.Unlock()
	var out Outcome
	if target != "" {
		out = s.post(ctx, target, d, 0, "")
	} else {
		out = s.overSockets(ctx, d, 0)
	}
	if !out.Acked {
		s.fail(d, out)
	}
	return out
}

// fail notes a delivery that went wrong.
func (s *Server) fail(d delivery, out Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = append(s.failures, Failure{
		Kind: d.kind, User: d.user, Reason: out.Reason, Detail: fmt.Sprintf("status %d, %d attempts", out.Status, out.Attempts),
	})
	s.opts.Logger.Info("delivery failed", "kind", d.kind, "reason", out.Reason, "status", out.Status)
	s.notify()
}

// retryReasons translate reasons into what X-Slack-Retry-Reason says.
var retryReasons = map[string]string{
	reasonTimeout: "http_timeout", reasonDispatch: "connection_failed", "http_error": "http_error",
}

// publish sends an event and repeats it in the background until it is acknowledged
// or the retries are used up. It returns the outcome of the first attempt.
func (s *Server) publish(ctx context.Context, event map[string]any) (Outcome, error) {
	s.mu.Lock()
	eventID := s.world.id("Ev")
	subscribed := s.hears(event, "")
	s.mu.Unlock()
	if !subscribed {
		return Outcome{}, nil
	}
	payload, err := json.Marshal(map[string]any{
		"token": "unused", "team_id": s.opts.TeamID, "api_app_id": s.opts.AppID, "event": event,
		"type": "event_callback", "event_id": eventID, "event_time": s.opts.Now().Unix(),
		"authorizations": []map[string]any{{
			"enterprise_id": nil, "team_id": s.opts.TeamID, "user_id": s.opts.BotUserID, "is_bot": true,
			"is_enterprise_install": false,
		}},
		"is_ext_shared_channel": false, "event_context": "4-" + eventID,
	})
	if err != nil {
		return Outcome{}, fmt.Errorf("encode event: %w", err)
	}
	d := delivery{kind: kindEvent, payload: payload}
	first := s.sendEvent(ctx, d, 0, "")
	if !first.Acked && !first.noRetry {
		s.work.Go(func() { s.repeat(d, first) })
	}
	return first, nil
}

func (s *Server) sendEvent(ctx context.Context, d delivery, retry int, why string) Outcome {
	s.mu.Lock()
	target := s.urls.Events
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.notify()
		s.mu.Unlock()
	}()
	if target != "" {
		return s.post(ctx, target, d, retry, why)
	}
	return s.overSockets(ctx, d, retry)
}

// repeat sends an event again after each pause.
func (s *Server) repeat(d delivery, last Outcome) {
	for i, pause := range s.opts.Delivery.Retries {
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-s.lifetime.Done():
			timer.Stop()
			return
		}
		out := s.sendEvent(s.lifetime, d, i+1, retryReasons[last.Reason])
		if out.Acked {
			return
		}
		last = out
		last.Attempts = i + 2
		if out.noRetry {
			break
		}
	}
	s.fail(d, last)
}
