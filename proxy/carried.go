package proxy

import (
	"context"
	"net/textproto"
	"sync"

	"github.com/ssogate/ssogate/proxy/upstream"
	"github.com/ssogate/ssogate/proxy/upstream/h1"
)

// carried is the context of an exchange. It ends with the client's, or when the gate cuts
// the exchange off, and answers two more questions of the transports. A context.WithCancelCause
// with values would do as well, at three times the cost of the rest of the decision: it is
// part of the exchange, and the channel is made only for who asks for it.
type carried struct {
	context.Context //nolint:containedctx // the client's; that is what a wrapper is
	x               *exchange
	stop            func() bool // of watching the client's

	mu     sync.Mutex
	err    error
	done   chan struct{}
	killer h1.Killer // the exchange on the wire
	after  []func()  // others to be told; nil where one was taken back
}

// begin makes it ready, also again, when end was called.
func (c *carried) begin(client context.Context, x *exchange) {
	c.mu.Lock()
	c.Context, c.x = client, x
	c.err, c.done, c.killer, c.after = nil, nil, nil, nil
	c.mu.Unlock()
	c.stop = context.AfterFunc(client, c.end)
}

// finish ends it and lets the client's context go.
func (c *carried) finish() {
	c.stop()
	c.end()
}

// end tells everybody. More than once is harmless; safe for concurrent use.
func (c *carried) end() {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = context.Canceled
	if c.done != nil {
		close(c.done)
	}
	k, after := c.killer, c.after
	c.killer, c.after = nil, nil
	c.mu.Unlock()
	if k != nil {
		k.Kill()
	}
	for _, f := range after {
		if f != nil {
			go f()
		}
	}
}

// Done implements context.Context.
func (c *carried) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.err != nil {
			close(c.done)
		}
	}
	return c.done
}

// Err implements context.Context.
func (c *carried) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// AfterFunc is what package context calls instead of starting a goroutine that waits.
func (c *carried) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		go f()
		return func() bool { return false }
	}
	at := len(c.after)
	c.after = append(c.after, f)
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		if at >= len(c.after) || c.after[at] == nil {
			return false
		}
		c.after[at] = nil
		return true
	}
}

// Watch implements h1.Watcher.
func (c *carried) Watch(k h1.Killer) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return false
	}
	c.killer = k
	return true
}

// Unwatch implements h1.Watcher.
func (c *carried) Unwatch(k h1.Killer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.killer == k {
		c.killer = nil
	}
}

// Got1xx implements h1.Interims.
func (c *carried) Got1xx(code int, h textproto.MIMEHeader) error { return c.x.interim.got(code, h) }

// Value implements context.Context.
func (c *carried) Value(key any) any {
	if key == upstream.RecheckKey {
		return upstream.Recheck(c.x.still)
	}
	return c.Context.Value(key)
}

var (
	_ context.Context = (*carried)(nil)
	_ h1.Watcher      = (*carried)(nil)
	_ h1.Interims     = (*carried)(nil)
)
