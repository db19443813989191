package runbooks

import (
	"slices"
	"strings"
	"time"

	"github.com/backout/backout/workflows/incident"
)

// sameChangeWithin is how far apart two sources may date one change.
const sameChangeWithin = 5 * time.Minute

// SameChange reports whether two changes from different sources are one and
// the same: of one service, within minutes, to one version, at least one of
// them a deployment. Equal values that are no versions, such as "on" or "7",
// prove nothing.
func SameChange(a, b incident.Change) bool {
	if a.Source == b.Source || a.Service != b.Service || a.Service == "" {
		return false
	}
	if a.Kind != incident.ChangeDeploy && b.Kind != incident.ChangeDeploy {
		return false
	}
	if d := a.At.Sub(b.At); d > sameChangeWithin || d < -sameChangeWithin {
		return false
	}
	return shareVersion(a.To, b.To, a.Service)
}

// shareVersion reports whether two states name one version.
func shareVersion(a, b, service string) bool {
	for _, v := range versions(a, service) {
		if slices.ContainsFunc(versions(b, service), func(w string) bool { return sameVersion(v, w) }) {
			return true
		}
	}
	return false
}

// shortHash is the fewest digits by which Git abbreviates a commit.
// Source: https://git-scm.com/docs/git-config#Documentation/git-config.txt-coreabbrev
const shortHash = 7

// versions are the words of a state that look like a version: a digit beside
// something that is none, and not the service's own name.
func versions(state, service string) []string {
	words := strings.FieldsFunc(state, func(r rune) bool { return strings.ContainsRune(" \t/:@,;()[]", r) })
	var out []string
	for _, w := range words {
		if strings.ContainsAny(w, "0123456789") && strings.Trim(w, "0123456789") != "" && w != service {
			out = append(out, strings.TrimPrefix(strings.ToLower(w), "v"))
		}
	}
	return out
}

// sameVersion compares versions; a commit may be abbreviated.
func sameVersion(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	return a == b || len(a) >= shortHash && strings.Trim(a, "0123456789abcdef") == "" && strings.HasPrefix(b, a)
}

// same are the suspects of a ranking that are one change with s, s among them.
func same(r incident.Ranking, s incident.Suspect) []incident.Change {
	out := []incident.Change{s.Change}
	for _, other := range r.Suspects {
		if SameChange(other.Change, s.Change) {
			out = append(out, other.Change)
		}
	}
	return out
}

// Authors are the authors of a suspect and of every suspect that is the same
// change seen by another source, sorted, without repetition.
func Authors(r incident.Ranking, s incident.Suspect) []string {
	var out []string
	for _, c := range same(r, s) {
		if c.Author != "" {
			out = append(out, c.Author)
		}
	}
	return sortedSet(out)
}

// ChangedAt is the earliest time that any source gives for the change of a
// suspect. The state before it is the state without the change.
func ChangedAt(r incident.Ranking, s incident.Suspect) time.Time {
	at := s.Change.At
	for _, c := range same(r, s) {
		if c.At.Before(at) {
			at = c.At
		}
	}
	return at
}
