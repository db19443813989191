package fakegithub

import (
	"html"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// Pictures in Markdown: one per theme, markup, and Markdown's own. Each stands on one
// line.
var (
	picture   = regexp.MustCompile(`<picture>\s*(?:<source(?:\s+[a-z]+="[^"<>]*")*\s*/?>\s*)*<img(?:\s+[a-z]+="[^"<>]*")*\s*/?>\s*</picture>`)
	image     = regexp.MustCompile(`<img(?:\s+[a-z]+="[^"<>]*")*\s*/?>`)
	drawn     = regexp.MustCompile(`!\[((?:[^\[\]\\]|\\.)*)\]\(([^()\s]*)\)`)
	element   = regexp.MustCompile(`<(source|img)((?:\s+[a-z]+="[^"<>]*")*)\s*/?>`)
	attribute = regexp.MustCompile(`([a-z]+)="([^"]*)"`)
	pixels    = regexp.MustCompile(`^[0-9]{1,4}$`)
	theme     = regexp.MustCompile(`^\(prefers-color-scheme: (dark|light)\)$`)
)

// sanitised is a picture with nothing of it that GitHub takes out: only these elements
// and attributes, and only addresses of the web.
// Source: https://github.com/gjtorikian/html-pipeline and
// https://docs.github.com/get-started/writing-on-github/getting-started-with-writing-and-formatting-on-github/basic-writing-and-formatting-syntax#specifying-the-theme-an-image-is-shown-to
func sanitised(markup string) string {
	var b strings.Builder
	for _, m := range element.FindAllStringSubmatch(markup, -1) {
		b.WriteString("<" + m[1])
		for _, a := range attribute.FindAllStringSubmatch(m[2], -1) {
			name, value := a[1], html.UnescapeString(a[2])
			if allowed(m[1], name, value) {
				b.WriteString(" " + name + `="` + html.EscapeString(value) + `"`)
			}
		}
		b.WriteString(">")
	}
	if strings.HasPrefix(markup, "<picture>") {
		return "<picture>" + b.String() + "</picture>"
	}
	return b.String()
}

func allowed(tag, name, value string) bool {
	web := strings.HasPrefix(value, "https://") || strings.HasPrefix(value, "http://")
	switch name {
	case "media":
		return tag == "source" && theme.MatchString(value)
	case "srcset":
		return tag == "source" && web
	case "src":
		return tag == "img" && web
	case "width", "height":
		return tag == "img" && pixels.MatchString(value)
	case "alt":
		return tag == "img"
	default:
		return false
	}
}

// kinds are the files that the page shows as what they are; all others are text.
var kinds = []string{"image/png", "image/jpeg", "image/gif", "image/webp"}

// raw shows a file of a branch to a browser, at
// "/page/{owner}/{repo}/blob/{branch}/{path}?raw=true" as at GitHub's own address. It
// reports false when the address is another.
func (s *Server) raw(w http.ResponseWriter, r *http.Request, parts []string) bool {
	if len(parts) < 5 || !slices.Contains([]string{"blob", "raw"}, parts[2]) {
		return false
	}
	if parts[2] == "blob" {
		if r.URL.Query().Get("raw") != "true" {
			return false
		}
		http.Redirect(w, r, "/page/"+parts[0]+"/"+parts[1]+"/raw/"+strings.Join(parts[3:], "/"), http.StatusFound)
		return true
	}
	content, found := s.fileOf(parts[0]+"/"+parts[1], parts[3], strings.Join(parts[4:], "/"))
	if !found {
		http.NotFound(w, r)
		return true
	}
	kind := http.DetectContentType([]byte(content))
	if !slices.Contains(kinds, kind) {
		kind = "text/plain; charset=utf-8"
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; sandbox")
	_, _ = w.Write([]byte(content))
	return true
}

// fileOf is a file of a branch of a repository that is there.
func (s *Server) fileOf(full, branch, path string) (string, bool) {
	s.mu.Lock()
	p := s.repos[strings.ToLower(full)]
	hidden := p == nil || p.hidden || p.git == ""
	s.mu.Unlock()
	if hidden {
		return "", false
	}
	return s.File(full, branch, path)
}
