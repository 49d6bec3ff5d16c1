package session_test

import (
	"context"
	"errors"
	"testing"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
)

// machines is a store of machines that counts its reads.
type machines struct {
	w      *world
	gone   map[secret.Hash]bool
	during func() // runs after what is read was read
	reads  int
	err    error
}

func (m *machines) read(h secret.Hash) func(context.Context) (session.Principal, int64, error) {
	return func(context.Context) (session.Principal, int64, error) {
		m.reads++
		seq, _ := m.w.log.LastRevocation(context.Background())
		gone, during := m.gone[h], m.during
		m.during = nil
		if during != nil {
			during()
		}
		switch {
		case m.err != nil:
			return session.Principal{}, 0, m.err
		case gone:
			return session.Principal{}, 0, session.ErrRevoked
		}
		return session.Principal{Session: h, Machine: &session.Machine{ID: session.MachineID("deploy")}}, seq, nil
	}
}

// revoke is what the transaction that removes a token does.
func (m *machines) revoke(h secret.Hash) int64 {
	m.gone[h] = true
	return m.w.log.add(member.Revocation{Kind: member.End, Scope: member.ScopeSession, Target: h.String()})
}

// hold reads until the principal is held.
func (m *machines) hold(l *session.Leased, h secret.Hash) {
	m.w.t.Helper()
	eventually(m.w.t, "there is a lease", func() bool {
		if _, err := l.Read(m.w.t.Context(), h, m.read(h)); err != nil {
			m.w.t.Fatal(err)
		}
		return l.Get(h) != nil
	})
}

// G1, C3: what is held is used only while nothing that concerns it was applied.
func TestGuaranteeCutOffOfAMachineThatIsHeld(t *testing.T) {
	w := newWorld(t)
	m := &machines{w: w, gone: map[secret.Hash]bool{}}
	l := w.cutoff.NewLeased(2)
	a, b := secret.Sum("a"), secret.Sum("b")
	m.hold(l, a)
	m.hold(l, b)
	// The benign twin: what concerns somebody else changes nothing.
	if err := w.cutoff.Barrier(t.Context(), w.log.add(member.Revocation{Kind: member.End, Scope: member.ScopeMember, Target: "ana", Epoch: 9})); err != nil {
		t.Fatal(err)
	}
	m.hold(l, a)
	if err := w.cutoff.Barrier(t.Context(), m.revoke(a)); err != nil {
		t.Fatal(err)
	}
	if p := l.Get(a); p != nil {
		t.Errorf("%s is still held after the barrier", p.Subject())
	}
	if _, err := l.Read(t.Context(), a, m.read(a)); !errors.Is(err, session.ErrRevoked) {
		t.Errorf("read: %v", err)
	}
	m.hold(l, b)
	if err := w.cutoff.Barrier(t.Context(), w.log.add(member.Revocation{Kind: member.Recheck, Scope: member.ScopeAll})); err != nil {
		t.Fatal(err)
	}
	if l.Get(b) != nil {
		t.Error("held although everybody is to be asked again")
	}
}

// C3: a revocation that is applied while the token is being read makes the reading
// stale, also where the reading did not see it.
func TestMachineRevokedWhileItIsReadIsReadAgain(t *testing.T) {
	w := newWorld(t)
	m := &machines{w: w, gone: map[secret.Hash]bool{}}
	l := w.cutoff.NewLeased(2)
	h := secret.Sum("a")
	m.during = func() {
		if err := w.cutoff.Barrier(t.Context(), m.revoke(h)); err != nil {
			t.Error(err)
		}
	}
	if p, err := l.Read(t.Context(), h, m.read(h)); !errors.Is(err, session.ErrRevoked) || p != nil {
		t.Errorf("%v, %v: the answer is older than the revocation", p, err)
	}
	if m.reads != 2 || l.Get(h) != nil {
		t.Errorf("%d reads, want 2, and nothing held", m.reads)
	}
}

// C4, fault 24: without a lease every request asks, and nothing is held.
func TestMachinesAreAskedForWithoutALease(t *testing.T) {
	w := newWorld(t)
	m := &machines{w: w, gone: map[secret.Hash]bool{}}
	l := w.cutoff.NewLeased(2)
	h := secret.Sum("a")
	m.hold(l, h)
	w.log.setFail(errDown)
	eventually(t, "nothing is held after contact to the log was lost", func() bool { return l.Get(h) == nil })
	before := m.reads
	for range 3 {
		if p, err := l.Read(t.Context(), h, m.read(h)); err != nil || p.Machine == nil || l.Get(h) != nil {
			t.Errorf("%v, %v, held %v", p, err, l.Get(h))
		}
	}
	if m.reads != before+3 {
		t.Errorf("%d reads of 3 requests", m.reads-before)
	}
	m.err = errDown
	if _, err := l.Read(t.Context(), h, m.read(h)); !errors.Is(err, errDown) {
		t.Errorf("the store is down: %v", err)
	}
	w.log.setFail(nil)
	m.err = nil
	m.hold(l, h)
}

func TestHeldMachinesAreBounded(t *testing.T) {
	w := newWorld(t)
	m := &machines{w: w, gone: map[secret.Hash]bool{}}
	l := w.cutoff.NewLeased(2)
	var hs []secret.Hash
	for _, s := range []string{"a", "b", "c", "d"} {
		h := secret.Sum(s)
		m.hold(l, h)
		hs = append(hs, h)
	}
	held := 0
	for _, h := range hs {
		if l.Get(h) != nil {
			held++
		}
	}
	if held > 2 || l.Get(hs[3]) == nil {
		t.Errorf("%d held of at most 2, the last one among them: %v", held, l.Get(hs[3]) != nil)
	}
}

// What no store keeps is concerned by what is applied from now on.
func TestStampedPrincipalGoesStale(t *testing.T) {
	w := newWorld(t)
	p := w.cutoff.Stamp(session.Principal{Session: secret.Sum("jwt"), Machine: &session.Machine{ID: session.MachineID("ci/x"), Issuer: "ci"}})
	if !w.m.Still(p) {
		t.Fatal("benign")
	}
	if err := w.cutoff.Barrier(t.Context(), w.log.add(member.Revocation{Kind: member.Recheck, Scope: member.ScopeAll})); err != nil {
		t.Fatal(err)
	}
	if w.m.Still(p) {
		t.Error("everybody is to be asked again")
	}
}

func TestAMachineIsNoMember(t *testing.T) {
	p := session.Principal{Machine: &session.Machine{ID: session.MachineID("ana")}}
	person := session.Principal{Member: member.Member{ID: "ana", Wish: true, Accepted: true}}
	if p.Member.Admitted() || p.Subject() == person.Subject() || p.Actor() == person.Actor() || p.Machine.Name() != "ana" {
		t.Errorf("%q and %q, %q and %q", p.Subject(), person.Subject(), p.Actor(), person.Actor())
	}
	if member.MadeHere(member.ID(p.Subject())) {
		t.Error("a member could have the id of a machine")
	}
}
