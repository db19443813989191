package incident

import (
	"encoding/json"
	"time"
)

// Point is one sample: a moment and a value, which may be NaN.
type Point struct {
	At    time.Time
	Value float64
}

// Series is what a probe measured: samples in rising order of time. It stays
// inside one process and never crosses the wire.
type Series struct {
	Labels map[string]string
	Points []Point
}

// Comparison says on which side of its bound an objective is met. The zero
// value is invalid.
type Comparison string

// The comparisons.
const (
	Below Comparison = "<"
	Above Comparison = ">"
)

// Objective is what is wanted of an SLI.
type Objective struct {
	Comparison Comparison `json:"comparison"`
	// Bound is in the SLI's unit.
	Bound float64 `json:"bound"`
}

// SLI is one service level indicator of a runbook: how it is measured, what is
// wanted, and how much traffic makes a measurement count.
type SLI struct {
	Name string `json:"name"`
	// System is the configured Prometheus that answers Query.
	System string `json:"system"`
	// Query is PromQL of the runbook's author that yields one series.
	Query     string    `json:"query"`
	Unit      string    `json:"unit"`
	Objective Objective `json:"objective"`
	// Tolerance is how far the signal may be from its healthy baseline, as a
	// share of the baseline, such as 0.2. Zero means 0.1.
	Tolerance float64 `json:"tolerance"`
	// Traffic is PromQL for events per second; with MinTraffic it keeps a dead
	// service from looking healthy. Empty only when MinTraffic is 0.
	Traffic string `json:"traffic,omitempty"`
	// MinTraffic is the least traffic, as a share of the baseline's traffic,
	// that makes the measurement count. Between 0 and 1.
	MinTraffic float64 `json:"min_traffic,omitempty"`
	// Bad and Total are PromQL for bad and for all events per second, of which
	// Query is the ratio. With them recovery is judged by counted events. Both or
	// neither.
	Bad   string `json:"bad,omitempty"`
	Total string `json:"total,omitempty"`
	// MinPoints is the fewest samples of a window that count. Above zero.
	MinPoints int `json:"min_points"`
}

// RecoverySpec says how recovery from an incident is judged.
type RecoverySpec struct {
	SLIs []SLI `json:"slis"`
	// Data are the counts of what the change left behind.
	Data []DataCheck `json:"data,omitempty"`
	// Warmup is how long after the last action samples do not count yet.
	Warmup time.Duration `json:"warmup"`
	// Short and Long are the windows in which the objective must be met.
	Short time.Duration `json:"short"`
	Long  time.Duration `json:"long"`
	// Step is the resolution of the queries.
	Step time.Duration `json:"step"`
	// BaselineLength and BaselineGap place the healthy window: it has that
	// length and ends that long before the change.
	BaselineLength time.Duration `json:"baseline_length"`
	BaselineGap    time.Duration `json:"baseline_gap"`
	// Hold is how long the verdict must stay recovered before it counts.
	Hold time.Duration `json:"hold"`
	// Deadline is when judging ends, counted from the last action.
	Deadline time.Duration `json:"deadline"`
}

// EvidenceSpec names one thing to capture before and after a rollback.
type EvidenceSpec struct {
	// Collector is the registered kind, such as "prometheus.range".
	Collector string `json:"collector"`
	Target    Target `json:"target"`
	// Params are the collector's own settings, from the runbook.
	Params map[string]string `json:"params,omitempty"`
}

// Entry is one record of the ledger.
type Entry struct {
	// ID makes the append idempotent: an entry whose ID is there already is
	// not written again.
	ID string `json:"id"`
	// Incident is the incident's key.
	Incident string    `json:"incident"`
	Kind     EventKind `json:"kind"`
	At       time.Time `json:"at"`
	Actor    string    `json:"actor,omitempty"`
	Text     string    `json:"text"`
	// Payload is the machine-readable detail: a JSON object without secrets.
	Payload json.RawMessage `json:"payload,omitempty"`
}

// Recorded says where an entry stands in the ledger.
type Recorded struct {
	ID string `json:"id"`
	// Seq counts from 1. Hash chains the entry to all before it.
	Seq  int64  `json:"seq"`
	Hash string `json:"hash"`
	// At is the time in the entry as it stands there.
	At time.Time `json:"at"`
	// Existed says that the entry was there before this call.
	Existed bool `json:"existed,omitempty"`
}
