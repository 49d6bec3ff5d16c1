package canonical

import (
	"net/http"
	"strings"
	"unicode/utf8"
)

// Limits of a request target. Longer ones are 414: no application behind a
// sign-in needs them, and every later step is linear in their length.
const (
	MaxTarget = 16 << 10
	MaxPath   = 4 << 10
)

// Request is one request read once. Everything later (route, policy, identity,
// forwarding) reads this value and never http.Request.URL. Immutable.
type Request struct {
	Method string
	Host   string // lower case, with the port if one was sent
	Path   string // exactly as sent: what is forwarded
	Match  string // Path decoded once: what rules are compared with
	Query  string // exactly as sent, without the "?"
	Asked  bool   // a "?" was sent, even with nothing behind it

	lenient *lenient // nil: Match is the only reading of Path
}

// Target is the request target byte for byte as it was sent.
func (q Request) Target() string {
	if !q.Asked {
		return q.Path
	}
	return q.Path + "?" + q.Query
}

// Reason is why a request has no canonical reading. A fixed word, fit for logs.
type Reason string

// Reasons. The zero value is unexplained, and still a refusal.
const (
	BadMethod     Reason = "method"
	BadHost       Reason = "host_syntax"
	AbsoluteForm  Reason = "target_form"
	TooLong       Reason = "target_too_long"
	BadByte       Reason = "target_byte"
	BadEscape     Reason = "target_escape"
	HiddenByte    Reason = "target_hidden_delimiter" // an escape that stands for a delimiter, dot or control
	NeedlessEsc   Reason = "target_needless_escape"
	DoubleEscape  Reason = "target_double_escape"
	NotUTF8       Reason = "target_not_utf8"
	DotSegment    Reason = "target_dot_segment"
	EmptySegment  Reason = "target_empty_segment"
	PathParameter Reason = "target_path_parameter"
)

// Refusal is the error of [Parse] and [ParseTarget]: an answer, not a fault.
type Refusal struct { //nolint:errname // an answer, named like member.Refusal
	Status int // 400, 405 or 414
	Reason Reason
}

func (r *Refusal) Error() string { return "canonical: refused: " + string(r.Reason) }

func refuse(status int, why Reason) error { return &Refusal{Status: status, Reason: why} }

// Methods are the methods that pass where a route names none, for the Allow header of
// a 405.
const Methods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

// KnownMethod reports whether a method is one of [Methods].
func KnownMethod(m string) bool {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return true
	}
	return false
}

// maxMethod is longer than any registered one.
const maxMethod = 24

// MethodName reports whether a method may pass where a route names it. TRACE would echo
// our headers to a script, CONNECT would open a tunnel, and lower case is another method
// by RFC 9110 section 9.1 but the same one to some servers (row P08): never these.
func MethodName(m string) bool {
	switch m {
	case http.MethodTrace, http.MethodConnect, "TRACK", "PRI", "":
		return false
	}
	for i := range len(m) {
		if c := m[i]; (c < 'A' || c > 'Z') && (c != '-' || i == 0) {
			return false
		}
	}
	return len(m) <= maxMethod
}

// Parse reads r. The error is always a *[Refusal]. It reads r.RequestURI, the
// only place where net/http keeps the bytes that came over the wire.
//
// It lets pass what only some route allows: a method that is not a [KnownMethod], and
// what [Request.Used] says. Whoever has found the route refuses what that one does not.
func Parse(r *http.Request) (Request, error) {
	return ParseParts(r.Method, r.Host, r.RequestURI)
}

// ParseParts is [Parse] of a request that nobody has sent.
func ParseParts(method, rawHost, target string) (Request, error) {
	if !MethodName(method) {
		return Request{}, refuse(http.StatusMethodNotAllowed, BadMethod)
	}
	host, err := Host(rawHost)
	if err != nil {
		return Request{}, err
	}
	q, err := parseTarget(target, allLeniencies)
	if err != nil {
		return Request{}, err
	}
	q.Method, q.Host = method, host
	return q, nil
}

// ParseTarget reads a request target in origin-form (RFC 9112 section 3.2.1).
// Method and Host of the result are empty. The error is always a *[Refusal].
//
// Absolute-form is refused although RFC 9112 section 3.2.2 lets servers accept
// it: net/http then answers the target's authority as r.Host and forgets the
// Host header, so that two names could not be compared (row P04).
func ParseTarget(target string) (Request, error) { return parseTarget(target, 0) }

