package views_test

import (
	"time"

	"github.com/backout/backout/workflows/incident"
)

var night = time.Date(2026, 3, 14, 3, 12, 8, 0, time.UTC)

func at(d time.Duration) time.Time { return night.Add(d) }

func digest(s string) string { return incident.DigestOf([]byte(s)) }

var (
	ada = incident.Person{ID: "ada@example.com", Name: "Ada Lovelace", SlackUser: "U0ADA"}
	bob = incident.Person{ID: "bob@example.com", Name: "Bob Noyce", SlackUser: "U0BOB"}
)

func action(service, from, to string, reversible bool) incident.Action {
	return incident.Action{
		Kind:       "nats.kv",
		Target:     incident.Target{System: "shop", Path: "releases/" + service},
		From:       incident.State{Revision: "8", Digest: digest(from), Label: from},
		To:         incident.State{Revision: "7", Digest: digest(to), Label: to},
		MaxTime:    time.Minute,
		OnFailure:  incident.OnFailureStop,
		Reversible: reversible,
	}
}

func culprit() incident.Suspect {
	return incident.Suspect{
		Change: incident.Change{
			ID: "releases/checkout@8", Source: "nats.kv", Kind: incident.ChangeDeploy, Service: "checkout",
			At: at(-3 * time.Minute), Author: "carol", From: "v41", To: "v42", Summary: "faster totals", URL: "https://git.example.com/shop/42",
		},
		Score:  0.92,
		Reason: "It changed checkout 58 s before the errors began, and nothing else did.",
	}
}

func option(id, title string, tier incident.Tier, actions ...incident.Action) incident.Option {
	return incident.Option{
		ID: id, Title: title, Tier: tier, TierReason: "One service, no shared state, reversible.",
		Plan: incident.Plan{
			Version: incident.PlanVersion, Incident: "pagerduty/Q1ABC", Service: "checkout", Strategy: incident.StrategyRollback,
			Runbook: "release-pointer", RunbookDigest: digest("runbook"), Option: id, Actions: actions,
		},
		Digest: digest(id), Rung: incident.RungReversible, ExpectedTime: 40 * time.Second,
		Preflight: []incident.Preflight{
			{Name: "revision exists", Result: incident.PreflightOK, Reason: "Revision 7 is in the history."},
			{Name: "was healthy", Result: incident.PreflightOK, Reason: "v41 met its objectives for 6 days."},
		},
	}
}

// collecting is an incident that has just been paged.
func collecting() incident.View {
	return incident.View{
		Key: "pagerduty/Q1ABC", Revision: 1, Phase: incident.PhaseCollecting, Title: "checkout: error rate above 5 %",
		Severity: incident.Sev1, Source: incident.SourcePagerDuty, SourceURL: "https://example.pagerduty.com/incidents/Q1ABC",
		Service: "checkout", Team: "payments", OpenedAt: at(-20 * time.Second), PagedAt: night,
		Ranking:    incident.Ranking{Likely: -1},
		ConsoleURL: "http://127.0.0.1:8080/incidents/pagerduty/Q1ABC",
		Timeline: []incident.Event{
			{ID: "pagerduty/Q1ABC/e1", Kind: incident.EventPage, At: night, Text: "Paged: checkout: error rate above 5 %", URL: "https://example.pagerduty.com/incidents/Q1ABC"},
		},
	}
}

// deciding is that incident with two options.
func deciding() incident.View {
	v := collecting()
	v.Revision, v.Phase, v.OptionsAt = 3, incident.PhaseDeciding, at(2*time.Second)
	s := culprit()
	v.Ranking = incident.Ranking{Suspects: []incident.Suspect{s, {Change: incident.Change{ID: "2", Source: "nats.kv", Kind: incident.ChangeConfig, Service: "cart", At: at(-40 * time.Minute)}, Score: 0.1, Reason: "Long before."}}, Likely: 0, Reason: "One change stands out."}
	back := option("o1", "Roll checkout back to v41", incident.TierOnCall, action("checkout", "v42", "v41", true))
	back.Suspect, back.Recommended = &s, true
	back.WontRevert = []string{"orders written by v42 since 03:09"}
	back.Radius = incident.BlastRadius{
		Services:     []incident.Reach{{Name: "checkout", Reason: "its shop/releases/checkout is changed"}},
		Dependents:   []incident.Reach{{Name: "storefront", Reason: "it calls checkout"}},
		TrafficShare: &incident.Measured{Value: new(0.23), Reason: "measured: checkout 23 %"},
		Replicas:     &incident.Measured{Reason: "checkout: there is no data"},
	}
	restore := option("o2", "Restore the orders table", incident.TierCommanderAndOwner, action("orders", "now", "snapshot 02:00", false))
	restore.TierReason = "It can not be undone."
	restore.Radius = incident.BlastRadius{
		Services:     []incident.Reach{{Name: "checkout", Reason: "its shop/releases/orders is changed"}},
		SharedData:   []incident.Reach{{Name: "orders-db", Reason: "restoring writes it; it is used by checkout, payments"}},
		Irreversible: []incident.Reach{{Name: "shop/releases/orders", Reason: "postgres.restore has no exact undo here"}},
	}
	restore.ExpectedTime = 12 * time.Minute
	back.BreakGlass, restore.BreakGlass = true, true
	restore.Risk = "Orders since the snapshot are lost."
	restore.WontRevert = []string{"e-mails that were sent"}
	restore.Preflight = append(restore.Preflight, incident.Preflight{Name: "deploy in flight", Result: incident.PreflightWarning, Reason: "A deploy of cart is running."})
	v.Options = []incident.Option{back, restore}
	v.Notes = []string{"github.deployments did not answer within 5 s"}
	v.Timeline = append(v.Timeline,
		incident.Event{ID: "pagerduty/Q1ABC/e2", Kind: incident.EventChange, At: at(time.Second), Text: "Found 2 changes"},
		incident.Event{ID: "pagerduty/Q1ABC/e3", Kind: incident.EventOptions, At: at(2 * time.Second), Text: "Offered 2 options"},
	)
	return v
}

