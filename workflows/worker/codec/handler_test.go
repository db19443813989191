package codec_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/backout/backout/workflows/worker/codec"
)

const uiOrigin = "http://127.0.0.1:8233"

func TestHandler(t *testing.T) {
	t.Parallel()
	c := newCodec(t, codec.Options{Keys: keys(t, 1)})
	encrypted := encode(t, c, payload(secret))
	tampered := encode(t, c, payload(secret))
	tampered.Data[20] ^= 1
	body := func(p *commonpb.Payload) string {
		text, err := protojson.Marshal(&commonpb.Payloads{Payloads: []*commonpb.Payload{p}})
		require.NoError(t, err)
		return string(text)
	}
	tests := []struct {
		name   string
		method string
		path   string
		change func(r *http.Request)
		body   string
		encode bool
		status int
		// want is the data of the one payload that comes back.
		want string
	}{
		{name: "decodes", body: body(encrypted), status: http.StatusOK, want: secret},
		{name: "shows a plain one as it is", body: body(payload("plain")), status: http.StatusOK, want: "plain"},
		{name: "refuses a changed one", body: body(tampered), status: http.StatusBadRequest},
		{name: "does not encode unasked", path: "/codec/encode", body: body(payload("x")), status: http.StatusNotFound},
		{name: "encodes when told to", path: "/codec/encode", encode: true, body: body(payload("x")), status: http.StatusOK},
		{name: "serves nothing else", path: "/decode", body: body(encrypted), status: http.StatusNotFound},
		{name: "serves no GET", method: http.MethodGet, status: http.StatusMethodNotAllowed},
		{name: "preflight", method: http.MethodOptions, status: http.StatusNoContent},
		{name: "not JSON", body: "payloads", status: http.StatusBadRequest},
		{
			name: "a form", body: body(encrypted), status: http.StatusUnsupportedMediaType,
			change: func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") },
		},
		{name: "too large", body: strings.Repeat(" ", 17<<20), status: http.StatusRequestEntityTooLarge},
		{
			name: "another origin", body: body(encrypted), status: http.StatusForbidden,
			change: func(r *http.Request) { r.Header.Set("Origin", "http://127.0.0.1:9999") },
		},
		{
			name: "no origin", body: body(encrypted), status: http.StatusForbidden,
			change: func(r *http.Request) { r.Header.Del("Origin") },
		},
		{
			name: "preflight from another origin", method: http.MethodOptions, status: http.StatusForbidden,
			change: func(r *http.Request) { r.Header.Set("Origin", "https://example.com") },
		},
		{
			name: "another machine", body: body(encrypted), status: http.StatusForbidden,
			change: func(r *http.Request) { r.RemoteAddr = "192.0.2.7:4000" },
		},
		{
			name: "a name that was pointed here", body: body(encrypted), status: http.StatusForbidden,
			change: func(r *http.Request) { r.Host = "evil.example:8081" },
		},
		{
			name: "IPv6 loopback", body: body(encrypted), status: http.StatusOK, want: secret,
			change: func(r *http.Request) { r.RemoteAddr, r.Host = "[::1]:4000", "[::1]" },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h, err := codec.NewHandler(c, codec.HandlerOptions{Origin: uiOrigin, Encode: tt.encode})
			require.NoError(t, err)
			if tt.method == "" {
				tt.method = http.MethodPost
			}
			if tt.path == "" {
				tt.path = "/codec/decode"
			}
			r := httptest.NewRequestWithContext(t.Context(), tt.method, "http://127.0.0.1:8081"+tt.path, strings.NewReader(tt.body))
			r.RemoteAddr = "127.0.0.1:4000"
			r.Header.Set("Origin", uiOrigin)
			r.Header.Set("Content-Type", "application/json")
			if tt.change != nil {
				tt.change(r)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			require.Equal(t, tt.status, w.Code, w.Body)

			allowed := w.Header().Get("Access-Control-Allow-Origin")
			if tt.status == http.StatusForbidden || tt.status == http.StatusNotFound {
				require.Empty(t, allowed)
			} else {
				require.Equal(t, uiOrigin, allowed)
			}
			if tt.status != http.StatusOK {
				require.NotContains(t, w.Body.String(), secret)
				return
			}
			var got commonpb.Payloads
			require.NoError(t, protojson.Unmarshal(w.Body.Bytes(), &got))
			require.Len(t, got.GetPayloads(), 1)
			if tt.encode {
				dec, err := c.Decode(got.GetPayloads())
				require.NoError(t, err)
				require.Equal(t, "x", string(dec[0].GetData()))
				return
			}
			require.Equal(t, tt.want, string(got.GetPayloads()[0].GetData()))
		})
	}
}

func TestHandlerNeedsAnOrigin(t *testing.T) {
	t.Parallel()
	_, err := codec.NewHandler(newCodec(t, codec.Options{Keys: keys(t, 1)}), codec.HandlerOptions{})
	require.ErrorContains(t, err, "no origin given")
}
