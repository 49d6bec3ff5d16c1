package client

import (
	"maps"
	"slices"
	"strings"

	"github.com/ssogate/ssogate/scim/filter"
	"github.com/ssogate/ssogate/scim/schema"
)

// Resource rewrites the body of a POST or PUT. The result is for
// [schema.ResourceType.Resource] to validate. Errors are *schema.Error, and
// only from the strict profile.
func Resource(rt *schema.ResourceType, body map[string]any, p Profile, notes *Notes) (map[string]any, error) {
	known := func(urn string) bool { return rt.Extension(urn) != nil }
	if err := checkSchemas(body, rt.Core.ID, known, p, notes); err != nil || p == Strict {
		return body, err
	}
	r := reader{rt: rt, notes: notes}
	out := make(map[string]any, len(body))
	// Sorted: "name" comes before "name.givenName", which then adds to it.
	for _, k := range slices.Sorted(maps.Keys(body)) {
		r.attribute(out, k, body[k])
	}
	return out, nil
}

// attribute rewrites one top-level member of the body into out.
func (r reader) attribute(out map[string]any, k string, v any) {
	if x := r.extension(k); x != nil {
		out[x.ID] = r.container(x, v)
		return
	}
	if m, ok := v.(map[string]any); ok && strings.EqualFold(k, r.rt.Core.ID) {
		// T5: core attributes wrapped in their own URN.
		r.notes.add("T5")
		for _, inner := range slices.Sorted(maps.Keys(m)) {
			if a := r.rt.Lookup(inner); a != nil {
				out[a.Name] = r.value(a, m[inner])
			}
		}
		return
	}
	if a := r.rt.Lookup(k); a != nil {
		out[k] = r.value(a, v)
		return
	}
	if strings.ContainsAny(k, ".:") && r.dotted(out, k, v) {
		r.notes.add("T5")
		return
	}
	r.notes.add("T11")
}

// dotted puts "name.givenName" and "urn:...:User:title" where they belong.
func (r reader) dotted(out map[string]any, k string, v any) bool {
	p, err := filter.ParsePath(k)
	if err != nil || p.Filter != nil {
		return false
	}
	t, err := r.rt.Resolve(p)
	if err != nil || t.Attr == nil || t.Attr.MultiValued && t.Sub != nil {
		return false
	}
	in := out
	if t.Extension != nil {
		in = inner(in, t.Extension.ID)
	}
	if t.Sub != nil {
		in = inner(in, t.Attr.Name)
	}
	if in == nil {
		return false
	}
	in[t.Leaf().Name] = r.value(t.Leaf(), v)
	return true
}

// inner is the object under a key, made when there is none. nil when something
// else is there.
func inner(m map[string]any, key string) map[string]any {
	if m == nil {
		return nil
	}
	if m[key] == nil {
		m[key] = map[string]any{}
	}
	in, _ := m[key].(map[string]any)
	return in
}

// container rewrites the data of an extension. `schemas` inside it (T5) and
// anything unknown (T11) is left out.
func (r reader) container(x *schema.Schema, v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		if v == "" {
			r.notes.add("T8")
			return nil
		}
		return v
	}
	out := make(map[string]any, len(m))
	for k, v := range m {
		a := x.Lookup(k)
		if a == nil || a.Mutability == schema.ReadOnly {
			r.notes.add("T11")
			continue
		}
		out[k] = r.value(a, v)
	}
	return out
}
