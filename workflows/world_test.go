package workflows_test

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
	"github.com/backout/backout/workflows/worker"
)

// world stands in for every activity of one test: it answers as told and
// remembers what it was asked. Its zero answers are those of a good day.
type world struct {
	env *testsuite.TestWorkflowEnvironment

	mu       sync.Mutex
	calls    []string
	entries  []incident.Entry
	cards    []incident.View
	executed []incident.Action
	measured int
	escalate []string
	escalIDs []string
	decided  []activities.DecideInput
	open     []incident.Page
	held     []string
	asked    []string
	sent     []incident.Page
	said     []activities.SayInput

	paged []activities.PageOverseerInput

	// overseers is who must know of an approval past the policy.
	overseers activities.Overseers
	watch     *activities.RecoveryPlan
	// shown counts the cards that took a record along.
	shown int
	// unshown says that a card can not be shown beside a record.
	unshown bool
	// takes is how long an activity takes, by its name.
	takes     map[string]time.Duration
	record    func([]incident.Entry) error
	authorize func(activities.AuthorizeInput) (activities.AuthorizeResult, error)
	call      func(activities.EscalateInput) error
	page      func(activities.PageOverseerInput) error
	say       func(activities.SayInput) error
	ask       func(activities.AskInput) (incident.Page, error)
	collect   func(activities.CollectInput) (activities.CollectResult, error)
	decide    func(activities.DecideInput) (activities.DecideResult, error)
	evidence  func(activities.EvidenceInput) (incident.Manifest, error)
	replan    func(activities.ReplanInput) (activities.ReplanResult, error)
	execute   func(activities.ExecuteInput) (incident.ActionView, error)
	measure   func(n int, at time.Time) incident.RecoveryResult
	// judge is measure with what was asked for.
	judge func(n int, in activities.MeasureInput) incident.RecoveryResult
	// drawn and shared are the charts that were asked for.
	drawn  []activities.ChartInput
	shared []activities.ShareChartInput
	draw   func(activities.ChartInput) (incident.ChartRef, error)
	share  func(activities.ShareChartInput) (incident.PictureRef, error)
	// notes are what was noted at the source.
	notes []activities.NoteInput
	// ref is what the postmortem's issue is, if not the usual one.
	ref *incident.PostmortemRef
	// drafts are the views that the postmortem was written from.
	drafts []incident.View
	// looked are the messages that were looked at, and readPin what they say.
	looked  []incident.PinRequest
	readPin func(n int, q incident.PinRequest) (activities.PinResult, error)
	// keepImages is what becomes of the images of a pinned message, images those
	// that were asked for.
	keepImages func(activities.KeepImagesInput) (activities.KeepImagesResult, error)
	images     []activities.KeepImagesInput
	// stands is how the postmortem stands, remarks what was said under it.
	stands  func(n int) (activities.FollowUpState, error)
	looks   int
	remarks []activities.RemarkInput
	remark  func(activities.RemarkInput) error
}

