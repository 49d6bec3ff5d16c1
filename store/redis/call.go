package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

const (
	// breakAfter consecutive failures the server counts as down: one lost
	// packet must not turn into a minute of 503.
	breakAfter = 3
	// probeEvery is how often a call is let through while it is down. The others
	// fail at once: thousands of requests waiting 250 ms each would take the
	// gateway down with Redis (threats, fault 2).
	probeEvery = 100 * time.Millisecond
	// suspectEvery bounds the extra work that a broken record can cause.
	suspectEvery = time.Second
)

// errDown answers calls that were not even tried.
var errDown = errors.New("server is down; next attempt shortly")

// call runs fn under the time limit of one call, unless the server is known to
// be down. fn may run twice and only talks to Redis; what its answer means is
// decided by the caller afterwards.
func (d *DB) call(ctx context.Context, op string, fn func(context.Context, goredis.UniversalClient) error) error {
	if !d.health.allow(time.Now()) {
		d.metrics.observe(op, "held_back", 0)
		return fmt.Errorf("redis: %s: %w", op, errDown)
	}
	return d.try(ctx, op, fn)
}

// try is call without the circuit breaker.
func (d *DB) try(ctx context.Context, op string, fn func(context.Context, goredis.UniversalClient) error) error {
	limited, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	start := time.Now()
	c := d.client.Load()
	err := fn(limited, c)
	if goredis.IsReadOnlyError(err) {
		// A demoted primary refused: nothing was done, and the library has dropped
		// that connection. The next one leads to the new primary (fault 3).
		d.metrics.failover()
		err = fn(limited, c)
	}
	switch state := judge(ctx, err); state {
	case serverUp:
		d.metrics.observe(op, outcome(err), time.Since(start))
		d.changed(d.health.succeeded(), slog.LevelInfo, "redis is up again", nil)
	case serverDown:
		d.metrics.observe(op, outcome(err), time.Since(start))
		weight := 1
		if op == "ping" {
			weight = breakAfter // asked on purpose, and by nobody's session
		}
		d.changed(d.health.failed(time.Now(), weight), slog.LevelError, "redis is down", err)
	case serverUnknown:
		d.metrics.observe(op, "given_up", time.Since(start))
	}
	if err != nil {
		return fmt.Errorf("redis: %s: %w", op, err)
	}
	return nil
}

// changed reports a change between up and down: the only line this package logs
// about a server, however many calls fail.
func (d *DB) changed(changed bool, level slog.Level, message string, err error) {
	if !changed {
		return
	}
	d.metrics.setUp(err == nil)
	if err != nil {
		d.log.Log(context.Background(), level, message, "error", err)
		return
	}
	d.log.Log(context.Background(), level, message)
}

type serverState int

const (
	serverUnknown serverState = iota // the caller gave up: nothing learned
	serverUp
	serverDown
)

// judge tells what an error says about the server.
func judge(caller context.Context, err error) serverState {
	switch {
	case err == nil:
		return serverUp
	case caller.Err() != nil, errors.Is(err, goredis.ErrClosed):
		return serverUnknown
	case goredis.IsLoadingError(err), goredis.IsMasterDownError(err), goredis.IsClusterDownError(err),
		goredis.IsReadOnlyError(err), goredis.IsMaxClientsError(err), goredis.IsAuthError(err):
		return serverDown // it answers, but nothing can be kept there
	case refused(err):
		return serverUp
	default:
		return serverDown
	}
}

func outcome(err error) string {
	switch {
	case err == nil:
		return "ok"
	case refused(err):
		return "refused"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	default:
		return "error"
	}
}

// health is the circuit breaker. Its clock is the real one: it is about sockets.
type health struct {
	mu    sync.Mutex
	fails int
	known bool // up or down was reported once
	down  bool
	probe time.Time // the next call let through while down
}

func (h *health) allow(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.down {
		return true
	}
	if now.Before(h.probe) {
		return false
	}
	h.probe = now.Add(probeEvery)
	return true
}

// succeeded reports whether the server was down, or never seen, until now.
func (h *health) succeeded() (changed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	changed = h.down || !h.known
	h.fails, h.down, h.known = 0, false, true
	return changed
}

// failed reports whether the server counts as down from now on.
func (h *health) failed(now time.Time, weight int) (changed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fails += weight
	if h.fails < breakAfter {
		return false
	}
	h.probe = now.Add(probeEvery) // counted from the answer: a probe itself may take longer
	changed = !h.down
	h.down, h.known = true, true
	return changed
}

// mismatch counts an answer that belongs to another record, and finds out whose
// fault it is. Either the record itself is wrong: then only its owner is
// refused. Or connections deliver answers out of order (a broken proxy): then
// all of them are dropped, because the next answer would be somebody else's
// too. again reads the same record through a connection of its own and reports
// whether it is right there. The caller refuses in both cases (fault 5).
func (d *DB) mismatch(ctx context.Context, what string, again func(context.Context, goredis.UniversalClient) bool) {
	d.metrics.mismatch()
	now, last := time.Now().UnixNano(), d.suspect.Load()
	if now-last < int64(suspectEvery) || !d.suspect.CompareAndSwap(last, now) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	fresh := d.connect()
	if !again(ctx, fresh) {
		_ = fresh.Close() // never used again
		d.log.Error("redis record does not belong to its id", "record", what)
		return
	}
	old := d.client.Swap(fresh)
	_ = old.Close() // calls in flight there fail, as they should
	d.log.Error("redis answers arrived out of order; all connections were replaced", "record", what)
}
