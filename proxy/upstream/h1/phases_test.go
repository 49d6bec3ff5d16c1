package h1

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Section 4.10: an application that goes away after any byte of its answer leaves an
// error, never a whole answer; both transports say so.
func TestResetAtEveryByteIsAnError(t *testing.T) {
	s := newScripted(t)
	hits := map[string]int{}
	for _, whole := range []string{
		"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok11 + "X-A: b\r\nContent-Length: 12\r\n\r\nhello, world",
		ok11 + "Transfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n5\r\nhello\r\n7;x\r\n, world\r\n0\r\nX-T: 1\r\n\r\n",
	} {
		for n := range len(whole) {
			for _, end := range []ending{closeIt, resetIt} {
				k := answered("4.10 cut short", whole[:n]).ends(end)
				mine := ours(s)
				if o := run(t, s, mine, k); !o.bad() {
					t.Errorf("%q, then %d: %s", whole[:n], end, short(o))
				}
				mine.CloseIdleConnections()
				s.shut()
				if end == closeIt {
					k.name = "cut short"
					compare(t, s, k, hits)
				}
			}
		}
	}
}

// Section 4.10: whoever is slow in any phase is given up on, and only there.
func TestSlowApplicationsAreGivenUpOn(t *testing.T) {
	for phase, pieces := range map[string][]string{
		"nothing": {""}, "half a status line": {"HTTP/1.1 2"}, "half a head": {ok11 + "X-A: b\r\n"}, "an interim answer": {"HTTP/1.1 103 Early Hints\r\n\r\n"},
	} {
		s := newServer(t, func(p *peer, _ *seen) {
			p.say(pieces...)
			_, _ = io.Copy(io.Discard, p) // until it is given up on
		})
		tr := to(t, s, Options{Header: 30 * time.Millisecond})
		_, err := tr.RoundTrip(request(t, "GET", "/", nil))
		if ne, ok := errors.AsType[net.Error](err); !ok || !ne.Timeout() {
			t.Errorf("after %s: %v, want a time-out", phase, err)
		}
	}
	// In a body only silence has a limit, and only where it was asked for.
	for silence, wantErr := range map[time.Duration]bool{0: false, 30 * time.Millisecond: true} {
		more := make(chan struct{})
		s := newServer(t, func(p *peer, _ *seen) {
			p.say(ok11 + "Content-Length: 4\r\n\r\nab")
			<-more
			p.say("cd")
		})
		tr := to(t, s, Options{Header: 30 * time.Millisecond, Silence: silence})
		res, err := tr.RoundTrip(request(t, "GET", "/", nil))
		if err != nil {
			t.Fatal(err)
		}
		first := make([]byte, 2)
		if _, err := io.ReadFull(res.Body, first); err != nil {
			t.Fatal(err)
		}
		read := make(chan error, 1)
		go func() { _, err := io.ReadAll(res.Body); read <- err }()
		if wantErr {
			if err := <-read; err == nil {
				t.Error("silence has no end")
			}
			close(more)
		} else {
			close(more)
			if err := <-read; err != nil {
				t.Errorf("a body without a limit: %v", err)
			}
		}
		_ = res.Body.Close()
	}
}

// Section 4.6: cancelled in any phase, an exchange ends at once and takes its connection
// along; one that is over harms nobody any more.
func TestCancellingEndsAnExchangeAndNoOther(t *testing.T) {
	for phase, answer := range map[string]string{"before an answer": "", "in the head": "HTTP/1.1 2", "in the body": ok11 + "Content-Length: 9\r\n\r\nab"} {
		said := make(chan struct{}, 1)
		s := newServer(t, func(p *peer, r *seen) {
			if r.target == "/again" {
				p.say(okAnswer)
				return
			}
			p.say(answer)
			said <- struct{}{}
			_, _ = io.Copy(io.Discard, p)
		})
		tr := to(t, s, Options{})
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("cut off")
		go func() { <-said; cancel(why) }()
		res, err := tr.RoundTrip(request(t, "GET", "/", nil).WithContext(ctx))
		if err == nil {
			_, err = io.ReadAll(res.Body)
			_ = res.Body.Close()
		}
		if !errors.Is(err, why) {
			t.Errorf("%s: %v", phase, err)
		}
		res, err = tr.RoundTrip(request(t, "GET", "/again", nil))
		if err != nil {
			t.Fatalf("%s: the next: %v", phase, err)
		}
		if b, err := io.ReadAll(res.Body); string(b) != "ok" || err != nil {
			t.Errorf("%s: the next: %q %v", phase, b, err)
		}
		if s.accepted() != 2 {
			t.Errorf("%s: %d connections", phase, s.accepted())
		}
	}
}

