package proxy

import (
	"encoding/base64"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ssogate/ssogate/internal/header"
	"github.com/ssogate/ssogate/session"
)

// of is one field of a person, "" where there is nothing.
func of(p *session.Principal, f header.Field) string {
	m := &p.Member // empty for a machine
	switch f {
	case header.ID:
		return p.Subject()
	case header.UserName:
		return m.UserName
	case header.Email:
		return m.Email
	case header.Name:
		return m.DisplayName
	case header.GivenName:
		return m.GivenName
	case header.FamilyName:
		return m.FamilyName
	case header.Role:
		return string(m.Role)
	case header.Provider:
		return p.Provider
	case header.Teams:
		if slices.ContainsFunc(p.Teams, func(t string) bool { return strings.Contains(t, ",") }) {
			return "" // another list; only Percent can write it
		}
		return strings.Join(p.Teams, ",")
	}
	return ""
}

// joined is a value before it is encoded, "" where any field of it is empty: half a
// name is another name.
func joined(parts []header.Part, p *session.Principal) string {
	var b strings.Builder
	for _, part := range parts {
		s := part.Text
		if part.Field != "" {
			s = of(p, part.Field)
		}
		if s == "" {
			return ""
		}
		b.WriteString(s)
	}
	return b.String()
}

// render fills in a header. "" is an absent one.
func render(h *header.Header, p *session.Principal) string {
	listed := slices.ContainsFunc(h.Parts, func(part header.Part) bool { return part.Field == header.Teams })
	if h.Encoding == header.Percent && listed {
		return renderList(h.Parts, p)
	}
	most := maxIdentityValue
	if listed {
		most = maxGroupsValue
	}
	s := joined(h.Parts, p)
	if s == "" || len(s) > most {
		return ""
	}
	switch h.Encoding {
	case header.Percent:
		return encode(s, "")
	case header.RFC8187:
		s = "UTF-8''" + percent(s, attrChar)
	case header.Base64:
		s = base64.StdEncoding.EncodeToString([]byte(strings.ToValidUTF8(s, "\ufffd")))
	default:
		s = whole(s, printable)
	}
	if len(s) > most {
		return ""
	}
	return s
}

// renderCookie fills in the value of a cookie, in the bytes that RFC 6265 section 4.1.1
// allows there.
func renderCookie(h *header.Header, p *session.Principal) string {
	s := joined(h.Parts, p)
	if len(s) > maxGroupsValue {
		return ""
	}
	switch h.Encoding {
	case header.Percent:
		s = percent(s, func(s string, i int) bool { return s[i] != '%' && cookieOctet(s, i) })
	case header.Base64:
		s = base64.StdEncoding.EncodeToString([]byte(strings.ToValidUTF8(s, "\ufffd")))
	default:
		s = whole(s, cookieOctet)
	}
	if len(s) > maxGroupsValue {
		return ""
	}
	return s
}

// renderList encodes each part and team for itself: a comma between two is a comma, and
// one inside a team is not.
func renderList(parts []header.Part, p *session.Principal) string {
	var b strings.Builder
	for _, part := range parts {
		var s string
		switch part.Field {
		case "":
			s = encode(part.Text, "")
		case header.Teams:
			s = groups(p.Teams)
		default:
			s = encode(of(p, part.Field), "")
		}
		if s == "" || b.Len()+len(s) > maxGroupsValue {
			return ""
		}
		b.WriteString(s)
	}
	return b.String()
}

// whole is s where all its bytes may stand for themselves, else "".
func whole(s string, keep func(s string, i int) bool) string {
	for i := range len(s) {
		if !keep(s, i) {
			return ""
		}
	}
	return s
}

// printable: no reader trims it, and none takes it for bytes of another alphabet.
func printable(s string, i int) bool {
	return s[i] > ' ' && s[i] <= '~' || s[i] == ' ' && i > 0 && i < len(s)-1
}

func cookieOctet(s string, i int) bool {
	c := s[i]
	return c > ' ' && c <= '~' && c != '"' && c != ',' && c != ';' && c != '\\'
}

// attrChar is what RFC 8187 section 3.2.1 leaves as it is.
func attrChar(s string, i int) bool {
	c := s[i]
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$&+-.^_`|~", c) >= 0
}

// percent writes every byte of valid UTF-8 that keep refuses as %XX.
func percent(s string, keep func(s string, i int) bool) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\ufffd")
	}
	const hexDigits = "0123456789ABCDEF"
	b := make([]byte, 0, len(s)*3)
	for i := range len(s) {
		if c := s[i]; keep(s, i) {
			b = append(b, c)
		} else {
			b = append(b, '%', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return string(b)
}

// groups is a list of teams as [header.Percent] writes it.
func groups(teams []string) string {
	var b strings.Builder
	for _, t := range teams {
		e := encode(t, ",")
		if e == "" {
			return "" // without one it is another list
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(e)
		if b.Len() > maxGroupsValue {
			return ""
		}
	}
	return b.String()
}

// encode makes a value fit for a header (RFC 9110 section 5.5): printable ASCII
// stays, everything else is percent-encoded UTF-8, and so is "%" itself, so that
// decoding as in a URL always gives the value back, and a line break in a
// display name is %0D%0A rather than a second header (row H05). also names
// further bytes to encode. A value that gets too long is "".
func encode(s, also string) string {
	if len(s) > maxIdentityValue {
		return ""
	}
	keep := func(s string, i int) bool { return headerByte(s, i, also) }
	if plain := whole(s, keep); plain != "" {
		return plain
	}
	if s = percent(s, keep); len(s) > maxIdentityValue {
		return ""
	}
	return s
}

// headerByte reports whether byte i of s may stand for itself. A space at either
// end would be trimmed by the reader, so it is encoded.
func headerByte(s string, i int, also string) bool {
	c := s[i]
	if c == ' ' {
		return i > 0 && i < len(s)-1
	}
	return c > ' ' && c < 0x7f && c != '%' && strings.IndexByte(also, c) < 0
}
