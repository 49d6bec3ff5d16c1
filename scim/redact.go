package scim

import (
	"encoding/json"
	"regexp"
	"strings"
)

// The flight recorder keeps bodies for people to read. What follows decides what
// they may see of them.

const (
	redacted    = "[redacted]"
	maxKept     = 16 << 10 // bytes of a body that are kept
	maxRedacted = 64 << 10 // bytes of a body that is looked through at all
	maxText     = 512      // bytes of one value: certificates and photos are cut
)

// secretWords are parts of names whose values are never kept, wherever they
// stand and however the name is spelled.
var secretWords = []string{
	"password", "passwd", "passphrase", "passcode", "secret", "token", "credential", "authorization", "apikey", "api_key", "api-key",
	"privatekey", "private_key", "private-key", "bearer", "cookie", "onetimecode", "otp",
}

// secretValues are values that are recognised by their form: our own tokens, and
// JSON Web Tokens.
var secretValues = regexp.MustCompile(`ssogate_scim_[A-Za-z0-9_-]*|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*`)

// secretName reports a name whose value must not be kept.
func secretName(s string) bool {
	s = strings.ToLower(s)
	for _, w := range secretWords {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}

// redactor removes secrets from what one request brought. presented is the
// token it was authenticated with, valid or not.
type redactor struct{ presented string }

// text is a value with what is secret by its form taken out, and cut.
func (r redactor) text(s string) string {
	s = shorten(s)
	if len(r.presented) >= 8 {
		s = strings.ReplaceAll(s, r.presented, redacted)
	}
	s = secretValues.ReplaceAllString(s, redacted)
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "…"
	}
	return s
}

// shorten leaves what text keeps at the most, so that a filter of a megabyte is
// not looked through for nothing. It ends between two words: half a token at the
// end would not be recognised.
func shorten(s string) string {
	const most = 2 * maxText
	if len(s) <= most {
		return s
	}
	cut := strings.LastIndexAny(s[:most], " \t\r\n\"',;()[]{}<>&")
	return s[:max(cut, 0)] + "…"
}

// expression is a filter or path: one that compares a secret is not kept at all.
func (r redactor) expression(s string) string {
	s = shorten(s)
	if secretName(s) {
		return redacted
	}
	return r.text(s)
}

// value is a copy of a JSON value fit to be kept. An object that names a secret
// beside a value ({"op":"replace","path":"password","value":...}) loses both
// kinds. Depth is bounded by the body decoder.
func (r redactor) value(v any) any {
	switch v := v.(type) {
	case string:
		// A body inside a string (Keycloak's add-on) is looked through as one.
		if t := strings.TrimSpace(v); strings.HasPrefix(t, "{") || strings.HasPrefix(t, "[") {
			var inner any
			if json.Unmarshal([]byte(t), &inner) == nil {
				return r.value(inner)
			}
			if secretName(t) {
				return redacted
			}
		}
		return r.text(v)
	case []any:
		out := make([]any, len(v))
		for i, el := range v {
			out[i] = r.value(el)
		}
		return out
	case map[string]any:
		hidden := r.namesSecret(v)
		out := make(map[string]any, len(v))
		for k, el := range v {
			key := r.text(k)
			switch s, isText := el.(string); {
			case secretName(k) && !harmless(el):
				out[key] = redacted
			case hidden && strings.EqualFold(k, "value"):
				out[key] = redacted
			case isText && (strings.EqualFold(k, "path") || strings.EqualFold(k, "filter")):
				out[key] = r.path(s)
			default:
				out[key] = r.value(el)
			}
		}
		return out
	}
	return v
}

// path keeps a path that is only a name, even a secret one: that a password was
// sent is worth knowing, what it was is not.
func (r redactor) path(s string) string {
	if strings.ContainsAny(s, `"'[ `) {
		return r.expression(s)
	}
	return r.text(s)
}

// namesSecret reports an object that says of itself that its value is secret.
func (r redactor) namesSecret(m map[string]any) bool {
	for k, el := range m {
		s, ok := el.(string)
		if ok && (strings.EqualFold(k, "path") || strings.EqualFold(k, "type") || strings.EqualFold(k, "name")) && secretName(s) {
			return true
		}
	}
	return false
}

// harmless values say nothing: whether changing a password is supported, null.
func harmless(v any) bool {
	switch v := v.(type) {
	case nil, bool:
		return true
	case string:
		return v == ""
	case map[string]any:
		for _, el := range v {
			if !harmless(el) {
				return false
			}
		}
		return true
	}
	return false
}

// body is the form in which a decoded body of so many bytes is kept.
func (r redactor) body(v any, size int) string {
	switch {
	case v == nil:
		return ""
	case size > maxRedacted:
		return `{"not kept":"` + itoa(size) + ` bytes"}`
	}
	b, err := json.Marshal(r.value(v))
	switch {
	case err != nil:
		return `{"not kept":"not JSON"}`
	case len(b) > maxKept:
		return strings.ToValidUTF8(string(b[:maxKept]), "") + "…"
	}
	return string(b)
}

// query is the parameters of a list, each redacted; others are only counted.
func (r redactor) query(q map[string]string, others int) string {
	var parts []string
	for _, name := range listParameters {
		v, given := q[name]
		switch {
		case !given:
		case name == "filter":
			parts = append(parts, name+"="+r.expression(v))
		case name == "cursor":
			parts = append(parts, name+"=…")
		default:
			parts = append(parts, name+"="+r.text(v))
		}
	}
	if others > 0 {
		parts = append(parts, itoa(others)+" more")
	}
	if len(parts) == 0 {
		return ""
	}
	return "?" + strings.Join(parts, "&")
}
