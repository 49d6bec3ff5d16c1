package outbound

import (
	"net/netip"
	"strings"
)

// rules are the networks the verdict on an address is read from. They are built
// once per client, so that no package variable can be changed behind its back.
type rules struct {
	never  []netip.Prefix // refused whatever the operator allows
	inner  []netip.Prefix // refused unless allowed
	global netip.Prefix   // IPv6 outside it is refused unless allowed
}

func newRules() rules {
	return rules{
		// Instance metadata hands out credentials of the machine to whoever can
		// make an HTTP request from it. No identity provider lives there, so even
		// "allow 0.0.0.0/0" does not open these.
		never: prefixes(
			"169.254.169.0/24",       // AWS, Azure, Google, Oracle, DigitalOcean, OpenStack: .254 and its neighbours (.253 DNS, .123 time)
			"169.254.170.0/24",       // AWS ECS task (.2) and EKS pod identity (.23) credentials
			"169.254.0.23/32",        // Tencent Cloud
			"169.254.10.10/32",       // Tencent Cloud, older
			"169.254.42.42/32",       // Scaleway
			"100.100.100.200/32",     // Alibaba Cloud
			"192.0.0.192/32",         // Oracle Cloud, classic
			"168.63.129.16/32",       // Azure host agent, a public address
			"fd00:ec2::/64",          // AWS over IPv6: ::254 metadata, ::23 pod identity
			"fd20:ce::254/128",       // Google Cloud over IPv6
			"fd00:c1::a9fe:a9fe/128", // Oracle Cloud over IPv6
			"fd00:42::42/128",        // Scaleway over IPv6
		),
		// The IPv4 special-purpose registry (RFC 6890) without what is global.
		inner: prefixes(
			"0.0.0.0/8",       // "this network": Linux connects 0.0.0.0 to loopback
			"10.0.0.0/8",      // private (RFC 1918)
			"100.64.0.0/10",   // carrier-grade NAT (RFC 6598); Tailscale lives here too
			"127.0.0.0/8",     // loopback
			"169.254.0.0/16",  // link-local
			"172.16.0.0/12",   // private
			"192.0.0.0/24",    // protocol assignments
			"192.0.2.0/24",    // documentation
			"192.88.99.0/24",  // 6to4 relay
			"192.168.0.0/16",  // private
			"198.18.0.0/15",   // benchmarks
			"198.51.100.0/24", // documentation
			"203.0.113.0/24",  // documentation
			"224.0.0.0/4",     // multicast
			"240.0.0.0/4",     // reserved, and broadcast
			"2001::/23",       // Teredo, ORCHID, benchmarks: tunnels and labels, not hosts
			"2001:db8::/32",   // documentation
			"2002::/16",       // 6to4: carries an IPv4 address of the sender's choice
			"3fff::/20",       // documentation
		),
		// Everything else in IPv6 (loopback, ::, mapped, NAT64 64:ff9b::/96,
		// unique local, link-local, multicast) lies outside 2000::/3. Naming what
		// is global, not what is not, keeps tomorrow's special prefixes refused.
		global: netip.MustParsePrefix("2000::/3"),
	}
}

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s) // constants above
	}
	return out
}

// verdict is why an address is refused; "" means it may be connected to.
func (r rules) verdict(a netip.Addr, allowed func(netip.Addr) bool) string {
	if !a.IsValid() {
		return "no address"
	}
	if a.Zone() != "" {
		return "address with a zone" // fe80::1%eth0: scoped to one link
	}
	a = a.Unmap()
	// An IPv6 address may carry an IPv4 one that a translator will connect to;
	// metadata must not be reachable in that disguise either.
	for _, x := range append(embedded(a), a) {
		if within(x, r.never) {
			return "cloud metadata address"
		}
	}
	if allowed(a) {
		return ""
	}
	if within(a, r.inner) || (a.Is6() && !r.global.Contains(a)) {
		return "address is not on the public internet"
	}
	return ""
}

// embedded lists IPv4 addresses inside an IPv6 address, where a transition
// mechanism keeps one. The last 32 bits are read in every address (NAT64 with a
// /96 prefix, IPv4-compatible, ISATAP): a wrong guess only ever refuses.
func embedded(a netip.Addr) []netip.Addr {
	if !a.Is6() {
		return nil
	}
	b := a.As16()
	list := []netip.Addr{netip.AddrFrom4([4]byte(b[12:16]))}
	switch {
	case b[0] == 0x20 && b[1] == 0x02: // 6to4, RFC 3056
		list = append(list, netip.AddrFrom4([4]byte(b[2:6])))
	case b[0] == 0x20 && b[1] == 0x01 && b[2] == 0 && b[3] == 0: // Teredo, RFC 4380: inverted
		list = append(list, netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]}))
	case b[0] == 0x00 && b[1] == 0x64 && b[2] == 0xff && b[3] == 0x9b:
		// Local-use NAT64 (RFC 8215) with the /48 of RFC 6052 section 2.2: byte 8
		// is reserved and lies in the middle of the address.
		list = append(list, netip.AddrFrom4([4]byte{b[6], b[7], b[9], b[10]}))
	}
	return list
}

func within(a netip.Addr, list []netip.Prefix) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// looksNumeric reports a host that some resolver would read as an IPv4 address
// although netip does not: 0x7f000001, 2130706433, 127.1, 0177.0.0.1. The rule
// is the URL standard's "ends in a number"; getaddrinfo follows it, and what
// two readers read differently is refused instead.
func looksNumeric(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return false
	}
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	last := strings.ToLower(labels[len(labels)-1])
	if last == "" {
		return true
	}
	digits, isHex := strings.CutPrefix(last, "0x")
	for _, c := range digits {
		if (c < '0' || c > '9') && (!isHex || c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
