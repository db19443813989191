package fakegithub

import (
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

func itoa(n int) string { return strconv.Itoa(n) }

func atoi(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 1 << 30
	}
	return n
}

// page shows the issues to a browser: all at "/", one at
// "/page/{owner}/{repo}/issues/{number}". It loads nothing from elsewhere.
func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/favicon.ico" {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/page/"), "/")
	if s.raw(w, r, parts) {
		return
	}
	view := pageView{}
	s.mu.Lock()
	for _, key := range slices.Sorted(maps.Keys(s.repos)) {
		p := s.repos[key]
		for _, i := range slices.Backward(p.live()) {
			row := s.row(p, i)
			if len(parts) == 4 && strings.EqualFold(parts[0]+"/"+parts[1], key) && parts[3] == strconv.Itoa(i.Number) {
				view.One = &row
			}
			view.Issues = append(view.Issues, row)
		}
	}
	s.mu.Unlock()
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'")
	if len(parts) == 4 && view.One == nil {
		w.WriteHeader(http.StatusNotFound)
	}
	if err := pageTemplate.Execute(w, view); err != nil {
		return
	}
}

type pageView struct {
	Issues []pageIssue
	One    *pageIssue
}

type pageIssue struct {
	Repo, Title, State, Author, Created, Address string
	Number                                       int
	Labels                                       []string
	Body                                         template.HTML
	Comments                                     []pageComment
}

type pageComment struct {
	Author, At string
	Body       template.HTML
}

func (s *Server) row(p *repo, i *Issue) pageIssue {
	row := pageIssue{
		Repo: p.owner + "/" + p.name, Title: i.Title, State: i.State, Author: i.Author, Number: i.Number, Labels: i.Labels,
		Created: i.CreatedAt.UTC().Format("2006-01-02 15:04 UTC"), Body: Markdown(i.Body),
		Address: "/page/" + p.owner + "/" + p.name + "/issues/" + strconv.Itoa(i.Number),
	}
	for _, c := range p.comments {
		if c.Issue == i.Number {
			row.Comments = append(row.Comments, pageComment{Author: c.Author, At: c.CreatedAt.UTC().Format("15:04 UTC"), Body: Markdown(c.Body)})
		}
	}
	return row
}

var pageTemplate = template.Must(template.New("page").Parse(`{{define "issue"}}<article>
<h2>{{.Title}} <span class="mut">#{{.Number}}</span></h2>
<p class="meta"><span class="badge {{.State}}">{{.State}}</span> <b>{{.Author}}</b> opened this on {{.Created}}{{range .Labels}} <span class="label">{{.}}</span>{{end}}</p>
<div class="body">{{.Body}}</div>
{{range .Comments}}<div class="comment"><p class="meta"><b>{{.Author}}</b> commented at {{.At}}</p><div class="body">{{.Body}}</div></div>{{end}}
</article>{{end}}<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
{{if not .Issues}}<meta http-equiv="refresh" content="3">{{end}}<title>{{with .One}}{{.Title}} - {{end}}GitHub stand-in</title>
<style>
:root{color-scheme:light dark;--bg:#f6f8fa;--card:#fff;--ink:#1f2328;--mut:#59636e;--line:#d1d9e0;--tint:#f0f3f6;--link:#0758c7;--open:#1a7f37;--closed:#7c3fd6}
@media(prefers-color-scheme:dark){:root{--bg:#0d1117;--card:#151b23;--ink:#f0f6fc;--mut:#9198a1;--line:#3d444d;--tint:#212830;--link:#5ea8ff;--open:#3fb950;--closed:#b58bf5}}
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.6 system-ui,sans-serif}a{color:var(--link)}
header{background:var(--card);border-bottom:1px solid var(--line);padding:16px 24px;display:flex;gap:12px;align-items:baseline;flex-wrap:wrap}
h1{font-size:18px;margin:0}.mut,.meta{color:var(--mut)}.meta{font-size:13px;margin:0 0 12px}
main{max-width:920px;margin:24px auto 80px;padding:0 16px}article,.list{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:20px 24px}
.list{padding:0}.list a{display:block;padding:12px 18px;border-top:1px solid var(--line);text-decoration:none;color:inherit}.list a:first-child{border-top:0}.list a:hover{background:var(--tint)}
h2{font-size:22px;margin:0 0 6px;overflow-wrap:anywhere;line-height:1.3}.badge{border-radius:99px;border:1px solid currentColor;padding:1px 10px;font-size:12px;font-weight:600}
.open{color:var(--open)}.closed{color:var(--closed)}.label{border-radius:99px;background:var(--tint);border:1px solid var(--line);padding:1px 9px;font-size:12px}
.body{overflow-wrap:break-word}.body img{max-width:100%;height:auto;vertical-align:middle}.body h1,.body h2{font-size:19px;border-bottom:1px solid var(--line);padding-bottom:4px;margin:24px 0 10px}.body h3{font-size:16px;margin:18px 0 8px}
.body pre{background:var(--tint);border-radius:8px;padding:12px;overflow:auto}code{font:13px/1.5 ui-monospace,monospace;background:var(--tint);border-radius:5px;padding:1px 5px}pre code{padding:0;background:none}
.scroll{overflow-x:auto}.scroll code{white-space:nowrap}table{border-collapse:collapse;margin:10px 0;font-size:14px}th,td{border:1px solid var(--line);padding:5px 11px;text-align:left;vertical-align:top}th{background:var(--tint)}
blockquote{margin:10px 0;padding:0 14px;border-left:4px solid var(--line);color:var(--mut)}li.task{list-style:none;margin-left:-20px}hr{border:0;border-top:1px solid var(--line);margin:20px 0}
.comment{border:1px solid var(--line);border-radius:10px;padding:12px 16px;margin-top:16px}.empty{text-align:center;color:var(--mut);padding:60px 0}
</style></head><body>
<header><h1>GitHub stand-in</h1><span class="mut">{{len .Issues}} {{if eq (len .Issues) 1}}issue{{else}}issues{{end}}, on this machine only</span>{{if .One}}<a href="/">all issues</a>{{end}}</header>
<main>{{if .One}}{{template "issue" .One}}{{else if eq (len .Issues) 1}}{{range .Issues}}{{template "issue" .}}{{end}}{{else if .Issues}}<div class="list">{{range .Issues}}
<a href="{{.Address}}"><span class="badge {{.State}}">{{.State}}</span> <b>{{.Title}}</b><br><span class="mut">{{.Repo}}#{{.Number}} by {{.Author}}, {{.Created}}</span></a>{{end}}</div>
{{else}}<p class="empty">No issue yet. The postmortem appears here when an incident closes.</p>{{end}}</main></body></html>
`))
