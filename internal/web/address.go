package web

import (
	"net/http"
	"net/netip"
	"strings"
)

// maxHops bounds how far back a chain of trusted proxies is followed. A real
// chain has two or three; a longer one is somebody playing (H03).
const maxHops = 16

// clientAddr decides who is calling. X-Forwarded-For is read only when the
// socket peer is a trusted proxy, from right to left, because each proxy
// appends the peer it saw: the first address that is not a trusted proxy is
// the last one somebody we trust has seen. Everything left of it is whatever
// the client typed. A malformed element on the way means the chain is not what
// we think, so nothing of it is believed and the socket address stands.
func clientAddr(r *http.Request, trusted []netip.Prefix) netip.Addr {
	peer := socketAddr(r.RemoteAddr)
	if !contains(trusted, peer) {
		return peer
	}
	addr := peer
	lines := r.Header["X-Forwarded-For"]
	hops := 0
	for i := len(lines) - 1; i >= 0; i-- {
		rest, more := lines[i], true
		for more {
			var part string
			part, rest, more = cutLast(rest)
			hop, ok := parseHop(part)
			if !ok || hops == maxHops {
				return peer
			}
			hops++
			if addr = hop; !contains(trusted, hop) {
				return addr
			}
		}
	}
	return addr
}

// cutLast takes the last element off a comma-separated list without splitting
// the rest, which may be a megabyte of commas.
func cutLast(list string) (last, rest string, more bool) {
	if i := strings.LastIndexByte(list, ','); i >= 0 {
		return list[i+1:], list[:i], true
	}
	return list, "", false
}

// parseHop reads one element: an address, or one with a port as Azure's and
// some other balancers write it. A zone names an interface of somebody else's
// machine and is refused.
func parseHop(s string) (netip.Addr, bool) {
	s = strings.Trim(s, " \t")
	a, err := netip.ParseAddr(s)
	if err != nil {
		if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
			s += ":0" // a bare bracketed IPv6 address
		}
		ap, err := netip.ParseAddrPort(s)
		if err != nil {
			return netip.Addr{}, false
		}
		a = ap.Addr()
	}
	if a.Zone() != "" {
		return netip.Addr{}, false
	}
	return a.Unmap(), true
}

func socketAddr(remote string) netip.Addr {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{} // a unix socket has none; the zero Addr is in no prefix
	}
	return ap.Addr().WithZone("").Unmap()
}

func contains(prefixes []netip.Prefix, a netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// unmapPrefixes writes ::ffff:a.b.c.d/n as the IPv4 prefix it means, since
// addresses are compared unmapped.
func unmapPrefixes(in []netip.Prefix) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(in))
	for _, p := range in {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		out = append(out, p.Masked())
	}
	return out
}
