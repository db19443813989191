package pagerduty

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/PagerDuty/go-pagerduty"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// maxNote is the longest text of a note, in runes; a note is for reading at a
// glance.
const maxNote = 4000

// statusResolved is the status of an incident that is over.
const statusResolved = "resolved"

// Reach lists one incident.
func (c *Client) Reach(ctx context.Context) error {
	_, err := call(ctx, "list incidents", func(ctx context.Context) (*pagerduty.ListIncidentsResponse, error) {
		return c.api.ListIncidentsWithContext(ctx, pagerduty.ListIncidentsOptions{Limit: 1})
	})
	return err
}

// Open lists the incidents that are triggered or acknowledged now, each as a
// page of kind incident.PageReconciled. Its event ID is made of what the
// incident shows, so that an incident that has not changed since the last time
// is the same event. What PageService opened is left out. A list that can not be
// read to its end is an error.
func (c *Client) Open(ctx context.Context) ([]incident.Page, error) {
	var pages []incident.Page
	seen := make(map[string]bool)
	for offset := uint(0); ; offset += pageSize {
		if offset+pageSize > maxOffset {
			return nil, fmt.Errorf("list open incidents: more than %d are open", maxOffset)
		}
		list, err := call(ctx, "list open incidents", func(ctx context.Context) (*pagerduty.ListIncidentsResponse, error) {
			return c.api.ListIncidentsWithContext(ctx, pagerduty.ListIncidentsOptions{
				Limit: pageSize, Offset: offset, Statuses: []string{"triggered", "acknowledged"}, DateRange: "all", SortBy: "created_at:asc",
			})
		})
		if err != nil {
			return nil, err
		}
		for _, i := range list.Incidents {
			// A page moves when an incident closes between two requests.
			if seen[i.ID] || isNotice(i.IncidentKey) {
				continue
			}
			seen[i.ID] = true
			page, err := c.page(i)
			if err != nil {
				return nil, err
			}
			pages = append(pages, page)
		}
		if !list.More {
			return pages, nil
		}
	}
}

// Incident reads one incident, so that an event that was never delivered can be
// made up for. While it is triggered or acknowledged, open is true and the page is
// what Open would list; when it is resolved, which a merge into another incident
// is too, open is false and the page is of kind incident.PageResolved. The event
// ID is made of what the incident shows, so that reading it twice is one event.
//
// An incident that PagerDuty does not know is an error that wraps
// driver.ErrNotFound: it is never taken for one that is resolved. A status that is
// not known counts as open.
func (c *Client) Incident(ctx context.Context, id string) (page incident.Page, open bool, err error) {
	i, err := c.incident(ctx, id)
	if err != nil {
		return incident.Page{}, false, err
	}
	if i.ID != id {
		return incident.Page{}, false, fmt.Errorf("read incident %q: PagerDuty answered for another one", id)
	}
	page, err = c.page(*i)
	if err != nil {
		return incident.Page{}, false, err
	}
	return page, page.Kind != incident.PageResolved, nil
}

func (c *Client) page(i pagerduty.Incident) (incident.Page, error) {
	created, err := time.Parse(time.RFC3339, i.CreatedAt)
	if err != nil {
		return incident.Page{}, fmt.Errorf("read incident %q: creation time is malformed", i.ID)
	}
	changed := latest(created, i.LastStatusChangeAt)
	if i.Status == statusResolved {
		// It is over as of whatever was done to it last: an earlier time would lose
		// against an event that was delivered.
		changed = latest(changed, i.ResolvedAt, i.UpdatedAt)
	}
	priority := ""
	if i.Priority != nil {
		priority = i.Priority.Summary
	}
	kind := incident.PageReconciled
	if i.Status == statusResolved {
		kind = incident.PageResolved
	}
	page := incident.Page{
		Source: incident.SourcePagerDuty, Kind: kind, IncidentID: i.ID, Title: cut(i.Title, incident.MaxTitle),
		Severity: c.opts.Severities.Of(priority, i.Urgency), ServiceID: i.Service.ID, URL: webAddress(i.HTMLURL),
		OccurredAt: changed.UTC(), OpenedAt: created.UTC(),
	}
	shown := incident.DigestOf(fmt.Appendf(nil, "%s\x00%s\x00%s\x00%s", i.Status, page.OccurredAt.Format(time.RFC3339), page.Severity, page.ServiceID))
	page.EventID = "reconcile-" + i.ID + "-" + incident.ShortDigest(shown)
	if !incident.ValidKey(incident.Key(incident.SourcePagerDuty, i.ID)) {
		return page, fmt.Errorf("read incident: %w: its ID is malformed", driver.ErrInvalid)
	}
	if err := page.Validate(); err != nil {
		return page, fmt.Errorf("read incident %q: %w", i.ID, err)
	}
	return page, nil
}

// latest is the latest of a moment and of those that the texts spell; a text that
// spells none is left out.
func latest(at time.Time, texts ...string) time.Time {
	for _, text := range texts {
		if t, err := time.Parse(time.RFC3339, text); err == nil && t.After(at) {
			at = t
		}
	}
	return at
}

// Note adds a note to an incident. The id stands at its end in brackets, and a
// note that ends so is not added again.
func (c *Client) Note(ctx context.Context, incidentID, id, text string) error {
	tag := "[" + id + "]"
	notes, err := c.notes(ctx, incidentID)
	if err != nil {
		return err
	}
	for _, n := range notes {
		if strings.HasSuffix(strings.TrimSpace(n.Content), tag) {
			return nil
		}
	}
	_, err = c.addNote(ctx, incidentID, cut(text, maxNote)+"\n"+tag)
	return err
}

func (c *Client) notes(ctx context.Context, incidentID string) ([]pagerduty.IncidentNote, error) {
	if err := checkID(incidentID); err != nil {
		return nil, err
	}
	return call(ctx, fmt.Sprintf("list notes of incident %q", incidentID), func(ctx context.Context) ([]pagerduty.IncidentNote, error) {
		return c.api.ListIncidentNotesWithContext(ctx, incidentID)
	})
}

func (c *Client) addNote(ctx context.Context, incidentID, content string) (*pagerduty.IncidentNote, error) {
	return call(ctx, fmt.Sprintf("add note to incident %q", incidentID), func(ctx context.Context) (*pagerduty.IncidentNote, error) {
		// The library takes the From header out of the note's user.
		return c.api.CreateIncidentNoteWithContext(ctx, incidentID, pagerduty.IncidentNote{
			Content: content, User: pagerduty.APIObject{Summary: c.opts.From},
		})
	})
}

// checkID refuses what is no identifier of PagerDuty's, because the library
// puts it into a path as it is.
func checkID(id string) error {
	if !incident.ValidKey(incident.Key(incident.SourcePagerDuty, id)) || strings.Trim(id, ".") == "" {
		return fmt.Errorf("address PagerDuty object %q: %w: not an identifier", id, driver.ErrInvalid)
	}
	return nil
}
