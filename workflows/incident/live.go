package incident

import "math"

// LiveFact names one measurement of production. The zero value is invalid.
type LiveFact string

// The measurements.
const (
	// LiveTrafficShare is a share of all traffic, between 0 and 1.
	LiveTrafficShare LiveFact = "traffic_share"
	LiveCustomers    LiveFact = "customers"
	LiveReplicas     LiveFact = "replicas"
	LiveRegions      LiveFact = "regions"
	// LiveSLOBurn is how many times faster than allowed an objective burns. It
	// is no part of a blast radius.
	LiveSLOBurn LiveFact = "slo_burn"
)

// LiveFacts are the measurements of a blast radius, in the order of cards.
func LiveFacts() []LiveFact {
	return []LiveFact{LiveTrafficShare, LiveCustomers, LiveReplicas, LiveRegions}
}

// Measured is one measurement of production, or why there is none.
type Measured struct {
	// Value is nil when it is not known.
	Value *float64 `json:"value,omitempty"`
	// Reason is one clause for people: what it was worked out from, or why it is
	// not known.
	Reason string `json:"reason"`
}

// Known is the value, and whether there is one. Nothing below zero and nothing
// that is not finite is known.
func (m *Measured) Known() (float64, bool) {
	if m == nil || m.Value == nil || math.IsNaN(*m.Value) || math.IsInf(*m.Value, 0) || *m.Value < 0 {
		return 0, false
	}
	return *m.Value, true
}

// Live is where the radius keeps a measurement; nil for one that is no part of
// it.
func (r *BlastRadius) Live(f LiveFact) **Measured {
	switch f {
	case LiveTrafficShare:
		return &r.TrafficShare
	case LiveCustomers:
		return &r.Customers
	case LiveReplicas:
		return &r.Replicas
	case LiveRegions:
		return &r.Regions
	case LiveSLOBurn:
		return nil
	default:
		return nil
	}
}

// Measured is a measurement of the radius, and whether it is known.
func (r BlastRadius) Measured(f LiveFact) (float64, bool) {
	m := r.Live(f)
	if m == nil {
		return 0, false
	}
	v, ok := (*m).Known()
	if ok && f == LiveTrafficShare && v > 1 {
		return 0, false
	}
	return v, ok
}
