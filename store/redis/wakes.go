package redis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/ssogate/ssogate/session"
)

const (
	// wakeRenew is how long one subscription is kept. After a failover, or in a
	// network that is split or silent, one may hang on a server to which nobody
	// publishes any more, and look perfectly well: nothing else would end it.
	wakeRenew = 10 * time.Second
	// Back-off between subscriptions that fail: doubled up to the maximum, and
	// spread over half of it, so that a hundred nodes do not return as one.
	wakeRetryFirst = 50 * time.Millisecond
	wakeRetryLast  = 2 * time.Second
	// wakeTries is to how many masters of a cluster a wake-up is offered.
	wakeTries = 2
)

// Wakes carry wake-ups between nodes by publish and subscribe. They only save
// waiting for the next poll (C1): failures are counted, not logged. Safe for
// concurrent use.
type Wakes struct{ db *DB }

// Wakes answers the wake-ups on this connection.
func (d *DB) Wakes() *Wakes { return &Wakes{db: d} }

func (w *Wakes) channel() string { return w.db.prefix + "wake" }

// Wake implements session.Wakes. It gives up within Options.Timeout, and at once
// while the server is known to be down.
func (w *Wakes) Wake(ctx context.Context) error {
	err := w.publish(ctx)
	if err != nil {
		w.db.metrics.wakeFailed("send")
	}
	return err
}

func (w *Wakes) publish(ctx context.Context) error {
	d := w.db
	send := func(ctx context.Context, c goredis.UniversalClient) error {
		// In a cluster every node passes it on to all others. Not sharded: that is
		// 7.0, and would depend on one slot.
		return c.Publish(ctx, w.channel(), "").Err()
	}
	if d.client.Load().cluster == nil {
		return d.call(ctx, "wake", "", send)
	}
	limited, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	nodes, err := d.someMasters(ctx, limited, "wake")
	for i, node := range nodes {
		// Half the time for each: one that is silent must leave some to the next.
		attempt, cancel := context.WithTimeout(limited, d.timeout/wakeTries)
		err = d.guarded(ctx, attempt, node.Options().Addr, "wake", func(ctx context.Context, _ goredis.UniversalClient) error {
			return send(ctx, node)
		})
		cancel()
		if err == nil || i == wakeTries-1 {
			break
		}
	}
	return err
}

// someMasters answers masters of a cluster in random order, those that are known
// to be down last. It takes no round trip once the cluster's map was read.
func (d *DB) someMasters(ctx, limited context.Context, op string) ([]*goredis.Client, error) {
	h, err := d.allowed(op, "")
	if err != nil {
		return nil, err
	}
	c := d.client.Load()
	seen := map[*goredis.Client]bool{}
	var up, down []*goredis.Client
	for i := range 64 { // finds all of a small cluster and many of a large one
		node, err := c.cluster.MasterForKey(limited, strconv.Itoa(i))
		if i == 0 || err != nil {
			d.learn(ctx, h, err, 1)
		}
		if err != nil {
			return nil, err
		}
		if seen[node] {
			continue
		}
		seen[node] = true
		if d.breakers.of(node.Options().Addr).isDown() {
			down = append(down, node)
		} else {
			up = append(up, node)
		}
	}
	shuffle(up)
	shuffle(down)
	return append(up, down...), nil
}

func shuffle[T any](s []T) {
	rand.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] }) //nolint:gosec // spreads load; nothing secret depends on it
}

// Listen implements session.Wakes. woken is also called right after every
// subscription: a wake-up may have been lost before it.
func (w *Wakes) Listen(ctx context.Context, woken func()) {
	retry := wakeRetryFirst
	var last *goredis.PubSub // still listening until the next one is
	defer func() { closePubSub(last) }()
	for ctx.Err() == nil {
		next, err := w.subscribe(ctx)
		closePubSub(last)
		last = next
		if err == nil {
			retry = wakeRetryFirst
			woken()
			if err = w.receive(ctx, next, woken); err == nil {
				continue
			}
		}
		if ctx.Err() != nil {
			return
		}
		w.db.metrics.wakeFailed("listen")
		select {
		case <-ctx.Done():
		case <-time.After(retry/2 + rand.N(retry/2+1)): //nolint:gosec // spreads nodes; nothing secret depends on it
		}
		retry = min(2*retry, wakeRetryLast)
	}
}

func closePubSub(s *goredis.PubSub) {
	if s != nil {
		_ = s.Close()
	}
}

// subscribe answers a subscription that the server has confirmed.
func (w *Wakes) subscribe(ctx context.Context) (*goredis.PubSub, error) {
	d := w.db
	limited, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	var from interface {
		Subscribe(ctx context.Context, channels ...string) *goredis.PubSub
	} = d.client.Load()
	if d.client.Load().cluster != nil {
		// Any node hears what any other is told; the library would take the one that
		// has the channel's slot, also when it is dead.
		nodes, err := d.someMasters(ctx, limited, "listen")
		if err != nil {
			return nil, err
		}
		if len(nodes) == 0 {
			return nil, errDown
		}
		from = nodes[0]
	}
	s := from.Subscribe(limited, w.channel())
	for {
		msg, err := hear(limited, s, d.timeout)
		if err != nil {
			closePubSub(s)
			return nil, err
		}
		if sub, ok := msg.(*goredis.Subscription); ok && sub.Kind == "subscribe" {
			return s, nil
		}
	}
}

// hear waits for one message. The library asserts the types of what a
// subscription brings: an answer that belongs to somebody else (fault 5) panics
// there, on a goroutine of ours that nobody else recovers.
func hear(ctx context.Context, s *goredis.PubSub, timeout time.Duration) (msg any, err error) {
	defer func() {
		if v := recover(); v != nil {
			msg, err = nil, fmt.Errorf("redis: subscription brought an answer to something else: %v", v)
		}
	}()
	return s.ReceiveTimeout(ctx, timeout)
}

// receive calls woken for each wake-up. It answers nil when the subscription has
// lasted long enough, and an error when it is broken.
func (w *Wakes) receive(ctx context.Context, s *goredis.PubSub, woken func()) error {
	// A read does not end with its context: closing ends it.
	stop := context.AfterFunc(ctx, func() { closePubSub(s) })
	defer stop()
	end := time.Now().Add(wakeRenew + rand.N(wakeRenew/4)) //nolint:gosec // as above
	for {
		left := time.Until(end)
		if left <= 0 {
			return nil
		}
		msg, err := hear(ctx, s, left)
		if isTimeout(err) && ctx.Err() == nil {
			return nil
		}
		if err != nil {
			return err
		}
		switch msg.(type) {
		case *goredis.Message, *goredis.Subscription: // the library subscribed again by itself
			woken()
		}
	}
}

var _ session.Wakes = (*Wakes)(nil)
