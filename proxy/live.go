package proxy

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
)

// LiveOptions of [NewLive]. Zero values mean the defaults named.
type LiveOptions struct {
	PerSession int           // requests and streams at once per session; default 200
	Total      int           // in all; default 20000
	Sweep      time.Duration // how often expired sessions are looked for; default 500ms
	Now        clock.Func    // default time.Now
	Metrics    prometheus.Registerer
}

// Errors of registering. The gate answers 429 and 503.
var (
	errPerSession = errors.New("proxy: too many requests of one session at once")
	errTotal      = errors.New("proxy: too many requests at once")
)

// closeWait bounds how long a cut waits for handlers to leave. Together with
// the graces of a tunnel it stays below the second of G1.
const closeWait = 800 * time.Millisecond

// Live knows every admitted request and stream from before it is dispatched
// until its handler has left, so that a revocation can end them (C10). Finding a
// session's or a member's is one map access. It implements [session.Streams].
// Safe for concurrent use.
type Live struct {
	o        LiveOptions
	metrics  liveMetrics
	draining atomic.Bool

	mu       sync.Mutex
	total    int
	sessions map[secret.Hash]*group
	members  map[member.ID]*group // by subject: a machine has one too
	ends     ends
	public   group         // without a session: only Shutdown concerns them
	spare    []*group      // groups come and go with every request
	sweeping bool          // a sweep is due
	idle     chan struct{} // closed when the last one leaves; made by Shutdown
}

// group is one session's or one member's flights, newest first.
type group struct {
	head *flight
	n    int

	end   time.Time // of a session; see ends
	place place
	at    int
}

// NewLive makes an empty registry. Errors: metrics of that name exist already.
func NewLive(o LiveOptions) (*Live, error) {
	if o.PerSession <= 0 {
		o.PerSession = 200
	}
	if o.Total <= 0 {
		o.Total = 20000
	}
	if o.Sweep <= 0 {
		o.Sweep = 500 * time.Millisecond
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Now = session.Steady(o.Now) // as sessions count: a clock set back lengthens nothing (row K06)
	l := &Live{o: o, sessions: map[secret.Hash]*group{}, members: map[member.ID]*group{}}
	return l, l.metrics.register(l, o.Metrics)
}

// enter registers f. After it, and before dispatching, the caller asks
// Sessions.Still: a revocation is either seen there or finds f here.
func (l *Live) enter(f *flight) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total >= l.o.Total {
		return errTotal
	}
	if f.p == nil {
		f.link(inMember, &l.public)
	} else {
		s := l.sessions[f.p.Session]
		if s != nil && s.n >= l.o.PerSession {
			return errPerSession
		}
		if s == nil {
			s = l.newGroup()
			l.sessions[f.p.Session] = s
			l.ends.add(s, f.p.Expires)
		}
		m := l.members[member.ID(f.p.Subject())]
		if m == nil {
			m = l.newGroup()
			l.members[member.ID(f.p.Subject())] = m
		}
		f.link(inSession, s)
		f.link(inMember, m)
	}
	l.total++
	if !l.sweeping {
		l.sweeping = true
		time.AfterFunc(l.o.Sweep, l.sweep)
	}
	return nil
}

func (l *Live) leave(f *flight) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f.unlink(inMember)
	if f.p != nil {
		f.unlink(inSession)
		if g := l.sessions[f.p.Session]; g.n == 0 {
			delete(l.sessions, f.p.Session)
			l.ends.remove(g)
			l.spare = append(l.spare, g)
		}
		if g := l.members[member.ID(f.p.Subject())]; g.n == 0 {
			delete(l.members, member.ID(f.p.Subject()))
			l.spare = append(l.spare, g)
		}
	}
	l.total--
	if l.total == 0 && l.idle != nil {
		close(l.idle)
		l.idle = nil
	}
}

func (l *Live) newGroup() *group {
	if n := len(l.spare); n > 0 {
		g := l.spare[n-1]
		l.spare = l.spare[:n-1]
		return g
	}
	return &group{}
}

// Cut implements [session.Streams]. An unknown kind ends, an unknown scope
// means everybody: what this version does not understand must not stay open.
func (l *Live) Cut(ctx context.Context, r member.Revocation) {
	fs := l.concerned(r)
	why := &cutError{code: closePolicy, text: "session ended", reason: "revoked"}
	if r.Kind == member.Recheck {
		fs = refused(ctx, fs)
		why = &cutError{code: closePolicy, text: "no longer allowed here", reason: "recheck"}
	}
	l.end(ctx, fs, why)
}

// CutAll implements [session.Streams]: it can no longer be known who was cut off.
func (l *Live) CutAll(ctx context.Context, reason string) {
	l.end(ctx, l.concerned(member.Revocation{Scope: member.ScopeAll}), &cutError{code: closeTryLater, text: reason, reason: "lease_lost"})
}

