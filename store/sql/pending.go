package sql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/sso"
)

// DefaultBudget is the number of pending sign-ins when the operator names none (C13).
const DefaultBudget = 20000

// Pending is the store of pending sign-ins of the embedded mode. Safe for
// concurrent use.
//
// Every writer first takes the row of its kinds in pending_budget, in the order
// of their names, and holds it until commit: counts stay exact, and two writers
// never wait for each other in a circle. That makes writers of one kind queue
// up on PostgreSQL as they do on SQLite; each holds the row for a millisecond.
type Pending struct {
	db     *DB
	now    clock.Func
	budget int
}

// Pending answers the store of pending sign-ins in this database. budget is
// the operator's limit (see sso.RecordKind.Budget), 0 for [DefaultBudget]; a
// nil clock is time.Now.
func (d *DB) Pending(now clock.Func, budget int) *Pending {
	if now == nil {
		now = time.Now
	}
	if budget <= 0 {
		budget = DefaultBudget
	}
	return &Pending{db: d, now: now, budget: budget}
}

// Put implements sso.Pending.
func (p *Pending) Put(ctx context.Context, k sso.Key, value []byte, until time.Time) error {
	return p.write(ctx, k, value, until, false)
}

// Once implements sso.Pending.
func (p *Pending) Once(ctx context.Context, k sso.Key, until time.Time) error {
	return p.write(ctx, k, nil, until, true)
}

func (p *Pending) write(ctx context.Context, k sso.Key, value []byte, until time.Time, once bool) error {
	now := p.now()
	if err := sso.CheckPut(k, value, until, now); err != nil {
		return err
	}
	if value == nil {
		value = []byte{} // nil would be NULL
	}
	return p.db.update(ctx, func(tx *sql.Tx) error {
		used, err := p.lock(ctx, tx, k.Kind)
		if err != nil {
			return err
		}
		old, found, err := p.existing(ctx, tx, k)
		switch {
		case err != nil:
			return err
		case found && once && old.live(now):
			return sso.ErrUsed
		case found:
			used.records--
			used.bytes -= old.size
		}
		size := int64(len(value))
		if used.full(k.Kind, p.budget, size) {
			freed, err := p.expire(ctx, tx, k, now)
			if err != nil {
				return err
			}
			used.records -= freed.records
			used.bytes -= freed.bytes
			if used.full(k.Kind, p.budget, size) {
				return sso.ErrFull // rolled back: the next one expires them again, but only when full
			}
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO pending (kind, hash, value, size, expires) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (kind, hash) DO UPDATE SET value = excluded.value, size = excluded.size, expires = excluded.expires`,
			string(k.Kind), k.Hash.String(), value, size, ms(until))
		if err != nil {
			return fmt.Errorf("sql: put pending: %w", err)
		}
		return p.count(ctx, tx, k.Kind, usage{used.records + 1, used.bytes + size})
	})
}

// usage is what the records of a kind amount to.
type usage struct{ records, bytes int64 }

// full reports whether one more record of size does not fit.
func (u usage) full(k sso.RecordKind, budget int, size int64) bool {
	records, bytes := k.Budget(budget)
	return u.records+1 > records || u.bytes+size > bytes
}

// lock takes the budget row of a kind and answers it.
func (p *Pending) lock(ctx context.Context, tx *sql.Tx, k sso.RecordKind) (usage, error) {
	var u usage
	// An upsert that changes nothing: on both engines it makes the row if it is
	// missing and holds it until commit.
	err := tx.QueryRowContext(ctx, `INSERT INTO pending_budget (kind, records, bytes) VALUES ($1, 0, 0)
		ON CONFLICT (kind) DO UPDATE SET records = pending_budget.records
		RETURNING records, bytes`, string(k)).Scan(&u.records, &u.bytes)
	if err != nil {
		return usage{}, fmt.Errorf("sql: pending budget: %w", err)
	}
	return u, nil
}

func (p *Pending) count(ctx context.Context, tx *sql.Tx, k sso.RecordKind, u usage) error {
	_, err := tx.ExecContext(ctx, `UPDATE pending_budget SET records = $2, bytes = $3 WHERE kind = $1`,
		string(k), u.records, u.bytes)
	if err != nil {
		return fmt.Errorf("sql: pending budget: %w", err)
	}
	return nil
}

type pendingRow struct{ size, expires int64 }

func (r pendingRow) live(now time.Time) bool { return r.expires > now.UnixMilli() }

func (p *Pending) existing(ctx context.Context, tx *sql.Tx, k sso.Key) (r pendingRow, found bool, err error) {
	err = tx.QueryRowContext(ctx, `SELECT size, expires FROM pending WHERE kind = $1 AND hash = $2`,
		string(k.Kind), k.Hash.String()).Scan(&r.size, &r.expires)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return pendingRow{}, false, nil
	case err != nil:
		return pendingRow{}, false, fmt.Errorf("sql: read pending: %w", err)
	}
	return r, true, nil
}

// expire removes the expired records of k's kind other than k itself, whose
// old size the caller has already taken off, and answers what they amounted to.
func (p *Pending) expire(ctx context.Context, tx *sql.Tx, k sso.Key, now time.Time) (usage, error) {
	var u usage
	err := tx.QueryRowContext(ctx, `SELECT COUNT(*), COALESCE(SUM(size), 0) FROM pending
		WHERE kind = $1 AND expires <= $2 AND hash <> $3`,
		string(k.Kind), ms(now), k.Hash.String()).Scan(&u.records, &u.bytes)
	if err == nil && u.records > 0 {
		_, err = tx.ExecContext(ctx, `DELETE FROM pending WHERE kind = $1 AND expires <= $2 AND hash <> $3`,
			string(k.Kind), ms(now), k.Hash.String())
	}
	if err != nil {
		return usage{}, fmt.Errorf("sql: expire pending: %w", err)
	}
	return u, nil
}

// Get implements sso.Pending.
func (p *Pending) Get(ctx context.Context, k sso.Key) ([]byte, error) {
	if err := k.Check(); err != nil {
		return nil, err
	}
	var kind, hash string
	var value []byte
	err := p.db.view(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT kind, hash, value FROM pending
			WHERE kind = $1 AND hash = $2 AND expires > $3`,
			string(k.Kind), k.Hash.String(), ms(p.now())).Scan(&kind, &hash, &value)
	})
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, sso.ErrNoRecord
	case err != nil:
		return nil, fmt.Errorf("sql: get pending: %w", err)
	case kind != string(k.Kind) || hash != k.Hash.String():
		return nil, errors.New("sql: get pending: record does not belong to its id")
	}
	return value, nil
}

