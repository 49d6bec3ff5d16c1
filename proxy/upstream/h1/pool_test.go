package h1

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func answerOK(p *peer, r *seen) {
	p.readBody(r)
	p.say(okAnswer)
}

func TestConnectionIsKept(t *testing.T) {
	s := newServer(t, answerOK)
	tr := to(t, s, Options{})
	for range 10 {
		mustGet(t, tr, "/", "ok")
	}
	if s.accepted() != 1 || tr.Opened() != 1 || tr.Idle() != 1 || tr.InUse() != 0 {
		t.Errorf("accepted %d, opened %d, idle %d, in use %d", s.accepted(), tr.Opened(), tr.Idle(), tr.InUse())
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		buf := make([]byte, 4096)
		for {
			n, err := c.Read(buf)
			if err != nil || !strings.HasSuffix(string(buf[:n]), "\r\n\r\n") {
				return
			}
			_, _ = c.Write([]byte(okAnswer))
		}
	}()
	tr := New(Options{Dial: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}})
	defer tr.CloseIdleConnections()
	for range 3 {
		mustGet(t, tr, "/", "ok")
	}
	if tr.Opened() != 1 {
		t.Errorf("opened %d", tr.Opened())
	}
}

// Section 4.1: what lies on an idle connection is not the answer to a later request.
func TestUnsolicitedBytesNeverAnswerTheNextRequest(t *testing.T) {
	for name, unsolicited := range map[string]string{
		"a whole answer":      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother",
		"one byte":            "x",
		"a request time-out":  "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n",
		"an interim response": "HTTP/1.1 100 Continue\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			var peers sync.Map
			s := newServer(t, func(p *peer, _ *seen) {
				peers.Store(p.id, p)
				p.say(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d", p.id))
			})
			tr := to(t, s, Options{})
			mustGet(t, tr, "/", "0")
			p, _ := peers.Load(0)
			p.(*peer).say(unsolicited)
			awaitArrival(t, tr)
			mustGet(t, tr, "/", "1")
		})
	}
}

// awaitArrival waits until something lies on the one idle connection, without
// taking it.
func awaitArrival(t *testing.T, tr *Transport) {
	t.Helper()
	tr.pool.mu.Lock()
	c := tr.pool.idle[0]
	tr.pool.mu.Unlock()
	_ = c.nc.SetReadDeadline(time.Now().Add(patience))
	if err := awaitReadable(c); err != nil {
		t.Fatal(err)
	}
}

func TestConnectionThatTheApplicationClosedIsNotUsed(t *testing.T) {
	for name, end := range map[string]func(*peer){"FIN": func(p *peer) { _ = p.Close() }, "RST": (*peer).reset} {
		t.Run(name, func(t *testing.T) {
			var peers sync.Map
			s := newServer(t, func(p *peer, r *seen) {
				peers.Store(p.id, p)
				answerOK(p, r)
			})
			tr := to(t, s, Options{BeforeRetry: func(context.Context) error { t.Error("retried"); return nil }})
			mustGet(t, tr, "/", "ok")
			p, _ := peers.Load(0)
			end(p.(*peer))
			awaitArrival(t, tr)
			// A POST could not be retried.
			if _, body, err := get(t, tr, request(t, "POST", "/", strings.NewReader("x"))); err != nil || body != "ok" {
				t.Errorf("%q, %v", body, err)
			}
			if tr.Opened() != 2 || tr.Idle() != 1 {
				t.Errorf("opened %d, idle %d", tr.Opened(), tr.Idle())
			}
		})
	}
}

