package sql

import (
	"cmp"
	"database/sql"
	"errors"
	"slices"

	"github.com/ssogate/ssogate/member"
)

// Kinds of resources that are tally.
const (
	countedMembers = "members"
	countedTeams   = "teams"
)

type tally struct{ connection, kind string }

// difference is what a transaction does to a total. moves counts what changes the
// index of resources that were there before: removals, and members who come with the
// time at which they were made long ago. New ones come last. The column is named
// "removed" after the first of them.
type difference struct{ n, moves int64 }

// count notes a resource that came or went, for flush to write: the row of a
// total is locked as late as the head of the audit chain, and before it.
func (t *tx) count(connection, kind string, n, moves int64) error {
	if t.revoked {
		return errOrder
	}
	if t.totals == nil {
		t.totals = map[tally]difference{}
	}
	k := tally{connection, kind}
	d := t.totals[k]
	t.totals[k] = difference{d.n + n, d.moves + moves}
	return nil
}

// flushTotals writes them in one order, whoever changes what.
func (t *tx) flushTotals() error {
	keys := make([]tally, 0, len(t.totals))
	for k := range t.totals {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b tally) int {
		return cmp.Or(cmp.Compare(a.connection, b.connection), cmp.Compare(a.kind, b.kind))
	})
	for _, k := range keys {
		d := t.totals[k]
		_, err := t.exec("count "+k.kind, `INSERT INTO scim_totals (connection, kind, n, removed) VALUES ($1, $2, $3, $4)
			ON CONFLICT (connection, kind) DO UPDATE SET n = scim_totals.n + excluded.n, removed = scim_totals.removed + excluded.removed`,
			k.connection, k.kind, d.n, d.moves)
		if err != nil {
			return err
		}
	}
	t.totals = nil
	return nil
}

// total is how many resources a connection has, and how many moves there were so far.
func (t *tx) total(k tally) (n, moves int64, err error) {
	err = t.row("total of "+k.kind, func(r *sql.Row) error { return r.Scan(&n, &moves) },
		"SELECT n, removed FROM scim_totals WHERE connection = $1 AND kind = $2", k.connection, k.kind)
	if errors.Is(err, member.ErrNotFound) {
		return 0, 0, nil
	}
	return n, moves, err
}

// remove deletes a row if it is at a version, and counts it.
func (t *tx) remove(what, table, kind string, id member.ID, ifVersion int64) error {
	var connection string
	err := t.row(what, func(r *sql.Row) error { return r.Scan(&connection) },
		"DELETE FROM "+table+" WHERE id = $1 AND version = $2 RETURNING connection", string(id), ifVersion)
	switch {
	case errors.Is(err, member.ErrNotFound):
		return t.changedOne(what, table, 0, id, nil)
	case err != nil:
		return err
	}
	return t.count(connection, kind, -1, 1)
}
