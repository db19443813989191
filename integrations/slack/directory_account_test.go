package slack_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	slackgo "github.com/slack-go/slack"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/slack"
	fakeslack "github.com/backout/backout/test/fakes/slack"
	"github.com/backout/backout/workflows/incident"
)

const team = "T0BACKOUT"

// workspace is one with people of the test's own.
func workspace(t *testing.T, opts fakeslack.Options) *fakeslack.Server {
	t.Helper()
	opts.Channels = []fakeslack.Channel{{ID: channelID, Name: "incidents"}}
	return start(t, opts)
}

func actor(user string) incident.Actor {
	return incident.Actor{Via: incident.ViaSlack, SlackTeam: team, SlackUser: user}
}

func directory(t *testing.T, client *slackgo.Client, people []slack.Mapping, domains ...string) *slack.Directory {
	t.Helper()
	d, err := slack.NewDirectory(slack.DirectoryOptions{API: client, Team: team, People: people, EmailDomains: domains})
	require.NoError(t, err)
	return d
}

// Every account that is not exactly one active person is a no with a reason of its
// own, mapped or not.
func TestEveryNoHasItsReason(t *testing.T) {
	t.Parallel()
	mail := func(u fakeslack.User) fakeslack.User {
		u.Name, u.Email = strings.ToLower(u.ID), strings.ToLower(u.ID)+"@example.com"
		return u
	}
	for _, tt := range []struct {
		name string
		user fakeslack.User
		// want is the reason when the account is mapped, unmapped when it is not.
		want, unmapped string
	}{
		{"active", fakeslack.User{}, "", ""},
		{"deactivated", fakeslack.User{Deleted: true}, "the account is deactivated", ""},
		{"deactivated guest", fakeslack.User{Deleted: true, IsRestricted: true}, "the account is deactivated", ""},
		{"guest", fakeslack.User{IsRestricted: true}, "the account is a guest", ""},
		{"guest of one channel", fakeslack.User{IsRestricted: true, IsUltraRestricted: true}, "the account is a guest of one channel", ""},
		{"bot", fakeslack.User{IsBot: true}, "the account is a bot", ""},
		{"app", fakeslack.User{IsAppUser: true}, "the account is an app's", ""},
		{"workflow", fakeslack.User{IsBot: true, IsWorkflowBot: true}, "the account is a workflow's", ""},
		{"connector", fakeslack.User{IsConnectorBot: true}, "the account is a workflow's", ""},
		{"invited", fakeslack.User{IsInvitedUser: true}, "the account has not joined yet", ""},
		{"stranger", fakeslack.User{IsStranger: true, TeamID: "T0OTHER"}, "the account is of somebody outside, in a shared channel", ""},
		{"another workspace", fakeslack.User{TeamID: "T0OTHER"}, "the account belongs to another workspace", ""},
		{"workspace in another case", fakeslack.User{TeamID: "t0backout"}, "the account belongs to another workspace", ""},
		{"elsewhere in the enterprise", fakeslack.User{EnterpriseTeams: []string{"T0OTHER"}}, "the account is of the enterprise, but of another workspace in it", ""},
		{"nowhere in the enterprise", fakeslack.User{EnterpriseTeams: []string{}}, "the account is of the enterprise, but of another workspace in it", ""},
		{"here in the enterprise", fakeslack.User{EnterpriseTeams: []string{"T0OTHER", team}}, "", ""},
		{"e-mail address that is not confirmed", fakeslack.User{EmailUnconfirmed: true}, "", "the e-mail address of the account is not confirmed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.user.ID = "U0X"
			s := workspace(t, fakeslack.Options{Users: []fakeslack.User{mail(tt.user)}})
			who := actor("U0X")
			mapped := directory(t, api(s), []slack.Mapping{{ID: "x", Name: "X", SlackUser: "U0X"}})
			byEmail := directory(t, api(s), nil, "example.com")
			for _, d := range []*slack.Directory{mapped, byEmail} {
				want, id := tt.want, "x"
				if d == byEmail {
					id = "u0x@example.com"
					if want == "" {
						want = tt.unmapped
					}
				}
				p, err := d.Identify(t.Context(), who)
				if want == "" {
					require.NoError(t, err)
					require.Equal(t, id, p.ID)
					require.NoError(t, d.Colleague(t.Context(), who))
					continue
				}
				require.Zero(t, p)
				requireNo(t, err, want)
				if tt.want != "" {
					requireNo(t, d.Colleague(t.Context(), who), want)
				}
			}
		})
	}
}

