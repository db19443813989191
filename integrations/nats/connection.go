package nats

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/backout/backout/integrations/driver"
)

// systemType is the name of the system type in the configuration.
const systemType = "nats"

// requestTimeout bounds one request, with its answer.
const requestTimeout = 5 * time.Second

// How often a request looks whether the client has reconnected, and how long it
// does so.
const (
	reconnectPoll     = 20 * time.Millisecond
	reconnectPatience = 3 * time.Second
)

func init() {
	driver.RegisterSystem(systemType, open)
}

// errInterrupted means that the connection broke while an answer was awaited:
// the request may have had its effect, or not.
var errInterrupted = errors.New("connection lost before the answer")

// connection is one connected NATS system.
//
// The NATS protocol answers neither a request that is not permitted nor one
// whose connection broke; the client would wait for its time-out. So requests
// are kept track of and ended as soon as the outcome is known.
type connection struct {
	name   string
	domain string
	// log is the stream that guards changes of consumers; empty when there is none.
	log    string
	client *nats.Conn

	mu sync.Mutex
	// waiting are the requests under way, by the function that ends them.
	waiting map[*waiter]struct{}
	// deaf says that the server refused the subscription for answers.
	deaf bool
	// rejected is how the server refused the credential when it was last asked; nil
	// when it did not. The client itself forgets that until it tries again.
	rejected error
}

type waiter struct {
	subject string
	end     context.CancelCauseFunc
}

// open makes the client. It does not fail when the server can not be reached.
func open(_ context.Context, s driver.System) (*connection, error) {
	var settings Settings
	if err := s.Decode(&settings); err != nil {
		return nil, fmt.Errorf("decode settings: %w", err)
	}
	options, err := settings.options()
	if err != nil {
		return nil, err
	}
	c := &connection{name: s.Name, domain: settings.Domain, log: settings.ConsumerLog, waiting: map[*waiter]struct{}{}}
	options = append(options,
		nats.ErrorHandler(c.refused),
		nats.DisconnectErrHandler(c.disconnected),
		nats.ReconnectErrHandler(c.failed),
		nats.ConnectHandler(c.connected),
		nats.ReconnectHandler(c.connected),
	)
	if c.client, err = nats.Connect(settings.URL, options...); err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return c, nil
}

// Close ends the connection.
func (c *connection) Close() error {
	c.client.Close()
	return nil
}

// request sends a message and returns the answer. An error that wraps
// driver.ErrDenied is final; whether any other had an effect is not known.
func (c *connection) request(ctx context.Context, msg *nats.Msg) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := c.connect(ctx); err != nil {
		return nil, fmt.Errorf("request %q: %w", msg.Subject, err)
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	w := &waiter{subject: msg.Subject, end: end}
	c.mu.Lock()
	c.waiting[w] = struct{}{}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.waiting, w)
		c.mu.Unlock()
	}()
	answer, err := c.client.RequestMsgWithContext(ctx, msg)
	if err == nil {
		return answer, nil
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return nil, fmt.Errorf("request %q: %w", msg.Subject, err)
}

// Reach waits for the connection and for the answer to a ping.
func (c *connection) Reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := c.connect(ctx); err != nil {
		return err
	}
	return c.client.FlushWithContext(ctx)
}

// connect waits while the client is about to reconnect, which takes it a moment
// after every break. A refusal is final at once.
func (c *connection) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reconnectPatience)
	defer cancel()
	tick := time.NewTicker(reconnectPoll)
	defer tick.Stop()
	for {
		err := c.ready()
		if !errors.Is(err, nats.ErrDisconnected) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// ready says why a request would not be answered.
func (c *connection) ready() error {
	c.mu.Lock()
	if refusal := rejection(c.client.LastError()); refusal != nil {
		c.rejected = refusal
	}
	deaf, rejected := c.deaf, c.rejected
	c.mu.Unlock()
	switch {
	case c.client.IsConnected() && deaf:
		return fmt.Errorf("%w: the subscription for answers was refused", driver.ErrDenied)
	case c.client.IsConnected():
		return nil
	case rejected != nil:
		return fmt.Errorf("%w: the server refused the credential: %w", driver.ErrDenied, rejected)
	}
	return nats.ErrDisconnected
}

// rejection is the way in which an error says that the server refused the
// credential; nil when it does not.
func rejection(err error) error {
	for _, refusal := range []error{nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired} {
		if errors.Is(err, refusal) {
			return refusal
		}
	}
	return nil
}

// failed is called by the client when the first attempt to connect failed, and
// whenever a server could not be reached.
func (c *connection) failed(_ *nats.Conn, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rejected = rejection(err)
}

// refused is called by the client with errors that belong to no call.
func (c *connection) refused(_ *nats.Conn, _ *nats.Subscription, err error) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return
	}
	text := err.Error()
	c.mu.Lock()
	defer c.mu.Unlock()
	subscription := strings.Contains(text, "Subscription to")
	if subscription {
		c.deaf = true
	}
	for w := range c.waiting {
		if subscription || strings.Contains(text, `"`+w.subject+`"`) {
			w.end(driver.ErrDenied)
		}
	}
}

func (c *connection) disconnected(*nats.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rejected = nil // The credential was good for that connection.
	for w := range c.waiting {
		w.end(errInterrupted)
	}
}

func (c *connection) connected(*nats.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deaf, c.rejected = false, nil
}
