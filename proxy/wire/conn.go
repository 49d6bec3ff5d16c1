package wire

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ssogate/ssogate/proxy/canonical"
)

// RefusedHost is the Host of a request that stands for one that was refused. No client
// can send it over such a connection: no name and no address has these bytes.
const RefusedHost = "(refused)"

// refusedHead is what follows the method of such a request.
const refusedHead = "/ HTTP/1.1\r\nHost: " + RefusedHost + "\r\nConnection: close\r\n\r\n"

// poison ends a body that net/http has begun to read: in a chunk size, behind a chunk
// and as a trailer section it is malformed, and it ends each of them.
const poison = "\x00\r\n\r\n"

// What a client may still send while it is told of its refusal. Closing with bytes
// unread resets the connection, and the client may lose the answer.
const (
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 256 << 10
)

// Conn is one HTTP/1 connection of a [Listen]ed listener. Reading is for one goroutine
// at a time, as net/http does it.
type Conn struct {
	net.Conn
	held    *held
	scanner scanner
	limit   int32
	closed  atomic.Bool
	why     atomic.Pointer[canonical.Refusal]
}

// held is what has been read and not delivered: a section that is not whole, and what
// came with its end.
type held struct {
	window
	off int // up to here it has been delivered
}

var spare = sync.Pool{New: func() any { return &held{window: window{b: make([]byte, 0, 4<<10)}} }}

// maxSpare is the largest buffer that is kept.
const maxSpare = 64 << 10

func (c *Conn) hold() *held {
	if c.held == nil {
		c.held, _ = spare.Get().(*held)
	}
	return c.held
}

func (c *Conn) drop() {
	h := c.held
	c.held = nil
	if cap(h.b) <= maxSpare {
		*h = held{window: window{b: h.b[:0]}}
		spare.Put(h)
	}
}

// Read implements net.Conn.
func (c *Conn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return c.Conn.Read(b)
	}
	for {
		if h := c.held; h != nil && h.off < h.ready {
			return c.give(b), nil
		}
		switch c.scanner.phase {
		case broken:
			return 0, io.ErrUnexpectedEOF
		case offered:
			if len(b) == 1 {
				return c.peek(b)
			}
			c.resume()
			continue
		default:
		}
		n, err := c.Conn.Read(b)
		switch {
		case n > 0 && c.scanner.phase == refused:
			// Blocking as an idle client does: an error would cancel an earlier request that
			// is still being answered.
		case n > 0:
			if n = c.look(b[:n]); n > 0 {
				return n, nil
			}
			continue
		}
		if err != nil {
			return 0, err
		}
	}
}

// peek answers a read of one byte while it is not known what a handshake leads to. That is
// how net/http notices a client that leaves, and nobody else reads so; more it does not
// get, so that what follows can still be held to the rules of a request. A byte with
// which none begins, like that of a frame, it does not get either: it could not be
// taken back.
func (c *Conn) peek(b []byte) (int, error) {
	h := c.hold()
	for h.off == len(h.b) || !token[h.b[h.off]] {
		if len(h.b) >= int(c.limit) {
			return 0, io.ErrUnexpectedEOF // nobody sends so much before he is answered
		}
		h.b = slices.Grow(h.b, 1)
		n, err := c.Conn.Read(h.b[len(h.b):cap(h.b)])
		h.b = h.b[:len(h.b)+n]
		if n == 0 {
			if len(h.b) == 0 {
				c.drop()
			}
			return 0, err
		}
	}
	b[0] = h.b[h.off]
	h.off++
	h.ready = h.off
	return 1, nil
}

// resume takes what follows a handshake for a request: net/http asks for one, so there is
// no tunnel. Of its first byte net/http may know already.
func (c *Conn) resume() {
	c.scanner = scanner{}
	h := c.held
	if h == nil {
		return
	}
	h.head, h.line, h.seen = 0, 0, 0
	if at, whole, why := c.scanner.scan(&h.window, int(c.limit)); why != nil {
		c.refuse(h, at, whole, why, methodOf(h.b[at:]))
	}
	h.ready = max(h.ready, h.off)
}

// look checks what was read and answers how much of it may be delivered at once.
func (c *Conn) look(b []byte) int {
	if h := c.held; h != nil {
		h.b = append(h.b, b...)
		if at, whole, why := c.scanner.scan(&h.window, int(c.limit)); why != nil {
			c.refuse(h, at, whole, why, methodOf(h.b[at:]))
		}
		return 0 // it is delivered from there
	}
	w := window{b: b}
	at, whole, why := c.scanner.scan(&w, int(c.limit))
	if why == nil && w.head == len(w.b) {
		return w.ready
	}
	h := c.hold()
	if why != nil {
		c.refuse(h, 0, whole, why, methodOf(w.b[at:]))
		return at
	}
	h.window = window{b: append(h.b[:0], w.b[w.head:]...), line: w.line - w.head, seen: max(w.seen-w.head, 0)}
	h.off = max(w.ready-w.head, 0)
	h.ready = h.off
	return w.ready
}

