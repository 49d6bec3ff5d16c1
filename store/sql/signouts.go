package sql

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/sso"
)

// SignOuts is the store of how providers name sessions. It is in SQL also where
// sessions are in Redis: a logout at the provider must end a session whatever became
// of the session store (C1). Safe for concurrent use by several nodes.
type SignOuts struct{ db *DB }

// SignOuts answers the store of sign-outs in this database.
func (d *DB) SignOuts() *SignOuts { return &SignOuts{d} }

// maxSignOut bounds what is kept of one, in bytes.
const maxSignOut = 8 << 10

// named is what is kept beside the columns that are searched.
type named struct {
	Person string `json:"p,omitempty"`
	Index  string `json:"i,omitempty"`
}

// nameKey is a name as it is searched: providers choose names of any length.
func nameKey(name string) string {
	if name == "" {
		return ""
	}
	return secret.Sum(name).String()
}

// Keep implements sso.SignOuts.
func (s *SignOuts) Keep(ctx context.Context, o sso.SignOut) error {
	raw, err := json.Marshal(named{o.Person, o.Index})
	switch {
	case err != nil:
		return fmt.Errorf("sql: keep sign-out: %w", err)
	case o.Session.IsZero(), o.Member == "", o.Provider == "", o.Person == "" && o.Index == "", o.Expires.IsZero(), len(raw)+len(o.Hint) > maxSignOut:
		return errors.New("sql: keep sign-out: incomplete or too large")
	}
	return s.db.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO signouts (hash, member, provider, person, idx, named, hint, expires)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
			o.Session.String(), string(o.Member), o.Provider, nameKey(o.Person), nameKey(o.Index), raw, append([]byte{}, o.Hint...), ms(o.Expires))
		if err != nil {
			return fmt.Errorf("sql: keep sign-out: %w", err)
		}
		return nil
	})
}

// Of implements sso.SignOuts.
func (s *SignOuts) Of(ctx context.Context, session secret.Hash) (o sso.SignOut, err error) {
	err = s.db.view(ctx, func(tx *sql.Tx) error {
		var raw []byte
		var expires int64
		err := tx.QueryRowContext(ctx, `SELECT member, provider, named, hint, expires FROM signouts WHERE hash = $1`, session.String()).
			Scan(&o.Member, &o.Provider, &raw, &o.Hint, &expires)
		if errors.Is(err, sql.ErrNoRows) {
			return sso.ErrNoRecord
		}
		if err != nil {
			return err
		}
		var n named
		if err := json.Unmarshal(raw, &n); err != nil {
			return err
		}
		o.Session, o.Person, o.Index, o.Expires = session, n.Person, n.Index, at(expires)
		return nil
	})
	if err != nil {
		return sso.SignOut{}, fmt.Errorf("sql: sign-out of a session: %w", err)
	}
	return o, nil
}

// Named implements sso.SignOuts.
func (s *SignOuts) Named(ctx context.Context, provider, person, index string, now time.Time) (out []member.ID, err error) {
	if person == "" && index == "" {
		return nil, nil
	}
	query := `SELECT DISTINCT member FROM signouts WHERE provider = $1 AND expires > $2`
	args := []any{provider, ms(now)}
	for _, c := range []struct{ column, value string }{{"person", person}, {"idx", index}} {
		if c.value != "" {
			args = append(args, nameKey(c.value))
			query += fmt.Sprintf(" AND %s = $%d", c.column, len(args))
		}
	}
	err = s.db.view(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, query+" ORDER BY member", args...)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }() // rows.Err says what matters
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				return err
			}
			out = append(out, member.ID(id))
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("sql: named in a logout: %w", err)
	}
	return out, nil
}

// Sweep forgets those whose session has ended at the latest.
func (s *SignOuts) Sweep(ctx context.Context, now time.Time) error {
	return s.db.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM signouts WHERE expires <= $1`, ms(now))
		return err
	})
}

var _ sso.SignOuts = (*SignOuts)(nil)
