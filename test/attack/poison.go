package attack

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/backout/backout/workflows/incident"
)

// made are the fields that Backout makes itself, so that no text from outside is
// ever in them.
var made = []string{"Key", "Digest", "PlanDigest", "RunbookDigest", "PolicyDigest"}

// Poison puts a text into every field of a view that is text, whatever the field
// is about, and however deep. Words of Backout's own vocabulary, which have types of
// their own, and identifiers of options stay.
func Poison(v incident.View, text string) incident.View {
	poison(reflect.ValueOf(&v).Elem(), text)
	for i := range v.Options {
		v.Options[i].ID = "o" + string(rune('1'+i))
	}
	for i := range v.Rollbacks {
		v.Rollbacks[i].OptionID = "o1"
	}
	return v
}

func poison(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			if !slices.Contains(made, v.Type().Field(i).Name) {
				poison(v.Field(i), text)
			}
		}
	case reflect.Pointer:
		if !v.IsNil() {
			fresh := reflect.New(v.Type().Elem())
			fresh.Elem().Set(v.Elem())
			poison(fresh.Elem(), text)
			v.Set(fresh)
		}
	case reflect.Slice:
		fresh := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(fresh, v)
		for i := range fresh.Len() {
			poison(fresh.Index(i), text)
		}
		if v.Len() > 0 {
			v.Set(fresh)
		}
	case reflect.String:
		if v.Type() == reflect.TypeFor[string]() {
			v.SetString(text)
		}
	default:
	}
}

