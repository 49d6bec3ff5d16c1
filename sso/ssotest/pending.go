package ssotest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/sso"
)

// PendingBudget is the number of pending sign-ins that a store opened for
// [Pending] must allow (see sso.RecordKind.Budget): small, so that the suite
// can fill it.
const PendingBudget = 20

// Pending runs the conformance suite of sso.Pending. open answers an empty store
// with [PendingBudget] that tells the time by now; it is called once per case.
func Pending(t *testing.T, open func(t *testing.T, now clock.Func) sso.Pending) {
	t.Helper()
	cases := []struct {
		name string
		why  string // printed when the case fails
		run  func(*pendingEnv)
	}{
		{"RoundTrip", "any bytes come back as they were stored, also none", pendingRoundTrip},
		{"Kinds/S30", "a record of one kind never answers for another", pendingKinds},
		{"Overwrite", "the last value wins and moves the end", pendingOverwrite},
		{"RefusesInvalid/G8", "a value too large, a key without hash or an expired record is refused", pendingInvalid},
		{"Take/O08", "what was taken is gone", pendingTake},
		{"TakeOnce/S12", "of 100 takers of one record exactly one wins", pendingTakeOnce},
		{"TakeAllOrNothing/W3", "if any key is missing none is consumed", pendingAllOrNothing},
		{"TakeOverlap", "takers that share one key: one wins, the others lose nothing", pendingOverlap},
		{"Once/S17", "the second use of an assertion is refused, until the time it expires", pendingOnce},
		{"OnceRace/S17", "of 100 uses at the same moment exactly one is the first", pendingOnceRace},
		{"OnceNeverForgets/S17", "a replay is remembered although the budget is spent by strangers", pendingOnceUnderFlood},
		{"Expiry/S12", "an expired record is not found, not taken and not counted", pendingExpiry},
		{"Budget/C13", "a record beyond the budget is ErrFull; taking, expiry and overwriting keep the count right", pendingBudget},
		{"BudgetBytes/C13", "a flood of large values is stopped by the byte budget", pendingBudgetBytes},
		{"BudgetRace/D01", "concurrent writers never pass the budget", pendingBudgetRace},
		{"BudgetByKind/D01", "a flood of strangers does not keep out those who have signed in at their IdP", pendingBudgetByKind},
		{"BudgetRandom/C13", "after any mix of calls an emptied store takes the whole budget again", pendingBudgetRandom},
		{"Cancelled/G2", "a call that was given up is an error, never 'no record' and never 'fresh'", pendingCancelled},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("why this matters: %s", c.why)
				}
			})
			m := &clock.Manual{}
			c.run(&pendingEnv{T: t, s: open(t, m.Now), clock: m, ctx: t.Context()})
		})
	}
}

type pendingEnv struct {
	*testing.T
	s     sso.Pending
	clock *clock.Manual
	ctx   context.Context
}

func pendingKey(kind sso.RecordKind, name any) sso.Key {
	return sso.Key{Kind: kind, Hash: secret.Sum(fmt.Sprint(name))}
}

func login(name any) sso.Key { return pendingKey(sso.KindLogin, name) }

func (e *pendingEnv) in(d time.Duration) time.Time { return e.clock.Now().Add(d) }

func (e *pendingEnv) put(k sso.Key, value string) {
	e.Helper()
	if err := e.s.Put(e.ctx, k, []byte(value), e.in(time.Hour)); err != nil {
		e.Fatalf("put %s: %v", k.Kind, err)
	}
}

func (e *pendingEnv) want(k sso.Key, value string) {
	e.Helper()
	if got, err := e.s.Get(e.ctx, k); err != nil || string(got) != value {
		e.Errorf("get %s: %q, %v; want %q", k.Kind, got, err, value)
	}
}

func (e *pendingEnv) wantGone(k sso.Key) {
	e.Helper()
	if got, err := e.s.Get(e.ctx, k); !errors.Is(err, sso.ErrNoRecord) {
		e.Errorf("get %s: %q, %v; want ErrNoRecord", k.Kind, got, err)
	}
}

func (e *pendingEnv) wantPut(k sso.Key, value string, want error) {
	e.Helper()
	if err := e.s.Put(e.ctx, k, []byte(value), e.in(time.Hour)); !errors.Is(err, want) {
		e.Errorf("put %s of %d bytes: %v; want %v", k.Kind, len(value), err, want)
	}
}

func (e *pendingEnv) wantTake(want error, keys ...sso.Key) {
	e.Helper()
	if _, err := e.s.Take(e.ctx, keys...); !errors.Is(err, want) {
		e.Errorf("take: %v; want %v", err, want)
	}
}

func (e *pendingEnv) wantOnce(k sso.Key, want error) {
	e.Helper()
	if err := e.s.Once(e.ctx, k, e.in(time.Hour)); !errors.Is(err, want) {
		e.Errorf("once: %v; want %v", err, want)
	}
}

