package session

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ssogate/ssogate/member"
)

// node is one run of a process: the real Cutoff and Manager, its clocks, its
// links, and what it has running.
type node struct {
	w        *world
	name     string
	c        *Cutoff
	m        *Manager
	redis    *redisServer
	sqlCut   bool
	leaseCut bool // the lease statement fails, all others work
	redisCut bool
	excused  time.Duration // until when it is in the limits that C12 states

	alive, serving, draining, stopped bool
	frozen, suspended                 bool
	backlog                           []func()
	frozenAt, thawAt                  time.Duration

	rate     float64       // of its clocks
	bootLost time.Duration // CLOCK_BOOTTIME stood still: the hypervisor paused it
	monoLost time.Duration // CLOCK_MONOTONIC stood still: it slept
	jump     time.Duration // of the wall clock
	lag      time.Duration // of the replica that it reads when C1 is broken

	settings  int64
	live      []*running
	waiting   map[*flight][]func()
	saw       map[*flight]int64
	applied   []func() // who waits for a row to be applied here
	loop      int64    // ticket of the lease loop while it waits for its tick
	loopTask  *task
	hurried   bool
	tidying   bool
	tidyAgain bool
}

var modelMetrics = cutoffMetrics{ // shared: only last belongs to one Cutoff
	leaseUp: prometheus.NewGauge(prometheus.GaugeOpts{Name: "lease"}),
	barrier: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "barrier"}),
	late:    prometheus.NewCounter(prometheus.CounterOpts{Name: "late"}),
}

func (w *world) newNode(name string) *node {
	n := &node{w: w, name: name, alive: true, rate: 1, redis: w.redis, settings: w.sql.settings, waiting: map[*flight][]func(){}}
	n.lag = w.span(0, 1500*time.Millisecond)
	if w.plan.drift > 0 {
		n.rate = 1 + (2*w.rng.Float64()-1)*w.plan.drift
	}
	return n
}

// equip is NewCutoff and NewManager up to the registration.
func (n *node) equip(last int64) {
	n.c = &Cutoff{
		log: n, registry: n, streams: cutter{n}, logger: discardLogger, grace: n.w.plan.grace, cutWait: cutWait,
		floors: newFloors(), cache: newCache(), wake: make(chan struct{}, 1),
		node: Node{Name: n.name}, begun: last, applied: last, done: map[int64]int64{}, changed: make(chan struct{}), metrics: modelMetrics,
		spawn:  n.beside,
		reload: func(ctx context.Context, _ string) error { return n.Reload(ctx, 0) },
	}
	n.c.lease.boot, n.c.lease.wall = n.boot, n.wall
	switch n.w.broken {
	case monotonicLease: // the check of the wall clock would notice too, so it is off
		n.c.lease.boot = n.mono
		n.c.lease.wall = func() time.Time { return wallStart.Add(n.mono()) }
	case wallJumpIgnored:
		n.c.lease.wall = func() time.Time { return wallStart.Add(n.boot()) }
	}
	n.c.metrics.last = new(atomic.Int64)
	n.c.tidier = &tidier{finisher: n, store: nodeStore{n}, logger: discardLogger, late: modelMetrics.late, soon: make(chan time.Duration, 1)}
	n.m = &Manager{
		Lister: *newLister(nodeStore{n}, nodeDirectory{n}, time.Hour, steady(n.wall, n.boot)),
		cutoff: n.c, limits: Limits{Idle: time.Hour, Absolute: 2 * time.Hour}, provider: n.provider, settings: n,
	}
}

// begin is the start of a process: NewCutoff, then Run. Requests come only after
// the registration.
func (n *node) begin() {
	for {
		last, err := n.LastRevocation(context.Background())
		if err == nil {
			n.equip(last)
			if n.w.broken == leaseBeforeJoin {
				n.w.spawn(n, func() {
					n.sleep(n.w.span(0, time.Second))
					_ = n.c.join(context.Background())
				})
				break
			}
			if n.c.join(context.Background()) == nil {
				break
			}
		}
		n.sleep(100 * time.Millisecond) // whoever supervises it starts it again
	}
	n.w.logf("%s: starts after row %d", n.name, n.c.Applied())
	n.serving = true
	n.run()
}

