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
	// Numbers are what the verdict rests on; nil when nothing could be measured.
	Numbers *SLINumbers `json:"numbers,omitempty"`
}

// SLINumbers are the numbers behind the verdict on one SLI.
type SLINumbers struct {
	// Samples are those that count since the warm-up, Independent is how many
	// independent ones they are worth.
	Samples     int     `json:"samples"`
	Independent float64 `json:"independent,omitempty"`
	// Bad of Total events happened since the warm-up, BaselineBad of BaselineTotal
	// before the change; zero when no events are known.
	Bad           float64 `json:"bad,omitempty"`
	Total         float64 `json:"total,omitempty"`
	BaselineBad   float64 `json:"baseline_bad,omitempty"`
	BaselineTotal float64 `json:"baseline_total,omitempty"`
	// Overdispersion is by what factor the events of the baseline vary more than
	// independent ones.
	Overdispersion float64 `json:"overdispersion,omitempty"`
	// Allowed is the worst value that still counts as recovered, in the SLI's unit.
	Allowed *float64 `json:"allowed,omitempty"`
	// ErrorBound is the promised chance of a wrong verdict, however often it is
	// looked at.
	ErrorBound float64 `json:"error_bound"`
}

// RecoveryResult is the verdict over all SLIs and data checks of a runbook at one
// moment.
type RecoveryResult struct {
	Verdict Verdict     `json:"verdict"`
	Reason  string      `json:"reason"`
	SLIs    []SLIResult `json:"slis,omitempty"`
	// Data is what still diverges; empty where the runbook has no data checks.
	Data []DataResult `json:"data,omitempty"`
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
	Missing string `json:"missing,omitempty"`
	// Note is what else there is to say of it, for people, such as "cut to 2097152
	// bytes: the document has 9000000".
	Note string    `json:"note,omitempty"`
	At   time.Time `json:"at"`
}

// EvidencePhase says on which side of the rollback evidence was captured.
type EvidencePhase string

// The phases of evidence.
const (
	EvidenceBefore EvidencePhase = "before"
	EvidenceAfter  EvidencePhase = "after"
	// EvidenceChart is the phase of the pictures that are drawn after the verdict.
	EvidenceChart EvidencePhase = "chart"
	// EvidencePinned is the phase of images of messages that people pinned. It belongs
	// to no rollback.
	EvidencePinned EvidencePhase = "pinned"
)

// Manifest lists the evidence of one phase. Its own digest goes into the
// ledger before the first mutation.
type Manifest struct {
	Rollback string         `json:"rollback"`
	Phase    EvidencePhase  `json:"phase"`
	Items    []EvidenceItem `json:"items"`
	// Counts are those of the runbook's data checks before the rollback.
	Counts []DataCount `json:"counts,omitempty"`
	Digest string      `json:"digest"`
}
