package activities_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/runbooks"
	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// kinds are all kinds of group that can own a service, by their annotation.
var kinds = map[runbooks.OwnerKind]string{
	runbooks.OwnerSlackGroup:       "backout.dev/owner-slack-group: S0SHOP",
	runbooks.OwnerGitHubTeam:       "backout.dev/owner-github-team: acme/shop",
	runbooks.OwnerPagerDutyTeam:    "backout.dev/owner-pagerduty-team: PTEAM",
	runbooks.OwnerPagerDutyService: "backout.dev/owner-pagerduty-team: service",
}

// groupIDs are what is asked for, by kind.
var groupIDs = map[runbooks.OwnerKind]string{
	runbooks.OwnerSlackGroup: "S0SHOP", runbooks.OwnerGitHubTeam: "acme/shop", runbooks.OwnerPagerDutyTeam: "PTEAM", runbooks.OwnerPagerDutyService: "PCHECK",
}

// ownedBy is a catalogue in which checkout has annotations of its own.
func ownedBy(t *testing.T, annotations ...string) *runbooks.Catalogue {
	t.Helper()
	doc := "apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata:\n  name: checkout\n  annotations:\n    backout.dev/tier: revenue\n    pagerduty.com/service-id: PCHECK\n"
	for _, a := range annotations {
		doc += "    " + a + "\n"
	}
	c, err := runbooks.ParseCatalogue(runbooks.File{Name: "catalog-info.yaml", Content: []byte(doc + "spec: {type: service, lifecycle: production, owner: shop}\n")})
	require.NoError(t, err)
	return c
}

// members answers for every kind of group with those who are in it, by person.
func members(w *world, in ...string) map[runbooks.OwnerKind]activities.Member {
	out := make(map[runbooks.OwnerKind]activities.Member)
	for kind := range kinds {
		out[kind] = func(ctx context.Context, group string, p incident.Person) (bool, error) {
			is := false
			err := w.call(ctx, fmt.Sprintf("member %s %s %s", kind, group, p.ID), func() error {
				for _, id := range in {
					is = is || id == p.ID
				}
				return nil
			})
			// What comes with an error is not to be looked at.
			return is || err != nil, err
		}
	}
	return out
}

// rolesOf are the roles that were found for the answer of a login at a tier.
func rolesOf(t *testing.T, a *activities.Activities, login, n string) []incident.Role {
	t.Helper()
	got, err := click(t, a, ask(t, incident.TierCommanderAndOwner, login, n))
	require.NoError(t, err)
	return got.Decision.Roles
}

func TestOwnersOfAGroup(t *testing.T) {
	t.Parallel()
	for kind, annotation := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			a := w.activities(t)
			a.Catalogue, a.Owners = ownedBy(t, annotation), members(w, "dora")
			require.Equal(t, []incident.Role{incident.RoleOwner}, rolesOf(t, a, "dora", "1"))
			require.Contains(t, w.calls, fmt.Sprintf("member %s %s dora", kind, groupIDs[kind]))
			require.Empty(t, rolesOf(t, a, "ben", "2"), "owner of another catalogue only")
		})
	}
}

// An owner is whoever the addresses or any of the groups name; those who are found
// need not be looked for any more.
func TestOwnersAreOfAnyGroup(t *testing.T) {
	t.Parallel()
	w := newWorld()
	a := w.activities(t)
	a.Catalogue = ownedBy(t, "backout.dev/owners: ben@example.com", kinds[runbooks.OwnerSlackGroup], kinds[runbooks.OwnerGitHubTeam], kinds[runbooks.OwnerPagerDutyTeam])
	a.Owners = members(w, "dora")
	a.Owners[runbooks.OwnerSlackGroup] = members(w, "carla")[runbooks.OwnerSlackGroup]
	for n, login := range []string{"ben", "carla", "dora"} {
		require.Equal(t, []incident.Role{incident.RoleOwner}, rolesOf(t, a, login, fmt.Sprint(n)), login)
	}
	require.Empty(t, rolesOf(t, a, "ada", "9"))
}