// run mirrors Cutoff.Run.
func (n *node) run() {
	c := n.c
	if n.w.broken != noTakeover {
		n.w.spawn(n, n.tidy)
	}
	n.w.spawn(n, n.expelLoop)
	lost := c.lease.boot()
	cut := false
	next := n.mono() + pollEvery
	for {
		err := n.step()
		n.noticeApplied()
		if n.stopped {
			return
		}
		if _, held := c.lease.held(); held {
			cut, lost = false, c.lease.boot()
		} else {
			n.w.logf("%s: no lease, applied %d: %v", n.name, c.Applied(), err)
			if !cut && c.lease.boot()-lost > c.grace {
				c.streams.CutAll(context.Background(), "database unreachable")
				if cut = true; n.w.broken != graceOnce {
					cut, lost = false, c.lease.boot()
				}
			}
		}
		for next <= n.mono() {
			next += pollEvery
		}
		n.pause(next - n.mono())
	}
}

// pause waits for the tick or a wake-up.
func (n *node) pause(d time.Duration) {
	if n.hurried {
		n.hurried = false
		return
	}
	w := n.w
	n.loopTask = w.cur
	k := w.ticket(w.cur)
	n.loop = k
	n.timer(d, func() { w.wake(n.loopTask, k) })
	w.park()
	n.loop, n.hurried = 0, false
}

// hurry mirrors Cutoff.hurry.
func (n *node) hurry() {
	if n.hurried {
		return
	}
	n.hurried = true
	if k := n.loop; k != 0 {
		n.w.after(0, func() { n.w.wake(n.loopTask, k) })
	}
}

func (n *node) noticeApplied() {
	for _, fn := range n.applied {
		n.w.after(0, fn)
	}
	n.applied = nil
}

// expelLoop mirrors Cutoff.expelLoop with DB.Expel of store/sql: a node is silent
// when its calls stood still by this process's own clock.
func (n *node) expelLoop() {
	if n.w.plan.expel == 0 {
		return
	}
	type mark struct {
		calls int64
		since time.Duration
	}
	seen := map[string]mark{}
	for {
		n.sleep(n.w.plan.expel / 2)
		if n.w.broken == expelByServerClock || n.w.broken == expelTooSoon {
			n.expelByClock()
			continue
		}
		nodes, err := sqlCall(n, readTimeout, func(p *primary) ([]registered, error) { return p.list(), nil })
		if err != nil {
			continue
		}
		silent := map[string]int64{}
		for _, r := range nodes {
			if m, ok := seen[r.ID]; !ok || m.calls != r.calls {
				seen[r.ID] = mark{r.calls, n.mono()}
			} else if n.mono()-m.since > n.w.plan.expel {
				silent[r.ID] = r.calls
			}
		}
		_, _ = sqlCall(n, readTimeout, func(p *primary) (int, error) { return p.expel(silent), nil })
	}
}

func (n *node) expelByClock() {
	_, _ = sqlCall(n, readTimeout, func(p *primary) (int, error) {
		limit := n.w.plan.expel
		if n.w.broken == expelTooSoon {
			limit = 300 * time.Millisecond
		}
		for _, r := range p.list() {
			if p.now()-r.seen > limit {
				p.leave(r.ID)
			}
		}
		return 0, nil
	})
}

func (p *primary) list() (out []registered) {
	for _, r := range p.registry {
		out = append(out, *r)
	}
	return out
}

// beside runs a cut as the goroutine of its own that Cutoff.spawn makes.
func (n *node) beside(fn func()) {
	n.w.spawn(n, func() {
		fn()
		select {
		case <-n.c.wake:
			n.hurry()
		default:
		}
		n.noticeApplied()
	})
}

