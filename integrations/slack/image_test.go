package slack_test

import (
	"strings"
	"testing"

	slackgo "github.com/slack-go/slack"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/slack"
	fakeslack "github.com/backout/backout/test/fakes/slack"
	"github.com/backout/backout/workflows/incident"
)

const png = "\x89PNG\r\n\x1a\nof a screenshot"

// imaging is a channel whose files are where its API is.
func imaging(t *testing.T, s *fakeslack.Server, files string) *slack.Channel {
	t.Helper()
	c, err := slack.NewChannel(slack.Options{
		API: api(s), Files: files, ChannelFor: func(incident.View) string { return channelID },
		Render: func(v incident.View) ([]slackgo.Block, string) { return nil, v.Title },
	})
	require.NoError(t, err)
	return c
}

func TestImage(t *testing.T) {
	t.Parallel()
	all := []string{"channels:history", "groups:history", "files:read", "users:read"}
	for _, tt := range []struct {
		name   string
		file   fakeslack.File
		scopes []string
		// ask is the ID that is asked for, if not that of the file.
		ask string
		// ours says that files are where Slack has them.
		ours bool
		want error
		says string
	}{
		{name: "an image", file: fakeslack.File{ID: "F1", Name: "p 99.png", Mimetype: "image/png", Content: []byte(png)}},
		{name: "without the scope", file: fakeslack.File{ID: "F1", Name: "p99.png", Mimetype: "image/png", Content: []byte(png)}, scopes: all[:2], want: driver.ErrDenied, says: "files:read"},
		{name: "a page that calls itself an image", file: fakeslack.File{ID: "F1", Name: "p99.png", Mimetype: "image/png", Content: []byte("<!DOCTYPE html><title>Sign in</title>")}, want: driver.ErrDenied, says: "sign in"},
		{name: "another file", file: fakeslack.File{ID: "F1", Name: "p99.png", Mimetype: "image/png", Content: []byte(png)}, ask: "F2", want: driver.ErrNotFound},
		{name: "no file", file: fakeslack.File{ID: "F1", Name: "p99.png", Mimetype: "image/png", Content: []byte(png)}, ask: "-", want: driver.ErrNotFound},
		{name: "too large", file: fakeslack.File{ID: "F1", Name: "p99.png", Mimetype: "image/png", Content: []byte(png + strings.Repeat("x", 1<<20))}, want: driver.ErrInvalid, says: "at most 1048576"},
		{name: "larger than it says", file: fakeslack.File{ID: "F1", Name: "p99.png", Mimetype: "image/png", Size: 5, Content: []byte(png + strings.Repeat("x", 1<<20))}, want: driver.ErrInvalid, says: "more than 1048576"},
		{name: "kept elsewhere", file: fakeslack.File{ID: "F1", Name: "p99.png", Mimetype: "image/png", Content: []byte(png), Download: "https://files.slack.com.evil.example/p99.png"}, want: driver.ErrInvalid, says: "host of Slack's"},
		{name: "with credentials", file: fakeslack.File{ID: "F1", Name: "p99.png", Mimetype: "image/png", Content: []byte(png), Download: "https://files.slack.com@evil.example/p99.png"}, ours: true, want: driver.ErrInvalid, says: "host of Slack's"},
		{name: "in clear text", file: fakeslack.File{ID: "F1", Name: "p99.png", Mimetype: "image/png", Content: []byte(png), Download: "http://files.slack.com/p99.png"}, ours: true, want: driver.ErrInvalid, says: "host of Slack's"},
		{name: "that nobody may have", file: fakeslack.File{ID: "F1", Name: "p99.png", Mimetype: "image/png"}, want: driver.ErrDenied, says: "files:read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.scopes == nil {
				tt.scopes = all
			}
			s := start(t, fakeslack.Options{Scopes: tt.scopes})
			_, err := s.Say(t.Context(), fakeslack.Say{User: "U0ADA", Channel: channelID, Text: "look", Files: []fakeslack.File{tt.file}})
			require.NoError(t, err)
			list := s.Messages(channelID)
			files := s.APIURL()
			if tt.ours {
				files = ""
			}
			switch tt.ask {
			case "":
				tt.ask = tt.file.ID
			case "-":
				tt.ask = ""
			}
			content, err := imaging(t, s, files).Image(t.Context(), channelID, list[len(list)-1].TS, tt.ask)
			if tt.want == nil {
				require.NoError(t, err)
				require.Equal(t, png, string(content))
				return
			}
			require.ErrorIs(t, err, tt.want)
			require.ErrorContains(t, err, tt.says)
			require.NotContains(t, err.Error(), fakeslack.DefaultBotToken)
			require.NotContains(t, err.Error(), "evil.example")
		})
	}
}

// A message that is gone has no images.
func TestImageOfNoMessage(t *testing.T) {
	t.Parallel()
	s := start(t, fakeslack.Options{})
	_, err := imaging(t, s, s.APIURL()).Image(t.Context(), channelID, "1700000000.000100", "F1")
	require.ErrorIs(t, err, driver.ErrNotFound)
}

// Of an image that is too large to be copied there is what Slack shows of it.
func TestImageThatIsTooLargeIsSeenSmaller(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, preview string
		want          error
	}{
		{name: "smaller", preview: "/files-pri/F2/download/small.png"},
		{name: "kept elsewhere", preview: "https://evil.example/small.png", want: driver.ErrInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, fakeslack.Options{})
			if tt.want == nil {
				tt.preview = s.URL() + tt.preview
			}
			_, err := s.Say(t.Context(), fakeslack.Say{User: "U0ADA", Channel: channelID, Text: "look", Files: []fakeslack.File{
				{ID: "F1", Name: "large.png", Mimetype: "image/png", Content: []byte(png + strings.Repeat("x", 1<<20)), Preview: tt.preview},
				{ID: "F2", Name: "small.png", Mimetype: "image/png", Content: []byte(png)},
			}})
			require.NoError(t, err)
			list := s.Messages(channelID)
			content, err := imaging(t, s, s.APIURL()).Image(t.Context(), channelID, list[len(list)-1].TS, "F1")
			if tt.want != nil {
				require.ErrorIs(t, err, tt.want)
				return
			}
			require.NoError(t, err)
			require.Equal(t, png, string(content))
		})
	}
}
