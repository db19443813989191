package activities_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/approvals"
	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

func cli(login string) incident.Actor {
	return incident.Actor{Via: incident.ViaCLI, Login: login}
}

// ask is one person's answer to the plan of a tier.
func ask(t *testing.T, tier incident.Tier, login string, n string) activities.DecideInput {
	t.Helper()
	p := plan(t)
	radius := incident.BlastRadius{Services: []incident.Reach{{Name: "checkout", Reason: "its configuration is changed"}}}
	switch tier {
	case incident.TierCommander:
		radius.SharedData = []incident.Reach{{Name: "orders-db", Reason: "it is written"}}
	case incident.TierCommanderAndOwner:
		radius.Global = &incident.Reach{Name: "all customers", Reason: "everybody has it"}
	case incident.TierOnCall, incident.TierForbidden, incident.TierUnknown:
	}
	return activities.DecideInput{
		EventID: incident.DecisionEventID(key, "d"+n), Key: key, Service: "checkout", ServiceID: "PCHECK", Severity: incident.Sev2, Now: now,
		Request: incident.DecideRequest{DecisionID: "d" + n, OptionID: "o1", PlanDigest: digest(t, p), Actor: cli(login), Answer: incident.AnswerApprove, At: now},
		Option:  incident.Option{ID: "o1", Plan: p, Digest: digest(t, p), Tier: tier, Radius: radius},
	}
}

