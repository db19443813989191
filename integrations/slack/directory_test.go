package slack_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/slack"
	fakeslack "github.com/backout/backout/test/fakes/slack"
	"github.com/backout/backout/workflows/incident"
)

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func proxy(s *fakeslack.Server) http.Handler {
	u, err := url.Parse(s.URL())
	if err != nil {
		panic(err)
	}
	return httputil.NewSingleHostReverseProxy(u)
}

func TestIdentify(t *testing.T) {
	t.Parallel()
	s := start(t, fakeslack.Options{Users: []fakeslack.User{
		{ID: "U0ADA", Name: "ada", RealName: "Ada Lovelace", Email: "ada@example.com"},
		{ID: "U0BOB", Name: "bob", RealName: "Bob Noyce", Email: "Bob@Example.com"},
		{ID: "U0EVE", Name: "eve", Email: "ada@example.com"},
		{ID: "U0OUT", Name: "out", Email: "out@elsewhere.example"},
		{ID: "U0NON", Name: "non"},
		{ID: "U0OLD", Name: "old", Email: "old@example.com", Deleted: true},
		{ID: "U0BOT", Name: "bot", Email: "bot@example.com", IsBot: true},
		{ID: "U0GST", Name: "gst", Email: "gst@example.com", IsRestricted: true},
		{ID: "U0ULT", Name: "ult", Email: "ult@example.com", IsUltraRestricted: true},
		{ID: "U0STR", Name: "str", Email: "str@example.com", IsStranger: true},
		{ID: "U0FOR", Name: "for", Email: "for@example.com", TeamID: "T0OTHER"},
	}, Channels: []fakeslack.Channel{{ID: channelID, Name: "incidents"}}})
	people, err := slack.ParsePeople([]byte(`
people:
  - id: ada@example.com
    name: Ada Lovelace
    email: ada@example.com
    slack_user: U0ADA
    pagerduty_id: PADA
    logins: [ada, ada-laptop]
  - id: old@example.com
    slack_user: U0OLD
`))
	require.NoError(t, err)
	mapped, err := slack.NewDirectory(slack.DirectoryOptions{API: api(s), Team: "T0BACKOUT", People: people})
	require.NoError(t, err)
	byEmail, err := slack.NewDirectory(slack.DirectoryOptions{API: api(s), Team: "T0BACKOUT", People: people, EmailDomains: []string{"example.com"}})
	require.NoError(t, err)
	alone, err := slack.NewDirectory(slack.DirectoryOptions{People: people})
	require.NoError(t, err)

	of := func(id string) incident.Actor {
		return incident.Actor{Via: incident.ViaSlack, SlackTeam: "T0BACKOUT", SlackUser: id}
	}
	tests := []struct {
		name      string
		directory *slack.Directory
		actor     incident.Actor
		want      string
	}{
		{"mapped", mapped, of("U0ADA"), "ada@example.com"},
		{"login", mapped, incident.Actor{Via: incident.ViaCLI, Login: "ada-laptop"}, "ada@example.com"},
		{"console", alone, incident.Actor{Via: incident.ViaConsole, Login: "ada"}, "ada@example.com"},
		{"unknown login", mapped, incident.Actor{Via: incident.ViaCLI, Login: "root"}, ""},
		{"e-mail is opt-in", mapped, of("U0BOB"), ""},
		{"e-mail", byEmail, of("U0BOB"), "bob@example.com"},
		{"somebody else's e-mail", byEmail, of("U0EVE"), ""},
		{"other domain", byEmail, of("U0OUT"), ""},
		{"no e-mail", byEmail, of("U0NON"), ""},
		{"deactivated", mapped, of("U0OLD"), ""},
		{"bot", byEmail, of("U0BOT"), ""},
		{"guest", byEmail, of("U0GST"), ""},
		{"single-channel guest", byEmail, of("U0ULT"), ""},
		{"stranger", byEmail, of("U0STR"), ""},
		{"account of another workspace", byEmail, of("U0FOR"), ""},
		{"claims another workspace", byEmail, incident.Actor{Via: incident.ViaSlack, SlackTeam: "T0OTHER", SlackUser: "U0ADA"}, ""},
		{"unknown account", byEmail, of("U0WHO"), ""},
		{"no Slack", alone, of("U0ADA"), ""},
		{"nobody at all", mapped, incident.Actor{}, ""},
		{"the app itself", byEmail, of(fakeslack.DefaultBotUserID), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, err := tt.directory.Identify(t.Context(), tt.actor)
			if tt.want == "" {
				require.ErrorIs(t, err, incident.ErrNoIdentity)
				require.Zero(t, p)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.want, p.ID)
		})
	}
}

func TestDeactivationCountsAtOnce(t *testing.T) {
	t.Parallel()
	s := start(t, fakeslack.Options{})
	d, err := slack.NewDirectory(slack.DirectoryOptions{API: api(s), Team: "T0BACKOUT", People: []slack.Mapping{{ID: "ada", SlackUser: "U0ADA"}}})
	require.NoError(t, err)
	ada := incident.Actor{Via: incident.ViaSlack, SlackTeam: "T0BACKOUT", SlackUser: "U0ADA"}
	_, err = d.Identify(t.Context(), ada)
	require.NoError(t, err)
	s.SetUser(fakeslack.User{ID: "U0ADA", Name: "ada", Deleted: true})
	_, err = d.Identify(t.Context(), ada)
	require.ErrorIs(t, err, incident.ErrNoIdentity)
	s.Fault("users.info", fakeslack.Fault{SlackError: "internal_error"})
	_, err = d.Identify(t.Context(), ada)
	require.Error(t, err)
	require.NotErrorIs(t, err, incident.ErrNoIdentity)
}

func TestMappingsAreStrict(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"unknown member":         "people:\n  - id: a\n    admin: true\n",
		"no id":                  "people:\n  - name: a\n",
		"same person twice":      "people:\n  - id: a\n  - id: A\n",
		"shared Slack user":      "people:\n  - {id: a, slack_user: U1}\n  - {id: b, slack_user: U1}\n",
		"shared login":           "people:\n  - {id: a, logins: [x]}\n  - {id: b, logins: [x]}\n",
		"shared address":         "people:\n  - {id: a, email: x@y.z}\n  - {id: b, email: X@y.z}\n",
		"address of an identity": "people:\n  - {id: x@y.z}\n  - {id: b, email: x@y.z}\n",
		"not YAML":               "people: [",
	} {
		_, err := slack.ParsePeople([]byte(text))
		require.Error(t, err, name)
	}
	_, err := slack.NewDirectory(slack.DirectoryOptions{People: []slack.Mapping{{ID: "a", SlackUser: "U1"}, {ID: "b", SlackUser: "U1"}}})
	require.Error(t, err)
	_, err = slack.NewChannel(slack.Options{})
	require.Error(t, err)
}
