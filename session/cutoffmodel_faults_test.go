package session

import (
	"time"
)

// plan says what a round is like.
type plan struct {
	sql, redis, client network
	lease              network       // of the lease loop's calls; zero: as sql
	lossy              bool          // nodes may be without contact at any time
	replicaLag         time.Duration // of the session store's replica, at most
	stall              float64       // chance that a request waits for the processor
	stalled            time.Duration
	grace              time.Duration // streams.lease_grace
	drift              float64       // clock rates differ by at most so much
	expel              time.Duration // 0: nobody is expelled
	deaf               float64       // chance that a peer does not read
	streams            float64       // chance that a request becomes a stream
	touch              float64
	horizon            time.Duration
	ops, requests      int
	members            int
	burst              time.Duration // how close together calls come
}

func calm() plan {
	return plan{
		client: network{slow: 0.05, slowest: 100 * time.Millisecond}, sql: network{slow: 0.05, slowest: 40 * time.Millisecond},
		redis: network{slow: 0.05, slowest: 40 * time.Millisecond}, replicaLag: 50 * time.Millisecond,
		stall: 0.05, stalled: 300 * time.Millisecond, grace: 1500 * time.Millisecond, touch: 0.2,
		horizon: 2 * time.Second, ops: 4, requests: 24, burst: time.Second, streams: 0.3, members: 2,
	}
}

// fault is one thing that goes wrong, and how.
type fault struct {
	name   string
	plan   func(*plan)
	inject func(*world)
}

