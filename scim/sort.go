package scim

import (
	"cmp"
	"slices"
	"strings"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/scim/record"
	"github.com/ssogate/ssogate/scim/schema"
)

// sortOf reads sortBy and sortOrder (RFC 7644 section 3.4.2.3). The path comes
// back in the schema's spelling, a multi-valued attribute with the sub-attribute
// that is compared.
func sortOf(rt *schema.ResourceType, raw map[string]string) (record.Sort, error) {
	var s record.Sort
	switch order := raw["sortOrder"]; {
	case order == "", strings.EqualFold(order, "ascending"):
	case strings.EqualFold(order, "descending"):
		s.Descending = true
	default:
		return s, badRequest(schema.InvalidValue, "sortOrder must be ascending or descending")
	}
	by := strings.TrimSpace(raw["sortBy"])
	if by == "" {
		return record.Sort{}, nil // an order of nothing
	}
	t, err := rt.ResolveName(by)
	switch {
	case err != nil:
		return s, err
	case t.Attr == nil || t.Filter != nil:
		return s, badRequest(schema.InvalidPath, "sortBy must name an attribute")
	case t.Compared().Type == schema.Complex:
		return s, badRequest(schema.InvalidPath, "sortBy: "+t.String()+" is complex: name a sub-attribute")
	case t.Compared().Returned == schema.ReturnedNever:
		return s, badRequest(schema.InvalidPath, "sortBy: "+t.String()+" cannot be sorted by")
	}
	s.By.Attr = t.Attr.Name
	if t.Extension != nil {
		s.By.URN = t.Extension.ID
	}
	if leaf := t.Compared(); leaf != t.Attr {
		s.By.Sub = leaf.Name
	}
	return s, nil
}

// sortTrees orders resources in memory. Missing values come last in ascending
// and first in descending order; equal ones keep the order of creation.
func sortTrees(rt *schema.ResourceType, all []match, s record.Sort) {
	if s.By.Attr != "" {
		sortKeyed(keyed(query{rt: rt, sort: s}, all), s.Descending)
	}
}

// keyed notes what each resource is ordered by.
func keyed(q query, all []match) []match {
	t, err := q.rt.Resolve(q.sort.By)
	if q.sort.By.Attr == "" || err != nil {
		return all // the type has no such attribute
	}
	for i := range all {
		all[i].key = sortKey(t, all[i].tree)
	}
	return all
}

func sortKeyed(all []match, descending bool) {
	slices.SortStableFunc(all, func(a, b match) int {
		if descending {
			return compareKeys(b.key, a.key)
		}
		return compareKeys(a.key, b.key)
	})
}

// sortKey is the value a resource is ordered by: of several the primary one, or
// the first. nil when it has none.
func sortKey(t schema.Target, tree map[string]any) any {
	in := tree
	if t.Extension != nil {
		in, _ = tree[t.Extension.ID].(map[string]any)
	}
	v := in[t.Attr.Name]
	if list, many := v.([]any); many {
		v = nil
		if len(list) > 0 {
			v = list[0]
		}
		if i := slices.IndexFunc(list, schema.IsPrimary); i >= 0 {
			v = list[i]
		}
	}
	leaf := t.Compared()
	if leaf != t.Attr {
		m, _ := v.(map[string]any)
		v = m[leaf.Name]
	}
	s, isText := v.(string)
	switch {
	case !isText:
		return v
	case s == "":
		return nil
	case leaf.Type == schema.DateTime:
		if when, err := schema.ParseTime(s); err == nil {
			return float64(when.UnixMilli())
		}
	case !leaf.CaseExact:
		return member.FoldUserName(s) // as the store orders it
	}
	return s
}

// compareKeys orders values of one attribute, which are of one type.
func compareKeys(a, b any) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	switch a := a.(type) {
	case string:
		b, _ := b.(string)
		return strings.Compare(a, b)
	case float64:
		b, _ := b.(float64)
		return cmp.Compare(a, b)
	case bool:
		b, _ := b.(bool)
		switch {
		case a == b:
			return 0
		case b:
			return -1
		}
		return 1
	}
	return 0
}
