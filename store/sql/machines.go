package sql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/internal/bearer"
	"github.com/ssogate/ssogate/machine"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
)

func machineTable() bearers[machine.Token] {
	return bearers[machine.Token]{
		"machine_tokens", "machine token",
		[]string{"routes", "teams"},
		func(t *machine.Token) *bearer.Stored { return &t.Stored },
		func(t *machine.Token) []any { return []any{strings.Join(t.Routes, " "), strings.Join(t.Teams, " ")} },
		func(t *machine.Token, row func(...any) error) error {
			var routes, teams string
			err := row(&routes, &teams)
			t.Routes, t.Teams = strings.Fields(routes), strings.Fields(teams)
			return err
		},
	}
}

// revokedKept is how long a revoked token is remembered, so that a second call waits
// for the row of the first.
const revokedKept = 24 * time.Hour

// MachineToken implements machine.Tokens.
func (d *DB) MachineToken(ctx context.Context, hash string) (out machine.Token, seq int64, err error) {
	err = d.within(ctx, func(t *tx) error {
		if out, err = machineTable().in(t, "hash", hash); err != nil {
			return err
		}
		seq, err = t.LatestRevocation("", "")
		return err
	})
	return out, seq, err
}

// ListMachineTokens implements machine.Tokens.
func (d *DB) ListMachineTokens(ctx context.Context) ([]machine.Token, error) {
	return machineTable().list(ctx, d, "")
}

// InsertMachineToken implements machine.Tokens: member.ErrConflict for a second one
// with the same id or hash.
func (d *DB) InsertMachineToken(ctx context.Context, m machine.Token, e audit.Event) error {
	return machineTable().insert(ctx, d, m, e)
}

// RevokeMachineToken implements machine.Tokens. The tombstone is one of a session,
// which the token stands for, and is swept as those are.
func (d *DB) RevokeMachineToken(ctx context.Context, id string, event func(machine.Token) audit.Event) (seq int64, err error) {
	err = d.Update(ctx, func(mt member.Tx) error {
		t, ok := mt.(*tx)
		if !ok {
			return errors.New("sql: not a transaction of this package") // unreachable: Update makes it
		}
		m, err := machineTable().in(t, "id", id)
		if err == nil {
			err = machineTable().remove(t, id)
		}
		switch {
		case errors.Is(err, member.ErrNotFound): // of two at once the second finds the first one's row
			seq, err = t.revokedBefore(id)
			return err
		case err != nil:
			return err
		}
		const reason = "machine token revoked"
		tombstone := member.EndedSession{Hash: m.Hash, Member: member.ID(session.MachineID(m.Name)), Until: t.now().Add(revokedKept), Reason: reason}
		if err := errors.Join(t.EndSession(tombstone), t.Audit(event(m))); err != nil {
			return err
		}
		seq, err = t.Revoke(member.Revocation{Kind: member.End, Scope: member.ScopeSession, Target: m.Hash, Reason: reason})
		return err
	})
	return seq, err
}

// revokedBefore is the row by which a token was revoked that is no longer there.
func (t *tx) revokedBefore(id string) (seq int64, err error) {
	var hash string
	err = t.row("revoked machine token", func(r *sql.Row) error { return r.Scan(&hash) },
		"SELECT hash FROM ended_sessions WHERE substr(hash, 1, $2) = $1 AND substr(member, 1, $4) = $3 LIMIT 1",
		id, len(bearer.ID([32]byte{})), session.MachineID(""), len(session.MachineID("")))
	if err != nil {
		return 0, err
	}
	return t.LatestRevocation(member.ScopeSession, hash)
}

// UsedMachineTokens implements machine.Tokens, in one transaction.
func (d *DB) UsedMachineTokens(ctx context.Context, uses []machine.Use) error {
	err := d.update(ctx, func(s *sql.Tx) error {
		t := &tx{ctx: ctx, sql: s, now: d.now}
		for _, u := range uses {
			if err := machineTable().use(t, u.ID, u.At, u.Addr); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("sql: machine token uses: %w", err)
	}
	return nil
}

// Interface guard.
var _ machine.Tokens = (*DB)(nil)
