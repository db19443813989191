package fakegithub

import (
	"html"
	"html/template"
	"regexp"
	"strings"
)

// Markdown renders the part of GitHub's Markdown that a postmortem uses:
// headings, paragraphs, nested lists with check boxes, tables, quotes, fenced
// code, rules, details, links, images, emphasis and code spans. Everything else is
// text: markup in the source is escaped, comments vanish, and only http,
// https and mailto links become links. Of the markup that GitHub lets through, pictures
// are shown, with the attributes that it leaves them.
func Markdown(source string) template.HTML {
	source = comment.ReplaceAllString(strings.ReplaceAll(source, "\r\n", "\n"), "")
	r := renderer{lines: strings.Split(source, "\n")}
	r.blocks()
	return template.HTML(r.out.String())
}

var (
	comment  = regexp.MustCompile(`(?s)<!--.*?-->`)
	heading  = regexp.MustCompile(`^(#{1,6})\s+(.*?)\s*#*$`)
	item     = regexp.MustCompile(`^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$`)
	box      = regexp.MustCompile(`^\[([ xX])\]\s+(.*)$`)
	rule     = regexp.MustCompile(`^\s*([-*_])(\s*[-*_]){2,}\s*$`)
	divider  = regexp.MustCompile(`^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$`)
	summary  = regexp.MustCompile(`^<summary>(.*)</summary>$`)
	codeSpan = regexp.MustCompile("`+[^`]+`+")
	link     = regexp.MustCompile(`!?\[((?:[^\[\]\\]|\\.)*)\]\(([^()\s]*)\)`)
	bare     = regexp.MustCompile(`https?://[^\s<>"'\x00]+`)
	angled   = regexp.MustCompile(`<https?://[^\s<>"'\x00]+>`)
	strong   = regexp.MustCompile(`\*\*([^*]+)\*\*`)
	italic   = regexp.MustCompile(`(^|[^\w*])[*_]([^*_]+)[*_]($|[^\w*])`)
	struck   = regexp.MustCompile(`~~([^~]+)~~`)
	escaped  = regexp.MustCompile(`\\([!-/:-@\[-` + "`" + `{-~])`)
	held     = regexp.MustCompile("\x00(\\d+)\x00")
)

type renderer struct {
	lines []string
	at    int
	// open counts details that were not closed yet.
	open int
	out  strings.Builder
}

func (r *renderer) blocks() {
	for r.at < len(r.lines) {
		line := r.lines[r.at]
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "":
			r.at++
		case strings.HasPrefix(trimmed, "```"):
			r.fence(trimmed)
		case trimmed == "<details>" || trimmed == "<details open>":
			r.out.WriteString(trimmed)
			r.open++
			r.at++
		case trimmed == "</details>":
			if r.open > 0 {
				r.out.WriteString(trimmed)
				r.open--
			}
			r.at++
		case summary.MatchString(trimmed):
			r.out.WriteString("<summary>" + inline(summary.FindStringSubmatch(trimmed)[1]) + "</summary>")
			r.at++
		case heading.MatchString(trimmed):
			m := heading.FindStringSubmatch(trimmed)
			tag := "h" + string(rune('0'+len(m[1])))
			r.out.WriteString("<" + tag + ">" + inline(m[2]) + "</" + tag + ">")
			r.at++
		case rule.MatchString(line):
			r.out.WriteString("<hr>")
			r.at++
		case strings.HasPrefix(trimmed, ">"):
			r.quote()
		case r.at+1 < len(r.lines) && strings.Contains(line, "|") && divider.MatchString(r.lines[r.at+1]):
			r.table()
		case item.MatchString(line):
			r.list(indent(line))
		default:
			r.paragraph()
		}
	}
	for ; r.open > 0; r.open-- {
		r.out.WriteString("</details>")
	}
}

func (r *renderer) fence(open string) {
	marker := open[:len(open)-len(strings.TrimLeft(open, "`"))]
	r.at++
	r.out.WriteString("<pre><code>")
	for r.at < len(r.lines) && strings.TrimSpace(r.lines[r.at]) != marker {
		r.out.WriteString(html.EscapeString(r.lines[r.at]) + "\n")
		r.at++
	}
	r.at++
	r.out.WriteString("</code></pre>")
}

func (r *renderer) quote() {
	inner := renderer{}
	for r.at < len(r.lines) && strings.HasPrefix(strings.TrimSpace(r.lines[r.at]), ">") {
		inner.lines = append(inner.lines, strings.TrimPrefix(strings.TrimPrefix(strings.TrimSpace(r.lines[r.at]), ">"), " "))
		r.at++
	}
	inner.blocks()
	r.out.WriteString("<blockquote>" + inner.out.String() + "</blockquote>")
}

func (r *renderer) table() {
	r.out.WriteString(`<div class="scroll"><table><thead><tr>`)
	header := cells(r.lines[r.at])
	for _, c := range header {
		r.out.WriteString("<th>" + inline(c) + "</th>")
	}
	r.out.WriteString("</tr></thead><tbody>")
	for r.at += 2; r.at < len(r.lines) && strings.Contains(r.lines[r.at], "|") && strings.TrimSpace(r.lines[r.at]) != ""; r.at++ {
		r.out.WriteString("<tr>")
		row := cells(r.lines[r.at])
		for i := range header {
			text := ""
			if i < len(row) {
				text = row[i]
			}
			r.out.WriteString("<td>" + strings.ReplaceAll(inline(text), "&lt;br&gt;", "<br>") + "</td>")
		}
		r.out.WriteString("</tr>")
	}
	r.out.WriteString("</tbody></table></div>")
}

