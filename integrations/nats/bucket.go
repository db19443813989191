package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// How a key-value bucket lies in a stream.
// Source: https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-8.md
const (
	operationHeader = "KV-Operation"
	markerHeader    = "Nats-Marker-Reason"
	lifetimeHeader  = "Nats-TTL"
)

// The headers that say who wrote an entry and, for Backout's own, by which
// action. Key-value clients show no headers, but the stream keeps them.
const (
	authorHeader = "Author"
	actionHeader = "Backout-Key"
)

// maxAuthor is the longest author that is taken from a header, in characters.
const maxAuthor = 100

// errMoved means that a compare-and-set lost: the key is not at the revision
// that was observed.
var errMoved = errors.New("the key has another revision")

// location names one key absolutely.
type location struct{ bucket, key string }

// targetForm shows how a target's path is spelled.
const targetForm = "<bucket>/<key>"

// What names may look like, as the clients have it.
// Source: https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-8.md
var (
	bucketPattern = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)
	keyPattern    = regexp.MustCompile(`^[-/_=\.a-zA-Z0-9]+$`)
)

func parseTarget(target incident.Target) (location, error) {
	bucket, key, _ := strings.Cut(target.Path, "/")
	if !bucketPattern.MatchString(bucket) || !keyPattern.MatchString(key) || strings.HasPrefix(key, ".") || strings.HasSuffix(key, ".") {
		return location{}, fmt.Errorf("parse target %q: %w: want %s", target, driver.ErrInvalid, targetForm)
	}
	return location{bucket: bucket, key: key}, nil
}

func (l location) stream() string  { return "KV_" + l.bucket }
func (l location) subject() string { return "$KV." + l.bucket + "." + l.key }

// bucketSettings are those of a bucket's stream that a rollback depends on.
type bucketSettings struct {
	// Depth is how many revisions of each key are kept.
	Depth int64 `json:"max_msgs_per_subject"`
	// MaxAge is after how long a revision expires; 0 is never.
	MaxAge time.Duration   `json:"max_age"`
	Mirror json.RawMessage `json:"mirror"`
	Sealed bool            `json:"sealed"`
}

// bucket reads the settings of a bucket.
func (c *connection) bucket(ctx context.Context, l location) (bucketSettings, error) {
	var info struct {
		Config bucketSettings `json:"config"`
	}
	err := c.api(ctx, "STREAM.INFO."+l.stream(), nil, &info)
	return info.Config, err
}

// api sends a request to the JetStream API and decodes the answer.
// Source: https://docs.nats.io/reference/reference-protocols/nats_api_reference
func (c *connection) api(ctx context.Context, method string, request, into any) error {
	msg := nats.NewMsg(c.apiPrefix() + method)
	if request != nil {
		body, err := json.Marshal(request)
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		msg.Data = body
	}
	answer, err := c.request(ctx, msg)
	if err != nil {
		return err
	}
	return decode(answer, into)
}

func (c *connection) apiPrefix() string {
	if c.domain == "" {
		return "$JS.API."
	}
	return "$JS." + c.domain + ".API."
}

// decode reads an answer of JetStream into the given value, or its error.
func decode(answer *nats.Msg, into any) error {
	var failure struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(answer.Data, &failure); err != nil {
		return errors.New("decode answer: it is not JSON") // The decoder's error quotes the answer.
	}
	if failure.Error != nil {
		return classify(failure.Error)
	}
	if err := json.Unmarshal(answer.Data, into); err != nil {
		return errors.New("decode answer: it has another form than expected")
	}
	return nil
}

// classify decides once what an error of JetStream means. What is not one of the
// driver's final errors can be tried again.
func classify(err *jetstream.APIError) error {
	switch err.ErrorCode {
	case jetstream.JSErrCodeStreamNotFound:
		return fmt.Errorf("%w: no such bucket", driver.ErrNotFound)
	case jetstream.JSErrCodeMessageNotFound:
		return fmt.Errorf("%w: no such revision", driver.ErrNotFound)
	case jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant:
		return errMoved
	default:
		return fmt.Errorf("jetstream error %d: %w", err.ErrorCode, err)
	}
}

