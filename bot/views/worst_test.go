package views_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/bot/views"
	"github.com/backout/backout/workflows/incident"
)

// worst is as bad as a view can get: everything is long, hostile and many.
func worst(phase incident.Phase, evil string) incident.View {
	long := strings.Repeat(evil, 100_000/len(evil))
	v := rollingBack()
	v.Phase, v.Title, v.Service, v.Team, v.Waiting = phase, long, long, long, long
	v.Severity, v.Commander = incident.Severity(long), &incident.Person{ID: long, Name: long}
	v.SourceURL, v.ConsoleURL = "javascript:alert(1)", "https://example.com/"+strings.Repeat("a", 5000)
	v.Postmortem = incident.PostmortemRef{Number: 1, URL: "https://example.com/>|" + evil}
	s := culprit()
	s.Reason, s.Change.Summary, s.Change.Author, s.Change.From, s.Change.To, s.Change.Service = long, long, long, long, long, long
	v.Ranking = incident.Ranking{Likely: 0, Reason: long}
	v.Options, v.Timeline, v.Decisions, v.Notes, v.Rollbacks = nil, nil, nil, nil, nil
	rb := incident.RollbackView{ID: long, OptionID: long, Status: incident.RollbackPartial, Step: long, Reason: long, ApprovedAt: night}
	rb.Recovery = &incident.RecoveryResult{Verdict: incident.Verdict(long), Reason: long}
	rb.Before = &incident.Manifest{Digest: long, Phase: incident.EvidenceBefore}
	for i := range 100 {
		v.Ranking.Suspects = append(v.Ranking.Suspects, s)
		a := action(long, long, long, i%2 == 0)
		o := option(fmt.Sprintf("o%d", i+1), long, incident.TierOnCall)
		if i == 3 {
			o.ID = long
		}
		o.TierReason, o.Risk, o.Recommended = long, long, true
		o.Radius = incident.BlastRadius{
			Global: &incident.Reach{Name: long, Reason: long}, TrafficShare: &incident.Measured{Reason: long}, Customers: &incident.Measured{Value: new(1e300), Reason: long},
			Replicas: &incident.Measured{Value: new(-1.0), Reason: long}, Regions: &incident.Measured{Value: new(2.5), Reason: long},
		}
		for range 50 {
			reach := incident.Reach{Name: long, Reason: long}
			o.Radius.Services, o.Radius.Dependents = append(o.Radius.Services, reach), append(o.Radius.Dependents, reach)
			o.Radius.SharedData, o.Radius.Irreversible = append(o.Radius.SharedData, reach), append(o.Radius.Irreversible, reach)
			o.Plan.Actions = append(o.Plan.Actions, a)
			o.WontRevert = append(o.WontRevert, long)
			o.Preflight = append(o.Preflight, incident.Preflight{Name: long, Result: incident.PreflightWarning, Reason: long})
		}
		v.Options = append(v.Options, o)
		v.Timeline = append(v.Timeline, incident.Event{ID: long, At: night, Actor: long, Text: long, URL: "https://example.com/x"})
		v.Decisions = append(v.Decisions, incident.Decision{ID: long, EventID: long, OptionID: long, PlanDigest: long, Sentence: long, Reason: long, Roles: []incident.Role{incident.Role(long)}})
		v.Notes = append(v.Notes, long)
		rb.Actions = append(rb.Actions, incident.ActionView{Action: a, Status: incident.ActionFailed, Observed: long, Reason: long, Applied: true})
		rb.Recovery.SLIs = append(rb.Recovery.SLIs, incident.SLIResult{Name: long, Reason: long, Unit: long, Objective: long, Verdict: incident.Verdict(long)})
		rb.Before.Items = append(rb.Before.Items, incident.EvidenceItem{Name: long, Digest: long, Missing: long}, incident.EvidenceItem{Name: fmt.Sprint(i) + long, Digest: long, Size: 1, Note: long})
	}
	for range 60 {
		v.Pins = append(v.Pins, incident.Pin{EventID: long, At: night, Author: long, By: long, Text: long, URL: long, EditedAt: night, Images: []incident.PinImage{{Name: long, URL: "https://example.com/x"}, {Name: long}}})
	}
	v.Decided = v.Options[:10]
	for range 20 {
		v.Rollbacks = append(v.Rollbacks, rb)
	}
	return v
}

// characters counts all text that Slack shows of a card.
func characters(t *testing.T, c views.Card) int {
	t.Helper()
	var tree any
	require.NoError(t, json.Unmarshal(pretty(t, c.Blocks), &tree))
	n := 0
	var walk func(any)
	walk = func(node any) {
		switch node := node.(type) {
		case []any:
			for _, child := range node {
				walk(child)
			}
		case map[string]any:
			for name, child := range node {
				if s, ok := child.(string); ok && name == "text" {
					n += utf8.RuneCountInString(s)
				}
				walk(child)
			}
		}
	}
	walk(tree)
	return n
}

