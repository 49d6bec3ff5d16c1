package proxy

import (
	"net/http"
	"strings"
)

// stripCookies removes our cookies from the Cookie lines and leaves every other
// byte where it was: legacy applications depend on order, on odd quoting and on
// separators without a space (rows H07, K03). ours judges a cookie name.
func stripCookies(h http.Header, ours func(string) bool) {
	lines := h["Cookie"]
	var kept []string // nil until a line changes: the header's slice may be shared
	for i, line := range lines {
		out := stripCookieLine(line, ours)
		if kept == nil && out == line {
			continue
		}
		if kept == nil {
			kept = append(make([]string, 0, len(lines)), lines[:i]...)
		}
		if out != "" {
			kept = append(kept, out)
		}
	}
	switch {
	case kept == nil:
	case len(kept) == 0:
		delete(h, "Cookie")
	default:
		h["Cookie"] = kept
	}
}

func stripCookieLine(line string, ours func(string) bool) string {
	// What stays is mostly one piece of the line, or two, with ours between.
	var few [4]piece
	pieces, found, gap := few[:0], false, true
	for at := 0; at <= len(line); {
		end := len(line)
		if i := strings.IndexByte(line[at:], ';'); i >= 0 {
			end = at + i
		}
		switch {
		case looksOurs(line[at:end], ours):
			found, gap = true, true
		case gap:
			pieces, gap = append(pieces, piece{at, end}), false
		default:
			pieces[len(pieces)-1].end = end
		}
		at = end + 1
	}
	switch {
	case !found:
		return line
	case len(pieces) == 0:
		return ""
	case len(pieces) == 1: // no new string is made
		return strings.TrimLeft(line[pieces[0].start:pieces[0].end], " \t")
	}
	var b strings.Builder
	b.Grow(len(line))
	for i, p := range pieces {
		if i == 0 {
			b.WriteString(strings.TrimLeft(line[p.start:p.end], " \t"))
			continue
		}
		b.WriteByte(';')
		b.WriteString(line[p.start:p.end])
	}
	return b.String()
}

// piece of a line, without what it is separated by.
type piece struct{ start, end int }

// looksOurs judges "name=value" by what any parser could take for its name:
// white space of every alphabet, quotes, "$" and letter case are looked through.
// A cookie without a name is sent as its bare value, so that "=x=1" reaches us
// as "x=1": then the value is judged.
func looksOurs(pair string, ours func(string) bool) bool {
	for range 4 { // "==x=1" nests; deeper is nobody's cookie
		name, rest, more := strings.Cut(pair, "=")
		if ours(foldCookieName(name)) {
			return true
		}
		if !more || strings.TrimFunc(name, notCookieName) != "" {
			return false
		}
		pair = rest
	}
	return true
}

// foldCookieName drops every byte that is not part of a plausible name.
func foldCookieName(name string) string {
	name = strings.Trim(name, " \t")
	for i := range len(name) {
		if !cookieNameByte(name[i]) {
			return strings.Map(func(r rune) rune {
				if notCookieName(r) {
					return -1
				}
				return r
			}, name)
		}
	}
	return name
}

func notCookieName(r rune) bool { return r >= 0x80 || !cookieNameByte(byte(r)) } //nolint:gosec // below 0x80

func cookieNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
}

// stripSetCookies removes what would set one of our cookies: the application is
// trusted with its own state only, and a session of the attacker's choice in a
// victim's browser is a login CSRF (row K01).
func stripSetCookies(h http.Header, ours func(string) bool) {
	lines := h["Set-Cookie"]
	for i, line := range lines {
		if !setsOurs(line, ours) {
			continue
		}
		kept := append(make([]string, 0, len(lines)), lines[:i]...)
		for _, l := range lines[i+1:] {
			if !setsOurs(l, ours) {
				kept = append(kept, l)
			}
		}
		if len(kept) == 0 {
			delete(h, "Set-Cookie")
		} else {
			h["Set-Cookie"] = kept
		}
		return
	}
}

func setsOurs(line string, ours func(string) bool) bool {
	pair, _, _ := strings.Cut(line, ";")
	return looksOurs(pair, ours)
}

// cookieCount counts pairs, for a limit before anything parses them (row T06).
func cookieCount(h http.Header) int {
	n := 0
	for _, line := range h["Cookie"] {
		n += 1 + strings.Count(line, ";")
	}
	return n
}
