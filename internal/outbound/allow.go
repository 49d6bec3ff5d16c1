package outbound

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// allowList is what the operator opened: names and addresses with or without a
// port, and networks.
type allowList struct {
	hosts    map[string]bool // "name" (any port) or "name:port", lower case
	networks []netip.Prefix
}

// parseAllow reads outbound.allow. An entry is a host name, an IP address, one
// of them with a port, or a CIDR. Anything else is an error: an entry that is
// silently ignored would be noticed only when sign-in fails.
func parseAllow(entries []string) (allowList, error) {
	l := allowList{hosts: make(map[string]bool)}
	for _, e := range entries {
		s := strings.ToLower(strings.TrimSpace(e))
		switch {
		case s == "" || strings.ContainsAny(s, "@?#%\\ \t\r\n") || strings.Contains(s, "://"):
			return allowList{}, fmt.Errorf("outbound: allow %q: want a host, host:port or CIDR", e)
		case strings.Contains(s, "/"):
			p, err := netip.ParsePrefix(s)
			if err != nil {
				return allowList{}, fmt.Errorf("outbound: allow %q: %w", e, err)
			}
			l.networks = append(l.networks, p.Masked())
		default:
			key, err := hostKey(s)
			if err != nil {
				return allowList{}, fmt.Errorf("outbound: allow %q: %w", e, err)
			}
			l.hosts[key] = true
			// An address written alone is also a network of one: a name that
			// resolves to it may be connected to.
			if a, err := netip.ParseAddr(key); err == nil {
				l.networks = append(l.networks, netip.PrefixFrom(a, a.BitLen()))
			}
		}
	}
	return l, nil
}

// hostKey normalises "name", "name:port", "1.2.3.4:80", "::1", "[::1]:80".
func hostKey(s string) (string, error) {
	bare := strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	if a, err := netip.ParseAddr(bare); err == nil {
		return a.Unmap().String(), nil
	}
	if !strings.Contains(s, ":") {
		return strings.TrimSuffix(s, "."), nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", err
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("port %q is not a number from 1 to 65535", port)
	}
	if a, err := netip.ParseAddr(host); err == nil {
		host = a.Unmap().String()
	}
	return net.JoinHostPort(strings.TrimSuffix(host, "."), port), nil
}

// host reports whether a URL's host was named by the operator.
func (l allowList) host(host, port string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	a, err := netip.ParseAddr(host)
	if err == nil {
		host = a.Unmap().String()
	}
	if l.hosts[host] || l.hosts[net.JoinHostPort(host, port)] {
		return true
	}
	return err == nil && l.address(a.Unmap())
}

// address reports whether an address lies in a network the operator opened.
func (l allowList) address(a netip.Addr) bool { return within(a, l.networks) }
