package nats

import (
	"context"
	"encoding/json"
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

// source finds the changes of a key in its own history. It knows as many as the
// bucket keeps; the author is there when the writer sets the header "Author". A
// first revision has nothing before it only where none can have been dropped.
type source struct{ conn *connection }

// Changes lists the revisions that were written in the window.
func (s source) Changes(ctx context.Context, q driver.ChangeQuery) ([]incident.Change, error) {
	at, err := parseTarget(q.Target)
	if err != nil {
		return nil, err
	}
	entries, err := s.conn.history(ctx, at, 1)
	if err != nil {
		return nil, fmt.Errorf("list changes of %s: %w", q.Target, err)
	}
	settings, err := s.conn.bucket(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("list changes of %s: %w", q.Target, err)
	}
	complete := settings.MaxAge == 0 && int64(len(entries)) < settings.Depth
	changeKind := q.Kind
	if changeKind == "" {
		changeKind = incident.ChangeConfig
	}
	var changes []incident.Change
	for n, e := range entries {
		if e.created.Before(q.Since) || e.created.After(q.Until) {
			continue
		}
		change := incident.Change{
			ID:      fmt.Sprintf("%s/%s@%d", at.bucket, at.key, e.revision),
			Source:  kind,
			Kind:    changeKind,
			Service: q.Service,
			Target:  q.Target,
			At:      e.created,
			Author:  e.author,
			To:      e.label(),
			Summary: fmt.Sprintf("%s set to %s", at.key, e.name()),
		}
		if e.deleted {
			change.Summary = fmt.Sprintf("%s deleted", at.key)
		}
		switch {
		case n > 0:
			change.From = entries[n-1].label()
		case complete:
			change.From = incident.StateAbsent
		}
		changes = append(changes, change)
	}
	return changes, nil
}

// collector captures the history of a key without its values.
type collector struct{ conn *connection }

// capturedRevision is one revision as evidence.
type capturedRevision struct {
	Revision uint64    `json:"revision"`
	Created  time.Time `json:"created"`
	Deleted  bool      `json:"deleted,omitempty"`
	// Bytes is the size of the value.
	Bytes  int    `json:"bytes"`
	Digest string `json:"digest"`
	Label  string `json:"label"`
	Author string `json:"author,omitempty"`
}

// Collect captures revisions, times, sizes and digests. It knows no parameter.
func (c collector) Collect(ctx context.Context, req driver.CollectRequest) ([]driver.Evidence, error) {
	at, err := parseTarget(req.Target)
	if err != nil {
		return nil, err
	}
	if len(req.Params) > 0 {
		return nil, fmt.Errorf("collect %s: %w: %s knows no parameter", req.Target, driver.ErrInvalid, kind)
	}
	entries, err := c.conn.history(ctx, at, 1)
	if err != nil {
		return nil, fmt.Errorf("collect %s: %w", req.Target, err)
	}
	captured := make([]capturedRevision, 0, len(entries))
	for _, e := range slices.Backward(entries) {
		captured = append(captured, capturedRevision{
			Revision: e.revision, Created: e.created, Deleted: e.deleted,
			Bytes: len(e.value), Digest: e.digest(), Label: e.label(), Author: e.author,
		})
	}
	content, err := json.MarshalIndent(struct {
		Bucket    string             `json:"bucket"`
		Key       string             `json:"key"`
		Revisions []capturedRevision `json:"revisions"`
	}{at.bucket, at.key, captured}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode history of %s: %w", req.Target, err)
	}
	return []driver.Evidence{{Name: kind + " " + req.Target.Path, MediaType: "application/json", Content: content}}, nil
}
