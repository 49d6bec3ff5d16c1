package sql

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/member"
)

// maxProviderMetadata bounds a document: certificates and addresses, of metadata
// that may have 1 MB itself.
const maxProviderMetadata = 2 << 20

// ProviderMetadata implements saml.Store.
func (d *DB) ProviderMetadata(ctx context.Context, provider string) (value []byte, version int64, err error) {
	err = d.within(ctx, func(t *tx) error {
		return t.row("provider metadata", func(r *sql.Row) error { return r.Scan(&value, &version) },
			"SELECT value, version FROM provider_metadata WHERE provider = $1", provider)
	})
	return value, version, err
}

// PutProviderMetadata implements saml.Store.
func (d *DB) PutProviderMetadata(ctx context.Context, provider string, value []byte, version int64, events ...audit.Event) error {
	if len(value) > maxProviderMetadata || !storable(provider) {
		return fmt.Errorf("sql: put provider metadata: %d bytes of %q", len(value), provider)
	}
	return d.Update(ctx, func(m member.Tx) error {
		t, ok := m.(*tx)
		if !ok {
			return fmt.Errorf("sql: provider metadata: %T is not a transaction of ours", m)
		}
		var n int64
		var err error
		if version == 0 {
			n, err = t.exec("put provider metadata", `INSERT INTO provider_metadata (provider, value, version) VALUES ($1, $2, 1)
				ON CONFLICT (provider) DO NOTHING`, provider, value)
		} else {
			n, err = t.exec("put provider metadata", `UPDATE provider_metadata SET value = $2, version = version + 1
				WHERE provider = $1 AND version = $3`, provider, value, version)
		}
		if err != nil {
			return err
		}
		if n != 1 {
			return fmt.Errorf("sql: put provider metadata: %w", member.ErrConflict)
		}
		for _, e := range events {
			if err := t.Audit(e); err != nil {
				return err
			}
		}
		return nil
	})
}
