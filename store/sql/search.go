package sql

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/scim/record"
)

// maxPage bounds one page, whatever is asked for.
const maxPage = 1000

// lookMost is how many resources are put in an order that has no index, or looked
// through for a text inside of values; a longer list is for the caller to refuse.
const lookMost = 100_000

// SearchMembers implements record.Searcher.
func (d *DB) SearchMembers(ctx context.Context, q record.Query) (record.Found[member.Member], error) {
	return search(ctx, d, kindOfList[member.Member]{
		what: "search members", columns: memberColumns, table: "members", alias: "m", attributes: memberAttributes, kind: countedMembers,
		scan: scanMember, key: func(m member.Member) place { return place{ms(m.Created), string(m.ID)} },
	}, q)
}

// SearchTeams implements record.Searcher.
func (d *DB) SearchTeams(ctx context.Context, q record.Query) (record.Found[member.Team], error) {
	return search(ctx, d, kindOfList[member.Team]{
		what: "search teams", columns: teamColumns, table: "teams", alias: "t", attributes: teamAttributes, kind: countedTeams,
		scan: scanTeam, key: func(t member.Team) place { return place{ms(t.Created), string(t.ID)} },
	}, q)
}

type kindOfList[T any] struct {
	what, columns, table, alias, kind string
	attributes                        attributes
	scan                              func(scanner, *T) error
	key                               func(T) place
}

// search counts and reads one page in one snapshot, so that the total belongs
// to the page. The order is that of creation unless another is asked for: a page
// read while members are added moves nobody to an earlier one.
func search[T any](ctx context.Context, d *DB, k kindOfList[T], q record.Query) (found record.Found[T], err error) {
	if q.Connection == "" {
		return found, nil // members without a connection are out of every SCIM client's sight
	}
	p := pager[T]{kindOfList: k, q: q, d: d, start: max(q.Start, 1), count: min(q.Count, maxPage), r: renderer{attributes: k.attributes, args: []any{q.Connection}}}
	if d.engine == enginePostgres {
		p.r.bytes = ` COLLATE "C"` // as SQLite and Go compare, whatever the database's own order is
	}
	if err := p.prepare(); err != nil {
		return found, fmt.Errorf("sql: %s: %w", k.what, err)
	}
	err = d.view(ctx, func(s *sql.Tx) error {
		p.t = &tx{ctx: ctx, sql: s, now: d.now}
		found, err = p.page()
		return err
	})
	if err != nil {
		return record.Found[T]{}, err
	}
	return found, nil
}

// TeamsOfMembers implements record.Searcher.
func (d *DB) TeamsOfMembers(ctx context.Context, ids []member.ID) (map[member.ID][]member.Team, error) {
	return related(ctx, d, "teams of members", ids, scanTeam, "SELECT x.member, "+teamColumns+
		" FROM team_members x JOIN teams t ON t.id = x.team WHERE x.member ", " ORDER BY t.slug")
}

// MembersOfTeams implements record.Searcher.
func (d *DB) MembersOfTeams(ctx context.Context, ids []member.ID) (map[member.ID][]member.Member, error) {
	scan := func(r scanner, m *member.Member) error { return r.Scan(&m.ID, &m.DisplayName) }
	return related(ctx, d, "members of teams", ids, scan,
		"SELECT x.team, m.id, m.display_name FROM team_members x JOIN members m ON m.id = x.member WHERE x.team ", " ORDER BY m.id")
}

// MembersOfTeam implements record.Searcher.
func (d *DB) MembersOfTeam(ctx context.Context, team, after member.ID, limit int) (out []member.TeamMember, err error) {
	err = d.within(ctx, func(t *tx) error {
		out, err = list(t, "members of team", func(r scanner, m *member.TeamMember) error { return r.Scan(&m.ID, &m.DisplayName) },
			"SELECT x.member, m.display_name FROM team_members x JOIN members m ON m.id = x.member WHERE x.team = $1 AND x.member > $2 ORDER BY x.member LIMIT $3",
			string(team), string(after), limit)
		return err
	})
	return out, err
}

// CountMemberships implements record.Searcher.
func (d *DB) CountMemberships(ctx context.Context, teams []member.ID) (total int, err error) {
	err = d.within(ctx, func(t *tx) error {
		total = 0
		return batches(unique(teams), func(args []any) error {
			var n int
			err := t.row("count memberships", func(r *sql.Row) error { return r.Scan(&n) },
				"SELECT count(*) FROM team_members WHERE team IN ("+holders(1, len(args), "", "")+")", args...)
			total += n
			return err
		})
	})
	return total, err
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
		read := func(in string, args []any) error {
			rows, err := list(t, what, func(r scanner, o *owned) error {
				return scan(first{r, &o.owner}, &o.value)
			}, before+in+after, args...)
			for _, o := range rows {
				out[o.owner] = append(out[o.owner], o.value)
			}
			return err
		}
		if d.engine == enginePostgres {
			// One array, as long as it is: a list padded to 512 makes the planner
			// believe that reading the whole table is cheaper than 512 look-ups.
			texts := make([]string, 0, len(ids))
			for _, id := range unique(ids) {
				texts = append(texts, string(id))
			}
			return read("= ANY($1)", []any{texts})
		}
		return batches(unique(ids), func(args []any) error { return read("IN ("+holders(1, len(args), "", "")+")", args) })
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