func faults() []fault {
	some := func(w *world) *node { return w.nodes[w.rng.IntN(len(w.nodes))] }
	early := func(w *world) time.Duration { // mostly just before calls are made
		if w.chance(0.6) {
			return max(0, w.center-w.span(0, 500*time.Millisecond))
		}
		return w.span(0, w.plan.horizon*2/3)
	}
	list := []fault{
		{name: "none"},
		{name: "network", plan: func(p *plan) {
			bad := network{slow: 0.15, slowest: 1500 * time.Millisecond, loss: 0.04}
			p.sql, p.redis, p.lossy = bad, bad, true
		}},
		{name: "slow peers", plan: func(p *plan) {
			p.deaf, p.lossy, p.streams, p.members = 0.8, true, 0.6, 4
			p.ops, p.requests, p.burst = 8, 50, 800*time.Millisecond
		}},
		{name: "slow lease loop", plan: func(p *plan) {
			p.lossy, p.members, p.ops, p.requests, p.burst = true, 3, 6, 40, 250*time.Millisecond
			p.deaf, p.streams = 0.5, 0.5
		}, inject: func(w *world) {
			w.after(max(0, w.center-w.span(0, 400*time.Millisecond)), func() {
				w.plan.lease = network{slow: 0.6, slowest: 600 * time.Millisecond, loss: 0.2}
			})
		}},
		{name: "slow reads", plan: func(p *plan) {
			p.sql, p.lossy, p.horizon, p.requests = network{slow: 0.4, slowest: 1900 * time.Millisecond}, true, 3*time.Second, 40
			p.lease = network{slow: 0.1, slowest: 300 * time.Millisecond}
		}, inject: func(w *world) {
			w.after(w.span(0, time.Second), func() { w.cutLease(w.hotNode, w.span(time.Second, 3*time.Second)) })
		}},
		{name: "redis down", inject: func(w *world) {
			w.after(early(w), func() { w.redisDown(w.span(100*time.Millisecond, 2*time.Second)) })
		}},
		{name: "redis flushed", inject: func(w *world) { w.after(early(w), w.redis.flush) }},
		{name: "redis failover", plan: func(p *plan) { p.replicaLag = 800 * time.Millisecond }, inject: func(w *world) {
			w.after(early(w), func() { w.failover(0) })
		}},
		{name: "redis split brain", plan: func(p *plan) { p.replicaLag = 800 * time.Millisecond }, inject: func(w *world) {
			w.after(early(w), func() { w.failover(w.span(200*time.Millisecond, 2*time.Second)) })
		}},
		{name: "sql cut", plan: func(p *plan) { p.horizon = 3 * time.Second }, inject: func(w *world) {
			w.after(early(w), func() { w.cutSQL(some(w), w.span(100*time.Millisecond, 4*time.Second)) })
		}},
		{name: "stopped", inject: func(w *world) {
			for range 2 {
				w.after(early(w), func() { w.freeze(some(w), stopped, w.span(50*time.Millisecond, 2500*time.Millisecond)) })
			}
		}},
		{name: "crash", inject: func(w *world) {
			for range 2 {
				w.after(early(w), func() { w.crash(some(w)) })
			}
		}},
		{name: "join", inject: func(w *world) {
			for range 3 {
				w.after(early(w), func() { w.start("joiner") })
			}
		}},
		{name: "drain", inject: func(w *world) {
			for range 2 {
				w.after(early(w), func() { w.roll(some(w)) })
			}
		}},
		{name: "clocks", plan: func(p *plan) { p.drift = 0.05 }, inject: func(w *world) {
			w.after(early(w), func() { w.jump(some(w)) })
			w.after(early(w), func() { w.cutSQL(some(w), w.span(100*time.Millisecond, 2*time.Second)) })
		}},
		{name: "suspend", inject: func(w *world) {
			for range 2 {
				w.after(early(w), func() { w.freeze(some(w), suspended, w.span(50*time.Millisecond, 2500*time.Millisecond)) })
			}
		}},
		{name: "vm paused", inject: func(w *world) {
			for range 2 {
				w.after(early(w), func() { w.freeze(some(w), vmPaused, w.span(50*time.Millisecond, 2500*time.Millisecond)) })
			}
		}},
		{name: "sql restart", inject: func(w *world) {
			w.after(early(w), func() { w.restartSQL(w.span(50*time.Millisecond, 2500*time.Millisecond)) })
		}},
		{name: "expel", plan: func(p *plan) { p.expel, p.horizon, p.ops = 1100*time.Millisecond, 4*time.Second, 6 }, inject: func(w *world) {
			for range 2 {
				w.after(early(w), func() { w.cutSQL(some(w), w.span(500*time.Millisecond, 4*time.Second)) })
			}
			w.after(early(w), func() { w.sql.forward += 5 * time.Second })
		}},
		{name: "gap", plan: func(p *plan) {
			p.horizon, p.ops, p.burst, p.grace, p.streams = 4*time.Second, 8, 2*time.Second, 4*time.Second, 0.5
		}, inject: func(w *world) {
			w.after(early(w), func() {
				n, d := some(w), w.span(1500*time.Millisecond, 3500*time.Millisecond)
				w.cutSQL(n, d)
				// The real one keeps rows for long; here for as long as a lease could have lived.
				w.after(d-w.span(10*time.Millisecond, 700*time.Millisecond), func() { w.sql.sweep(leaseBound) })
			})
		}},
		{name: "lease call fails", plan: func(p *plan) { p.horizon, p.streams, p.burst = 7*time.Second, 0.6, 3*time.Second }, inject: func(w *world) {
			w.after(w.span(0, 500*time.Millisecond), func() { w.cutLease(w.hotNode, w.span(5*time.Second, 8*time.Second)) })
		}},
	}
	return append(list, combined(list))
}

// combined is three of the others at once.
func combined(list []fault) fault {
	return fault{name: "combined", plan: func(p *plan) {
		p.sql = network{slow: 0.05, slowest: time.Second, loss: 0.01}
		p.redis = network{slow: 0.05, slowest: time.Second, loss: 0.02}
		p.lossy, p.expel, p.horizon, p.replicaLag = true, 1100*time.Millisecond, 3*time.Second, 500*time.Millisecond
	}, inject: func(w *world) {
		for range 3 {
			if f := list[w.rng.IntN(len(list))]; f.inject != nil {
				f.inject(w)
			}
		}
	}}
}

// trouble notes that n is in the limits of C12 for a while, and a little longer
// until it holds a lease again.
func (w *world) trouble(n *node, d time.Duration) { n.excused = max(n.excused, w.now+d+2*time.Second) }

func (w *world) redisDown(d time.Duration) {
	s := w.redis
	w.logf("FAULT %s is down for %v", s.name, d)
	s.up = false
	for _, n := range w.nodes {
		w.trouble(n, d) // streams that are asked again hold up the next row
	}
	w.after(d, func() { s.up = true })
}

