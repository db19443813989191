package fakeslack_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/require"

	fakeslack "github.com/backout/backout/test/fakes/slack"
)

func TestRefusals(t *testing.T) {
	t.Parallel()
	post := func(more ...string) url.Values {
		form := url.Values{"channel": {room}, "text": {"hello"}}
		for i := 0; i+1 < len(more); i += 2 {
			form.Set(more[i], more[i+1])
		}
		return form
	}
	cases := []struct {
		name    string
		method  string
		token   string
		form    url.Values
		scopes  []string
		code    string
		message string
	}{
		{name: "no token", method: "chat.postMessage", form: post(), code: "not_authed"},
		{name: "unknown token", method: "chat.postMessage", token: "xoxb-other", form: post(), code: "invalid_auth"},
		{name: "app token for a bot method", method: "chat.postMessage", token: fakeslack.DefaultAppToken, form: post(), code: "not_allowed_token_type"},
		{name: "bot token for sockets", method: "apps.connections.open", token: fakeslack.DefaultBotToken, code: "not_allowed_token_type"},
		{name: "unknown method", method: "chat.shout", token: fakeslack.DefaultBotToken, form: post(), code: "unknown_method"},
		{name: "missing scope", method: "chat.postMessage", token: fakeslack.DefaultBotToken, form: post(), scopes: []string{"users:read"}, code: "missing_scope"},
		{name: "private needs groups scope", method: "conversations.info", token: fakeslack.DefaultBotToken, form: url.Values{"channel": {secret}}, scopes: []string{"channels:read"}, code: "missing_scope"},
		{name: "unknown argument", method: "chat.postMessage", token: fakeslack.DefaultBotToken, form: post("colour", "red"), code: "invalid_arguments", message: "/colour"},
		{name: "missing argument", method: "chat.postMessage", token: fakeslack.DefaultBotToken, form: url.Values{"text": {"x"}}, code: "invalid_arguments", message: "missing required field: channel"},
		{name: "ill-typed argument", method: "chat.postMessage", token: fakeslack.DefaultBotToken, form: post("unfurl_links", "perhaps"), code: "invalid_arguments", message: "/unfurl_links"},
		{name: "unknown channel", method: "chat.postMessage", token: fakeslack.DefaultBotToken, form: post("channel", "C0NOWHERE"), code: "channel_not_found"},
		{name: "private channel", method: "chat.postMessage", token: fakeslack.DefaultBotToken, form: post("channel", secret), code: "channel_not_found"},
		{name: "not a member", method: "chat.postMessage", token: fakeslack.DefaultBotToken, form: post("channel", other), scopes: []string{"chat:write"}, code: "not_in_channel"},
		{name: "no text", method: "chat.postMessage", token: fakeslack.DefaultBotToken, form: url.Values{"channel": {room}}, code: "no_text"},
		{name: "too long", method: "chat.postMessage", token: fakeslack.DefaultBotToken, form: post("text", strings.Repeat("é", 40_001)), code: "msg_too_long"},
		{name: "bad blocks", method: "chat.postMessage", token: fakeslack.DefaultBotToken, form: post("blocks", `[{"type":"header","text":{"type":"mrkdwn","text":"x"}}]`), code: "invalid_blocks", message: "[json-pointer:/blocks/0/text/type]"},
		{name: "blocks are no array", method: "chat.postMessage", token: fakeslack.DefaultBotToken, form: post("blocks", `{"a":1}`), code: "invalid_blocks_format"},
		{name: "blocks in attachments", method: "chat.postMessage", token: fakeslack.DefaultBotToken, form: post("attachments", `[{"blocks":[{"type":"shout"}]}]`), code: "invalid_blocks", message: "/attachments/0/blocks/0/type"},
		{name: "metadata without type", method: "chat.postMessage", token: fakeslack.DefaultBotToken, form: post("metadata", `{"event_payload":{}}`), code: "invalid_metadata_schema"},
		{name: "metadata no object", method: "chat.postMessage", token: fakeslack.DefaultBotToken, form: post("metadata", `[1]`), code: "invalid_metadata_format"},
		{name: "reply to nothing", method: "chat.postMessage", token: fakeslack.DefaultBotToken, form: post("thread_ts", "1.2"), code: "cannot_reply_to_message"},
		{name: "update of nothing", method: "chat.update", token: fakeslack.DefaultBotToken, form: post("ts", "1.2"), code: "message_not_found"},
		{name: "ephemeral to a stranger", method: "chat.postEphemeral", token: fakeslack.DefaultBotToken, form: post("user", gone), code: "user_not_in_channel"},
		{name: "unknown user", method: "users.info", token: fakeslack.DefaultBotToken, form: url.Values{"user": {"U0NOBODY"}}, code: "user_not_found"},
		{name: "deactivated by email", method: "users.lookupByEmail", token: fakeslack.DefaultBotToken, form: url.Values{"email": {"gone@example.com"}}, code: "users_not_found"},
		{name: "invite deactivated", method: "conversations.invite", token: fakeslack.DefaultBotToken, form: url.Values{"channel": {room}, "users": {gone}}, code: "user_not_found"},
		{name: "invite foreign", method: "conversations.invite", token: fakeslack.DefaultBotToken, form: url.Values{"channel": {room}, "users": {foreign}}, code: "org_user_not_in_team"},
		{name: "invite member", method: "conversations.invite", token: fakeslack.DefaultBotToken, form: url.Values{"channel": {room}, "users": {alice}}, code: "already_in_channel"},
		{name: "invite itself", method: "conversations.invite", token: fakeslack.DefaultBotToken, form: url.Values{"channel": {room}, "users": {fakeslack.DefaultBotUserID}}, code: "cant_invite_self"},
		{name: "channel name with capitals", method: "conversations.create", token: fakeslack.DefaultBotToken, form: url.Values{"name": {"Inc 1"}}, code: "invalid_name_specials"},
		{name: "channel name too long", method: "conversations.create", token: fakeslack.DefaultBotToken, form: url.Values{"name": {strings.Repeat("a", 81)}}, code: "invalid_name_maxlength"},
		{name: "channel name taken", method: "conversations.create", token: fakeslack.DefaultBotToken, form: url.Values{"name": {"incidents"}}, code: "name_taken"},
		{name: "history without membership", method: "conversations.history", token: fakeslack.DefaultBotToken, form: url.Values{"channel": {other}}, code: "not_in_channel"},
		{name: "bad cursor", method: "users.list", token: fakeslack.DefaultBotToken, form: url.Values{"cursor": {"zzz"}}, code: "invalid_cursor"},
		{name: "no such thread", method: "conversations.replies", token: fakeslack.DefaultBotToken, form: url.Values{"channel": {room}, "ts": {"1.2"}}, code: "thread_not_found"},
		{name: "topic too long", method: "conversations.setTopic", token: fakeslack.DefaultBotToken, form: url.Values{"channel": {room}, "topic": {strings.Repeat("t", 251)}}, code: "too_long"},
		{name: "pin of nothing", method: "pins.add", token: fakeslack.DefaultBotToken, form: url.Values{"channel": {room}, "timestamp": {"1.2"}}, code: "message_not_found"},
		{name: "bookmark without link", method: "bookmarks.add", token: fakeslack.DefaultBotToken, form: url.Values{"channel_id": {room}, "title": {"x"}, "type": {"link"}, "link": {"javascript:1"}}, code: "invalid_link"},
		{name: "file never sent", method: "files.completeUploadExternal", token: fakeslack.DefaultBotToken, form: url.Values{"files": {`[{"id":"F1"}]`}}, code: "file_not_found"},
		{name: "no such group", method: "usergroups.users.list", token: fakeslack.DefaultBotToken, form: url.Values{"usergroup": {"S1"}}, code: "no_such_subteam"},
		{name: "trigger malformed", method: "views.open", token: fakeslack.DefaultBotToken, form: url.Values{"trigger_id": {"abc"}, "view": {`{"type":"modal","title":{"type":"plain_text","text":"x"},"blocks":[]}`}}, code: "invalid_trigger_id"},
		{name: "bad view", method: "views.open", token: fakeslack.DefaultBotToken, form: url.Values{"trigger_id": {"1.2.a"}, "view": {`{"type":"modal","blocks":[]}`}}, code: "invalid_arguments", message: "missing required field: title"},
		{name: "home for nobody", method: "views.publish", token: fakeslack.DefaultBotToken, form: url.Values{"user_id": {"U9"}, "view": {`{"type":"home","blocks":[]}`}}, code: "invalid_arguments", message: "/user_id"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			opts := options()
			opts.Scopes = c.scopes
			s, _ := start(t, opts)
			answer := rawCall(t, s, c.token, c.method, c.form)
			require.Equal(t, false, answer["ok"])
			require.Equal(t, c.code, answer["error"])
			require.Contains(t, messagesOf(answer), c.message)
			require.Empty(t, s.Messages(room))
			calls := s.Calls()
			require.Len(t, calls, 1)
			require.Equal(t, c.code, calls[0].Error)
			for _, value := range calls[0].Args {
				require.NotContains(t, value, "xox")
			}
		})
	}
}