// give delivers what is held.
func (c *Conn) give(b []byte) int {
	h := c.held
	n := copy(b, h.b[h.off:h.ready])
	switch h.off += n; {
	case h.off == len(h.b) && h.head == len(h.b):
		c.drop()
	case h.off == h.ready && h.head > 0:
		h.b = h.b[:copy(h.b, h.b[h.head:])]
		h.off, h.ready, h.line, h.seen = h.off-h.head, h.ready-h.head, h.line-h.head, max(h.seen-h.head, 0)
		h.head = 0
	}
	return n
}

// refuse cuts what is held at the end of what was good, and puts there what net/http
// will stumble over. whole: the request has not been handed over, and is replaced as a
// whole but for its method, of which some may be out.
func (c *Conn) refuse(h *held, at int, whole bool, why *canonical.Refusal, method string) {
	c.why.Store(why)
	if !whole {
		h.b = append(h.b[:at], poison...)
		c.scanner = scanner{phase: broken}
	} else {
		switch {
		case h.off <= at:
			h.b = append(append(h.b[:at], method...), ' ')
		case h.b[h.off-1] != ' ':
			h.b = append(h.b[:h.off], ' ')
		default:
			h.b = h.b[:h.off]
		}
		h.b = append(h.b, refusedHead...)
		c.scanner = scanner{phase: refused}
	}
	h.ready, h.head, h.line, h.seen = len(h.b), len(h.b), len(h.b), 0
}

// methodOf is what a request begins with, if that is a method.
func methodOf(b []byte) string {
	n := 0
	for n < len(b) && n <= maxMethod && token[b[n]] {
		n++
	}
	if n == 0 || n > maxMethod || n == len(b) || b[n] != ' ' {
		return "GET"
	}
	return string(b[:n])
}

// Close implements net.Conn. A client that was refused has a moment to read why.
func (c *Conn) Close() error {
	if c.why.Load() == nil || !c.closed.CompareAndSwap(false, true) {
		return c.Conn.Close()
	}
	// Beside: http.Server.Close closes one connection after the other.
	go linger(c.Conn)
	return nil
}

func linger(c net.Conn) {
	defer func() { _ = c.Close() }()
	_ = closeWrite(c)
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
		_ = closeWrite(c)
	}
	_ = c.SetReadDeadline(time.Now().Add(lingerTime)) // socket deadlines are on the real clock
	_, _ = io.CopyN(io.Discard, c, lingerBytes)
}

// CloseWrite is what net/http asks for before it closes.
func (c *Conn) CloseWrite() error { return closeWrite(c.Conn) }

func closeWrite(c net.Conn) error {
	if cw, ok := c.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return errors.ErrUnsupported
}

// NetConn is what is wrapped, as tls.Conn has it: whoever must reset a peer needs the
// socket.
func (c *Conn) NetConn() net.Conn { return c.Conn }

func (c *Conn) wire() *Conn { return c }

// of is the connection of ours that c is, or nil.
func of(c net.Conn) *Conn {
	if w, ok := c.(interface{ wire() *Conn }); ok {
		return w.wire()
	}
	return nil
}

// Detach gives up the watch over a connection that was taken over after a handshake, and
// answers what is wrapped, and what was read behind the handshake that net/http has not
// got. Any other connection is answered as it is.
func Detach(c net.Conn) (inner net.Conn, rest []byte) {
	w := of(c)
	if w == nil {
		return c, nil
	}
	if h := w.held; h != nil {
		rest = bytes.Clone(h.b[min(h.off, len(h.b)):])
		w.drop()
	}
	return w.Conn, rest
}

// Refused reports whether anything that came over c was refused.
func Refused(c net.Conn) bool {
	w := of(c)
	return w != nil && w.why.Load() != nil
}

// Refusal is why the request with this Host that came over c was refused, or nil.
func Refusal(c net.Conn, host string) *canonical.Refusal {
	if host != RefusedHost || !Refused(c) {
		return nil
	}
	return of(c).why.Load()
}

// plainConn keeps the way in which the kernel copies a file or an upstream's answer to
// the client.
type plainConn struct{ Conn }

// ReadFrom implements io.ReaderFrom.
func (c *plainConn) ReadFrom(r io.Reader) (int64, error) {
	if rf, ok := c.Conn.Conn.(io.ReaderFrom); ok {
		return rf.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{c.Conn.Conn}, r)
}

// secureConn tells net/http of TLS: for http.Request.TLS.
type secureConn struct{ Conn }

// ConnectionState is as in tls.Conn.
func (c *secureConn) ConnectionState() tls.ConnectionState {
	if t, ok := c.Conn.Conn.(*tls.Conn); ok {
		return t.ConnectionState()
	}
	return tls.ConnectionState{}
}

var (
	_ io.ReaderFrom = (*plainConn)(nil)
	_ net.Conn      = (*secureConn)(nil)
)
