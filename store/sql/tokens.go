package sql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/internal/bearer"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/scim/record"
)

// bearers is a table of bearer tokens: SCIM's, those of its OAuth 2.0 clients, those
// of machines. more are its own columns beside the ones that all have.
type bearers[T any] struct {
	table, what string
	more        []string // the first says what the token is for
	token       func(*T) *bearer.Stored
	values      func(*T) []any                          // of more, to be written
	scan        func(*T, func(more ...any) error) error // reads a row, with targets for more
}

func newBearers(table, what string) bearers[record.StoredToken] {
	return bearers[record.StoredToken]{
		table, what,
		[]string{"connection"},
		func(t *record.StoredToken) *bearer.Stored { return &t.Stored },
		func(t *record.StoredToken) []any { return []any{t.Connection} },
		func(t *record.StoredToken, row func(...any) error) error { return row(&t.Connection) },
	}
}

func tokenTable() bearers[record.StoredToken]  { return newBearers("scim_tokens", "scim token") }
func clientTable() bearers[record.StoredToken] { return newBearers("scim_clients", "scim client") }

func (b bearers[T]) columns() string {
	return strings.Join(append([]string{"id, name, hash, created, creator, expires, last_used, last_address"}, b.more...), ", ")
}

func (b bearers[T]) read(r scanner, t *T) error {
	s := b.token(t)
	var created, expires, used int64
	err := b.scan(t, func(more ...any) error {
		return r.Scan(append([]any{&s.ID, &s.Name, &s.Hash, &created, &s.Creator, &expires, &used, &s.LastAddr}, more...)...)
	})
	s.Created, s.Expires, s.LastUsed = at(created), at(expires), at(used)
	return err
}

// find reads the primary each time, so a revoked token is refused by the very
// next request (row C01).
func (b bearers[T]) find(ctx context.Context, d *DB, column, value string) (out T, err error) {
	err = d.within(ctx, func(t *tx) error {
		out, err = b.in(t, column, value)
		return err
	})
	return out, err
}

// in is find inside of a transaction.
func (b bearers[T]) in(t *tx, column, value string) (out T, err error) {
	var s T
	err = t.row(b.what, func(r *sql.Row) error { return b.read(r, &s) },
		"SELECT "+b.columns()+" FROM "+b.table+" WHERE "+column+" = $1", value)
	if err != nil {
		return out, err
	}
	return s, nil
}

// list answers the tokens that a condition names, oldest first.
func (b bearers[T]) list(ctx context.Context, d *DB, where string, args ...any) (out []T, err error) {
	err = d.within(ctx, func(t *tx) error {
		out, err = list(t, b.what+"s", b.read, "SELECT "+b.columns()+" FROM "+b.table+where+" ORDER BY created, id", args...)
		return err
	})
	return out, err
}

func (b bearers[T]) insert(ctx context.Context, d *DB, s T, e audit.Event) error {
	k := b.token(&s)
	values := b.values(&s)
	if k.ID == "" || len(k.Hash) != 64 || values[0] == "" {
		return fmt.Errorf("sql: insert %s: id, %s and a SHA-256 in hexadecimal are needed", b.what, b.more[0])
	}
	values = append([]any{k.ID, k.Name, k.Hash, ms(k.Created), k.Creator, ms(k.Expires), ms(k.LastUsed), k.LastAddr}, values...)
	marks := make([]string, len(values))
	for i := range marks {
		marks[i] = "$" + strconv.Itoa(i+1)
	}
	return d.audited(ctx, e, func(t *tx) error {
		_, err := t.exec("insert "+b.what, "INSERT INTO "+b.table+" ("+b.columns()+") VALUES ("+strings.Join(marks, ", ")+")", values...)
		return err
	})
}

// revoke deletes the row: nothing can un-revoke it.
func (b bearers[T]) revoke(ctx context.Context, d *DB, id string, e audit.Event) error {
	return d.audited(ctx, e, func(t *tx) error { return b.remove(t, id) })
}

func (b bearers[T]) remove(t *tx, id string) error {
	n, err := t.exec("revoke "+b.what, "DELETE FROM "+b.table+" WHERE id = $1", id)
	if err == nil && n == 0 {
		return wrap("revoke "+b.what, member.ErrNotFound)
	}
	return err
}

// used decides by a read whether there is anything to write, so that a busy IdP
// does not cost one commit per request.
func (b bearers[T]) used(ctx context.Context, d *DB, id string, when time.Time, addr string) error {
	var due bool
	err := d.within(ctx, func(t *tx) (err error) {
		var n int
		err = t.row(b.what+" use", func(r *sql.Row) error { return r.Scan(&n) },
			"SELECT count(*) FROM "+b.table+" WHERE id = $1 AND last_used <= $2", id, ms(when.Add(-bearer.UseEvery)))
		due = n > 0
		return err
	})
	if err != nil || !due {
		return err
	}
	return d.update(ctx, func(s *sql.Tx) error { return b.use(&tx{ctx: ctx, sql: s, now: d.now}, id, when, addr) })
}

// use writes a last use, unless a later one stands there, or one of the same minute.
func (b bearers[T]) use(t *tx, id string, when time.Time, addr string) error {
	_, err := t.exec(b.what+" use", "UPDATE "+b.table+" SET last_used = $2, last_address = $3 WHERE id = $1 AND last_used <= $4",
		id, ms(when), addr, ms(when.Add(-bearer.UseEvery)))
	return err
}

// within runs fn with the statements of one read.
func (d *DB) within(ctx context.Context, fn func(*tx) error) error {
	return d.view(ctx, func(s *sql.Tx) error { return fn(&tx{ctx: ctx, sql: s, now: d.now}) })
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
	return tokenTable().find(ctx, d, "hash", hash)
}

// ListTokens implements record.Tokens, oldest first.
func (d *DB) ListTokens(ctx context.Context, connection string) ([]record.StoredToken, error) {
	return tokenTable().list(ctx, d, ofConnection, connection)
}

// InsertToken implements record.Tokens: member.ErrConflict for a second one with the same id or hash.
func (d *DB) InsertToken(ctx context.Context, s record.StoredToken, e audit.Event) error {
	return tokenTable().insert(ctx, d, s, e)
}

// RevokeToken implements record.Tokens.
func (d *DB) RevokeToken(ctx context.Context, id string, e audit.Event) error {
	return tokenTable().revoke(ctx, d, id, e)
}

// UsedToken implements record.Tokens.
func (d *DB) UsedToken(ctx context.Context, id string, when time.Time, addr string) error {
	return tokenTable().used(ctx, d, id, when, addr)
}

const ofConnection = " WHERE connection = $1"

// Client implements record.Clients.
func (d *DB) Client(ctx context.Context, id string) (record.StoredToken, error) {
	return clientTable().find(ctx, d, "id", id)
}

// ListClients implements record.Clients, oldest first.
func (d *DB) ListClients(ctx context.Context, connection string) ([]record.StoredToken, error) {
	return clientTable().list(ctx, d, ofConnection, connection)
}

// InsertClient implements record.Clients.
func (d *DB) InsertClient(ctx context.Context, s record.StoredToken, e audit.Event) error {
	return clientTable().insert(ctx, d, s, e)
}

// RevokeClient implements record.Clients.
func (d *DB) RevokeClient(ctx context.Context, id string, e audit.Event) error {
	return clientTable().revoke(ctx, d, id, e)
}

// UsedClient implements record.Clients.
func (d *DB) UsedClient(ctx context.Context, id string, when time.Time, addr string) error {
	return clientTable().used(ctx, d, id, when, addr)
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
