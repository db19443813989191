package activities

import (
	"fmt"
	"strings"

	"github.com/backout/backout/workflows/incident"
)

// The lines of the timeline and the ledger. They state facts; what people are
// told to do is written in bot/views.

// PageText is the line of a page event.
func PageText(p incident.Page) string {
	return fmt.Sprintf("%s: %s (%s)", p.Kind, p.Title, p.Severity)
}

// OptionsText is the line of a finished collection.
func OptionsText(c CollectResult) string {
	open := 0
	for _, o := range c.Options {
		if !o.Blocked {
			open++
		}
	}
	options := fmt.Sprintf("%d options, %d of them open", len(c.Options), open)
	switch {
	case len(c.Options) == 0:
		options = "no option"
	case len(c.Options) == 1 && open == 1:
		options = "1 option"
	case len(c.Options) == 1:
		options = "1 option, which is blocked"
	}
	return options + ". " + c.Ranking.Reason
}

// ManifestText is the line of captured evidence.
//
// The counts of data checks follow, as long as the line can hold them.
func ManifestText(m incident.Manifest) string {
	missing := 0
	for _, i := range m.Items {
		if i.Missing != "" {
			missing++
		}
	}
	s := fmt.Sprintf("evidence %s: %d items, manifest %s", m.Phase, len(m.Items)-missing, incident.ShortDigest(m.Digest))
	if missing > 0 {
		s += fmt.Sprintf(", %d could not be had", missing)
	}
	for i, c := range m.Counts {
		if i == maxCountsTold {
			return s + fmt.Sprintf("; and %d more data checks", len(m.Counts)-i)
		}
		if c.Count == nil {
			s += fmt.Sprintf("; not counted: %s", c.Name)
			continue
		}
		s += fmt.Sprintf("; %d diverge: %s", *c.Count, c.Name)
	}
	return s
}

// IntentText is the line written before an effect.
func IntentText(a incident.Action) string {
	return fmt.Sprintf("about to take %s from %s to %s", a.Target, stateText(a.From), stateText(a.To))
}

// OutcomeText is the line written after an action.
func OutcomeText(v incident.ActionView) string {
	switch v.Status {
	case incident.ActionDone:
		if v.Applied {
			return fmt.Sprintf("%s is at %s", v.Action.Target, stateText(v.Action.To))
		}
		return fmt.Sprintf("%s was at %s already", v.Action.Target, stateText(v.Action.To))
	case incident.ActionRefused:
		return fmt.Sprintf("%s was not touched: %s", v.Action.Target, v.Reason)
	case incident.ActionFailed, incident.ActionPending, incident.ActionRunning, incident.ActionSkipped:
		return fmt.Sprintf("%s failed: %s", v.Action.Target, v.Reason)
	default:
		return fmt.Sprintf("%s failed: %s", v.Action.Target, v.Reason)
	}
}

func stateText(s incident.State) string {
	if s.Label == "" {
		return "revision " + s.Revision
	}
	return s.Label + " (revision " + strings.TrimSpace(s.Revision) + ")"
}
