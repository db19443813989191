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

// consumerKind is the name of the inverse, and of the change source and the
// collector beside it.
const consumerKind = "nats.consumer"

// consumerForm shows how a target's path is spelled.
const consumerForm = "<stream>/<consumer>/(delivery|throttle)"

func init() {
	driver.RegisterInverse(driver.Descriptor{
		Kind:       consumerKind,
		System:     systemType,
		Layer:      "messaging",
		TargetForm: consumerForm,
		Forms:      []string{string(delivery), string(throttle)},
		Reversible: true,
		WontRevert: consumerWontRevert,
		Permission: "publish allow: $JS.API.CONSUMER.INFO.<stream>.<consumer>, $JS.API.STREAM.INFO.<consumer_log>, $JS.API.STREAM.MSG.GET.<consumer_log>, backout.consumer.PAUSE.<stream>.<consumer> (delivery) or backout.consumer.CREATE.<stream>.<consumer> (throttle), $SYS.REQ.USER.INFO (optional, for the preflight); subscribe allow: <inbox_prefix>.>",
	}, func(c *connection) driver.Inverse { return consumers{c} })
}

// consumerWontRevert lists what stays as it is.
var consumerWontRevert = []string{
	"what services did with the messages that they were given",
	"messages that were delivered and not acknowledged: they are delivered again once their time is over",
	"the position of the consumer: nothing that was acknowledged is delivered again, and nothing is skipped",
	"other settings of the consumer",
}

// aspect is the part of a consumer that a target means. The zero value is invalid.
type aspect string

const (
	// delivery is whether the consumer is paused.
	delivery aspect = "delivery"
	// throttle is how much it delivers at once.
	throttle aspect = "throttle"
)

// feed names one aspect of one consumer absolutely.
type feed struct {
	stream, consumer string
	aspect           aspect
}

// Names of streams and consumers are one token of a subject; the server refuses
// more than this.
// Source: https://docs.nats.io/running-a-nats-service/nats_admin/jetstream_admin/naming
var namePattern = regexp.MustCompile(`^[-_a-zA-Z0-9]{1,255}$`)

func parseFeed(target incident.Target) (feed, error) {
	parts := strings.Split(target.Path, "/")
	if len(parts) == 3 && namePattern.MatchString(parts[0]) && namePattern.MatchString(parts[1]) {
		f := feed{stream: parts[0], consumer: parts[1], aspect: aspect(parts[2])}
		if f.aspect == delivery || f.aspect == throttle {
			return f, nil
		}
	}
	return feed{}, fmt.Errorf("parse target %q: %w: want %s", target, driver.ErrInvalid, consumerForm)
}

// name is what people call the consumer.
func (f feed) name() string { return f.stream + "/" + f.consumer }

// method is the call of the API that changes the aspect.
func (f feed) method() string {
	if f.aspect == delivery {
		return "PAUSE"
	}
	return "CREATE"
}

// gate is the subject that the call is published to.
func (f feed) gate() string { return gatePrefix + f.method() + "." + f.stream + "." + f.consumer }

// forever is the end of a pause that somebody has to end.
var forever = time.Date(9999, time.January, 1, 0, 0, 0, 0, time.UTC)

// setting is the state of one aspect. Its spelling is its revision: it is absolute,
// and short enough to be all there is to know.
type setting struct {
	aspect aspect
	// until is the end of the pause; zero when the consumer delivers.
	until time.Time
	// pending is how many messages may be unacknowledged at once, -1 without bound;
	// bits how many are sent in a second, 0 without bound.
	pending int64
	bits    uint64
}

// Spellings of a setting.
const (
	running     = "running"
	paused      = "paused"
	pausedUntil = "paused until "
	pendingForm = "max_ack_pending="
	bitsForm    = "rate_limit_bps="
)

// String is the revision.
func (s setting) String() string {
	switch {
	case s.aspect == throttle && s.bits > 0:
		return fmt.Sprintf("%s%d %s%d", pendingForm, s.pending, bitsForm, s.bits)
	case s.aspect == throttle:
		return fmt.Sprintf("%s%d", pendingForm, s.pending)
	case s.until.IsZero():
		return running
	case s.until.Equal(forever):
		return paused
	}
	return pausedUntil + s.until.UTC().Format(time.RFC3339Nano)
}

// errSpelling says how a setting is spelled.
var errSpelling = errors.New(`want "running", "paused" or "paused until <time>" for delivery, and "max_ack_pending=<number>" with or without "rate_limit_bps=<number>" for throttle`)

