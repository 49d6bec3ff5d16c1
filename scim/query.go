package scim

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/ssogate/ssogate/scim/client"
	"github.com/ssogate/ssogate/scim/filter"
	"github.com/ssogate/ssogate/scim/record"
	"github.com/ssogate/ssogate/scim/schema"
)

// listParameters are those of a list, in a query and in a search request.
var listParameters = []string{
	"filter", "sortBy", "sortOrder", "startIndex", "count", "cursor", "attributes", "excludedAttributes",
}

// query is what a list request asks for, of one resource type.
type query struct {
	rt     *schema.ResourceType
	filter filter.Expr // nil = everything
	never  bool        // the filter holds for no resource of this type
	sort   record.Sort
	start  int
	count  int
	show   schema.Projection
	cursor bool     // cursor paging (RFC 9865) instead of startIndex
	at     position // where a cursor continues
	digest string   // of filter, sort and type: what a cursor belongs to
}

// parameters of a list, from the query of a GET.
func (c *call) parameters() (map[string]string, error) {
	return client.Query(c.r.URL.RawQuery, listParameters...)
}

// query reads all parameters for one resource type.
func (c *call) query(rt *schema.ResourceType, raw map[string]string) (query, error) {
	q, err := c.paging(rt, raw)
	if err != nil {
		return query{}, err
	}
	if s := raw["filter"]; s != "" {
		e, err := filter.Parse(s, c.profile.Mode())
		if err != nil {
			return query{}, err
		}
		e = client.Filter(rt, e, c.profile, &c.notes)
		if err := rt.CheckFilter(e); err != nil {
			return query{}, err
		}
		q.narrow(e)
	}
	return q, c.resume(&q, rt.Name, raw)
}

// paging reads everything but the filter.
func (c *call) paging(rt *schema.ResourceType, raw map[string]string) (query, error) {
	var err error
	q := query{rt: rt, start: 1, count: defaultCount}
	if q.show, err = rt.Projection(schema.SplitNames(raw["attributes"]), schema.SplitNames(raw["excludedAttributes"])); err != nil {
		return query{}, err
	}
	if q.sort, err = sortOf(rt, raw); err != nil {
		return query{}, err
	}
	_, q.cursor = raw["cursor"]
	if _, both := raw["startIndex"]; both && q.cursor {
		return query{}, badRequest(schema.InvalidValue, "startIndex and cursor exclude each other")
	}
	// RFC 7644 section 3.4.2.4: startIndex below 1 is 1, a negative count is 0.
	if q.start, err = integer(raw, "startIndex", 1, 1, 1<<31-1); err != nil {
		return query{}, err
	}
	q.count, err = integer(raw, "count", defaultCount, 0, maxCount)
	return q, err
}

// narrow sets the filter, unless it holds for all or none of this type.
func (q *query) narrow(e filter.Expr) {
	switch e, is := simplify(q.rt, e); is {
	case never:
		q.never = true
	case sometimes:
		q.filter = e
	}
}

// of is the question to the store.
func (q query) of(connection string) Query {
	return Query{Connection: connection, Filter: q.filter, Sort: q.sort, Start: q.start, After: q.at.After, Count: q.count}
}

func integer(raw map[string]string, name string, missing, least, most int) (int, error) {
	s, given := raw[name]
	if !given || s == "" {
		return missing, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, badRequest(schema.InvalidValue, name+" must be an integer")
	}
	return min(max(n, least), most), nil
}

// truth is what a filter is for every resource of a type.
type truth int

const (
	sometimes truth = iota
	always
	never
)

// simplify answers what a filter says of one type without looking at any
// resource: its type and core schema are the same for all, and an attribute that
// a type does not have matches nothing there (RFC 7644 section 3.4.2.1, a query of
// the root). Recursion is as deep as the parser lets expressions nest, or as
// many terms as it lets them have.
func simplify(rt *schema.ResourceType, e filter.Expr) (filter.Expr, truth) {
	switch e := e.(type) {
	case *filter.Compare:
		return e, known(rt, e)
	case *filter.Not:
		x, is := simplify(rt, e.X)
		switch is {
		case always:
			return nil, never
		case never:
			return nil, always
		}
		return &filter.Not{X: x}, sometimes
	case *filter.And:
		l, r, is := both(rt, e.L, e.R, never, always)
		if is != sometimes || l == nil || r == nil {
			return either(l, r), is
		}
		return &filter.And{L: l, R: r}, sometimes
	case *filter.Or:
		l, r, is := both(rt, e.L, e.R, always, never)
		if is != sometimes || l == nil || r == nil {
			return either(l, r), is
		}
		return &filter.Or{L: l, R: r}, sometimes
	}
	return e, sometimes
}

// both simplifies two operands: decides decides alone, neutral is left out.
func both(rt *schema.ResourceType, l, r filter.Expr, decides, neutral truth) (filter.Expr, filter.Expr, truth) {
	le, lt := simplify(rt, l)
	re, rtruth := simplify(rt, r)
	switch {
	case lt == decides || rtruth == decides:
		return nil, nil, decides
	case lt == neutral && rtruth == neutral:
		return nil, nil, neutral
	case lt == neutral:
		return nil, re, sometimes
	case rtruth == neutral:
		return le, nil, sometimes
	}
	return le, re, sometimes
}

func either(l, r filter.Expr) filter.Expr {
	if l != nil {
		return l
	}
	return r
}

func known(rt *schema.ResourceType, c *filter.Compare) truth {
	t, err := rt.Resolve(c.Path)
	if err != nil || t.Attr == nil {
		return never
	}
	sure := func(b bool) truth {
		if b {
			return always
		}
		return never
	}
	switch {
	case t.Extension != nil:
	case t.Attr.Name == "meta" && t.Sub != nil && t.Sub.Name == "resourceType":
		return sure(rt.Match(map[string]any{"meta": map[string]any{"resourceType": rt.Name}}, c))
	case t.Attr.Name == "schemas":
		urn, _ := c.Value.(string)
		switch {
		case c.Op == filter.PR, c.Op == filter.EQ && strings.EqualFold(urn, rt.Core.ID):
			return always
		case c.Op == filter.EQ && rt.Extension(urn) == nil:
			return never
		}
	}
	return sometimes
}

// mentions reports whether a query looks at an attribute, by filter or order.
func (q query) mentions(attr string) bool {
	return q.sort.By.URN == "" && q.sort.By.Attr == attr || mentions(q.filter, attr)
}

func mentions(e filter.Expr, attr string) bool {
	switch e := e.(type) {
	case *filter.Compare:
		return e.Path.URN == "" && e.Path.Attr == attr
	case *filter.And:
		return mentions(e.L, attr) || mentions(e.R, attr)
	case *filter.Or:
		return mentions(e.L, attr) || mentions(e.R, attr)
	case *filter.Not:
		return mentions(e.X, attr)
	}
	return false
}

// source is where the resources of one type come from.
type source[T any] struct {
	rt   *schema.ResourceType
	find func(context.Context, Query) (record.Found[T], error)
	// trees builds whole resources; related is whether the costly part (groups of
	// a user, members of a group) is wanted.
	trees   func(list []T, related bool) ([]map[string]any, error)
	related string
	weight  func(T) int // bytes that one takes in memory, roughly
}