// requireNo requires the refusal for a reason.
func requireNo(t *testing.T, err error, why string) {
	t.Helper()
	var no *incident.NoIdentityError
	require.ErrorAs(t, err, &no)
	require.Equal(t, why, no.Why)
	require.ErrorIs(t, err, incident.ErrNoIdentity)
}

func TestActorsThatNeedNoAnswerOfSlack(t *testing.T) {
	t.Parallel()
	s := workspace(t, fakeslack.Options{})
	d := directory(t, api(s), []slack.Mapping{{ID: "ada", SlackUser: "U0ADA", Logins: []string{"ada"}}}, "example.com")
	alone := directory(t, nil, nil)
	for _, tt := range []struct {
		name string
		d    *slack.Directory
		who  incident.Actor
		want string
	}{
		{"nobody", d, incident.Actor{}, "it names nobody"},
		{"no user", d, incident.Actor{Via: incident.ViaSlack, SlackTeam: team}, "it names nobody"},
		{"unknown way", d, incident.Actor{Via: "telepathy", Login: "ada"}, "it names nobody"},
		{"Slackbot", d, actor("USLACKBOT"), "the account is Slack's own"},
		{"another workspace", d, incident.Actor{Via: incident.ViaSlack, SlackTeam: "T0OTHER", SlackUser: "U0ADA"}, "the account is of another workspace"},
		{"no Slack", alone, actor("U0ADA"), "no Slack workspace is configured"},
		{"login in another case", d, incident.Actor{Via: incident.ViaCLI, Login: "Ada"}, "the login is mapped to nobody"},
		{"look-alike of a login", d, incident.Actor{Via: incident.ViaConsole, Login: "\uff41da"}, "the login is mapped to nobody"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := tt.d.Identify(t.Context(), tt.who)
			requireNo(t, err, tt.want)
			requireNo(t, tt.d.Colleague(t.Context(), tt.who), tt.want)
		})
	}
	require.NoError(t, d.Colleague(t.Context(), incident.Actor{Via: incident.ViaCLI, Login: "ada"}))
}

func TestEmailMatch(t *testing.T) {
	t.Parallel()
	people := []slack.Mapping{
		{ID: "ada@example.com", Email: "ada@example.com", SlackUser: "U0ADA"},
		{ID: "kim", Name: "Kim", Email: "Kim@Example.com", PagerDutyID: "PKIM"},
		{ID: "lee@example.com", Name: "Lee"},
	}
	for _, tt := range []struct {
		name    string
		email   string
		domains []string
		// want is the person; why is the reason when it is nobody.
		want, why string
	}{
		{"opt-in", "bob@example.com", nil, "", "the account is mapped to nobody"},
		{"a person of their own", "Bob@Example.COM", []string{"example.com"}, "bob@example.com", ""},
		{"domain in capitals", "bob@example.com", []string{"EXAMPLE.com"}, "bob@example.com", ""},
		{"second domain", "bob@b.example", []string{"a.example", "b.example"}, "bob@b.example", ""},
		{"known by address", "KIM@example.com", []string{"example.com"}, "kim", ""},
		{"known by identity", "Lee@example.com", []string{"example.com"}, "lee@example.com", ""},
		{"person with an account", "ada@example.com", []string{"example.com"}, "", "the person of that e-mail address has another account"},
		{"domain below", "bob@sub.example.com", []string{"example.com"}, "", "the e-mail address of the account is in no domain that counts"},
		{"domain above", "bob@com", []string{"example.com"}, "", "the e-mail address of the account is in no domain that counts"},
		{"domain as a suffix", "bob@badexample.com", []string{"example.com"}, "", "the e-mail address of the account is in no domain that counts"},
		{"domain as a prefix", "bob@example.com.evil.example", []string{"example.com"}, "", "the e-mail address of the account is in no domain that counts"},
		{"domain in the name", "example.com@evil.example", []string{"example.com"}, "", "the e-mail address of the account is in no domain that counts"},
		{"two domains", "bob@evil.example@example.com", []string{"example.com"}, "", "the e-mail address of the account is not in plain ASCII"},
		{"dot at the end", "bob@example.com.", []string{"example.com"}, "", "the e-mail address of the account is in no domain that counts"},
		{"no address", "", []string{"example.com"}, "", "the account is mapped to nobody"},
		{"Kelvin sign", "\u212aim@example.com", []string{"example.com"}, "", "the e-mail address of the account is not in plain ASCII"},
		{"dotted I", "k\u0130m@example.com", []string{"example.com"}, "", "the e-mail address of the account is not in plain ASCII"},
		{"full width", "\uff4bim@example.com", []string{"example.com"}, "", "the e-mail address of the account is not in plain ASCII"},
		{"Kelvin sign in the domain", "bob@\u212aayak.example", []string{"kayak.example"}, "", "the e-mail address of the account is not in plain ASCII"},
		{"space", " kim@example.com", []string{"example.com"}, "", "the e-mail address of the account is not in plain ASCII"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := workspace(t, fakeslack.Options{Users: []fakeslack.User{{ID: "U0X", Name: "x", Email: tt.email}}})
			p, err := directory(t, api(s), people, tt.domains...).Identify(t.Context(), actor("U0X"))
			if tt.why != "" {
				requireNo(t, err, tt.why)
				require.Zero(t, p)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.want, p.ID)
			require.Equal(t, "U0X", p.SlackUser)
		})
	}
	for _, domain := range []string{"", "@example.com", "exa mple.com", "\u212aayak.example", "x@example.com"} {
		_, err := slack.NewDirectory(slack.DirectoryOptions{EmailDomains: []string{domain}})
		require.Error(t, err, domain)
	}
}

