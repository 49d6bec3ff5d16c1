package sql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/ssogate/ssogate/audit"
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

// bearers is the table of bearer tokens or that of OAuth 2.0 clients, which have
// the same columns.
type bearers struct{ table, what string }

var (
	tokenTable  = bearers{"scim_tokens", "scim token"}
	clientTable = bearers{"scim_clients", "scim client"}
)

// find reads the primary each time, so a revoked token is refused by the very
// next request (row C01).
func (b bearers) find(ctx context.Context, d *DB, column, value string) (record.StoredToken, error) {
	var s record.StoredToken
	err := d.within(ctx, func(t *tx) error {
		return t.row(b.what, func(r *sql.Row) error { return scanToken(r, &s) },
			"SELECT "+tokenColumns+" FROM "+b.table+" WHERE "+column+" = $1", value)
	})
	if err != nil {
		return record.StoredToken{}, err
	}
	return s, nil
}

func (b bearers) list(ctx context.Context, d *DB, connection string) (out []record.StoredToken, err error) {
	err = d.within(ctx, func(t *tx) error {
		out, err = list(t, b.what+"s", scanToken,
			"SELECT "+tokenColumns+" FROM "+b.table+" WHERE connection = $1 ORDER BY created, id", connection)
		return err
	})
	return out, err
}

func (b bearers) insert(ctx context.Context, d *DB, s record.StoredToken, e audit.Event) error {
	if s.ID == "" || s.Connection == "" || len(s.Hash) != 64 {
		return fmt.Errorf("sql: insert %s: id, connection and a SHA-256 in hexadecimal are needed", b.what)
	}
	return d.audited(ctx, e, func(t *tx) error {
		_, err := t.exec("insert "+b.what, "INSERT INTO "+b.table+" ("+tokenColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
			s.ID, s.Connection, s.Name, s.Hash, ms(s.Created), s.Creator, ms(s.Expires), ms(s.LastUsed), s.LastAddr)
		return err
	})
}

// revoke deletes the row: nothing can un-revoke it.
func (b bearers) revoke(ctx context.Context, d *DB, id string, e audit.Event) error {
	return d.audited(ctx, e, func(t *tx) error {
		n, err := t.exec("revoke "+b.what, "DELETE FROM "+b.table+" WHERE id = $1", id)
		if err == nil && n == 0 {
			return wrap("revoke "+b.what, member.ErrNotFound)
		}
		return err
	})
}

// usedEvery is how often a token's last use is written at most.
const usedEvery = time.Minute

// used decides by a read whether there is anything to write, so that a busy IdP
// does not cost one commit per request.
func (b bearers) used(ctx context.Context, d *DB, id string, when time.Time, addr string) error {
	var due bool
	before := ms(when.Add(-usedEvery))
	err := d.within(ctx, func(t *tx) (err error) {
		var n int
		err = t.row(b.what+" use", func(r *sql.Row) error { return r.Scan(&n) },
			"SELECT count(*) FROM "+b.table+" WHERE id = $1 AND last_used <= $2", id, before)
		due = n > 0
		return err
	})
	if err != nil || !due {
		return err
	}
	return d.write(ctx, b.what+" use", "UPDATE "+b.table+" SET last_used = $2, last_address = $3 WHERE id = $1 AND last_used <= $4",
		id, ms(when), addr, before)
}

// audited runs one change in a transaction of its own, together with its event.
func (d *DB) audited(ctx context.Context, e audit.Event, change func(*tx) error) error {
	return d.Update(ctx, func(mt member.Tx) error {
		t, ok := mt.(*tx)
		if !ok {
			return errors.New("sql: not a transaction of this package") // unreachable: Update makes it
		}
		if err := change(t); err != nil {
			return err
		}
		return t.Audit(e)
	})
}

// write runs one statement in a transaction of its own.
func (d *DB) write(ctx context.Context, what, query string, args ...any) error {
	return d.update(ctx, func(s *sql.Tx) error {
		_, err := (&tx{ctx: ctx, sql: s, now: d.now}).exec(what, query, args...)
		return err
	})
}

// Token implements record.Tokens. The hash is that of 256 random bits; looking it
// up by an index tells nothing about other tokens.
func (d *DB) Token(ctx context.Context, hash string) (record.StoredToken, error) {
	return tokenTable.find(ctx, d, "hash", hash)
}

