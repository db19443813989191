package views_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/bot/views"
	"github.com/backout/backout/workflows/incident"
)

// The description of the chart is the verdict in words, and nothing of an SLI's name
// gets out of it.
func TestChartIsDescribed(t *testing.T) {
	t.Parallel()
	v := recovered()
	v.Rollbacks[0].Chart = &incident.ChartRef{Digest: digest("l"), URL: "https://git.example.com/l.png", DarkURL: "https://git.example.com/d.png"}
	v.Rollbacks[0].Recovery.SLIs[0].Name = `a"><script> | b @ada`
	_, body := views.Postmortem(v)
	at := strings.Index(body, "<picture>")
	require.Positive(t, at)
	line, _, _ := strings.Cut(body[at:], "\n")
	require.True(t, strings.HasPrefix(line, `<picture><source media="(prefers-color-scheme: dark)" srcset="https://git.example.com/d.png"><img alt="Chart of the SLIs before, during and after the rollback. Verdict: recovered. `), line)
	require.True(t, strings.HasSuffix(line, `" src="https://git.example.com/l.png"></picture>`), line)
	require.Contains(t, line, "a&#34;&gt;&lt;script&gt; &#124; b &#64;ada: ")
	require.Equal(t, 3, strings.Count(line, "<")-1, "no more markup than its own")
}

// Images of pinned messages are shown where there is a copy, and linked otherwise.
func TestPinnedImages(t *testing.T) {
	t.Parallel()
	pin := func(image incident.PinImage) string {
		v := recovered()
		v.Pins = []incident.Pin{{Channel: "C1", TS: "1.1", EventID: v.Key + "/e1", At: v.PagedAt, Author: "Bob", Text: "look", Images: []incident.PinImage{image}}}
		_, body := views.Postmortem(v)
		_, line, _ := strings.Cut(body, "📌 “look”")
		line, _, _ = strings.Cut(line, "\n")
		return line
	}
	const url = "https://chat.example.com/files/F1"
	for _, tt := range []struct {
		name       string
		image      incident.PinImage
		want, lack string
	}{
		{"shown", incident.PinImage{Name: "p99 | `x`.png", URL: url, Shown: "https://git.example.com/a.png?raw=true"}, `<br><img alt="Pinned image: p99 &#124; &#96;x&#96;.png" src="https://git.example.com/a.png?raw=true" width="320"> [🖼 p99`, "<script"},
		{"linked", incident.PinImage{Name: "p99.png", URL: url}, "[🖼 p99.png](" + url + ")", "<img"},
		{"linked, and why", incident.PinImage{Name: "p99.png", URL: url, Missing: "give the Slack app the scope files:read | <b>"}, "[🖼 p99.png](" + url + ") (no copy: give the Slack app the scope ", "<img"},
		{"shown from where none may be", incident.PinImage{Name: "p99.png", URL: url, Shown: "javascript:alert(1)"}, "[🖼 p99.png](" + url + ")", "<img"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			line := pin(tt.image)
			require.Contains(t, line, tt.want)
			require.NotContains(t, line, tt.lack)
			require.Equal(t, 3, strings.Count(line, " |"), "it stays in its cell")
		})
	}
}

// Who reads a postmortem a year later knows on which day a change was made.
func TestChangesHaveTheirDay(t *testing.T) {
	t.Parallel()
	v := recovered()
	v.Ranking.Suspects[v.Ranking.Likely].Change.At = v.PagedAt.Add(-72 * time.Hour)
	_, body := views.Postmortem(v)
	day := v.PagedAt.Add(-72 * time.Hour).UTC().Format(time.DateOnly)
	require.GreaterOrEqual(t, strings.Count(body, day), 3, "in summary, trigger and decision")

	v.Decisions[0].At = v.PagedAt.Add(26 * time.Hour)
	_, body = views.Postmortem(v)
	_, approvals, _ := strings.Cut(body, "\n## Approvals\n")
	require.True(t, strings.HasPrefix(strings.TrimSpace(approvals), "- "+v.Decisions[0].At.UTC().Format("2006-01-02 15:04:05")+" "), approvals[:80])
}

// An incident that nobody measured to be over is not said to have recovered.
func TestHowAnIncidentEnded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*incident.View)
		want   string
	}{
		{"recovered", func(*incident.View) {}, "| Status | Closed, recovered |"},
		{"not recovered", func(v *incident.View) { v.Rollbacks[0].Recovery.Verdict = incident.VerdictNotRecovered }, "the last rollback did not bring recovery"},
		{"unknown", func(v *incident.View) { v.Rollbacks[0].Recovery.Verdict = incident.VerdictUnknown }, "whether the rollback helped is unknown"},
		{"not measured", func(v *incident.View) { v.Rollbacks[0].Recovery = nil }, "whether the rollback helped was not measured"},
		{"without a rollback", func(v *incident.View) { v.Rollbacks = nil }, "Closed; nothing was rolled back"},
		{"open", func(v *incident.View) { v.Phase = incident.PhaseRecovered }, "| Status | Recovered. Not closed yet |"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := recovered()
			v.Phase = incident.PhaseClosed
			tt.change(&v)
			_, body := views.Postmortem(v)
			require.Contains(t, body, tt.want)
			require.Equal(t, tt.name == "not recovered", !strings.Contains(body, "Probable cause: deploy"), "a cause that was taken back in vain is none")
		})
	}
}

// Issues of Backout's own are linked from the timeline, and nothing else that says so.
func TestIssuesAreLinkedFromTheTimeline(t *testing.T) {
	t.Parallel()
	const own = "https://git.example.com/shop/postmortems/issues/"
	for _, tt := range []struct {
		name string
		kind incident.EventKind
		text string
		want string
	}{
		{"the postmortem", incident.EventPostmortem, "postmortem drafted: " + own + "2", "postmortem drafted [↗](" + own + "2)"},
		{"the review", incident.EventPostmortem, "break-glass review due 2026-03-20: " + own + "1", "[↗](" + own + "1)"},
		{"an error", incident.EventPostmortem, "postmortem could not be written: see " + own + "1", ""},
		{"another server", incident.EventPostmortem, "postmortem drafted: https://evil.example/2", ""},
		{"what breaks out", incident.EventPostmortem, "postmortem drafted: " + own + ")[x](2", ""},
		{"another kind", incident.EventPage, "postmortem drafted: " + own + "2", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := recovered()
			v.Postmortem = incident.PostmortemRef{Number: 2, URL: own + "2"}
			v.Timeline = []incident.Event{{ID: v.Key + "/e1", Kind: tt.kind, At: v.PagedAt, Text: tt.text}}
			_, body := views.Postmortem(v)
			_, timeline, _ := strings.Cut(body, "\n## Timeline\n")
			timeline, _, _ = strings.Cut(timeline, "\n## ")
			if tt.want == "" {
				require.NotContains(t, timeline, "[↗]")
				return
			}
			require.Contains(t, timeline, tt.want)
		})
	}
}
