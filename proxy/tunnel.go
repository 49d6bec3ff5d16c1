package proxy

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ssogate/ssogate/internal/web"
)

// How long a client may take to take its close frame, and to answer it. Both
// lie inside the second within which a cut-off must be true (G1).
const (
	closeWriteGrace = 250 * time.Millisecond
	closeDrainGrace = 250 * time.Millisecond
)

// tunnel is an upgraded connection. Two pumps carry it on after the handler has
// returned: an idle one costs their two small stacks and buffers, not net/http's
// and ReverseProxy's (row W03). It knows how to end in the protocol's own terms:
// a close frame with a code tells a page "signed out" instead of "network
// trouble, try again at once".
type tunnel struct {
	client net.Conn
	app    io.ReadWriteCloser // gives first what came together with the 101
	early  []byte             // what was read beyond the request
	flight *flight
	record web.Detached
	users  atomic.Int32 // both pumps, and end while it runs; the last one clears up

	closing atomic.Bool   // set first: from then on nothing from the client is passed on
	drained chan struct{} // closed when reading from the client ended
	eof     sync.Once

	mu          sync.Mutex // one writer at a time, and frames
	frames      frames
	established bool // the 101 is out: frames may follow
	dead        bool // no further writes
}

func newTunnel(client net.Conn, early []byte, app io.ReadWriteCloser, f *flight, record web.Detached) *tunnel {
	t := &tunnel{client: client, app: app, early: early, flight: f, record: record, drained: make(chan struct{})}
	t.users.Store(2)
	return t
}

// start sends the 101 and begins to pump. The caller owns nothing of it, nor of
// its flight, any more. Call it exactly once.
func (t *tunnel) start(head []byte) {
	if err := t.greet(head); err != nil {
		t.done(err)
		t.done(err)
		return
	}
	go t.up()
	go t.down()
}

func (t *tunnel) greet(head []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dead {
		return net.ErrClosed // cut between the decision and here
	}
	_, err := t.client.Write(head)
	t.established = err == nil
	return err
}

// up carries what the client sends to the application.
func (t *tunnel) up() {
	t.pump(func() error {
		err := relay(t.app, t)
		switch {
		case t.closing.Load():
			_, _ = t.Read(make([]byte, idleBuffer)) // drops the rest
		case err == nil:
			err = closeWrite(t.app)
		}
		return err
	})
}

// down carries what the application sends to the client.
func (t *tunnel) down() {
	t.pump(func() error {
		err := relay(t, t.app)
		if err == nil {
			err = t.closeWrite()
		}
		return err
	})
}

var errPump = errors.New("proxy: panic in a tunnel")

// pump is one direction until it ends. Nobody else would recover for it: a panic
// ends the tunnel and not the process (fault 25).
func (t *tunnel) pump(carry func() error) {
	err := errPump
	defer func() {
		if v := recover(); v != nil {
			t.record.Panicked(v)
		}
		t.done(err)
	}()
	err = carry()
}

// done is a pump's last act. A direction that ended well leaves the other one
// open; one that broke ends both, unless end does it in its own way.
func (t *tunnel) done(err error) {
	if err != nil && !t.closing.Load() {
		_ = t.client.Close()
		_ = t.app.Close()
	}
	t.release()
}

func (t *tunnel) release() {
	if t.users.Add(-1) > 0 {
		return
	}
	_ = t.client.Close()
	_ = t.app.Close()
	t.record.End()
	t.flight.leave()
}

// join keeps a tunnel that has not ended from being cleared up.
func (t *tunnel) join() bool {
	for {
		n := t.users.Load()
		if n == 0 {
			return false
		}
		if t.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Read reads from the client, first what arrived together with the handshake. While
// closing, what the client still sends is read and dropped, so that its
// answer to our close frame, and not a reset, is the last thing on the wire.
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
	if len(t.early) > 0 {
		n := copy(b, t.early)
		t.early = t.early[n:]
		return n, nil
	}
	t.early = nil
	return t.client.Read(b)
}

// Write writes to the client.
func (t *tunnel) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dead {
		return 0, net.ErrClosed
	}
	n, err := t.client.Write(b)
	t.frames.advance(b[:n])
	return n, err
}

// closeWrite passes the application's half-close on.
func (t *tunnel) closeWrite() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dead = true
	return closeWrite(t.client)
}

// end closes both sides: no byte passes any more, the client gets a close frame
// if one fits between two frames, and is reset if it does not take it in time.
// It returns after at most both graces. Call once.
func (t *tunnel) end(c *cutError) {
	if !t.join() {
		return
	}
	defer t.release()
	t.closing.Store(true)
	t.record.Annotate("cut", c.reason)
	// Whatever hangs in TLS, which sets deadlines of its own, ends with the socket.
	guard := time.AfterFunc(closeWriteGrace+closeDrainGrace, func() { sever(t.client) })
	defer guard.Stop()
	// Ends a write that is stuck because the client does not read; it holds mu.
	_ = t.client.SetWriteDeadline(time.Now().Add(closeWriteGrace)) // socket deadlines are on the real clock
	t.mu.Lock()
	polite := t.established && !t.dead && t.frames.boundary()
	if polite {
		_, err := t.client.Write(closeFrame(c.code, c.text))
		polite = err == nil
	}
	t.dead = true
	t.mu.Unlock()
	go func() { _ = t.app.Close() }() // beside: it may hang in TLS too
	if !polite {
		sever(t.client)
		return
	}
	_ = closeWrite(t.client)
	timer := time.NewTimer(closeDrainGrace)
	defer timer.Stop()
	select {
	case <-t.drained:
	case <-timer.C:
	}
	_ = socket(t.client).Close()
}

// force tears both sides down at once.
func (t *tunnel) force() {
	sever(t.client)
	go func() { _ = t.app.Close() }()
}

func closeWrite(c any) error {
	if cw, ok := c.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return errors.ErrUnsupported
}

// socket is what lies below TLS and our own wrapper.
func socket(c net.Conn) net.Conn {
	for {
		in, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c
		}
		c = in.NetConn()
	}
}

// sever closes at once with a reset and drops what was not sent yet, so that a
// peer that reads slowly does not go on receiving from the kernel's buffer. It
// goes past TLS, whose Close waits up to five seconds for a peer that does not read.
func sever(c net.Conn) {
	c = socket(c)
	if l, ok := c.(interface{ SetLinger(sec int) error }); ok {
		_ = l.SetLinger(0)
	}
	_ = c.Close()
}
