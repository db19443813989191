package bot

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"
)

// Pauses between attempts to connect anew, where the client gave up.
const (
	minPause = time.Second
	maxPause = 30 * time.Second
)

// maxHandled is how many envelopes are worked on at a time.
const maxHandled = 64

// fatal are the refusals of an app-level token that last.
// Source: https://docs.slack.dev/reference/methods/apps.connections.open#errors
var fatal = map[string]bool{"invalid_auth": true, "account_inactive": true, "not_authed": true, "token_revoked": true, "not_allowed_token_type": true}

// maxAck is the size from which Slack drops an acknowledgement in Socket Mode,
// in bytes, less some for what is around the answer.
const maxAck = 20<<10 - 1<<10

var (
	errNoSlack = errors.New("run Socket Mode: there is no Slack")
	errToken   = errors.New("run Socket Mode: Slack refuses the app-level token")
)

// RunSocket takes deliveries of Slack over Socket Mode, with no inbound address,
// until the context ends; it connects again whenever it must. An envelope is
// acknowledged only after Temporal has what it asked for, so Slack sends it
// again otherwise. The error is not nil when the token is refused.
func (s *Server) RunSocket(ctx context.Context) error {
	if s.desk == nil {
		return errNoSlack
	}
	slots := make(chan struct{}, maxHandled)
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		began := time.Now()
		err := s.desk.connect(ctx, slots)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, errToken) || (err != nil && (fatal[code(err)] || fatal[err.Error()])) {
			return errToken
		}
		s.opts.Log.WarnContext(ctx, "connect to Socket Mode anew", "pause", pause)
		if time.Since(began) > maxPause {
			pause = minPause
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// quiet drops what the client has to say, which holds payloads and addresses.
type quiet struct{}

// Output drops a line.
func (quiet) Output(int, string) error { return nil }

// connect runs one client, which connects again by itself for as long as it can.
func (d *desk) connect(ctx context.Context, slots chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	var handled sync.WaitGroup
	defer handled.Wait()
	defer cancel()
	client := socketmode.New(d.API, socketmode.OptionReadLimit(maxBody), socketmode.OptionLog(quiet{}))
	failed := make(chan error, 1)
	go func() { failed <- client.RunContext(ctx) }()
	for {
		select {
		case err := <-failed:
			return err
		case e := <-client.Events:
			if e.Type == socketmode.EventTypeInvalidAuth {
				return errToken
			}
			if e.Request == nil || e.Request.EnvelopeID == "" {
				continue // about the connection itself
			}
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
			handled.Go(func() {
				defer func() { <-slots }()
				d.deliver(ctx, client, e)
			})
		}
	}
}

// deliver answers one envelope.
func (d *desk) deliver(ctx context.Context, client *socketmode.Client, e socketmode.Event) {
	defer func() {
		if cause := recover(); cause != nil {
			d.log.ErrorContext(ctx, "recover from panic", "envelope_id", e.Request.EnvelopeID, "type", string(e.Type))
		}
	}()
	a, ok := d.envelope(ctx, e)
	if !ok || !a.taken {
		d.log.WarnContext(ctx, "leave envelope unacknowledged", "envelope_id", e.Request.EnvelopeID, "type", string(e.Type))
		return
	}
	if err := client.AckCtx(ctx, e.Request.EnvelopeID, a.body); err != nil {
		d.log.WarnContext(ctx, "acknowledge envelope", "envelope_id", e.Request.EnvelopeID, "type", string(e.Type))
	}
}

// envelope hands an envelope to the same handlers that HTTP uses.
func (d *desk) envelope(ctx context.Context, e socketmode.Event) (answer, bool) {
	switch e.Type {
	case socketmode.EventTypeSlashCommand:
		var c slack.SlashCommand
		if json.Unmarshal(e.Request.Payload, &c) != nil {
			return answer{}, false
		}
		return d.fitting(ctx, d.command(ctx, c), c.ResponseURL), true
	case socketmode.EventTypeInteractive:
		a, err := d.readInteraction(ctx, e.Request.Payload)
		return a, err == nil
	case socketmode.EventTypeEventsAPI:
		var event envelope
		if json.Unmarshal(e.Request.Payload, &event) != nil {
			return answer{}, false
		}
		return d.event(ctx, event), true
	default:
		return answer{}, false
	}
}

// fitting is the answer to a command with no more in it than Slack takes; what
// is too large follows by the response address.
func (d *desk) fitting(ctx context.Context, a answer, responseURL string) answer {
	body, err := json.Marshal(a.body)
	if err != nil || len(body) < maxAck {
		return a
	}
	message := a.body
	d.behind(ctx, func(ctx context.Context) {
		if err := d.respond(ctx, responseURL, message); err != nil {
			d.log.WarnContext(ctx, "tell person", "error", err)
		}
	})
	a.body = nil
	return a
}
