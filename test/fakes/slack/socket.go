package fakeslack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// Limits of Socket Mode.
const (
	// maxSockets is how many connections an app may hold.
	// Source: https://docs.slack.dev/apis/events-api/using-socket-mode
	maxSockets = 10
	// maxAck is the size from which Slack drops an acknowledgement, in bytes.
	maxAck = 20 << 10
)

// sockets are the Socket Mode connections of the app. The server's lock guards them.
type sockets struct {
	tickets map[string]bool
	open    []*socket
	turn    int
	total   int                             // connections ever opened
	pending map[string]chan json.RawMessage // by envelope ID
}

func newSockets() sockets {
	return sockets{tickets: map[string]bool{}, pending: map[string]chan json.RawMessage{}}
}

// socket is one connection. Writes are serialized, as the protocol demands.
type socket struct {
	conn *websocket.Conn
	mu   sync.Mutex
	gone chan struct{}
}

func (c *socket) send(message any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.conn.SetWriteDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return fmt.Errorf("limit write: %w", err)
	}
	if err := c.conn.WriteJSON(message); err != nil {
		return fmt.Errorf("write to socket: %w", err)
	}
	return nil
}

// connectionsOpen gives out an address that opens one connection.
func (s *Server) connectionsOpen(*call) (answer, *refusal) {
	ticket := s.world.id("ticket")
	s.sockets.tickets[ticket] = true
	return answer{"url": "ws://" + s.listener.Addr().String() + "/link/?ticket=" + ticket + "&app_id=" + s.opts.AppID}, nil
}

var upgrader = websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}

// serveSocket turns a ticket into a connection and reads its acknowledgements.
func (s *Server) serveSocket(w http.ResponseWriter, r *http.Request) {
	ticket := r.URL.Query().Get("ticket")
	s.mu.Lock()
	valid := s.sockets.tickets[ticket]
	delete(s.sockets.tickets, ticket)
	full := len(s.sockets.open) >= maxSockets
	s.mu.Unlock()
	if !valid {
		http.Error(w, "invalid ticket", http.StatusForbidden)
		return
	}
	if full {
		http.Error(w, "too many connections", http.StatusTooManyRequests)
		return
	}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // The upgrader has answered.
	}
	c := &socket{conn: conn, gone: make(chan struct{})}
	s.mu.Lock()
	number := len(s.sockets.open) + 1
	s.mu.Unlock()
	hello := map[string]any{
		"type": "hello", "num_connections": number, "connection_info": map[string]any{"app_id": s.opts.AppID},
		"debug_info": map[string]any{"host": "applink-0", "build_number": 1, "approximate_connection_time": 18060},
	}
	if err := c.send(hello); err != nil {
		_ = conn.Close()
		return
	}
	s.mu.Lock()
	s.sockets.open = append(s.sockets.open, c)
	s.sockets.total++
	s.notify()
	s.mu.Unlock()
	s.work.Go(func() { s.ping(c) })
	s.readAcks(c)
	s.mu.Lock()
	s.sockets.open = slices.DeleteFunc(s.sockets.open, func(o *socket) bool { return o == c })
	s.notify()
	s.mu.Unlock()
	close(c.gone)
	_ = conn.Close()
}

// ping keeps a connection alive until it is gone.
func (s *Server) ping(c *socket) {
	ticker := time.NewTicker(s.opts.Delivery.Ping)
	defer ticker.Stop()
	for {
		err := c.conn.WriteControl(websocket.PingMessage, []byte("Ping from applink-0"), time.Now().Add(5*time.Second))
		if err != nil {
			return
		}
		select {
		case <-ticker.C:
		case <-c.gone:
			return
		case <-s.lifetime.Done():
			return
		}
	}
}

// readAcks hands acknowledgements to whoever waits for them.
func (s *Server) readAcks(c *socket) {
	for {
		_, data, err := c.conn.ReadMessage()
		if err != nil {
			return
		}
		var ack struct {
			EnvelopeID string          `json:"envelope_id"`
			Payload    json.RawMessage `json:"payload"`
		}
		if len(data) >= maxAck || json.Unmarshal(data, &ack) != nil {
			continue
		}
		s.mu.Lock()
		waiting := s.sockets.pending[ack.EnvelopeID]
		delete(s.sockets.pending, ack.EnvelopeID)
		s.mu.Unlock()
		if waiting != nil {
			waiting <- ack.Payload
		}
	}
}