// A group that can not be asked for is an error, for whoever is in it and whoever
// is not: nobody decides in the place of an owner who could not be found.
func TestGroupThatCanNotBeAskedForIsAnError(t *testing.T) {
	t.Parallel()
	for kind, annotation := range kinds {
		for _, login := range []string{"dora", "ben"} {
			t.Run(string(kind)+" "+login, func(t *testing.T) {
				t.Parallel()
				w := newWorld()
				a := w.activities(t)
				a.Catalogue, a.Owners = ownedBy(t, annotation), members(w, "dora")
				w.fail = func(call string) error {
					if strings.HasPrefix(call, "member ") {
						return errors.New("it is away; token=abcdefghijklmnop")
					}
					return nil
				}
				_, err := click(t, a, ask(t, incident.TierCommanderAndOwner, login, "1"))
				app := failure(t, err, "", false)
				require.NotContains(t, app.Message(), "abcdefghijklmnop")
				_, err = typed(t, a, activities.AuthorizeInput{
					EventID: incident.CommandEventID(key, "c1"), Key: key, Service: "checkout", Now: now,
					Request: incident.CommandRequest{CommandID: "c1", Verb: incident.VerbCancel, Actor: cli(login)},
				})
				requireError(t, err, "", false)
				require.Empty(t, w.entries)

				a.Owners = nil
				_, err = click(t, a, ask(t, incident.TierCommanderAndOwner, login, "1"))
				requireError(t, err, incident.ErrTypeInvalid, true)
				require.Empty(t, w.entries, "nobody answers for that kind of group at all")
			})
		}
	}
}

// One group that answers does not stand for one that does not.
func TestOneGroupDoesNotStandForAnother(t *testing.T) {
	t.Parallel()
	w := newWorld()
	a := w.activities(t)
	a.Catalogue, a.Owners = ownedBy(t, kinds[runbooks.OwnerSlackGroup], kinds[runbooks.OwnerGitHubTeam]), members(w)
	w.fail = func(call string) error {
		if strings.HasPrefix(call, "member github-team") {
			return errors.New("it is away")
		}
		return nil
	}
	_, err := click(t, a, ask(t, incident.TierCommanderAndOwner, "dora", "1"))
	requireError(t, err, "", false)
	require.Empty(t, w.entries)
}

func TestWhoIsOnCallByAddress(t *testing.T) {
	t.Parallel()
	kim := incident.Person{ID: "kim", Name: "Kim", Email: "kim@example.com"}
	for _, tt := range []struct {
		name string
		on   []incident.Person
		who  incident.Person
		want bool
	}{
		{"by address", []incident.Person{{PagerDutyID: "PKIM", Email: "KIM@example.com"}}, kim, true},
		{"nobody", nil, kim, false},
		{"two people with one address", []incident.Person{{PagerDutyID: "P1", Email: "kim@example.com"}, {PagerDutyID: "P2", Email: "Kim@example.com"}}, kim, false},
		{"look-alike", []incident.Person{{PagerDutyID: "P1", Email: "\u212aim@example.com"}}, kim, false},
		{"look-alike who asks", []incident.Person{{PagerDutyID: "P1", Email: "kim@example.com"}}, incident.Person{ID: "m", Name: "M", Email: "\u212aim@example.com"}, false},
		{"two look-alikes", []incident.Person{{PagerDutyID: "P1", Email: "\u212aim@example.com"}}, incident.Person{ID: "m", Name: "M", Email: "\u212aim@example.com"}, false},
		{"no addresses", []incident.Person{{PagerDutyID: "P1"}}, incident.Person{ID: "m", Name: "M"}, false},
		{"the identifier counts, not the address", []incident.Person{{PagerDutyID: "P1", Email: "kim@example.com"}}, incident.Person{ID: "kim", Name: "Kim", Email: "kim@example.com", PagerDutyID: "P2"}, false},
		{"identifier in another case", []incident.Person{{PagerDutyID: "PKIM"}}, incident.Person{ID: "kim", Name: "Kim", PagerDutyID: "pkim"}, false},
		{"second of two by identifier", []incident.Person{{PagerDutyID: "P1"}, {PagerDutyID: "P2"}}, incident.Person{ID: "kim", Name: "Kim", PagerDutyID: "P2"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.people["cli:kim"], w.onCall["PCHECK"] = tt.who, tt.on
			got, err := click(t, w.activities(t), ask(t, incident.TierOnCall, "kim", "1"))
			require.NoError(t, err)
			require.Equal(t, tt.want, got.Decision.Outcome == incident.OutcomeApproved, got.Decision.Sentence)
		})
	}
}

