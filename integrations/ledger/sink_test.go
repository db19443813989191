package ledger_test

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/ledger"
)

// eventually waits until a relay has handed over everything.
func eventually(t *testing.T, r *ledger.Relay, ready func([]ledger.SinkStatus) bool) {
	t.Helper()
	require.Eventually(t, func() bool {
		status, err := r.Status(t.Context())
		return err == nil && ready(status)
	}, 20*time.Second, time.Millisecond)
}

func caughtUp(status []ledger.SinkStatus) bool {
	for _, s := range status {
		if s.Lag > 0 || s.Problem != "" {
			return false
		}
	}
	return true
}

func requireSame(t *testing.T, l *ledger.Ledger, content []byte, entries int) {
	t.Helper()
	report, err := l.VerifyAgainst(t.Context(), bytes.NewReader(content))
	require.NoError(t, err)
	require.Nil(t, report.First)
	require.Equal(t, int64(entries), report.Entries)
}

func TestFileSinkFollows(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, filepath.Join(dir, "ledger.db"))
	fill(t, l, 2)
	second := filepath.Join(dir, "second.jsonl")
	s, err := ledger.NewFileSink(second)
	require.NoError(t, err)
	r := ledger.StartFastRelay(l, s)
	for n := 3; n <= 20; n++ {
		_, err := l.Append(t.Context(), entry(n))
		require.NoError(t, err)
	}
	eventually(t, r, caughtUp)
	r.Stop()
	content, err := os.ReadFile(second)
	require.NoError(t, err)
	requireSame(t, l, content, 20)
	require.Equal(t, 20, bytes.Count(content, []byte("\n")), "nothing is there twice")
	info, err := os.Stat(second)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

// Wherever a write is cut short, what was there stays, and the next write repeats
// what is missing.
func TestFileSinkAfterAWriteThatWasCutShort(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, filepath.Join(dir, "ledger.db"))
	fill(t, l, 3)
	whole := filepath.Join(dir, "whole.jsonl")
	s, err := ledger.NewFileSink(whole)
	require.NoError(t, err)
	require.NoError(t, ledger.Forward(t.Context(), l, s))
	content, err := os.ReadFile(whole)
	require.NoError(t, err)
	for size := 0; size <= len(content); size += 7 {
		cut := filepath.Join(dir, strconv.Itoa(size))
		require.NoError(t, os.WriteFile(cut, content[:size], 0o600))
		s, err := ledger.NewFileSink(cut)
		require.NoError(t, err)
		for range 2 {
			require.NoError(t, ledger.Forward(t.Context(), l, s))
		}
		got, err := os.ReadFile(cut)
		require.NoError(t, err)
		require.True(t, bytes.HasPrefix(got, content[:size]), "nothing is taken back")
		requireSame(t, l, got, 3)
		at, err := s.Cursor()
		require.NoError(t, err)
		require.Equal(t, int64(3), at.Seq)
	}
}

// A copy that does not fit the ledger gets nothing more, and it is said.
func TestSinkOfAnotherLedger(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, filepath.Join(dir, "ledger.db"))
	fill(t, l, 3)
	second := filepath.Join(dir, "second.jsonl")
	s, err := ledger.NewFileSink(second)
	require.NoError(t, err)
	require.NoError(t, ledger.Forward(t.Context(), l, s))
	before, err := os.ReadFile(second)
	require.NoError(t, err)

	for name, filled := range map[string]int{"shorter": 2, "as long": 3, "longer": 5} {
		other := open(t, filepath.Join(dir, "other "+name))
		for n := 1; n <= filled; n++ {
			e := entry(n)
			e.Text = "it was like this"
			_, err := other.Append(t.Context(), e)
			require.NoError(t, err)
		}
		require.ErrorIs(t, ledger.Forward(t.Context(), other, s), ledger.ErrDiverged, name)
		r := ledger.StartFastRelay(other, s)
		eventually(t, r, func(st []ledger.SinkStatus) bool { return st[0].Diverged && st[0].Failures > 1 })
		_, err := other.Append(t.Context(), entry(99))
		require.NoError(t, err, "the ledger is written all the same")
		r.Stop()
	}
	after, err := os.ReadFile(second)
	require.NoError(t, err)
	require.Equal(t, before, after)
}