func TestWorstCase(t *testing.T) {
	t.Parallel()
	evils := map[string]string{
		"markup": "<!channel> *_~`@here :boom: | [x](y) ",
		"bidi":   "\u202eabc\u0000\u200b",
		"wide":   "😀",
		"empty":  "\u200b",
	}
	phases := []incident.Phase{
		incident.PhaseCollecting, incident.PhaseDeciding, incident.PhaseRollingBack, incident.PhaseValidating,
		incident.PhaseRecovered, incident.PhaseStuck, incident.PhaseClosed, "unheard of",
	}
	for name, evil := range evils {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, phase := range phases {
				v := worst(phase, evil)
				c := views.NewCard(v)
				valid(t, c)
				require.LessOrEqual(t, primaries(c), 1)
				require.Less(t, characters(t, c), views.MaxMessage)
				if phase != incident.PhaseDeciding {
					continue
				}
				valid(t, views.Preview(v, v.Options[3]))
				valid(t, views.OpenIncidents([]incident.View{v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v}))
				valid(t, views.Choose(v.Title, []incident.View{v, v}))
				valid(t, views.Said(v.Title))
				validModal(t, views.DeclareModal(views.Declaration{Title: v.Title, Channel: "C1"}))
				title, body := views.Postmortem(v)
				require.LessOrEqual(t, utf8.RuneCountInString(title), 256)
				require.LessOrEqual(t, utf8.RuneCountInString(body), 65536)
				require.Contains(t, body, "## Public summary", "the last section is still there")
				require.Equal(t, 21, strings.Count("\n"+body, "\n## "), "nothing else looks like a section")
				var page bytes.Buffer
				require.NoError(t, views.Console(&page, v, views.Visitor{}))
				v.ConsoleURL = "https://backout.example.com/incidents/" + v.Key
				for i := range v.Options {
					if v.Options[i].StepUp = true; i > 0 {
						continue // One page is as bad as the others.
					}
					require.NoError(t, views.ConsoleStepUp(&page, v, v.Options[i], views.StepUp{Configured: true, Visitor: views.Visitor{Login: v.Title, Name: v.Title}}))
				}
				require.NoError(t, views.ConsoleLogin(&page, v.Title, v.Title, ""))
				require.NoError(t, views.ConsolePasskeys(&page, views.Visitor{Login: v.Title}, []views.PasskeyLine{{Name: v.Title}}, true, views.Ask{}, ""))
				require.NotContains(t, page.String(), "<!channel>")
				c = views.NewCard(v)
				valid(t, c)
				require.Less(t, characters(t, c), views.MaxMessage)
				valid(t, views.Preview(v, v.Options[3]))
			}
		})
	}
}

func TestDeclareModalWithManyServices(t *testing.T) {
	t.Parallel()
	var services []string
	for i := range 11_000 {
		services = append(services, fmt.Sprintf("service-%05d", i))
	}
	validModal(t, views.DeclareModal(views.Declaration{Services: services}))
	validModal(t, views.DeclareModal(views.Declaration{Services: services[:100]}))
	validModal(t, views.DeclareModal(views.Declaration{Services: []string{strings.Repeat("x", 151), "a\nb"}}))
}

func TestTold(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		result incident.Result
		want   string
	}{
		{"approved with time to object", incident.Result{Outcome: incident.OutcomeApproved, StartsAt: time.Date(2026, 3, 1, 3, 4, 5, 0, time.UTC)}, "Approved: unless somebody objects, the rollback starts at 03:04:05 UTC. Watch the card."},
		{"approved", incident.Result{Outcome: incident.OutcomeApproved, Reason: "The on-call decides alone"}, "Approved: your decision starts the rollback. The on-call decides alone. Watch the card."},
		{"waiting", incident.Result{Outcome: incident.OutcomeWaiting, Reason: "The owner is needed."}, "Your approval counts, and more is needed. The owner is needed. Nothing runs yet."},
		{"refused", incident.Result{Outcome: incident.OutcomeRefused}, "Refused, and recorded with your reason. Nothing was run."},
		{"denied", incident.Result{Outcome: incident.OutcomeDenied, Reason: "You are not on call"}, "You can not decide this. You are not on call. Nothing was done; your attempt is recorded."},
		{"stale", incident.Result{Outcome: incident.OutcomeStale}, "That was an old card. Nothing was done. Look at the card as it is now, and decide again."},
		{"late", incident.Result{Outcome: incident.OutcomeLate, By: "Ada"}, "Too late: Ada had decided already. Nothing more was done."},
		{"late without a name", incident.Result{Outcome: incident.OutcomeLate}, "Too late: it had been decided already. Nothing more was done."},
		{"unidentified", incident.Result{Outcome: incident.OutcomeUnidentified}, "Your account is not exactly one known, active person. Nothing was done. Ask an administrator to map your account, or let somebody else decide."},
		{"accepted", incident.Result{Outcome: incident.OutcomeAccepted}, "Taken."},
		{"duplicate", incident.Result{Outcome: incident.OutcomeDuplicate}, "That had been taken before. Nothing was done twice."},
		{"zero", incident.Result{}, "Backout gave an answer that this version does not know. Look at the card before you do anything else."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, views.Told(tt.result))
		})
	}
}