// parseSetting reads a revision.
func parseSetting(a aspect, text string) (setting, error) {
	s := setting{aspect: a}
	if a == throttle {
		first, second, both := strings.Cut(text, " ")
		number, ok := strings.CutPrefix(first, pendingForm)
		var err error
		if s.pending, err = strconv.ParseInt(number, 10, 32); err != nil || !ok || s.pending == 0 || s.pending < -1 {
			return setting{}, errSpelling
		}
		if both {
			number, ok = strings.CutPrefix(second, bitsForm)
			if s.bits, err = strconv.ParseUint(number, 10, 62); err != nil || !ok || s.bits == 0 {
				return setting{}, errSpelling
			}
		}
		return s, nil
	}
	switch until, timed := strings.CutPrefix(text, pausedUntil); {
	case text == running:
	case text == paused:
		s.until = forever
	case timed:
		t, err := time.Parse(time.RFC3339, until)
		if err != nil || t.Unix() <= 0 {
			return setting{}, errSpelling
		}
		s.until = t.UTC()
	default:
		return setting{}, errSpelling
	}
	return s, nil
}

// reading is a consumer as the server shows it.
type reading struct {
	// raw is the whole answer, as the log records it too.
	raw     string
	Created time.Time `json:"created"`
	// Time is when the server answered, by its own clock.
	Time    time.Time      `json:"ts"`
	Paused  bool           `json:"paused"`
	Unacked int64          `json:"num_ack_pending"`
	Again   int64          `json:"num_redelivered"`
	Waiting int64          `json:"num_pending"`
	Config  consumerConfig `json:"-"`
	// whole is the configuration with everything that this package does not know.
	whole map[string]json.RawMessage
}

// consumerConfig are the settings that this package reads.
type consumerConfig struct {
	AckPolicy  string        `json:"ack_policy"`
	AckWait    time.Duration `json:"ack_wait"`
	MaxDeliver int           `json:"max_deliver"`
	Pending    int64         `json:"max_ack_pending"`
	Bits       uint64        `json:"rate_limit_bps"`
	Deliver    string        `json:"deliver_subject"`
	Until      time.Time     `json:"pause_until"`
}

// setting is the state of an aspect.
func (c consumerConfig) setting(a aspect, now time.Time) setting {
	s := setting{aspect: a}
	switch {
	case a == throttle:
		s.pending, s.bits = c.Pending, c.Bits
		if s.pending == 0 {
			s.pending = -1
		}
	case c.Until.After(now):
		s.until = c.Until.UTC()
	}
	return s
}

func (r reading) setting(a aspect) setting {
	s := r.Config.setting(a, time.Time{})
	if a == delivery && !r.Paused {
		s.until = time.Time{} // The server's clock decides when a pause is over.
	}
	return s
}

// state is that of a setting of this very consumer: one that was deleted and made
// anew delivers everything again, so that it is never the same.
func (r reading) state(s setting) incident.State {
	text := s.String()
	digest := incident.DigestOf(fmt.Appendf(nil, "%s\x00%s\x00%s", r.Created.UTC().Format(time.RFC3339Nano), s.aspect, text))
	return incident.State{Revision: text, Digest: digest, Label: text}
}

// detail is one line for people about what was observed.
func (r reading) detail(a aspect) string {
	return fmt.Sprintf("the consumer was made at %s and is at %s, with %d delivered and not acknowledged", r.Created.UTC().Format(time.RFC3339), r.setting(a), r.Unacked)
}

// consumers takes one aspect of a consumer to an absolute state.
type consumers struct{ conn *connection }

// read asks the server for a consumer.
func (i consumers) read(ctx context.Context, at feed) (reading, error) {
	if i.conn.domain != "" {
		return reading{}, fmt.Errorf("%w: %s works in the domain of the account alone", driver.ErrInvalid, consumerKind)
	}
	answer, err := i.conn.request(ctx, nats.NewMsg(i.conn.apiPrefix()+"CONSUMER.INFO."+at.stream+"."+at.consumer))
	if err != nil {
		return reading{}, err
	}
	r := reading{raw: string(answer.Data)}
	if err := decodeConsumer(answer, &r); err != nil {
		return reading{}, err
	}
	var parts struct {
		Config json.RawMessage `json:"config"`
	}
	if json.Unmarshal(answer.Data, &parts) != nil || json.Unmarshal(parts.Config, &r.Config) != nil || json.Unmarshal(parts.Config, &r.whole) != nil {
		return reading{}, errors.New("decode answer: the configuration has another form than expected")
	}
	return r, nil
}

// decodeConsumer is decode for answers that are about consumers.
func decodeConsumer(answer *nats.Msg, into any) error {
	err := decode(answer, into)
	var failure *jetstream.APIError
	if errors.As(err, &failure) && failure.ErrorCode == jetstream.JSErrCodeConsumerNotFound {
		return fmt.Errorf("%w: no such consumer", driver.ErrNotFound)
	}
	return err
}

// Observe reads the present setting. It is settled at once.
func (i consumers) Observe(ctx context.Context, action incident.Action) (driver.Observation, error) {
	at, err := parseFeed(action.Target)
	if err != nil {
		return driver.Observation{}, err
	}
	present, err := i.read(ctx, at)
	if err != nil {
		return driver.Observation{}, fmt.Errorf("observe %s: %w", action.Target, err)
	}
	return driver.Observation{State: present.state(present.setting(at.aspect)), Settled: true, Detail: present.detail(at.aspect)}, nil
}
