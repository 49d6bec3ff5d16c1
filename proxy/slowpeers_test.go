package proxy

import (
	"bufio"
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

// flood is an application that sends without end, in the way that the path asks
// for, and reads uploads. It counts what it got rid of, and what it received.
type flood struct {
	sent     atomic.Int64
	received atomic.Int64
	whole    atomic.Bool // an upload looked complete
}

func (f *flood) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	switch q.URL.Path {
	case "/ws":
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n")
		_, _ = rw.Write([]byte{0x82, 127, 0, 0, 1, 0, 0, 0, 0, 0}) // one frame of a terabyte
		_ = rw.Flush()
		f.pour(c)
	case "/events":
		w.Header().Set("Content-Type", "text/event-stream")
		f.pour(w)
	case "/download":
		f.pour(w)
	case "/upload":
		n, err := io.Copy(counting{io.Discard, &f.received}, q.Body)
		f.whole.Store(err == nil && n > 0)
	default:
		_, _ = io.WriteString(w, "ok")
	}
}

func (f *flood) pour(w io.Writer) {
	_, _ = io.Copy(counting{w, &f.sent}, struct{ io.Reader }{zeros{}})
}

type counting struct {
	io.Writer
	n *atomic.Int64
}

func (c counting) Write(b []byte) (int, error) {
	n, err := c.Writer.Write(b)
	c.n.Add(int64(n))
	return n, err
}

// stuck waits until the application gets rid of nothing more: every buffer on the
// way to the peer is full.
func (f *flood) stuck(t *testing.T) {
	t.Helper()
	last, since := int64(0), time.Now()
	eventually(t, "the peer holds everything up", func() bool {
		if n := f.sent.Load(); n != last || n == 0 {
			last, since = n, time.Now()
		}
		return time.Since(since) > 60*time.Millisecond
	})
}

// A peer that neither reads nor sends is cut as fast as any other, whatever it has
// open, and what lies in the kernel's buffers for it is dropped (C10, W02).
func TestGuaranteeCutOffOfSlowPeers(t *testing.T) {
	const upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\nOrigin: https://" + appHost + "\r\n"
	for _, tls := range []bool{false, true} {
		for _, c := range []struct{ name, request string }{
			{"websocket", "GET /ws HTTP/1.1\r\n" + upgrade},
			{"event stream", "GET /events HTTP/1.1\r\n"},
			{"download", "GET /download HTTP/1.1\r\n"},
			{"upload", "POST /upload HTTP/1.1\r\nContent-Length: 1000000\r\n"},
		} {
			t.Run(map[bool]string{false: "plain ", true: "tls "}[tls]+c.name, func(t *testing.T) {
				f := &flood{}
				r := newRig(t, func(c *rigConfig) { c.h2 = tls })
				r.app.handler = f.ServeHTTP
				client := r.dial()
				defer func() { _ = client.Close() }()
				_ = socket(client).(*net.TCPConn).SetReadBuffer(4096)
				_, _ = io.WriteString(client, c.request+"Host: "+appHost+"\r\n"+as("ana")+"\r\n\r\n")
				if c.name == "upload" {
					_, _ = io.WriteString(client, "abc")
					eventually(t, "the upload runs", func() bool { return f.received.Load() == 3 })
				} else {
					f.stuck(t)
				}
				start := time.Now()
				r.live.Cut(context.Background(), endMember("m-ana", 4))
				t.Logf("cut took %s", time.Since(start))
				r.notForced()
				if n := r.inFlight(); n != 0 {
					t.Errorf("%d left", n)
				}
				_ = client.SetReadDeadline(time.Now().Add(5 * time.Second))
				n, err := io.Copy(io.Discard, client)
				if ne := net.Error(nil); err == nil || errors.As(err, &ne) && ne.Timeout() {
					t.Errorf("%d bytes, then %v: it was not reset", n, err)
				}
				if f.whole.Load() {
					t.Error("the application took the cut upload for a whole one")
				}
			})
		}
	}
}

