package views

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/backout/backout/workflows/incident"
)

// public is what may be told to customers. It is made of times, measured numbers and
// fixed words alone: no text of the view is in it, so that it can hold no name of a
// person or an internal system, no address, no query and no version. People put the
// product's name into it, and what customers saw.
func (p *paper) public(v incident.View) {
	p.line("_For customers. It holds no names and nothing internal; replace what stands in brackets, and publish nothing else of this page._")
	p.line("")
	p.line(PublicSummary(v))
}

// PublicSummary is the message to customers about an incident, as Markdown of Backout's
// own words. Nothing in it comes from text of the view.
func PublicSummary(v incident.View) string {
	from, until := onset(v), recoveredAt(v)
	ended := !until.IsZero()
	if !ended {
		until = v.ClosedAt
	}
	state := "Resolved"
	switch {
	case ended, !v.ClosedAt.IsZero():
	case v.Phase == incident.PhaseValidating, v.Phase == incident.PhaseRecovered:
		state = "Monitoring"
	default:
		state = "Being worked on"
	}
	var b strings.Builder
	b.WriteString("**" + state + ": [the product, as customers know it]**\n\n")
	switch {
	case from.IsZero():
		b.WriteString("Customers may have been unable to use part of [the product].")
	case until.IsZero():
		b.WriteString("Since " + minute(from) + ", customers may be unable to use part of [the product].")
	case from.UTC().Truncate(time.Minute).Equal(until.UTC().Truncate(time.Minute)):
		_, _ = fmt.Fprintf(&b, "On %s, at %s UTC, customers may have been unable to use part of [the product] for less than a minute.",
			from.UTC().Format("2 January 2006"), from.UTC().Format("15:04"))
	case day(from) == day(until):
		_, _ = fmt.Fprintf(&b, "On %s, from %s to %s UTC (%s), customers may have been unable to use part of [the product].",
			from.UTC().Format("2 January 2006"), from.UTC().Format("15:04"), until.UTC().Format("15:04"), minutes(from, until))
	default:
		_, _ = fmt.Fprintf(&b, "From %s to %s (%s), customers may have been unable to use part of [the product].",
			minute(from), minute(until), minutes(from, until))
	}
	b.WriteString(" [What they saw, in their words.]\n\n")
	b.WriteString(seen(v))
	b.WriteString(publicAct(v))
	switch {
	case ended:
		b.WriteString(" Our measurements have been back to normal since " + until.UTC().Format("15:04") + " UTC.")
	case !v.ClosedAt.IsZero():
		b.WriteString(" The incident is over.")
	default:
		b.WriteString(" We are still working on it.")
	}
	b.WriteString(" We are sorry for the disruption. We are reviewing how it could happen, and what will keep it from happening again.")
	return b.String()
}

// minute is a moment as customers are told of it.
func minute(t time.Time) string { return t.UTC().Format("2 January 2006 15:04") + " UTC" }

// minutes is how long something took as customers are told of it: in minutes, as many as
// there are between the times that they are told.
func minutes(from, until time.Time) string {
	d := until.Truncate(time.Minute).Sub(from.Truncate(time.Minute))
	if m := int(d / time.Minute); m < 120 {
		return plural(max(m, 1), "minute", "minutes")
	}
	return fmt.Sprintf("%d hours", int(d.Round(time.Hour)/time.Hour))
}

// seen is what was measured of the harm, by the units of what was measured: a share
// that was to be below a bound, or a time.
func seen(v incident.View) string {
	rb := v.LastRollback()
	if rb == nil || rb.Recovery == nil {
		return ""
	}
	var share float64
	slow := false
	for _, s := range rb.Recovery.SLIs {
		below := strings.HasPrefix(strings.TrimSpace(s.Objective), string(incident.Below))
		if s.During == nil || !below || s.Baseline == nil || *s.During <= *s.Baseline {
			continue
		}
		switch s.Unit {
		case unitRatio:
			if *s.During <= 1 {
				share = max(share, *s.During)
			}
		case unitSeconds, unitSecond:
			slow = slow || *s.During > 1.5**s.Baseline
		default:
		}
	}
	var out string
	if share >= 0.005 {
		out = fmt.Sprintf("About %s %% of requests failed. ", significant(float64(int(share*100+0.5))))
	}
	if slow {
		out += "Answers took longer than usual. "
	}
	return out
}

// publicAct is what was done, by the strategy of the last rollback that touched
// something.
func publicAct(v incident.View) string {
	for _, rb := range slices.Backward(v.Rollbacks) {
		if rb.FirstMutationAt.IsZero() {
			continue
		}
		did := "took back a recent change"
		for _, o := range offered(v) {
			if o.Digest != rb.PlanDigest {
				continue
			}
			switch o.Plan.Strategy {
			case incident.StrategyRollback:
			case incident.StrategyFlagOff:
				did = "turned off a feature"
			case incident.StrategyRestore:
				did = "restored data"
			case incident.StrategyCompensate:
				did = "corrected data"
			case incident.StrategyRollForward:
				did = "shipped a correction"
			default:
			}
		}
		did += " at " + rb.FirstMutationAt.UTC().Format("15:04") + " UTC"
		switch {
		case rb.Recovery != nil && len(rb.Recovery.Diverging()) > 0 && dataAlone(&rb):
			did += ", and are still correcting what it left behind"
		case rb.Recovery != nil && rb.Recovery.Verdict == incident.VerdictNotRecovered:
			did += ", which was not enough"
		}
		return "We " + did + "."
	}
	return "Our engineers looked into it at once."
}

// internal is the message to the rest of the company.
func (p *paper) internal(v incident.View) {
	p.line("_For colleagues who were not there._")
	p.line("")
	p.line(fmt.Sprintf("> **%s %s**: %s. %s.", severity(v.Severity), mdName(service(v)), md(ending(v)), capital(harm(v))))
	if s := likely(v); s != nil {
		p.line("> " + causeWords(v) + ": " + md(what(s.Change)) + ".")
	} else {
		p.line("> The cause is not known yet.")
	}
	if rb := v.LastRollback(); rb != nil {
		p.line("> " + md(sentence(undone(v, *rb))))
	}
	if left := leftBehind(v); len(left) > 0 {
		p.line("> Not reverted: " + md(listed(left, 3)) + ".")
	}
	p.line("> The postmortem is due " + orElse(day(due(v)), "soon") + "; ask " + mdName(owner(v)) + ".")
}
