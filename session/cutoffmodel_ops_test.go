package session

import (
	"context"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
)

type opKind string

const (
	opDeactivate  opKind = "deactivate"
	opActivate    opKind = "activate"
	opSignOut     opKind = "sign out everywhere"
	opEndSession  opKind = "end session"
	opEndProvider opKind = "end provider"
	opEndAll      opKind = "end all"
	opTeams       opKind = "change teams"
	opSettings    opKind = "change settings"
	opEndListed   opKind = "end what is listed" // only where C1 is broken
)

// op is one call of an IdP, a person or a command, repeated until it succeeds.
type op struct {
	kind     opKind
	who      *person
	session  *sess
	provider string
	settings int64
	repeated bool
	unwaited int64 // row that a repeated call did not wait for, when C2 is broken
	row      member.Revocation
	done     bool
	asked    int // how often it was sent
	begun    int // which of those a node has begun
	then     func()
}

// ask sends a call to some node, or to a command beside the nodes.
func (w *world) ask(o *op) {
	n := w.cli
	if w.chance(0.9) {
		n = w.someNode()
	}
	d, _ := w.plan.client.delay(w)
	o.asked++
	mine := o.asked
	w.after(3*time.Second, func() { // nobody answered: it was killed with the call in its socket
		if !o.done && o.begun < mine && o.asked == mine {
			w.retry(o)
		}
	})
	w.after(d, func() {
		switch {
		case n == nil || !n.alive || n != w.cli && (!n.serving || n.draining):
			w.retry(o)
		default:
			n.deliver(func() {
				o.begun = max(o.begun, mine)
				w.spawn(n, func() { n.publish(o) })
			})
		}
	})
}

func (w *world) retry(o *op) {
	w.after(w.span(10*time.Millisecond, 400*time.Millisecond), func() { w.ask(o) })
}

// someNode is nil when none is there.
func (w *world) someNode() *node {
	var fit []*node
	for _, n := range w.nodes {
		if n.alive && n.serving && !n.draining {
			fit = append(fit, n)
		}
	}
	if len(fit) == 0 {
		return nil
	}
	return fit[w.rng.IntN(len(fit))]
}

// publish is one call of Directory: a transaction, then the barrier.
func (n *node) publish(o *op) {
	w := n.w
	defer func() {
		if !o.done { // 503, or the node has gone: whoever asked tries again
			w.retry(o)
		}
	}()
	var early []Node
	if w.broken == registryBeforeCommit {
		var err error
		if early, err = n.Nodes(context.Background()); err != nil {
			return
		}
		n.sleep(w.span(0, 300*time.Millisecond))
	}
	w.logf("%s: %s", n.name, o)
	if o.kind == opEndListed {
		n.endListed(o)
		return
	}
	seq, err := sqlCall(n, sqlTimeout, func(p *primary) (int64, error) { return p.change(o), nil })
	if err != nil {
		return
	}
	if w.broken == numberOutsideTx && o.row.Seq == seq && seq != 0 {
		n.sleep(w.span(0, 100*time.Millisecond))
		_, err = sqlCall(n, sqlTimeout, func(p *primary) (bool, error) {
			p.insert(o.row)
			return true, nil
		})
		if err != nil {
			return
		}
	}
	if seq != 0 {
		if err := n.barrier(seq, early); err != nil {
			w.logf("%s: %s not confirmed: %v", n.name, o, err)
			return
		}
	}
	if !o.done {
		w.ops--
	}
	o.done = true
	w.confirm(o, max(seq, o.unwaited))
	if o.then != nil {
		o.then()
	}
}

