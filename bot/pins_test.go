package bot_test

import (
	"testing"

	"github.com/stretchr/testify/require"

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
	o.told("U0ADA", "Several incidents are open in this channel")
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
