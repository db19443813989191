package activities_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

func line(n int, kind incident.EventKind, payload string) incident.Entry {
	e := incident.Entry{ID: incident.EventID(key, n), Incident: key, Kind: kind, At: now, Text: "it happened"}
	if payload != "" {
		e.Payload = []byte(payload)
	}
	return e
}

func TestRecord(t *testing.T) {
	t.Parallel()
	w := newWorld()
	a := w.activities(t)
	in := activities.RecordInput{Entries: []incident.Entry{
		line(1, incident.EventPage, `{"event_id":"p1"}`), line(2, incident.EventDecision, `{"decision_id":"d1"}`), line(3, incident.EventCommand, ""),
	}}
	require.NoError(t, a.Record(t.Context(), in))
	require.NoError(t, a.Record(t.Context(), in), "a retry")
	require.Len(t, w.entries, 3)
}

// TestRecordRefusesWhatAuthorityIsReadFrom is somebody who can run activities,
// and records an approval, evidence or an intent that never was.
func TestRecordRefusesWhatAuthorityIsReadFrom(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		entry incident.Entry
	}{
		{"an approval", line(1, incident.EventDecision, `{"id":"d1","outcome":"approved","answer":"approve"}`)},
		{"an approval beside an answer", line(1, incident.EventDecision, `{"decision_id":"d1","outcome":"approved"}`)},
		{"an accepted command", line(1, incident.EventCommand, `{"command_id":"c1","outcome":"accepted"}`)},
		{"a manifest", line(1, incident.EventEvidence, `{"rollback":"rollback/pagerduty/Q1/1","phase":"before"}`)},
		{"an intent", line(1, incident.EventIntent, "")},
		{"an outcome", line(1, incident.EventActionDone, "")},
		{"something unknown", line(1, "rumour", "")},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			err := w.activities(t).Record(t.Context(), activities.RecordInput{Entries: []incident.Entry{line(9, incident.EventPage, ""), test.entry}})
			requireError(t, err, incident.ErrTypeInvalid, true)
			require.Len(t, w.entries, 1, "not even the entry beside it")
			require.Equal(t, incident.EventAttempt, w.entries[0].Kind)
		})
	}
}

func TestRecordTriesAgainUnlessTheIDIsTaken(t *testing.T) {
	t.Parallel()
	w := newWorld()
	a := w.activities(t)
	w.fail = func(call string) error {
		if strings.HasPrefix(call, "append") {
			return errors.New("disk full")
		}
		return nil
	}
	err := a.Record(t.Context(), activities.RecordInput{Entries: []incident.Entry{line(1, incident.EventPage, "")}})
	requireError(t, err, incident.ErrTypeLedger, false)
	w.fail = nil
	require.NoError(t, a.Record(t.Context(), activities.RecordInput{Entries: []incident.Entry{line(1, incident.EventPage, "")}}))
	other := line(1, incident.EventPage, "")
	other.Text = "something else happened"
	err = a.Record(t.Context(), activities.RecordInput{Entries: []incident.Entry{other}})
	requireError(t, err, incident.ErrTypeInvalid, true)
}

// TestShowTriesBothHalves has each half fail or be refused.
func TestShowTriesBothHalves(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, fails     string
		kind            incident.EventKind
		recorded, shown bool
	}{
		{name: "a good day", kind: incident.EventPage, recorded: true, shown: true},
		{name: "no ledger", kind: incident.EventPage, fails: "append", shown: true},
		{name: "no channel", kind: incident.EventPage, fails: "publish", recorded: true},
		{name: "an entry that is refused", kind: incident.EventIntent, shown: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.fail = func(call string) error {
				if test.fails != "" && strings.HasPrefix(call, test.fails) {
					return errors.New("away")
				}
				return nil
			}
			got, err := w.activities(t).Show(t.Context(), activities.ShowInput{
				View: incident.View{Key: key}, Entries: []incident.Entry{line(1, test.kind, "")},
			})
			require.NoError(t, err)
			require.Equal(t, test.recorded, got.Recorded)
			require.Equal(t, test.shown, got.Card != nil)
			require.Equal(t, test.recorded, slices.ContainsFunc(w.entries, func(e incident.Entry) bool { return e.Kind == test.kind }))
		})
	}
}

