package unleash

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

func init() {
	driver.RegisterSource(kind, systemType, func(c *connection) driver.ChangeSource { return source{c} })
	driver.RegisterCollector(kind, systemType, func(c *connection) driver.Collector { return collector{c} })
}

// source finds the changes of a flag in one environment in the event log.
type source struct{ conn *connection }

// Changes lists the moments in the window at which the flag took on a state, as far
// back as the log explains the flag.
func (s source) Changes(ctx context.Context, q driver.ChangeQuery) ([]incident.Change, error) {
	at, err := parseTarget(q.Target)
	if err != nil {
		return nil, err
	}
	h, err := s.conn.history(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("list changes of %s: %w", q.Target, err)
	}
	changeKind := q.Kind
	if changeKind == "" {
		changeKind = incident.ChangeFlag
	}
	var found []incident.Change
	for n, m := range slices.Backward(h.moments) {
		if m.id == 0 || m.at.Before(q.Since) || m.at.After(q.Until) {
			continue
		}
		change := incident.Change{
			ID:     fmt.Sprintf("%s@%d", q.Target.Path, m.id),
			Source: kind, Kind: changeKind, Service: q.Service, Target: q.Target,
			At: m.at.UTC(), Author: oneLine(m.author, maxLabel), To: m.name(), URL: s.conn.page(at),
		}
		switch {
		case m.created:
			change.From = incident.StateAbsent
			change.Summary = fmt.Sprintf("%s created in %s", at.flag, at.environment)
		case n+1 < len(h.moments):
			change.From = h.moments[n+1].name()
			change.Summary = fmt.Sprintf("%s in %s: %s", at.flag, at.environment, difference(h.moments[n+1].content, m.content))
		default:
			change.Summary = fmt.Sprintf("%s in %s changed: %s", at.flag, at.environment, h.end)
		}
		found = append(found, change)
	}
	return found, nil
}

// page is where people see the flag.
func (c *connection) page(at location) string {
	return c.base.String() + at.feature()
}

// collector captures a flag and its log, without what constraints, parameters and
// variants say.
type collector struct{ conn *connection }

// capturedState is one state as evidence.
type capturedState struct {
	Event    string    `json:"event"`
	Since    time.Time `json:"since,omitzero"`
	Author   string    `json:"author,omitempty"`
	Digest   string    `json:"digest"`
	Enabled  bool      `json:"enabled"`
	Variants int       `json:"variants"`
	// Strategies are in their order.
	Strategies []capturedStrategy `json:"strategies"`
}

type capturedStrategy struct {
	Name        string  `json:"name"`
	Rollout     string  `json:"rollout,omitempty"`
	Disabled    bool    `json:"disabled,omitempty"`
	Constraints int     `json:"constraints"`
	Variants    int     `json:"variants"`
	Segments    []int64 `json:"segments,omitempty"`
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
	h, err := c.conn.history(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("collect %s: %w", req.Target, err)
	}
	states := make([]capturedState, 0, len(h.moments))
	for _, m := range h.moments {
		state := capturedState{Event: unrecorded, Since: m.at.UTC(), Author: oneLine(m.author, maxLabel), Digest: m.digest, Enabled: m.enabled, Variants: len(m.variants), Strategies: []capturedStrategy{}}
		if m.id > 0 {
			state.Event = strconv.FormatInt(m.id, 10)
		}
		for _, s := range m.strategies {
			state.Strategies = append(state.Strategies, capturedStrategy{
				Name: oneLine(s.Name, maxLabel), Rollout: s.rollout(), Disabled: s.Disabled,
				Constraints: len(s.Constraints), Variants: len(s.Variants), Segments: s.Segments,
			})
		}
		states = append(states, state)
	}
	content, err := json.MarshalIndent(struct {
		Project     string          `json:"project"`
		Flag        string          `json:"flag"`
		Environment string          `json:"environment"`
		States      []capturedState `json:"states"`
		// End is why the log reaches no further back.
		End string `json:"end,omitempty"`
	}{at.project, at.flag, at.environment, states, h.end}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode states of %s: %w", req.Target, err)
	}
	return []driver.Evidence{{Name: kind + " " + req.Target.Path, MediaType: "application/json", Content: content}}, nil
}
