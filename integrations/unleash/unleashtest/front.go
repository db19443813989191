package unleashtest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// front stands before Unleash as the proxy of a hosted one does: it passes every
// request on with the token it came with, and it can throttle, which Unleash itself
// does not.
type front struct {
	server    *httptest.Server
	throttled atomic.Bool
	// answers are given in place of Unleash's own, by the path: what only the paid
	// edition says.
	answers map[string]string
}

func newFront(tb testing.TB, upstream string) *front {
	tb.Helper()
	to, err := url.Parse("http://" + upstream)
	require.NoError(tb, err)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	pass := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(to) },
		Transport: transport,
		// A client that went away is no news.
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	f := &front{}
	f.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f.throttled.CompareAndSwap(true, false) {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "slow down", http.StatusTooManyRequests)
			return
		}
		if answer, ok := f.answers[r.URL.Path]; ok {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(answer)) // A client that went away is no news.
			return
		}
		// What has begun is ended, as Unleash itself would.
		pass.ServeHTTP(w, r.WithContext(context.WithoutCancel(r.Context())))
	}))
	tb.Cleanup(func() {
		f.server.Close()
		transport.CloseIdleConnections()
	})
	return f
}

// address is host:port.
func (f *front) address() string { return f.server.Listener.Addr().String() }

// throttle makes the next request be answered with 429.
func (f *front) throttle(context.Context) error {
	f.throttled.Store(true)
	return nil
}
