package github_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/github"
	fakegithub "github.com/backout/backout/test/fakes/github"
	"github.com/backout/backout/test/fakes/pagerduty/rest"
	"github.com/backout/backout/workflows/incident"
)

// shopTeams is an organisation with two teams, one of which is hidden.
func shopTeams(t *testing.T) *fakegithub.Server {
	t.Helper()
	s, err := fakegithub.New(fakegithub.Config{Tokens: map[string]string{canary: "backout-bot"}})
	require.NoError(t, err)
	t.Cleanup(func() {
		s.Close()
		require.Empty(t, s.Violations())
	})
	s.AddTeam(fakegithub.Team{Org: "Acme", Slug: "shop-owners", Members: map[string]string{"ada": "active", "bo": "pending"}})
	s.AddTeam(fakegithub.Team{Org: "Acme", Slug: "secret", Members: map[string]string{"ada": "active"}, Secret: true})
	return s
}

func connectTeams(t *testing.T, url string) *github.Teams {
	t.Helper()
	c, err := github.NewTeams(github.Options{URL: url, Token: canary})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func login(name string) incident.Person { return incident.Person{ID: "x", GitHubLogin: name} }

func TestTeamMembership(t *testing.T) {
	t.Parallel()
	c := connectTeams(t, shopTeams(t).URL())
	for _, tt := range []struct {
		name, team, login string
		want              bool
		final             error
	}{
		{"active", "acme/shop-owners", "ada", true, nil},
		{"in capitals", "ACME/shop-owners", "Ada", true, nil},
		{"invited and not there yet", "acme/shop-owners", "bo", false, nil},
		{"not a member", "acme/shop-owners", "eve", false, nil},
		{"no login", "acme/shop-owners", "", false, nil},
		{"look-alike", "acme/shop-owners", "\uff41da", false, nil},
		{"login that is a path", "acme/shop-owners", "../../x", false, nil},
		{"no such team", "acme/payers", "ada", false, driver.ErrNotFound},
		{"no such team, and no login", "acme/payers", "", false, driver.ErrNotFound},
		{"a team that the token may not see", "acme/secret", "ada", false, driver.ErrNotFound},
		{"no such organisation", "ecma/shop-owners", "ada", false, driver.ErrNotFound},
		{"not a team", "shop-owners", "ada", false, driver.ErrInvalid},
		{"a path", "acme/../user", "ada", false, driver.ErrInvalid},
		{"nothing", "", "ada", false, driver.ErrInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := c.Member(t.Context(), tt.team, login(tt.login))
			require.Equal(t, tt.want, got)
			if tt.final == nil {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, tt.final)
			}
		})
	}
	_, err := github.NewTeams(github.Options{})
	require.Error(t, err)
}

// What can not be asked is an error, for whoever is in the team and whoever is not.
func TestTeamThatCanNotBeAskedFor(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		fault rest.Fault
		final bool
	}{
		{"limited", rest.Fault{Status: http.StatusTooManyRequests, RetryAfter: time.Minute}, false},
		{"secondary limit", rest.Fault{Status: http.StatusForbidden, RetryAfter: time.Minute}, false},
		{"broken", rest.Fault{Status: http.StatusInternalServerError}, false},
		{"away", rest.Fault{Status: http.StatusBadGateway}, false},
		{"dropped", rest.Fault{Drop: true}, false},
		{"unauthorized", rest.Fault{Status: http.StatusUnauthorized}, true},
		{"forbidden", rest.Fault{Status: http.StatusForbidden}, true},
	} {
		for _, who := range []string{"ada", "eve"} {
			t.Run(tt.name+" "+who, func(t *testing.T) {
				t.Parallel()
				s := shopTeams(t)
				s.Inject(tt.fault)
				in, err := connectTeams(t, s.URL()).Member(t.Context(), "acme/shop-owners", login(who))
				require.Error(t, err)
				require.False(t, in)
				require.Equal(t, tt.final, driver.Final(err), err)
				require.NotContains(t, fmt.Sprintf("%+v %#v", err, err), canary)
			})
		}
	}
	s := shopTeams(t)
	s.Inject(rest.Fault{Status: http.StatusInternalServerError, Path: "/orgs/{org}/teams/{team_slug}"})
	in, err := connectTeams(t, s.URL()).Member(t.Context(), "acme/shop-owners", login("eve"))
	require.Error(t, err, "a 404 alone does not say that somebody is no member")
	require.False(t, in)
	s = shopTeams(t)
	s.Inject(rest.Fault{Delay: time.Hour})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	in, err = connectTeams(t, s.URL()).Member(ctx, "acme/shop-owners", login("ada"))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.False(t, in)
}

func TestMembershipsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"nothing": ``, "an object of nothing": `{}`, "null": `null`, "not JSON": `<html>`, "broken off": `{"state":"active"`,
		"a state of its own": `{"state":"ACTIVE"}`, "no text": `{"state":true}`, "a list": `[{"state":"active"}]`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }))
			t.Cleanup(s.Close)
			in, err := connectTeams(t, s.URL).Member(t.Context(), "acme/shop-owners", login("ada"))
			require.Error(t, err)
			require.False(t, in)
		})
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/memberships/") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write([]byte(`{"slug":"another-team"}`))
	}))
	t.Cleanup(s.Close)
	_, err := connectTeams(t, s.URL).Member(t.Context(), "acme/shop-owners", login("ada"))
	require.ErrorContains(t, err, "answered for another team")
}
