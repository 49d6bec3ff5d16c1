package redis

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	// breakAfter consecutive failures a server counts as down: one lost packet
	// must not turn into a minute of 503.
	breakAfter = 3
	// probeEvery is how often a call is let through while it is down. The others
	// fail at once: thousands of requests waiting 250 ms each would take the
	// gateway down with Redis (threats, fault 2).
	probeEvery = 100 * time.Millisecond
	// maxBreakers bounds what a cluster whose nodes come and go leaves behind.
	maxBreakers = 1000
)

// breakers are the circuit breakers, one for each master of a cluster: a dead
// one must not take those of the others with it. The one without a name is that
// of a single server or of what Sentinel calls the master; in a cluster that of
// finding its masters.
type breakers struct {
	mu sync.Mutex
	m  map[string]*health
}

func (b *breakers) of(addr string) *health {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.m[addr]
	if h == nil {
		if len(b.m) >= maxBreakers {
			clear(b.m) // all are asked again
		}
		h = &health{addr: addr}
		b.m[addr] = h
	}
	return h
}

// keep forgets servers that are masters no longer.
func (b *breakers) keep(addrs map[string]bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for a := range b.m {
		if a != "" && !addrs[a] {
			delete(b.m, a)
		}
	}
}

// up reports whether no server is known to be down.
func (b *breakers) up() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, h := range b.m {
		if h.isDown() {
			return false
		}
	}
	return true
}

// allowed answers the breaker of a server, or refuses the call.
func (d *DB) allowed(op, addr string) (*health, error) {
	h := d.breakers.of(addr)
	if h.allow(time.Now()) {
		return h, nil
	}
	d.metrics.observe(op, "held_back", 0)
	return nil, fmt.Errorf("redis: %s: %w", op, errDown)
}

// locate finds the server of a cluster that has key; "" where there is but one.
// It takes no round trip, except before the cluster's map was ever read.
func (d *DB) locate(ctx, limited context.Context, c *client, op, key string) (addr string, err error) {
	if c.cluster == nil {
		return "", nil
	}
	h, err := d.allowed(op, "")
	if err != nil {
		return "", err
	}
	node, err := c.cluster.MasterForKey(limited, key)
	d.learn(ctx, h, err, 1)
	if err != nil {
		return "", fmt.Errorf("redis: %s: %w", op, err)
	}
	return node.Options().Addr, nil
}

// changed reports a change between up and down: the only line this package logs
// about a server, however many calls fail.
func (d *DB) changed(h *health, changed bool, level slog.Level, message string, err error) {
	if !changed {
		return
	}
	d.metrics.setUp(d.breakers.up())
	var attrs []slog.Attr
	if h.addr != "" {
		attrs = append(attrs, slog.String("server", h.addr))
	}
	if err != nil {
		attrs = append(attrs, slog.Any("error", err))
	}
	d.log.LogAttrs(context.Background(), level, message, attrs...)
}

// health is one circuit breaker. Its clock is the real one: it is about sockets.
type health struct {
	addr string

	mu    sync.Mutex
	fails int
	known bool // up or down was reported once
	down  bool
	probe time.Time // the next call let through while down
}

func (h *health) allow(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.down {
		return true
	}
	if now.Before(h.probe) {
		return false
	}
	h.probe = now.Add(probeEvery)
	return true
}

func (h *health) isDown() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.down
}

// succeeded reports whether the server was down, or never seen, until now.
func (h *health) succeeded() (changed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	changed = h.down || !h.known
	h.fails, h.down, h.known = 0, false, true
	return changed
}

// failed reports whether the server counts as down from now on.
func (h *health) failed(now time.Time, weight int) (changed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fails += weight
	if h.fails < breakAfter {
		return false
	}
	h.probe = now.Add(probeEvery) // counted from the answer: a probe itself may take longer
	changed = !h.down
	h.down, h.known = true, true
	return changed
}
