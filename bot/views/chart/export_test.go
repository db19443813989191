package chart

import (
	"fmt"
	"strings"

	"github.com/backout/backout/workflows/incident"
)

// Touching draws a chart and returns the pairs of texts that touch each other, the
// texts within plots that the line of a mark crosses, and how many panels say what is
// wanted.
func Touching(in incident.Chart) (touching, crossed []string, wanted int, err error) {
	if err := check(in); err != nil {
		return nil, nil, 0, err
	}
	colors, _ := Light.palette()
	p := &picture{palette: colors, in: in}
	if err := p.draw(); err != nil {
		return nil, nil, 0, err
	}
	for i, a := range p.texts {
		if edges := a.x0 + a.y0 + a.x1 + a.y1; !finite(edges) || a.x0 < 0 || a.x1 > Width {
			touching = append(touching, fmt.Sprintf("%+v and the edge", a))
		}
		for _, b := range p.texts[:i] {
			if a.touches(b) {
				touching = append(touching, fmt.Sprintf("%+v and %+v", a, b))
			}
		}
		for _, panel := range p.panels {
			if a.y0 < panel.top() || a.y1 > panel.y1 || a.x0 < panel.left() {
				continue
			}
			if strings.HasPrefix(a.text, "wanted ") {
				wanted++
			}
			for _, x := range panel.marks {
				if a.x0 < x && x < a.x1 {
					crossed = append(crossed, fmt.Sprintf("%+v at %.0f", a, x))
				}
			}
		}
	}
	return touching, crossed, wanted, nil
}
