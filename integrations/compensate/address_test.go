package compensate

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

func TestGuard(t *testing.T) {
	t.Parallel()
	all := []string{"0.0.0.0/0", "::/0"}
	for _, test := range []struct {
		address  string
		networks []string
		want     bool
	}{
		{"8.8.8.8", nil, true},
		{"2606:4700::1111", nil, true},
		{"10.0.0.1", nil, false},
		{"10.0.0.1", []string{"10.0.0.0/24"}, true},
		{"10.0.1.1", []string{"10.0.0.0/24"}, false},
		{"172.16.0.1", nil, false},
		{"172.32.0.1", nil, true},
		{"192.168.1.1", nil, false},
		{"100.64.0.1", nil, false},
		{"127.0.0.1", nil, false},
		{"127.0.0.1", []string{"127.0.0.0/8"}, true},
		{"::ffff:127.0.0.1", nil, false},
		{"::ffff:127.0.0.1", []string{"127.0.0.0/8"}, true},
		{"::1", nil, false},
		{"::1", []string{"::1/128"}, true},
		{"fd12::1", nil, false},
		{"fd12::1", []string{"fd12::/16"}, true},
		{"198.18.0.1", nil, false},
		{"240.0.0.1", nil, false},
		{"255.255.255.255", nil, false},
		{"2001:db8::1", nil, false},
		// Never, whatever is configured.
		{"0.0.0.0", all, false},
		{"::", all, false},
		{"169.254.169.254", all, false},
		{"::ffff:169.254.169.254", all, false},
		{"169.254.1.1", all, false},
		{"fe80::1", all, false},
		{"fe80::1%lo", all, false},
		{"fd00:ec2::254", all, false},
		{"100.100.100.200", all, false},
		{"168.63.129.16", all, false},
		{"224.0.0.1", all, false},
		{"ff02::1", all, false},
		{"64:ff9b::a9fe:a9fe", all, false},
		{"2002:a9fe:a9fe::1", all, false},
		{"::a9fe:a9fe", all, false},
	} {
		t.Run(test.address+" in "+strings.Join(test.networks, " "), func(t *testing.T) {
			t.Parallel()
			networks, err := parseNetworks(test.networks)
			require.NoError(t, err)
			address := netip.MustParseAddr(test.address)
			g := guard{networks: networks}
			require.Equal(t, test.want, g.allows(address))
			err = g.control(t.Context(), "tcp", netip.AddrPortFrom(address, 443).String(), nil)
			if test.want {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, driver.ErrInvalid)
			}
		})
	}
	require.False(t, guard{}.allows(netip.Addr{}))
	require.ErrorIs(t, guard{}.control(t.Context(), "tcp", "somewhere:443", nil), driver.ErrInvalid)
}

func TestNetworks(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"10.0.0.1", "10.0.0.1/8", "::ffff:10.0.0.0/104", "all", ""} {
		_, err := parseNetworks([]string{text})
		require.Error(t, err, text)
	}
}

// nameServer answers every question for an address with the one that the
// function gives, over one connection in memory. It knows as much of DNS as the
// resolver asks for.
// Source: https://www.rfc-editor.org/rfc/rfc1035#section-4
func nameServer(address func() netip.Addr) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer func() { _ = server.Close() }()
			for {
				// A stream, so that messages are preceded by their length.
				var length [2]byte
				if _, err := io.ReadFull(server, length[:]); err != nil {
					return
				}
				message := make([]byte, binary.BigEndian.Uint16(length[:]))
				if _, err := io.ReadFull(server, message); err != nil {
					return
				}
				answer := answerTo(message, address)
				if _, err := server.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
					return
				}
			}
		}()
		return client, nil
	}}
}

// answerTo makes the answer to a question of DNS: one address of version 4, and
// none of version 6.
func answerTo(message []byte, address func() netip.Addr) []byte {
	end := 12
	for message[end] != 0 {
		end += int(message[end]) + 1
	}
	end += 5 // The end of the name, its type and its class.
	const typeA = 1
	isA := binary.BigEndian.Uint16(message[end-4:]) == typeA
	answer := append([]byte{}, message[:end]...)
	answer[2], answer[3] = 0x81, 0x80 // A response, recursion desired and available.
	for n := 6; n < 12; n++ {
		answer[n] = 0
	}
	if isA {
		answer[7] = 1
		four := address().As4()
		answer = append(answer, 0xc0, 12, 0, typeA, 0, 1, 0, 0, 0, 0, 0, 4) // A pointer to the name; it lives for 0 s.
		answer = append(answer, four[:]...)
	}
	return answer
}

// TestRebinding shows that the address is checked when the connection is made: a
// name that leads to the service first and to a metadata address then is not
// followed there.
func TestRebinding(t *testing.T) {
	t.Parallel()
	inv := hostile(t, func(w http.ResponseWriter, _ *http.Request) {
		answered(w, http.StatusOK, `{"state":`+badJSON+`,"settled":true,"detail":"here"}`)
	})
	h := inv.services.hosts["payments"]
	var asked atomic.Int32
	addresses := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("10.0.0.1")}
	resolver := nameServer(func() netip.Addr { return addresses[min(int(asked.Add(1))-1, len(addresses)-1)] })
	config := h.client.Transport.(*http.Transport).TLSClientConfig
	h.client = newClient(guard{networks: prefixes("127.0.0.1/32")}, config, resolver)
	port := h.base.Port()
	base, err := url.Parse("https://example.com:" + port) // A name of the server's certificate.
	require.NoError(t, err)
	h.base = base
	action := incident.Action{Kind: kind, Target: target()}
	_, err = inv.Observe(t.Context(), action)
	require.NoError(t, err)
	for _, address := range []string{"169.254.169.254", "10.0.0.1"} {
		_, err = inv.Observe(t.Context(), action)
		require.ErrorIs(t, err, driver.ErrInvalid)
		require.ErrorContains(t, err, address+", which is not allowed")
	}
	require.Equal(t, int32(3), asked.Load(), "the name is resolved for each request")
}

// TestLoopbackNeedsToBeAllowed shows it on a name and on an address.
func TestLoopbackNeedsToBeAllowed(t *testing.T) {
	t.Parallel()
	inv := hostile(t, func(w http.ResponseWriter, _ *http.Request) {
		answered(w, http.StatusOK, `{"state":`+badJSON+`,"settled":true,"detail":"here"}`)
	})
	h := inv.services.hosts["payments"]
	config := h.client.Transport.(*http.Transport).TLSClientConfig
	h.client = newClient(guard{}, config, nil)
	_, err := inv.Observe(t.Context(), incident.Action{Kind: kind, Target: target()})
	require.ErrorIs(t, err, driver.ErrInvalid)
	require.ErrorContains(t, err, "127.0.0.1, which is not allowed")
	require.NotContains(t, err.Error(), "https://", "the url is repeated")
	h.base.Host = "localhost:" + h.base.Port()
	_, err = inv.Observe(t.Context(), incident.Action{Kind: kind, Target: target()})
	require.ErrorIs(t, err, driver.ErrInvalid)
}
