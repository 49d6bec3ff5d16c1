package membertest

import (
	"crypto/rand"
	"testing"

	"github.com/ssogate/ssogate/member"
)

// longTargets: a row may name as much as it may. What is random cannot be
// compressed by the store.
func longTargets(t *testing.T, s member.Store) {
	target := ""
	for len(target) < member.MaxTarget {
		target += rand.Text()
	}
	r := member.Revocation{Kind: member.Recheck, Scope: member.ScopeMembers, Target: target[:member.MaxTarget]}
	update(t, s, func(tx member.Tx) error { _, err := tx.Revoke(r); return err })
	view(t, s, func(tx member.Tx) error {
		if seq, err := tx.LatestRevocation(r.Scope, r.Target); seq != 1 || err != nil {
			t.Errorf("%d, %v", seq, err)
		}
		return nil
	})
}

// wideEndings: which rows end a session among others, and which do not.
func wideEndings(t *testing.T, s member.Store) {
	revoke := func(r member.Revocation) {
		t.Helper()
		update(t, s, func(tx member.Tx) error { _, err := tx.Revoke(r); return err })
	}
	ref := member.SessionRef{Hash: "h", Provider: "okta", Index: "_1\nodd"}
	want := func(why string, id member.ID, ref member.SessionRef, seq int64) {
		t.Helper()
		view(t, s, func(tx member.Tx) error {
			if got, err := tx.EndedBefore(id, ref); got != seq || err != nil {
				t.Errorf("%s: %d, %v; want %d", why, got, err, seq)
			}
			return nil
		})
	}
	want("an empty log", "a", ref, 0)
	for _, r := range []member.Revocation{
		{Kind: member.Recheck, Scope: member.ScopeAll},
		{Kind: member.End, Scope: member.ScopeMember, Target: "a", Epoch: 2},
		{Kind: member.End, Scope: member.ScopeSession, Target: "h"},
		{Kind: member.End, Scope: member.ScopeProvider, Target: "entra"},
		{Kind: member.End, Scope: member.ScopeLogins, Target: member.Logins{Member: "b", Provider: "okta"}.Target()},
		{Kind: member.End, Scope: member.ScopeLogins, Target: member.Logins{Member: "a", Provider: "okta", Index: "_2"}.Target()},
		{Kind: member.Reload, Scope: member.ScopeAll, Target: member.ReloadSettings},
	} {
		revoke(r)
	}
	want("rows about rechecks, epochs, tombstones, another provider, another member, another index", "a", ref, 0)
	revoke(member.Revocation{Kind: member.End, Scope: member.ScopeLogins, Target: member.Logins{Member: "a", Provider: "okta", Index: "_1\nodd"}.Target()})
	want("the provider's logout of this session", "a", ref, 8)
	want("of another one", "a", member.SessionRef{Provider: "okta", Index: "_3"}, 0)
	revoke(member.Revocation{Kind: member.End, Scope: member.ScopeLogins, Target: member.Logins{Member: "a", Provider: "okta"}.Target()})
	want("the provider's logout of all he has there", "a", member.SessionRef{Provider: "okta", Index: "_3"}, 9)
	want("a session without an index", "a", member.SessionRef{Provider: "okta"}, 9)
	revoke(member.Revocation{Kind: member.End, Scope: member.ScopeProvider, Target: "okta"})
	want("a provider that was disabled", "c", ref, 10)
	want("not of the other provider", "c", member.SessionRef{Provider: "entra"}, 4)
	revoke(member.Revocation{Kind: member.End, Scope: member.ScopeAll})
	want("everybody", "c", member.SessionRef{}, 11)
	view(t, s, func(tx member.Tx) error {
		if v, err := tx.SettingsVersion(); v != 1 || err != nil {
			t.Errorf("settings version %d, %v; want 1", v, err)
		}
		return nil
	})
}
