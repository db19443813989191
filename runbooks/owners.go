package runbooks

import (
	"regexp"
	"strings"

	"github.com/backout/backout/runbooks/strict"
)

// OwnerKind says what kind of group owns a service. The zero value is invalid.
type OwnerKind string

// The kinds of group.
const (
	// OwnerSlackGroup is a Slack user group, by its ID.
	OwnerSlackGroup OwnerKind = "slack-group"
	// OwnerGitHubTeam is a GitHub team, as "<organisation>/<team>".
	OwnerGitHubTeam OwnerKind = "github-team"
	// OwnerPagerDutyTeam is a PagerDuty team, by its ID.
	OwnerPagerDutyTeam OwnerKind = "pagerduty-team"
	// OwnerPagerDutyService is every team of a PagerDuty service, by the ID of the
	// service.
	OwnerPagerDutyService OwnerKind = "pagerduty-service"
)

// OwnerGroup is a group whose members own a service.
type OwnerGroup struct {
	Kind OwnerKind `json:"kind"`
	ID   string    `json:"id"`
}

// ofService is the value of AnnotationOwnerPagerDutyTeam for the teams of the
// service's own PagerDuty service.
const ofService = "service"

var (
	// slackGroupID is how Slack spells the identifier of a user group.
	// Source: https://docs.slack.dev/reference/methods/usergroups.users.list
	slackGroupID = regexp.MustCompile(`^S[A-Z0-9]{2,20}$`)
	// pagerDutyID is how PagerDuty spells its identifiers.
	pagerDutyID = regexp.MustCompile(`^[A-Z0-9]{2,32}$`)
	// gitHubTeam is an organisation and the slug of a team in it.
	// Source: https://docs.github.com/rest/teams/teams#get-a-team-by-name
	gitHubTeam = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,37}[A-Za-z0-9])?/[a-z0-9_]([a-z0-9_-]{0,98}[a-z0-9_])?$`)
)

// addOwnerGroups reads the groups that own a component from its annotations. One
// that is there and says nothing that could be asked for is an error: the
// component would silently have other owners.
func (s *Service) addOwnerGroups(d *strict.Document, annotations map[string]string) error {
	for _, k := range []struct {
		annotation string
		kind       OwnerKind
		valid      *regexp.Regexp
		want       string
	}{
		{AnnotationOwnerSlackGroup, OwnerSlackGroup, slackGroupID, "the ID of a Slack user group, such as S0123ABC"},
		{AnnotationOwnerGitHubTeam, OwnerGitHubTeam, gitHubTeam, "a GitHub team as organisation/team"},
		{AnnotationOwnerPagerDutyTeam, OwnerPagerDutyTeam, pagerDutyID, `the ID of a PagerDuty team, or "` + ofService + `"`},
	} {
		value, given := annotations[k.annotation]
		value = strings.TrimSpace(value)
		at := "metadata.annotations." + k.annotation
		switch {
		case !given:
			continue
		case k.kind == OwnerPagerDutyTeam && value == ofService:
			if s.PagerDutyID == "" {
				return d.Errorf(at, "%s: %q needs %s beside it", k.annotation, ofService, AnnotationPagerDuty)
			}
			s.OwnerGroups = append(s.OwnerGroups, OwnerGroup{Kind: OwnerPagerDutyService, ID: s.PagerDutyID})
		case !k.valid.MatchString(value):
			return d.Errorf(at, "%s: %q is not %s", k.annotation, value, k.want)
		default:
			s.OwnerGroups = append(s.OwnerGroups, OwnerGroup{Kind: k.kind, ID: value})
		}
	}
	return nil
}
