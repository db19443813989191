package views

import (
	"math"
	"strconv"
	"strings"

	"github.com/backout/backout/workflows/incident"
)

// maxReaches is how many elements of one kind the card shows; the rest is
// counted, and the console shows them all.
const maxReaches = 2

// element is one line of a blast radius: a kind of thing, and what of it is
// touched, each with its reason.
type element struct {
	Name  string
	Items []string
}

// reached is a blast radius, kind by kind. What is not touched has no line;
// what was to be measured and could not be has one that says so.
func reached(r incident.BlastRadius) []element {
	var out []element
	add := func(name string, list []incident.Reach) {
		if len(list) > 0 {
			out = append(out, element{name, reasons(list)})
		}
	}
	add("Changes", r.Services)
	add("Shared data", r.SharedData)
	if r.Global != nil {
		add("Everybody", []incident.Reach{*r.Global})
	}
	add("Can not be undone", r.Irreversible)
	out = append(out, measurements(r)...)
	add("Called by", r.Dependents)
	return out
}

// measurements are what was to be measured of a blast radius, known or not.
func measurements(r incident.BlastRadius) []element {
	var out []element
	for _, f := range incident.LiveFacts() {
		m := *r.Live(f)
		if m == nil {
			continue
		}
		value := "not known"
		if v, ok := r.Measured(f); ok {
			value = live(f, v)
		}
		out = append(out, element{measured(f), reasons([]incident.Reach{{Name: value, Reason: m.Reason}})})
	}
	return out
}

func reasons(list []incident.Reach) []string {
	out := make([]string, 0, len(list))
	for _, r := range list {
		item := notEmpty(Plain(r.Name, maxName))
		if why := Plain(r.Reason, maxLine); why != "" {
			item += " (" + why + ")"
		}
		out = append(out, item)
	}
	return out
}

// measured is what people call a measurement.
func measured(f incident.LiveFact) string {
	switch f {
	case incident.LiveTrafficShare:
		return "Share of traffic"
	case incident.LiveCustomers:
		return "Customers"
	case incident.LiveReplicas:
		return "Replicas"
	case incident.LiveRegions:
		return "Regions"
	case incident.LiveSLOBurn:
		return "Burn"
	default:
		return "Measured"
	}
}

// live is a measured value; half a customer is one.
func live(f incident.LiveFact, v float64) string {
	if f == incident.LiveTrafficShare {
		return number(&v, unitRatio)
	}
	return strconv.FormatFloat(math.Ceil(v), 'f', -1, 64)
}

// radiusLines are the lines of the card for a blast radius, as safe mrkdwn.
func radiusLines(r incident.BlastRadius) []string {
	var out []string
	for _, e := range reached(r) {
		out = append(out, "*"+e.Name+":* "+Mrkdwn(strings.ReplaceAll(listed(e.Items, maxReaches), "\n", " "), 160))
	}
	return out
}
