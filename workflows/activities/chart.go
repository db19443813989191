package activities

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image/png"
	"slices"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/activities/redact"
	"github.com/backout/backout/workflows/incident"
	"github.com/backout/backout/workflows/recovery"
)

// Bounds of a chart.
const (
	// maxChartPoints is how many samples one query of a chart asks for at most:
	// every other pixel of the picture.
	maxChartPoints = 600
	// chartAnswer is how long all queries of a chart may take.
	chartAnswer = 20 * time.Second
	// apart is how many times as long as what is shown the time between the healthy
	// window and the harm has to be, for it to be left out.
	apart = 1.0
	// pngType is the media type of a chart.
	pngType = "image/png"
)

// Gallery is a Channel that shows pictures. It is optional: without it charts are
// evidence, and nobody is shown them in the thread.
type Gallery interface {
	// Picture shows a picture in the thread of a card, once for each ID.
	Picture(ctx context.Context, card incident.CardRef, p incident.Picture) (incident.PictureRef, error)
}

// ChartInput asks for the chart of a rollback whose verdict is final.
type ChartInput struct {
	// EventID is the ledger entry of the chart.
	EventID  string                  `json:"event_id"`
	Incident string                  `json:"incident"`
	Rollback string                  `json:"rollback"`
	Plan     incident.Plan           `json:"plan"`
	Recovery incident.RecoveryResult `json:"recovery"`
	// The moments of the chart; those that are zero are not marked.
	OnsetAt       time.Time `json:"onset_at"`
	ChangedAt     time.Time `json:"changed_at,omitzero"`
	PagedAt       time.Time `json:"paged_at,omitzero"`
	ApprovedAt    time.Time `json:"approved_at,omitzero"`
	MutatedAt     time.Time `json:"mutated_at,omitzero"`
	ActionsDoneAt time.Time `json:"actions_done_at"`
}

// chartRecord is what the ledger has of a chart: a manifest like that of any other
// evidence.
type chartRecord struct {
	incident.Manifest
	Chart incident.ChartRef `json:"chart"`
}

// DrawRecovery asks for the SLIs from the healthy window until the verdict, draws
// them for light and dark surfaces, stores the pictures by digest and writes them
// into the ledger. A chart that is in the ledger is not drawn again.
//
// A query without an answer is an empty panel; only a runbook that is gone, and a
// store or ledger that can not be written, are errors.
func (a *Activities) DrawRecovery(ctx context.Context, in ChartInput) (incident.ChartRef, error) {
	defer beat(ctx)()
	var was chartRecord
	if _, there, err := a.recorded(ctx, in.EventID, in.Incident, incident.EventEvidence, &was); err != nil {
		return incident.ChartRef{}, asActivityError(err)
	} else if there {
		if was.Rollback != in.Rollback || !incident.ValidDigest(was.Chart.Digest) {
			return incident.ChartRef{}, asActivityError(fmt.Errorf("read %q: %w: it is no chart of this rollback", in.EventID, driver.ErrInvalid))
		}
		return was.Chart, nil
	}
	if a.Chart == nil {
		return incident.ChartRef{}, asActivityError(fmt.Errorf("draw chart: drawing is %w", errNotConfigured))
	}
	spec, err := a.recoverySpec(in.Plan)
	if err != nil {
		return incident.ChartRef{}, asActivityError(err)
	}
	rec, err := a.draw(ctx, in, a.chartOf(ctx, in, spec))
	if err != nil {
		return incident.ChartRef{}, asActivityError(err)
	}
	payload, err := json.Marshal(rec)
	if err != nil {
		return incident.ChartRef{}, asActivityError(err)
	}
	_, err = a.write(ctx, incident.Entry{
		ID: in.EventID, Incident: in.Incident, Kind: incident.EventEvidence, At: a.Now().UTC(), Text: ChartText(rec.Chart), Payload: payload,
	})
	return rec.Chart, asActivityError(err)
}

// ChartText is the line of the timeline about a chart.
func ChartText(ref incident.ChartRef) string {
	return "chart of before, during and after: " + incident.ShortDigest(ref.Digest)
}

// draw draws both themes and stores them.
func (a *Activities) draw(ctx context.Context, in ChartInput, c incident.Chart) (chartRecord, error) {
	rec := chartRecord{Manifest: incident.Manifest{Rollback: in.Rollback, Phase: incident.EvidenceChart}}
	for _, t := range []struct {
		name string
		dark bool
		into *string
	}{{"light", false, &rec.Chart.Digest}, {"dark", true, &rec.Chart.DarkDigest}} {
		drawn, err := a.Chart(c, t.dark)
		if err != nil {
			return rec, fmt.Errorf("draw chart: %w: %w", driver.ErrInvalid, err)
		}
		if *t.into, err = a.Evidence.Put(ctx, drawn, pngType); err != nil {
			return rec, fmt.Errorf("store chart: %w", err)
		}
		rec.Items = append(rec.Items, incident.EvidenceItem{
			Name: "recovery chart, " + t.name, Collector: "recovery.chart", Digest: *t.into, MediaType: pngType, Size: int64(len(drawn)), At: a.Now().UTC(),
		})
	}
	listed, err := json.Marshal(rec.Manifest)
	if err != nil {
		return rec, err
	}
	if rec.Digest, err = a.Evidence.Put(ctx, listed, "application/json"); err != nil {
		return rec, fmt.Errorf("store manifest: %w", err)
	}
	return rec, nil
}

