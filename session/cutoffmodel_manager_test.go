package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
)

// request is one request of a client, with what had been promised when its first
// byte was sent.
type request struct {
	s         *sess
	at        time.Duration
	stream    bool
	confirmed int64
	settings  int64
	team      int64
	inactive  int64         // the member's epoch when he was known to be cut off; 0 when he was not
	admitted  func(ok bool) // may be nil
}

// send lets a client use a session on a node.
func (w *world) send(n *node, s *sess, stream bool, admitted func(bool)) {
	r := &request{s: s, at: w.now, stream: stream, confirmed: w.confirmed, settings: w.settingsDone, team: s.who.teamDone, admitted: admitted}
	if !s.who.active && s.who.cutSeq <= w.confirmed {
		r.inactive = s.who.epoch
	}
	d, lost := w.plan.client.delay(w)
	if lost {
		return
	}
	w.after(d, func() {
		n.deliver(func() {
			if n.serving && !n.draining {
				w.spawn(n, func() { n.serve(r) })
			}
		})
	})
}

// serve mirrors proxy's exchange.admit.
func (n *node) serve(r *request) {
	var err error
	var p *Principal
	for range 2 {
		if p, err = n.admit(r); err != nil {
			break
		}
		saw := n.w.cur.saw
		n.stall()
		f := n.enter(p, r.stream)
		n.stall()
		if !n.still(p) {
			n.leave(f)
			continue
		}
		if f.cut {
			return
		}
		n.dispatch(r, f, saw)
		return
	}
	n.w.logf("%s: refuses s%d: %v", n.name, r.s.name, err)
	if r.admitted != nil {
		r.admitted(false)
	}
}

// still is the real Manager.Still unless C10 or all of C3 is broken.
func (n *node) still(p *Principal) bool {
	return n.w.broken == noCheckAfterEntering || n.w.broken == floorsNotAsked || n.m.Still(p)
}

// dispatch is the moment that the promises are about.
func (n *node) dispatch(r *request, f *running, saw int64) {
	w := n.w
	f.began = true
	w.admitted++
	w.logf("%s: admits s%d, first byte at %.3fms, asOf %d", n.name, r.s.name, float64(r.at)/1e6, f.p.asOf)
	team := int64(slices.Index(teamNames, f.p.Teams[0]))
	switch {
	case r.s.endSeq != 0 && r.s.endSeq <= r.confirmed:
		w.violate("(1)(2) %s admitted s%d of %s epoch %d, ended by row %d, which had been answered before the first byte at %.3fms",
			n.name, r.s.name, r.s.who.id, r.s.epoch, r.s.endSeq, float64(r.at)/1e6)
	case r.inactive != 0 && r.s.who.epoch == r.inactive:
		w.violate("(1) %s admitted s%d of %s, who is deactivated", n.name, r.s.name, r.s.who.id)
	case team < r.team:
		w.violate("(1) %s admitted s%d with teams of version %d after %d was answered", n.name, r.s.name, team, r.team)
	case saw < r.settings:
		w.violate("(6) %s admitted s%d by settings %d after %d was answered", n.name, r.s.name, saw, r.settings)
	case r.s.endSeq != 0 && r.s.endSeq <= n.c.Applied():
		w.violate("(4) %s dispatched s%d after it had acknowledged row %d", n.name, r.s.name, r.s.endSeq)
	}
	if r.admitted != nil {
		r.admitted(true)
	}
	if w.chance(w.plan.touch) {
		n.m.touches.note(f.p.Session, n.m.now().Add(time.Millisecond))
	}
	life := w.span(time.Millisecond, 60*time.Millisecond)
	if r.stream {
		life = time.Minute
	}
	w.after(life, func() { n.leave(f) })
}