// Two accounts with one address are never two times the same person.
func TestOneAddressOfTwoAccounts(t *testing.T) {
	t.Parallel()
	s := workspace(t, fakeslack.Options{Users: []fakeslack.User{
		{ID: "U0BOB", Name: "bob", Email: "bob@example.com"}, {ID: "U0EVE", Name: "eve", Email: "BOB@example.com"},
	}})
	d := directory(t, api(s), nil, "example.com")
	_, err := d.Identify(t.Context(), actor("U0EVE"))
	requireNo(t, err, "the e-mail address of the account is another account's too")
	s.Fault("users.lookupByEmail", fakeslack.Fault{SlackError: "users_not_found"})
	_, err = d.Identify(t.Context(), actor("U0BOB"))
	requireNo(t, err, "the e-mail address of the account is another account's too")
}

// Any two accounts are two people, unless the mapping makes them one: whatever
// addresses, flags and domains there are.
func TestIdentityIsOfOneAccount(t *testing.T) {
	t.Parallel()
	names := []string{"ada", "ADA", "\u212aim", "kim", "KIM", "\u0130van", "ivan", "\uff41da", "ada ", "ada+x", ""}
	domains := []string{"example.com", "EXAMPLE.com", "example.org", "\u212aayak.example", "kayak.example", "sub.example.com"}
	for seed := range uint64(40) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 4))
			pick := func(from []string) string { return from[r.IntN(len(from))] }
			var users []fakeslack.User
			for i := range 12 {
				u := fakeslack.User{ID: fmt.Sprintf("U%02d", i), Name: fmt.Sprintf("u%d", i), Email: pick(names) + "@" + pick(domains)}
				u.Deleted, u.IsBot, u.EmailUnconfirmed = r.IntN(8) == 0, r.IntN(8) == 0, r.IntN(8) == 0
				u.IsRestricted = r.IntN(8) == 0
				if r.IntN(8) == 0 {
					u.TeamID = "T0OTHER"
				}
				users = append(users, u)
			}
			s := workspace(t, fakeslack.Options{Users: users})
			people := []slack.Mapping{
				{ID: "ada@example.com", SlackUser: "U00"}, {ID: "kim", Email: "kim@example.com"}, {ID: "ivan@example.com"}, {ID: "u3", SlackUser: "U03"},
			}
			d := directory(t, api(s), people, "example.com", "example.org", "kayak.example")
			holder := map[string]string{}
			for _, u := range users {
				p, err := d.Identify(t.Context(), actor(u.ID))
				if err != nil {
					require.Zero(t, p)
					continue
				}
				require.False(t, u.Deleted || u.IsBot || u.IsRestricted || u.TeamID != "", "%+v", u)
				id := strings.ToLower(p.ID)
				require.Empty(t, holder[id], "%s and %s are both %q", holder[id], u.ID, p.ID)
				holder[id] = u.ID
			}
			require.NotEmpty(t, holder)
		})
	}
}

