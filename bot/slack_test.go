package bot_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/bot"
	"github.com/backout/backout/bot/views"
	fakeslack "github.com/backout/backout/test/fakes/slack"
	"github.com/backout/backout/workflows/incident"
)

func TestClicks(t *testing.T) {
	t.Parallel()
	for name, socket := range map[string]bool{"http": false, "socket": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := open(t, bot.Options{}, socket)
			if socket {
				runSocket(t, o)
			}
			key := begin(t, o.gateway, o.channel)
			ts := o.card(key)
			require.True(t, o.click("U0ADA", ts, "approve:0", nil).Acked)
			o.told("U0ADA", "your decision starts the rollback")
			require.True(t, o.click("U0BOB", ts, "approve:0", nil).Acked)
			o.told("U0BOB", "Too late: slack:T0BACKOUT/U0ADA had decided already")
			require.True(t, o.click("U0BOB", ts, "command:take_command", nil).Acked)
			o.told("U0BOB", "the answer to take_command")

			v := viewOf(t, o.gateway, key)
			require.Len(t, v.Decisions, 2)
			require.Equal(t, incident.Actor{Via: incident.ViaSlack, SlackTeam: "T0BACKOUT", SlackUser: "U0ADA", Channel: o.channel}, v.Decisions[0].Actor)
			require.Len(t, o.Messages(o.channel), 1, "everything a person is told is private")
			require.Empty(t, o.Failures())
		})
	}
}

func TestOldAndTamperedButtonsDoNothing(t *testing.T) {
	t.Parallel()
	o := open(t, bot.Options{}, false)
	key := begin(t, o.gateway, o.channel)
	ts := o.card(key)
	seen := func(value string) json.RawMessage {
		b, err := json.Marshal([]slack.Block{slack.NewActionBlock("decide", slack.NewButtonBlockElement("approve:0", value, slack.NewTextBlockObject(slack.PlainTextType, "Approve", false, false)))})
		require.NoError(t, err)
		return b
	}
	o.click("U0ADA", ts, "approve:0", seen(views.Ref{Key: key, Option: "o1", Digest: planDigest("what it was before"), Revision: 1}.Encode()))
	o.told("U0ADA", "That was an old card")
	o.click("U0ADA", ts, "approve:0", seen(`{"k":"`+key+`","o":"o1","d":"`+planDigest("o1")+`","r":1,"admin":true}`))
	o.told("U0ADA", "does not belong to a card of Backout")
	o.click("U0BOB", ts, "approve:0", seen(views.Ref{Key: "pagerduty/" + unique("Q"), Option: "o1", Digest: planDigest("o1"), Revision: 1}.Encode()))
	o.told("U0BOB", "That incident is closed")
	o.click("U0BOB", ts, "approve:0", seen(views.Ref{Key: key, Revision: 1}.Encode()))
	o.told("U0BOB", "did not understand")
	for _, d := range viewOf(t, o.gateway, key).Decisions {
		require.NotEqual(t, incident.OutcomeApproved, d.Outcome)
	}
}

func TestRefuseModal(t *testing.T) {
	t.Parallel()
	o := open(t, bot.Options{}, false)
	key := begin(t, o.gateway, o.channel)
	require.True(t, o.click("U0ADA", o.card(key), "refuse:0", nil).Acked)
	modal, ok := o.Modal("U0ADA")
	require.True(t, ok)
	result, err := o.SubmitModal(within(t), fakeslack.Submit{User: "U0ADA", View: modal.ID, Values: map[string]string{"reason": "it loses <orders>"}})
	require.NoError(t, err)
	require.True(t, result.Acked)
	o.told("U0ADA", "Refused, and recorded")
	v := viewOf(t, o.gateway, key)
	require.Len(t, v.Decisions, 1)
	require.Equal(t, "it loses <orders>", v.Decisions[0].Reason)
	require.Equal(t, incident.AnswerRefuse, v.Decisions[0].Answer)
}

