package fakegithub

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/backout/backout/test/fakes/pagerduty/rest"
)

// repositories begins the paths by which GitHub names a repository whatever it is
// called, such as in redirects.
const repositories = "/repositories/"

// live are the issues that were neither moved nor deleted.
func (p *repo) live() []*Issue {
	return slices.DeleteFunc(slices.Clone(p.issues), func(i *Issue) bool { return i.gone() })
}

func (i *Issue) gone() bool { return i.deleted || i.movedTo != nil }

// Transfer moves an issue with its comments to another repository, as people do in
// GitHub's page, and returns its number there.
// Source: https://docs.github.com/issues/tracking-your-work-with-issues/administering-issues/transferring-an-issue-to-another-repository
func (s *Server) Transfer(full string, number int, to string) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from, target := s.repo(full), s.repo(to)
	i := from.issue(number)
	if i == nil || from == target {
		return 0, fmt.Errorf("transfer issue %d of %q to %q: no such issue or place", number, full, to)
	}
	moved := *i
	moved.Labels = slices.Clone(i.Labels)
	found := s.addIssue(target, moved)
	found.State, found.CreatedAt, found.UpdatedAt = i.State, i.CreatedAt, s.cfg.Now()
	i.movedTo, i.movedAs = target, found.Number
	for _, c := range from.comments {
		if c.Issue == number {
			along := *c
			along.Issue = found.Number
			target.comments = append(target.comments, &along)
		}
	}
	from.comments = slices.DeleteFunc(from.comments, func(c *Comment) bool { return c.Issue == number })
	return found.Number, nil
}

// DeleteIssue takes an issue away for good.
func (s *Server) DeleteIssue(full string, number int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.repo(full).issue(number)
	if i == nil {
		return fmt.Errorf("delete issue %d of %q: no such issue", number, full)
	}
	i.deleted = true
	return nil
}

// Hide keeps a repository from everybody with a token: it is as if it were not there.
func (s *Server) Hide(full string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.repo(full).hidden = true
}

// elsewhere answers for an issue that is not there any more: with where it is now if
// the token may read there.
// Source: https://docs.github.com/rest/issues/issues#get-an-issue
func (s *Server) elsewhere(p *repo, number int, rest string) rest.Reply {
	if number < 1 || number > len(p.issues) {
		return notFound()
	}
	i := p.issues[number-1]
	switch {
	case i.deleted:
		return message(http.StatusGone, "This issue was deleted")
	case i.movedTo == nil || i.movedTo.hidden:
		return notFound()
	}
	at := s.URL() + repositories + strconv.FormatInt(i.movedTo.id, 10) + "/issues/" + strconv.Itoa(i.movedAs) + rest
	reply := message(http.StatusMovedPermanently, "Moved Permanently")
	reply.Header = http.Header{"Location": {at}}
	return reply
}

// root is the path of the document for that of a request, which may name a repository
// by its ID.
func (s *Server) root(path string) string {
	path = root(path)
	id, rest, found := strings.Cut(strings.TrimPrefix(path, repositories), "/")
	if !found || !strings.HasPrefix(path, repositories) {
		return path
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.repos {
		if strconv.FormatInt(p.id, 10) == id {
			return "/repos/" + p.owner + "/" + p.name + "/" + rest
		}
	}
	return path
}
