package machine

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/ssogate/ssogate/internal/bearer"
	"github.com/ssogate/ssogate/internal/secret"
)

const (
	flushEvery   = 15 * time.Second
	flushTimeout = 5 * time.Second
	forgetAfter  = time.Hour
)

// uses are last uses not yet written down, at most one a minute for each token: a
// busy machine must not cost a write per request.
type uses struct {
	mu sync.Mutex
	m  map[secret.Hash]use
}

type use struct {
	at      time.Time
	addr    netip.Addr
	waiting bool // to be written
}

func (u *uses) note(h secret.Hash, now time.Time, from netip.Addr) {
	u.mu.Lock()
	defer u.mu.Unlock()
	last, known := u.m[h]
	if known && now.Sub(last.at) < bearer.UseEvery || !known && len(u.m) >= maxHeld {
		return
	}
	u.m[h] = use{now, from, true}
}

// take answers what is to be written, and forgets what was not used for long.
func (u *uses) take(now time.Time) []Use {
	u.mu.Lock()
	defer u.mu.Unlock()
	var out []Use
	for h, v := range u.m {
		switch {
		case v.waiting:
			out = append(out, Use{ID: bearer.ID(h), At: v.at, Addr: v.addr.String(), hash: h})
		case now.Sub(v.at) > forgetAfter:
			delete(u.m, h)
		}
	}
	// In one order on every node: two that write the same rows must not wait for each other.
	slices.SortFunc(out, func(a, b Use) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

func (u *uses) written(list []Use) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, w := range list {
		if v := u.m[w.hash]; v.at.Equal(w.At) { // else used again meanwhile
			v.waiting = false
			u.m[w.hash] = v
		}
	}
}

// Run writes last uses down until ctx ends, then once more. What cannot be written
// waits: the note is for people, and refusing the machine for the want of it would turn
// a full disk into an outage.
func (a *Admitter) Run(ctx context.Context) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		err := a.Flush(ctx)
		if err != nil && !failing {
			a.o.Log.Warn("last uses of machine tokens cannot be written; they are kept and tried again", "err", err)
		}
		failing = err != nil
		if ctx.Err() != nil {
			return
		}
	}
}

// Flush writes down what is waiting. It also does when ctx has ended.
func (a *Admitter) Flush(ctx context.Context) error {
	list := a.uses.take(a.o.Now())
	if len(list) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
	defer cancel()
	if err := a.o.Tokens.UsedMachineTokens(ctx, list); err != nil {
		return err
	}
	a.uses.written(list)
	return nil
}
