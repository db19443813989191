package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/backout/backout/integrations/driver"
)

// The subjects of the consumer log.
const (
	// auditSubject is where the server tells of every call of its API.
	// Source: https://docs.nats.io/running-a-nats-service/nats_admin/monitoring/monitoring_jetstream
	auditSubject = "$JS.EVENT.ADVISORY.API"
	// gatePrefix is that of the calls that the log hands on.
	gatePrefix = "backout.consumer."
	// gateSource and gateTarget are how it does so.
	gateSource = gatePrefix + "*.*.*"
	gateTarget = "$JS.API.CONSUMER.{{wildcard(1)}}.{{wildcard(2)}}.{{wildcard(3)}}"
)

const (
	// maxLog is how many entries of the log are read for one plan. One that holds
	// more has to keep less.
	maxLog = 50_000
	// logReaders is how many entries are asked for at once.
	logReaders = 64
	// logPoll is how often an entry is looked for that must come, and logPatience
	// for how long. The server writes it within microseconds.
	logPoll     = 2 * time.Millisecond
	logPatience = 3 * time.Second
	// clusterLag is how long a server of a cluster may show what was before a call
	// that another has answered.
	clusterLag = time.Second
)

var (
	errNoLog  = fmt.Errorf("%w: the settings name no consumer_log", driver.ErrInvalid)
	errSilent = errors.New("the consumer log does not record the calls of the API")
)

// record is one entry of the log.
type record struct {
	seq uint64
	at  time.Time
	// call is what the entry is about, such as "CONSUMER.PAUSE.ORDERS.billing".
	call string
	// gated says that it is a call that was handed on, key by which action.
	gated bool
	key   string
	// internal says that the server itself made the call, for the log.
	internal bool
	author   string
	// respond is what the server answered.
	respond string
}

// logEntry reads an entry of the log; driver.ErrNotFound when there is none.
func (c *connection) logEntry(ctx context.Context, request messageRequest) (record, error) {
	var answer struct {
		Message struct {
			Subject  string    `json:"subject"`
			Sequence uint64    `json:"seq"`
			Header   []byte    `json:"hdrs"`
			Data     []byte    `json:"data"`
			Time     time.Time `json:"time"`
		} `json:"message"`
	}
	if c.log == "" {
		return record{}, errNoLog
	}
	if err := c.api(ctx, "STREAM.MSG.GET."+c.log, request, &answer); err != nil {
		return record{}, err
	}
	m := answer.Message
	r := record{seq: m.Sequence, at: m.Time.UTC()}
	if call, gated := strings.CutPrefix(m.Subject, gatePrefix); gated {
		r.call, r.gated = "CONSUMER."+call, true
		if header, err := nats.DecodeHeadersMsg(m.Header); err == nil {
			r.key = header.Get(actionHeader)
		}
		return r, nil
	}
	var audit struct {
		Client struct {
			User string `json:"user"`
			Name string `json:"name"`
			Kind string `json:"kind"`
		} `json:"client"`
		Subject  string `json:"subject"`
		Response string `json:"response"`
	}
	if json.Unmarshal(m.Data, &audit) != nil {
		return r, nil // Somebody else's: it is no call.
	}
	r.call = strings.TrimPrefix(audit.Subject, "$JS.API.")
	r.internal = audit.Client.Kind == "JetStream"
	r.respond = audit.Response
	switch {
	case r.internal:
		r.author = backoutAuthor
	case audit.Client.User != "":
		r.author = printable(audit.Client.User, maxAuthor)
	default:
		r.author = printable(audit.Client.Name, maxAuthor)
	}
	return r, nil
}

// lastLog is the number of the newest entry. What asks for an entry that is not there
// is recorded itself, as every call that fails; this is not, because there always is
// one: the one of the call that made the log.
func (c *connection) lastLog(ctx context.Context) (uint64, error) {
	r, err := c.logEntry(ctx, messageRequest{LastFor: ">"})
	return r.seq, err
}

// follow reads the log from an entry on, to its end or, if told to wait, until a visit
// is done. It returns the newest entry that was read; errSilent means that what was
// waited for did not come.
func (c *connection) follow(ctx context.Context, next uint64, wait bool, visit func(r record) (done bool, err error)) (last uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, logPatience)
	defer cancel()
	last = next - 1
	for {
		newest, err := c.lastLog(ctx)
		if err != nil {
			return last, err
		}
		for last < newest {
			r, err := c.logEntry(ctx, messageRequest{Seq: last + 1})
			if err != nil && !errors.Is(err, driver.ErrNotFound) {
				return last, err
			}
			last++
			if err != nil {
				continue // It was deleted, or has expired meanwhile.
			}
			if done, err := visit(r); done || err != nil {
				return last, err
			}
		}
		if !wait {
			return last, nil
		}
		if err := pause(ctx); err != nil {
			return last, fmt.Errorf("%w: %w", errSilent, err)
		}
	}
}