func parseTarget(target string, allow Leniency) (Request, error) {
	if len(target) > MaxTarget {
		return Request{}, refuse(http.StatusRequestURITooLong, TooLong)
	}
	if target == "" || target[0] != '/' {
		return Request{}, refuse(http.StatusBadRequest, AbsoluteForm)
	}
	q := Request{Path: target}
	for i := range len(target) {
		c := target[i]
		if c <= ' ' || c >= 0x7f || c == '#' {
			// A fragment is never sent by a browser; some servers cut the path at it (P02).
			return Request{}, refuse(http.StatusBadRequest, BadByte)
		}
		if c == '?' && !q.Asked {
			q.Path, q.Query, q.Asked = target[:i], target[i+1:], true
		}
	}
	if len(q.Path) > MaxPath {
		return Request{}, refuse(http.StatusRequestURITooLong, TooLong)
	}
	match, used, err := decodePath(q.Path, allow, false)
	if err != nil {
		return Request{}, err
	}
	if err := checkSegments(match, &used); err != nil {
		return Request{}, err
	}
	if no := (used &^ allow).Refusal(); no != nil {
		return Request{}, no
	}
	q.Match = match
	if used == 0 {
		return q, nil
	}
	return q.withReadings(match, used)
}

// decodePath decodes once, and refuses every escape that a second reader could
// decode into something with a meaning. Escapes that stay are marks in the answer; or,
// where keep says so, needless ones as they are.
func decodePath(path string, allow Leniency, keep bool) (_ string, used Leniency, _ error) {
	var out []byte // nil until the first escape: the common path is not copied
	for i := 0; i < len(path); i++ {
		c := path[i]
		switch c {
		case ';':
			used |= PathParameters
		case '"', '<', '>', '\\', '^', '`', '{', '}':
			return "", 0, refuse(http.StatusBadRequest, BadByte)
		case '%':
			d, took, err := escape(path[i:], allow)
			if err != nil {
				return "", 0, err
			}
			used |= took
			if out == nil {
				out = append(make([]byte, 0, len(path)), path[:i]...)
			}
			if keep && took == NeedlessEscapes {
				out = append(out, path[i:i+3]...)
			} else {
				out = append(out, d)
			}
			i += 2
			continue
		}
		if out != nil {
			out = append(out, c)
		}
	}
	if out == nil {
		return path, used, nil
	}
	// Overlong forms (%c0%af for a slash) and surrogates are not valid UTF-8 to
	// Go, but are characters to lenient decoders.
	if !utf8.Valid(out) {
		return "", 0, refuse(http.StatusBadRequest, NotUTF8)
	}
	if used&NeedlessEscapes != 0 && !keep && escaped(out) {
		return "", 0, refuse(http.StatusBadRequest, DoubleEscape) // put together from escapes
	}
	// C1 controls and the line separators end a line for some log and header writers.
	for _, r := range string(out) {
		if r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 {
			return "", 0, refuse(http.StatusBadRequest, HiddenByte)
		}
	}
	return string(out), used, nil
}

// escaped reports an escape in what should have none left.
func escaped(b []byte) bool {
	for i := range len(b) - 2 {
		if b[i] == '%' && isHex(b[i+1]) && isHex(b[i+2]) {
			return true
		}
	}
	return false
}

// escape decodes the percent escape that s starts with.
func escape(s string, allow Leniency) (byte, Leniency, error) {
	if len(s) < 3 || !isHex(s[1]) || !isHex(s[2]) {
		return 0, 0, refuse(http.StatusBadRequest, BadEscape)
	}
	d := unhex(s[1])<<4 | unhex(s[2])
	switch {
	case d == '/' && allow&EncodedSlash != 0:
		return slashMark[0], EncodedSlash, nil
	case d == ';' && allow&PathParameters != 0:
		return semicolonMark[0], PathParameters, nil
	case d < ' ' || d == 0x7f || d == '/' || d == '\\' || d == '.' || d == ';':
		return 0, 0, refuse(http.StatusBadRequest, HiddenByte)
	case d >= '0' && d <= '9' || d >= 'a' && d <= 'z' || d >= 'A' && d <= 'Z':
		// RFC 3986 section 6.2.2.2: these need no escape, and nobody honest writes
		// one. ("-", "_" and "~" are tolerated: old URL encoders escape them, and
		// rules are compared with the decoded path.)
		return d, NeedlessEscapes, nil
	case d == '%' && len(s) >= 5 && isHex(s[3]) && isHex(s[4]):
		return 0, 0, refuse(http.StatusBadRequest, DoubleEscape)
	}
	return d, 0, nil
}

// checkSegments refuses what servers merge or resolve. It looks at the decoded
// path; an encoded dot or slash was refused before.
func checkSegments(path string, used *Leniency) error {
	start := 1
	for i := 1; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			continue
		}
		switch seg := path[start:i]; {
		case seg == "" && i < len(path):
			*used |= EmptySegments // "//" (one slash at the end is a directory)
		case isDots(seg):
			return refuse(http.StatusBadRequest, DotSegment)
		}
		start = i + 1
	}
	return nil
}

// isDots says whether some reader takes seg for "." or "..": the plain forms;
// one before an encoded "#" or "?", at which a reader that decodes first cuts
// the path; and one among spaces, which Windows drops.
func isDots(seg string) bool {
	if cut := strings.IndexAny(seg, "#?"); cut >= 0 {
		seg = seg[:cut]
	}
	seg = strings.Trim(seg, " ")
	return seg == "." || seg == ".."
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c >= 'a':
		return c - 'a' + 10
	default:
		return c - 'A' + 10
	}
}
