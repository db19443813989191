package github

import (
	"net/url"
	"strconv"
	"strings"

	gh "github.com/google/go-github/v60/github"

	"github.com/backout/backout/workflows/incident"
)

// Made says which issue was made for an incident, so that it is followed to where it is
// now, also by a process that never saw it. What names no issue of GitHub's is ignored.
func (t *Tracker) Made(key string, ref incident.PostmortemRef) {
	owner, name, number, ok := placeOf(ref.URL)
	if !ok || number != ref.Number || checkKey(key) != nil {
		return
	}
	at := t.place(key)
	at.mu.Lock()
	defer at.mu.Unlock()
	at.made = true
	if at.number == 0 {
		at.owner, at.name, at.number = owner, name, number
	}
}

// placeOf reads the address of an issue's page: ".../<owner>/<name>/issues/<number>".
func placeOf(address string) (owner, name string, number int, ok bool) {
	u, err := url.Parse(address)
	if err != nil {
		return "", "", 0, false
	}
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	if len(parts) < 4 || parts[len(parts)-2] != "issues" {
		return "", "", 0, false
	}
	parts = parts[len(parts)-4:]
	number, err = strconv.Atoi(parts[3])
	return parts[0], parts[1], number, err == nil && number > 0 && plainName(parts[0]) && plainName(parts[1])
}

// where is the repository that an issue is in now: the tracker's own, unless people
// moved it.
func (t *Tracker) where(issue *gh.Issue) (owner, name string) {
	parts := strings.Split(strings.TrimRight(issue.GetRepositoryURL(), "/"), "/")
	if n := len(parts); n >= 2 && plainName(parts[n-2]) && plainName(parts[n-1]) {
		return parts[n-2], parts[n-1]
	}
	return t.owner, t.name
}

// found remembers where an issue is.
func (t *Tracker) found(at *place, issue *gh.Issue) {
	at.owner, at.name = t.where(issue)
	at.number = issue.GetNumber()
}