// named answers who somebody is with a reason for the ledger.
type named struct{ err error }

func (n named) Identify(context.Context, incident.Actor) (incident.Person, error) {
	// Whatever comes with an error is not to be looked at.
	return ada, n.err
}

func TestWhySomebodyIsNobodyIsInTheLedgerAlone(t *testing.T) {
	t.Parallel()
	for _, why := range []string{"the account is a guest", "the account is deactivated", "the login is mapped to nobody"} {
		t.Run(why, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.onCall["PCHECK"] = []incident.Person{ada}
			a := w.activities(t)
			a.Directory = named{&incident.NoIdentityError{Actor: cli("eve"), Why: why}}
			got, err := click(t, a, ask(t, incident.TierOnCall, "eve", "1"))
			require.NoError(t, err)
			require.Equal(t, incident.OutcomeUnidentified, got.Decision.Outcome)
			require.Equal(t, "cli:eve is not exactly one active person here; nothing was done", got.Decision.Sentence)
			answer, err := json.Marshal(got)
			require.NoError(t, err)
			require.NotContains(t, string(answer), why, "it goes no further than the ledger")
			require.Zero(t, got.Decision.Person)
			require.Equal(t, got.Decision.Sentence+" ("+why+")", w.entries[0].Text)
			require.Contains(t, string(w.entries[0].Payload), `"unidentified":"`+why+`"`)

			in := activities.AuthorizeInput{
				EventID: incident.CommandEventID(key, "c1"), Key: key, Service: "checkout", Now: now,
				Request: incident.CommandRequest{CommandID: "c1", Verb: incident.VerbRefresh, Actor: cli("eve")},
			}
			command, err := typed(t, a, in)
			require.NoError(t, err)
			require.Equal(t, incident.OutcomeUnidentified, command.Outcome)
			require.NotContains(t, command.Reason, why)
			require.Contains(t, w.entries[1].Text, why)
			again, err := typed(t, a, in)
			require.NoError(t, err)
			require.Equal(t, command, again)
		})
	}
}

func TestHandover(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		by   string
		to   string
		// commander has the command, nil for nobody.
		commander *incident.Person
		want      incident.Outcome
		says      string
	}{
		{"by the commander", "carla", "dora", &carla, incident.OutcomeAccepted, "allowed"},
		{"by the on-call where nobody has it", "ada", "dora", nil, incident.OutcomeAccepted, "allowed"},
		{"by the owner where nobody has it", "ben", "dora", nil, incident.OutcomeAccepted, "allowed"},
		{"by the on-call where somebody has it", "ada", "dora", &carla, incident.OutcomeDenied, "only the incident commander may hand over the command"},
		{"by the owner where somebody has it", "ben", "ben", &carla, incident.OutcomeDenied, "only the incident commander may hand over the command"},
		{"by somebody without a role", "dora", "ben", nil, incident.OutcomeDenied, "only somebody on call"},
		{"by somebody without a role to themselves", "dora", "dora", &carla, incident.OutcomeDenied, "only the incident commander"},
		{"by nobody", "mallory", "dora", nil, incident.OutcomeUnidentified, "cli:mallory is not exactly one active person"},
		{"to nobody", "carla", "mallory", &carla, incident.OutcomeDenied, "the person you named is not exactly one active person here; nothing was done"},
		{"to somebody without an identity", "carla", "ghost", &carla, incident.OutcomeDenied, "the person you named is not exactly one active person here; nothing was done"},
		{"to themselves", "carla", "carla", &carla, incident.OutcomeAccepted, "allowed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.onCall["PCHECK"] = []incident.Person{ada}
			w.people["cli:ghost"] = incident.Person{Name: "Ghost", Email: "ghost@example.com"}
			to := cli(tt.to)
			in := activities.AuthorizeInput{
				EventID: incident.CommandEventID(key, "c1"), Key: key, Service: "checkout", Commander: tt.commander, Now: now,
				Request: incident.CommandRequest{CommandID: "c1", Verb: incident.VerbHandOver, Actor: cli(tt.by), To: &to, At: now},
			}
			require.NoError(t, in.Request.Validate())
			a := w.activities(t)
			got, err := typed(t, a, in)
			require.NoError(t, err)
			require.Equal(t, tt.want, got.Outcome, got.Reason)
			require.Contains(t, got.Reason, tt.says)
			if tt.want == incident.OutcomeAccepted {
				require.Equal(t, tt.to, got.Target.ID)
			} else {
				require.Zero(t, got.Target)
			}
			require.Len(t, w.fresh(), 1)
			require.Contains(t, string(w.fresh()[0].Payload), `"to":{`)

			w.onCall, w.people = nil, nil
			again, err := typed(t, a, in)
			require.NoError(t, err)
			require.Equal(t, got, again, "a retry says the same")
		})
	}
}