// noOptions is an incident whose ranking abstains.
func noOptions() incident.View {
	v := deciding()
	v.Options = nil
	v.Ranking = incident.Ranking{Likely: -1, Reason: "Three changes are equally close."}
	return v
}

// blocked is an incident whose only option can not be chosen.
func blocked() incident.View {
	v := deciding()
	o := v.Options[0]
	o.Blocked = true
	o.Preflight = []incident.Preflight{
		{Name: "revision exists", Result: incident.PreflightBlocked, Reason: "Revision 7 was compacted away."},
		{Name: "permission", Result: incident.PreflightUnknown, Reason: "The store did not answer."},
	}
	v.Options = []incident.Option{o}
	return v
}

// waiting is an incident with one of two approvals.
func waiting() incident.View {
	v := deciding()
	v.Revision, v.Commander = 5, &ada
	v.Decisions = []incident.Decision{{
		ID: "d1", EventID: "pagerduty/Q1ABC/e4", OptionID: "o2", PlanDigest: digest("o2"), Answer: incident.AnswerApprove,
		Actor: incident.Actor{Via: incident.ViaSlack, SlackTeam: "T1", SlackUser: "U0ADA"}, Person: ada, Roles: []incident.Role{incident.RoleCommander},
		Outcome: incident.OutcomeWaiting, Sentence: "The owner of checkout has to approve too.", At: at(30 * time.Second),
	}}
	v.Waiting = "the owner of checkout, somebody other than Ada Lovelace, for o2"
	return v
}

// objections is an incident with an approved plan that waits for objections.
func objections() incident.View {
	v := deciding()
	v.Revision, v.Commander = 6, &ada
	o := &v.Options[0]
	o.Tier, o.TierReason = incident.TierCommander, "It touches shared data (orders-db)."
	until := at(132 * time.Second)
	v.Decisions = []incident.Decision{{
		ID: "d1", EventID: "pagerduty/Q1ABC/d1", OptionID: "o1", PlanDigest: o.Digest, Answer: incident.AnswerApprove,
		Actor: incident.Actor{Via: incident.ViaSlack, SlackTeam: "T1", SlackUser: "U0ADA"}, Person: ada, Roles: []incident.Role{incident.RoleCommander},
		Outcome: incident.OutcomeApproved, Sentence: "incident commander approved (Ada Lovelace); it starts at 03:14:20 UTC unless somebody objects", At: at(12 * time.Second),
		ObjectionsUntil: until, ExpiresAt: at(15 * time.Minute),
	}}
	v.Objections = &incident.Objections{OptionID: "o1", PlanDigest: o.Digest, EventID: "pagerduty/Q1ABC/d1", Approvers: []incident.Person{ada}, Until: until, ExpiresAt: at(15 * time.Minute)}
	return v
}