// admit mirrors Manager.admit but for the cookie.
func (n *node) admit(r *request) (*Principal, error) {
	m, key := n.m, cacheKey(r.s.hash)
	if gen, leased := m.cutoff.lease.held(); leased {
		n.stall()
		if p, err := n.hit(key, gen); p != nil || err != nil {
			return p, err
		}
	}
	var used time.Time
	if e := m.cutoff.cache.get(key); e != nil {
		used = time.UnixMilli(e.seen.Load())
	}
	f, err := n.read(r.s.hash, used)
	if err != nil {
		return nil, err
	}
	n.stall()
	if now, ok := m.cutoff.lease.held(); f.leased && ok && now == f.gen {
		if n.w.broken == asOfAtFill {
			p := *f.p
			p.asOf = m.cutoff.Applied()
			f.p = &p
		}
		n.put(key, f.p, f.gen)
	}
	return f.p, nil
}

var modelKey = func() *cookieKey {
	k := &cookieKey{}
	k.accepted.Store(true)
	return k
}()

func (n *node) put(key cacheKey, p *Principal, gen int64) {
	e := &cached{p: p, gen: gen, key: modelKey}
	e.seen.Store(n.m.now().UnixMilli())
	e.noted.Store(n.m.now().UnixMilli())
	n.m.cutoff.cache.put(key, e)
}

// hit is the real Manager.hit unless floors are not asked.
func (n *node) hit(key cacheKey, gen int64) (*Principal, error) {
	if n.w.broken == hitWithoutFloor || n.w.broken == floorsNotAsked {
		if e := n.m.cutoff.cache.get(key); e != nil && e.gen == gen && n.provider(e.p.Provider) {
			return e.p, nil
		}
	}
	return n.m.hit(key, gen, n.m.now())
}

// read mirrors Manager.read. A client that hangs up is not modelled.
func (n *node) read(h secret.Hash, used time.Time) (flight, error) {
	m := n.m
	before := m.flights.begun()
	for range maxRereads + 1 {
		gen, leased := m.cutoff.lease.held()
		n.stall()
		if n.w.broken == joinWithoutLease {
			gen, leased = 0, true
		}
		if !leased {
			p, seen, err := n.load(h, used)
			if err != nil || m.Still(p) {
				return flight{p: p, seen: seen, err: err}, err
			}
			continue
		}
		fl, mine := m.flights.enter(h, gen)
		if mine {
			fl.used = used
			n.w.spawn(n, func() { n.fly(h, fl, used) })
		}
		n.await(fl)
		switch {
		case fl.err != nil && (mine || !verdict(fl.err) || fl.n > before && fl.tells(used)):
			return flight{}, fl.err
		case fl.err != nil:
		case m.Still(fl.p):
			return *fl, nil
		}
	}
	return flight{}, errors.New("model: principal kept changing while it was read")
}

// fly mirrors Manager.fly.
func (n *node) fly(h secret.Hash, fl *flight, used time.Time) {
	fl.p, fl.seen, fl.err = n.load(h, used)
	saw := n.w.cur.saw
	n.m.flights.land(h, fl)
	for _, fn := range n.waiting[fl] {
		n.w.after(0, fn)
	}
	delete(n.waiting, fl)
	n.sawOf(fl, saw)
}

// await waits for a flight. The settings by which it decided are the waiter's too.
func (n *node) await(fl *flight) {
	select {
	case <-fl.done:
	default:
		t := n.w.cur
		k := n.w.ticket(t)
		n.waiting[fl] = append(n.waiting[fl], func() { n.w.wake(t, k) })
		n.w.park()
	}
	n.w.cur.saw = n.saw[fl]
}

func (n *node) sawOf(fl *flight, saw int64) {
	if n.saw == nil {
		n.saw = map[*flight]int64{}
	}
	n.saw[fl] = saw
}

// load is the real Manager.load, or its mirror where a rule may be broken.
func (n *node) load(h secret.Hash, used time.Time) (*Principal, time.Time, error) {
	if n.w.broken == nothing && !n.w.mirror {
		return n.m.load(context.Background(), h, n.c.Applied(), used)
	}
	return n.mirroredLoad(context.Background(), h, n.c.Applied())
}

