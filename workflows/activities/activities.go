package activities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"github.com/backout/backout/approvals"
	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/runbooks"
	"github.com/backout/backout/workflows/activities/redact"
	"github.com/backout/backout/workflows/incident"
)

// Activities is the receiver of every activity, with what they reach. All
// fields must be set, except those marked optional.
type Activities struct {
	Ledger    Ledger
	Evidence  EvidenceStore
	Channel   Channel
	Directory Directory
	Systems   Systems
	Catalogue *runbooks.Catalogue
	Runbooks  []*runbooks.Runbook
	Policy    *approvals.Policy
	// Postmortem renders an incident for the tracker.
	Postmortem func(v incident.View) (title, body string)
	// Now is the clock of what is recorded.
	Now func() time.Time

	// Pager is optional: without it nobody can be on call, and nothing can be
	// escalated, which is said on the card.
	Pager Pager
	// Tracker is optional: without it no postmortem is written, which is said
	// on the card.
	Tracker Tracker
	// Intake is optional: it is needed by Reconcile only.
	Intake Intake
}

// errNotConfigured means that the configuration names no such service.
var errNotConfigured = errors.New("not configured")

// beat heartbeats until the returned function is called, so that a dead worker
// is noticed at once and a cancellation arrives.
func beat(ctx context.Context) (stop func()) {
	if !activity.IsActivity(ctx) {
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-ctx.Done():
				return
			case <-tick.C:
				activity.RecordHeartbeat(ctx)
			}
		}
	}()
	return func() { close(done) }
}

// retryAfter is an error that knows when trying again makes sense.
type retryAfter interface{ RetryAfter() time.Duration }

// classify is the type of an error, and whether trying again can not help.
func classify(err error) (kind string, final bool) {
	var drift *driver.DriftError
	switch {
	case errors.As(err, &drift):
		return incident.ErrTypeDrift, true
	case errors.Is(err, driver.ErrDenied):
		return incident.ErrTypeDenied, true
	case errors.Is(err, driver.ErrNotFound):
		return incident.ErrTypeNotFound, true
	case errors.Is(err, driver.ErrInvalid), errors.Is(err, errNotConfigured):
		return incident.ErrTypeInvalid, true
	case errors.Is(err, errLedger):
		return incident.ErrTypeLedger, false
	default:
		return "", false
	}
}

// asActivityError types an error for the workflow: what is final, and when
// anything else should be tried again. Details travel with it.
func asActivityError(err error, details ...any) error {
	if err == nil {
		return nil
	}
	opts := temporal.ApplicationErrorOptions{Details: details}
	var kind string
	kind, opts.NonRetryable = classify(err)
	var later retryAfter
	if !opts.NonRetryable && errors.As(err, &later) {
		opts.NextRetryDelay = later.RetryAfter()
	}
	return temporal.NewApplicationErrorWithOptions(said(err), kind, opts)
}

// said is an error as it may travel and be read: without secrets.
func said(err error) string {
	clean, _ := redact.Redact([]byte(err.Error()))
	return string(clean)
}

// errLedger means that the ledger could not be written or read.
var errLedger = errors.New("ledger unavailable")

// write appends one entry; its failure forbids whatever was to follow.
func (a *Activities) write(ctx context.Context, e incident.Entry) (incident.Recorded, error) {
	rec, err := a.Ledger.Append(ctx, e)
	if err != nil {
		return rec, fmt.Errorf("%w: write %q: %w", errLedger, e.ID, err)
	}
	return rec, nil
}

// recorded reads back what an earlier attempt wrote. A record of something
// else under that ID is final: it can not be told what the attempt did.
func (a *Activities) recorded(ctx context.Context, id, key string, kind incident.EventKind, into any) (e incident.Entry, there bool, err error) {
	e, there, err = a.Ledger.Get(ctx, id)
	switch {
	case err != nil:
		return e, false, fmt.Errorf("%w: read %q: %w", errLedger, id, err)
	case !there:
		return e, false, nil
	case e.Kind != kind || e.Incident != key:
		return e, false, fmt.Errorf("read %q: %w: the ledger has another record there, a %s of %q", id, driver.ErrInvalid, e.Kind, e.Incident)
	}
	if err := json.Unmarshal(e.Payload, into); err != nil {
		return e, false, fmt.Errorf("decode %q: %w: %w", id, driver.ErrInvalid, err)
	}
	return e, true, nil
}

// Record writes entries of the ledger.
func (a *Activities) Record(ctx context.Context, in RecordInput) error {
	for _, e := range in.Entries {
		if _, err := a.write(ctx, e); err != nil {
			return asActivityError(err)
		}
	}
	return nil
}

// PublishCard shows the incident on its one card.
func (a *Activities) PublishCard(ctx context.Context, v incident.View) (incident.CardRef, error) {
	ref, err := a.Channel.Publish(ctx, v)
	return ref, asActivityError(err)
}

// Escalate pages the next level.
func (a *Activities) Escalate(ctx context.Context, in EscalateInput) error {
	if a.Pager == nil {
		return asActivityError(fmt.Errorf("escalate: pager is %w", errNotConfigured))
	}
	id, ok := pagerID(in.Key)
	if !ok {
		return asActivityError(fmt.Errorf("escalate %q: %w: it did not come from the pager", in.Key, driver.ErrInvalid))
	}
	return asActivityError(a.Pager.Escalate(ctx, id, in.Reason))
}

// NoteAtSource adds a note to the incident where it came from. An incident
// that did not come from the pager has no such place.
func (a *Activities) NoteAtSource(ctx context.Context, in NoteInput) error {
	id, ok := pagerID(in.Key)
	if !ok || a.Pager == nil {
		return nil
	}
	return asActivityError(a.Pager.Note(ctx, id, in.ID, in.Text))
}

// WritePostmortem creates or updates the incident's one issue.
func (a *Activities) WritePostmortem(ctx context.Context, in PostmortemInput) (incident.PostmortemRef, error) {
	if a.Tracker == nil {
		return incident.PostmortemRef{}, asActivityError(fmt.Errorf("write postmortem: tracker is %w", errNotConfigured))
	}
	title, body := a.Postmortem(in.View)
	ref, err := a.Tracker.Upsert(ctx, in.View.Key, title, body)
	return ref, asActivityError(err)
}

// OpenIncidents lists what is open at a source.
func (a *Activities) OpenIncidents(ctx context.Context, source incident.Source) ([]incident.Page, error) {
	if source != incident.SourcePagerDuty || a.Pager == nil {
		return nil, asActivityError(fmt.Errorf("list open incidents of %q: %w", source, errNotConfigured))
	}
	defer beat(ctx)()
	pages, err := a.Pager.Open(ctx)
	return pages, asActivityError(err)
}

// DeliverPage hands a page to its incident.
func (a *Activities) DeliverPage(ctx context.Context, p incident.Page) error {
	if a.Intake == nil {
		return asActivityError(fmt.Errorf("deliver page: intake is %w", errNotConfigured))
	}
	_, err := a.Intake.Page(ctx, p)
	return asActivityError(err)
}

// pagerID is the pager's own identifier in an incident's key.
func pagerID(key string) (string, bool) {
	const prefix = string(incident.SourcePagerDuty) + "/"
	if len(key) <= len(prefix) || key[:len(prefix)] != prefix {
		return "", false
	}
	return key[len(prefix):], true
}
