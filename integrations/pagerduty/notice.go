package pagerduty

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/PagerDuty/go-pagerduty"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// noticeKey begins the incident_key of every incident that PageService opens. Such an
// incident is about another one: it is never one to be rolled back itself, or each
// page would have options of its own and page people again. Who can choose the key of
// an alert could as well not send it, so that this hides nothing that was not theirs.
const noticeKey = "backout/notice/"

// isNotice reports whether an incident was opened by PageService.
func isNotice(incidentKey string) bool { return strings.HasPrefix(incidentKey, noticeKey) }

// notice is the body of POST /incidents. The library's own sends a priority of null,
// which PagerDuty refuses.
type notice struct {
	Type        string                 `json:"type"`
	Title       string                 `json:"title"`
	Service     pagerduty.APIReference `json:"service"`
	Urgency     string                 `json:"urgency"`
	IncidentKey string                 `json:"incident_key"`
	Body        pagerduty.APIDetails   `json:"body"`
}

// PageService pages who is on call for a service about something that is not about
// the service itself: it opens an incident there, of high urgency. The same id twice
// opens one, also when the first has been resolved meanwhile: the id is in its
// incident_key, which is looked up before and which PagerDuty keeps unique among the
// open ones. Of the title incident.MaxTitle runes are kept, of the text 4000.
//
// A service that does not exist is an error that wraps driver.ErrInvalid.
func (c *Client) PageService(ctx context.Context, serviceID, id, title, text string) error {
	if err := checkID(serviceID); err != nil {
		return err
	}
	if id == "" || strings.TrimSpace(title) == "" {
		return fmt.Errorf("page service %q: %w: the page has no id or no title", serviceID, driver.ErrInvalid)
	}
	key := noticeKey + incident.DigestOf([]byte(id))
	if there, err := c.noticed(ctx, serviceID, key); err != nil || there {
		return err
	}
	err := c.notify(ctx, notice{
		Type: "incident", Title: cut(title, incident.MaxTitle), Urgency: "high", IncidentKey: key,
		Service: pagerduty.APIReference{ID: serviceID, Type: "service_reference"},
		Body:    pagerduty.APIDetails{Type: "incident_body", Details: cut(text, maxNote)},
	})
	if !errors.Is(err, driver.ErrInvalid) {
		return err
	}
	// It may have been refused because another attempt came first.
	if there, lerr := c.noticed(ctx, serviceID, key); lerr == nil && there {
		return nil
	}
	return err
}

// noticed reports whether a service has an incident with a key, open or not.
func (c *Client) noticed(ctx context.Context, serviceID, key string) (bool, error) {
	list, err := call(ctx, fmt.Sprintf("look for a page of service %q", serviceID), func(ctx context.Context) (*pagerduty.ListIncidentsResponse, error) {
		return c.api.ListIncidentsWithContext(ctx, pagerduty.ListIncidentsOptions{
			Limit: pageSize, DateRange: "all", IncidentKey: key, ServiceIDs: []string{serviceID},
		})
	})
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(list.Incidents, func(i pagerduty.Incident) bool { return i.IncidentKey == key && i.Service.ID == serviceID }), nil
}

// notify opens an incident.
func (c *Client) notify(ctx context.Context, n notice) error {
	body, err := json.Marshal(map[string]notice{"incident": n})
	if err != nil {
		return fmt.Errorf("page service %q: %w", n.Service.ID, err)
	}
	_, err = call(ctx, fmt.Sprintf("page service %q", n.Service.ID), func(ctx context.Context) (struct{}, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.opts.URL+"/incidents", bytes.NewReader(body))
		if err != nil {
			return struct{}{}, err
		}
		r.Header.Set("From", c.opts.From)
		resp, err := c.api.Do(r, false)
		if err != nil {
			return struct{}{}, err
		}
		defer func() { _ = resp.Body.Close() }() // Nothing is written to it.
		if resp.StatusCode < http.StatusMultipleChoices {
			return struct{}{}, nil
		}
		refused := pagerduty.APIError{StatusCode: resp.StatusCode}
		// Without PagerDuty's own words the status says enough.
		_ = json.NewDecoder(resp.Body).Decode(&refused)
		return struct{}{}, refused
	})
	return err
}