func TestDecide(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		tier    incident.Tier
		change  func(*world, *activities.DecideInput)
		want    incident.Outcome
		says    string
		waiting string
	}{
		{"on call", incident.TierOnCall, nil, incident.OutcomeApproved, "on-call approved (Ada)", ""},
		{"nobody's actor", incident.TierOnCall, func(_ *world, in *activities.DecideInput) { in.Request.Actor = cli("mallory") }, incident.OutcomeUnidentified, "cli:mallory is not exactly one active person", ""},
		{"a person without an identity", incident.TierOnCall, func(w *world, _ *activities.DecideInput) {
			w.people["cli:ada"] = incident.Person{Name: "Ada", PagerDutyID: "PADA"}
		}, incident.OutcomeUnidentified, "not exactly one", ""},
		{"no role", incident.TierOnCall, func(_ *world, in *activities.DecideInput) { in.Request.Actor = cli("dora") }, incident.OutcomeDenied, "Dora is not on-call", ""},
		{"on call alone for shared data", incident.TierCommander, nil, incident.OutcomeDenied, "Ada is not incident commander", ""},
		{"commander for shared data", incident.TierCommander, func(_ *world, in *activities.DecideInput) { in.Commander = &ada }, incident.OutcomeApproved, "incident commander approved (Ada)", ""},
		{"commander alone for everybody", incident.TierCommanderAndOwner, func(_ *world, in *activities.DecideInput) { in.Commander = &ada }, incident.OutcomeWaiting, "waiting for an owner of checkout", "an owner of checkout"},
		{"owner by address in another case", incident.TierCommanderAndOwner, func(_ *world, in *activities.DecideInput) { in.Request.Actor = cli("ben") }, incident.OutcomeWaiting, "waiting for the incident commander", "the incident commander"},
		{"author alone", incident.TierOnCall, func(_ *world, in *activities.DecideInput) { in.Option.Authors = []string{"Ada <ada@example.com>"} }, incident.OutcomeDenied, "Ada wrote the change", ""},
		{"requester alone", incident.TierCommander, func(_ *world, in *activities.DecideInput) { in.Commander, in.Requester = &ada, &ada }, incident.OutcomeDenied, "Ada asked for it", ""},
		{"refusal", incident.TierOnCall, func(_ *world, in *activities.DecideInput) {
			in.Request.Answer, in.Request.Reason = incident.AnswerRefuse, "not now"
		}, incident.OutcomeRefused, "on-call refused (Ada)", ""},
		{"refusal without a role", incident.TierOnCall, func(_ *world, in *activities.DecideInput) {
			in.Request.Actor, in.Request.Answer = cli("dora"), incident.AnswerRefuse
		}, incident.OutcomeDenied, "Dora can not refuse", ""},
		{"another version of the plan", incident.TierOnCall, func(_ *world, in *activities.DecideInput) { in.Request.PlanDigest = incident.DigestOf([]byte("old")) }, incident.OutcomeStale, "another version of the plan", ""},
		{"break-glass", incident.TierCommanderAndOwner, func(_ *world, in *activities.DecideInput) {
			in.Request.BreakGlass, in.Request.Reason = true, "all of Europe is down"
		}, incident.OutcomeApproved, "broke the glass (Ada)", ""},
		{"break-glass without a reason", incident.TierCommanderAndOwner, func(_ *world, in *activities.DecideInput) { in.Request.BreakGlass = true }, incident.OutcomeDenied, "without a reason", ""},
		{"forbidden tier", incident.TierForbidden, nil, incident.OutcomeDenied, "no rule of the policy", ""},
		{"tier not computed", incident.TierUnknown, nil, incident.OutcomeDenied, "no rule of the policy", ""},
		{"on call by address where the pager has no identifier of ours", incident.TierOnCall, func(w *world, in *activities.DecideInput) {
			in.Request.Actor = cli("dora")
			w.onCall["PCHECK"] = []incident.Person{{PagerDutyID: "PX", Email: "DORA@example.com"}}
		}, incident.OutcomeApproved, "on-call approved (Dora)", ""},
		{"same name is not the same person", incident.TierOnCall, func(w *world, in *activities.DecideInput) {
			in.Request.Actor = cli("dora")
			w.onCall["PCHECK"] = []incident.Person{{Name: "Dora"}}
		}, incident.OutcomeDenied, "Dora is not on-call", ""},
		{"on call for the paged service only, and the plan is of what it depends on", incident.TierOnCall, func(w *world, in *activities.DecideInput) {
			in.Service, in.ServiceID = "storefront", "PSTORE"
			w.onCall["PSTORE"], w.onCall["PCHECK"] = []incident.Person{ada}, nil
		}, incident.OutcomeDenied, "Ada is not on-call", ""},
		{"on call for the service of the plan, which was not paged", incident.TierOnCall, func(_ *world, in *activities.DecideInput) {
			in.Service, in.ServiceID = "storefront", "PSTORE"
		}, incident.OutcomeApproved, "on-call approved (Ada)", ""},
		{"owner of the paged service only", incident.TierCommanderAndOwner, func(_ *world, in *activities.DecideInput) {
			in.Service, in.ServiceID, in.Request.Actor = "storefront", "PSTORE", cli("dora")
		}, incident.OutcomeDenied, "Dora is not incident commander or service owner", ""},
		{"the fire that allowed it is out", incident.TierOnCall, func(_ *world, in *activities.DecideInput) {
			in.Option.Radius.Services = append(in.Option.Radius.Services, incident.Reach{Name: "payments"})
			in.Severity = incident.Sev3
		}, incident.OutcomeDenied, "Ada is not incident commander", ""},
		{"the fire that allows it burns", incident.TierOnCall, func(_ *world, in *activities.DecideInput) {
			in.Option.Radius.Services = append(in.Option.Radius.Services, incident.Reach{Name: "payments"})
			in.Severity = incident.Sev1
		}, incident.OutcomeApproved, "on-call approved (Ada)", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.onCall["PCHECK"] = []incident.Person{{PagerDutyID: "PADA"}}
			in := ask(t, test.tier, "ada", "1")
			if test.change != nil {
				test.change(w, &in)
			}
			got, err := click(t, w.activities(t), in)
			require.NoError(t, err)
			require.Equal(t, test.want, got.Decision.Outcome, got.Decision.Sentence)
			require.Contains(t, got.Decision.Sentence, test.says)
			if test.waiting != "" || test.want == incident.OutcomeApproved {
				require.Equal(t, test.waiting, got.Waiting)
			}
			require.Equal(t, test.want == incident.OutcomeApproved, len(got.Approvers) > 0)
			require.Equal(t, approvals.Default().Digest(), got.Decision.PolicyDigest)

			recorded := w.kind(incident.EventDecision)
			require.Len(t, recorded, 1, "it is recorded, whatever it is")
			var kept incident.Decision
			require.NoError(t, json.Unmarshal(recorded[0].Payload, &kept))
			require.Equal(t, got.Decision, kept)
			require.True(t, strings.HasPrefix(recorded[0].Text, got.Decision.Sentence), recorded[0].Text)
		})
	}
}