// Whom a command names is looked up for those alone who may name somebody.
func TestWhoIsNamedIsNotToldToJustAnybody(t *testing.T) {
	t.Parallel()
	w := newWorld()
	to := cli("mallory")
	got, err := typed(t, w.activities(t), activities.AuthorizeInput{
		EventID: incident.CommandEventID(key, "c1"), Key: key, Service: "checkout", Commander: &carla, Now: now,
		Request: incident.CommandRequest{CommandID: "c1", Verb: incident.VerbHandOver, Actor: cli("dora"), To: &to},
	})
	require.NoError(t, err)
	require.Equal(t, incident.OutcomeDenied, got.Outcome)
	require.NotContains(t, got.Reason, "named")
	identified := 0
	for _, call := range w.calls {
		if call == "identify" {
			identified++
		}
	}
	require.Equal(t, 1, identified)
}

func TestHandoverWhereWhoIsNamedCanNotBeAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld()
	identified := 0
	w.fail = func(call string) error {
		if call == "identify" {
			if identified++; identified == 2 {
				return errors.New("it is away")
			}
		}
		return nil
	}
	to := cli("dora")
	_, err := typed(t, w.activities(t), activities.AuthorizeInput{
		EventID: incident.CommandEventID(key, "c1"), Key: key, Service: "checkout", Commander: &carla, Now: now,
		Request: incident.CommandRequest{CommandID: "c1", Verb: incident.VerbHandOver, Actor: cli("carla"), To: &to},
	})
	requireError(t, err, "", false)
	require.Empty(t, w.fresh())
}

// roster is a directory that knows who is still active.
type roster struct {
	directory
	active error
}

func (r roster) Active(ctx context.Context, p incident.Person) error {
	return r.w.call(ctx, "active "+p.ID, func() error { return r.active })
}

func TestHandoverToSomebodyWhoLeft(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		active error
		want   incident.Outcome
		ledger string
	}{
		{"active", nil, incident.OutcomeAccepted, "hand_over: allowed"},
		{"deactivated", &incident.NoIdentityError{Actor: cli("dora"), Why: "the account is deactivated"}, incident.OutcomeDenied, "(the account is deactivated)"},
		{"can not be asked", errors.New("it is away"), "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			a := w.activities(t)
			a.Directory = roster{directory{w}, tt.active}
			to := cli("dora")
			got, err := typed(t, a, activities.AuthorizeInput{
				EventID: incident.CommandEventID(key, "c1"), Key: key, Service: "checkout", Commander: &carla, Now: now,
				Request: incident.CommandRequest{CommandID: "c1", Verb: incident.VerbHandOver, Actor: cli("carla"), To: &to},
			})
			require.NotContains(t, w.calls, "active carla", "whoever proved who they are is not asked about")
			if tt.want == "" {
				requireError(t, err, "", false)
				require.Empty(t, w.fresh())
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.want, got.Outcome)
			require.Equal(t, tt.want == incident.OutcomeAccepted, got.Target.ID == "dora")
			require.Contains(t, w.fresh()[0].Text, tt.ledger)
			require.NotContains(t, got.Reason, "deactivated")
		})
	}
}
