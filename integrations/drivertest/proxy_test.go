package drivertest

import (
	"bufio"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// upstream accepts one connection and hands it to serve.
func upstream(t *testing.T, serve func(conn net.Conn)) string {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		serve(conn)
	}()
	t.Cleanup(func() {
		_ = listener.Close() // The test is over.
		<-done
	})
	return listener.Addr().String()
}

func dial(t *testing.T, p *Proxy) net.Conn {
	t.Helper()
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp", p.Address())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() }) // The proxy may have cut it.
	return conn
}

// TestUnansweredWaitsForTheSystem shows that only the system or the client ends the
// wait, however long it takes.
func TestUnansweredWaitsForTheSystem(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		end  func(answered chan struct{}, client net.Conn)
	}{
		{"the system answers", func(answered chan struct{}, _ net.Conn) { close(answered) }},
		{"the client goes on", func(_ chan struct{}, client net.Conn) { _, _ = client.Write([]byte{1}) }},
		{"the client goes away", func(_ chan struct{}, client net.Conn) { _ = client.Close() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				proxy, client := net.Pipe()
				defer func() { _ = proxy.Close() }()
				answered, ended := make(chan struct{}), make(chan struct{})
				go func() {
					defer close(ended)
					unanswered(proxy, answered)
				}()
				select {
				case <-ended:
					t.Fatal("the wait ended by itself")
				case <-time.After(time.Hour):
				}
				test.end(answered, client)
				<-ended
			})
		})
	}
}

// TestLostResponseWaitsForTheEffect shows that the connection is cut only after
// the system has answered.
func TestLostResponseWaitsForTheEffect(t *testing.T) {
	t.Parallel()
	slow, effects := make(chan struct{}), make(chan string, 1)
	p := NewProxy(t, upstream(t, func(conn net.Conn) {
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil {
			return
		}
		<-slow
		effects <- line
		_, _ = io.WriteString(conn, "done\n") // It is lost.
	}))
	p.LoseResponse(1)
	conn := dial(t, p)
	_, err := io.WriteString(conn, "write\n")
	require.NoError(t, err)
	cut := make(chan error, 1)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		cut <- err
	}()
	close(slow)
	require.Error(t, <-cut, "the response came through")
	require.Len(t, effects, 1, "the connection was cut before the effect")
	require.True(t, p.Disarm())
}

// TestLostResponseOfWhatHasNone shows that a client which does not wait for a
// response is cut when it goes on or goes away.
func TestLostResponseOfWhatHasNone(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		then func(t *testing.T, conn net.Conn)
	}{
		{"client goes on", func(t *testing.T, conn net.Conn) {
			t.Helper()
			_, err := io.WriteString(conn, "second\n")
			require.NoError(t, err)
			_, err = conn.Read(make([]byte, 1))
			require.Error(t, err, "the connection lives on")
		}},
		{"client goes away", func(t *testing.T, conn net.Conn) {
			t.Helper()
			require.NoError(t, conn.Close())
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			first, received := make(chan struct{}), make(chan string, 1)
			p := NewProxy(t, upstream(t, func(conn net.Conn) {
				reader := bufio.NewReader(conn)
				line, err := reader.ReadString('\n')
				if err != nil {
					return
				}
				close(first)
				rest, _ := io.ReadAll(reader) // Until it is cut.
				received <- line + string(rest)
			}))
			p.LoseResponse(1)
			conn := dial(t, p)
			_, err := io.WriteString(conn, "first\n")
			require.NoError(t, err)
			<-first
			test.then(t, conn)
			require.Equal(t, "first\n", <-received)
		})
	}
}

// TestTable shows that no law is left out of what is told about a kind.
func TestTable(t *testing.T) {
	t.Parallel()
	var v verdicts
	v.set("a", "passed")
	v.set("c", "not applicable: it is dry")
	text := v.table("store.sound", []law{{name: "a"}, {name: "b"}, {name: "c"}})
	require.Regexp(t, `^the laws on store.sound:\na +passed\nb +NOT TRIED\nc +not applicable: it is dry$`, text)
}