// Section 4.6: whoever used a connection before may cancel whenever he likes.
func TestLateCancellingDoesNotPoisonTheNextUser(t *testing.T) {
	half := make(chan struct{})
	s := newServer(t, func(p *peer, r *seen) {
		if r.target == "/slow" {
			p.say(ok11 + "Content-Length: 4\r\n\r\nab")
			<-half
			p.say("cd")
			return
		}
		p.say(okAnswer)
	})
	tr := to(t, s, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	res, err := tr.RoundTrip(request(t, "GET", "/", nil).WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(res.Body); err != nil {
		t.Fatal(err)
	}
	// The connection is back, and taken by somebody else, when the first one cancels.
	other, err := tr.RoundTrip(request(t, "GET", "/slow", nil))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	_ = res.Body.Close()
	close(half)
	if b, err := io.ReadAll(other.Body); string(b) != "abcd" || err != nil || s.accepted() != 1 {
		t.Errorf("%q, %v, %d connections", b, err, s.accepted())
	}
}

// Section 4.7: a request is repeated once, on a fresh connection, where nothing was
// answered and repeating is safe, and after the caller was asked.
func TestRetriesAreSafeAndAsked(t *testing.T) {
	no := errors.New("cut off meanwhile")
	for _, c := range []struct {
		why, method, body string
		ask               error
		times             int // that the application saw it
		err               bool
	}{
		{"safe", "GET", "", nil, 2, false},
		{"safe", "HEAD", "", nil, 2, false},
		{"not safe", "POST", "", nil, 1, true},
		{"idempotent by the letter", "PUT", "", nil, 1, true},
		{"a body that cannot be read again", "GET", "b", nil, 1, true},
		{"not allowed any more", "GET", "", no, 1, true},
	} {
		var saw, asked atomic.Int32
		s := newServer(t, func(p *peer, r *seen) {
			if r.target == "/first" {
				p.say(okAnswer)
				return
			}
			if saw.Add(1) == 1 {
				_ = p.Close() // a kept connection that ends without a byte
				return
			}
			p.say(okAnswer)
		})
		tr := to(t, s, Options{BeforeRetry: func(context.Context) error { asked.Add(1); return c.ask }})
		res, err := tr.RoundTrip(request(t, "GET", "/first", nil))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.ReadAll(res.Body)
		req := request(t, c.method, "/", nil)
		if c.body != "" {
			req.Body, req.ContentLength = io.NopCloser(strings.NewReader(c.body)), int64(len(c.body))
		}
		res, err = tr.RoundTrip(req)
		if (err != nil) != c.err || int(saw.Load()) != c.times || c.ask != nil && !errors.Is(err, c.ask) {
			t.Errorf("%s %s: seen %d times, %v", c.why, c.method, saw.Load(), err)
		}
		if err == nil {
			_, _ = io.ReadAll(res.Body)
			if asked.Load() != 1 {
				t.Errorf("%s: the caller was asked %d times", c.why, asked.Load())
			}
		}
	}
}

// Section 4.5: an application that answers without reading gets no more of the body, and
// its answer arrives whole.
func TestEarlyAnswerStopsTheUpload(t *testing.T) {
	s := newServer(t, func(p *peer, _ *seen) {
		p.say("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
		// It neither reads on nor closes.
		<-t.Context().Done()
	})
	tr := to(t, s, Options{})
	body := &untilClosed{closed: make(chan struct{})}
	req := request(t, http.MethodPost, "/", nil)
	req.Body, req.ContentLength = body, -1
	res, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(res.Body); res.StatusCode != 413 || string(b) != "no" || err != nil {
		t.Errorf("%d %q %v", res.StatusCode, b, err)
	}
	_ = res.Body.Close()
	await(t, body.closed, "the body to be closed")
	if tr.Idle() != 0 {
		t.Error("a connection with half a request on it is kept")
	}
}

// untilClosed is a body without an end.
type untilClosed struct {
	closed chan struct{}
	once   atomic.Bool
}

func (b *untilClosed) Read(p []byte) (int, error) {
	select {
	case <-b.closed:
		return 0, errors.New("closed")
	default:
		return len(p), nil
	}
}

func (b *untilClosed) Close() error {
	if b.once.CompareAndSwap(false, true) {
		close(b.closed)
	}
	return nil
}