func TestRevokedToken(t *testing.T) {
	t.Parallel()
	s, client := start(t, options())
	_, err := client.AuthTestContext(t.Context())
	require.NoError(t, err)
	s.RevokeToken(s.BotToken())
	_, err = client.AuthTestContext(t.Context())
	require.EqualError(t, err, "token_revoked")
}

func TestTokenArgumentIsAccepted(t *testing.T) {
	t.Parallel()
	s, _ := start(t, options())
	answer := rawCall(t, s, "", "chat.postMessage", url.Values{"token": {s.BotToken()}, "channel": {room}, "text": {"hi"}})
	require.Equal(t, true, answer["ok"])
	require.NotContains(t, s.Calls()[0].Args, "token")
}

func TestPostUpdateAndHistory(t *testing.T) {
	t.Parallel()
	s, client := start(t, options())
	ctx := t.Context()
	metadata := slack.SlackMetadata{EventType: "incident_card", EventPayload: map[string]any{"id": "incident/1"}}
	_, ts, err := client.PostMessageContext(ctx, room, card("v1"), slack.MsgOptionText("fallback", false), slack.MsgOptionMetadata(metadata))
	require.NoError(t, err)
	_, reply, err := client.PostMessageContext(ctx, room, slack.MsgOptionText("in thread", false), slack.MsgOptionTS(ts))
	require.NoError(t, err)
	_, _, _, err = client.UpdateMessageContext(ctx, room, ts, card("v2"), slack.MsgOptionText("fallback 2", false))
	require.NoError(t, err)

	history, err := client.GetConversationHistoryContext(ctx, &slack.GetConversationHistoryParameters{ChannelID: room, IncludeAllMetadata: true})
	require.NoError(t, err)
	require.Len(t, history.Messages, 1)
	require.Equal(t, "fallback 2", history.Messages[0].Text)
	require.Equal(t, "incident_card", history.Messages[0].Metadata.EventType)
	require.Equal(t, "incident/1", history.Messages[0].Metadata.EventPayload["id"])
	require.Equal(t, 1, history.Messages[0].ReplyCount)
	require.Len(t, history.Messages[0].Blocks.BlockSet, 2)

	plain, err := client.GetConversationHistoryContext(ctx, &slack.GetConversationHistoryParameters{ChannelID: room})
	require.NoError(t, err)
	require.Empty(t, plain.Messages[0].Metadata.EventType)

	replies, _, _, err := client.GetConversationRepliesContext(ctx, &slack.GetConversationRepliesParameters{ChannelID: room, Timestamp: ts})
	require.NoError(t, err)
	require.Len(t, replies, 2)
	require.Equal(t, reply, replies[1].Timestamp)

	link, err := client.GetPermalinkContext(ctx, &slack.PermalinkParameters{Channel: room, Ts: ts})
	require.NoError(t, err)
	require.Contains(t, link, strings.Replace(ts, ".", "", 1))

	require.Equal(t, 2, s.Count("chat.postMessage"))
	require.Equal(t, 1, s.Count("chat.update"))
	require.Equal(t, 1, s.Messages(room)[0].Edits)
	_, _, err = client.DeleteMessageContext(ctx, room, reply)
	require.NoError(t, err)
	require.Len(t, s.Messages(room), 1)
}

