package views

import (
	"html"

	"github.com/backout/backout/workflows/incident"
)

// chartWords say what a chart is, for links and for who can not see it.
const chartWords = "Chart of the SLIs before, during and after the rollback"

// chart shows the picture of a rollback, the dark one where the page is dark, and
// otherwise says where it is kept.
// Source: https://docs.github.com/get-started/writing-on-github/getting-started-with-writing-and-formatting-on-github/basic-writing-and-formatting-syntax#specifying-the-theme-an-image-is-shown-to
func (p *paper) chart(c *incident.ChartRef) {
	if c == nil {
		return
	}
	p.line("")
	light, dark := Link(c.URL), Link(c.DarkURL)
	switch {
	case light != "" && dark != "":
		p.line(`<picture><source media="(prefers-color-scheme: dark)" srcset="` + html.EscapeString(dark) + `"><img alt="` + chartWords + `" src="` + html.EscapeString(light) + `"></picture>`)
	case light != "":
		p.line(`<img alt="` + chartWords + `" src="` + html.EscapeString(light) + `">`)
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

// chartLine leads from the card to the chart in its thread.
func chartLine(r *runs, c *incident.ChartRef) {
	if c == nil || Link(c.SlackURL) == "" {
		return
	}
	r.text("\n")
	r.link(c.SlackURL, "Chart: before, during and after")
}
