package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// errChanged means that the log tells of another change since the consumer was
// read.
var errChanged = errors.New("the consumer was changed meanwhile")

// Apply hands the change to the server through the log, on condition that the log
// tells of no other change since the consumer was read. It returns once the server
// has carried it out.
func (i consumers) Apply(ctx context.Context, action incident.Action, key string) (driver.Receipt, error) {
	at, err := parseFeed(action.Target)
	if err != nil {
		return driver.Receipt{}, err
	}
	wanted, err := parseSetting(at.aspect, action.To.Revision)
	if err != nil {
		return driver.Receipt{}, fmt.Errorf("apply to %s: read revision %q: %w: %w", action.Target, printable(action.To.Revision, maxLabel), driver.ErrInvalid, err)
	}
	for {
		receipt, err := i.apply(ctx, at, action, wanted, key)
		switch {
		case err == nil:
			return receipt, nil
		case !errors.Is(err, errChanged):
			return receipt, fmt.Errorf("apply to %s: %w", action.Target, err)
		}
		if err := pause(ctx); err != nil {
			return receipt, fmt.Errorf("apply to %s: %w", action.Target, err)
		}
	}
}

func (i consumers) apply(ctx context.Context, at feed, action incident.Action, wanted setting, key string) (driver.Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout+logPatience)
	defer cancel()
	// First, because the log records a search that finds nothing.
	sent, err := i.conn.logEntry(ctx, messageRequest{LastFor: at.gate()})
	if err != nil && !errors.Is(err, driver.ErrNotFound) {
		return driver.Receipt{}, err
	}
	began, err := i.conn.lastLog(ctx)
	if err != nil {
		return driver.Receipt{}, err
	}
	present, err := i.read(ctx, at)
	if err != nil {
		return driver.Receipt{}, err
	}
	now := present.state(present.setting(at.aspect))
	drift := &driver.DriftError{Action: action, Observed: now, Difference: present.detail(at.aspect)}
	switch now.Digest {
	case action.To.Digest:
		return driver.Receipt{Detail: "the consumer was there already"}, nil
	case action.From.Digest:
	default:
		return driver.Receipt{}, drift
	}
	if present.state(wanted).Digest != action.To.Digest {
		return driver.Receipt{}, fmt.Errorf("find state %s (%s): %w", wanted, incident.ShortDigest(action.To.Digest), driver.ErrNotFound)
	}
	if !wanted.until.IsZero() && !wanted.until.After(time.Now()) {
		return driver.Receipt{}, fmt.Errorf("set %s: %w: its time is over", wanted, driver.ErrInvalid)
	}
	switch put, err := i.putBack(ctx, at, present, sent, began, key); {
	case err != nil:
		return driver.Receipt{}, err
	case put:
		drift.Difference = "somebody changed it back after this very action was applied: " + drift.Difference
		return driver.Receipt{}, drift
	}
	last, err := i.quiet(ctx, at, began, present.raw)
	if err != nil {
		return driver.Receipt{}, err
	}
	body, err := present.call(at, wanted)
	if err != nil {
		return driver.Receipt{}, err
	}
	handed, err := i.send(ctx, at, body, key, last)
	if err != nil {
		return driver.Receipt{}, err
	}
	if err := i.carriedOut(ctx, at, handed); err != nil {
		return driver.Receipt{}, err
	}
	if err := i.shown(ctx, at, action); err != nil {
		return driver.Receipt{}, err
	}
	return driver.Receipt{Mutated: true, Detail: fmt.Sprintf("the consumer %s set to %s", at.name(), wanted)}, nil
}

// call is the body of the call that sets an aspect: of the whole configuration where
// the API knows no other way, so that what stays is sent as it was read.
func (r reading) call(at feed, wanted setting) ([]byte, error) {
	var request any
	if at.aspect == delivery {
		request = struct {
			Until time.Time `json:"pause_until,omitzero"`
		}{wanted.until}
	} else {
		whole := maps.Clone(r.whole)
		whole["max_ack_pending"] = json.RawMessage(strconv.FormatInt(wanted.pending, 10))
		delete(whole, "rate_limit_bps")
		if wanted.bits > 0 {
			whole["rate_limit_bps"] = json.RawMessage(strconv.FormatUint(wanted.bits, 10))
		}
		request = struct {
			Stream string                     `json:"stream_name"`
			Config map[string]json.RawMessage `json:"config"`
			Action string                     `json:"action"`
		}{at.stream, whole, "update"}
	}
	body, err := json.Marshal(request)
	if err != nil {
		return nil, errors.New("encode request: the configuration has another form than expected")
	}
	return body, nil
}

