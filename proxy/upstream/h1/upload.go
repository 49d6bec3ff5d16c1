package h1

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"
)

const (
	// settleGrace is how long a response that has ended waits for the upload: an
	// application that answers with its last read is ahead of our goroutine by
	// microseconds. http.Transport waits as long.
	settleGrace = 50 * time.Millisecond
	// joinGrace is how long a body's Read may take to notice its Close.
	joinGrace = 100 * time.Millisecond

	uploadBuffer = 32 << 10
	sizeRoom     = 10 // for "8000\r\n" before the data of a chunk
)

var uploadBuffers = sync.Pool{New: func() any { return new([sizeRoom + uploadBuffer + 2]byte) }}

// upload is a request body on its way to the application. A goroutine carries it,
// because the response may come before it is out. Its buffer is its own: when a
// body's Read does not return, leaving the goroutine behind hurts nobody.
type upload struct {
	body   io.ReadCloser
	length int64 // -1: unknown, chunked
	x      *exchange

	goAhead chan bool // nil unless 100-continue is expected; false: do not send
	expects bool
	done    chan struct{} // nil before start
	err     error         // once done is closed
	stopped atomic.Bool
	shut    atomic.Bool

	mu       sync.Mutex
	headDone bool // the final head has arrived: its time limit is off
}

// uploadOf is nil for a request without a body.
func uploadOf(req *http.Request) *upload {
	if req.Body == nil || req.Body == http.NoBody {
		return nil
	}
	up := &upload{body: req.Body, length: req.ContentLength}
	chunked := len(req.TransferEncoding) > 0 && req.TransferEncoding[0] == "chunked"
	if up.length == 0 || chunked {
		up.length = -1 // a body without a length is one of unknown length
	}
	up.expects = httpguts.HeaderValuesContainsToken(req.Header["Expect"], "100-continue")
	if up.length < 0 && !chunked && !up.expects && usuallyBodiless(req.Method) && up.empty() {
		up.close()
		return nil
	}
	return up
}

func usuallyBodiless(method string) bool {
	switch method {
	case "", http.MethodGet, http.MethodHead, http.MethodDelete, http.MethodOptions, "PROPFIND", "SEARCH":
		return true
	}
	return false
}

// empty looks whether a body of unknown length holds anything, for at most 200
// ms: a GET that came by HTTP/2 may have such a body with nothing in it, and many
// applications do not understand a chunked GET. http.Transport does the same.
func (up *upload) empty() bool {
	first := make(chan piece, 1)
	body := up.body
	go func() {
		var p piece
		var b [1]byte
		p.n, p.err = readSafely(body, b[:])
		p.b = b[0]
		first <- p
	}()
	timer := time.NewTimer(200 * time.Millisecond)
	defer timer.Stop()
	select {
	case p := <-first:
		if p.n == 0 && errors.Is(p.err, io.EOF) {
			return true
		}
		first <- p
	case <-timer.C:
	}
	up.body = &probed{ReadCloser: body, first: first}
	return false
}

type piece struct {
	n   int
	b   byte
	err error
}

// probed is a body of which the first byte was, or is being, read.
type probed struct {
	io.ReadCloser
	first chan piece // nil once taken
}

func (b *probed) Read(p []byte) (int, error) {
	if b.first == nil {
		return b.ReadCloser.Read(p)
	}
	if len(p) == 0 {
		return 0, nil
	}
	got := <-b.first
	b.first = nil
	p[0] = got.b
	return got.n, got.err
}

// start begins to send. The head is out.
func (up *upload) start(x *exchange) {
	up.x = x
	up.done = make(chan struct{})
	if up.expects {
		up.goAhead = make(chan bool, 1)
	}
	go up.run()
}

func (up *upload) run() {
	defer close(up.done)
	err := up.send()
	up.close()
	up.err = err
	limit := up.x.t.o.Header
	switch _, broken := errors.AsType[*UploadError](err); {
	case err == nil:
	case broken:
		// Whatever the application has seen so far must not look like a whole body.
		up.x.kill()
		return
	default:
		limit = min(limit, lateAnswer)
	}
	up.mu.Lock()
	defer up.mu.Unlock()
	if !up.headDone {
		_ = up.x.c.nc.SetReadDeadline(time.Now().Add(limit))
	}
}

