package nats

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

func init() {
	driver.RegisterSource(consumerKind, systemType, func(c *connection) driver.ChangeSource { return consumerChanges{c} })
	driver.RegisterCollector(consumerKind, systemType, func(c *connection) driver.Collector { return consumerEvidence{c} })
}

// consumerChanges finds the changes of a consumer in the consumer log.
type consumerChanges struct{ conn *connection }

// Changes lists what the aspect was set to in the window.
func (s consumerChanges) Changes(ctx context.Context, q driver.ChangeQuery) ([]incident.Change, error) {
	at, err := parseFeed(q.Target)
	if err != nil {
		return nil, err
	}
	turns, err := s.conn.turns(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("list changes of %s: %w", q.Target, err)
	}
	changeKind := q.Kind
	if changeKind == "" {
		changeKind = incident.ChangeTraffic
	}
	var changes []incident.Change
	for n, t := range turns {
		if t.at.Before(q.Since) || t.at.After(q.Until) {
			continue
		}
		change := incident.Change{
			ID:      fmt.Sprintf("%s@%d", q.Target.Path, t.seq),
			Source:  consumerKind,
			Kind:    changeKind,
			Service: q.Service,
			Target:  q.Target,
			At:      t.at,
			Author:  t.author,
			To:      t.setting.String(),
			Summary: fmt.Sprintf("%s of %s set to %s", at.aspect, at.name(), t.setting),
		}
		switch {
		case t.first:
			change.From = incident.StateAbsent
		case n > 0:
			change.From = turns[n-1].setting.String()
		}
		changes = append(changes, change)
	}
	return changes, nil
}

// consumerEvidence captures how far a consumer is.
type consumerEvidence struct{ conn *connection }

// Collect captures settings and counts, and no message. It knows no parameter.
func (c consumerEvidence) Collect(ctx context.Context, req driver.CollectRequest) ([]driver.Evidence, error) {
	at, err := parseFeed(req.Target)
	if err != nil {
		return nil, err
	}
	if len(req.Params) > 0 {
		return nil, fmt.Errorf("collect %s: %w: %s knows no parameter", req.Target, driver.ErrInvalid, consumerKind)
	}
	r, err := consumers(c).read(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("collect %s: %w", req.Target, err)
	}
	content, err := json.MarshalIndent(struct {
		Stream    string    `json:"stream"`
		Consumer  string    `json:"consumer"`
		Created   time.Time `json:"created"`
		Delivery  string    `json:"delivery"`
		Throttle  string    `json:"throttle"`
		Unacked   int64     `json:"delivered_and_not_acknowledged"`
		Again     int64     `json:"delivered_again"`
		Waiting   int64     `json:"waiting"`
		AckPolicy string    `json:"ack_policy"`
	}{
		at.stream, at.consumer, r.Created.UTC(), r.setting(delivery).String(), r.setting(throttle).String(),
		r.Unacked, r.Again, r.Waiting, printable(r.Config.AckPolicy, maxLabel),
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", req.Target, err)
	}
	return []driver.Evidence{{Name: consumerKind + " " + at.name(), MediaType: "application/json", Content: content}}, nil
}
