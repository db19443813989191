package bot

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

func signed(secret string, at time.Time, body string) http.Header {
	stamp := strconv.FormatInt(at.Unix(), 10)
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte("v0:" + stamp + ":" + body))
	return http.Header{"X-Slack-Request-Timestamp": {stamp}, "X-Slack-Signature": {"v0=" + hex.EncodeToString(h.Sum(nil))}}
}

func TestVerifySlack(t *testing.T) {
	t.Parallel()
	const secret, body = "the-signing-secret", "text=approve+o1"
	with := func(h http.Header, name, value string) http.Header {
		h = h.Clone()
		h.Set(name, value)
		return h
	}
	good := signed(secret, noon, body)
	tests := []struct {
		name   string
		secret string
		header http.Header
		body   string
		want   error
	}{
		{"good", secret, good, body, nil},
		{"oldest that counts", secret, signed(secret, noon.Add(-5*time.Minute), body), body, nil},
		{"too old", secret, signed(secret, noon.Add(-5*time.Minute-time.Second), body), body, errExpired},
		{"from the future", secret, signed(secret, noon.Add(5*time.Minute+time.Second), body), body, errExpired},
		{"no header", secret, http.Header{}, body, errUnsigned},
		{"no timestamp", secret, with(good, "X-Slack-Request-Timestamp", ""), body, errUnsigned},
		{"other version", secret, with(good, "X-Slack-Signature", "v1="+good.Get("X-Slack-Signature")[3:]), body, errUnsigned},
		{"no secret configured", "", signed("", noon, body), body, errUnsigned},
		{"other secret", secret, signed("guessed", noon, body), body, errForged},
		{"changed body", secret, good, body + "2", errForged},
		{"truncated body", secret, good, body[:4], errForged},
		{"changed timestamp", secret, with(good, "X-Slack-Request-Timestamp", strconv.FormatInt(noon.Unix()+1, 10)), body, errForged},
		{"short signature", secret, with(good, "X-Slack-Signature", "v0=00"), body, errForged},
		{"no hexadecimal", secret, with(good, "X-Slack-Signature", "v0="+strings.Repeat("z", 64)), body, errForged},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := verifySlack([]byte(tt.secret), tt.header, []byte(tt.body), noon)
			require.ErrorIs(t, err, tt.want)
			if err != nil {
				require.NotContains(t, err.Error(), good.Get("X-Slack-Signature")[3:], "it never says the right signature")
			}
		})
	}
}

func TestReplays(t *testing.T) {
	t.Parallel()
	r := newReplays(2)
	a, b, c := [32]byte{1}, [32]byte{2}, [32]byte{3}
	require.NoError(t, r.claim(a, noon))
	require.ErrorIs(t, r.claim(a, noon.Add(time.Minute)), errReplayed)
	require.NoError(t, r.claim(b, noon))
	require.ErrorIs(t, r.claim(c, noon), errCrowded, "what can not be remembered is not taken")
	r.release(b)
	require.NoError(t, r.claim(c, noon), "what was released takes no room")
	require.ErrorIs(t, r.claim(a, noon.Add(replayTurn)), errReplayed, "it is remembered for as long as it could be valid")
	require.ErrorIs(t, r.claim(a, noon.Add(replayTurn+time.Second)), errReplayed)
	require.NoError(t, r.claim(b, noon.Add(3*replayTurn)), "what can not come again is forgotten")
	require.LessOrEqual(t, len(r.young)+len(r.old), 1)

	// Dated as far ahead as it may be, a request lives for two windows.
	for _, at := range []time.Duration{0, time.Minute, replayTurn - time.Second, replayTurn + time.Second, 3 * replayTurn} {
		r = newReplays(8)
		require.NoError(t, r.claim(b, noon))
		require.NoError(t, r.claim(a, noon.Add(at)))
		for _, later := range []time.Duration{time.Second, signatureWindow, replayTurn} {
			require.ErrorIs(t, r.claim(a, noon.Add(at+later)), errReplayed, "%s after %s", later, at)
		}
	}

	r = newReplays(8)
	require.NoError(t, r.claim(a, noon))
	r.release(a)
	require.NoError(t, r.claim(a, noon.Add(time.Minute)), "what was not taken may come again")
	require.NoError(t, r.claim(b, noon.Add(replayTurn+time.Second)))
	r.release(a)
	require.NoError(t, r.claim(a, noon.Add(replayTurn+time.Second)), "after a turn too")
}

func TestParse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text, verb, key, rest string
	}{
		{"empty", "", "", "", ""},
		{"mention alone", " <@U0BACKOUT> ", "", "", ""},
		{"mention", "<@U0BACKOUT|backout> approve o1", "approve", "", "o1"},
		{"upper case", "APPROVE o1 2352da72", "approve", "", "o1 2352da72"},
		{"synonym", "take", "command", "", ""},
		{"named incident", "refuse pagerduty/Q1 o1 it is &lt;wrong&gt;", "refuse", "pagerduty/Q1", "o1 it is <wrong>"},
		{"declare keeps everything", "declare pagerduty/Q1 down", "declare", "", "pagerduty/Q1 down"},
		{"unknown", "dance  now", "dance", "", "now"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := parse(tt.text)
			require.Equal(t, tt.verb, o.verb)
			require.Equal(t, tt.key, o.key)
			require.Equal(t, tt.rest, strings.Join(o.rest, " "))
		})
	}
}

func TestParseDeclaration(t *testing.T) {
	t.Parallel()
	known := []string{"cart", "checkout"}
	tests := []struct {
		name, text string
		want       declaration
	}{
		{"everything", "sev1 checkout it is down", declaration{"sev1", "checkout", "it is down"}},
		{"no severity", "Checkout down", declaration{defaultSeverity, "checkout", "down"}},
		{"no service", "sev2 everything is slow", declaration{"sev2", "", "everything is slow"}},
		{"nothing", "", declaration{defaultSeverity, "", ""}},
		{"long", "cart " + strings.Repeat("é", 300), declaration{defaultSeverity, "cart", strings.Repeat("é", 250)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, parseDeclaration(strings.Fields(tt.text), known))
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add("<@U1> approve pagerduty/Q1 o1 2352da72")
	f.Add("declare sev1 checkout &amp; more")
	f.Fuzz(func(t *testing.T, text string) {
		o := parse(text)
		require.Equal(t, o.verb, parse(o.text).verb, "said again, it means the same")
	})
}
