package session

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/ssogate/ssogate/member"
)

var discardLogger = slog.New(slog.DiscardHandler)

const sqlTimeout = 2 * time.Second // of what is not the lease loop

func sqlCall[T any](n *node, timeout time.Duration, serve func(*primary) (T, error)) (T, error) {
	p := n.w.sql
	return call(n, n.w.plan.sql, timeout, func() bool { return p.up && !n.sqlCut }, func() (T, error) { return serve(p) })
}

// id is what the registry knows the node by.
func (n *node) id(real string) string {
	if n.w.broken == reusedID {
		return "node " + n.name
	}
	return real
}

// LastRevocation implements Log.
func (n *node) LastRevocation(context.Context) (int64, error) {
	return sqlCall(n, sqlTimeout, func(p *primary) (int64, error) { return p.counter, nil })
}

// Lease implements Log.
func (n *node) Lease(_ context.Context, id string, applied int64, limit int) (Batch, error) {
	n.noticeApplied()
	l := n.w.plan.sql
	if n.w.plan.lease != (network{}) {
		l = n.w.plan.lease
	}
	p := n.w.sql
	return call(n, l, readTimeout, func() bool { return p.up && !n.sqlCut && !n.leaseCut },
		func() (Batch, error) { return p.lease(n, n.id(id), applied, limit) })
}

// Join implements Registry.
func (n *node) Join(_ context.Context, x Node) error {
	x.ID = n.id(x.ID)
	_, err := sqlCall(n, sqlTimeout, func(p *primary) (bool, error) {
		p.join(x, n)
		return true, nil
	})
	return err
}

// Leave implements Registry.
func (n *node) Leave(_ context.Context, id string) error {
	_, err := sqlCall(n, sqlTimeout, func(p *primary) (bool, error) {
		p.leave(n.id(id))
		return true, nil
	})
	return err
}

// Nodes implements Registry.
func (n *node) Nodes(context.Context) ([]Node, error) {
	return sqlCall(n, readTimeout, func(p *primary) (out []Node, err error) {
		for _, r := range p.registry {
			out = append(out, r.Node)
		}
		return out, nil
	})
}

// Expel implements Registry. The model calls what stands behind it, see expelLoop.
func (n *node) Expel(context.Context, time.Duration) (int, error) { return 0, errors.ErrUnsupported }

// Unfinished implements Finisher.
func (n *node) Unfinished(_ context.Context, limit int) ([]member.Revocation, error) {
	return sqlCall(n, sqlTimeout, func(p *primary) ([]member.Revocation, error) { return p.unfinished(limit), nil })
}

// Finish implements Finisher.
func (n *node) Finish(_ context.Context, seqs ...int64) error {
	_, err := sqlCall(n, sqlTimeout, func(p *primary) (bool, error) {
		for _, seq := range seqs {
			p.finished[seq] = true
		}
		return true, nil
	})
	return err
}

// nodeDirectory is the Directory as a node reaches it. Endings are the model's own.
type nodeDirectory struct{ n *node }

func (d nodeDirectory) Snapshot(_ context.Context, id member.ID, ref member.SessionRef) (member.Snapshot, error) {
	return sqlCall(d.n, sqlTimeout, func(p *primary) (member.Snapshot, error) { return p.snapshot(id, ref) })
}

func (d nodeDirectory) EndSession(context.Context, member.Actor, member.EndedSession) error {
	return errors.ErrUnsupported
}

func (d nodeDirectory) EndSessions(context.Context, member.Actor, member.ID, string) error {
	return errors.ErrUnsupported
}

// Version implements Settings.
func (n *node) Version() int64 { return n.settings }

// Reload implements Settings.
func (n *node) Reload(_ context.Context, atLeast int64) error {
	v, err := sqlCall(n, sqlTimeout, func(p *primary) (int64, error) { return p.settings, nil })
	if err != nil {
		return err
	}
	n.settings = max(n.settings, v)
	if n.settings < atLeast {
		return errLost
	}
	return nil
}

// provider is ManagerOptions.ProviderActive: each version disables one of three.
func (n *node) provider(id string) bool {
	n.w.cur.saw = n.settings
	return providers[n.w.sql.disabled[n.settings]] != id
}

var providers = []string{"none", "corp", "partner"}

// running is a request in flight or a stream, as proxy's Live knows it.
type running struct {
	p      *Principal
	s      *sess
	stream bool
	cut    bool // its context has ended, its connection may not have
	began  bool // it was dispatched
}

func (n *node) enter(p *Principal, stream bool) *running {
	f := &running{p: p, s: n.w.session(p.Session), stream: stream}
	n.live = append(n.live, f)
	return f
}

func (n *node) leave(f *running) {
	n.live = slices.DeleteFunc(n.live, func(o *running) bool { return o == f })
}

