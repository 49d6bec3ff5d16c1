package sql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/sso/local"
)

// Credential implements local.Credentials.
func (d *DB) Credential(ctx context.Context, id member.ID) (c local.Credential, err error) {
	err = d.within(ctx, func(t *tx) error {
		var updated int64
		err := t.row("credential", func(r *sql.Row) error { return r.Scan(&c.Member, &c.Password, &c.TOTP, &c.Step, &updated) },
			"SELECT member, password, totp, totp_step, updated FROM credentials WHERE member = $1", string(id))
		c.Updated = at(updated)
		return err
	})
	if err != nil {
		return local.Credential{}, err
	}
	return c, nil
}

// SetCredential implements local.Credentials.
func (d *DB) SetCredential(ctx context.Context, s local.Setting, e audit.Event) error {
	if s.Member == "" || s.Password == "" {
		return errors.New("sql: set credential: member and password are needed")
	}
	return d.audited(ctx, e, func(t *tx) error {
		if s.Link != "" {
			n, err := t.exec("use link", "UPDATE credential_links SET used = $3 WHERE hash = $1 AND member = $2 AND used = 0 AND expires > $3",
				s.Link, string(s.Member), ms(s.Updated))
			if err == nil && n != 1 {
				err = fmt.Errorf("sql: use link: %w", local.ErrLink)
			}
			if err != nil {
				return err
			}
		}
		if _, err := t.exec("end links", "UPDATE credential_links SET used = $2 WHERE member = $1 AND used = 0", string(s.Member), ms(s.Updated)); err != nil {
			return err
		}
		_, err := t.exec("set credential", `INSERT INTO credentials (member, password, totp, totp_step, updated) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (member) DO UPDATE SET password = excluded.password, totp = excluded.totp, totp_step = excluded.totp_step, updated = excluded.updated`,
			string(s.Member), s.Password, append([]byte{}, s.TOTP...), s.Step, ms(s.Updated))
		if err != nil || s.Codes == nil {
			return err
		}
		return t.replaceCodes(s.Member, s.Codes)
	})
}

// AnyPassword implements local.Credentials.
func (d *DB) AnyPassword(ctx context.Context) (bool, error) {
	var n int
	err := d.within(ctx, func(t *tx) error {
		return t.row("any password", func(r *sql.Row) error { return r.Scan(&n) },
			"SELECT count(*) FROM (SELECT 1 FROM credentials c JOIN members m ON m.id = c.member WHERE m.fallback = 0 LIMIT 1) AS one")
	})
	return n > 0, err
}

// ReplaceCodes implements local.Codes.
func (d *DB) ReplaceCodes(ctx context.Context, id member.ID, hashes []string, e audit.Event) error {
	return d.audited(ctx, e, func(t *tx) error {
		// The row is locked: of two who replace at once each leaves one whole set.
		n, err := t.exec("replace codes", "UPDATE credentials SET updated = updated WHERE member = $1", string(id))
		if err == nil && n == 0 {
			err = wrap("replace codes", member.ErrNotFound)
		}
		if err != nil {
			return err
		}
		return t.replaceCodes(id, hashes)
	})
}

func (t *tx) replaceCodes(id member.ID, hashes []string) error {
	if _, err := t.exec("replace codes", "DELETE FROM recovery_codes WHERE member = $1", string(id)); err != nil {
		return err
	}
	for _, h := range hashes {
		if _, err := t.exec("replace codes", "INSERT INTO recovery_codes (hash, member, used) VALUES ($1, $2, 0)", h, string(id)); err != nil {
			return err
		}
	}
	return nil
}

