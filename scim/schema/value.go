package schema

import (
	"encoding/base64"
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of what one resource may hold. They keep a single user from becoming
// a place to store files (G8).
const (
	MaxString  = 16 << 10 // bytes of one string value
	MaxValues  = 500      // values of one multi-valued attribute of a user
	MaxMembers = 100_000  // values of members in one request
)

// Value validates what a client sent for an attribute and answers it in
// canonical spelling. nil means absent: RFC 7643 section 2.5 makes null, an
// empty array and no attribute the same state. Errors are *Error.
func (a *Attribute) Value(v any) (any, error) {
	if !a.MultiValued {
		return a.Element(v)
	}
	if v == nil {
		return nil, nil
	}
	list, ok := v.([]any)
	if !ok {
		return nil, errorf(InvalidValue, "%s must be an array", a.Name)
	}
	limit := MaxValues
	if a.Name == "members" {
		limit = MaxMembers
	}
	if len(list) > limit {
		return nil, errorf(InvalidValue, "%s has more than %d values", a.Name, limit)
	}
	out := make([]any, 0, len(list))
	primaries := 0
	for _, el := range list {
		c, err := a.Element(el)
		if err != nil {
			return nil, err
		}
		if c == nil {
			if el != nil && a.Name == "members" {
				// Dropping it would report success for a member nobody added.
				return nil, errorf(InvalidValue, "members: a member needs a value")
			}
			continue
		}
		if IsPrimary(c) {
			primaries++
		}
		out = append(out, c)
	}
	// RFC 7643 section 2.4: "The primary attribute value "true" MUST appear no
	// more than once."
	if primaries > 1 {
		return nil, errorf(InvalidValue, "%s has more than one primary value", a.Name)
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, nil
}

// IsPrimary reports whether a value of a multi-valued attribute is the preferred one.
func IsPrimary(el any) bool {
	m, _ := el.(map[string]any)
	primary, _ := m["primary"].(bool)
	return primary
}

// Element validates one value: the value of a single-valued attribute, or one
// of the values of a multi-valued one.
func (a *Attribute) Element(v any) (any, error) {
	if v == nil {
		return nil, nil
	}
	if a.Type == Complex {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, errorf(InvalidValue, "%s must be an object", a.Name)
		}
		return a.object(m)
	}
	return a.simple(v)
}

func (a *Attribute) object(m map[string]any) (any, error) {
	out := make(map[string]any, len(m))
	for k, v := range m {
		sub := a.Lookup(k)
		if sub == nil || sub.Mutability == ReadOnly {
			continue // unknown and read-only parts are ignored (RFC 7644 section 3.3)
		}
		c, err := sub.Value(v)
		if err != nil {
			return nil, a.within(err)
		}
		if _, twice := out[sub.Name]; twice {
			// "value" and "VALUE" are one attribute: which one was meant is
			// not ours to guess (C06).
			return nil, errorf(InvalidSyntax, "%s.%s is given twice", a.Name, sub.Name)
		}
		if c != nil {
			out[sub.Name] = c
		}
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, nil
}

// within prefixes a sub-attribute's error with the attribute.
func (a *Attribute) within(err error) error {
	if e, ok := err.(*Error); ok { //nolint:errorlint // made two lines above, never wrapped
		return &Error{Type: e.Type, Detail: a.Name + "." + e.Detail}
	}
	return err
}

func (a *Attribute) simple(v any) (any, error) {
	switch a.Type {
	case Boolean:
		if _, ok := v.(bool); !ok {
			return nil, errorf(InvalidValue, "%s must be true or false", a.Name)
		}
		return v, nil
	case Integer, Decimal:
		f, ok := v.(float64)
		if !ok || a.Type == Integer && f != math.Trunc(f) {
			return nil, errorf(InvalidValue, "%s must be a number of type %s", a.Name, a.Type)
		}
		return v, nil
	}
	s, ok := v.(string)
	if !ok {
		return nil, errorf(InvalidValue, "%s must be a string", a.Name)
	}
	if len(s) > MaxString {
		return nil, errorf(InvalidValue, "%s is longer than %d bytes", a.Name, MaxString)
	}
	// NUL cannot be stored by PostgreSQL: it would be a server error there.
	if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return nil, errorf(InvalidValue, "%s has characters that are not text", a.Name)
	}
	if a.Required && strings.TrimSpace(s) == "" {
		return nil, errorf(InvalidValue, "%s must not be empty", a.Name)
	}
	return s, a.form(s)
}

// form checks the lexical form of typed strings (RFC 7643 section 2.3).
func (a *Attribute) form(s string) error {
	switch a.Type {
	case DateTime:
		if _, err := ParseTime(s); err != nil {
			return errorf(InvalidValue, "%s must be a date and time", a.Name)
		}
	case Binary:
		// Section 2.3.6 allows base64 with or without padding, in either alphabet.
		t := strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(s), "=")
		if _, err := base64.RawStdEncoding.DecodeString(t); err != nil {
			return errorf(InvalidValue, "%s must be base64", a.Name)
		}
	}
	return nil
}

// ParseTime reads an xsd:dateTime. Without a zone it is UTC: IdPs that leave
// the zone out mean that.
func ParseTime(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err == nil {
		return t, nil
	}
	if u, err2 := time.Parse("2006-01-02T15:04:05.999999999", s); err2 == nil {
		return u, nil
	}
	return time.Time{}, err
}
