package bot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/slack-go/slack"

	"github.com/backout/backout/bot/views"
	"github.com/backout/backout/workflows/incident"
)

// ephemeral is a message that only the person who asked sees.
func ephemeral(c views.Card) map[string]any {
	return map[string]any{"response_type": "ephemeral", "replace_original": false, "text": c.Text, "blocks": c.Blocks}
}

// bounded is the context of what must be over before Slack gives up.
func (d *desk) bounded(ctx context.Context, who person) context.Context {
	// The deadline's timer is released with the request that ctx belongs to.
	ctx, cancel := context.WithTimeout(ctx, max(d.waits.accept-d.now().Sub(who.began), 0))
	context.AfterFunc(ctx, cancel)
	return ctx
}

// behind does something after the acknowledgement, bounded in time and number.
// What does not fit is dropped with a line in the log: it is never more than
// words, the update is recorded.
func (d *desk) behind(ctx context.Context, do func(ctx context.Context)) {
	d.laterMu.Lock()
	defer d.laterMu.Unlock()
	if d.over {
		d.log.WarnContext(ctx, "drop answer: the server is closed")
		return
	}
	select {
	case d.slots <- struct{}{}:
	default:
		d.log.WarnContext(ctx, "drop answer: too many are being waited for", "limit", cap(d.slots))
		return
	}
	d.later.Go(func() {
		defer func() { <-d.slots }()
		defer func() {
			if cause := recover(); cause != nil {
				d.log.ErrorContext(ctx, "recover from panic", "stack", string(debug.Stack()))
			}
		}()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), laterWait)
		defer cancel()
		defer context.AfterFunc(d.lifetime, cancel)() //nolint:contextcheck // It ends with the desk too.
		do(ctx)
	})
}

// finish waits for the answers that follow acknowledgements, until the context
// ends, and drops the rest.
func (d *desk) finish(ctx context.Context) error {
	defer d.end()
	d.laterMu.Lock()
	d.over = true
	d.laterMu.Unlock()
	done := make(chan struct{})
	go func() { d.later.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *desk) tellLater(ctx context.Context, who person, c views.Card) {
	d.behind(ctx, func(ctx context.Context) { d.tell(ctx, who, c) })
}

// tell says something to one person only: by the response address, which works
// where the app is not a member, or else by an ephemeral message.
func (d *desk) tell(ctx context.Context, who person, c views.Card) {
	if who.responseURL != "" {
		if err := d.respond(ctx, who.responseURL, ephemeral(c)); err == nil {
			return
		}
	}
	if who.channel == "" {
		return
	}
	options := []slack.MsgOption{slack.MsgOptionBlocks(c.Blocks...), slack.MsgOptionText(c.Text, false)}
	if who.thread != "" {
		options = append(options, slack.MsgOptionTS(who.thread))
	}
	if _, err := d.API.PostEphemeralContext(ctx, who.channel, who.actor.SlackUser, options...); err != nil {
		d.log.WarnContext(ctx, "tell person", "actor", who.actor.String(), "code", code(err))
	}
}

var errNotTold = errors.New("response address did not take the message")

// respond posts to a response address. The address is a secret: it is in no
// error.
func (d *desk) respond(ctx context.Context, address string, message any) error {
	body, err := json.Marshal(message)
	if err != nil {
		return errNotTold
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil || (request.URL.Scheme != "https" && request.URL.Scheme != "http") {
		return errNotTold
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := d.http.Do(request)
	if err != nil {
		return errNotTold
	}
	defer func() { _ = response.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<16))
	if response.StatusCode/100 != 2 {
		return errNotTold
	}
	return nil
}

// code is Slack's error code, or no more than the kind of failure: errors of
// the transport hold addresses.
func code(err error) string {
	var (
		refused slack.SlackErrorResponse
		limited *slack.RateLimitedError
	)
	switch {
	case errors.As(err, &refused):
		return refused.Err
	case errors.As(err, &limited):
		return "ratelimited"
	default:
		return "no answer"
	}
}

// errUnread means that open incidents could not be read, so that none can be
// told to be the one.
var errUnread = errors.New("open incidents could not be read")

// which finds the incident that a typed order is for: the one that was named,
// the one whose card the thread belongs to, the only one with its card in the
// channel. When several could be meant, or not all could be looked at, choice
// asks: nothing is ever done to an incident by elimination.
func (d *desk) which(ctx context.Context, o order, who person) (v incident.View, choice *views.Card, err error) {
	ctx = d.bounded(ctx, who)
	if o.key == "" && who.thread != "" && d.KeyAt != nil {
		if o.key, err = d.KeyAt(ctx, who.channel, who.thread); err != nil {
			d.log.WarnContext(ctx, "read card of thread", "error", err)
		}
	}
	if o.key != "" {
		v, err = d.gateway.View(ctx, o.key)
		return v, nil, err
	}
	list, whole, err := d.open(ctx)
	if err != nil {
		return v, nil, err
	}
	return d.among(o, who, list, whole)
}

// among finds it among the open incidents.
func (d *desk) among(o order, who person, list []incident.View, whole bool) (v incident.View, choice *views.Card, err error) {
	here := slices.DeleteFunc(slices.Clone(list), func(v incident.View) bool { return v.Card.Channel != who.channel })
	if who.thread != "" {
		if i := slices.IndexFunc(here, func(v incident.View) bool { return v.Card.TS == who.thread }); i >= 0 {
			return here[i], nil, nil
		}
	}
	switch {
	case len(here) == 1 && whole:
		return here[0], nil, nil
	case len(here) > 0:
		list = here
	case len(list) == 0 && !whole:
		return v, nil, errUnread
	case len(list) == 0:
		return v, nil, ErrNoIncident
	}
	card := views.Choose(o.text, list)
	return v, &card, nil
}

// open is the views of the open incidents, the newest first. Whole is false
// when there may be others: too many to look at, or some that could not be
// read.
func (d *desk) open(ctx context.Context) (list []incident.View, whole bool, err error) {
	summaries, err := d.gateway.List(ctx)
	if err != nil {
		return nil, false, err
	}
	list, whole = readAll(ctx, d.gateway, summaries)
	return list, whole, nil
}

// readAll reads the newest maxLooked of the listed incidents and leaves out
// those that are over meanwhile.
func readAll(ctx context.Context, g *Gateway, list []Summary) (open []incident.View, whole bool) {
	read, whole := readEach(ctx, g, list)
	return slices.DeleteFunc(read, func(v incident.View) bool { return v.Phase == incident.PhaseClosed }), whole
}

// readEach reads the newest maxLooked of the listed incidents, with those that are over
// and of which something is still to be written.
func readEach(ctx context.Context, g *Gateway, list []Summary) (found []incident.View, whole bool) {
	const readers = 8
	var missed atomic.Bool
	missed.Store(len(list) > maxLooked)
	list = list[:min(len(list), maxLooked)]
	read := make([]incident.View, len(list))
	var group sync.WaitGroup
	slots := make(chan struct{}, readers)
	for i, s := range list {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			switch v, err := g.View(ctx, s.Key); {
			case err == nil:
				read[i] = v
			case !errors.Is(err, ErrNoIncident):
				missed.Store(true)
			}
		})
	}
	group.Wait()
	return slices.DeleteFunc(read, func(v incident.View) bool { return strings.TrimSpace(v.Key) == "" }), !missed.Load()
}
