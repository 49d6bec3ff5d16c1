package patch

import (
	"reflect"
	"slices"

	"github.com/ssogate/ssogate/scim/filter"
	"github.com/ssogate/ssogate/scim/schema"
)

// multi applies the operation to a multi-valued attribute.
func (a *applier) multi(in map[string]any, t schema.Target, v any) error {
	list, _ := in[t.Attr.Name].([]any)
	var err error
	switch {
	case t.Filter != nil || t.Sub != nil:
		list, err = a.selected(list, t, v)
	case a.op.Op == Remove:
		list, err = a.removeValues(list, t.Attr, v)
	default:
		list, err = a.wholeValues(list, t.Attr, v)
	}
	if err != nil {
		return err
	}
	if len(list) > schema.MaxValues {
		return a.op.errorf(schema.InvalidValue, "%s would have more than %d values", t.Attr.Name, schema.MaxValues)
	}
	if len(list) == 0 {
		delete(in, t.Attr.Name)
		return nil
	}
	in[t.Attr.Name] = list
	return nil
}

// wholeValues adds values, or replaces the whole list.
func (a *applier) wholeValues(list []any, attr *schema.Attribute, v any) ([]any, error) {
	if _, many := v.([]any); !many && v != nil {
		v = []any{v} // "add" of a single value (section 3.5.2.1)
	}
	c, err := attr.Value(v)
	if err != nil {
		return nil, a.op.at(err)
	}
	given, _ := c.([]any)
	if a.op.Op == Replace {
		return given, nil
	}
	for _, el := range given {
		if slices.ContainsFunc(list, func(have any) bool { return covers(have, el) }) {
			continue // already there: success without a change (T13)
		}
		list = append(list, el)
		onePrimary(list, len(list)-1)
	}
	return list, nil
}

// removeValues removes the whole attribute, or only the listed values when
// there are any (T6: Entra's `Remove members` with a value array).
func (a *applier) removeValues(list []any, attr *schema.Attribute, v any) ([]any, error) {
	if !a.op.HasValue || v == nil {
		return nil, nil
	}
	if _, many := v.([]any); !many {
		v = []any{v}
	}
	c, err := attr.Value(v)
	if err != nil {
		return nil, a.op.at(err)
	}
	given, _ := c.([]any)
	return slices.DeleteFunc(list, func(have any) bool {
		return slices.ContainsFunc(given, func(el any) bool { return covers(have, el) })
	}), nil
}

// covers reports whether have holds everything that el says. An added value
// that says nothing new is the same value.
func covers(have, el any) bool {
	h, ok1 := have.(map[string]any)
	e, ok2 := el.(map[string]any)
	if !ok1 || !ok2 {
		return reflect.DeepEqual(have, el)
	}
	for k, v := range e {
		if !reflect.DeepEqual(h[k], v) {
			return false
		}
	}
	return true
}

// onePrimary keeps element i the only primary one, if it is primary (section
// 3.5.2: setting one true SHALL set the others false).
func onePrimary(list []any, i int) {
	if !schema.IsPrimary(list[i]) {
		return
	}
	for j, el := range list {
		if other, ok := el.(map[string]any); ok && j != i && schema.IsPrimary(other) {
			other["primary"] = false
		}
	}
}

// selected applies the operation to the elements a value filter selects, or to
// all of them when only a sub-attribute is named (`emails.type`).
func (a *applier) selected(list []any, t schema.Target, v any) ([]any, error) {
	if t.Filter != nil {
		probe := &filter.Compare{Path: filter.Path{Attr: t.Attr.Name, Filter: t.Filter}, Op: filter.PR}
		if t.Extension != nil {
			probe.Path.URN = t.Extension.ID
		}
		if err := a.rt.CheckFilter(probe); err != nil {
			return nil, a.op.at(err)
		}
	}
	matched := false
	for i, el := range list {
		if t.Filter != nil && !t.Attr.MatchElement(el, t.Filter) {
			continue
		}
		matched = true
		next, err := a.element(el, t, v)
		if err != nil {
			return nil, err
		}
		list[i] = next
		if next != nil {
			onePrimary(list, i)
		}
	}
	if !matched && a.op.Op != Remove {
		return a.create(list, t, v)
	}
	return slices.DeleteFunc(list, func(el any) bool { return hollow(t.Attr, el) }), nil
}

// element answers what becomes of one selected element; nil removes it.
func (a *applier) element(el any, t schema.Target, v any) (any, error) {
	m, ok := el.(map[string]any)
	if !ok {
		return el, nil
	}
	switch {
	case t.Sub != nil:
		if a.op.Op == Remove {
			v = nil
		}
		return m, a.put(m, t.Sub, v)
	case a.op.Op == Remove:
		return nil, nil
	case a.op.Op == Replace:
		fresh := map[string]any{}
		if a.opt.CreateMissing {
			// A client that replaces [type eq "work"] with {value} does not
			// mean the value to lose the type by which it found it.
			fresh, _ = fromFilter(t)
			if fresh == nil {
				fresh = map[string]any{}
			}
		}
		return fresh, a.merge(t.Attr, fresh, v)
	default:
		return m, a.merge(t.Attr, m, v)
	}
}

// create is T7: the element that was not found is built from the filter.
func (a *applier) create(list []any, t schema.Target, v any) ([]any, error) {
	fresh, ok := fromFilter(t)
	if !ok || !a.opt.CreateMissing || t.Attr.Name == "members" {
		return nil, a.op.errorf(schema.NoTarget, "%s matches no value", t)
	}
	if v == nil {
		return list, nil // clearing what is not there
	}
	next, err := a.element(fresh, t, v)
	if err != nil {
		return nil, err
	}
	if hollow(t.Attr, next) {
		return list, nil
	}
	list = append(list, next)
	onePrimary(list, len(list)-1)
	return list, nil
}

// fromFilter is the element a conjunction of eq describes.
func fromFilter(t schema.Target) (map[string]any, bool) {
	m := map[string]any{}
	return m, describe(t.Attr, t.Filter, m)
}

func describe(attr *schema.Attribute, e filter.Expr, m map[string]any) bool {
	switch e := e.(type) {
	case nil:
		return true // no filter: `emails.value` of a user without e-mails
	case *filter.And:
		return describe(attr, e.L, m) && describe(attr, e.R, m)
	case *filter.Compare:
		sub := attr.Lookup(e.Path.Attr)
		if sub == nil || e.Op != filter.EQ || e.Value == nil {
			return false
		}
		c, err := sub.Value(e.Value)
		if err != nil {
			return false
		}
		m[sub.Name] = c
		return true
	}
	return false
}

// hollow reports an element in which nothing but its labels is left: an e-mail
// without an address is what "" or null of its value leaves behind (T8).
func hollow(attr *schema.Attribute, el any) bool {
	m, ok := el.(map[string]any)
	if !ok {
		return el == nil
	}
	for k := range m {
		switch k {
		case "type", "primary":
		case "display", "$ref":
			if attr.Lookup("value") == nil {
				return false
			}
		default:
			return false
		}
	}
	return true
}
