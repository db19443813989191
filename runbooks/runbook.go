package runbooks

import (
	"time"

	"github.com/backout/backout/runbooks/strict"
	"github.com/backout/backout/workflows/incident"
)

// File is a document and the name that errors call it by.
type File = strict.File

// APIVersion and Kind are what a runbook must say it is.
const (
	APIVersion = "backout.dev/v1"
	Kind       = "Runbook"
)

// AnyService in Match.Services makes a runbook match every service that no
// other runbook names.
const AnyService = "*"

// Placeholder is the one placeholder. In target paths, evidence parameters and
// queries it is replaced by the service's name in the catalogue.
const Placeholder = "{service}"

// Runbook says which inverses undo which changes of a service, what evidence
// to capture first and how recovery is judged.
type Runbook struct {
	Metadata Metadata
	Match    Match
	// Changes are what to watch.
	Changes  []Watch
	Options  []OptionSpec
	Evidence []incident.EvidenceSpec
	Recovery incident.RecoverySpec
	// Digest is the SHA-256 of the canonical parsed content: comments, order of
	// keys and spelled-out defaults do not change it.
	Digest string `json:"-"`
	// File is the name the runbook was parsed under.
	File string `json:"-"`

	doc *strict.Document
}

// Metadata says what a runbook is and who keeps it.
type Metadata struct {
	Name        string
	Description string
	// Owner is the team that keeps the runbook.
	Owner string
	// Reviewed is the day of the last review, at midnight UTC.
	Reviewed time.Time
}

// Match says which services a runbook is for.
type Match struct {
	// Services are names of the catalogue, or AnyService alone.
	Services []string
}

// Watch is one target whose changes are suspects.
type Watch struct {
	// Source is the registered kind of change source, such as "nats.kv".
	Source string
	Target incident.Target
	// Kind is what a change of the target is; empty leaves it to the source.
	Kind incident.ChangeKind
	// NoInverse says why no option undoes these changes; empty when one does.
	NoInverse string
}

// OptionSpec is one way out as a runbook describes it.
type OptionSpec struct {
	// Name is unique in the runbook, Title is for people.
	Name     string
	Title    string
	Strategy incident.Strategy
	// Undoes are the change sources whose changes this undoes. Empty means
	// that the option stands alone and needs no suspect.
	Undoes  []string
	Actions []ActionSpec
	// SharedData are stores that the option writes and other services use too.
	SharedData []string
	// Global is why all customers are touched at once; empty when they are not.
	Global       string
	Rung         incident.Rung
	ExpectedTime time.Duration
	Risk         string
	// WontRevert lists, for people, what stays as it is.
	WontRevert []string
}

// ActionSpec is one inverse of an option, before it is planned.
type ActionSpec struct {
	// Kind is the registered kind of inverse.
	Kind   string
	Target incident.Target
	// Service is whose target it is; empty means the paged service.
	Service string
	// Revision is absolute; empty means the state in place just before the
	// suspected change.
	Revision  string
	MaxTime   time.Duration
	OnFailure incident.OnFailure
}
