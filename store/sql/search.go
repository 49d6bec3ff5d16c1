package sql

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/scim/filter"
	"github.com/ssogate/ssogate/scim/record"
)

// maxPage bounds one page, whatever is asked for.
const maxPage = 1000

// SearchMembers implements record.Searcher.
func (d *DB) SearchMembers(ctx context.Context, connection string, e filter.Expr, p record.Page) ([]member.Member, int, error) {
	return search(ctx, d, query{
		what: "search members", columns: memberColumns, table: "members", alias: "m", attributes: memberAttributes,
	}, scanMember, connection, e, p)
}

// SearchTeams implements record.Searcher.
func (d *DB) SearchTeams(ctx context.Context, connection string, e filter.Expr, p record.Page) ([]member.Team, int, error) {
	return search(ctx, d, query{
		what: "search teams", columns: teamColumns, table: "teams", alias: "t", attributes: teamAttributes,
	}, scanTeam, connection, e, p)
}

type query struct {
	what, columns, table, alias string
	attributes                  attributes
}

// search counts and reads one page in one snapshot, so that the total belongs
// to the page. The order is that of creation: a page read while members are
// added moves nobody to an earlier one.
func search[T any](ctx context.Context, d *DB, q query, scan func(scanner, *T) error, connection string, e filter.Expr, p record.Page) (out []T, total int, err error) {
	if connection == "" {
		return nil, 0, nil // members without a connection are out of every SCIM client's sight
	}
	r := renderer{attributes: q.attributes, args: []any{connection}}
	where := "true"
	if e != nil {
		if where, err = r.render(e); err != nil {
			return nil, 0, fmt.Errorf("sql: %s: %w", q.what, err)
		}
	}
	from := " FROM " + q.table + " " + q.alias + " WHERE " + q.alias + ".connection = $1 AND " + where
	n := len(r.args)
	page := "SELECT " + q.columns + from + " ORDER BY " + q.alias + ".created, " + q.alias + ".id" +
		" LIMIT $" + strconv.Itoa(n+1) + " OFFSET $" + strconv.Itoa(n+2)
	err = d.view(ctx, func(s *sql.Tx) error {
		t := &tx{ctx: ctx, sql: s, now: d.now}
		out = nil
		if err := t.row(q.what, func(row *sql.Row) error { return row.Scan(&total) }, "SELECT count(*)"+from, r.args...); err != nil {
			return err
		}
		if p.Count <= 0 || total == 0 {
			return nil
		}
		out, err = list(t, q.what, scan, page, append(r.args[:n:n], min(p.Count, maxPage), max(p.Start, 1)-1)...)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	return out, total, nil
}

// TeamsOfMembers implements record.Searcher.
func (d *DB) TeamsOfMembers(ctx context.Context, ids []member.ID) (map[member.ID][]member.Team, error) {
	return related(ctx, d, "teams of members", ids, scanTeam, "SELECT x.member, "+teamColumns+
		" FROM team_members x JOIN teams t ON t.id = x.team WHERE x.member IN (", ") ORDER BY t.slug")
}

// MembersOfTeams implements record.Searcher.
func (d *DB) MembersOfTeams(ctx context.Context, ids []member.ID) (map[member.ID][]member.Member, error) {
	scan := func(r scanner, m *member.Member) error { return r.Scan(&m.ID, &m.DisplayName) }
	return related(ctx, d, "members of teams", ids, scan,
		"SELECT x.team, m.id, m.display_name FROM team_members x JOIN members m ON m.id = x.member WHERE x.team IN (", ") ORDER BY m.id")
}

// related reads rows that belong to ids and groups them by it.
func related[T any](ctx context.Context, d *DB, what string, ids []member.ID, scan func(scanner, *T) error, before, after string) (map[member.ID][]T, error) {
	type owned struct {
		owner member.ID
		value T
	}
	out := make(map[member.ID][]T, len(ids))
	err := d.view(ctx, func(s *sql.Tx) error {
		clear(out)
		t := &tx{ctx: ctx, sql: s, now: d.now}
		return batches(unique(ids), func(args []any) error {
			rows, err := list(t, what, func(r scanner, o *owned) error {
				return scan(first{r, &o.owner}, &o.value)
			}, before+holders(1, len(args), "", "")+after, args...)
			for _, o := range rows {
				out[o.owner] = append(out[o.owner], o.value)
			}
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// first scans one more column before those of another scanner.
type first struct {
	scanner
	dest any
}

func (f first) Scan(dest ...any) error { return f.scanner.Scan(append([]any{f.dest}, dest...)...) }

// unique drops repeats and what no engine can hold, keeping the order.
func unique(ids []member.ID) []member.ID {
	seen := make(map[member.ID]bool, len(ids))
	out := ids[:0:0]
	for _, id := range ids {
		if !seen[id] && storable(string(id)) {
			seen[id] = true
			out = append(out, id)
		}
	}
	return out
}

// Interface guard.
var _ record.Searcher = (*DB)(nil)