// The form of an approval past the policy takes a reason, and nothing without one.
func TestBreakGlassModal(t *testing.T) {
	t.Parallel()
	o := open(t, bot.Options{}, false)
	key := begin(t, o.gateway, o.channel)
	ts := o.card(key)
	seen := func(value string) json.RawMessage {
		menu := slack.NewOverflowBlockElement("break-glass:0", slack.NewOptionBlockObject(value, slack.NewTextBlockObject(slack.PlainTextType, "Break the glass", false, false), nil))
		b, err := json.Marshal([]slack.Block{slack.NewActionBlock("decide", menu)})
		require.NoError(t, err)
		return b
	}
	choose := func(value string) {
		got, err := o.Click(within(t), fakeslack.Click{User: "U0ADA", Channel: o.channel, TS: ts, ActionID: "break-glass:0", Value: value, Seen: seen(value)})
		require.NoError(t, err)
		require.True(t, got.Acked)
	}
	choose(views.Ref{Key: key, Revision: 1}.Encode())
	o.told("U0ADA", "does not belong to a card of Backout")
	_, opened := o.Modal("U0ADA")
	require.False(t, opened)

	choose(views.Ref{Key: key, Option: "o1", Digest: planDigest("o1"), Revision: 1}.Encode())
	modal, ok := o.Modal("U0ADA")
	require.True(t, ok)
	require.Empty(t, viewOf(t, o.gateway, key).Decisions, "the menu approves nothing")
	submit := func(why string) fakeslack.SubmitResult {
		result, err := o.SubmitModal(within(t), fakeslack.Submit{User: "U0ADA", View: modal.ID, Values: map[string]string{"reason": why}})
		require.NoError(t, err)
		return result
	}
	require.Contains(t, submit("   ").Errors["reason"], "break-glass needs a reason")
	require.Empty(t, viewOf(t, o.gateway, key).Decisions)
	require.True(t, submit("all of <Europe> is down").Acked)
	o.told("U0ADA", "your decision starts the rollback")
	v := viewOf(t, o.gateway, key)
	require.Len(t, v.Decisions, 1)
	require.True(t, v.Decisions[0].BreakGlass)
	require.Equal(t, "all of <Europe> is down", v.Decisions[0].Reason)
	require.Equal(t, incident.AnswerApprove, v.Decisions[0].Answer)
}

// The command is handed over to whom a person picks in the form, and to nobody else.
func TestHandOverModal(t *testing.T) {
	t.Parallel()
	o := open(t, bot.Options{}, false)
	key := begin(t, o.gateway, o.channel)
	seen, err := json.Marshal([]slack.Block{slack.NewActionBlock("commands", slack.NewButtonBlockElement("command:hand_over",
		views.Ref{Key: key, Revision: 1}.Encode(), slack.NewTextBlockObject(slack.PlainTextType, "Hand over", false, false)))})
	require.NoError(t, err)
	require.True(t, o.click("U0ADA", o.card(key), "command:hand_over", seen).Acked)
	modal, ok := o.Modal("U0ADA")
	require.True(t, ok)
	result, err := o.SubmitModal(within(t), fakeslack.Submit{User: "U0ADA", View: modal.ID, Values: map[string]string{"person": "U0BOB"}})
	require.NoError(t, err)
	require.True(t, result.Acked)
	o.told("U0ADA", "the answer to hand_over for slack:T0BACKOUT/U0BOB")
}

