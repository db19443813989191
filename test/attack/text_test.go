package attack_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/bot/views"
	"github.com/backout/backout/bot/views/blockkit"
	"github.com/backout/backout/test/attack"
	"github.com/backout/backout/workflows/incident"
)

// tree is something of Slack as the JSON that is sent.
func tree(t *testing.T, v any) any {
	t.Helper()
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	var out any
	require.NoError(t, json.Unmarshal(raw, &out))
	return out
}

// walk visits every object below a node.
func walk(node any, visit func(map[string]any)) {
	switch node := node.(type) {
	case []any:
		for _, child := range node {
			walk(child, visit)
		}
	case map[string]any:
		visit(node)
		for _, name := range slices.Sorted(maps.Keys(node)) {
			walk(node[name], visit)
		}
	}
}

// inRichText are the elements that carry text and do nothing.
var inRichText = []string{"rich_text", "rich_text_section", "rich_text_list", "rich_text_preformatted", "rich_text_quote", "text", "link"}

// requireInert fails when Slack would do anything with text but show it. allowed
// are the buttons and inputs that may be there.
func requireInert(t *testing.T, v any, allowed map[string]bool) {
	t.Helper()
	root := tree(t, v)
	rich := false
	walk(root, func(o map[string]any) {
		kind, _ := o["type"].(string)
		text, _ := o["text"].(string)
		require.True(t, attack.Quiet(text), "%q", text)
		switch kind {
		case "mrkdwn":
			requireMrkdwn(t, text)
		case "plain_text":
			require.NotEqual(t, true, o["emoji"], "emoji codes are not interpreted: %q", text)
		case "user", "usergroup", "channel", "broadcast", "emoji", "date", "team", "image":
			require.Fail(t, "somebody is mentioned or something loaded", "%v", o)
		case "link":
			address, _ := o["url"].(string)
			require.Equal(t, address, views.Link(address))
			require.Contains(t, []string{"The page", "Console", "Postmortem #1"}, text, "the words of a link are Backout's own")
		}
		rich = rich || kind == "rich_text"
		if id, ok := o["action_id"].(string); ok {
			require.True(t, allowed[id], "there is an input or button %q", id)
			require.NotContains(t, o, "url", "a button opens nothing")
		}
		if elements, ok := o["elements"].([]any); ok && strings.HasPrefix(kind, "rich_text") {
			for _, e := range elements {
				require.Contains(t, inRichText, e.(map[string]any)["type"])
			}
		}
	})
}

var entity = regexp.MustCompile(`&(amp|lt|gt);`)

func requireMrkdwn(t *testing.T, text string) {
	t.Helper()
	require.True(t, attack.Quiet(text), "%q", text)
	require.False(t, strings.ContainsAny(entity.ReplaceAllString(text, ""), "<>&~`"), "%q", text)
	require.NotRegexp(t, `[@#][A-Za-z0-9]`, text)
	require.NotContains(t, text, "://")
}

// ids are the buttons and inputs of something of Slack.
func ids(t *testing.T, v any) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	walk(tree(t, v), func(o map[string]any) {
		if id, ok := o["action_id"].(string); ok {
			out[id] = true
		}
	})
	return out
}

// stars counts what makes text bold.
func stars(t *testing.T, c views.Card) int {
	t.Helper()
	n := strings.Count(c.Text, "*")
	walk(tree(t, c.Blocks), func(o map[string]any) {
		if text, ok := o["text"].(string); ok && o["type"] == "mrkdwn" {
			n += strings.Count(text, "*")
		}
	})
	return n
}

// requireCard holds a card against one of a harmless incident.
func requireCard(t *testing.T, card, harmless views.Card) {
	t.Helper()
	raw, err := json.Marshal(card.Blocks)
	require.NoError(t, err)
	require.NoError(t, blockkit.Validate(blockkit.Message, raw))
	requireInert(t, card.Blocks, ids(t, harmless.Blocks))
	requireMrkdwn(t, card.Text)
	require.LessOrEqual(t, stars(t, card), stars(t, harmless), "nothing is bold but what Backout says")
}

func requireModal(t *testing.T, modal, harmless slack.ModalViewRequest) {
	t.Helper()
	raw, err := json.Marshal(modal)
	require.NoError(t, err)
	require.NoError(t, blockkit.ValidateView(raw))
	requireInert(t, modal, ids(t, harmless))
}