// putBack reports whether this very action was carried out before, so that somebody
// must have put "from" back. It waits for the outcome of a call that was handed on
// just before the consumer was read.
func (i consumers) putBack(ctx context.Context, at feed, present reading, sent record, began uint64, key string) (bool, error) {
	if sent.seq == 0 {
		return false, nil
	}
	recent := present.Time.Sub(sent.at) < logPatience // Both are of the server's clock.
	if !recent && sent.key != key {
		return false, nil
	}
	outcome, err := i.outcome(ctx, at, sent.seq, recent)
	switch {
	case errors.Is(err, errSilent):
		return false, nil // The call was lost.
	case err != nil:
		return false, err
	case outcome.seq > began:
		return false, errChanged
	}
	_, done := outcome.turn(at)
	if done && sent.key == key && present.Time.Sub(sent.at) < clusterLag {
		return false, errChanged // The server that was asked may not have carried it out yet.
	}
	return done && sent.key == key, nil
}

// quiet reads the log from where it ended before the consumer was read to where it
// tells of that reading, and returns that place. A change on the way is errChanged.
func (i consumers) quiet(ctx context.Context, at feed, began uint64, raw string) (uint64, error) {
	return i.conn.follow(ctx, began+1, true, func(r record) (bool, error) {
		if r.changes(at) {
			return false, errChanged
		}
		return r.respond == raw, nil
	})
}

// send publishes a call on condition that the log ends at a place. Where it has gone
// on and tells of no change of the consumer, the condition goes on with it.
func (i consumers) send(ctx context.Context, at feed, body []byte, key string, last uint64) (uint64, error) {
	for {
		msg := nats.NewMsg(at.gate())
		msg.Header.Set(jetstream.ExpectedLastSeqHeader, strconv.FormatUint(last, 10))
		msg.Header.Set(actionHeader, key)
		msg.Data = body
		answer, err := i.conn.request(ctx, msg)
		if err != nil {
			return 0, err
		}
		var ack struct {
			Seq uint64 `json:"seq"`
		}
		err = decode(answer, &ack)
		if !errors.Is(err, errMoved) {
			return ack.Seq, err
		}
		last, err = i.conn.follow(ctx, last+1, false, func(r record) (bool, error) {
			if r.changes(at) {
				return false, errChanged
			}
			return false, nil
		})
		if err != nil {
			return 0, err
		}
	}
}

// carriedOut waits until the log tells what became of a call.
func (i consumers) carriedOut(ctx context.Context, at feed, sent uint64) error {
	outcome, err := i.outcome(ctx, at, sent, true)
	if err != nil {
		return fmt.Errorf("find what became of the call: %w", err)
	}
	var answer struct {
		Error *jetstream.APIError `json:"error"`
	}
	if json.Unmarshal([]byte(outcome.respond), &answer) != nil {
		return errors.New("decode answer: it is not JSON")
	}
	if answer.Error != nil {
		// The server refused what was asked, and would again.
		return fmt.Errorf("%w: the server refused the change: %w", driver.ErrInvalid, classify(answer.Error))
	}
	return nil
}

// shown waits until the consumer is not at "from" any more: a cluster answers before
// each of its servers has carried out the call.
func (i consumers) shown(ctx context.Context, at feed, action incident.Action) error {
	for {
		present, err := i.read(ctx, at)
		if err != nil {
			return err
		}
		if present.state(present.setting(at.aspect)).Digest != action.From.Digest {
			return nil
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// pause waits for a moment.
func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(logPoll):
		return nil
	}
}

// outcome finds what the log tells of a call that was handed on; errSilent when there
// is nothing.
func (i consumers) outcome(ctx context.Context, at feed, sent uint64, wait bool) (record, error) {
	var found record
	_, err := i.conn.follow(ctx, sent+1, wait, func(r record) (bool, error) {
		if r.internal && r.changes(at) {
			found = r
			return true, nil
		}
		return false, nil
	})
	if err == nil && found.seq == 0 {
		err = errSilent
	}
	return found, err
}
