package compensate

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"github.com/backout/backout/integrations/driver"
)

// never are the addresses that are not connected to, whatever the settings say:
// what is on the link, and where clouds serve credentials to whoever asks.
// Sources:
// https://www.rfc-editor.org/rfc/rfc3927 and https://www.rfc-editor.org/rfc/rfc4291 (link-local),
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html (169.254.169.254, fd00:ec2::254),
// https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16,
// https://www.alibabacloud.com/help/ecs/user-guide/view-instance-metadata (100.100.100.200),
// https://docs.oracle.com/iaas/Content/Compute/Tasks/gettingmetadata.htm (169.254.169.254, fd00:c1::a9fe:a9fe).
var never = prefixes(
	"169.254.0.0/16", "fe80::/10",
	"fd00:ec2::254/128", "fd00:ec2::23/128", "fd00:c1::a9fe:a9fe/128", "fd20:ce::254/128",
	"168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32",
)

// private are the addresses that are connected to only when the settings list
// their network: all that is not globally reachable, and what carries another
// address inside.
// Sources: https://www.iana.org/assignments/iana-ipv4-special-registry and
// https://www.iana.org/assignments/iana-ipv6-special-registry.
var private = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
	"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
	"::1/128", "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16",
	"3fff::/20", "5f00::/16", "fc00::/7", "fec0::/10",
)

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(texts))
	for _, text := range texts {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

// guard decides which addresses are connected to. The zero value allows global
// addresses only.
type guard struct{ networks []netip.Prefix }

// allows reports whether an address may be connected to.
func (g guard) allows(address netip.Addr) bool {
	address = address.Unmap().WithZone("")
	within := func(network netip.Prefix) bool { return network.Contains(address) }
	switch {
	case !address.IsValid() || address.IsUnspecified() || address.IsMulticast() || slices.ContainsFunc(never, within):
		return false
	case slices.ContainsFunc(never, func(network netip.Prefix) bool { return network.Contains(inside(address)) }):
		return false
	case slices.ContainsFunc(g.networks, within):
		return true
	default:
		return !slices.ContainsFunc(private, within)
	}
}

// The prefixes whose addresses carry one of IPv4 inside.
// Sources: https://www.rfc-editor.org/rfc/rfc6052 and https://www.rfc-editor.org/rfc/rfc3056.
var (
	translated = netip.MustParsePrefix("64:ff9b::/96")
	compatible = netip.MustParsePrefix("::/96")
	sixToFour  = netip.MustParsePrefix("2002::/16")
)

// inside is the address of IPv4 that an address carries, or the address itself.
func inside(address netip.Addr) netip.Addr {
	b := address.As16()
	switch {
	case translated.Contains(address), compatible.Contains(address):
		return netip.AddrFrom4([4]byte(b[12:16]))
	case sixToFour.Contains(address):
		return netip.AddrFrom4([4]byte(b[2:6]))
	default:
		return address
	}
}

// control is called by the dialer with the address that it is about to connect
// to, after its name was resolved. A name that resolves to something else later
// is checked again then.
func (g guard) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: the address is malformed", driver.ErrInvalid)
	}
	if !g.allows(at.Addr()) {
		return fmt.Errorf("%w: the host resolves to %s, which is not allowed", driver.ErrInvalid, at.Addr())
	}
	return nil
}
