package bot

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backout/backout/bot/views"
	"github.com/backout/backout/workflows/incident"
)

// Kinds of events about messages that can be in a timeline.
// Source: https://docs.slack.dev/reference/events/reaction_added and
// https://docs.slack.dev/reference/events/message/message_changed
const (
	eventReactionAdded   = "reaction_added"
	eventReactionRemoved = "reaction_removed"
	eventMessage         = "message"
	messageChanged       = "message_changed"
	messageDeleted       = "message_deleted"
)

// marked is an event about one message: who marked it, if it was marked just now.
type marked struct{ channel, ts, user string }

// markOf is what an event says about a message that is in a timeline or is to be; false
// for anything else.
func (d *desk) markOf(e envelope) (marked, bool) {
	ev := e.Event
	switch ev.Type {
	case eventReactionAdded, eventReactionRemoved:
		// A skin tone is the same emoji.
		name, _, _ := strings.Cut(ev.Reaction, "::")
		m := marked{channel: ev.Item.Channel, ts: ev.Item.TS}
		if ev.Type == eventReactionAdded {
			m.user = ev.User
		}
		return m, name == d.PinEmoji && ev.Item.Type == eventMessage
	case eventMessage:
		switch {
		case ev.Subtype == messageChanged && ev.Message.BotID == "":
			return marked{channel: ev.Channel, ts: ev.Message.TS}, true
		case ev.Subtype == messageDeleted:
			return marked{channel: ev.Channel, ts: ev.DeletedTS}, true
		}
	}
	return marked{}, false
}

// mark passes on that something happened to a message, to the incident whose timeline
// it is in or is to enter. The incident reads the message itself.
func (d *desk) mark(ctx context.Context, e envelope) answer {
	m, is := d.markOf(e)
	if !is || d.PinEmoji == "" || e.EventID == "" {
		return answer{taken: true}
	}
	who := person{
		actor:   incident.Actor{Via: incident.ViaSlack, SlackTeam: e.team(), SlackUser: m.user, Channel: m.channel},
		channel: m.channel, id: requestID("pin", e.EventID), began: d.now(),
	}
	q := incident.PinRequest{EventID: who.id, Channel: m.channel, TS: m.ts, At: d.now().UTC()}
	if m.user != "" {
		q.Actor = who.actor
	}
	if q.Validate() != nil {
		return answer{taken: true}
	}
	here, whole, err := d.inChannel(ctx, m.channel, who)
	if err != nil {
		d.log.WarnContext(ctx, "list incidents for a pin", "error", err)
		return answer{} // Slack sends it again.
	}
	// A message that is in a timeline already needs no finding.
	if at := slices.IndexFunc(here, m.in); at >= 0 {
		return d.sendPin(ctx, here[at].Key, q, who)
	}
	// People pin what they wrote when they write the postmortem, too.
	over, all, err := d.gateway.Followed(d.bounded(ctx, who), m.channel)
	if err != nil {
		d.log.WarnContext(ctx, "list postmortems for a pin", "error", err)
		return answer{}
	}
	if at := slices.IndexFunc(over, m.in); at >= 0 {
		return d.sendPin(ctx, over[at].Key, q, who)
	}
	// An incident that is over is here until all is written of it.
	for _, v := range here {
		if v.Phase == incident.PhaseClosed && !slices.ContainsFunc(over, func(o incident.View) bool { return o.Key == v.Key }) {
			over = append(over, v)
		}
	}
	here = slices.DeleteFunc(here, func(v incident.View) bool { return v.Phase == incident.PhaseClosed })
	if m.user == "" || len(here) == 0 && whole && len(over) == 0 && all {
		return answer{taken: true} // It is in no timeline, or the emoji means something else here.
	}
	key, err := d.pinnedTo(ctx, m, here, whole, who)
	if err != nil {
		d.log.WarnContext(ctx, "find incident of a pin", "error", err)
		return answer{}
	}
	several := len(here) > 0
	if key == "" && len(here) == 0 && whole {
		// A message in no thread belongs to the incident that it was written in.
		over = slices.DeleteFunc(over, func(v incident.View) bool { return !m.during(v) })
		if several = len(over) > 1; len(over) == 1 && all {
			key = over[0].Key
		}
	}
	switch {
	case key == "" && !several:
		return answer{taken: true}
	case key == "":
		d.tellLater(ctx, who, views.Said(views.PinWhere))
		return answer{taken: true}
	}
	return d.sendPin(ctx, key, q, who)
}

