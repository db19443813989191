package activities_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// keeper is a store that gives back what it keeps.
type keeper struct{ store }

func (k keeper) Get(ctx context.Context, digest string) (content []byte, err error) {
	err = k.w.call(ctx, "fetch", func() error {
		var there bool
		if content, there = k.w.blobs[digest]; !there {
			return errors.New("no such document")
		}
		return nil
	})
	return content, err
}

// gallery is a channel that shows pictures, each once.
type gallery struct {
	channel
	shown map[string]incident.Picture
}

func (g gallery) Picture(ctx context.Context, card incident.CardRef, p incident.Picture) (ref incident.PictureRef, err error) {
	err = g.w.call(ctx, "picture "+card.TS, func() error {
		g.shown[p.ID] = p
		ref = incident.PictureRef{File: fmt.Sprintf("F%d", len(g.shown)), URL: "https://chat.example.com/F"}
		return nil
	})
	return ref, err
}

// drawing is a PNG of one pixel that has a text at its end.
func drawing(text string) []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 1, 1))); err != nil {
		panic(err) // Memory takes everything.
	}
	return append(b.Bytes(), text...)
}

// charting is the activities with a drawing board that writes down what it is given.
func (w *world) charting(t *testing.T) (a *activities.Activities, drawn *[]incident.Chart, shown map[string]incident.Picture) {
	t.Helper()
	drawn, shown = &[]incident.Chart{}, map[string]incident.Picture{}
	a = w.activities(t)
	a.Evidence, a.Channel = keeper{store{w}}, gallery{channel{w: w}, shown}
	a.Chart = func(c incident.Chart, dark bool) ([]byte, error) {
		*drawn = append(*drawn, c)
		return drawing(fmt.Sprintf("dark=%v verdict=%s", dark, c.Verdict)), nil
	}
	if w.series == nil {
		w.series = func(_ string, from, until time.Time, step time.Duration) ([]incident.Series, error) {
			var s incident.Series
			for at := from; !at.After(until); at = at.Add(step) {
				s.Points = append(s.Points, incident.Point{At: at, Value: 0.001})
			}
			return []incident.Series{s}, nil
		}
	}
	return a, drawn, shown
}

func chartInput(t *testing.T) activities.ChartInput {
	t.Helper()
	return activities.ChartInput{
		EventID: incident.ChartID(rollback), Incident: key, Rollback: rollback, Plan: plan(t),
		OnsetAt: onset, ChangedAt: onset.Add(-2 * time.Minute), PagedAt: onset.Add(time.Minute), ApprovedAt: onset.Add(3 * time.Minute),
		MutatedAt: onset.Add(4 * time.Minute), ActionsDoneAt: onset.Add(5 * time.Minute),
		Recovery: incident.RecoveryResult{
			Verdict: incident.VerdictRecovered, Reason: "well", At: onset.Add(15 * time.Minute),
			SLIs: []incident.SLIResult{{Name: "error ratio", Verdict: incident.VerdictRecovered, Baseline: new(0.001)}},
		},
	}
}

