package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/backout/backout/cmd/internal/product"
	"github.com/backout/backout/cmd/sandbox/internal/shop"
	"github.com/backout/backout/integrations/ledger"
	fakeslack "github.com/backout/backout/test/fakes/slack"
	"github.com/backout/backout/workflows/incident"
)

// look is how often the play looks at the world.
const look = 200 * time.Millisecond

// wholeWithin is how soon after the end of an incident its postmortem and chart are
// there. Both take seconds; the chart is drawn once the last samples are in.
const wholeWithin = time.Minute

// summary is the last line of -auto. All durations are in seconds.
type summary struct {
	Incident                string           `json:"incident"`
	Verdict                 incident.Verdict `json:"verdict"`
	PageToOptions           float64          `json:"page_to_options_seconds"`
	ApprovalToFirstMutation float64          `json:"approval_to_first_mutation_seconds"`
	Rollback                float64          `json:"rollback_seconds"`
	Recovery                float64          `json:"recovery_seconds"`
	Release                 string           `json:"release"`
	LedgerEntries           int64            `json:"ledger_entries"`
	LedgerVerified          bool             `json:"ledger_verified"`
	Cards                   int              `json:"cards"`
	// Chart says that the chart of the recovery is in the card's thread.
	Chart       bool   `json:"chart"`
	Postmortems int    `json:"postmortems"`
	Postmortem  string `json:"postmortem"`
}

// play is the incident with its people: Sam ships, Ada approves.
func (w *world) play(ctx context.Context, o options, out io.Writer) error {
	say := func(format string, args ...any) {
		_, _ = fmt.Fprintf(out, "%s  %s\n", time.Now().UTC().Format("15:04:05.000"), fmt.Sprintf(format, args...))
	}
	say("the shop is open; letting it run well for %s", o.shipAfter)
	select {
	case <-time.After(o.shipAfter):
	case <-ctx.Done():
		return ctx.Err()
	}
	if _, err := w.shop.Buy(ctx); err != nil {
		return fmt.Errorf("buy before anything broke: %w", err)
	}
	say("Sam ships checkout %s", shop.BadRelease)
	if err := w.ship(ctx, shop.BadRelease); err != nil {
		return err
	}
	key, err := w.awaitIncident(ctx)
	if err != nil {
		return err
	}
	say("incident %s", key)
	follow := &follower{seen: map[string]bool{}, out: out}
	if err := w.approve(ctx, key, follow, say); err != nil {
		return err
	}
	seen, err := screenshot()
	if err != nil {
		return err
	}
	if view, err := w.await(ctx, key, follow, func(v incident.View) bool { return !v.Card.IsZero() }); err != nil {
		return fmt.Errorf("wait for the card: %w", err)
	} else if err := w.pin(ctx, view.Card, "U0SAM", "it is the discounts of v42: orders of more than three items", "U0ADA",
		fakeslack.File{Name: "failing by items.png", Mimetype: "image/png", Content: seen}); err != nil {
		return fmt.Errorf("pin a message: %w", err)
	}
	if _, err := w.await(ctx, key, follow, func(v incident.View) bool {
		return v.Phase == incident.PhaseClosed || v.Phase == incident.PhaseStuck
	}); err != nil {
		return fmt.Errorf("wait for the end of the incident: %w", err)
	}
	view, err := awaitWhole(ctx, w.view(key), follow)
	if err != nil {
		return fmt.Errorf("wait for the postmortem and the chart: %w", err)
	}
	if o.view != "" {
		if err := w.record(ctx, o.view, view); err != nil {
			return err
		}
	}
	return w.conclude(ctx, view, out)
}

// awaitWhole waits for what comes a moment after the end of an incident, and not for
// ever: what is not there by then is for the summary to say.
func awaitWhole(ctx context.Context, view viewer, f *follower) (incident.View, error) {
	bounded, cancel := context.WithTimeout(ctx, wholeWithin)
	defer cancel()
	v, err := await(bounded, view, f, whole)
	if ctx.Err() == nil {
		err = nil
	}
	return v, err
}

// awaitIncident waits until the monitor's page has arrived in PagerDuty.
func (w *world) awaitIncident(ctx context.Context) (string, error) {
	for {
		if list := w.pager.Incidents(); len(list) > 0 {
			return incident.Key(incident.SourcePagerDuty, list[0].ID), nil
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("wait for a page: %w", ctx.Err())
		case <-time.After(look):
		}
	}
}

