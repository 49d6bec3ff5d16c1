package config

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Origin is a parsed origin (RFC 6454): what a browser compares. Two spellings
// of one origin parse to equal values.
type Origin struct {
	Scheme string // "http" or "https"
	Host   string // lower case, no trailing dot; an IPv6 address without brackets
	Port   uint16 // never 0
}

// String is the one spelling that ssogate writes and accepts: lower case,
// without the scheme's default port.
func (o Origin) String() string {
	host := o.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if o.Port == defaultPort(o.Scheme) {
		return o.Scheme + "://" + host
	}
	return o.Scheme + "://" + host + ":" + strconv.Itoa(int(o.Port))
}

// Loopback reports whether the host can only be this machine: a loopback
// address, or a name that browsers pin to one (RFC 6761 section 6.3).
func (o Origin) Loopback() bool {
	if o.Host == "localhost" || strings.HasSuffix(o.Host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(o.Host)
	return err == nil && ip.Unmap().IsLoopback()
}

func defaultPort(scheme string) uint16 {
	if scheme == "http" {
		return 80
	}
	return 443
}

// urlProblem is why a text is not a URL that we would use; "" when it is.
type urlProblem struct{ what, fix string }

// httpURL reads an absolute http(s) URL and its origin. It refuses what two
// readers could read differently: user info, backslashes, odd numbers for
// addresses, names outside ASCII. No part of s is ever in the problem, because a
// password may stand in it.
func httpURL(s string) (*url.URL, Origin, urlProblem) {
	bad := func(what, fix string) (*url.URL, Origin, urlProblem) { return nil, Origin{}, urlProblem{what, fix} }
	if s == "" {
		return bad("is not set", "write it like https://sso.example.com")
	}
	if len(s) > 2048 || strings.ContainsAny(s, "\\ \t\"'<>`{}|^") {
		return bad("is not a URL", "write it like https://sso.example.com")
	}
	u, err := url.Parse(s)
	if err != nil {
		return bad("is not a URL", "write it like https://sso.example.com")
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https", u.Opaque != "", !strings.Contains(s, "://"):
		return bad("does not start with https:// (or http://)", "write the scheme too, like https://sso.example.com")
	case u.User != nil:
		return bad("carries a user or password", "remove everything up to and including the @")
	case u.Fragment != "" || strings.Contains(s, "#"):
		return bad("carries a fragment", "remove the # and what follows")
	}
	o := Origin{Scheme: u.Scheme, Port: defaultPort(u.Scheme)}
	host, ok := hostname(u.Hostname())
	if !ok {
		return bad("has no usable host name", "write a DNS name in ASCII (xn-- for others) or an IP address in its usual form")
	}
	o.Host = host
	if p := u.Port(); p != "" {
		n, ok := port(p)
		if !ok {
			return bad("has no usable port", "write a port from 1 to 65535 without leading zeros")
		}
		o.Port = n
	} else if strings.HasSuffix(u.Host, ":") {
		return bad("ends its host with a colon", "write a port after it, or remove it")
	}
	return u, o, urlProblem{}
}

// ParseOrigin reads an origin in any spelling that is one. Problem and fix are
// empty when it was good, and never contain s.
func ParseOrigin(s string) (o Origin, problem, fix string) {
	u, o, p := httpURL(s)
	if p.what != "" {
		return Origin{}, p.what, p.fix
	}
	if u.Path != "" || u.RawQuery != "" || u.ForceQuery {
		return Origin{}, "is more than an origin: it has a path or query", "write " + o.String()
	}
	return o, "", ""
}

func port(s string) (uint16, bool) {
	n, ok := decimal(s)
	return uint16(n & 0xffff), ok && n >= 1 && n <= 65535
}

// hostname reads a DNS name or address and answers its canonical form. A name
// whose last label is a number is an address to a browser (WHATWG URL, section
// "host parsing"), so 127.1 and 0x7f000001 must not pass as names.
func hostname(s string) (string, bool) {
	s = strings.ToLower(strings.TrimSuffix(s, "."))
	if ip, err := netip.ParseAddr(s); err == nil {
		return ip.Unmap().String(), ip.Zone() == ""
	}
	if len(s) == 0 || len(s) > 253 {
		return "", false
	}
	last := ""
	for label := range strings.SplitSeq(s, ".") {
		if len(label) == 0 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return "", false
		}
		for _, r := range label {
			if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' {
				return "", false
			}
		}
		last = label
	}
	if _, err := strconv.ParseUint(last, 0, 64); err == nil || strings.Trim(last, "0123456789") == "" {
		return "", false
	}
	return s, true
}

// listenAddr reads "host:port" or ":port". Host is "" for every address.
func listenAddr(s string) (host string, p uint16, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", 0, false
	}
	p, ok = port(s[i+1:])
	if s[i+1:] == "0" {
		p, ok = 0, true // any free port: tests and demos
	}
	host = s[:i]
	if inner, yes := strings.CutPrefix(host, "["); yes {
		if host, yes = strings.CutSuffix(inner, "]"); !yes {
			return "", 0, false
		}
	} else if strings.Contains(host, ":") {
		return "", 0, false // an IPv6 address wants its brackets
	}
	if host == "" {
		return "", p, ok
	}
	host, valid := hostname(host)
	return host, p, ok && valid
}

// local reports whether a host of a listener or upstream is this machine.
func local(host string) bool {
	if host == "" || (Origin{Host: host}).Loopback() {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsUnspecified()
}

// slug reports a name that is safe in a URL path, a log line and a file name.
func slug(s string) bool {
	if s == "" || len(s) > 40 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

const slugFix = "use 1 to 40 of a-z, 0-9 and -, not - at an end"

// teamSlug also has dots: a collision makes "okta.finance".
func teamSlug(s string) bool {
	return s != "" && len(s) <= 100 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == ""
}
