package vault

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

func init() {
	driver.RegisterSource(kvKind, systemType, func(c *connection) driver.ChangeSource { return secretChanges{c} })
	driver.RegisterCollector(kvKind, systemType, func(c *connection) driver.Collector { return secretHistory{c} })
}

// secretChanges finds the changes of a secret in its versions. Who made them is in
// Vault's audit log alone.
type secretChanges struct{ conn *connection }

// Changes lists the versions that were written in the window.
func (s secretChanges) Changes(ctx context.Context, q driver.ChangeQuery) ([]incident.Change, error) {
	at, err := parseSecret(q.Target)
	if err != nil {
		return nil, err
	}
	kept, err := s.conn.history(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("list changes of %s: %w", q.Target, err)
	}
	changeKind := q.Kind
	if changeKind == "" {
		changeKind = incident.ChangeAccess
	}
	var changes []incident.Change
	for _, number := range slices.Sorted(maps.Keys(kept.Versions)) {
		v := kept.Versions[number]
		if v.Created.Before(q.Since) || v.Created.After(q.Until) {
			continue
		}
		from := incident.StateAbsent
		if number > 1 {
			from = fmt.Sprintf("version %d", number-1)
		}
		changes = append(changes, incident.Change{
			ID:      fmt.Sprintf("%s@%d", at.name(), number),
			Source:  kvKind,
			Kind:    changeKind,
			Service: q.Service,
			Target:  q.Target,
			At:      v.Created.UTC(),
			From:    from,
			To:      fmt.Sprintf("version %d", number),
			Summary: fmt.Sprintf("version %d of %s written", number, at.name()),
		})
	}
	return changes, nil
}

// secretHistory captures the versions of a secret without their data, and without any
// digest of it.
type secretHistory struct{ conn *connection }

// capturedVersion is one version as evidence.
type capturedVersion struct {
	Version   int       `json:"version"`
	Created   time.Time `json:"created"`
	Deleted   time.Time `json:"deleted,omitzero"`
	Destroyed bool      `json:"destroyed,omitempty"`
}

// Collect captures numbers and times. It knows no parameter.
func (c secretHistory) Collect(ctx context.Context, req driver.CollectRequest) ([]driver.Evidence, error) {
	at, err := parseSecret(req.Target)
	if err != nil {
		return nil, err
	}
	if len(req.Params) > 0 {
		return nil, fmt.Errorf("collect %s: %w: %s knows no parameter", req.Target, driver.ErrInvalid, kvKind)
	}
	kept, err := c.conn.history(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("collect %s: %w", req.Target, err)
	}
	captured := make([]capturedVersion, 0, len(kept.Versions))
	for _, number := range slices.Backward(slices.Sorted(maps.Keys(kept.Versions))) {
		v := kept.Versions[number]
		captured = append(captured, capturedVersion{Version: number, Created: v.Created.UTC(), Deleted: v.Deleted.Time, Destroyed: v.Destroyed})
	}
	content, err := json.MarshalIndent(struct {
		Path     string            `json:"path"`
		Versions []capturedVersion `json:"versions"`
	}{at.name(), captured}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", req.Target, err)
	}
	return []driver.Evidence{{Name: kvKind + " " + at.name(), MediaType: "application/json", Content: content}}, nil
}
