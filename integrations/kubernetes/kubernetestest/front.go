package kubernetestest

import (
	"context"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"

	"github.com/backout/backout/test/controlplane"
)

// front stands before the API server as a load balancer does: it speaks TLS and
// HTTP/1.1 and passes every request on with the credential it came with. So one
// request is one piece on the wire, and its first answer comes after its effect;
// over HTTP/2 an API server acknowledges a request before it has read it, and a
// connection cut at that point is a request that never was.
type front struct {
	server    *httptest.Server
	throttled atomic.Bool
}

func newFront(tb testing.TB, plane *controlplane.Plane) *front {
	tb.Helper()
	upstream, err := url.Parse(plane.Server)
	require.NoError(tb, err)
	transport, err := rest.TransportFor(rest.AnonymousClientConfig(plane.Config(tb, "admin")))
	require.NoError(tb, err)
	pass := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(upstream) },
		Transport: transport,
		// A client that went away is no news.
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	f := &front{}
	f.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f.throttled.CompareAndSwap(true, false) {
			// As the API server answers when it has no seat for a request.
			// Source: https://kubernetes.io/docs/concepts/cluster-administration/flow-control/
			w.Header().Set("Retry-After", "1")
			http.Error(w, "Too many requests, please try again later.", http.StatusTooManyRequests)
			return
		}
		pass.ServeHTTP(w, r)
	}))
	tb.Cleanup(f.server.Close)
	return f
}

// address is host:port.
func (f *front) address() string { return f.server.Listener.Addr().String() }

// authority is the certificate to trust, in PEM.
func (f *front) authority() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.server.Certificate().Raw})
}

// throttle makes the next request be answered with 429.
func (f *front) throttle(context.Context) error {
	f.throttled.Store(true)
	return nil
}
