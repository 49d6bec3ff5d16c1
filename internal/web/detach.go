package web

import (
	"context"
	"time"
)

// Detached is an exchange that goes on after its handler has returned. The zero
// value is one outside of [Handler], where there is nothing to write down.
type Detached struct{ x *exchange }

// Detach is for a handler that has hijacked its connection and leaves it to
// goroutines of its own: net/http's goroutine and buffers then cost nothing while
// a WebSocket is idle. The request counts as running, and its access record is
// not written, until End. Call it before the handler returns; everything else
// that hangs on the request, its context too, ends with the handler.
func Detach(ctx context.Context) Detached {
	x := exchangeOf(ctx)
	if x != nil {
		x.mu.Lock()
		x.later = true
		x.mu.Unlock()
	}
	return Detached{x}
}

// Annotate is [Annotate] for the time after the handler.
func (d Detached) Annotate(key, value string) {
	if d.x != nil {
		d.x.annotate(key, value)
	}
}

// Panicked counts and logs a panic that was recovered after the handler, as one in
// it is (fault 25). Safe for concurrent use.
func (d Detached) Panicked(v any) {
	if d.x != nil {
		d.x.m.panicked(context.Background(), d.x.id, v)
	}
}

// End writes the access record, or has it written when the handler returns. Only
// the first call counts. Safe for concurrent use.
func (d Detached) End() {
	x := d.x
	if x == nil {
		return
	}
	x.mu.Lock()
	end := x.end
	x.end, x.ended = nil, true
	x.mu.Unlock()
	if end != nil {
		end()
	}
}

func (x *exchange) detached() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.later
}

// endLater leaves the ending to [Detached.End]. It keeps nothing of the request:
// its context would hold on to the server's buffers.
func (m *middleware) endLater(x *exchange, rec record, start time.Time) {
	end := func() { m.end(context.Background(), x, rec, start) }
	x.mu.Lock()
	ended := x.ended
	if !ended {
		x.end = end
	}
	x.mu.Unlock()
	if ended {
		end()
	}
}
