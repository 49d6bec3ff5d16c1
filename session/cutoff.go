package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
)

const (
	logBatch      = 256
	readTimeout   = 700 * time.Millisecond // of one call of the lease loop; shorter than a lease
	reloadTimeout = 2 * time.Second
	cutWait       = 3 * time.Second // of closing what one row concerns; well below barrierWait
	expelAfter    = 3 * time.Second // a node that is silent for so long has no lease, and has had none for a while
)

// Cutoff applies the revocation log on one node: it holds the lease under which
// principals may be cached, raises floors, cuts streams, and acknowledges. It is
// the member.Revoker of the running process. Safe for concurrent use; Run must
// be running for Barrier to return.
type Cutoff struct {
	log      Log
	registry Registry
	streams  Streams
	wakes    Wakes
	reload   func(ctx context.Context, what string) error
	grace    time.Duration
	cutWait  time.Duration
	logger   *slog.Logger

	lease     lease
	floors    *floors
	cache     *cache
	publisher *Publisher
	tidier    *tidier

	wake    chan struct{}
	spawn   func(func()) // runs a cut beside the loop
	cutting sync.WaitGroup

	// Of the loop alone.
	begun   int64               // the last row whose floor is raised, or that is unread; its streams may still be closing
	unread  []member.Revocation // Reload rows that are still to be acted on, in order
	reached []reach             // calls whose rows are not all acknowledged, in order

	mu      sync.Mutex
	node    Node
	applied int64
	done    map[int64]int64 // spans of rows, first to last, that are true before those below them
	history int64           // raised when the log went back; written by the loop
	changed chan struct{}   // closed and replaced whenever applied changes

	metrics cutoffMetrics
}

// CutoffOptions are what a Cutoff works with. Wakes, Reload, Name, Now and
// Metrics may be left out.
type CutoffOptions struct {
	Log      Log
	Registry Registry
	Finisher Finisher
	Store    Store
	Streams  Streams
	Wakes    Wakes // nil in a single process
	// Reload reads anew what a Reload row names, before the row is acknowledged.
	// An error leaves it unacknowledged, and the lease runs out. For what it does
	// not know it returns nil.
	Reload     func(ctx context.Context, what string) error
	Name       string        // of this node, in lists
	Keys       NodeKeys      // of its config file
	LeaseGrace time.Duration // streams live this long without contact to SQL
	Logger     *slog.Logger
	Now        clock.Func // wall clock, for jump detection
	Metrics    Registerer
}

