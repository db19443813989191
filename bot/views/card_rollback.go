package views

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/slack-go/slack"

	"github.com/backout/backout/workflows/incident"
)

// The share of the targets' states in the text of a message, and of the line
// that counts those that are not shown, in characters.
const (
	maxRollbackText = 1500
	maxCounted      = 200
)

// The share of what is to be said of the evidence in the text of the rollback: how
// many remarks, of which length each, and how long all together, in characters.
const (
	maxRemarks     = 3
	maxRemark      = 120
	maxRemarksText = 500
)

// rollback is the true state of each target of the newest rollback.
func rollback(v incident.View) slack.Block {
	rb := v.LastRollback()
	if rb == nil {
		return nil
	}
	r := new(runs).bold(rollbackHeadline(*rb))
	if rb.Reason != "" {
		r.text(". " + Plain(rb.Reason, maxLine))
	}
	if !rb.ApprovedAt.IsZero() {
		r.text("\nApproved " + clock(rb.ApprovedAt))
		if !rb.FirstMutationAt.IsZero() {
			r.text(" · first change after " + short(rb.FirstMutationAt.Sub(rb.ApprovedAt)))
		}
		if !rb.ActionsDoneAt.IsZero() {
			r.text(" · done after " + short(rb.ActionsDoneAt.Sub(rb.ApprovedAt)))
		}
	}
	remarks := evidenceRemarks(*rb)
	left := maxRollbackText - maxCounted - utf8.RuneCountInString(remarks)
	// What needs a person comes first, so that it is never among the rest.
	list := slices.Clone(rb.Actions)
	slices.SortStableFunc(list, func(a, b incident.ActionView) int { return urgency(a.Status) - urgency(b.Status) })
	for i, a := range list {
		line := "\n" + actionLine(a)
		if i == maxTargetsShown || r.length()+utf8.RuneCountInString(line) > left {
			r.text("\n… and " + counted(list[i:]))
			break
		}
		r.text(line)
	}
	r.text(remarks)
	return r.blockOf("rollback", maxRollbackText)
}

// evidenceRemarks is what could not be captured, and what is not whole; empty when all
// was captured. What is missing comes first.
func evidenceRemarks(rb incident.RollbackView) string {
	var missing, notes []string
	for _, m := range []*incident.Manifest{rb.Before, rb.After} {
		if m == nil {
			continue
		}
		for _, e := range m.Items {
			name := Plain(e.Name, maxName)
			switch {
			case e.Missing != "":
				missing = append(missing, cut("\nEvidence missing: "+name+": "+Plain(e.Missing, maxLine), maxRemark))
			case e.Note != "" && e.Size > 0: // Of nothing there is nothing to be said.
				notes = append(notes, cut("\nEvidence: "+name+": "+Plain(e.Note, maxLine), maxRemark))
			}
		}
	}
	var text strings.Builder
	all := onlyOnce(append(missing, notes...))
	for i, remark := range all {
		if i == maxRemarks && len(all) > maxRemarks+1 {
			_, _ = fmt.Fprintf(&text, "\n… and %d more remarks on evidence", len(all)-i)
			break
		}
		text.WriteString(remark)
	}
	return cut(text.String(), maxRemarksText)
}