// endListed mirrors Manager.EndMatching, which asks the session store what there
// is to end. When that has forgotten a session, there is no row, and nodes go on
// with what they have cached.
func (n *node) endListed(o *op) {
	w := n.w
	var meant []*sess
	for _, s := range w.sessions {
		if s.who == o.who && s.endSeq == 0 {
			meant = append(meant, s)
		}
	}
	list, err := nodeStore{n}.List(w.ctx, o.who.id)
	if err != nil {
		return
	}
	for _, r := range list {
		one := &op{kind: opEndSession, who: o.who, session: &sess{hash: r.Hash}}
		seq, err := sqlCall(n, sqlTimeout, func(p *primary) (int64, error) { return p.change(one), nil })
		if err != nil || seq != 0 && n.barrier(seq, nil) != nil {
			return
		}
	}
	for _, s := range meant {
		if s.endSeq == 0 {
			s.endSeq = w.confirmed
		}
	}
	o.done = true
	w.ops--
	w.confirm(o, w.confirmed)
}

func (o *op) String() string {
	s := string(o.kind)
	if o.who != nil {
		s += " " + string(o.who.id)
	}
	return s + " " + o.provider
}

// barrier mirrors Cutoff.Barrier, and Publisher.Barrier for the command.
func (n *node) barrier(seq int64, early []Node) error {
	w := n.w
	deadline := n.mono() + barrierWait
	n.wakeOthers()
	if n == w.cli {
		return n.wait(seq, "", early, deadline)
	}
	for n.c.Applied() < seq {
		if n.mono() > deadline {
			return ErrBarrier
		}
		n.hurry()
		t := w.cur
		k := w.ticket(t)
		n.applied = append(n.applied, func() { w.wake(t, k) })
		n.timer(deadline-n.mono()+1, func() { w.wake(t, k) })
		w.park()
	}
	w.spawn(n, n.tidy)
	return n.wait(seq, n.id(n.c.id()), early, deadline)
}

// wait mirrors Publisher.wait. Its readings are fewer, to save events: what it
// waits for is the same.
func (n *node) wait(seq int64, self string, early []Node, deadline time.Duration) error {
	bound := leaseBound
	if n.w.broken == shortBound {
		bound = 500 * time.Millisecond
	}
	var owed map[string]time.Duration
	for i := 0; ; i++ {
		nodes, err := early, error(nil)
		if early == nil {
			nodes, err = n.Nodes(context.Background())
		}
		early = nil
		now := n.boot()
		behind := map[string]bool{}
		for _, x := range nodes {
			if x.ID != self && x.Applied < seq {
				behind[x.ID] = true
			}
		}
		switch {
		case err != nil:
		case owed == nil:
			owed = map[string]time.Duration{}
			for id := range behind {
				owed[id] = now + bound
			}
		default:
			for id := range owed {
				if !behind[id] {
					delete(owed, id)
				}
			}
		}
		if owed != nil && !anyAfter(owed, now) {
			return nil
		}
		if n.mono() > deadline {
			return ErrBarrier
		}
		n.sleep(readingPause << min(i, 5))
	}
}

// confirm is the success answer of a call: from now on its promises hold.
func (w *world) confirm(o *op, seq int64) {
	w.logf("SUCCESS of %s: rows up to %d", o, seq)
	w.confirmed = max(w.confirmed, seq)
	for _, p := range w.members {
		for _, c := range p.changes {
			if c.seq <= w.confirmed {
				p.teamDone = c.version
			}
		}
	}
	for _, c := range w.sql.versions {
		if c.seq <= w.confirmed {
			w.settingsDone = c.version
		}
	}
	for _, n := range w.nodes {
		for _, f := range n.live {
			if n.alive && f.began && f.s.endSeq != 0 && f.s.endSeq <= seq {
				w.open(n, f)
			}
		}
	}
	w.probe(o, seq)
}

// vouches says that by what the node has acknowledged, or by its lease, nothing of
// the session can be running on it once the row is confirmed.
func (n *node) vouches(s *sess) bool {
	_, held := n.c.lease.held()
	return held || n.c.Applied() >= s.endSeq
}

