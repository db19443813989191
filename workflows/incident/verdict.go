package incident

import "time"

// Verdict is the judgement of recovery. The zero value is invalid.
type Verdict string

// The three verdicts. Only VerdictRecovered closes an incident.
const (
	VerdictRecovered    Verdict = "recovered"
	VerdictNotRecovered Verdict = "not recovered"
	VerdictUnknown      Verdict = "unknown"
)

// SLIResult is how one SLI was judged.
type SLIResult struct {
	Name    string  `json:"name"`
	Verdict Verdict `json:"verdict"`
	// Reason is one sentence for people with the numbers in it.
	Reason string `json:"reason"`
	Unit   string `json:"unit,omitempty"`
	// Query is the PromQL as it was sent.
	Query string `json:"query,omitempty"`
	// Objective is what is wanted, for people, such as "< 0.01".
	Objective string `json:"objective,omitempty"`
	// Baseline, During and After are medians of the windows in Unit; nil where
	// the window had no usable sample.
	Baseline *float64 `json:"baseline,omitempty"`
	During   *float64 `json:"during,omitempty"`
	After    *float64 `json:"after,omitempty"`
}

// RecoveryResult is the verdict over all SLIs of a runbook at one moment.
type RecoveryResult struct {
	Verdict Verdict     `json:"verdict"`
	Reason  string      `json:"reason"`
	SLIs    []SLIResult `json:"slis,omitempty"`
	// At is when it was judged.
	At time.Time `json:"at"`
}

// EvidenceItem is one captured piece of evidence.
type EvidenceItem struct {
	// Name is what was captured, such as "kubernetes.describe checkout".
	Name      string `json:"name"`
	Collector string `json:"collector"`
	// Digest addresses the redacted content in the store; empty when it could
	// not be had.
	Digest    string `json:"digest,omitempty"`
	MediaType string `json:"media_type,omitempty"`
	// Size is in bytes, after redaction.
	Size int64 `json:"size,omitempty"`
	// Redactions counts what was taken out before storage.
	Redactions int `json:"redactions,omitempty"`
	// Missing says why it could not be had; empty when it was.
	Missing string    `json:"missing,omitempty"`
	At      time.Time `json:"at"`
}

// EvidencePhase says on which side of the rollback evidence was captured.
type EvidencePhase string

// The phases of evidence.
const (
	EvidenceBefore EvidencePhase = "before"
	EvidenceAfter  EvidencePhase = "after"
	// EvidenceChart is the phase of the pictures that are drawn after the verdict.
	EvidenceChart EvidencePhase = "chart"
)

// Manifest lists the evidence of one phase. Its own digest goes into the
// ledger before the first mutation.
type Manifest struct {
	Rollback string         `json:"rollback"`
	Phase    EvidencePhase  `json:"phase"`
	Items    []EvidenceItem `json:"items"`
	Digest   string         `json:"digest"`
}
