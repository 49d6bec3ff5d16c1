package proxy

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/web"
)

// echo is an application that sends back what it receives.
func echo(open *atomic.Int32) http.HandlerFunc {
	return func(w http.ResponseWriter, q *http.Request) {
		c, err := websocket.Accept(w, q, &websocket.AcceptOptions{InsecureSkipVerify: true}) // Host is the upstream's
		if err != nil {
			return
		}
		open.Add(1)
		defer open.Add(-1)
		defer func() { _ = c.CloseNow() }()
		c.SetReadLimit(1 << 20)
		for {
			kind, b, err := c.Read(context.Background())
			if err != nil {
				return
			}
			if err := c.Write(context.Background(), kind, b); err != nil {
				return
			}
		}
	}
}

func (r *rig) webSocket(token string) *websocket.Conn {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, res, err := websocket.Dial(ctx, r.server.URL+"/ws", &websocket.DialOptions{
		HTTPClient: r.server.Client(), Host: appHost,
		HTTPHeader: http.Header{"Cookie": {cookieName + "=" + token}, "Origin": {"https://" + appHost}},
	})
	if err != nil {
		r.t.Fatalf("%v %v", err, res)
	}
	r.t.Cleanup(func() { _ = c.CloseNow() })
	c.SetReadLimit(1 << 20)
	return c
}

func roundTrip(t *testing.T, c *websocket.Conn, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := c.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		t.Fatal(err)
	}
	_, b, err := c.Read(ctx)
	if err != nil || string(b) != text {
		t.Fatalf("%d bytes back, want %d: %v", len(b), len(text), err)
	}
}

// closedWith reads until the connection closes and checks code and reason.
func closedWith(t *testing.T, c *websocket.Conn, code websocket.StatusCode, reason string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var err error
	for err == nil {
		_, _, err = c.Read(ctx)
	}
	ce, ok := errors.AsType[websocket.CloseError](err)
	if !ok || ce.Code != code || ce.Reason != reason {
		t.Errorf("closed with %v, want %d %q: the page must be able to tell a lost session from a lost network", err, code, reason)
	}
}

func TestW02WebSocketOfARevokedSessionIsClosedWith1008(t *testing.T) {
	for _, h2 := range []bool{false, true} { // true: TLS; the handshake goes by HTTP/1.1
		r := newRig(t, func(c *rigConfig) { c.h2 = h2 })
		var open atomic.Int32
		r.app.handler = echo(&open)
		a, b := r.webSocket("ana"), r.webSocket("ben")
		roundTrip(t, a, "hello")
		roundTrip(t, a, strings.Repeat("x", 200_000))
		roundTrip(t, b, "hello")
		closed := make(chan struct{})
		go func() { closedWith(t, a, websocket.StatusPolicyViolation, "session ended"); close(closed) }()
		start := time.Now()
		r.live.Cut(context.Background(), endMember("m-ana", 4))
		t.Logf("cut took %s", time.Since(start))
		r.notForced()
		if took := time.Since(start); took > time.Second || r.inFlight() != 1 {
			t.Errorf("took %s, %d left", took, r.inFlight())
		}
		<-closed
		eventually(t, "the application's side is closed", func() bool { return open.Load() == 1 })
		roundTrip(t, b, "still here")
	}
}

func TestW02WebSocketIsClosedAtExpiryAndShutdown(t *testing.T) {
	now := &clock.Manual{}
	r := newRig(t, func(c *rigConfig) { c.live = LiveOptions{Now: now.Now, Sweep: 5 * time.Millisecond} })
	var open atomic.Int32
	r.app.handler = echo(&open)
	a := r.webSocket("ana")
	roundTrip(t, a, "hello")
	now.Advance(2 * time.Hour)
	closedWith(t, a, websocket.StatusPolicyViolation, "session expired")

	now.Advance(-2 * time.Hour)
	b := r.webSocket("ben")
	roundTrip(t, b, "hello")
	go r.live.Shutdown(context.Background(), 0)
	closedWith(t, b, websocket.StatusGoingAway, "going away")
	eventually(t, "all are gone", func() bool { return open.Load() == 0 && r.inFlight() == 0 })
	if res := r.get("/ws", as("ana"), "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13", "Origin: https://"+appHost); res.StatusCode != 503 {
		t.Errorf("a new WebSocket while shutting down: %d", res.StatusCode)
	}
	if res := r.get("/.sso/x"); res.StatusCode != 200 {
		t.Errorf("other requests: %d", res.StatusCode)
	}
}

