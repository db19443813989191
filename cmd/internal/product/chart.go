package product

import (
	"github.com/backout/backout/bot/views/chart"
	"github.com/backout/backout/workflows/incident"
)

// drawChart draws a rollback's SLIs for a light or a dark surface.
func drawChart(c incident.Chart, dark bool) ([]byte, error) {
	if dark {
		return chart.Draw(c, chart.Dark)
	}
	return chart.Draw(c, chart.Light)
}
