package session

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
)

const (
	// maxRereads bounds how often one request reads its principal again.
	maxRereads = 4
	// flightTimeout bounds a read that may have outlived the request that began it.
	// The stores answer or give up sooner.
	flightTimeout = 15 * time.Second
)

// errChanging is no verdict: rows about this session or everybody came faster than
// it could be read.
var errChanging = errors.New("session: principal kept changing while it was read")

// flight is one uncached read of a session. Its fields but done are written
// before done is closed.
type flight struct {
	gen    int64 // the lease it began under; 0 without one
	n      int64 // of all flights, in the order in which they began
	used   time.Time
	leased bool
	done   chan struct{}
	p      *Principal
	seen   time.Time
	err    error
}

// flights let the requests of one session share a read: a page that loads fifty
// files after the cache was emptied must not mean fifty reads. The zero value
// is empty.
type flights struct {
	mu   sync.Mutex
	m    map[secret.Hash]*flight
	last int64
}

// begun is the number of the last flight that began before now.
func (f *flights) begun() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// enter answers the flight to wait for, and whether the caller must fly it. A
// flight that began under another lease is not joined: rows may have been missed
// in between (C4).
func (f *flights) enter(h secret.Hash, gen int64) (fl *flight, mine bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl := f.m[h]; fl != nil && fl.gen == gen {
		return fl, false
	}
	if f.m == nil {
		f.m = map[secret.Hash]*flight{}
	}
	f.last++
	fl = &flight{gen: gen, n: f.last, leased: true, done: make(chan struct{})}
	f.m[h] = fl
	return fl, true
}

func (f *flights) land(h secret.Hash, fl *flight) {
	f.mu.Lock()
	if f.m[h] == fl {
		delete(f.m, h)
	}
	f.mu.Unlock()
	close(fl.done)
}

// read answers the principal of a session as it is now, from the stores. A row
// applied while it was read makes the result stale: it may say "ended" or only
// "other teams", so it is read again to know which. Bounded, because a bulk
// change of teams can go on for as long as it likes.
func (m *Manager) read(ctx context.Context, h secret.Hash, used time.Time) (flight, error) {
	before := m.flights.begun()
	for range maxRereads + 1 {
		gen, leased := m.cutoff.lease.held()
		if !leased {
			// Without a lease each request does its own reads, begun after it arrived (C4).
			p, seen, err := m.load(ctx, h, m.cutoff.Applied(), used)
			if err != nil || m.Still(p) {
				return flight{p: p, seen: seen, err: err}, err
			}
			continue
		}
		fl, mine := m.flights.enter(h, gen)
		if mine {
			fl.used = used
			// On its own: the client that began it may hang up while others wait.
			go m.fly(context.WithoutCancel(ctx), h, fl, used)
		}
		select {
		case <-fl.done:
		case <-ctx.Done():
			return flight{}, ctx.Err()
		}
		switch {
		case fl.err != nil && (mine || !verdict(fl.err) || fl.n > before && fl.tells(used)):
			return flight{}, fl.err
		case fl.err != nil:
			// Another's "no" may be about a moment before this request, or about a
			// cookie that had rested for longer. The next one is about neither, so fifty
			// who ask about a dead session at once are all told.
		case m.Still(fl.p):
			return *fl, nil
		}
	}
	return flight{}, errChanging
}

// tells reports whether the flight's verdict holds for a cookie last used then too.
func (fl *flight) tells(used time.Time) bool {
	return !errors.Is(fl.err, ErrExpired) || !used.After(fl.used)
}

func (m *Manager) fly(ctx context.Context, h secret.Hash, fl *flight, used time.Time) {
	ctx, cancel := context.WithTimeout(ctx, flightTimeout)
	defer cancel()
	defer m.flights.land(h, fl)
	// On its own goroutine a panic would end the process: it becomes a 503 instead.
	defer func() {
		if v := recover(); v != nil {
			fl.p, fl.err = nil, fmt.Errorf("session: panic while reading: %v", v)
		}
	}()
	// The applied number is taken before any read, so that a revocation applied
	// while reading makes the result stale rather than slipping under it (C3).
	fl.p, fl.seen, fl.err = m.load(ctx, h, m.cutoff.Applied(), used)
}

// verdict reports an error that is a decision, unlike a store that cannot answer.
func verdict(err error) bool {
	return errors.Is(err, ErrRevoked) || errors.Is(err, ErrExpired) || errors.Is(err, ErrMember)
}
