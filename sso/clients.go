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

// Shares are counts that all nodes have in common: without them a client has its
// share of the budget once on every node. store/redis is the real one. Safe for
// concurrent use.
type Shares interface {
	// Take takes one of the limit that name has, which come back evenly over per.
	// It reports whether there was one. An error means that it cannot be told now:
	// the node then counts alone.
	Take(ctx context.Context, name string, limit int, per time.Duration) (bool, error)
	// GiveBack returns one that was taken. One that is lost comes back by itself.
	GiveBack(ctx context.Context, name string, limit int, per time.Duration) error
}

// clients keep one client from spending the budget of everybody (rows D01, C13):
// each may begin half of it at once, and gets that back within the life of a
// Login, or when a sign-in ends. Half, because behind a front that is not in
// trusted_proxies, or a large office's NAT, one address is many people.
// Safe for concurrent use.
type clients struct {
	limit  float64
	now    clock.Func
	shared Shares // nil: this node is alone

	mu sync.Mutex
	m  map[netip.Prefix]*bucket
}

type bucket struct {
	left float64
	at   time.Time
}

func newClients(budget int, shared Shares, now clock.Func) *clients {
	if budget <= 0 {
		budget = defaultBudget
	}
	return &clients{limit: float64(max(budget/2, 1)), now: now, shared: shared, m: map[netip.Prefix]*bucket{}}
}

// take reports whether this client may begin one more sign-in, by what this node
// has seen and, if that can be told, by what all have seen.
func (c *clients) take(ctx context.Context, p netip.Prefix) bool {
	if !c.takeHere(p) {
		return false // the others are not even asked: a flood costs them nothing
	}
	if c.shared == nil {
		return true
	}
	if ok, err := c.shared.Take(ctx, shareName(p), int(c.limit), LoginLifetime); ok || err != nil {
		return true // an error is the store's, and that of the Login itself speaks for both
	}
	c.giveBackHere(p)
	return false
}

func (c *clients) takeHere(p netip.Prefix) bool {
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
func (c *clients) giveBack(ctx context.Context, p netip.Prefix) {
	c.giveBackHere(p)
	if c.shared != nil {
		_ = c.shared.GiveBack(ctx, shareName(p), int(c.limit), LoginLifetime) // or it comes back by itself
	}
}

func (c *clients) giveBackHere(p netip.Prefix) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.bucket(p)
	b.left = min(b.left+1, c.limit)
}

func shareName(p netip.Prefix) string { return "sign-in " + p.String() }

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
