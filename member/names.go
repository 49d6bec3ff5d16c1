package member

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// FoldUserName is the form in which user names (and e-mail addresses) are
// compared: NFKC, then full Unicode case folding, without surrounding space.
// Equal after folding means the same name. The Kelvin sign and full-width
// letters fold to their plain letters; a dotless i does not (see [UserNameKey]).
func FoldUserName(s string) string {
	s = strings.TrimSpace(s)
	if isASCII(s) {
		return strings.ToLower(s)
	}
	fold := cases.Fold()
	// Folding can undo normalisation and the reverse. Two rounds reach the
	// fixed point for all of Unicode; the bound is for what comes later.
	for range 4 {
		next := strings.TrimSpace(norm.NFKC.String(fold.String(norm.NFKC.String(s))))
		if next == s {
			break
		}
		s = next
	}
	return s
}

// UserNameKey is coarser than [FoldUserName]: names that people, or an
// application behind the gateway, may take for one another have the same key,
// and the key is unique. It decides only whether a name is still free. It is
// never used to find a member: a lookalike is refused, not merged (row C03).
func UserNameKey(s string) string {
	f := FoldUserName(s)
	var b strings.Builder
	b.Grow(len(f))
	var last rune
	for _, r := range f {
		if invisible(r) || unicode.IsSpace(r) || unicode.IsControl(r) {
			continue
		}
		if r == 0x0307 && last == 'i' {
			continue // folded capital I with dot above
		}
		if plain, ok := lookalike(r); ok {
			r = plain
		}
		b.WriteRune(r)
		last = r
	}
	parts := strings.Split(b.String(), "@")
	for i := range parts {
		// "corp.example." and "corp.example" are one domain to DNS.
		parts[i] = strings.TrimRight(parts[i], ".")
	}
	return strings.Join(parts, "@")
}

// invisible reports characters without a glyph of their own: zero-width,
// direction marks, fillers, variation selectors and tags.
func invisible(r rune) bool {
	switch r {
	case 0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0:
		return true
	}
	return unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// lookalike maps lower-case letters and signs that common fonts draw like a
// Latin one. Not all of Unicode's confusables: those reachable by an ordinary
// keyboard of another script, which is what has been used against sign-in.
func lookalike(r rune) (rune, bool) {
	const from = "ıȷɑɡаеорсхуіјѕԁһԛԝօοαινρυ" + "‐‒–—―−" + "’ʼ" + "。"
	const to = "ijagaeopcxyijsdhqwooaivpu" + "------" + "''" + "."
	if i := strings.IndexRune(from, r); i >= 0 {
		return rune(to[utf8.RuneCountInString(from[:i])]), true
	}
	return r, false
}

// Limits of what a member or team may hold. Longer values are refused where a
// machine sends them (SCIM) and cut where a person's IdP says them at sign-in.
const (
	MaxUserName   = 256       // bytes
	MaxLabel      = 256       // characters of a name
	MaxEmail      = 320       // bytes, RFC 5321 section 4.5.3.1
	MaxExternalID = 512       // bytes
	MaxSubject    = 1024      // bytes of a part of an Identity; SAML core 8.3.7 allows 256
	MaxDocument   = 256 << 10 // bytes

	MaxSessionIndex = 1024 // bytes of a provider's name for its own session
)

// InvalidError refuses a value that can never be stored. Nothing was applied.
type InvalidError struct {
	Field  string // "userName", "displayName", ...
	Reason string // in plain words
}

func (e *InvalidError) Error() string { return "member: " + e.Field + " " + e.Reason }

// checkUserName refuses names that cannot be told from another by looking.
func checkUserName(s string) error {
	bad := func(why string) error { return &InvalidError{"userName", why} }
	switch {
	case !utf8.ValidString(s):
		return bad("is not valid UTF-8")
	case len(s) > MaxUserName:
		return bad("is longer than 256 bytes")
	case UserNameKey(s) == "":
		return bad("is empty")
	case s != strings.TrimSpace(s):
		return bad("begins or ends with a space")
	case strings.HasSuffix(FoldUserName(s), "."):
		return bad("ends with a dot")
	}
	var run scripts
	for _, r := range s {
		switch {
		case unicode.IsControl(r), r == utf8.RuneError, unicode.In(r, unicode.Co, unicode.Cs, unicode.Zl, unicode.Zp, unicode.Noncharacter_Code_Point):
			return bad("contains a control or private character")
		case invisible(r):
			return bad("contains an invisible character")
		case unicode.IsSpace(r) && r != ' ':
			return bad("contains an unusual space")
		}
		if run.add(r); run.mixed() {
			return bad("mixes alphabets that look alike within a word")
		}
	}
	return nil
}

// scripts collects the alphabets of one run of letters. Only those that are
// drawn alike count: Latin beside Han or Kana is ordinary Japanese.
type scripts struct{ latin, other bool }

func (s *scripts) add(r rune) {
	switch {
	case !unicode.IsLetter(r) && !unicode.IsMark(r):
		*s = scripts{} // "иван@corp.example" is two words, each in one alphabet
	case unicode.Is(unicode.Latin, r):
		s.latin = true
	case unicode.In(r, unicode.Cyrillic, unicode.Greek, unicode.Armenian, unicode.Cherokee, unicode.Coptic, unicode.Lisu):
		s.other = true
	}
}

func (s *scripts) mixed() bool { return s.latin && s.other }

// cleanLabel makes a name safe to print: valid UTF-8, one line, no direction
// marks that would reorder the text around it. It does not make it safe for
// HTML or headers; those encode.
func cleanLabel(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsControl(r), unicode.In(r, unicode.Zl, unicode.Zp):
			return ' '
		case r == 0x061C, r == 0x200E, r == 0x200F, r >= 0x202A && r <= 0x202E, r >= 0x2066 && r <= 0x2069:
			return -1
		}
		return r
	}, s)
	return strings.TrimSpace(s)
}

