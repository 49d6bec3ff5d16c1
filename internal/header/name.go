package header

import (
	"errors"
	"fmt"
	"strings"
)

// MaxLetters bounds the letters and digits of a name of ours: whoever compares names
// by them looks at as many.
const MaxLetters = 48

// Letters is a name as a careless reader may know it: its letters, in lower case, and
// digits. CGI and WSGI turn "-" into "_", some servers "." too (row H01).
func Letters(name string) string {
	var b strings.Builder
	for i := range len(name) {
		if c, ok := Letter(name[i]); ok {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// Letter is one byte of [Letters]; ok is false for one that is left out.
func Letter(c byte) (_ byte, ok bool) {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c, c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
}

// Token reports a token (RFC 9110 section 5.6.2), as header and cookie names are.
func Token(s string) bool {
	if s == "" || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`()<>@,;:\"/[]?={}`, c) >= 0 {
			return false
		}
	}
	return true
}

// CheckName reports why an identity header cannot have a name. The error is a clause
// about it.
func CheckName(name string) error {
	letters := Letters(name)
	switch {
	case !Token(name):
		return errors.New("is not a header name")
	case letters == "" || len(letters) > MaxLetters:
		return fmt.Errorf("needs 1 to %d letters and digits", MaxLetters)
	case taken(name, letters):
		return errors.New("already means something else")
	}
	return nil
}

// taken names what is about the connection, the message or the way it took. The gate,
// the application's server or both would misread the request, and the browser's own of
// that name would be lost.
func taken(name, letters string) bool {
	name = strings.ToLower(name)
	for _, prefix := range []string{"accept-", "content-", "sec-", "if-", "access-control-", "proxy-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	switch letters {
	case "host", "connection", "keepalive", "te", "trailer", "transferencoding", "upgrade", "http2settings", "expect", "proxy",
		"contentlength", "contenttype", "accept", "range", "origin", "referer", "useragent", "date", "via", "maxforwards", "cachecontrol", "pragma",
		"authorization", "proxyauthorization", "cookie", "setcookie", // these have keys of their own
		"forwarded", "xforwardedfor", "xforwardedhost", "xforwardedproto", "xforwardedport", "xforwardedby", "xforwardedserver",
		"xforwardedscheme", "xforwardedssl", "xforwardedprefix", "xforwardedpath", "xforwardeduri", "xforwardedmethod",
		"xoriginalurl", "xoriginaluri", "xoriginalhost", "xoriginalmethod", "xrewriteurl", "xurlscheme", "frontendhttps",
		"xhttpmethod", "xhttpmethodoverride", "xmethodoverride",
		"xrealip", "xclientip", "trueclientip", "xclusterclientip", "clientip", "cfconnectingip", "fastlyclientip", "xremoteip", "xremoteaddr", "remoteaddr":
		return true
	}
	return false
}

// CheckCookieName reports why an application cannot be told who asks by a cookie of
// this name.
func CheckCookieName(name string) error {
	letters := Letters(name)
	switch {
	case !Token(name) || name[0] == '$' || strings.ContainsAny(name, "%[") || letters == "" || len(letters) > MaxLetters:
		return errors.New("is not a cookie name")
	case strings.Contains(letters, "ssogate"):
		return errors.New("could be taken for a cookie of ssogate")
	}
	return nil
}
