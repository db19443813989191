package haproxy

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

// source finds changes of weights in the history that the extension keeps. It knows
// no author but Backout, and a change that lasted for less than a second may be
// missing. The history ends with the process of HAProxy.
type source struct{ conn *connection }

// Changes lists the changes that were noted in the window. Without the extension
// there is no history, which is an error: no change and no knowledge are not the
// same.
func (s source) Changes(ctx context.Context, q driver.ChangeQuery) ([]incident.Change, error) {
	at, err := parseTarget(q.Target)
	if err != nil {
		return nil, err
	}
	if !s.conn.guarded() {
		return nil, fmt.Errorf("list changes of %s: %w: HAProxy keeps no history without the extension", q.Target, driver.ErrInvalid)
	}
	past, err := s.conn.history(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("list changes of %s: %w", q.Target, err)
	}
	changeKind := q.Kind
	if changeKind == "" {
		changeKind = incident.ChangeTraffic
	}
	var changes []incident.Change
	for n, one := range past.states {
		// The first is no change, but what the history begins with.
		if n == 0 || one.at.Before(q.Since) || one.at.After(q.Until) {
			continue
		}
		changes = append(changes, incident.Change{
			ID:      fmt.Sprintf("%s@%d", at.path(), one.at.UnixMicro()),
			Source:  kind,
			Kind:    changeKind,
			Service: q.Service,
			Target:  q.Target,
			At:      one.at,
			Author:  one.author,
			From:    past.states[n-1].routes.label(),
			To:      one.routes.label(),
			Summary: fmt.Sprintf("weights of %s set to %s", at.path(), one.routes.label()),
		})
	}
	return changes, nil
}

// collector captures the weights, and their history where there is one.
type collector struct{ conn *connection }

// capturedState is one state as evidence.
type capturedState struct {
	At     time.Time `json:"at"`
	Author string    `json:"author,omitempty"`
	State  string    `json:"state"`
}

// Collect captures the present and the configured weights, which servers are down,
// and the history. It knows no parameter.
func (c collector) Collect(ctx context.Context, req driver.CollectRequest) ([]driver.Evidence, error) {
	at, err := parseTarget(req.Target)
	if err != nil {
		return nil, err
	}
	if len(req.Params) > 0 {
		return nil, fmt.Errorf("collect %s: %w: %s knows no parameter", req.Target, driver.ErrInvalid, kind)
	}
	now, err := c.conn.servers(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("collect %s: %w", req.Target, err)
	}
	var states []capturedState
	if c.conn.guarded() {
		past, err := c.conn.history(ctx, at)
		if err != nil {
			return nil, fmt.Errorf("collect %s: %w", req.Target, err)
		}
		for _, one := range past.states {
			states = append(states, capturedState{At: one.at, Author: one.author, State: one.routes.String()})
		}
	}
	content, err := json.MarshalIndent(struct {
		Target  string          `json:"target"`
		Present string          `json:"present"`
		Config  string          `json:"config"`
		Down    []string        `json:"down,omitempty"`
		History []capturedState `json:"history,omitempty"`
	}{at.path(), now.present.String(), now.config.String(), now.down, states}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode weights of %s: %w", req.Target, err)
	}
	return []driver.Evidence{{Name: kind + " " + req.Target.Path, MediaType: "application/json", Content: content}}, nil
}
