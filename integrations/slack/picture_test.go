package slack_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	fakeslack "github.com/backout/backout/test/fakes/slack"
	"github.com/backout/backout/workflows/incident"
)

func picture() incident.Picture {
	return incident.Picture{ID: "rollback/pagerduty/Q1ABC/1/chart", Title: "Before and after", Alt: "A chart", Text: "Recovered <!channel> & *more*", PNG: []byte("\x89PNG\r\n\x1a\nbody")}
}

func TestPictureIsShownOnceInTheThread(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"", "conversations.replies", "files.getUploadURLExternal", "files.completeUploadExternal"} {
		t.Run("lost "+method, func(t *testing.T) {
			t.Parallel()
			s := start(t, fakeslack.Options{})
			c := channel(t, api(s))
			card, err := c.Publish(t.Context(), view("card"))
			require.NoError(t, err)
			if method != "" {
				s.Fault(method, fakeslack.Fault{DropResponse: true})
				_, err = c.Picture(t.Context(), card, picture())
				require.Error(t, err)
			}
			first, err := c.Picture(t.Context(), card, picture())
			require.NoError(t, err)
			again, err := channel(t, api(s)).Picture(t.Context(), card, picture())
			require.NoError(t, err, "another process finds it too")
			require.Equal(t, first, again)

			messages := s.Messages(channelID)
			require.Len(t, messages, 2)
			shown := messages[1]
			require.Equal(t, card.TS, shown.ThreadTS)
			require.Contains(t, string(shown.Blocks), "plain_text")
			require.NotContains(t, string(shown.Blocks), "mrkdwn")
			require.Len(t, shown.Files, 1)
			require.Equal(t, first.File, shown.Files[0].ID)
			require.Equal(t, "Before and after", shown.Files[0].Title)
			require.Equal(t, "A chart", shown.Files[0].Alt)
			require.Equal(t, shown.Files[0].Permalink, first.URL)

			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, first.URL, nil)
			require.NoError(t, err)
			resp, err := http.DefaultClient.Do(req)
			require.NoError(t, err)
			defer func() { _ = resp.Body.Close() }()
			require.Equal(t, http.StatusOK, resp.StatusCode)
			require.Equal(t, "image/png", resp.Header.Get("Content-Type"))
		})
	}
}

func TestAnotherPictureIsShownToo(t *testing.T) {
	t.Parallel()
	s := start(t, fakeslack.Options{})
	c := channel(t, api(s))
	card, err := c.Publish(t.Context(), view("card"))
	require.NoError(t, err)
	first, err := c.Picture(t.Context(), card, picture())
	require.NoError(t, err)
	other := picture()
	other.ID += "2"
	second, err := c.Picture(t.Context(), card, other)
	require.NoError(t, err)
	require.NotEqual(t, first.File, second.File)
	require.Len(t, s.Messages(channelID), 3)
}

func TestPictureThatCanNotBeShown(t *testing.T) {
	t.Parallel()
	without := slices.DeleteFunc(fakeslack.DefaultScopes(), func(s string) bool { return s == "files:write" })
	for _, tt := range []struct {
		name    string
		scopes  []string
		fault   string
		code    string
		change  func(*incident.CardRef, *incident.Picture)
		is      error
		message string
	}{
		{name: "no scope", scopes: without, is: driver.ErrDenied, message: "missing_scope; give the Slack app the scope files:write"},
		{name: "uploads are off", fault: "files.getUploadURLExternal", code: "file_uploads_disabled", is: driver.ErrDenied, message: "file_uploads_disabled"},
		{name: "channel is gone", fault: "files.completeUploadExternal", code: "channel_not_found", is: driver.ErrNotFound, message: "channel_not_found"},
		{name: "upload was lost", fault: "files.completeUploadExternal", code: "file_not_found", message: "file_not_found"},
		{name: "no card", change: func(c *incident.CardRef, _ *incident.Picture) { *c = incident.CardRef{} }, is: driver.ErrInvalid, message: "card and id"},
		{name: "no id", change: func(_ *incident.CardRef, p *incident.Picture) { p.ID = "" }, is: driver.ErrInvalid, message: "card and id"},
		{name: "empty", change: func(_ *incident.CardRef, p *incident.Picture) { p.PNG = nil }, is: driver.ErrInvalid, message: "0 bytes"},
		{name: "huge", change: func(_ *incident.CardRef, p *incident.Picture) { p.PNG = make([]byte, 4<<20+1) }, is: driver.ErrInvalid, message: "4194305 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, fakeslack.Options{Scopes: tt.scopes})
			c := channel(t, api(s))
			card, err := c.Publish(t.Context(), view("card"))
			require.NoError(t, err)
			if tt.fault != "" {
				s.Fault(tt.fault, fakeslack.Fault{SlackError: tt.code})
			}
			p := picture()
			if tt.change != nil {
				tt.change(&card, &p)
			}
			_, err = c.Picture(t.Context(), card, p)
			require.ErrorContains(t, err, tt.message)
			if tt.is != nil {
				require.ErrorIs(t, err, tt.is)
			} else {
				require.False(t, driver.Final(err), "it can be tried again")
			}
			require.Len(t, s.Messages(channelID), 1)
		})
	}
}

func TestPictureTextIsCut(t *testing.T) {
	t.Parallel()
	s := start(t, fakeslack.Options{})
	c := channel(t, api(s))
	card, err := c.Publish(t.Context(), view("card"))
	require.NoError(t, err)
	p := picture()
	p.Text, p.Alt, p.Title = strings.Repeat("é\xff", 50_000), strings.Repeat("ü", 50_000), strings.Repeat("t", 50_000)
	_, err = c.Picture(t.Context(), card, p)
	require.NoError(t, err)
	require.Len(t, s.Messages(channelID), 2)
}
