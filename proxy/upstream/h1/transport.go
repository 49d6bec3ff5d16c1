package h1

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// Options of [New]. Zero values mean the defaults named.
type Options struct {
	// Dial connects to the one application, names and several addresses included.
	// It is called for each new connection, so a changed address is found.
	// Required. A connection that is no syscall.Conn is never kept, because nobody
	// could look whether it is still silent.
	Dial func(ctx context.Context) (net.Conn, error)

	DialTimeout time.Duration // one Dial; default 3s
	// Header limits the time from the request sent, body included, to the end of
	// the response's head, and each write in which the application takes nothing.
	// Default 60s.
	Header time.Duration
	// Silence limits the time without a byte inside a response body. Default none:
	// an event stream says nothing for as long as nothing happens.
	Silence time.Duration
	// Continue is how long a request that expects 100-continue waits for it before
	// it sends its body anyway (RFC 9110 section 10.1.1). Default 1s.
	Continue time.Duration

	// IdleTimeout closes a connection that was not used for that long. It should be
	// below the application's own limit; where that is announced (Keep-Alive:
	// timeout), the smaller one counts. Default 50s.
	IdleTimeout time.Duration
	// MaxAge ends keeping a connection, so that a changed address is found even
	// under steady load. Default 10m.
	MaxAge  time.Duration
	MaxIdle int // idle connections kept; default 512

	MaxHeaderBytes int // one response's heads, interim ones included; trailers again; default 256 KiB
	MaxHeaders     int // lines of one head; default 1000

	// BeforeRetry is asked before a request is sent a second time; an error ends
	// it, and is what RoundTrip returns. Nil allows.
	BeforeRetry func(ctx context.Context) error
}

func (o Options) withDefaults() Options {
	for d, v := range map[*time.Duration]time.Duration{
		&o.DialTimeout: 3 * time.Second, &o.Header: 60 * time.Second, &o.Continue: time.Second,
		&o.IdleTimeout: 50 * time.Second, &o.MaxAge: 10 * time.Minute,
	} {
		if *d <= 0 {
			*d = v
		}
	}
	for n, v := range map[*int]int{&o.MaxIdle: 512, &o.MaxHeaderBytes: 256 << 10, &o.MaxHeaders: 1000} {
		if *n <= 0 {
			*n = v
		}
	}
	return o
}

// Transport sends requests to one application. It is an http.RoundTripper, safe
// for concurrent use. Of an httptrace.ClientTrace it calls Got1xxResponse and
// Got100Continue.
type Transport struct {
	o      Options
	skew   time.Duration // tests let time pass
	settle time.Duration // settleGrace; tests on a busy machine wait longer
	pool   pool
	opened atomic.Uint64
	inUse  atomic.Int64
	sweeps func()            // sweep; a method value made per use would be an allocation
	closed func(reason drop) // tests look on; nil otherwise
}

// New makes a transport. It panics without a Dial, a mistake of the programmer.
func New(o Options) *Transport {
	if o.Dial == nil {
		// No input leads here: proxy/upstream, which alone makes transports, gives a
		// function of its own. Found at the start, not by the first member's request.
		panic("h1: no Dial")
	}
	t := &Transport{o: o.withDefaults(), settle: settleGrace}
	t.sweeps = t.sweep
	return t
}

// Opened is the number of connections made so far.
func (t *Transport) Opened() uint64 { return t.opened.Load() }

// InUse is the number of connections that carry an exchange or a tunnel now.
func (t *Transport) InUse() int64 { return t.inUse.Load() }

// Idle is the number of connections kept for later.
func (t *Transport) Idle() int { return t.pool.len() }

// CloseIdleConnections closes what is idle now, and what becomes idle before the
// next request: a transport that was replaced keeps nothing.
func (t *Transport) CloseIdleConnections() {
	for _, c := range t.pool.drain() {
		t.discard(c, dropIdleClosed)
	}
}

// RoundTrip sends the request and reads the response's head. The request's body
// is closed in every case. The response's body must be closed; read to its end it
// gives the connection back, closed before that it closes the connection.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	up := uploadOf(req)
	head := getBuffer()[:0]
	defer func() { putBuffer(head) }() // it may have grown
	var err error
	if head, err = appendHead(head, req, up); err != nil {
		up.close()
		return nil, err
	}
	x, err := t.try(req, up, head, false)
	if err == nil {
		return &x.res, nil
	}
	if x == nil || !x.mayRetry(err) {
		up.close()
		return nil, err
	}
	// Only once, and on a new connection: when one idle connection turned out to be
	// dead, the others are likely to be so too (the application restarted).
	if t.o.BeforeRetry != nil {
		if err := t.o.BeforeRetry(req.Context()); err != nil {
			up.close()
			return nil, err
		}
	}
	if up, err = up.rewind(req); err != nil {
		return nil, err
	}
	x, err = t.try(req, up, head, true)
	if err != nil {
		up.close()
		return nil, err
	}
	return &x.res, nil
}

