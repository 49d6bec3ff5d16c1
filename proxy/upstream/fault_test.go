package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/ssogate/ssogate/proxy/upstream/h1"
)

func TestFaultsAreNamed(t *testing.T) {
	dialTimeout := &net.OpError{Op: "dial", Err: context.DeadlineExceeded}
	for _, c := range []struct {
		why    string
		err    error
		want   Fault
		status int
	}{
		{"a dial that timed out is an application that is down, not a slow one", fmt.Errorf("x: %w", dialTimeout), Unreachable, 502},
		{"no such name", &net.DNSError{IsTimeout: true}, Unreachable, 502},
		{"deadline", context.DeadlineExceeded, TooSlow, 504},
		{"we or the client gave up", context.Canceled, Canceled, 502},
		{"cut answer", io.ErrUnexpectedEOF, Broken, 502},
		{"unknown words", errors.New("x"), Broken, 502},
		{"no connection, whatever the dialler says", &h1.DialError{Err: context.DeadlineExceeded}, Unreachable, 502},
		{"an answer that is not HTTP", &h1.ProtocolError{What: "x"}, Broken, 502},
		{"a request that was not sent must not count against the application", &h1.RequestError{What: "x"}, Unsendable, 400},
		{"a client that broke off must not count against the application", &h1.UploadError{Err: io.ErrUnexpectedEOF}, Canceled, 502},
		{"no error", nil, Unknown, 502},
	} {
		if got := Classify(c.err); got != c.want || got.Status() != c.status {
			t.Errorf("%s: %q %d, want %q %d", c.why, got, got.Status(), c.want, c.status)
		}
	}
}

// A listener that never accepts, with a full queue, is the case in which dialling hangs.
// TLS to a peer that says nothing hangs in the handshake instead.
func TestDialIsBounded(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	p := pool(t, Spec{URLs: []string{"https://" + l.Addr().String()}, Times: Times{Dial: 50 * time.Millisecond}})
	if _, err := get(t, p, "/"); err == nil {
		t.Fatal("answered")
	}
}

func TestTransportsIgnoreTheEnvironmentsProxy(t *testing.T) {
	tr, err := newTransport(address{scheme: "https", host: "a", dial: "a:443"}, Spec{}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	if std, ok := tr.(traced); !ok || std.Proxy != nil {
		t.Error("HTTP_PROXY would see every signed-in request")
	}
}

func TestBuffersTakeBackOnlyTheirOwn(t *testing.T) {
	var b Buffers
	b.Put(make([]byte, 3))
	b.Put(nil)
	if got := len(b.Get()); got != bufferSize {
		t.Errorf("%d bytes", got)
	}
}
