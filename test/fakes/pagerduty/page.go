package fakepagerduty

import (
	"html/template"
	"net/http"
	"slices"
	"time"
)

// page shows the incidents to a browser, newest first. It loads nothing from
// elsewhere and refreshes itself.
func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/favicon.ico" {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	s.mu.Lock()
	view := pageView{}
	for _, i := range slices.Backward(s.incidents) {
		view.Incidents = append(view.Incidents, s.row(i))
		if i.Status != Resolved {
			view.Open++
		}
	}
	s.mu.Unlock()
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	if err := pageTemplate.Execute(w, view); err != nil {
		return
	}
}

type pageView struct {
	Open      int
	Incidents []pageRow
}

type pageRow struct {
	ID, Title, Status, Urgency, Priority, Service, Assignees, Created string
	Number, Level                                                     int
	Notes                                                             []pageNote
	Requests                                                          []pageNote
}

type pageNote struct{ At, By, Text string }

func (s *Server) row(i *incident) pageRow {
	service, _ := s.service(i.ServiceID)
	priority, _ := find(s.prios, func(p Priority) bool { return p.ID == i.PriorityID })
	row := pageRow{
		ID: i.ID, Number: i.Number, Title: i.Title, Status: i.Status, Urgency: i.Urgency, Level: i.Level,
		Priority: priority.Name, Service: service.Name, Created: clock(i.CreatedAt),
	}
	for n, id := range i.Assignees {
		if n > 0 {
			row.Assignees += ", "
		}
		row.Assignees += s.name(id)
	}
	for _, n := range i.Notes {
		row.Notes = append(row.Notes, pageNote{At: clock(n.At), By: s.name(n.UserID), Text: n.Content})
	}
	for _, q := range i.Requests {
		row.Requests = append(row.Requests, pageNote{At: clock(q.At), By: s.name(q.RequesterID), Text: q.Message})
	}
	return row
}

func (s *Server) name(id string) string {
	if u, ok := s.user(id); ok {
		return u.Name
	}
	return id
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05 UTC") }

var pageTemplate = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="3"><title>PagerDuty stand-in</title>
<style>
:root{color-scheme:light dark;--bg:#f6f8f7;--card:#fff;--ink:#14211b;--mut:#5c6b64;--line:#dfe6e2;--red:#c62f2f;--amber:#a86500;--green:#0b7f3f;--tint:#eef3f0}
@media(prefers-color-scheme:dark){:root{--bg:#101613;--card:#182019;--ink:#e9f1ec;--mut:#9bada3;--line:#2a362f;--red:#ff7b72;--amber:#e3b341;--green:#56d364;--tint:#1f2922}}
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
header{padding:20px 24px;border-bottom:1px solid var(--line);background:var(--card);display:flex;gap:12px;align-items:baseline;flex-wrap:wrap}
h1{font-size:18px;margin:0}.mut{color:var(--mut);font-size:13px}main{max-width:880px;margin:24px auto;padding:0 16px;display:grid;gap:14px}
article{background:var(--card);border:1px solid var(--line);border-left:4px solid var(--line);border-radius:10px;padding:16px 18px}
article.triggered{border-left-color:var(--red)}article.acknowledged{border-left-color:var(--amber)}article.resolved{border-left-color:var(--green)}
h2{font-size:16px;margin:0 0 4px;overflow-wrap:anywhere}.badge{display:inline-block;border-radius:99px;padding:1px 10px;font-size:12px;font-weight:600;border:1px solid currentColor}
.triggered .badge.s{color:var(--red)}.acknowledged .badge.s{color:var(--amber)}.resolved .badge.s{color:var(--green)}
dl{display:flex;flex-wrap:wrap;gap:4px 22px;margin:10px 0 0;font-size:13px}dt{color:var(--mut)}dd{margin:0 0 0 6px}dl div{display:flex}
ul{list-style:none;margin:12px 0 0;padding:0;display:grid;gap:6px}li{background:var(--tint);border-radius:8px;padding:8px 12px;white-space:pre-wrap;overflow-wrap:anywhere}
li small{color:var(--mut);display:block}.empty{text-align:center;color:var(--mut);padding:60px 0}
</style></head><body>
<header><h1>PagerDuty stand-in</h1><span class="mut">{{.Open}} open of {{len .Incidents}}, on this machine only</span></header>
<main>{{range .Incidents}}<article class="{{.Status}}" id="{{.ID}}">
<h2>#{{.Number}} {{.Title}}</h2>
<span class="badge s">{{.Status}}</span>{{if .Priority}} <span class="badge">{{.Priority}}</span>{{end}}
<dl><div><dt>Service</dt><dd>{{.Service}}</dd></div><div><dt>Assigned to</dt><dd>{{or .Assignees "nobody"}} (level {{.Level}})</dd></div>
<div><dt>Urgency</dt><dd>{{.Urgency}}</dd></div><div><dt>Opened</dt><dd>{{.Created}}</dd></div><div><dt>ID</dt><dd>{{.ID}}</dd></div></dl>
{{if .Requests}}<ul>{{range .Requests}}<li><small>{{.At}} {{.By}} asked for responders</small>{{.Text}}</li>{{end}}</ul>{{end}}
{{if .Notes}}<ul>{{range .Notes}}<li><small>{{.At}} note by {{.By}}</small>{{.Text}}</li>{{end}}</ul>{{end}}
</article>{{else}}<p class="empty">No incident yet. Nobody has been paged.</p>{{end}}</main></body></html>
`))
