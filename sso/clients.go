package sso

import (
	"context"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/web"
)

const (
	// defaultBudget is the store's own when the operator names none.
	defaultBudget = 20000
	// maxClients bounds the memory of clients; past it those that wait for
	// nothing make room, and then arbitrary ones: the store's budget still holds.
	maxClients = 10000
)

// clients keep one client from spending the budget of everybody (rows D01, C13):
// each may begin half of it at once, and gets that back within the life of a
// Login, or when a sign-in ends. Half, because behind a front that is not in
// trusted_proxies, or a large office's NAT, one address is many people.
// Safe for concurrent use.
type clients struct {
	limit float64
	now   clock.Func

	mu sync.Mutex
	m  map[netip.Prefix]*bucket
}

type bucket struct {
	left float64
	at   time.Time
}

func newClients(budget int, now clock.Func) *clients {
	if budget <= 0 {
		budget = defaultBudget
	}
	return &clients{limit: float64(max(budget/2, 1)), now: now, m: map[netip.Prefix]*bucket{}}
}

// take reports whether this client may begin one more sign-in.
func (c *clients) take(p netip.Prefix) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.bucket(p)
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

// giveBack is for a sign-in that ended: its Login is gone from the store.
func (c *clients) giveBack(p netip.Prefix) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.bucket(p)
	b.left = min(b.left+1, c.limit)
}

// bucket needs mu.
func (c *clients) bucket(p netip.Prefix) *bucket {
	now := c.now()
	b := c.m[p]
	if b == nil {
		if len(c.m) >= maxClients {
			c.makeRoom(now)
		}
		b = &bucket{left: c.limit, at: now}
		c.m[p] = b
	}
	c.refill(b, now)
	return b
}

func (c *clients) refill(b *bucket, now time.Time) {
	if d := now.Sub(b.at); d > 0 {
		b.left = min(b.left+c.limit*float64(d)/float64(LoginLifetime), c.limit)
	}
	b.at = now // also when the clock went back: nobody waits for it to catch up
}

func (c *clients) makeRoom(now time.Time) {
	for p, b := range c.m {
		if c.refill(b, now); b.left >= c.limit {
			delete(c.m, p)
		}
	}
	for p := range c.m { // map order is arbitrary: nobody can choose who is forgotten
		if len(c.m) < maxClients {
			return
		}
		delete(c.m, p)
	}
}

// client is who counts as one: an IPv4 address, or the /48 that an IPv6 customer
// may hold whole. Without an address all count as one.
func client(ctx context.Context) netip.Prefix {
	a := web.ClientAddr(ctx)
	bits := 48
	if a.Is4() {
		bits = 32
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

func clientOf(r *http.Request) netip.Prefix { return client(r.Context()) }
