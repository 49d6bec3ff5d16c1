package sql

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/internal/bearer"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/machine"
	"github.com/ssogate/ssogate/member"
)

func machineToken(name string) machine.Token {
	_, hash := bearer.New(bearer.Machine)
	return machine.Token{
		Stored: bearer.Stored{ID: bearer.ID(hash), Name: name, Hash: hash.String(), Created: day, Creator: "cli", Expires: day.AddDate(1, 0, 0)},
		Routes: []string{"api", "reports"}, Teams: []string{"okta.finance", "ops"},
	}
}

func machineEvent(kind string) audit.Event {
	return audit.Event{Kind: kind, Outcome: audit.Allowed, Actor: "cli"}
}

func revokeEvent(t machine.Token) audit.Event {
	e := machineEvent("gone")
	e.Target = "machine:" + t.Name
	return e
}

// kinds are the audit events so far.
func (d *DB) kinds(t *testing.T) (out string) {
	t.Helper()
	rows, err := d.reads.QueryContext(t.Context(), "SELECT kind || ' ' || target FROM audit ORDER BY seq")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		out += strings.TrimSpace(s) + ";"
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// Row C01 for machines, on every engine.
func TestMachineTokens_C01(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		ctx := t.Context()
		want, other := machineToken("deploy"), machineToken("deploy")
		other.Teams, other.Created = nil, day.Add(time.Hour)
		for _, m := range []machine.Token{want, other} {
			if err := d.InsertMachineToken(ctx, m, machineEvent("made")); err != nil {
				t.Fatal(err)
			}
		}
		got, seq, err := d.MachineToken(ctx, want.Hash)
		if err != nil || seq != 0 || !reflect.DeepEqual(got, want) {
			t.Fatalf("read %+v, %d, %v", got, seq, err)
		}
		for what, bad := range map[string]func(*machine.Token){
			"no id": func(m *machine.Token) { m.ID = "" }, "no hash": func(m *machine.Token) { m.Hash = "" }, "no route": func(m *machine.Token) { m.Routes = nil },
		} {
			m := machineToken("x")
			bad(&m)
			if err := d.InsertMachineToken(ctx, m, machineEvent("made")); err == nil {
				t.Errorf("stored one with %s", what)
			}
		}
		second := machineToken("thief")
		second.Hash = want.Hash
		if err := d.InsertMachineToken(ctx, second, machineEvent("made")); !errors.Is(err, member.ErrConflict) {
			t.Errorf("one token under two ids: %v", err)
		}
		for _, unknown := range []string{"", strings.ToUpper(want.Hash), "\x00", want.ID, strings.Repeat("ef", 32)} {
			if m, _, err := d.MachineToken(ctx, unknown); !errors.Is(err, member.ErrNotFound) || m.ID != "" {
				t.Errorf("token %q: %+v, %v", unknown, m, err)
			}
		}
		first, err := d.RevokeMachineToken(ctx, want.ID, revokeEvent)
		if err != nil || first != 1 {
			t.Fatalf("revoked by row %d, %v", first, err)
		}
		if _, _, err := d.MachineToken(ctx, want.Hash); !errors.Is(err, member.ErrNotFound) {
			t.Errorf("a revoked token: %v", err)
		}
		if _, seq, err := d.MachineToken(ctx, other.Hash); err != nil || seq != first {
			t.Errorf("the other one is read as of row %d, %v; want %d, or it would be taken for stale", seq, err, first)
		}
		rows, err := d.Revocations(ctx, 0, 10)
		if err != nil || len(rows) != 1 || rows[0].Kind != member.End || rows[0].Scope != member.ScopeSession || rows[0].Target != want.Hash {
			t.Errorf("G1: the revocation log has %+v, %v", rows, err)
		}
		if again, err := d.RevokeMachineToken(ctx, want.ID, revokeEvent); err != nil || again != first {
			t.Errorf("C2: revoked again by row %d, %v; want the same row to wait for", again, err)
		}
		for _, unknown := range []string{"", "nothing", want.Hash, want.ID[:15], "%"} {
			if seq, err := d.RevokeMachineToken(ctx, unknown, revokeEvent); !errors.Is(err, member.ErrNotFound) {
				t.Errorf("revoke %q: row %d, %v", unknown, seq, err)
			}
		}
		left, err := d.ListMachineTokens(ctx)
		if err != nil || len(left) != 1 || left[0].ID != other.ID || len(left[0].Teams) > 0 {
			t.Errorf("left %+v, %v", left, err)
		}
		if got := d.kinds(t); got != "made;made;gone machine:deploy;" {
			t.Errorf("audit %q: what was done, and each only once", got)
		}
	})
}

// A tombstone of a person's session is no token that was revoked.
func TestRevokingTheHandleOfASessionRevokesNothing(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		h := secret.Sum("a session")
		err := d.Update(t.Context(), func(tx member.Tx) error {
			return tx.EndSession(member.EndedSession{Hash: h.String(), Member: "ana", Until: time.Now().Add(time.Hour)})
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.RevokeMachineToken(t.Context(), bearer.ID(h), revokeEvent); !errors.Is(err, member.ErrNotFound) {
			t.Errorf("%v, want not found", err)
		}
	})
}

func TestOneOfManyRevocationsOfATokenCounts(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		m := machineToken("deploy")
		if err := d.InsertMachineToken(t.Context(), m, machineEvent("made")); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if seq, err := d.RevokeMachineToken(t.Context(), m.ID, revokeEvent); err != nil || seq != 1 {
					t.Errorf("row %d, %v; everybody waits for the first", seq, err)
				}
			})
		}
		wg.Wait()
		if got := d.kinds(t); got != "made;gone machine:deploy;" {
			t.Errorf("audit %q", got)
		}
	})
}

func TestUsesOfMachineTokensAreWrittenOnceAMinute(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		a, b := machineToken("a"), machineToken("b")
		for _, m := range []machine.Token{a, b} {
			if err := d.InsertMachineToken(t.Context(), m, machineEvent("made")); err != nil {
				t.Fatal(err)
			}
		}
		for _, u := range []struct {
			at   time.Time
			want time.Time
		}{{day, day}, {day.Add(59 * time.Second), day}, {day.Add(time.Minute), day.Add(time.Minute)}, {day, day.Add(time.Minute)}} {
			err := d.UsedMachineTokens(context.WithoutCancel(t.Context()), []machine.Use{
				{ID: a.ID, At: u.at, Addr: "192.0.2.1"}, {ID: "gone", At: u.at}, {ID: b.ID, At: u.at, Addr: "192.0.2.2"},
			})
			if err != nil {
				t.Fatal(err)
			}
			for addr, m := range map[string]machine.Token{"192.0.2.1": a, "192.0.2.2": b} {
				if got, _, err := d.MachineToken(t.Context(), m.Hash); err != nil || !got.LastUsed.Equal(u.want) || got.LastAddr != addr {
					t.Errorf("%s used at %v: noted %v from %q, %v", m.Name, u.at, got.LastUsed, got.LastAddr, err)
				}
			}
		}
	})
}
