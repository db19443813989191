package fakepagerduty

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// PagerDuty's delivery rules.
// Source: https://developer.pagerduty.com/docs/webhooks-behavior
const (
	// webhookTimeout is how long a delivery waits for 2xx.
	webhookTimeout = 5 * time.Second
	// dropsUntilDisabled is how many consecutive dropped webhooks turn a
	// subscription off.
	dropsUntilDisabled = 3
)

// Delivery records one attempt to deliver a webhook.
type Delivery struct {
	// EventID is unique to the event; WebhookID is repeated by retries.
	EventID, WebhookID, Type string
	// Attempt counts from 1.
	Attempt int
	// Status is the receiver's answer, 0 when there was none.
	Status int
	// Dropped says that no further attempt follows though it failed.
	Dropped bool
	Body    []byte
	Header  http.Header
}

// Event is a webhook that waits for delivery.
type Event struct {
	ID, WebhookID, Type string
	Body                []byte
}

// SubscriptionOptions says where and how webhooks are delivered.
type SubscriptionOptions struct {
	URL string
	// Secrets sign each webhook, one signature each, newest first.
	Secrets []string
	// Spaced puts a space after the comma between signatures.
	Spaced bool
	// Types limits the event types; empty means all.
	Types []string
}

// Subscription delivers webhooks in order, retries and turns itself off as
// PagerDuty does. A test steers it with Hold, Release, Suppress and Repeat.
type Subscription struct {
	ID     string
	server *Server
	client *http.Client
	cancel context.CancelFunc
	ctx    context.Context //nolint:containedctx // It ends the delivery goroutine with the server.

	mu         sync.Mutex
	changed    *sync.Cond
	opts       SubscriptionOptions
	queue      []Event
	busy       bool
	held       bool
	suppress   int
	repeat     int
	drops      int
	disabled   bool
	deliveries []Delivery
}

// Subscribe starts a subscription.
func (s *Server) Subscribe(o SubscriptionOptions) *Subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	sub := &Subscription{
		ID: s.newID("S"), server: s, opts: o, ctx: ctx, cancel: cancel,
		client: &http.Client{Timeout: s.cfg.WebhookTimeout, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}},
	}
	sub.changed = sync.NewCond(&sub.mu)
	s.subs = append(s.subs, sub)
	go sub.run()
	return sub
}

// Ping delivers pagey.ping to every subscription, as the button in
// PagerDuty's page does.
func (s *Server) Ping() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.emit("pagey.ping", "", object{"message": "Hello from your friend Pagey!", "type": "ping"})
}

// emit queues an event for every subscription that wants it.
func (s *Server) emit(kind, agentID string, data object) {
	var agent any
	if u, ok := s.user(agentID); ok {
		agent = s.reference("user", u.ID, u.Name)
	}
	resource, _, _ := strings.Cut(kind, ".")
	id := s.newID("E")
	body, err := json.Marshal(object{"event": object{
		"id": id, "event_type": kind, "resource_type": resource,
		"occurred_at": s.cfg.Now().UTC().Format("2006-01-02T15:04:05.000Z"),
		"agent":       agent, "client": nil, "data": data,
	}})
	if err != nil {
		return
	}
	for _, sub := range s.subs {
		sub.enqueue(Event{ID: id, WebhookID: fmt.Sprintf("%s-%s", sub.ID, id), Type: kind, Body: body})
	}
}

// webhookIncident is an incident as a webhook shows it.
func (s *Server) webhookIncident(i *incident) object {
	o := s.reference("incident", i.ID, i.Title)
	delete(o, "summary")
	service, _ := s.service(i.ServiceID)
	assignees := []object{}
	for _, id := range i.Assignees {
		u, _ := s.user(id)
		assignees = append(assignees, s.reference("user", id, u.Name))
	}
	o["type"], o["number"], o["status"], o["incident_key"] = "incident", i.Number, i.Status, i.Key
	o["created_at"], o["title"], o["urgency"] = stamp(i.CreatedAt), i.Title, i.Urgency
	o["service"], o["assignees"], o["teams"] = s.reference("service", service.ID, service.Name), assignees, []object{}
	o["escalation_policy"], o["priority"], o["conference_bridge"], o["resolve_reason"] = nil, nil, nil, nil
	if p, ok := s.policy(i.policyID); ok {
		o["escalation_policy"] = s.reference("escalation_policy", p.ID, p.Name)
	}
	if p, ok := s.priority(i.PriorityID); ok {
		o["priority"] = p
	}
	return o
}

func (b *Subscription) enqueue(e Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.opts.Types) > 0 && !slices.Contains(b.opts.Types, e.Type) {
		return
	}
	// While a subscription is off, new webhooks are dropped, not queued.
	if b.disabled {
		return
	}
	if b.suppress > 0 {
		b.suppress--
		return
	}
	for range b.repeat + 1 {
		b.queue = append(b.queue, e)
	}
	b.changed.Broadcast()
}

