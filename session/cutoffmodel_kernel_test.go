package session

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"time"
)

// world is one round: virtual time, a queue of events, and everything they
// touch. One goroutine at a time runs in it, so a seed says all that happens.
type world struct {
	ctx    context.Context
	rng    *rand.Rand
	now    time.Duration
	queue  []event
	count  int64 // of events and tickets, so that none are equal
	cur    *task // nil while an event itself runs
	tasks  []*task
	idle   []*task // coroutines to use again; they outlive the round
	broken breach
	mirror bool // use the mirrors of step and load although nothing is broken

	plan     plan
	sql      *primary
	nodes    []*node
	cli      *node // a publisher that is no node
	redis    *redisServer
	sessions []*sess
	members  []*person
	hot      *sess // used more often than others, and on one node
	hotNode  *node
	center   time.Duration // when most calls are made
	ops      int           // begun and not answered with success
	healed   bool

	confirmed              int64 // rows up to here were answered with success
	settingsDone           int64 // so was this version of the settings
	violation              string
	verbose                bool
	trace                  strings.Builder
	admitted, ran, spawned int
}

type event struct {
	at time.Duration
	n  int64
	fn func()
}

func (e event) before(o event) bool { return e.at < o.at || e.at == o.at && e.n < o.n }

// after runs fn when d has passed.
func (w *world) after(d time.Duration, fn func()) {
	w.count++
	w.queue = append(w.queue, event{w.now + max(d, 0), w.count, fn})
	for i := len(w.queue) - 1; i > 0; {
		up := (i - 1) / 2
		if !w.queue[i].before(w.queue[up]) {
			break
		}
		w.queue[i], w.queue[up] = w.queue[up], w.queue[i]
		i = up
	}
}

func (w *world) pop() event {
	q := w.queue
	e, last := q[0], len(q)-1
	q[0], q[last] = q[last], event{}
	q = q[:last]
	for i := 0; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < last; c++ {
			if q[c].before(q[least]) {
				least = c
			}
		}
		if least == i {
			break
		}
		q[i], q[least] = q[least], q[i]
		i = least
	}
	w.queue = q
	return e
}

// until runs events until the time has come, done says so, or a promise broke.
func (w *world) until(end time.Duration, done func() bool) {
	for len(w.queue) > 0 && w.violation == "" && w.queue[0].at <= end && (done == nil || !done()) {
		e := w.pop()
		w.now = e.at
		w.ran++
		e.fn()
	}
	if done == nil && w.violation == "" {
		w.now = max(w.now, end)
	}
}

// task is a coroutine: code that waits, as a node's code does, while others run.
// Its node's end unwinds it.
type task struct {
	next    func() (struct{}, bool)
	stop    func()
	yield   func(struct{}) bool
	fn      func()
	node    *node
	waiting int64 // ticket of what it waits for
	killed  bool
	done    bool
	saw     int64 // version of the settings by which it last decided
}

type unwound struct{}

// spawn begins a coroutine as an event of its own.
func (w *world) spawn(n *node, fn func()) {
	var t *task
	if last := len(w.idle) - 1; last >= 0 {
		t, w.idle = w.idle[last], w.idle[:last]
	} else {
		t = &task{}
		t.next, t.stop = iter.Pull(func(yield func(struct{}) bool) {
			t.yield = yield
			for {
				t.run()
				if !yield(struct{}{}) {
					return
				}
			}
		})
	}
	w.spawned++
	t.fn, t.node, t.killed, t.done, t.saw = fn, n, false, false, 0
	w.tasks = append(w.tasks, t)
	k := w.ticket(t)
	w.after(0, func() { w.wake(t, k) })
}

func (t *task) run() {
	defer func() {
		t.done = true
		if v := recover(); v != nil {
			if _, ok := v.(unwound); !ok {
				t.node.w.violate("panic: %v\n%s", v, debug.Stack())
			}
		}
	}()
	if !t.killed {
		t.fn()
	}
}

// ticket names what t waits for next. A wake with an older one does nothing.
func (w *world) ticket(t *task) int64 {
	w.count++
	t.waiting = w.count
	return w.count
}

// wake lets t go on, or once its node is no longer frozen.
func (w *world) wake(t *task, ticket int64) {
	if t.waiting != ticket {
		return
	}
	if t.node.frozen {
		t.node.backlog = append(t.node.backlog, func() { w.wake(t, ticket) })
		return
	}
	t.waiting = 0
	w.resume(t)
}

func (w *world) resume(t *task) {
	prev := w.cur
	w.cur = t
	t.next()
	w.cur = prev
	if t.done {
		for i, o := range w.tasks {
			if o == t {
				w.tasks[i] = w.tasks[len(w.tasks)-1]
				w.tasks = w.tasks[:len(w.tasks)-1]
				break
			}
		}
		w.idle = append(w.idle, t)
	}
}

// park waits for the ticket's wake.
func (w *world) park() {
	t := w.cur
	if t.killed { // something that is deferred wants to wait while it unwinds
		panic(unwound{})
	}
	t.yield(struct{}{})
	if t.killed {
		panic(unwound{})
	}
}

// kill unwinds the tasks of n, or all.
func (w *world) kill(n *node) {
	var mine []*task
	for _, t := range w.tasks {
		if (n == nil || t.node == n) && t != w.cur {
			mine = append(mine, t)
		}
	}
	for _, t := range mine {
		t.killed, t.waiting = true, 0
		w.resume(t)
	}
}

// span is a random duration.
func (w *world) span(least, most time.Duration) time.Duration {
	return least + time.Duration(w.rng.Int64N(int64(most-least)+1))
}

func (w *world) chance(p float64) bool { return p > 0 && w.rng.Float64() < p }

func (w *world) logf(format string, args ...any) {
	if w.verbose {
		fmt.Fprintf(&w.trace, "%10.3fms  ", float64(w.now)/1e6)
		fmt.Fprintf(&w.trace, format, args...)
		w.trace.WriteByte('\n')
	}
}

// violate ends the round: a promise is broken.
func (w *world) violate(format string, args ...any) {
	if w.violation == "" {
		w.violation = fmt.Sprintf(format, args...)
		w.logf("VIOLATION: %s", w.violation)
	}
}