// answers decides one after the other, each with the decisions before it.
func answers(t *testing.T, a *activities.Activities, asks ...activities.DecideInput) []activities.DecideResult {
	t.Helper()
	var out []activities.DecideResult
	var prior []incident.Decision
	for _, in := range asks {
		in.Prior = append(prior, in.Prior...)
		got, err := click(t, a, in)
		require.NoError(t, err)
		prior = append(prior, got.Decision)
		out = append(out, got)
	}
	return out
}

func TestDecideNeedsTwoPeopleForEverybody(t *testing.T) {
	t.Parallel()
	by := func(login, n string) activities.DecideInput {
		in := ask(t, incident.TierCommanderAndOwner, login, n)
		in.Commander = &ada
		in.Option.Authors = []string{"benhub"}
		return in
	}
	t.Run("commander and owner", func(t *testing.T) {
		t.Parallel()
		got := answers(t, newWorld().activities(t), by("ada", "1"), by("ben", "2"))
		require.Equal(t, incident.OutcomeWaiting, got[0].Decision.Outcome)
		require.Equal(t, incident.OutcomeApproved, got[1].Decision.Outcome, "the author is one of two: %s", got[1].Decision.Sentence)
		require.ElementsMatch(t, []incident.Person{ada, ben}, got[1].Approvers)
		require.Empty(t, got[1].Waiting)
	})
	t.Run("one person twice is one person", func(t *testing.T) {
		t.Parallel()
		got := answers(t, newWorld().activities(t), by("ada", "1"), by("ada", "2"))
		require.Equal(t, incident.OutcomeWaiting, got[1].Decision.Outcome)
	})
	t.Run("one person in both roles is one person", func(t *testing.T) {
		t.Parallel()
		first, second := by("ben", "1"), by("ben", "2")
		first.Commander, second.Commander = &ben, &ben
		got := answers(t, newWorld().activities(t), first, second)
		require.Equal(t, incident.OutcomeWaiting, got[1].Decision.Outcome)
	})
	t.Run("an approval expires", func(t *testing.T) {
		t.Parallel()
		late := by("ben", "2")
		late.Now = now.Add(16 * time.Minute)
		got := answers(t, newWorld().activities(t), by("ada", "1"), late)
		require.Equal(t, incident.OutcomeWaiting, got[1].Decision.Outcome)
	})
	t.Run("a stale decision does not count", func(t *testing.T) {
		t.Parallel()
		a := newWorld().activities(t)
		first := answers(t, a, by("ada", "1"))[0].Decision
		first.Outcome = incident.OutcomeStale
		second := by("ben", "2")
		second.Prior = []incident.Decision{first}
		got, err := click(t, a, second)
		require.NoError(t, err)
		require.Equal(t, incident.OutcomeWaiting, got.Decision.Outcome)
	})
	t.Run("an approval of another plan does not count", func(t *testing.T) {
		t.Parallel()
		a := newWorld().activities(t)
		first := answers(t, a, by("ada", "1"))[0].Decision
		first.PlanDigest = incident.DigestOf([]byte("other"))
		second := by("ben", "2")
		second.Prior = []incident.Decision{first}
		got, err := click(t, a, second)
		require.NoError(t, err)
		require.Equal(t, incident.OutcomeWaiting, got.Decision.Outcome)
	})
	t.Run("approvals that have started a rollback are used up", func(t *testing.T) {
		t.Parallel()
		got := answers(t, newWorld().activities(t), by("ada", "1"), by("ben", "2"), by("ben", "3"), by("ada", "4"))
		require.Equal(t, incident.OutcomeApproved, got[1].Decision.Outcome)
		require.Equal(t, incident.OutcomeWaiting, got[2].Decision.Outcome, "the rollback ended, and one person does not start another")
		require.Equal(t, incident.OutcomeApproved, got[3].Decision.Outcome)
	})
	t.Run("nobody's click does not take another's outcome", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		w.people["cli:dora"] = incident.Person{Name: "Dora"}
		got := answers(t, w.activities(t), by("ada", "1"), by("dora", "2"), by("ben", "3"))
		require.Equal(t, incident.OutcomeUnidentified, got[1].Decision.Outcome)
		require.Zero(t, got[1].Decision.Person)
		require.Equal(t, incident.OutcomeApproved, got[2].Decision.Outcome)
	})
}