func TestNewestConnectionIsTakenFirst(t *testing.T) {
	arrived, gate := make(chan struct{}), make(chan struct{})
	s := newServer(t, func(p *peer, r *seen) {
		if r.target == "/wait" && len(p.s.requests()) == 1 {
			close(arrived)
			<-gate
		}
		p.say(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d", p.id))
	})
	tr := to(t, s, Options{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		mustGet(t, tr, "/wait", "0")
	}()
	await(t, arrived, "the first request")
	mustGet(t, tr, "/", "1")
	close(gate)
	await(t, done, "the first answer")
	for range 3 {
		mustGet(t, tr, "/", "0")
	}
}

func TestIdleConnectionsHaveLimits(t *testing.T) {
	answer := okAnswer
	s := newServer(t, func(p *peer, _ *seen) { p.say(answer) })
	t.Run("time", func(t *testing.T) {
		tr := to(t, s, Options{IdleTimeout: time.Minute})
		mustGet(t, tr, "/", "ok")
		tr.skew = 59 * time.Second
		mustGet(t, tr, "/", "ok")
		if tr.Opened() != 1 {
			t.Errorf("opened %d: not kept until the limit", tr.Opened())
		}
		tr.skew += time.Minute
		mustGet(t, tr, "/", "ok")
		if tr.Opened() != 2 {
			t.Errorf("opened %d: kept beyond the limit", tr.Opened())
		}
		tr.skew += time.Minute
		tr.sweep()
		if tr.Idle() != 0 {
			t.Error("nothing swept")
		}
	})
	t.Run("by itself", func(t *testing.T) {
		dropped := make(chan drop, 1)
		tr := to(t, s, Options{IdleTimeout: time.Millisecond})
		tr.closed = func(why drop) { dropped <- why }
		mustGet(t, tr, "/", "ok")
		if why := await(t, dropped, "the sweep"); why != dropExpired {
			t.Error(why)
		}
	})
	t.Run("age", func(t *testing.T) {
		tr := to(t, s, Options{MaxAge: time.Minute, IdleTimeout: time.Hour})
		mustGet(t, tr, "/", "ok")
		tr.skew = time.Minute
		mustGet(t, tr, "/", "ok") // the last time
		mustGet(t, tr, "/", "ok")
		if tr.Opened() != 2 {
			t.Errorf("opened %d: a changed address would not be found", tr.Opened())
		}
	})
	t.Run("number", func(t *testing.T) {
		tr := to(t, s, Options{MaxIdle: 1})
		a, err1 := tr.RoundTrip(request(t, "GET", "/", nil))
		b, err2 := tr.RoundTrip(request(t, "GET", "/", nil))
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		buf := make([]byte, 10)
		for _, res := range []interface{ Read([]byte) (int, error) }{a.Body, b.Body} {
			if n, err := res.Read(buf); n != 2 || err == nil {
				t.Errorf("%d, %v: the end comes with the last bytes", n, err)
			}
		}
		if tr.Idle() != 1 || tr.InUse() != 0 {
			t.Errorf("idle %d, in use %d", tr.Idle(), tr.InUse())
		}
	})
	t.Run("announced", func(t *testing.T) {
		for announced, keeps := range map[string]time.Duration{
			"timeout=5": 4 * time.Second, "timeout=1": 500 * time.Millisecond, "Timeout=5, max=100": 4 * time.Second,
			"max=3, timeout=20": 19 * time.Second, "timeout=600": time.Minute, "timeout=x": time.Minute, "timeout=0": time.Minute,
			"timeout=99999999999999999999": time.Minute, "": time.Minute,
		} {
			answer = "HTTP/1.1 200 OK\r\nKeep-Alive: " + announced + "\r\nContent-Length: 2\r\n\r\nok"
			tr := to(t, s, Options{IdleTimeout: time.Minute})
			mustGet(t, tr, "/", "ok")
			tr.skew = keeps + time.Millisecond
			mustGet(t, tr, "/", "ok")
			if tr.Opened() != 2 {
				t.Errorf("%q: kept for longer than %s", announced, keeps)
			}
			tr.skew += keeps - 100*time.Millisecond
			mustGet(t, tr, "/", "ok")
			if tr.Opened() != 2 {
				t.Errorf("%q: not kept for %s", announced, keeps)
			}
		}
		answer = okAnswer
	})
}

// A table that was replaced keeps no connection, not even one that is in use when
// it goes.
func TestClosingIdleConnectionsIncludesThoseThatBecomeIdle(t *testing.T) {
	s := newServer(t, answerOK)
	tr := to(t, s, Options{})
	mustGet(t, tr, "/", "ok")
	res, err := tr.RoundTrip(request(t, "GET", "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	tr.CloseIdleConnections()
	if _, err := res.Body.Read(make([]byte, 10)); err == nil {
		t.Error("no end")
	}
	if tr.Idle() != 0 {
		t.Error("kept")
	}
	mustGet(t, tr, "/", "ok")
	if tr.Idle() != 1 {
		t.Error("closed for ever")
	}
}

// blind hides the descriptor, as a TLS connection or a test's pipe does.
type blind struct{ net.Conn }

func TestConnectionThatCannotBeLookedAtIsNotKept(t *testing.T) {
	s := newServer(t, answerOK)
	dial := dialTo(s.addr())
	tr := to(t, s, Options{Dial: func(ctx context.Context) (net.Conn, error) {
		c, err := dial(ctx)
		return blind{c}, err
	}})
	mustGet(t, tr, "/", "ok")
	mustGet(t, tr, "/", "ok")
	if tr.Opened() != 2 {
		t.Errorf("opened %d", tr.Opened())
	}
}

func TestDialFaults(t *testing.T) {
	s := newServer(t, answerOK)
	refused := errors.New("refused")
	for name, dial := range map[string]func(context.Context) (net.Conn, error){
		"error":         func(context.Context) (net.Conn, error) { return nil, refused },
		"no connection": func(context.Context) (net.Conn, error) { return nil, nil },
		"too slow": func(ctx context.Context) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
	} {
		tr := to(t, s, Options{Dial: dial, DialTimeout: 20 * time.Millisecond})
		_, err := tr.RoundTrip(request(t, "GET", "/", nil))
		if de, ok := errors.AsType[*DialError](err); !ok || name == "error" && !errors.Is(de, refused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Not a fault of the application when it was us who gave up.
	ctx, cancel := context.WithCancelCause(context.Background())
	tr := to(t, s, Options{Dial: func(ctx context.Context) (net.Conn, error) {
		cancel(refused)
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	if _, err := tr.RoundTrip(request(t, "GET", "/", nil).WithContext(ctx)); !errors.Is(err, refused) {
		t.Error(err)
	}
}

// Several addresses are the dialler's: the second is tried when the first refuses.
func TestSeveralAddresses(t *testing.T) {
	s := newServer(t, answerOK)
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = dead.Close()
	tr := to(t, s, Options{Dial: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		for _, addr := range []string{dead.Addr().String(), s.addr()} {
			c, err := d.DialContext(ctx, "tcp", addr)
			if err == nil {
				return c, nil
			}
		}
		return nil, errors.New("none answers")
	}})
	mustGet(t, tr, "/", "ok")
}

func TestNewWithoutDialPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a transport to nowhere")
		}
	}()
	New(Options{})
}
