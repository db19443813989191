package activities_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

var errWhy = errors.New("nobody allowed it")

func TestARefusedAttemptIsOnRecordOnce(t *testing.T) {
	t.Parallel()
	w := newWorld()
	a := w.activities(t)
	for range 3 {
		activities.RecordRefusal(t.Context(), a, key, "execute x", errWhy)
	}
	activities.RecordRefusal(t.Context(), a, key, "execute y", errWhy)
	require.Len(t, w.entries, 2)
	for i, what := range []string{"x", "y"} {
		e := w.entries[i]
		require.Equal(t, incident.EventAttempt, e.Kind)
		require.Equal(t, key, e.Incident)
		require.Equal(t, "refused to execute "+what+": nobody allowed it", e.Text)
	}
}

func TestARefusedAttemptIsOneShortLineWithoutSecrets(t *testing.T) {
	t.Parallel()
	w := newWorld()
	long := strings.Repeat("long\n\x1b[2J ", 100_000)
	activities.RecordRefusal(t.Context(), w.activities(t), key, "take token=abcdefghijklmnop "+long, errors.New("token=abcdefghijklmnop "+long))
	require.Len(t, w.entries, 1)
	require.Less(t, len(w.entries[0].Text), 2000)
	require.NotContains(t, w.entries[0].Text, "abcdefghijklmnop")
}

func TestRefusedAttemptsDoNotFillTheLedger(t *testing.T) {
	t.Parallel()
	w := newWorld()
	a := w.activities(t)
	a.Attempts = activities.NewAttempts(a.Now)
	for n := range 1_200 {
		activities.RecordRefusal(t.Context(), a, key, fmt.Sprintf("execute %d", n), errWhy)
	}
	require.Len(t, w.entries, 1_000)
	w.now = w.now.Add(time.Hour)
	activities.RecordRefusal(t.Context(), a, key, "execute later", errWhy)
	require.Len(t, w.entries, 1_001)
	require.Contains(t, w.entries[1_000].Text, "200 more attempts were refused before it")
}

func TestARefusedAttemptIsRefusedWithoutALedger(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, key string
		fail      error
	}{
		{"no incident", "../etc/passwd", nil},
		{"ledger away", key, errors.New("disk full")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.fail = func(string) error { return tt.fail }
			activities.RecordRefusal(t.Context(), w.activities(t), tt.key, "execute x", errWhy)
			require.Empty(t, w.entries)
		})
	}
}

func TestWhatTheActivitiesRefuseIsOnRecord(t *testing.T) {
	t.Parallel()
	w := newWorld()
	a := w.activities(t)
	forged := incident.Entry{ID: incident.DecisionEventID(key, "x"), Incident: key, Kind: incident.EventDecision, At: now, Text: "approved"}
	in := approved(t, w)
	requireError(t, a.Record(t.Context(), activities.RecordInput{Entries: []incident.Entry{forged}}), incident.ErrTypeInvalid, true)
	in.DecisionIDs = nil
	before := len(w.entries)
	_, err := a.ExecuteAction(t.Context(), in)
	requireError(t, err, incident.ErrTypeDenied, true)
	in.PlanDigest = incident.DigestOf([]byte("other"))
	_, err = a.ExecuteAction(t.Context(), in)
	requireError(t, err, incident.ErrTypeInvalid, true)

	require.True(t, slices.ContainsFunc(w.entries, func(e incident.Entry) bool { return strings.Contains(e.Text, "refused to record "+forged.ID) }))
	require.Len(t, w.entries, before+2)
	for _, e := range w.entries[before:] {
		require.Equal(t, incident.EventAttempt, e.Kind)
		require.Contains(t, e.Text, "refused to execute "+in.OutcomeID)
	}
}
