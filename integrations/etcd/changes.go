package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

func init() {
	driver.RegisterSource(kind, systemType, func(c *connection) driver.ChangeSource { return source{c} })
	driver.RegisterCollector(kind, systemType, func(c *connection) driver.Collector { return collector{c} })
}

// source finds the changes of a key in the history of the store, with times from the
// clock. The store does not say who made them.
type source struct{ conn *connection }

// Changes lists the revisions that were written in the window.
func (s source) Changes(ctx context.Context, q driver.ChangeQuery) ([]incident.Change, error) {
	key, err := parseKey(q.Target)
	if err != nil {
		return nil, err
	}
	changes, err := s.changes(ctx, key, q)
	if err != nil {
		return nil, fmt.Errorf("list changes of %s: %w", q.Target, err)
	}
	return changes, nil
}

func (s source) changes(ctx context.Context, key string, q driver.ChangeQuery) ([]incident.Change, error) {
	_, newest, err := s.conn.at(ctx, key, 0)
	if err != nil {
		return nil, err
	}
	since, err := s.conn.lastBefore(ctx, q.Since, newest)
	if err != nil && !errors.Is(err, errEarlier) {
		return nil, err
	}
	events, first, err := s.conn.events(ctx, key, since+1)
	if err != nil {
		return nil, err
	}
	// What was there before the first event, if the history still says so.
	before := ""
	if since > 0 && first == since+1 {
		e, _, err := s.conn.at(ctx, key, since)
		switch {
		case err == nil:
			before = e.label()
		case !errors.Is(err, errCompacted):
			return nil, err
		}
	}
	changeKind := q.Kind
	if changeKind == "" {
		changeKind = incident.ChangeConfig
	}
	var changes []incident.Change
	for _, e := range events {
		from := before
		before = e.label()
		if e.there && e.version == 1 {
			from = incident.StateAbsent
		}
		at, err := s.conn.timeOf(ctx, e.revision)
		switch {
		case errors.Is(err, errEarlier):
			continue // It was before the first tick, and so before the window as far as known.
		case err != nil:
			return nil, err
		case at.Before(q.Since) || at.After(q.Until):
			continue
		}
		summary := fmt.Sprintf("%s set to %s", key, e.name())
		if !e.there {
			summary = key + " deleted"
		}
		changes = append(changes, incident.Change{
			ID:      fmt.Sprintf("%s@%d", key, e.revision),
			Source:  kind,
			Kind:    changeKind,
			Service: q.Service,
			Target:  q.Target,
			At:      at,
			From:    from,
			To:      e.label(),
			Summary: summary,
		})
	}
	return changes, nil
}

// collector captures the history of a key without its values.
type collector struct{ conn *connection }

// capturedRevision is one revision as evidence.
type capturedRevision struct {
	Revision int64 `json:"revision"`
	// At is left out where there is no clock.
	At      time.Time `json:"at,omitzero"`
	Deleted bool      `json:"deleted,omitempty"`
	// Bytes is the size of the value.
	Bytes  int    `json:"bytes"`
	Digest string `json:"digest"`
	Label  string `json:"label"`
	Leased bool   `json:"leased,omitempty"`
}

// Collect captures revisions, times, sizes and digests. It knows no parameter.
func (c collector) Collect(ctx context.Context, req driver.CollectRequest) ([]driver.Evidence, error) {
	key, err := parseKey(req.Target)
	if err != nil {
		return nil, err
	}
	if len(req.Params) > 0 {
		return nil, fmt.Errorf("collect %s: %w: %s knows no parameter", req.Target, driver.ErrInvalid, kind)
	}
	events, first, err := c.conn.events(ctx, key, 1)
	if err != nil {
		return nil, fmt.Errorf("collect %s: %w", req.Target, err)
	}
	captured := make([]capturedRevision, 0, len(events))
	for _, e := range slices.Backward(events) {
		at, err := c.conn.timeOf(ctx, e.revision)
		if err != nil && !errors.Is(err, errEarlier) && !errors.Is(err, errNoClock) {
			return nil, fmt.Errorf("collect %s: %w", req.Target, err)
		}
		captured = append(captured, capturedRevision{
			Revision: e.revision, At: at, Deleted: !e.there, Bytes: len(e.value), Digest: e.digest(), Label: e.label(), Leased: e.lease != 0,
		})
	}
	content, err := json.MarshalIndent(struct {
		Key string `json:"key"`
		// Since is the oldest revision of the store that is kept.
		Since     int64              `json:"since_revision"`
		Revisions []capturedRevision `json:"revisions"`
	}{key, first, captured}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode history of %s: %w", req.Target, err)
	}
	return []driver.Evidence{{Name: kind + " " + key, MediaType: "application/json", Content: content}}, nil
}