// The same with HTTP/2: the stream is reset, and the connection, which may carry
// other people's requests, stays.
func TestGuaranteeCutOffOfSlowHTTP2Peers(t *testing.T) {
	for _, path := range []string{"/events", "/download", "/upload"} {
		t.Run(strings.TrimPrefix(path, "/"), func(t *testing.T) {
			f := &flood{}
			r := newRig(t, func(c *rigConfig) { c.h2 = true })
			r.app.handler = f.ServeHTTP
			var dials atomic.Int32
			cl := r.http2(func(c net.Conn) net.Conn { dials.Add(1); return c })
			stalled, unstall := io.Pipe()
			defer func() { _ = unstall.Close() }()
			ended := make(chan error, 1)
			go func() {
				method, body := "GET", io.Reader(nil)
				if path == "/upload" {
					method, body = "POST", struct {
						io.Reader
						io.Closer
					}{io.MultiReader(strings.NewReader("abc"), stalled), stalled}
				}
				q, _ := http.NewRequestWithContext(t.Context(), method, r.server.URL+path, body)
				res, err := cl.Do(q)
				if err != nil {
					ended <- err
					return
				}
				defer func() { _ = res.Body.Close() }()
				eventually(t, "it is cut", func() bool { return r.inFlight() == 0 }) // not reading
				_, err = io.Copy(io.Discard, res.Body)
				ended <- err
			}()
			if path == "/upload" {
				eventually(t, "the upload runs", func() bool { return f.received.Load() == 3 })
			} else {
				f.stuck(t)
			}
			start := time.Now()
			r.live.Cut(context.Background(), endMember("m-ana", 4))
			t.Logf("cut took %s", time.Since(start))
			r.notForced()
			if err := <-ended; err == nil {
				t.Error("ended as if it were whole")
			}
			q, _ := http.NewRequestWithContext(t.Context(), "GET", r.server.URL+"/", nil)
			q.Header.Set("Cookie", cookieName+"=ben")
			res, err := cl.Do(q)
			if err != nil || res.StatusCode != 200 {
				t.Fatalf("another's request: %v %v", res, err)
			}
			_ = res.Body.Close()
			if n := dials.Load(); n != 1 {
				t.Errorf("%d connections were made: the first one was not spared", n)
			}
		})
	}
}

// When not even the reset of a stream gets through, because the peer reads nothing
// at all, the connection goes within the bound.
func TestGuaranteeCutOffOfAnHTTP2PeerThatReadsNothing(t *testing.T) {
	f := &flood{}
	r := newRig(t, func(c *rigConfig) { c.h2 = true })
	r.app.handler = f.ServeHTTP
	deaf := make(chan struct{})
	defer close(deaf)
	var mute atomic.Bool
	cl := r.http2(func(c net.Conn) net.Conn {
		_ = c.(*net.TCPConn).SetReadBuffer(4096)
		return &deafConn{Conn: c, deaf: &mute, until: deaf}
	})
	for range 4 { // more than one stream's window, to fill the socket
		go func() {
			q, _ := http.NewRequestWithContext(t.Context(), "GET", r.server.URL+"/download", nil)
			if res, err := cl.Do(q); err == nil {
				br := bufio.NewReader(res.Body)
				_, _ = br.ReadByte()
				mute.Store(true)
				_, _ = io.Copy(io.Discard, br)
				_ = res.Body.Close()
			}
		}()
	}
	f.stuck(t)
	start := time.Now()
	r.live.Cut(context.Background(), endMember("m-ana", 4))
	t.Logf("cut took %s", time.Since(start))
	eventually(t, "its handlers have left", func() bool { return r.inFlight() == 0 })
}

// deafConn stops reading when told to.
type deafConn struct {
	net.Conn
	deaf  *atomic.Bool
	until <-chan struct{}
}

func (c *deafConn) Read(b []byte) (int, error) {
	if c.deaf.Load() {
		<-c.until
		return 0, net.ErrClosed
	}
	return c.Conn.Read(b)
}

// http2 is a client, signed in as ana, whose sockets pass through wrap.
func (r *rig) http2(wrap func(net.Conn) net.Conn) *http.Client {
	tr := r.server.Client().Transport.(*http.Transport).Clone()
	tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return wrap(c), nil
	}
	r.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: signedIn{tr}}
}
