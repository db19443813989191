package workflows_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/workflows/incident"
)

// TestTheFirstCardTakesTheFirstEntriesAlong keeps what a page costs at two
// activities: collecting, and showing with its record.
func TestTheFirstCardTakesTheFirstEntriesAlong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	var calls []string
	var cards int
	w.env.RegisterDelayedCallback(func() { calls, cards = append(calls, w.calls...), len(w.cards) }, time.Minute)
	resolved(w, 2*time.Minute)
	w.run(t)
	require.Equal(t, []string{"CollectOptions", "Record"}, calls)
	require.Equal(t, 1, cards)
	require.Equal(t, 1, w.shown)
}

// TestACardThatDoesNotShowIsTriedAlone has Slack refuse every card that comes with a
// record.
func TestACardThatDoesNotShowIsTriedAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.unshown = true
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	resolved(w, time.Minute)
	v := w.run(t)
	require.NotEmpty(t, w.cards)
	require.Equal(t, v.Revision, w.cards[len(w.cards)-1].Revision)
	require.Len(t, w.written(), len(v.Timeline))
}

// TestAClickDoesNotWaitForACard has Slack hang while a card that takes the record of
// a page along is on its way, and somebody approves.
func TestAClickDoesNotWaitForACard(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	w.env.RegisterDelayedCallback(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.takes["Show"], w.takes["PublishCard"] = 8*time.Second, 8*time.Second
	}, 5*time.Second)
	update(w, 10*time.Second, incident.UpdatePage, "p2", page("p2", incident.PageNoted, 10*time.Second))
	update(w, 11*time.Second, incident.UpdateDecide, "d1", decide("UADA", "d1", option(t, "o1")))
	executed := 0
	w.env.RegisterDelayedCallback(func() { executed = len(w.executed) }, 13*time.Second)
	resolved(w, 5*time.Minute)
	w.run(t)
	require.Equal(t, 1, executed)
}