// onSlack shows a text wherever Slack shows any.
func onSlack(t *testing.T, text string) {
	t.Helper()
	for _, phase := range attack.Phases() {
		harmless := attack.Incident(phase)
		v := attack.Poison(harmless, text)
		requireCard(t, views.NewCard(v), views.NewCard(harmless))
	}
	harmless := attack.Incident(incident.PhaseDeciding)
	v := attack.Poison(harmless, text)
	for i := range v.Options {
		requireCard(t, views.Preview(v, v.Options[i]), views.Preview(harmless, harmless.Options[i]))
	}
	requireCard(t, views.OpenIncidents([]incident.View{v, v}), views.OpenIncidents([]incident.View{harmless, harmless}))
	requireCard(t, views.Choose(text, []incident.View{v, v}), views.Choose("approve o1", []incident.View{harmless, harmless}))
	requireCard(t, views.Said(text), views.Said("done"))
	requireModal(t, views.DeclareModal(views.Declaration{Services: []string{text, "checkout"}, Title: text, Channel: "C1"}),
		views.DeclareModal(views.Declaration{Services: []string{"checkout"}, Title: "x", Channel: "C1"}))
}

// Tags and attributes of the console.
var (
	tag       = regexp.MustCompile(`</?([a-zA-Z!][^\s>/]*)`)
	attribute = regexp.MustCompile(`\s([a-zA-Z-]+)\s*=\s*"([^"]*)"`)
)

// requireHTML holds a page against one of a harmless incident: it has the same tags
// and attributes, in whatever number.
func requireHTML(t *testing.T, page, harmless string) {
	t.Helper()
	require.True(t, attack.Quiet(page))
	names := func(s string, from *regexp.Regexp) map[string]bool {
		out := map[string]bool{}
		for _, m := range from.FindAllStringSubmatch(s, -1) {
			out[strings.ToLower(m[1])] = true
		}
		return out
	}
	for _, from := range []*regexp.Regexp{tag, attribute} {
		known := names(harmless, from)
		for name := range names(page, from) {
			require.True(t, known[name], "the page has %q", name)
		}
	}
	for _, m := range attribute.FindAllStringSubmatch(page, -1) {
		value := html.UnescapeString(m[2])
		switch m[1] {
		case "href":
			require.True(t, value == views.Link(value) || strings.HasPrefix(value, "/incidents"), "it links to %q", value)
		case "action":
			require.True(t, strings.HasPrefix(value, "/incidents/pagerduty/Q1/"), "it posts to %q", value)
		}
	}
	require.NotContains(t, strings.ToLower(page), "<script")
}

func onConsole(t *testing.T, text string) {
	t.Helper()
	render := func(write func(*bytes.Buffer) error) string {
		var b bytes.Buffer
		require.NoError(t, write(&b))
		return b.String()
	}
	for _, phase := range attack.Phases() {
		page := func(v incident.View) string {
			return render(func(b *bytes.Buffer) error { return views.Console(b, v, views.Visitor{}) })
		}
		harmless := attack.Incident(phase)
		requireHTML(t, page(attack.Poison(harmless, text)), page(harmless))
	}
	list := func(v incident.View) string {
		return render(func(b *bytes.Buffer) error { return views.ConsoleList(b, []incident.View{v}, views.Visitor{}) })
	}
	harmless := attack.Incident(incident.PhaseDeciding)
	requireHTML(t, list(attack.Poison(harmless, text)), list(harmless))
	said := func(words string) string {
		return render(func(b *bytes.Buffer) error { return views.ConsoleSaid(b, words, "/incidents") })
	}
	requireHTML(t, said(text), said("done"))
}

var angled = regexp.MustCompile(`<(https?://[^>]*)>`)

// labelled is a link under a label of the draft's own: one of its words. What stands
// in code, such as the ID of an event, was taken out before.
var labelled = regexp.MustCompile(`\[(?:page|card|console|)\]\(([^()\s]*)\)`)

// unescaped is what is left of a line of Markdown that may do something: without
// escaped characters and without code spans.
// Source: https://spec.commonmark.org/0.31.2/#code-spans
func unescaped(line string) string {
	var b strings.Builder
	for i := 0; i < len(line); {
		switch {
		case line[i] == '\\' && i+1 < len(line) && strings.IndexByte("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", line[i+1]) >= 0:
			i += 2
		case line[i] == '`':
			n := len(line[i:]) - len(strings.TrimLeft(line[i:], "`"))
			end := closing(line[i+n:], n)
			if end < 0 {
				b.WriteString(line[i : i+n])
				i += n
				continue
			}
			i += n + end + n
		default:
			b.WriteByte(line[i])
			i++
		}
	}
	return b.String()
}

// closing is where a run of exactly n backticks begins, or -1.
func closing(s string, n int) int {
	for at := 0; at < len(s); {
		i := strings.IndexByte(s[at:], '`')
		if i < 0 {
			return -1
		}
		at += i
		run := len(s[at:]) - len(strings.TrimLeft(s[at:], "`"))
		if run == n {
			return at
		}
		at += run
	}
	return -1
}

