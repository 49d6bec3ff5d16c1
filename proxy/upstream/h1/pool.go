package h1

import (
	"sync"
	"time"
)

// pool is a stack of idle connections: the newest is the likeliest to be alive,
// and the oldest can run out.
type pool struct {
	mu      sync.Mutex
	idle    []*conn
	closing bool // from CloseIdleConnections to the next request
	timer   *time.Timer
	wakes   time.Time // when the timer fires, zero for never
}

func (p *pool) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle)
}

func (p *pool) pop() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closing = false
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	c := p.idle[n-1]
	p.idle[n-1] = nil
	p.idle = p.idle[:n-1]
	return c
}

func (p *pool) push(c *conn, most int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing || len(p.idle) >= most {
		return false
	}
	p.idle = append(p.idle, c)
	return true
}

func (p *pool) drain() []*conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closing = true
	idle := p.idle
	p.idle = nil
	if p.timer != nil {
		p.timer.Stop()
		p.wakes = time.Time{}
	}
	return idle
}

// watch calls sweep at a time, unless that is to happen earlier anyway: under
// load connections are pushed in the order in which they run out, and the timer
// is set once in a while.
func (p *pool) watch(now, at time.Time, sweep func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) == 0 || !p.wakes.IsZero() && !at.Before(p.wakes) {
		return
	}
	p.wakes = at
	if p.timer == nil {
		p.timer = time.AfterFunc(at.Sub(now), sweep)
	} else {
		p.timer.Reset(at.Sub(now))
	}
}

// expired takes out what has run out and answers when to look again, zero for never.
func (p *pool) expired(now time.Time) (out []*conn, next time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wakes = time.Time{}
	kept := p.idle[:0]
	for _, c := range p.idle {
		if !now.Before(c.expires) {
			out = append(out, c)
			continue
		}
		kept = append(kept, c)
		if next.IsZero() || c.expires.Before(next) {
			next = c.expires
		}
	}
	clear(p.idle[len(kept):])
	p.idle = kept
	return out, next
}
