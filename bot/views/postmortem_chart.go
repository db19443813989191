package views

import (
	"fmt"
	"html"

	"github.com/backout/backout/workflows/incident"
)

// chartWords say what a chart is, for links and for who can not see it.
const chartWords = "Chart of the SLIs before, during and after the rollback"

// chart shows the picture of a rollback, the dark one where the page is dark, and
// otherwise says where it is kept.
// Source: https://docs.github.com/get-started/writing-on-github/getting-started-with-writing-and-formatting-on-github/basic-writing-and-formatting-syntax#specifying-the-theme-an-image-is-shown-to
func (p *paper) chart(rb incident.RollbackView) {
	c := rb.Chart
	if c == nil {
		return
	}
	p.line("")
	light, dark, alt := Link(c.URL), Link(c.DarkURL), attribute(chartAlt(rb))
	switch {
	case light != "" && dark != "":
		p.line(`<picture><source media="(prefers-color-scheme: dark)" srcset="` + html.EscapeString(dark) + `"><img alt="` + alt + `" src="` + html.EscapeString(light) + `"></picture>`)
	case light != "":
		p.line(`<img alt="` + alt + `" src="` + html.EscapeString(light) + `">`)
	}
	if c.Missing != "" {
		p.item("the chart can not be shown here: %s", md(c.Missing))
	}
	p.line("")
	p.item("chart: evidence %s, dark %s", CodeSpan(c.Digest, 80), CodeSpan(orElse(c.DarkDigest, "none"), 80))
	if c.SlackURL != "" {
		p.link("chart in the thread", c.SlackURL)
	}
}

// chartAlt says what a chart shows to who can not see it: the verdict, and each SLI
// before, during and after.
func chartAlt(rb incident.RollbackView) string {
	text := chartWords + "."
	if rb.Recovery == nil {
		return text
	}
	text += " Verdict: " + Plain(string(rb.Recovery.Verdict), maxName) + "."
	for i, s := range rb.Recovery.SLIs {
		if i == maxAltSLIs {
			text += fmt.Sprintf(" And %d more.", len(rb.Recovery.SLIs)-i)
			break
		}
		text += fmt.Sprintf(" %s: %s before, %s during, %s after, wanted %s.", Plain(s.Name, maxName),
			number(s.Baseline, s.Unit), number(s.During, s.Unit), number(s.After, s.Unit), orElse(objective(s.Objective, s.Unit), "not stated"))
	}
	return text
}

// maxAltSLIs is how many SLIs the description of a chart names: more are not listened
// to, and the table above it has them all.
const maxAltSLIs = 5

// chartLine leads from the card to the chart in its thread.
func chartLine(r *runs, c *incident.ChartRef) {
	if c == nil || Link(c.SlackURL) == "" {
		return
	}
	r.text("\n")
	r.link(c.SlackURL, "Chart: before, during and after")
}
