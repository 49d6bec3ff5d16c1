package client

import (
	"strings"

	"github.com/ssogate/ssogate/scim/schema"
)

// reader rewrites the values of one request and notes each rule it needed.
type reader struct {
	rt    *schema.ResourceType
	notes *Notes
}

// value gives v the shape the attribute's definition asks for. What it does
// not recognise it leaves alone, for validation to refuse.
func (r reader) value(a *schema.Attribute, v any) any {
	if !a.MultiValued {
		return r.element(a, v)
	}
	list, many := v.([]any)
	if !many {
		if v == nil {
			return nil
		}
		if v == "" {
			r.notes.add("T8")
			return nil
		}
		// T3: one e-mail as a bare object or text (reported of OneLogin).
		r.notes.add("T3")
		list = []any{v}
	}
	out := make([]any, 0, len(list))
	for _, el := range list {
		if el = r.plural(a, el); el != nil {
			out = append(out, el)
		}
	}
	return out
}

// plural is one value of a multi-valued attribute.
func (r reader) plural(a *schema.Attribute, v any) any {
	m, isObject := v.(map[string]any)
	if !isObject {
		return r.element(a, v)
	}
	out := r.object(a, m)
	if had, given := get(m, "value"); given && had == "" && a.Name != "members" {
		// T8: an e-mail whose address is "" is no e-mail, whatever its type.
		return nil
	}
	return out
}

// element is one value: of a single-valued attribute, or inside a list.
func (r reader) element(a *schema.Attribute, v any) any {
	if list, ok := v.([]any); ok { // T3: an array of one, or of none
		switch len(list) {
		case 0:
			return nil
		case 1:
			r.notes.add("T3")
			v = list[0]
		default:
			return v
		}
	}
	if a.Type == schema.Complex {
		return r.complex(a, v)
	}
	if m, ok := v.(map[string]any); ok && len(m) == 1 { // T3: {"value": x}
		if inner, given := get(m, "value"); given {
			r.notes.add("T3")
			v = inner
		}
	}
	s, ok := v.(string)
	switch {
	case !ok:
		return v
	case a.Type == schema.Boolean:
		return r.boolean(s)
	case s == "" && !a.Required:
		// T8: Entra and Okta clear with "". A required attribute keeps the ""
		// and is refused.
		r.notes.add("T8")
		return nil
	}
	return s
}

// boolean is T2: Entra's default dialect says "True" and "False".
func (r reader) boolean(s string) any {
	switch {
	case strings.EqualFold(s, "true"):
		r.notes.add("T2")
		return true
	case strings.EqualFold(s, "false"):
		r.notes.add("T2")
		return false
	case s == "":
		r.notes.add("T8")
		return nil
	}
	return s
}

func (r reader) complex(a *schema.Attribute, v any) any {
	switch v := v.(type) {
	case map[string]any:
		if isManager(a) {
			return r.manager(a, v)
		}
		return r.object(a, v)
	case string:
		if v == "" {
			r.notes.add("T8")
			return nil
		}
		if a.Lookup("value") != nil {
			if isManager(a) {
				r.notes.add("T4")
			} else {
				r.notes.add("T3")
			}
			return map[string]any{"value": v}
		}
	}
	return v
}

// object rewrites the known parts and keeps the rest as it came. nil parts are
// kept: in a PATCH they clear (`name:{"familyName":null}`).
func (r reader) object(a *schema.Attribute, m map[string]any) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		if sub := a.Lookup(k); sub != nil {
			v = r.value(sub, v)
		}
		out[k] = v
	}
	return out
}

// get reads a key in any case.
func get(m map[string]any, name string) (any, bool) {
	if v, ok := m[name]; ok {
		return v, true
	}
	for k, v := range m {
		if strings.EqualFold(k, name) {
			return v, true
		}
	}
	return nil, false
}
