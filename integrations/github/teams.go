package github

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// loginPattern is what a login may look like: letters, digits and single hyphens
// between them, at most 39. An enterprise adds an underscore and its short code.
// Source: https://docs.github.com/enterprise-cloud@latest/admin/managing-iam/iam-configuration-reference/username-considerations-for-external-authentication
var loginPattern = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_-]{0,38})$`)

// teamPattern is an organisation and the slug of a team in it.
// Source: https://docs.github.com/rest/teams/teams#get-a-team-by-name
var teamPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,38}/[a-z0-9_][a-z0-9_-]{0,99}$`)

// Teams says who is in a team. It is safe for concurrent use.
type Teams struct{ conn *connection }

// NewTeams makes a client and sends nothing. The token needs to read the members
// of the organisation.
func NewTeams(o Options) (*Teams, error) {
	conn, err := connect(o)
	if err != nil {
		return nil, fmt.Errorf("make teams: %w", err)
	}
	return &Teams{conn: conn}, nil
}

// Close gives up idle connections.
func (t *Teams) Close() error { return t.conn.Close() }

// Member reports whether a person is an active member of a team now, "org/team",
// or of a team below it. An invitation that was not accepted is no membership. A
// person without a GitHub login is no member. A team that does not exist, or that
// the token may not see, is an error that wraps driver.ErrNotFound: it answers for
// a membership like a team without that member.
func (t *Teams) Member(ctx context.Context, team string, p incident.Person) (bool, error) {
	if !teamPattern.MatchString(team) {
		return false, fmt.Errorf("read team %q: %w: want organisation/team", team, driver.ErrInvalid)
	}
	org, slug, _ := strings.Cut(team, "/")
	if !loginPattern.MatchString(p.GitHubLogin) {
		return false, t.visible(ctx, org, slug)
	}
	membership, resp, err := t.conn.api.Teams.GetTeamMembershipBySlug(ctx, org, slug, p.GitHubLogin)
	what := fmt.Sprintf("read membership in team %q", team)
	switch {
	case err != nil && resp != nil && resp.Response != nil && resp.StatusCode == http.StatusNotFound:
		return false, t.visible(ctx, org, slug)
	case err != nil:
		return false, t.conn.classify(ctx, what, resp, err)
	}
	switch state := membership.GetState(); state {
	case "active":
		return true, nil
	case "pending":
		return false, nil
	default:
		return false, fmt.Errorf("%s: the state %q is not known", what, cut(state, maxReason))
	}
}

// visible is an error when the token does not see the team.
func (t *Teams) visible(ctx context.Context, org, slug string) error {
	team, resp, err := t.conn.api.Teams.GetTeamBySlug(ctx, org, slug)
	what := fmt.Sprintf("read team %q", org+"/"+slug)
	if err != nil {
		return t.conn.classify(ctx, what, resp, err)
	}
	if !incident.SameAccount(team.GetSlug(), slug) {
		return fmt.Errorf("%s: GitHub answered for another team", what)
	}
	return nil
}
