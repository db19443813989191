package runbooks

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/backout/backout/runbooks/strict"
	"github.com/backout/backout/workflows/incident"
)

// The annotations of a component that say how production measures it. Metrics
// names the configured system that answers, the others are PromQL that yields
// one series; Placeholder stands for the component's name, which holds nothing
// that could end a string in quotes.
const (
	AnnotationMetrics      = "backout.dev/metrics"
	AnnotationTrafficShare = "backout.dev/traffic-share"
	AnnotationCustomers    = "backout.dev/customers"
	AnnotationReplicas     = "backout.dev/replicas"
	AnnotationRegions      = "backout.dev/regions"
)

// maxQuery is the longest query of an annotation, in characters.
const maxQuery = 2000

// Metrics says how a service is measured.
type Metrics struct {
	// System is the configured system that answers the queries.
	System string `json:"system"`
	// Queries are PromQL as the catalogue has it.
	Queries map[incident.LiveFact]string `json:"queries"`
}

func annotationOf(f incident.LiveFact) string {
	switch f {
	case incident.LiveTrafficShare:
		return AnnotationTrafficShare
	case incident.LiveCustomers:
		return AnnotationCustomers
	case incident.LiveReplicas:
		return AnnotationReplicas
	case incident.LiveRegions:
		return AnnotationRegions
	case incident.LiveSLOBurn:
		return ""
	default:
		return ""
	}
}

// metrics reads the annotations of a component; nil when it has none.
func metrics(d *strict.Document, annotations map[string]string) (*Metrics, error) {
	at := func(name string) string { return "metadata.annotations." + name }
	m := Metrics{System: annotations[AnnotationMetrics], Queries: make(map[incident.LiveFact]string)}
	for _, f := range incident.LiveFacts() {
		name := annotationOf(f)
		query, there := annotations[name]
		switch {
		case !there:
			continue
		case strings.TrimSpace(query) == "":
			return nil, d.Errorf(at(name), "%s: the query is empty", name)
		case utf8.RuneCountInString(query) > maxQuery:
			return nil, d.Errorf(at(name), "%s: the query has more than %d characters", name, maxQuery)
		case m.System == "":
			return nil, d.Errorf(at(name), "%s: nobody would answer the query; name the system of type prometheus in %s", name, AnnotationMetrics)
		}
		m.Queries[f] = query
	}
	switch {
	case len(m.Queries) > 0:
		return &m, nil
	case m.System != "":
		return nil, d.Errorf(at(AnnotationMetrics), "%s: there is no query for it; add %s or another one", AnnotationMetrics, AnnotationTrafficShare)
	default:
		return nil, nil
	}
}

// LiveQuery is one measurement of one service.
type LiveQuery struct {
	Fact    incident.LiveFact
	Service string
	System  string
	// Query is PromQL with the service's name in it.
	Query string
}

// LiveAnswer is what came of a measurement.
type LiveAnswer struct {
	LiveQuery
	Value float64
	// Failed says why there is no value; empty when there is one.
	Failed string
}

// LiveQueries are the measurements of the services that a radius changes
// directly, as far as the catalogue says how they are measured.
func LiveQueries(r incident.BlastRadius, c *Catalogue) []LiveQuery {
	if c == nil {
		return nil
	}
	var out []LiveQuery
	for _, s := range r.Services {
		svc, ok := c.Service(s.Name)
		if !ok || svc.Metrics == nil || !ValidServiceName(svc.Name) {
			continue
		}
		for _, f := range incident.LiveFacts() {
			if query, ok := svc.Metrics.Queries[f]; ok {
				out = append(out, LiveQuery{Fact: f, Service: svc.Name, System: svc.Metrics.System, Query: strings.ReplaceAll(query, Placeholder, svc.Name)})
			}
		}
	}
	return out
}

// LiveValue is the newest value of what a query yielded. It is an error when
// that is not exactly one series, holds no number, or one that the fact can not
// have.
func LiveValue(f incident.LiveFact, series []incident.Series) (float64, error) {
	switch {
	case len(series) == 0 || len(series) == 1 && len(series[0].Points) == 0:
		return 0, fmt.Errorf("there is no data")
	case len(series) > 1:
		return 0, fmt.Errorf("the query yields %d series, want one", len(series))
	}
	v := series[0].Points[len(series[0].Points)-1].Value
	if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
		return 0, fmt.Errorf("the value is %v", v)
	}
	if f == incident.LiveTrafficShare && v > 1 {
		// A share of two rates may be a hair above one.
		if v > 1.001 {
			return 0, fmt.Errorf("the share is %v, more than 1", v)
		}
		v = 1
	}
	return v, nil
}

// WithLive is a radius with what was measured of its services. Several services
// count together, at most as all of the traffic. A fact that is not known of
// one of them is not known; a fact that nobody says how to measure is left out.
func WithLive(r incident.BlastRadius, answers []LiveAnswer) incident.BlastRadius {
	for _, f := range incident.LiveFacts() {
		*r.Live(f) = together(r, f, answers)
	}
	return r
}

func together(r incident.BlastRadius, f incident.LiveFact, answers []LiveAnswer) *incident.Measured {
	var sum float64
	var parts, missing []string
	asked := 0
	for _, s := range r.Services {
		i := slices.IndexFunc(answers, func(a LiveAnswer) bool { return a.Fact == f && a.Service == s.Name })
		switch {
		case i < 0:
			missing = append(missing, "the catalogue does not say how to measure it for "+s.Name)
			continue
		case answers[i].Failed != "":
			missing = append(missing, s.Name+": "+answers[i].Failed)
		default:
			sum += answers[i].Value
			parts = append(parts, s.Name+" "+spelled(f, answers[i].Value))
		}
		asked++
	}
	switch {
	case asked == 0:
		return nil
	case len(missing) > 0:
		return &incident.Measured{Reason: strings.Join(missing, "; ")}
	}
	if f == incident.LiveTrafficShare {
		sum = min(sum, 1)
	}
	return &incident.Measured{Value: &sum, Reason: "measured: " + strings.Join(parts, ", ")}
}

// spelled is a value for people.
func spelled(f incident.LiveFact, v float64) string {
	if f == incident.LiveTrafficShare {
		return strconv.FormatFloat(math.Round(v*1000)/10, 'f', -1, 64) + " %"
	}
	return strconv.FormatFloat(math.Ceil(v), 'f', -1, 64)
}
