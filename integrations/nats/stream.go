package nats

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// streamKind is the name of the collector of how much is queued.
const streamKind = "nats.stream"

// streamForm shows how a target's path is spelled.
const streamForm = "<stream>"

// maxConsumers is how many consumers of a stream are looked at, the fullest of which
// are kept. It is Backout's own.
const maxConsumers = 1000

// keptConsumers is how many consumers are kept.
const keptConsumers = 100

func init() {
	driver.RegisterCollector(streamKind, systemType, func(c *connection) driver.Collector { return depth{c} })
}

// depth captures how much is queued in a stream, and how far behind its consumers are.
// It needs to publish $JS.API.STREAM.INFO.<stream> and $JS.API.CONSUMER.LIST.<stream>.
type depth struct{ conn *connection }

// capturedStream is a stream as evidence: counts, and no message.
type capturedStream struct {
	Stream string `json:"stream"`
	State  struct {
		Messages  uint64    `json:"messages"`
		Bytes     uint64    `json:"bytes"`
		FirstSeq  uint64    `json:"first_seq"`
		FirstTime time.Time `json:"first_ts"`
		LastSeq   uint64    `json:"last_seq"`
		LastTime  time.Time `json:"last_ts"`
		Deleted   int       `json:"num_deleted"`
		Consumers int       `json:"consumer_count"`
	} `json:"state"`
	Limits struct {
		Retention string        `json:"retention"`
		Discard   string        `json:"discard"`
		MaxMsgs   int64         `json:"max_msgs"`
		MaxBytes  int64         `json:"max_bytes"`
		MaxAge    time.Duration `json:"max_age"`
	} `json:"limits"`
	Consumers []capturedConsumer `json:"consumers"`
	Note      string             `json:"note,omitempty"`
}

// capturedConsumer is how far a consumer is.
type capturedConsumer struct {
	Name    string `json:"name"`
	Pending uint64 `json:"pending"`
	Unacked int    `json:"delivered_and_not_acknowledged"`
	Again   int    `json:"delivered_again"`
	Waiting int    `json:"waiting_pulls"`
	// Delivered and Acknowledged are the last sequences in the stream.
	Delivered    uint64    `json:"last_delivered"`
	Acknowledged uint64    `json:"last_acknowledged"`
	LastActive   time.Time `json:"last_delivered_at,omitzero"`
	Paused       bool      `json:"paused,omitempty"`
}

// Collect captures the counts of a stream and of its consumers, the fullest first. It
// knows no parameter.
func (d depth) Collect(ctx context.Context, req driver.CollectRequest) ([]driver.Evidence, error) {
	stream, err := parseStream(req.Target)
	if err != nil {
		return nil, err
	}
	if len(req.Params) > 0 {
		return nil, fmt.Errorf("collect %s: %w: %s knows no parameter", req.Target, driver.ErrInvalid, streamKind)
	}
	got, err := d.read(ctx, stream)
	if err != nil {
		return nil, fmt.Errorf("collect %s: %w", req.Target, err)
	}
	content, err := json.MarshalIndent(got, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", req.Target, err)
	}
	return []driver.Evidence{{Name: streamKind + " " + stream, MediaType: "application/json", Content: content}}, nil
}

// parseStream reads the name of a stream.
func parseStream(target incident.Target) (string, error) {
	if !namePattern.MatchString(target.Path) {
		return "", fmt.Errorf("parse target %q: %w: want %s", target, driver.ErrInvalid, streamForm)
	}
	return target.Path, nil
}

// read asks for the stream and then for its consumers.
func (d depth) read(ctx context.Context, stream string) (capturedStream, error) {
	got := capturedStream{Stream: stream}
	var info struct {
		Config json.RawMessage `json:"config"`
		State  json.RawMessage `json:"state"`
	}
	if err := d.conn.api(ctx, "STREAM.INFO."+stream, nil, &info); err != nil {
		return got, noStream(err)
	}
	if json.Unmarshal(info.State, &got.State) != nil || json.Unmarshal(info.Config, &got.Limits) != nil {
		return got, errors.New("decode answer: it has another form than expected")
	}
	all, note, err := d.consumers(ctx, stream)
	if err != nil {
		return got, noStream(err)
	}
	slices.SortFunc(all, func(a, b capturedConsumer) int {
		return cmp.Or(cmp.Compare(b.Pending, a.Pending), strings.Compare(a.Name, b.Name))
	})
	if len(all) > keptConsumers {
		note = fmt.Sprintf("only the %d consumers with the most pending messages are kept, of %d", keptConsumers, got.State.Consumers)
		all = all[:keptConsumers]
	}
	got.Consumers, got.Note = all, note
	return got, nil
}

// consumers lists the consumers, page by page, and says when they are not all.
// Source: https://docs.nats.io/reference/reference-protocols/nats_api_reference
func (d depth) consumers(ctx context.Context, stream string) (all []capturedConsumer, note string, err error) {
	all = []capturedConsumer{}
	for {
		var page struct {
			Total     int `json:"total"`
			Consumers []struct {
				Name      string `json:"name"`
				Delivered struct {
					Stream uint64     `json:"stream_seq"`
					Last   *time.Time `json:"last_active"`
				} `json:"delivered"`
				AckFloor struct {
					Stream uint64 `json:"stream_seq"`
				} `json:"ack_floor"`
				NumAckPending  int    `json:"num_ack_pending"`
				NumRedelivered int    `json:"num_redelivered"`
				NumWaiting     int    `json:"num_waiting"`
				NumPending     uint64 `json:"num_pending"`
				Paused         bool   `json:"paused"`
			} `json:"consumers"`
		}
		if err := d.conn.api(ctx, "CONSUMER.LIST."+stream, map[string]int{"offset": len(all)}, &page); err != nil {
			return nil, "", err
		}
		for _, c := range page.Consumers {
			found := capturedConsumer{
				Name: printable(c.Name, maxLabel), Pending: c.NumPending, Unacked: c.NumAckPending, Again: c.NumRedelivered, Waiting: c.NumWaiting,
				Delivered: c.Delivered.Stream, Acknowledged: c.AckFloor.Stream, Paused: c.Paused,
			}
			if c.Delivered.Last != nil {
				found.LastActive = c.Delivered.Last.UTC()
			}
			all = append(all, found)
		}
		switch {
		case len(page.Consumers) == 0 || len(all) >= page.Total:
			return all, "", nil
		case len(all) >= maxConsumers:
			return all, fmt.Sprintf("only the first %d of %d consumers were looked at", len(all), page.Total), nil
		}
	}
}

// noStream says what it is that was not found.
func noStream(err error) error {
	if errors.Is(err, driver.ErrNotFound) {
		return fmt.Errorf("%w: no such stream", driver.ErrNotFound)
	}
	return err
}