func TestOthersMessagesAreNotEditable(t *testing.T) {
	t.Parallel()
	s, client := start(t, options())
	_, err := s.Say(t.Context(), fakeslack.Say{User: alice, Channel: room, Text: "mine"})
	require.NoError(t, err)
	ts := s.Messages(room)[0].TS
	_, _, _, err = client.UpdateMessageContext(t.Context(), room, ts, slack.MsgOptionText("yours", false))
	require.EqualError(t, err, "cant_update_message")
	_, _, err = client.DeleteMessageContext(t.Context(), room, ts)
	require.EqualError(t, err, "cant_delete_message")
	ts, err = client.PostEphemeralContext(t.Context(), room, alice, slack.MsgOptionText("psst", false))
	require.NoError(t, err)
	_, _, _, err = client.UpdateMessageContext(t.Context(), room, ts, slack.MsgOptionText("louder", false))
	require.EqualError(t, err, "message_not_found")
	require.Equal(t, "psst", s.Ephemerals(alice)[0].Text)
	require.Empty(t, s.Ephemerals(bob))
}

func TestPeopleChannelsAndTheRest(t *testing.T) {
	t.Parallel()
	s, client := start(t, options())
	ctx := t.Context()
	who, err := client.AuthTestContext(ctx)
	require.NoError(t, err)
	require.Equal(t, fakeslack.DefaultBotUserID, who.UserID)
	user, err := client.GetUserByEmailContext(ctx, "ALICE@example.com")
	require.NoError(t, err)
	require.Equal(t, alice, user.ID)
	former, err := client.GetUserInfoContext(ctx, gone)
	require.NoError(t, err)
	require.True(t, former.Deleted)
	stranger, err := client.GetUserInfoContext(ctx, foreign)
	require.NoError(t, err)
	require.Equal(t, "T0ELSEWHERE", stranger.TeamID)
	users, err := client.GetUsersContext(ctx, slack.GetUsersOptionLimit(2))
	require.NoError(t, err)
	require.Len(t, users, 5)

	channel, err := client.CreateConversationContext(ctx, slack.CreateConversationParams{ChannelName: "inc-1"})
	require.NoError(t, err)
	_, err = client.InviteUsersToConversationContext(ctx, channel.ID, alice, bob)
	require.NoError(t, err)
	_, err = client.SetTopicOfConversationContext(ctx, channel.ID, "checkout down")
	require.NoError(t, err)
	members, _, err := client.GetUsersInConversationContext(ctx, &slack.GetUsersInConversationParameters{ChannelID: channel.ID})
	require.NoError(t, err)
	require.ElementsMatch(t, []string{fakeslack.DefaultBotUserID, alice, bob}, members)
	info, err := client.GetConversationInfoContext(ctx, &slack.GetConversationInfoInput{ChannelID: channel.ID})
	require.NoError(t, err)
	require.Equal(t, "checkout down", info.Topic.Value)
	_, _, _, err = client.JoinConversationContext(ctx, other)
	require.NoError(t, err)
	channels, _, err := client.GetConversationsContext(ctx, &slack.GetConversationsParameters{Types: []string{"public_channel", "private_channel"}})
	require.NoError(t, err)
	require.Len(t, channels, 3, "the private channel the bot is not in stays hidden")

	group, err := client.GetUserGroupMembersContext(ctx, "S0ONCALL")
	require.NoError(t, err)
	require.Equal(t, []string{alice, bob}, group)

	_, ts, err := client.PostMessageContext(ctx, channel.ID, slack.MsgOptionText("card", false))
	require.NoError(t, err)
	require.NoError(t, client.AddReactionContext(ctx, "eyes", slack.NewRefToMessage(channel.ID, ts)))
	require.EqualError(t, client.AddReactionContext(ctx, "eyes", slack.NewRefToMessage(channel.ID, ts)), "already_reacted")
	require.NoError(t, client.AddPinContext(ctx, channel.ID, slack.NewRefToMessage(channel.ID, ts)))
	_, err = client.AddBookmarkContext(ctx, channel.ID, slack.AddBookmarkParameters{Title: "Runbook", Type: "link", Link: "https://example.com"})
	require.NoError(t, err)
	file, err := client.UploadFileContext(ctx, slack.UploadFileParameters{
		Filename: "chart.png", FileSize: 4, Content: "PNG!", Channel: channel.ID, Title: "Chart", InitialComment: "before and after",
	})
	require.NoError(t, err)
	require.Equal(t, "Chart", file.Title)
	messages := s.Messages(channel.ID)
	require.Len(t, messages, 2)
	require.True(t, messages[0].Pinned)
	require.Equal(t, "eyes", messages[0].Reactions[0].Name)
	require.Equal(t, "before and after", messages[1].Text)
	require.Equal(t, "chart.png", messages[1].Files[0].Name)
	_, err = client.UploadFileContext(ctx, slack.UploadFileParameters{Filename: "x", FileSize: 9, Content: "short", Channel: channel.ID})
	require.Error(t, err)
}

