package sql

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/scim/record"
)

const tokenColumns = "id, connection, name, hash, created, creator, expires, last_used, last_address"

func scanToken(r scanner, t *record.StoredToken) error {
	var created, expires, used int64
	err := r.Scan(&t.ID, &t.Connection, &t.Name, &t.Hash, &created, &t.Creator, &expires, &used, &t.LastAddr)
	t.Created, t.Expires, t.LastUsed = at(created), at(expires), at(used)
	return err
}

// within runs fn with the statements of one read.
func (d *DB) within(ctx context.Context, fn func(*tx) error) error {
	return d.view(ctx, func(s *sql.Tx) error { return fn(&tx{ctx: ctx, sql: s, now: d.now}) })
}

// Token implements record.Tokens. It reads the primary each time, so a revoked
// token is refused by the very next request (row C01). The hash is that of 256
// random bits; looking it up by an index tells nothing about other tokens.
func (d *DB) Token(ctx context.Context, hash string) (record.StoredToken, error) {
	var s record.StoredToken
	err := d.within(ctx, func(t *tx) error {
		return t.row("scim token", func(r *sql.Row) error { return scanToken(r, &s) },
			"SELECT "+tokenColumns+" FROM scim_tokens WHERE hash = $1", hash)
	})
	if err != nil {
		return record.StoredToken{}, err
	}
	return s, nil
}

// ListTokens implements record.Tokens, oldest first.
func (d *DB) ListTokens(ctx context.Context, connection string) (out []record.StoredToken, err error) {
	err = d.within(ctx, func(t *tx) error {
		out, err = list(t, "scim tokens", scanToken,
			"SELECT "+tokenColumns+" FROM scim_tokens WHERE connection = $1 ORDER BY created, id", connection)
		return err
	})
	return out, err
}

// InsertToken implements record.Tokens: member.ErrConflict for a second one with the same id or hash.
func (d *DB) InsertToken(ctx context.Context, s record.StoredToken) error {
	if s.ID == "" || s.Connection == "" || len(s.Hash) != 64 {
		return fmt.Errorf("sql: insert scim token: id, connection and a SHA-256 in hexadecimal are needed")
	}
	return d.write(ctx, "insert scim token", "INSERT INTO scim_tokens ("+tokenColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
		s.ID, s.Connection, s.Name, s.Hash, ms(s.Created), s.Creator, ms(s.Expires), ms(s.LastUsed), s.LastAddr)
}

// write runs one statement in a transaction of its own.
func (d *DB) write(ctx context.Context, what, query string, args ...any) error {
	return d.update(ctx, func(s *sql.Tx) error {
		_, err := (&tx{ctx: ctx, sql: s, now: d.now}).exec(what, query, args...)
		return err
	})
}

// RevokeToken implements record.Tokens. The row goes: nothing can un-revoke it.
// member.ErrNotFound when there is none.
func (d *DB) RevokeToken(ctx context.Context, id string) error {
	return d.update(ctx, func(s *sql.Tx) error {
		n, err := (&tx{ctx: ctx, sql: s, now: d.now}).exec("revoke scim token", "DELETE FROM scim_tokens WHERE id = $1", id)
		if err == nil && n == 0 {
			return wrap("revoke scim token", member.ErrNotFound)
		}
		return err
	})
}

// usedEvery is how often a token's last use is written at most.
const usedEvery = time.Minute

// UsedToken implements record.Tokens. A read decides whether there is anything
// to write, so that a busy IdP does not cost one commit per request.
func (d *DB) UsedToken(ctx context.Context, id string, when time.Time, addr string) error {
	var due bool
	before := ms(when.Add(-usedEvery))
	err := d.within(ctx, func(t *tx) (err error) {
		var n int
		err = t.row("scim token use", func(r *sql.Row) error { return r.Scan(&n) },
			"SELECT count(*) FROM scim_tokens WHERE id = $1 AND last_used <= $2", id, before)
		due = n > 0
		return err
	})
	if err != nil || !due {
		return err
	}
	return d.write(ctx, "scim token use", "UPDATE scim_tokens SET last_used = $2, last_address = $3 WHERE id = $1 AND last_used <= $4",
		id, ms(when), addr, before)
}

// SealedKey reads a key sealed by the caller, or member.ErrNotFound.
func (d *DB) SealedKey(ctx context.Context, name string) ([]byte, error) {
	var b []byte
	err := d.within(ctx, func(t *tx) error {
		return t.row("sealed key", func(r *sql.Row) error { return r.Scan(&b) }, "SELECT sealed FROM sealed_keys WHERE name = $1", name)
	})
	return b, err
}

// PutSealedKeyIfAbsent keeps a sealed key under a name, unless there is one,
// and answers the one that is kept: of two nodes that start together both use
// the winner's.
func (d *DB) PutSealedKeyIfAbsent(ctx context.Context, name string, sealed []byte) ([]byte, error) {
	if err := d.write(ctx, "put sealed key", "INSERT INTO sealed_keys (name, sealed) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING", name, sealed); err != nil {
		return nil, err
	}
	return d.SealedKey(ctx, name)
}

// Interface guard.
var _ record.Tokens = (*DB)(nil)
