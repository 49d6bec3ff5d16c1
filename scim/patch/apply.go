package patch

import (
	"maps"
	"slices"

	"github.com/ssogate/ssogate/scim/schema"
)

// Apply runs the operations in order on a copy of a canonical tree and answers
// the copy; the given tree is never changed, so an error half-way leaves
// nothing applied (C08). The result satisfies rt's required attributes.
// Errors are *Error. Safe for concurrent use.
func Apply(rt *schema.ResourceType, tree map[string]any, ops []Operation, opt Options) (map[string]any, error) {
	next, _ := deepCopy(tree).(map[string]any)
	if next == nil {
		next = map[string]any{}
	}
	for _, o := range ops {
		a := applier{rt: rt, tree: next, opt: opt, op: o}
		if err := a.run(); err != nil {
			return nil, err
		}
	}
	if err := rt.Complete(next); err != nil {
		// No single operation is at fault when the stored resource itself is
		// incomplete; the last one is where the sequence ended.
		return nil, Operation{Index: len(ops) - 1}.at(err)
	}
	return next, nil
}

// applier is one operation on one tree.
type applier struct {
	rt   *schema.ResourceType
	tree map[string]any
	opt  Options
	op   Operation
}

func (a *applier) run() error {
	switch a.op.Op {
	case Add, Remove, Replace:
	default:
		return a.op.errorf(schema.InvalidSyntax, "op must be add, remove or replace")
	}
	if a.op.Op != Remove && !a.op.HasValue {
		return a.op.errorf(schema.InvalidValue, "%s needs a value", a.op.Op)
	}
	if a.op.Path == "" {
		if a.op.Op == Remove {
			return a.op.errorf(schema.NoTarget, "remove needs a path") // section 3.5.2.2
		}
		return a.pathless()
	}
	t, err := a.rt.ResolveName(a.op.Path)
	if err != nil {
		return a.op.at(err)
	}
	return a.target(t, a.op.Value)
}

// pathless applies each attribute of the value as if it had been named by a
// path (sections 3.5.2.1 and 3.5.2.3), in sorted order so that the same
// request always has the same result.
func (a *applier) pathless() error {
	m, ok := a.op.Value.(map[string]any)
	if !ok {
		return a.op.errorf(schema.InvalidValue, "without a path the value must be an object")
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		t := schema.Target{Extension: a.rt.Extension(k)}
		if t.Extension == nil {
			if t.Attr = a.rt.Lookup(k); t.Attr == nil {
				return a.op.errorf(schema.InvalidPath, "%s has no attribute %s", a.rt.Name, k)
			}
		}
		if err := a.target(t, m[k]); err != nil {
			return err
		}
	}
	return nil
}

func (a *applier) target(t schema.Target, v any) error {
	if t.Attr == nil {
		return a.container(t, v)
	}
	if err := a.mutable(t); err != nil {
		return err
	}
	in := a.tree
	if t.Extension != nil {
		in, _ = a.tree[t.Extension.ID].(map[string]any)
		if in == nil {
			in = map[string]any{}
		}
	}
	var err error
	switch {
	case t.Attr.MultiValued:
		err = a.multi(in, t, v)
	case t.Sub != nil:
		err = a.subAttribute(in, t, v)
	case t.Attr.Type == schema.Complex:
		err = a.complex(in, t, v)
	default:
		err = a.simple(in, t, v)
	}
	if err != nil {
		return err
	}
	if t.Extension != nil {
		a.keep(t.Extension, in)
	}
	return nil
}

// keep stores an extension's container, or drops it when it is empty.
func (a *applier) keep(x *schema.Schema, in map[string]any) {
	if len(in) == 0 {
		delete(a.tree, x.ID)
		return
	}
	a.tree[x.ID] = in
}

// mutable refuses read-only targets, and the removal of what is required
// (section 3.5.2.2).
func (a *applier) mutable(t schema.Target) error {
	for _, attr := range []*schema.Attribute{t.Attr, t.Sub} {
		if attr == nil {
			continue
		}
		if attr.Mutability == schema.ReadOnly || attr.Mutability == schema.Immutable {
			return a.op.errorf(schema.NotMutable, "%s cannot be changed", t)
		}
	}
	if a.op.Op == Remove && t.Leaf().Required {
		return a.op.errorf(schema.NotMutable, "%s is required", t)
	}
	return nil
}

// container addresses an extension as a whole.
func (a *applier) container(t schema.Target, v any) error {
	x := t.Extension
	if a.op.Op == Remove || v == nil {
		delete(a.tree, x.ID)
		return nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		return a.op.errorf(schema.InvalidValue, "%s must be an object", x.ID)
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		attr := x.Lookup(k)
		if attr == nil {
			return a.op.errorf(schema.InvalidPath, "%s has no attribute %s", x.ID, k)
		}
		if err := a.target(schema.Target{Extension: x, Attr: attr}, m[k]); err != nil {
			return err
		}
	}
	return nil
}

func (a *applier) simple(in map[string]any, t schema.Target, v any) error {
	if a.op.Op == Remove {
		delete(in, t.Attr.Name)
		return nil
	}
	return a.put(in, t.Attr, v)
}

// put sets or (with nothing) clears one attribute in a map.
func (a *applier) put(in map[string]any, attr *schema.Attribute, v any) error {
	c, err := attr.Value(v)
	if err != nil {
		return a.op.at(err)
	}
	if c == nil {
		if attr.Required {
			return a.op.errorf(schema.InvalidValue, "%s is required", attr.Name)
		}
		delete(in, attr.Name)
		return nil
	}
	in[attr.Name] = c
	return nil
}

func (a *applier) subAttribute(in map[string]any, t schema.Target, v any) error {
	m, _ := in[t.Attr.Name].(map[string]any)
	if m == nil {
		m = map[string]any{}
	}
	if a.op.Op == Remove {
		v = nil
	}
	if err := a.put(m, t.Sub, v); err != nil {
		return err
	}
	if len(m) == 0 {
		delete(in, t.Attr.Name)
		return nil
	}
	in[t.Attr.Name] = m
	return nil
}

// complex merges: sub-attributes that are not given stay (section 3.5.2.3).
func (a *applier) complex(in map[string]any, t schema.Target, v any) error {
	if a.op.Op == Remove || v == nil {
		delete(in, t.Attr.Name)
		return nil
	}
	m, _ := in[t.Attr.Name].(map[string]any)
	if m == nil {
		m = map[string]any{}
	}
	if err := a.merge(t.Attr, m, v); err != nil {
		return err
	}
	if len(m) == 0 {
		delete(in, t.Attr.Name)
		return nil
	}
	in[t.Attr.Name] = m
	return nil
}

// merge puts the sub-attributes of an object into m; null clears one. Unknown
// and read-only ones are ignored, as in a POST.
func (a *applier) merge(attr *schema.Attribute, m map[string]any, v any) error {
	given, ok := v.(map[string]any)
	if !ok {
		return a.op.errorf(schema.InvalidValue, "%s must be an object", attr.Name)
	}
	before, refGiven := m["value"], false
	for _, k := range slices.Sorted(maps.Keys(given)) {
		sub := attr.Lookup(k)
		if sub == nil || sub.Mutability == schema.ReadOnly {
			continue
		}
		refGiven = refGiven || sub.Name == "$ref"
		if err := a.put(m, sub, given[k]); err != nil {
			return err
		}
	}
	if !refGiven && m["value"] != before {
		delete(m, "$ref") // it pointed at the value that is gone
	}
	return nil
}
