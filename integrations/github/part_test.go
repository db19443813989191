package github

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestNeutral(t *testing.T) {
	t.Parallel()
	const j = "\u2060"
	tests := []struct {
		name, in, want string
	}{
		{name: "mention", in: "thanks @ada and (@org/team), @b@c", want: "thanks @" + j + "ada and (@" + j + "org/team), @" + j + "b@c"},
		{name: "mention at the start", in: "@ada", want: "@" + j + "ada"},
		{name: "e-mail address", in: "ada@example.com", want: "ada@example.com"},
		{name: "reference", in: "fixes #12 and acme/shop#13", want: "fixes #" + j + "12 and acme/shop#" + j + "13"},
		{name: "short reference", in: "GH-12 gh-3 agh-4", want: "GH-" + j + "12 gh-" + j + "3 agh-4"},
		{name: "heading", in: "# One\n## Two", want: "# One\n## Two"},
		{name: "address", in: "https://example.com/a#1 <https://example.com/@x#2>", want: "https://example.com/a#1 <https://example.com/@x#2>"},
		{name: "entity", in: "a&#39;b", want: "a&#39;b"},
		{name: "comment", in: "a<!-- backout:end -->b<!--\nlines -->c", want: "abc"},
		{name: "open comment", in: "a<!-- b", want: "a&lt;!-- b"},
		{name: "comment out of comments", in: "<!-<!-- x -->- backout:end -->", want: "&lt;!-- backout:end --&gt;"},
		{name: "already neutral", in: "@" + j + "ada \\#" + j + "12", want: "@" + j + "ada \\#" + j + "12"},
		{name: "line ends", in: "a\r\nb\r\n", want: "a\nb"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := neutral(tt.in)
			require.Equal(t, tt.want, got)
			require.Equal(t, got, neutral(got), "once is enough")
		})
	}
	require.Equal(t, "a b", neutralTitle(" a\n b<!-- x -->"))
	require.Equal(t, 256, utf8.RuneCountInString(neutralTitle(strings.Repeat("é", 300))))
}

func TestComposeFitsAndComesBack(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		draft  string
		around part
		cut    bool
	}{
		{name: "new", draft: "# Draft\ntext"},
		{name: "empty", draft: ""},
		{name: "with people's text", draft: "text", around: part{before: "Ours first.\n\n", after: "\n\nAnd last.\n"}},
		{name: "just fits", draft: strings.Repeat("é", 65000)},
		{name: "too long", draft: strings.Repeat("line of é\n", 9000), cut: true},
		{name: "too long on one line", draft: strings.Repeat("é", 70000), cut: true},
		{name: "people wrote much", draft: strings.Repeat("d\n", 3000), around: part{after: strings.Repeat("x", 63000)}, cut: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text := compose("pagerduty/Q1", "Title", tt.draft, tt.around)
			require.LessOrEqual(t, utf8.RuneCountInString(text), maxBody)
			require.Equal(t, tt.cut, strings.Contains(text, strings.TrimSpace(cutNote)))
			back, ok := parsePart(strings.ReplaceAll(text, "\n", "\r\n"))
			require.True(t, ok)
			require.False(t, back.edited(), "GitHub's line ends are no edit")
			require.True(t, strings.HasSuffix(back.before, tt.around.before))
			require.Equal(t, tt.around.after, back.after)
			require.Equal(t, text, compose("pagerduty/Q1", "Title", tt.draft, back), "composing again changes nothing")
			edited, ok := parsePart(strings.Replace(text, endMarker, "more\n"+endMarker, 1))
			require.True(t, ok)
			require.True(t, edited.edited())
		})
	}
	full := compose("pagerduty/Q1", "T", "draft that has no room", part{after: strings.Repeat("x", maxBody-150)})
	require.LessOrEqual(t, utf8.RuneCountInString(full), maxBody)
}

func TestParsePartRefusesBrokenMarkers(t *testing.T) {
	t.Parallel()
	good := compose("pagerduty/Q1", "Title", "draft", part{})
	for _, text := range []string{"", "text", strings.Replace(good, endMarker, "", 1), strings.Replace(good, "body=", "", 1), endMarker + good[:40]} {
		_, ok := parsePart(text)
		require.False(t, ok, text)
	}
}
