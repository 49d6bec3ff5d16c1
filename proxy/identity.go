package proxy

import (
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/ssogate/ssogate/internal/header"
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
	var buf [maxLetters]byte
	return managedLetters(buf[:letters(&buf, name)])
}

func managedLetters(b []byte) bool {
	const forwarded = "xforwarded"
	if len(b) >= len(forwarded) && string(b[:len(forwarded)]) == forwarded {
		return true
	}
	switch string(b) {
	case "forwarded", // RFC 7239: we do not vouch for what hops before us wrote
		// paths and hosts that frameworks prefer to the request line (row P05)
		"xoriginalurl", "xoriginaluri", "xoriginalhost", "xoriginalmethod", "xrewriteurl", "xurlscheme", "frontendhttps",
		// client addresses (row H03)
		"xrealip", "xclientip", "trueclientip", "xclusterclientip", "clientip", "cfconnectingip", "fastlyclientip", "xremoteip", "xremoteaddr", "remoteaddr",
		// CGI's HTTP_PROXY; hop-by-hop fields of upgrades and of HTTP/2
		"proxy", "http2settings", "proxyconnection", "trailer":
		return true
	}
	return personName(string(b))
}

// namesPerson reports whether an application could take the header, under any
// spelling, for one that says who asks.
func namesPerson(name string) bool {
	var buf [maxLetters]byte
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

// maxLetters is how many letters of a name are looked at: more than any name has that
// may be configured.
const maxLetters = header.MaxLetters + 16

// letters is [header.Letters] without an allocation, as many as fit.
func letters(buf *[maxLetters]byte, name string) (n int) {
	for i := 0; i < len(name) && n < len(buf); i++ {
		if c, ok := header.Letter(name[i]); ok {
			buf[n] = c
			n++
		}
	}
	return n
}

// setClientFacts says what the application may know of the connection (rows H03, H04):
// the address that internal/web decided, and the configured origin, never what
// the request says of itself.
func setClientFacts(h http.Header, st *site, client netip.Addr) {
	vals := make([]string, 0, 4)
	if client.IsValid() {
		// Without the zone: it names an interface of this machine.
		vals = put(h, "X-Forwarded-For", client.WithZone("").String(), vals)
	}
	vals = put(h, "X-Forwarded-Host", st.host, vals)
	vals = put(h, "X-Forwarded-Proto", st.scheme, vals)
	put(h, "X-Forwarded-Port", st.port, vals)
}

// put adds one header from the slice that holds the values of all, so that a
// request costs one allocation instead of four. An empty or oversize value adds none.
func put(h http.Header, key, value string, vals []string) []string {
	if value == "" {
		return vals
	}
	vals = append(vals, value)
	n := len(vals)
	h[key] = vals[n-1 : n : n]
	return vals
}

// retryAfter is the Retry-After of every 503 of the gate: stores come back, or
// their failover ends, within seconds (fault 1).
const retryAfter = 5

func setRetryAfter(h http.Header) { h.Set("Retry-After", strconv.Itoa(retryAfter)) }
