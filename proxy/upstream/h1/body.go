package h1

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"time"

	"golang.org/x/net/http/httpguts"
)

// kind is how the end of a response body is found.
type kind uint8

const (
	noBody kind = iota
	lengthBody
	chunkedBody
	untilClose
)

// body is where in a response body we are.
type body struct {
	kind    kind
	step    step  // chunked: what comes next
	left    int64 // bytes left, of the body or of the chunk
	excess  int64 // chunked: bytes that are no data, see chunkLine
	cleared bool  // the head's time limit is off the connection
}

// Read reads the response body. What has arrived is answered at once: an event
// stream must not wait for a buffer to fill. The end comes together with the last
// bytes where that is possible, and by then the connection is back in the pool.
func (x *exchange) Read(p []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err != nil {
		return 0, x.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	var n int
	var err error
	switch x.body.kind {
	case lengthBody:
		n, err = x.readLength(p)
	case chunkedBody:
		n, err = x.readChunked(p)
	default:
		n, err = x.readAny(p)
	}
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		x.err = io.EOF
		x.end(x.drop)
	default:
		if _, ours := errors.AsType[*ProtocolError](err); !ours {
			err = fmt.Errorf("h1: response body: %w", err)
		}
		x.err = x.fail(err)
	}
	return n, x.err
}

// Close ends the exchange. Unlike http.ReadResponse's body it never reads the
// rest: that may be endless. It may be called while another goroutine reads.
func (x *exchange) Close() error {
	if !x.mu.TryLock() {
		x.kill() // ends a Read that waits
		x.mu.Lock()
	}
	defer x.mu.Unlock()
	if x.err == nil {
		x.end(dropUnread)
	}
	x.err = http.ErrBodyReadAfterClose
	return nil
}

func (x *exchange) readLength(p []byte) (int, error) {
	if int64(len(p)) > x.body.left {
		p = p[:x.body.left]
	}
	n, err := x.readAny(p)
	x.body.left -= int64(n)
	switch {
	case x.body.left == 0:
		return n, io.EOF
	case err != nil:
		return n, early(err)
	}
	return n, nil
}

// readAny answers what is buffered, or else reads once.
func (x *exchange) readAny(p []byte) (int, error) {
	in := &x.c.in
	if in.len() == 0 {
		x.patient()
		if len(p) >= bufferSize {
			return x.c.Read(p) // no need to copy
		}
		if err := in.fill(x.c, bufferSize); err != nil {
			return 0, err
		}
	}
	n := copy(p, in.unread())
	in.r += n
	return n, nil
}

// patient is called before a read that may wait. The limit for the head does not
// count any more. It is taken off as late as this because most responses arrive
// whole, and changing a deadline costs.
func (x *exchange) patient() {
	switch {
	case x.t.o.Silence > 0:
		x.c.until = time.Time{}
		_ = x.c.nc.SetReadDeadline(time.Now().Add(x.t.o.Silence))
	case !x.body.cleared:
		x.c.until = time.Time{}
		_ = x.c.nc.SetReadDeadline(time.Time{})
		x.body.cleared = true
	}
}

// trailers reads the trailer section. Fields that would change how the message
// is read, or who may see it, are dropped (RFC 9110 section 6.5.1).
func (x *exchange) trailers() error {
	budget := x.t.o.MaxHeaderBytes
	block, lines, err := x.c.block(&budget, x.t.o.MaxHeaders, false)
	if err != nil {
		return early(err)
	}
	if lines == 0 {
		return nil
	}
	h, _, err := parseFields(string(block), lines, nil)
	if err != nil {
		return err
	}
	maps.DeleteFunc(h, func(name string, _ []string) bool { return !httpguts.ValidTrailerHeader(name) })
	if x.res.Trailer == nil {
		x.res.Trailer = h
	} else {
		maps.Copy(x.res.Trailer, h)
	}
	return nil
}

var _ io.ReadCloser = (*exchange)(nil)
