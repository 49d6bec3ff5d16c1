package sql

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
)

// The ring of cookie keys (row K08). Every change carries its audit event and a
// Reload row, which each node acts on before it acknowledges it.

const cookieKeyColumns = "id, sealed, state, changed"

func scanCookieKey(r scanner, k *session.StoredKey) error {
	var changed int64
	err := r.Scan(&k.ID, &k.Sealed, &k.State, &changed)
	k.Changed = at(changed)
	return err
}

// CookieKeys implements session.KeyStore.
func (d *DB) CookieKeys(ctx context.Context) (out []session.StoredKey, err error) {
	err = d.within(ctx, func(t *tx) error {
		out, err = list(t, "cookie keys", scanCookieKey, "SELECT "+cookieKeyColumns+" FROM cookie_keys ORDER BY changed DESC, id")
		return err
	})
	return out, err
}

// keyChange runs fn in a transaction that ends with what fn says about which keys,
// and a Reload row. With no id nothing was changed and none is written.
func (d *DB) keyChange(ctx context.Context, by member.Actor, kind string, fn func(*tx) ([]string, error)) (seq int64, err error) {
	err = d.Update(ctx, func(m member.Tx) error {
		seq = 0
		t, ok := m.(*tx)
		if !ok {
			return fmt.Errorf("sql: cookie keys: %T is not a transaction of ours", m)
		}
		ids, err := fn(t)
		if err != nil || len(ids) == 0 {
			return err
		}
		for _, id := range ids {
			if err := t.Audit(audit.Event{Kind: kind, Outcome: audit.Allowed, Actor: by.Name, Target: "key:" + id}); err != nil {
				return err
			}
		}
		seq, err = t.Revoke(member.Revocation{
			Kind: member.Reload, Scope: member.ScopeAll, Target: member.ReloadKeys, Reason: kind, At: d.now(),
		})
		return err
	})
	return seq, err
}

// ProposeCookieKey implements session.KeyStore.
func (d *DB) ProposeCookieKey(ctx context.Context, by member.Actor, key session.StoredKey) (id string, seq int64, err error) {
	if key.ID == "" || len(key.Sealed) == 0 {
		return "", 0, fmt.Errorf("sql: propose cookie key: id and sealed value are needed")
	}
	seq, err = d.keyChange(ctx, by, "keys.proposed", func(t *tx) ([]string, error) {
		// Of two commands at once one inserts; the index on the state makes the other wait and find it.
		if _, err := t.exec("propose cookie key", `INSERT INTO cookie_keys (`+cookieKeyColumns+`) VALUES ($1, $2, 'next', $3)
			ON CONFLICT (state) WHERE state IN ('next', 'current') DO NOTHING`, key.ID, key.Sealed, ms(key.Changed)); err != nil {
			return nil, err
		}
		err := t.row("propose cookie key", func(r *sql.Row) error { return r.Scan(&id) }, "SELECT id FROM cookie_keys WHERE state = 'next'")
		return []string{id}, err
	})
	return id, seq, err
}

// UseCookieKey implements session.KeyStore.
func (d *DB) UseCookieKey(ctx context.Context, by member.Actor, id string, config []string) (int64, error) {
	return d.keyChange(ctx, by, "keys.used", func(t *tx) ([]string, error) {
		var state session.KeyState
		err := t.row("use cookie key", func(r *sql.Row) error { return r.Scan(&state) }, "SELECT state FROM cookie_keys WHERE id = $1"+t.lock, id)
		switch {
		case err != nil:
			return nil, err
		case state == session.KeyCurrent: // another command went on with it; the row makes this one wait for it too
			return []string{id}, nil
		case state != session.KeyNext:
			return nil, wrap("use cookie key", member.ErrNotFound)
		}
		now := ms(d.now())
		if _, err := t.exec("use cookie key", "UPDATE cookie_keys SET state = 'previous', changed = $1 WHERE state = 'current'", now); err != nil {
			return nil, err
		}
		if _, err := t.exec("use cookie key", "UPDATE cookie_keys SET state = 'current', changed = $1 WHERE id = $2", now, id); err != nil {
			return nil, err
		}
		return []string{id}, t.leaveConfigKeys(config, now)
	})
}

// leaveConfigKeys notes that keys of the config file no longer make cookies.
func (t *tx) leaveConfigKeys(ids []string, now int64) error {
	for _, id := range ids {
		if _, err := t.exec("cookie keys of the config", `INSERT INTO cookie_keys (`+cookieKeyColumns+`) VALUES ($1, $2, 'previous', $3)
			ON CONFLICT (id) DO NOTHING`, id, []byte{}, now); err != nil {
			return err
		}
	}
	return nil
}

// RetireCookieKeys implements session.KeyStore. The values go, so that nothing can
// bring them back; the rows stay, to say of a key in a config file that it is over.
func (d *DB) RetireCookieKeys(ctx context.Context, by member.Actor, config []string, before time.Time) (ids []string, seq int64, err error) {
	seq, err = d.keyChange(ctx, by, "keys.retired", func(t *tx) ([]string, error) {
		ids = nil
		keys, err := list(t, "retire cookie keys", scanCookieKey, "SELECT "+cookieKeyColumns+" FROM cookie_keys ORDER BY id"+t.lock)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(keys, func(k session.StoredKey) bool { return k.State == session.KeyCurrent }) {
			if err := t.leaveConfigKeys(config, ms(d.now())); err != nil {
				return nil, err
			}
		}
		for _, k := range keys {
			if k.State != session.KeyPrevious || k.Changed.After(before) {
				continue
			}
			if _, err := t.exec("retire cookie key", "UPDATE cookie_keys SET state = 'retired', sealed = $1, changed = $2 WHERE id = $3",
				[]byte{}, ms(d.now()), k.ID); err != nil {
				return nil, err
			}
			ids = append(ids, k.ID)
		}
		return ids, nil
	})
	return ids, seq, err
}

var _ session.KeyStore = (*DB)(nil)
