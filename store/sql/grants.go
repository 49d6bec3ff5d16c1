package sql

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/sso/refresh"
)

// Grants is the store of refresh tokens. They are in SQL also where sessions are
// in Redis: one that is lost ends a session, and one that is used twice does too.
// Safe for concurrent use by several nodes.
type Grants struct{ db *DB }

// Grants answers the store of refresh tokens in this database.
func (d *DB) Grants() *Grants { return &Grants{d} }

const grantColumns = `hash, member, epoch, seq, provider, issuer, subject, token, due, expires, failures`

// Put implements refresh.Store.
func (g *Grants) Put(ctx context.Context, r refresh.Grant) error {
	if err := r.Check(); err != nil {
		return fmt.Errorf("sql: put grant: %w", err)
	}
	return g.db.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO grants (`+grantColumns+`, claim, leased_until)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, '', 0)`,
			r.Session.String(), string(r.Member), r.Epoch, r.Seq, r.Identity.Provider, r.Identity.Issuer, r.Identity.Subject,
			r.Token, ms(r.Due), ms(r.Expires), r.Failures)
		if err != nil {
			return fmt.Errorf("sql: put grant: %w", err)
		}
		return nil
	})
}

// dueGrants are the grants that a claim may take.
const dueGrants = ` FROM grants WHERE provider = $1 AND due <= $2 AND leased_until <= $2 AND expires > $2`

// Claim implements refresh.Store. It is called every second, mostly for nothing:
// then it only reads.
func (g *Grants) Claim(ctx context.Context, c refresh.Claim) ([]refresh.Grant, error) {
	var some bool
	err := g.db.view(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1`+dueGrants+`)`, c.Provider, ms(c.Now)).Scan(&some)
	})
	if err != nil {
		return nil, fmt.Errorf("sql: due grants: %w", err)
	}
	if !some {
		return nil, nil
	}
	// SQLite lets one writer in at a time. On PostgreSQL each row that is read is
	// locked, and those that another node has locked are passed over instead of
	// waited for: it is about to lease them.
	lock := ""
	if g.db.engine == enginePostgres {
		lock = " FOR UPDATE SKIP LOCKED"
	}
	var out []refresh.Grant
	err = g.db.update(ctx, func(tx *sql.Tx) (err error) {
		out, err = queryGrants(ctx, tx, `SELECT `+grantColumns+dueGrants+` ORDER BY due, hash LIMIT $3`+lock,
			c.Provider, ms(c.Now), c.Limit)
		for _, r := range out {
			if err == nil {
				_, err = tx.ExecContext(ctx, `UPDATE grants SET claim = $2, leased_until = $3 WHERE hash = $1`,
					r.Session.String(), c.ID, ms(c.Until))
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("sql: claim grants: %w", err)
	}
	return out, nil
}

func queryGrants(ctx context.Context, tx *sql.Tx, query string, args ...any) (out []refresh.Grant, err error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // rows.Err says what matters
	for rows.Next() {
		var r refresh.Grant
		var hash, id string
		var due, expires int64
		if err := rows.Scan(&hash, &id, &r.Epoch, &r.Seq, &r.Identity.Provider, &r.Identity.Issuer, &r.Identity.Subject,
			&r.Token, &due, &expires, &r.Failures); err != nil {
			return nil, err
		}
		if r.Session, err = secret.ParseHash(hash); err != nil {
			return nil, err
		}
		r.Member, r.Due, r.Expires = member.ID(id), at(due), at(expires)
		out = append(out, r)
	}
	return out, rows.Err()
}

// Hold implements refresh.Store.
func (g *Grants) Hold(ctx context.Context, h secret.Hash, claim string, until time.Time, token []byte) error {
	if token == nil {
		return g.held(ctx, "hold", h, claim, `UPDATE grants SET leased_until = $3 WHERE hash = $1 AND claim = $2`, ms(until))
	}
	return g.held(ctx, "hold", h, claim, `UPDATE grants SET leased_until = $3, token = $4 WHERE hash = $1 AND claim = $2`, ms(until), token)
}

// Settle implements refresh.Store.
func (g *Grants) Settle(ctx context.Context, h secret.Hash, claim string, due time.Time, failures int) error {
	return g.held(ctx, "settle", h, claim, `UPDATE grants SET claim = '', leased_until = 0, due = $3, failures = $4
		WHERE hash = $1 AND claim = $2`, ms(due), failures)
}

// Delete implements refresh.Store.
func (g *Grants) Delete(ctx context.Context, h secret.Hash, claim string) error {
	return g.held(ctx, "delete", h, claim, `DELETE FROM grants WHERE hash = $1 AND claim = $2`)
}

// held runs a statement about one grant under its claim.
func (g *Grants) held(ctx context.Context, what string, h secret.Hash, claim, query string, args ...any) error {
	if claim == "" {
		return refresh.ErrLost // it would match what nobody holds
	}
	return g.db.update(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, query, append([]any{h.String(), claim}, args...)...)
		if err != nil {
			return fmt.Errorf("sql: %s grant: %w", what, err)
		}
		n, err := res.RowsAffected()
		if err != nil {
			return fmt.Errorf("sql: %s grant: %w", what, err)
		}
		if n != 1 {
			return refresh.ErrLost
		}
		return nil
	})
}

// Sweep removes the grants of sessions that are over, by their own end or by
// whatever ends sessions: the marks that an admission compares too (C6). Call it
// every few minutes: until then a token lies there that nobody will use.
func (g *Grants) Sweep(ctx context.Context, now time.Time) error {
	_, err := g.db.sweep(ctx, func(tx *sql.Tx) (int64, error) {
		return g.db.exec(ctx, tx, "sweep grants", `DELETE FROM grants WHERE hash IN (
			SELECT g.hash FROM grants g
			LEFT JOIN members m ON m.id = g.member
			LEFT JOIN ended_sessions e ON e.hash = g.hash
			WHERE g.expires <= $1 OR m.id IS NULL OR m.epoch <> g.epoch OR e.hash IS NOT NULL
			OR EXISTS (SELECT 1 FROM revocations r WHERE r.kind = 'end' AND r.scope = 'all' AND r.seq > g.seq)
			OR EXISTS (SELECT 1 FROM revocations r WHERE r.kind = 'end' AND r.scope = 'provider' AND r.target = g.provider AND r.seq > g.seq)
			LIMIT $2)`, ms(now), sweepBatch)
	})
	return err
}

var _ refresh.Store = (*Grants)(nil)