// rollingBack is an incident in the middle of a rollback of two targets.
func rollingBack() incident.View {
	v := deciding()
	v.Revision, v.Phase, v.Commander = 8, incident.PhaseRollingBack, &ada
	v.Decisions = []incident.Decision{{
		ID: "d1", EventID: "pagerduty/Q1ABC/e4", OptionID: "o1", PlanDigest: digest("o1"), Answer: incident.AnswerApprove,
		Actor: incident.Actor{Via: incident.ViaSlack, SlackTeam: "T1", SlackUser: "U0ADA"}, Person: ada,
		Roles: []incident.Role{incident.RoleOnCall, incident.RoleCommander}, Outcome: incident.OutcomeApproved,
		Sentence: "The on-call of checkout decides alone.", At: at(30 * time.Second),
	}}
	v.Rollbacks = []incident.RollbackView{{
		ID: "rollback/pagerduty/Q1ABC/1", OptionID: "o1", PlanDigest: digest("o1"), Service: "checkout", Runbook: "release-pointer", Option: "back", Status: incident.RollbackRunning, Step: "applying 2 of 2",
		Actions: []incident.ActionView{
			{Action: action("checkout", "v42", "v41", true), Status: incident.ActionDone, Observed: "v41", Applied: true, MutatedAt: at(33 * time.Second), FinishedAt: at(34 * time.Second)},
			{Action: action("cart", "v12", "v11", true), Status: incident.ActionRunning, Observed: "v12"},
		},
		Before: &incident.Manifest{Rollback: "rollback/pagerduty/Q1ABC/1", Phase: incident.EvidenceBefore, Digest: digest("before"), Items: []incident.EvidenceItem{
			{Name: "prometheus.range checkout errors", Collector: "prometheus.range", Digest: digest("range"), MediaType: "application/json", Size: 5120, Note: "cut to 5120 bytes: the document has 90210", At: at(31 * time.Second)},
			{Name: "diff of prometheus.range checkout errors", Collector: "diff", Digest: digest("none"), MediaType: "text/x-diff", Note: "nothing changed", At: at(31 * time.Second)},
			{Name: "nats.kv releases", Collector: "nats.kv", Missing: "the store did not answer within 5 s", At: at(32 * time.Second)},
		}},
		ApprovedAt: at(30 * time.Second), StartedAt: at(30 * time.Second), FirstMutationAt: at(33 * time.Second),
	}}
	v.Timeline = append(v.Timeline,
		incident.Event{ID: "pagerduty/Q1ABC/e4", Kind: incident.EventDecision, At: at(30 * time.Second), Actor: "Ada Lovelace", Text: "Approved o1"},
		incident.Event{ID: "rollback/pagerduty/Q1ABC/1/e1", Kind: incident.EventEvidence, At: at(32 * time.Second), Text: "Captured 1 of 2 pieces of evidence"},
		incident.Event{ID: "rollback/pagerduty/Q1ABC/1/e2", Kind: incident.EventIntent, At: at(33 * time.Second), Text: "About to move shop/releases/checkout to v41"},
		incident.Event{ID: "rollback/pagerduty/Q1ABC/1/e3", Kind: incident.EventActionDone, At: at(34 * time.Second), Text: "shop/releases/checkout is at v41"},
	)
	return v
}

func done(v incident.View) incident.View {
	rb := v.Rollbacks[0]
	rb.Status, rb.Step = incident.RollbackDone, ""
	rb.Actions = append([]incident.ActionView(nil), rb.Actions...)
	rb.Actions[1].Status, rb.Actions[1].Observed, rb.Actions[1].Applied = incident.ActionDone, "v11", true
	rb.ActionsDoneAt = at(36 * time.Second)
	v.Rollbacks = []incident.RollbackView{rb}
	return v
}

// validating is that incident after the last action.
func validating() incident.View {
	v := done(rollingBack())
	v.Revision, v.Phase = 10, incident.PhaseValidating
	v.Rollbacks[0].Recovery = &incident.RecoveryResult{
		Verdict: incident.VerdictUnknown, Reason: "Too few samples since the rollback", At: at(50 * time.Second),
		SLIs: []incident.SLIResult{{Name: "errors", Verdict: incident.VerdictUnknown, Reason: "2 of 5 samples", Objective: "< 0.01", Baseline: new(0.0012), During: new(0.081)}},
	}
	return v
}

// recovered is the good end.
func recovered() incident.View {
	v := done(rollingBack())
	v.Revision, v.Phase = 12, incident.PhaseRecovered
	rb := &v.Rollbacks[0]
	rb.FinishedAt = at(3 * time.Minute)
	rb.After = &incident.Manifest{Rollback: rb.ID, Phase: incident.EvidenceAfter, Digest: digest("after")}
	rb.Recovery = &incident.RecoveryResult{
		Verdict: incident.VerdictRecovered, Reason: "Both SLIs met their objective and look like before the change", At: at(3 * time.Minute),
		SLIs: []incident.SLIResult{
			{Name: "errors", Verdict: incident.VerdictRecovered, Reason: "0.0011 is below 0.01 and like before", Unit: "ratio", Objective: "< 0.01", Baseline: new(0.0012), During: new(0.081), After: new(0.0011)},
			{Name: "latency p99", Verdict: incident.VerdictRecovered, Reason: "0.21 s is below 0.5 s", Unit: "s", Objective: "< 0.5", Baseline: new(0.2), During: new(1.9), After: new(0.21)},
		},
	}
	rb.Chart = &incident.ChartRef{
		Digest: digest("light"), DarkDigest: digest("dark"), SlackFile: "F1", SlackURL: "https://example.slack.com/files/U1/F1/chart.png",
		URL: "https://github.com/example/postmortems/blob/backout-charts/charts/pagerduty-Q1ABC/1.png?raw=true", DarkURL: "https://github.com/example/postmortems/blob/backout-charts/charts/pagerduty-Q1ABC/2.png?raw=true",
	}
	v.Card = incident.CardRef{Channel: "C1", TS: "1.2", URL: "https://example.slack.com/archives/C1/p12"}
	v.Timeline = append(v.Timeline, incident.Event{ID: "rollback/pagerduty/Q1ABC/1/e9", Kind: incident.EventVerdict, At: at(3 * time.Minute), Text: "Recovered"})
	return v
}

