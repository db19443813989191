package activities

import (
	"context"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// Ledger is the append-only, hash-chained audit record.
type Ledger interface {
	// Append writes an entry durably before it returns. An entry whose ID is
	// there already is left as it is, and Recorded.Existed says so; the same
	// ID with other content is an error.
	Append(ctx context.Context, e incident.Entry) (incident.Recorded, error)
	// AppendAll is Append for several entries: all are written or none.
	AppendAll(ctx context.Context, entries []incident.Entry) ([]incident.Recorded, error)
	// Get returns the entry with an ID, and whether there is one.
	Get(ctx context.Context, id string) (incident.Entry, bool, error)
	// Of returns the entries of one kind of an incident, in the order in which they
	// were written.
	Of(ctx context.Context, key string, kind incident.EventKind) ([]incident.Entry, error)
}

// EvidenceStore keeps captured documents by their digest.
type EvidenceStore interface {
	// Put stores content and returns its digest. Storing it twice is storing
	// it once.
	Put(ctx context.Context, content []byte, mediaType string) (digest string, err error)
	// Get returns the document with a digest, and never one that does not match it.
	Get(ctx context.Context, digest string) ([]byte, error)
}

// Channel is where people see an incident: Slack.
type Channel interface {
	// Publish shows the view on the incident's one card, posting it at first
	// and updating it ever after. A retry after a lost response finds the card
	// that was posted.
	Publish(ctx context.Context, v incident.View) (incident.CardRef, error)
	// Tell says text to one person only, where they spoke.
	Tell(ctx context.Context, to incident.Actor, text string) error
	// Say adds a line to the thread of a card. The id makes it idempotent.
	Say(ctx context.Context, card incident.CardRef, id, text string) error
}

// Pager is the paging service: PagerDuty.
type Pager interface {
	// Escalate pages the next level for an incident of that service.
	Escalate(ctx context.Context, incidentID, reason string) error
	// Note adds a note to an incident; the same id twice is one note.
	Note(ctx context.Context, incidentID, id, text string) error
	// Open lists the incidents that are open now, each as a page of kind
	// incident.PageReconciled.
	Open(ctx context.Context) ([]incident.Page, error)
	// OnCall lists who is on call now for a service, by the pager's service
	// identifier.
	OnCall(ctx context.Context, serviceID string) ([]incident.Person, error)
}

// OnceEscalator is a Pager that tells the repetition of an escalation from
// another one by its ID rather than by its reason. It is optional.
type OnceEscalator interface {
	// EscalateOnce pages the next level; the same id twice pages once, however
	// much later.
	EscalateOnce(ctx context.Context, incidentID, id, reason string) error
}

// Asker is a Pager that says how one incident stands. It is optional: without
// it an incident whose end was missed stays open here until somebody closes it.
type Asker interface {
	// Incident is an incident as a page, and whether it is open there: of kind
	// incident.PageReconciled while it is, and incident.PageResolved when it is
	// not, dated by its last change. An incident that is gone is an error
	// wrapping driver.ErrNotFound.
	Incident(ctx context.Context, incidentID string) (page incident.Page, open bool, err error)
}

// Held lists the incidents that Backout itself holds open.
type Held interface {
	// Held lists the identifiers at the source of the incidents of a source
	// whose workflows are running. The list may lag behind.
	Held(ctx context.Context, source incident.Source) ([]string, error)
}

// Directory maps an authenticated actor to a human being.
type Directory interface {
	// Identify returns exactly one active person, or an error that wraps
	// incident.ErrNoIdentity.
	//
	// An *incident.NoIdentityError says why, for the ledger.
	Identify(ctx context.Context, a incident.Actor) (incident.Person, error)
}

// Roster is a Directory that says whether somebody who was named, and did not prove
// who they are, is still active. It is optional: without it whoever is known is.
type Roster interface {
	// Active returns nil for an active person, or an error that wraps
	// incident.ErrNoIdentity.
	Active(ctx context.Context, p incident.Person) error
}

// Member reports whether a person is in a group now. What can not be asked, such
// as a group that does not exist, is an error and never a no.
type Member func(ctx context.Context, group string, p incident.Person) (bool, error)

// Tracker keeps postmortems: GitHub issues.
type Tracker interface {
	// Upsert creates or updates the one issue of an incident.
	Upsert(ctx context.Context, key, title, body string) (incident.PostmortemRef, error)
}

// Meter counts what is decided. It is told of each answer that was judged, once, by
// whoever wrote it into the ledger; never of a repetition.
type Meter interface {
	// Decided counts an answer to a plan of a tier. past says that it approved the
	// plan alone, past the policy's quorum.
	Decided(outcome incident.Outcome, tier incident.Tier, past bool)
}

// DataMeter is a Meter that shows what still diverges. It is optional.
type DataMeter interface {
	// Diverges shows what was counted just now in the data of a service. A check
	// without a count was not counted, which is not zero.
	Diverges(service string, checks []incident.DataCheck, counts []incident.DataCount)
}

// Intake hands a page to its incident, as a webhook does.
type Intake interface {
	Page(ctx context.Context, p incident.Page) (incident.Result, error)
}

// Recorders keep the states of targets whose systems keep no history of them;
// *driver.Set is one.
type Recorders interface {
	Recorder(kind, system string) (driver.Recorder, error)
}

// Systems is the connected production systems; *driver.Set is one.
type Systems interface {
	Inverse(kind, system string) (driver.Inverse, error)
	Source(kind, system string) (driver.ChangeSource, error)
	Collector(kind, system string) (driver.Collector, error)
	Probe(system string) (driver.Probe, error)
	Counter(system string) (driver.Counter, error)
}
