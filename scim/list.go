package scim

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/scim/client"
	"github.com/ssogate/ssogate/scim/filter"
	"github.com/ssogate/ssogate/scim/record"
	"github.com/ssogate/ssogate/scim/schema"
)

// listURN marks a list (RFC 7644 section 3.4.2).
const listURN = "urn:ietf:params:scim:api:messages:2.0:ListResponse"

func listResponse(resources []any, total, start int) map[string]any {
	out := map[string]any{
		"schemas": []string{listURN}, "totalResults": total,
		"startIndex": start, "itemsPerPage": len(resources),
	}
	if len(resources) > 0 {
		out["Resources"] = resources
	}
	return out
}

// query is what a list request asks for.
type query struct {
	filter filter.Expr
	start  int
	count  int
	show   schema.Projection
}

func (q query) of(connection string) Query {
	return Query{Connection: connection, Filter: q.filter, Start: q.start, Count: q.count}
}

// parameters of a list, from the query of a GET.
func (c *call) parameters() (map[string]string, error) {
	return client.Query(c.r.URL.RawQuery, "filter", "startIndex", "count", "attributes", "excludedAttributes")
}

// query reads filter, startIndex, count and the projection. sortBy and
// sortOrder are not supported (ServiceProviderConfig says so) and ignored, like
// any unknown parameter.
func (c *call) query(rt *schema.ResourceType, raw map[string]string) (query, error) {
	var err error
	q := query{start: 1, count: defaultCount}
	if q.show, err = rt.Projection(schema.SplitNames(raw["attributes"]), schema.SplitNames(raw["excludedAttributes"])); err != nil {
		return query{}, err
	}
	if s := raw["filter"]; s != "" {
		e, err := filter.Parse(s, c.profile.Mode())
		if err != nil {
			return query{}, err
		}
		q.filter = client.Filter(rt, e, c.profile, &c.notes)
		if err := rt.CheckFilter(q.filter); err != nil {
			return query{}, err
		}
	}
	// RFC 7644 section 3.4.2.4: startIndex below 1 is 1, a negative count is 0.
	if q.start, err = integer(raw, "startIndex", 1, 1, 1<<31-1); err != nil {
		return query{}, err
	}
	q.count, err = integer(raw, "count", defaultCount, 0, maxCount)
	return q, err
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

func (c *call) listUsers() (reply, error) {
	raw, err := c.parameters()
	if err != nil {
		return reply{}, err
	}
	return c.usersBy(raw)
}

func (c *call) usersBy(raw map[string]string) (reply, error) {
	rt := c.h.registry.User
	q, err := c.query(rt, raw)
	if err != nil {
		return reply{}, err
	}
	found, err := c.h.o.Searcher.SearchMembers(c.ctx, q.of(c.conn.ID))
	list, total := found.Items, found.Total
	if errors.Is(err, filter.ErrUnsupported) {
		list, total, err = scan(c.ctx, q, scanner[member.Member]{
			next: func(after string) (record.Found[member.Member], error) {
				return c.h.o.Searcher.SearchMembers(c.ctx, Query{Connection: c.conn.ID, After: after, Count: scanPage})
			},
			trees: func(ms []member.Member) ([]map[string]any, error) {
				return c.userTrees(ms, mentions(q.filter, "groups"))
			},
			rt: rt,
		})
	}
	if err != nil {
		return reply{}, err
	}
	trees, err := c.userTrees(list, q.show.Wants("groups"))
	if err != nil {
		return reply{}, err
	}
	return listReply(trees, total, q), nil
}

// userTrees reads the teams of all members in one statement.
func (c *call) userTrees(list []member.Member, withTeams bool) ([]map[string]any, error) {
	var teams map[member.ID][]member.Team
	if withTeams && len(list) > 0 {
		ids := make([]member.ID, len(list))
		for i, m := range list {
			ids[i] = m.ID
		}
		var err error
		if teams, err = c.h.o.Searcher.TeamsOfMembers(c.ctx, ids); err != nil {
			return nil, err
		}
	}
	out := make([]map[string]any, 0, len(list))
	for _, m := range list {
		tree, err := c.h.userResource(m, teams[m.ID])
		if err != nil {
			return nil, err
		}
		out = append(out, tree)
	}
	return out, nil
}

func (c *call) listGroups() (reply, error) {
	raw, err := c.parameters()
	if err != nil {
		return reply{}, err
	}
	return c.groupsBy(raw)
}

func (c *call) groupsBy(raw map[string]string) (reply, error) {
	rt := c.h.registry.Group
	q, err := c.query(rt, raw)
	if err != nil {
		return reply{}, err
	}
	found, err := c.h.o.Searcher.SearchTeams(c.ctx, q.of(c.conn.ID))
	list, total := found.Items, found.Total
	if errors.Is(err, filter.ErrUnsupported) {
		list, total, err = scan(c.ctx, q, scanner[member.Team]{
			next: func(after string) (record.Found[member.Team], error) {
				return c.h.o.Searcher.SearchTeams(c.ctx, Query{Connection: c.conn.ID, After: after, Count: scanPage})
			},
			trees: func(ts []member.Team) ([]map[string]any, error) {
				return c.groupTrees(ts, mentions(q.filter, "members"))
			},
			rt: rt,
		})
	}
	if err != nil {
		return reply{}, err
	}
	trees, err := c.groupTrees(list, q.show.Wants("members"))
	if err != nil {
		return reply{}, err
	}
	return listReply(trees, total, q), nil
}

func (c *call) groupTrees(list []member.Team, withMembers bool) ([]map[string]any, error) {
	var members map[member.ID][]member.Member
	if withMembers && len(list) > 0 {
		ids := make([]member.ID, len(list))
		for i, t := range list {
			ids[i] = t.ID
		}
		var err error
		if members, err = c.h.o.Searcher.MembersOfTeams(c.ctx, ids); err != nil {
			return nil, err
		}
	}
	out := make([]map[string]any, 0, len(list))
	for _, t := range list {
		shown := make([]member.TeamMember, 0, len(members[t.ID]))
		for _, m := range members[t.ID] {
			shown = append(shown, member.TeamMember{ID: m.ID, DisplayName: m.DisplayName})
		}
		out = append(out, c.h.groupResource(t, shown))
	}
	return out, nil
}

func listReply(trees []map[string]any, total int, q query) reply {
	resources := make([]any, 0, len(trees))
	for _, t := range trees {
		resources = append(resources, q.show.Apply(t))
	}
	return reply{status: http.StatusOK, body: listResponse(resources, total, q.start)}
}

// mentions reports whether a filter looks at an attribute.
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

// scanner reads resources page by page for a filter the store cannot answer.
type scanner[T any] struct {
	next  func(after string) (record.Found[T], error)
	trees func([]T) ([]map[string]any, error)
	rt    *schema.ResourceType
}

// scan evaluates the filter in memory over at most scanLimit resources; past
// that it answers tooMany (RFC 7644 section 3.12) rather than let one request
// read a million members.
func scan[T any](ctx context.Context, q query, s scanner[T]) (matched []T, total int, err error) {
	for after := ""; ; {
		found, err := s.next(after)
		switch {
		case err != nil:
			return nil, 0, err
		case found.Total > scanLimit:
			return nil, 0, badRequest(schema.TooMany, "this filter would have to look at more than 10000 resources")
		case ctx.Err() != nil:
			return nil, 0, ctx.Err()
		}
		trees, err := s.trees(found.Items)
		if err != nil {
			return nil, 0, err
		}
		for i, tree := range trees {
			if !s.rt.Match(tree, q.filter) {
				continue
			}
			total++
			if total >= q.start && len(matched) < q.count {
				matched = append(matched, found.Items[i])
			}
		}
		if after = found.Next; after == "" {
			return matched, total, nil
		}
	}
}
