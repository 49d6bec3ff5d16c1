package wire

import (
	"bytes"
	"encoding/binary"
	"net/http"

	"github.com/ssogate/ssogate/proxy/canonical"
)

func no(status int, why canonical.Reason) *canonical.Refusal {
	return &canonical.Refusal{Status: status, Reason: why}
}

// Refusals. The words are for logs.
var (
	errRequestLine    = no(http.StatusBadRequest, "request_line")
	errVersion        = no(http.StatusBadRequest, "version")
	errMethod         = no(http.StatusBadRequest, canonical.BadMethod)
	errTargetForm     = no(http.StatusBadRequest, canonical.AbsoluteForm)
	errTargetByte     = no(http.StatusBadRequest, canonical.BadByte)
	errTargetEscape   = no(http.StatusBadRequest, canonical.BadEscape)
	errTargetLong     = no(http.StatusRequestURITooLong, canonical.TooLong)
	errHeadLong       = no(http.StatusRequestHeaderFieldsTooLarge, "header_too_large")
	errLineEnd        = no(http.StatusBadRequest, "line_end")
	errFold           = no(http.StatusBadRequest, "header_fold")
	errName           = no(http.StatusBadRequest, "header_name")
	errAlias          = no(http.StatusBadRequest, "framing_alias")
	errValue          = no(http.StatusBadRequest, "header_value")
	errHost           = no(http.StatusBadRequest, canonical.BadHost)
	errHostMissing    = no(http.StatusBadRequest, "host_missing")
	errHostTwice      = no(http.StatusBadRequest, "host_twice")
	errLength         = no(http.StatusBadRequest, "content_length")
	errEncoding       = no(http.StatusBadRequest, "transfer_encoding")
	errConflict       = no(http.StatusBadRequest, "framing_conflict")
	errChunkSize      = no(http.StatusBadRequest, "chunk_size")
	errChunkExtension = no(http.StatusBadRequest, "chunk_extension")
	errChunkEnd       = no(http.StatusBadRequest, "chunk_end")
	errTrailer        = no(http.StatusBadRequest, "trailer")
)

// token are the bytes of methods and field names (RFC 9110 section 5.6.2).
var token = func() (t [256]bool) {
	for _, c := range []byte("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		t[c] = true
	}
	return t
}()

// hostByte are the bytes of names, ports and IPv6 addresses. canonical.Host reads what
// they say; here it matters that userinfo, lists and [RefusedHost] are none of it.
var hostByte = func() (t [256]bool) {
	for _, c := range []byte("-._:[]0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		t[c] = true
	}
	return t
}()

func allOf(t *[256]bool, b []byte) bool {
	for _, c := range b {
		if !t[c] {
			return false
		}
	}
	return true
}

// requestLine reads "METHOD /target HTTP/1.x" with single spaces (RFC 9112 section 3).
// HTTP/0.9 has no version, and "PRI * HTTP/2.0" another one.
func (s *scanner) requestLine(line []byte) *canonical.Refusal {
	sp := bytes.IndexByte(line, ' ')
	switch {
	case sp <= 0 || !allOf(&token, line[:sp]):
		return errRequestLine
	case sp > maxMethod:
		return errMethod
	}
	s.method = uint8(sp) //nolint:gosec // at most maxMethod
	rest := line[sp+1:]
	end := len(rest) - len(" HTTP/1.1")
	if end < 1 || rest[end] != ' ' {
		if bytes.LastIndex(rest, []byte(" HTTP/")) > 0 {
			return errVersion
		}
		return errRequestLine
	}
	switch string(rest[end+1:]) {
	case "HTTP/1.1":
		s.fields = 0
	case "HTTP/1.0":
		s.fields = oldVersion
	default:
		return errVersion
	}
	if rest[0] == ' ' {
		return errRequestLine
	}
	return target(rest[:end])
}

