package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/proxy/upstream"
	"github.com/ssogate/ssogate/proxy/wire"
	"github.com/ssogate/ssogate/session"
)

// cutError is the cause of a context that we cancelled.
type cutError struct {
	code   uint16 // WebSocket close code
	text   string // for the close frame; shown by developer tools, so no names
	reason string // for log and metrics
}

// cutPrefix begins the text of every cutError.
const cutPrefix = "proxy: cut off: "

func (e *cutError) Error() string { return cutPrefix + e.reason }

// membership says in which list a link is.
type membership int

const (
	inSession membership = iota
	inMember
)

type link struct {
	group      *group
	prev, next *flight
}

// flight is one admitted request from before its dispatch to its end, whatever
// it turns into.
type flight struct {
	live       *Live
	p          *session.Principal // nil on a public path
	w          http.ResponseWriter
	conn       net.Conn // the client's connection, or nil
	shared     bool     // HTTP/2: conn carries other requests too
	ctx        *carried
	lease      upstream.Lease
	links      [2]link     // guarded by live.mu
	signingOut atomic.Bool // it ends its own session

	mu     sync.Mutex
	again  again // how to decide anew
	cause  *cutError
	tunnel *tunnel
	stream bool // an event stream, or about to be a WebSocket
	left   bool // the handler is done; w and conn are no longer ours
	gone   chan struct{}
}

// cut begins to end the flight and returns a channel that closes when its
// handler has left. The first cause stays.
func (f *flight) cut(why *cutError) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gone == nil {
		f.gone = make(chan struct{})
		if f.left {
			close(f.gone)
		}
	}
	if f.left || f.cause != nil {
		return f.gone
	}
	f.cause = why
	if f.tunnel != nil {
		go f.tunnel.end(why)
		return f.gone
	}
	// Cancelling stops the exchange with the application. The client's side may
	// hang in a read (upload) or write (a peer that does not read), and closing it
	// in net/http's way would hang too, and send what the kernel holds. The lock
	// keeps this off the next request of a kept connection.
	f.ctx.end()
	if f.conn != nil && !f.shared {
		sever(f.conn)
		return f.gone
	}
	// HTTP/2: deadlines in the past reset the stream alone.
	rc, past := http.NewResponseController(f.w), time.Unix(1, 0)
	_ = rc.SetReadDeadline(past)
	_ = rc.SetWriteDeadline(past)
	return f.gone
}

// force tears the client's connection down when the handler did not leave. With
// HTTP/2 that ends the others' streams on it too: when not even a reset of one
// stream gets through within the bound, its peer is not reading at all.
func (f *flight) force() {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.left:
	case f.tunnel != nil:
		f.tunnel.force()
	case f.conn != nil:
		sever(f.conn)
	}
}

// leave ends the registration. Call exactly once, at the end of the handler or,
// once it is a tunnel, of that.
func (f *flight) leave() {
	f.lease.Release()
	f.live.leave(f)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tunnel != nil {
		f.live.metrics.tunnels.Dec()
	}
	f.left = true
	if f.gone != nil {
		close(f.gone)
	}
}

// cutCause is why we ended the flight, or nil.
func (f *flight) cutCause() *cutError {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cause
}

func (f *flight) isStream() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stream || f.tunnel != nil
}

var errDraining = errors.New("proxy: shutting down")

// becomeStream marks what is about to be an event stream or a WebSocket, unless
// streams are being closed.
func (f *flight) becomeStream() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.live.draining.Load() {
		return errDraining
	}
	f.stream = true
	return nil
}

// hijack takes the client's connection over as a tunnel to app. One lock with cut
// and with Shutdown: whoever comes second sees the other. What only the handler
// needed is let go, so that it does not live as long as the tunnel.
func (f *flight) hijack(ctx context.Context, app io.ReadWriteCloser) (*tunnel, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cause != nil {
		return nil, f.cause
	}
	if f.live.draining.Load() {
		return nil, errDraining
	}
	c, rw, err := http.NewResponseController(f.w).Hijack()
	if err != nil {
		return nil, err
	}
	early := make([]byte, rw.Reader.Buffered())
	_, _ = io.ReadFull(rw.Reader, early) // from the buffer: it cannot fail
	c, rest := wire.Detach(c)
	f.tunnel = newTunnel(c, slices.Concat(early, rest), app, f, web.Detach(ctx))
	f.live.metrics.tunnels.Inc()
	f.again.slim()
	f.w, f.conn = nil, nil
	return f.tunnel, nil
}

func (f *flight) link(in membership, g *group) {
	l := &f.links[in]
	l.group, l.next = g, g.head
	if g.head != nil {
		g.head.links[in].prev = f
	}
	g.head = f
	g.n++
}

func (f *flight) unlink(in membership) {
	l := &f.links[in]
	if l.prev != nil {
		l.prev.links[in].next = l.next
	} else {
		l.group.head = l.next
	}
	if l.next != nil {
		l.next.links[in].prev = l.prev
	}
	l.group.n--
	*l = link{}
}

type connKey struct{}

// ConnContext is for http.Server.ConnContext of the listener in front of the
// gate. With it a client that was cut off is reset; without it, its connection
// only gets closed, and what the kernel holds is still sent.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

func connOf(ctx context.Context) net.Conn {
	c, _ := ctx.Value(connKey{}).(net.Conn)
	return c
}
