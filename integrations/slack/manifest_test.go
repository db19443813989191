package slack_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/test/fakes/slack/contract"
)

// manifest is the part of Slack's app manifest that Backout uses.
// Source: https://docs.slack.dev/reference/app-manifest
type manifest struct {
	Metadata struct {
		Major int `json:"major_version"`
		Minor int `json:"minor_version"`
	} `json:"_metadata"`
	Display struct {
		Name        string `json:"name"`
		Description string `json:"description"`
		Long        string `json:"long_description"`
		Background  string `json:"background_color"`
	} `json:"display_information"`
	Features struct {
		Bot struct {
			Name   string `json:"display_name"`
			Online bool   `json:"always_online"`
		} `json:"bot_user"`
		Commands []struct {
			Command     string `json:"command"`
			URL         string `json:"url"`
			Description string `json:"description"`
			Hint        string `json:"usage_hint"`
			Escape      bool   `json:"should_escape"`
		} `json:"slash_commands"`
	} `json:"features"`
	OAuth struct {
		Scopes struct {
			Bot []string `json:"bot"`
		} `json:"scopes"`
	} `json:"oauth_config"`
	Settings struct {
		Events struct {
			URL    string   `json:"request_url"`
			Events []string `json:"bot_events"`
		} `json:"event_subscriptions"`
		Interactivity struct {
			Enabled bool   `json:"is_enabled"`
			URL     string `json:"request_url"`
		} `json:"interactivity"`
		Org      bool `json:"org_deploy_enabled"`
		Socket   bool `json:"socket_mode_enabled"`
		Rotation bool `json:"token_rotation_enabled"`
	} `json:"settings"`
}

// methods are those that Backout calls.
var methods = []string{
	"auth.test", "chat.getPermalink", "chat.postEphemeral", "chat.postMessage", "chat.update", "conversations.history",
	"conversations.replies", "files.completeUploadExternal", "files.getUploadURLExternal", "usergroups.users.list", "users.info", "users.lookupByEmail", "views.open",
}

func TestManifests(t *testing.T) {
	t.Parallel()
	for name, socket := range map[string]bool{"manifest.json": false, "manifest.socket.json": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			content, err := os.ReadFile(filepath.Join("..", "..", "deploy", "slack", name))
			require.NoError(t, err)
			var m manifest
			d := json.NewDecoder(bytes.NewReader(content))
			d.DisallowUnknownFields()
			require.NoError(t, d.Decode(&m))

			// Limits, in characters.
			// Source: https://docs.slack.dev/reference/app-manifest
			for text, limit := range map[string]int{m.Display.Name: 35, m.Display.Description: 140, m.Display.Long: 4000, m.Features.Bot.Name: 80} {
				require.NotEmpty(t, text)
				require.LessOrEqual(t, utf8.RuneCountInString(text), limit)
			}
			require.GreaterOrEqual(t, utf8.RuneCountInString(m.Display.Long), 174)
			require.Regexp(t, `^#[0-9a-f]{6}$`, m.Display.Background)
			require.Equal(t, 1, m.Metadata.Major)
			require.True(t, m.Settings.Interactivity.Enabled)
			require.Equal(t, []string{"app_mention", "message.channels", "message.groups", "reaction_added", "reaction_removed"}, m.Settings.Events.Events)
			require.Len(t, m.Features.Commands, 1)
			command := m.Features.Commands[0]
			require.Regexp(t, `^/[a-z-]{1,31}$`, command.Command)
			require.NotEmpty(t, command.Description)
			require.True(t, command.Escape, "a person who is mentioned comes as their account")

			require.Equal(t, socket, m.Settings.Socket)
			for path, url := range map[string]string{"commands": command.URL, "events": m.Settings.Events.URL, "interactions": m.Settings.Interactivity.URL} {
				if socket {
					require.Empty(t, url, "Socket Mode has no inbound address")
				} else {
					require.Equal(t, "https://backout.example.com/slack/"+path, url)
				}
			}

			for _, method := range methods {
				facts, known := contract.Lookup(method)
				require.True(t, known, method)
				opens := len(facts.Scopes) == 0 || slices.ContainsFunc(facts.Scopes, func(s string) bool { return slices.Contains(m.OAuth.Scopes.Bot, s) })
				require.True(t, opens, "%s needs one of %v", method, facts.Scopes)
			}
			require.True(t, slices.IsSorted(m.OAuth.Scopes.Bot))
			for _, scope := range m.OAuth.Scopes.Bot {
				require.NotRegexp(t, `^(admin|.*:manage|channels:join|chat:write\.)`, scope, "no more rights than are used")
			}
		})
	}
}
