package h1

import (
	"encoding/binary"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// appendHead appends request line and header fields. Whatever could be read as
// something else than one request with these values is refused, before a
// connection is touched.
func appendHead(b []byte, req *http.Request, up *upload) ([]byte, error) {
	if req.URL == nil || req.URL.Scheme != "http" {
		return b, &RequestError{"scheme is not http"}
	}
	method := req.Method
	if method == "" {
		method = http.MethodGet
	}
	if !isToken(method) || method == http.MethodConnect {
		return b, &RequestError{"method"}
	}
	if len(req.Trailer) > 0 {
		return b, &RequestError{"trailers are not supported"}
	}
	b = append(b, method...)
	b = append(b, ' ')
	b, err := appendTarget(b, req)
	if err != nil {
		return b, err
	}
	b = append(b, " HTTP/1.1\r\nHost: "...)
	if b, err = appendHost(b, req); err != nil {
		return b, err
	}
	b = append(b, "\r\n"...)
	if b, err = appendFraming(b, req, method, up); err != nil {
		return b, err
	}
	for name, values := range req.Header {
		if b, err = appendField(b, name, values); err != nil {
			return b, err
		}
	}
	return append(b, "\r\n"...), nil
}

// appendTarget writes the bytes of the target as they are. url.URL.RequestURI
// would turn an Opaque that begins with two slashes into an absolute form, and
// so name another host.
func appendTarget(b []byte, req *http.Request) ([]byte, error) {
	u, start := req.URL, len(b)
	switch {
	case u.Opaque != "":
		b = append(b, u.Opaque...)
	case u.Path == "":
		b = append(b, '/')
	default:
		b = append(b, u.EscapedPath()...)
	}
	if u.ForceQuery || u.RawQuery != "" {
		b = append(b, '?')
		b = append(b, u.RawQuery...)
	}
	for _, c := range b[start:] {
		// A space ends the target for whoever reads the line (RFC 9112 section 3.2).
		if c <= ' ' || c == 0x7f {
			return b, &RequestError{"space or control character in the target"}
		}
	}
	return b, nil
}

func appendHost(b []byte, req *http.Request) ([]byte, error) {
	host := req.Host
	if host == "" {
		host = req.URL.Host
	}
	if host == "" {
		return b, &RequestError{"no host"}
	}
	// http.Transport sends an empty Host instead; no application expects that.
	if !httpguts.ValidHostHeader(host) {
		return b, &RequestError{"host"}
	}
	// A zone is of this machine only (RFC 6874 section 4).
	if host[0] == '[' {
		if end := strings.LastIndexByte(host, ']'); end > 0 {
			if zone := strings.LastIndexByte(host[:end], '%'); zone > 0 {
				b = append(b, host[:zone]...)
				return append(b, host[end:]...), nil
			}
		}
	}
	return append(b, host...), nil
}

func appendFraming(b []byte, req *http.Request, method string, up *upload) ([]byte, error) {
	if req.Close && !httpguts.HeaderValuesContainsToken(req.Header["Connection"], "close") {
		b = append(b, "Connection: close\r\n"...)
	}
	switch {
	case up == nil && req.ContentLength > 0:
		return b, &RequestError{"a length without a body"}
	case up == nil:
		// Many servers want a length with these (RFC 9110 section 8.6).
		if method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch {
			b = append(b, "Content-Length: 0\r\n"...)
		}
	case up.length < 0:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	default:
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, up.length, 10)
		b = append(b, "\r\n"...)
	}
	return b, nil
}

// appendField writes one field. What appendFraming and appendHost decide about is
// left out under any spelling: the map is written as it is, and a key that is not
// canonical would otherwise bring a second length.
func appendField(b []byte, name string, values []string) ([]byte, error) {
	switch len(name) {
	case 4, 7, 14, 17:
		if strings.EqualFold(name, "Host") || strings.EqualFold(name, "Trailer") ||
			strings.EqualFold(name, "Content-Length") || strings.EqualFold(name, "Transfer-Encoding") {
			return b, nil
		}
	case 10:
		// An empty one means none; see httputil.ReverseProxy.
		if name == "User-Agent" {
			if len(values) == 0 || values[0] == "" {
				return b, nil
			}
			values = values[:1]
		}
	}
	if !isToken(name) {
		return b, &RequestError{"header name"}
	}
	for _, v := range values {
		b = append(b, name...)
		b = append(b, ": "...)
		start := len(b)
		b = append(b, trim(v)...)
		if !printable(b[start:]) {
			return b, &RequestError{"control character in the value of " + name}
		}
		b = append(b, "\r\n"...)
	}
	return b, nil
}

// trim cuts optional white space off (RFC 9110 section 5.6.3).
func trim(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// Words of eight bytes, for printable.
const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// printable reports that there is no control character other than a tab
// (RFC 9110 section 5.5): CR and LF would begin another field, and some
// applications stop at a NUL. Eight bytes at a time, because every value of every
// request and response passes here.
func printable(b []byte) bool {
	for len(b) >= 8 {
		w := binary.LittleEndian.Uint64(b)
		del := w ^ ones*0x7f
		if ((w-ones*0x20)&^w|(del-ones)&^del)&highs != 0 && !printableSlow(b[:8]) {
			return false
		}
		b = b[8:]
	}
	return printableSlow(b)
}

func printableSlow(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// tchar are the bytes of a token (RFC 9110 section 5.6.2).
var tchar = func() (t [256]bool) {
	for c := range 256 {
		t[c] = c > ' ' && c < 0x7f && !strings.ContainsRune("\"(),/:;<=>?@[\\]{}", rune(c))
	}
	return t
}()

func isToken(s string) bool {
	for i := range len(s) {
		if !tchar[s[i]] {
			return false
		}
	}
	return s != ""
}