// Incident is a view with something in each of its parts.
func Incident(phase incident.Phase) incident.View {
	at := time.Date(2026, 3, 14, 3, 12, 8, 0, time.UTC)
	digest := func(s string) string { return incident.DigestOf([]byte(s)) }
	ada := incident.Person{ID: "ada@shop.example", Name: "Ada Okafor", Email: "ada@shop.example"}
	suspect := incident.Suspect{Score: 0.9, Reason: "It came first.", Change: incident.Change{
		ID: "c1", Source: "nats.kv", Kind: incident.ChangeDeploy, Service: "checkout", At: at, Author: "sam", From: "v41", To: "v42", Summary: "faster", URL: "https://git.shop.example/42",
	}}
	action := incident.Action{
		Kind: "nats.kv", Target: incident.Target{System: "shop", Path: "releases/checkout"}, MaxTime: time.Minute, OnFailure: incident.OnFailureStop, Reversible: true,
		From: incident.State{Revision: "8", Digest: digest("8"), Label: "v42"}, To: incident.State{Revision: "7", Digest: digest("7"), Label: "v41"},
	}
	reach := []incident.Reach{{Name: "checkout", Reason: "The plan changes it."}}
	option := incident.Option{
		ID: "o1", Title: "Roll back", Digest: digest("o1"), Tier: incident.TierOnCall, TierReason: "One service.", Rung: incident.RungReversible,
		Plan:   incident.Plan{Version: incident.PlanVersion, Incident: "pagerduty/Q1", Service: "checkout", Strategy: incident.StrategyRollback, Runbook: "release", Option: "back", Actions: []incident.Action{action}},
		Radius: incident.BlastRadius{Services: reach, Dependents: reach, SharedData: reach, Global: &reach[0], Irreversible: reach}, Suspect: &suspect,
		ExpectedTime: time.Minute, Risk: "Orders fail once.", WontRevert: []string{"orders"}, Authors: []string{"sam"}, Recommended: true,
		Preflight: []incident.Preflight{{Name: "exists", Result: incident.PreflightOK, Reason: "It does."}, {Name: "healthy", Result: incident.PreflightWarning, Reason: "It was not."}},
	}
	blocked := option
	blocked.ID, blocked.Digest, blocked.Blocked, blocked.Recommended = "o2", digest("o2"), true, false
	blocked.Preflight = []incident.Preflight{{Name: "exists", Result: incident.PreflightBlocked, Reason: "It is gone."}}
	manifest := func(p incident.EvidencePhase) *incident.Manifest {
		return &incident.Manifest{Rollback: "rollback/pagerduty/Q1/1", Phase: p, Digest: digest(string(p)), Items: []incident.EvidenceItem{
			{Name: "pods", Collector: "kubernetes.pods", Digest: digest("pods"), MediaType: "text/plain", Size: 1, At: at}, {Name: "logs", Collector: "kubernetes.logs", Missing: "no answer", At: at},
		}}
	}
	half := 0.5
	decision := incident.Decision{
		ID: "d1", EventID: "pagerduty/Q1/d1", OptionID: "o1", PlanDigest: digest("o1"), Answer: incident.AnswerApprove, Person: ada, Roles: []incident.Role{incident.RoleOnCall},
		Actor:   incident.Actor{Via: incident.ViaSlack, SlackTeam: "T1", SlackUser: "U1", Channel: "C1", Login: "ada"},
		Outcome: incident.OutcomeApproved, Sentence: "Approved.", Reason: "because", At: at, BreakGlass: true,
	}
	refusal := decision
	refusal.Answer, refusal.Outcome, refusal.BreakGlass, refusal.PlanDigest = incident.AnswerRefuse, incident.OutcomeRefused, false, digest("o2")
	return incident.View{
		Key: "pagerduty/Q1", Revision: 3, Phase: phase, Title: "orders fail", Severity: incident.Sev1, Source: incident.SourcePagerDuty, SourceURL: "https://pager.example/Q1",
		Service: "checkout", Team: "orders", Commander: &ada, OpenedAt: at, PagedAt: at, OptionsAt: at, Ranking: incident.Ranking{Suspects: []incident.Suspect{suspect}, Likely: 0, Reason: "One stands out."},
		Options: []incident.Option{option, blocked}, Decisions: []incident.Decision{decision, refusal}, Waiting: "an owner",
		Rollbacks: []incident.RollbackView{{
			ID: "rollback/pagerduty/Q1/1", OptionID: "o1", PlanDigest: digest("o1"), Service: "checkout", Runbook: "release", Option: "back", Status: incident.RollbackPartial, Step: "applying", Reason: "it broke",
			Actions: []incident.ActionView{{Action: action, Status: incident.ActionFailed, Observed: "v42", Reason: "refused", Applied: true}}, Before: manifest(incident.EvidenceBefore), After: manifest(incident.EvidenceAfter),
			Recovery: &incident.RecoveryResult{Verdict: incident.VerdictUnknown, Reason: "no data", At: at, SLIs: []incident.SLIResult{{Name: "errors", Verdict: incident.VerdictUnknown, Reason: "no data", Unit: "ratio", Objective: "< 0.01", Baseline: &half}}},
			Events:   []incident.Event{{ID: "rollback/pagerduty/Q1/1/e1", Kind: incident.EventIntent, At: at, Text: "about to"}}, ApprovedAt: at, StartedAt: at, FirstMutationAt: at,
		}},
		Timeline: []incident.Event{{ID: "pagerduty/Q1/e1", Kind: incident.EventPage, At: at, Actor: "ada", Text: "paged", URL: "https://pager.example/Q1"}},
		Card:     incident.CardRef{Channel: "C1", TS: "1.2", URL: "https://slack.example/p12"}, Postmortem: incident.PostmortemRef{Number: 1, URL: "https://git.example/1"},
		Notes: []string{"a source did not answer"}, ConsoleURL: "https://backout.example/incidents/pagerduty/Q1",
	}
}

// Phases are all phases of an incident.
func Phases() []incident.Phase {
	return []incident.Phase{
		incident.PhaseCollecting, incident.PhaseDeciding, incident.PhaseRollingBack, incident.PhaseValidating, incident.PhaseRecovered, incident.PhaseStuck, incident.PhaseClosed,
	}
}

// Quiet reports whether no terminal, editor or reader acts on a text: it holds no
// control characters but line feeds and tabs, and nothing that hides text or turns
// its direction.
func Quiet(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		switch {
		case r == '\n' || r == '\t':
			return false
		case r < ' ' || r >= 0x7f && r <= 0x9f:
			return true
		case r == '\u061c' || r >= '\u200b' && r <= '\u200f' || r >= '\u2028' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' || r == '\ufeff':
			return true
		default:
			return r >= 0xe0000 && r <= 0xe007f
		}
	})
}