func TestW02WebSocketWithoutASessionIsRefused(t *testing.T) {
	r := newRig(t)
	var open atomic.Int32
	r.app.handler = echo(&open)
	for _, token := range []string{"", "expired", "revoked", "forged"} {
		h := http.Header{"Origin": {"https://" + appHost}}
		if token != "" {
			h.Set("Cookie", cookieName+"="+token)
		}
		c, res, err := websocket.Dial(context.Background(), r.server.URL+"/ws", &websocket.DialOptions{Host: appHost, HTTPHeader: h})
		if err == nil {
			_ = c.CloseNow()
			t.Errorf("%q: opened", token)
		} else if res == nil || res.StatusCode != 401 {
			t.Errorf("%q: %v", token, res)
		}
	}
	r.none("no session")
}

// handshake is what a browser sends for a WebSocket.
var handshake = "GET /ws HTTP/1.1\r\nHost: " + appHost + "\r\n" + as("ana") + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\nOrigin: https://" + appHost + "\r\n\r\n"

// rawWebSocket upgrades by hand and hands over the bare connections of both ends.
func rawWebSocket(t *testing.T, early string) (r *rig, client net.Conn, br *bufio.Reader, upstream net.Conn) {
	t.Helper()
	got := make(chan net.Conn, 1)
	r = newRig(t)
	r.app.handler = func(w http.ResponseWriter, _ *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n")
		_ = rw.Flush()
		got <- c
	}
	client = r.dial()
	t.Cleanup(func() { _ = client.Close() })
	_, _ = io.WriteString(client, handshake+early)
	_ = client.SetDeadline(time.Now().Add(10 * time.Second))
	br = bufio.NewReader(client)
	res, err := http.ReadResponse(br, nil)
	if err != nil || res.StatusCode != 101 {
		t.Fatalf("%v %v", res, err)
	}
	upstream = <-got
	t.Cleanup(func() { _ = upstream.Close() })
	_ = upstream.SetDeadline(time.Now().Add(10 * time.Second))
	return r, client, br, upstream
}

// Protocols section 4.9: what a client sends with its handshake is the tunnel's, however
// it is cut, and whatever it looks like.
func TestBytesSentWithTheHandshakeReachTheApplication(t *testing.T) {
	for _, early := range []string{"e", "early", "\x81\x85\x00\x00\x00\x00hello", "GET /admin HTTP/1.1\r\nHost: " + appHost + "\r\n\r\n", "\r\n", strings.Repeat("x", 10_000)} {
		_, client, _, up := rawWebSocket(t, early)
		_, _ = io.WriteString(client, "late")
		buf := make([]byte, len(early)+4)
		if _, err := io.ReadFull(up, buf); err != nil || string(buf) != early+"late" {
			t.Errorf("%.20q: %.40q %v", early, buf, err)
		}
	}
}

