package sql

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/sso/refresh"
)

// noNodes confirm at once and count what they were asked.
type noNodes struct {
	mu   sync.Mutex
	seqs []int64
	err  error
}

func (n *noNodes) Barrier(_ context.Context, seq int64) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.seqs = append(n.seqs, seq)
	return nil
}

func (n *noNodes) Confirm(ctx context.Context, seq int64) error {
	return errors.Join(n.err, n.Barrier(ctx, seq))
}

var operator = member.Actor{Name: "cli:root"}

func newKeyRing(t *testing.T, d *DB, sealKeys ...byte) (*session.KeyRing, *clock.Manual) {
	t.Helper()
	var keys [][]byte
	for _, b := range sealKeys {
		keys = append(keys, bytes.Repeat([]byte{b}, 32))
	}
	sealer, err := secret.NewSealer(keys...)
	if err != nil {
		t.Fatal(err)
	}
	now := &clock.Manual{}
	d.now = now.Now
	return &session.KeyRing{
		Store: d, Sealer: sealer, Config: [][]byte{bytes.Repeat([]byte{7}, 64)}, Absolute: 24 * time.Hour, Now: now.Now,
	}, now
}

func ringIDs(t *testing.T, k *session.KeyRing) (ids []string) {
	t.Helper()
	keys, err := k.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		ids = append(ids, secret.KeyID(key))
	}
	return ids
}

// K08: next, current, previous, retired; each step a row that every node acts on,
// and an event.
func TestCookieKeysGoTheirWay(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		ring, now := newKeyRing(t, d, 1)
		config := secret.KeyID(ring.Config[0])
		if ids := ringIDs(t, ring); !slices.Equal(ids, []string{config}) {
			t.Fatalf("before any rotation: %v", ids)
		}
		away := &noNodes{err: errors.New("not confirmed")}
		if _, err := ring.Rotate(t.Context(), operator, away); err == nil {
			t.Fatal("used without a confirmation")
		}
		waiting := ringIDs(t, ring)
		if len(waiting) != 2 || waiting[0] != config {
			t.Fatalf("proposed: %v, want the config's key in use", waiting)
		}
		all := &noNodes{}
		first, err := ring.Rotate(t.Context(), operator, all)
		if err != nil || first != waiting[1] {
			t.Fatalf("the interrupted rotation went on with %s (%v), want %s", first, err, waiting[1])
		}
		if len(all.seqs) != 2 || all.seqs[0] >= all.seqs[1] {
			t.Errorf("rows waited for: %v", all.seqs)
		}
		now.Advance(time.Hour)
		second, err := ring.Rotate(t.Context(), operator, all)
		if err != nil {
			t.Fatal(err)
		}
		if ids := ringIDs(t, ring); !slices.Equal(ids, []string{second, first, config}) {
			t.Fatalf("after two rotations: %v", ids)
		}
		now.Advance(23 * time.Hour)
		if ids, err := ring.Retire(t.Context()); err != nil || !slices.Equal(ids, []string{config}) {
			t.Fatalf("retired %v (%v), want the config's key, previous for 24 h", ids, err)
		}
		if ids := ringIDs(t, ring); !slices.Equal(ids, []string{second, first}) {
			t.Fatalf("after that: %v", ids)
		}
		last := lastRow(t, d)
		if ids, err := ring.Retire(t.Context()); err != nil || ids != nil || lastRow(t, d) != last {
			t.Errorf("nothing was due, and %v were retired (%v)", ids, err)
		}
		now.Advance(time.Hour)
		if ids, err := ring.Retire(t.Context()); err != nil || !slices.Equal(ids, []string{first}) {
			t.Fatalf("retired %v (%v)", ids, err)
		}
		stored, err := d.CookieKeys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range stored {
			if k.State == session.KeyRetired && len(k.Sealed) != 0 {
				t.Errorf("%s is retired and its value is still there", k.ID)
			}
		}
		rows, err := d.Revocations(t.Context(), 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if r.Kind != member.Reload || r.Target != member.ReloadKeys || r.Scope != member.ScopeAll {
				t.Errorf("row %+v", r)
			}
		}
		// Proposed twice, the second time for the same key; used twice; retired twice; one more proposal.
		if n, err := d.VerifyAudit(t.Context()); err != nil || n != 7 || len(rows) != 7 {
			t.Errorf("%d events, %d rows, %v", n, len(rows), err)
		}
	})
}

func lastRow(t *testing.T, d *DB) int64 {
	t.Helper()
	seq, err := d.LastRevocation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

// Two operators at once make one new key.
func TestRotationsAtOnceAgreeOnOneKey(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		ring, _ := newKeyRing(t, d, 1)
		var wg sync.WaitGroup
		ids := make([]string, 6)
		for i := range ids {
			wg.Go(func() {
				var seq int64
				var err error
				if ids[i], seq, err = d.ProposeCookieKey(t.Context(), operator, proposal(ring, byte(i))); err != nil || seq == 0 {
					t.Error(seq, err)
				}
			})
		}
		wg.Wait()
		if len(slices.Compact(slices.Clone(ids))) != 1 {
			t.Fatalf("proposed: %v", ids)
		}
		for range ids {
			wg.Go(func() {
				if seq, err := d.UseCookieKey(t.Context(), operator, ids[0], nil); err != nil || seq == 0 {
					t.Error(seq, err)
				}
			})
		}
		wg.Wait()
		stored, err := d.CookieKeys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		current := 0
		for _, k := range stored {
			if k.State == session.KeyCurrent {
				current++
			}
			if k.State == session.KeyNext || !slices.Contains(ids, k.ID) {
				t.Errorf("left over: %+v", k)
			}
		}
		if current != 1 {
			t.Errorf("%d keys are current", current)
		}
		if _, err := d.UseCookieKey(t.Context(), operator, "0123456789abcdef", nil); !errors.Is(err, member.ErrNotFound) {
			t.Errorf("use of a key that was never proposed: %v", err)
		}
	})
}

