package schema

import "strings"

// Projection is what `attributes` or `excludedAttributes` ask for (RFC 7644
// section 3.9). The zero value returns the default set.
type Projection struct {
	rt   *ResourceType
	only bool                       // attributes was given: keep what is listed
	list map[string]map[string]bool // attribute key -> sub-attributes, or nil for all of it
}

// Projection reads the two parameters. Both at once is an *Error; names that
// do not exist are ignored, for a client may ask more than one server has.
func (rt *ResourceType) Projection(attributes, excluded []string) (Projection, error) {
	p := Projection{rt: rt, only: len(attributes) > 0}
	if p.only && len(excluded) > 0 {
		return Projection{}, errorf(InvalidValue, "attributes and excludedAttributes exclude each other")
	}
	names := excluded
	if p.only {
		names = attributes
	}
	if len(names) > 100 {
		return Projection{}, errorf(InvalidValue, "more than 100 attribute names")
	}
	p.list = make(map[string]map[string]bool, len(names))
	for _, n := range names {
		t, err := rt.ResolveName(n)
		if err != nil || t.Filter != nil {
			continue
		}
		p.add(t)
	}
	return p, nil
}

func (p Projection) add(t Target) {
	key := p.key(t.Extension, t.Attr)
	subs, listed := p.list[key]
	switch {
	case t.Sub == nil:
		p.list[key] = nil
	case listed && subs == nil: // already listed whole
	default:
		if subs == nil {
			subs = map[string]bool{}
			p.list[key] = subs
		}
		subs[t.Sub.Name] = true
	}
}

func (p Projection) key(x *Schema, a *Attribute) string {
	switch {
	case x == nil:
		return a.Name
	case a == nil:
		return x.ID
	default:
		return x.ID + ":" + a.Name
	}
}

// Given reports whether the request asked for a projection at all.
func (p Projection) Given() bool { return p.only || len(p.list) > 0 }

// Wants reports whether a core attribute can be part of the answer, so that
// expensive ones (members, groups) are not even read.
func (p Projection) Wants(name string) bool {
	subs, listed := p.list[name]
	if p.only {
		return listed
	}
	return !listed || subs != nil
}

// Apply answers a copy of the tree with what was asked for. Attributes that
// are always returned survive, those never returned are removed.
func (p Projection) Apply(tree map[string]any) map[string]any {
	out := make(map[string]any, len(tree))
	for k, v := range tree {
		if x := p.rt.Extension(k); x != nil {
			m, _ := v.(map[string]any)
			ext := make(map[string]any, len(m))
			for k, v := range m {
				if a := x.Lookup(k); a != nil {
					p.put(ext, x, a, v)
				}
			}
			if len(ext) > 0 {
				out[k] = ext
			}
			continue
		}
		if a := p.rt.Lookup(k); a != nil {
			p.put(out, nil, a, v)
		}
	}
	return out
}

func (p Projection) put(out map[string]any, x *Schema, a *Attribute, v any) {
	subs, listed := p.list[p.key(x, a)]
	if x != nil && !listed {
		// Naming the extension names all its attributes.
		_, listed = p.list[x.ID]
	}
	switch {
	case a.Returned == ReturnedNever:
	case a.Returned == ReturnedAlways:
		out[a.Name] = v
	case a.Returned == ReturnedRequest && !(p.only && listed):
	case !listed:
		if !p.only {
			out[a.Name] = v
		}
	case subs != nil:
		if c := cut(v, subs, p.only); c != nil {
			out[a.Name] = c
		}
	case p.only:
		out[a.Name] = v
	}
}

// cut keeps (or drops) the named sub-attributes of a complex value or of each
// of its values.
func cut(v any, subs map[string]bool, keep bool) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, 0, len(v))
		for _, el := range v {
			if c := cut(el, subs, keep); c != nil {
				out = append(out, c)
			}
		}
		if len(out) > 0 {
			return out
		}
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, el := range v {
			if subs[k] == keep {
				out[k] = el
			}
		}
		if len(out) > 0 {
			return out
		}
	}
	return nil
}

// SplitNames reads a comma-separated parameter. An attribute URN holds no comma.
func SplitNames(s string) []string {
	var out []string
	for n := range strings.SplitSeq(s, ",") {
		if n = strings.TrimSpace(n); n != "" {
			out = append(out, n)
		}
	}
	return out
}