// Rotate replaces the secrets, newest first.
func (b *Subscription) Rotate(secrets ...string) {
	b.steer(func() { b.opts.Secrets = secrets })
}

// Suppress loses the next n events, as a missed webhook.
func (b *Subscription) Suppress(n int) { b.steer(func() { b.suppress = n }) }

// Repeat delivers every further event n more times with the same IDs.
func (b *Subscription) Repeat(n int) { b.steer(func() { b.repeat = n }) }

// Hold queues events without delivering them.
func (b *Subscription) Hold() { b.steer(func() { b.held = true }) }

// Release delivers what Hold kept, after arrange put it into another order,
// doubled or dropped some; nil keeps it as it is.
func (b *Subscription) Release(arrange func([]Event) []Event) {
	b.steer(func() {
		if arrange != nil {
			b.queue = arrange(slices.Clone(b.queue))
		}
		b.held = false
	})
}

// Enable turns a disabled subscription on again.
func (b *Subscription) Enable() { b.steer(func() { b.disabled, b.drops = false, 0 }) }

// Disabled says that three consecutive webhooks were dropped.
func (b *Subscription) Disabled() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.disabled
}

// Deliveries returns every attempt so far.
func (b *Subscription) Deliveries() []Delivery {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.deliveries)
}

// Wait returns when nothing waits for delivery, or with the context's error.
func (b *Subscription) Wait(ctx context.Context) error {
	stop := context.AfterFunc(ctx, b.changed.Broadcast)
	defer stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	for (len(b.queue) > 0 && !b.held) || b.busy {
		if ctx.Err() != nil {
			return fmt.Errorf("wait for deliveries: %w", ctx.Err())
		}
		b.changed.Wait()
	}
	return nil
}

func (b *Subscription) steer(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
	b.changed.Broadcast()
}

func (b *Subscription) close() {
	b.cancel()
	b.changed.Broadcast()
}

// run delivers the queue in order until the server closes.
func (b *Subscription) run() {
	for {
		b.mu.Lock()
		for (len(b.queue) == 0 || b.held) && b.ctx.Err() == nil {
			b.changed.Wait()
		}
		if b.ctx.Err() != nil {
			b.mu.Unlock()
			return
		}
		event := b.queue[0]
		b.queue, b.busy = b.queue[1:], true
		b.mu.Unlock()

		delivered := b.deliver(event)

		b.mu.Lock()
		b.busy = false
		if delivered {
			b.drops = 0
		} else if b.drops++; b.drops >= dropsUntilDisabled {
			b.disabled, b.queue = true, nil
		}
		b.changed.Broadcast()
		b.mu.Unlock()
	}
}

// deliver tries one event until 2xx, a permanent refusal, or the last
// attempt.
func (b *Subscription) deliver(e Event) bool {
	for attempt := 1; b.ctx.Err() == nil; attempt++ {
		d := b.attempt(e, attempt)
		good := d.Status >= 200 && d.Status <= 299
		permanent := d.Status >= 300 && d.Status <= 499 && d.Status != http.StatusTooManyRequests
		d.Dropped = !good && (permanent || attempt >= b.server.cfg.WebhookAttempts)
		b.mu.Lock()
		b.deliveries = append(b.deliveries, d)
		b.mu.Unlock()
		if good {
			return true
		}
		if d.Dropped {
			return false
		}
		select {
		case <-time.After(b.server.cfg.WebhookRetry):
		case <-b.ctx.Done():
		}
	}
	return false
}

func (b *Subscription) attempt(e Event, attempt int) Delivery {
	d := Delivery{EventID: e.ID, WebhookID: e.WebhookID, Type: e.Type, Attempt: attempt, Body: e.Body}
	b.mu.Lock()
	url, signature := b.opts.URL, Sign(e.Body, b.opts.Spaced, b.opts.Secrets...)
	b.mu.Unlock()
	req, err := http.NewRequestWithContext(b.ctx, http.MethodPost, url, bytes.NewReader(e.Body))
	if err != nil {
		return d
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "PagerDuty-Webhook/V3.0")
	req.Header.Set("X-Webhook-Id", e.WebhookID)
	req.Header.Set("X-Webhook-Subscription", b.ID)
	req.Header.Set("X-PagerDuty-Signature", signature)
	d.Header = req.Header.Clone()
	resp, err := b.client.Do(req)
	if err != nil {
		return d
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	_ = resp.Body.Close()
	d.Status = resp.StatusCode
	return d
}

// Sign makes the X-PagerDuty-Signature header: one v1 signature a secret,
// separated by a comma, with a space after it when spaced is true.
// Source: https://developer.pagerduty.com/docs/webhooks-v3-signatures
func Sign(body []byte, spaced bool, secrets ...string) string {
	signatures := make([]string, 0, len(secrets))
	for _, secret := range secrets {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write(body)
		signatures = append(signatures, "v1="+hex.EncodeToString(mac.Sum(nil)))
	}
	if spaced {
		return strings.Join(signatures, ", ")
	}
	return strings.Join(signatures, ",")
}
