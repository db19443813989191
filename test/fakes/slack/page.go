package fakeslack

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"slices"
	"strings"
)

//go:embed page
var pageFiles embed.FS

// contentPolicy lets the page load nothing but its own files, and pictures from
// this machine.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
	"img-src 'self' data: http://127.0.0.1:* http://localhost:*; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// routePage adds the page and what it talks to.
func (s *Server) routePage(mux *http.ServeMux) {
	files, err := fs.Sub(pageFiles, "page")
	if err != nil {
		panic(err) // The folder is embedded: it is there.
	}
	static := http.FileServerFS(files)
	mux.Handle("/", s.local(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", contentPolicy)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-cache")
		static.ServeHTTP(w, r)
	}))
	mux.Handle("GET /archives/{channel}/{message}", s.local(func(w http.ResponseWriter, r *http.Request) {
		stamp := strings.TrimPrefix(r.PathValue("message"), "p")
		if len(stamp) > 6 {
			stamp = stamp[:len(stamp)-6] + "." + stamp[len(stamp)-6:]
		}
		http.Redirect(w, r, "/#"+r.PathValue("channel")+"/"+stamp, http.StatusFound)
	}))
	mux.Handle("GET /ui/state", s.local(s.serveState))
	mux.Handle("GET /ui/events", s.local(s.serveChanges))
	mux.Handle("POST /ui/{deed}", s.local(s.serveDeed))
}

// local refuses requests that came by another name or from another site, so that no
// page elsewhere can act in this workspace.
func (s *Server) local(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if ip := net.ParseIP(host); err != nil || (host != "localhost" && (ip == nil || !ip.IsLoopback())) {
			http.Error(w, "unknown host", http.StatusMisdirectedRequest)
			return
		}
		if origin := r.Header.Get("Origin"); origin != "" && origin != "http://"+r.Host {
			http.Error(w, "foreign origin", http.StatusForbidden)
			return
		}
		next(w, r)
	})
}

// serveChanges tells the page that something changed, as server-sent events.
func (s *Server) serveChanges(w http.ResponseWriter, r *http.Request) {
	flusher, ok := w.(http.Flusher)
	if !ok {
		http.Error(w, "no streaming", http.StatusNotImplemented)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	for {
		changed := s.Changed()
		if _, err := fmt.Fprint(w, "data: changed\n\n"); err != nil {
			return
		}
		flusher.Flush()
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-s.lifetime.Done():
			return
		}
	}
}

// serveState is the workspace as one person sees it, with one channel open.
func (s *Server) serveState(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	state := s.stateFor(r.URL.Query().Get("user"), r.URL.Query().Get("channel"))
	s.mu.Unlock()
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, state)
}

func (s *Server) stateFor(user, open string) map[string]any {
	people := []map[string]any{}
	for _, id := range s.world.userIDs {
		u := s.world.users[id]
		people = append(people, map[string]any{
			"id": u.ID, "name": u.Name, "real_name": u.RealName, "title": u.Title, "deleted": u.Deleted,
			"app": u.ID == s.opts.BotUserID, "foreign": u.TeamID != s.opts.TeamID,
		})
	}
	if s.world.users[user] == nil || user == s.opts.BotUserID {
		user = ""
		for _, p := range people {
			if p["app"] == false && p["deleted"] == false {
				user, _ = p["id"].(string)
				break
			}
		}
	}
	channels := []map[string]any{}
	for _, id := range s.world.order {
		c := s.world.channels[id]
		if c.IsPrivate && !c.members[user] {
			continue
		}
		if open == "" {
			open = id
		}
		newest := ""
		if n := len(c.messages); n > 0 {
			newest = c.messages[n-1].TS
		}
		channels = append(channels, map[string]any{
			"id": c.ID, "name": c.Name, "topic": c.Topic, "private": c.IsPrivate, "archived": c.Archived,
			"members": len(c.members), "bookmarks": c.bookmarks, "newest": newest,
		})
	}
	state := map[string]any{
		"team": s.opts.TeamName, "app": map[string]any{"id": s.opts.BotUserID, "name": s.opts.BotName, "commands": s.opts.Commands},
		"guide": lines(s.opts.Guide), "panels": s.panels(), "people": people, "user": user,
		"channels": channels, "channel": open, "messages": s.messagesFor(user, open),
	}
	if stack := s.views.stacks[user]; len(stack) > 0 {
		state["modal"] = s.wireView(stack[len(stack)-1], nil)
	}
	if home := s.views.homes[user]; home != nil {
		state["home"] = s.wireView(home, nil)
	}
	return state
}

