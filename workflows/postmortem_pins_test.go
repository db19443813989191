package workflows_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// ended is the view of an incident at its end, an hour after it began.
func ended() incident.View {
	return incident.View{
		Key: key, Phase: incident.PhaseClosed, Revision: 9, PagedAt: opened, ClosedAt: opened.Add(time.Hour),
		Card: incident.CardRef{Channel: "C1", TS: "2.2"}, Ranking: incident.Ranking{Likely: -1},
		Timeline: []incident.Event{{ID: key + "/e1", Kind: incident.EventPhaseChange, At: opened.Add(time.Hour), Text: "closed"}},
	}
}

// after is a world in which a postmortem is followed whose incident is over after an
// hour. Its issue is open until it is looked at the second time after the due date.
func after(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.stands = func(int) (activities.FollowUpState, error) {
		if w.env.Now().After(dueAt) {
			return activities.FollowUpState{}, nil
		}
		return open(2), nil
	}
	w.env.RegisterDelayedCallback(func() { w.env.SignalWorkflow(incident.SignalOver, ended()) }, time.Hour)
	return w
}

// What people pin the day after enters the timeline and the issue, changes there and
// leaves it, as it did while the incident was open.
func TestPinsAfterTheEnd(t *testing.T) {
	t.Parallel()
	w := after(t)
	w.readPin = func(n int, q incident.PinRequest) (activities.PinResult, error) {
		switch n {
		case 1, 2:
			return says(q, "it is the discounts", 2*time.Minute), nil
		case 3:
			got := says(q, "it is the coupons", 2*time.Minute)
			got.Pin.EditedAt = opened.Add(25 * time.Hour)
			return got, nil
		default:
			return activities.PinResult{}, nil
		}
	}
	day := 24 * time.Hour
	first := update(w, day, incident.UpdatePin, "1", pin("e1", "100.1", "UADA"))
	again := update(w, day+time.Minute, incident.UpdatePin, "2", pin("e2", "100.1", "UBOB"))
	edited := update(w, day+time.Hour, incident.UpdatePin, "3", pin("e3", "100.1", ""))
	var between incident.View
	w.env.RegisterDelayedCallback(func() { between = w.view(t) }, day+2*time.Hour)
	removed := update(w, day+3*time.Hour, incident.UpdatePin, "4", pin("e4", "100.1", ""))
	require.NoError(t, follow(t, w, followed()))

	require.Equal(t, incident.OutcomeAccepted, first.Outcome, first.Reason)
	require.Equal(t, incident.OutcomeDuplicate, again.Outcome)
	require.Equal(t, incident.OutcomeAccepted, edited.Outcome, edited.Reason)
	require.Equal(t, incident.OutcomeAccepted, removed.Outcome)
	require.Len(t, between.Pins, 1)
	require.Equal(t, "it is the coupons", between.Pins[0].Text)
	require.Equal(t, first.EventID, between.Pins[0].EventID, "it leads to where it entered")
	require.Len(t, between.Timeline, 3)
	require.Greater(t, between.Revision, ended().Revision)
	require.Equal(t, []string{
		"pinned what Bob wrote: it is the discounts", "Bob's pinned message says now: it is the coupons", "Bob's pinned message was deleted",
	}, entriesOf(w, incident.EventPin), "the ledger keeps it all")
	require.Equal(t, []string{"the postmortem is closed"}, entriesOf(w, incident.EventPostmortem), "it goes on to be followed")
	require.Len(t, w.drafts, 3)
	require.Equal(t, "it is the discounts", w.drafts[0].Pins[0].Text)
	require.Equal(t, "it is the coupons", w.drafts[1].Pins[0].Text)
	require.Empty(t, w.drafts[2].Pins)
	require.Equal(t, 7, w.drafts[0].Postmortem.Number, "the issue is the one that is there")
	require.Equal(t, incident.CardRef{Channel: "C1", TS: "2.2"}, w.said[0].Card, "reminders go to the newest card")
}

