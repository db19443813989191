package views_test

import (
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/bot/views"
)

func TestPlain(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, in, want string
		limit          int
	}{
		{"unchanged", "checkout: p99 5 %", "checkout: p99 5 %", 50},
		{"line breaks", "a\r\n\tb\u2028c", "a b c", 50},
		{"bidi", "pay\u202egnp.exe\u2066x\u200f", "paygnp.exex", 50},
		{"zero width", "a\u200bd\u2060m\ufeffin\u00ad", "admin", 50},
		{"control", "\x1b[31mred\x07\x00", "[31mred", 50},
		{"tags", "a\U000e0041b", "ab", 50},
		{"blank fillers", "a\u3164\u2800b", "a b", 50},
		{"invalid bytes", "a\xffb", "a\ufffdb", 50},
		{"marks", "e" + strings.Repeat("\u0301", 50), "e" + strings.Repeat("\u0301", 3), 50},
		{"cut", "héllo wörld", "héllo…", 7},
		{"nothing", "a", "", 0},
		{"one rune", "ab", "…", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, views.Plain(tt.in, tt.limit))
		})
	}
}

func TestMrkdwn(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in, want string }{
		{"mention", "<!channel> <@U1> &lt;", "&lt;!channel&gt; &lt;@\u2060U1&gt; &amp;lt;"},
		{"here", "@here", "@\u2060here"},
		{"format", "*b* _i_ ~s~ `c`", "∗b∗ ＿i＿ ∼s∼ ˋcˋ"},
		{"identifiers stay", "user_id in shop_cart", "user_id in shop_cart"},
		{"times stay", "03:12:08", "03:12:08"},
		{"emoji", ":skull:", "∶skull:"},
		{"link", "https://evil.example", "https∶//evil.example"},
		{"quote", "> quoted", "&gt; quoted"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, views.Mrkdwn(tt.in, 100))
		})
	}
	require.Equal(t, "&lt;&lt;…", views.Mrkdwn("<<<<", 9), "no entity is cut")
}

func TestMarkdown(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in, want string }{
		{"mention", "@octocat", "@\u2060octocat"},
		{"reference", "#12", "#\u206012"},
		{"long reference", "GH-12", "GH-\u206012"},
		{"comment", "<!-- x -->", "\\<!-- x --\\>"},
		{"image", "![a](https://x)", "!\\[a\\](https:\u2060//x)"},
		{"table", "a|b", "a\\|b"},
		{"www", "www.x.io", "www.\u2060x.io"},
		{"entity", "&#64;", "\\&#\u206064;"},
		{"emoji", "a :tada: at 03:12:08", "a :\u2060tada: at 03:12:08"},
		{"list", "1. one", "1\\. one"},
		{"bullet", "- one", "\\- one"},
		{"sentence", "It (v1.2) is at 3.", "It (v1.2) is at 3."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, views.Markdown(tt.in, 100))
		})
	}
	require.Equal(t, "`` a`b ``", views.CodeSpan("a`b", 10))
	require.Equal(t, "`a∣b`", views.CodeSpan("a|b\n", 10))
	require.Empty(t, views.CodeSpan("\n", 10))
}

func TestLink(t *testing.T) {
	t.Parallel()
	good := []string{"https://example.com/a?b=c#d", "http://127.0.0.1:8080/x"}
	bad := []string{
		"", "javascript:alert(1)", "//example.com", "/path", "ftp://example.com", "https://", "https://user:pw@example.com",
		"https://example.com/a b", "https://example.com/>|x", "https://exämple.com", "https://example.com/\n", "https://example.com/" + strings.Repeat("a", 3000),
	}
	for _, s := range good {
		require.Equal(t, s, views.Link(s))
	}
	for _, s := range bad {
		require.Empty(t, views.Link(s), s)
	}
}

var seeds = []string{
	"", "plain", "*bold* _it_ ~x~ `c` <!channel> @here :skull: & > |", "\u202e\u200b\x00\xff\n", "@a #1 GH-2 https://x www.x <!-- --> [a](b) ![a](b)",
	"https://a.b/c?d", "____", "a_b _c", strings.Repeat("é", 400), strings.Repeat("<", 100),
}

func FuzzPlain(f *testing.F) {
	for _, s := range seeds {
		f.Add(s, 40)
	}
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit %= 500
		got := views.Plain(s, limit)
		require.True(t, utf8.ValidString(got))
		require.LessOrEqual(t, utf8.RuneCountInString(got), max(limit, 0))
		for _, r := range got {
			require.False(t, unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r), "%U", r)
		}
		require.Equal(t, got, views.Plain(got, limit), "cleaning twice is cleaning once")
	})
}

var entity = regexp.MustCompile(`&(amp|lt|gt);`)

func FuzzMrkdwn(f *testing.F) {
	for _, s := range seeds {
		f.Add(s, 40)
	}
	emoji := regexp.MustCompile(`:([a-zA-Z+'_-]|[0-9]{3})[^\s:]*:`)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit %= 500
		got := views.Mrkdwn(s, limit)
		require.True(t, utf8.ValidString(got))
		require.LessOrEqual(t, utf8.RuneCountInString(got), max(limit, 0))
		bare := entity.ReplaceAllString(got, "")
		require.NotContains(t, bare, "&")
		require.False(t, strings.ContainsAny(bare, "<>*~`\n\r"), got)
		require.NotRegexp(t, emoji, bare)
		require.NotRegexp(t, `[@#][A-Za-z0-9]`, bare)
		for i, part := range strings.Split(bare, "_") {
			if i > 0 {
				r, _ := utf8.DecodeRuneInString(part)
				require.True(t, unicode.IsLetter(r) || unicode.IsDigit(r), got)
			}
		}
	})
}

func FuzzMarkdown(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := views.Markdown(s, 200)
		require.True(t, utf8.ValidString(got))
		require.NotContains(t, got, "\n")
		require.NotRegexp(t, `[@#][A-Za-z0-9]`, got)
		require.NotRegexp(t, "(?i)www\\.[^\u2060]|://|gh-[0-9]", strings.ReplaceAll(got, "\\", ""))
		// Without its escapes, nothing is left that could begin a construct.
		rest := regexp.MustCompile(`\\[[:punct:]]`).ReplaceAllString(got, "")
		require.False(t, strings.ContainsAny(rest, "\\`*_[]<>|~&$"), got)
		require.NotRegexp(t, `^([-+=]|[0-9]*[.)])`, got)
		require.NotRegexp(t, `:[a-z_+]+:`, got)
	})
}

func FuzzCodeSpan(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	fence := regexp.MustCompile("^`+")
	f.Fuzz(func(t *testing.T, s string) {
		got := views.CodeSpan(s, 100)
		if got == "" {
			return
		}
		mark := fence.FindString(got)
		inner := strings.TrimSuffix(strings.TrimPrefix(got, mark), mark)
		for _, run := range regexp.MustCompile("`+").FindAllString(inner, -1) {
			require.NotEqual(t, len(mark), len(run), "the text would end the span")
		}
		require.NotContains(t, got, "|")
	})
}

func FuzzRef(f *testing.F) {
	f.Add(`{"k":"pagerduty/Q1","o":"o1","d":"","r":1}`)
	f.Add(`{"k":"pagerduty/Q1","r":1,"x":2}`)
	f.Add(`{}`)
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := views.ParseRef(s)
		if err != nil {
			return
		}
		again, err := views.ParseRef(ref.Encode())
		if ref.Encode() != "" {
			require.NoError(t, err)
			require.Equal(t, ref, again)
		}
	})
}
