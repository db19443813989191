package views_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/bot/views"
	"github.com/backout/backout/workflows/incident"
)

func TestPostmortemChart(t *testing.T) {
	t.Parallel()
	const light, dark = "https://git.example.com/l.png?raw=true", "https://git.example.com/d.png?raw=true&x=1"
	for _, tt := range []struct {
		name       string
		chart      *incident.ChartRef
		want, lack []string
	}{
		{"none", nil, nil, []string{"<picture", "<img", "chart: evidence"}},
		{"both", &incident.ChartRef{URL: light, DarkURL: dark}, []string{`srcset="https://git.example.com/d.png?raw=true&amp;x=1"`, `src="` + light + `"`, "chart: evidence"}, []string{"can not be shown"}},
		{"light only", &incident.ChartRef{URL: light}, []string{`<img alt="Chart`}, []string{"<picture"}},
		{"turned off", &incident.ChartRef{}, []string{"chart: evidence"}, []string{"<img", "can not be shown"}},
		{"refused", &incident.ChartRef{Missing: "GitHub answered 403: <b>no</b> @ada"}, []string{"the chart can not be shown here: GitHub answered 403"}, []string{"<img", "<b>"}},
		{"an address that is none", &incident.ChartRef{URL: `javascript:alert(1)`, DarkURL: `https://x/"><script>`, SlackURL: "file:///etc/passwd"}, []string{"chart: evidence", "chart in the thread: none"}, []string{"javascript", "script>", "passwd", "<img"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := recovered()
			if tt.chart != nil {
				tt.chart.Digest = digest("light")
			}
			v.Rollbacks[0].Chart = tt.chart
			_, body := views.Postmortem(v)
			for _, s := range tt.want {
				require.Contains(t, body, s)
			}
			for _, s := range tt.lack {
				require.NotContains(t, body, s)
			}
		})
	}
}

func TestTheCardLeadsToTheChart(t *testing.T) {
	t.Parallel()
	v := recovered()
	card := string(pretty(t, views.NewCard(v).Blocks))
	require.Contains(t, card, "Chart: before, during and after")
	require.Contains(t, card, v.Rollbacks[0].Chart.SlackURL)
	for _, address := range []string{"", "javascript:alert(1)"} {
		v.Rollbacks[0].Chart.SlackURL = address
		require.NotContains(t, string(pretty(t, views.NewCard(v).Blocks)), "Chart: before")
	}
	v = recovered()
	for range 40 {
		v.Rollbacks[0].Recovery.SLIs = append(v.Rollbacks[0].Recovery.SLIs, incident.SLIResult{Name: strings.Repeat("x", 90), Reason: strings.Repeat("y", 300)})
	}
	require.Contains(t, string(pretty(t, views.NewCard(v).Blocks)), "Chart: before", "it is not what is cut")
}
