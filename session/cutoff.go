package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
)

// Log is the revocation log as one node reads it. store/sql is the real one.
type Log interface {
	// Revocations returns at most limit rows after a number, in order, from the primary.
	Revocations(ctx context.Context, after int64, limit int) ([]member.Revocation, error)
	LastRevocation(ctx context.Context) (int64, error)
}

const (
	logBatch    = 256
	readTimeout = 700 * time.Millisecond // of one read of the log; shorter than a lease
	barrierWait = 10 * time.Second       // then the caller is told to try again (design, section 3)
	cutWait     = 3 * time.Second        // of closing what one row concerns; well below barrierWait
	cleanupSize = 4096                   // queued session deletions; epochs make dropping one safe
)

// ErrBarrier means the cut-off is committed but not yet known to be true on
// this node: answer 503; the row stays and a retry waits for it again (C2).
var ErrBarrier = errors.New("session: cut-off not confirmed in time")

// Cutoff applies the revocation log: it holds the lease under which principals
// may be cached, raises floors, cuts streams, and answers barriers. It is the
// member.Revoker of the running process. Safe for concurrent use; Run must be
// running for Barrier to return.
type Cutoff struct {
	log     Log
	store   Store
	streams Streams
	grace   time.Duration
	cutWait time.Duration
	logger  *slog.Logger

	lease  lease
	floors *floors
	cache  *cache

	wake    chan struct{}
	cleanup chan member.Revocation

	mu      sync.Mutex
	applied int64
	changed chan struct{} // closed and replaced whenever applied grows

	metrics cutoffMetrics
}

type cutoffMetrics struct {
	leaseUp prometheus.Gauge
	applied prometheus.Gauge
	barrier prometheus.Histogram
	dropped prometheus.Counter
}

// CutoffOptions are what a Cutoff works with; all but Now and Registry are required.
type CutoffOptions struct {
	Log        Log
	Store      Store
	Streams    Streams
	LeaseGrace time.Duration // streams live this long without contact to SQL
	Logger     *slog.Logger
	Now        func() time.Time // wall clock, for jump detection
	Registry   prometheus.Registerer
}

// NewCutoff makes a Cutoff that holds no lease yet. It reads the log's current
// end, before which nothing of this process can exist.
func NewCutoff(ctx context.Context, o CutoffOptions) (*Cutoff, error) {
	last, err := o.Log.LastRevocation(ctx)
	if err != nil {
		return nil, fmt.Errorf("session: read the revocation log: %w", err)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &Cutoff{
		log: o.Log, store: o.Store, streams: o.Streams, grace: o.LeaseGrace, cutWait: cutWait, logger: o.Logger,
		lease: lease{boot: bootTime, wall: o.Now}, floors: newFloors(), cache: newCache(),
		wake: make(chan struct{}, 1), cleanup: make(chan member.Revocation, cleanupSize),
		applied: last, changed: make(chan struct{}),
		metrics: cutoffMetrics{
			leaseUp: prometheus.NewGauge(prometheus.GaugeOpts{Name: "lease_up", Help: "1 while this node may use its principal cache."}),
			applied: prometheus.NewGauge(prometheus.GaugeOpts{Name: "revocation_applied", Help: "Number of the last revocation applied."}),
			barrier: prometheus.NewHistogram(prometheus.HistogramOpts{
				Name: "cutoff_barrier_seconds", Help: "From commit until the cut-off was true.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
			}),
			dropped: prometheus.NewCounter(prometheus.CounterOpts{Name: "session_cleanup_dropped_total", Help: "Session deletions given up; the sessions are dead by epoch all the same."}),
		},
	}
	if o.Registry != nil {
		o.Registry.MustRegister(c.metrics.leaseUp, c.metrics.applied, c.metrics.barrier, c.metrics.dropped)
	}
	return c, nil
}

// Run reads and applies the log until ctx ends. It returns nil then.
func (c *Cutoff) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { c.cleanLoop(ctx) })
	defer wg.Wait()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	lost := c.lease.boot() // since when there has been no lease
	up, cut := false, false
	for {
		err := c.step(ctx)
		if ctx.Err() != nil {
			return nil
		}
		_, held := c.lease.held()
		switch {
		case held:
			if !up {
				c.logger.Info("lease held: principals may be cached")
			}
			up, cut, lost = true, false, c.lease.boot()
			c.metrics.leaseUp.Set(1)
		default:
			if up {
				c.logger.Error("lease lost: every request now asks the stores", "err", err)
			}
			up = false
			c.metrics.leaseUp.Set(0)
			// A stream has no next request that could be refused: without contact to
			// the log it is closed (C12).
			if !cut && c.lease.boot()-lost > c.grace {
				c.logger.Error("no contact to the database: closing all streams", "after", c.grace)
				c.streams.CutAll(ctx, "database unreachable")
				cut = true
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-c.wake:
		}
	}
}