func TestDecideAgainIsTheVerySameDecision(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		by   string
		want incident.Outcome
	}{
		{"approved", "ada", incident.OutcomeApproved},
		{"denied", "dora", incident.OutcomeDenied},
		{"unidentified", "mallory", incident.OutcomeUnidentified},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.onCall["PCHECK"] = []incident.Person{ada}
			in := ask(t, incident.TierOnCall, test.by, "1")
			a := w.activities(t)
			first, err := click(t, a, in)
			require.NoError(t, err)
			require.Equal(t, test.want, first.Decision.Outcome)

			w.onCall["PCHECK"] = []incident.Person{dora}
			w.people["cli:mallory"] = ben
			in.Now = in.Now.Add(time.Hour)
			policy, err := approvals.ParsePolicy(approvals.File{Name: "policy.yaml", Content: []byte(strings.TrimSpace(`
apiVersion: backout.dev/v1
kind: Policy
metadata: {name: other}
tiers:
  - {tier: tier-1, when: [always], approvals: [{roles: [service_owner]}, {roles: [on_call]}], requester_may_approve: false, author_may_be_sole_approver: false, expires_after: 1m}
`))})
			require.NoError(t, err)
			a.Policy = policy
			calls := len(w.calls)
			again, err := click(t, a, in)
			require.NoError(t, err)
			require.Equal(t, first, again)
			require.Equal(t, []string{"get"}, w.calls[calls:])
			require.Len(t, w.entries, 1)
		})
	}
}

// TestDecideGoesByWhatIsOnRecord is an attempt that was given up while it wrote:
// its record comes to light when the next one, which has seen other roles, writes.
func TestDecideGoesByWhatIsOnRecord(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.onCall["PCHECK"] = []incident.Person{ada}
	in := ask(t, incident.TierOnCall, "ada", "1")
	first, err := click(t, w.activities(t), in)
	require.NoError(t, err)
	require.Equal(t, incident.OutcomeApproved, first.Decision.Outcome)
	late := w.entries
	w.entries, w.onCall["PCHECK"] = nil, []incident.Person{dora}
	w.fail = func(call string) error {
		if strings.HasPrefix(call, "append") {
			w.entries = late
		}
		return nil
	}
	got, err := click(t, w.activities(t), in)
	require.NoError(t, err)
	require.Equal(t, first, got)
	require.Equal(t, late, w.entries)
}

func TestDecideRecordsNothingWhenItCanNotTell(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		fails string
		want  string
	}{
		{"directory", "identify", ""},
		{"pager", "on call PCHECK", ""},
		{"ledger can not be read", "get", incident.ErrTypeLedger},
		{"ledger can not be written", "append decision", incident.ErrTypeLedger},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.onCall["PCHECK"] = []incident.Person{ada}
			w.fail = func(call string) error {
				if call == test.fails {
					return errors.New("it is away; token=abcdefghijklmnop")
				}
				return nil
			}
			a := w.activities(t)
			_, err := click(t, a, ask(t, incident.TierOnCall, "ada", "1"))
			app := failure(t, err, test.want, false)
			require.NotContains(t, app.Message(), "abcdefghijklmnop")
			require.Empty(t, w.entries)
			w.fail = nil
			got, err := click(t, a, ask(t, incident.TierOnCall, "ada", "1"))
			require.NoError(t, err)
			require.Equal(t, incident.OutcomeApproved, got.Decision.Outcome)
		})
	}
}

func TestDecideRefusesARecordOfSomethingElse(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(*incident.Entry)
	}{
		{"of another kind", func(e *incident.Entry) { e.Kind = incident.EventCommand }},
		{"of another incident", func(e *incident.Entry) { e.Incident = "pagerduty/Q2" }},
		{"another decision", func(e *incident.Entry) { e.Payload = []byte(`{"id":"d9","outcome":"approved"}`) }},
		{"unreadable", func(e *incident.Entry) { e.Payload = nil }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			in := ask(t, incident.TierOnCall, "ada", "1")
			e := decision(t, in.EventID, incident.Decision{ID: "d1", Outcome: incident.OutcomeApproved})
			test.change(&e)
			w.entries = append(w.entries, e)
			got, err := click(t, w.activities(t), in)
			requireError(t, err, incident.ErrTypeInvalid, true)
			require.Zero(t, got)
		})
	}
}