func TestDrawRecovery(t *testing.T) {
	t.Parallel()
	w := newWorld()
	a, drawn, _ := w.charting(t)
	ref, err := a.DrawRecovery(t.Context(), chartInput(t))
	require.NoError(t, err)
	require.Equal(t, drawing("dark=false verdict=recovered"), w.blobs[ref.Digest])
	require.Equal(t, drawing("dark=true verdict=recovered"), w.blobs[ref.DarkDigest])

	require.Len(t, *drawn, 2)
	c := (*drawn)[0]
	require.Equal(t, "checkout", c.Service)
	require.Len(t, c.Windows, 1)
	require.Equal(t, c.Before.From, c.Windows[0].From, "from the healthy window")
	require.Equal(t, onset.Add(15*time.Minute), c.Windows[0].Until, "until the verdict")
	require.True(t, c.Before.Until.Before(onset.Add(-2*time.Minute)) || c.Before.Until.Equal(onset.Add(-2*time.Minute)))
	require.Equal(t, incident.Span{From: onset, Until: onset.Add(5 * time.Minute)}, c.During)
	require.Equal(t, incident.Span{From: onset.Add(5*time.Minute + 30*time.Second), Until: onset.Add(15 * time.Minute)}, c.After)
	var kinds []incident.MarkKind
	for _, m := range c.Marks {
		kinds = append(kinds, m.Kind)
	}
	require.Equal(t, []incident.MarkKind{incident.MarkChange, incident.MarkPage, incident.MarkApproval, incident.MarkRollback, incident.MarkVerdict}, kinds)
	require.Len(t, c.Panels, 1)
	require.InDelta(t, 0.01, c.Panels[0].Objective.Bound, 1e-9)
	require.NotEmpty(t, c.Panels[0].Series[0].Points)
	require.Equal(t, incident.VerdictRecovered, c.Panels[0].Result.Verdict)

	require.Equal(t, []incident.EventKind{incident.EventEvidence}, w.kinds())
	var manifest incident.Manifest
	require.NoError(t, json.Unmarshal(w.entries[0].Payload, &manifest))
	require.Equal(t, rollback, manifest.Rollback)
	require.Equal(t, incident.EvidenceChart, manifest.Phase)
	require.Len(t, manifest.Items, 2)
	require.Contains(t, w.blobs, manifest.Digest)

	again, err := a.DrawRecovery(t.Context(), chartInput(t))
	require.NoError(t, err)
	require.Equal(t, ref, again)
	require.Len(t, *drawn, 2, "it is not drawn again")
}

// TestDrawRecoveryKilledAnywhere kills the process at each call of a port, before and
// after its effect: the next attempt gives the one chart.
func TestDrawRecoveryKilledAnywhere(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		for n := 1; ; n++ {
			w := newWorld()
			a, _, _ := w.charting(t)
			ctx, cancel := context.WithCancel(t.Context())
			w.killAt, w.afterEffect, w.kill = n, after, cancel
			_, err := a.DrawRecovery(ctx, chartInput(t))
			cancel()
			if !w.dead {
				require.Greater(t, n, 4)
				break
			}
			_ = err
			w.restart()
			ref, err := a.DrawRecovery(t.Context(), chartInput(t))
			require.NoError(t, err)
			require.Contains(t, w.blobs, ref.Digest)
			require.Equal(t, []incident.EventKind{incident.EventEvidence}, w.kinds())
		}
	}
}

func TestDrawRecoveryWithoutAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.series = func(string, time.Time, time.Time, time.Duration) ([]incident.Series, error) {
		return nil, errors.New("ask Prometheus: Authorization: Bearer abcdefghijklmnopqrstuvwxyz0123456789 was refused")
	}
	a, drawn, _ := w.charting(t)
	_, err := a.DrawRecovery(t.Context(), chartInput(t))
	require.NoError(t, err, "a chart without answers says so")
	failed := (*drawn)[0].Panels[0].Failed
	require.Contains(t, failed, "ask Prometheus")
	require.NotContains(t, failed, "abcdefghijklmnopqrstuvwxyz")
}

func TestDrawRecoveryRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*world, *activities.Activities, *activities.ChartInput)
		want   string
		kind   string
	}{
		{"no drawing board", func(_ *world, a *activities.Activities, _ *activities.ChartInput) { a.Chart = nil }, "not configured", incident.ErrTypeInvalid},
		{"a runbook that changed", func(_ *world, _ *activities.Activities, in *activities.ChartInput) {
			in.Plan.RunbookDigest = incident.DigestOf([]byte("other"))
		}, "runbook", incident.ErrTypeInvalid},
		{"it can not be drawn", func(_ *world, a *activities.Activities, _ *activities.ChartInput) {
			a.Chart = func(incident.Chart, bool) ([]byte, error) { return nil, errors.New("no SLI") }
		}, "draw chart", incident.ErrTypeInvalid},
		{"another record under its ID", func(w *world, _ *activities.Activities, in *activities.ChartInput) {
			w.entries = append(w.entries, incident.Entry{ID: in.EventID, Incident: key, Kind: incident.EventPage})
		}, "another record", incident.ErrTypeInvalid},
		{"a chart of another rollback", func(w *world, _ *activities.Activities, in *activities.ChartInput) {
			w.entries = append(w.entries, incident.Entry{ID: in.EventID, Incident: key, Kind: incident.EventEvidence, Payload: []byte(`{"rollback":"rollback/pagerduty/Q1/2","chart":{"digest":"` + incident.DigestOf(nil) + `"}}`)})
		}, "no chart of this rollback", incident.ErrTypeInvalid},
		{"the store is away", func(w *world, _ *activities.Activities, _ *activities.ChartInput) {
			w.fail = func(call string) error {
				if call == "put" {
					return errors.New("the disk is full")
				}
				return nil
			}
		}, "the disk is full", ""},
		{"the ledger is away", func(w *world, _ *activities.Activities, _ *activities.ChartInput) {
			w.fail = func(call string) error {
				if strings.HasPrefix(call, "append") {
					return errors.New("the disk is full")
				}
				return nil
			}
		}, "the disk is full", incident.ErrTypeLedger},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			a, _, _ := w.charting(t)
			in := chartInput(t)
			tt.change(w, a, &in)
			_, err := a.DrawRecovery(t.Context(), in)
			require.ErrorContains(t, err, tt.want)
			requireError(t, err, tt.kind, tt.kind == incident.ErrTypeInvalid)
		})
	}
}

// TestAChartLeavesOutWhatIsInBetween is a change long before the harm.
func TestAChartLeavesOutWhatIsInBetween(t *testing.T) {
	t.Parallel()
	w := newWorld()
	a, drawn, _ := w.charting(t)
	in := chartInput(t)
	in.ChangedAt = onset.Add(-12 * time.Hour)
	_, err := a.DrawRecovery(t.Context(), in)
	require.NoError(t, err)
	c := (*drawn)[0]
	require.Len(t, c.Windows, 2)
	require.True(t, c.Windows[0].Contains(in.ChangedAt))
	require.True(t, c.Windows[1].Contains(onset))
	require.True(t, c.Windows[1].From.After(onset.Add(-time.Hour)))
	require.Len(t, c.Panels[0].Series, 1, "both stretches are one series")
	for i, p := range c.Panels[0].Series[0].Points {
		require.True(t, i == 0 || p.At.After(c.Panels[0].Series[0].Points[i-1].At))
	}
}

func TestAChartAsksForFewSamples(t *testing.T) {
	t.Parallel()
	for _, length := range []time.Duration{0, time.Minute, time.Hour, 26 * time.Hour, 31 * 24 * time.Hour} {
		t.Run(length.String(), func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			a, drawn, _ := w.charting(t)
			in := chartInput(t)
			in.ActionsDoneAt = onset.Add(length)
			in.Recovery.At = in.ActionsDoneAt.Add(10 * time.Minute)
			_, err := a.DrawRecovery(t.Context(), in)
			require.NoError(t, err)
			c := (*drawn)[0]
			require.LessOrEqual(t, len(c.Panels[0].Series[0].Points), 600*len(c.Windows))
			require.Zero(t, c.Step%(15*time.Second), "a multiple of the runbook's step")
		})
	}
}

func TestAChartWithoutTimes(t *testing.T) {
	t.Parallel()
	w := newWorld()
	a, drawn, _ := w.charting(t)
	in := chartInput(t)
	in.OnsetAt, in.ChangedAt, in.PagedAt, in.ApprovedAt, in.MutatedAt, in.Recovery.At = time.Time{}, time.Time{}, time.Time{}, time.Time{}, time.Time{}, time.Time{}
	_, err := a.DrawRecovery(t.Context(), in)
	require.NoError(t, err)
	c := (*drawn)[0]
	require.Empty(t, c.Marks)
	require.True(t, c.Before.IsZero())
	require.Len(t, c.Windows, 1)
	require.False(t, c.Windows[0].IsZero())
}