func (up *upload) send() error {
	if !up.mayBegin() {
		return errNotContinued
	}
	buf, _ := uploadBuffers.Get().(*[sizeRoom + uploadBuffer + 2]byte)
	defer func() {
		poison(buf[:])
		uploadBuffers.Put(buf)
	}()
	left, dry := up.length, 0
	for left != 0 {
		data := buf[sizeRoom : sizeRoom+uploadBuffer]
		if left > 0 && left < uploadBuffer {
			data = data[:left]
		}
		n, err := readSafely(up.body, data)
		if up.stopped.Load() {
			return errUploadStuck
		}
		if n > 0 {
			dry = 0
			if left > 0 {
				left -= int64(n)
			}
			if err := up.write(buf, n); err != nil {
				return err
			}
		} else if dry++; dry > 100 && err == nil {
			err = io.ErrNoProgress
		}
		switch {
		case err == nil:
		case !errors.Is(err, io.EOF):
			return &UploadError{err}
		case left > 0:
			return &UploadError{fmt.Errorf("ended %d bytes early: %w", left, io.ErrUnexpectedEOF)}
		default:
			left = 0
		}
	}
	if up.length < 0 {
		return up.flush([]byte("0\r\n\r\n"))
	}
	return up.atEnd(buf[:1])
}

// atEnd looks whether the body goes on after its length: then the caller and the
// application have another idea of it.
func (up *upload) atEnd(b []byte) error {
	for range 100 {
		n, err := readSafely(up.body, b)
		switch {
		case n > 0:
			return &UploadError{errors.New("longer than declared")}
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return &UploadError{err}
		}
	}
	return &UploadError{io.ErrNoProgress}
}

// mayBegin waits for a 100, as long as is polite.
func (up *upload) mayBegin() bool {
	if up.goAhead == nil {
		return true
	}
	timer := time.NewTimer(up.x.t.o.Continue)
	defer timer.Stop()
	select {
	case ok := <-up.goAhead:
		return ok
	case <-timer.C:
		return true
	}
}

// write sends n bytes that lie after the room for a size, in one write.
func (up *upload) write(buf *[sizeRoom + uploadBuffer + 2]byte, n int) error {
	if up.length >= 0 {
		return up.flush(buf[sizeRoom : sizeRoom+n])
	}
	var digits [sizeRoom]byte
	size := append(strconv.AppendInt(digits[:0], int64(n), 16), "\r\n"...)
	start := sizeRoom - len(size)
	copy(buf[start:], size)
	end := sizeRoom + n
	copy(buf[end:], "\r\n")
	return up.flush(buf[start : end+2])
}

func (up *upload) flush(b []byte) error {
	nc := up.x.c.nc
	_ = nc.SetWriteDeadline(time.Now().Add(up.x.t.o.Header))
	if _, err := nc.Write(b); err != nil {
		return fmt.Errorf("h1: write: %w", err)
	}
	return nil
}

// answered tells that a 100, or else the final head, has arrived.
func (up *upload) answered(goOn bool) {
	if up.goAhead != nil {
		select {
		case up.goAhead <- goOn:
		default:
		}
	}
	if goOn {
		return
	}
	up.mu.Lock()
	defer up.mu.Unlock()
	up.headDone = true
}

// settle ends the upload and reports that the whole body went out. Where the
// connection could be kept, it gets a moment to finish.
func (up *upload) settle(keep bool) bool {
	if keep && !up.wait(up.x.t.settle) || !up.joined() {
		up.stopped.Store(true)
		if up.goAhead != nil {
			select {
			case up.goAhead <- false:
			default:
			}
		}
		up.x.kill() // ends a write that waits
		up.close()  // ends a read that waits, if the body can do that
		up.wait(joinGrace)
		return false
	}
	return up.err == nil
}

func (up *upload) wait(d time.Duration) bool {
	if up.joined() {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-up.done:
		return true
	case <-timer.C:
		return false
	}
}

// joined reports that the goroutine has ended.
func (up *upload) joined() bool {
	select {
	case <-up.done:
		return true
	default:
		return false
	}
}

// result is what is worth reporting of an upload that went wrong.
func (up *upload) result() error {
	if !up.joined() || errors.Is(up.err, errUploadStuck) || errors.Is(up.err, errNotContinued) {
		return nil
	}
	return up.err
}

// close closes the body, once. Concurrent with a Read it is meant to end that.
func (up *upload) close() {
	if up != nil && up.shut.CompareAndSwap(false, true) {
		_ = up.body.Close()
	}
}

// rewind makes the upload for a second attempt.
func (up *upload) rewind(req *http.Request) (*upload, error) {
	if up == nil || up.done == nil {
		return up, nil
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, &UploadError{err}
	}
	return &upload{body: body, length: up.length, expects: up.expects}, nil
}

var errPanic = errors.New("panic in Read")

// readSafely keeps a panic of the body from ending the process: the goroutine is
// ours, and nobody else would recover.
func readSafely(r io.Reader, p []byte) (n int, err error) {
	defer func() {
		if recover() != nil {
			n, err = 0, errPanic // its value is often the input that caused it
		}
	}()
	return r.Read(p)
}
