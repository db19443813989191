package varnish

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

func init() {
	driver.RegisterSource(kind, systemType, func(c *connection) driver.ChangeSource { return source{c} })
	driver.RegisterCollector(kind, systemType, func(c *connection) driver.Collector { return collector{c} })
}

// source finds changes in the list of loaded VCLs, by the times in their names. It
// knows what was loaded, not what was put in use later or without loading, and no
// author.
type source struct{ conn *connection }

// Changes lists the VCLs of the target that were loaded in the window.
func (s source) Changes(ctx context.Context, q driver.ChangeQuery) ([]incident.Change, error) {
	at, err := parseTarget(q.Target)
	if err != nil {
		return nil, err
	}
	list, err := s.conn.list(ctx)
	if err != nil {
		return nil, fmt.Errorf("list changes of %s: %w", q.Target, err)
	}
	known := s.conn.dated(at, list)
	if at.label != "" && s.conn.settings.layout(at) == "" {
		return nil, fmt.Errorf("list changes of %s: %w: the settings do not say how its VCLs are named", q.Target, driver.ErrInvalid)
	}
	changeKind := q.Kind
	if changeKind == "" {
		changeKind = incident.ChangeConfig
	}
	var changes []incident.Change
	for n, one := range known {
		if one.boot || one.at.Before(q.Since) || one.at.After(q.Until) {
			continue
		}
		change := incident.Change{
			ID:      at.place() + "@" + one.name,
			Source:  kind,
			Kind:    changeKind,
			Service: q.Service,
			Target:  q.Target,
			At:      one.at,
			To:      one.name,
			Summary: fmt.Sprintf("VCL %s loaded", one.name),
		}
		if n > 0 {
			change.From = known[n-1].name
		}
		changes = append(changes, change)
	}
	return changes, nil
}

// collector captures the list of VCLs without their sources.
type collector struct{ conn *connection }

// capturedProgram is one VCL as evidence.
type capturedProgram struct {
	Name   string    `json:"name"`
	Status string    `json:"status"`
	State  string    `json:"state"`
	Points string    `json:"points_to,omitempty"`
	Loaded time.Time `json:"loaded,omitzero"`
}

// Collect captures the list, and the digest of the source that is in use. It knows no
// parameter.
func (c collector) Collect(ctx context.Context, req driver.CollectRequest) ([]driver.Evidence, error) {
	at, err := parseTarget(req.Target)
	if err != nil {
		return nil, err
	}
	if len(req.Params) > 0 {
		return nil, fmt.Errorf("collect %s: %w: %s knows no parameter", req.Target, driver.ErrInvalid, kind)
	}
	now, list, err := c.conn.present(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("collect %s: %w", req.Target, err)
	}
	loaded := map[string]time.Time{}
	for _, one := range c.conn.dated(at, list) {
		loaded[one.name] = one.at
	}
	captured := make([]capturedProgram, 0, len(list))
	for _, p := range list {
		captured = append(captured, capturedProgram{Name: p.Name, Status: p.Status, State: p.State, Points: p.Label.Name, Loaded: loaded[p.Name]})
	}
	content, err := json.MarshalIndent(struct {
		Target   string            `json:"target"`
		Present  string            `json:"present"`
		Source   string            `json:"source"`
		Programs []capturedProgram `json:"programs"`
	}{at.place(), now.name, now.source, captured}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode VCLs of %s: %w", req.Target, err)
	}
	return []driver.Evidence{{Name: kind + " " + req.Target.Path, MediaType: "application/json", Content: content}}, nil
}