// failover promotes the replica, with what it has. Some nodes go on with the old
// master for a while.
func (w *world) failover(split time.Duration) {
	old := w.redis
	if old.replica == nil {
		return
	}
	w.logf("FAULT failover, split for %v", split)
	w.redis, old.replica = old.replica, nil
	if split == 0 {
		old.up = false
	}
	w.after(split, func() { old.up = false })
	for _, n := range w.nodes {
		w.trouble(n, split+500*time.Millisecond)
		w.after(w.span(0, split+300*time.Millisecond), func() { n.redis = w.redis })
	}
}

func (w *world) cutSQL(n *node, d time.Duration) {
	w.logf("FAULT %s is cut from SQL for %v", n.name, d)
	n.sqlCut = true
	w.trouble(n, d)
	w.after(d, func() { n.sqlCut = false })
}

func (w *world) restartSQL(d time.Duration) {
	w.logf("FAULT SQL is down for %v", d)
	w.sql.up = false
	for _, n := range w.nodes {
		w.trouble(n, d)
	}
	w.after(d, func() { w.sql.up = true })
}

func (w *world) cutLease(n *node, d time.Duration) {
	w.logf("FAULT the lease calls of %s fail for %v, its other calls do not", n.name, d)
	n.leaseCut = true
	w.trouble(n, d)
	w.after(d, func() { n.leaseCut = false })
}

type stillness int

const (
	stopped   stillness = iota // SIGSTOP: all clocks go on
	suspended                  // the machine sleeps: CLOCK_MONOTONIC stands still
	vmPaused                   // CLOCK_BOOTTIME too, and the wall clock is set right afterwards
)

func (w *world) freeze(n *node, how stillness, d time.Duration) {
	if !n.alive || n.frozen {
		return
	}
	w.logf("FAULT %s stands still for %v", n.name, d)
	n.frozen, n.suspended, n.frozenAt, n.thawAt = true, how != stopped, w.now, w.now+d
	w.trouble(n, d)
	w.after(d, func() {
		n.frozen, n.suspended = false, false
		if how != stopped {
			n.monoLost += d
		}
		if how == vmPaused {
			n.bootLost += d
		}
		w.logf("%s goes on", n.name)
		held := n.backlog
		n.backlog = nil
		for _, fn := range held {
			w.after(0, fn)
		}
	})
}

func (w *world) jump(n *node) {
	d := w.span(-2*time.Second, 2*time.Second)
	w.logf("FAULT %s: wall clock jumps by %v", n.name, d)
	n.jump += d
}

func (w *world) crash(n *node) {
	if !n.alive {
		return
	}
	w.logf("FAULT %s is killed", n.name)
	n.alive, n.serving, n.live, n.backlog, n.frozen = false, false, nil, nil, false
	w.kill(n)
	w.after(w.span(20*time.Millisecond, 500*time.Millisecond), func() { w.start(n.name) })
}

func (w *world) start(name string) *node {
	n := w.newNode(name)
	w.nodes = append(w.nodes, n)
	w.spawn(n, n.begin)
	return n
}

// roll replaces a node as a rolling deploy does: the new one starts, the old one
// takes no new requests, goes on reading and acknowledging until its last request
// and stream has ended, and then deregisters (C8).
func (w *world) roll(n *node) {
	if !n.alive || !n.serving || n.draining {
		return
	}
	w.logf("FAULT %s drains", n.name)
	w.start(n.name)
	n.draining = true
	w.spawn(n, func() {
		if w.broken == leaveFirst {
			n.stopped = true
			_ = n.c.Leave(w.ctx)
		}
		w.after(w.span(200*time.Millisecond, 1500*time.Millisecond), func() { // Live.Shutdown
			n.live = nil
		})
		for len(n.live) > 0 {
			n.sleep(20 * time.Millisecond)
		}
		n.stopped = true
		for n.c.Leave(w.ctx) != nil {
			n.sleep(100 * time.Millisecond)
		}
		n.alive, n.serving = false, false
		w.after(0, func() { w.kill(n) })
	})
}
