package pagerduty_test

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
	"github.com/backout/backout/integrations/pagerduty"
	fakepagerduty "github.com/backout/backout/test/fakes/pagerduty"
	"github.com/backout/backout/test/fakes/pagerduty/rest"
	"github.com/backout/backout/workflows/incident"
)

func TestOnCall(t *testing.T) {
	t.Parallel()
	s := world(t)
	c := connect(t, s)
	people, err := c.OnCall(t.Context(), "PSHOP")
	require.NoError(t, err)
	require.Equal(t, []incident.Person{
		{ID: "ada@example.com", Name: "Ada Lovelace", Email: "ada@example.com", PagerDutyID: "PADA"},
	}, people, "each once, who is paged first, and nobody whose shift comes later")
	duties, err := c.Duties(t.Context(), "PSHOP")
	require.NoError(t, err)
	require.Len(t, duties, 2)
	require.Equal(t, []int{1, 2}, []int{duties[0].Level, duties[1].Level})
	require.Equal(t, "PBOB", duties[1].Person.PagerDutyID)
	people, err = c.OnCall(t.Context(), "PBARE")
	require.NoError(t, err)
	require.Empty(t, people)
	_, err = c.OnCall(t.Context(), "PNONE")
	require.ErrorIs(t, err, driver.ErrNotFound)
	s.RemoveUser("PADA")
	people, err = c.OnCall(t.Context(), "PSHOP")
	require.NoError(t, err)
	require.Empty(t, people, "somebody who left is not on call, and nobody is in their place")
}

// ids are the PagerDuty identifiers of people.
func ids(people []incident.Person) []string {
	out := []string{}
	for _, p := range people {
		out = append(out, p.PagerDutyID)
	}
	return out
}

func TestOnCallIsWhoIsPagedAtThisMoment(t *testing.T) {
	t.Parallel()
	type (
		shift  = fakepagerduty.Shift
		level  = fakepagerduty.Level
		levels = []fakepagerduty.Level
	)
	now := time.Now()
	turn := func(user string, from, until time.Duration) shift {
		return shift{UserID: user, Start: now.Add(from), End: now.Add(until)}
	}
	rota := func(shifts ...shift) fakepagerduty.Schedule {
		return fakepagerduty.Schedule{ID: "PONE", Name: "One", Shifts: shifts}
	}
	two := fakepagerduty.Schedule{ID: "PTWO", Name: "Two", Shifts: []shift{turn("PBOB", -time.Hour, time.Hour)}}
	overridden := rota(turn("PADA", -time.Hour, time.Hour))
	overridden.Overrides = []shift{turn("PEVE", -time.Minute, time.Hour)}
	over := rota(turn("PADA", -time.Hour, time.Hour))
	over.Overrides = []shift{turn("PEVE", -2*time.Hour, -time.Hour), turn("PBOB", 10*time.Minute, time.Hour)}
	for _, tt := range []struct {
		name   string
		rota   fakepagerduty.Schedule
		levels levels
		first  int
		want   []string
	}{
		{name: "shift", rota: rota(turn("PADA", -time.Hour, time.Hour)), levels: levels{{Schedules: []string{"PONE"}}}, want: []string{"PADA"}},
		{name: "for good", rota: rota(shift{UserID: "PADA"}), levels: levels{{Schedules: []string{"PONE"}}}, want: []string{"PADA"}},
		{name: "gap", rota: rota(turn("PADA", -3*time.Hour, -2*time.Hour), turn("PBOB", 2*time.Hour, 3*time.Hour)), levels: levels{{Schedules: []string{"PONE"}}}, want: []string{}},
		{name: "gap, and the next level is not the first", rota: rota(), levels: levels{{Schedules: []string{"PONE"}}, {Users: []string{"PBOB"}}}, want: []string{}},
		{name: "gap, and two levels count", rota: rota(), levels: levels{{Schedules: []string{"PONE"}}, {Users: []string{"PBOB"}}, {Users: []string{"PEVE"}}}, first: 2, want: []string{"PBOB"}},
		{name: "override", rota: overridden, levels: levels{{Schedules: []string{"PONE"}}}, want: []string{"PEVE"}},
		{name: "overrides of another time", rota: over, levels: levels{{Schedules: []string{"PONE"}}}, want: []string{"PADA"}},
		{name: "two layers", rota: rota(turn("PADA", -time.Hour, time.Hour)), levels: levels{{Schedules: []string{"PONE", "PTWO"}}}, want: []string{"PADA", "PBOB"}},
		{name: "the same person in two layers", rota: rota(turn("PBOB", -time.Hour, time.Hour)), levels: levels{{Schedules: []string{"PONE", "PTWO"}, Users: []string{"PBOB"}}}, want: []string{"PBOB"}},
		{name: "the same person at two levels", rota: rota(turn("PADA", -time.Hour, time.Hour)), levels: levels{{Users: []string{"PBOB"}}, {Users: []string{"PBOB"}, Schedules: []string{"PONE"}}}, first: 2, want: []string{"PBOB", "PADA"}},
		{name: "more levels than there are", rota: rota(turn("PADA", -time.Hour, time.Hour)), levels: levels{{Schedules: []string{"PONE"}}, {Users: []string{"PBOB"}}}, first: 20, want: []string{"PADA", "PBOB"}},
		{name: "deleted and still named", rota: rota(turn("PGONE", -time.Hour, time.Hour)), levels: levels{level{Schedules: []string{"PONE"}, Users: []string{"PADA"}}}, want: []string{"PADA"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := world(t)
			s.AddUser(fakepagerduty.User{ID: "PGONE", Name: "Gone", Email: "gone@example.com"})
			s.OrphanUser("PGONE")
			s.AddSchedule(tt.rota)
			s.AddSchedule(two)
			s.AddPolicy(fakepagerduty.EscalationPolicy{ID: "PPOL", Name: "Shop", Levels: tt.levels})
			people, err := connect(t, s, func(o *pagerduty.Options) { o.OnCallLevels = tt.first }).OnCall(t.Context(), "PSHOP")
			require.NoError(t, err)
			require.Equal(t, tt.want, ids(people))
		})
	}
}

