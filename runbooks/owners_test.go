package runbooks_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/runbooks"
)

// owned is a component with annotations, one a line of the document from line 7.
func owned(t *testing.T, annotations ...string) (runbooks.Service, error) {
	t.Helper()
	doc := "apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata:\n  name: checkout\n  annotations:\n    backout.dev/tier: revenue\n"
	for _, a := range annotations {
		doc += "    " + a + "\n"
	}
	doc += "spec: {type: service, lifecycle: production, owner: shop}\n"
	c, err := runbooks.ParseCatalogue(runbooks.File{Name: "catalog-info.yaml", Content: []byte(doc)})
	if err != nil {
		return runbooks.Service{}, err
	}
	s, there := c.Service("checkout")
	require.True(t, there)
	return s, nil
}

func TestOwnerGroups(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name        string
		annotations []string
		want        []runbooks.OwnerGroup
	}{
		{"none", nil, nil},
		{"Slack group", []string{"backout.dev/owner-slack-group: S0604QSJC"}, []runbooks.OwnerGroup{{Kind: runbooks.OwnerSlackGroup, ID: "S0604QSJC"}}},
		{"GitHub team", []string{"backout.dev/owner-github-team: Example-Org/shop_owners"}, []runbooks.OwnerGroup{{Kind: runbooks.OwnerGitHubTeam, ID: "Example-Org/shop_owners"}}},
		{"PagerDuty team", []string{"backout.dev/owner-pagerduty-team: PQ9K7I8"}, []runbooks.OwnerGroup{{Kind: runbooks.OwnerPagerDutyTeam, ID: "PQ9K7I8"}}},
		{
			"teams of the PagerDuty service",
			[]string{"pagerduty.com/service-id: PCHECK", "backout.dev/owner-pagerduty-team: service"},
			[]runbooks.OwnerGroup{{Kind: runbooks.OwnerPagerDutyService, ID: "PCHECK"}},
		},
		{
			"all of them",
			[]string{"backout.dev/owner-github-team: o/t", "backout.dev/owner-pagerduty-team: PT1", "backout.dev/owner-slack-group: S01"},
			[]runbooks.OwnerGroup{{Kind: runbooks.OwnerSlackGroup, ID: "S01"}, {Kind: runbooks.OwnerGitHubTeam, ID: "o/t"}, {Kind: runbooks.OwnerPagerDutyTeam, ID: "PT1"}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, err := owned(t, tt.annotations...)
			require.NoError(t, err)
			require.Equal(t, tt.want, s.OwnerGroups)
		})
	}
}

func TestOwnersThatNobodyCouldBeAskedFor(t *testing.T) {
	t.Parallel()
	for annotation, values := range map[string][]string{
		"backout.dev/owner-slack-group":    {`""`, "shop", "C0123ABC", "s0604qsjc", `"<!subteam^S0604QSJC>"`, `"S060 4"`},
		"backout.dev/owner-github-team":    {`""`, "shop", "/shop", "org/", "org/team/x", "o..g/team", "org/../x", "-org/team", "org/Team", "\u212aayak/team", `"org/team?x"`},
		"backout.dev/owner-pagerduty-team": {`""`, "pq9k7i8", "services", "P/Q", "service"},
		"backout.dev/owners":               {"ada", "\u212aim@example.com", "\u0130van@example.com", "a@b@c"},
	} {
		for _, value := range values {
			t.Run(annotation+" "+value, func(t *testing.T) {
				t.Parallel()
				_, err := owned(t, annotation+": "+value)
				require.ErrorContains(t, err, "catalog-info.yaml:7:")
				require.ErrorContains(t, err, annotation)
			})
		}
	}
}