func TestRateLimits(t *testing.T) {
	t.Parallel()
	c := newClock()
	opts := options()
	opts.Now = c.Now
	opts.Limits = fakeslack.Limits{PostBurst: 2}
	s, client := start(t, opts)
	post := func(channel string) error {
		_, _, err := client.PostMessageContext(t.Context(), channel, slack.MsgOptionText("x", false))
		return err
	}
	require.NoError(t, post(room))
	require.NoError(t, post(room))
	var limited *slack.RateLimitedError
	require.ErrorAs(t, post(room), &limited)
	require.Equal(t, time.Second, limited.RetryAfter)
	require.NoError(t, post(other), "another channel has its own limit")
	c.Advance(time.Second)
	require.NoError(t, post(room))
	require.Len(t, s.Messages(room), 3)

	calls := 0
	for ; calls < 100; calls++ {
		if _, err := client.GetConversationInfoContext(t.Context(), &slack.GetConversationInfoInput{ChannelID: room}); err != nil {
			require.ErrorAs(t, err, &limited)
			break
		}
	}
	require.Equal(t, 50, calls, "tier 3 grants 50 a minute")
	require.Equal(t, 2*time.Second, limited.RetryAfter.Round(time.Second))
}

func TestFaults(t *testing.T) {
	t.Parallel()
	s, client := start(t, options())
	post := func() error {
		_, _, err := client.PostMessageContext(t.Context(), room, slack.MsgOptionText("x", false))
		return err
	}
	s.Fault("chat.postMessage", fakeslack.Fault{Status: http.StatusTooManyRequests, RetryAfter: 7 * time.Second})
	var limited *slack.RateLimitedError
	require.ErrorAs(t, post(), &limited)
	require.Equal(t, 7*time.Second, limited.RetryAfter)
	s.Fault("chat.postMessage", fakeslack.Fault{Status: http.StatusServiceUnavailable, Times: 2})
	require.Error(t, post())
	require.Error(t, post())
	require.Empty(t, s.Messages(room))
	s.Fault("chat.postMessage", fakeslack.Fault{DropResponse: true})
	require.Error(t, post())
	require.Len(t, s.Messages(room), 1, "the effect happened, the answer was lost")
	require.NoError(t, post())
	s.Fault("chat.update", fakeslack.Fault{SlackError: "edit_window_closed", Times: -1})
	_, _, _, err := client.UpdateMessageContext(t.Context(), room, s.Messages(room)[0].TS, slack.MsgOptionText("y", false))
	require.EqualError(t, err, "edit_window_closed")
	s.ClearFaults()
	_, _, _, err = client.UpdateMessageContext(t.Context(), room, s.Messages(room)[0].TS, slack.MsgOptionText("y", false))
	require.NoError(t, err)
	require.Equal(t, 2, s.Count("chat.postMessage"))
}

func TestStartRefuses(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		opts fakeslack.Options
	}{
		{name: "an address others can reach", opts: fakeslack.Options{Addr: "0.0.0.0:0"}},
		{name: "a channel with an unknown member", opts: fakeslack.Options{Channels: []fakeslack.Channel{{ID: "C1", Name: "a", Members: []string{"U9"}}}}},
		{name: "the same user twice", opts: fakeslack.Options{Users: []fakeslack.User{{ID: "U1", Name: "a"}, {ID: "U1", Name: "b"}}}},
		{name: "a command without slash", opts: fakeslack.Options{Commands: []string{"rollback"}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := fakeslack.Start(t.Context(), c.opts)
			require.Error(t, err)
		})
	}
}