// cutter is the node's Streams. It mirrors proxy's Live.
type cutter struct{ n *node }

// Cut implements Streams.
func (c cutter) Cut(_ context.Context, r member.Revocation) {
	n := c.n
	var fs []*running
	for _, f := range n.live {
		if n.concerns(r, f.p) {
			fs = append(fs, f)
		}
	}
	switch r.Kind {
	case member.End:
		for _, f := range fs {
			if f.s.endSeq == 0 {
				n.w.violate("(3) row %d closes a stream of s%d, which nothing ended", r.Seq, f.s.name)
			}
		}
		if n.w.broken != noTakeover {
			n.timer(tidyLeave+n.w.span(0, tidySpare), func() { n.deliver(func() { n.w.spawn(n, n.tidy) }) })
		}
	case member.Recheck:
		fs = n.refused(fs)
	case member.Reload:
	}
	n.end(fs)
	n.w.logf("%s: row %d true here, %d closed", n.name, r.Seq, len(fs))
}

// concerns mirrors Live.concerned.
func (n *node) concerns(r member.Revocation, p *Principal) bool {
	switch r.Scope {
	case member.ScopeSession:
		return r.Target == p.Session.String()
	case member.ScopeMember:
		return r.Target == string(p.Member.ID) &&
			(r.Kind == member.Recheck || p.Member.Epoch < r.Epoch || n.w.broken == rowWithoutEpoch)
	case member.ScopeProvider:
		return r.Target == p.Provider && (r.Kind == member.Recheck || p.Seq < r.Seq)
	case member.ScopeAll, member.ScopeMembers:
	}
	return r.Kind == member.Recheck || p.Seq < r.Seq || n.w.broken == rowWithoutEpoch
}

// refused mirrors proxy's refused: all are asked at once, and a stream is closed
// when the answer is no or did not come within cutWait.
func (n *node) refused(fs []*running) (out []*running) {
	w, t := n.w, n.w.cur
	const unknown, allowed, denied = 0, 1, 2
	answers := make([]int, len(fs))
	left := len(fs)
	if left == 0 {
		return nil
	}
	k := w.ticket(t)
	for i, f := range fs {
		w.spawn(n, func() {
			_, _, err := n.load(f.p.Session, time.Time{})
			switch {
			case err == nil:
				answers[i] = allowed
			case verdict(err):
				answers[i] = denied
			}
			if left--; left == 0 {
				w.after(0, func() { w.wake(t, k) })
			}
		})
	}
	n.timer(cutWait, func() { w.wake(t, k) })
	w.park()
	for i, f := range fs {
		if answers[i] == denied || answers[i] == unknown && f.stream {
			out = append(out, f)
		}
	}
	return out
}

// end cancels and waits until all have left; a peer that does not read is reset.
func (n *node) end(fs []*running) {
	if len(fs) == 0 {
		return
	}
	for _, f := range fs {
		f.cut = true
	}
	if n.w.chance(n.w.plan.deaf) {
		n.sleep(n.w.span(200*time.Millisecond, 800*time.Millisecond)) // closeWait
	} else {
		n.sleep(n.w.span(0, 10*time.Millisecond))
	}
	for _, f := range fs {
		n.leave(f)
	}
}

// CutAll implements Streams.
func (c cutter) CutAll(context.Context, string) {
	c.n.w.logf("%s: closes all %d streams", c.n.name, len(c.n.live))
	c.n.end(slices.Clone(c.n.live))
}

// wakeOthers is Publisher.wake over the session store's server.
func (n *node) wakeOthers() {
	w := n.w
	if n.redisCut || !n.redis.up {
		return
	}
	for _, o := range w.nodes {
		if d, lost := w.plan.redis.delay(w); o != n && o.redis == n.redis && !o.redisCut && !lost && !w.chance(0.1) {
			w.after(d, func() { o.deliver(o.hurry) })
		}
	}
}

// tidy is one look of the real tidier, with another one when it failed.
func (n *node) tidy() {
	if n.tidying || n.stopped {
		n.tidyAgain = true // as the channel soon keeps it
		return
	}
	n.tidying, n.tidyAgain = true, false
	_, err := n.c.tidier.tidy(context.Background())
	n.tidying = false
	if n.tidyAgain && err == nil {
		n.w.spawn(n, n.tidy)
	}
	if err != nil {
		n.sleep(tidyRetry)
		n.w.spawn(n, n.tidy)
	}
}

// Interface guards.
var (
	_ Log       = (*node)(nil)
	_ Registry  = (*node)(nil)
	_ Finisher  = (*node)(nil)
	_ Settings  = (*node)(nil)
	_ Directory = nodeDirectory{}
	_ Streams   = cutter{}
)
