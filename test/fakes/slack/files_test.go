package fakeslack_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	fakeslack "github.com/backout/backout/test/fakes/slack"
)

// upload puts bytes to an upload address and returns the status.
func upload(t *testing.T, address, content string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(content))
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode
}

func TestUploadsAreRefusedAsSlackRefusesThem(t *testing.T) {
	t.Parallel()
	announce := func(change ...string) url.Values {
		form := url.Values{"filename": {"chart.png"}, "length": {"4"}}
		for i := 0; i+1 < len(change); i += 2 {
			form.Set(change[i], change[i+1])
		}
		return form
	}
	for _, tt := range []struct {
		name   string
		form   url.Values
		scopes []string
		code   string
	}{
		{name: "no length", form: announce("length", "0"), code: "missing_argument"},
		{name: "no name", form: announce("filename", ""), code: "invalid_arguments"},
		{name: "too large", form: announce("length", "999999999"), code: "file_upload_size_restricted"},
		{name: "long description", form: announce("alt_txt", strings.Repeat("é", 1001)), code: "alt_txt_too_large"},
		{name: "unknown argument", form: announce("colour", "red"), code: "invalid_arguments"},
		{name: "no scope", form: announce(), scopes: []string{"chat:write"}, code: "missing_scope"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			opts := options()
			opts.Scopes = tt.scopes
			s, _ := start(t, opts)
			answer := rawCall(t, s, fakeslack.DefaultBotToken, "files.getUploadURLExternal", tt.form)
			require.Equal(t, tt.code, answer["error"])
		})
	}
}

func TestUploadIsCompletedOnce(t *testing.T) {
	t.Parallel()
	c := newClock()
	opts := options()
	opts.Now = c.Now
	s, _ := start(t, opts)
	announce := func() (id, address string) {
		answer := rawCall(t, s, fakeslack.DefaultBotToken, "files.getUploadURLExternal", url.Values{"filename": {"chart.png"}, "length": {"4"}})
		require.Equal(t, true, answer["ok"])
		return answer["file_id"].(string), answer["upload_url"].(string)
	}
	complete := func(id, channel, thread string) any {
		form := url.Values{"files": {`[{"id":"` + id + `"}]`}, "channel_id": {channel}}
		if thread != "" {
			form.Set("thread_ts", thread)
		}
		return rawCall(t, s, fakeslack.DefaultBotToken, "files.completeUploadExternal", form)["error"]
	}

	id, address := announce()
	require.Equal(t, "file_not_found", complete(id, room, ""), "nothing was sent")
	require.Equal(t, http.StatusBadRequest, upload(t, address, "longer than announced"))
	require.Equal(t, "file_not_found", complete(id, room, ""), "what was sent was refused")
	require.Equal(t, http.StatusOK, upload(t, address, "PNG!"))
	require.Equal(t, "channel_not_found", complete(id, "C0NOWHERE", ""))
	require.Equal(t, "not_in_channel", complete(id, other, ""))
	require.Equal(t, "invalid_arguments", complete(id, room, "1.2"), "there is no such thread")
	require.Nil(t, complete(id, room, ""))
	require.Equal(t, "file_not_found", complete(id, room, ""), "it is complete")
	require.Equal(t, http.StatusBadRequest, upload(t, address, "PNG?"), "it is complete")
	require.Len(t, s.Messages(room), 1)

	id, address = announce()
	c.Advance(time.Hour)
	require.Equal(t, http.StatusNotFound, upload(t, address, "PNG!"), "the address is too old")
	require.Equal(t, "file_not_found", complete(id, room, ""))
	require.Len(t, s.Messages(room), 1)

	many := strings.Join(slices.Repeat([]string{room}, 101), ",")
	answer := rawCall(t, s, fakeslack.DefaultBotToken, "files.completeUploadExternal", url.Values{"files": {`[{"id":"` + id + `"}]`}, "channels": {many}})
	require.Equal(t, "file_not_found", answer["error"])
	_, address = announce()
	id = address[strings.LastIndexByte(address, '/')+1:]
	require.Equal(t, http.StatusOK, upload(t, address, "PNG!"))
	answer = rawCall(t, s, fakeslack.DefaultBotToken, "files.completeUploadExternal", url.Values{"files": {`[{"id":"` + id + `"}]`}, "channels": {many}})
	require.Equal(t, "channels_limit_exceeded", answer["error"])
}