// target holds a request target to origin-form, and to what net/url can read: what it
// cannot, net/http would answer by itself. The rest is proxy/canonical's.
func target(t []byte) *canonical.Refusal {
	switch {
	case t[0] != '/':
		return errTargetForm
	case len(t) > canonical.MaxTarget:
		return errTargetLong
	}
	path := true
	for i, c := range t {
		switch {
		case c <= ' ' || c == 0x7f:
			return errTargetByte
		case c == '?':
			path = false
		case c == '%' && path && (i+2 >= len(t) || !isHex(t[i+1]) || !isHex(t[i+2])):
			return errTargetEscape
		}
	}
	return nil
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// field reads one field line of a head or trailer section (RFC 9112 section 5).
func (s *scanner) field(line []byte) *canonical.Refusal {
	if line[0] == ' ' || line[0] == '\t' {
		return errFold // section 5.2
	}
	colon := 0
	for colon < len(line) && token[line[colon]] {
		colon++
	}
	if colon == 0 || colon == len(line) || line[colon] != ':' {
		return errName // section 5.1: also a space before the colon
	}
	value := line[colon+1:]
	if !printable(value) {
		return errValue
	}
	switch name := framingName(line[:colon]); {
	case name == notFraming:
		return nil
	case name == aliasName:
		return errAlias
	case s.phase == trailer:
		return errTrailer // RFC 9110 section 6.5.1
	case name == hostName:
		return s.host(value)
	case name == lengthName:
		return s.length(value)
	case name == encodingName:
		return s.encoding(value)
	case name == upgradeName:
		if len(bytes.Trim(value, " \t")) > 0 {
			s.fields |= hasUpgrade
		}
		return nil
	default:
		return trailerNames(value)
	}
}

type name uint8

const (
	notFraming name = iota
	aliasName
	hostName
	trailerName
	lengthName
	encodingName
	upgradeName
)

// framingName finds the fields that decide where a request ends and whom it is for.
func framingName[T string | []byte](b T) name {
	switch len(b) {
	case len("host"):
		return sameName(b, "host", hostName)
	case len("trailer"): // and of "upgrade"
		if n := sameName(b, "trailer", trailerName); n != notFraming {
			return n
		}
		return sameName(b, "upgrade", upgradeName)
	case len("content-length"):
		return sameName(b, "content-length", lengthName)
	case len("transfer-encoding"):
		return sameName(b, "transfer-encoding", encodingName)
	}
	return notFraming
}

// FramingAlias reports a field that CGI and its heirs take for one of those, because
// they read "_" as "-".
func FramingAlias(field string) bool { return framingName(field) == aliasName }

// sameName compares without case. Any other byte that is no letter, in place of the
// hyphen, makes an alias.
func sameName[T string | []byte](b T, want string, is name) name {
	for i := range len(want) {
		c, w := b[i], want[i]
		switch {
		case c|0x20 == w && w != '-' || c == w:
		case w == '-' && !alnum(c):
			is = aliasName
		default:
			return notFraming
		}
	}
	return is
}

func alnum(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// tight takes the one space off that everybody writes. Other whitespace around a value
// that frames is legal, never sent by honest clients, and read differently (row T01).
func tight(v []byte) []byte {
	if len(v) > 0 && v[0] == ' ' {
		return v[1:]
	}
	return v
}

func (s *scanner) host(value []byte) *canonical.Refusal {
	value = tight(value)
	switch {
	case s.fields&hasHost != 0:
		return errHostTwice
	case len(value) == 0 || !allOf(&hostByte, value):
		return errHost
	}
	s.fields |= hasHost
	return nil
}

// length is digits alone: no sign, list, second line, leading zero, or number that some
// reader cannot hold.
func (s *scanner) length(value []byte) *canonical.Refusal {
	value = tight(value)
	if s.fields&hasLength != 0 || len(value) == 0 || len(value) > 18 || value[0] == '0' && len(value) > 1 {
		return errLength
	}
	n := uint64(0)
	for _, c := range value {
		if c < '0' || c > '9' {
			return errLength
		}
		n = n*10 + uint64(c-'0')
	}
	s.left = n
	s.fields |= hasLength
	return nil
}

// encoding is "chunked", once, and nothing else. Case may differ: codings have none
// (RFC 9112 section 7), and what is sent on is framed anew.
func (s *scanner) encoding(value []byte) *canonical.Refusal {
	value = tight(value)
	if s.fields&hasChunked != 0 || len(value) != len("chunked") {
		return errEncoding
	}
	for i, c := range value {
		if c|0x20 != "chunked"[i] {
			return errEncoding
		}
	}
	s.fields |= hasChunked
	return nil
}

// trailerNames refuses the announcement of what must not be a trailer.
func trailerNames(value []byte) *canonical.Refusal {
	for len(value) > 0 {
		item := value
		if i := bytes.IndexByte(value, ','); i >= 0 {
			item, value = value[:i], value[i+1:]
		} else {
			value = nil
		}
		if framingName(bytes.Trim(item, " \t")) != notFraming {
			return errTrailer
		}
	}
	return nil
}

const (
	each1  = 0x0101010101010101
	each80 = 0x8080808080808080
)

// printable reports a value without controls (RFC 9110 section 5.5): eight bytes at a
// time, because cookies are long. A tab makes it look closer.
func printable(v []byte) bool {
	if len(v) < 8 {
		return plain(v)
	}
	for i := 0; i < len(v); i += 8 {
		i = min(i, len(v)-8) // the last eight overlap
		x := binary.LittleEndian.Uint64(v[i:])
		low := (x - each1*0x20) & ^x
		del := x ^ each1*0x7f
		if (low|(del-each1)&^del)&each80 != 0 && !plain(v[i:i+8]) {
			return false
		}
	}
	return true
}

func plain(v []byte) bool {
	for _, c := range v {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