// Redeem implements local.Codes. The credential's row is written first: whoever
// sets a password at the same time waits, and then nothing here is true any more.
func (d *DB) Redeem(ctx context.Context, r local.Redemption, e audit.Event) error {
	return d.audited(ctx, e, func(t *tx) error {
		one := func(what, query string, args ...any) error {
			n, err := t.exec(what, query, args...)
			if err == nil && n != 1 {
				err = fmt.Errorf("sql: %s: %w", what, local.ErrUsed)
			}
			return err
		}
		var err error
		if r.Code != "" {
			err = one("redeem code", "UPDATE credentials SET updated = updated WHERE member = $1 AND password = $2", string(r.Member), r.Password)
			if err == nil {
				err = one("redeem code", "UPDATE recovery_codes SET used = $3 WHERE hash = $1 AND member = $2 AND used = 0", r.Code, string(r.Member), ms(r.Use.At))
			}
		} else {
			err = one("redeem step", "UPDATE credentials SET totp_step = $3 WHERE member = $1 AND password = $2 AND totp_step < $3 AND length(totp) > 0",
				string(r.Member), r.Password, r.Step)
		}
		if err != nil {
			return err
		}
		u := r.Use
		_, err = t.exec("fallback use", `INSERT INTO fallback_uses (id, member, user_name, made, address, request, factor, acknowledged, acknowledger)
			VALUES ($1, $2, $3, $4, $5, $6, $7, 0, '')`, u.ID, string(u.Member), u.UserName, ms(u.At), u.Address, u.RequestID, u.Factor)
		return err
	})
}

// Holds implements local.Codes.
func (d *DB) Holds(ctx context.Context, id member.ID, hash string) (bool, error) {
	var n int
	err := d.within(ctx, func(t *tx) error {
		return t.row("holds code", func(r *sql.Row) error { return r.Scan(&n) },
			"SELECT count(*) FROM recovery_codes WHERE hash = $1 AND member = $2 AND used = 0", hash, string(id))
	})
	return n == 1, err
}

// CodesLeft implements local.Codes.
func (d *DB) CodesLeft(ctx context.Context, id member.ID) (n int, err error) {
	err = d.within(ctx, func(t *tx) error {
		return t.row("codes left", func(r *sql.Row) error { return r.Scan(&n) }, "SELECT count(*) FROM recovery_codes WHERE member = $1 AND used = 0", string(id))
	})
	return n, err
}

// InsertLink implements local.Links.
func (d *DB) InsertLink(ctx context.Context, l local.Link, e audit.Event) error {
	if l.Purpose != local.Setup && l.Purpose != local.Reset {
		return errors.New("sql: insert link: it has no purpose")
	}
	return d.audited(ctx, e, func(t *tx) error {
		if _, err := t.exec("insert link", "UPDATE credential_links SET used = $3 WHERE member = $1 AND purpose = $2 AND used = 0",
			string(l.Member), string(l.Purpose), ms(l.Created)); err != nil {
			return err
		}
		_, err := t.exec("insert link", "INSERT INTO credential_links (hash, member, purpose, created, expires, used) VALUES ($1, $2, $3, $4, $5, 0)",
			l.Hash, string(l.Member), string(l.Purpose), ms(l.Created), ms(l.Expires))
		return err
	})
}

// Link implements local.Links.
func (d *DB) Link(ctx context.Context, hash string, when time.Time) (l local.Link, err error) {
	err = d.within(ctx, func(t *tx) error {
		var created, expires int64
		err := t.row("link", func(r *sql.Row) error { return r.Scan(&l.Hash, &l.Member, &l.Purpose, &created, &expires) },
			"SELECT hash, member, purpose, created, expires FROM credential_links WHERE hash = $1 AND used = 0 AND expires > $2", hash, ms(when))
		l.Created, l.Expires = at(created), at(expires)
		return err
	})
	switch {
	case errors.Is(err, member.ErrNotFound):
		return local.Link{}, fmt.Errorf("sql: link: %w", local.ErrLink)
	case err != nil:
		return local.Link{}, err
	}
	return l, nil
}