// chartOf asks for what is on the chart.
func (a *Activities) chartOf(ctx context.Context, in ChartInput, spec incident.RecoverySpec) incident.Chart {
	until := in.Recovery.At
	if !until.After(in.ActionsDoneAt) {
		until = in.ActionsDoneAt.Add(spec.Step)
	}
	q := recovery.Windows(spec, recovery.Times{ChangedAt: in.ChangedAt, OnsetAt: in.OnsetAt, ActionsDoneAt: in.ActionsDoneAt, Now: until})
	c := incident.Chart{
		Incident: in.Incident, Service: in.Plan.Service, Verdict: in.Recovery.Verdict, Reason: in.Recovery.Reason,
		Before: incident.Span{From: q.Baseline.From, Until: q.Baseline.Until},
		During: incident.Span{From: in.OnsetAt, Until: in.ActionsDoneAt},
		After:  incident.Span{From: in.ActionsDoneAt.Add(spec.Warmup), Until: until},
	}
	if in.OnsetAt.IsZero() {
		c.During = incident.Span{From: q.During.From, Until: q.During.Until}
	}
	for _, m := range []incident.ChartMark{
		{Kind: incident.MarkChange, At: in.ChangedAt},
		{Kind: incident.MarkPage, At: in.PagedAt},
		{Kind: incident.MarkApproval, At: in.ApprovedAt},
		{Kind: incident.MarkRollback, At: in.MutatedAt},
		{Kind: incident.MarkVerdict, At: in.Recovery.At},
	} {
		if !m.At.IsZero() {
			c.Marks = append(c.Marks, m)
		}
	}
	c.Windows = chartWindows(c, in, spec, until)
	c.Step = chartStep(c.Windows, spec.Step)
	asking, cancel := context.WithTimeout(ctx, chartAnswer)
	defer cancel()
	c.Panels = make([]incident.ChartPanel, len(spec.SLIs))
	var wg sync.WaitGroup
	for i, sli := range spec.SLIs {
		p := incident.ChartPanel{Name: sli.Name, Unit: sli.Unit, Objective: sli.Objective}
		for j := range in.Recovery.SLIs {
			if in.Recovery.SLIs[j].Name == sli.Name {
				p.Result = &in.Recovery.SLIs[j]
			}
		}
		wg.Go(func() {
			var err error
			if p.Series, err = a.chartSeries(asking, sli, c.Windows, c.Step); err != nil {
				why, _ := redact.Redact([]byte(err.Error()))
				p.Series, p.Failed = nil, string(why)
				if errors.Is(err, context.DeadlineExceeded) {
					p.Failed = fmt.Sprintf("the system did not answer within %s", chartAnswer)
				}
			}
			c.Panels[i] = p
		})
	}
	wg.Wait()
	return c
}

// chartWindows are the stretches of time that are shown: from the healthy window to
// the end, without what lies between it and the harm if that is longer than both.
func chartWindows(c incident.Chart, in ChartInput, spec incident.RecoverySpec, until time.Time) []incident.Span {
	harm := c.During.From
	if harm.IsZero() || harm.After(in.ActionsDoneAt) {
		harm = in.ActionsDoneAt
	}
	if c.Before.IsZero() {
		return []incident.Span{{From: harm.Add(-spec.Long), Until: until}}
	}
	lead := max(until.Sub(harm)/10, spec.Step)
	first := incident.Span{From: c.Before.From, Until: c.Before.Until.Add(spec.BaselineGap + lead)}
	second := incident.Span{From: harm.Add(-2 * lead), Until: until}
	shown := first.Until.Sub(first.From) + second.Until.Sub(second.From)
	if second.From.Sub(first.Until) > time.Duration(apart*float64(shown)) {
		return []incident.Span{first, second}
	}
	return []incident.Span{{From: c.Before.From, Until: until}}
}

// chartStep is a multiple of the runbook's step at which no stretch has more than
// maxChartPoints samples.
func chartStep(windows []incident.Span, step time.Duration) time.Duration {
	step = max(step, time.Second)
	var longest time.Duration
	for _, w := range windows {
		longest = max(longest, w.Until.Sub(w.From))
	}
	times := longest / (step * (maxChartPoints - 1))
	if longest%(step*(maxChartPoints-1)) != 0 {
		times++
	}
	return step * max(times, 1)
}

