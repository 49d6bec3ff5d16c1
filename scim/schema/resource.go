package schema

import "strings"

// Resource validates the body of a POST or PUT and answers a canonical tree:
// the schema's spelling of every name, extension data under the extension's
// URN, nothing that is unknown, read-only, null or empty. Errors are *Error.
//
// Ignoring the unknown and the read-only is what RFC 7644 sections 3.3 and
// 3.5.1 ask, and what keeps `isAdmin` or a chosen `id` inert (C02).
func (rt *ResourceType) Resource(body map[string]any) (map[string]any, error) {
	tree := make(map[string]any, len(body))
	for k, v := range body {
		if x := rt.Extension(k); x != nil {
			if err := addExtension(tree, x, v); err != nil {
				return nil, err
			}
			continue
		}
		a := rt.Lookup(k)
		if a == nil || a.Mutability == ReadOnly {
			continue
		}
		if err := set(tree, a, v); err != nil {
			return nil, err
		}
	}
	if err := rt.Complete(tree); err != nil {
		return nil, err
	}
	return tree, nil
}

func set(tree map[string]any, a *Attribute, v any) error {
	c, err := a.Value(v)
	if err != nil {
		return err
	}
	if _, twice := tree[a.Name]; twice {
		return errorf(InvalidSyntax, "%s is given twice", a.Name)
	}
	if c != nil {
		tree[a.Name] = c
	}
	return nil
}

func addExtension(tree map[string]any, x *Schema, v any) error {
	if v == nil {
		return nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		return errorf(InvalidValue, "%s must be an object", x.ID)
	}
	if _, twice := tree[x.ID]; twice {
		return errorf(InvalidSyntax, "%s is given twice", x.ID)
	}
	ext := make(map[string]any, len(m))
	for k, v := range m {
		a := x.Lookup(k)
		if a == nil || a.Mutability == ReadOnly {
			continue
		}
		if err := set(ext, a, v); err != nil {
			return err
		}
	}
	// An empty container is left out: clients have reported `{}` as a defect.
	if len(ext) > 0 {
		tree[x.ID] = ext
	}
	return nil
}

// Complete checks that required attributes are present in a canonical tree,
// as a POST, a PUT and the result of a PATCH must all satisfy.
func (rt *ResourceType) Complete(tree map[string]any) error {
	for _, a := range rt.Core.Attributes {
		if !a.Required {
			continue
		}
		if s, ok := tree[a.Name].(string); !ok || strings.TrimSpace(s) == "" {
			return errorf(InvalidValue, "%s is required", a.Name)
		}
	}
	return nil
}

// URNs lists the schemas of a canonical tree: the core one, then each
// extension that has data.
func (rt *ResourceType) URNs(tree map[string]any) []any {
	urns := []any{rt.Core.ID}
	for _, x := range rt.Extensions {
		if m, ok := tree[x.ID].(map[string]any); ok && len(m) > 0 {
			urns = append(urns, x.ID)
		}
	}
	return urns
}
