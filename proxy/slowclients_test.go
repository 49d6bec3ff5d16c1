package proxy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// others asks as somebody else, on a connection of its own, and must be answered.
func (r *rig) others() {
	r.t.Helper()
	if res := r.get("/other", as("ben")); res.StatusCode != http.StatusOK {
		r.t.Fatalf("somebody else: %d", res.StatusCode)
	}
}

// T05: a thousand clients that send their heads byte by byte, or not at all, cost what
// an idle connection costs, hold up nobody, and are gone when their time is over.
func TestT05SlowHeads(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(map[bool]string{false: "plain", true: "tls"}[secure], func(t *testing.T) {
			clients := 1000
			if secure {
				clients = 200 // handshakes are slow, and on both ends here
			}
			r := newRig(t, func(c *rigConfig) { c.h2 = secure; c.head = 2 * time.Second })
			r.others()
			goroutines, heap := footprint()
			var slow []net.Conn
			for i := range clients {
				c := r.dial()
				defer func() { _ = c.Close() }()
				slow = append(slow, c)
				head := "GET /slow HTTP/1.1\r\nHost: " + appHost + "\r\n" + as("ana") + "\r\n"
				if i%4 == 0 {
					head = head[:i/4%len(head)]
				}
				_, _ = io.WriteString(c, head)
			}
			// A byte more of a thousand heads: nothing is done for it but to keep it.
			for _, c := range slow {
				_, _ = io.WriteString(c, "X")
			}
			r.others()
			g, h := footprint()
			t.Logf("%d goroutines, %d bytes of heap for each, both ends", (g-goroutines)/clients, (h-heap)/int64(clients))
			if g > goroutines+2*clients+20 || h > heap+64<<10*int64(clients) {
				t.Errorf("%d goroutines, %d bytes of heap for each", (g-goroutines)/clients, (h-heap)/int64(clients))
			}
			for _, c := range slow {
				_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
				if b, err := io.ReadAll(c); err != nil && strings.Contains(err.Error(), "timeout") || strings.Contains(string(b), " 200 ") {
					t.Fatalf("%q, %v: it was not ended", b, err)
				}
				_ = c.Close()
			}
			for _, q := range r.app.requests() {
				if q.target != "/other" {
					t.Fatalf("the application saw %s, whose head was not whole", q.target)
				}
			}
			r.others()
			r.app.reset()
			returnsTo(t, goroutines, heap)
		})
	}
}

// T05: uploads that stall after a byte hold a connection each, and others nothing.
func TestT05SlowBodies(t *testing.T) {
	const clients = 150 // below what one session may have open
	r := newRig(t)
	started := make(chan bool, clients)
	r.app.handler = func(w http.ResponseWriter, q *http.Request) {
		if q.Method == http.MethodPost {
			b := make([]byte, 1)
			_, _ = io.ReadFull(q.Body, b)
			started <- true
			_, _ = io.Copy(io.Discard, q.Body)
		}
		_, _ = io.WriteString(w, "ok")
	}
	r.others()
	goroutines, heap := footprint()
	var slow []net.Conn
	for i := range clients {
		c := r.dial()
		slow = append(slow, c)
		framing, first := "Content-Length: 1000000", "a"
		if i%2 == 0 {
			framing, first = "Transfer-Encoding: chunked", "1\r\na\r\nf4240"
		}
		_, _ = fmt.Fprintf(c, "POST /slow HTTP/1.1\r\nHost: %s\r\n%s\r\n%s\r\n\r\n%s", appHost, as("ana"), framing, first)
	}
	for range clients {
		<-started
	}
	r.others()
	if _, h := footprint(); h > heap+256<<10*clients {
		t.Errorf("%d bytes of heap for each", (h-heap)/clients)
	}
	for _, c := range slow {
		_ = c.Close()
	}
	eventually(t, "they are gone", func() bool { return r.inFlight() == 0 })
	r.others()
	r.app.reset()
	returnsTo(t, goroutines, heap)
}