func newWorld(t *testing.T) *world {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	w := &world{env: suite.NewTestWorkflowEnvironment(), takes: map[string]time.Duration{}}
	w.env.SetTestTimeout(20 * time.Second)
	worker.RegisterWorkflows(w.env)
	var a *activities.Activities
	w.env.RegisterActivity(a)
	w.env.SetStartTime(opened)
	on := func(activity, implementation any) {
		name := activityName(activity)
		w.env.OnActivity(activity, mock.Anything, mock.Anything).Return(implementation).AfterFn(func() time.Duration {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.takes[name]
		})
	}

	record := func(entries []incident.Entry) error {
		w.note("Record")
		if w.record != nil {
			if err := w.record(entries); err != nil {
				return err
			}
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, e := range entries {
			// As in the ledger, the same entry is there once.
			if !slices.ContainsFunc(w.entries, func(have incident.Entry) bool { return have.ID == e.ID }) {
				w.entries = append(w.entries, e)
			}
		}
		return nil
	}
	publish := func(v incident.View) incident.CardRef {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.cards = append(w.cards, v)
		return incident.CardRef{Channel: "C1", TS: "1.1"}
	}
	on(a.Record, func(_ context.Context, in activities.RecordInput) error { return record(in.Entries) })
	on(a.PublishCard, func(_ context.Context, v incident.View) (incident.CardRef, error) { return publish(v), nil })
	on(a.Show, func(_ context.Context, in activities.ShowInput) (activities.ShowResult, error) {
		w.mu.Lock()
		w.shown++
		w.mu.Unlock()
		if w.unshown {
			return activities.ShowResult{Recorded: record(in.Entries) == nil}, nil
		}
		ref := publish(in.View)
		return activities.ShowResult{Card: &ref, Recorded: record(in.Entries) == nil}, nil
	})
	on(a.CollectOptions, func(_ context.Context, in activities.CollectInput) (activities.CollectResult, error) {
		w.note("CollectOptions")
		if w.collect != nil {
			return w.collect(in)
		}
		return activities.CollectResult{Service: "checkout", Ranking: incident.Ranking{Likely: -1}, Options: []incident.Option{option(t, "o1")}, DecideWithin: 10 * time.Minute}, nil
	})
	on(a.Decide, func(_ context.Context, in activities.DecideInput) (activities.DecideResult, error) {
		w.note("Decide")
		w.mu.Lock()
		w.decided = append(w.decided, in)
		w.mu.Unlock()
		if w.decide != nil {
			return w.decide(in)
		}
		return decided(in, incident.OutcomeApproved), nil
	})
	on(a.Authorize, func(_ context.Context, in activities.AuthorizeInput) (activities.AuthorizeResult, error) {
		if w.authorize != nil {
			return w.authorize(in)
		}
		return activities.AuthorizeResult{Outcome: incident.OutcomeAccepted, Person: ada}, nil
	})
	on(a.Escalate, func(_ context.Context, in activities.EscalateInput) error {
		w.mu.Lock()
		w.calls, w.escalIDs = append(w.calls, "Escalate"), append(w.escalIDs, in.ID)
		w.mu.Unlock()
		if w.call != nil {
			if err := w.call(in); err != nil {
				return err
			}
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.escalate = append(w.escalate, in.Reason)
		return nil
	})
	on(a.FindOverseers, func(_ context.Context, in activities.OverseersInput) (activities.Overseers, error) {
		w.note("FindOverseers " + in.Option.ID)
		return w.overseers, nil
	})
	on(a.PageOverseer, func(_ context.Context, in activities.PageOverseerInput) error {
		w.note("PageOverseer " + in.Overseer.ServiceID)
		if w.page != nil {
			if err := w.page(in); err != nil {
				return err
			}
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.paged = append(w.paged, in)
		return nil
	})
	on(a.NoteAtSource, func(_ context.Context, in activities.NoteInput) error {
		w.note("NoteAtSource")
		w.mu.Lock()
		defer w.mu.Unlock()
		w.notes = append(w.notes, in)
		return nil
	})
	on(a.Say, func(_ context.Context, in activities.SayInput) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.said = append(w.said, in)
		if w.say != nil {
			return w.say(in)
		}
		return nil
	})
	on(a.ReadPin, func(_ context.Context, q incident.PinRequest) (activities.PinResult, error) {
		w.mu.Lock()
		w.looked = append(w.looked, q)
		n := len(w.looked)
		w.mu.Unlock()
		return w.readPin(n, q)
	})
	on(a.KeepPinImages, func(_ context.Context, in activities.KeepImagesInput) (activities.KeepImagesResult, error) {
		w.mu.Lock()
		w.images = append(w.images, in)
		w.mu.Unlock()
		if w.keepImages != nil {
			return w.keepImages(in)
		}
		return activities.KeepImagesResult{}, nil
	})
	on(a.LookAtPostmortem, func(context.Context, incident.FollowUpInput) (activities.FollowUpState, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.looks++
		return w.stands(w.looks)
	})
	on(a.RemarkOnPostmortem, func(_ context.Context, in activities.RemarkInput) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.remarks = append(w.remarks, in)
		if w.remark != nil {
			return w.remark(in)
		}
		return nil
	})
	on(a.WritePostmortem, func(_ context.Context, in activities.PostmortemInput) (incident.PostmortemRef, error) {
		w.note("WritePostmortem")
		w.mu.Lock()
		defer w.mu.Unlock()
		w.drafts = append(w.drafts, in.View)
		if w.ref != nil {
			return *w.ref, nil
		}
		return incident.PostmortemRef{Number: 7, URL: "https://git.example.com/7"}, nil
	})
	on(a.DrawRecovery, func(_ context.Context, in activities.ChartInput) (incident.ChartRef, error) {
		w.note("DrawRecovery")
		w.mu.Lock()
		w.drawn = append(w.drawn, in)
		w.mu.Unlock()
		if w.draw != nil {
			return w.draw(in)
		}
		return incident.ChartRef{Digest: incident.DigestOf([]byte("light")), DarkDigest: incident.DigestOf([]byte("dark"))}, nil
	})
	on(a.ShareChart, func(_ context.Context, in activities.ShareChartInput) (incident.PictureRef, error) {
		w.note("ShareChart")
		w.mu.Lock()
		w.shared = append(w.shared, in)
		w.mu.Unlock()
		if w.share != nil {
			return w.share(in)
		}
		return incident.PictureRef{File: "F1", URL: "https://chat.example.com/files/U1/F1/chart.png"}, nil
	})
	on(a.OpenReview, func(_ context.Context, in activities.ReviewInput) (incident.PostmortemRef, error) {
		w.note("OpenReview " + in.Due.Format(time.DateOnly))
		return incident.PostmortemRef{Number: 8, URL: "https://git.example.com/8"}, nil
	})
	on(a.CaptureEvidence, func(_ context.Context, in activities.EvidenceInput) (incident.Manifest, error) {
		w.note("CaptureEvidence " + string(in.Phase))
		if w.evidence != nil {
			return w.evidence(in)
		}
		return incident.Manifest{Rollback: in.Rollback, Phase: in.Phase, Digest: incident.DigestOf([]byte(in.Phase))}, nil
	})
	on(a.Replan, func(_ context.Context, in activities.ReplanInput) (activities.ReplanResult, error) {
		w.note("Replan")
		if w.replan != nil {
			return w.replan(in)
		}
		return activities.ReplanResult{Digest: in.Digest}, nil
	})
	on(a.ExecuteAction, func(_ context.Context, in activities.ExecuteInput) (incident.ActionView, error) {
		w.note("ExecuteAction")
		w.mu.Lock()
		w.executed = append(w.executed, in.Action)
		w.mu.Unlock()
		if w.execute != nil {
			return w.execute(in)
		}
		return done(in.Action, w.env.Now()), nil
	})
	on(a.RecoveryPlan, func(context.Context, incident.Plan) (activities.RecoveryPlan, error) {
		if w.watch != nil {
			return *w.watch, nil
		}
		return activities.RecoveryPlan{Warmup: 10 * time.Second, Every: 5 * time.Second, Long: time.Minute, Hold: 30 * time.Second, Deadline: 5 * time.Minute}, nil
	})
	on(a.MeasureRecovery, func(_ context.Context, in activities.MeasureInput) (incident.RecoveryResult, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.measured++
		if w.judge != nil {
			return w.judge(w.measured, in), nil
		}
		if w.measure != nil {
			return w.measure(w.measured, w.env.Now()), nil
		}
		return verdict(incident.VerdictRecovered, w.env.Now()), nil
	})
	on(a.HeldIncidents, func(context.Context, incident.Source) ([]string, error) { return w.held, nil })
	on(a.OpenIncidents, func(context.Context, incident.Source) ([]incident.Page, error) { return w.open, nil })
	on(a.AskIncident, func(_ context.Context, in activities.AskInput) (incident.Page, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.asked = append(w.asked, in.ID)
		return w.ask(in)
	})
	on(a.DeliverPage, func(_ context.Context, p incident.Page) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.sent = append(w.sent, p)
		return nil
	})
	return w
}