// Take implements sso.Pending.
func (p *Pending) Take(ctx context.Context, keys ...sso.Key) ([][]byte, error) {
	if err := sso.CheckTake(keys); err != nil {
		return nil, err
	}
	var kinds []sso.RecordKind
	for _, k := range keys {
		kinds = append(kinds, k.Kind)
	}
	slices.SortFunc(kinds, func(a, b sso.RecordKind) int { return strings.Compare(string(a), string(b)) })
	kinds = slices.Compact(kinds)

	values := make([][]byte, len(keys))
	err := p.db.update(ctx, func(tx *sql.Tx) error {
		used := make(map[sso.RecordKind]usage, len(kinds))
		for _, kind := range kinds {
			u, err := p.lock(ctx, tx, kind)
			if err != nil {
				return err
			}
			used[kind] = u
		}
		for i, k := range keys {
			var size int64
			err := tx.QueryRowContext(ctx, `DELETE FROM pending WHERE kind = $1 AND hash = $2 AND expires > $3
				RETURNING value, size`, string(k.Kind), k.Hash.String(), ms(p.now())).Scan(&values[i], &size)
			switch {
			case errors.Is(err, sql.ErrNoRows):
				return sso.ErrNoRecord // and everything deleted so far is rolled back
			case err != nil:
				return fmt.Errorf("sql: take pending: %w", err)
			}
			u := used[k.Kind]
			used[k.Kind] = usage{u.records - 1, u.bytes - size}
		}
		for _, kind := range kinds {
			if err := p.count(ctx, tx, kind, used[kind]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return values, nil
}

// Sweep removes the records that have expired, in small transactions, and
// counts what is left afresh. Reads never answer expired ones anyway: call it
// now and then, every few minutes will do.
func (p *Pending) Sweep(ctx context.Context) error {
	kinds, err := p.kinds(ctx)
	if err != nil {
		return err
	}
	for _, kind := range kinds {
		_, err := p.db.sweep(ctx, func(tx *sql.Tx) (int64, error) {
			if _, err := p.lock(ctx, tx, kind); err != nil {
				return 0, err
			}
			res, err := tx.ExecContext(ctx, `DELETE FROM pending WHERE kind = $1 AND hash IN
				(SELECT hash FROM pending WHERE kind = $1 AND expires <= $2 ORDER BY expires LIMIT $3)`,
				string(kind), ms(p.now()), sweepBatch)
			if err != nil {
				return 0, fmt.Errorf("sql: sweep pending: %w", err)
			}
			n, err := res.RowsAffected()
			if err != nil {
				return 0, fmt.Errorf("sql: sweep pending: %w", err)
			}
			var u usage
			err = tx.QueryRowContext(ctx, `SELECT COUNT(*), COALESCE(SUM(size), 0) FROM pending WHERE kind = $1`,
				string(kind)).Scan(&u.records, &u.bytes)
			if err != nil {
				return 0, fmt.Errorf("sql: sweep pending: %w", err)
			}
			return n, p.count(ctx, tx, kind, u)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *Pending) kinds(ctx context.Context) ([]sso.RecordKind, error) {
	var out []sso.RecordKind
	err := p.db.view(ctx, func(tx *sql.Tx) error {
		out = nil
		rows, err := tx.QueryContext(ctx, `SELECT kind FROM pending_budget ORDER BY kind`)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }() // rows.Err says what matters
		for rows.Next() {
			var k string
			if err := rows.Scan(&k); err != nil {
				return err
			}
			out = append(out, sso.RecordKind(k))
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("sql: sweep pending: %w", err)
	}
	return out, nil
}

var _ sso.Pending = (*Pending)(nil)
