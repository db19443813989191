package openfeature

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
	driver.RegisterSource(kind, systemType, func(c cluster) driver.ChangeSource { return source{c} })
	driver.RegisterCollector(kind, systemType, func(c cluster) driver.Collector { return collector{c} })
	driver.RegisterRecorder(kind, systemType, func(c cluster) driver.Recorder { return recorder{c} })
}

// source finds the changes of a flag in what was captured of its object.
type source struct{ cluster cluster }

// Changes lists the moments at which the flag took on a state. A state that came and
// went while nobody captured it is unknown, and so is not listed.
func (s source) Changes(ctx context.Context, q driver.ChangeQuery) ([]incident.Change, error) {
	at, err := parseTarget(q.Target)
	if err != nil {
		return nil, err
	}
	f, err := read(ctx, s.cluster, at)
	if err != nil {
		return nil, fmt.Errorf("list changes of %s: %w", q.Target, err)
	}
	changeKind := q.Kind
	if changeKind == "" {
		changeKind = incident.ChangeFlag
	}
	var found []incident.Change
	for n, m := range f.moments {
		// Times are whole seconds: a window that begins inside one includes it.
		if m.at.Before(q.Since.Truncate(time.Second)) || m.at.After(q.Until) {
			continue
		}
		change := incident.Change{
			ID:     fmt.Sprintf("%s@%s@%d", q.Target.Path, incident.ShortDigest(m.digest), m.at.Unix()),
			Source: kind, Kind: changeKind, Service: q.Service, Target: q.Target,
			At: m.at.UTC(), Author: oneLine(m.author), To: m.name(),
		}
		switch {
		case n > 0:
			change.From = f.moments[n-1].name()
			change.Summary = fmt.Sprintf("%s: %s", at.flag, difference(f.moments[n-1].content, m.content))
		case m.at.Equal(f.live.GetCreationTimestamp().UTC()):
			change.From = incident.StateAbsent
			change.Summary = fmt.Sprintf("%s created", at.flag)
		default:
			change.Summary = fmt.Sprintf("%s: first state that was captured", at.flag)
		}
		if m.bound {
			change.Summary += ", at a time that was not recorded"
		}
		found = append(found, change)
	}
	return found, nil
}

// collector captures the states of a flag, without what variants and targeting say.
type collector struct{ cluster cluster }

// capturedState is one state as evidence.
type capturedState struct {
	Revision string    `json:"revision"`
	Since    time.Time `json:"since"`
	Author   string    `json:"author,omitempty"`
	Digest   string    `json:"digest"`
	Label    string    `json:"label"`
	Targeted bool      `json:"targeted"`
	Variants int       `json:"variants"`
}

// Collect captures the states that the flag took on, the present one first. It knows
// no parameter.
func (c collector) Collect(ctx context.Context, req driver.CollectRequest) ([]driver.Evidence, error) {
	at, err := parseTarget(req.Target)
	if err != nil {
		return nil, err
	}
	if len(req.Params) > 0 {
		return nil, fmt.Errorf("collect %s: %w: %s knows no parameter", req.Target, driver.ErrInvalid, kind)
	}
	f, err := read(ctx, c.cluster, at)
	if err != nil {
		return nil, fmt.Errorf("collect %s: %w", req.Target, err)
	}
	states := make([]capturedState, 0, len(f.moments))
	for _, m := range slices.Backward(f.moments) {
		state := m.state()
		variants, _ := m.content["variants"].(map[string]any)
		targeting, _ := m.content["targeting"].(map[string]any)
		states = append(states, capturedState{
			Revision: state.Revision, Since: m.at.UTC(), Author: oneLine(m.author), Digest: state.Digest, Label: state.Label,
			Targeted: len(targeting) > 0, Variants: len(variants),
		})
	}
	content, err := json.MarshalIndent(struct {
		Object string          `json:"object"`
		Flag   string          `json:"flag"`
		States []capturedState `json:"states"`
	}{at.path(), at.flag, states}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode states of %s: %w", req.Target, err)
	}
	return []driver.Evidence{{Name: kind + " " + req.Target.Path, MediaType: "application/json", Content: content}}, nil
}

// recorder keeps the history of the object that a flag is in.
type recorder struct{ cluster cluster }

// whole is the object that a flag is in.
func whole(target incident.Target) (location, incident.Target, error) {
	at, err := parseTarget(target)
	return at, incident.Target{System: target.System, Path: at.path()}, err
}

// Record captures the present state of the object, if the latest captured one is
// another, and returns that of the flag.
func (r recorder) Record(ctx context.Context, target incident.Target) (incident.State, error) {
	at, object, err := whole(target)
	if err != nil {
		return incident.State{}, err
	}
	if _, err := r.cluster.ObjectRecorder().Record(ctx, object); err != nil {
		return incident.State{}, err
	}
	f, err := read(ctx, r.cluster, at)
	if err != nil {
		return incident.State{}, fmt.Errorf("record %s: %w", target, err)
	}
	return f.state(), nil
}

// Watch captures every state of the object until the context ends.
func (r recorder) Watch(ctx context.Context, target incident.Target) error {
	_, object, err := whole(target)
	if err != nil {
		return err
	}
	return r.cluster.ObjectRecorder().Watch(ctx, object)
}

// Check reports what keeps the states of the object from being captured.
func (r recorder) Check(ctx context.Context, target incident.Target) error {
	_, object, err := whole(target)
	if err != nil {
		return err
	}
	return r.cluster.ObjectRecorder().Check(ctx, object)
}
