package sql

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

const (
	// revocationsKept is how long a row of the revocation log stays. A session
	// lives 30 days at most, and EndedBefore compares it with rows that are
	// younger than it: twice that leaves room for clocks and long pauses.
	revocationsKept = 60 * 24 * time.Hour
	// tombstonesKept is how long a tombstone outlives its session: the clock of
	// the node that sweeps may be ahead of the clock of one that still reads the record.
	tombstonesKept = time.Hour
)

// SweepJournal removes what nothing asks for any more, in small transactions,
// and answers how many rows: tombstones of sessions that are over, and the oldest
// rows of the revocation log. Of the log only a beginning goes, so that the
// numbers stay dense from the oldest kept row on, and never a row that is
// unfinished, younger than 60 days, not acknowledged by a registered node, or
// the newest. Several nodes may sweep at once.
func (d *DB) SweepJournal(ctx context.Context, now time.Time) (int64, error) {
	ended, err := d.sweep(ctx, func(t *sql.Tx) (int64, error) {
		return d.exec(ctx, t, "sweep tombstones", `DELETE FROM ended_sessions WHERE hash IN
			(SELECT hash FROM ended_sessions WHERE until < $1 ORDER BY until LIMIT $2)`, ms(now.Add(-tombstonesKept)), sweepBatch)
	})
	if err != nil {
		return ended, err
	}
	rows, err := d.sweep(ctx, func(t *sql.Tx) (int64, error) {
		last, err := d.sweepable(ctx, t)
		if err != nil {
			return 0, err
		}
		// Up to the first of the oldest rows that must stay. The times of rows are
		// by the clocks of several nodes and need not rise, so each is looked at.
		return d.exec(ctx, t, "sweep revocations", `DELETE FROM revocations WHERE seq < (
			SELECT coalesce(min(CASE WHEN finished = 0 OR made >= $1 OR seq > $2 THEN seq END), max(seq) + 1)
			FROM (SELECT seq, made, finished FROM revocations ORDER BY seq LIMIT $3) oldest)`,
			ms(now.Add(-revocationsKept)), last, sweepBatch)
	})
	return ended + rows, err
}

// sweepable is the number up to which no node needs the log.
func (d *DB) sweepable(ctx context.Context, t *sql.Tx) (last int64, err error) {
	query := "SELECT seq - 1 FROM revocation_counter WHERE one = 1"
	if d.engine == enginePostgres {
		query = "SELECT least(seq - 1, (SELECT min(applied) FROM nodes)) FROM revocation_counter WHERE one = 1"
	}
	if err := t.QueryRowContext(ctx, query).Scan(&last); err != nil {
		return 0, fmt.Errorf("sql: sweep revocations: %w", err)
	}
	return d.nodes.lowest(last), nil // empty on PostgreSQL
}

// exec runs one statement of a sweep.
func (d *DB) exec(ctx context.Context, t *sql.Tx, what, query string, args ...any) (int64, error) {
	return (&tx{ctx: ctx, sql: t, now: d.now}).exec(what, query, args...)
}

// sweep repeats one small removal until it finds no full batch, and answers how
// much was removed in all.
func (d *DB) sweep(ctx context.Context, once func(*sql.Tx) (int64, error)) (total int64, err error) {
	for {
		var n int64
		err := d.update(ctx, func(tx *sql.Tx) (err error) {
			n, err = once(tx)
			return err
		})
		if err != nil {
			return total, err
		}
		if total += n; n < sweepBatch {
			return total, nil
		}
	}
}
