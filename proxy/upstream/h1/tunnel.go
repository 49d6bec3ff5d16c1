package h1

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"
)

// switchProtocols makes the response's body of the connection. Only where an
// upgrade was asked for, to a protocol that was named (RFC 9110 section 7.8): a
// tunnel that the client does not know of would carry its next request as data.
func (x *exchange) switchProtocols(h *head) error {
	if !asked(x.req.Header, h.header["Upgrade"]) {
		return errSwitch
	}
	if x.up != nil && !x.up.settle(true) {
		return errSwitchBody
	}
	// From here on the caller closes the connection, not the request's context: it
	// ends with the handler, and the tunnel may outlive that.
	if x.stop != nil {
		x.stop()
	}
	if !x.state.CompareAndSwap(live, over) {
		return net.ErrClosed
	}
	c := x.c
	t := &tunnel{conn: c.nc, done: func() { x.t.discard(c, dropAsked) }}
	if c.in.len() > 0 {
		t.early = append([]byte(nil), c.in.unread()...)
	}
	c.in.release() // a tunnel is mostly idle, and lives long
	_ = c.nc.SetDeadline(time.Time{})
	x.res.Body = t
	x.res.Close = h.closes()
	return nil
}

// asked reports that the request offered the one protocol that the response names.
func asked(req http.Header, upgrade []string) bool {
	if len(upgrade) != 1 || !httpguts.HeaderValuesContainsToken(req["Connection"], "upgrade") {
		return false
	}
	for _, v := range req["Upgrade"] {
		for offered := range strings.SplitSeq(v, ",") {
			if offered = trim(offered); offered != "" && strings.EqualFold(offered, upgrade[0]) {
				return true
			}
		}
	}
	return false
}

// tunnel is an upgraded connection: first what came together with the 101, then
// the wire.
type tunnel struct {
	conn  net.Conn
	early []byte // of the reading goroutine
	once  sync.Once
	done  func()
}

func (t *tunnel) Read(p []byte) (int, error) {
	if len(t.early) > 0 {
		n := copy(p, t.early)
		if t.early = t.early[n:]; len(t.early) == 0 {
			t.early = nil
		}
		return n, nil
	}
	return t.conn.Read(p)
}

func (t *tunnel) Write(p []byte) (int, error) { return t.conn.Write(p) }

// CloseWrite passes a half-close on.
func (t *tunnel) CloseWrite() error {
	if cw, ok := t.conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return http.ErrNotSupported
}

// Close closes the connection. Any goroutine may call it, more than once.
func (t *tunnel) Close() error {
	t.once.Do(t.done)
	return nil
}

var _ io.ReadWriteCloser = (*tunnel)(nil)