func lines(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
}

func (s *Server) panels() []map[string]any {
	out := []map[string]any{}
	for _, p := range s.opts.Panels {
		out = append(out, map[string]any{"title": p.Title, "url": p.URL})
	}
	return out
}

// messagesFor is what one person sees in a channel, oldest first.
func (s *Server) messagesFor(user, channel string) []map[string]any {
	out := []map[string]any{}
	c := s.world.channels[channel]
	if c == nil || (c.IsPrivate && !c.members[user]) {
		return out
	}
	seen := slices.Clone(c.messages)
	for _, m := range s.world.private {
		if m.Channel == channel && m.VisibleTo == user {
			seen = append(seen, m)
		}
	}
	slices.SortStableFunc(seen, func(a, b *Message) int { return strings.Compare(normal(a.TS), normal(b.TS)) })
	for _, m := range seen {
		out = append(out, m.wire(s.opts.TeamID, false))
	}
	return out
}

// deed is something that the person at the page does.
type deed struct {
	User     string            `json:"user"`
	Channel  string            `json:"channel"`
	TS       string            `json:"ts"`
	Thread   string            `json:"thread"`
	Text     string            `json:"text"`
	View     string            `json:"view"`
	BlockID  string            `json:"block_id"`
	ActionID string            `json:"action_id"`
	Value    string            `json:"value"`
	Values   map[string]string `json:"values"`
	Seen     json.RawMessage   `json:"seen"`
}

// serveDeed does what the person at the page did and answers with what became of it.
func (s *Server) serveDeed(w http.ResponseWriter, r *http.Request) {
	var d deed
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		writeJSON(w, http.StatusBadRequest, map[string]any{"error": "unreadable request"})
		return
	}
	var (
		out    Outcome
		result SubmitResult
		err    error
	)
	ctx := r.Context()
	switch r.PathValue("deed") {
	case "click":
		out, err = s.Click(ctx, Click{
			User: d.User, Channel: d.Channel, TS: d.TS, View: d.View, ActionID: d.ActionID, BlockID: d.BlockID,
			Value: d.Value, Seen: d.Seen,
		})
	case "type":
		out, err = s.typed(r, d)
	case "submit":
		result, err = s.SubmitModal(ctx, Submit{User: d.User, View: d.View, Values: d.Values})
		out = result.Outcome
	case "close":
		out, err = s.ViewClosed(ctx, d.User, d.View)
	case "home":
		out, err = s.OpenHome(ctx, d.User)
	default:
		http.NotFound(w, r)
		return
	}
	answer := map[string]any{"reason": out.Reason, "errors": result.Errors}
	if err != nil {
		answer["error"] = err.Error()
	}
	writeJSON(w, http.StatusOK, answer)
}

// typed sends what was typed into the message box: a command, or a message.
func (s *Server) typed(r *http.Request, d deed) (Outcome, error) {
	text := strings.TrimSpace(d.Text)
	if !strings.HasPrefix(text, "/") {
		return s.Say(r.Context(), Say{User: d.User, Channel: d.Channel, Thread: d.Thread, Text: text})
	}
	command, rest, _ := strings.Cut(text, " ")
	return s.Slash(r.Context(), Slash{
		User: d.User, Channel: d.Channel, Thread: d.Thread, Command: command, Text: strings.TrimSpace(rest),
	})
}