// open is a request in flight of an ended session at the time of the success answer.
func (w *world) open(n *node, f *running) {
	switch {
	case n.vouches(f.s):
		w.violate("(4) at the answer for row %d s%d has something running on %s, which vouches for it", f.s.endSeq, f.s.name, n.name)
	case !w.plan.lossy && !n.frozen && n.excused < w.now:
		w.violate("(4) at the answer for row %d s%d has something running on %s, which is in contact", f.s.endSeq, f.s.name, n.name)
	}
	// Then the node is in the limits of C12.
	var late func()
	begin := w.now
	late = func() {
		if n.frozen || n.thawAt > begin {
			begin = w.now
			w.after(w.plan.grace+2*time.Second, late)
			return
		}
		for _, o := range n.live {
			if o == f && n.alive {
				w.violate("(4) s%d, ended by row %d, has something running on %s long after the grace", f.s.name, f.s.endSeq, n.name)
			}
		}
	}
	w.after(w.plan.grace+2*time.Second, late)
}

// probe lets the clients concerned hammer all nodes after a success answer.
func (w *world) probe(o *op, seq int64) {
	for _, s := range w.sessions {
		mine := s.endSeq == seq || o.kind == opTeams && s.who == o.who || o.kind == opSettings && w.chance(0.5)
		if !mine || s.hash == (secret.Hash{}) {
			continue
		}
		for _, n := range w.nodes {
			if !n.alive {
				continue
			}
			w.send(n, s, false, nil)
			w.after(w.span(0, 1500*time.Millisecond), func() { w.send(n, s, w.chance(0.3), nil) })
		}
	}
}

// do begins a call at some time.
func (w *world) do(at time.Duration, o *op) {
	w.ops++
	w.after(at, func() { w.ask(o) })
}

// randomOp is one call, and what people do after it.
func (w *world) randomOp() *op {
	who := w.members[w.rng.IntN(len(w.members))]
	if w.chance(0.5) {
		who = w.hot.who
	}
	o := &op{who: who}
	switch x := w.rng.IntN(20); {
	case x < 8:
		o.kind = opDeactivate
		o.then = func() { w.afterwards(who) }
	case x < 10:
		if o.kind = opSignOut; w.broken == endsWhatIsListed {
			o.kind = opEndListed
			break
		}
		o.then = func() { w.signInSoon(who) }
	case x < 13:
		o.kind, o.session = opEndSession, w.sessions[w.rng.IntN(len(w.sessions))]
		o.who = o.session.who
	case x < 14:
		o.kind, o.who, o.provider = opEndProvider, nil, providers[1+w.rng.IntN(2)]
		o.then = func() { w.signInSoon(who) }
	case x < 15:
		o.kind, o.who = opEndAll, nil
		o.then = func() { w.signInSoon(who) }
	case x < 18:
		o.kind = opTeams
	default:
		o.kind, o.who = opSettings, nil
	}
	return o
}

// afterwards re-activates most of those who were cut off, and lets them sign in.
func (w *world) afterwards(who *person) {
	if w.healed || w.chance(0.25) {
		return
	}
	w.do(w.span(0, 600*time.Millisecond), &op{kind: opActivate, who: who, then: func() { w.signInSoon(who) }})
}

func (w *world) signInSoon(who *person) {
	if w.healed {
		return
	}
	w.after(w.span(0, 200*time.Millisecond), func() {
		n := w.someNode()
		if n == nil {
			return
		}
		n.deliver(func() {
			w.spawn(n, func() {
				n.signIn(who, providers[1+w.rng.IntN(2)], func(s *sess) {
					w.after(w.span(0, 100*time.Millisecond), func() { w.use(s) })
					w.after(w.span(0, 600*time.Millisecond), func() { w.use(s) })
				})
			})
		})
	})
}

// use sends one request, sometimes one that becomes a stream.
func (w *world) use(s *sess) {
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	if w.chance(0.4) {
		n = w.hotNode
	}
	if n.alive {
		w.send(n, s, w.chance(w.plan.streams), nil)
	}
}