// faults are the ways in which Slack does not answer.
var faults = []struct {
	name  string
	fault fakeslack.Fault
	final error
}{
	{"limited", fakeslack.Fault{Status: http.StatusTooManyRequests, RetryAfter: 30 * time.Second}, nil},
	{"broken", fakeslack.Fault{Status: http.StatusInternalServerError}, nil},
	{"away", fakeslack.Fault{Status: http.StatusServiceUnavailable}, nil},
	{"internal error", fakeslack.Fault{SlackError: "internal_error"}, nil},
	{"dropped", fakeslack.Fault{DropResponse: true}, nil},
	{"scope", fakeslack.Fault{SlackError: "missing_scope"}, driver.ErrDenied},
	{"revoked", fakeslack.Fault{SlackError: "token_revoked"}, driver.ErrDenied},
}

// What can not be asked is an error, and neither a yes nor a no.
func TestSlackThatDoesNotAnswerIsNoAnswer(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"users.info", "users.lookupByEmail", "usergroups.users.list"} {
		for _, tt := range faults {
			t.Run(method+" "+tt.name, func(t *testing.T) {
				t.Parallel()
				s := workspace(t, fakeslack.Options{
					Users:      []fakeslack.User{{ID: "U0BOB", Name: "bob", Email: "bob@example.com"}},
					UserGroups: []fakeslack.UserGroup{{ID: "S0SHOP", Handle: "shop", Users: []string{"U0BOB"}}},
				})
				d := directory(t, api(s), nil, "example.com")
				s.Fault(method, tt.fault)
				var err error
				if method == "usergroups.users.list" {
					var in bool
					in, err = d.Member(t.Context(), "S0SHOP", incident.Person{SlackUser: "U0BOB"})
					require.False(t, in)
				} else {
					var p incident.Person
					p, err = d.Identify(t.Context(), actor("U0BOB"))
					require.Zero(t, p)
				}
				require.Error(t, err)
				require.NotErrorIs(t, err, incident.ErrNoIdentity)
				require.Equal(t, tt.final != nil, driver.Final(err), err)
				if tt.final != nil {
					require.ErrorIs(t, err, tt.final)
				}
				require.NotContains(t, err.Error(), "bob@")
			})
		}
	}
}

func TestSlackThatTakesTooLongIsNoAnswer(t *testing.T) {
	t.Parallel()
	s := workspace(t, fakeslack.Options{UserGroups: []fakeslack.UserGroup{{ID: "S0SHOP", Users: []string{"U0ADA"}}}})
	d := directory(t, api(s), []slack.Mapping{{ID: "ada", SlackUser: "U0ADA"}})
	s.Fault(fakeslack.AnyMethod, fakeslack.Fault{Delay: time.Hour, Times: -1})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := d.Identify(ctx, actor("U0ADA"))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	in, err := d.Member(ctx, "S0SHOP", incident.Person{SlackUser: "U0ADA"})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.False(t, in)
	require.ErrorIs(t, d.Colleague(ctx, actor("U0ADA")), context.DeadlineExceeded)
}

func TestSlackAnswersThatMakeNoSense(t *testing.T) {
	t.Parallel()
	const whole = `{"ok":true,"user":{"id":"U0BOB","team_id":"T0BACKOUT","is_email_confirmed":true,"profile":{"email":"bob@example.com"}}}`
	for name, body := range map[string]string{
		"nothing":                ``,
		"not JSON":               `<html>`,
		"broken off":             whole[:len(whole)-4],
		"no user":                `{"ok":true}`,
		"null":                   `{"ok":true,"user":null}`,
		"another account":        strings.Replace(whole, "U0BOB", "U0ADA", 1),
		"account in lower case":  strings.Replace(whole, "U0BOB", "u0bob", 1),
		"no workspace":           strings.Replace(whole, `"team_id":"T0BACKOUT",`, "", 1),
		"flags that are no flag": strings.Replace(whole, `"is_email_confirmed":true`, `"is_restricted":"no"`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) })
			d := directory(t, slackgo.New("xoxb-test", slackgo.OptionAPIURL(url+"/")), []slack.Mapping{{ID: "bob", SlackUser: "U0BOB"}})
			p, err := d.Identify(t.Context(), actor("U0BOB"))
			require.Error(t, err)
			require.Zero(t, p)
			require.NotErrorIs(t, err, incident.ErrNoIdentity)
			require.False(t, driver.Final(err))
		})
	}
	t.Run("address of another account", func(t *testing.T) {
		t.Parallel()
		url := serve(t, func(w http.ResponseWriter, r *http.Request) {
			body := whole
			if strings.HasSuffix(r.URL.Path, "lookupByEmail") {
				body = strings.Replace(whole, "bob@example.com", "eve@example.com", 1)
			}
			_, _ = w.Write([]byte(body))
		})
		_, err := directory(t, slackgo.New("xoxb-test", slackgo.OptionAPIURL(url+"/")), nil, "example.com").Identify(t.Context(), actor("U0BOB"))
		require.ErrorContains(t, err, "does not fit the question")
		require.NotErrorIs(t, err, incident.ErrNoIdentity)
	})
	t.Run("no word about the confirmation", func(t *testing.T) {
		t.Parallel()
		url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(strings.Replace(whole, `"is_email_confirmed":true,`, "", 1)))
		})
		_, err := directory(t, slackgo.New("xoxb-test", slackgo.OptionAPIURL(url+"/")), nil, "example.com").Identify(t.Context(), actor("U0BOB"))
		requireNo(t, err, "the e-mail address of the account is not confirmed")
	})
}