func proposal(ring *session.KeyRing, b byte) session.StoredKey {
	key := bytes.Repeat([]byte{100 + b}, 64)
	id := secret.KeyID(key)
	return session.StoredKey{ID: id, Sealed: ring.Sealer.Seal(key, session.SealedAs(id)), State: session.KeyNext, Changed: ring.Now()}
}

// Values are sealed anew one by one: each opens with either key all the while.
func TestSealedValuesAreSealedAnew(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		old, _ := newKeyRing(t, d, 1)
		if _, err := old.Rotate(t.Context(), operator, &noNodes{}); err != nil {
			t.Fatal(err)
		}
		if _, err := d.PutSealedKeyIfAbsent(t.Context(), "saml/okta", old.Sealer.Seal([]byte("an SP key"), "saml/okta")); err != nil {
			t.Fatal(err)
		}
		both, _ := newKeyRing(t, d, 2, 1)
		alone, _ := newKeyRing(t, d, 2)
		if _, err := alone.Load(t.Context()); err == nil {
			t.Fatal("a ring sealed with another key was read")
		}
		token := old.Sealer.Seal([]byte("a token"), refresh.SealContext(secret.Sum("one")))
		grant := refresh.Grant{
			Session: secret.Sum("one"), Member: "ana", Epoch: 1, Identity: member.Identity{Provider: "oidc", Issuer: "https://id.example.com", Subject: "s1"},
			Token: token, Due: d.now().Add(time.Hour), Expires: d.now().Add(2 * time.Hour),
		}
		if err := d.Grants().Put(t.Context(), grant); err != nil {
			t.Fatal(err)
		}
		seen := map[string]int{}
		err := d.EachSealed(t.Context(), func(v Sealed) error {
			seen[v.Table]++
			if both.Sealer.Current(v.Value, v.Context) || !old.Sealer.Current(v.Value, v.Context) {
				t.Errorf("%s: sealed with the wrong key", v.ID)
			}
			plain, err := both.Sealer.Open(v.Value, v.Context)
			if err != nil {
				return err
			}
			if done, err := d.Reseal(t.Context(), v, both.Sealer.Seal(plain, v.Context)); err != nil || !done {
				t.Errorf("%s: %v %v", v.ID, done, err)
			}
			if done, err := d.Reseal(t.Context(), v, both.Sealer.Seal([]byte("older"), v.Context)); err != nil || done {
				t.Errorf("%s: a value that had changed was overwritten (%v)", v.ID, err)
			}
			return nil
		})
		if err != nil || seen["sealed_keys"] != 1 || seen["cookie_keys"] != 1 || seen["grants"] != 1 {
			t.Fatalf("sealed values %v, %v", seen, err)
		}
		if err := d.EachSealed(t.Context(), func(v Sealed) error {
			_, err := alone.Sealer.Open(v.Value, v.Context)
			return err
		}); err != nil {
			t.Errorf("with the new key alone: %v", err)
		}
		if ids := ringIDs(t, alone); len(ids) != 2 {
			t.Errorf("with the new key alone: %v", ids)
		}
		sealed, err := d.SealedKey(t.Context(), "saml/okta")
		if err != nil {
			t.Fatal(err)
		}
		if plain, err := alone.Sealer.Open(sealed, "saml/okta"); err != nil || string(plain) != "an SP key" {
			t.Errorf("%q %v", plain, err)
		}
	})
}

func TestEndedSessionIsFoundByItsHandle(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		h := secret.Sum("one")
		r := session.Record{Hash: h}
		until := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
		s := member.EndedSession{Hash: h.String(), Member: "ana", Until: until, Reason: "command"}
		if err := d.Update(t.Context(), func(tx member.Tx) error { return tx.EndSession(s) }); err != nil {
			t.Fatal(err)
		}
		if got, err := d.EndedSession(t.Context(), "ana", r.Handle()); err != nil || got != s {
			t.Errorf("%+v %v", got, err)
		}
		for _, tt := range []struct{ why, member, handle string }{
			{"another member's", "ben", r.Handle()},
			{"a part of a handle", "ana", r.Handle()[:8]},
			{"no handle", "ana", ""},
			{"NUL, which PostgreSQL refuses", "ana", "\x00"},
		} {
			if _, err := d.EndedSession(t.Context(), member.ID(tt.member), tt.handle); !errors.Is(err, member.ErrNotFound) {
				t.Errorf("%s: %v", tt.why, err)
			}
		}
	})
}

// More values than one read takes: none is left out, none comes twice.
func TestEverySealedValueIsVisitedOnce(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		const n = sealedBatch + 7
		if err := d.Update(t.Context(), func(m member.Tx) error {
			for i := range n {
				if _, err := m.(*tx).exec("fill", "INSERT INTO sealed_keys (name, sealed) VALUES ($1, $2)", fmt.Sprintf("Key/%d-é", i), []byte{1}); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		seen := map[string]int{}
		if err := d.EachSealed(t.Context(), func(v Sealed) error { seen[v.ID]++; return nil }); err != nil {
			t.Fatal(err)
		}
		for id, times := range seen {
			if times != 1 {
				t.Errorf("%s came %d times", id, times)
			}
		}
		if len(seen) != n {
			t.Errorf("%d of %d values came", len(seen), n)
		}
	})
}