// activityName is the last part of a method's name.
func activityName(method any) string {
	name := runtime.FuncForPC(reflect.ValueOf(method).Pointer()).Name()
	return strings.TrimSuffix(name[strings.LastIndexByte(name, '.')+1:], "-fm")
}

func (w *world) note(call string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, call)
}

var (
	ada = incident.Person{ID: "ada@example.com", Name: "Ada"}
	bob = incident.Person{ID: "bob@example.com", Name: "Bob"}

	errDrift = temporal.NewNonRetryableApplicationError("it is at v43", incident.ErrTypeDrift, errors.New("drift"))
)

// action is one reversible action on a target of its own.
func action(path string) incident.Action {
	return incident.Action{
		Kind: "nats.kv", Target: incident.Target{System: "shop", Path: path},
		From:    incident.State{Revision: "4", Digest: incident.DigestOf([]byte(path + "v42")), Label: "v42"},
		To:      incident.State{Revision: "1", Digest: incident.DigestOf([]byte(path + "v41")), Label: "v41"},
		MaxTime: time.Minute, OnFailure: incident.OnFailureStop, Reversible: true,
	}
}

func option(t *testing.T, id string, actions ...incident.Action) incident.Option {
	t.Helper()
	if len(actions) == 0 {
		actions = []incident.Action{action("releases/checkout")}
	}
	plan := incident.Plan{
		Version: incident.PlanVersion, Incident: "pagerduty/Q1", Service: "checkout", Strategy: incident.StrategyRollback,
		Runbook: "release", RunbookDigest: incident.DigestOf([]byte("runbook")), Option: "release-" + id, Actions: actions,
	}
	digest, err := plan.Digest()
	require.NoError(t, err)
	return incident.Option{ID: id, Title: "Roll checkout back", Plan: plan, Digest: digest, Tier: incident.TierOnCall}
}

