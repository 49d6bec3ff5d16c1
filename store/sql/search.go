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
func (d *DB) SearchMembers(ctx context.Context, q record.Query) (record.Found[member.Member], error) {
	return search(ctx, d, kindOfList{
		what: "search members", columns: memberColumns, table: "members", alias: "m", attributes: memberAttributes,
	}, scanMember, q)
}

// SearchTeams implements record.Searcher.
func (d *DB) SearchTeams(ctx context.Context, q record.Query) (record.Found[member.Team], error) {
	return search(ctx, d, kindOfList{
		what: "search teams", columns: teamColumns, table: "teams", alias: "t", attributes: teamAttributes,
	}, scanTeam, q)
}

type kindOfList struct {
	what, columns, table, alias string
	attributes                  attributes
}

// search counts and reads one page in one snapshot, so that the total belongs
// to the page. The order is that of creation: a page read while members are
// added moves nobody to an earlier one.
func search[T any](ctx context.Context, d *DB, k kindOfList, scan func(scanner, *T) error, q record.Query) (found record.Found[T], err error) {
	if q.Connection == "" {
		return found, nil // members without a connection are out of every SCIM client's sight
	}
	if q.Sort.By.Attr != "" {
		return found, fmt.Errorf("sql: %s: sort: %w", k.what, filter.ErrUnsupported)
	}
	start := max(q.Start, 1)
	if q.After != "" {
		if start, err = strconv.Atoi(q.After); err != nil || start < 1 {
			return found, fmt.Errorf("sql: %s: %w", k.what, record.ErrPosition)
		}
	}
	r := renderer{attributes: k.attributes, args: []any{q.Connection}}
	where := "true"
	if q.Filter != nil {
		if where, err = r.render(q.Filter); err != nil {
			return found, fmt.Errorf("sql: %s: %w", k.what, err)
		}
	}
	from := " FROM " + k.table + " " + k.alias + " WHERE " + k.alias + ".connection = $1 AND " + where
	n := len(r.args)
	page := "SELECT " + k.columns + from + " ORDER BY " + k.alias + ".created, " + k.alias + ".id" +
		" LIMIT $" + strconv.Itoa(n+1) + " OFFSET $" + strconv.Itoa(n+2)
	err = d.view(ctx, func(s *sql.Tx) error {
		t := &tx{ctx: ctx, sql: s, now: d.now}
		found = record.Found[T]{}
		if err := t.row(k.what, func(row *sql.Row) error { return row.Scan(&found.Total) }, "SELECT count(*)"+from, r.args...); err != nil {
			return err
		}
		if q.Count <= 0 || found.Total == 0 {
			return nil
		}
		found.Items, err = list(t, k.what, scan, page, append(r.args[:n:n], min(q.Count, maxPage), start-1)...)
		return err
	})
	if err != nil {
		return record.Found[T]{}, err
	}
	if end := start + len(found.Items); len(found.Items) > 0 && end <= found.Total {
		found.Next = strconv.Itoa(end)
	}
	return found, nil
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
