package fakeslack

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Fault is something that goes wrong with calls of a method. Set what shall happen
// and leave the rest.
type Fault struct {
	// Status is the HTTP status to answer with, instead of the effect.
	Status int
	// SlackError is the error code to answer with, instead of the effect.
	SlackError string
	// RetryAfter is sent along with Status or SlackError, rounded up to seconds.
	RetryAfter time.Duration
	// DropResponse does the effect and cuts the connection before the answer.
	DropResponse bool
	// Delay is how long the call hangs before anything else.
	Delay time.Duration
	// Times is how many calls are hit: zero means one, negative means all until
	// ClearFaults.
	Times int
}

// AnyMethod is the method name of a Fault that hits every call.
const AnyMethod = "*"

// Fault makes the next calls of a method go wrong. Several faults of one method
// come in the order they were given.
func (s *Server) Fault(method string, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Times == 0 {
		f.Times = 1
	}
	s.faults[method] = append(s.faults[method], &f)
}

// ClearFaults ends all faults.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.faults)
}

// RevokeToken makes every later call with the token fail with token_revoked.
func (s *Server) RevokeToken(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revoked[token] = true
}

// takeFault returns what shall go wrong with this call. The caller holds the lock.
func (s *Server) takeFault(method string) *Fault {
	for _, name := range []string{method, AnyMethod} {
		queue := s.faults[name]
		if len(queue) == 0 {
			continue
		}
		hit := *queue[0]
		if queue[0].Times > 0 {
			queue[0].Times--
			if queue[0].Times == 0 {
				s.faults[name] = queue[1:]
			}
		}
		return &hit
	}
	return nil
}

// code is what a faulty call is recorded with.
func (f *Fault) code() string {
	if f.SlackError != "" {
		return f.SlackError
	}
	return "http_" + strconv.Itoa(f.Status)
}

func writeFault(w http.ResponseWriter, f *Fault) {
	if f.Status == http.StatusTooManyRequests {
		writeRateLimited(w, max(f.RetryAfter, time.Second))
		return
	}
	if f.SlackError == "" {
		http.Error(w, http.StatusText(f.Status), f.Status)
		return
	}
	status := f.Status
	if status == 0 {
		status = http.StatusOK
	}
	writeRefusal(w, status, refuse(f.SlackError))
}

// Call is one recorded request to the Web API. Tokens are never recorded.
type Call struct {
	Method string
	Args   map[string]string
	At     time.Time
	// Error is the code it was refused with, or empty.
	Error string
}

// Failure is a delivery that the app did not acknowledge as it should.
type Failure struct {
	// Kind is slash_commands, interactive or events_api.
	Kind string
	// User is who saw it, for a command or an interaction.
	User string
	// Reason is operation_timeout, dispatch_failed, or what Slack would call it.
	Reason string
	// Detail says more for a person who reads a test's output.
	Detail string
}

func (s *Server) record(method string, args arguments, code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recordLocked(method, args, code)
	s.notify()
}

func (s *Server) recordLocked(method string, args arguments, code string) {
	plain := make(map[string]string, len(args))
	for name, value := range args {
		plain[name] = value.text()
	}
	s.calls = append(s.calls, Call{Method: method, Args: plain, At: s.opts.Now(), Error: code})
}

// Calls returns all calls so far, oldest first.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// Count returns how many calls of a method succeeded.
func (s *Server) Count(method string) int {
	n := 0
	for _, c := range s.Calls() {
		if c.Method == method && c.Error == "" {
			n++
		}
	}
	return n
}

// Failures returns the deliveries that went wrong, oldest first.
func (s *Server) Failures() []Failure {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.failures)
}

// Messages returns what everybody in a channel sees, replies among it, oldest first.
func (s *Server) Messages(channel string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.world.channels[channel]
	if c == nil {
		return nil
	}
	return copies(c.messages)
}

// Ephemerals returns the messages only one person has seen, oldest first.
func (s *Server) Ephemerals(user string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var own []*Message
	for _, m := range s.world.private {
		if m.VisibleTo == user {
			own = append(own, m)
		}
	}
	return copies(own)
}

// Channels returns all channels with their current members, oldest first.
func (s *Server) Channels() []Channel {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Channel, 0, len(s.world.order))
	for _, id := range s.world.order {
		c := s.world.channels[id]
		channel := c.Channel
		channel.Members = c.memberIDs()
		out = append(out, channel)
	}
	return out
}

func copies(messages []*Message) []Message {
	out := make([]Message, 0, len(messages))
	for _, m := range messages {
		c := *m
		c.Blocks = append(json.RawMessage(nil), m.Blocks...)
		c.Reactions = slices.Clone(m.Reactions)
		c.Files = slices.Clone(m.Files)
		out = append(out, c)
	}
	return out
}

// SetUser adds a person or replaces one, for instance to deactivate them.
func (s *Server) SetUser(u User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u.TeamID == "" {
		u.TeamID = s.opts.TeamID
	}
	if u.RealName == "" {
		u.RealName = u.Name
	}
	if _, known := s.world.users[u.ID]; !known {
		s.world.userIDs = append(s.world.userIDs, u.ID)
	}
	s.world.users[u.ID] = &u
	s.notify()
}
