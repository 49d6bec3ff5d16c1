package web

import (
	"net/url"
	"strings"
)

// FormPath is the page of an app origin on which a form waits that met a session that
// had run out.
const FormPath = "/.sso/form"

// Limits of a return path: path with query, and fragment, each for itself, so
// that a long fragment never costs the path.
const (
	maxReturn   = 2 << 10
	maxFragment = 1 << 10
)

// SafeReturn answers raw when it is a path (with query and fragment) that every
// browser resolves to this very origin, and "/" otherwise (R01). It is one
// reading, not a repair: what is not plainly safe is not fixed but dropped.
//
// The rules follow the URL standard of browsers (WHATWG), which differs from
// RFC 3986 where open redirects live: a backslash is a slash, tab and newline
// vanish wherever they stand, leading controls and spaces are stripped, and
// "//" or "/\" starts a host. Paths that the gate would refuse anyway (dot
// segments, "//", encoded slashes and controls) and paths under the reserved
// prefix /.sso/ are dropped too, but for [FormPath], which only asks: a sign-in must
// not end on an error or on an action (R02).
func SafeReturn(raw string) string {
	if raw == FormPath {
		return raw
	}
	rest, fragment, _ := strings.Cut(raw, "#")
	if len(rest) > maxReturn || len(fragment) > maxFragment || !printable(rest) || !printable(fragment) {
		return "/"
	}
	path, _, _ := strings.Cut(rest, "?")
	if !safePath(path) {
		return "/"
	}
	return raw
}

// SafeGatewayReturn is [SafeReturn] for the gateway's own origin, where most
// paths are steps of a protocol or actions. Only pages a person may rest on
// pass: /me and /settings with everything below; all else is fallback.
func SafeGatewayReturn(raw, fallback string) string {
	if SafeReturn(raw) != raw {
		return fallback
	}
	path, _, _ := strings.Cut(raw, "#")
	path, _, _ = strings.Cut(path, "?")
	for _, page := range []string{"/me", "/settings"} {
		if path == page || strings.HasPrefix(path, page+"/") {
			return raw
		}
	}
	return fallback
}

// SafeFragment answers raw, with or without its "#", as a fragment that may be
// appended after "#", or "" if it is none: printable ASCII without the
// characters a browser would have encoded, at most 1 KiB.
func SafeFragment(raw string) string {
	raw = strings.TrimPrefix(raw, "#")
	if len(raw) > maxFragment || !printable(raw) {
		return ""
	}
	return raw
}

// printable: a browser sends URLs as ASCII with everything else percent-encoded.
// Raw controls, spaces, quotes and non-ASCII (full-width slashes) come only
// from somebody who hopes that two parsers disagree.
func printable(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '<' || c == '>' || c == '`' {
			return false
		}
	}
	return true
}

func safePath(path string) bool {
	if !strings.HasPrefix(path, "/") {
		return false
	}
	plain, err := url.PathUnescape(path)
	if err != nil {
		return false
	}
	// Decoding must not bring forth anything that could have been structure:
	// compare the slashes, and look for controls and backslashes.
	if strings.Count(plain, "/") != strings.Count(path, "/") || strings.ContainsRune(plain, '\\') {
		return false
	}
	for i := range len(plain) {
		if plain[i] < ' ' || plain[i] == 0x7f {
			return false
		}
	}
	segments := strings.Split(plain[1:], "/")
	for i, s := range segments {
		// "..;x" is ".." to Java servers, which cut path parameters first.
		name, _, params := strings.Cut(s, ";")
		last := i == len(segments)-1
		if name == "." || name == ".." || name == "" && (params || !last) {
			return false
		}
	}
	first, _, _ := strings.Cut(segments[0], ";")
	return !strings.EqualFold(first, ".sso")
}
