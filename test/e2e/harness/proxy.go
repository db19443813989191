package harness

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
)

// Watch sees a chunk of a stream before it is passed on. It may block; the
// stream waits. When it returns false the chunk is dropped and the connection
// is cut.
type Watch func(chunk []byte) bool

// Proxy is a TCP proxy in front of a server, which a test can cut and listen
// to.
type Proxy struct {
	listener net.Listener
	target   string

	mu       sync.Mutex
	cut      bool
	closed   bool
	request  Watch
	response Watch
	conns    map[net.Conn]bool
	wait     sync.WaitGroup
}

// NewProxy listens on a free loopback port until the test ends.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(fmt.Errorf("listen for proxy: %w", err))
	}
	p := &Proxy{listener: l, target: target, conns: map[net.Conn]bool{}}
	p.wait.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// Address is the host and port of the proxy.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Cut ends all connections and refuses new ones until Mend.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	for c := range p.conns {
		_ = c.Close()
	}
}

// Mend lets connections through again.
func (p *Proxy) Mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = false
}

// Watch sets what sees the chunks to the server and back; nil for nothing.
func (p *Proxy) Watch(request, response Watch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.request, p.response = request, response
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	_ = p.listener.Close()
	p.wait.Wait()
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.wait.Go(func() { p.serve(c) })
	}
}

// keep remembers a connection, or refuses it.
func (p *Proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut || p.closed {
		_ = c.Close()
		return false
	}
	p.conns[c] = true
	return true
}

func (p *Proxy) drop(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = c.Close()
	delete(p.conns, c)
}

func (p *Proxy) serve(in net.Conn) {
	if !p.keep(in) {
		return
	}
	defer p.drop(in)
	out, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", p.target)
	if err != nil || !p.keep(out) {
		return
	}
	defer p.drop(out)
	done := make(chan struct{}, 2)
	pass := func(from, to net.Conn, watch func() Watch) {
		defer func() { done <- struct{}{} }()
		p.pass(from, to, watch)
	}
	p.wait.Go(func() { pass(in, out, func() Watch { return p.request }) })
	p.wait.Go(func() { pass(out, in, func() Watch { return p.response }) })
	<-done
}

func (p *Proxy) pass(from io.Reader, to io.Writer, watch func() Watch) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			p.mu.Lock()
			see := watch()
			p.mu.Unlock()
			if see != nil && !see(buf[:n]) {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