// approve waits for the card's primary button and presses it as Ada.
func (w *world) approve(ctx context.Context, key string, f *follower, say func(string, ...any)) error {
	if _, err := w.await(ctx, key, f, func(v incident.View) bool { return len(v.Options) > 0 }); err != nil {
		return fmt.Errorf("wait for options: %w", err)
	}
	for {
		for _, m := range w.slack.Messages(channelID) {
			button, ok := primaryButton(m.Blocks)
			if !ok {
				continue
			}
			say("Ada presses %q", button.Text.Text)
			got, err := w.slack.Click(ctx, fakeslack.Click{User: "U0ADA", Channel: channelID, TS: m.TS, ActionID: button.ActionID, BlockID: button.blockID})
			if err != nil {
				return fmt.Errorf("press the button: %w", err)
			}
			if !got.Acked {
				return fmt.Errorf("press the button: %s", got.Reason)
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for a button: %w", ctx.Err())
		case <-time.After(look):
		}
	}
}

type button struct {
	Type     string `json:"type"`
	ActionID string `json:"action_id"`
	Style    string `json:"style"`
	Text     struct {
		Text string `json:"text"`
	} `json:"text"`
	blockID string
}

// primaryButton finds the one primary button of a card.
func primaryButton(blocks json.RawMessage) (button, bool) {
	var list []struct {
		Type     string   `json:"type"`
		BlockID  string   `json:"block_id"`
		Elements []button `json:"elements"`
	}
	if json.Unmarshal(blocks, &list) != nil {
		return button{}, false
	}
	for _, b := range list {
		if b.Type != "actions" {
			continue
		}
		for _, e := range b.Elements {
			if e.Type == "button" && e.Style == "primary" {
				e.blockID = b.BlockID
				return e, true
			}
		}
	}
	return button{}, false
}

// follower prints a timeline as it grows.
type follower struct {
	seen map[string]bool
	out  io.Writer
}

func (f *follower) print(v incident.View) {
	for _, e := range v.Timeline {
		if f.seen[e.ID] {
			continue
		}
		f.seen[e.ID] = true
		who := ""
		if e.Actor != "" {
			who = e.Actor + ": "
		}
		_, _ = fmt.Fprintf(f.out, "%s  %-28s %s%s\n", e.At.Format("15:04:05.000"), strings.TrimPrefix(e.ID, v.Key+"/"), who, e.Text)
	}
}

// viewer looks at an incident.
type viewer func(ctx context.Context) (incident.View, error)

func (w *world) view(key string) viewer {
	return func(ctx context.Context) (incident.View, error) { return w.backout.Gateway.View(ctx, key) }
}

// await follows the incident until a condition holds.
func (w *world) await(ctx context.Context, key string, f *follower, done func(incident.View) bool) (incident.View, error) {
	return await(ctx, w.view(key), f, done)
}

// await follows an incident until a condition holds. At the end of the context the
// view is the last one that there was.
func await(ctx context.Context, view viewer, f *follower, done func(incident.View) bool) (last incident.View, err error) {
	for {
		v, err := view(ctx)
		if err == nil {
			last = v
			f.print(v)
			if done(v) {
				return v, nil
			}
		}
		select {
		case <-ctx.Done():
			return last, errors.Join(ctx.Err(), err)
		case <-time.After(look):
		}
	}
}

// conclude checks what the play promises, and prints the summary.
func (w *world) conclude(ctx context.Context, v incident.View, out io.Writer) error {
	s := summary{Incident: v.Key, Verdict: incident.VerdictUnknown, PageToOptions: seconds(v.PagedAt, v.OptionsAt)}
	if r := v.LastRollback(); r != nil {
		if r.Recovery != nil {
			s.Verdict = r.Recovery.Verdict
			s.Recovery = seconds(r.ActionsDoneAt, r.Recovery.At)
		}
		s.ApprovalToFirstMutation = seconds(r.ApprovedAt, r.FirstMutationAt)
		s.Rollback = seconds(r.StartedAt, r.ActionsDoneAt)
		s.Chart = r.Chart != nil && r.Chart.SlackURL != ""
	}
	if receipt, err := w.shop.Buy(ctx); err == nil && receipt.OrderID > 0 {
		s.Release = w.shop.Service(shop.Checkout).Version()
	}
	led, err := ledger.OpenReadOnly(ctx, filepath.Join(w.dir, "backout", "data", product.LedgerFile))
	if err != nil {
		return err
	}
	defer func() { _ = led.Close() }()
	report, err := led.Verify(ctx)
	if err != nil {
		return err
	}
	s.LedgerEntries, s.LedgerVerified = report.Entries, report.OK()
	for _, i := range w.github.Issues(postmortemsRepo) {
		s.Postmortems++
		s.Postmortem = fmt.Sprintf("%s#%d", postmortemsRepo, i.Number)
	}
	for _, m := range w.slack.Messages(channelID) {
		if m.ThreadTS == "" && m.BotID != "" {
			s.Cards++
		}
	}
	line, err := json.Marshal(s)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "%s\n", line)
	first := ""
	if !report.OK() {
		first = report.First.What
	}
	return s.broken(first)
}

// broken is the first promise of the play that was not kept, or nil. With a ledger
// that does not verify comes the first thing that is wrong with it.
func (s summary) broken(first string) error {
	switch {
	case s.Verdict != incident.VerdictRecovered:
		return fmt.Errorf("the verdict is %q", s.Verdict)
	case s.Release != shop.GoodRelease:
		return fmt.Errorf("checkout answers from %q, want %s", s.Release, shop.GoodRelease)
	case !s.LedgerVerified:
		return fmt.Errorf("the ledger does not verify: %s", first)
	case s.Postmortems != 1:
		return fmt.Errorf("there are %d postmortems, want one", s.Postmortems)
	case s.Cards != 1:
		return fmt.Errorf("there are %d cards, want one", s.Cards)
	case !s.Chart:
		return fmt.Errorf("the chart is not in the thread of the card after %s", wholeWithin)
	}
	return nil
}

// seconds between two moments; -1 when one of them never came.
func seconds(from, to time.Time) float64 {
	if from.IsZero() || to.IsZero() {
		return -1
	}
	return to.Sub(from).Seconds()
}
