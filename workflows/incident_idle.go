package workflows

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/workflows/incident"
)

// Bounds of what answers that do nothing leave behind, so that a storm of them fills
// neither the workflow nor the ledger. Answers that count have no such bound.
//
// Which record is bounded depends on who writes it. An answer that was judged is
// written by the activity that judges it, before it is anything here, and that entry
// is what makes a repetition the same answer: so each of them has its own entry in
// the ledger, and only its line on the timeline and its place among the decisions are
// bounded. An answer that is moot, or that could not be judged, is recorded by the
// incident alone: past the bound it is counted, and its number is recorded.
const (
	// maxSingle is how many answers of one class are recorded one by one, and how many
	// further ones each entry after that stands for.
	maxSingle = 50
	// maxSpent is how many answers that were only counted are known again, at 18 bytes
	// each. The oldest give way: one that comes again after so many others is judged,
	// by the time at which it was given.
	maxSpent = 10_000
)

// unchecked is what an answer is told that could not be judged.
const unchecked = "who you are and what you may decide could not be checked, so nothing was done; try again"

// counts reports whether an answer has an effect on its incident.
func counts(o incident.Outcome) bool {
	switch o {
	case incident.OutcomeApproved, incident.OutcomeWaiting, incident.OutcomeRefused, incident.OutcomeAccepted:
		return true
	case incident.OutcomeDenied, incident.OutcomeStale, incident.OutcomeLate, incident.OutcomeUnidentified, incident.OutcomeDuplicate:
		return false
	default:
		return false
	}
}

// idle counts an answer that did nothing. Single says that it is to be recorded by
// itself; otherwise it is part of a number, which is told whenever it is full. The
// class is one of few: an outcome and, for an answer that was not judged, a reason
// that holds nothing from outside.
func (r *incidentRun) idle(ctx workflow.Context, outcome incident.Outcome, reason string) (class int, single bool) {
	class = slices.IndexFunc(r.state.Idle, func(t incident.Tally) bool { return t.Outcome == outcome && t.Reason == reason })
	if class < 0 {
		class = len(r.state.Idle)
		r.state.Idle = append(r.state.Idle, incident.Tally{Outcome: outcome, Reason: reason})
	}
	t := &r.state.Idle[class]
	if t.Count++; t.Count <= maxSingle {
		return class, true
	}
	if t.Untold++; t.Untold == 1 {
		t.Since = workflow.Now(ctx).UTC()
	}
	if t.Untold >= maxSingle {
		r.tell(ctx, t)
	}
	return class, false
}

// tell records how many answers of a class were not recorded by themselves.
func (r *incidentRun) tell(ctx workflow.Context, t *incident.Tally) {
	if t.Untold == 0 {
		return
	}
	r.event(ctx, incident.EventDecision, workflow.Now(ctx), "", tallyText(*t), nil)
	t.Untold, t.Since = 0, time.Time{}
	r.changed()
}

// tellAll leaves no answer uncounted, before the incident ends.
func (r *incidentRun) tellAll(ctx workflow.Context) {
	for i := range r.state.Idle {
		r.tell(ctx, &r.state.Idle[i])
	}
}

// told reports whether every answer is recorded, by itself or in a number.
func (r *incidentRun) told() bool {
	return !slices.ContainsFunc(r.state.Idle, func(t incident.Tally) bool { return t.Untold > 0 })
}

func tallyText(t incident.Tally) string {
	text := fmt.Sprintf("%d more answers ", t.Untold)
	if t.Untold == 1 {
		text = "1 more answer "
	}
	switch {
	case t.Reason != "":
		text += "did nothing"
	case t.Untold == 1:
		text += "was " + string(t.Outcome)
	default:
		text += "were " + string(t.Outcome)
	}
	text += " since " + t.Since.Format(time.TimeOnly) + " UTC"
	if t.Reason != "" {
		text += ": " + t.Reason
	}
	return text
}

// spend remembers of an answer that was only counted that it did nothing, so that it
// does nothing either when it comes again.
func (r *incidentRun) spend(id string, class int, res incident.Result) incident.Result {
	r.state.Spent = append(r.state.Spent, fmt.Sprintf("%s %d", shortID(id), class))
	if over := len(r.state.Spent) - maxSpent; over > 0 {
		r.state.Spent = slices.Delete(r.state.Spent, 0, over)
	}
	res.Revision = r.view().Revision
	return res
}

// spent is what an answer that was only counted is told when it comes again.
func (r *incidentRun) spent(id string) (incident.Result, bool) {
	prefix := shortID(id) + " "
	for _, s := range r.state.Spent {
		rest, found := strings.CutPrefix(s, prefix)
		if !found {
			continue
		}
		if class, err := strconv.Atoi(rest); err == nil && class >= 0 && class < len(r.state.Idle) {
			t := r.state.Idle[class]
			return incident.Result{Outcome: t.Outcome, Reason: t.Reason, Revision: r.view().Revision}, true
		}
	}
	return incident.Result{}, false
}

// shortID stands for the ID of an answer in 16 bytes.
func shortID(id string) string {
	_, hex, _ := strings.Cut(incident.DigestOf([]byte(id)), ":")
	return hex[:16]
}
