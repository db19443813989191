package endpoint

import (
	"errors"
	"net/netip"
	"slices"
	"syscall"
)

// never are the networks that are not connected to, whatever the settings say: what is
// on the link, and where clouds serve credentials to whoever asks.
// Sources:
// https://www.rfc-editor.org/rfc/rfc3927 and https://www.rfc-editor.org/rfc/rfc4291 (link-local),
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html,
// https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16,
// https://docs.oracle.com/iaas/Content/Compute/Tasks/gettingmetadata.htm.
var never = networks("169.254.0.0/16", "fe80::/10", "fd00:ec2::/32", "fd00:c1::a9fe:a9fe/128", "fd20:ce::254/128", "168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32")

// special are the networks that are connected to only where the settings list them or a
// part of them: all that is not globally reachable, and what carries another address.
// Sources: https://www.iana.org/assignments/iana-ipv4-special-registry and
// https://www.iana.org/assignments/iana-ipv6-special-registry.
var special = networks(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
	"192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
	"::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fec0::/10",
)

// carrying are the networks of addresses that lead to one of IPv4: they are never
// connected to, because what they lead to can not be judged.
// Sources: https://www.rfc-editor.org/rfc/rfc6052 and https://www.rfc-editor.org/rfc/rfc3056.
var carrying = networks("::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")

func networks(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(texts))
	for _, text := range texts {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

// errForbidden means that an address may not be connected to.
var errForbidden = errors.New("the address may not be connected to: list its network in the settings if it is meant")

// allows reports whether an address may be connected to, with the networks that the
// settings list.
func allows(listed []netip.Prefix, address netip.Addr) bool {
	address = address.Unmap().WithZone("")
	in := func(n netip.Prefix) bool { return n.Contains(address) }
	switch {
	case !address.IsValid() || address.IsUnspecified() || address.IsMulticast() || slices.ContainsFunc(never, in):
		return false
	case slices.ContainsFunc(carrying, in) && address != netip.IPv6Loopback():
		return false
	case slices.ContainsFunc(listed, in):
		return true
	default:
		return !slices.ContainsFunc(special, in)
	}
}

// guard is asked before each connection, with the address that the name resolved to.
func guard(listed []netip.Prefix) func(network, address string, c syscall.RawConn) error {
	return func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil || !allows(listed, at.Addr()) {
			return errForbidden
		}
		return nil
	}
}