// errNoSocket says that no connection is left to try.
var errNoSocket = errors.New("no connection")

// overSockets sends an envelope and waits for its acknowledgement. When a connection
// goes or stays silent, another one gets the envelope. An event that no connection
// acknowledged comes again later; a command or interaction does not.
func (s *Server) overSockets(ctx context.Context, d delivery, retry int) Outcome {
	var tried []*socket
	out := Outcome{Reason: reasonDispatch}
	for {
		c, err := s.nextSocket(tried)
		if errors.Is(err, errNoSocket) {
			return out
		}
		payload, reason := s.oneEnvelope(ctx, c, d, retry+len(tried))
		out.Attempts++
		out.Reason = reason
		if reason == "" {
			out.Acked, out.Body, out.contentType = true, payload, "application/json"
			return out
		}
		tried = append(tried, c)
		if ctx.Err() != nil || s.lifetime.Err() != nil {
			return out
		}
	}
}

// nextSocket picks a connection in turn that was not tried yet.
func (s *Server) nextSocket(tried []*socket) (*socket, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range s.sockets.open {
		c := s.sockets.open[s.sockets.turn%len(s.sockets.open)]
		s.sockets.turn++
		if !slices.Contains(tried, c) {
			return c, nil
		}
	}
	return nil, errNoSocket
}

// oneEnvelope sends once over one connection and returns what was acknowledged, or
// the reason why it was not.
func (s *Server) oneEnvelope(ctx context.Context, c *socket, d delivery, retry int) (json.RawMessage, string) {
	s.mu.Lock()
	id := strings.ToLower(s.world.id("envelope-"))
	acked := make(chan json.RawMessage, 1)
	s.sockets.pending[id] = acked
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.sockets.pending, id)
		s.mu.Unlock()
	}()
	envelope := map[string]any{
		"envelope_id": id, "type": d.kind, "payload": d.payload, "accepts_response_payload": d.kind != kindEvent,
	}
	if d.kind == kindEvent || retry > 0 {
		envelope["retry_attempt"], envelope["retry_reason"] = retry, ""
		if retry > 0 {
			envelope["retry_reason"] = "timeout"
		}
	}
	if err := c.send(envelope); err != nil {
		return nil, reasonDispatch
	}
	deadline := time.NewTimer(s.opts.Delivery.Deadline)
	defer deadline.Stop()
	select {
	case payload := <-acked:
		return payload, ""
	case <-c.gone:
		return nil, reasonDispatch
	case <-deadline.C:
		return nil, reasonTimeout
	case <-ctx.Done():
		return nil, reasonTimeout
	case <-s.lifetime.Done():
		return nil, reasonDispatch
	}
}

// Sockets returns how many Socket Mode connections are open.
func (s *Server) Sockets() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sockets.open)
}

// Connected returns how many Socket Mode connections were ever opened.
func (s *Server) Connected() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sockets.total
}

// DisconnectReason is why Slack asks an app to open a new connection.
type DisconnectReason string

// The reasons that Slack gives.
const (
	// DisconnectWarning announces that the connection will go; it stays open.
	DisconnectWarning DisconnectReason = "warning"
	// DisconnectRefresh says that the connection goes now.
	DisconnectRefresh DisconnectReason = "refresh_requested"
)

// Disconnect asks the app to reopen all its connections. After DisconnectRefresh the
// connections are closed.
func (s *Server) Disconnect(reason DisconnectReason) {
	for _, c := range s.openSockets() {
		_ = c.send(map[string]any{"type": "disconnect", "reason": reason, "debug_info": map[string]any{"host": "applink-0"}})
		if reason == DisconnectRefresh {
			message := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
			_ = c.conn.WriteControl(websocket.CloseMessage, message, time.Now().Add(time.Second))
		}
	}
}

// DropSockets cuts all connections without a word.
func (s *Server) DropSockets() { s.closeSockets() }

func (s *Server) closeSockets() {
	for _, c := range s.openSockets() {
		_ = c.conn.NetConn().Close()
	}
}

func (s *Server) openSockets() []*socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.sockets.open)
}
