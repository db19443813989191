package incident

import (
	"fmt"
	"time"
)

// Source says which system reported an incident. The zero value is invalid.
type Source string

// The sources an incident can come from.
const (
	SourcePagerDuty    Source = "pagerduty"
	SourceAlertmanager Source = "alertmanager"
	SourceSlack        Source = "slack"
	SourceCLI          Source = "cli"
)

// Severity says how bad an incident is, sev1 being the worst. The zero value
// is invalid.
type Severity string

// The severities, from "all customers are down" to "nobody noticed yet".
const (
	Sev1 Severity = "sev1"
	Sev2 Severity = "sev2"
	Sev3 Severity = "sev3"
	Sev4 Severity = "sev4"
)

// ParseSeverity accepts sev1 to sev4 and refuses everything else.
func ParseSeverity(s string) (Severity, error) {
	switch v := Severity(s); v {
	case Sev1, Sev2, Sev3, Sev4:
		return v, nil
	default:
		return "", fmt.Errorf("parse severity %q: want sev1, sev2, sev3 or sev4", s)
	}
}

// PageKind says what a page event reports about its incident.
type PageKind string

// The page events that move an incident. Any other event of a vendor is kept
// as PageNoted, so that a new event type never loses a page.
const (
	PageTriggered    PageKind = "triggered"
	PageAcknowledged PageKind = "acknowledged"
	PageReopened     PageKind = "reopened"
	PagePriority     PageKind = "priority_updated"
	PageService      PageKind = "service_updated"
	PageNoted        PageKind = "noted"
	PageResolved     PageKind = "resolved"
	PageReconciled   PageKind = "reconciled"
)

// Page is one notification that a human is needed, or one event about it.
type Page struct {
	// EventID is unique to the event at its source; the same ID twice is the
	// same event. At most 255 bytes.
	EventID string   `json:"event_id"`
	Source  Source   `json:"source"`
	Kind    PageKind `json:"kind"`
	// IncidentID is the identifier at the source, for example PagerDuty's.
	IncidentID string `json:"incident_id"`
	// Title is text from outside: never interpreted, cut to MaxTitle runes.
	Title    string   `json:"title"`
	Severity Severity `json:"severity"`
	// ServiceID is the source's identifier of the service (PagerDuty's service
	// ID); Service is the catalogue's name if the source knows it.
	ServiceID string `json:"service_id,omitempty"`
	Service   string `json:"service,omitempty"`
	// URL leads people to the incident at its source.
	URL string `json:"url,omitempty"`
	// OccurredAt is when the event happened at the source, OpenedAt when the
	// incident began there. Both UTC.
	OccurredAt time.Time `json:"occurred_at"`
	OpenedAt   time.Time `json:"opened_at"`
	// Channel is the Slack channel to use, when the page came out of one.
	Channel string `json:"channel,omitempty"`
	// Reporter is who declared the incident by hand; zero for machines.
	Reporter Actor `json:"reporter,omitzero"`
}

// MaxTitle is the longest title kept of a page, in runes.
const MaxTitle = 250

// maxField is the longest identifier or address in a message, in bytes. It
// keeps a message far below what Temporal takes for a payload, and a service's
// name below its limit of 2 KiB for a search attribute.
// Source: https://docs.temporal.io/search-attribute#limits
const maxField = 1024

// tooLong names the first field that is longer than maxField; empty when none
// is.
func tooLong(fields ...[2]string) string {
	for _, f := range fields {
		if len(f[1]) > maxField {
			return f[0]
		}
	}
	return ""
}

// Validate reports what makes the page unusable. It checks form only.
func (p Page) Validate() error {
	if long := tooLong([2]string{"service", p.Service}, [2]string{"service ID", p.ServiceID}, [2]string{"channel", p.Channel}, [2]string{"kind", string(p.Kind)}); long != "" {
		return fmt.Errorf("validate page: %s is longer than %d bytes", long, maxField)
	}
	switch {
	case p.EventID == "" || len(p.EventID) > 255:
		return fmt.Errorf("validate page: event ID must have 1 to 255 bytes, has %d", len(p.EventID))
	case p.IncidentID == "" || len(p.IncidentID) > 128:
		return fmt.Errorf("validate page %q: incident ID must have 1 to 128 bytes, has %d", p.EventID, len(p.IncidentID))
	case p.Kind == "":
		return fmt.Errorf("validate page %q: kind is empty", p.EventID)
	case p.OccurredAt.IsZero():
		return fmt.Errorf("validate page %q: occurred_at is empty", p.EventID)
	}
	switch p.Source {
	case SourcePagerDuty, SourceAlertmanager, SourceSlack, SourceCLI:
	default:
		return fmt.Errorf("validate page %q: unknown source %q", p.EventID, p.Source)
	}
	if _, err := ParseSeverity(string(p.Severity)); err != nil {
		return fmt.Errorf("validate page %q: %w", p.EventID, err)
	}
	if p.Reporter != (Actor{}) {
		if err := p.Reporter.Validate(); err != nil {
			return fmt.Errorf("validate page %q: %w", p.EventID, err)
		}
	}
	return nil
}

// Via says how a person reached Backout. The zero value is invalid.
type Via string

// The ways in.
const (
	ViaSlack   Via = "slack"
	ViaCLI     Via = "cli"
	ViaConsole Via = "console"
)

// Actor is who asked, as the transport authenticated them. It is an identity
// claim, not an authority: roles are resolved live at the decision.
type Actor struct {
	Via Via `json:"via"`
	// SlackTeam and SlackUser are set for ViaSlack.
	SlackTeam string `json:"slack_team,omitempty"`
	SlackUser string `json:"slack_user,omitempty"`
	// Login is set for ViaCLI and ViaConsole: the authenticated name.
	Login string `json:"login,omitempty"`
	// Channel is where the person spoke, so that an answer reaches only them.
	Channel string `json:"channel,omitempty"`
}

// String names the actor for logs and the ledger.
func (a Actor) String() string {
	switch a.Via {
	case ViaSlack:
		return "slack:" + a.SlackTeam + "/" + a.SlackUser
	case ViaCLI, ViaConsole:
		return string(a.Via) + ":" + a.Login
	default:
		return "unknown"
	}
}

// Person is one human being, resolved from an Actor. Exactly one, or nobody.
type Person struct {
	// ID is the stable identity that decisions are counted by, for example
	// "ada@example.com". Two actors of one human resolve to one ID.
	ID          string `json:"id"`
	Name        string `json:"name"`
	Email       string `json:"email,omitempty"`
	SlackUser   string `json:"slack_user,omitempty"`
	PagerDutyID string `json:"pagerduty_id,omitempty"`
	GitHubLogin string `json:"github_login,omitempty"`
}

// Role is a function a person has towards one incident.
type Role string

// The roles that a policy can name.
const (
	RoleOnCall    Role = "on_call"
	RoleCommander Role = "incident_commander"
	RoleOwner     Role = "service_owner"
)