func TestDecideWithoutAPager(t *testing.T) {
	t.Parallel()
	a := newWorld().activities(t)
	a.Pager = nil
	got, err := click(t, a, ask(t, incident.TierOnCall, "ada", "1"))
	require.NoError(t, err)
	require.Equal(t, incident.OutcomeDenied, got.Decision.Outcome, "nobody is on call")
}

func TestAuthorize(t *testing.T) {
	t.Parallel()
	const anybody, someRole, command = "anybody", "some role", "the command"
	needs := map[incident.Verb]string{
		incident.VerbTakeCommand: someRole, incident.VerbCancel: someRole, incident.VerbRedo: someRole, incident.VerbClose: someRole,
		incident.VerbRefresh: anybody, incident.VerbEscalate: anybody, incident.VerbHandOver: command, "dance": "nothing",
	}
	people := []struct {
		name  string
		login string
		roles []incident.Role
	}{
		{"on call", "ada", []incident.Role{incident.RoleOnCall}},
		{"owner", "ben", []incident.Role{incident.RoleOwner}},
		{"commander", "carla", []incident.Role{incident.RoleCommander}},
		{"without a role", "dora", nil},
		{"unknown", "mallory", nil},
		{"without an identity", "ghost", nil},
	}
	for verb, need := range needs {
		for _, p := range people {
			t.Run(string(verb)+" "+p.name, func(t *testing.T) {
				t.Parallel()
				w := newWorld()
				w.onCall["PCHECK"] = []incident.Person{ada}
				w.people["cli:ghost"] = incident.Person{Name: "Ghost"}
				in := activities.AuthorizeInput{
					EventID: incident.CommandEventID(key, "c1"), Key: key, Service: "checkout", Commander: &carla, Now: now,
					Request: incident.CommandRequest{CommandID: "c1", Verb: verb, Actor: cli(p.login), At: now},
				}
				want := incident.OutcomeDenied
				switch {
				case p.login == "mallory" || p.login == "ghost":
					want = incident.OutcomeUnidentified
				case need == anybody, need == someRole && len(p.roles) > 0, need == command && p.login == "carla":
					want = incident.OutcomeAccepted
				}
				a := w.activities(t)
				got, err := typed(t, a, in)
				require.NoError(t, err)
				require.Equal(t, want, got.Outcome)
				require.Equal(t, p.roles, got.Roles)
				recorded := len(w.entries)
				require.Equal(t, 2, recorded, "it is recorded, whatever it is, beside who took the command before")
				require.Equal(t, incident.EventCommand, w.entries[1].Kind)

				w.onCall, w.people = nil, nil
				again, err := typed(t, a, in)
				require.NoError(t, err)
				require.Equal(t, got, again, "a retry says the same")
				require.Len(t, w.entries, recorded)

				in.Request.CommandID = "c2"
				_, err = typed(t, a, in)
				requireError(t, err, incident.ErrTypeInvalid, true)
			})
		}
	}
}

func TestAuthorizeRecordsNothingWhenItCanNotTell(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		fails string
		want  string
	}{
		{"directory", "identify", ""},
		{"pager", "on call PCHECK", ""},
		{"ledger can not be read", "get", incident.ErrTypeLedger},
		{"ledger can not be written", "append command", incident.ErrTypeLedger},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.fail = func(call string) error {
				if call == test.fails {
					return errors.New("it is away")
				}
				return nil
			}
			_, err := typed(t, w.activities(t), activities.AuthorizeInput{
				EventID: incident.CommandEventID(key, "c1"), Key: key, Service: "checkout", Now: now,
				Request: incident.CommandRequest{CommandID: "c1", Verb: incident.VerbCancel, Actor: cli("ada"), At: now},
			})
			requireError(t, err, test.want, false)
			require.Empty(t, w.entries)
		})
	}
}