func done(a incident.Action, at time.Time) incident.ActionView {
	return incident.ActionView{Action: a, Status: incident.ActionDone, Applied: true, MutatedAt: at, FinishedAt: at, Observed: a.To.Label}
}

func verdict(v incident.Verdict, at time.Time) incident.RecoveryResult {
	return incident.RecoveryResult{Verdict: v, Reason: "because", At: at}
}

func decided(in activities.DecideInput, o incident.Outcome) activities.DecideResult {
	person := ada
	if in.Request.Actor.SlackUser == "UBOB" {
		person = bob
	}
	return activities.DecideResult{
		Approvers: []incident.Person{person},
		Decision: incident.Decision{
			ID: in.Request.DecisionID, EventID: in.EventID, OptionID: in.Request.OptionID, PlanDigest: in.Request.PlanDigest,
			Answer: in.Request.Answer, Person: person, Outcome: o, Sentence: string(o), At: in.Now,
		},
	}
}

var defaultConverter = converter.GetDefaultDataConverter()

// rollbackStarted remembers when the change happened that a rollback is told of.
func rollbackStarted(t *testing.T, changed *time.Time) func(*workflow.Info, workflow.Context, converter.EncodedValues) {
	t.Helper()
	return func(info *workflow.Info, _ workflow.Context, args converter.EncodedValues) {
		if info.WorkflowType.Name != incident.WorkflowRollback {
			return
		}
		var in incident.RollbackInput
		if args.Get(&in) == nil {
			*changed = in.ChangedAt
		}
	}
}

// ledgerAway makes the ledger fail until back is called.
func (w *world) ledgerAway() (back func()) {
	var there atomic.Bool
	w.record = func([]incident.Entry) error {
		if there.Load() {
			return nil
		}
		return temporal.NewApplicationError("the disk is full", incident.ErrTypeLedger)
	}
	return func() { there.Store(true) }
}
