package caddy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// watchInterval is how often a recorder reads a part of the configuration: Caddy
// tells nobody of a change.
const watchInterval = 2 * time.Second

func init() {
	driver.RegisterSource(kind, systemType, func(c *connection) driver.ChangeSource { return source{c} })
	driver.RegisterCollector(kind, systemType, func(c *connection) driver.Collector { return collector{c} })
	driver.RegisterRecorder(kind, systemType, func(c *connection) driver.Recorder { return recorder{c} })
}

// source finds changes among the captured states. It knows no author but Backout, and
// the time at which a change was found, which is up to the interval of the recorder
// after it was made.
type source struct{ conn *connection }

// Changes lists the states that were captured in the window. The first of all is no
// change, but what the history begins with.
func (s source) Changes(_ context.Context, q driver.ChangeQuery) ([]incident.Change, error) {
	at, err := parseTarget(q.Target)
	if err != nil {
		return nil, err
	}
	entries, err := s.conn.history.list(at)
	if err != nil {
		return nil, fmt.Errorf("list changes of %s: %w", q.Target, err)
	}
	changeKind := q.Kind
	if changeKind == "" {
		changeKind = incident.ChangeTraffic
	}
	var changes []incident.Change
	for n, one := range entries {
		if n == 0 || one.at.Before(q.Since) || one.at.After(q.Until) {
			continue
		}
		change := incident.Change{
			ID:      fmt.Sprintf("%s@%d", at.path, one.at.UnixMicro()),
			Source:  kind,
			Kind:    changeKind,
			Service: q.Service,
			Target:  q.Target,
			At:      one.at,
			From:    entries[n-1].label(),
			To:      one.label(),
			Summary: fmt.Sprintf("%s set to %s", at.path, one.label()),
		}
		if one.author == backoutAuthor {
			change.Author = backoutAuthor
		}
		changes = append(changes, change)
	}
	return changes, nil
}

// label is what people call a captured state; its revision when it can not be read.
func (e entry) label() string {
	state, err := e.read()
	if err != nil {
		return revision(e.digest)
	}
	return state.label()
}

// collector captures digests, never the configuration itself.
type collector struct{ conn *connection }

// capturedState is one state as evidence.
type capturedState struct {
	At       time.Time `json:"at"`
	Author   string    `json:"author,omitempty"`
	Revision string    `json:"revision"`
	Digest   string    `json:"digest"`
	Label    string    `json:"label"`
}

// Collect captures the present state and the history. It knows no parameter.
func (c collector) Collect(ctx context.Context, req driver.CollectRequest) ([]driver.Evidence, error) {
	at, err := parseTarget(req.Target)
	if err != nil {
		return nil, err
	}
	if len(req.Params) > 0 {
		return nil, fmt.Errorf("collect %s: %w: %s knows no parameter", req.Target, driver.ErrInvalid, kind)
	}
	now, err := c.conn.read(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("collect %s: %w", req.Target, err)
	}
	entries, err := c.conn.history.list(at)
	if err != nil {
		return nil, fmt.Errorf("collect %s: %w", req.Target, err)
	}
	states := make([]capturedState, 0, len(entries))
	for _, one := range entries {
		states = append(states, capturedState{At: one.at, Author: one.author, Revision: revision(one.digest), Digest: one.digest, Label: one.label()})
	}
	content, err := json.MarshalIndent(struct {
		Target  string          `json:"target"`
		Path    string          `json:"path"`
		Present incident.State  `json:"present"`
		Bytes   int             `json:"bytes"`
		History []capturedState `json:"history"`
	}{at.path, now.path, now.content.state(""), len(now.content), states}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode states of %s: %w", req.Target, err)
	}
	return []driver.Evidence{{Name: kind + " " + req.Target.Path, MediaType: "application/json", Content: content}}, nil
}

// recorder keeps the states that a part of the configuration takes on.
type recorder struct{ conn *connection }

// Record captures the present state, if the latest captured one is another.
func (r recorder) Record(ctx context.Context, target incident.Target) (incident.State, error) {
	at, err := parseTarget(target)
	if err != nil {
		return incident.State{}, err
	}
	now, err := r.conn.read(ctx, at)
	if err == nil {
		err = r.conn.history.capture(at, now.content, r.conn.now(), seen)
	}
	if err != nil {
		return incident.State{}, fmt.Errorf("record %s: %w", target, err)
	}
	return now.content.state(""), nil
}

// Watch records the target every two seconds, until the context ends. A target that
// is missing, and a Caddy that is away, are waited for.
func (r recorder) Watch(ctx context.Context, target incident.Target) error {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		_, err := r.Record(ctx, target)
		if ctx.Err() == nil && (errors.Is(err, driver.ErrDenied) || errors.Is(err, driver.ErrInvalid)) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("watch %s: %w", target, ctx.Err())
		case <-ticker.C:
		}
	}
}

// errNotCaptured means that nobody keeps the states of a part, or has not yet come to
// it.
var errNotCaptured = errors.New("its present state is not captured, as it is while a worker runs")

// Check looks for the present state among those that were captured.
func (r recorder) Check(ctx context.Context, target incident.Target) error {
	at, err := parseTarget(target)
	if err != nil {
		return err
	}
	now, err := r.conn.read(ctx, at)
	var entries []entry
	if err == nil {
		entries, err = r.conn.history.list(at)
	}
	if err == nil && (len(entries) == 0 || entries[len(entries)-1].digest != now.content.digest()) {
		err = errNotCaptured
	}
	if err != nil {
		return fmt.Errorf("check what is recorded of %s: %w", target, err)
	}
	return nil
}
