package proxy

import (
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ssogate/ssogate/identity"
	"github.com/ssogate/ssogate/session"
)

// Limits of identity values. Longer ones are left out rather than cut: half a
// list of groups is another list, and applications answer 431 to large headers,
// which the person could never get rid of (row H05).
const (
	maxIdentityValue = 1 << 10
	maxGroupsValue   = 4 << 10
)

// managed reports whether the application must not see this client-sent header,
// under any spelling: CGI and WSGI turn "-" into "_", some servers "." too, so
// names are compared by letters and digits alone (row H01). Everything that
// starts with X-Forwarded is ours, also what does not exist yet.
func managed(name string) bool {
	var buf [40]byte
	n := letters(&buf, name)
	const forwarded = "xforwarded"
	if n >= len(forwarded) && string(buf[:len(forwarded)]) == forwarded {
		return true
	}
	switch string(buf[:n]) {
	case "forwarded", // RFC 7239: we do not vouch for what hops before us wrote
		// paths and hosts that frameworks prefer to the request line (row P05)
		"xoriginalurl", "xoriginaluri", "xoriginalhost", "xoriginalmethod", "xrewriteurl", "xurlscheme", "frontendhttps",
		// client addresses (row H03)
		"xrealip", "xclientip", "trueclientip", "xclusterclientip", "clientip", "cfconnectingip", "fastlyclientip", "xremoteip", "xremoteaddr", "remoteaddr",
		// CGI's HTTP_PROXY; hop-by-hop fields of upgrades and of HTTP/2
		"proxy", "http2settings", "proxyconnection", "trailer":
		return true
	}
	return personName(string(buf[:n]))
}

// namesPerson reports whether an application could take the header, under any
// spelling, for one that says who asks.
func namesPerson(name string) bool {
	var buf [40]byte
	return personName(string(buf[:letters(&buf, name)]))
}

// personName is namesPerson for the letters of a name.
func personName(letters string) bool {
	if strings.HasPrefix(letters, "xssogate") {
		return true
	}
	switch letters {
	case "xforwardeduser", "xforwardedpreferredusername", "xforwardedemail", "xforwardedgroups", "xforwardedname",
		// user names that legacy applications take from a front server
		"remoteuser", "xremoteuser", "authuser", "xauthuser", "xwebauthuser", "authenticateduser", "xauthenticateduser", "authtype":
		return true
	}
	return false
}

// letters writes the letters, in lower case, and digits of a name, as many as fit.
func letters(buf *[40]byte, name string) (n int) {
	for i := 0; i < len(name) && n < len(buf); i++ {
		c := name[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			buf[n] = c
			n++
		}
	}
	return n
}

// clientFacts is what the application may know of the connection (rows H03, H04):
// the address that internal/web decided, and the configured origin, never what
// the request says of itself.
func setClientFacts(h http.Header, st *site, client netip.Addr, vals []string) []string {
	if client.IsValid() {
		// Without the zone: it names an interface of this machine.
		vals = put(h, "X-Forwarded-For", client.WithZone("").String(), vals)
	}
	vals = put(h, "X-Forwarded-Host", st.host, vals)
	vals = put(h, "X-Forwarded-Proto", st.scheme, vals)
	return put(h, "X-Forwarded-Port", st.port, vals)
}

// setIdentity adds who asks. An empty value is an absent header (row H06), and
// nil (a public path) adds nothing.
func setIdentity(h http.Header, p *session.Principal, vals []string) {
	if p == nil {
		return
	}
	m := &p.Member // empty for a machine
	vals = put(h, identity.HeaderUser, encode(p.Subject(), ""), vals)
	vals = put(h, identity.HeaderPreferredUsername, encode(m.UserName, ""), vals)
	vals = put(h, identity.HeaderEmail, encode(m.Email, ""), vals)
	vals = put(h, identity.HeaderName, encode(m.DisplayName, ""), vals)
	put(h, identity.HeaderGroups, groups(p.Teams), vals)
}

// put adds one header from the slice that holds the values of all, so that a
// request costs one allocation instead of nine. An empty or oversize value adds none.
func put(h http.Header, key, value string, vals []string) []string {
	if value == "" {
		return vals
	}
	vals = append(vals, value)
	n := len(vals)
	h[key] = vals[n-1 : n : n]
	return vals
}

func groups(teams []string) string {
	switch len(teams) {
	case 0:
		return ""
	case 1:
		return encode(teams[0], ",")
	}
	var b strings.Builder
	for i, t := range teams {
		e := encode(t, ",")
		if e == "" {
			continue
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(e)
		if b.Len() > maxGroupsValue {
			return ""
		}
	}
	return strings.TrimPrefix(b.String(), ",")
}

// encode makes a value fit for a header (RFC 9110 section 5.5): printable ASCII
// stays, everything else is percent-encoded UTF-8, and so is "%" itself, so that
// decoding as in a URL always gives the value back, and a line break in a
// display name is %0D%0A rather than a second header (row H05). also names
// further bytes to encode. A value that gets too long is "".
func encode(s, also string) string {
	if len(s) > maxIdentityValue {
		return ""
	}
	plain := true
	for i := range len(s) {
		if !headerByte(s, i, also) {
			plain = false
			break
		}
	}
	if plain {
		return s
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\ufffd")
	}
	const hexDigits = "0123456789ABCDEF"
	b := make([]byte, 0, len(s)*3)
	for i := range len(s) {
		if headerByte(s, i, also) {
			b = append(b, s[i])
		} else {
			b = append(b, '%', hexDigits[s[i]>>4], hexDigits[s[i]&15])
		}
	}
	if len(b) > maxIdentityValue {
		return ""
	}
	return string(b)
}

// headerByte reports whether byte i of s may stand for itself. A space at either
// end would be trimmed by the reader, so it is encoded.
func headerByte(s string, i int, also string) bool {
	c := s[i]
	if c == ' ' {
		return i > 0 && i < len(s)-1
	}
	return c > ' ' && c < 0x7f && c != '%' && strings.IndexByte(also, c) < 0
}

// retryAfter is the Retry-After of every 503 of the gate: stores come back, or
// their failover ends, within seconds (fault 1).
const retryAfter = 5

func setRetryAfter(h http.Header) { h.Set("Retry-After", strconv.Itoa(retryAfter)) }
