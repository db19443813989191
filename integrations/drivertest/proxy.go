package drivertest

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	// dialTimeout bounds the connection to the real system.
	dialTimeout = 5 * time.Second
	// chunkSize is the most that is taken for one chunk.
	chunkSize = 64 << 10
)

// Proxy stands between a driver and its real system and breaks the connection in
// the ways that networks do. It knows no protocol: it counts chunks, which are
// what one read of the client's bytes yields, so that it works under TLS too.
type Proxy struct {
	listener net.Listener
	upstream string

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	// fault strikes at the chunk that countdown reaches; nil is none.
	fault     *fault
	countdown int
	struck    bool
	// stalled is closed when bytes flow again; nil when they do.
	stalled chan struct{}
	down    bool
}

// fault is what happens to one chunk.
type fault struct {
	kind faultKind
	// meanwhile is called for pause.
	meanwhile func()
}

type faultKind int

const (
	loseRequest faultKind = iota + 1
	loseResponse
	pause
)

// NewProxy starts a proxy on the loopback interface that ends with the test.
func NewProxy(tb testing.TB, upstream string) *Proxy {
	tb.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(tb.Context(), "tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	p := &Proxy{listener: listener, upstream: upstream, conns: map[net.Conn]struct{}{}}
	var done sync.WaitGroup
	done.Go(func() { p.accept(&done) })
	tb.Cleanup(func() {
		_ = listener.Close() // The listener is gone either way.
		p.Up()
		p.mu.Lock()
		p.down = true // A connection that is accepted right now is closed at once.
		p.mu.Unlock()
		p.closeAll()
		done.Wait()
	})
	return p
}

// Address is where clients connect to, as host:port.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// LoseRequest cuts the connection in place of sending the nth chunk from now on,
// counted from 1.
func (p *Proxy) LoseRequest(nth int) { p.arm(nth, fault{kind: loseRequest}) }

// LoseResponse cuts the connection after the real system has received the nth
// chunk from now on and before its response gets through.
func (p *Proxy) LoseResponse(nth int) { p.arm(nth, fault{kind: loseResponse}) }

// Pause holds the nth chunk from now on until the function has returned.
func (p *Proxy) Pause(nth int, meanwhile func()) {
	p.arm(nth, fault{kind: pause, meanwhile: meanwhile})
}

func (p *Proxy) arm(nth int, f fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault, p.countdown, p.struck = &f, nth, false
}

// Disarm takes a fault back and reports whether it had struck.
func (p *Proxy) Disarm() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = nil
	return p.struck
}

// Down closes all connections and every new one.
func (p *Proxy) Down() {
	p.mu.Lock()
	p.down = true
	p.mu.Unlock()
	p.closeAll()
}

// Stall holds all bytes of clients back.
func (p *Proxy) Stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stalled == nil {
		p.stalled = make(chan struct{})
	}
}

// Up ends Down and Stall. What was held back is lost with its connections.
func (p *Proxy) Up() {
	p.mu.Lock()
	stalled := p.stalled
	p.stalled, p.down = nil, false
	p.mu.Unlock()
	if stalled != nil {
		p.closeAll()
		close(stalled)
	}
}

func (p *Proxy) closeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		_ = conn.Close() // It is gone either way.
	}
}

func (p *Proxy) accept(done *sync.WaitGroup) {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		done.Go(func() { p.serve(client) })
	}
}

// track keeps a connection for closeAll, or refuses it.
func (p *Proxy) track(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return false
	}
	for _, conn := range conns {
		p.conns[conn] = struct{}{}
	}
	return true
}

// serve copies between a client and the real system until either ends.
func (p *Proxy) serve(client net.Conn) {
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	var dialer net.Dialer
	server, err := dialer.DialContext(ctx, "tcp", p.upstream)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	if !p.track(client, server) {
		return
	}
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, client)
		delete(p.conns, server)
	}()
	responses := &responses{to: client}
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(responses, server) // Its end is all that matters.
		_ = client.Close()
	})
	p.forward(client, server, responses)
	_ = client.Close()
	_ = server.Close()
	back.Wait()
}

// forward copies what the client sends, chunk by chunk, until it ends or is cut.
func (p *Proxy) forward(client io.Reader, server io.Writer, responses *responses) {
	chunk := make([]byte, chunkSize)
	for {
		n, err := client.Read(chunk)
		if n > 0 && !p.pass(chunk[:n], client, server, responses) {
			return
		}
		if err != nil {
			return
		}
	}
}

// pass sends one chunk on, unless a fault strikes. It reports whether the
// connection lives on.
func (p *Proxy) pass(chunk []byte, client io.Reader, server io.Writer, responses *responses) bool {
	struck, stalled := p.next()
	if stalled != nil {
		<-stalled
		return false
	}
	if struck != nil {
		switch struck.kind {
		case loseRequest:
			return false
		case loseResponse:
			answered := responses.lose()
			if _, err := server.Write(chunk); err == nil {
				unanswered(client, answered)
			}
			return false
		case pause:
			struck.meanwhile()
		}
	}
	_, err := server.Write(chunk)
	return err == nil
}

// unanswered returns with the first bytes of the response that is lost. Not
// everything that a client sends has one: a client that goes on without it, or
// goes away, ends the wait too. No clock does, because a busy system may be slow
// and a cut before its effect would try another law.
func unanswered(client io.Reader, answered <-chan struct{}) {
	wentOn := make(chan struct{})
	go func() {
		defer close(wentOn)
		_, _ = client.Read(make([]byte, 1)) // It ends with the connection at the latest.
	}()
	select {
	case <-answered:
	case <-wentOn:
	}
}

// next counts a chunk and says what happens to it.
func (p *Proxy) next() (struck *fault, stalled <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stalled != nil {
		return nil, p.stalled
	}
	if p.fault == nil {
		return nil, nil
	}
	if p.countdown--; p.countdown > 0 {
		return nil, nil
	}
	struck, p.fault, p.struck = p.fault, nil, true
	return struck, nil
}

// responses passes on what the real system sends, until it is to be lost.
type responses struct {
	to io.Writer

	mu   sync.Mutex
	lost bool
	// first is closed with the first bytes that are lost.
	first    chan struct{}
	reported bool
}

// lose drops everything from now on.
func (r *responses) lose() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost, r.first = true, make(chan struct{})
	return r.first
}

// Write passes bytes on or drops them.
func (r *responses) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.lost {
		return r.to.Write(b)
	}
	if !r.reported {
		r.reported = true
		close(r.first)
	}
	return len(b), nil
}
