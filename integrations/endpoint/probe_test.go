package endpoint

import (
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/workflows/incident"
)

// loopback is the network that the servers of these tests are in.
var loopback = []string{"127.0.0.0/8", "::1/128"}

func connect(t *testing.T, s Settings) *driver.Set {
	t.Helper()
	set, err := driver.Open(t.Context(), []driver.System{{Name: "shop", Type: systemType, Decode: drivertest.Settings(s)}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, set.Close()) })
	return set
}

func probe(t *testing.T, s Settings, path string, params map[string]string) (answer, string, error) {
	t.Helper()
	c, err := connect(t, s).Collector(probeKind, "shop")
	require.NoError(t, err)
	docs, err := c.Collect(t.Context(), driver.CollectRequest{Target: incident.Target{System: "shop", Path: path}, Params: params})
	if err != nil {
		require.Empty(t, docs)
		return answer{}, "", err
	}
	require.Len(t, docs, 1)
	require.Equal(t, "application/json", docs[0].MediaType)
	var got answer
	require.NoError(t, json.Unmarshal(docs[0].Content, &got))
	return got, string(docs[0].Content), nil
}

func serve(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s
}

func TestProbe(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Set-Cookie", "sid=1234567890")
		w.Header().Set("X-Version", "v42")
		w.Header().Set("X-Internal", "not asked for")
		w.Header().Set("Retry-After", strings.Repeat("9", 600))
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(`{"method":"` + r.Method + `","path":"` + r.URL.Path + `"}`))
	})
	got, raw, err := probe(t, Settings{URL: s.URL + "/base/", Networks: loopback}, "healthz/ready", map[string]string{"headers": "x-version, X-Missing"})
	require.NoError(t, err)
	require.Equal(t, http.StatusServiceUnavailable, got.Status)
	require.Empty(t, got.Error)
	require.JSONEq(t, `{"method":"GET","path":"/base/healthz/ready"}`, got.Body)
	require.Equal(t, []string{"v42"}, got.Headers["X-Version"])
	require.Len(t, []rune(got.Headers["Retry-After"][0]), maxHeader+1)
	require.NotContains(t, raw, "1234567890")
	require.NotContains(t, raw, "not asked for")
	for _, part := range []string{"connect", "first_byte", "body"} {
		require.Contains(t, got.Times, part)
	}

	got, _, err = probe(t, Settings{URL: s.URL, Networks: loopback}, "", map[string]string{"method": "HEAD"})
	require.NoError(t, err)
	require.Equal(t, http.StatusServiceUnavailable, got.Status)
	require.Zero(t, got.BodyBytes)
}

// TestProbeFollowsNoRedirect shows that a redirect is an answer, and that nothing else
// is asked.
func TestProbeFollowsNoRedirect(t *testing.T) {
	t.Parallel()
	elsewhere := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") })
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) })
	got, _, err := probe(t, Settings{URL: s.URL, Networks: loopback}, "", nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusFound, got.Status)
	require.Equal(t, []string{elsewhere.URL}, got.Headers["Location"])
}

func TestProbeBoundsTheBody(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, mediaType, body string
		check                 func(t *testing.T, got answer)
	}{
		{"a long text", "text/plain", strings.Repeat("ö", maxBody), func(t *testing.T, got answer) {
			t.Helper()
			require.LessOrEqual(t, len(got.Body), maxBody)
			require.Equal(t, strings.Repeat("ö", maxBody/2), got.Body)
			require.Contains(t, got.Note, "the body goes on")
			require.Equal(t, int64(maxBody+1), got.BodyBytes)
		}},
		{"no text", "image/png", "\x89PNG\x00", func(t *testing.T, got answer) {
			t.Helper()
			require.Empty(t, got.Body)
			require.Equal(t, incident.DigestOf([]byte("\x89PNG\x00")), got.BodyDigest)
		}},
		{"what only claims to be text", "text/plain", "\xff\xfe", func(t *testing.T, got answer) {
			t.Helper()
			require.Empty(t, got.Body)
			require.NotEmpty(t, got.BodyDigest)
		}},
		{"nothing", "text/plain", "", func(t *testing.T, got answer) {
			t.Helper()
			require.Empty(t, got.Body)
			require.Empty(t, got.BodyDigest)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", test.mediaType)
				_, _ = w.Write([]byte(test.body))
			})
			got, _, err := probe(t, Settings{URL: s.URL, Networks: loopback}, "", nil)
			require.NoError(t, err)
			test.check(t, got)
		})
	}
}

