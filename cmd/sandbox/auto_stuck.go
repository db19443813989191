package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/backout/backout/cmd/sandbox/internal/shop"
	"github.com/backout/backout/integrations/evidence"
	"github.com/backout/backout/integrations/github"
	fakeslack "github.com/backout/backout/test/fakes/slack"
	"github.com/backout/backout/workflows/incident"
)

// playStuck is the incident that a rollback does not end: payments is broken by hand
// beside checkout's release, Grace refuses the option, Ada approves it past the policy,
// and checkout does not recover until payments is mended by hand.
func (w *world) playStuck(ctx context.Context, o options, out io.Writer) error {
	say := func(format string, args ...any) {
		_, _ = fmt.Fprintf(out, "%s  %s\n", time.Now().UTC().Format("15:04:05.000"), fmt.Sprintf(format, args...))
	}
	select {
	case <-time.After(o.shipAfter):
	case <-ctx.Done():
		return ctx.Err()
	}
	say("Sam ships checkout %s, and somebody changes payments by hand", shop.BadRelease)
	w.shop.Service(shop.Payments).Release(shop.BadRelease)
	if err := w.ship(ctx, shop.BadRelease); err != nil {
		return err
	}
	key, err := w.awaitIncident(ctx)
	if err != nil {
		return err
	}
	say("incident %s", key)
	follow := &follower{seen: map[string]bool{}, out: out}
	v, err := w.await(ctx, key, follow, func(v incident.View) bool { return len(v.Options) > 0 })
	if err != nil {
		return fmt.Errorf("wait for options: %w", err)
	}
	opt := v.Options[0]
	typed := func(user, text string, done func(incident.View) bool) error {
		say("%s types %q", user, text)
		if _, err := w.slack.Slash(ctx, fakeslack.Slash{User: user, Channel: channelID, Command: "/rollback", Text: text}); err != nil {
			return err
		}
		_, err := w.await(ctx, key, follow, done)
		return err
	}
	decisions := func(n int) func(incident.View) bool {
		return func(v incident.View) bool { return len(v.Decisions) >= n }
	}
	if err := typed("U0GRACE", "refuse "+opt.ID+" the discounts were announced, look at payments first", decisions(1)); err != nil {
		return err
	}
	if err := typed("U0ADA", "break-glass "+opt.ID+" "+incident.ShortDigest(opt.Digest)+" Grace is offline now and a third of the orders fail", func(v incident.View) bool { return len(v.Rollbacks) > 0 }); err != nil {
		return err
	}
	if v, err = w.await(ctx, key, follow, func(v incident.View) bool { return !v.Card.IsZero() }); err != nil {
		return fmt.Errorf("wait for the card: %w", err)
	}
	if err := w.pin(ctx, v.Card, "U0GRACE", "payments answers 503 since 2 minutes before checkout was shipped, I look at it", "U0ADA"); err != nil {
		return fmt.Errorf("pin a message: %w", err)
	}
	ended := func(v incident.View) bool { r := v.LastRollback(); return r != nil && !r.FinishedAt.IsZero() }
	if _, err := w.await(ctx, key, follow, ended); err != nil {
		return fmt.Errorf("wait for a verdict: %w", err)
	}
	say("Grace mends payments by hand")
	w.shop.Service(shop.Payments).Release(shop.GoodRelease)
	v, err = w.await(ctx, key, follow, func(v incident.View) bool { return v.Phase == incident.PhaseClosed && whole(v) })
	if err != nil {
		return fmt.Errorf("wait for the end of the incident: %w", err)
	}
	if r := v.LastRollback(); r == nil || r.Recovery == nil || r.Recovery.Verdict != incident.VerdictNotRecovered {
		return errors.New("the rollback was not judged as not recovered")
	}
	return w.record(ctx, o.view, v)
}

// pin has somebody say something in the thread of the incident's card, with files, and
// somebody else put it into the timeline.
func (w *world) pin(ctx context.Context, card incident.CardRef, user, text, by string, files ...fakeslack.File) error {
	if _, err := w.slack.Say(ctx, fakeslack.Say{User: user, Channel: card.Channel, Thread: card.TS, Text: text, Files: files}); err != nil {
		return err
	}
	list := w.slack.Messages(card.Channel)
	said := list[len(list)-1]
	for _, m := range list {
		if m.User == user && m.Text == text {
			said = m
		}
	}
	out, err := w.slack.React(ctx, fakeslack.Mark{User: by, Channel: card.Channel, TS: said.TS, Emoji: "pushpin"})
	if err == nil && !out.Acked {
		err = fmt.Errorf("the pin was not acknowledged: %s", out.Reason)
	}
	return err
}

// whole says that an incident has what comes a moment after its end: the postmortem's
// number and due date, and the chart in the thread of the card.
func whole(v incident.View) bool {
	r := v.LastRollback()
	return v.Postmortem.Number > 0 && r != nil && r.Chart != nil && r.Chart.SlackURL != ""
}

// shown is a view with the addresses at which the postmortem's issue shows its pictures,
// which are known only while it is written.
func shown(v incident.View) incident.View {
	at := func(digest string) string {
		return "https://github.shop.example/" + postmortemsRepo + "/blob/" + github.ChartsBranch + "/charts/" +
			strings.ReplaceAll(v.Key, "/", "-") + "/" + strings.TrimPrefix(digest, "sha256:") + ".png?raw=true"
	}
	chart := v.LastRollback().Chart
	chart.URL, chart.DarkURL = at(chart.Digest), at(chart.DarkDigest)
	for _, p := range v.Pins {
		for i := range p.Images {
			if p.Images[i].Digest != "" {
				p.Images[i].Shown = at(p.Images[i].Digest)
			}
		}
	}
	return v
}

// record writes a view as JSON, from which its postmortem can be drawn again, and the
// chart as PNG beside it. Ports differ from run to run, so that addresses are those of
// a shop that has none.
func (w *world) record(ctx context.Context, path string, v incident.View) error {
	if path == "" {
		return nil
	}
	v.ConsoleURL = "https://backout.shop.example/incidents/" + v.Key
	if w.charts {
		v = shown(v)
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode view: %w", err)
	}
	text := strings.NewReplacer(w.slack.URL(), "https://shop.slack.example", w.pager.URL(), "https://shop.pagerduty.example", w.github.URL(), "https://github.shop.example").Replace(string(b))
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		return err
	}
	store, err := evidence.Open(ctx, "file://"+filepath.ToSlash(filepath.Join(w.dir, "backout", "data", "evidence")))
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }() // It was only read.
	chart := v.LastRollback().Chart
	for theme, digest := range map[string]string{"light": chart.Digest, "dark": chart.DarkDigest} {
		png, err := store.Get(ctx, digest)
		if err != nil {
			return fmt.Errorf("read chart: %w", err)
		}
		if err := os.WriteFile(strings.TrimSuffix(path, ".json")+"."+theme+".png", png, 0o600); err != nil {
			return err
		}
	}
	return nil
}
