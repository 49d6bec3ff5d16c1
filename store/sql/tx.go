package sql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/member"
)

// View runs fn in one read-only snapshot. See member.Store.
func (d *DB) View(ctx context.Context, fn func(member.Tx) error) error {
	return d.view(ctx, func(t *sql.Tx) error {
		return fn(&tx{ctx: ctx, sql: t, now: d.now})
	})
}

// Update runs fn in one transaction and commits it. See member.Store. Errors:
// what fn returned, [ErrUnknownOutcome], and the engine's own.
func (d *DB) Update(ctx context.Context, fn func(member.Tx) error) error {
	run := func(ctx context.Context, t *sql.Tx) error {
		x := &tx{ctx: ctx, sql: t, now: d.now}
		if d.engine == enginePostgres {
			// The only fork of the SQL text. SQLite's BEGIN IMMEDIATE lets one
			// writer in at a time; PostgreSQL lets rows change between a read and
			// a write unless the read locks them. NO KEY, so that adding a
			// member to a team does not wait for a change of his name.
			x.lock, x.share = " FOR NO KEY UPDATE", " FOR KEY SHARE"
		}
		if err := fn(x); err != nil {
			return err
		}
		return x.flush()
	}
	if d.engine == engineSQLite {
		return d.retry(ctx, func(ctx context.Context) error { return d.combined(ctx, run) })
	}
	return d.update(ctx, func(t *sql.Tx) error { return run(ctx, t) })
}

// tx is one transaction as member.Tx. Not safe for concurrent use.
type tx struct {
	ctx         context.Context // of the one call this lives in
	sql         *sql.Tx
	now         func() time.Time
	lock, share string // row lock suffixes of reads inside an update

	events  []audit.Event // written by flush, so that the head is locked late
	revoked bool
	totals  map[tally]difference // written by flush too
}

// query is a QueryRow whose "no rows" is ErrNotFound.
func (t *tx) row(what string, scan func(*sql.Row) error, query string, args ...any) error {
	for _, a := range args {
		if s, ok := a.(string); ok && !storable(s) {
			return fmt.Errorf("sql: %s: %w", what, member.ErrNotFound)
		}
	}
	err := scan(t.sql.QueryRowContext(t.ctx, query, args...))
	if errors.Is(err, sql.ErrNoRows) {
		err = member.ErrNotFound
	}
	return wrap(what, err)
}

// exec runs a statement and answers how many rows it concerned.
func (t *tx) exec(what, query string, args ...any) (int64, error) {
	r, err := t.sql.ExecContext(t.ctx, query, args...)
	if err != nil {
		return 0, wrap(what, err)
	}
	n, err := r.RowsAffected()
	return n, wrap(what, err)
}

// wrap names the statement and turns constraints into the domain's errors.
func wrap(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case taken(err):
		return fmt.Errorf("sql: %s: %w", what, member.ErrConflict)
	case dangling(err):
		return fmt.Errorf("sql: %s: %w", what, member.ErrNotFound)
	}
	return fmt.Errorf("sql: %s: %w", what, err)
}

// dangling reports a foreign key to a row that is not there.
func dangling(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code == "23503"
	}
	var lite *sqlite.Error
	return errors.As(err, &lite) && lite.Code() == 787 // SQLITE_CONSTRAINT_FOREIGNKEY
}

// storable reports whether both engines can hold s. PostgreSQL refuses NUL and
// invalid UTF-8 with an error; a look-up of such a value simply finds nothing.
func storable(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// changedOne turns "no row matched id and version" into its reason.
func (t *tx) changedOne(what, table string, n int64, id member.ID, err error) error {
	if err != nil || n == 1 {
		return err
	}
	var one int
	err = t.row(what, func(r *sql.Row) error { return r.Scan(&one) }, "SELECT 1 FROM "+table+" WHERE id = $1", string(id))
	if err != nil {
		return err
	}
	return fmt.Errorf("sql: %s: %w", what, member.ErrVersion)
}

// batches calls fn with groups of ids, padded with repeats to one of four sizes:
// each size is one prepared statement, however many ids come.
func batches(ids []member.ID, fn func(args []any) error) error {
	for len(ids) > 0 {
		size := 512
		for _, s := range []int{64, 8, 1} {
			if len(ids) <= s {
				size = s
			}
		}
		n := min(size, len(ids))
		args := make([]any, size)
		for i := range args {
			args[i] = string(ids[min(i, n-1)])
		}
		if err := fn(args); err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}

// holders is "$from, $from+1, ..." for n values, each between before and after.
func holders(from, n int, before, after string) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(before)
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(from + i))
		b.WriteString(after)
	}
	return b.String()
}

// Interface guards.
var (
	_ member.Store = (*DB)(nil)
	_ member.Tx    = (*tx)(nil)
)