// P10, T01: where there is no tunnel, what follows a handshake is a request like any other.
func TestP10BytesBehindARefusedHandshakeAreARequest(t *testing.T) {
	nobody := strings.Replace(handshake, as("ana"), "X-A: b", 1)
	for name, c := range map[string]struct {
		next string
		want int
	}{
		"benign":            {"GET /public/x HTTP/1.1\r\nHost: " + appHost + "\r\nConnection: close\r\n\r\n", 200},
		"length and coding": {"POST /public/x HTTP/1.1\r\nHost: " + appHost + "\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		"bare LF":           {"GET /public/x HTTP/1.1\nHost: " + appHost + "\n\n", 400},
		"a frame":           {"\x81\x85\x00\x00\x00\x00hello", 400},
	} {
		r := newRig(t)
		client := r.dial()
		_ = client.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(client, nobody+c.next)
		br := bufio.NewReader(client)
		first, err := http.ReadResponse(br, nil)
		if err != nil || first.StatusCode != 401 {
			t.Fatalf("%s: %v %v", name, first, err)
		}
		_, _ = io.Copy(io.Discard, first.Body)
		second, err := http.ReadResponse(br, nil)
		if err != nil || second.StatusCode != c.want {
			t.Errorf("%s: %v %v", name, second, err)
		}
		if got := r.app.requests(); c.want != 200 && len(got) != 0 || c.want == 200 && len(got) != 1 {
			t.Errorf("%s: the application saw %v", name, got)
		}
		_ = client.Close()
	}
}

func TestW02CloseFrameStandsOnlyBetweenFrames(t *testing.T) {
	t.Run("between", func(t *testing.T) {
		r, client, br, up := rawWebSocket(t, "")
		_, _ = up.Write([]byte{0x81, 2, 'h', 'i'})
		buf := make([]byte, 4)
		if _, err := io.ReadFull(br, buf); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() { r.live.Cut(context.Background(), endMember("m-ana", 4)); close(done) }()
		rest := make([]byte, 4)
		if _, err := io.ReadFull(br, rest); err != nil || rest[0] != 0x88 || binary.BigEndian.Uint16(rest[2:]) != closePolicy {
			t.Errorf("% x %v", rest, err)
		}
		// What the client still sends goes nowhere.
		_, _ = client.Write([]byte("late"))
		_ = client.(*net.TCPConn).CloseWrite()
		<-done
		if b, _ := io.ReadAll(up); len(b) != 0 {
			t.Errorf("the application received %q after the cut", b)
		}
	})
	t.Run("in the middle", func(t *testing.T) {
		r, _, br, up := rawWebSocket(t, "")
		_, _ = up.Write([]byte{0x81, 10, 'h', 'i'})
		buf := make([]byte, 4)
		if _, err := io.ReadFull(br, buf); err != nil {
			t.Fatal(err)
		}
		r.live.Cut(context.Background(), endMember("m-ana", 4))
		if b, _ := io.ReadAll(br); len(b) != 0 {
			t.Errorf("% x would be read as part of the message", b)
		}
	})
}

func TestHalfClosePassesThroughATunnel(t *testing.T) {
	_, client, br, up := rawWebSocket(t, "")
	_, _ = client.Write([]byte("last words"))
	_ = client.(*net.TCPConn).CloseWrite()
	if b, err := io.ReadAll(up); err != nil || string(b) != "last words" {
		t.Fatalf("%q %v", b, err)
	}
	_, _ = up.Write([]byte("answer"))
	_ = up.Close()
	if b, err := io.ReadAll(br); err != nil || string(b) != "answer" {
		t.Errorf("%q %v", b, err)
	}
}

// 200 of one member, 200 of others, all open: one revocation ends exactly the
// former, within the second.
func TestW03ManyWebSocketsOfOneMember(t *testing.T) {
	r := newRig(t, func(c *rigConfig) { c.live = LiveOptions{PerSession: 1000} })
	var open atomic.Int32
	r.app.handler = echo(&open)
	var anas, bens []*websocket.Conn
	for range 100 {
		anas, bens = append(anas, r.webSocket("ana")), append(bens, r.webSocket("ben"))
	}
	for _, c := range anas { // a browser answers a close frame
		c.CloseRead(context.Background())
	}
	eventually(t, "all are open", func() bool { return open.Load() == 200 })
	start := time.Now()
	r.live.Cut(context.Background(), endMember("m-ana", 4))
	t.Logf("100 of 200 closed in %s", time.Since(start))
	if took := time.Since(start); took > 2*time.Second || r.inFlight() != 100 {
		t.Errorf("took %s, %d left", took, r.inFlight())
	}
	roundTrip(t, bens[0], "still here")
	roundTrip(t, bens[99], "still here")
}

// What a client sends after it was cut off is read and dropped, so that its
// answer to the close frame is not a reset, and reaches nobody.
func TestClosingTunnelDropsWhatTheClientSends(t *testing.T) {
	server, client := net.Pipe()
	tun := newTunnel(server, nil, nil, nil, web.Detached{})
	go func() {
		_, _ = io.WriteString(client, "before")
		tun.closing.Store(true)
		_, _ = io.WriteString(client, "late")
		_ = client.Close()
	}()
	var got strings.Builder
	if err := relay(&got, tun); err != nil || !strings.HasPrefix("before", got.String()) {
		t.Errorf("%q passed on, %v", got.String(), err)
	}
	select {
	case <-tun.drained:
	default:
		t.Error("the end of the client's side was not noted")
	}
}
