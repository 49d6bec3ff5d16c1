package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/ssogate/ssogate/config"
)

const (
	// suspectEvery bounds the extra work that a broken record can cause.
	suspectEvery = time.Second
	// retryPause is what a server that is not the master yet is given.
	retryPause = 20 * time.Millisecond
)

// errDown answers calls that were not even tried.
var errDown = errors.New("server is down; next attempt shortly")

// doFunc only talks to Redis, and may run twice; what its answer means is
// decided afterwards.
type doFunc func(context.Context, goredis.UniversalClient) error

// call runs fn under the time limit of one call, unless the server that has key
// is known to be down.
func (d *DB) call(ctx context.Context, op, key string, fn doFunc) error {
	limited, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	addr, err := d.locate(ctx, limited, d.client.Load(), op, key)
	if err != nil {
		return err
	}
	return d.guarded(ctx, limited, addr, op, fn)
}

func (d *DB) guarded(ctx, limited context.Context, addr, op string, fn doFunc) error {
	h, err := d.allowed(op, addr)
	if err != nil {
		return err
	}
	return d.try(ctx, limited, h, op, fn)
}

// each is call on many keys at once. fn is given the places of the keys that one
// server has, and runs for all servers at the same time: one that is dead costs
// the others nothing. Errors are joined.
func (d *DB) each(ctx context.Context, op string, keys []string, fn func(ctx context.Context, c goredis.UniversalClient, at []int) error) error {
	limited, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	c := d.client.Load()
	groups := map[string][]int{}
	for i, k := range keys {
		addr, err := d.locate(ctx, limited, c, op, k)
		if err != nil {
			return err // nothing is known about any of them
		}
		groups[addr] = append(groups[addr], i)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	var errs []error
	for addr, at := range groups {
		wg.Go(func() {
			err := d.guarded(ctx, limited, addr, op, func(ctx context.Context, c goredis.UniversalClient) error { return fn(ctx, c, at) })
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// try is call without the circuit breaker, which only learns.
func (d *DB) try(ctx, limited context.Context, h *health, op string, fn doFunc) error {
	start := time.Now()
	err := fn(limited, d.client.Load())
	if again, pause := elsewhere(err); again {
		// The server refused and did nothing: once more, at the new master (fault 3).
		d.metrics.failover()
		if d.address.Kind != config.RedisCluster && !pause {
			d.renew() // the other connections lead there too
		}
		if pause {
			select {
			case <-time.After(retryPause):
			case <-limited.Done():
			}
		}
		if limited.Err() == nil {
			err = fn(limited, d.client.Load())
		}
	}
	took := time.Since(start)
	switch d.learn(ctx, h, err, weight(op)) {
	case serverUnknown:
		d.metrics.observe(op, "given_up", took)
	case serverUp, serverDown:
		d.metrics.observe(op, outcome(err), took)
	}
	if err != nil {
		return fmt.Errorf("redis: %s: %w", op, err)
	}
	return nil
}

func weight(op string) int {
	if op == "ping" {
		return breakAfter // asked on purpose, and by nobody's session
	}
	return 1
}

// learn notes what an answer says about the server.
func (d *DB) learn(ctx context.Context, h *health, err error, weight int) serverState {
	state := judge(ctx, err)
	switch state {
	case serverUp:
		d.changed(h, h.succeeded(), slog.LevelInfo, "redis is up again", nil)
	case serverDown:
		d.changed(h, h.failed(time.Now(), weight), slog.LevelError, "redis is down", err)
	case serverUnknown:
	}
	return state
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

// elsewhere reports a refusal that another server, or the same one in a moment,
// would not have given. In each case nothing was done. A lost answer is none of
// them: what was asked may have been done (a second Take would find nothing, a
// second Once its own mark).
func elsewhere(err error) (again, pause bool) {
	switch {
	case err == nil:
		return false, false
	case goredis.IsReadOnlyError(err), errors.Is(err, errReplica):
		return true, false
	case goredis.IsLoadingError(err), goredis.IsMasterDownError(err), goredis.IsClusterDownError(err), goredis.IsTryAgainError(err):
		return true, true
	}
	_, moved := goredis.IsMovedError(err)
	_, ask := goredis.IsAskError(err)
	return moved || ask, true
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
	if old := d.replace(fresh); old != nil {
		_ = old.Close() // calls in flight there fail, as they should
	}
	d.log.Error("redis answers arrived out of order; all connections were replaced", "record", what)
}
