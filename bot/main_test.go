package bot_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/bot"
	"github.com/backout/backout/integrations/slack"
	"github.com/backout/backout/workflows/incident"
	"github.com/backout/backout/workflows/worker/embedded"
)

// temporalClient reaches the one Temporal server of all tests; each test has
// incidents and channels of its own.
var temporalClient client.Client

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	dir, err := os.MkdirTemp("", "bot")
	if err != nil {
		return fail(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	server, err := embedded.Start(ctx, embedded.Options{
		Dir: dir, UIPort: embedded.UIOff, Synchronous: embedded.SyncNormal, Logger: slog.New(slog.DiscardHandler),
		SearchAttributes: map[string]enumspb.IndexedValueType{
			incident.SearchPhase: enumspb.INDEXED_VALUE_TYPE_KEYWORD, incident.SearchService: enumspb.INDEXED_VALUE_TYPE_KEYWORD,
			incident.SearchSeverity: enumspb.INDEXED_VALUE_TYPE_KEYWORD,
		},
	})
	if err != nil {
		return fail(err)
	}
	defer bounded("the Temporal server", func() { _ = server.Stop() })
	temporalClient, err = client.DialContext(ctx, client.Options{
		HostPort: server.Address(), Namespace: embedded.DefaultNamespace, Logger: sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
	if err != nil {
		return fail(err)
	}
	defer temporalClient.Close()
	w := worker.New(temporalClient, incident.TaskQueue, worker.Options{})
	w.RegisterWorkflowWithOptions(standIn, workflow.RegisterOptions{Name: incident.WorkflowIncident})
	w.RegisterWorkflowWithOptions(followStandIn, workflow.RegisterOptions{Name: incident.WorkflowFollowUp})
	w.RegisterActivity(unidentified)
	if err := w.Start(); err != nil {
		return fail(err)
	}
	defer bounded("the worker", w.Stop)
	return m.Run()
}

// bounded goes on without what does not stop in time.
func bounded(what string, stop func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		stop()
	}()
	select {
	case <-done:
	case <-time.After(patience):
		fmt.Fprintf(os.Stderr, "waited %s in vain for the end of %s\n", patience, what)
	}
}

func planDigest(option string) string { return incident.DigestOf([]byte(option)) }

// directories are who is who, by the channel where people speak.
var directories sync.Map

// unidentified says why somebody is nobody; empty when they are one person, or
// nobody keeps a directory for their channel.
func unidentified(ctx context.Context, a incident.Actor) (string, error) {
	d, ok := directories.Load(a.Channel)
	if !ok {
		return "", nil
	}
	_, err := d.(*slack.Directory).Identify(ctx, a)
	if errors.Is(err, incident.ErrNoIdentity) {
		return err.Error(), nil
	}
	return "", err
}

// standIn speaks the incident's contract with the simplest rules there can be:
// the first approval of a plan by one known person counts, a resolved page or
// "close" ends it, and "escalate" answers only after the next "options".
func standIn(ctx workflow.Context, in incident.IncidentInput) error {
	v := incident.View{
		Key: in.Key, Phase: incident.PhaseDeciding, Severity: incident.Sev2, Service: "checkout", Ranking: incident.Ranking{Likely: -1},
		Options: []incident.Option{{
			ID: "o1", Title: "Back to v41", Digest: planDigest("o1"), Tier: incident.TierOnCall, Recommended: true,
			Plan: incident.Plan{Service: "checkout", Actions: []incident.Action{{Kind: "x", Reversible: true, Target: incident.Target{System: "shop", Path: "checkout"}}}},
		}},
	}
	results := map[string]incident.Result{}
	over, refreshed, approved := false, false, ""
	mutex := workflow.NewMutex(ctx)
	keep := func(id string, r incident.Result) (incident.Result, error) {
		v.Revision++
		r.Revision = v.Revision
		results[id] = r
		return r, nil
	}
	handlers := map[string]any{
		incident.UpdatePage: func(_ workflow.Context, p incident.Page) (incident.Result, error) {
			if r, ok := results["page"+p.EventID]; ok {
				r.Outcome = incident.OutcomeDuplicate
				return r, nil
			}
			v.Title, v.Timeline = p.Title, append(v.Timeline, incident.Event{ID: p.EventID, Kind: incident.EventPage, At: p.OccurredAt, Text: string(p.Kind)})
			if p.Channel != "" {
				v.Card = incident.CardRef{Channel: p.Channel, TS: "1700000000.000100"}
				if p.ServiceID != "" {
					v.Card.TS = p.ServiceID
				}
			}
			over = over || p.Kind == incident.PageResolved
			if p.Service != "" {
				v.Service = p.Service
			}
			if p.Service == guardedService && len(v.Options) == 1 {
				v.Options = append(v.Options, guardedOption())
			}
			return keep("page"+p.EventID, incident.Result{Outcome: incident.OutcomeAccepted})
		},
		incident.UpdateDecide: func(ctx workflow.Context, q incident.DecideRequest) (incident.Result, error) {
			if err := mutex.Lock(ctx); err != nil {
				return incident.Result{}, err
			}
			defer mutex.Unlock()
			if r, ok := results["decide"+q.DecisionID]; ok {
				return r, nil
			}
			var nobody string
			ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{ScheduleToCloseTimeout: patience})
			if err := workflow.ExecuteLocalActivity(ctx, unidentified, q.Actor).Get(ctx, &nobody); err != nil {
				return incident.Result{}, err
			}
			r := incident.Result{Outcome: incident.OutcomeApproved}
			switch {
			case nobody != "":
				r = incident.Result{Outcome: incident.OutcomeUnidentified}
			case q.PlanDigest != planDigest(q.OptionID):
				r = incident.Result{Outcome: incident.OutcomeStale}
			case approved != "":
				r = incident.Result{Outcome: incident.OutcomeLate, By: approved}
			case q.OptionID == guardedOption().ID && q.Answer == incident.AnswerApprove && (q.StepUp == nil || q.StepUp.PlanDigest != q.PlanDigest):
				r = incident.Result{Outcome: incident.OutcomeDenied, Reason: "it needs a second proof"}
			case q.Answer == incident.AnswerRefuse:
				r = incident.Result{Outcome: incident.OutcomeRefused}
			default:
				approved = q.Actor.String()
			}
			v.Decisions = append(v.Decisions, incident.Decision{ID: q.DecisionID, OptionID: q.OptionID, Answer: q.Answer, Actor: q.Actor, Outcome: r.Outcome, Reason: q.Reason, BreakGlass: q.BreakGlass, StepUp: q.StepUp})
			return keep("decide"+q.DecisionID, r)
		},
		incident.UpdatePin: func(_ workflow.Context, q incident.PinRequest) (incident.Result, error) {
			v.Timeline = append(v.Timeline, incident.Event{ID: q.EventID, Kind: incident.EventPin, Text: q.TS, Actor: q.Actor.SlackUser})
			if q.Actor.SlackUser == "U0GUEST" {
				return keep("pin"+q.EventID, incident.Result{Outcome: incident.OutcomeUnidentified, Reason: "only people can pin"})
			}
			v.Pins = slices.DeleteFunc(slices.Clone(v.Pins), func(p incident.Pin) bool { return p.TS == q.TS && q.Actor == (incident.Actor{}) })
			if q.Actor != (incident.Actor{}) {
				v.Pins = append(v.Pins, incident.Pin{Channel: q.Channel, TS: q.TS, EventID: q.EventID})
			}
			return keep("pin"+q.EventID, incident.Result{Outcome: incident.OutcomeAccepted})
		},
		incident.UpdateCommand: func(ctx workflow.Context, q incident.CommandRequest) (incident.Result, error) {
			v.Timeline = append(v.Timeline, incident.Event{ID: q.CommandID, Kind: incident.EventCommand, Text: string(q.Verb), Actor: q.Actor.String()})
			refreshed = refreshed || q.Verb == incident.VerbRefresh
			if q.Verb == incident.VerbEscalate {
				if err := workflow.Await(ctx, func() bool { return refreshed }); err != nil {
					return incident.Result{}, err
				}
			}
			over = over || q.Verb == incident.VerbClose
			to := ""
			if q.To != nil {
				to = " for " + q.To.String()
			}
			return keep("command"+q.CommandID, incident.Result{Outcome: incident.OutcomeAccepted, Reason: "the answer to " + string(q.Verb) + to})
		},
	}
	if err := workflow.SetQueryHandler(ctx, incident.QueryView, func() (incident.View, error) { return v, nil }); err != nil {
		return err
	}
	for _, name := range []string{incident.UpdatePage, incident.UpdateDecide, incident.UpdateCommand, incident.UpdatePin} {
		if err := workflow.SetUpdateHandler(ctx, name, handlers[name]); err != nil {
			return err
		}
	}
	if err := workflow.UpsertTypedSearchAttributes(ctx,
		temporal.NewSearchAttributeKeyKeyword(incident.SearchPhase).ValueSet(string(v.Phase)),
		temporal.NewSearchAttributeKeyKeyword(incident.SearchService).ValueSet("checkout"),
	); err != nil {
		return err
	}
	workflow.Go(ctx, func(ctx workflow.Context) {
		var a incident.Attempt
		for workflow.GetSignalChannel(ctx, incident.SignalAttempt).Receive(ctx, &a) {
			v.Timeline = append(v.Timeline, incident.Event{ID: fmt.Sprint("attempt", len(v.Timeline)), Kind: incident.EventAttempt, Text: a.Text, Actor: a.Actor.String()})
		}
	})
	return workflow.Await(ctx, func() bool { return over && workflow.AllHandlersFinished(ctx) })
}

// followStandIn speaks the contract of who follows a postmortem, of an incident that is
// over already.
func followStandIn(ctx workflow.Context, in incident.FollowUpInput) error {
	v := in.State.View
	if err := workflow.SetQueryHandler(ctx, incident.QueryView, func() (incident.View, error) { return v, nil }); err != nil {
		return err
	}
	if err := workflow.SetUpdateHandler(ctx, incident.UpdatePin, func(_ workflow.Context, q incident.PinRequest) (incident.Result, error) {
		v.Timeline = append(v.Timeline, incident.Event{ID: q.EventID, Kind: incident.EventPin, Text: q.TS, Actor: q.Actor.SlackUser})
		switch {
		case q.Actor.SlackUser == "U0GUEST":
			return incident.Result{Outcome: incident.OutcomeUnidentified, Reason: "only people can pin"}, nil
		case q.Actor != (incident.Actor{}):
			v.Pins = append(v.Pins, incident.Pin{Channel: q.Channel, TS: q.TS, EventID: q.EventID})
		case len(v.Timeline) > 2: // The second event about a pinned message takes it out.
			v.Pins = nil
		}
		return incident.Result{Outcome: incident.OutcomeAccepted}, nil
	}); err != nil {
		return err
	}
	return workflow.Await(ctx, func() bool { return false })
}

var (
	serialMutex sync.Mutex
	serial      int
)

// unique is a name that no other test has.
func unique(prefix string) string {
	serialMutex.Lock()
	defer serialMutex.Unlock()
	serial++
	return fmt.Sprintf("%s%04d", prefix, serial)
}

// opened is when the pages of these tests began, as of today as real ones.
var opened = time.Now().UTC().Add(-time.Minute).Truncate(time.Second)

func page(id, event string, kind incident.PageKind) incident.Page {
	return incident.Page{
		EventID: event, Source: incident.SourcePagerDuty, Kind: kind, IncidentID: id, Title: "errors", Severity: incident.Sev2,
		OccurredAt: opened, OpenedAt: opened,
	}
}

// begin opens an incident with its card in a channel, and waits until lists
// show it.
func begin(t *testing.T, g *bot.Gateway, channel string) string {
	t.Helper()
	p := page(unique("Q"), "first", incident.PageTriggered)
	p.Channel = channel
	_, err := g.Page(within(t), p)
	require.NoError(t, err)
	key := incident.Key(p.Source, p.IncidentID)
	eventually(t, "lists show the incident", func() bool {
		list, err := g.List(within(t))
		require.NoError(t, err)
		for _, s := range list {
			if s.Key == key {
				return true
			}
		}
		return false
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		_ = temporalClient.TerminateWorkflow(ctx, incident.WorkflowID(key), "", "the test is over")
	})
	return key
}

// unreachable is a gateway to a Temporal that is not there.
func unreachable(t *testing.T) *bot.Gateway {
	t.Helper()
	c, err := client.NewLazyClient(client.Options{HostPort: "127.0.0.1:1", Logger: sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return bot.NewGateway(c, bot.Unsigned{})
}

func viewOf(t *testing.T, g *bot.Gateway, key string) incident.View {
	t.Helper()
	v, err := g.View(within(t), key)
	require.NoError(t, err)
	return v
}