func TestSlashCommands(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text, want string
		decisions        int
	}{
		{"menu", "", "what do you want to do", 0},
		{"help", "help", "declares an incident", 0},
		{"unknown", "dance <!channel>", "There is no command", 0},
		{"status", "status", "Waiting for a decision", 0},
		{"approve shows the plan first", "approve o1", "exactly one plan", 0},
		{"approve the plan that was seen", "approve o1 " + incident.ShortDigest(planDigest("o1")), "starts the rollback", 1},
		{"approve another plan", "approve o1 00000000", "That was an old card", 0},
		{"approve what", "approve", "needs an option", 0},
		{"approve nothing", "approve o9", "no option o9", 0},
		{"refuse", "refuse o1 it is wrong", "Refused, and recorded", 1},
		{"refuse without a reason", "refuse o1", "needs a reason", 0},
		{"break-glass", "break-glass o1 " + incident.ShortDigest(planDigest("o1")) + " nobody answers", "starts the rollback", 1},
		{"break-glass without a reason", "break-glass o1 " + incident.ShortDigest(planDigest("o1")), "needs a reason", 0},
		{"options", "options", "the answer to refresh", 0},
		{"command", "take", "the answer to take_command", 0},
		{"handover", "handover <@U0BOB|bob>", "the answer to hand_over for slack:T0BACKOUT/U0BOB", 0},
		{"handover with a reason", "hand-over <@U0BOB> my shift ends", "the answer to hand_over for slack:T0BACKOUT/U0BOB", 0},
		{"command for somebody else", "command <@U0BOB|Bob the &lt;Builder&gt;>", "the answer to hand_over for slack:T0BACKOUT/U0BOB", 0},
		{"handover to one who is named twice", "handover <@U0BOB|bob> <@U0BOB>", "the answer to hand_over for slack:T0BACKOUT/U0BOB", 0},
		{"handover to two", "handover <@U0BOB> <@U0ADA>", "you named several", 0},
		{"handover to nobody", "handover", "needs a person", 0},
		{"handover to a mere name", "handover @bob", "needs a person", 0},
		{"handover to a group", "handover <!subteam^S0123|@shop>", "needs a person", 0},
		{"command for a mere name", "command @bob", "needs a person", 0},
		{"command for a garbled mention", "command <@U0BOB|Bob", "needs a person", 0},
		{"command for a group", "command <!subteam^S0123|@shop>", "needs a person", 0},
		{"handover with the person last", "handover to <@U0BOB>", "needs a person", 0},
		{"command with a reason", "command I am at my desk", "the answer to take_command", 0},
		{"command with somebody in the reason", "command I relieve <@U0BOB|bob>", "the answer to take_command", 0},
		{"cancel", "cancel", "the answer to cancel", 0},
		{"redo", "redo", "the answer to redo", 0},
		{"close", "close", "the answer to close", 0},
		{"list", "list", "Open incidents", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := open(t, bot.Options{}, false)
			key := begin(t, o.gateway, o.channel)
			out := o.slash("U0ADA", tt.text)
			require.True(t, out.Acked)
			require.Empty(t, out.Reason)
			o.told("U0ADA", tt.want)
			require.Len(t, viewOf(t, o.gateway, key).Decisions, tt.decisions)
			require.Empty(t, o.Messages(o.channel))
		})
	}
}

// The person who was named stays named when the incident had to be asked for.
func TestHandoverOfOneOfSeveral(t *testing.T) {
	t.Parallel()
	o := open(t, bot.Options{}, false)
	begin(t, o.gateway, o.channel)
	begin(t, o.gateway, o.channel)
	o.slash("U0ADA", "handover <@U0BOB|Bob the Builder>")
	asked := o.told("U0ADA", "Which incident do you mean")
	out, err := o.Click(within(t), fakeslack.Click{User: "U0ADA", Channel: o.channel, TS: asked.TS, ActionID: "pick", BlockID: "incident-1"})
	require.NoError(t, err)
	require.True(t, out.Acked)
	o.told("U0ADA", "the answer to hand_over for slack:T0BACKOUT/U0BOB")
}

// Whoever is not an active full member declares nothing; and where nobody can be
// asked who somebody is, nobody does.
func TestOnlyColleaguesDeclare(t *testing.T) {
	t.Parallel()
	o := open(t, bot.Options{}, false)
	for _, user := range []string{"U0GONE", "U0GUEST", "U0SINGLE", "U0ABROAD", "U0ROBOT"} {
		for _, text := range []string{"declare sev1 checkout it is down", "declare"} {
			require.True(t, o.slash(user, text).Acked)
			o.told(user, "Only active full members of this workspace can declare an incident")
			_, opened := o.Modal(user)
			require.False(t, opened, user)
		}
	}
	o.Fault("users.info", fakeslack.Fault{Status: http.StatusInternalServerError, Times: 2})
	for _, text := range []string{"declare sev1 checkout it is down", "declare"} {
		out := o.slash("U0NEW", text)
		require.True(t, out.Acked)
		require.Contains(t, string(out.Body), "could not record this in time")
	}
	o.slash("U0NEW", "declare sev1 checkout it is down")
	o.told("U0NEW", views.Declared)
}