// step runs the real Cutoff.step, or its mirror where a rule may be broken.
func (n *node) step() error {
	if n.w.broken == nothing && !n.w.mirror {
		return n.c.step(context.Background())
	}
	return n.mirroredStep(context.Background())
}

// mirroredStep is Cutoff.step with the ways in which C5 can be broken.
func (n *node) mirroredStep(ctx context.Context) error {
	c, limit := n.c, logBatch
	if n.w.broken == extendOnFullBatch {
		limit = 1
	}
	for !n.stopped {
		acknowledged := c.Applied()
		sent := c.lease.moment()
		b, err := c.log.Lease(ctx, c.id(), acknowledged, limit)
		if errors.Is(err, ErrNotRegistered) {
			if err = c.join(ctx); err == nil { // else until the next tick
				b, err = c.log.Lease(ctx, c.id(), acknowledged, limit)
			}
		}
		if err != nil {
			return err
		}
		if n.w.broken == extendFromReceipt {
			sent = c.lease.moment()
		}
		if n.w.broken == extendBeforeApplying {
			c.lease.extend(sent)
		}
		c.extend(acknowledged)
		if err := n.mirroredTake(ctx, b); err != nil {
			return err
		}
		if acknowledged == b.Last {
			c.lease.extend(sent)
			return nil
		}
		if len(b.Rows) < limit && len(c.reached) < maxReached {
			c.reached = append(c.reached, reach{b.Last, sent})
		}
		if len(b.Rows) == limit && n.w.broken == extendOnFullBatch {
			c.lease.extend(sent)
		}
		if c.Applied() == acknowledged {
			return nil
		}
	}
	return nil
}

// mirroredTake is Cutoff.take without the log going back, which C12 excludes.
func (n *node) mirroredTake(ctx context.Context, b Batch) error {
	c := n.c
	for _, r := range b.Rows {
		if r.Seq <= c.begun {
			continue
		}
		if r.Seq > c.begun+1 {
			n.mirroredSkip(ctx, r.Seq-1)
		}
		n.mirroredApply(ctx, r)
	}
	if len(b.Rows) == 0 && b.Last > c.begun {
		n.mirroredSkip(ctx, b.Last)
	}
	return n.mirroredReadAnew(ctx)
}

func (n *node) mirroredSkip(ctx context.Context, upTo int64) {
	if n.w.broken == gapIgnored {
		from := n.c.begun + 1
		n.c.begun = upTo
		n.c.finish(n.c.history, from, upTo)
		return
	}
	n.c.skip(ctx, upTo)
}

// mirroredApply is Cutoff.apply.
func (n *node) mirroredApply(ctx context.Context, r member.Revocation) {
	c := n.c
	from := c.begun + 1
	c.begun = r.Seq
	if r.Kind == member.Reload {
		c.unread = append(c.unread, r)
		return
	}
	n.mirroredCut(ctx, from, r)
}

// mirroredReadAnew is Cutoff.readAnew with the way in which C11 can be broken.
func (n *node) mirroredReadAnew(ctx context.Context) error {
	c := n.c
	for len(c.unread) > 0 {
		r := c.unread[0]
		if n.w.broken == reloadAfterAck {
			n.w.spawn(n, func() { _ = n.Reload(ctx, 0) })
		} else if err := c.reload(ctx, r.Target); err != nil {
			return fmt.Errorf("session: reload %s: %w", r.Target, err)
		}
		c.unread = c.unread[1:]
		r.Kind, r.Scope, r.Target = member.Recheck, member.ScopeAll, ""
		n.mirroredCut(ctx, r.Seq, r)
	}
	return nil
}

// mirroredCut is Cutoff.cut with the way in which C10 can be broken.
func (n *node) mirroredCut(ctx context.Context, from int64, r member.Revocation) {
	c := n.c
	if n.w.broken == ackBeforeCut {
		c.floors.raise(r)
		c.finish(c.history, from, r.Seq)
		n.w.spawn(n, func() { c.streams.Cut(ctx, r) })
		return
	}
	c.cut(ctx, from, r)
}