// onlyOnce is a list without what stood in it before, such as what is missing after
// the rollback as it was before.
func onlyOnce(list []string) []string {
	var out []string
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func rollbackHeadline(r incident.RollbackView) string {
	name := "Rollback of " + Plain(r.OptionID, maxName)
	switch r.Status {
	case incident.RollbackRunning:
		return name + ": running"
	case incident.RollbackVoid:
		return name + ": the world moved, the approval is void, nothing was touched"
	case incident.RollbackLocked:
		return name + ": another rollback holds a target, nothing was touched"
	case incident.RollbackDone:
		return name + ": every target is where it should be"
	case incident.RollbackPartial:
		return name + ": PARTIAL, not every target is where it should be"
	case incident.RollbackFailed:
		return name + ": FAILED"
	case incident.RollbackCancelled:
		return name + ": stopped by a person"
	default:
		return name + ": in a state that this version does not know"
	}
}

func urgency(s incident.ActionStatus) int {
	switch s {
	case incident.ActionFailed:
		return 0
	case incident.ActionRefused:
		return 1
	case incident.ActionSkipped:
		return 2
	case incident.ActionRunning:
		return 3
	case incident.ActionPending:
		return 4
	case incident.ActionDone:
		return 5
	default:
		return 0
	}
}

func actionWords(s incident.ActionStatus) (mark, words string) {
	switch s {
	case incident.ActionPending:
		return "○", "waiting"
	case incident.ActionRunning:
		return "◐", "running"
	case incident.ActionDone:
		return "✔", "done"
	case incident.ActionRefused:
		return "✋", "refused, not touched"
	case incident.ActionFailed:
		return "✖", "failed"
	case incident.ActionSkipped:
		return "–", "skipped, not touched"
	default:
		return "❔", "unknown"
	}
}

// actionLine is one target: where it goes, how far it came, and where it truly
// is.
func actionLine(a incident.ActionView) string {
	mark, words := actionWords(a.Status)
	line := mark + " " + move(a.Action) + ": " + words
	if a.Status == incident.ActionDone && !a.Applied {
		line += ", it was there already"
	}
	if a.Status == incident.ActionDone {
		if a.Observed != "" {
			line += ", and observed there"
		}
		return line
	}
	if a.Observed != "" {
		line += "; it is at " + Plain(a.Observed, maxName)
	} else if a.Status == incident.ActionFailed {
		line += "; where it is could not be read"
	}
	if a.Reason != "" {
		line += ". " + Plain(a.Reason, maxLine)
	}
	return line
}

// counted is the states of the actions that are not shown.
func counted(list []incident.ActionView) string {
	var text strings.Builder
	_, _ = fmt.Fprintf(&text, "%d more targets", len(list))
	counts := make(map[incident.ActionStatus]int, len(list))
	for _, a := range list {
		counts[a.Status]++
	}
	sep := ": "
	for _, s := range []incident.ActionStatus{
		incident.ActionFailed, incident.ActionRefused, incident.ActionSkipped,
		incident.ActionRunning, incident.ActionPending, incident.ActionDone,
	} {
		if counts[s] > 0 {
			_, words := actionWords(s)
			_, _ = fmt.Fprintf(&text, "%s%d %s", sep, counts[s], words)
			sep = ", "
		}
	}
	return text.String()
}

// verdict is the judgement of recovery with its numbers.
func verdict(v incident.View) slack.Block {
	rb := v.LastRollback()
	if rb == nil || rb.Recovery == nil {
		return nil
	}
	res := rb.Recovery
	r := new(runs).bold(verdictWords(res.Verdict))
	if res.Reason != "" {
		r.text(". " + Plain(res.Reason, maxLine))
	}
	chartLine(r, rb.Chart)
	dataLines(r, res.Data)
	for i, s := range res.SLIs {
		if i == maxTargetsShown {
			r.text(fmt.Sprintf("\n… and %d more SLIs", len(res.SLIs)-i))
			break
		}
		r.text("\n" + sliLine(s))
	}
	return r.blockOf("verdict", 800)
}

func verdictWords(v incident.Verdict) string {
	switch v {
	case incident.VerdictRecovered:
		return "🟢 Verdict: recovered"
	case incident.VerdictNotRecovered:
		return "🔴 Verdict: not recovered"
	case incident.VerdictUnknown:
		return "❔ Verdict: unknown, which is not recovered"
	default:
		return "❔ Verdict: unknown, which is not recovered"
	}
}

func sliLine(s incident.SLIResult) string {
	line := Plain(s.Name, maxName) + ": before " + number(s.Baseline, s.Unit) + ", during " + number(s.During, s.Unit) +
		", now " + number(s.After, s.Unit)
	if s.Objective != "" {
		line += ", wanted " + objective(s.Objective, s.Unit)
	}
	// The numbers of a good verdict say it all.
	if s.Reason != "" && s.Verdict != incident.VerdictRecovered {
		line += ". " + Plain(s.Reason, maxLine)
	}
	return line
}