func pendingRoundTrip(e *pendingEnv) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for i, value := range []string{"{}", "", "\x00", string(all), "ünï\r\n", strings.Repeat("v", sso.MaxPendingValue)} {
		e.put(login(i), value)
		e.want(login(i), value)
	}
	mine := []byte("mine")
	if err := e.s.Put(e.ctx, login("mine"), mine, e.in(time.Hour)); err != nil {
		e.Fatal(err)
	}
	mine[0] = 'X'
	e.want(login("mine"), "mine")
	got, err := e.s.Get(e.ctx, login("mine"))
	if err != nil || len(got) == 0 {
		e.Fatalf("get: %q, %v", got, err)
	}
	got[0] = 'Y'
	e.want(login("mine"), "mine")
}

func pendingKinds(e *pendingEnv) {
	e.put(pendingKey(sso.KindCode, "x"), "code")
	for _, kind := range []sso.RecordKind{sso.KindLogin, sso.KindHandoff, sso.KindUsed, sso.KindAssertion, "cod", "codee"} {
		e.wantGone(pendingKey(kind, "x"))
		e.wantTake(sso.ErrNoRecord, pendingKey(kind, "x"))
	}
	e.put(pendingKey(sso.KindHandoff, "x"), "handoff")
	e.want(pendingKey(sso.KindCode, "x"), "code")
	e.want(pendingKey(sso.KindHandoff, "x"), "handoff")
}

func pendingOverwrite(e *pendingEnv) {
	e.put(login("a"), "first")
	e.clock.Advance(30 * time.Minute)
	e.put(login("a"), "second and longer")
	e.want(login("a"), "second and longer")
	e.clock.Advance(45 * time.Minute) // past the first end
	e.want(login("a"), "second and longer")
	e.put(login("a"), "3")
	e.want(login("a"), "3")
}

func pendingInvalid(e *pendingEnv) {
	e.put(login("benign"), "value")
	err := e.s.Put(e.ctx, login("large"), make([]byte, sso.MaxPendingValue+1), e.in(time.Hour))
	if !errors.Is(err, sso.ErrPending) {
		e.Errorf("a value over the limit: %v; want ErrPending", err)
	}
	for name, k := range map[string]sso.Key{
		"no kind": {Hash: secret.Sum("x")}, "no hash": {Kind: sso.KindLogin}, "zero": {},
		"odd kind": {Kind: "a:{b}", Hash: secret.Sum("x")}, "long kind": {Kind: sso.RecordKind(strings.Repeat("k", 99)), Hash: secret.Sum("x")},
	} {
		e.wantPut(k, "v", sso.ErrPending)
		e.wantOnce(k, sso.ErrPending)
		e.wantTake(sso.ErrPending, login("benign"), k)
		if _, err := e.s.Get(e.ctx, k); err == nil {
			e.Errorf("%s: found", name)
		}
	}
	for _, ago := range []time.Duration{0, time.Second, 1000 * time.Hour} {
		if err := e.s.Put(e.ctx, login("late"), nil, e.in(-ago)); !errors.Is(err, sso.ErrPending) {
			e.Errorf("put of a record that ended %v ago: %v; want ErrPending", ago, err)
		}
		if err := e.s.Once(e.ctx, login("late"), e.in(-ago)); !errors.Is(err, sso.ErrPending) {
			e.Errorf("once until %v ago: %v; want ErrPending, else a replay passes", ago, err)
		}
	}
	e.wantTake(sso.ErrPending)
	e.wantTake(sso.ErrPending, login("benign"), login("benign"))
	many := []sso.Key{login("benign")}
	for i := range sso.MaxTake {
		many = append(many, login(i))
	}
	e.wantTake(sso.ErrPending, many...)
	e.want(login("benign"), "value")
}

func pendingTake(e *pendingEnv) {
	e.put(login("a"), "A")
	e.put(pendingKey(sso.KindCode, "b"), "B")
	e.put(login("bystander"), "C")
	got, err := e.s.Take(e.ctx, pendingKey(sso.KindCode, "b"), login("a"))
	if err != nil || len(got) != 2 || string(got[0]) != "B" || string(got[1]) != "A" {
		e.Errorf("take: %q, %v; want the values in the order asked", got, err)
	}
	e.wantGone(login("a"))
	e.wantGone(pendingKey(sso.KindCode, "b"))
	e.wantTake(sso.ErrNoRecord, login("a"))
	e.want(login("bystander"), "C")
}

func pendingTakeOnce(e *pendingEnv) {
	a, b := pendingKey(sso.KindCode, "a"), login("b")
	e.put(a, "A")
	e.put(b, "B")
	var won atomic.Int32
	pendingRace(100, func(i int) {
		keys := []sso.Key{a, b}
		if i%2 == 1 {
			keys = []sso.Key{b, a} // any order: no deadlock, no second winner
		}
		switch _, err := e.s.Take(e.ctx, keys...); {
		case err == nil:
			won.Add(1)
		case !errors.Is(err, sso.ErrNoRecord):
			e.Errorf("take: %v", err)
		}
	})
	if won.Load() != 1 {
		e.Errorf("%d takers won, want 1", won.Load())
	}
}