func TestShareChart(t *testing.T) {
	t.Parallel()
	w := newWorld()
	a, _, shown := w.charting(t)
	chart, err := a.DrawRecovery(t.Context(), chartInput(t))
	require.NoError(t, err)
	in := activities.ShareChartInput{
		EventID: incident.SharedChartID(rollback), Incident: key, Rollback: rollback, Card: incident.CardRef{Channel: "C1", TS: "1.1"},
		Chart: chart, Title: "Before and after", Text: "Verdict: recovered.",
	}
	ref, err := a.ShareChart(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, incident.PictureRef{File: "F1", URL: "https://chat.example.com/F"}, ref)
	require.Equal(t, drawing("dark=false verdict=recovered"), shown[in.EventID].PNG)
	require.Contains(t, shown[in.EventID].Alt, "Verdict: recovered.")
	again, err := a.ShareChart(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, ref, again)
	require.Equal(t, []incident.EventKind{incident.EventEvidence, incident.EventVerdict}, w.kinds())

	in.EventID, in.Chart.Digest = "other", incident.DigestOf([]byte("gone"))
	_, err = a.ShareChart(t.Context(), in)
	require.ErrorContains(t, err, "no such document")
	// A request that names other evidence does not bring it into a channel.
	in.Chart.Digest, err = a.Evidence.Put(t.Context(), []byte("a log"), "text/plain")
	require.NoError(t, err)
	_, err = a.ShareChart(t.Context(), in)
	requireError(t, err, incident.ErrTypeInvalid, true)
	require.Len(t, shown, 1)
	a.Channel = channel{w: w}
	_, err = a.ShareChart(t.Context(), in)
	requireError(t, err, incident.ErrTypeInvalid, true)
	w.fail = func(call string) error {
		if strings.HasPrefix(call, "picture") {
			return fmt.Errorf("call files.getUploadURLExternal: missing_scope: %w", driver.ErrDenied)
		}
		return nil
	}
	a, _, _ = w.charting(t)
	in.Chart.Digest = chart.Digest
	_, err = a.ShareChart(t.Context(), in)
	requireError(t, err, incident.ErrTypeDenied, true)
}

// album is a tracker that keeps pictures.
type album struct {
	w    *world
	kept map[string]bool
	body *string
}

func (a album) Upsert(ctx context.Context, key, _, body string) (ref incident.PostmortemRef, err error) {
	err = a.w.call(ctx, "upsert "+key, func() error {
		*a.body, ref = body, incident.PostmortemRef{Number: 7}
		return nil
	})
	return ref, err
}

func (a album) Keeps() bool { return true }

func (a album) Picture(ctx context.Context, _ string, png []byte) (address string, err error) {
	err = a.w.call(ctx, "keep", func() error {
		a.kept[string(png)], address = true, "https://git.example.com/"+incident.DigestOf(png)[7:15]
		return nil
	})
	return address, err
}

func TestThePostmortemShowsTheChart(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		fail func(call string) error
		lose bool
		want string
	}{
		{"shown", nil, false, "light=true dark=true missing="},
		{"the tracker refuses", func(call string) error {
			if call == "keep" {
				return fmt.Errorf("GitHub answered 403: %w", driver.ErrDenied)
			}
			return nil
		}, false, "light=false dark=false missing=GitHub answered 403"},
		{"the store lost it", nil, true, "light=false dark=false missing=no such document"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			a, _, _ := w.charting(t)
			ref, err := a.DrawRecovery(t.Context(), chartInput(t))
			require.NoError(t, err)
			var body string
			a.Tracker = album{w, map[string]bool{}, &body}
			a.Postmortem = func(v incident.View) (string, string) {
				c := v.Rollbacks[len(v.Rollbacks)-1].Chart
				return "title", fmt.Sprintf("light=%v dark=%v missing=%s", c.URL != "", c.DarkURL != "", c.Missing)
			}
			if w.fail = tt.fail; tt.lose {
				delete(w.blobs, ref.DarkDigest)
			}
			v := incident.View{Key: key, Rollbacks: []incident.RollbackView{{ID: "first"}, {ID: rollback, Chart: &ref}}}
			got, err := a.WritePostmortem(t.Context(), activities.PostmortemInput{View: v})
			require.NoError(t, err, "a postmortem without a picture is written all the same")
			require.Equal(t, 7, got.Number)
			require.True(t, strings.HasPrefix(body, tt.want), body)
			require.Empty(t, v.Rollbacks[1].Chart.URL, "addresses are not carried on")
		})
	}
}
