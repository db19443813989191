package bot_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/backout/backout/bot"
	fakeslack "github.com/backout/backout/test/fakes/slack"
	"github.com/backout/backout/workflows/incident"
)

// wrote posts a message of Ada and returns its timestamp.
func (o *office) wrote(channel, thread, text string) string {
	o.t.Helper()
	_, err := o.Say(within(o.t), fakeslack.Say{User: "U0ADA", Channel: channel, Thread: thread, Text: text})
	require.NoError(o.t, err)
	list := o.Messages(channel)
	return list[len(list)-1].TS
}

// marks adds a person's reaction to a message, which is acknowledged.
func (o *office) marks(user, channel, ts, emoji string) {
	o.t.Helper()
	out, err := o.React(within(o.t), fakeslack.Mark{User: user, Channel: channel, TS: ts, Emoji: emoji})
	require.NoError(o.t, err)
	require.True(o.t, out.Acked, out.Reason)
}

// looks are the requests to look at messages that an incident got: who marked which.
func (o *office) looks(key string) [][2]string {
	o.t.Helper()
	var out [][2]string
	for _, e := range viewOf(o.t, o.gateway, key).Timeline {
		if e.Kind == incident.EventPin {
			out = append(out, [2]string{e.Actor, e.Text})
		}
	}
	return out
}

func TestPinsReachTheirIncident(t *testing.T) {
	t.Parallel()
	for name, socket := range map[string]bool{"http": false, "socket": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := open(t, bot.Options{}, socket)
			if socket {
				runSocket(t, o)
			}
			key := begin(t, o.gateway, o.channel)
			ts := o.wrote(o.channel, "", "it is the discounts")
			other := o.wrote(o.channel, "", "lunch?")
			o.marks("U0BOB", o.channel, other, "thumbsup")
			o.marks("U0BOB", o.channel, ts, "pushpin")
			require.Equal(t, [][2]string{{"U0BOB", ts}}, o.looks(key))

			// What happens to a message that is not pinned is nobody's business.
			for _, m := range []fakeslack.Mark{{User: "U0ADA", Channel: o.channel, TS: other}, {User: "U0ADA", Channel: o.channel, TS: ts}} {
				out, err := o.Edit(within(t), m, "it is the coupons")
				require.NoError(t, err)
				require.True(t, out.Acked)
			}
			require.Equal(t, [][2]string{{"U0BOB", ts}, {"", ts}}, o.looks(key))

			o.marks("U0ADA", o.channel, other, "pushpin")
			out, err := o.Unreact(within(t), fakeslack.Mark{User: "U0ADA", Channel: o.channel, TS: other, Emoji: "pushpin"})
			require.NoError(t, err)
			require.True(t, out.Acked)
			require.Equal(t, [][2]string{{"U0BOB", ts}, {"", ts}, {"U0ADA", other}, {"", other}}, o.looks(key))
			o.marks("U0BOB", o.channel, other, "pushpin")
			out, err = o.Delete(within(t), fakeslack.Mark{User: "U0ADA", Channel: o.channel, TS: other})
			require.NoError(t, err)
			require.True(t, out.Acked)
			require.Equal(t, [2]string{"", other}, o.looks(key)[5])
			require.Empty(t, o.Failures())
		})
	}
}

func TestPinsOfNoIncident(t *testing.T) {
	t.Parallel()
	o := open(t, bot.Options{}, false)
	key := begin(t, o.gateway, o.channel)
	elsewhere := o.wrote(o.channel+"X", "", "a reminder for myself")
	o.marks("U0ADA", o.channel+"X", elsewhere, "pushpin")
	require.Empty(t, o.looks(key))
	require.Empty(t, o.Ephemerals("U0ADA"), "the emoji means something else there")

	ts := o.wrote(o.channel, "", "it is the discounts")
	o.marks("U0GUEST", o.channel, ts, "pushpin")
	o.told("U0GUEST", "not in the timeline: only people can pin")
}

// Where several incidents are open, the thread says whose a message is, and nothing is
// guessed.
func TestPinsInAThread(t *testing.T) {
	t.Parallel()
	o := open(t, bot.Options{}, false)
	first := begin(t, o.gateway, o.channel)
	card := o.wrote(o.channel, "", "stands for the card of the second")
	p := page(unique("Q"), "first", incident.PageTriggered)
	p.Channel, p.ServiceID = o.channel, card
	_, err := o.gateway.Page(within(t), p)
	require.NoError(t, err)
	second := incident.Key(p.Source, p.IncidentID)
	eventually(t, "lists show the second", func() bool {
		list, err := o.gateway.List(within(t))
		require.NoError(t, err)
		for _, s := range list {
			if s.Key == second {
				return true
			}
		}
		return false
	})
	loose, reply := o.wrote(o.channel, "", "whose is this?"), o.wrote(o.channel, card, "it is the discounts")
	o.marks("U0ADA", o.channel, loose, "pushpin")
	o.told("U0ADA", "Several incidents could be meant in this channel")
	o.marks("U0ADA", o.channel, reply, "pushpin")
	require.Empty(t, o.looks(first))
	require.Equal(t, [][2]string{{"U0ADA", reply}}, o.looks(second))
	require.NoError(t, temporalClient.TerminateWorkflow(within(t), incident.WorkflowID(second), "", "the test is over"))
}