// chartSeries sends one query for every stretch of time. Series of the same labels are
// one.
func (a *Activities) chartSeries(ctx context.Context, sli incident.SLI, windows []incident.Span, step time.Duration) ([]incident.Series, error) {
	probe, err := a.Systems.Probe(sli.System)
	if err != nil {
		return nil, err
	}
	var out []incident.Series
	at := map[string]int{}
	for _, w := range windows {
		found, err := probe.QueryRange(ctx, sli.Query, w.From, w.Until, step)
		if err != nil {
			return nil, err
		}
		for _, s := range found {
			name, err := json.Marshal(s.Labels)
			if err != nil {
				return nil, err
			}
			i, there := at[string(name)]
			if !there {
				i = len(out)
				at[string(name)] = i
				out = append(out, incident.Series{Labels: s.Labels})
			}
			out[i].Points = append(out[i].Points, s.Points...)
		}
	}
	return out, nil
}

// ShareChartInput asks for a chart to be shown in the thread of a card.
type ShareChartInput struct {
	// EventID is the ledger entry that says where it is.
	EventID  string            `json:"event_id"`
	Incident string            `json:"incident"`
	Rollback string            `json:"rollback"`
	Card     incident.CardRef  `json:"card"`
	Chart    incident.ChartRef `json:"chart"`
	Title    string            `json:"title"`
	Text     string            `json:"text"`
}

// ShareChart shows the light picture of a chart in the thread of a card, once: the
// ledger says where it is, and the thread is looked through before it is sent.
func (a *Activities) ShareChart(ctx context.Context, in ShareChartInput) (incident.PictureRef, error) {
	defer beat(ctx)()
	var was incident.PictureRef
	if _, there, err := a.recorded(ctx, in.EventID, in.Incident, incident.EventVerdict, &was); err != nil {
		return was, asActivityError(err)
	} else if there {
		return was, nil
	}
	gallery, shows := a.Channel.(Gallery)
	if !shows {
		return was, asActivityError(fmt.Errorf("show chart: showing pictures is %w", errNotConfigured))
	}
	content, err := a.picture(ctx, in.Chart.Digest)
	if err != nil {
		return was, asActivityError(fmt.Errorf("show chart: %w", err))
	}
	ref, err := gallery.Picture(ctx, in.Card, incident.Picture{
		ID: in.EventID, Title: in.Title, Text: in.Text, PNG: content,
		Alt: "Chart of the SLIs before, during and after the rollback. " + in.Text,
	})
	if err != nil {
		return was, asActivityError(err)
	}
	payload, err := json.Marshal(ref)
	if err != nil {
		return was, asActivityError(err)
	}
	_, err = a.write(ctx, incident.Entry{
		ID: in.EventID, Incident: in.Incident, Kind: incident.EventVerdict, At: a.Now().UTC(), Text: SharedText(ref), Payload: payload,
	})
	return ref, asActivityError(err)
}

// picture reads a picture out of the evidence. Anything else that is stored there is not
// for where pictures are shown.
func (a *Activities) picture(ctx context.Context, digest string) ([]byte, error) {
	content, err := a.Evidence.Get(ctx, digest)
	if err != nil {
		return nil, err
	}
	if _, err := png.DecodeConfig(bytes.NewReader(content)); err != nil {
		return nil, fmt.Errorf("read picture %s: %w: it is no PNG", incident.ShortDigest(digest), driver.ErrInvalid)
	}
	return content, nil
}

// SharedText is the line of the timeline about a chart in the thread.
func SharedText(ref incident.PictureRef) string { return "chart shown in the thread: file " + ref.File }

// Pictures is a Tracker that keeps pictures where its issues can show them. It is
// optional: without it a postmortem names the chart and does not show it.
type Pictures interface {
	// Keeps reports whether pictures are kept, or turned off.
	Keeps() bool
	// Picture keeps a picture of an incident, once, and returns its address; empty when
	// pictures are turned off.
	Picture(ctx context.Context, key string, picture []byte) (address string, err error)
}

// pictureTries is how often a postmortem waits for its picture: it is written without
// one rather than late.
const pictureTries = 3

// pictured is a view in which the newest rollback's chart and the images of pinned
// messages have the addresses at which the tracker shows them. An error is worth
// another try of the whole postmortem.
func (a *Activities) pictured(ctx context.Context, v incident.View) (incident.View, error) {
	last := v.LastRollback()
	pictures, keeps := a.Tracker.(Pictures)
	if !keeps {
		return v, nil
	}
	var err error
	if v.Pins, err = a.shownPins(ctx, pictures, v.Key, v.Pins); err != nil || last == nil || last.Chart == nil {
		return v, err
	}
	ref := *last.Chart
	for _, t := range []struct {
		digest string
		into   *string
	}{{ref.Digest, &ref.URL}, {ref.DarkDigest, &ref.DarkURL}} {
		if t.digest == "" {
			continue
		}
		content, err := a.picture(ctx, t.digest)
		if err == nil {
			*t.into, err = pictures.Picture(ctx, v.Key, content)
		}
		if err == nil {
			continue
		}
		if _, final := classify(err); !final && activity.IsActivity(ctx) && activity.GetInfo(ctx).Attempt < pictureTries {
			return v, err
		}
		ref.URL, ref.DarkURL, ref.Missing = "", "", said(err)
		break
	}
	// The caller's rollbacks stay as they are.
	v.Rollbacks = slices.Clone(v.Rollbacks)
	v.Rollbacks[len(v.Rollbacks)-1].Chart = &ref
	return v, nil
}
