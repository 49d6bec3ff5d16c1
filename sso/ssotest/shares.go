package ssotest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/sso"
)

// SharesFake keeps shared counts in memory. It passes [Shares] like the real
// store. Safe for concurrent use.
type SharesFake struct {
	now clock.Func

	mu    sync.Mutex
	spent map[string]time.Time // until when the bucket is spent, as the real one keeps it
	fail  error
}

// NewSharesFake makes one in which nothing was taken. A nil clock is time.Now.
func NewSharesFake(now clock.Func) *SharesFake {
	if now == nil {
		now = time.Now
	}
	return &SharesFake{now: now, spent: map[string]time.Time{}}
}

// Fail makes every call answer err, as when the server is down, until Fail(nil).
func (f *SharesFake) Fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = err
}

// Take implements sso.Shares.
func (f *SharesFake) Take(_ context.Context, name string, limit int, per time.Duration) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return false, f.fail
	}
	next := f.at(name).Add(per / time.Duration(limit))
	if next.Sub(f.now()) > per {
		return false, nil
	}
	f.spent[name] = next
	return true, nil
}

// GiveBack implements sso.Shares.
func (f *SharesFake) GiveBack(_ context.Context, name string, limit int, per time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return f.fail
	}
	f.spent[name] = f.at(name).Add(-per / time.Duration(limit))
	return nil
}

func (f *SharesFake) at(name string) time.Time {
	if now := f.now(); f.spent[name].Before(now) {
		return now
	}
	return f.spent[name]
}

var _ sso.Shares = (*SharesFake)(nil)

// Shares is the conformance suite of sso.Shares. nodes answers one store as two
// nodes see it. Real stores keep real time, so what comes back over time is
// tried with a limit that takes an hour and one that takes no time.
func Shares(t *testing.T, nodes func(t *testing.T) (a, b sso.Shares)) {
	t.Run("what one node takes the other has no more", func(t *testing.T) {
		a, b := nodes(t)
		const limit = 10
		taken := 0
		for i := range 4 * limit {
			s := []sso.Shares{a, b}[i%2]
			if take(t, s, "ann", limit, time.Hour) {
				taken++
			}
		}
		if taken != limit {
			t.Errorf("D01: two nodes together let %d through, want %d", taken, limit)
		}
		if !take(t, b, "ben", limit, time.Hour) {
			t.Error("somebody else was refused")
		}
	})
	t.Run("what is given back can be taken again, and no more", func(t *testing.T) {
		a, b := nodes(t)
		for range 3 {
			take(t, a, "ann", 3, time.Hour)
		}
		if take(t, b, "ann", 3, time.Hour) {
			t.Error("took a fourth of three")
		}
		if err := b.GiveBack(t.Context(), "ann", 3, time.Hour); err != nil {
			t.Fatal(err)
		}
		if !take(t, a, "ann", 3, time.Hour) || take(t, a, "ann", 3, time.Hour) {
			t.Error("one was given back: one can be taken")
		}
		for range 20 { // into a bucket that is full
			if err := a.GiveBack(t.Context(), "full", 3, time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		taken := 0
		for range 20 {
			if take(t, a, "full", 3, time.Hour) {
				taken++
			}
		}
		if taken != 3 {
			t.Errorf("D01: giving back to a full bucket made room for %d, want 3", taken)
		}
	})
	t.Run("at the same time", func(t *testing.T) {
		a, b := nodes(t)
		var mu sync.Mutex
		var wg sync.WaitGroup
		taken := 0
		for i := range 20 {
			wg.Go(func() {
				for range 5 {
					if ok, err := []sso.Shares{a, b}[i%2].Take(t.Context(), "ann", 17, time.Hour); err == nil && ok {
						mu.Lock()
						taken++
						mu.Unlock()
					}
				}
			})
		}
		wg.Wait()
		if taken != 17 {
			t.Errorf("D01: a hundred at once let %d through, want 17", taken)
		}
	})
	t.Run("names of any kind are apart", func(t *testing.T) {
		a, _ := nodes(t)
		for i, name := range []string{"", "{a}", "{a}b", "*", "2001:db8::/48", "\x00", fmt.Sprint(make([]int, 1000))} {
			if !take(t, a, name, 1, time.Hour) {
				t.Errorf("name %d was refused for another", i)
			}
		}
	})
}

func take(t *testing.T, s sso.Shares, name string, limit int, per time.Duration) bool {
	t.Helper()
	ok, err := s.Take(t.Context(), name, limit, per)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}
