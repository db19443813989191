package activities

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/backout/backout/approvals"
	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/runbooks"
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
	// Attestations check who asked. Without them nobody did.
	Attestations Attestations
	// Postmortem renders an incident for the tracker.
	Postmortem func(v incident.View) (title, body string)
	// Review renders the issue of a review of approvals past the policy, due at a
	// time. It is optional: without it no such issue is written, which is said.
	Review func(v incident.View, due time.Time) (title, body string)
	// Chart draws a rollback's SLIs as PNG, for a light or a dark surface. It is
	// optional: without it there is no chart, which is said.
	Chart func(c incident.Chart, dark bool) ([]byte, error)
	// FollowUp says when postmortems are due; zero for never.
	FollowUp FollowUp
	// Now is the clock of what is recorded.
	Now func() time.Time

	// Pager is optional: without it nobody can be on call, and nothing can be
	// escalated, which is said on the card.
	Pager Pager
	// Security is the pager's identifier of the service that pages security when the
	// policy is passed by. It is optional: without it nobody from security is paged,
	// which is said on the card.
	Security string
	// Tracker is optional: without it no postmortem is written, which is said
	// on the card.
	Tracker Tracker
	// Intake is optional: it is needed by Reconcile only.
	Intake Intake
	// Recorded are the targets whose states are kept, by Recorders. Both are
	// optional: without them nothing is recorded.
	Recorded  []runbooks.KindTarget
	Recorders Recorders
	// Held is optional: without it Reconcile does not look for incidents whose
	// end was missed. The worker sets it.
	Held Held
	// Owners answer for the groups that own services, by their kind. A service of a
	// group whose kind nobody answers for has no owner who could be told, and
	// whatever needs one is an error.
	Owners map[runbooks.OwnerKind]Member
	// Console is the address of an incident's page; it is optional.
	Console func(key string) string
	// Records is the address of the page that lists an incident's recorded events; it
	// is optional: without it the postmortem names them and links to none.
	Records func(key string) string
	// Meter is optional: without it nothing is counted.
	Meter Meter
	// Lately is optional: without it everybody is asked every time.
	Lately *Lately
	// Attempts bound how many refused attempts are recorded. They are optional: without
	// them all are.
	Attempts *Attempts
}

// errNotConfigured means that the configuration names no such service.
var errNotConfigured = errors.New("not configured")

// PublishCard shows the incident on its one card.
func (a *Activities) PublishCard(ctx context.Context, v incident.View) (incident.CardRef, error) {
	ref, err := a.Channel.Publish(ctx, v)
	return ref, asActivityError(err)
}

// Bounds of the two halves of Show, so that one that hangs does not keep the other
// for long. Where less time is left, the card has most of it.
const (
	showRecordWithin = 2 * time.Second
	showCardWithin   = 6 * time.Second
)

// Show is Record and then PublishCard. It returns no error: what did not work out
// is in the result, and the activity that does it alone says why.
func (a *Activities) Show(ctx context.Context, in ShowInput) (ShowResult, error) {
	recordWithin, cardWithin := showRecordWithin, showCardWithin
	if until, bounded := ctx.Deadline(); bounded {
		left := time.Until(until)
		recordWithin, cardWithin = min(recordWithin, left/4), min(cardWithin, left*5/8)
	}
	var res ShowResult
	recording, cancel := context.WithTimeout(ctx, recordWithin)
	defer cancel()
	res.Recorded = a.Record(recording, RecordInput{Entries: in.Entries}) == nil
	showing, cancel := context.WithTimeout(ctx, cardWithin)
	defer cancel()
	if ref, err := a.PublishCard(showing, in.View); err == nil {
		res.Card = &ref
	}
	return res, nil
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
	if once, can := a.Pager.(OnceEscalator); can && in.ID != "" {
		return asActivityError(once.EscalateOnce(ctx, id, in.ID, in.Reason))
	}
	reason := in.Reason
	if in.ID != "" {
		// The pager tells escalations by their reasons.
		reason += " [" + in.ID + "]"
	}
	return asActivityError(a.Pager.Escalate(ctx, id, reason))
}

// NoteAtSource adds a note to the incident where it came from. An incident
// that did not come from the pager has no such place.
func (a *Activities) NoteAtSource(ctx context.Context, in NoteInput) error {
	id, ok := pagerID(in.Key)
	if !ok || a.Pager == nil {
		if in.Console {
			// It stands for a card that nobody sees.
			return asActivityError(fmt.Errorf("note %q: the incident's pager is %w", in.Key, errNotConfigured))
		}
		return nil
	}
	text := in.Text
	if in.Console && a.Console != nil {
		text += "\nOr in the console: " + a.Console(in.Key)
	}
	return asActivityError(a.Pager.Note(ctx, id, in.ID, text))
}

// WritePostmortem creates or updates the incident's one issue.
func (a *Activities) WritePostmortem(ctx context.Context, in PostmortemInput) (incident.PostmortemRef, error) {
	if a.Tracker == nil {
		return incident.PostmortemRef{}, asActivityError(fmt.Errorf("write postmortem: tracker is %w", errNotConfigured))
	}
	v, err := a.pictured(ctx, in.View)
	if err != nil {
		return incident.PostmortemRef{}, asActivityError(err)
	}
	if v.Postmortem.Due.IsZero() {
		v.Postmortem.Due = a.FollowUp.Due(v.PagedAt)
	}
	if v.ConsoleURL == "" && a.Records != nil {
		v.ConsoleURL = a.Records(v.Key)
	}
	title, body := a.Postmortem(v)
	a.made(v.Key, in.View.Postmortem)
	ref, err := a.Tracker.Upsert(ctx, v.Key, title, body)
	ref.Due = v.Postmortem.Due
	return ref, asActivityError(err)
}

// reviewSuffix makes the key of a review's issue from that of its incident.
const reviewSuffix = ".break-glass"

// OpenReview creates or updates the one issue in which an incident's approvals past
// the policy are reviewed.
func (a *Activities) OpenReview(ctx context.Context, in ReviewInput) (incident.PostmortemRef, error) {
	if a.Tracker == nil || a.Review == nil {
		return incident.PostmortemRef{}, asActivityError(fmt.Errorf("open review: tracker is %w", errNotConfigured))
	}
	title, body := a.Review(in.View, in.Due)
	ref, err := a.Tracker.Upsert(ctx, in.View.Key+reviewSuffix, title, body)
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

// HeldIncidents lists the identifiers at a source of the incidents that are
// open here; none when nobody can be asked how they stand there.
func (a *Activities) HeldIncidents(ctx context.Context, source incident.Source) ([]string, error) {
	if _, can := a.Pager.(Asker); !can || a.Held == nil || source != incident.SourcePagerDuty {
		return nil, nil
	}
	defer beat(ctx)()
	ids, err := a.Held.Held(ctx, source)
	return ids, asActivityError(err)
}

// AskIncident asks a source how one incident stands there.
func (a *Activities) AskIncident(ctx context.Context, in AskInput) (incident.Page, error) {
	asker, can := a.Pager.(Asker)
	if !can || in.Source != incident.SourcePagerDuty {
		return incident.Page{}, asActivityError(fmt.Errorf("ask about incident %q of %q: %w", in.ID, in.Source, errNotConfigured))
	}
	defer beat(ctx)()
	p, _, err := asker.Incident(ctx, in.ID)
	if err == nil && (p.Source != in.Source || p.IncidentID != in.ID) {
		err = fmt.Errorf("ask about incident %q: %w: the answer is about %q", in.ID, driver.ErrInvalid, p.IncidentID)
	}
	return p, asActivityError(err)
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