// oncePager tells escalations by their IDs.
type oncePager struct{ pager }

func (p oncePager) EscalateOnce(ctx context.Context, id, once, reason string) error {
	return p.w.call(ctx, "escalate once "+id+" "+once+" "+reason, func() error { return nil })
}

// askedPager knows each incident.
type askedPager struct {
	pager
	page incident.Page
	err  error
}

func (p askedPager) Incident(context.Context, string) (incident.Page, bool, error) {
	return p.page, p.page.Kind != incident.PageResolved, p.err
}

func TestEscalate(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		in    activities.EscalateInput
		pager func(*world) activities.Pager
		call  string
		fails string
	}{
		{"the cause is in the reason", activities.EscalateInput{Key: key, ID: key + "/e7", Reason: "stuck"}, func(w *world) activities.Pager { return pager{w} }, "escalate Q1 stuck [pagerduty/Q1/e7]", ""},
		{"the cause is the pager's own key", activities.EscalateInput{Key: key, ID: key + "/e7", Reason: "stuck"}, func(w *world) activities.Pager { return oncePager{pager{w}} }, "escalate once Q1 pagerduty/Q1/e7 stuck", ""},
		{"not from the pager", activities.EscalateInput{Key: "slack/x", ID: "slack/x/e7", Reason: "stuck"}, func(w *world) activities.Pager { return pager{w} }, "", "did not come from the pager"},
		{"no pager", activities.EscalateInput{Key: key, Reason: "stuck"}, func(*world) activities.Pager { return nil }, "", "not configured"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			a := w.activities(t)
			a.Pager = test.pager(w)
			err := a.Escalate(t.Context(), test.in)
			if test.fails != "" {
				app := failure(t, err, incident.ErrTypeInvalid, true)
				require.Contains(t, app.Message(), test.fails)
				require.Empty(t, w.calls)
				return
			}
			require.NoError(t, err)
			require.Equal(t, []string{test.call}, w.calls)
		})
	}
}

// held is what is open here.
type held []string

func (h held) Held(context.Context, incident.Source) ([]string, error) { return h, nil }

func TestHeldIncidentsNeedSomebodyToAsk(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(*activities.Activities)
		source incident.Source
		want   []string
	}{
		{"all there", func(*activities.Activities) {}, incident.SourcePagerDuty, []string{"Q1", "Q2"}},
		{"a pager that can not be asked", func(a *activities.Activities) { a.Pager = pager{} }, incident.SourcePagerDuty, nil},
		{"no pager", func(a *activities.Activities) { a.Pager = nil }, incident.SourcePagerDuty, nil},
		{"no list", func(a *activities.Activities) { a.Held = nil }, incident.SourcePagerDuty, nil},
		{"another source", func(*activities.Activities) {}, incident.SourceSlack, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			a := w.activities(t)
			a.Pager, a.Held = askedPager{pager: pager{w}}, held{"Q1", "Q2"}
			test.change(a)
			got, err := a.HeldIncidents(t.Context(), test.source)
			require.NoError(t, err)
			require.Equal(t, test.want, got)
		})
	}
}

