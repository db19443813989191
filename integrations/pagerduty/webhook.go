package pagerduty

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/backout/backout/workflows/incident"
)

// MaxWebhook is the greatest size of a webhook, in bytes; PagerDuty drops
// larger ones.
// Source: https://developer.pagerduty.com/docs/webhooks-behavior#size-limit
const MaxWebhook = 256 << 10

// ErrWebhook means that a webhook does not say what happened to which
// incident. It is answered 400.
var ErrWebhook = errors.New("webhook is malformed")

// WebhookKind says what a webhook is to Backout. The zero value is invalid.
type WebhookKind string

// The kinds of webhook.
const (
	// WebhookPage is an event about an incident itself; Page is set.
	WebhookPage WebhookKind = "page"
	// WebhookPing is PagerDuty's test of the subscription.
	WebhookPing WebhookKind = "ping"
	// WebhookOther is an event that does not move an incident, such as a note
	// or a change of a service. It is acknowledged and otherwise ignored.
	WebhookOther WebhookKind = "other"
)

// Webhook is a verified webhook as Backout understands it.
type Webhook struct {
	Kind WebhookKind
	// EventID and Type are PagerDuty's own, for logs.
	EventID string
	Type    string
	// Page is set for WebhookPage only, and valid.
	Page incident.Page
}

// pageKinds are the event types that move an incident. Any other event that
// carries an incident is noted, so that a new type never loses a page.
// Source: https://developer.pagerduty.com/docs/webhooks-overview#event-types
var pageKinds = map[string]incident.PageKind{
	"incident.triggered":        incident.PageTriggered,
	"incident.acknowledged":     incident.PageAcknowledged,
	"incident.reopened":         incident.PageReopened,
	"incident.resolved":         incident.PageResolved,
	"incident.priority_updated": incident.PagePriority,
	"incident.service_updated":  incident.PageService,
}

type reference struct {
	ID      string `json:"id"`
	Summary string `json:"summary"`
}

// envelope is the part of a v3 webhook that is read.
type envelope struct {
	Event struct {
		ID         string    `json:"id"`
		Type       string    `json:"event_type"`
		OccurredAt time.Time `json:"occurred_at"`
		Data       struct {
			ID        string     `json:"id"`
			Type      string     `json:"type"`
			Title     string     `json:"title"`
			HTMLURL   string     `json:"html_url"`
			Urgency   string     `json:"urgency"`
			Key       string     `json:"incident_key"`
			CreatedAt time.Time  `json:"created_at"`
			Service   reference  `json:"service"`
			Priority  *reference `json:"priority"`
		} `json:"data"`
	} `json:"event"`
}

