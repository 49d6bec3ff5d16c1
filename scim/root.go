package scim

import (
	"maps"
	"slices"

	"github.com/ssogate/ssogate/scim/client"
	"github.com/ssogate/ssogate/scim/filter"
	"github.com/ssogate/ssogate/scim/record"
	"github.com/ssogate/ssogate/scim/schema"
)

// root lists users, then groups, as one list (RFC 7644 section 3.4.2.1).
func (c *call) root(raw map[string]string) (reply, error) {
	c.did.verb, c.params = "listed", raw
	users, groups, err := c.rootQueries(raw)
	if err != nil {
		return reply{}, err
	}
	var l listing
	switch {
	case users.sort.By.Attr != "" || groups.sort.By.Attr != "":
		l, err = c.rootSorted(users, groups)
	case users.cursor:
		l, err = c.rootFrom(users, groups)
	default:
		l, err = c.rootAt(users, groups)
	}
	if err != nil {
		return reply{}, err
	}
	c.did.found = l.total
	return c.listReply(l, users), nil
}

// rootQueries reads the parameters once for each type. An attribute that only
// one type has matches nothing of the other, and gives it no place in an order.
func (c *call) rootQueries(raw map[string]string) (users, groups query, err error) {
	types := []*schema.ResourceType{c.h.registry.User, c.h.registry.Group}
	queries := make([]query, len(types))
	sorts, err := rootSorts(types, raw)
	if err != nil {
		return users, groups, err
	}
	rest := maps.Clone(raw)
	delete(rest, "sortBy")
	for i, rt := range types {
		if queries[i], err = c.paging(rt, rest); err != nil {
			return users, groups, err
		}
		queries[i].sort = sorts[i]
	}
	if s := raw["filter"]; s != "" {
		parsed, err := filter.Parse(s, c.profile.Mode())
		if err != nil {
			return users, groups, err
		}
		if err := everywhere(types, parsed); err != nil {
			return users, groups, err
		}
		for i, rt := range types {
			queries[i].narrow(client.Filter(rt, parsed, c.profile, &c.notes))
			if queries[i].filter == nil {
				continue
			}
			if err := rt.CheckFilter(queries[i].filter); err != nil {
				return users, groups, err
			}
		}
	}
	// One cursor for the whole list: it belongs to neither type.
	if err := c.resume(&queries[0], "root", raw); err != nil {
		return users, groups, err
	}
	queries[1].at = queries[0].at
	return queries[0], queries[1], nil
}

// rootSorts is sortBy for each type that has the attribute; none having it is
// the error that any other list would give.
func rootSorts(types []*schema.ResourceType, raw map[string]string) ([]record.Sort, error) {
	out := make([]record.Sort, len(types))
	var first error
	ok := false
	for i, rt := range types {
		s, err := sortOf(rt, raw)
		switch {
		case err == nil:
			out[i], ok = s, true
		case first == nil:
			first = err
		}
	}
	if !ok {
		return nil, first
	}
	for i := range out {
		out[i].Descending = slices.ContainsFunc(out, func(s record.Sort) bool { return s.Descending })
	}
	return out, nil
}

// rootAt is index paging over one type after the other.
func (c *call) rootAt(users, groups query) (listing, error) {
	l, err := page(c, c.users(), users)
	if err != nil {
		return listing{}, err
	}
	groups.start = max(users.start-l.total, 1)
	groups.count = users.count - len(l.resources)
	more, err := page(c, c.groups(), groups)
	if err != nil {
		return listing{}, err
	}
	l.resources = append(l.resources, more.resources...)
	l.total += more.total
	return l, nil
}

// rootFrom is cursor paging. A page holds one type only: RFC 9865 section 2 lets
// it be shorter than asked for, and the position then stays one of the store's.
func (c *call) rootFrom(users, groups query) (listing, error) {
	phase := users.at.Phase
	if phase == 0 {
		groups.at, groups.count = position{}, 0
	} else {
		users.at, users.count = position{}, 0
	}
	u, err := page(c, c.users(), users)
	if err != nil {
		return listing{}, err
	}
	g, err := page(c, c.groups(), groups)
	if err != nil {
		return listing{}, err
	}
	l := listing{total: u.total + g.total}
	switch {
	case phase != 0:
		if l.resources, l.next = g.resources, g.next; l.next != (position{}) {
			l.next.Phase = 1
		}
	case len(u.resources) == 0 && u.total == 0 && g.total > 0 && users.count > 0:
		// No page of nothing before the groups.
		users.at.Phase = 1
		groups.count = users.count
		return c.rootFrom(users, groups)
	default:
		if l.resources, l.next = u.resources, u.next; l.next == (position{}) && g.total > 0 && users.count > 0 {
			l.next = position{Phase: 1}
		}
	}
	return l, nil
}

// rootSorted merges both types in memory.
func (c *call) rootSorted(users, groups query) (listing, error) {
	var all []match
	if !users.never {
		found, err := collect(c, c.users(), users)
		if err != nil {
			return listing{}, err
		}
		all = append(all, keyed(users, found)...)
	}
	if !groups.never {
		found, err := collect(c, c.groups(), groups)
		if err != nil {
			return listing{}, err
		}
		all = append(all, keyed(groups, found)...)
	}
	sortKeyed(all, users.sort.Descending)
	start := users.start
	if users.cursor && users.at.Start > 0 {
		start = users.at.Start
	}
	from := min(start-1, len(all))
	to := min(from+users.count, len(all))
	l := listing{total: len(all), resources: make([]any, 0, to-from)}
	for _, m := range all[from:to] {
		show := users.show
		if meta, ok := m.tree["meta"].(map[string]any); ok && meta["resourceType"] == groups.rt.Name {
			show = groups.show
		}
		l.resources = append(l.resources, show.Apply(m.tree))
	}
	if to < len(all) && users.count > 0 {
		l.next.Start = to + 1
	}
	return l, nil
}

// everywhere refuses a name that no type has, so that a typing error in a query
// of the root is an error, as it is elsewhere.
func everywhere(types []*schema.ResourceType, e filter.Expr) error {
	switch e := e.(type) {
	case *filter.Compare:
		var first error
		for _, rt := range types {
			_, err := rt.Resolve(e.Path)
			if err == nil {
				return nil
			}
			if first == nil {
				first = err
			}
		}
		return badRequest(schema.InvalidFilter, faultOf(first).Detail)
	case *filter.And:
		if err := everywhere(types, e.L); err != nil {
			return err
		}
		return everywhere(types, e.R)
	case *filter.Or:
		if err := everywhere(types, e.L); err != nil {
			return err
		}
		return everywhere(types, e.R)
	case *filter.Not:
		return everywhere(types, e.X)
	}
	return nil
}
