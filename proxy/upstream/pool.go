package upstream

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/ssogate/ssogate/internal/clock"
)

// Pool is the upstreams of one route. Safe for concurrent use.
type Pool struct {
	spec    Spec
	targets []*target
	now     clock.Func
	balance balancer

	mu      sync.Mutex
	waiters []chan *target // in order; guarded by mu
	turn    int            // breaks ties
}

// target is one upstream. The counts are guarded by Pool.mu.
type target struct {
	address
	transport roundTripper
	requests  int // that hold a slot
	streams   int // tunnels and event streams, which hold none
	health    health
}

func (t *target) load() int { return t.requests + t.streams }

// ErrFull means that an upstream is at its limit and so is the queue before it, or
// that the wait took too long.
var ErrFull = errors.New("upstream: at its limit")

// New checks a spec and makes its pool; nothing is dialed. now may be nil. Errors
// name every fault.
func New(s Spec, now clock.Func) (*Pool, error) {
	addresses, err := s.check()
	if err != nil {
		return nil, err
	}
	s = s.withDefaults()
	if now == nil {
		now = time.Now
	}
	p := &Pool{spec: s, now: now, balance: newBalancer(s.Balance)}
	for _, a := range addresses {
		t := &target{address: a}
		if t.transport, err = newTransport(a, s); err != nil {
			return nil, err
		}
		p.targets = append(p.targets, t)
	}
	return p, nil
}

// Lease is one exchange's hold on an upstream. The zero value holds none. It belongs
// to one goroutine at a time.
type Lease struct {
	p      *Pool
	t      *target
	stream bool
}

// Release gives the slot to whoever waits for one. More than once is harmless.
func (l *Lease) Release() {
	if l.t == nil {
		return
	}
	l.p.release(l.t, l.stream)
	l.t = nil
}

// Stream gives the slot back and keeps the exchange counted: an event stream or a
// tunnel may last for days, and the limit is there for what makes work (fault 13).
func (l *Lease) Stream() {
	if l.t == nil || l.stream {
		return
	}
	l.stream = true
	l.p.becomeStream(l.t)
}

// Do sends a request to one of the upstreams and answers with the response's head.
// It sets the URL's scheme and host, and the Host header where that is empty. The
// body is not closed on errors that are followed by a second attempt: untouched
// reports whether nothing of it was read yet. The caller releases the lease once the
// exchange has ended, whatever Do answered.
//
// A second attempt, on another upstream where there is one, is made once: after a dial
// that failed, whatever the method, for nothing was sent; and where the connection
// ended without a byte of an answer, for methods that may be repeated. Both only with
// an untouched body, and after [Recheck].
func (p *Pool) Do(req *http.Request, l *Lease, untouched func() bool) (*http.Response, error) {
	l.p = p
	host := req.Host
	var not *target
	for attempt := 0; ; attempt++ {
		t, err := p.acquire(req, not)
		if err != nil {
			return nil, err
		}
		l.t = t
		req.URL.Scheme, req.URL.Host = t.urlScheme(), t.host
		if req.Host = host; host == "" {
			req.Host = t.host
		}
		res, err := t.transport.RoundTrip(req)
		p.observe(t, err)
		if err == nil {
			return res, nil
		}
		l.Release()
		if attempt > 0 || !p.mayRetry(req, err) || !untouched() {
			return nil, err
		}
		if rerr := recheck(req.Context()); rerr != nil {
			return nil, rerr
		}
		not = t
	}
}

// mayRetry says whether a failed request may be sent again. A single upstream is
// tried again only after a reset: one that could not be dialed would fail alike.
func (p *Pool) mayRetry(req *http.Request, err error) bool {
	if p.spec.NoRetries || req.Context().Err() != nil {
		return false
	}
	switch Classify(err) {
	case Unreachable:
		return len(p.targets) > 1
	case Broken:
		return len(p.targets) > 1 && idempotent(req.Method) && unanswered(err)
	}
	return false
}

func (t *target) urlScheme() string {
	if t.scheme == "https" {
		return "https"
	}
	return "http"
}

// acquire finds an upstream with a free slot, or waits for one.
func (p *Pool) acquire(req *http.Request, not *target) (*target, error) {
	p.mu.Lock()
	t := p.pick(req, not)
	if t.requests < p.spec.Concurrency {
		t.requests++
		p.mu.Unlock()
		return t, nil
	}
	if len(p.waiters) >= p.spec.Queue {
		p.mu.Unlock()
		return nil, ErrFull
	}
	turn := make(chan *target, 1)
	p.waiters = append(p.waiters, turn)
	p.mu.Unlock()
	return p.wait(req.Context(), turn)
}

func (p *Pool) wait(ctx context.Context, turn chan *target) (*target, error) {
	timer := time.NewTimer(p.spec.QueueWait)
	defer timer.Stop()
	var why error
	select {
	case t := <-turn:
		if err := recheck(ctx); err != nil {
			p.release(t, false)
			return nil, err
		}
		return t, nil
	case <-timer.C:
		why = ErrFull
	case <-ctx.Done():
		why = context.Cause(ctx)
	}
	p.mu.Lock()
	for i, w := range p.waiters {
		if w == turn {
			p.waiters = append(p.waiters[:i], p.waiters[i+1:]...)
			p.mu.Unlock()
			return nil, why
		}
	}
	p.mu.Unlock()
	p.release(<-turn, false) // it came at the same moment
	return nil, why
}

// release frees a slot, and hands it on.
func (p *Pool) release(t *target, stream bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if stream {
		t.streams--
		return
	}
	p.pass(t)
}

func (p *Pool) becomeStream(t *target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t.streams++
	p.pass(t)
}

// pass gives a slot that became free to the one who waits longest. Sticky requests
// too: a person who waits is served by another upstream rather than not at all.
func (p *Pool) pass(t *target) {
	if len(p.waiters) == 0 {
		t.requests--
		return
	}
	turn := p.waiters[0]
	p.waiters = p.waiters[1:]
	turn <- t // has room for one
}

// Load is how many requests hold a slot, how many wait, and how many streams are open.
func (p *Pool) Load() (requests, waiting, streams int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.targets {
		requests += t.requests
		streams += t.streams
	}
	return requests, len(p.waiters), streams
}

// Close lets go of idle connections; exchanges that run end as they would have. The
// pool of a route that was replaced is closed.
func (p *Pool) Close() {
	for _, t := range p.targets {
		t.transport.CloseIdleConnections()
	}
}