func TestRefsAreStrict(t *testing.T) {
	t.Parallel()
	good := views.Ref{Key: "pagerduty/Q1", Option: "o1", Digest: digest("x"), Revision: 4}
	got, err := views.ParseRef(good.Encode())
	require.NoError(t, err)
	require.Equal(t, good, got)
	for name, s := range map[string]string{
		"empty": "", "no JSON": "x", "unknown member": `{"k":"pagerduty/Q1","r":1,"admin":true}`, "trailing": good.Encode() + "{}",
		"bad key": `{"k":"../x","r":1}`, "bad digest": `{"k":"pagerduty/Q1","d":"sha256:zz","r":1}`, "bad revision": `{"k":"pagerduty/Q1","r":-1}`,
		"long": `{"k":"pagerduty/Q1","o":"` + strings.Repeat("o", 2000) + `","r":1}`,
	} {
		_, err := views.ParseRef(s)
		require.Error(t, err, name)
	}
	require.Empty(t, views.Ref{Key: strings.Repeat("k", 3000)}.Encode())
	_, err = views.ParsePick(`{"k":"nowhere","t":"approve o1"}`)
	require.Error(t, err)
	_, err = views.ParseMetadata(`{"channel":"C1","ref":{"k":"x/y","r":1}}`)
	require.Error(t, err)
	_, err = views.ParseMetadata(`{"channel":"C1 <!x>"}`)
	require.Error(t, err)
}

func TestTimesAreUTC(t *testing.T) {
	t.Parallel()
	v := collecting()
	v.PagedAt = v.PagedAt.In(time.FixedZone("far", 9*3600))
	require.Contains(t, string(pretty(t, views.NewCard(v).Blocks)), "Paged 03:12:08 UTC")
}

// TestRemarksOnEvidence shows what the card says of evidence, and that it says it in a
// few lines that leave room for the states of the targets.
func TestRemarksOnEvidence(t *testing.T) {
	t.Parallel()
	missing := func(name, why string) incident.EvidenceItem { return incident.EvidenceItem{Name: name, Missing: why} }
	noted := func(name, note string) incident.EvidenceItem {
		return incident.EvidenceItem{Name: name, Digest: "d", Size: 1, Note: note}
	}
	whole := incident.EvidenceItem{Name: "pods", Digest: "d", Size: 1}
	same := incident.EvidenceItem{Name: "diff of pods", Digest: "d", Note: "nothing changed"}
	for _, test := range []struct {
		name          string
		before, after []incident.EvidenceItem
		want          string
	}{
		{"all was had", []incident.EvidenceItem{whole}, []incident.EvidenceItem{whole, same}, ""},
		{"one is missing", []incident.EvidenceItem{whole, missing("logs", "no answer")}, nil, "\nEvidence missing: logs: no answer"},
		{"missing twice", []incident.EvidenceItem{missing("logs", "no answer")}, []incident.EvidenceItem{missing("logs", "no answer")}, "\nEvidence missing: logs: no answer"},
		{"missing comes first", []incident.EvidenceItem{noted("pods", "cut to 9 bytes")}, []incident.EvidenceItem{missing("logs", "no answer")}, "\nEvidence missing: logs: no answer\nEvidence: pods: cut to 9 bytes"},
		{"a long one", []incident.EvidenceItem{missing(strings.Repeat("n", 200), strings.Repeat("w", 400))}, nil, "\nEvidence missing: " + strings.Repeat("n", 79) + "…: " + strings.Repeat("w", 18) + "…"},
		{"as many as fit", []incident.EvidenceItem{missing("a", "x"), missing("b", "x"), missing("c", "x"), missing("d", "x")}, nil, "\nEvidence missing: a: x\nEvidence missing: b: x\nEvidence missing: c: x\nEvidence missing: d: x"},
		{"one more", []incident.EvidenceItem{missing("a", "x"), missing("b", "x"), missing("c", "x"), missing("d", "x"), noted("e", "y")}, nil, "\nEvidence missing: a: x\nEvidence missing: b: x\nEvidence missing: c: x\n… and 2 more remarks on evidence"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			v := rollingBack()
			rb := &v.Rollbacks[0]
			rb.Before = &incident.Manifest{Items: test.before}
			rb.After = &incident.Manifest{Items: test.after}
			shown := words(t, views.NewCard(v))
			require.Contains(t, shown, "and observed there"+test.want+"\n", "after the states of the targets")
			require.Equal(t, strings.Count(test.want, "Evidence"), strings.Count(shown, "Evidence"))
			require.NotContains(t, shown, "nothing changed")
		})
	}
}

// words is all text of a card.
func words(t *testing.T, c views.Card) string {
	t.Helper()
	var text strings.Builder
	for _, b := range c.Blocks {
		if rich, ok := b.(*slack.RichTextBlock); ok {
			for _, e := range rich.Elements {
				section, ok := e.(*slack.RichTextSection)
				require.True(t, ok)
				for _, piece := range section.Elements {
					if p, ok := piece.(*slack.RichTextSectionTextElement); ok {
						text.WriteString(p.Text)
					}
				}
				text.WriteString("\n")
			}
		}
	}
	return text.String()
}
