package drivertest

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// store is a small real system: one value with its history behind a line
// protocol, with compare-and-set, two tokens and throttling.
type store struct {
	listener net.Listener
	owner    string
	reader   string
	canary   string

	mu       sync.Mutex
	values   []string // Revision n is values[n-1].
	kept     int      // The oldest revision that is kept.
	throttle bool
	last     bool // One write is left, and no other.
}

// storeRequest is one line to a store.
type storeRequest struct {
	Op    string `json:"op"` // "read", "write" or "may".
	Token string `json:"token"`
	Value string `json:"value,omitempty"`
	// At is the revision that a write expects to be the latest; 0 is any.
	At int `json:"at,omitempty"`
}

// storeResponse is the one line back.
type storeResponse struct {
	Error  string   `json:"error,omitempty"`
	Kept   int      `json:"kept"`
	Values []string `json:"values"`
	May    bool     `json:"may"`
	Last   bool     `json:"last"`
}

func startStore(tb testing.TB) *store {
	tb.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(tb.Context(), "tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	s := &store{listener: listener, owner: "token-" + rand.Text(), reader: "token-" + rand.Text(), canary: "secret-" + rand.Text(), kept: 1}
	s.values = []string{"first " + s.canary, "good " + s.canary, "bad " + s.canary}
	var done sync.WaitGroup
	done.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			done.Go(func() { s.serve(conn) })
		}
	})
	tb.Cleanup(func() {
		_ = listener.Close() // The test is over.
		done.Wait()
	})
	return s
}

// serve answers one request.
func (s *store) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	line, err := bufio.NewReader(conn).ReadBytes('\n')
	if err != nil {
		return
	}
	var request storeRequest
	if json.Unmarshal(line, &request) != nil {
		return
	}
	answer, err := json.Marshal(s.answer(request))
	if err != nil {
		return
	}
	_, _ = conn.Write(append(answer, '\n')) // A client that is gone does not matter.
}

func (s *store) answer(r storeRequest) storeResponse {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.Token != s.owner && r.Token != s.reader, r.Op == "write" && r.Token != s.owner:
		return storeResponse{Error: "denied"}
	case s.throttle:
		s.throttle = false
		return storeResponse{Error: "slow down"}
	case r.Op == "write" && r.At != 0 && r.At != len(s.values):
		return storeResponse{Error: "moved"}
	case r.Op == "write":
		s.values = append(s.values, r.Value)
	}
	return storeResponse{Kept: s.kept, Values: append([]string(nil), s.values...), May: r.Token == s.owner, Last: s.last}
}

// storeSettings are the settings of the system type "store".
type storeSettings struct {
	Address string `json:"address"`
	Token   string `json:"token"`
	// unasked says that Reach asks nobody.
	unasked bool
}

// Reach reads.
func (s storeSettings) Reach(ctx context.Context) error {
	if s.unasked {
		return nil
	}
	_, err := s.do(ctx, storeRequest{Op: "read"})
	return err
}

// do sends one request on a connection of its own.
func (s storeSettings) do(ctx context.Context, r storeRequest) (storeResponse, error) {
	r.Token = s.Token
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", s.Address)
	if err != nil {
		return storeResponse{}, fmt.Errorf("dial: %w", err)
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	line, err := json.Marshal(r)
	if err != nil {
		return storeResponse{}, err
	}
	if _, err := conn.Write(append(line, '\n')); err != nil {
		return storeResponse{}, fmt.Errorf("write: %w", err)
	}
	line, err = bufio.NewReader(conn).ReadBytes('\n')
	if err != nil {
		return storeResponse{}, errors.Join(fmt.Errorf("read: %w", err), ctx.Err())
	}
	var answer storeResponse
	if err := json.Unmarshal(line, &answer); err != nil {
		return storeResponse{}, err
	}
	switch answer.Error {
	case "":
		return answer, nil
	case "denied":
		return storeResponse{}, driver.ErrDenied
	default:
		return storeResponse{}, errors.New(answer.Error)
	}
}

// storeCase is the case of a kind that lives in a store, in a sound way or with a
// defect.
func storeCase(d defect) Case {
	begin := func(last bool) func(tb testing.TB) *Target {
		return func(tb testing.TB) *Target {
			s := startStore(tb)
			s.last = last
			return &Target{
				Request:  driver.PlanRequest{Target: incident.Target{Path: "value"}, Revision: "2"},
				Upstream: s.listener.Addr().String(),
				Connect: func(address string, as Credential) driver.System {
					token := map[Credential]string{Owner: s.owner, Reader: s.reader}[as]
					return driver.System{Name: "store", Type: systemOf(d), Decode: Settings(storeSettings{Address: address, Token: token})}
				},
				Digest: func(context.Context) (string, error) {
					s.mu.Lock()
					defer s.mu.Unlock()
					return incident.DigestOf([]byte(s.values[len(s.values)-1])), nil
				},
				Mutations: func(context.Context) (int, error) {
					s.mu.Lock()
					defer s.mu.Unlock()
					return len(s.values), nil
				},
				Interfere: func(context.Context) error {
					s.mu.Lock()
					defer s.mu.Unlock()
					s.values = append(s.values, "newer "+rand.Text())
					return nil
				},
				Throttle: func(context.Context) error {
					s.mu.Lock()
					defer s.mu.Unlock()
					s.throttle = true
					return nil
				},
				Difference: "revision",
				Canaries:   []string{s.owner, s.reader, s.canary},
			}
		}
	}
	c := Case{
		Kind:  kindOf(d),
		Start: begin(false),
		Preflight: map[Condition]Scenario{
			MissingTarget: {Says: "no such value", Arrange: func(_ testing.TB, t *Target) (driver.PlanRequest, Credential) {
				return driver.PlanRequest{Target: incident.Target{Path: "other"}, Revision: t.Request.Revision}, Owner
			}},
			MissingRevision: {Says: "is gone", Arrange: func(_ testing.TB, t *Target) (driver.PlanRequest, Credential) {
				return driver.PlanRequest{Target: t.Request.Target, Revision: strconv.Itoa(99)}, Owner
			}},
			MissingPermission: {Says: "may not write", Arrange: func(_ testing.TB, t *Target) (driver.PlanRequest, Credential) {
				return t.Request, Reader
			}},
			DeployInFlight: {NotApplicable: "a store changes in one step"},
			ClosedWindow:   {NotApplicable: "a store keeps everything for ever"},
		},
	}
	if d == someOneWay || d == promisesWayBack {
		c.OneWay = begin(true)
	}
	return c
}
