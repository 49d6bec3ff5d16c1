package ssotest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ssogate/ssogate/sso"
)

// The cases of [Pending] about the budget (C13, D01).

func pendingBudget(e *pendingEnv) {
	for i := range PendingBudget {
		e.put(login(i), "v")
	}
	e.wantPut(login("over"), "v", sso.ErrFull)
	e.wantGone(login("over"))
	e.wantOnce(login("over"), sso.ErrFull)
	for range 3 { // what is there already goes on
		e.wantPut(login(0), "other", nil)
		e.want(login(0), "other")
	}
	e.wantOnce(login(0), sso.ErrUsed)
	e.wantPut(login("over"), "v", sso.ErrFull)

	e.wantTake(nil, login(1), login(2))
	e.wantTake(sso.ErrNoRecord, login(1)) // a failed take frees nothing
	e.wantTake(sso.ErrNoRecord, login(3), login(1))
	e.put(login("one"), "v")
	e.put(login("two"), "v")
	e.wantPut(login("over"), "v", sso.ErrFull)

	e.clock.Advance(2 * time.Hour)
	for i := range PendingBudget {
		e.put(login(fmt.Sprint("again", i)), "v")
	}
	e.wantPut(login("over"), "v", sso.ErrFull)
}

func pendingBudgetBytes(e *pendingEnv) {
	_, most := sso.KindLogin.Budget(PendingBudget)
	large := strings.Repeat("L", sso.MaxPendingValue)
	fit := int(most) / len(large)
	if fit >= PendingBudget {
		e.Fatalf("the suite needs a byte budget below the count budget, have %d bytes", most)
	}
	for i := range fit {
		e.put(login(i), large)
	}
	e.wantPut(login("over"), large, sso.ErrFull)
	e.wantPut(login(0), "small", nil) // makes room
	e.wantPut(login("over"), large[:len(large)-len("small")], nil)
	e.wantPut(login("byte"), "b", sso.ErrFull)
	e.wantPut(login(0), "larger", sso.ErrFull)
	e.want(login(0), "small")
	e.wantTake(nil, login(1))
	e.put(login("byte"), large)
	e.clock.Advance(2 * time.Hour)
	for i := range fit {
		e.put(login(fmt.Sprint("again", i)), large)
	}
}

func pendingBudgetRace(e *pendingEnv) {
	var stored, full atomic.Int32
	pendingRace(3*PendingBudget, func(i int) {
		switch err := e.s.Put(e.ctx, login(i), []byte("v"), e.in(time.Hour)); {
		case err == nil:
			stored.Add(1)
		case errors.Is(err, sso.ErrFull):
			full.Add(1)
		default:
			e.Errorf("put: %v", err)
		}
	})
	if stored.Load() != PendingBudget || full.Load() != 2*PendingBudget {
		e.Errorf("%d stored and %d refused, want %d and %d", stored.Load(), full.Load(), PendingBudget, 2*PendingBudget)
	}
	var took atomic.Int32
	pendingRace(3*PendingBudget, func(i int) {
		if _, err := e.s.Take(e.ctx, login(i)); err == nil {
			took.Add(1)
		}
	})
	if took.Load() != PendingBudget {
		e.Errorf("%d taken, want %d", took.Load(), PendingBudget)
	}
	for i := range PendingBudget {
		e.put(login(fmt.Sprint("again", i)), "v")
	}
}

func pendingBudgetByKind(e *pendingEnv) {
	for i := range PendingBudget {
		e.put(login(i), "v")
	}
	e.wantPut(login("over"), "v", sso.ErrFull)
	for _, kind := range []sso.RecordKind{sso.KindCode, sso.KindHandoff, sso.KindUsed} {
		for i := range 2 * PendingBudget { // more members than strangers
			e.put(pendingKey(kind, i), "v")
		}
	}
	// A kind nobody declared to come after a verified answer has the small budget.
	for i := range PendingBudget {
		e.put(pendingKey("stranger", i), "v")
	}
	e.wantPut(pendingKey("stranger", "over"), "v", sso.ErrFull)

	most, _ := sso.KindCode.Budget(PendingBudget)
	for i := 2 * PendingBudget; i < int(most); i++ {
		e.put(pendingKey(sso.KindCode, i), "")
	}
	e.wantPut(pendingKey(sso.KindCode, "over"), "", sso.ErrFull)
}

func pendingBudgetRandom(e *pendingEnv) {
	pendingRace(8, func(w int) {
		rnd := rand.New(rand.NewPCG(uint64(w), 42)) //nolint:gosec // a test's schedule, repeatable
		for range 60 {
			k, other := login(rnd.IntN(30)), login(rnd.IntN(30))
			value := bytes.Repeat([]byte("v"), rnd.IntN(9000))
			var err error
			switch rnd.IntN(6) {
			case 0, 1, 2:
				err = e.s.Put(e.ctx, k, value, e.in(time.Duration(1+rnd.IntN(60))*time.Minute))
			case 3:
				_, err = e.s.Take(e.ctx, k)
			case 4:
				if k != other {
					_, err = e.s.Take(e.ctx, k, other)
				}
			case 5:
				err = e.s.Once(e.ctx, k, e.in(time.Hour))
			}
			if err != nil && !errors.Is(err, sso.ErrFull) && !errors.Is(err, sso.ErrUsed) &&
				!errors.Is(err, sso.ErrNoRecord) && !errors.Is(err, sso.ErrPending) { // the clock may pass the end first
				e.Errorf("worker %d: %v", w, err)
			}
			if w == 0 && rnd.IntN(10) == 0 {
				e.clock.Advance(10 * time.Minute)
			}
		}
	})
	for i := range 15 { // half emptied by hand, the other half by time
		_, _ = e.s.Take(e.ctx, login(i))
	}
	e.clock.Advance(2 * time.Hour)
	_, most := sso.KindLogin.Budget(PendingBudget)
	for i := range PendingBudget {
		e.put(login(fmt.Sprint("again", i)), strings.Repeat("v", int(most)/PendingBudget))
	}
	e.wantPut(login("over"), "", sso.ErrFull)
}
