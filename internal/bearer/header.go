package bearer

import (
	"net/http"
	"strings"
)

const scheme = "bearer"

// FromHeader reads the token of exactly one Authorization header: of two, another
// reader could take the other. A token is read from there only: a query ends up in
// logs and histories (RFC 6750 section 2.3). Longer ones than most are none.
func FromHeader(h http.Header, most int) (token string, ok bool) {
	values := h["Authorization"]
	if len(values) != 1 {
		return "", false
	}
	name, token, ok := strings.Cut(values[0], " ")
	token = strings.TrimSpace(token)
	if !ok || !strings.EqualFold(name, scheme) || token == "" || len(token) > most {
		return "", false
	}
	return token, true
}

// Presented reports whether a request tries to show a bearer token, well or badly:
// any of its Authorization headers names the scheme. Where it does, FromHeader
// decides and nothing else may.
func Presented(h http.Header) bool {
	for _, v := range h["Authorization"] {
		if len(v) >= len(scheme) && strings.EqualFold(v[:len(scheme)], scheme) && (len(v) == len(scheme) || !letter(v[len(scheme)])) {
			return true
		}
	}
	return false
}

// letter reports a byte that goes on with a scheme's name (RFC 9110 section 5.6.2):
// "BearerX" is another scheme, "Bearer\tx" and "Bearer,x" are meant for this one.
func letter(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
