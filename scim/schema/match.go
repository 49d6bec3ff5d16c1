package schema

import (
	"strings"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/scim/filter"
)

// CheckFilter reports names and comparisons that can never be answered, as an
// *Error of type invalidFilter, before any store is asked.
func (rt *ResourceType) CheckFilter(e filter.Expr) error {
	return walk(e, func(c *filter.Compare) error {
		t, err := rt.Resolve(c.Path)
		if err != nil {
			return errorf(InvalidFilter, "%s", detail(err))
		}
		if t.Attr == nil {
			return errorf(InvalidFilter, "%s is not an attribute", t)
		}
		if t.Filter != nil {
			if err := t.Attr.checkInner(t.Filter); err != nil {
				return err
			}
		}
		return t.Compared().checkOp(c)
	})
}

// CheckInner does the same for a value filter of a multi-valued attribute.
func (a *Attribute) checkInner(e filter.Expr) error {
	return walk(e, func(c *filter.Compare) error {
		s := a.Lookup(c.Path.Attr)
		if s == nil || c.Path.URN != "" || c.Path.Sub != "" || c.Path.Filter != nil {
			return errorf(InvalidFilter, "%s has no sub-attribute %s", a.Name, c.Path)
		}
		return s.checkOp(c)
	})
}

func detail(err error) string {
	if e, ok := err.(*Error); ok { //nolint:errorlint // our own, never wrapped
		return e.Detail
	}
	return err.Error()
}

// walk visits every comparison. Depth is bounded by the filter's own limits.
func walk(e filter.Expr, visit func(*filter.Compare) error) error {
	switch e := e.(type) {
	case *filter.Compare:
		return visit(e)
	case *filter.And:
		if err := walk(e.L, visit); err != nil {
			return err
		}
		return walk(e.R, visit)
	case *filter.Or:
		if err := walk(e.L, visit); err != nil {
			return err
		}
		return walk(e.R, visit)
	case *filter.Not:
		return walk(e.X, visit)
	}
	return nil
}

// Compared is the attribute whose value a comparison looks at: for a complex
// attribute without a sub-attribute that is `value`
// (RFC 7644 section 3.4.2.2: `emails co "example.com"`).
func (t Target) Compared() *Attribute {
	if t.Sub != nil {
		return t.Sub
	}
	if t.Attr.Type == Complex {
		if v := t.Attr.Lookup("value"); v != nil {
			return v
		}
	}
	return t.Attr
}

// checkOp refuses comparisons that section 3.4.2.2 forbids: ordering booleans
// or binary, and comparing a complex value as a whole.
func (a *Attribute) checkOp(c *filter.Compare) error {
	if a.Returned == ReturnedNever {
		// Filtering on a secret would answer questions about it.
		return errorf(InvalidFilter, "%s cannot be filtered on", a.Name)
	}
	switch c.Op {
	case filter.PR:
		return nil
	case filter.GT, filter.GE, filter.LT, filter.LE:
		if a.Type == Boolean || a.Type == Binary || c.Value == nil {
			return errorf(InvalidFilter, "%s cannot be ordered", a.Name)
		}
	}
	if a.Type == Complex && c.Value != nil {
		return errorf(InvalidFilter, "%s is complex: compare a sub-attribute", a.Name)
	}
	if a.Type == DateTime && c.Value != nil {
		s, ok := c.Value.(string)
		if !ok {
			return errorf(InvalidFilter, "%s must be compared with a date and time", a.Name)
		}
		if _, err := ParseTime(s); err != nil && (c.Op != filter.SW && c.Op != filter.CO && c.Op != filter.EW) {
			return errorf(InvalidFilter, "%s must be compared with a date and time", a.Name)
		}
	}
	return nil
}

