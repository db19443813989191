package launchdarkly

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

// source finds the changes of a flag in one environment in the audit log.
type source struct{ conn *connection }

// errTooLong means that not all of the window could be read.
var errTooLong = errors.New("the audit log has more entries than Backout reads")

// Changes lists the changes of the configuration in the window.
func (s source) Changes(ctx context.Context, q driver.ChangeQuery) ([]incident.Change, error) {
	at, err := parseTarget(q.Target)
	if err != nil {
		return nil, err
	}
	changeKind := q.Kind
	if changeKind == "" {
		changeKind = incident.ChangeFlag
	}
	var found []incident.Change
	reached := false
	ended, err := s.conn.log(ctx, at, func(ch change) bool {
		// Times are whole milliseconds: a window that begins inside one includes it.
		if ch.at().Before(q.Since.Truncate(time.Millisecond)) {
			reached = true
			return false
		}
		if ch.at().After(q.Until) || ch.known && !ch.alters() {
			return true
		}
		change := incident.Change{
			ID:     fmt.Sprintf("%s@%s", q.Target.Path, oneLine(ch.ID, maxLabel)),
			Source: kind, Kind: changeKind, Service: q.Service, Target: q.Target,
			At: ch.at(), Author: ch.author(), URL: s.conn.page(at),
			Summary: fmt.Sprintf("%s changed in %s", at.flag, at.environment),
		}
		switch {
		case ch.known && ch.made:
			change.From, change.To = incident.StateAbsent, ch.after.name()
			change.Summary = fmt.Sprintf("%s created", at.flag)
		case ch.known:
			change.From, change.To = ch.before.name(), ch.after.name()
			change.Summary = fmt.Sprintf("%s in %s: %s", at.flag, at.environment, difference(ch.before.config, ch.after.config))
		}
		found = append(found, change)
		return true
	})
	if err == nil && !ended && !reached {
		err = errTooLong
	}
	if err != nil {
		return nil, fmt.Errorf("list changes of %s: %w", q.Target, err)
	}
	slices.Reverse(found) // Oldest first.
	return found, nil
}

// page is where people see the flag.
func (c *connection) page(at location) string {
	return c.base.String() + "/projects/" + at.project + "/flags/" + at.flag + "/targeting?env=" + at.environment
}

// collector captures a flag and its changes, without targets, clauses and values.
type collector struct{ conn *connection }

// capturedConfig is one configuration as evidence.
type capturedConfig struct {
	Version int64  `json:"version"`
	Digest  string `json:"digest"`
	Label   string `json:"label"`
	// The numbers of what is not shown.
	Rules         int `json:"rules"`
	Targets       int `json:"targets"`
	Prerequisites int `json:"prerequisites"`
}

type capturedChange struct {
	Entry  string          `json:"entry"`
	At     time.Time       `json:"at"`
	Author string          `json:"author,omitempty"`
	After  *capturedConfig `json:"after,omitempty"`
}

func capture(c config) (capturedConfig, error) {
	digest, err := c.digest()
	if err != nil {
		return capturedConfig{}, err
	}
	length := func(field string) int {
		list, _ := c[field].([]any)
		return len(list)
	}
	return capturedConfig{
		Version: c.version(), Digest: digest, Label: c.label(),
		Rules: length("rules"), Targets: length("targets") + length("contextTargets"), Prerequisites: length("prerequisites"),
	}, nil
}

// Collect captures the present configuration and the changes of the window, newest
// first. It knows no parameter.
func (c collector) Collect(ctx context.Context, req driver.CollectRequest) ([]driver.Evidence, error) {
	at, err := parseTarget(req.Target)
	if err != nil {
		return nil, err
	}
	if len(req.Params) > 0 {
		return nil, fmt.Errorf("collect %s: %w: %s knows no parameter", req.Target, driver.ErrInvalid, kind)
	}
	now, err := c.conn.flag(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("collect %s: %w", req.Target, err)
	}
	present, err := capture(now.config)
	if err != nil {
		return nil, fmt.Errorf("collect %s: %w", req.Target, err)
	}
	changes := []capturedChange{}
	var failed error
	_, err = c.conn.log(ctx, at, func(ch change) bool {
		if ch.at().Before(req.From) {
			return false
		}
		line := capturedChange{Entry: oneLine(ch.ID, maxLabel), At: ch.at(), Author: ch.author()}
		if ch.known {
			var after capturedConfig
			after, failed = capture(ch.after.config)
			line.After = &after
		}
		changes = append(changes, line)
		return failed == nil
	})
	if err := errors.Join(err, failed); err != nil {
		return nil, fmt.Errorf("collect %s: %w", req.Target, err)
	}
	content, err := json.MarshalIndent(struct {
		Project     string           `json:"project"`
		Flag        string           `json:"flag"`
		Environment string           `json:"environment"`
		Present     capturedConfig   `json:"present"`
		Changes     []capturedChange `json:"changes"`
	}{at.project, at.flag, at.environment, present, changes}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode configurations of %s: %w", req.Target, err)
	}
	return []driver.Evidence{{Name: kind + " " + req.Target.Path, MediaType: "application/json", Content: content}}, nil
}
