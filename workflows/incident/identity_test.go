package incident_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/workflows/incident"
)

// lookAlikes are pairs that folding, normalising or reading takes for one.
var lookAlikes = []struct{ name, a, b string }{
	{"Kelvin sign", "kim@example.com", "\u212aim@example.com"},
	{"Kelvin sign in the domain", "kim@kayak.example", "kim@\u212aayak.example"},
	{"long s", "sam@example.com", "\u017fam@example.com"},
	{"Turkish dotted capital", "ivan@example.com", "\u0130van@example.com"},
	{"Turkish dotless", "ivan@example.com", "\u0131van@example.com"},
	{"full width", "ada@example.com", "\uff41da@example.com"},
	{"full width capital", "ada@example.com", "\uff21da@example.com"},
	{"full width at", "ada@example.com", "ada\uff20example.com"},
	{"Cyrillic a", "ada@example.com", "\u0430da@example.com"},
	{"combining dot", "ivan@example.com", "i\u0307van@example.com"},
	{"zero width space", "ada@example.com", "ada\u200b@example.com"},
	{"soft hyphen", "ada@example.com", "a\u00adda@example.com"},
	{"right-to-left mark", "ada@example.com", "\u200fada@example.com"},
	{"sharp s", "strasse@example.com", "stra\u00dfe@example.com"},
	{"ligature", "office@example.com", "o\ufb03ce@example.com"},
	{"no-break space", "ada@example.com", "ada@example.com\u00a0"},
	{"space", "ada@example.com", " ada@example.com"},
	{"line end", "ada@example.com", "ada@example.com\n"},
	{"dot at the end", "ada@example.com", "ada@example.com."},
	{"tag", "ada@example.com", "ada+x@example.com"},
	{"dot in the name", "adalove@example.com", "ada.love@example.com"},
	{"other domain", "ada@example.com", "ada@example.co"},
	{"invalid UTF-8", "ada@example.com", "ada\xff@example.com"},
}

func TestLookAlikesAreNotTheSame(t *testing.T) {
	t.Parallel()
	for _, tt := range lookAlikes {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.True(t, incident.SameAddress(tt.a, tt.a))
			require.True(t, incident.SameAddress(tt.a, strings.ToUpper(tt.a)))
			require.False(t, incident.SameAddress(tt.a, tt.b))
			require.False(t, incident.SameAddress(tt.b, tt.a))
			a, _, _ := strings.Cut(tt.a, "@")
			b, _, _ := strings.Cut(tt.b, "@")
			if a != b {
				require.False(t, incident.SameAccount(a, b), "%q is not %q", a, b)
				require.True(t, incident.SameAccount(a, strings.ToUpper(a)))
			}
		})
	}
	require.True(t, strings.EqualFold("kim", "\u212aim"), "this is what the standard library takes for one")
	require.Equal(t, "ivan", strings.ToLower("\u0130van"), "and this")
}

func TestFoldAddress(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ address, want string }{
		{"Ada@Example.COM", "ada@example.com"},
		{"a+b.c_d-e@x", "a+b.c_d-e@x"},
		{"", ""},
		{"@example.com", ""},
		{"ada@", ""},
		{"ada", ""},
		{"a@b@c", ""},
		{"ada @example.com", ""},
		{"ada@exam\x00ple.com", ""},
		{"\u00e9va@example.com", ""},
		{strings.Repeat("a", 250) + "@x.y", "" + strings.Repeat("a", 250) + "@x.y"},
		{strings.Repeat("a", 251) + "@x.y", ""},
	} {
		got, ok := incident.FoldAddress(tt.address)
		require.Equal(t, tt.want, got, tt.address)
		require.Equal(t, tt.want != "", ok, tt.address)
	}
	require.False(t, incident.SameAddress("", ""))
	require.False(t, incident.SameAccount("", ""))
}

// FuzzSameAddress holds the comparison to what it promises: it is symmetric, and
// the same are the same but for the case of ASCII letters.
func FuzzSameAddress(f *testing.F) {
	for _, tt := range lookAlikes {
		f.Add(tt.a, tt.b)
	}
	f.Add("Ada@Example.com", "ada@example.COM")
	f.Fuzz(func(t *testing.T, a, b string) {
		same := incident.SameAddress(a, b)
		require.Equal(t, same, incident.SameAddress(b, a))
		if !same {
			return
		}
		require.Len(t, b, len(a))
		for i := range len(a) {
			require.True(t, a[i] == b[i] || a[i]|0x20 == b[i]|0x20 && 'a' <= a[i]|0x20 && a[i]|0x20 <= 'z', "%q and %q", a, b)
		}
	})
}

func TestNoIdentityError(t *testing.T) {
	t.Parallel()
	var err error = &incident.NoIdentityError{Actor: incident.Actor{Via: incident.ViaCLI, Login: "eve"}, Why: "the login is mapped to nobody"}
	require.ErrorIs(t, err, incident.ErrNoIdentity)
	require.EqualError(t, err, `identify "cli:eve": the login is mapped to nobody: actor is not exactly one active person`)
	why, ok := errors.AsType[*incident.NoIdentityError](err)
	require.True(t, ok)
	require.Equal(t, "eve", why.Actor.Login)
}

func TestHandoverNamesExactlyOne(t *testing.T) {
	t.Parallel()
	ada, nobody := incident.Actor{Via: incident.ViaCLI, Login: "ada"}, incident.Actor{Via: incident.ViaSlack, SlackTeam: "T1"}
	for _, tt := range []struct {
		name string
		verb incident.Verb
		to   *incident.Actor
		want string
	}{
		{"handover", incident.VerbHandOver, &ada, ""},
		{"handover to nobody", incident.VerbHandOver, nil, "must name a person"},
		{"handover to half of an account", incident.VerbHandOver, &nobody, "needs team and user"},
		{"handover to an empty account", incident.VerbHandOver, &incident.Actor{}, "unknown way in"},
		{"another verb with a person", incident.VerbTakeCommand, &ada, "names nobody"},
		{"another verb", incident.VerbClose, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := incident.CommandRequest{CommandID: "c1", Verb: tt.verb, Actor: ada, To: tt.to}.Validate()
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
		})
	}
}
