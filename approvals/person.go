package approvals

import (
	"strings"

	"github.com/backout/backout/workflows/incident"
)

// noReply is the host of the addresses that GitHub writes into commits of
// people who hide theirs: "<number>+<login>@" or "<login>@".
// Source: https://docs.github.com/en/account-and-profile/reference/email-addresses-reference
const noReply = "@users.noreply.github.com"

// callName is what sentences call a person.
func callName(p incident.Person) string {
	switch {
	case p.Name != "":
		return p.Name
	case p.ID != "":
		return p.ID
	default:
		return "somebody"
	}
}

// samePerson reports whether two records are of one human being. Any identity
// in common makes them one: taking two people for one costs a wait, taking one
// for two costs the second pair of eyes. Identities are the same but for the case
// of ASCII letters, as the directory tells people apart: folding more would let
// an account that only looks like another's take the place of its approval.
func samePerson(a, b incident.Person) bool {
	for _, pair := range [][2]string{
		{a.ID, b.ID}, {a.Email, b.Email}, {a.SlackUser, b.SlackUser}, {a.PagerDutyID, b.PagerDutyID}, {a.GitHubLogin, b.GitHubLogin},
	} {
		if incident.SameAccount(pair[0], pair[1]) {
			return true
		}
	}
	return false
}

// wrote reports whether a person is among the authors of a change. Sources
// spell authors as a login, an e-mail address, "Name <address>" or an ID; what
// could be the person is taken to be, also under letters that only look alike: it
// is text that whoever wrote the change chose, and here a match takes a right away
// and never gives one.
func wrote(authors []string, p incident.Person) bool {
	for _, author := range authors {
		name, address := strings.TrimSpace(author), ""
		if open := strings.LastIndex(name, "<"); open >= 0 && strings.HasSuffix(name, ">") {
			name, address = strings.TrimSpace(name[:open]), name[open+1:len(name)-1]
		}
		for _, spelled := range []string{name, address} {
			if spelled != "" && isSpelled(spelled, p) {
				return true
			}
		}
	}
	return false
}

func isSpelled(spelled string, p incident.Person) bool {
	if login, ok := strings.CutSuffix(strings.ToLower(spelled), noReply); ok {
		if _, after, numbered := strings.Cut(login, "+"); numbered {
			login = after
		}
		spelled = login
	}
	spelled = strings.TrimPrefix(spelled, "@")
	for _, known := range []string{p.ID, p.Email, p.GitHubLogin, p.SlackUser, p.PagerDutyID, p.Name} {
		if known == "" {
			continue
		}
		local, _, isAddress := strings.Cut(known, "@")
		if strings.EqualFold(spelled, known) || isAddress && strings.EqualFold(spelled, local) {
			return true
		}
	}
	return false
}