// ParseWebhook reads the raw body of a webhook whose signature was verified.
// Errors wrap ErrWebhook.
func ParseWebhook(body []byte, s Severities) (Webhook, error) {
	if len(body) > MaxWebhook {
		return Webhook{}, fmt.Errorf("%w: %d bytes are more than %d", ErrWebhook, len(body), MaxWebhook)
	}
	var e envelope
	dec := json.NewDecoder(bytes.NewReader(body))
	if err := dec.Decode(&e); err != nil {
		return Webhook{}, fmt.Errorf("%w: it is not the JSON that was expected", ErrWebhook)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Webhook{}, fmt.Errorf("%w: something follows the JSON", ErrWebhook)
	}
	w := Webhook{Kind: WebhookOther, EventID: e.Event.ID, Type: e.Event.Type}
	switch {
	case e.Event.ID == "" || e.Event.Type == "":
		return Webhook{}, fmt.Errorf("%w: event ID or type is missing", ErrWebhook)
	case e.Event.Type == "pagey.ping":
		w.Kind = WebhookPing
		return w, nil
	case !strings.HasPrefix(e.Event.Type, "incident.") || e.Event.Data.Type != "incident":
		if _, moves := pageKinds[e.Event.Type]; moves {
			return Webhook{}, fmt.Errorf("%w: %q carries no incident", ErrWebhook, e.Event.Type)
		}
		return w, nil
	}
	kind, ok := pageKinds[e.Event.Type]
	if !ok {
		kind = incident.PageNoted
	}
	d := e.Event.Data
	priority := ""
	if d.Priority != nil {
		priority = d.Priority.Summary
	}
	if isNotice(d.Key) {
		return w, nil
	}
	w.Kind = WebhookPage
	w.Page = incident.Page{
		EventID: e.Event.ID, Source: incident.SourcePagerDuty, Kind: kind, IncidentID: d.ID,
		Title: cut(d.Title, incident.MaxTitle), Severity: s.Of(priority, d.Urgency), ServiceID: d.Service.ID,
		URL: webAddress(d.HTMLURL), OccurredAt: e.Event.OccurredAt.UTC(), OpenedAt: opened(d.CreatedAt, e.Event.OccurredAt),
	}
	if !incident.ValidKey(incident.Key(incident.SourcePagerDuty, d.ID)) {
		return Webhook{}, fmt.Errorf("%w: incident ID is missing or malformed", ErrWebhook)
	}
	if err := w.Page.Validate(); err != nil {
		return Webhook{}, fmt.Errorf("%w: %w", ErrWebhook, err)
	}
	return w, nil
}

// opened is when the incident began; an event that does not say began it.
func opened(created, occurred time.Time) time.Time {
	if created.IsZero() {
		return occurred.UTC()
	}
	return created.UTC()
}

// Severities maps PagerDuty's priorities and urgencies to severities. The zero
// value is the default: P1 to P5 and SEV1 to SEV5 by their number, and without
// a known priority sev3 for high urgency and sev4 otherwise. An unknown
// priority never makes an incident look worse than it is, because severity
// makes riskier moves possible.
type Severities struct {
	// Priorities are by PagerDuty's name of the priority, without regard to
	// case.
	Priorities map[string]incident.Severity
	// HighUrgency is for a high urgency without a known priority.
	HighUrgency incident.Severity
}

var priorities = map[string]incident.Severity{
	"p1": incident.Sev1, "p2": incident.Sev2, "p3": incident.Sev3, "p4": incident.Sev4, "p5": incident.Sev4,
	"sev1": incident.Sev1, "sev2": incident.Sev2, "sev3": incident.Sev3, "sev4": incident.Sev4, "sev5": incident.Sev4,
}

// spelling takes out of a priority's name what people put between word and number,
// as in "SEV-1" and "Sev 1".
var spelling = strings.NewReplacer("-", "", " ", "", "_", "")

// Of is the severity for a priority's name, which may be empty, and an
// urgency.
func (s Severities) Of(priority, urgency string) incident.Severity {
	for name, severity := range s.Priorities {
		if strings.EqualFold(name, priority) {
			return severity
		}
	}
	if severity, ok := priorities[strings.ToLower(spelling.Replace(priority))]; ok {
		return severity
	}
	if urgency != "high" {
		return incident.Sev4
	}
	if s.HighUrgency != "" {
		return s.HighUrgency
	}
	return incident.Sev3
}

// Validate refuses severities that are none.
func (s Severities) Validate() error {
	for name, severity := range s.Priorities {
		if _, err := incident.ParseSeverity(string(severity)); err != nil {
			return fmt.Errorf("map priority %q: %w", name, err)
		}
	}
	if s.HighUrgency == "" {
		return nil
	}
	if _, err := incident.ParseSeverity(string(s.HighUrgency)); err != nil {
		return fmt.Errorf("map high urgency: %w", err)
	}
	return nil
}

// cut shortens text to at most limit runes.
func cut(text string, limit int) string {
	runes := []rune(text)
	if len(runes) <= limit {
		return text
	}
	return string(runes[:limit-1]) + "…"
}

// webAddress is an http or https address, or empty.
func webAddress(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return ""
	}
	return address
}
