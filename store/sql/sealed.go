package sql

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"

	"github.com/ssogate/ssogate/internal/mail"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/local"
	"github.com/ssogate/ssogate/sso/refresh"
)

// Everything that is sealed with the seal key of the config. Whoever adds another
// column of that kind adds it here: "keys rotate --seal" promises that nothing
// needs the key before any more.

// Sealed is one value at rest, wherever it is kept.
type Sealed struct {
	Table, ID string // of its row
	Value     []byte
	Context   string // that it was sealed in
}

const (
	sealedBatch  = 500
	sealedValues = `SELECT source, id, value FROM (
			SELECT 'sealed_keys' AS source, name AS id, sealed AS value FROM sealed_keys
			UNION ALL SELECT 'cookie_keys', id, sealed FROM cookie_keys WHERE state <> 'retired' AND length(sealed) > 0
			UNION ALL SELECT 'credentials', member, totp FROM credentials WHERE length(totp) > 0
			UNION ALL SELECT 'grants', hash, token FROM grants
			UNION ALL SELECT 'outbox', id, sealed FROM outbox WHERE state = 'queued'
			UNION ALL SELECT 'signouts', hash, hint FROM signouts WHERE length(hint) > 0
			UNION ALL SELECT 'settings_versions', CAST(number AS TEXT), sealed FROM settings_versions
		) AS v WHERE (source, id) > ($1, $2) ORDER BY source, id LIMIT $3`
)

// resealTo are the updates of one value, unless it has changed.
var resealTo = map[string]string{ //nolint:gosec // G101: names of tables, no credentials
	"sealed_keys":       "UPDATE sealed_keys SET sealed = $1 WHERE name = $2 AND sealed = $3",
	"cookie_keys":       "UPDATE cookie_keys SET sealed = $1 WHERE id = $2 AND sealed = $3",
	"credentials":       "UPDATE credentials SET totp = $1 WHERE member = $2 AND totp = $3",
	"outbox":            "UPDATE outbox SET sealed = $1 WHERE id = $2 AND sealed = $3",
	"signouts":          "UPDATE signouts SET hint = $1 WHERE hash = $2 AND hint = $3",
	"settings_versions": "UPDATE settings_versions SET sealed = $1 WHERE CAST(number AS TEXT) = $2 AND sealed = $3",
	"grants":            "UPDATE grants SET token = $1 WHERE hash = $2 AND token = $3",
}

func (s *Sealed) scan(r scanner) error {
	if err := r.Scan(&s.Table, &s.ID, &s.Value); err != nil {
		return err
	}
	switch s.Table {
	case "cookie_keys":
		s.Context = session.SealedAs(s.ID)
	case "outbox":
		s.Context = mail.SealContext(s.ID)
	case "credentials":
		s.Context = local.SealContext(member.ID(s.ID))
	case "grants":
		h, err := secret.ParseHash(s.ID)
		if err != nil {
			return fmt.Errorf("sql: sealed values: %w", err)
		}
		s.Context = refresh.SealContext(h)
	case "signouts":
		h, err := secret.ParseHash(s.ID)
		if err != nil {
			return fmt.Errorf("sql: sealed values: %w", err)
		}
		s.Context = sso.SignOutContext(h)
	case "settings_versions":
		n, err := strconv.ParseInt(s.ID, 10, 64)
		if err != nil {
			return fmt.Errorf("sql: sealed values: %w", err)
		}
		s.Context = settings.SealContext(n)
	default:
		s.Context = s.ID
	}
	return nil
}

// EachSealed calls fn with every sealed value, a batch in memory at a time. One
// that is added meanwhile may be left out.
func (d *DB) EachSealed(ctx context.Context, fn func(Sealed) error) error {
	for last := (Sealed{}); ; {
		var batch []Sealed
		err := d.within(ctx, func(t *tx) (err error) {
			batch, err = list(t, "sealed values", func(r scanner, s *Sealed) error { return s.scan(r) }, sealedValues, last.Table, last.ID, sealedBatch)
			return err
		})
		if err != nil {
			return err
		}
		for _, s := range batch {
			if err := fn(s); err != nil {
				return err
			}
		}
		if len(batch) < sealedBatch {
			return nil
		}
		last = batch[len(batch)-1]
	}
}

// Reseal replaces a sealed value by the same one sealed with another key, unless
// it has changed or gone meanwhile; then it answers false.
func (d *DB) Reseal(ctx context.Context, s Sealed, value []byte) (done bool, err error) {
	statement, ok := resealTo[s.Table]
	if !ok {
		return false, fmt.Errorf("sql: reseal: no sealed values in %q", s.Table)
	}
	err = d.update(ctx, func(q *sql.Tx) error {
		n, err := (&tx{ctx: ctx, sql: q, now: d.now}).exec("reseal", statement, value, s.ID, s.Value)
		done = n == 1
		return err
	})
	return done, err
}
