package views

import (
	"fmt"
	"strings"

	"github.com/slack-go/slack"

	"github.com/backout/backout/workflows/incident"
)

// maxApprovers is how many of those who approved are named.
const maxApprovers = 5

// held is the approved plan that waits for objections; nil when none does, or when
// nobody can object any more.
func held(v incident.View) *incident.Objections {
	switch v.Phase {
	case incident.PhaseDeciding, incident.PhaseStuck:
		return v.Objections
	case incident.PhaseCollecting, incident.PhaseRollingBack, incident.PhaseValidating, incident.PhaseRecovered, incident.PhaseClosed:
		return nil
	default:
		return nil
	}
}

// awaited reports whether it is this option that waits for objections.
func awaited(v incident.View, o incident.Option) bool {
	w := held(v)
	return w != nil && w.PlanDigest == o.Digest
}

// objections says who approved, and when it starts; empty when nothing waits.
func objections(v incident.View) string {
	w := held(v)
	if w == nil {
		return ""
	}
	names := make([]string, 0, len(w.Approvers))
	for _, p := range w.Approvers {
		names = append(names, notEmpty(person(p)))
	}
	by := strings.Join(names[:min(len(names), maxApprovers)], " and ")
	if over := len(names) - maxApprovers; over > 0 {
		by += fmt.Sprintf(" and %d more", over)
	}
	return "Approved by " + orElse(by, "somebody whose name is not known") + ". Starts at " + clock(w.Until) + " unless somebody objects"
}

// objectButtons are the answers that are left while a plan waits for objections: one
// takes the approval back, and the others take the next options off the table.
func objectButtons(v incident.View, o incident.Option, index int, ref string) []*slack.ButtonBlockElement {
	action, id := fmt.Sprintf("%s:%d", ActionRefuse, index), Plain(o.ID, 20)
	if !awaited(v, o) {
		return []*slack.ButtonBlockElement{button(action, "Refuse "+id, ref)}
	}
	b := button(action, "Object to "+id, ref)
	if b != nil {
		b.WithStyle(slack.StyleDanger)
	}
	return []*slack.ButtonBlockElement{b}
}
