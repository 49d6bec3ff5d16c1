package header

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Field is what of a person stands in a value.
type Field string

// Fields.
const (
	ID         Field = "id" // immutable
	UserName   Field = "user_name"
	Email      Field = "email"
	Name       Field = "name" // for display
	GivenName  Field = "given_name"
	FamilyName Field = "family_name"
	Teams      Field = "teams" // slugs, with a comma between
	Role       Field = "role"
	Provider   Field = "provider" // that the session was made through
)

// Fields are all there are, in the order in which they are listed to people.
func Fields() []Field {
	return []Field{ID, UserName, Email, Name, GivenName, FamilyName, Teams, Role, Provider}
}

// Encoding is how a value is made fit for a header. The zero value is Percent.
type Encoding string

// Encodings.
const (
	Percent Encoding = "percent" // printable ASCII as it is, the rest and % as in URLs
	RFC8187 Encoding = "rfc8187" // UTF-8''…
	Base64  Encoding = "base64"  // of UTF-8
	Plain   Encoding = "plain"   // printable ASCII; anything else is left out
)

// Part of a value: Text, or a Field.
type Part struct {
	Text  string
	Field Field
}

// maxValue bounds a value as it is written.
const maxValue = 256

// ParseValue reads a value: text, and fields in braces. There is nothing else: what is
// told to an application shall be as plain as what decides.
func ParseValue(s string) ([]Part, error) {
	if s == "" {
		return nil, errors.New("is empty")
	}
	if len(s) > maxValue {
		return nil, fmt.Errorf("is longer than %d bytes", maxValue)
	}
	var out []Part
	for rest := s; rest != ""; {
		text, after, found := strings.Cut(rest, "{")
		if strings.Contains(text, "}") {
			return nil, errors.New("has a } without a {")
		}
		for i := range len(text) {
			if text[i] < ' ' || text[i] > '~' {
				return nil, errors.New("has text that is not printable ASCII")
			}
		}
		if text != "" {
			out = append(out, Part{Text: text})
		}
		if !found {
			break
		}
		name, tail, closed := strings.Cut(after, "}")
		if !closed {
			return nil, errors.New("has a { without a }")
		}
		f := Field(name)
		if !slices.Contains(Fields(), f) {
			return nil, fmt.Errorf("names {%s}, which is none of %s", name, listed())
		}
		out = append(out, Part{Field: f})
		rest = tail
	}
	return out, nil
}

func listed() string {
	var b strings.Builder
	for i, f := range Fields() {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("{" + string(f) + "}")
	}
	return b.String()
}

// Spec is one identity header as the operator writes it.
type Spec struct {
	Name, Value string
	Encoding    Encoding
}

// Header is a Spec, read.
type Header struct {
	Name     string
	Letters  string
	Parts    []Part
	Encoding Encoding
}

// user is the one name whose meaning is fixed: applications written for the default
// headers key their accounts by it.
const user = "xforwardeduser"

// Read checks a Spec. The errors are about name, value and encoding, each nil where
// there is nothing to say.
func (s Spec) Read() (h Header, name, value, encoding error) {
	h = Header{Name: s.Name, Letters: Letters(s.Name), Encoding: s.Encoding}
	name = CheckName(s.Name)
	if h.Parts, value = ParseValue(s.Value); value == nil && h.Letters == user && !slices.Equal(h.Parts, []Part{{Field: ID}}) {
		value = errors.New("is not {id}: X-Forwarded-User is always the immutable id; use another name")
	}
	if h.Encoding == "" {
		h.Encoding = Percent
	}
	if !slices.Contains([]Encoding{Percent, RFC8187, Base64, Plain}, h.Encoding) {
		encoding = errors.New("is none of percent, rfc8187, base64, plain")
	}
	return h, name, value, encoding
}