// fixed answers the list of on-calls or of members with what it is told, once the
// service was read.
func fixed(t *testing.T, body string) *pagerduty.Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/services/") {
			_, _ = w.Write([]byte(`{"service":{"id":"PSHOP","escalation_policy":{"id":"PPOL"},"teams":[{"id":"PTEAM"}]}}`))
			return
		}
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(server.Close)
	c, err := pagerduty.New(pagerduty.Options{URL: server.URL, Token: canary})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func TestOnCallAnswersThatMakeNoSense(t *testing.T) {
	t.Parallel()
	entry := func(change string) string {
		e := `{"escalation_policy":{"id":"PPOL"},"escalation_level":1,"user":{"id":"PADA","type":"user","email":"ada@example.com"},"start":null,"end":null}`
		from, to, _ := strings.Cut(change, " => ")
		require.Contains(t, e, from)
		return `{"oncalls":[` + strings.Replace(e, from, to, 1) + `],"more":false}`
	}
	people, err := fixed(t, entry("null => null")).OnCall(t.Context(), "PSHOP")
	require.NoError(t, err)
	require.Equal(t, []string{"PADA"}, ids(people))
	for name, body := range map[string]string{
		"nothing":               ``,
		"an object of nothing":  `{}`,
		"null":                  `{"oncalls":null}`,
		"not JSON":              `<html>`,
		"broken off":            `{"oncalls":[{"escalation_policy":{"id":"PPOL"}`,
		"another shape":         `{"oncalls":{"user":"PADA"}}`,
		"another policy":        entry(`"PPOL" => "POTHER"`),
		"no level":              entry(`"escalation_level":1, => `),
		"a level of zero":       entry(`_level":1 => _level":0`),
		"a level below":         entry(`_level":1 => _level":-1`),
		"a level beyond all":    entry(`_level":1 => _level":21`),
		"no user":               entry(`"id":"PADA", => `),
		"a start that is none":  entry(`"start":null => "start":"today"`),
		"an end that is none":   entry(`"end":null => "end":"2026-13-01T00:00:00Z"`),
		"pages that never end":  strings.Replace(entry("null => null"), `"more":false`, `"more":true`, 1),
		"an end without offset": entry(`"end":null => "end":"2099-01-01T00:00:00"`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			people, err := fixed(t, body).OnCall(t.Context(), "PSHOP")
			require.Error(t, err)
			require.Nil(t, people)
			require.False(t, driver.Final(err), "it may be answered better later: %v", err)
		})
	}
	for name, body := range map[string]string{
		"a shift of tomorrow":     entry(`"start":null => "start":"` + time.Now().Add(time.Hour).Format(time.RFC3339) + `"`),
		"a shift of yesterday":    entry(`"end":null => "end":"` + time.Now().Add(-time.Hour).Format(time.RFC3339) + `"`),
		"a bare reference":        entry(`"type":"user" => "type":"user_reference"`),
		"a user of unknown type":  entry(`"type":"user", => `),
		"an empty list of people": `{"oncalls":[]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			people, err := fixed(t, body).OnCall(t.Context(), "PSHOP")
			require.NoError(t, err)
			require.Empty(t, people)
		})
	}
}

func TestAnotherServiceIsNoAnswer(t *testing.T) {
	t.Parallel()
	c := fixed(t, `{"oncalls":[]}`)
	_, err := c.OnCall(t.Context(), "POTHER")
	require.ErrorContains(t, err, "does not fit the question")
	_, err = c.ServiceMember(t.Context(), "POTHER", incident.Person{PagerDutyID: "PADA"})
	require.ErrorContains(t, err, "does not fit the question")
}

func TestTeamMembers(t *testing.T) {
	t.Parallel()
	s := world(t)
	s.AddTeam(fakepagerduty.Team{ID: "PSHOPPERS", Name: "Shoppers", Members: []fakepagerduty.Member{{UserID: "PADA", Role: "manager"}, {UserID: "PEVE", Role: "observer"}}})
	s.AddTeam(fakepagerduty.Team{ID: "PPAYERS", Name: "Payers", Members: []fakepagerduty.Member{{UserID: "PBOB"}}})
	crowd := fakepagerduty.Team{ID: "PCROWD", Name: "Crowd"}
	for i := range 250 {
		crowd.Members = append(crowd.Members, fakepagerduty.Member{UserID: fmt.Sprintf("PX%d", i)})
	}
	crowd.Members = append(crowd.Members, fakepagerduty.Member{UserID: "PBOB"})
	s.AddTeam(crowd)
	s.AddTeam(fakepagerduty.Team{ID: "PEMPTY", Name: "Empty"})
	s.AddService(fakepagerduty.Service{ID: "PSHOP", Name: "checkout", PolicyID: "PPOL", Teams: []string{"PSHOPPERS", "PPAYERS"}})
	s.AddService(fakepagerduty.Service{ID: "PHALF", Name: "half", PolicyID: "PPOL", Teams: []string{"PSHOPPERS", "PNOWHERE"}})
	s.AddUser(fakepagerduty.User{ID: "PTWIN1", Name: "Twin", Email: "twin@example.com"})
	s.AddUser(fakepagerduty.User{ID: "PTWIN2", Name: "Twin", Email: "twin@example.com"})
	s.AddTeam(fakepagerduty.Team{ID: "PTWINS", Name: "Twins", Members: []fakepagerduty.Member{{UserID: "PTWIN1"}}})
	c := connect(t, s)
	who := func(id, email string) incident.Person { return incident.Person{ID: "x", PagerDutyID: id, Email: email} }
	for _, tt := range []struct {
		name  string
		ask   func(ctx context.Context, id string, p incident.Person) (bool, error)
		id    string
		who   incident.Person
		want  bool
		final error
	}{
		{"manager", c.TeamMember, "PSHOPPERS", who("PADA", ""), true, nil},
		{"by e-mail address", c.TeamMember, "PSHOPPERS", who("", "ADA@example.com"), true, nil},
		{"observer", c.TeamMember, "PSHOPPERS", who("PEVE", ""), false, nil},
		{"of another team", c.TeamMember, "PSHOPPERS", who("PBOB", ""), false, nil},
		{"on the third page", c.TeamMember, "PCROWD", who("PBOB", ""), true, nil},
		{"nobody there", c.TeamMember, "PEMPTY", who("PADA", ""), false, nil},
		{"unknown address", c.TeamMember, "PSHOPPERS", who("", "nobody@example.com"), false, nil},
		{"no address", c.TeamMember, "PSHOPPERS", who("", ""), false, nil},
		{"address of two", c.TeamMember, "PTWINS", who("", "twin@example.com"), false, nil},
		{"the identifier is of somebody else than the address", c.TeamMember, "PSHOPPERS", who("PBOB", "ada@example.com"), false, nil},
		{"address that folds to another", c.TeamMember, "PPAYERS", who("", "bob@\u212aample.com"), false, nil},
		{"no such team", c.TeamMember, "PNOWHERE", who("PADA", ""), false, driver.ErrNotFound},
		{"no such team, and nobody", c.TeamMember, "PNOWHERE", who("", ""), false, driver.ErrNotFound},
		{"not an identifier", c.TeamMember, "../users", who("PADA", ""), false, driver.ErrInvalid},
		{"of a service's team", c.ServiceMember, "PSHOP", who("PADA", ""), true, nil},
		{"of a service's other team", c.ServiceMember, "PSHOP", who("PBOB", ""), true, nil},
		{"of none of a service's teams", c.ServiceMember, "PSHOP", who("PBOT", ""), false, nil},
		{"one of a service's teams is gone", c.ServiceMember, "PHALF", who("PADA", ""), false, driver.ErrNotFound},
		{"a service without a team", c.ServiceMember, "PBARE", who("PADA", ""), false, driver.ErrNotFound},
		{"no such service", c.ServiceMember, "PNONE", who("PADA", ""), false, driver.ErrNotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := tt.ask(t.Context(), tt.id, tt.who)
			require.Equal(t, tt.want, got)
			if tt.final == nil {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, tt.final)
			}
		})
	}
}

func TestMembersThatCanNotBeAskedFor(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"nothing": ``, "an object of nothing": `{}`, "not JSON": `<html>`, "a member without a user": `{"members":[{"role":"manager"}]}`,
		"pages that never end": `{"members":[{"user":{"id":"PADA"},"role":"manager"}],"more":true}`,
		"broken off":           `{"members":[{"user":{"id":"PADA"},"role":"manager"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, p := range []incident.Person{{PagerDutyID: "PADA"}, {PagerDutyID: "PBOB"}} {
				in, err := fixed(t, body).TeamMember(t.Context(), "PTEAM", p)
				require.Error(t, err)
				require.False(t, in)
			}
		})
	}
	for _, status := range []int{http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusUnauthorized, http.StatusForbidden} {
		s := world(t)
		s.AddTeam(fakepagerduty.Team{ID: "PTEAM", Name: "Team", Members: []fakepagerduty.Member{{UserID: "PADA"}}})
		s.Inject(rest.Fault{Status: status})
		in, err := connect(t, s).TeamMember(t.Context(), "PTEAM", incident.Person{PagerDutyID: "PADA"})
		require.Error(t, err)
		require.False(t, in)
	}
	s := world(t)
	s.AddTeam(fakepagerduty.Team{ID: "PTEAM", Name: "Team", Members: []fakepagerduty.Member{{UserID: "PADA"}}})
	s.Inject(rest.Fault{Delay: time.Hour})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	in, err := connect(t, s).TeamMember(ctx, "PTEAM", incident.Person{PagerDutyID: "PADA"})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.False(t, in)
}