// partial is an incident whose rollback failed half-way.
func partial() incident.View {
	v := rollingBack()
	v.Revision, v.Phase = 11, incident.PhaseStuck
	rb := v.Rollbacks[0]
	rb.Status, rb.Step, rb.Reason = incident.RollbackPartial, "", "cart could not be moved; checkout is at v41"
	rb.Actions = append([]incident.ActionView(nil), rb.Actions...)
	rb.Actions[1].Status, rb.Actions[1].Reason = incident.ActionFailed, "The store refused the write"
	rb.Actions = append(rb.Actions, incident.ActionView{Action: action("search", "v3", "v2", true), Status: incident.ActionSkipped, Observed: "v3"})
	v.Rollbacks = []incident.RollbackView{rb}
	v.Waiting = "a person to choose another option, or to undo the rollback"
	return v
}

// void is an incident whose plan moved before the first mutation.
func void() incident.View {
	v := rollingBack()
	v.Phase = incident.PhaseDeciding
	v.Rollbacks = []incident.RollbackView{{
		ID: "rollback/pagerduty/Q1ABC/1", OptionID: "o1", PlanDigest: digest("o1"), Service: "checkout", Runbook: "release-pointer", Option: "back", Status: incident.RollbackVoid,
		Reason: "Somebody deployed v43 meanwhile", ApprovedAt: at(30 * time.Second),
	}}
	return v
}

// closed is the end, with its postmortem.
func closed() incident.View {
	v := recovered()
	v.Revision, v.Phase, v.ClosedAt = 14, incident.PhaseClosed, at(10*time.Minute)
	v.Postmortem = incident.PostmortemRef{Number: 17, URL: "https://github.com/example/incidents/issues/17"}
	return v
}

// breakGlass is an incident that was decided past the policy.
func breakGlass() incident.View {
	v := recovered()
	v.Decisions = append([]incident.Decision{{
		ID: "d0", EventID: "pagerduty/Q1ABC/e4", OptionID: "o2", PlanDigest: digest("o2"), Answer: incident.AnswerRefuse, Person: bob,
		Outcome: incident.OutcomeRefused, Reason: "It loses orders", At: at(20 * time.Second),
	}}, v.Decisions...)
	v.Decisions[1].BreakGlass, v.Decisions[1].Reason = true, "nobody with authority answers"
	return v
}

// pinnedDown is the end of an incident about which people pinned what they said.
func pinnedDown() incident.View {
	v := closed()
	v.Postmortem.Due = at(7 * 24 * time.Hour)
	v.Pins = []incident.Pin{
		{
			Channel: "C1", TS: "1.5", EventID: "pagerduty/Q1ABC/n1", At: at(20 * time.Second), Author: "Bob Noyce", By: "Ada Lovelace", Text: "it is the *discounts*, see #12 <@here> | not the database",
			URL: "https://example.slack.com/archives/C1/p15", EditedAt: at(25 * time.Second),
			Images: []incident.PinImage{{Name: "p99 [spike].png", URL: "https://example.slack.com/files/F1"}, {Name: "bad", URL: "javascript:alert(1)"}},
		},
		{Channel: "C1", TS: "1.6", EventID: "pagerduty/Q1ABC/n2", At: at(26 * time.Hour), Author: "Bob Noyce", By: "Bob Noyce", Text: "the day after"},
	}
	v.Timeline = append(v.Timeline, incident.Event{ID: "pagerduty/Q1ABC/n1", Kind: incident.EventPin, At: at(time.Minute), Actor: "Ada Lovelace", Text: "pinned a message of Bob Noyce"})
	return v
}

func phases() map[string]incident.View {
	return map[string]incident.View{
		"collecting": collecting(), "deciding": deciding(), "no-options": noOptions(), "blocked": blocked(), "waiting": waiting(),
		"objections":   objections(),
		"rolling-back": rollingBack(), "validating": validating(), "recovered": recovered(), "partial": partial(), "void": void(),
		"closed": closed(), "pinned": pinnedDown(), "break-glass": breakGlass(), "zero": {},
	}
}