// inChannel is the incidents that are open, or over and not written up, and have their
// card in a channel.
func (d *desk) inChannel(ctx context.Context, channel string, who person) (here []incident.View, whole bool, err error) {
	ctx = d.bounded(ctx, who)
	list, err := d.gateway.List(ctx)
	if err != nil {
		return nil, false, err
	}
	here, whole = readEach(ctx, d.gateway, list)
	return slices.DeleteFunc(here, func(v incident.View) bool { return v.Card.Channel != channel }), whole, nil
}

// in reports whether the message is in the incident's timeline.
func (m marked) in(v incident.View) bool {
	return slices.ContainsFunc(v.Pins, func(p incident.Pin) bool { return p.Channel == m.channel && p.TS == m.ts })
}

// during reports whether the message was written while the incident was open.
func (m marked) during(v incident.View) bool {
	whole, _, _ := strings.Cut(m.ts, ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || v.ClosedAt.IsZero() {
		return false
	}
	at, began := time.Unix(seconds, 0), v.PagedAt
	if !v.OpenedAt.IsZero() && v.OpenedAt.Before(began) {
		began = v.OpenedAt
	}
	return !at.Before(began.Truncate(time.Second)) && !at.After(v.ClosedAt)
}

// pinnedTo is the incident that a message belongs to: the one in whose thread it
// stands, or the only one that is open in the channel. It is empty when several could
// be meant.
func (d *desk) pinnedTo(ctx context.Context, m marked, here []incident.View, whole bool, who person) (string, error) {
	thread := ""
	if d.ThreadOf != nil {
		var err error
		if thread, err = d.ThreadOf(d.bounded(ctx, who), m.channel, m.ts); err != nil {
			return "", err
		}
	}
	if thread != "" {
		if i := slices.IndexFunc(here, func(v incident.View) bool { return v.Card.TS == thread }); i >= 0 {
			return here[i].Key, nil
		}
		if d.KeyAt != nil {
			// The thread of an incident that is over is not that of another one.
			if key, err := d.KeyAt(d.bounded(ctx, who), m.channel, thread); err != nil || key != "" {
				return key, err
			}
		}
	}
	if len(here) == 1 && whole {
		return here[0].Key, nil
	}
	return "", nil
}

// sendPin sends the request, and tells the person why if nothing came of it.
func (d *desk) sendPin(ctx context.Context, key string, q incident.PinRequest, who person) answer {
	receipt, err := d.gateway.SendPin(d.bounded(ctx, who), key, q)
	switch {
	case errors.Is(err, ErrNoIncident):
		if who.actor.SlackUser != "" {
			d.tellLater(ctx, who, views.Said(views.PinGone))
		}
		return answer{taken: true}
	case errors.Is(err, ErrInvalid):
		d.log.InfoContext(ctx, "refuse pin", "incident_id", key, "error", err)
		return answer{taken: true}
	case err != nil:
		d.log.WarnContext(ctx, "send pin", "incident_id", key, "error", err)
		return answer{}
	}
	d.behind(ctx, func(ctx context.Context) {
		res, err := receipt.Result(ctx)
		switch {
		case err != nil:
			d.log.WarnContext(ctx, "get result of pin", "incident_id", key, "error", err)
		case who.actor.SlackUser != "" && res.Outcome != incident.OutcomeAccepted && res.Outcome != incident.OutcomeDuplicate:
			d.tell(ctx, who, views.Said(views.NotPinned(res.Reason)))
		}
	})
	return answer{taken: true}
}