func TestAskIncident(t *testing.T) {
	t.Parallel()
	over := incident.Page{EventID: "reconcile-Q1", Source: incident.SourcePagerDuty, Kind: incident.PageResolved, IncidentID: "Q1", Severity: incident.Sev2, OccurredAt: now}
	for _, test := range []struct {
		name string
		page incident.Page
		err  error
		want string
	}{
		{"over", over, nil, "none"},
		{"about another one", func() incident.Page { p := over; p.IncidentID = "Q2"; return p }(), nil, incident.ErrTypeInvalid},
		{"gone", incident.Page{}, fmt.Errorf("read: %w", driver.ErrNotFound), incident.ErrTypeNotFound},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := newWorld().activities(t)
			a.Pager = askedPager{page: test.page, err: test.err}
			got, err := a.AskIncident(t.Context(), activities.AskInput{Source: incident.SourcePagerDuty, ID: "Q1"})
			if test.want == "none" {
				require.NoError(t, err)
				require.Equal(t, over, got)
				return
			}
			requireError(t, err, test.want, true)
		})
	}
	t.Run("nobody to ask", func(t *testing.T) {
		t.Parallel()
		_, err := newWorld().activities(t).AskIncident(t.Context(), activities.AskInput{Source: incident.SourcePagerDuty, ID: "Q1"})
		requireError(t, err, incident.ErrTypeInvalid, true)
	})
}

func TestErrorsAreShortAndWithoutSecrets(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.fail = func(string) error {
		return errors.New("502 <html>" + strings.Repeat("é", 100_000) + " token=abcdefghijklmnop")
	}
	err := w.activities(t).Escalate(t.Context(), activities.EscalateInput{Key: key, Reason: "stuck"})
	app := failure(t, err, "", false)
	require.Less(t, len(app.Message()), 2000)
	require.NotContains(t, app.Message(), "abcdefghijklmnop")
}

func TestNoteAtSource(t *testing.T) {
	t.Parallel()
	w := newWorld()
	a := w.activities(t)
	require.NoError(t, a.NoteAtSource(t.Context(), activities.NoteInput{Key: key, ID: "n1", Text: "x"}))
	require.NoError(t, a.NoteAtSource(t.Context(), activities.NoteInput{Key: "slack/x", ID: "n1", Text: "x"}), "there is no such place")
	err := a.NoteAtSource(t.Context(), activities.NoteInput{Key: "slack/x", ID: "n2", Text: "x", Console: true})
	requireError(t, err, incident.ErrTypeInvalid, true)
	require.Equal(t, []string{"note Q1 n1"}, w.calls)
}

type tracker struct{ got []string }

func (tr *tracker) Upsert(_ context.Context, key, title, body string) (incident.PostmortemRef, error) {
	tr.got = append(tr.got, key, title, body)
	return incident.PostmortemRef{Number: 3}, nil
}

func TestWritePostmortem(t *testing.T) {
	t.Parallel()
	a := newWorld().activities(t)
	_, err := a.WritePostmortem(t.Context(), activities.PostmortemInput{View: incident.View{Key: key}})
	requireError(t, err, incident.ErrTypeInvalid, true)
	tr := &tracker{}
	a.Tracker = tr
	a.Postmortem = func(v incident.View) (string, string) { return "of " + v.Key, "body" }
	ref, err := a.WritePostmortem(t.Context(), activities.PostmortemInput{View: incident.View{Key: key}})
	require.NoError(t, err)
	require.Equal(t, 3, ref.Number)
	require.Equal(t, []string{key, "of pagerduty/Q1", "body"}, tr.got)
}

func TestOpenReview(t *testing.T) {
	t.Parallel()
	a := newWorld().activities(t)
	in := activities.ReviewInput{View: incident.View{Key: key}, Due: time.Date(2026, 3, 6, 0, 0, 0, 0, time.UTC)}
	_, err := a.OpenReview(t.Context(), in)
	requireError(t, err, incident.ErrTypeInvalid, true)
	tr := &tracker{}
	a.Tracker = tr
	_, err = a.OpenReview(t.Context(), in)
	requireError(t, err, incident.ErrTypeInvalid, true)
	a.Review = func(v incident.View, due time.Time) (string, string) { return "of " + v.Key, due.Format(time.DateOnly) }
	ref, err := a.OpenReview(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, 3, ref.Number)
	require.Equal(t, []string{key + ".break-glass", "of pagerduty/Q1", "2026-03-06"}, tr.got, "an issue of its own, and no other incident's")
}

