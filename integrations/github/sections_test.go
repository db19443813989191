package github

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

const (
	draftOne = "Drafted.\n\n## Summary\n\nit broke\n\n## Timeline\n\n- 03:12 paged\n\n## Action items\n\n- [ ] mend it\n- [ ] review it"
	draftTwo = "Drafted.\n\n## Summary\n\nit broke, and was mended\n\n## Timeline\n\n- 03:12 paged\n- 03:15 over\n\n## Trigger\n\na deploy\n\n## Action items\n\n- [ ] mend it\n- [ ] review it\n- [ ] tell them"
)

func TestSplit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, draft string
		want        []string
	}{
		{"a draft", draftOne, []string{"top", "summary", "timeline", "action-items"}},
		{"no heading", "text", []string{"top"}},
		{"nothing", " \n", nil},
		{"nothing before the first", "## One\nx", []string{"one"}},
		{"the same twice", "## One\nx\n## One\ny\n## one!\nz", []string{"one", "one-2", "one-3"}},
		{"no letters", "## ——\nx", []string{"section"}},
		{"other levels", "# A\n### B\n ## C\n##D", []string{"top"}},
		{"code", "```\n## no\n```\n## yes\n", []string{"top", "yes"}},
		{"long", "## " + strings.Repeat("ab ", 40), []string{"ab-ab-ab-ab-ab-ab-ab-ab-ab-ab-ab-ab-ab-a"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, s := range split(tt.draft) {
				got = append(got, s.id)
			}
			require.Equal(t, tt.want, got)
		})
	}
}

// again writes a draft over an issue's text, as an update does.
func again(t *testing.T, text, draft string) (string, []section) {
	t.Helper()
	p, ok := parsePart(text)
	require.True(t, ok)
	all, behind := merge(pieces(p.draft), p.sections, split(draft))
	return layout("pagerduty/Q1", p.title, all, p.sections, p), behind
}

// What people do to one section holds up no other.
func TestSectionsAreKeptApart(t *testing.T) {
	t.Parallel()
	one := fresh("pagerduty/Q1", "T", draftOne, part{})
	replace := func(old, fresh string) func(string) string {
		return func(s string) string {
			require.Contains(t, s, old)
			return strings.Replace(s, old, fresh, 1)
		}
	}
	endOf := func(text string) string { return text + "\n" + endSection }
	for _, tt := range []struct {
		name string
		edit func(string) string
		want []string
		not  []string
		// behind are the sections of which a comment tells.
		behind []string
	}{
		{"untouched", func(s string) string { return s }, []string{"and was mended", "03:15 over", "a deploy", "tell them"}, nil, nil},
		{"line ends", func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }, []string{"and was mended", "tell them"}, nil, nil},
		{
			"one section edited", replace("it broke", "the discounts broke it"),
			[]string{"the discounts broke it", "03:15 over", "a deploy", "tell them"},
			[]string{"and was mended"},
			[]string{"summary"},
		},
		{"written between sections", replace(endOf("it broke"), endOf("it broke")+"\n\nOurs: @ada was there.\n"), []string{"Ours: @ada was there.", "and was mended", "03:15 over"}, nil, nil},
		{"a box ticked", replace("- [ ] mend it", "- [x] mend it"), []string{"- [x] mend it", "- [ ] review it", "- [ ] tell them", "and was mended"}, nil, nil},
		{"a section taken away", func(s string) string {
			from, to := strings.Index(s, "<!-- backout:section id=timeline"), strings.Index(s, "<!-- backout:section id=action-items")
			return s[:from] + s[to:]
		}, []string{"and was mended", "a deploy", "tell them"}, []string{"paged"}, nil},
		{"an end marker taken away", replace(endOf("it broke"), "it broke"), []string{"it broke", "03:15 over", "tell them"}, []string{"and was mended"}, nil},
		{"a section copied", func(s string) string {
			from, to := strings.Index(s, "<!-- backout:section id=timeline"), strings.Index(s, "<!-- backout:section id=action-items")
			return s[:to] + s[from:to] + s[to:]
		}, []string{"03:15 over", "and was mended", "- 03:12 paged\n"}, nil, nil},
		{"sections in another order", func(s string) string {
			a, b, c := strings.Index(s, "<!-- backout:section id=summary"), strings.Index(s, "<!-- backout:section id=timeline"), strings.Index(s, "<!-- backout:section id=action-items")
			return s[:a] + s[b:c] + s[a:b] + s[c:]
		}, []string{"and was mended", "03:15 over", "tell them"}, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			edited := tt.edit(one)
			two, behind := again(t, edited, draftTwo)
			for _, want := range tt.want {
				require.Contains(t, two, want)
			}
			for _, not := range tt.not {
				require.NotContains(t, two, not)
			}
			var ids []string
			for _, s := range behind {
				ids = append(ids, s.id)
			}
			require.Equal(t, tt.behind, ids)
			same, _ := again(t, two, draftTwo)
			require.Equal(t, two, same, "writing it again changes nothing")
			// And nothing is left of the markers where people read.
			for _, p := range pieces(func() string { p, _ := parsePart(two); return p.draft }()) {
				require.NotContains(t, p.text, "backout:")
			}
		})
	}
}

// What people write is never cut; what they left alone is, until GitHub takes it.
func TestLayoutFits(t *testing.T) {
	t.Parallel()
	long := "## A\n" + strings.Repeat("line of é\n", 3000) + "## B\n" + strings.Repeat("line of x\n", 3000) + "## C\nshort"
	text := fresh("pagerduty/Q1", "T", long, part{after: "\n" + strings.Repeat("ours ", 9000)})
	require.LessOrEqual(t, utf8.RuneCountInString(text), maxBody)
	require.Contains(t, text, "## C\nshort")
	require.True(t, strings.HasSuffix(text, strings.Repeat("ours ", 9000)))
	same, behind := again(t, text, long)
	require.Equal(t, text, same)
	require.Empty(t, behind)
}
