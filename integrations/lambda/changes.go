package lambda

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

// source finds the versions that were published. Lambda does not say who did, nor
// when an alias came to point to one: a version that the alias does not point to is
// none that its callers have met, so that it is left out if it is newer.
type source struct{ conn *connection }

// Changes lists the versions that were published in the window.
func (s source) Changes(ctx context.Context, q driver.ChangeQuery) ([]incident.Change, error) {
	at, err := parseTarget(q.Target)
	if err != nil {
		return nil, err
	}
	present, err := s.conn.read(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("list changes of %s: %w", q.Target, err)
	}
	versions, err := s.conn.versions(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("list changes of %s: %w", q.Target, err)
	}
	changeKind := q.Kind
	if changeKind == "" {
		changeKind = incident.ChangeDeploy
	}
	newest := max(present.version, present.second)
	var changes []incident.Change
	for n, v := range versions {
		if v.at.Before(q.Since) || v.at.After(q.Until) || v.version > newest {
			continue
		}
		change := incident.Change{
			ID:      fmt.Sprintf("%s@%d", at.name(), v.version),
			Source:  kind,
			Kind:    changeKind,
			Service: q.Service,
			Target:  q.Target,
			At:      v.at,
			To:      fmt.Sprintf("version %d", v.version),
			Summary: fmt.Sprintf("version %d of %s published", v.version, at.function),
		}
		switch {
		case n > 0:
			change.From = fmt.Sprintf("version %d", versions[n-1].version)
		case v.version == 1:
			change.From = incident.StateAbsent
		}
		changes = append(changes, change)
	}
	return changes, nil
}

// collector captures an alias and the versions of its function.
type collector struct{ conn *connection }

// capturedVersion is one version as evidence.
type capturedVersion struct {
	Version   int       `json:"version"`
	Published time.Time `json:"published"`
	Code      string    `json:"code_sha256"`
	State     string    `json:"state,omitempty"`
}

// maxCaptured is how many versions are captured, the newest first.
const maxCaptured = 100

// Collect captures numbers, times and digests of code. It knows no parameter.
func (c collector) Collect(ctx context.Context, req driver.CollectRequest) ([]driver.Evidence, error) {
	at, err := parseTarget(req.Target)
	if err != nil {
		return nil, err
	}
	if len(req.Params) > 0 {
		return nil, fmt.Errorf("collect %s: %w: %s knows no parameter", req.Target, driver.ErrInvalid, kind)
	}
	present, err := c.conn.read(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("collect %s: %w", req.Target, err)
	}
	versions, err := c.conn.versions(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("collect %s: %w", req.Target, err)
	}
	captured := []capturedVersion{}
	for _, v := range slices.Backward(versions) {
		if len(captured) == maxCaptured {
			break
		}
		captured = append(captured, capturedVersion{Version: v.version, Published: v.at, Code: v.code, State: printable(string(v.state))})
	}
	content, err := json.MarshalIndent(struct {
		Function   string            `json:"function"`
		Alias      string            `json:"alias"`
		PointsTo   string            `json:"points_to"`
		RevisionID string            `json:"revision_id"`
		Versions   []capturedVersion `json:"versions"`
	}{at.function, at.alias, present.String(), printable(present.revision), captured}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", req.Target, err)
	}
	return []driver.Evidence{{Name: kind + " " + at.name(), MediaType: "application/json", Content: content}}, nil
}