// entry is one revision of a key.
type entry struct {
	revision uint64
	created  time.Time
	// deleted says that the key has no value; value is empty then.
	deleted bool
	value   []byte
	// author is who wrote it, if a header says so; text from outside.
	author string
	// action is the idempotency key of the action of Backout that wrote it.
	action string
	// expires says that the entry has a time to live of its own.
	expires bool
}

// absent is the state of a key that has no revision at all. It is the same state
// as that of a deleted key.
var absent = entry{deleted: true}

// messageRequest asks for one message of a stream.
type messageRequest struct {
	Seq     uint64 `json:"seq,omitempty"`
	LastFor string `json:"last_by_subj,omitempty"`
	NextFor string `json:"next_by_subj,omitempty"`
}

// message reads one message from the leader of the stream.
func (c *connection) message(ctx context.Context, l location, request messageRequest) (entry, error) {
	var answer struct {
		Message struct {
			Subject  string    `json:"subject"`
			Sequence uint64    `json:"seq"`
			Header   []byte    `json:"hdrs"`
			Data     []byte    `json:"data"`
			Time     time.Time `json:"time"`
		} `json:"message"`
	}
	if err := c.api(ctx, "STREAM.MSG.GET."+l.stream(), request, &answer); err != nil {
		return entry{}, err
	}
	m := answer.Message
	if m.Subject != l.subject() {
		return entry{}, fmt.Errorf("%w: revision %d is of another key", driver.ErrNotFound, m.Sequence)
	}
	e := entry{revision: m.Sequence, created: m.Time.UTC(), value: m.Data}
	if len(m.Header) > 0 {
		header, err := nats.DecodeHeadersMsg(m.Header)
		if err != nil {
			return entry{}, fmt.Errorf("decode headers of revision %d: malformed", m.Sequence)
		}
		e.deleted = header.Get(operationHeader) != "" || header.Get(markerHeader) != ""
		e.author = printable(header.Get(authorHeader), maxAuthor)
		e.action = header.Get(actionHeader)
		e.expires = header.Get(lifetimeHeader) != ""
	}
	if e.deleted {
		e.value = nil
	}
	return e, nil
}

// latest reads the present revision of a key; absent when there is none.
func (c *connection) latest(ctx context.Context, l location) (entry, error) {
	e, err := c.message(ctx, l, messageRequest{LastFor: l.subject()})
	if errors.Is(err, driver.ErrNotFound) {
		// The bucket may be missing, or the key.
		if _, err := c.bucket(ctx, l); err != nil {
			return entry{}, err
		}
		return absent, nil
	}
	return e, err
}

// history reads the revisions of a key that are kept, oldest first, from a
// revision on. It is empty when the key has none.
func (c *connection) history(ctx context.Context, l location, since uint64) ([]entry, error) {
	last, err := c.latest(ctx, l)
	if err != nil || last.revision == 0 {
		return nil, err
	}
	var entries []entry
	// Only up to what was the latest: a busy key would never end.
	for next := max(since, 1); next <= last.revision; {
		e, err := c.message(ctx, l, messageRequest{Seq: next, NextFor: l.subject()})
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
		next = e.revision + 1
	}
	return entries, nil
}

// put writes an entry if the key is still at the given revision, 0 for none.
func (c *connection) put(ctx context.Context, l location, e entry, at uint64) (revision uint64, err error) {
	msg := nats.NewMsg(c.writeSubject(l))
	msg.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(at, 10))
	msg.Header.Set(authorHeader, e.author)
	msg.Header.Set(actionHeader, e.action)
	if e.deleted {
		msg.Header.Set(operationHeader, "DEL")
	} else {
		msg.Data = e.value
	}
	answer, err := c.request(ctx, msg)
	if err != nil {
		return 0, err
	}
	var ack struct {
		Seq uint64 `json:"seq"`
	}
	if err := decode(answer, &ack); err != nil {
		return 0, err
	}
	if ack.Seq == 0 {
		return 0, errors.New("decode answer: the write was not acknowledged")
	}
	return ack.Seq, nil
}

// writeSubject is where a value is published to.
func (c *connection) writeSubject(l location) string {
	if c.domain == "" {
		return l.subject()
	}
	return c.apiPrefix() + l.subject()
}