func TestWhatIsNotPinnedAfterTheEnd(t *testing.T) {
	t.Parallel()
	elsewhere := pin("e1", "100.1", "UADA")
	elsewhere.Channel = "C2"
	gone := temporal.NewNonRetryableApplicationError("it is not there", incident.ErrTypeNotFound, nil)
	for _, tt := range []struct {
		name   string
		at     time.Duration
		q      incident.PinRequest
		got    activities.PinResult
		stands func(int) (activities.FollowUpState, error)
		record func([]incident.Entry) error
		want   incident.Outcome
		says   string
	}{
		{name: "before the end", at: time.Minute, q: pin("e1", "100.1", "UADA"), want: incident.OutcomeStale, says: "not over yet"},
		{name: "of another channel", q: elsewhere, want: incident.OutcomeDenied, says: "not in the channel"},
		{name: "an edit of what is not pinned", q: pin("e1", "100.1", ""), want: incident.OutcomeStale},
		{name: "nobody's", q: pin("e1", "100.1", "UEVE"), got: activities.PinResult{Found: true, Pinned: true, Denied: "only people"}, want: incident.OutcomeUnidentified},
		{
			name: "into an issue that is closed", q: pin("e1", "100.1", "UADA"), got: says(pin("", "100.1", ""), "it", 0), want: incident.OutcomeDenied, says: "the postmortem is closed",
			stands: func(int) (activities.FollowUpState, error) { return activities.FollowUpState{}, nil },
		},
		{
			name: "into an issue that is gone", q: pin("e1", "100.1", "UADA"), got: says(pin("", "100.1", ""), "it", 0), want: incident.OutcomeDenied, says: "closed or gone",
			stands: func(int) (activities.FollowUpState, error) { return activities.FollowUpState{}, gone },
		},
		{name: "no timestamp", q: pin("e1", "1' OR 1", "UADA")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := after(t)
			if tt.stands != nil {
				w.stands = tt.stands
			}
			w.readPin = func(int, incident.PinRequest) (activities.PinResult, error) { return tt.got, nil }
			if tt.at == 0 {
				tt.at = 24 * time.Hour
			}
			got := update(w, tt.at, incident.UpdatePin, "1", tt.q)
			require.NoError(t, follow(t, w, followed()))
			require.Equal(t, tt.want, got.Outcome, got.Reason)
			require.Contains(t, got.Reason, tt.says)
			require.Empty(t, entriesOf(w, incident.EventPin))
			require.Empty(t, w.drafts)
		})
	}
}

// A tracker that is away when something is pinned is no reason to lose it.
func TestPinWhileTheTrackerIsAway(t *testing.T) {
	t.Parallel()
	w := after(t)
	w.readPin = func(_ int, q incident.PinRequest) (activities.PinResult, error) {
		return says(q, "it", time.Minute), nil
	}
	stands := w.stands
	w.stands = func(n int) (activities.FollowUpState, error) {
		if w.env.Now().Before(opened.Add(30 * time.Hour)) {
			return activities.FollowUpState{}, errors.New("away")
		}
		return stands(n)
	}
	got := update(w, 24*time.Hour, incident.UpdatePin, "1", pin("e1", "100.1", "UADA"))
	require.NoError(t, follow(t, w, followed()))
	require.Equal(t, incident.OutcomeAccepted, got.Outcome, got.Reason)
	require.Len(t, w.drafts, 1)
}

// Many pins at once write the issue once, and somebody who edits one all night does not
// write it all night.
func TestLatePinsAreBounded(t *testing.T) {
	t.Parallel()
	w := after(t)
	n := 0
	w.readPin = func(_ int, q incident.PinRequest) (activities.PinResult, error) {
		n++
		return says(q, fmt.Sprint("text ", n), time.Minute), nil
	}
	var last *incident.Result
	for i := range 201 {
		last = update(w, 24*time.Hour+time.Duration(i)*time.Second/10, incident.UpdatePin, fmt.Sprint(i), pin(fmt.Sprint("e", i), "100.1", "UADA"))
	}
	require.NoError(t, follow(t, w, followed()))
	require.Equal(t, incident.OutcomeDenied, last.Outcome)
	require.Contains(t, last.Reason, "too often")
	require.Equal(t, 200, n)
	require.Less(t, len(w.drafts), 10)
	require.Equal(t, "text 200", w.drafts[len(w.drafts)-1].Pins[0].Text)
}

// A view of another incident, or of one that is open, is not taken.
func TestFollowUpTakesOnlyItsIncident(t *testing.T) {
	t.Parallel()
	w := after(t)
	other, live := ended(), ended()
	other.Key, live.Phase = "pagerduty/Q2", incident.PhaseDeciding
	other.Revision, live.Revision = 50, 60
	w.env.RegisterDelayedCallback(func() {
		w.env.SignalWorkflow(incident.SignalOver, other)
		w.env.SignalWorkflow(incident.SignalOver, live)
	}, 2*time.Hour)
	require.NoError(t, follow(t, w, followed()))
	require.Equal(t, ended().Revision, w.view(t).Revision)
}

// A follow-up goes on from what an earlier run of it knew.
func TestFollowUpGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stands = func(int) (activities.FollowUpState, error) { return open(1), nil }
	in := followed()
	v := ended()
	v.Pins = []incident.Pin{{Channel: "C1", TS: "100.1", Text: "it"}}
	in.State = &incident.FollowUpState{View: v, Reminders: 2, Next: dueAt, Every: 24 * time.Hour, Limit: 3, Unwritten: true}
	require.NoError(t, follow(t, w, in))
	require.Len(t, w.remarks, 1, "two of three were said before")
	require.Contains(t, w.remarks[0].Text, "This is the last reminder.")
	require.Equal(t, "pagerduty/Q1/postmortem/e3", w.remarks[0].ID)
	require.Len(t, w.drafts, 1, "what was not written is written")
	require.Len(t, w.drafts[0].Pins, 1)
}