func TestGroupMembers(t *testing.T) {
	t.Parallel()
	s := workspace(t, fakeslack.Options{UserGroups: []fakeslack.UserGroup{
		{ID: "S0SHOP", Handle: "shop", Users: []string{"U0ADA", "U0BOB"}}, {ID: "S0OFF", Handle: "off", Users: []string{"U0ADA"}, Disabled: true},
	}})
	d := directory(t, api(s), nil)
	for _, tt := range []struct {
		name, group, user string
		want, fails       bool
	}{
		{"member", "S0SHOP", "U0ADA", true, false},
		{"not a member", "S0SHOP", "U0EVE", false, false},
		{"in another case", "S0SHOP", "u0ada", false, false},
		{"no account", "S0SHOP", "", false, false},
		{"no such group", "S0NONE", "U0ADA", false, true},
		{"a group that is turned off", "S0OFF", "U0ADA", false, true},
		{"no group", "", "U0ADA", false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			in, err := d.Member(t.Context(), tt.group, incident.Person{ID: "x", SlackUser: tt.user})
			require.Equal(t, tt.want, in)
			require.Equal(t, tt.fails, err != nil, err)
		})
	}
	_, err := directory(t, nil, nil).Member(t.Context(), "S0SHOP", incident.Person{SlackUser: "U0ADA"})
	require.ErrorContains(t, err, "no Slack workspace is configured")
	weak := workspace(t, fakeslack.Options{Scopes: []string{"users:read"}, UserGroups: []fakeslack.UserGroup{{ID: "S0SHOP", Users: []string{"U0ADA"}}}})
	_, err = directory(t, api(weak), nil).Member(t.Context(), "S0SHOP", incident.Person{SlackUser: "U0ADA"})
	require.ErrorIs(t, err, driver.ErrDenied, "an app without the scope can not tell")
}

// Somebody who is named by their login has to be active in Slack too, if they are
// there.
func TestActive(t *testing.T) {
	t.Parallel()
	s := workspace(t, fakeslack.Options{Users: []fakeslack.User{{ID: "U0ADA", Name: "ada"}, {ID: "U0OLD", Name: "old", Deleted: true}, {ID: "U0GST", Name: "gst", IsRestricted: true}}})
	d := directory(t, api(s), nil)
	for user, why := range map[string]string{
		"U0ADA": "", "": "", "U0OLD": "the account is deactivated", "U0GST": "the account is a guest", "U0WHO": "Slack does not know the account",
	} {
		err := d.Active(t.Context(), incident.Person{ID: "x", SlackUser: user})
		if why == "" {
			require.NoError(t, err, user)
			continue
		}
		requireNo(t, err, why)
	}
	require.NoError(t, directory(t, nil, nil).Active(t.Context(), incident.Person{ID: "x", SlackUser: "U0OLD"}), "without Slack nobody is in it")
	s.Fault("users.info", fakeslack.Fault{Status: http.StatusInternalServerError})
	err := d.Active(t.Context(), incident.Person{ID: "x", SlackUser: "U0ADA"})
	require.Error(t, err)
	require.NotErrorIs(t, err, incident.ErrNoIdentity)
}