// A look-alike of an address is of somebody else, or of nobody.
func TestLookAlikesAreOtherPeople(t *testing.T) {
	t.Parallel()
	s := world(t)
	s.AddUser(fakepagerduty.User{ID: "PKIM", Name: "Kim", Email: "\u212aim@example.com"})
	s.AddPolicy(fakepagerduty.EscalationPolicy{ID: "PPOL", Name: "Shop", Levels: []fakepagerduty.Level{{Users: []string{"PKIM"}}}})
	c := connect(t, s)
	people, err := c.OnCall(t.Context(), "PSHOP")
	require.NoError(t, err)
	require.Equal(t, []incident.Person{{ID: "pagerduty/PKIM", Name: "Kim", PagerDutyID: "PKIM"}}, people)
	_, err = c.UserByEmail(t.Context(), "kim@example.com")
	require.ErrorIs(t, err, incident.ErrNoIdentity)
	_, err = c.UserByEmail(t.Context(), "\u212aim@example.com")
	require.ErrorIs(t, err, incident.ErrNoIdentity)
}

func TestUsers(t *testing.T) {
	t.Parallel()
	s := world(t)
	c := connect(t, s)
	p, err := c.User(t.Context(), "PADA")
	require.NoError(t, err)
	require.Equal(t, "ada@example.com", p.Email)
	p, err = c.UserByEmail(t.Context(), "BACKOUT@example.com")
	require.NoError(t, err)
	require.Equal(t, "PBOT", p.PagerDutyID, "an address that only contains it is another person")
	for _, email := range []string{"nobody@example.com", "example.com", ""} {
		_, err = c.UserByEmail(t.Context(), email)
		require.ErrorIs(t, err, incident.ErrNoIdentity, email)
	}
	s.AddUser(fakepagerduty.User{ID: "PADA2", Name: "Twin", Email: "ada@example.com"})
	_, err = c.UserByEmail(t.Context(), "ada@example.com")
	require.ErrorIs(t, err, incident.ErrNoIdentity)
}