func pendingAllOrNothing(e *pendingEnv) {
	a, b := login("a"), pendingKey(sso.KindCode, "b")
	e.put(a, "A")
	e.put(b, "B")
	missing := pendingKey(sso.KindHandoff, "never")
	e.wantTake(sso.ErrNoRecord, a, b, missing)
	e.wantTake(sso.ErrNoRecord, missing, b, a)
	e.want(a, "A")
	e.want(b, "B")

	short := pendingKey(sso.KindCode, "short")
	if err := e.s.Put(e.ctx, short, []byte("S"), e.in(time.Minute)); err != nil {
		e.Fatal(err)
	}
	e.clock.Advance(2 * time.Minute)
	e.wantTake(sso.ErrNoRecord, a, short, b) // expired is missing
	e.want(a, "A")
	e.wantTake(nil, a, b)
}

func pendingOverlap(e *pendingEnv) {
	const n = 10
	shared := login("shared")
	e.put(shared, "S")
	for i := range n {
		e.put(pendingKey(sso.KindCode, i), "own")
	}
	var won atomic.Int32
	pendingRace(n, func(i int) {
		switch _, err := e.s.Take(e.ctx, pendingKey(sso.KindCode, i), shared); {
		case err == nil:
			won.Add(1)
		case !errors.Is(err, sso.ErrNoRecord):
			e.Errorf("take: %v", err)
		}
	})
	left := 0
	for i := range n {
		if _, err := e.s.Get(e.ctx, pendingKey(sso.KindCode, i)); err == nil {
			left++
		}
	}
	if won.Load() != 1 || left != n-1 {
		e.Errorf("%d takers won and %d records are left; want 1 and %d", won.Load(), left, n-1)
	}
}

func pendingOnce(e *pendingEnv) {
	k := pendingKey(sso.KindAssertion, "_assertion")
	e.wantOnce(k, nil)
	e.wantOnce(k, sso.ErrUsed)
	e.wantOnce(pendingKey(sso.KindAssertion, "_another"), nil)
	e.wantOnce(pendingKey(sso.KindUsed, "_assertion"), nil)
	e.clock.Advance(59 * time.Minute)
	e.wantOnce(k, sso.ErrUsed)
	e.clock.Advance(2 * time.Minute)
	e.wantOnce(k, nil) // by now the assertion itself has expired
	e.wantOnce(k, sso.ErrUsed)
}

func pendingOnceRace(e *pendingEnv) {
	var won atomic.Int32
	pendingRace(100, func(int) {
		switch err := e.s.Once(e.ctx, pendingKey(sso.KindAssertion, "a"), e.in(time.Hour)); {
		case err == nil:
			won.Add(1)
		case !errors.Is(err, sso.ErrUsed):
			e.Errorf("once: %v", err)
		}
	})
	if won.Load() != 1 {
		e.Errorf("%d uses were the first, want 1", won.Load())
	}
}

func pendingOnceUnderFlood(e *pendingEnv) {
	used := pendingKey(sso.KindAssertion, "used")
	e.wantOnce(used, nil)
	for i := range 2 * PendingBudget {
		_ = e.s.Put(e.ctx, login(i), nil, e.in(time.Hour)) // a flood; ErrFull in its second half
	}
	e.wantOnce(used, sso.ErrUsed)
	e.wantOnce(pendingKey(sso.KindAssertion, "new"), nil)
}

func pendingExpiry(e *pendingEnv) {
	e.put(login("a"), "A")
	e.put(login("b"), "B")
	e.clock.Advance(59 * time.Minute)
	e.want(login("a"), "A")
	e.clock.Advance(2 * time.Minute)
	e.wantGone(login("a"))
	e.wantTake(sso.ErrNoRecord, login("a"))
	e.wantTake(sso.ErrNoRecord, login("a"), login("b"))
	e.put(login("a"), "again")
	e.want(login("a"), "again")
}

func pendingCancelled(e *pendingEnv) {
	e.put(login("a"), "A")
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	for name, call := range map[string]func() error{
		"get":  func() error { _, err := e.s.Get(ctx, login("a")); return err },
		"take": func() error { _, err := e.s.Take(ctx, login("a")); return err },
		"once": func() error { return e.s.Once(ctx, pendingKey(sso.KindAssertion, "n"), e.in(time.Hour)) },
		"put":  func() error { return e.s.Put(ctx, login("b"), nil, e.in(time.Hour)) },
	} {
		err := call()
		if err == nil || errors.Is(err, sso.ErrNoRecord) || errors.Is(err, sso.ErrUsed) || errors.Is(err, sso.ErrFull) {
			e.Errorf("%s: %v; want another error", name, err)
		}
	}
	e.want(login("a"), "A")
}

// pendingRace runs n functions at once and waits for them.
func pendingRace(n int, f func(i int)) {
	var wg sync.WaitGroup
	gate := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-gate
			f(i)
		})
	}
	close(gate)
	wg.Wait()
}
