package web

import (
	"net/mail"
	"net/url"
	"regexp"
	"strings"
)

// safeLink reports whether a URL may stand behind a button or a refresh of our
// pages: a rooted path on this origin, or http(s) with a host. Whoever made the
// URL checked where it leads; this is the second lock, against script URLs and
// against characters that browsers drop or turn (tab, newline, backslash).
func safeLink(raw string) bool {
	if raw == "" || len(raw) > maxLink {
		return false
	}
	for i := range len(raw) {
		if c := raw[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '<' || c == '>' || c == '`' {
			return false
		}
	}
	before, _, _ := strings.Cut(raw, "#")
	before, _, _ = strings.Cut(before, "?")
	if strings.ContainsRune(before, '\\') {
		return false
	}
	u, err := url.Parse(raw)
	if err != nil || u.User != nil || u.Opaque != "" {
		return false
	}
	switch u.Scheme {
	case "http", "https":
		return u.Hostname() != ""
	case "":
		return strings.HasPrefix(raw, "/") && !strings.HasPrefix(raw, "//")
	default:
		return false
	}
}

// maxLink is room for a sealed hand-off code and a return path of 2 KiB.
const maxLink = 8 << 10

// contact turns the operator's support text into a link where it is one.
func contact(s string) string {
	if strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "http://") {
		if safeLink(s) {
			return s
		}
		return ""
	}
	if a, err := mail.ParseAddress(s); err == nil && a.Address == s {
		return (&url.URL{Scheme: "mailto", Opaque: url.PathEscape(s)}).String()
	}
	return ""
}

// cspHost is a host and port that mean nothing else in a policy: net/url lets a
// host hold ";" and ",", which would end the directive and begin another.
var cspHost = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,250}[A-Za-z0-9])?(:[0-9]{1,5})?$`)

// foreignOrigin is the origin of an absolute URL, as a policy names it, or "" if a
// form of ours must not go there.
func foreignOrigin(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || !safeLink(raw) || u.Scheme == "" || !cspHost.MatchString(u.Host) {
		return ""
	}
	return u.Scheme + "://" + u.Host
}