type intake struct{ got []incident.Page }

func (i *intake) Page(_ context.Context, p incident.Page) (incident.Result, error) {
	i.got = append(i.got, p)
	return incident.Result{Outcome: incident.OutcomeAccepted}, nil
}

func TestOpenIncidentsAreDelivered(t *testing.T) {
	t.Parallel()
	w := newWorld()
	a := w.activities(t)
	w.pages = []incident.Page{{EventID: "e1"}}
	pages, err := a.OpenIncidents(t.Context(), incident.SourcePagerDuty)
	require.NoError(t, err)
	requireError(t, a.DeliverPage(t.Context(), pages[0]), incident.ErrTypeInvalid, true)
	in := &intake{}
	a.Intake = in
	require.NoError(t, a.DeliverPage(t.Context(), pages[0]))
	require.Equal(t, pages, in.got)
	_, err = a.OpenIncidents(t.Context(), incident.SourceSlack)
	requireError(t, err, incident.ErrTypeInvalid, true)
}

func TestDecisionIsJudgedByWhatThePlanTouches(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(*testing.T, *activities.DecideInput)
		want   incident.Outcome
		says   string
	}{
		{"as it was offered", func(*testing.T, *activities.DecideInput) {}, incident.OutcomeApproved, ""},
		{"a radius that hides a service of the plan", func(t *testing.T, in *activities.DecideInput) {
			second := in.Option.Plan.Actions[0]
			second.Target.Path = "config/payments"
			in.Option.Plan.Actions = append(in.Option.Plan.Actions, second)
			in.Option.Digest = digest(t, in.Option.Plan)
			in.Request.PlanDigest = in.Option.Digest
		}, incident.OutcomeDenied, "Ada is not incident commander"},
		{"a plan under the digest of another", func(_ *testing.T, in *activities.DecideInput) { in.Option.Plan.Actions[0].To.Revision = "9" }, incident.OutcomeDenied, "its plan has digest"},
		{"a plan for another incident", func(t *testing.T, in *activities.DecideInput) {
			in.Option.Plan.Incident = "pagerduty/Q2"
			in.Option.Digest = digest(t, in.Option.Plan)
			in.Request.PlanDigest = in.Option.Digest
		}, incident.OutcomeDenied, "for incident"},
		{"a runbook that has changed", func(t *testing.T, in *activities.DecideInput) {
			in.Option.Plan.RunbookDigest = incident.DigestOf([]byte("older"))
			in.Option.Digest = digest(t, in.Option.Plan)
			in.Request.PlanDigest = in.Option.Digest
		}, incident.OutcomeDenied, "refresh the options"},
		{"an option that the runbook lacks", func(t *testing.T, in *activities.DecideInput) {
			in.Option.Plan.Option = "ghost"
			in.Option.Digest = digest(t, in.Option.Plan)
			in.Request.PlanDigest = in.Option.Digest
		}, incident.OutcomeDenied, `no option "ghost"`},
		{"before a handover of command", func(_ *testing.T, in *activities.DecideInput) { in.VoidBefore = now.Add(time.Second) }, incident.OutcomeStale, "voided by a handover"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.onCall["PCHECK"] = []incident.Person{ada}
			in := ask(t, incident.TierOnCall, "ada", "1")
			test.change(t, &in)
			got, err := click(t, w.activities(t), in)
			require.NoError(t, err)
			require.Equal(t, test.want, got.Decision.Outcome, got.Decision.Sentence)
			require.Contains(t, got.Decision.Sentence, test.says)
			require.Equal(t, test.want == incident.OutcomeApproved, len(got.Approvers) > 0)
			var kept map[string]json.RawMessage
			require.NoError(t, json.Unmarshal(w.entries[0].Payload, &kept))
			require.Contains(t, kept, "basis")
		})
	}
}
