package sql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
)

const (
	// sweepBatch rows are removed per transaction: a sweep must not hold the one
	// writer of SQLite while a sign-in waits.
	sweepBatch = 500
	// maxListed sessions of one member are listed. Ending them has no such limit.
	maxListed = 1000
)

// Sessions is the session store of the embedded mode. Safe for concurrent use.
// It survives a restart; see [Sessions.Sweep] for what has expired.
type Sessions struct {
	db      *DB
	now     clock.Func
	metrics *SessionMetrics
}

// Sessions answers the session store in this database. A nil clock is time.Now,
// nil metrics count nothing.
func (d *DB) Sessions(now clock.Func, metrics *SessionMetrics) *Sessions {
	if now == nil {
		now = time.Now
	}
	return &Sessions{db: d, now: now, metrics: metrics}
}

const sessionColumns = `hash, version, member, epoch, seq, provider, session_index, issued, last_seen, expires, address, user_agent, auth_time`

// Create implements session.Store.
func (s *Sessions) Create(ctx context.Context, r session.Record) error {
	if err := r.Check(); err != nil {
		return fmt.Errorf("sql: create session: %w", err)
	}
	if !s.now().Before(r.Expires) {
		return errors.New("sql: create session: already expired")
	}
	r = r.Stored()
	return s.update(ctx, "create", func(tx *sql.Tx) error {
		// The primary key refuses a second record under one id (K01).
		_, err := tx.ExecContext(ctx, `INSERT INTO sessions (`+sessionColumns+`)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
			r.Hash.String(), r.Version, string(r.Member), r.Epoch, r.Seq, r.Provider, r.SessionIndex,
			ms(r.Issued), ms(r.LastSeen), ms(r.Expires), r.Address, r.UserAgent, ms(r.AuthTime))
		if err != nil {
			return fmt.Errorf("sql: create session: %w", err)
		}
		return nil
	})
}

// Get implements session.Store.
func (s *Sessions) Get(ctx context.Context, h secret.Hash) (session.Record, error) {
	return s.get(ctx, h, 0)
}

// Past implements session.Store.
func (s *Sessions) Past(ctx context.Context, h secret.Hash) (session.Record, error) {
	return s.get(ctx, h, session.Remembered)
}

func (s *Sessions) get(ctx context.Context, h secret.Hash, late time.Duration) (session.Record, error) {
	var r session.Record
	err := s.view(ctx, "get", func(tx *sql.Tx) error {
		var err error
		r, err = s.scan(tx.QueryRowContext(ctx, `SELECT `+sessionColumns+` FROM sessions WHERE hash = $1`, h.String()))
		return err
	})
	switch {
	case errors.Is(err, session.ErrNotFound):
		return session.Record{}, session.ErrNotFound
	case errors.Is(err, session.ErrMismatch), err == nil && r.Hash != h:
		s.metrics.mismatch()
		return session.Record{}, session.ErrMismatch
	case err != nil:
		return session.Record{}, fmt.Errorf("sql: get session: %w", err)
	case !s.now().Before(r.Expires.Add(late)):
		return session.Record{}, session.ErrNotFound
	}
	return r, nil
}

// scan reads one row and believes none of it: a row that was altered, or
// written by a later version, is ErrMismatch (K09).
func (s *Sessions) scan(row interface{ Scan(...any) error }) (session.Record, error) {
	var r session.Record
	var hash, id string
	var issued, seen, expires, auth int64
	err := row.Scan(&hash, &r.Version, &id, &r.Epoch, &r.Seq, &r.Provider, &r.SessionIndex,
		&issued, &seen, &expires, &r.Address, &r.UserAgent, &auth)
	if errors.Is(err, sql.ErrNoRows) {
		return session.Record{}, session.ErrNotFound
	}
	if err != nil {
		return session.Record{}, err
	}
	if r.Hash, err = secret.ParseHash(hash); err != nil {
		return session.Record{}, session.ErrMismatch
	}
	r.Member, r.Issued, r.LastSeen, r.Expires, r.AuthTime = member.ID(id), at(issued), at(seen), at(expires), at(auth)
	if r.Check() != nil {
		return session.Record{}, session.ErrMismatch
	}
	return r, nil
}

func (s *Sessions) view(ctx context.Context, op string, fn func(*sql.Tx) error) error {
	start := time.Now()
	err := s.db.view(ctx, fn)
	s.metrics.observe(ctx, op, start, err)
	return err
}

func (s *Sessions) update(ctx context.Context, op string, fn func(*sql.Tx) error) error {
	start := time.Now()
	err := s.db.update(ctx, fn)
	s.metrics.observe(ctx, op, start, err)
	return err
}

// Delete implements session.Store.
func (s *Sessions) Delete(ctx context.Context, h secret.Hash) error {
	return s.update(ctx, "delete", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE hash = $1`, h.String()); err != nil {
			return fmt.Errorf("sql: delete session: %w", err)
		}
		return nil
	})
}

// DeleteMember implements session.Store. All or nothing.
func (s *Sessions) DeleteMember(ctx context.Context, id member.ID, below int64) (int, error) {
	var n int64
	err := s.update(ctx, "delete_member", func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE member = $1 AND epoch < $2`, string(id), below)
		if err == nil {
			n, err = res.RowsAffected()
		}
		if err != nil {
			return fmt.Errorf("sql: delete sessions of member: %w", err)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return int(n), nil
}

// List implements session.Store: at most the 1000 newest. Rows that are not
// what their id says are left out and counted.
func (s *Sessions) List(ctx context.Context, id member.ID) ([]session.Record, error) {
	var out []session.Record
	err := s.view(ctx, "list", func(tx *sql.Tx) error {
		out = nil // a second try starts again
		rows, err := tx.QueryContext(ctx, `SELECT `+sessionColumns+` FROM sessions
			WHERE member = $1 AND expires > $2 ORDER BY issued DESC, hash LIMIT $3`,
			string(id), ms(s.now()), maxListed)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }() // rows.Err says what matters
		for rows.Next() {
			switch r, err := s.scan(rows); {
			case errors.Is(err, session.ErrMismatch):
				s.metrics.mismatch()
			case err != nil:
				return err
			default:
				out = append(out, r)
			}
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("sql: list sessions: %w", err)
	}
	return out, nil
}

// Sweep removes the sessions that have expired and need not be remembered any more,
// in small transactions. Reads never answer them anyway: call it now and then, every few minutes will do.
func (s *Sessions) Sweep(ctx context.Context) error {
	_, err := s.db.sweep(ctx, func(tx *sql.Tx) (int64, error) {
		res, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE hash IN
			(SELECT hash FROM sessions WHERE expires <= $1 ORDER BY expires LIMIT $2)`, ms(s.now().Add(-session.Remembered)), sweepBatch)
		if err != nil {
			return 0, fmt.Errorf("sql: sweep sessions: %w", err)
		}
		return res.RowsAffected()
	})
	return err
}

var _ session.Store = (*Sessions)(nil)