// step reads to the end of the log, applies what it finds, and only then
// extends the lease (C5).
func (c *Cutoff) step(ctx context.Context) error {
	for {
		sent := c.lease.boot()
		rctx, cancel := context.WithTimeout(ctx, readTimeout)
		rows, err := c.log.Revocations(rctx, c.Applied(), logBatch)
		cancel()
		if err != nil {
			return err
		}
		for _, r := range rows {
			c.apply(ctx, r)
		}
		if len(rows) < logBatch {
			c.lease.extend(sent)
			return nil
		}
	}
}

// apply makes one row true here. The order is the guarantee: floor first (no new
// hit), then streams and requests in flight, then the acknowledgement.
func (c *Cutoff) apply(ctx context.Context, r member.Revocation) {
	c.floors.raise(r)
	c.cache.evict(r)
	// Bounded: rows are applied in order, and a recheck that asks a slow store
	// for thousands of streams must not hold up the deactivation behind it. What
	// has not been answered by then is closed.
	cctx, cancel := context.WithTimeout(ctx, c.cutWait)
	c.streams.Cut(cctx, r)
	cancel()
	if r.Kind == member.End {
		select {
		case c.cleanup <- r:
		default:
			c.metrics.dropped.Inc()
		}
	}
	c.mu.Lock()
	c.applied = r.Seq
	close(c.changed)
	c.changed = make(chan struct{})
	c.mu.Unlock()
	c.metrics.applied.Set(float64(r.Seq))
}

// Applied is the number of the last row that is true here.
func (c *Cutoff) Applied() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.applied
}

// Barrier implements member.Revoker: it returns once rows up to seq are true.
func (c *Cutoff) Barrier(ctx context.Context, seq int64) error {
	begin := time.Now()
	timeout := time.NewTimer(barrierWait)
	defer timeout.Stop()
	for {
		c.mu.Lock()
		done, changed := c.applied >= seq, c.changed
		c.mu.Unlock()
		if done {
			c.metrics.barrier.Observe(time.Since(begin).Seconds())
			return nil
		}
		select {
		case c.wake <- struct{}{}:
		default: // a wake-up is already on its way
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrBarrier, ctx.Err())
		case <-timeout.C:
			return ErrBarrier
		}
	}
}

// cleanLoop deletes ended sessions from the session store. Nothing depends on
// it: epochs and tombstones already refuse them, so a store that is down only
// delays the tidying.
func (c *Cutoff) cleanLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-c.cleanup:
			c.clean(ctx, r)
		}
	}
}

func (c *Cutoff) clean(ctx context.Context, r member.Revocation) {
	for wait := 100 * time.Millisecond; wait < 10*time.Second; wait *= 2 {
		dctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := c.deleteSessions(dctx, r)
		cancel()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
	c.metrics.dropped.Inc()
}

func (c *Cutoff) deleteSessions(ctx context.Context, r member.Revocation) error {
	switch r.Scope {
	case member.ScopeMember:
		_, err := c.store.DeleteMember(ctx, member.ID(r.Target), r.Epoch)
		return err
	case member.ScopeSession:
		if h, err := secret.ParseHash(r.Target); err == nil { // else it names no session we could delete
			return c.store.Delete(ctx, h)
		}
		return nil
	default:
		return nil
	}
}

var _ member.Revoker = (*Cutoff)(nil)
