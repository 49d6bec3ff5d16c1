package client

import (
	"maps"
	"slices"
	"strings"

	"github.com/ssogate/ssogate/scim/filter"
	"github.com/ssogate/ssogate/scim/patch"
	"github.com/ssogate/ssogate/scim/schema"
)

// MaxOperations of one PATCH. A client that changes more members uses one
// operation with many values.
const MaxOperations = 10_000

// Operations reads the body of a PATCH. A path-less operation comes back as
// one operation per attribute, all with the Index of the original; one whose
// attributes are all ignored comes back as none. Errors are *schema.Error or
// *patch.Error.
func Operations(rt *schema.ResourceType, body map[string]any, p Profile, notes *Notes) ([]patch.Operation, error) {
	nothingElse := func(string) bool { return false }
	if err := checkSchemas(body, PatchURN, nothingElse, p, notes); err != nil {
		return nil, err
	}
	v, _ := get(body, "Operations")
	if one, ok := v.(map[string]any); ok && p != Strict {
		notes.add("T3")
		v = []any{one}
	}
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return nil, syntax("Operations must be a non-empty array")
	}
	if len(list) > MaxOperations {
		return nil, &schema.Error{Type: schema.TooMany, Detail: "more than 10000 operations"}
	}
	r := reader{rt: rt, notes: notes}
	var ops []patch.Operation
	for i, el := range list {
		o, err := operation(i, el)
		if err != nil {
			return nil, err
		}
		if p == Strict {
			ops = append(ops, o)
			continue
		}
		more, err := r.operation(o)
		if err != nil {
			return nil, err
		}
		if ops = append(ops, more...); len(ops) > MaxOperations {
			return nil, &schema.Error{Type: schema.TooMany, Detail: "more than 10000 operations"}
		}
	}
	return ops, nil
}

// operation reads op, path and value, whose names RFC 7643 section 2.1 makes
// case-insensitive.
func operation(i int, el any) (patch.Operation, error) {
	o := patch.Operation{Index: i}
	m, ok := el.(map[string]any)
	if !ok {
		return o, fault(i, schema.InvalidSyntax, "an operation must be an object")
	}
	seen := map[string]bool{}
	for k, v := range m {
		name := strings.ToLower(k)
		if seen[name] {
			return o, fault(i, schema.InvalidSyntax, name+" is given twice")
		}
		seen[name] = true
		switch name {
		case "op":
			s, ok := v.(string)
			if !ok {
				return o, fault(i, schema.InvalidSyntax, "op must be a string")
			}
			o.Op = patch.Op(s)
		case "path":
			s, ok := v.(string)
			if !ok && v != nil {
				return o, fault(i, schema.InvalidPath, "path must be a string")
			}
			o.Path = strings.TrimSpace(s)
		case "value":
			o.Value, o.HasValue = v, true
		}
	}
	return o, nil
}

func fault(i int, scimType, detail string) error {
	return &patch.Error{Index: i, Type: scimType, Detail: detail}
}

// operation rewrites one operation in the auto profile.
func (r reader) operation(o patch.Operation) ([]patch.Operation, error) {
	if low := patch.Op(strings.ToLower(string(o.Op))); low != o.Op {
		r.notes.add("T1") // Entra's default dialect: Add, Replace, Remove
		o.Op = low
	}
	if o.Path != "" {
		return []patch.Operation{r.pathed(o)}, nil
	}
	if o.Op == patch.Remove {
		return []patch.Operation{o}, nil // noTarget, said by patch
	}
	if s, ok := o.Value.(string); ok && strings.HasPrefix(strings.TrimSpace(s), "{") {
		// A Keycloak add-on once sent the value as JSON inside a string. It is
		// read under the same limits as the body.
		m, err := Decode([]byte(s))
		if err != nil {
			return nil, fault(o.Index, schema.InvalidValue, "value is a string that is not a JSON object")
		}
		r.notes.add("T5")
		o.Value = m
	}
	m, ok := o.Value.(map[string]any)
	if !ok {
		return []patch.Operation{o}, nil // refused by patch
	}
	return r.expand(o, m), nil
}

// expand turns a path-less value into one operation per attribute (sections
// 3.5.2.1 and 3.5.2.3 define it so). Sorted, so that "name" precedes
// "name.givenName" and one request always has one meaning.
func (r reader) expand(o patch.Operation, m map[string]any) []patch.Operation {
	var out []patch.Operation
	for _, k := range slices.Sorted(maps.Keys(m)) {
		one := patch.Operation{Index: o.Index, Op: o.Op, Path: k, Value: m[k], HasValue: true}
		if core, ok := m[k].(map[string]any); ok && strings.EqualFold(k, r.rt.Core.ID) {
			r.notes.add("T5")
			for _, inner := range slices.Sorted(maps.Keys(core)) {
				if a := r.rt.Lookup(inner); a != nil && a.Mutability != schema.ReadOnly {
					out = append(out, r.pathed(patch.Operation{Index: o.Index, Op: o.Op, Path: inner, Value: core[inner], HasValue: true}))
				}
			}
			continue
		}
		if x := r.extension(k); x != nil {
			one.Path = x.ID
			out = append(out, r.pathed(one))
			continue
		}
		t, err := r.rt.ResolveName(k)
		switch {
		case err != nil:
			r.notes.add("T11")
			continue
		case t.Attr.Mutability == schema.ReadOnly || t.Sub != nil && t.Sub.Mutability == schema.ReadOnly:
			// T10: Okta renames a group with {"id":..., "displayName":...}, and
			// stops pushing its members when that is refused.
			r.notes.add("T10")
			continue
		}
		if strings.ContainsAny(k, ".:[") {
			r.notes.add("T5") // "name.givenName", "urn:...:User:employeeNumber"
		}
		out = append(out, r.pathed(one))
	}
	return out
}

// pathed rewrites the value (and the operands in the path's filter) for the
// attribute the path names. A path that names nothing stays, to be refused.
func (r reader) pathed(o patch.Operation) patch.Operation {
	p, err := filter.ParsePath(o.Path)
	if err != nil {
		return o
	}
	if x := r.extension(strings.TrimPrefix(p.URN+":"+p.Attr, ":")); x != nil && p.Filter == nil && p.Sub == "" {
		o.Path = x.ID
		if o.HasValue {
			o.Value = r.container(x, o.Value)
		}
		return o
	}
	t, err := r.rt.Resolve(p)
	if err != nil {
		return o
	}
	if p.Filter != nil {
		p.Filter = r.inner(t.Attr, p.Filter)
		o.Path = p.String()
	}
	if !o.HasValue {
		return o
	}
	switch {
	case t.Filter != nil && t.Sub == nil:
		o.Value = r.plural(t.Attr, o.Value)
	case o.Op == patch.Remove && t.Attr.MultiValued && t.Sub == nil && o.Value != nil:
		r.notes.add("T6") // Entra: these values only, not all
		o.Value = r.value(t.Attr, o.Value)
	default:
		o.Value = r.value(t.Leaf(), o.Value)
	}
	return o
}