// Match evaluates a filter on a canonical tree. Check it with CheckFilter
// first: what is unknown here is simply not matched.
func (rt *ResourceType) Match(tree map[string]any, e filter.Expr) bool {
	return eval(e, func(c *filter.Compare) bool {
		t, err := rt.Resolve(c.Path)
		if err != nil || t.Attr == nil {
			return false
		}
		in := tree
		if t.Extension != nil {
			in, _ = tree[t.Extension.ID].(map[string]any)
		}
		return matchAttr(t, in[t.Attr.Name], c)
	})
}

// MatchElement evaluates a value filter on one element of the attribute, so
// that `emails[type eq "work" and value co "x"]` holds only when ONE element
// satisfies both.
func (a *Attribute) MatchElement(el any, e filter.Expr) bool {
	m, ok := el.(map[string]any)
	if !ok {
		return false
	}
	return eval(e, func(c *filter.Compare) bool {
		s := a.Lookup(c.Path.Attr)
		if s == nil {
			return false
		}
		return s.compare(m[s.Name], c.Op, c.Value)
	})
}

func eval(e filter.Expr, one func(*filter.Compare) bool) bool {
	switch e := e.(type) {
	case *filter.Compare:
		return one(e)
	case *filter.And:
		return eval(e.L, one) && eval(e.R, one)
	case *filter.Or:
		return eval(e.L, one) || eval(e.R, one)
	case *filter.Not:
		return !eval(e.X, one)
	}
	return false
}

// matchAttr applies a comparison to one attribute; of a multi-valued one any
// value may match.
func matchAttr(t Target, v any, c *filter.Compare) bool {
	leaf := t.Compared()
	pick := func(el any) any {
		if leaf == t.Attr {
			return el
		}
		m, _ := el.(map[string]any)
		return m[leaf.Name]
	}
	list, many := v.([]any)
	if !many {
		return leaf.compare(pick(v), c.Op, c.Value)
	}
	for _, el := range list {
		if t.Filter != nil && !t.Attr.MatchElement(el, t.Filter) {
			continue
		}
		if t.Filter != nil && t.Sub == nil && c.Op == filter.PR {
			return true // a bare value filter: the element itself is what is asked for
		}
		if leaf.compare(pick(el), c.Op, c.Value) {
			return true
		}
	}
	return false
}

// compare is one value against one operand. Absent equals only null and the
// empty string, which is the same state (RFC 7643 section 2.5).
func (a *Attribute) compare(v any, op filter.Op, want any) bool {
	present := v != nil && v != ""
	switch {
	case op == filter.PR:
		return present
	case op == filter.EQ && (want == nil || want == ""):
		return !present
	case op == filter.NE:
		return !a.compare(v, filter.EQ, want)
	case v == nil:
		return false
	}
	switch v := v.(type) {
	case bool:
		w, ok := want.(bool)
		return ok && op == filter.EQ && v == w
	case float64:
		w, ok := want.(float64)
		return ok && ordered(op, v-w)
	case string:
		w, ok := want.(string)
		return ok && a.compareText(v, op, w)
	}
	return false
}

func (a *Attribute) compareText(v string, op filter.Op, w string) bool {
	if a.Type == DateTime {
		tv, err1 := ParseTime(v)
		tw, err2 := ParseTime(w)
		if err1 == nil && err2 == nil {
			return ordered(op, float64(tv.Compare(tw)))
		}
	}
	if !a.CaseExact {
		v, w = member.FoldUserName(v), member.FoldUserName(w) // as the store compares its columns
		if v == "" {
			return op == filter.EQ && w == "" // nothing but space is as good as absent
		}
	}
	switch op {
	case filter.CO:
		return strings.Contains(v, w)
	case filter.SW:
		return strings.HasPrefix(v, w)
	case filter.EW:
		return strings.HasSuffix(v, w)
	}
	return ordered(op, float64(strings.Compare(v, w)))
}

func ordered(op filter.Op, d float64) bool {
	switch op {
	case filter.EQ:
		return d == 0
	case filter.GT:
		return d > 0
	case filter.GE:
		return d >= 0
	case filter.LT:
		return d < 0
	case filter.LE:
		return d <= 0
	}
	return false
}
