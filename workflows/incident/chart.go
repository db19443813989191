package incident

import "time"

// Span is a stretch of time. The zero value is none.
type Span struct{ From, Until time.Time }

// IsZero reports whether the span has no length.
func (s Span) IsZero() bool { return !s.Until.After(s.From) }

// Contains reports whether a moment lies in the span, its ends included.
func (s Span) Contains(t time.Time) bool { return !t.Before(s.From) && !t.After(s.Until) }

// MarkKind says what happened at a moment of a chart. The zero value is invalid.
type MarkKind string

// The kinds of mark.
const (
	MarkChange   MarkKind = "change"
	MarkPage     MarkKind = "page"
	MarkApproval MarkKind = "approval"
	MarkRollback MarkKind = "rollback"
	// MarkVerdict is when the verdict was final; its word is the verdict's.
	MarkVerdict MarkKind = "verdict"
)

// ChartMark is one moment of a chart.
type ChartMark struct {
	Kind MarkKind
	At   time.Time
}

// ChartPanel is one SLI of a chart.
type ChartPanel struct {
	Name      string
	Unit      string
	Objective Objective
	// Result is how the SLI was judged in the end; nil if it was not.
	Result *SLIResult
	// Series are what its query yielded. A sample that is NaN or missing is a gap.
	Series []Series
	// Failed says why there is no answer to the query; empty when there is one.
	Failed string
}

// Chart is the picture of one rollback: its SLIs before, during and after. Like
// Series it stays inside one process and never crosses the wire.
type Chart struct {
	Incident string
	Service  string
	Verdict  Verdict
	Reason   string
	// Windows are the stretches that are shown, in order of time and apart from
	// each other.
	Windows []Span
	// Step is how far apart samples are; a longer pause is a gap.
	Step time.Duration
	// Before is the healthy window, During is from the harm to the end of the last
	// action, After is what the verdict was made from. Each may be zero.
	Before, During, After Span
	Marks                 []ChartMark
	Panels                []ChartPanel
}

// ChartRef is where the chart of a rollback is kept and shown.
type ChartRef struct {
	// Digest and DarkDigest address the PNGs in the evidence store, for light and
	// dark surfaces.
	Digest     string `json:"digest"`
	DarkDigest string `json:"dark_digest,omitempty"`
	// SlackFile and SlackURL are the file in the thread of the card; empty until it
	// is there.
	SlackFile string `json:"slack_file,omitempty"`
	SlackURL  string `json:"slack_url,omitempty"`
	// URL and DarkURL are where the tracker shows the PNGs; they are filled in while
	// a postmortem is written, and never stored.
	URL     string `json:"url,omitempty"`
	DarkURL string `json:"dark_url,omitempty"`
	// Missing says why the tracker does not show it; like URL it is never stored.
	Missing string `json:"missing,omitempty"`
}

// Picture is an image for the thread of a card. It never crosses the wire.
type Picture struct {
	// ID makes showing it idempotent: the same ID is shown once.
	ID string
	// Title names the file, Alt says what is on it to who can not see it, Text goes
	// above it. Nothing in them is interpreted.
	Title, Alt, Text string
	PNG              []byte
}

// PictureRef is where a picture is.
type PictureRef struct {
	File string `json:"file"`
	URL  string `json:"url,omitempty"`
}