// A form that a member opened is looked at again when it comes back.
func TestDeclarationIsCheckedWhenItIsSent(t *testing.T) {
	t.Parallel()
	o := open(t, bot.Options{}, false)
	o.slash("U0ADA", "declare")
	modal, opened := o.Modal("U0ADA")
	require.True(t, opened)
	o.SetUser(fakeslack.User{ID: "U0ADA", Name: "ada", IsRestricted: true})
	result, err := o.SubmitModal(within(t), fakeslack.Submit{User: "U0ADA", View: modal.ID, Values: map[string]string{"service": "checkout", "title": "it is down", "severity": "sev1"}})
	require.NoError(t, err)
	require.True(t, result.Acked)
	o.told("U0ADA", "Only active full members")
}

func TestSeveralIncidentsAreAskedFor(t *testing.T) {
	t.Parallel()
	o := open(t, bot.Options{}, false)
	first, second := begin(t, o.gateway, o.channel), begin(t, o.gateway, o.channel)
	o.slash("U0ADA", "take")
	asked := o.told("U0ADA", "Which incident do you mean")
	require.Contains(t, string(asked.Blocks), first)
	require.Contains(t, string(asked.Blocks), second)
	out, err := o.Click(within(t), fakeslack.Click{User: "U0ADA", Channel: o.channel, TS: asked.TS, ActionID: "pick", BlockID: "incident-1"})
	require.NoError(t, err)
	require.True(t, out.Acked)
	o.told("U0ADA", "the answer to take_command")
	o.slash("U0BOB", "options "+first)
	o.told("U0BOB", "the answer to refresh")
}

func TestDeclare(t *testing.T) {
	t.Parallel()
	o := open(t, bot.Options{}, false)
	o.slash("U0ADA", "declare")
	modal, ok := o.Modal("U0ADA")
	require.True(t, ok)
	submit := func(title string) fakeslack.SubmitResult {
		result, err := o.SubmitModal(within(t), fakeslack.Submit{User: "U0ADA", View: modal.ID, Values: map[string]string{"service": "checkout", "title": title, "severity": "sev1"}})
		require.NoError(t, err)
		return result
	}
	require.True(t, submit("nothing works").Acked)
	o.told("U0ADA", "Declared")

	o.slash("U0BOB", "declare sev2 cart it is empty")
	o.told("U0BOB", "Declared")
	var titles []string
	eventually(t, "both incidents are listed", func() bool {
		list, err := o.gateway.List(within(t))
		require.NoError(t, err)
		titles = nil
		for _, s := range list {
			if v, err := o.gateway.View(within(t), s.Key); err == nil && v.Card.Channel == o.channel {
				titles = append(titles, v.Title)
			}
		}
		return len(titles) == 2
	})
	require.ElementsMatch(t, []string{"nothing works", "it is empty"}, titles)

	o.slash("U0BOB", "declare the service is not known")
	modal, ok = o.Modal("U0BOB")
	require.True(t, ok, "what is missing is asked for")
	require.Contains(t, string(modal.Content), "the service is not known")
}

func TestMentions(t *testing.T) {
	t.Parallel()
	o := open(t, bot.Options{}, false)
	key := begin(t, o.gateway, o.channel)
	ts := o.card(key)
	mention := func(text string) {
		out, err := o.Mention(within(t), fakeslack.Say{User: "U0ADA", Channel: o.channel, Thread: ts, Text: text})
		require.NoError(t, err)
		require.True(t, out.Acked)
	}
	mention("approve o1")
	preview := o.told("U0ADA", "exactly one plan")
	require.Equal(t, ts, preview.ThreadTS)
	mention("approve o1 " + incident.ShortDigest(planDigest("o1")))
	o.told("U0ADA", "starts the rollback")
	mention("gibberish")
	o.told("U0ADA", "There is no command")
	require.Len(t, viewOf(t, o.gateway, key).Decisions, 1)
}

