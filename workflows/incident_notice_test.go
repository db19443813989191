package workflows_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// TestPeopleAreToldAtTheSourceWhileSlackIsDown has Slack hang for as long as people
// decide, roll back and recover by other means.
func TestPeopleAreToldAtTheSourceWhileSlackIsDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.unshown = true
	w.takes["PublishCard"] = 20 * time.Minute
	o := option(t, "o1")
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	var offered []activities.NoteInput
	w.env.RegisterDelayedCallback(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		offered = append(offered, w.notes...)
	}, time.Minute)
	update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", o))
	resolved(w, 40*time.Minute)
	v := w.run(t)

	require.Len(t, offered, 1, "the same is told once")
	require.Equal(t, v.Key, offered[0].Key)
	require.True(t, offered[0].Console)
	require.Contains(t, offered[0].Text, "can not reach Slack")
	require.Contains(t, offered[0].Text, "backout approve "+v.Key+" o1 --digest "+o.Digest)
	told := ""
	for _, n := range w.notes[1:] {
		require.NotEqual(t, offered[0].ID, n.ID)
		require.NotContains(t, n.Text, "backout approve", "it has been decided")
		told += n.Text
	}
	require.Contains(t, told, "Verdict: recovered.")
	require.Equal(t, incident.PhaseClosed, v.Phase)
}

// TestNobodyIsToldTwiceWhileSlackAnswers leaves the source alone.
func TestNobodyIsToldTwiceWhileSlackAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.unshown = true
	w.takes["PublishCard"] = 8 * time.Second
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	resolved(w, 5*time.Minute)
	w.run(t)
	for _, n := range w.notes {
		require.NotContains(t, n.Text, "Slack")
	}
}
