package views

import (
	"strconv"

	"github.com/backout/backout/workflows/incident"
)

// Kinds of action items about data.
const (
	kindData      = "data to repair"
	kindBlindData = "blind data check"
)

// maxChecksShown is how many data checks a card or a postmortem lists. A runbook has no
// more.
const maxChecksShown = 10

// dataLine is one data check: how much diverged before, how much does now, and how much
// may.
func dataLine(d incident.DataResult) string {
	mark := "❔"
	switch d.Verdict {
	case incident.VerdictRecovered:
		mark = "✔"
	case incident.VerdictNotRecovered:
		mark = "✖"
	case incident.VerdictUnknown:
	default:
	}
	line := mark + " " + Plain(d.Name, maxName) + ": before " + count(d.Before) + ", now " + count(d.After) +
		", at most " + strconv.FormatInt(d.AtMost, 10) + " wanted"
	if d.After == nil && d.Missing != "" {
		line += ". " + Plain(d.Missing, maxLine)
	}
	return line
}

func count(n *int64) string {
	if n == nil {
		return "not known"
	}
	return strconv.FormatInt(*n, 10)
}

// dataLines are the data checks of a verdict, as long as there is room for them.
func dataLines(r *runs, checks []incident.DataResult) {
	for i, d := range checks {
		if i == maxChecksShown {
			r.text("\n… and " + plural(len(checks)-i, "data check", "data checks") + " more")
			return
		}
		r.text("\n" + dataLine(d))
	}
}

// data is the table of what was counted.
func (p *paper) data(checks []incident.DataResult) {
	if len(checks) == 0 {
		return
	}
	p.line("")
	p.head("what may diverge", "at most", "before the rollback", "after", "counted", "verdict")
	for i, d := range checks {
		if i == maxChecksShown {
			break
		}
		p.cells(mdName(d.Name), strconv.FormatInt(d.AtMost, 10), count(d.Before), count(d.After), clock(d.At), dataVerdict(d.Verdict))
	}
	if n := len(checks) - maxChecksShown; n > 0 {
		p.line("\n… and " + plural(n, "data check", "data checks") + " more")
	}
}

// dataVerdict is what a count means.
func dataVerdict(v incident.Verdict) string {
	switch v {
	case incident.VerdictRecovered:
		return "within the bound"
	case incident.VerdictNotRecovered:
		return "**diverges**"
	case incident.VerdictUnknown:
		return "unknown"
	default:
		return "unknown"
	}
}

// dataLeft asks for the repair of what diverged when it was counted last, and to look at
// what nobody could count.
func dataLeft(v incident.View, team string, add addTodo) {
	last := v.Counted()
	if last == nil {
		return
	}
	for _, d := range last.Data {
		name := Plain(d.Name, maxName)
		switch {
		case d.Verdict == incident.VerdictRecovered:
		case d.After != nil:
			diverge := "diverge"
			if *d.After == 1 {
				diverge = "diverges"
			}
			add(kindData, team, "repair the %d that still %s: %s (%s before the rollback, at most %d wanted, counted at %s)",
				*d.After, diverge, name, count(d.Before), d.AtMost, clock(d.At))
		default:
			add(kindBlindData, team, "count by hand, repair what diverges, and see that it can be counted: %s: %s", name, Plain(d.Missing, maxLine))
		}
	}
}

// dataAlone reports whether the service is well after a rollback, and its data is not.
func dataAlone(rb *incident.RollbackView) bool {
	return rb != nil && rb.Recovery != nil && rb.Recovery.DataAlone()
}