// NewCutoff makes a Cutoff that is registered and holds no lease yet. It starts
// at the log's current end, before which nothing of this process can exist. The
// registration is committed when it returns (C8): serve nobody before that.
func NewCutoff(ctx context.Context, o CutoffOptions) (*Cutoff, error) {
	last, err := o.Log.LastRevocation(ctx)
	if err != nil {
		return nil, fmt.Errorf("session: read the revocation log: %w", err)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &Cutoff{
		log: o.Log, registry: o.Registry, streams: o.Streams, wakes: o.Wakes, reload: o.Reload,
		grace: o.LeaseGrace, cutWait: cutWait, logger: o.Logger,
		lease: lease{boot: bootTime, wall: o.Now}, floors: newFloors(), cache: newCache(),
		wake: make(chan struct{}, 1), node: Node{Name: o.Name, Keys: o.Keys.String()}, begun: last, applied: last, done: map[int64]int64{}, changed: make(chan struct{}),
	}
	c.spawn = c.cutting.Go
	if c.metrics, err = newCutoffMetrics(o.Metrics, c); err != nil {
		return nil, err
	}
	c.publisher = &Publisher{Registry: o.Registry, Wakes: o.Wakes, boot: bootTime}
	c.tidier = &tidier{finisher: o.Finisher, store: o.Store, logger: o.Logger, late: c.metrics.late, soon: make(chan time.Duration, 1)}
	if err := c.join(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// join registers this process as a new node, which has applied what the old one
// had: rows from while it was away are still to come.
func (c *Cutoff) join(ctx context.Context) error {
	n := Node{ID: secret.NewToken(), Name: c.node.Name, Keys: c.node.Keys, Applied: c.Applied()}
	if err := c.registry.Join(ctx, n); err != nil {
		return fmt.Errorf("session: register this node: %w", err)
	}
	c.mu.Lock()
	c.node.ID = n.ID
	c.mu.Unlock()
	return nil
}

// Leave deregisters the node. Call it once Run has returned and the last request
// and stream have ended (C8).
func (c *Cutoff) Leave(ctx context.Context) error {
	if err := c.registry.Leave(ctx, c.id()); err != nil {
		return fmt.Errorf("session: deregister this node: %w", err)
	}
	return nil
}

func (c *Cutoff) id() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.node.ID
}

// Run reads and applies the log until ctx ends. It returns nil then.
func (c *Cutoff) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer c.cutting.Wait()
	wg.Go(func() { c.tidier.run(ctx) })
	if c.wakes != nil {
		wg.Go(func() { c.wakes.Listen(ctx, c.hurry) })
	}
	wg.Go(func() { c.expelLoop(ctx) })
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	lost := c.lease.boot() // since when there has been no lease
	up := false
	for {
		err := c.step(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if _, held := c.lease.held(); held {
			if !up {
				c.logger.Info("lease held: principals may be cached")
			}
			up, lost = true, c.lease.boot()
			c.metrics.leaseUp.Set(1)
		} else {
			if up {
				c.logger.Error("lease lost: every request now asks the stores", "err", err)
			}
			up = false
			c.metrics.leaseUp.Set(0)
			// A stream has no next request that could be refused: without contact to
			// the log it is closed (C12). Again after each grace: where only the lease
			// fails, others are opened meanwhile.
			if c.lease.boot()-lost > c.grace {
				c.logger.Error("no lease for too long: closing all streams", "after", c.grace, "err", err)
				c.streams.CutAll(ctx, "database unreachable")
				lost = c.lease.boot()
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

// hurry makes the lease loop call now instead of at the next tick.
func (c *Cutoff) hurry() {
	select {
	case c.wake <- struct{}{}:
	default: // one is on its way already
	}
}

// reach is a call that read to the end of the log.
type reach struct {
	last int64  // the newest row then
	sent moment // from when its lease counts
}

// maxReached calls may wait for their rows to be acknowledged; past it only an
// extension of the lease is lost.
const maxReached = 16

// step calls until nothing is left to acknowledge. A lease is extended only by a
// call that read to the end of the log, once every row up to there is true here
// and has been acknowledged by a later call (C5).
func (c *Cutoff) step(ctx context.Context) error {
	for ctx.Err() == nil {
		acknowledged := c.Applied()
		sent := c.lease.moment()
		b, err := c.call(ctx, acknowledged)
		if errors.Is(err, ErrNotRegistered) {
			c.logger.Warn("this node was expelled from the registry while it was silent; it joins again")
			// One that is expelled again at once gives up until the next tick.
			// Bounded: while the loop stands still nobody counts the grace.
			jctx, cancel := context.WithTimeout(ctx, readTimeout)
			err = c.join(jctx)
			cancel()
			if err == nil {
				b, err = c.call(ctx, acknowledged)
			}
		}
		if err != nil {
			return err
		}
		c.extend(acknowledged)
		if err := c.take(ctx, b); err != nil {
			return err
		}
		if acknowledged == b.Last {
			c.lease.extend(sent)
			return nil
		}
		// A full batch may not have reached the end of the log.
		if len(b.Rows) < logBatch && len(c.reached) < maxReached {
			c.reached = append(c.reached, reach{b.Last, sent})
		}
		if c.Applied() == acknowledged {
			return nil // streams are being closed; whoever finishes hurries the loop
		}
	}
	return ctx.Err()
}

// extend extends the lease by the latest call whose rows are all acknowledged.
func (c *Cutoff) extend(acknowledged int64) {
	for len(c.reached) > 0 && c.reached[0].last <= acknowledged {
		c.lease.extend(c.reached[0].sent)
		c.reached = c.reached[1:]
	}
}

func (c *Cutoff) call(ctx context.Context, acknowledge int64) (Batch, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return c.log.Lease(ctx, c.id(), acknowledge, logBatch)
}

// Applied is the number of the last row that is true here.
func (c *Cutoff) Applied() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.applied
}

// Barrier implements member.Revoker: it returns once rows up to seq are true on
// every node, this one included.
func (c *Cutoff) Barrier(ctx context.Context, seq int64) error {
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, barrierWait)
	defer cancel()
	c.publisher.wake()
	for {
		c.mu.Lock()
		done, changed := c.applied >= seq, c.changed
		c.mu.Unlock()
		if done {
			break
		}
		c.hurry()
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w: on this node: %w", ErrBarrier, ctx.Err())
		}
	}
	c.tidier.hurry()
	if err := c.publisher.wait(ctx, seq, c.id()); err != nil {
		return err
	}
	c.metrics.barrier.Observe(time.Since(begin).Seconds())
	return nil
}

// expelLoop removes nodes that are silent: each would cost every cut-off the
// whole bound. All nodes do it, in no order; one of them finds something.
func (c *Cutoff) expelLoop(ctx context.Context) {
	tick := time.NewTicker(expelAfter / 2) // one call sees a node, a later one sees it silent
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		ectx, cancel := context.WithTimeout(ctx, readTimeout)
		n, err := c.registry.Expel(ectx, expelAfter)
		cancel()
		if err == nil && n > 0 { // without contact the lease says so already
			c.logger.Warn("nodes that no longer call were expelled from the registry", "count", n)
		}
	}
}

var _ member.Revoker = (*Cutoff)(nil)
