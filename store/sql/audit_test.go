package sql

import (
	"database/sql"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/member"
)

func TestAuditChainShowsTampering_L02(t *testing.T) {
	for name, damage := range map[string]string{
		"nothing":              "",
		"reason altered":       "UPDATE audit SET reason = 'x' WHERE seq = 3",
		"time altered":         "UPDATE audit SET made = made + 1 WHERE seq = 3",
		"outcome altered":      "UPDATE audit SET outcome = 'allowed' WHERE seq = 3",
		"detail altered":       "UPDATE audit SET detail = '{\"k\":\"x\"}' WHERE seq = 3",
		"detail not JSON":      "UPDATE audit SET detail = '{' WHERE seq = 3",
		"middle removed":       "DELETE FROM audit WHERE seq = 3",
		"first removed":        "DELETE FROM audit WHERE seq = 1",
		"last removed":         "DELETE FROM audit WHERE seq = 5",
		"all removed":          "DELETE FROM audit",
		"two swapped":          "UPDATE audit SET kind = CASE seq WHEN 2 THEN 'kind.3' ELSE 'kind.2' END WHERE seq IN (2, 3)",
		"one more at the end":  "INSERT INTO audit SELECT 6, made, kind, outcome, actor, target, provider, request_id, address, reason, detail, hash FROM audit WHERE seq = 5",
		"one before the first": "INSERT INTO audit SELECT 0, made, kind, outcome, actor, target, provider, request_id, address, reason, detail, hash FROM audit WHERE seq = 5",
		"head set back":        "UPDATE audit_head SET seq = 4, hash = (SELECT hash FROM audit WHERE seq = 4)",
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, engines["SQLite"](t))
			for _, k := range []string{"kind.1", "kind.2", "kind.3", "kind.4", "kind.5"} {
				if err := d.Record(t.Context(), audit.Event{Kind: k, Reason: "<&>\u2028é", Detail: map[string]string{"k": "<v>"}}); err != nil {
					t.Fatal(err)
				}
			}
			if damage == "" {
				if n, err := d.VerifyAudit(t.Context()); n != 5 || err != nil {
					t.Fatalf("an untouched log: %d, %v", n, err)
				}
				return
			}
			if err := d.update(t.Context(), func(tx *sql.Tx) error {
				_, err := tx.ExecContext(t.Context(), damage)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if n, err := d.VerifyAudit(t.Context()); !errors.Is(err, audit.ErrBroken) {
				t.Errorf("verified %d events with %v", n, err)
			}
		})
	}
}

func TestAuditChainHoldsUnderConcurrencyAndRollback_L02(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		fail := errors.New("on purpose")
		var wg sync.WaitGroup
		for w := range 6 {
			wg.Go(func() {
				for i := range 8 {
					err := d.Update(t.Context(), func(tx member.Tx) error {
						for range 1 + i%3 {
							// The clock goes back now and then; order is kept by number.
							if err := tx.Audit(audit.Event{Kind: "x", Time: day.Add(-time.Duration(i) * time.Hour)}); err != nil {
								return err
							}
						}
						if w == 0 {
							return fail
						}
						return nil
					})
					if err != nil && !errors.Is(err, fail) {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		want := 5 * (1 + 2 + 3 + 1 + 2 + 3 + 1 + 2)
		if n, err := d.VerifyAudit(t.Context()); n != want || err != nil {
			t.Errorf("%d events, %v, want %d", n, err, want)
		}
	})
}

func TestNothingIsAuditedAfterTheCounterIsLocked_C1(t *testing.T) {
	d := open(t, engines["SQLite"](t))
	err := d.Update(t.Context(), func(tx member.Tx) error {
		if _, err := tx.Revoke(member.Revocation{Kind: member.End, Scope: member.ScopeAll}); err != nil {
			return err
		}
		return tx.Audit(audit.Event{Kind: "late"})
	})
	if !errors.Is(err, errOrder) {
		t.Errorf("got %v, want errOrder", err)
	}
}
