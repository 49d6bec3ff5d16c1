package sql

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/settings"
)

// ViewSettings implements settings.Store.
func (d *DB) ViewSettings(ctx context.Context, fn func(settings.Tx) error) error {
	return d.View(ctx, settingsTx(fn))
}

// UpdateSettings implements settings.Store.
func (d *DB) UpdateSettings(ctx context.Context, fn func(settings.Tx) error) error {
	return d.Update(ctx, settingsTx(fn))
}

func settingsTx(fn func(settings.Tx) error) func(member.Tx) error {
	return func(t member.Tx) error {
		s, ok := t.(settings.Tx)
		if !ok { // unreachable: there is one kind of transaction
			return fmt.Errorf("sql: %T is no transaction over settings", t)
		}
		return fn(s)
	}
}

const versionColumns = "number, parent, state, author, comment, created, published, sealed"

func scanVersion(r scanner, v *settings.Row) error {
	var created, published int64
	if err := r.Scan(&v.Number, &v.Parent, &v.State, &v.Author, &v.Comment, &created, &published, &v.Sealed); err != nil {
		return err
	}
	v.Created = at(created)
	if published != 0 {
		v.Published = at(published)
	}
	return nil
}

// LockSettings implements settings.Tx. SQLite lets one writer in at a time anyway.
func (t *tx) LockSettings() error {
	var version int64
	return t.row("lock settings", func(r *sql.Row) error { return r.Scan(&version) },
		"SELECT version FROM settings_version WHERE one = 1"+t.lock)
}

// Version implements settings.Tx.
func (t *tx) Version(number int64) (v settings.Row, err error) {
	err = t.row("settings version", func(r *sql.Row) error { return scanVersion(r, &v) },
		"SELECT "+versionColumns+" FROM settings_versions WHERE number = $1", number)
	return v, err
}

// LatestVersion implements settings.Tx.
func (t *tx) LatestVersion(state settings.State) (v settings.Row, err error) {
	err = t.row("latest settings version", func(r *sql.Row) error { return scanVersion(r, &v) },
		"SELECT "+versionColumns+" FROM settings_versions WHERE ($1 = '' OR state = $1) ORDER BY number DESC LIMIT 1", string(state))
	return v, err
}

// Versions implements settings.Tx.
func (t *tx) Versions(limit int) ([]settings.Row, error) {
	return list(t, "settings versions", scanVersion, "SELECT "+versionColumns+" FROM settings_versions ORDER BY number DESC LIMIT $1", limit)
}

// InsertVersion implements settings.Tx.
func (t *tx) InsertVersion(v settings.Row) error {
	_, err := t.exec("insert settings version", "INSERT INTO settings_versions ("+versionColumns+") VALUES ($1, $2, $3, $4, $5, $6, 0, $7)",
		v.Number, v.Parent, string(v.State), v.Author, v.Comment, ms(v.Created), v.Sealed)
	return err
}

// MoveVersion implements settings.Tx.
func (t *tx) MoveVersion(number int64, from, to settings.State, published time.Time) error {
	n, err := t.exec("move settings version", "UPDATE settings_versions SET state = $3, published = $4 WHERE number = $1 AND state = $2",
		number, string(from), string(to), ms(published))
	if err == nil && n != 1 {
		return fmt.Errorf("sql: move settings version %d: %w", number, member.ErrVersion)
	}
	return err
}

// SetSettingsVersion implements settings.Tx.
func (t *tx) SetSettingsVersion(version int64) error {
	_, err := t.exec("set settings version", "UPDATE settings_version SET version = $1 WHERE one = 1", version)
	return err
}

// ProviderName implements settings.Tx.
func (t *tx) ProviderName(id string) (n settings.Name, err error) {
	err = t.row("provider name", func(r *sql.Row) error { return r.Scan(&n.ID, &n.Protocol, &n.Issuer) },
		"SELECT id, protocol, issuer FROM provider_names WHERE id = $1", id)
	return n, err
}

// PutProviderName implements settings.Tx.
func (t *tx) PutProviderName(n settings.Name) error {
	_, err := t.exec("put provider name", `INSERT INTO provider_names (id, protocol, issuer) VALUES ($1, $2, $3)
		ON CONFLICT (id) DO UPDATE SET protocol = excluded.protocol, issuer = excluded.issuer`, n.ID, string(n.Protocol), n.Issuer)
	return err
}

// PutResult implements settings.Tx.
func (t *tx) PutResult(r settings.Result) error {
	_, err := t.exec("put test result", `INSERT INTO settings_results (provider, digest, passed, report, author, made) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (provider, digest) DO UPDATE SET passed = excluded.passed, report = excluded.report, author = excluded.author, made = excluded.made`,
		r.Provider, r.Digest, bit(r.Passed), append([]byte{}, r.Report...), r.By, ms(r.At))
	return err
}

// Result implements settings.Tx.
func (t *tx) Result(provider, digest string) (r settings.Result, err error) {
	var passed, made int64
	err = t.row("test result", func(row *sql.Row) error {
		return row.Scan(&r.Provider, &r.Digest, &passed, &r.Report, &r.By, &made)
	}, "SELECT provider, digest, passed, report, author, made FROM settings_results WHERE provider = $1 AND digest = $2", provider, digest)
	if err != nil {
		return settings.Result{}, err
	}
	r.Passed, r.At = passed == 1, at(made)
	return r, nil
}

// FallbackOwner implements settings.Tx. One who has not set his password yet, or has
// no code left, is no way in.
func (t *tx) FallbackOwner() (found bool, err error) {
	var n int64
	err = t.row("fallback owner", func(r *sql.Row) error { return r.Scan(&n) },
		`SELECT count(*) FROM members m JOIN credentials c ON c.member = m.id
			WHERE m.fallback = 1 AND m.role = 'owner' AND m.wish = 1 AND m.accepted = 1 AND m.suspended = 0
			AND (length(c.totp) > 0 OR EXISTS (SELECT 1 FROM recovery_codes r WHERE r.member = m.id AND r.used = 0))`)
	return n > 0, err
}

var _ settings.Store = (*DB)(nil)
