package fakegithub

import (
	"net/http"
	"slices"
	"strings"

	"github.com/backout/backout/test/fakes/pagerduty/rest"
)

// areas are the permissions of fine-grained tokens by the part of a path that
// tells them apart; the first that matches counts.
// Source: https://docs.github.com/rest/authentication/permissions-required-for-fine-grained-personal-access-tokens
var areas = []struct{ part, permission string }{
	{"/deployments", "deployments"},
	{"/actions", "actions"},
	{"/issues", "issues"},
	{"/labels", "issues"},
	{"/merge", "contents"}, // To merge a pull request is to write the branch.
	{"/pulls", "pull_requests"},
	{"/git/", "contents"},
	{"/commits", "contents"},
	{"/compare", "contents"},
	{"/contents", "contents"},
	{"/releases", "contents"},
	{"/branches", "contents"},
}

// granted reports whether a login may do an operation.
func (s *Server) granted(login string, op *rest.Operation) bool {
	grants, limited := s.cfg.Grants[login]
	if !limited || !strings.HasPrefix(op.Path, "/repos/") {
		return true
	}
	area, access := "metadata", "read"
	for _, a := range areas {
		if strings.Contains(op.Path, a.part) {
			area = a.permission
			break
		}
	}
	if op.Method != http.MethodGet {
		access = "write"
	}
	return slices.Contains(grants, area+": "+access) || slices.Contains(grants, area+": write")
}
