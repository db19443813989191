package workflows_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// pin asks to look at a message; user is who marked it, empty for any other event.
func pin(id, ts, user string) incident.PinRequest {
	q := incident.PinRequest{EventID: id, Channel: "C1", TS: ts}
	if user != "" {
		q.Actor = incident.Actor{Via: incident.ViaSlack, SlackTeam: "T1", SlackUser: user, Channel: "C1"}
	}
	return q
}

// says is a pinned message that was written after the incident began.
func says(q incident.PinRequest, text string, after time.Duration) activities.PinResult {
	return activities.PinResult{Found: true, Pinned: true, Pin: incident.Pin{
		Channel: q.Channel, TS: q.TS, At: opened.Add(after), Author: "Bob", By: "Ada", Text: text, URL: "https://chat.example.com/" + q.TS,
	}}
}

// begun is a world with an open incident that ends after an hour.
func begun(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	update(w, time.Hour, incident.UpdatePage, "p2", page("p2", incident.PageResolved, time.Hour))
	return w
}

// entriesOf are the texts of the recorded entries of one kind.
func entriesOf(w *world, kind incident.EventKind) []string {
	var out []string
	for _, e := range w.written() {
		if e.Kind == kind {
			out = append(out, e.Text)
		}
	}
	return out
}

func TestPinnedMessageEntersTheTimelineAndLeavesIt(t *testing.T) {
	t.Parallel()
	w := begun(t)
	w.readPin = func(n int, q incident.PinRequest) (activities.PinResult, error) {
		switch n {
		case 1:
			return says(q, "it is the discounts", 2*time.Minute), nil
		case 2:
			return says(q, "look at payments", time.Minute), nil
		case 3: // The same again.
			return says(q, "it is the discounts", 2*time.Minute), nil
		case 4:
			got := says(q, "it is the coupons", 2*time.Minute)
			got.Pin.By = ""
			got.Pin.EditedAt = opened.Add(8 * time.Minute)
			return got, nil
		default:
			got := says(q, "look at payments", time.Minute)
			got.Pinned = false
			return got, nil
		}
	}
	first := update(w, 5*time.Minute, incident.UpdatePin, "1", pin("e1", "100.1", "UADA"))
	second := update(w, 6*time.Minute, incident.UpdatePin, "2", pin("e2", "90.1", "UADA"))
	again := update(w, 7*time.Minute, incident.UpdatePin, "3", pin("e3", "100.1", "UBOB"))
	edited := update(w, 8*time.Minute, incident.UpdatePin, "4", pin("e4", "100.1", ""))
	var both []incident.Pin
	w.env.RegisterDelayedCallback(func() { both = w.view(t).Pins }, 8*time.Minute+30*time.Second)
	removed := update(w, 9*time.Minute, incident.UpdatePin, "5", pin("e5", "90.1", ""))
	v := w.run(t)

	require.Equal(t, incident.OutcomeAccepted, first.Outcome, first.Reason)
	require.Equal(t, incident.OutcomeAccepted, second.Outcome)
	require.Equal(t, incident.OutcomeDuplicate, again.Outcome)
	require.Equal(t, incident.OutcomeAccepted, edited.Outcome)
	require.Equal(t, incident.OutcomeAccepted, removed.Outcome)
	require.Len(t, both, 2)
	require.Equal(t, "look at payments", both[0].Text, "by when they were written")
	require.Len(t, v.Pins, 1)
	require.Equal(t, "it is the coupons", v.Pins[0].Text)
	require.Equal(t, "Ada", v.Pins[0].By, "who pinned it stays")
	require.Equal(t, first.EventID, v.Pins[0].EventID)
	require.Equal(t, []string{
		"pinned what Bob wrote: it is the discounts", "pinned what Bob wrote: look at payments",
		"Bob's pinned message says now: it is the coupons", "Bob's message is not pinned any more",
	}, entriesOf(w, incident.EventPin), "the ledger keeps it all")
	require.Equal(t, v.Pins, w.drafts[len(w.drafts)-1].Pins)
}

