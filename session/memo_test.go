package session_test

import (
	"sync"
	"testing"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
)

func TestMemoGoesWithItsPrincipal(t *testing.T) {
	p := (&session.Principal{Provider: "okta"}).Remember()
	k1, k2 := new(int), new(int)
	if p.Memo().Get(k1) != nil {
		t.Error("something is kept before anything was")
	}
	if got := p.Memo().Put(k1, "a"); got != "a" || p.Memo().Get(k1) != "a" || p.Memo().Get(k2) != nil {
		t.Error("not kept, or kept under another key")
	}
	if got := p.Memo().Put(k1, "b"); got != "a" || p.Memo().Get(k1) != "a" {
		t.Errorf("of two, the second won: %v", got)
	}
	changed := *p
	changed.Provider = "other"
	if changed.Memo() != nil || changed.Memo().Get(k1) != nil || changed.Memo().Put(k1, "c") != "c" || p.Memo().Get(k1) != "a" {
		t.Error("a copy reads what was made of the principal that it was copied from")
	}
	if bare := (&session.Principal{}); bare.Memo().Get(k1) != nil || bare.Memo().Put(k1, "c") != "c" {
		t.Error("a principal without a memo keeps something")
	}
}

func TestMemoIsBounded(t *testing.T) {
	p := (&session.Principal{}).Remember()
	keys := make([]*int, 1000)
	kept := func() (n int) {
		for _, k := range keys {
			if k != nil && p.Memo().Get(k) != nil {
				n++
			}
		}
		return n
	}
	for i := range keys {
		keys[i] = new(int)
		if p.Memo().Put(keys[i], i) != i || p.Memo().Get(keys[i]) != i {
			t.Fatal("the last one put is not kept")
		}
		if n := kept(); n > 64 {
			t.Fatalf("%d values are kept", n)
		}
	}
}

func TestMemoKeepsOneOfManyAtOnce(t *testing.T) {
	p := (&session.Principal{}).Remember()
	keys := [4]*int{new(int), new(int), new(int), new(int)}
	var got [64]any
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() { got[i] = p.Memo().Put(keys[i%4], i) })
	}
	wg.Wait()
	for i := range got {
		if got[i] != p.Memo().Get(keys[i%4]) {
			t.Fatal("two requests use two values")
		}
	}
}

// The principal that a Manager answers is the cached one, with its memo; another reading of it
// begins with none.
func TestAManagersPrincipalsRemember(t *testing.T) {
	w := newWorld(t)
	_, req := w.signIn(w.member("ana"))
	w.leased(req)
	k := new(int)
	eventually(t, "the same principal twice", func() bool {
		p, err := w.m.Admit(t.Context(), req())
		if err != nil {
			t.Fatal(err)
		}
		p.Memo().Put(k, "ana")
		q, err := w.m.Admit(t.Context(), req())
		return err == nil && p == q && q.Memo().Get(k) == "ana"
	})
	if err := w.cutoff.Barrier(t.Context(), w.log.add(member.Revocation{Kind: member.Recheck, Scope: member.ScopeAll})); err != nil {
		t.Fatal(err)
	}
	p, err := w.m.Admit(t.Context(), req())
	if err != nil || p.Memo() == nil || p.Memo().Get(k) != nil {
		t.Errorf("after a recheck something made of the principal before is read: %v", err)
	}
}
