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
	touchBatch  = 500
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
		gen, _ := m.cutoff.lease.held()
		m.cutoff.cache.sweep(m.now(), func(e *cached) bool { return m.usable(e, gen) })
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
	uses := make([]Use, 0, touchBatch)
	for h, at := range batch {
		if uses = append(uses, Use{h, at}); len(uses) == touchBatch {
			if err := m.writeBack(ctx, uses); err != nil {
				return err
			}
			uses = uses[:0]
		}
	}
	return m.writeBack(ctx, uses)
}

func (m *Manager) writeBack(ctx context.Context, uses []Use) error {
	if len(uses) == 0 {
		return nil
	}
	if err := m.store.Touch(ctx, uses); err != nil {
		return err
	}
	m.touches.mu.Lock()
	defer m.touches.mu.Unlock()
	for _, u := range uses {
		if m.touches.m[u.Hash].Equal(u.Seen) { // used again meanwhile: keep the newer
			delete(m.touches.m, u.Hash)
		}
	}
	return nil
}