// mirroredLoad is Manager.load with the ways in which C3, C6 and C11 can be
// broken. Nothing expires within a round.
func (n *node) mirroredLoad(ctx context.Context, h secret.Hash, asOf int64) (*Principal, time.Time, error) {
	m := n.m
	rec, err := m.store.Get(ctx, h)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, time.Time{}, ErrRevoked
	case err != nil:
		return nil, time.Time{}, fmt.Errorf("session: read: %w", err)
	}
	ref := member.SessionRef{Hash: h.String(), Provider: rec.Provider}
	snap, err := m.dir.Snapshot(ctx, rec.Member, ref)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("session: read member: %w", err)
	}
	if n.w.broken == twoSnapshots { // the member in one, everything else in the next
		later, err := m.dir.Snapshot(ctx, rec.Member, ref)
		if err != nil {
			return nil, time.Time{}, err
		}
		later.Member = snap.Member
		snap = later
	}
	if snap.Settings > m.settings.Version() && n.w.broken != settingsNotReloaded && n.w.broken != reloadAfterAck {
		if err := m.settings.Reload(ctx, snap.Settings); err != nil {
			return nil, time.Time{}, fmt.Errorf("session: reload settings: %w", err)
		}
	}
	if n.w.broken == asOfAfterReads {
		asOf = n.c.Applied()
	}
	switch n.w.broken {
	case noEpochCompared:
		rec.Epoch = snap.Member.Epoch
	case noTombstone:
		snap.SessionEnded = false
	case noWideMark:
		snap.EndedBefore = 0
	}
	switch {
	case dead(rec, snap), !m.provider(rec.Provider):
		return nil, time.Time{}, ErrRevoked
	case !snap.Member.Admitted():
		return nil, time.Time{}, ErrMember
	}
	return &Principal{
		Session: h, Member: snap.Member, Teams: snap.Teams, Provider: rec.Provider,
		Issued: rec.Issued, Expires: rec.Expires, Seq: rec.Seq, asOf: max(asOf, snap.Seq),
	}, rec.LastSeen, nil
}

// signIn is a sign-in's end: Directory.Admit, then the real Manager.Start. Each
// is a call of its own, so that anything may happen between.
func (n *node) signIn(who *person, provider string, done func(*sess)) {
	m, err := sqlCall(n, sqlTimeout, func(p *primary) (member.Member, error) { return p.admit(who) })
	if err != nil {
		n.w.logf("%s: %s may not sign in: %v", n.name, who.id, err)
		return
	}
	n.stall()
	_, rec, err := n.m.Start(context.Background(), Start{Member: m, Provider: provider})
	if err != nil {
		return
	}
	s := n.w.adopt(rec)
	n.w.logf("%s: s%d of %s signed in, epoch %d, row %d", n.name, s.name, who.id, s.epoch, s.seq)
	if n.w.broken == writeThrough {
		if gen, ok := n.c.lease.held(); ok {
			n.put(cacheKey(s.hash), &Principal{
				Session: s.hash, Member: m, Teams: []string{teamNames[who.team]}, Provider: provider,
				Expires: rec.Expires, Seq: rec.Seq, asOf: n.c.Applied(),
			}, gen)
		}
	}
	if done != nil {
		done(s)
	}
}

// adopt enters a session into what the model knows.
func (w *world) adopt(rec Record) *sess {
	s := &sess{
		hash: rec.Hash, who: w.person(rec.Member), epoch: rec.Epoch, seq: rec.Seq, provider: rec.Provider, name: len(w.sessions),
	}
	for _, r := range w.sql.log {
		if s.endSeq == 0 && s.endedBy(r) {
			s.endSeq = r.Seq
		}
	}
	w.sessions = append(w.sessions, s)
	return s
}