// Count implements local.Attempts. An upsert that changes nothing makes the row and
// holds it, on both engines; names in order, so that nobody waits in a circle.
func (d *DB) Count(ctx context.Context, names []string, fn func([]local.Counter)) error {
	sorted := slices.Sorted(slices.Values(names))
	return d.update(ctx, func(s *sql.Tx) error {
		t := &tx{ctx: ctx, sql: s, now: d.now}
		counters := make([]local.Counter, len(names))
		for _, name := range sorted {
			c := local.Counter{Name: name}
			var last int64
			err := t.row("count attempts", func(r *sql.Row) error { return r.Scan(&c.Failures, &last) },
				`INSERT INTO attempts (name, failures, last) VALUES ($1, 0, 0) ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING failures, last`, name)
			if err != nil {
				return err
			}
			c.Last = at(last)
			counters[slices.Index(names, name)] = c
		}
		fn(counters)
		for _, c := range counters {
			if _, err := t.exec("count attempts", "UPDATE attempts SET failures = $2, last = $3 WHERE name = $1", c.Name, c.Failures, ms(c.Last)); err != nil {
				return err
			}
		}
		return nil
	})
}

// SweepLocal implements local.Attempts.
func (d *DB) SweepLocal(ctx context.Context, before time.Time) error {
	for _, q := range []string{
		"DELETE FROM attempts WHERE name IN (SELECT name FROM attempts WHERE last < $1 ORDER BY last LIMIT $2)",
		"DELETE FROM credential_links WHERE hash IN (SELECT hash FROM credential_links WHERE expires < $1 ORDER BY expires LIMIT $2)",
	} {
		if _, err := d.sweep(ctx, func(s *sql.Tx) (int64, error) {
			return d.exec(ctx, s, "sweep local", q, ms(before), sweepBatch)
		}); err != nil {
			return err
		}
	}
	return nil
}

// maxUses and maxTold bound lists that people read and letters that are written.
const (
	maxUses = 100
	maxTold = 200
)

// FallbackUses implements local.Uses.
func (d *DB) FallbackUses(ctx context.Context) (out []local.Use, err error) {
	err = d.within(ctx, func(t *tx) (err error) {
		out, err = list(t, "fallback uses", func(r scanner, u *local.Use) error {
			var made, seen int64
			err := r.Scan(&u.ID, &u.Member, &u.UserName, &made, &u.Address, &u.RequestID, &u.Factor, &seen, &u.Acknowledger)
			u.At, u.Acknowledged = at(made), at(seen)
			return err
		}, `SELECT id, member, user_name, made, address, request, factor, acknowledged, acknowledger FROM fallback_uses
			WHERE acknowledged = 0 ORDER BY made DESC, id LIMIT $1`, maxUses)
		return err
	})
	return out, err
}

// AcknowledgeFallback implements local.Uses.
func (d *DB) AcknowledgeFallback(ctx context.Context, id string, by member.Actor, when time.Time) error {
	e := audit.Event{Kind: "fallback.acknowledged", Outcome: audit.Allowed, Actor: by.Name, RequestID: by.RequestID, Address: by.Address, Detail: map[string]string{"use": id}}
	return d.audited(ctx, e, func(t *tx) error {
		n, err := t.exec("acknowledge", "UPDATE fallback_uses SET acknowledged = $2, acknowledger = $3 WHERE id = $1 AND acknowledged = 0", id, ms(when), by.Name)
		if err == nil && n == 0 {
			err = wrap("acknowledge", member.ErrNotFound)
		}
		return err
	})
}

// Owners implements local.Uses.
func (d *DB) Owners(ctx context.Context) (out []member.Member, err error) {
	err = d.within(ctx, func(t *tx) (err error) {
		out, err = list(t, "owners", scanMember, "SELECT "+memberColumns+
			" FROM members m WHERE m.role = 'owner' AND m.wish = 1 AND m.accepted = 1 AND m.suspended = 0 ORDER BY m.created, m.id LIMIT $1", maxTold)
		return err
	})
	return out, err
}

// Interface guard.
var _ local.Store = (*DB)(nil)
