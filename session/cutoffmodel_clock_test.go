package session

import "time"

// network is one kind of link.
type network struct {
	slow    float64 // chance of a slow message
	slowest time.Duration
	loss    float64
}

func (l network) delay(w *world) (d time.Duration, lost bool) {
	if w.chance(l.loss) && !w.healed {
		return 0, true
	}
	if w.chance(l.slow) && !w.healed {
		return w.span(5*time.Millisecond, l.slowest), false
	}
	return w.span(100*time.Microsecond, 4*time.Millisecond), false
}

// call is one question to a server and its answer, each a message of its own. The
// server acts when the question arrives, whatever became of who asked.
func call[T any](n *node, l network, timeout time.Duration, reach func() bool, serve func() (T, error)) (T, error) {
	w, t := n.w, n.w.cur
	if t.killed {
		panic(unwound{})
	}
	k := w.ticket(t)
	begin := w.now
	var out T
	err := errLost
	end := func() { w.after(begin+n.real(timeout)-w.now, func() { w.wake(t, k) }) }
	there, lost := l.delay(w)
	w.after(there, func() {
		switch {
		case !lost && reach():
		case !lost && w.chance(0.5):
			w.after(there, func() { w.wake(t, k) }) // refused
			return
		default:
			end()
			return
		}
		v, e := serve()
		back, lost := l.delay(w)
		if lost || w.now+back > begin+n.real(timeout) {
			end()
			return
		}
		w.after(back, func() {
			if t.waiting != k {
				return
			}
			if !reach() {
				end()
				return
			}
			out, err = v, e
			w.wake(t, k)
		})
	})
	w.park()
	return out, err
}

// real is how long d by this node's clocks really takes.
func (n *node) real(d time.Duration) time.Duration { return time.Duration(float64(d) / n.rate) }

func (n *node) mono() time.Duration {
	return 1000*time.Second + time.Duration(float64(n.w.now-n.monoLost)*n.rate)
}

// boot is bootTime of this machine.
func (n *node) boot() time.Duration {
	return 1000*time.Second + time.Duration(float64(n.w.now-n.bootLost)*n.rate)
}

var wallStart = time.Unix(1_800_000_000, 0)

func (n *node) wall() time.Time {
	return wallStart.Add(time.Duration(float64(n.w.now)*n.rate) + n.jump)
}

// sleep waits by CLOCK_MONOTONIC, as Go's timers do.
func (n *node) sleep(d time.Duration) {
	w, t := n.w, n.w.cur
	k := w.ticket(t)
	n.timer(d, func() { w.wake(t, k) })
	w.park()
}

func (n *node) timer(d time.Duration, fn func()) {
	began := n.monoLost
	n.w.after(n.real(d), func() {
		switch {
		case n.suspended: // what was left when it fell asleep is left when it wakes up
			n.w.after(n.thawAt-n.frozenAt, fn)
		case n.monoLost > began:
			n.w.after(n.monoLost-began, fn)
		default:
			fn()
		}
	})
}

// stall is where the scheduler may take the processor away.
func (n *node) stall() {
	if !n.w.healed && n.w.chance(n.w.plan.stall) {
		n.sleep(n.w.span(0, n.w.plan.stalled))
	}
}

// deliver hands something that came over the network to the process.
func (n *node) deliver(fn func()) {
	switch {
	case !n.alive:
	case n.frozen:
		n.backlog = append(n.backlog, func() { n.deliver(fn) })
	default:
		fn()
	}
}