// TestProbeOfWhatDoesNotAnswer shows that silence is evidence.
func TestProbeOfWhatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	gone := l.Addr().String()
	require.NoError(t, l.Close())
	release := make(chan struct{})
	stuck := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	t.Cleanup(func() { close(release) })
	breaking := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_, _ = conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"))
			_ = conn.Close()
		}
	})
	for _, test := range []struct{ name, url, want string }{
		{"nobody listens", "http://" + gone, "the connection was refused"},
		{"no answer", stuck.URL, "no answer in time"},
		{"half an answer", breaking.URL, "the body broke off: the connection broke"},
		{"no such name", "http://nobody.invalid", "the name was not resolved"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, _, err := probe(t, Settings{URL: test.url, Networks: loopback}, "healthz", map[string]string{"timeout": "2s"})
			require.NoError(t, err)
			require.Equal(t, test.want, got.Error)
		})
	}
}

// TestProbeGoesOnlyWhereItMay shows that an address that is not listed is not connected
// to, and that the error says so.
func TestProbeGoesOnlyWhereItMay(t *testing.T) {
	t.Parallel()
	s := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("it was asked") })
	for _, test := range []struct {
		name, url string
		networks  []string
	}{
		{"loopback that is not listed", s.URL, nil},
		{"loopback by its name", strings.Replace(s.URL, "127.0.0.1", "localhost", 1), []string{"10.0.0.0/8"}},
		{"metadata of a cloud, listed", "http://169.254.169.254", []string{"0.0.0.0/0", "169.254.0.0/16"}},
		{"loopback inside of another address, listed", strings.Replace(s.URL, "127.0.0.1", "[64:ff9b::7f00:1]", 1), []string{"::/0"}},
		{"any address, listed", strings.Replace(s.URL, "127.0.0.1", "0.0.0.0", 1), []string{"0.0.0.0/0"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := probe(t, Settings{URL: test.url, Networks: test.networks}, "", nil)
			require.ErrorIs(t, err, driver.ErrDenied)
			require.ErrorContains(t, err, "may not be connected to")
		})
	}
}

func TestAllows(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, address string
		listed        []string
		want          bool
	}{
		{"a public address", "93.184.216.34", nil, true},
		{"a public address of IPv6", "2606:2800:220:1::1", nil, true},
		{"a private one", "10.1.2.3", nil, false},
		{"a private one that is listed", "10.1.2.3", []string{"10.1.0.0/16"}, true},
		{"its neighbour", "10.2.2.3", []string{"10.1.0.0/16"}, false},
		{"a private one inside of IPv6", "::ffff:10.1.2.3", nil, false},
		{"loopback of IPv6, listed", "::1", []string{"::1/128"}, true},
		{"on the link, listed", "fe80::1", []string{"::/0"}, false},
		{"multicast, listed", "224.0.0.1", []string{"0.0.0.0/0"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, test.want, allows(networks(test.listed...), netip.MustParseAddr(test.address)))
		})
	}
}