// What Temporal does not have is sent again by Slack.
func TestPinsAreNotAcknowledgedBeforeTemporalHasThem(t *testing.T) {
	t.Parallel()
	o := openWithin(t, bot.Options{Gateway: unreachable(t)}, false, patience/60, patience/60)
	ts := o.wrote(o.channel, "", "it is the discounts")
	out, err := o.React(within(t), fakeslack.Mark{User: "U0ADA", Channel: o.channel, TS: ts, Emoji: "pushpin"})
	require.NoError(t, err)
	require.False(t, out.Acked)
}

// followed starts to follow the postmortem of an incident that is over, whose card is in
// a channel, and waits until it is found.
func followed(t *testing.T, g *bot.Gateway, channel string, closed time.Time) string {
	t.Helper()
	key := incident.Key(incident.SourcePagerDuty, unique("Q"))
	in := incident.FollowUpInput{Key: key, State: &incident.FollowUpState{View: incident.View{
		Key: key, Phase: incident.PhaseClosed, Revision: 7, Card: incident.CardRef{Channel: channel, TS: "1700000000.000100"},
		PagedAt: closed.Add(-time.Hour), ClosedAt: closed, Ranking: incident.Ranking{Likely: -1},
	}}}
	_, err := temporalClient.ExecuteWorkflow(within(t), client.StartWorkflowOptions{ID: incident.FollowUpID(key), TaskQueue: incident.TaskQueue}, incident.WorkflowFollowUp, in)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		_ = temporalClient.TerminateWorkflow(ctx, incident.FollowUpID(key), "", "the test is over")
	})
	eventually(t, "the postmortem is found", func() bool {
		list, _, err := g.Followed(within(t), channel)
		require.NoError(t, err)
		for _, v := range list {
			if v.Key == key {
				return true
			}
		}
		return false
	})
	return key
}

// Once the incident is over, pins reach who follows its postmortem.
func TestPinsReachThePostmortem(t *testing.T) {
	t.Parallel()
	o := open(t, bot.Options{}, false)
	ts := o.wrote(o.channel, "", "it is the discounts")
	key := followed(t, o.gateway, o.channel, time.Now().Add(time.Hour))
	o.marks("U0BOB", o.channel, ts, "pushpin")
	require.Equal(t, [][2]string{{"U0BOB", ts}}, o.looks(key))
	out, err := o.Edit(within(t), fakeslack.Mark{User: "U0ADA", Channel: o.channel, TS: ts}, "it is the coupons")
	require.NoError(t, err)
	require.True(t, out.Acked)
	out, err = o.Unreact(within(t), fakeslack.Mark{User: "U0BOB", Channel: o.channel, TS: ts, Emoji: "pushpin"})
	require.NoError(t, err)
	require.True(t, out.Acked)
	require.Equal(t, [][2]string{{"U0BOB", ts}, {"", ts}, {"", ts}}, o.looks(key))
	out, err = o.Edit(within(t), fakeslack.Mark{User: "U0ADA", Channel: o.channel, TS: ts}, "never mind")
	require.NoError(t, err)
	require.True(t, out.Acked)
	require.Len(t, o.looks(key), 3, "what is not pinned is nobody's business")
	o.marks("U0GUEST", o.channel, ts, "pushpin")
	o.told("U0GUEST", "not in the timeline: only people can pin")
	require.Empty(t, o.Failures())
}

// A message that is in no thread belongs to the incident that it was written in, or to
// none, and nothing is guessed.
func TestPinsOfPostmortemsAreNotGuessed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		closed []time.Duration
		open   bool
		// want is the index of the postmortem that it is for, -1 for none.
		want int
		told string
	}{
		{name: "written after it", closed: []time.Duration{-time.Minute}, want: -1},
		{name: "written long before it", closed: []time.Duration{3 * time.Hour}, want: -1},
		{name: "written during one of two", closed: []time.Duration{-time.Minute, time.Minute}, want: 1},
		{name: "written during both", closed: []time.Duration{time.Hour / 2, time.Minute}, want: -1, told: "Several incidents could be meant"},
		{name: "while another is open", closed: []time.Duration{time.Minute}, open: true, want: -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := open(t, bot.Options{}, false)
			var keys []string
			for _, d := range tt.closed {
				keys = append(keys, followed(t, o.gateway, o.channel, time.Now().Add(d)))
			}
			var begun string
			if tt.open {
				begun = begin(t, o.gateway, o.channel)
			}
			ts := o.wrote(o.channel, "", "it is the discounts")
			o.marks("U0BOB", o.channel, ts, "pushpin")
			if tt.told != "" {
				o.told("U0BOB", tt.told)
			}
			for i, key := range keys {
				require.Equal(t, i == tt.want, len(o.looks(key)) == 1)
			}
			if tt.open {
				require.Equal(t, [][2]string{{"U0BOB", ts}}, o.looks(begun))
			}
		})
	}
}

// A view of an incident that is over says what was pinned since.
func TestViewAfterTheEnd(t *testing.T) {
	t.Parallel()
	g := bot.NewGateway(temporalClient, bot.Unsigned{})
	key := followed(t, g, unique("C0"), time.Now())
	require.Equal(t, 7, viewOf(t, g, key).Revision)
	_, err := g.View(within(t), incident.Key(incident.SourcePagerDuty, unique("Q")))
	require.ErrorIs(t, err, bot.ErrNoIncident)
}
