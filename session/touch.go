package session

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
)

const (
	touchEvery  = time.Minute // a session's LastSeen is written at most this often
	flushEvery  = 15 * time.Second
	touchBudget = 100_000 // sessions waiting to be written; memory bound
)

// touches are idle times not yet written back. Readers look here first, so a
// session in use never looks idle for the want of a write; the absolute end is
// never part of it.
type touches struct {
	mu sync.Mutex
	m  map[secret.Hash]time.Time
}

// note remembers that a session was used, to be written back. Past the budget a
// note is dropped: the session's next minute notes it again.
func (t *touches) note(h secret.Hash, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if prev, waiting := t.m[h]; now.After(prev) && (waiting || len(t.m) < touchBudget) {
		t.m[h] = now
	}
}

// latest is when the session was last used, as far as this node knows.
func (t *touches) latest(h secret.Hash, stored time.Time) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n, ok := t.m[h]; ok && n.After(stored) {
		return n
	}
	return stored
}

// RunTouches writes idle times back until ctx ends, then once more.
func (m *Manager) RunTouches(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	failing := false
	for done := false; !done; {
		select {
		case <-ctx.Done():
			done = true
		case <-tick.C:
		}
		// The last flush happens while the process ends: it gets a context of its own.
		fctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		err := m.flush(fctx)
		cancel()
		if err != nil && !failing {
			log.Warn("idle times cannot be written; they are kept and tried again", "err", err)
		}
		failing = err != nil
	}
}

// flush writes what is waiting; what fails stays.
func (m *Manager) flush(ctx context.Context) error {
	m.touches.mu.Lock()
	batch := make(map[secret.Hash]time.Time, len(m.touches.m))
	for h, t := range m.touches.m {
		batch[h] = t
	}
	m.touches.mu.Unlock()
	for h, at := range batch {
		if err := m.store.Touch(ctx, h, at); err != nil {
			return err
		}
		m.touches.mu.Lock()
		if m.touches.m[h].Equal(at) { // used again meanwhile: keep the newer
			delete(m.touches.m, h)
		}
		m.touches.mu.Unlock()
	}
	return nil
}
