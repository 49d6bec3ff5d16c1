package canonical

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// ReservedPrefix is the only part of an app origin that ssogate serves itself.
const ReservedPrefix = "/.sso/"

// Reserved reports whether the path is ssogate's own: exactly the prefix, and one
// reading of what follows.
func (q Request) Reserved() bool {
	return q.lenient == nil && strings.HasPrefix(q.Path, ReservedPrefix)
}

// NearReserved reports whether the path is not ours but some server, file
// system or person could take it for ours: another case, a full-width letter, a
// trailing dot or space, or the prefix without its slash. Nobody serves those
// (row P06): an application that did could imitate our pages.
func (q Request) NearReserved() bool {
	if q.Reserved() {
		return false
	}
	if q.lenient != nil && slices.ContainsFunc(q.lenient.also, nearReserved) {
		return true
	}
	return nearReserved(q.Match)
}

func nearReserved(path string) bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if len(first) > 64 {
		return false
	}
	return Fold(first) == ".sso"
}

// Fold brings the spellings of a path segment together that case-insensitive,
// normalising or Windows-like servers take for one: NFKC, case, invisible
// characters, and trailing dots and spaces. For comparing only, never to forward.
func Fold(seg string) string {
	plain := true
	for i := range len(seg) {
		c := seg[i]
		if c >= 0x80 || c >= 'A' && c <= 'Z' {
			plain = false
			break
		}
	}
	if !plain {
		seg = strings.Map(func(r rune) rune {
			if unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Mn, r) || unicode.IsControl(r) {
				return -1
			}
			return simplest(r)
		}, norm.NFKC.String(seg))
	}
	return strings.TrimRight(seg, ". \u00a0")
}

// simplest is the smallest rune of r's case orbit, lower case for ASCII: it
// brings s, S and the long s together, as Unicode-aware servers do.
func simplest(r rune) rune {
	low := r
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		low = min(low, f)
	}
	return unicode.ToLower(low)
}
