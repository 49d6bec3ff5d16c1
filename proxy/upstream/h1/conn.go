package h1

import (
	"net"
	"syscall"
	"time"
)

// conn is one connection. Only the exchange that took it touches it.
type conn struct {
	nc  net.Conn
	raw syscall.RawConn // nil: it cannot be looked at, and is never kept

	in    buffer // while in use
	got   int    // bytes read in this exchange: none means that a retry may be safe
	inUse bool

	until     time.Time // both deadlines, as they were set last; zero when they may be others
	reused    bool
	born      time.Time
	expires   time.Time     // while idle
	announced time.Duration // the application's own limit for idle connections, 0 if unknown

	// For silent: a closure made per request would be an allocation.
	look  func(fd uintptr) bool
	quiet bool
	one   [1]byte
}

func newConn(nc net.Conn, now time.Time) *conn {
	c := &conn{nc: nc, born: now}
	if sc, ok := nc.(syscall.Conn); ok && canLook {
		if raw, err := sc.SyscallConn(); err == nil {
			c.raw = raw
		}
	}
	c.look = c.lookOnce
	return c
}

// slack is by how much a deadline may be late, rather than be set for every request: that
// costs as much as reading an answer does.
const slack = time.Second

// limit sets both deadlines to a time from now, exactly or by at most slack later where
// that is little.
func (c *conn) limit(now time.Time, d time.Duration) {
	if d < 10*slack {
		c.until = time.Time{}
		_ = c.nc.SetDeadline(now.Add(d))
		return
	}
	if !c.until.IsZero() && !c.until.Before(now.Add(d)) {
		return
	}
	c.until = now.Add(d + slack)
	_ = c.nc.SetDeadline(c.until)
}

// silent reports that the connection is open and nothing was sent on it since the
// last response ended.
func (c *conn) silent() bool {
	c.quiet = false
	err := c.raw.Read(c.look)
	return err == nil && c.quiet
}

// Read counts.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.nc.Read(p)
	c.got += n
	return n, err
}