// A history that has grown long goes on in a new run, with nothing lost.
func TestFollowUpContinuesAsNew(t *testing.T) {
	t.Parallel()
	w := after(t)
	w.readPin = func(_ int, q incident.PinRequest) (activities.PinResult, error) {
		return says(q, "it", time.Minute), nil
	}
	w.env.RegisterDelayedCallback(func() { w.env.SetContinueAsNewSuggested(true) }, 25*time.Hour)
	w.env.RegisterDelayedCallback(func() { w.env.SignalWorkflow(incident.SignalOver, incident.View{Key: "pagerduty/Q2"}) }, 26*time.Hour)
	got := update(w, 24*time.Hour, incident.UpdatePin, "1", pin("e1", "100.1", "UADA"))
	err := follow(t, w, followed())
	var next *workflow.ContinueAsNewError
	require.ErrorAs(t, err, &next)
	require.Equal(t, incident.OutcomeAccepted, got.Outcome)
	var in incident.FollowUpInput
	require.NoError(t, defaultConverter.FromPayloads(next.Input, &in))
	require.Equal(t, key, in.Key)
	require.Equal(t, dueAt.Add(-24*time.Hour), in.State.Next)
	require.Equal(t, 1, in.State.PinLooks)
	require.Len(t, in.State.View.Pins, 1)
	require.False(t, in.State.Unwritten)
	require.Len(t, w.drafts, 1)
}

// An incident that is over hands itself to who follows its postmortem.
func TestIncidentHandsItselfOver(t *testing.T) {
	t.Parallel()
	w := begun(t)
	w.ref = &incident.PostmortemRef{Number: 7, URL: "https://git.example.com/7", Due: dueAt}
	w.readPin = func(_ int, q incident.PinRequest) (activities.PinResult, error) {
		return says(q, "it", time.Minute), nil
	}
	update(w, 5*time.Minute, incident.UpdatePin, "1", pin("e1", "100.1", "UADA"))
	w.stands = func(int) (activities.FollowUpState, error) { return open(1), nil }
	v := w.run(t)
	enc, err := w.env.QueryWorkflowByID(incident.FollowUpID(key), incident.QueryView)
	require.NoError(t, err)
	var handed incident.View
	require.NoError(t, enc.Get(&handed))
	require.Equal(t, incident.PhaseClosed, handed.Phase)
	require.Equal(t, v.Revision, handed.Revision, "nothing is lost on the way")
	require.Len(t, handed.Pins, 1)
}

// The images of a pinned message are copied once, and changes of its text keep them.
func TestImagesOfPinsAreKept(t *testing.T) {
	t.Parallel()
	image := incident.PinImage{Name: "p99.png", URL: "https://chat.example.com/F1", File: "F1"}
	copied := image
	copied.Digest, copied.MediaType = incident.DigestOf([]byte("png")), "image/png"
	for _, tt := range []struct {
		name string
		keep func(activities.KeepImagesInput) (activities.KeepImagesResult, error)
		want incident.PinImage
		asks int
	}{
		{"copied", func(activities.KeepImagesInput) (activities.KeepImagesResult, error) {
			return activities.KeepImagesResult{Kept: true, Images: []incident.PinImage{copied}}, nil
		}, copied, 1},
		{"turned off", nil, image, 2},
		{"refused", func(activities.KeepImagesInput) (activities.KeepImagesResult, error) {
			return activities.KeepImagesResult{}, temporal.NewNonRetryableApplicationError("no", incident.ErrTypeInvalid, nil)
		}, image, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := begun(t)
			w.keepImages = tt.keep
			w.readPin = func(n int, q incident.PinRequest) (activities.PinResult, error) {
				got := says(q, fmt.Sprint("text ", n), time.Minute)
				got.Pin.Images = []incident.PinImage{image}
				return got, nil
			}
			first := update(w, 5*time.Minute, incident.UpdatePin, "1", pin("e1", "100.1", "UADA"))
			update(w, 6*time.Minute, incident.UpdatePin, "2", pin("e2", "100.1", ""))
			v := w.run(t)
			require.Equal(t, "text 2", v.Pins[0].Text)
			require.Equal(t, []incident.PinImage{tt.want}, v.Pins[0].Images)
			require.Len(t, w.images, tt.asks)
			require.Equal(t, first.EventID+"/images", w.images[0].EventID)
			require.Equal(t, tt.want, w.drafts[len(w.drafts)-1].Pins[0].Images[0])
		})
	}
}