// requireMarkdown fails when GitHub would mention, refer, link or load anything that
// a text asks for.
func requireMarkdown(t *testing.T, title, body string) {
	t.Helper()
	require.NotRegexp(t, `[@#][A-Za-z0-9]`, title)
	require.NotContains(t, title, "\n")
	require.True(t, attack.Quiet(title) && attack.Quiet(body))
	require.LessOrEqual(t, utf8.RuneCountInString(body), 65536)
	require.True(t, strings.HasPrefix(body, "<!-- backout: pagerduty/Q1 -->\n"))
	for _, line := range strings.Split(body, "\n")[1:] {
		// A summary for a chat is quoted: that is the draft's own structure.
		line = strings.TrimPrefix(line, quoted)
		rest := unescaped(line)
		for _, m := range labelled.FindAllStringSubmatch(rest, -1) {
			require.Equal(t, m[1], views.Link(m[1]))
		}
		rest = labelled.ReplaceAllString(rest, "")
		for _, m := range angled.FindAllStringSubmatch(rest, -1) {
			require.Equal(t, m[1], views.Link(m[1]))
		}
		rest = angled.ReplaceAllString(rest, "")
		require.NotRegexp(t, `[@#][A-Za-z0-9]`, rest)
		require.NotRegexp(t, `(?i)gh-[0-9]|://|www\.[a-z0-9]`, rest)
		require.False(t, strings.ContainsAny(rest, "<>&$`~"), "%q of %q", rest, line)
		rest = blanks.Replace(strings.Replace(rest, "- [ ]", "", 1))
		require.NotContains(t, rest, "[", "no link, image or ticked box")
	}
}

// blanks are what people fill in before they copy the public summary.
var blanks = strings.NewReplacer("[the product, as customers know it]", "", "[the product]", "", "[What they saw, in their words.]", "")

// quoted begins the lines of a draft that are to be copied into a chat.
const quoted = "> "

// headings are the lines that structure an issue, but for those of its own that are
// quoted: long ones are left out.
func headings(body string) []string {
	var out []string
	for line := range strings.SplitSeq(body, "\n") {
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, "```") || strings.HasPrefix(line, "---") || strings.HasPrefix(line, ">") {
			if !strings.HasPrefix(line, quoted) {
				out = append(out, line)
			}
		}
	}
	return out
}

func inIssues(t *testing.T, text string) {
	t.Helper()
	harmless := attack.Incident(incident.PhaseClosed)
	_, plain := views.Postmortem(harmless)
	title, body := views.Postmortem(attack.Poison(harmless, text))
	requireMarkdown(t, title, body)
	require.Equal(t, headings(plain), headings(body))
	require.LessOrEqual(t, strings.Count(body, "\n"+quoted), strings.Count(plain, "\n"+quoted))

	due := harmless.PagedAt
	_, plain = views.Review(harmless, due)
	title, body = views.Review(attack.Poison(harmless, text), due)
	requireMarkdown(t, title, "<!-- backout: pagerduty/Q1 -->\n"+body)
	require.Equal(t, headings(plain), headings(body))
	require.LessOrEqual(t, strings.Count(body, "\n"+quoted), strings.Count(plain, "\n"+quoted))
}

func TestTextStaysText(t *testing.T) {
	t.Parallel()
	for name, text := range attack.Texts() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onSlack(t, text)
			onConsole(t, text)
			inIssues(t, text)
		})
	}
}

// The view that is poisoned has something in each part, or a part would not be
// tested.
func TestThePoisonReachesEverything(t *testing.T) {
	t.Parallel()
	raw, err := json.Marshal(attack.Poison(attack.Incident(incident.PhaseDeciding), "POISON"))
	require.NoError(t, err)
	for _, word := range []string{"checkout", "orders", "Ada", "sam", "v41", "v42", "because", "It does.", "pager.example", "no answer", "a source"} {
		require.NotContains(t, string(raw), word)
	}
	require.Greater(t, strings.Count(string(raw), "POISON"), 100)
}

func seed(f *testing.F) {
	f.Helper()
	for _, text := range attack.Texts() {
		f.Add(text)
	}
	f.Add(fmt.Sprintf("%s %s", attack.Texts()["HTML"], attack.Texts()["right to left"]))
}

func FuzzSlack(f *testing.F) {
	seed(f)
	f.Fuzz(onSlack)
}

func FuzzConsole(f *testing.F) {
	seed(f)
	f.Fuzz(onConsole)
}

func FuzzIssue(f *testing.F) {
	seed(f)
	f.Fuzz(inIssues)
}
