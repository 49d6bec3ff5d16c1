package filter

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of one filter. They bound the work an unfinished or hostile filter
// can cause (C05) and, because the parser recurses only into parentheses and
// brackets, the stack: a stack overflow cannot be recovered in Go.
const (
	MaxBytes = 4096
	MaxDepth = 32
	MaxTerms = 200
)

// SyntaxError is a filter or path that cannot be read. SCIM answers it as 400
// invalidFilter (or invalidPath). Pos is a byte offset.
type SyntaxError struct {
	Pos int
	Msg string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("filter: position %d: %s", e.Pos, e.Msg)
}

// lexer walks the text once; every method advances pos and never looks back,
// so reading is linear in the length of the text.
type lexer struct {
	s       string
	pos     int
	lenient bool
}

func (l *lexer) errorf(pos int, format string, args ...any) error {
	return &SyntaxError{Pos: pos, Msg: fmt.Sprintf(format, args...)}
}

// check refuses what no part of the grammar could contain, before any of it is read.
func (l *lexer) check() error {
	switch {
	case len(l.s) > MaxBytes:
		return l.errorf(MaxBytes, "longer than %d bytes", MaxBytes)
	case !utf8.ValidString(l.s):
		return l.errorf(0, "not valid UTF-8")
	case strings.ContainsRune(l.s, 0):
		return l.errorf(strings.IndexByte(l.s, 0), "NUL character")
	}
	return nil
}

func (l *lexer) space() {
	for l.pos < len(l.s) && (l.s[l.pos] == ' ' || l.s[l.pos] == '\t') {
		l.pos++
	}
}

func (l *lexer) done() bool { return l.pos >= len(l.s) }

// peek is the next byte, or 0 at the end (check refused real NULs).
func (l *lexer) peek() byte {
	if l.done() {
		return 0
	}
	return l.s[l.pos]
}

// name reads the characters of attribute names and URNs. ':' and '.' are part
// of it because URNs contain both ("...:2.0:User:name.givenName"); split later.
func (l *lexer) name() string {
	start := l.pos
	for l.pos < len(l.s) && isNameByte(l.s[l.pos]) {
		l.pos++
	}
	return l.s[start:l.pos]
}

func isNameByte(c byte) bool {
	return isAlpha(c) || c >= '0' && c <= '9' || c == '-' || c == '_' || c == ':' || c == '.' || c == '$'
}

func isAlpha(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// keyword consumes word when it stands at pos as a whole word, in any case
// (RFC 7644 section 3.4.2.2: operators are case insensitive).
func (l *lexer) keyword(word string) bool {
	end := l.pos + len(word)
	if end > len(l.s) || !strings.EqualFold(l.s[l.pos:end], word) {
		return false
	}
	if end < len(l.s) && isNameByte(l.s[end]) {
		return false
	}
	l.pos = end
	return true
}

// value reads a comparison value: a JSON string, number, true, false or null.
// Lenient mode also takes a bare word: Microsoft's own examples send
// `userName sw O` and `meta.created gt 2015-01-01T00:00:00Z`.
func (l *lexer) value() (any, error) {
	start := l.pos
	if l.peek() == '"' {
		return l.str()
	}
	for l.pos < len(l.s) && !strings.ContainsRune(" \t()[]\"", rune(l.s[l.pos])) {
		l.pos++
	}
	word := l.s[start:l.pos]
	switch strings.ToLower(word) {
	case "":
		return nil, l.errorf(start, "expected a value")
	case "true":
		return true, nil
	case "false":
		return false, nil
	case "null":
		return nil, nil
	}
	if isNumber(word) {
		f, err := strconv.ParseFloat(word, 64)
		if err != nil || math.IsInf(f, 0) {
			return nil, l.errorf(start, "number out of range") // 1e400 (C06)
		}
		return f, nil
	}
	if l.lenient {
		return word, nil
	}
	return nil, l.errorf(start, "expected a quoted string, number, true, false or null")
}

// str reads a JSON string with all its escapes. Finding the end and unescaping
// are separate so that encoding/json's own rules decide what an escape means.
func (l *lexer) str() (string, error) {
	start := l.pos
	for i := start + 1; i < len(l.s); i++ {
		switch l.s[i] {
		case '\\':
			i++
		case '"':
			var out string
			if err := json.Unmarshal([]byte(l.s[start:i+1]), &out); err != nil {
				return "", l.errorf(start, "string is not valid JSON")
			}
			// PostgreSQL cannot store or compare NUL, so an escaped one could
			// only become a server error later.
			if strings.ContainsRune(out, 0) {
				return "", l.errorf(start, "NUL character")
			}
			l.pos = i + 1
			return out, nil
		}
	}
	return "", l.errorf(start, "unterminated string")
}

// isNumber is the number grammar of RFC 8259 section 6, without which
// strconv would also read "inf", "0x1p-2" and "1_000".
func isNumber(s string) bool {
	s = strings.TrimPrefix(s, "-")
	digits := func() bool {
		n := 0
		for n < len(s) && s[n] >= '0' && s[n] <= '9' {
			n++
		}
		ok := n > 0
		s = s[n:]
		return ok
	}
	leadingZero := strings.HasPrefix(s, "0")
	before := len(s)
	if !digits() || leadingZero && before-len(s) > 1 {
		return false
	}
	if strings.HasPrefix(s, ".") {
		s = s[1:]
		if !digits() {
			return false
		}
	}
	if s != "" && (s[0] == 'e' || s[0] == 'E') {
		s = s[1:]
		if s != "" && (s[0] == '+' || s[0] == '-') {
			s = s[1:]
		}
		if !digits() {
			return false
		}
	}
	return s == ""
}