func TestWhatIsNotPinned(t *testing.T) {
	t.Parallel()
	elsewhere := pin("e1", "100.1", "UADA")
	elsewhere.Channel = "C2"
	for _, tt := range []struct {
		name string
		q    incident.PinRequest
		got  activities.PinResult
		err  error
		want incident.Outcome
		// unread says that the message is not even looked at.
		unread bool
	}{
		{name: "of another channel", q: elsewhere, want: incident.OutcomeDenied, unread: true},
		{name: "an edit of what is not pinned", q: pin("e1", "100.1", ""), want: incident.OutcomeStale, unread: true},
		{name: "nobody's", q: pin("e1", "100.1", "UEVE"), got: activities.PinResult{Found: true, Pinned: true, Denied: "only people"}, want: incident.OutcomeUnidentified},
		{name: "taken back at once", q: pin("e1", "100.1", "UADA"), got: activities.PinResult{Found: true}, want: incident.OutcomeStale},
		{name: "deleted at once", q: pin("e1", "100.1", "UADA"), want: incident.OutcomeStale},
		{name: "not readable", q: pin("e1", "100.1", "UADA"), err: temporal.NewNonRetryableApplicationError("no scope", incident.ErrTypeDenied, nil), want: incident.OutcomeDenied},
		{name: "no timestamp", q: pin("e1", "1' OR 1", "UADA"), unread: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := begun(t)
			w.readPin = func(int, incident.PinRequest) (activities.PinResult, error) { return tt.got, tt.err }
			got := update(w, 5*time.Minute, incident.UpdatePin, "1", tt.q)
			v := w.run(t)
			require.Equal(t, tt.want, got.Outcome, got.Reason)
			require.Equal(t, tt.unread, len(w.looked) == 0)
			require.Empty(t, v.Pins)
			require.Empty(t, entriesOf(w, incident.EventPin))
		})
	}
}

func TestPinsAreBounded(t *testing.T) {
	t.Parallel()
	w := begun(t)
	w.readPin = func(_ int, q incident.PinRequest) (activities.PinResult, error) {
		return says(q, "again", time.Minute), nil
	}
	var last *incident.Result
	for i := range incident.MaxPins + 1 {
		last = update(w, time.Minute+time.Duration(i)*time.Second, incident.UpdatePin, fmt.Sprint(i), pin(fmt.Sprint("e", i), fmt.Sprintf("%d.1", i), "UADA"))
	}
	v := w.run(t)
	require.Len(t, v.Pins, incident.MaxPins)
	require.Equal(t, incident.OutcomeDenied, last.Outcome)
}

// The options that people answered are told of after fresh ones took their place.
func TestAnsweredOptionsAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := option(t, "o1"), option(t, "o2", action("releases/cart"))
	offers := 0
	w.collect = func(activities.CollectInput) (activities.CollectResult, error) {
		offers++
		list := []incident.Option{first, option(t, "o3", action("releases/search"))}
		if offers > 1 {
			list = []incident.Option{second}
		}
		return activities.CollectResult{Service: "checkout", Ranking: incident.Ranking{Likely: -1}, Options: list, DecideWithin: time.Hour}, nil
	}
	w.measure = func(_ int, at time.Time) incident.RecoveryResult { return verdict(incident.VerdictNotRecovered, at) }
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", first))
	update(w, 30*time.Minute, incident.UpdatePage, "p2", page("p2", incident.PageResolved, 30*time.Minute))
	v := w.run(t)
	require.Len(t, v.Rollbacks, 1)
	require.Equal(t, []string{"o2"}, ids(v.Options))
	require.Equal(t, []string{"o1"}, ids(v.Decided), "what nobody answered is not kept")
}

func ids(list []incident.Option) []string {
	var out []string
	for _, o := range list {
		out = append(out, o.ID)
	}
	return out
}
