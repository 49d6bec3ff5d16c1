package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// How long a client may take to take its close frame, and to answer it. Both
// lie inside the second within which a cut-off must be true (G1).
const (
	closeWriteGrace = 250 * time.Millisecond
	closeDrainGrace = 250 * time.Millisecond
)

// tunnel is the client's side of an upgraded connection. It lets the copying of
// httputil.ReverseProxy pass, and knows how to end it in the protocol's own
// terms: a close frame with a code tells a page "signed out" instead of
// "network trouble, try again at once".
type tunnel struct {
	net.Conn
	early *bufio.Reader // what the server had read beyond the request

	closing  atomic.Bool   // set first: from then on nothing from the client is passed on
	drained  chan struct{} // closed when reading ended
	finished chan struct{} // closed when end is done
	eof      sync.Once

	mu          sync.Mutex // one writer at a time, and frames
	frames      frames
	head        headEnd
	established bool // the 101 is out: frames may follow
	dead        bool // no further writes
}

func newTunnel(c net.Conn, early *bufio.Reader) *tunnel {
	return &tunnel{Conn: c, early: early, drained: make(chan struct{}), finished: make(chan struct{})}
}

// Read first gives what arrived together with the handshake: ReverseProxy reads
// the connection only and would lose it. While closing, what the client still
// sends is read and dropped, so that its answer to our close frame, and not a
// reset, is the last thing on the wire.
func (t *tunnel) Read(b []byte) (int, error) {
	for {
		n, err := t.read(b)
		if err != nil {
			t.eof.Do(func() { close(t.drained) })
		}
		if !t.closing.Load() {
			return n, err
		}
		if err != nil {
			return 0, err
		}
	}
}

func (t *tunnel) read(b []byte) (int, error) {
	if t.early != nil {
		if n := t.early.Buffered(); n > 0 {
			return t.early.Read(b[:min(len(b), n)])
		}
		t.early = nil
	}
	return t.Conn.Read(b)
}

func (t *tunnel) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dead {
		return 0, net.ErrClosed
	}
	n, err := t.Conn.Write(b)
	t.frames.advance(b[:n])
	return n, err
}

// CloseWrite passes the application's half-close on.
func (t *tunnel) CloseWrite() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dead = true
	return closeWrite(t.Conn)
}

// Close waits for an end that is under way: closing earlier would turn the
// close frame into a reset.
func (t *tunnel) Close() error {
	if t.closing.Load() {
		<-t.finished
		return nil
	}
	return t.Conn.Close()
}

// end closes both sides: no byte passes any more, the client gets a close frame
// if one fits between two frames, and is reset if it does not take it in time.
// It returns after at most both graces. Call once.
func (t *tunnel) end(c *cutError, cancel context.CancelCauseFunc) {
	defer close(t.finished)
	t.closing.Store(true)
	start := time.Now() // socket deadlines are on the real clock
	// Ends a write that is stuck because the client does not read; it holds mu.
	_ = t.Conn.SetWriteDeadline(start.Add(closeWriteGrace))
	t.mu.Lock()
	polite := t.established && !t.dead && t.frames.boundary()
	if polite {
		_, err := t.Conn.Write(closeFrame(c.code, c.text))
		polite = err == nil
	}
	t.dead = true
	t.mu.Unlock()
	cancel(c) // ReverseProxy closes the application's side
	if polite {
		_ = closeWrite(t.Conn)
		_ = t.Conn.SetReadDeadline(time.Now().Add(closeDrainGrace))
		timer := time.NewTimer(closeDrainGrace)
		defer timer.Stop()
		select {
		case <-t.drained:
		case <-timer.C:
		}
	} else {
		resetOnClose(t.Conn) // also discards what lies in the send buffer (C10)
	}
	_ = t.Conn.Close()
}

// handshake writes the 101 and notes where it ends. ReverseProxy writes it
// beside the copying, so a close frame could otherwise come before it.
type handshake struct{ t *tunnel }

func (h handshake) Write(b []byte) (int, error) {
	h.t.mu.Lock()
	defer h.t.mu.Unlock()
	if h.t.dead {
		return 0, net.ErrClosed
	}
	n, err := h.t.Conn.Write(b)
	h.t.established = h.t.established || h.t.head.seen(b[:n])
	return n, err
}

// headEnd finds the empty line that ends a header block, across writes.
type headEnd struct{ matched int }

func (e *headEnd) seen(b []byte) bool {
	const end = "\r\n\r\n"
	for _, c := range b {
		switch {
		case c == end[e.matched]:
			e.matched++
		case c == '\r':
			e.matched = 1
		default:
			e.matched = 0
		}
		if e.matched == len(end) {
			return true
		}
	}
	return false
}

func closeWrite(c net.Conn) error {
	if cw, ok := c.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return nil
}

// resetOnClose makes Close send RST and drop what was not sent yet, so that a
// peer that reads slowly does not go on receiving from the kernel's buffer.
func resetOnClose(c net.Conn) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if l, ok := c.(interface{ SetLinger(sec int) error }); ok {
		_ = l.SetLinger(0)
	}
}

type connKey struct{}

// ConnContext is for http.Server.ConnContext of the listener in front of the
// gate. With it a cut request of a client that does not read is reset; without
// it, its connection only gets closed, and what the kernel holds is still sent.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

func connOf(ctx context.Context) net.Conn {
	c, _ := ctx.Value(connKey{}).(net.Conn)
	return c
}
