package github

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Each section of a draft has markers of its own, so that what people write into one
// of them, or between two, holds up none of the others.
const (
	endSection = "<!-- backout:/section -->"
	// topSection is the ID of what stands before the first heading.
	topSection = "top"
	// maxSectionID bounds the ID of a section, in bytes.
	maxSectionID = 40
)

var beginSection = regexp.MustCompile(`<!-- backout:section id=([a-z0-9-]{1,64}) body=([0-9a-f]{16}) -->\n?`)

// section is one part of a draft: a heading of the second level and what follows.
type section struct{ id, text string }

// split parts a draft into its sections. Headings in fenced code are none.
func split(draft string) []section {
	var out []section
	now := section{id: topSection}
	fenced := false
	end := func() {
		if now.text = strings.TrimSpace(now.text); now.text == "" {
			return
		}
		name := now.id
		for n := 2; slices.ContainsFunc(out, func(s section) bool { return s.id == now.id }); n++ {
			now.id = fmt.Sprintf("%s-%d", name, n)
		}
		out = append(out, now)
	}
	for line := range strings.Lines(draft) {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
		}
		if heading, ok := strings.CutPrefix(line, "## "); ok && !fenced {
			end()
			now = section{id: slug(heading)}
		}
		now.text += line
	}
	end()
	return out
}

// slug is the ID of a section, from its heading.
func slug(heading string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(heading) {
		switch {
		case b.Len() >= maxSectionID:
		case r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)):
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	if s := strings.Trim(b.String(), "-"); s != "" {
		return s
	}
	return "section"
}

// piece is a part of an issue's text: a section with its markers, or what people
// wrote between two of them, which has no ID.
type piece struct {
	id, text string
	// digest is that of what Backout wrote there last.
	digest string
}

func (p piece) edited() bool { return digest(unticked(p.text)) != p.digest }

func written(s section) piece {
	return piece{id: s.id, text: s.text, digest: digest(unticked(s.text))}
}

// pieces parts the text between the markers of a draft. A section whose markers are
// broken or there twice is people's text from then on, without the markers.
func pieces(text string) []piece {
	var out []piece
	seen := map[string]bool{}
	between := func(s string) {
		s = strings.ReplaceAll(beginSection.ReplaceAllString(s, ""), endSection, "")
		if n := len(out); n > 0 && out[n-1].id == "" {
			out[n-1].text += s
		} else {
			out = append(out, piece{text: s})
		}
	}
	for {
		at := beginSection.FindStringSubmatchIndex(text)
		if at == nil {
			between(text)
			return out
		}
		between(text[:at[0]])
		id, sum, rest := text[at[2]:at[3]], text[at[4]:at[5]], text[at[1]:]
		end := strings.Index(rest, endSection)
		next := beginSection.FindStringIndex(rest)
		if end < 0 || (next != nil && next[0] < end) || seen[id] {
			text = rest
			if next == nil {
				between(text)
				return out
			}
			between(text[:next[0]])
			text = text[next[0]:]
			continue
		}
		seen[id] = true
		out = append(out, piece{id: id, text: rest[:end], digest: sum})
		text = rest[end+len(endSection):]
	}
}

// merge brings the sections that people left alone up to date, adds those that are
// new, and leaves everything else. known are the sections that had been written: one
// of them that is not there any more was taken away by people and stays away. behind
// are the sections of the draft that people edited and that say something new.
func merge(present []piece, known []string, draft []section) (merged []piece, behind []section) {
	drafted := func(id string) (section, bool) {
		i := slices.IndexFunc(draft, func(s section) bool { return s.id == id })
		if i < 0 {
			return section{}, false
		}
		return draft[i], true
	}
	for _, p := range present {
		s, ok := drafted(p.id)
		switch {
		case p.id == "":
			merged = append(merged, p)
		case p.edited():
			merged = append(merged, p)
			if ok && digest(unticked(s.text)) != p.digest {
				behind = append(behind, s)
			}
		case ok:
			fresh := written(s)
			fresh.text = ticked(s.text, p.text)
			merged = append(merged, fresh)
		default:
			// The draft has no such section any more.
		}
	}
	for i, s := range draft {
		has := func(id string) int { return slices.IndexFunc(merged, func(p piece) bool { return p.id == id }) }
		if has(s.id) >= 0 || slices.Contains(known, s.id) {
			continue
		}
		after := -1
		for j := i - 1; j >= 0 && after < 0; j-- {
			after = has(draft[j].id)
		}
		merged = slices.Insert(merged, after+1, piece{text: "\n"}, written(s))
	}
	return merged, behind
}

var (
	box  = regexp.MustCompile(`(?m)^(\s*[-*+] )\[[ xX]\] `)
	tick = regexp.MustCompile(`(?m)^(\s*[-*+] )\[[xX]\] (.*)$`)
)

// unticked is a text with all its boxes empty: ticking one is no edit.
func unticked(text string) string { return box.ReplaceAllString(normal(text), "$1[ ] ") }

// ticked is a fresh text with the boxes ticked that are ticked in what was there.
func ticked(fresh, had string) string {
	for _, m := range tick.FindAllStringSubmatch(normal(had), -1) {
		open := m[1] + "[ ] " + m[2]
		fresh = ("\n" + fresh + "\n")
		fresh = strings.Replace(fresh, "\n"+open+"\n", "\n"+m[1]+"[x] "+m[2]+"\n", 1)
		fresh = strings.TrimSuffix(strings.TrimPrefix(fresh, "\n"), "\n")
	}
	return fresh
}

// render writes pieces with their markers.
func render(all []piece) string {
	var b strings.Builder
	for _, p := range all {
		if p.id == "" {
			b.WriteString(p.text)
			continue
		}
		b.WriteString("<!-- backout:section id=" + p.id + " body=" + p.digest + " -->\n" + strings.Trim(p.text, "\n") + "\n" + endSection)
	}
	return b.String()
}

// layout makes an issue's text out of pieces. Sections that people left alone are
// cut, the longest first, until GitHub takes it. title is the digest of the title that
// Backout wrote last.
func layout(key, title string, all []piece, known []string, around part) string {
	if !strings.Contains(around.before, marker(key)) {
		around.before = marker(key) + "\n" + around.before
	}
	for _, p := range all {
		if p.id != "" && !slices.Contains(known, p.id) {
			known = append(known, p.id)
		}
	}
	head := around.before + beginPrefix + "title=" + title + " incident=" + key + " sections=" + strings.Join(known, ",") + " -->\n"
	tail := "\n" + endMarker + around.after
	all = slices.Clone(all)
	for {
		text := head + strings.Trim(render(all), "\n") + tail
		over := utf8.RuneCountInString(text) - maxBody
		if over <= 0 {
			return text
		}
		longest := -1
		for i, p := range all {
			if p.id != "" && !p.edited() && p.text != "" && (longest < 0 || len(p.text) > len(all[longest].text)) {
				longest = i
			}
		}
		if longest < 0 {
			return text // People's own text is too long; GitHub says so.
		}
		p := &all[longest]
		room := max(utf8.RuneCountInString(p.text)-over, 0)
		if p.text = cutDraft(p.text, room); room == 0 {
			p.text = ""
		}
		p.digest = digest(unticked(p.text))
	}
}
