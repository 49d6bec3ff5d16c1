package client

import (
	"strconv"
	"strings"

	"github.com/ssogate/ssogate/scim/filter"
	"github.com/ssogate/ssogate/scim/schema"
)

// Mode is how filters of this profile are parsed.
func (p Profile) Mode() filter.Mode {
	if p == Strict {
		return filter.Strict
	}
	return filter.Lenient
}

// Filter answers a copy with names in the schema's spelling, the core URN left
// out and (in the auto profile) operands in the attribute's type, so that a
// store compares words without knowing any schema. Unknown names stay.
func Filter(rt *schema.ResourceType, e filter.Expr, p Profile, notes *Notes) filter.Expr {
	r := reader{rt: rt, notes: notes}
	return rebuild(e, func(c filter.Compare) filter.Compare {
		t, err := rt.Resolve(c.Path)
		if err != nil || t.Attr == nil {
			return c
		}
		c.Path.URN = ""
		if t.Extension != nil {
			c.Path.URN = t.Extension.ID
		}
		c.Path.Attr = t.Attr.Name
		if t.Sub != nil {
			c.Path.Sub = t.Sub.Name
		}
		if c.Path.Filter != nil {
			c.Path.Filter = r.inner(t.Attr, c.Path.Filter)
		}
		if p != Strict {
			c.Value = r.operand(t.Compared(), c.Value)
		}
		return c
	})
}

// inner does the same inside a value filter.
func (r reader) inner(a *schema.Attribute, e filter.Expr) filter.Expr {
	return rebuild(e, func(c filter.Compare) filter.Compare {
		if sub := a.Lookup(c.Path.Attr); sub != nil {
			c.Path.Attr = sub.Name
			c.Value = r.operand(sub, c.Value)
		}
		return c
	})
}

// operand is T2 (`primary eq "True"`) and T12 (an unquoted number compared
// with text: `externalId eq 4711`).
func (r reader) operand(a *schema.Attribute, v any) any {
	switch v := v.(type) {
	case string:
		if a.Type == schema.Boolean && (strings.EqualFold(v, "true") || strings.EqualFold(v, "false")) {
			return r.boolean(v)
		}
	case float64:
		switch a.Type {
		case schema.Boolean, schema.Integer, schema.Decimal:
		default:
			r.notes.add("T12")
			return strconv.FormatFloat(v, 'f', -1, 64)
		}
	}
	return v
}

func rebuild(e filter.Expr, change func(filter.Compare) filter.Compare) filter.Expr {
	switch e := e.(type) {
	case *filter.Compare:
		c := change(*e)
		return &c
	case *filter.And:
		return &filter.And{L: rebuild(e.L, change), R: rebuild(e.R, change)}
	case *filter.Or:
		return &filter.Or{L: rebuild(e.L, change), R: rebuild(e.R, change)}
	case *filter.Not:
		return &filter.Not{X: rebuild(e.X, change)}
	}
	return e
}
