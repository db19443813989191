package views

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/backout/backout/workflows/incident"
)

// A postmortem is read by who was not there, a year later: times have their dates, and
// an option has its title.

// change is one change in one line, with the day it was made on.
func change(c incident.Change) string {
	at := "at an unrecorded time"
	if !c.At.IsZero() {
		at = stamp(c.At) + " UTC"
	}
	_, rest, _ := strings.Cut(who(c), clock(c.At))
	return what(c) + ", " + at + rest
}

// dated is a time of an incident: with its date when that is another than the page's.
func dated(v incident.View, t time.Time) string {
	if !t.IsZero() && day(t) != day(onset(v)) {
		return stamp(t)
	}
	return hms(t)
}

// undone is rollbackHeadline with the title of what was rolled back.
func undone(v incident.View, rb incident.RollbackView) string {
	line := rollbackHeadline(rb)
	for _, o := range offered(v) {
		if o.ID == rb.OptionID && o.Digest == rb.PlanDigest && o.Title != "" {
			_, rest, _ := strings.Cut(line, ": ")
			return fmt.Sprintf("“%s” (%s): %s", Plain(o.Title, maxLine), Plain(o.ID, maxName), rest)
		}
	}
	return line
}

// ending is how the incident stands, for who reads of it later.
func ending(v incident.View) string {
	rb := v.LastRollback()
	switch {
	case v.Phase != incident.PhaseClosed:
		return sentence(headline(v)) + " Not closed yet"
	case rb == nil:
		return "Closed; nothing was rolled back"
	case rb.Recovery == nil:
		return "Closed; whether the rollback helped was not measured"
	case rb.Recovery.Verdict == incident.VerdictRecovered:
		return "Closed, recovered"
	case rb.Recovery.Verdict == incident.VerdictNotRecovered:
		return "Closed; the last rollback did not bring recovery"
	default:
		return "Closed; whether the rollback helped is unknown"
	}
}

// causeWords are what the likeliest change is called: less than a cause once taking
// something back did not help.
func causeWords(v incident.View) string {
	if rb := v.LastRollback(); rb != nil && rb.Recovery != nil && rb.Recovery.Verdict == incident.VerdictNotRecovered {
		return "Suspected, but the rollback did not help"
	}
	return "Probable cause"
}

// again says that an option is another one than an earlier option of the same name.
func again(v incident.View, o incident.Option) string {
	for _, earlier := range v.Decided {
		if earlier.ID == o.ID && earlier.Digest != o.Digest && slices.ContainsFunc(v.Options, func(now incident.Option) bool { return now.Digest == o.Digest }) {
			return ", worked out anew later"
		}
	}
	return ""
}

// own says that a change is one of this incident's rollbacks, seen by a change source.
func own(v incident.View, c incident.Change) string {
	for _, rb := range v.Rollbacks {
		if rb.FirstMutationAt.IsZero() || c.At.Before(rb.FirstMutationAt.Add(-ownSlack)) || c.At.After(rb.ActionsDoneAt.Add(ownSlack)) {
			continue
		}
		if slices.ContainsFunc(rb.Actions, func(a incident.ActionView) bool {
			return a.Action.To.Label != "" && strings.HasPrefix(a.Action.To.Label, c.To) && c.To != "" && c.Service == v.Service
		}) {
			return " This is the rollback itself."
		}
	}
	return ""
}

// ownSlack is how far the clock of a change source may be from Backout's.
const ownSlack = 2 * time.Second

// aboutIssue is what the workflow records of the issues that it has written: nothing of
// it is text from outside but the address.
var aboutIssue = regexp.MustCompile(`^(postmortem drafted|break-glass review due [0-9]{4}-[0-9]{2}-[0-9]{2}): (https?://[^\s]+)$`)

// recordText is the text of a recorded event. The address of an issue of Backout's own,
// where the postmortem is too, is a link; no other address in it is.
func recordText(v incident.View, e incident.Event) string {
	m := aboutIssue.FindStringSubmatch(e.Text)
	if m == nil || e.Kind != incident.EventPostmortem || !sameHost(m[2], v.Postmortem.URL) {
		return md(e.Text)
	}
	link := labelled("↗", m[2])
	if link == "" {
		return md(e.Text)
	}
	return md(m[1]) + " " + link
}

// sameHost reports whether two addresses lead to the same server.
func sameHost(a, b string) bool {
	one, err := url.Parse(a)
	if err != nil {
		return false
	}
	other, err := url.Parse(b)
	return err == nil && one.Host != "" && one.Host == other.Host && one.Scheme == other.Scheme
}