// concerned lists what a revocation names.
func (l *Live) concerned(r member.Revocation) []*flight {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch r.Scope {
	case member.ScopeSession:
		h, err := secret.ParseHash(r.Target)
		if err != nil {
			return nil // names no session of ours
		}
		return collect(nil, l.sessions[h], func(f *flight) bool { return !spared(f, r) })
	case member.ScopeMember:
		return collect(nil, l.members[member.ID(r.Target)], func(f *flight) bool {
			// C7: a late row must not end what began after re-activation.
			return r.Kind == member.Recheck || f.p.Member.Epoch < r.Epoch
		})
	case member.ScopeLogins:
		lo, ok := member.ParseLogins(r.Target)
		if !ok {
			return nil // names no session of ours
		}
		return collect(nil, l.members[lo.Member], func(f *flight) bool {
			return lo.Names(f.p.Provider, f.p.Index) && (r.Seq == 0 || f.p.Seq < r.Seq)
		})
	case member.ScopeMembers: // only ever asked again, see member.ScopeMembers
		var fs []*flight
		for id := range strings.FieldsSeq(r.Target) {
			fs = collect(fs, l.members[member.ID(id)], nil)
		}
		return fs
	default: // ScopeProvider, ScopeAll
		var fs []*flight
		for _, g := range l.members {
			fs = collect(fs, g, func(f *flight) bool {
				if r.Scope == member.ScopeProvider && f.p.Provider != r.Target {
					return false
				}
				// Here too a late row must not end what was signed in after it (C7).
				return r.Kind == member.Recheck || r.Seq == 0 || f.p.Seq < r.Seq
			})
		}
		return fs
	}
}

// collect appends a member's or session's flights; g may be nil.
func collect(fs []*flight, g *group, want func(*flight) bool) []*flight {
	if g == nil {
		return fs
	}
	in := inMember
	if g.head != nil && g.head.links[inSession].group == g {
		in = inSession
	}
	for f := g.head; f != nil; f = f.links[in].next {
		if want == nil || want(f) {
			fs = append(fs, f)
		}
	}
	return fs
}

// end cuts all of fs at once and returns when their handlers have left, or have
// had their connections torn down after closeWait.
func (l *Live) end(ctx context.Context, fs []*flight, why *cutError) {
	if len(fs) == 0 {
		return
	}
	gone := make([]<-chan struct{}, len(fs))
	for i, f := range fs {
		gone[i] = f.cut(why)
	}
	l.metrics.cut.WithLabelValues(why.reason).Add(float64(len(fs)))
	timer := time.NewTimer(closeWait)
	defer timer.Stop()
	late := false
	for i, f := range fs {
		if !late {
			select {
			case <-gone[i]:
				continue
			case <-timer.C:
			case <-ctx.Done():
			}
			late = true
		}
		select {
		case <-gone[i]:
		default:
			f.force()
			l.metrics.forced.Inc()
		}
	}
}

// sweep ends what outlived its session's absolute limit: an open stream asks
// nobody again (row W02). It runs only while there is something to look at.
func (l *Live) sweep() {
	now := l.o.Now()
	l.mu.Lock()
	if l.total == 0 {
		l.sweeping = false
		l.mu.Unlock()
		return
	}
	var fs []*flight
	for _, g := range l.ends.due(now) {
		fs = collect(fs, g, nil)
	}
	l.mu.Unlock()
	fs = slices.DeleteFunc(fs, func(f *flight) bool { return f.cutCause() != nil }) // on their way already
	// Before ending them: a slow peer must not hold up the next one's end.
	time.AfterFunc(l.o.Sweep, l.sweep)
	l.end(context.Background(), fs, &cutError{code: closePolicy, text: "session expired", reason: "expired"})
}

// Shutdown closes WebSockets with 1001 and ends event streams, in random order
// spread over the given time so that their reconnects do not come as one wave
// (fault 19), then waits for the remaining requests to finish; when ctx ends
// first, they are cut. New upgrades and event streams are refused from the start:
// where a load balancer needs time to see that the node is not ready, wait before
// calling it. Until it returns, Cut works as ever, for what it has not ended yet
// too; only afterwards may the node deregister (C8). Call it before or beside
// http.Server.Shutdown, which leaves both kinds of streams open.
func (l *Live) Shutdown(ctx context.Context, spread time.Duration) {
	why := &cutError{code: closeGoingAway, text: "going away", reason: "shutdown"}
	l.draining.Store(true)
	fs := l.all()
	streams := fs[:0:0]
	for _, f := range fs {
		if f.isStream() {
			streams = append(streams, f)
		}
	}
	//nolint:gosec // spreads reconnects; nobody gains by guessing the order
	rand.Shuffle(len(streams), func(i, j int) { streams[i], streams[j] = streams[j], streams[i] })
	spreadOut(ctx, len(streams), spread, func(i int) { streams[i].cut(why) })
	select {
	case <-l.whenIdle():
	case <-ctx.Done():
		l.end(context.WithoutCancel(ctx), l.all(), why)
	}
}

// spreadOut calls do for 0 to n-1, evenly over a time; at once when that is zero
// or ctx ends. By ticks: a timer for each of 20,000 would take longer than asked.
func spreadOut(ctx context.Context, n int, over time.Duration, do func(i int)) {
	start := time.Now()
	tick := time.NewTicker(min(max(over/100, time.Millisecond), 50*time.Millisecond))
	defer tick.Stop()
	for i := 0; i < n; {
		due := n
		if gone := time.Since(start); gone < over && ctx.Err() == nil {
			due = 1 + int(int64(n-1)*int64(gone)/int64(over))
		}
		for ; i < due; i++ {
			do(i)
		}
		if i < n {
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	}
}

func (l *Live) all() []*flight {
	l.mu.Lock()
	defer l.mu.Unlock()
	fs := collect(nil, &l.public, nil)
	for _, g := range l.members {
		fs = collect(fs, g, nil)
	}
	return fs
}

func (l *Live) whenIdle() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total == 0 {
		c := make(chan struct{})
		close(c)
		return c
	}
	if l.idle == nil {
		l.idle = make(chan struct{})
	}
	return l.idle
}

var _ session.Streams = (*Live)(nil)
