package canonical

import (
	"net/http"
	"net/netip"
	"strings"
)

// maxHost is the longest DNS name with a port.
const maxHost = 253 + 6

// Host reads a Host header (RFC 9110 section 7.2) into lower case. Userinfo, a
// trailing dot, an empty or zero-led port and characters outside of host names
// are refused: another server may read them as another host (rows P04, T03).
// The error is always a *[Refusal].
func Host(raw string) (string, error) {
	bad := refuse(http.StatusBadRequest, BadHost)
	if raw == "" || len(raw) > maxHost {
		return "", bad
	}
	port := ""
	if raw[0] == '[' {
		end := strings.IndexByte(raw, ']')
		if end < 0 {
			return "", bad
		}
		a, err := netip.ParseAddr(raw[1:end])
		// A zone names an interface of the client's machine, never of ours; and
		// one address has many spellings, of which only the canonical is one name.
		if err != nil || !a.Is6() || a.Zone() != "" || a.String() != strings.ToLower(raw[1:end]) {
			return "", bad
		}
		port = raw[end+1:]
	} else {
		name := raw
		if i := strings.IndexByte(raw, ':'); i >= 0 {
			name, port = raw[:i], raw[i:]
		}
		if !hostName(name) {
			return "", bad
		}
	}
	if port != "" && !validPort(port) {
		return "", bad
	}
	return strings.ToLower(raw), nil
}

func hostName(s string) bool {
	if s == "" {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 { // an empty last label is the trailing dot
			return false
		}
		for i := range len(label) {
			c := label[i]
			ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
			if !ok {
				return false
			}
		}
	}
	return true
}

// validPort reads ":" and 1 to 65535 without leading zeros.
func validPort(s string) bool {
	s = s[1:]
	if s == "" || len(s) > 5 || s[0] == '0' {
		return false
	}
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n <= 65535
}