func TestSlowAnswersFollow(t *testing.T) {
	t.Parallel()
	o := openWithin(t, bot.Options{}, false, patience, 0)
	key := begin(t, o.gateway, o.channel)
	require.True(t, o.slash("U0ADA", "escalate").Acked, "it is acknowledged although the answer takes long")
	o.told("U0ADA", "Recorded. The answer follows")
	_, err := o.gateway.Command(within(t), key, incident.CommandRequest{CommandID: "go", Verb: incident.VerbRefresh, Actor: incident.Actor{Via: incident.ViaCLI, Login: "bob"}})
	require.NoError(t, err)
	o.told("U0ADA", "the answer to escalate")
}

func TestSlackWithoutTemporal(t *testing.T) {
	t.Parallel()
	o := openWithin(t, bot.Options{Gateway: unreachable(t)}, false, haste, haste)
	up := bot.NewGateway(temporalClient, bot.Unsigned{})
	key := begin(t, up, o.channel)
	ts := o.card(key)
	t.Run("button", func(t *testing.T) {
		t.Parallel()
		out := o.click("U0ADA", ts, "approve:0", nil)
		require.False(t, out.Acked, "what Temporal does not have is not acknowledged")
		require.Equal(t, http.StatusServiceUnavailable, out.Status)
		o.told("U0ADA", "could not record this in time")
	})
	t.Run("command", func(t *testing.T) {
		t.Parallel()
		out := o.slash("U0BOB", "declare cart x")
		require.True(t, out.Acked)
		o.told("U0BOB", "could not record this in time")
	})
	t.Run("event", func(t *testing.T) {
		t.Parallel()
		out, err := o.Mention(within(t), fakeslack.Say{User: "U0ADA", Channel: o.channel, Text: "declare cart x"})
		require.NoError(t, err)
		require.False(t, out.Acked, "Slack sends it again")
		require.Equal(t, http.StatusServiceUnavailable, out.Status)
	})
}

func TestReplayedRequests(t *testing.T) {
	t.Parallel()
	o := open(t, bot.Options{}, false)
	key := begin(t, o.gateway, o.channel)
	const path = "/slack/commands"
	body := "team_id=T0BACKOUT&user_id=U0ADA&channel_id=" + o.channel + "&trigger_id=1.2.3&command=%2Frollback&text=approve+" + key + "+o1+" + incident.ShortDigest(planDigest("o1"))
	good := o.sign(path, body, time.Now())
	status, answer := send(t, http.MethodPost, o.url+path, good, body)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, answer, "starts the rollback")
	status, _ = send(t, http.MethodPost, o.url+path, good, body)
	require.Equal(t, http.StatusUnauthorized, status, "a replay is refused")

	// Another process has not seen the request; its update is the same one.
	other := open(t, bot.Options{}, false)
	status, answer = send(t, http.MethodPost, other.url+path, other.sign(path, body, time.Now()), body)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, answer, "starts the rollback")
	require.Len(t, viewOf(t, o.gateway, key).Decisions, 1, "one decision, however often it is sent")

	for _, secret := range []string{o.SigningSecret(), o.BotToken(), good.Get("X-Slack-Signature"), "text=approve"} {
		require.NotContains(t, o.log.String(), secret)
	}
}

func TestUnreadableRequests(t *testing.T) {
	t.Parallel()
	o := open(t, bot.Options{}, false)
	for _, tt := range []struct{ name, path, body string }{
		{"no user", "/slack/commands", "text=approve"},
		{"no user who clicked", "/slack/interactions", "payload=%7B%22type%22%3A%22block_actions%22%7D"},
		{"null", "/slack/interactions", "payload=null"},
		{"no user who mentioned", "/slack/events", `{"type":"event_callback","event":{"type":"app_mention"}}`},
		{"an event nobody asked for", "/slack/events", `{"type":"event_callback","event":{"type":"tokens_revoked"}}`},
	} {
		status, _ := send(t, http.MethodPost, o.url+tt.path, o.sign(tt.path, tt.body, time.Now()), tt.body)
		require.Equal(t, http.StatusOK, status, tt.name)
	}
}