// T05: clients that ask and do not read: what an application sends them waits where it
// is, in buffers that are bounded.
func TestT05ClientsThatDoNotRead(t *testing.T) {
	for _, how := range []string{"plain", "tls", "HTTP/2 without a window"} {
		t.Run(how, func(t *testing.T) {
			const clients = 40
			r := newRig(t, func(c *rigConfig) { c.h2 = how != "plain"; c.live.PerSession = 1000 })
			r.app.handler = func(w http.ResponseWriter, q *http.Request) {
				if q.URL.Path == "/other" {
					_, _ = io.WriteString(w, "ok")
					return
				}
				_, _ = io.CopyN(w, zeros{}, 100<<20)
			}
			r.others()
			goroutines, heap := footprint()
			var slow []io.Closer
			if strings.HasPrefix(how, "HTTP/2") {
				for range clients / 20 {
					f := r.frames(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
					for i := range 20 {
						f.headers(uint32(2*i+1), true, f.request()) //nolint:gosec // small
					}
					slow = append(slow, socket(f.conn))
				}
			} else {
				for range clients {
					c := r.dial()
					_ = socket(c).(*net.TCPConn).SetReadBuffer(4096)
					_, _ = io.WriteString(c, "GET /slow HTTP/1.1\r\nHost: "+appHost+"\r\n"+as("ana")+"\r\n\r\n")
					slow = append(slow, c)
				}
			}
			eventually(t, "all are being answered", func() bool { return r.inFlight() == clients })
			r.others()
			if _, h := footprint(); h > heap+512<<10*clients {
				t.Errorf("%d bytes of heap for each", (h-heap)/clients)
			}
			for _, c := range slow {
				_ = c.Close()
			}
			eventually(t, "they are gone", func() bool { return r.inFlight() == 0 })
			r.others()
			r.app.reset()
			returnsTo(t, goroutines, heap)
		})
	}
}

// T06: what is too large is refused by its own status and on record, whether it is one
// line or many, and whatever comes after it is not read.
func TestT06TooLarge(t *testing.T) {
	r := newRig(t)
	top := "GET /large HTTP/1.1\r\nHost: " + appHost + "\r\n" + as("ana") + "\r\nConnection: close\r\n"
	if res := r.raw(top + "X: " + strings.Repeat("x", 50<<10) + "\r\n\r\n"); res.StatusCode != 200 || len(r.one().header.Get("X")) != 50<<10 {
		t.Fatalf("benign: %d", res.StatusCode)
	}
	r.app.reset()
	if res := r.get("/"+strings.Repeat("x", 4000)+"?"+strings.Repeat("y", 10<<10), as("ana")); res.StatusCode != 200 {
		t.Fatalf("benign: %d", res.StatusCode)
	}
	r.app.reset()
	for _, c := range []struct {
		name, reason, stream string
		status               int
	}{
		{"2 MB in a line", "header_too_large", top + "X: " + strings.Repeat("x", 2<<20) + "\r\n\r\n", 431},
		{"2 MB in lines", "header_too_large", top + strings.Repeat("X: "+strings.Repeat("x", 1000)+"\r\n", 2000) + "\r\n", 431},
		{"2 MB in a name", "header_too_large", top + strings.Repeat("x", 2<<20) + ": x\r\n\r\n", 431},
		{"1000 cookies", "too_many_headers", top + "Cookie: " + strings.Repeat("a=b; ", 1000) + "\r\n\r\n", 431},
		{"1000 cookie lines", "too_many_headers", top + strings.Repeat("Cookie: a=b\r\n", 1000) + "\r\n", 431},
		{"300 lines", "too_many_headers", top + strings.Repeat("X: y\r\n", 300) + "\r\n", 431},
		{"64 KB of URL", "target_too_long", strings.Replace(top, "/large", "/"+strings.Repeat("x", 64<<10), 1) + "\r\n", 414},
		{"64 KB of query", "target_too_long", strings.Replace(top, "/large", "/?"+strings.Repeat("x", 64<<10), 1) + "\r\n", 414},
		{"17 KB of query", "target_too_long", strings.Replace(top, "/large", "/?"+strings.Repeat("x", 17<<10), 1) + "\r\n", 414},
		{"5 KB of path", "target_too_long", strings.Replace(top, "/large", "/"+strings.Repeat("x", 5<<10), 1) + "\r\n", 414},
		{"2 MB of method", "method", strings.Repeat("A", 2<<20) + " / HTTP/1.1\r\n\r\n", 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			r.as(t).refusedOnTheWire(wireRow{c.reason, c.stream, c.name}, c.status)
		})
	}
	t.Run("HTTP/2", func(t *testing.T) {
		r := newRig(t, func(c *rigConfig) { c.h2 = true })
		for _, c := range []struct {
			name   string
			fields []string
			want   []string
		}{
			{"100 KB in a field", []string{"x", strings.Repeat("x", 100<<10)}, []string{"status 431", "reset PROTOCOL_ERROR", "goaway PROTOCOL_ERROR", "closed"}},
			{"1000 cookies", []string{"cookie", strings.Repeat("a=b; ", 1000)}, []string{"status 431"}},
			{"20 KB of path", []string{":path", "/" + strings.Repeat("x", 20<<10)}, []string{"status 414"}},
		} {
			f := r.frames()
			go f.listen()
			fields := []string{":method", "GET", ":scheme", "https", ":authority", appHost, "cookie", cookieName + "=ana"}
			if c.fields[0] == ":path" {
				fields = append(c.fields[:2:2], fields...)
			} else {
				fields = append([]string{":path", "/h2"}, append(fields, c.fields...)...)
			}
			b := f.block(fields...)
			for i := 0; i < len(b); i += 16 << 10 {
				part := b[i:min(i+16<<10, len(b))]
				if i == 0 {
					_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: true, EndHeaders: len(part) == len(b), BlockFragment: part})
				} else {
					_ = f.WriteContinuation(1, i+len(part) == len(b), part)
				}
			}
			if got := f.until(c.want...); !strings.Contains(strings.Join(c.want, ","), got) {
				t.Errorf("%s: %s, want one of %v", c.name, got, c.want)
			}
		}
		r.none("too large")
	})
}
