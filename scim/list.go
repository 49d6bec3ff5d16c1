package scim

import (
	"context"
	"errors"
	"net/http"

	"github.com/ssogate/ssogate/member"
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

// listing is one page, projected.
type listing struct {
	resources []any
	total     int
	next      position // zero: this is the last page
}

func (c *call) users() source[member.Member] {
	return source[member.Member]{
		rt: c.h.registry.User, find: c.h.o.Searcher.SearchMembers, trees: c.userTrees, related: "groups",
		weight: func(m member.Member) int { return 1024 + 4*len(m.Document) },
	}
}

func (c *call) groups() source[member.Team] {
	return source[member.Team]{
		rt: c.h.registry.Group, find: c.h.o.Searcher.SearchTeams, trees: c.groupTrees, related: "members",
		weight: func(member.Team) int { return 1024 },
	}
}

func (c *call) listUsers() (reply, error) {
	raw, err := c.parameters()
	if err != nil {
		return reply{}, err
	}
	return list(c, c.users(), raw)
}

func (c *call) listGroups() (reply, error) {
	raw, err := c.parameters()
	if err != nil {
		return reply{}, err
	}
	return list(c, c.groups(), raw)
}

func list[T any](c *call, s source[T], raw map[string]string) (reply, error) {
	c.did.verb, c.did.kind, c.params = "listed", s.rt.Name, raw
	q, err := c.query(s.rt, raw)
	if err != nil {
		return reply{}, err
	}
	l, err := page(c, s, q)
	if err != nil {
		return reply{}, err
	}
	c.did.found = l.total
	return c.listReply(l, q), nil
}

// listReply writes a page in the manner of its paging. RFC 9865 section 2: a
// nextCursor on every page but the last, and no startIndex.
func (c *call) listReply(l listing, q query) reply {
	body := listResponse(l.resources, l.total, q.start)
	if q.cursor {
		delete(body, "startIndex")
		if l.next != (position{}) {
			body["nextCursor"] = c.h.seal(c.conn.ID, l.next, q)
		}
	}
	return reply{status: http.StatusOK, body: body}
}

// page asks the store, and looks through the resources itself where the store
// cannot answer.
func page[T any](c *call, s source[T], q query) (listing, error) {
	if q.never {
		return listing{}, nil
	}
	ask := q.of(c.conn.ID)
	if q.cursor && q.at.Start > 0 {
		ask.Start, ask.After = q.at.Start, "" // the page before came out of memory
	}
	found, err := s.find(c.ctx, ask)
	switch {
	case errors.Is(err, filter.ErrUnsupported):
		q.start = ask.Start
		return scan(c, s, q)
	case errors.Is(err, record.ErrPosition):
		return listing{}, invalidCursor()
	case err != nil:
		return listing{}, err
	}
	trees, err := s.trees(found.Items, q.show.Wants(s.related))
	if err != nil {
		return listing{}, err
	}
	l := q.project(trees, found.Total)
	if q.count > 0 {
		l.next.After = found.Next
	}
	return l, nil
}

func (q query) project(trees []map[string]any, total int) listing {
	l := listing{resources: make([]any, 0, len(trees)), total: total}
	for _, t := range trees {
		l.resources = append(l.resources, q.show.Apply(t))
	}
	return l
}

// scan filters and sorts in memory over at most scanLimit resources; past that
// it answers tooMany (RFC 7644 section 3.12) rather than let one request read a
// million members. Without an order only the page itself is kept.
func scan[T any](c *call, s source[T], q query) (listing, error) {
	if q.sort.By.Attr != "" {
		all, err := collect(c, s, q)
		if err != nil {
			return listing{}, err
		}
		sortTrees(s.rt, all, q.sort)
		return cut(all, q), nil
	}
	var trees []map[string]any
	total := 0
	err := each(c, s, q, func(tree map[string]any, _ int) error {
		if total++; total >= q.start && len(trees) < q.count {
			trees = append(trees, tree)
		}
		return nil
	})
	if err != nil {
		return listing{}, err
	}
	l := q.project(trees, total)
	if end := q.start + len(trees); end <= total && q.count > 0 {
		l.next.Start = end
	}
	return l, nil
}

// cut is the page of a list that is held whole.
func cut(all []match, q query) listing {
	from := min(q.start-1, len(all))
	to := min(from+q.count, len(all))
	trees := make([]map[string]any, 0, to-from)
	for _, m := range all[from:to] {
		trees = append(trees, m.tree)
	}
	l := q.project(trees, len(all))
	if to < len(all) && q.count > 0 {
		l.next.Start = to + 1
	}
	return l
}

// match is a resource that a filter evaluated in memory holds for.
type match struct {
	tree map[string]any
	key  any // what it is sorted by
}

// heldMost bounds what an order in memory holds at once.
const heldMost = 128 << 20

// collect reads every resource that the filter holds for, in the order of creation.
func collect[T any](c *call, s source[T], q query) (all []match, err error) {
	held := 0
	err = each(c, s, q, func(tree map[string]any, weight int) error {
		if held += weight; held > heldMost {
			return badRequest(schema.TooMany, "this order would have to hold more than 128 MiB of resources")
		}
		all = append(all, match{tree: tree})
		return nil
	})
	return all, err
}

// each calls fn with every resource that the filter holds for, in the order of
// creation, and what it weighs.
func each[T any](c *call, s source[T], q query, fn func(tree map[string]any, weight int) error) error {
	related := q.mentions(s.related) || q.show.Wants(s.related)
	for after := ""; ; {
		found, err := s.find(c.ctx, Query{Connection: c.conn.ID, After: after, Count: scanPage})
		switch {
		case err != nil:
			return err
		case found.Total > scanLimit:
			return badRequest(schema.TooMany, "this filter or order would have to look at more than 10000 resources")
		case c.ctx.Err() != nil:
			return context.Cause(c.ctx)
		}
		trees, err := s.trees(found.Items, related)
		if err != nil {
			return err
		}
		for i, tree := range trees {
			if q.filter != nil && !s.rt.Match(tree, q.filter) {
				continue
			}
			weight := s.weight(found.Items[i])
			if list, ok := tree[s.related].([]any); ok {
				weight += 512 * len(list)
			}
			if err := fn(tree, weight); err != nil {
				return err
			}
		}
		if after = found.Next; after == "" {
			return nil
		}
	}
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

// maxListed bounds the members of all groups of one page, which are held in
// memory; a single group is streamed.
const maxListed = 200_000

func (c *call) groupTrees(list []member.Team, withMembers bool) ([]map[string]any, error) {
	var members map[member.ID][]member.Member
	if withMembers && len(list) > 0 {
		ids := make([]member.ID, len(list))
		for i, t := range list {
			ids[i] = t.ID
		}
		n, err := c.h.o.Searcher.CountMemberships(c.ctx, ids)
		switch {
		case err != nil:
			return nil, err
		case n > maxListed:
			return nil, badRequest(schema.TooMany,
				"these groups have more than "+itoa(maxListed)+" members together: ask for fewer groups, or with excludedAttributes=members")
		}
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
