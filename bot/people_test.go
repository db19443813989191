package bot_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/bot"
	"github.com/backout/backout/bot/views"
	fakeslack "github.com/backout/backout/test/fakes/slack"
	"github.com/backout/backout/workflows/incident"
)

// approvals are the decisions that started something.
func approvals(v incident.View) []incident.Decision {
	var out []incident.Decision
	for _, d := range v.Decisions {
		if d.Outcome == incident.OutcomeApproved {
			out = append(out, d)
		}
	}
	return out
}

// Two people click at the same instant: one decides, and the other is told so
// privately. So it is over HTTP and over Socket Mode.
func TestTwoClicksAtOnceAreOneDecision(t *testing.T) {
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
			people := []string{"U0ADA", "U0BOB"}
			acked, errs := make([]bool, len(people)), make([]error, len(people))
			var group sync.WaitGroup
			start := make(chan struct{})
			for i, user := range people {
				group.Go(func() {
					<-start
					out, err := o.Click(within(t), fakeslack.Click{User: user, Channel: o.channel, TS: ts, ActionID: "approve:0"})
					acked[i], errs[i] = out.Acked, err
				})
			}
			close(start)
			group.Wait()
			require.NoError(t, errors.Join(errs...))
			require.Equal(t, []bool{true, true}, acked)
			v := viewOf(t, o.gateway, key)
			require.Len(t, v.Decisions, 2)
			require.Len(t, approvals(v), 1)
			winner := approvals(v)[0].Actor.SlackUser
			loser := map[string]string{"U0ADA": "U0BOB", "U0BOB": "U0ADA"}[winner]
			o.told(winner, "your decision starts the rollback")
			o.told(loser, "Too late: slack:T0BACKOUT/"+winner+" had decided already")

			// Late clicks change nothing and are told, each to who clicked.
			require.True(t, o.click(loser, ts, "approve:0", nil).Acked)
			o.until("telling the loser twice", func() bool { return len(o.Ephemerals(loser)) == 2 })
			require.Len(t, approvals(viewOf(t, o.gateway, key)), 1)
			require.Len(t, o.Ephemerals(winner), 1, "nobody hears what another was told")
			require.Len(t, o.Messages(o.channel), 1, "only the card is public")
			require.Empty(t, o.Failures())
		})
	}
}

// People whose account is not exactly one active person of the workspace decide
// nothing, and are told so privately.
func TestUnfitAccountsDecideNothing(t *testing.T) {
	t.Parallel()
	o := open(t, bot.Options{}, false)
	key := begin(t, o.gateway, o.channel)
	ts := o.card(key)
	unfit := []string{"U0NEW", "U0GONE", "U0GUEST", "U0SINGLE", "U0ABROAD", "U0ROBOT"}
	for _, user := range unfit {
		require.True(t, o.click(user, ts, "approve:0", nil).Acked, user)
		o.told(user, "Your account is not exactly one known, active person")
		require.Len(t, o.Ephemerals(user), 1, user)
	}
	v := viewOf(t, o.gateway, key)
	require.Len(t, v.Decisions, len(unfit), "each attempt is recorded")
	require.Empty(t, approvals(v))
	require.Equal(t, "T0ELSEWHERE", v.Decisions[4].Actor.SlackTeam, "somebody of another workspace is of that workspace")

	// An account that Slack itself does not know, in a request that is signed.
	payload, err := json.Marshal(map[string]any{
		"type": "block_actions", "trigger_id": "9.9.9", "team": map[string]any{"id": "T0BACKOUT"}, "channel": map[string]any{"id": o.channel},
		"user": map[string]any{"id": "U0NOBODY", "team_id": "T0BACKOUT"},
		"actions": []any{map[string]any{
			"type": "button", "action_id": "approve:0", "block_id": "b", "value": views.Ref{Key: key, Option: "o1", Digest: planDigest("o1"), Revision: 1}.Encode(),
		}},
	})
	require.NoError(t, err)
	body := url.Values{"payload": {string(payload)}}.Encode()
	status, _ := send(t, http.MethodPost, o.url+"/slack/interactions", o.sign("/slack/interactions", body, time.Now()), body)
	require.Equal(t, http.StatusOK, status)

	// Somebody who may then decides, and it counts.
	require.True(t, o.click("U0ADA", ts, "approve:0", nil).Acked)
	o.told("U0ADA", "your decision starts the rollback")
	v = viewOf(t, o.gateway, key)
	require.Len(t, approvals(v), 1)
	require.Equal(t, "U0ADA", approvals(v)[0].Actor.SlackUser)
	require.Len(t, o.Messages(o.channel), 1, "only the card is public")
}

// A click on a card of a plan that has changed since is stale, whoever clicks.
func TestClicksOnAnOldCard(t *testing.T) {
	t.Parallel()
	o := open(t, bot.Options{}, false)
	key := begin(t, o.gateway, o.channel)
	ts := o.card(key)
	value := views.Ref{Key: key, Option: "o1", Digest: planDigest("the plan before"), Revision: 1}.Encode()
	seen, err := json.Marshal([]slack.Block{slack.NewActionBlock("decide", slack.NewButtonBlockElement("approve:0", value, slack.NewTextBlockObject(slack.PlainTextType, "Approve", false, false)))})
	require.NoError(t, err)
	for _, user := range []string{"U0ADA", "U0BOB"} {
		require.True(t, o.click(user, ts, "approve:0", seen).Acked)
		told := o.told(user, "That was an old card")
		require.Equal(t, user, told.VisibleTo)
	}
	require.Empty(t, approvals(viewOf(t, o.gateway, key)))
}

// What people are told when something is wrong says what to do next.
func TestCommandsSayWhatToDo(t *testing.T) {
	t.Parallel()
	o := openWithin(t, bot.Options{Gateway: unreachable(t)}, false, haste, haste)
	for _, text := range []string{"list", "status", "take", "take pagerduty/Q1", "approve o1", "refuse o1 no", "declare sev1 checkout down"} {
		out := o.slash("U0ADA", text)
		require.True(t, out.Acked, text)
		require.Contains(t, string(out.Body), "try again, or use the backout command line", text)
	}
	for text, next := range map[string]string{"": "/rollback help", "help": "/rollback approve", "dance": "/rollback approve"} {
		out := o.slash("U0ADA", text)
		require.True(t, out.Acked, text)
		require.Contains(t, strings.ReplaceAll(string(out.Body), `\/`, "/"), next, text)
	}
}
