package h1

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// lateAnswer is how long an application may take to say why it stopped reading a
// request: its answer is worth more than our write error.
const lateAnswer = time.Second

// States of an exchange, see the package comment.
const (
	live int32 = iota
	over
	dead
)

// exchange is one request and its response on one connection. It is the body of
// the response, too, and holds the response and room for its header values, so
// that the common case is one allocation instead of five.
type exchange struct {
	res http.Response
	t   *Transport
	c   *conn
	req *http.Request
	up  *upload // nil without a body, or before the head is out
	// How the end of the request's context is noticed: one of them, or neither.
	watcher Watcher
	stop    func() bool

	state atomic.Int32
	sent  bool  // at least one byte went out
	werr  error // of writing the head
	drop  drop  // why the connection will not be kept; empty if it will

	mu   sync.Mutex // one Read at a time, and Close
	body body
	err  error // what Read answers from now on

	coding [1]string
	values [16]string
}

// do sends the request and reads the head of the response.
func (x *exchange) do(head []byte, up *upload) error {
	x.watch(x.req.Context())
	n, err := x.c.nc.Write(head)
	x.sent = n > 0
	switch {
	case err != nil && n == 0:
		return x.fail(fmt.Errorf("h1: write: %w", err))
	case err != nil:
		x.werr = fmt.Errorf("h1: write: %w", err)
		x.c.until = time.Time{}
		_ = x.c.nc.SetReadDeadline(time.Now().Add(lateAnswer))
	case up != nil:
		// The time for the response begins when the body is out.
		x.c.until = time.Time{}
		_ = x.c.nc.SetReadDeadline(time.Time{})
		x.up = up
		up.start(x)
	}
	if err := x.receive(); err != nil {
		return x.fail(err)
	}
	if x.werr != nil {
		up.close() // it was never begun
	}
	return nil
}

// receive reads heads until the final one, and makes the response of it.
func (x *exchange) receive() error {
	budget := x.t.o.MaxHeaderBytes
	var h head
	for n := 0; ; n++ {
		if n > maxInterims {
			return errInterims
		}
		block, lines, err := x.c.block(&budget, x.t.o.MaxHeaders, true)
		if err != nil {
			return x.noHead(err)
		}
		// A copy: the buffer goes back to others, header strings stay.
		if err := h.parse(string(block), lines, x.values[:0]); err != nil {
			return err
		}
		if h.code >= 200 || h.code == http.StatusSwitchingProtocols {
			break
		}
		if err := x.interim(&h); err != nil {
			return err
		}
	}
	if x.up != nil {
		x.up.answered(false)
	}
	res := &x.res
	res.Status, res.StatusCode = h.status, h.code
	res.Proto, res.ProtoMajor, res.ProtoMinor = h.proto, 1, h.minor
	res.Header, res.Request = h.header, x.req
	if h.code == http.StatusSwitchingProtocols {
		return x.switchProtocols(&h)
	}
	if err := x.frame(&h); err != nil {
		return err
	}
	if x.body.kind == noBody {
		res.Body = http.NoBody
		x.end(x.drop)
		return nil
	}
	res.Body = x
	return nil
}

// noHead names the error of a head that did not come.
func (x *exchange) noHead(err error) error {
	if _, ours := errors.AsType[*ProtocolError](err); ours {
		return err
	}
	if x.c.got == 0 && errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	return fmt.Errorf("h1: response header: %w", early(err))
}

// watch has the exchange killed when ctx ends.
func (x *exchange) watch(ctx context.Context) {
	if w, ok := ctx.(Watcher); ok {
		if x.watcher = w; !w.Watch(x) {
			x.kill()
		}
		return
	}
	if ctx.Done() != nil {
		x.stop = context.AfterFunc(ctx, x.kill)
	}
}

// Kill implements Killer.
func (x *exchange) Kill() { x.kill() }

// kill ends a live exchange from any goroutine. Once it is over the connection
// may be somebody else's, and nothing happens.
func (x *exchange) kill() {
	if x.state.CompareAndSwap(live, dead) {
		_ = x.c.nc.Close()
	}
}

// fail ends the exchange because of err and answers which error to report: what
// we did ourselves, then what the request's body did, come before what follows
// from that on the wire.
func (x *exchange) fail(err error) error {
	ctx := x.req.Context()
	cause := context.Cause(ctx) // before the rest of the time passes in end
	x.end(dropFault)
	if cause != nil {
		return cause
	}
	if x.up != nil {
		if uerr := x.up.result(); uerr != nil {
			return uerr
		}
	}
	if x.werr != nil {
		return x.werr
	}
	return err
}

// end settles what becomes of the connection. Exactly once, by the goroutine that
// reads the response.
func (x *exchange) end(why drop) {
	switch {
	case x.watcher != nil:
		x.watcher.Unwatch(x)
	case x.stop != nil:
		x.stop()
	}
	if x.up != nil && !x.up.settle(why == "") && why == "" {
		why = dropUpload
	}
	switch {
	case why != "":
	case x.werr != nil:
		why = dropUpload
	case x.c.in.len() > 0:
		why = dropLeftOver
	}
	if !x.state.CompareAndSwap(live, over) && why == "" {
		why = dropFault
	}
	if why == "" {
		x.t.give(x.c)
	} else {
		x.t.discard(x.c, why)
	}
}

// mayRetry reports that the application cannot have acted on the request, or that
// acting twice is the same as once (RFC 9110 section 9.2.2), and that the failure
// is one that a kept connection explains: the application closed it while the
// request was under way. PUT and DELETE are idempotent by the letter and often
// not in fact; an Idempotency-Key is a promise between others.
func (x *exchange) mayRetry(err error) bool {
	if !x.c.reused || x.c.got > 0 || x.req.Context().Err() != nil {
		return false
	}
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		return false
	}
	if _, ok := errors.AsType[*UploadError](err); ok {
		return false
	}
	if !x.sent {
		return true // the body was not touched either
	}
	switch x.req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return x.up == nil || x.req.GetBody != nil && x.up.joined()
	}
	return false
}