// try is one attempt. x is nil when it ended before a byte could be sent for lack
// of a connection.
func (t *Transport) try(req *http.Request, up *upload, head []byte, fresh bool) (x *exchange, err error) {
	ctx := req.Context()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var c *conn
	if !fresh {
		c = t.reuse()
	}
	if c == nil {
		if c, err = t.dial(ctx); err != nil {
			return nil, err
		}
	}
	x = &exchange{t: t, c: c, req: req}
	if err := x.do(head, up); err != nil {
		return x, err
	}
	return x, nil
}

// reuse answers the newest idle connection on which nothing has happened, or nil.
func (t *Transport) reuse() *conn {
	now := time.Now()
	for {
		c := t.pool.pop()
		if c == nil {
			return nil
		}
		if !now.Add(t.skew).Before(c.expires) {
			t.discard(c, dropExpired)
			continue
		}
		// Before looking: a deadline of the last exchange may have passed meanwhile.
		c.limit(now, t.o.Header)
		// The end of the stream, or bytes nobody asked for: these would be taken for
		// the answer to the next request, of somebody else.
		if !c.silent() {
			t.discard(c, dropNotSilent)
			continue
		}
		t.take(c)
		c.reused = true
		return c
	}
}

func (t *Transport) dial(ctx context.Context) (*conn, error) {
	dctx, cancel := context.WithTimeout(ctx, t.o.DialTimeout)
	defer cancel()
	nc, err := t.o.Dial(dctx)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, &DialError{err}
	case nc == nil:
		return nil, &DialError{errors.New("no connection")}
	}
	t.opened.Add(1)
	now := time.Now()
	c := newConn(nc, now)
	c.limit(now, t.o.Header)
	t.take(c)
	return c, nil
}

// take begins the use of a connection; give or discard after take ends it.
func (t *Transport) take(c *conn) {
	t.inUse.Add(1)
	c.inUse = true
	c.got = 0
	c.in.acquire()
}

// give keeps the connection for the next request.
func (t *Transport) give(c *conn) {
	now := time.Now().Add(t.skew)
	switch {
	case c.raw == nil:
		t.discard(c, dropBlind)
		return
	case now.Sub(c.born) >= t.o.MaxAge:
		t.discard(c, dropOld)
		return
	}
	c.in.release()
	c.inUse = false
	t.inUse.Add(-1)
	limit := t.o.IdleTimeout
	if c.announced > 0 {
		limit = min(limit, c.announced)
	}
	c.expires = now.Add(limit)
	if !t.pool.push(c, t.o.MaxIdle) {
		t.discard(c, dropTooMany)
		return
	}
	t.pool.watch(now, c.expires, t.sweeps)
}

// discard closes a connection, whatever state it is in.
func (t *Transport) discard(c *conn, why drop) {
	_ = c.nc.Close()
	if c.inUse {
		c.inUse = false
		c.in.release()
		t.inUse.Add(-1)
	}
	if t.closed != nil {
		t.closed(why)
	}
}

// sweep closes what has been idle for too long, so that it does not keep a
// descriptor until somebody comes by.
func (t *Transport) sweep() {
	now := time.Now().Add(t.skew)
	expired, next := t.pool.expired(now)
	for _, c := range expired {
		t.discard(c, dropExpired)
	}
	if !next.IsZero() {
		t.pool.watch(now, next, t.sweeps)
	}
}

// drop is why a connection was not kept. For tests and their table.
type drop string

const (
	dropIdleClosed drop = "closed while idle"
	dropExpired    drop = "idle for too long"
	dropNotSilent  drop = "not silent while idle"
	dropBlind      drop = "cannot be looked at"
	dropOld        drop = "too old"
	dropTooMany    drop = "too many idle"
	dropAsked      drop = "one side asked for it"
	dropEndByClose drop = "body ends with the connection"
	dropBadNoBody  drop = "framing on a status without a body"
	dropLeftOver   drop = "bytes after the response"
	dropUpload     drop = "request body not sent whole"
	dropUnread     drop = "response body not read"
	dropFault      drop = "fault"
)

var _ http.RoundTripper = (*Transport)(nil)