// receiver is the other end of a webhook: it fails as told, and keeps what it took.
type receiver struct {
	mu     sync.Mutex
	secret []byte
	taken  bytes.Buffer
	bad    []string
	// answers are given in order, 0 for a connection that breaks after the body
	// was taken; then 204.
	answers []int
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	body, err := io.ReadAll(req.Body)
	at, _ := strconv.ParseInt(req.Header.Get(ledger.HeaderTimestamp), 10, 64)
	want := ledger.Sign(r.secret, req.Header.Get(ledger.HeaderID), time.Unix(at, 0), body)
	if err != nil || req.Header.Get(ledger.HeaderSignature) != want || at != start.Unix() {
		r.bad = append(r.bad, req.Header.Get(ledger.HeaderID))
	}
	answer := http.StatusNoContent
	if len(r.answers) > 0 {
		answer, r.answers = r.answers[0], r.answers[1:]
	}
	if answer == 0 || answer == http.StatusNoContent {
		r.taken.Write(body)
	}
	if answer == 0 {
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(answer)
}

func webhook(t *testing.T, dir string, r *receiver) *ledger.WebhookSink {
	t.Helper()
	r.secret = []byte("0123456789abcdef0123456789abcdef")
	secretFile := filepath.Join(dir, "secret")
	require.NoError(t, os.WriteFile(secretFile, []byte("whsec_"+base64.StdEncoding.EncodeToString(r.secret)+"\n"), 0o600))
	up := httptest.NewServer(r)
	t.Cleanup(up.Close)
	s, err := ledger.NewWebhookSink(ledger.WebhookOptions{
		URL: up.URL + "/hook?token=in-the-query", SecretFile: secretFile, CursorFile: filepath.Join(dir, "cursor"), Now: func() time.Time { return start },
	})
	require.NoError(t, err)
	return s
}

// A receiver that fails in every way gets everything, in order, signed, also over
// a restart of the sender.
func TestWebhookDeliversAtLeastOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, filepath.Join(dir, "ledger.db"))
	rec := &receiver{answers: []int{500, 429, 404, 0, 204, 302, 0, 503}}
	s := webhook(t, dir, rec)
	for n := range 3 {
		for i := range 5 {
			_, err := l.Append(t.Context(), entry(n*5+i+1))
			require.NoError(t, err)
		}
		r := ledger.StartFastRelay(l, s)
		eventually(t, r, caughtUp)
		r.Stop()
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	require.Empty(t, rec.bad)
	require.Empty(t, rec.answers)
	requireSame(t, l, rec.taken.Bytes(), 15)
	at, err := s.Cursor()
	require.NoError(t, err)
	require.Equal(t, int64(15), at.Seq)
}

func TestWebhookThatIsAwayDelaysNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, filepath.Join(dir, "ledger.db"))
	rec := &receiver{}
	for range 10_000 {
		rec.answers = append(rec.answers, http.StatusBadGateway)
	}
	s := webhook(t, dir, rec)
	r := ledger.StartFastRelay(l, s)
	fill(t, l, 5)
	eventually(t, r, func(st []ledger.SinkStatus) bool { return st[0].Lag == 5 && st[0].Failures > 2 })
	status, err := r.Status(t.Context())
	require.NoError(t, err)
	r.Stop()
	require.Contains(t, status[0].Problem, "it answered 502")
	require.NotContains(t, status[0].Problem+status[0].Sink, "in-the-query", "a URL may hold a secret")
	requireWhole(t, l, 5)
}

func TestWebhookThatCanNotBeReachedNamesNoSecret(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, filepath.Join(dir, "ledger.db"))
	fill(t, l, 1)
	up := httptest.NewServer(http.NotFoundHandler())
	secretFile := filepath.Join(dir, "secret")
	require.NoError(t, os.WriteFile(secretFile, []byte("whsec_"+base64.StdEncoding.EncodeToString(make([]byte, 32))), 0o600))
	s, err := ledger.NewWebhookSink(ledger.WebhookOptions{URL: up.URL + "/T0/SECRET", SecretFile: secretFile, CursorFile: filepath.Join(dir, "cursor")})
	require.NoError(t, err)
	up.Close()
	err = ledger.Forward(t.Context(), l, s)
	require.ErrorContains(t, err, "deliver to 127.0.0.1")
	require.NotContains(t, err.Error(), "SECRET")
}

func TestWebhookOptionsAreChecked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	secretFile := filepath.Join(dir, "secret")
	require.NoError(t, os.WriteFile(secretFile, []byte("hunter2"), 0o600))
	for _, tt := range []struct{ name, url, want string }{
		{name: "no URL", url: "", want: "give https://host/path"},
		{name: "no host", url: "https:///x", want: "give https://host/path"},
		{name: "plain text over the network", url: "http://siem.example.com/x", want: "use https"},
		{name: "another scheme", url: "ftp://127.0.0.1/x", want: "use https"},
		{name: "a password", url: "https://u:sesame@siem.example.com/x", want: "take the password out"},
		{name: "a secret that is none", url: "https://siem.example.com/x", want: "must hold whsec_"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := ledger.NewWebhookSink(ledger.WebhookOptions{URL: tt.url, SecretFile: secretFile, CursorFile: filepath.Join(dir, "c")})
			require.ErrorContains(t, err, tt.want)
			require.False(t, strings.Contains(err.Error(), "sesame") || strings.Contains(err.Error(), "hunter2"))
		})
	}
}

func TestCursorThatIsNonsenseIsAnError(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, filepath.Join(dir, "ledger.db"))
	fill(t, l, 1)
	s := webhook(t, dir, &receiver{})
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cursor"), []byte("?"), 0o600))
	require.ErrorContains(t, ledger.Forward(t.Context(), l, s), "remove it to deliver everything again")
}
