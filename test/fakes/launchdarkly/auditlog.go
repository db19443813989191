package fakelaunchdarkly

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backout/backout/test/fakes/pagerduty/rest"
)

// Pages of the audit log.
// Source: https://launchdarkly.com/docs/api/audit-log/get-audit-log-entries
const (
	defaultPage = 10
	maxPage     = 20
)

// entry is one line of the audit log.
type entry struct {
	id, resource    string
	at              time.Time
	author, comment string
	name            string
	before, after   object
}

// record writes what became of a flag in an environment. A flag that was made has no
// version before.
func (s *Server) record(f *flag, environment, author, comment string, before object) {
	s.entries = append(s.entries, &entry{
		id: s.newID(), resource: "proj/" + f.project + ":env/" + environment + ":flag/" + f.key, at: s.cfg.Now(),
		author: author, comment: comment, name: f.key, before: before, after: f.render(),
	})
}

// Entries counts the entries of a flag in an environment.
func (s *Server) Entries(project, key, environment string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, e := range s.entries {
		if e.resource == "proj/"+project+":env/"+environment+":flag/"+key {
			n++
		}
	}
	return n
}

// Forget drops the oldest entries of a flag in an environment but the last keep, as
// plans with a limited history do.
func (s *Server) Forget(project, key, environment string, keep int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := 0
	for _, e := range slices.Backward(slices.Clone(s.entries)) {
		if e.resource != "proj/"+project+":env/"+environment+":flag/"+key {
			continue
		}
		if kept++; kept > keep {
			s.entries = slices.DeleteFunc(s.entries, func(other *entry) bool { return other == e })
		}
	}
}

func (s *Server) listEntries(r *rest.Request) rest.Reply {
	limit := defaultPage
	if text := r.Query.Get("limit"); text != "" {
		limit, _ = strconv.Atoi(text) // The facts have it that it is a number.
		if limit < 1 || limit > maxPage {
			return refusal(http.StatusBadRequest, "invalid_request", "limit must be between 1 and 20")
		}
	}
	moment := func(name string) time.Time {
		n, err := strconv.ParseInt(r.Query.Get(name), 10, 64)
		if err != nil {
			return time.Time{}
		}
		return time.UnixMilli(n)
	}
	before, after, spec := moment("before"), moment("after"), r.Query.Get("spec")
	items := []any{}
	for _, e := range slices.Backward(s.entries) {
		at := e.at.Truncate(time.Millisecond)
		switch {
		case spec != "" && spec != e.resource:
		case !before.IsZero() && !at.Before(before):
		case !after.IsZero() && !at.After(after):
		case len(items) < limit:
			items = append(items, e.render())
		}
	}
	return ok(object{"items": items, "_links": links(r.URL.Path)})
}

func (s *Server) getEntry(r *rest.Request) rest.Reply {
	at := slices.IndexFunc(s.entries, func(e *entry) bool { return e.id == r.Vars["id"] })
	if at < 0 {
		return s.failure(http.StatusNotFound)
	}
	detailed := s.entries[at].render()
	if s.entries[at].before != nil {
		detailed["previousVersion"] = s.entries[at].before
	}
	detailed["currentVersion"] = s.entries[at].after
	return ok(detailed)
}

// render is the entry as it is listed.
func (e *entry) render() object {
	listed := object{
		"_links": links("/api/v2/auditlog/" + e.id), "_id": e.id, "_accountId": account, "date": e.at.UnixMilli(),
		"accesses": []any{object{"action": "updateOn", "resource": e.resource}}, "kind": "flag", "name": e.name,
		"description": "", "shortDescription": "", "comment": e.comment, "titleVerb": "updated the flag", "title": e.author + " updated the flag " + e.name,
		"target": object{"_links": links("/"), "name": e.name, "resources": []any{e.resource}},
	}
	if strings.Contains(e.author, "@") {
		listed["member"] = object{"_links": links("/"), "_id": "569f514183f2164430000002", "email": e.author, "firstName": "A", "lastName": "B"}
	} else {
		listed["subject"] = object{"_links": links("/"), "name": e.author, "avatarUrl": ""}
	}
	return listed
}
