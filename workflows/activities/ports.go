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
	// Get returns the entry with an ID, and whether there is one.
	Get(ctx context.Context, id string) (incident.Entry, bool, error)
}

// EvidenceStore keeps captured documents by their digest.
type EvidenceStore interface {
	// Put stores content and returns its digest. Storing it twice is storing
	// it once.
	Put(ctx context.Context, content []byte, mediaType string) (digest string, err error)
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

// Directory maps an authenticated actor to a human being.
type Directory interface {
	// Identify returns exactly one active person, or an error that wraps
	// incident.ErrNoIdentity.
	Identify(ctx context.Context, a incident.Actor) (incident.Person, error)
}

// Tracker keeps postmortems: GitHub issues.
type Tracker interface {
	// Upsert creates or updates the one issue of an incident.
	Upsert(ctx context.Context, key, title, body string) (incident.PostmortemRef, error)
}

// Intake hands a page to its incident, as a webhook does.
type Intake interface {
	Page(ctx context.Context, p incident.Page) (incident.Result, error)
}

// Systems is the connected production systems; *driver.Set is one.
type Systems interface {
	Inverse(kind, system string) (driver.Inverse, error)
	Source(kind, system string) (driver.ChangeSource, error)
	Collector(kind, system string) (driver.Collector, error)
	Probe(system string) (driver.Probe, error)
}