// ListTokens implements record.Tokens, oldest first.
func (d *DB) ListTokens(ctx context.Context, connection string) ([]record.StoredToken, error) {
	return tokenTable.list(ctx, d, connection)
}

// InsertToken implements record.Tokens: member.ErrConflict for a second one with the same id or hash.
func (d *DB) InsertToken(ctx context.Context, s record.StoredToken, e audit.Event) error {
	return tokenTable.insert(ctx, d, s, e)
}

// RevokeToken implements record.Tokens.
func (d *DB) RevokeToken(ctx context.Context, id string, e audit.Event) error {
	return tokenTable.revoke(ctx, d, id, e)
}

// UsedToken implements record.Tokens.
func (d *DB) UsedToken(ctx context.Context, id string, when time.Time, addr string) error {
	return tokenTable.used(ctx, d, id, when, addr)
}

// Client implements record.Clients.
func (d *DB) Client(ctx context.Context, id string) (record.StoredToken, error) {
	return clientTable.find(ctx, d, "id", id)
}

// ListClients implements record.Clients, oldest first.
func (d *DB) ListClients(ctx context.Context, connection string) ([]record.StoredToken, error) {
	return clientTable.list(ctx, d, connection)
}

// InsertClient implements record.Clients.
func (d *DB) InsertClient(ctx context.Context, s record.StoredToken, e audit.Event) error {
	return clientTable.insert(ctx, d, s, e)
}

// RevokeClient implements record.Clients.
func (d *DB) RevokeClient(ctx context.Context, id string, e audit.Event) error {
	return clientTable.revoke(ctx, d, id, e)
}

// UsedClient implements record.Clients.
func (d *DB) UsedClient(ctx context.Context, id string, when time.Time, addr string) error {
	return clientTable.used(ctx, d, id, when, addr)
}

// Paused implements record.Pauses.
func (d *DB) Paused(ctx context.Context, connection string) (record.Pause, error) {
	p := record.Pause{Connection: connection}
	err := d.within(ctx, func(t *tx) error {
		var since int64
		err := t.row("scim pause", func(r *sql.Row) error { return r.Scan(&since, &p.Actor, &p.Reason) },
			"SELECT since, actor, reason FROM scim_pauses WHERE connection = $1", connection)
		p.Since = at(since)
		return err
	})
	switch {
	case errors.Is(err, member.ErrNotFound):
		return record.Pause{}, nil
	case err != nil:
		return record.Pause{}, err
	}
	return p, nil
}

// Pause implements record.Pauses. A second pause keeps when and why the first began.
func (d *DB) Pause(ctx context.Context, p record.Pause, e audit.Event) error {
	return d.audited(ctx, e, func(t *tx) error {
		_, err := t.exec("pause scim", "INSERT INTO scim_pauses (connection, since, actor, reason) VALUES ($1, $2, $3, $4) ON CONFLICT (connection) DO NOTHING",
			p.Connection, ms(p.Since), p.Actor, p.Reason)
		return err
	})
}

// Resume implements record.Pauses.
func (d *DB) Resume(ctx context.Context, connection string, e audit.Event) error {
	return d.audited(ctx, e, func(t *tx) error {
		n, err := t.exec("resume scim", "DELETE FROM scim_pauses WHERE connection = $1", connection)
		if err == nil && n == 0 {
			return wrap("resume scim", member.ErrNotFound)
		}
		return err
	})
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
var _ record.Access = (*DB)(nil)

// ReplaceSealedKey puts a sealed key in the place of the one that was read, with its
// audit event and a row by which every node reads it anew. [member.ErrVersion] when
// it has changed since.
func (d *DB) ReplaceSealedKey(ctx context.Context, by member.Actor, kind, name string, was, sealed []byte) (seq int64, err error) {
	return d.keyChange(ctx, by, kind, func(t *tx) ([]string, error) {
		n, err := t.exec("replace key", "UPDATE sealed_keys SET sealed = $1 WHERE name = $2 AND sealed = $3", sealed, name, was)
		if err == nil && n != 1 {
			err = fmt.Errorf("sql: replace key: %w", member.ErrVersion)
		}
		return []string{name}, err
	})
}