// TestProbeKeepsItsTokenToItself has an endpoint with TLS that wants a token: it gets
// it, and nobody else sees it.
func TestProbeKeepsItsTokenToItself(t *testing.T) {
	t.Parallel()
	canary := "canary-" + rand.Text()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+canary {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(s.Close)
	dir := t.TempDir()
	token, ca := filepath.Join(dir, "token"), filepath.Join(dir, "ca.pem")
	require.NoError(t, os.WriteFile(token, []byte(canary+"\n"), 0o600))
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600))
	settings := Settings{URL: s.URL, TokenFile: token, CAFile: ca, Networks: loopback}
	got, raw, err := probe(t, settings, "", nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, got.Status, raw)
	require.NotNil(t, got.TLS)
	require.Contains(t, got.Times, "tls")
	require.NotContains(t, raw, canary)
	require.NoError(t, connect(t, settings).Reach(t.Context(), "shop"))

	require.NoError(t, os.WriteFile(token, []byte("another-"+canary), 0o600))
	require.ErrorIs(t, connect(t, settings).Reach(t.Context(), "shop"), driver.ErrDenied)
	settings.CAFile = ""
	got, raw, err = probe(t, settings, "", nil)
	require.NoError(t, err)
	require.Contains(t, got.Error, "certificate")
	require.NotContains(t, raw, canary)
	require.NoError(t, os.WriteFile(token, []byte(canary+" two"), 0o600))
	_, err = driver.Open(t.Context(), []driver.System{{Name: "shop", Type: systemType, Decode: drivertest.Settings(settings)}})
	require.ErrorContains(t, err, "does not hold one token")
	require.NotContains(t, err.Error(), canary)
}

func TestProbeRefusals(t *testing.T) {
	t.Parallel()
	s := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("it was asked") })
	for _, test := range []struct {
		name, path string
		params     map[string]string
		want       string
	}{
		{"a way up", "../admin", nil, "the path of the target"},
		{"a way up in the middle", "a/../b", nil, "the path of the target"},
		{"a query", "healthz?full=1", nil, "without a query"},
		{"another host", "/evil.example/x", nil, "the path of the target"},
		{"an encoded slash", "a%2fb", nil, "the path of the target"},
		{"a long path", strings.Repeat("a", 513), nil, "the path of the target"},
		{"a method that writes", "x", map[string]string{"method": "POST"}, "neither GET nor HEAD"},
		{"a long time", "x", map[string]string{"timeout": "1m"}, "it is not a time of 6s at most"},
		{"no time", "x", map[string]string{"timeout": "soon"}, "is not a time"},
		{"a header that is never kept", "x", map[string]string{"headers": "set-cookie"}, "never kept"},
		{"a malformed header", "x", map[string]string{"headers": "a b"}, "malformed"},
		{"an unknown parameter", "x", map[string]string{"url": "http://evil.example"}, `parameter "url": it is unknown`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := probe(t, Settings{URL: s.URL, Networks: loopback}, test.path, test.params)
			require.ErrorIs(t, err, driver.ErrInvalid)
			require.ErrorContains(t, err, test.want)
		})
	}
}

func TestSettingsRefusals(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	for _, test := range []struct {
		name     string
		settings Settings
		want     string
	}{
		{"no url", Settings{}, "url is malformed"},
		{"another scheme", Settings{URL: "file:///etc/passwd"}, "url is malformed"},
		{"a credential", Settings{URL: "https://shop:hunter2@shop.example"}, "url holds a credential"},
		{"a query", Settings{URL: "https://shop.example?token=hunter2"}, "holds a query"},
		{"a token in the open", Settings{URL: "http://shop.example", TokenFile: empty}, "needs a url that is https"},
		{"no token", Settings{URL: "https://shop.example", TokenFile: empty}, "does not hold one token"},
		{"no such token", Settings{URL: "https://shop.example", TokenFile: empty + "2"}, "no such file"},
		{"no authority", Settings{URL: "https://shop.example", CAFile: empty}, "holds no certificate"},
		{"no network", Settings{URL: "https://shop.example", Networks: []string{"10.1.2.3/8"}}, `network "10.1.2.3/8" is malformed`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := driver.Open(t.Context(), []driver.System{{Name: "shop", Type: systemType, Decode: drivertest.Settings(test.settings)}})
			require.ErrorContains(t, err, test.want)
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
	require.Less(t, maxTimeout, 8*time.Second, "a collector has no longer")
}
