package sql

import (
	"errors"
	"testing"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/member"
)

// Row S31: of two nodes that replace the same version one wins, and only its event
// is recorded.
func TestProviderMetadataIsReplacedByVersion(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		ctx := t.Context()
		if _, _, err := d.ProviderMetadata(ctx, "okta"); !errors.Is(err, member.ErrNotFound) {
			t.Errorf("none: %v", err)
		}
		put := func(value string, version int64, want error) {
			t.Helper()
			e := audit.Event{Kind: "provider.change_pending", Outcome: audit.Allowed, Actor: "system", Provider: "okta", Reason: value}
			if err := d.PutProviderMetadata(ctx, "okta", []byte(value), version, e); !errors.Is(err, want) {
				t.Errorf("put %s over %d: %v", value, version, err)
			}
		}
		put("z", 1, member.ErrConflict)
		put("a", 0, nil)
		put("b", 0, member.ErrConflict)
		put("c", 1, nil)
		put("d", 1, member.ErrConflict)
		value, version, err := d.ProviderMetadata(ctx, "okta")
		if err != nil || string(value) != "c" || version != 2 {
			t.Errorf("%q, version %d, %v", value, version, err)
		}
		if _, _, err := d.ProviderMetadata(ctx, "entra"); !errors.Is(err, member.ErrNotFound) {
			t.Errorf("another provider's: %v", err)
		}
		if err := d.PutProviderMetadata(ctx, "okta", make([]byte, maxProviderMetadata+1), 2); err == nil {
			t.Error("too large a document was stored")
		}
		var events int
		err = d.within(ctx, func(tx *tx) error {
			return tx.sql.QueryRowContext(ctx, "SELECT count(*) FROM audit").Scan(&events)
		})
		if err != nil || events != 2 {
			t.Errorf("%d events, %v; want those of the two writes that won", events, err)
		}
	})
}
