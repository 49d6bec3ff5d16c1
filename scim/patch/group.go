package patch

import (
	"maps"
	"slices"
	"strings"

	"github.com/ssogate/ssogate/scim/filter"
	"github.com/ssogate/ssogate/scim/schema"
)

// GroupChange is what the operations on a group ask for. Nil fields keep what
// is stored.
type GroupChange struct {
	DisplayName *string
	ExternalID  *string
	Steps       []Step // in order; a later step sees the result of an earlier one
}

// Step adds, removes or replaces members. Replace with no ids empties the group.
type Step struct {
	Op  Op
	IDs []string
}

// Group turns the operations of a PATCH on a group into a change, without
// reading the group: what a step means never depends on who is in it. Members
// can therefore be selected by value only. Errors are *Error.
func Group(rt *schema.ResourceType, ops []Operation) (GroupChange, error) {
	g := grouper{rt: rt}
	for _, o := range ops {
		g.op = o
		if err := g.run(); err != nil {
			return GroupChange{}, err
		}
	}
	return g.change, nil
}

type grouper struct {
	rt     *schema.ResourceType
	op     Operation
	change GroupChange
}

func (g *grouper) run() error {
	o := g.op
	switch o.Op {
	case Add, Remove, Replace:
	default:
		return o.errorf(schema.InvalidSyntax, "op must be add, remove or replace")
	}
	if o.Op != Remove && !o.HasValue {
		return o.errorf(schema.InvalidValue, "%s needs a value", o.Op)
	}
	if o.Path != "" {
		t, err := g.rt.ResolveName(o.Path)
		if err != nil {
			return o.at(err)
		}
		return g.target(t, o.Value)
	}
	if o.Op == Remove {
		return o.errorf(schema.NoTarget, "remove needs a path")
	}
	m, ok := o.Value.(map[string]any)
	if !ok {
		return o.errorf(schema.InvalidValue, "without a path the value must be an object")
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		attr := g.rt.Lookup(k)
		if attr == nil {
			return o.errorf(schema.InvalidPath, "%s has no attribute %s", g.rt.Name, k)
		}
		if err := g.target(schema.Target{Attr: attr}, m[k]); err != nil {
			return err
		}
	}
	return nil
}

func (g *grouper) target(t schema.Target, v any) error {
	o := g.op
	if t.Attr == nil || t.Attr.Mutability == schema.ReadOnly {
		return o.errorf(schema.NotMutable, "%s cannot be changed", t)
	}
	if t.Attr.Name == "members" {
		return g.members(t, v)
	}
	text := ""
	if o.Op != Remove {
		c, err := t.Attr.Value(v)
		if err != nil {
			return o.at(err)
		}
		text, _ = c.(string)
	}
	switch t.Attr.Name {
	case "displayName":
		if o.Op == Remove {
			return o.errorf(schema.NotMutable, "displayName is required")
		}
		if text == "" {
			return o.errorf(schema.InvalidValue, "displayName is required")
		}
		g.change.DisplayName = &text
	case "externalId":
		g.change.ExternalID = &text
	default: // unreachable while the group schema has no further attribute
		return o.errorf(schema.InvalidPath, "%s cannot be changed", t)
	}
	return nil
}

func (g *grouper) members(t schema.Target, v any) error {
	o := g.op
	switch {
	case t.Sub != nil && !(o.Op == Remove && t.Sub.Name == "value" && t.Filter != nil):
		// RFC 7643 section 4.2: sub-attributes of members are immutable.
		return o.errorf(schema.NotMutable, "%s cannot be changed: add or remove the member", t)
	case t.Filter != nil:
		if o.Op != Remove {
			return o.errorf(schema.NotMutable, "a member cannot be changed: add or remove it")
		}
		ids, ok := valuesOf(t.Filter, nil)
		if !ok {
			return o.errorf(schema.InvalidFilter, "members are selected by value eq only")
		}
		g.step(Remove, ids)
		return nil
	case o.Op == Remove && (!o.HasValue || v == nil):
		g.step(Replace, nil) // the whole attribute is removed
		return nil
	}
	ids, err := g.ids(t.Attr, v)
	if err != nil {
		return err
	}
	g.step(o.Op, ids)
	return nil
}

// valuesOf reads `value eq "a" or value eq "b"`.
func valuesOf(e filter.Expr, ids []string) ([]string, bool) {
	switch e := e.(type) {
	case *filter.Or:
		ids, ok := valuesOf(e.L, ids)
		if !ok {
			return nil, false
		}
		return valuesOf(e.R, ids)
	case *filter.Compare:
		id, ok := e.Value.(string)
		named := e.Path.URN == "" && e.Path.Sub == "" && e.Path.Filter == nil && strings.EqualFold(e.Path.Attr, "value")
		if !ok || !named || e.Op != filter.EQ {
			return nil, false
		}
		return append(ids, id), true
	}
	return nil, false
}

func (g *grouper) ids(attr *schema.Attribute, v any) ([]string, error) {
	if _, many := v.([]any); !many && v != nil {
		v = []any{v}
	}
	c, err := attr.Value(v)
	if err != nil {
		return nil, g.op.at(err)
	}
	ids, ok := MemberIDs(c)
	if !ok {
		return nil, g.op.errorf(schema.InvalidValue, "a member needs a value")
	}
	return ids, nil
}

// step merges with the one before when both add or both remove: hundreds of
// single-member operations become one statement.
func (g *grouper) step(op Op, ids []string) {
	if n := len(g.change.Steps); n > 0 && op != Replace && g.change.Steps[n-1].Op == op {
		g.change.Steps[n-1].IDs = append(g.change.Steps[n-1].IDs, ids...)
		return
	}
	if len(ids) == 0 && op != Replace {
		return
	}
	g.change.Steps = append(g.change.Steps, Step{Op: op, IDs: ids})
}

// MemberIDs reads the ids out of a canonical members value, each once, in
// order. It is false when an element has no value.
func MemberIDs(members any) ([]string, bool) {
	list, _ := members.([]any)
	ids := make([]string, 0, len(list))
	seen := make(map[string]bool, len(list))
	for _, el := range list {
		m, _ := el.(map[string]any)
		id, _ := m["value"].(string)
		if id == "" {
			return nil, false
		}
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids, true
}
