package session_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/session/sessiontest"
)

// other is a second node, whose lease loop the test turns by hand.
type other struct {
	t       *testing.T
	id      string
	primary *sessiontest.FakePrimary
}

func (w *world) join(t *testing.T) *other {
	t.Helper()
	o := &other{t: t, id: secret.NewToken(), primary: w.primary}
	if err := w.primary.Join(t.Context(), session.Node{ID: o.id, Name: "other", Applied: w.cutoff.Applied()}); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *other) acknowledge(seq int64) {
	o.t.Helper()
	if _, err := o.primary.Lease(o.t.Context(), o.id, seq, 1); err != nil {
		o.t.Fatal(err)
	}
}

// countingRegistry counts the readings of the registry.
type countingRegistry struct {
	session.Registry
	n    atomic.Int64
	fail atomic.Bool
}

func (c *countingRegistry) Nodes(ctx context.Context) ([]session.Node, error) {
	defer c.n.Add(1)
	if c.fail.Load() {
		return nil, errDown
	}
	return c.Registry.Nodes(ctx)
}

func TestTheBarrierWaitsForTheOtherNodes(t *testing.T) {
	w := newWorld(t) // C8
	o := w.join(t)
	reg := &countingRegistry{Registry: w.primary}
	p := session.NewPublisher(reg, nil)
	seq := w.dir.deactivate(w.member("ana").ID)
	done := make(chan error, 1)
	go func() { done <- p.Barrier(t.Context(), seq) }()
	eventually(t, "it looks at the registry again and again", func() bool { return reg.n.Load() > 3 })
	select {
	case err := <-done:
		t.Fatalf("it returned %v while a node with a lease had not acknowledged", err)
	default:
	}
	o.acknowledge(seq)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestTheBarrierDoesNotWaitForANodeThatHasLeft(t *testing.T) {
	w := newWorld(t)
	o := w.join(t)
	p := session.NewPublisher(&countingRegistry{Registry: w.primary}, nil)
	seq := w.dir.deactivate(w.member("ana").ID)
	done := make(chan error, 1)
	go func() { done <- p.Barrier(t.Context(), seq) }()
	if err := w.primary.Leave(t.Context(), o.id); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestTheBarrierIsNoYesWhenTheRegistryCannotBeRead(t *testing.T) {
	w := newWorld(t) // fault 6: committed, and then the database went away
	reg := &countingRegistry{Registry: w.primary}
	reg.fail.Store(true)
	p := session.NewPublisher(reg, nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	seq := w.dir.deactivate(w.member("ana").ID)
	go func() { done <- p.Barrier(ctx, seq) }()
	eventually(t, "it goes on trying", func() bool { return reg.n.Load() > 3 })
	cancel()
	if err := <-done; !errors.Is(err, session.ErrBarrier) {
		t.Fatalf("Barrier = %v, want ErrBarrier", err)
	}
	reg.fail.Store(false)
	if err := p.Barrier(t.Context(), seq); err != nil { // C2: the retry
		t.Fatal(err)
	}
}

func TestManyBarriersShareTheirReadings(t *testing.T) {
	w := newWorld(t)
	o := w.join(t)
	reg := &countingRegistry{Registry: w.primary}
	p := session.NewPublisher(reg, nil)
	seq := w.dir.deactivate(w.member("ana").ID)
	var wg sync.WaitGroup
	var failed atomic.Int64
	const callers = 200
	for range callers {
		wg.Go(func() {
			if p.Barrier(t.Context(), seq) != nil {
				failed.Add(1)
			}
		})
	}
	o.acknowledge(seq)
	wg.Wait()
	if failed.Load() != 0 || reg.n.Load() > callers/2 {
		t.Errorf("%d failed; %d readings for %d barriers", failed.Load(), reg.n.Load(), callers)
	}
}

func TestAnExpelledNodeJoinsAgainAndAppliesWhatItMissed(t *testing.T) {
	w := newWorld(t) // C8: SIGSTOP for longer than the registry bears
	_, req := w.signIn(w.member("ana"))
	w.leased(req)
	w.log.setFail(errDown) // silent
	before, err := w.primaryNodes()
	if err != nil || len(before) != 1 {
		t.Fatalf("registered: %v, %v", before, err)
	}
	if err := w.primary.Leave(t.Context(), before[0].ID); err != nil {
		t.Fatal(err)
	}
	seq := w.dir.deactivate("ana") // nobody waited for the expelled one
	w.log.setFail(nil)
	eventually(t, "it has applied the row", func() bool { return w.cutoff.Applied() >= seq })
	if p, _ := w.m.Admit(t.Context(), req()); p != nil {
		t.Error("admitted after the row was applied")
	}
	eventually(t, "it is registered again, as a new node", func() bool {
		after, err := w.primaryNodes()
		return err == nil && len(after) == 1 && after[0].ID != before[0].ID && after[0].Applied >= seq
	})
	w.streams.mu.Lock()
	defer w.streams.mu.Unlock()
	if len(w.streams.cuts) != 1 {
		t.Errorf("cuts: %+v, want the one that was missed", w.streams.cuts)
	}
}

func (w *world) primaryNodes() ([]session.Node, error) {
	w.log.mu.Lock()
	fail := w.log.fail
	w.log.fail = nil
	w.log.mu.Unlock()
	defer w.log.setFail(fail)
	return w.primary.Nodes(w.t.Context())
}

func TestRowsThatWereSweptWhileANodeWasAwayAskEverybodyAgain(t *testing.T) {
	w := newWorld(t)
	_, req := w.signIn(w.member("ana"))
	w.leased(req)
	w.dir.deactivate("ana")
	w.log.mu.Lock()
	w.log.swept = len(w.log.rows)
	w.log.mu.Unlock()
	seq := w.log.add(member.Revocation{Kind: member.End, Scope: member.ScopeMember, Target: "ben", Epoch: 2})
	if err := w.cutoff.Barrier(t.Context(), seq); err != nil {
		t.Fatal(err)
	}
	if p, err := w.m.Admit(t.Context(), req()); !errors.Is(err, session.ErrRevoked) {
		t.Errorf("a principal survived a row that nobody can read any more: %v, %v", p, err)
	}
	w.streams.mu.Lock()
	defer w.streams.mu.Unlock()
	// Depending on when the loop looked it saw the first row, or only the gap.
	asked := false
	for _, r := range w.streams.cuts {
		asked = asked || r.Kind == member.Recheck && r.Scope == member.ScopeAll || r.Target == "ana"
	}
	if !asked {
		t.Errorf("cuts: %+v: the streams of everybody must be asked again", w.streams.cuts)
	}
}

func TestALogThatWentBackClosesEverythingAndBeginsAnew(t *testing.T) {
	w := newWorld(t) // C12: a backup was restored under running nodes
	_, req := w.signIn(w.member("ana"))
	w.leased(req)
	for range 3 {
		w.log.add(member.Revocation{Kind: member.Recheck, Scope: member.ScopeAll})
	}
	if err := w.cutoff.Barrier(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	w.log.mu.Lock()
	w.log.rows = w.log.rows[:1]
	w.log.mu.Unlock()
	eventually(t, "it notices", func() bool { return w.streams.cutAll() == 1 && w.cutoff.Applied() == 1 })
	w.leased(req)
	// Row 2 of the new history is another one than row 2 of the old.
	if err := w.cutoff.Barrier(t.Context(), w.dir.deactivate("ana")); err != nil {
		t.Fatal(err)
	}
	if p, _ := w.m.Admit(t.Context(), req()); p != nil {
		t.Error("a row of the new history was taken for one of the old")
	}
}

func TestALogThatWentBackIsNoticedWhileStreamsAreStillClosing(t *testing.T) {
	w := newWorld(t) // C12: the rows that were lost had begun here and were not acknowledged yet
	_, req := w.signIn(w.member("ana"))
	w.leased(req)
	release, closing := make(chan struct{}), make(chan struct{}, 8)
	var once sync.Once
	let := func() { once.Do(func() { close(release) }) }
	defer let()
	w.streams.before = func(r member.Revocation) {
		if r.Kind == member.Recheck {
			closing <- struct{}{}
			<-release
		}
	}
	w.log.add(member.Revocation{Kind: member.Recheck, Scope: member.ScopeAll})
	<-closing
	w.log.mu.Lock()
	w.log.rows = nil
	w.log.mu.Unlock()
	eventually(t, "it notices", func() bool { return w.streams.cutAll() > 0 })
	let()
	// Row 1 of the new history is another one than row 1 of the old.
	if err := w.cutoff.Barrier(t.Context(), w.dir.deactivate("ana")); err != nil {
		t.Fatal(err)
	}
	if p, _ := w.m.Admit(t.Context(), req()); p != nil {
		t.Error("a row of the new history was taken for one of the old")
	}
	w.streams.mu.Lock()
	defer w.streams.mu.Unlock()
	if last := w.streams.cuts[len(w.streams.cuts)-1]; last.Target != "ana" {
		t.Errorf("cuts: %+v, want the last of ana", w.streams.cuts)
	}
}

func TestAReloadRowIsAcknowledgedOnlyOnceItWasReloaded(t *testing.T) {
	w := newWorld(t) // C11
	var fail atomic.Bool
	var mu sync.Mutex
	var asked []string
	fail.Store(true)
	w.restart(func(o *session.CutoffOptions) {
		o.Reload = func(_ context.Context, what string) error {
			mu.Lock()
			asked = append(asked, what)
			mu.Unlock()
			if fail.Load() {
				return errDown
			}
			return nil
		}
	})
	_, req := w.signIn(w.member("ana"))
	w.leased(req)
	seq := w.log.add(member.Revocation{Kind: member.Reload, Scope: member.ScopeAll, Target: member.ReloadSettings})
	eventually(t, "it was asked", func() bool { mu.Lock(); defer mu.Unlock(); return len(asked) > 0 })
	if w.cutoff.Applied() >= seq {
		t.Fatal("acknowledged, and the settings are still the old ones")
	}
	eventually(t, "the lease runs out rather than deciding by old settings", func() bool {
		w.store.Fail(errDown)
		defer w.store.Fail(nil)
		_, err := w.m.Admit(t.Context(), req())
		return err != nil
	})
	fail.Store(false)
	if err := w.cutoff.Barrier(t.Context(), seq); err != nil {
		t.Fatal(err)
	}
	w.streams.mu.Lock()
	cuts := len(w.streams.cuts)
	w.streams.mu.Unlock()
	if cuts != 1 {
		t.Errorf("%d cuts; open streams must be asked about the new settings once", cuts)
	}
	keys := w.log.add(member.Revocation{Kind: member.Reload, Scope: member.ScopeAll, Target: member.ReloadKeys})
	if err := w.cutoff.Barrier(t.Context(), keys); err != nil {
		t.Fatal(err)
	}
	w.streams.mu.Lock()
	defer w.streams.mu.Unlock()
	if len(w.streams.cuts) != cuts {
		t.Error("new cookie keys change nobody's access, and streams were asked")
	}
}

// K07: settings or keys that a node cannot read are no reason for somebody's
// streams to stay open there. The row is not acknowledged, and nothing behind it.
func TestAReloadThatFailsDoesNotHoldUpTheDeactivationBehindIt(t *testing.T) {
	w := newWorld(t)
	var fail atomic.Bool
	var asked atomic.Int64
	fail.Store(true)
	w.restart(func(o *session.CutoffOptions) {
		o.LeaseGrace = time.Hour // it must not be the loss of the lease that closes them
		o.Reload = func(context.Context, string) error {
			asked.Add(1)
			if fail.Load() {
				return errDown
			}
			return nil
		}
	})
	w.member("ana")
	for range 2 {
		w.log.add(member.Revocation{Kind: member.Reload, Scope: member.ScopeAll, Target: member.ReloadKeys})
	}
	settings := w.log.add(member.Revocation{Kind: member.Reload, Scope: member.ScopeAll, Target: member.ReloadSettings})
	last := w.dir.deactivate("ana")
	ends := func() (n int) {
		w.streams.mu.Lock()
		defer w.streams.mu.Unlock()
		for _, r := range w.streams.cuts {
			if r.Kind == member.End && r.Target == "ana" {
				n++
			}
		}
		return n
	}
	eventually(t, "her streams are closed", func() bool { return ends() == 1 })
	was := asked.Load()
	eventually(t, "it is tried again", func() bool { return asked.Load() > was+1 })
	if n := w.cutoff.Applied(); n != 0 {
		t.Fatalf("acknowledged up to %d of what it could not read", n)
	}
	fail.Store(false)
	if err := w.cutoff.Barrier(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	w.streams.mu.Lock()
	defer w.streams.mu.Unlock()
	var rechecks []int64
	for _, r := range w.streams.cuts {
		if r.Kind == member.Recheck {
			rechecks = append(rechecks, r.Seq)
		}
	}
	if len(rechecks) != 1 || rechecks[0] != settings {
		t.Errorf("streams were asked again for rows %v, want once, for row %d", rechecks, settings)
	}
}

// restart replaces the node by one with other options, as a new process.
func (w *world) restart(change func(*session.CutoffOptions)) {
	w.t.Helper()
	w.stop()
	if err := w.cutoff.Leave(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.begin(change)
}

func TestEndedSessionsAreDeletedOnceTheStoreIsBack(t *testing.T) {
	w := newWorld(t)
	ana := w.member("ana")
	rec, _ := w.signIn(ana)
	w.store.Fail(errDown)
	if err := w.cutoff.Barrier(t.Context(), w.dir.deactivate("ana")); err != nil {
		t.Fatalf("the cut-off needs no session store: %v", err)
	}
	w.store.Fail(nil)
	eventually(t, "the record is gone", func() bool {
		_, err := w.store.Get(t.Context(), rec.Hash)
		return errors.Is(err, session.ErrNotFound)
	})
}

func TestASpoiledRecordHoldsUpNobodyElsesTidying(t *testing.T) {
	w := newWorld(t)
	spoiled, _ := w.signIn(w.member("ana"))
	rec, _ := w.signIn(w.member("ben"))
	w.store.FailOn(spoiled.Member, errDown)
	w.dir.deactivate("ana")
	if err := w.cutoff.Barrier(t.Context(), w.dir.deactivate("ben")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the later row is tidied", func() bool {
		_, err := w.store.Get(t.Context(), rec.Hash)
		return errors.Is(err, session.ErrNotFound)
	})
	if rows, err := w.primary.Unfinished(t.Context(), 10); err != nil || len(rows) != 1 || rows[0].Target != "ana" {
		t.Errorf("left to do: %+v, %v; want the row that cannot be finished", rows, err)
	}
}

func TestWhatACrashedNodeLeftIsTidiedByTheNext(t *testing.T) {
	w := newWorld(t) // C2, fault 18: killed between commit and wake-up
	ana := w.member("ana")
	rec, _ := w.signIn(ana)
	w.stop()
	seq := w.dir.deactivate("ana")
	w.begin(nil)
	eventually(t, "the record is gone", func() bool {
		_, err := w.store.Get(t.Context(), rec.Hash)
		return errors.Is(err, session.ErrNotFound)
	})
	eventually(t, "nothing is left to do", func() bool {
		rows, err := w.primary.Unfinished(t.Context(), 10)
		return err == nil && len(rows) == 0
	})
	if w.cutoff.Applied() < seq {
		t.Errorf("applied %d, want %d", w.cutoff.Applied(), seq)
	}
	// C7: the late row spares what was made after re-activation.
	fresh, _ := w.signIn(w.dir.reactivate("ana"))
	late := w.log.add(member.Revocation{Kind: member.End, Scope: member.ScopeMember, Target: "ana", Epoch: 2})
	if err := w.cutoff.Barrier(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	eventually(t, "tidied", func() bool { rows, _ := w.primary.Unfinished(t.Context(), 10); return len(rows) == 0 })
	if _, err := w.store.Get(t.Context(), fresh.Hash); err != nil {
		t.Errorf("a session of the new epoch: %v", err)
	}
}

func TestANodeThatCannotRegisterDoesNotStart(t *testing.T) {
	w := newWorld(t)
	_, err := session.NewCutoff(t.Context(), session.CutoffOptions{
		Log: w.primary, Registry: refusing{w.primary}, Finisher: w.primary, Store: w.store, Streams: w.streams,
		LeaseGrace: time.Second, Logger: discard(),
	})
	if !errors.Is(err, errDown) {
		t.Errorf("NewCutoff = %v; it would serve people unknown to every publisher (C8)", err)
	}
}

type refusing struct{ session.Registry }

func (refusing) Join(context.Context, session.Node) error { return errDown }