// cells splits a table row at the bars that are not escaped.
func cells(line string) []string {
	const bar = "\x01"
	line = strings.ReplaceAll(strings.TrimSpace(line), `\|`, bar)
	parts := strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "|"), "|"), "|")
	for i, p := range parts {
		parts[i] = strings.ReplaceAll(strings.TrimSpace(p), bar, "|")
	}
	return parts
}

// list renders the items at one indentation and, inside them, deeper ones.
func (r *renderer) list(level int) {
	first := item.FindStringSubmatch(r.lines[r.at])
	tag := "ul"
	if first[2] != "-" && first[2] != "*" && first[2] != "+" {
		tag = "ol"
	}
	r.out.WriteString("<" + tag + ">")
	for r.at < len(r.lines) {
		m := item.FindStringSubmatch(r.lines[r.at])
		if m == nil || indent(r.lines[r.at]) < level {
			break
		}
		if indent(r.lines[r.at]) > level+1 {
			r.list(indent(r.lines[r.at]))
			continue
		}
		var text strings.Builder
		text.WriteString(m[3])
		r.at++
		for r.at < len(r.lines) && continues(r.lines[r.at], level) {
			text.WriteString(" " + strings.TrimSpace(r.lines[r.at]))
			r.at++
		}
		r.item(text.String())
		if r.at < len(r.lines) && item.MatchString(r.lines[r.at]) && indent(r.lines[r.at]) > level+1 {
			r.list(indent(r.lines[r.at]))
		}
		r.out.WriteString("</li>")
	}
	r.out.WriteString("</" + tag + ">")
}

func (r *renderer) item(text string) {
	m := box.FindStringSubmatch(text)
	switch {
	case m == nil:
		r.out.WriteString("<li>" + inline(text))
	case m[1] == " ":
		r.out.WriteString(`<li class="task"><input type="checkbox" disabled> ` + inline(m[2]))
	default:
		r.out.WriteString(`<li class="task"><input type="checkbox" disabled checked> ` + inline(m[2]))
	}
}

// continues says that a line belongs to the list item above it.
func continues(line string, level int) bool {
	return strings.TrimSpace(line) != "" && !item.MatchString(line) && indent(line) > level
}

func indent(line string) int {
	return len(line) - len(strings.TrimLeft(strings.ReplaceAll(line, "\t", "    "), " "))
}

func (r *renderer) paragraph() {
	var lines []string
	for r.at < len(r.lines) {
		line := strings.TrimSpace(r.lines[r.at])
		if line == "" || (len(lines) > 0 && (heading.MatchString(line) || strings.HasPrefix(line, "```") || strings.HasSuffix(line, "details>") || item.MatchString(line))) {
			break
		}
		lines = append(lines, strings.TrimSuffix(line, `\`))
		r.at++
	}
	r.out.WriteString("<p>" + strings.Join(mapped(lines, inline), "<br>") + "</p>")
}

func mapped(lines []string, f func(string) string) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = f(l)
	}
	return out
}

// inline renders one line. Finished pieces are put aside under a number, so
// that no later rule touches them.
func inline(text string) string {
	text = strings.ReplaceAll(text, "\x00", "")
	var kept []string
	keep := func(markup string) string {
		kept = append(kept, markup)
		return "\x00" + itoa(len(kept)-1) + "\x00"
	}
	text = codeSpan.ReplaceAllStringFunc(text, func(m string) string {
		return keep("<code>" + html.EscapeString(strings.TrimSpace(strings.Trim(m, "`"))) + "</code>")
	})
	text = picture.ReplaceAllStringFunc(text, func(m string) string { return keep(sanitised(m)) })
	text = image.ReplaceAllStringFunc(text, func(m string) string { return keep(sanitised(m)) })
	text = drawn.ReplaceAllStringFunc(text, func(m string) string {
		parts := drawn.FindStringSubmatch(m)
		return keep(sanitised(`<img alt="` + html.EscapeString(parts[1]) + `" src="` + html.EscapeString(parts[2]) + `">`))
	})
	text = escaped.ReplaceAllStringFunc(text, func(m string) string { return keep(html.EscapeString(m[1:])) })
	text = link.ReplaceAllStringFunc(text, func(m string) string {
		parts := link.FindStringSubmatch(m)
		if !safe(parts[2]) {
			return parts[1]
		}
		return keep(`<a rel="noopener noreferrer" href="`+html.EscapeString(parts[2])+`">`) + parts[1] + keep("</a>")
	})
	address := func(m string) string {
		m = strings.Trim(m, "<>")
		return keep(`<a rel="noopener noreferrer" href="` + html.EscapeString(m) + `">` + html.EscapeString(m) + "</a>")
	}
	text = bare.ReplaceAllStringFunc(angled.ReplaceAllStringFunc(text, address), address)
	text = html.EscapeString(html.UnescapeString(text))
	text = strong.ReplaceAllString(text, "<strong>$1</strong>")
	text = italic.ReplaceAllString(text, "$1<em>$2</em>$3")
	text = struck.ReplaceAllString(text, "<del>$1</del>")
	for range 3 {
		text = held.ReplaceAllStringFunc(text, func(m string) string {
			if i := atoi(strings.Trim(m, "\x00")); i < len(kept) {
				return kept[i]
			}
			return ""
		})
	}
	return text
}

// safe accepts the schemes that a link may have.
func safe(url string) bool {
	lower := strings.ToLower(url)
	return strings.HasPrefix(lower, "https://") || strings.HasPrefix(lower, "http://") || strings.HasPrefix(lower, "mailto:")
}