// cut shortens s to at most n bytes at a character boundary.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// cleanProfile bounds what an IdP said at sign-in. A person with an odd
// display name still gets in, with a shorter name.
func cleanProfile(p Profile) Profile {
	return Profile{
		UserName:    p.UserName, // checked, never altered: it becomes a name others are compared with
		Email:       cut(cleanLabel(p.Email), MaxEmail),
		DisplayName: cut(cleanLabel(p.DisplayName), MaxLabel),
		GivenName:   cut(cleanLabel(p.GivenName), MaxLabel),
		FamilyName:  cut(cleanLabel(p.FamilyName), MaxLabel),
	}
}

// clean normalises the labels of m and refuses what is too long.
func (m *Member) clean() error {
	for _, f := range []struct {
		name  string
		value *string
		most  int
	}{
		{"displayName", &m.DisplayName, 4 * MaxLabel},
		{"name.givenName", &m.GivenName, 4 * MaxLabel},
		{"name.familyName", &m.FamilyName, 4 * MaxLabel},
		{"emails", &m.Email, MaxEmail},
	} {
		*f.value = cleanLabel(*f.value)
		if len(*f.value) > f.most || utf8.RuneCountInString(*f.value) > max(MaxLabel, f.most/4) {
			return &InvalidError{f.name, "is too long"}
		}
	}
	if len(m.Document) > MaxDocument {
		return &InvalidError{"resource", "is larger than 256 KiB"}
	}
	return checkToken("externalId", m.ExternalID, MaxExternalID)
}

// checkToken refuses an opaque value that could not be compared byte for byte
// after a round trip through both stores.
func checkToken(field, s string, most int) error {
	switch {
	case len(s) > most:
		return &InvalidError{field, "is too long"}
	case !utf8.ValidString(s):
		return &InvalidError{field, "is not valid UTF-8"}
	case strings.ContainsFunc(s, unicode.IsControl):
		return &InvalidError{field, "contains a control character"}
	}
	return nil
}

// slugOf makes a team's slug from its display name: lower-case ASCII letters
// and digits in words joined by "-", accents dropped.
func slugOf(name string) string {
	var b strings.Builder
	for _, r := range norm.NFKD.String(cases.Fold().String(name)) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		case unicode.IsMark(r):
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
		if b.Len() >= 48 {
			break
		}
	}
	if s := strings.Trim(b.String(), "-"); s != "" {
		return s
	}
	return "team" // a name without a single Latin letter or digit
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
