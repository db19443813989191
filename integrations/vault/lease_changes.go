package vault

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

func init() {
	driver.RegisterSource(leaseSource, systemType, func(c *connection) driver.ChangeSource { return leaseChanges{c} })
	driver.RegisterCollector(leaseKind, systemType, func(c *connection) driver.Collector { return leaseEvidence{c} })
}

// short is what people see of a lease's ID: its last part is a part of what one needs
// to renew or revoke it.
func (l lease) short() string {
	at := strings.LastIndex(l.id, "/") + 1
	return l.id[:min(len(l.id), at+maxShown)] + "..."
}

// maxShown is how much is shown of the last part of an ID, in bytes.
const maxShown = 6

// leaseChanges finds the leases that were issued and still live.
type leaseChanges struct{ conn *connection }

// Changes lists the leases that were issued in the window.
func (s leaseChanges) Changes(ctx context.Context, q driver.ChangeQuery) ([]incident.Change, error) {
	at, err := parseLease(q.Target)
	if err != nil {
		return nil, err
	}
	found, err := s.conn.living(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("list changes of %s: %w", q.Target, err)
	}
	changeKind := q.Kind
	if changeKind == "" {
		changeKind = incident.ChangeAccess
	}
	var changes []incident.Change
	for _, l := range found {
		if l.issued.Before(q.Since) || l.issued.After(q.Until) {
			continue
		}
		changes = append(changes, incident.Change{
			ID:      leaseSource + "@" + incident.ShortDigest(incident.DigestOf([]byte(l.id))),
			Source:  leaseSource,
			Kind:    changeKind,
			Service: q.Service,
			Target:  q.Target,
			At:      l.issued,
			From:    incident.StateAbsent,
			To:      "issued",
			Summary: printable("lease " + l.short() + " issued"),
		})
	}
	return changes, nil
}

// leaseEvidence captures the leases of a target.
type leaseEvidence struct{ conn *connection }

// capturedLease is one lease as evidence.
type capturedLease struct {
	Lease   string    `json:"lease"`
	Issued  time.Time `json:"issued"`
	Expires time.Time `json:"expires,omitzero"`
}

// Collect captures beginnings of IDs, and times. It knows no parameter.
func (c leaseEvidence) Collect(ctx context.Context, req driver.CollectRequest) ([]driver.Evidence, error) {
	at, err := parseLease(req.Target)
	if err != nil {
		return nil, err
	}
	if len(req.Params) > 0 {
		return nil, fmt.Errorf("collect %s: %w: %s knows no parameter", req.Target, driver.ErrInvalid, leaseKind)
	}
	found, err := c.conn.living(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("collect %s: %w", req.Target, err)
	}
	captured := make([]capturedLease, 0, len(found))
	for _, l := range found {
		captured = append(captured, capturedLease{Lease: printable(l.short()), Issued: l.issued, Expires: l.expires})
	}
	content, err := json.MarshalIndent(captured, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", req.Target, err)
	}
	return []driver.Evidence{{Name: leaseKind + " " + at.path, MediaType: "application/json", Content: content}}, nil
}