// changes reports whether the entry tells of something that may have changed a
// consumer.
func (r record) changes(at feed) bool {
	call, ok := strings.CutPrefix(r.call, "CONSUMER.")
	if !ok {
		return r.call == "STREAM.DELETE."+at.stream
	}
	tokens := strings.Split(call, ".")
	if len(tokens) > 2 && tokens[0] == "DURABLE" {
		tokens = tokens[1:]
	}
	switch tokens[0] {
	case "INFO", "LIST", "NAMES", "MSG":
		return false
	}
	if len(tokens) == 2 && tokens[0] == "CREATE" {
		// The oldest form names the consumer in the request alone.
		return tokens[1] == at.stream && strings.Contains(r.respond, `"name":"`+at.consumer+`"`)
	}
	return len(tokens) >= 3 && tokens[1] == at.stream && tokens[2] == at.consumer
}

// turn is one change of a consumer that the log tells of.
type turn struct {
	seq     uint64
	at      time.Time
	author  string
	setting setting
	// created is when the consumer was made, where the call told; first says that it
	// was made by this very call.
	created time.Time
	first   bool
}

// madeWithin is how long after it was made a consumer is told of by the call that made
// it.
const madeWithin = time.Second

// turn reads what an aspect was set to; ok is false when the call failed, or did not
// touch the aspect.
func (r record) turn(at feed) (found turn, ok bool) {
	if r.gated || !r.changes(at) {
		return turn{}, false
	}
	var answer struct {
		Error   json.RawMessage `json:"error"`
		Created time.Time       `json:"created"`
		Until   time.Time       `json:"pause_until"`
		Config  consumerConfig  `json:"config"`
	}
	if json.Unmarshal([]byte(r.respond), &answer) != nil || len(answer.Error) > 0 {
		return turn{}, false
	}
	found = turn{seq: r.seq, at: r.at, author: r.author}
	switch {
	case strings.HasPrefix(r.call, "CONSUMER.PAUSE."):
		found.setting = consumerConfig{Until: answer.Until}.setting(delivery, r.at)
		return found, at.aspect == delivery
	case strings.Contains(r.call, "CREATE"):
		found.setting = answer.Config.setting(at.aspect, r.at)
		found.created = answer.Created
		return found, true
	}
	return turn{}, false
}

// errLongLog means that the log holds more than can be read for a plan.
var errLongLog = fmt.Errorf("the consumer log holds more than %d entries", maxLog)

// turns reads the changes of an aspect that the log keeps, oldest first. Calls that
// left the aspect as it was are none.
func (c *connection) turns(ctx context.Context, at feed) ([]turn, error) {
	first, err := c.logEntry(ctx, messageRequest{Seq: 1, NextFor: ">"})
	if errors.Is(err, driver.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	last, err := c.lastLog(ctx)
	if err != nil {
		return nil, err
	}
	if last-first.seq >= maxLog {
		return nil, errLongLog
	}
	records := make([]record, last-first.seq+1)
	next := first.seq
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(logReaders)
	for n := range records {
		seq := next
		next++
		group.Go(func() (err error) {
			records[n], err = c.logEntry(ctx, messageRequest{Seq: seq})
			if errors.Is(err, driver.ErrNotFound) {
				return nil // It was deleted, or has expired meanwhile.
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var found []turn
	made := time.Time{}
	for _, r := range records {
		t, ok := r.turn(at)
		if ok && !t.created.IsZero() && !t.created.Equal(made) {
			made, t.first = t.created, t.at.Sub(t.created) < madeWithin
		}
		if ok && (t.first || len(found) == 0 || found[len(found)-1].setting != t.setting) {
			found = append(found, t)
		}
	}
	return found, nil
}

// logSettings are those of the log's stream that a change depends on.
type logSettings struct {
	Subjects  []string `json:"subjects"`
	Sealed    bool     `json:"sealed"`
	Republish struct {
		Source      string `json:"src"`
		Destination string `json:"dest"`
	} `json:"republish"`
}

// problem says in one sentence why the log is none; empty when it is.
func (s logSettings) problem(log string, at feed) string {
	gate := gatePrefix + at.method() + ".*.*"
	switch {
	case s.Sealed:
		return fmt.Sprintf("The stream %s is sealed, so that no change of a consumer can be handed on.", log)
	case !slices.Contains(s.Subjects, auditSubject):
		return fmt.Sprintf("The stream %s does not record %s, so that a change of a consumer can not be guarded.", log, auditSubject)
	case !slices.Contains(s.Subjects, gate), s.Republish.Source != gateSource, s.Republish.Destination != gateTarget:
		return fmt.Sprintf("The stream %s does not hand %s on to the JetStream API.", log, gate)
	}
	return ""
}

// logStream reads the settings of the log's stream.
func (c *connection) logStream(ctx context.Context) (logSettings, error) {
	var info struct {
		Config logSettings `json:"config"`
	}
	if c.log == "" {
		return logSettings{}, errNoLog
	}
	err := c.api(ctx, "STREAM.INFO."+c.log, nil, &info)
	return info.Config, err
}
