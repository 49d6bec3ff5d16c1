package proxy

import (
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// footprint is what a process holds: goroutines, and bytes of live heap.
func footprint() (goroutines int, heap int64) {
	runtime.GC()
	runtime.GC() // what pools let go
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return runtime.NumGoroutine(), int64(m.HeapAlloc) //nolint:gosec // no heap is that large
}

// returns waits until the footprint is what it was, give or take.
func returnsTo(t *testing.T, goroutines int, heap int64) {
	t.Helper()
	var g int
	var h int64
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if g, h = footprint(); g <= goroutines+20 && h <= heap+16<<20 {
			return
		}
	}
	t.Errorf("%d goroutines and %d KiB of heap are left, of %d and %d before", g, h>>10, goroutines, heap>>10)
}

// T04: however a client drives one HTTP/2 connection, what it costs is bounded, goes
// with the connection, and others are served meanwhile.
func TestT04HTTP2FloodsAreBounded(t *testing.T) {
	const floods = 10000
	head := func(f *framer, i int) uint32 {
		id := uint32(2*i + 1) //nolint:gosec // small
		f.headers(id, true, f.request())
		return id
	}
	for _, c := range []struct {
		name string
		send func(f *framer, i int) // the i-th time
		deaf bool                   // the client does not read either
		ends bool                   // the connection does not survive it
	}{
		{"benign", func(f *framer, i int) {
			if i == 0 {
				head(f, 0)
			}
		}, false, false},
		{"rapid reset", func(f *framer, i int) { _ = f.WriteRSTStream(head(f, i), http2.ErrCodeCancel) }, false, false},
		{"rapid reset of uploads", func(f *framer, i int) {
			id := uint32(2*i + 1) //nolint:gosec // small
			f.headers(id, false, f.request("content-length", "100000"))
			_ = f.WriteData(id, false, make([]byte, 1000))
			_ = f.WriteRSTStream(id, http2.ErrCodeCancel)
		}, false, false},
		// MadeYouReset: the client has the server reset its own streams, whose handlers go on.
		{"made to reset by a window of nothing", func(f *framer, i int) { _ = f.WriteRawFrame(http2.FrameWindowUpdate, 0, head(f, i), raw32(0)) }, false, false},
		{"made to reset by data after the end", func(f *framer, i int) { _ = f.WriteData(head(f, i), true, []byte("x")) }, false, false},
		{"made to reset by a window over the limit", func(f *framer, i int) {
			id := head(f, i)
			_ = f.WriteWindowUpdate(id, 1<<31-1)
			_ = f.WriteWindowUpdate(id, 1<<31-1)
		}, false, false},
		{"made to reset by a stream that depends on itself", func(f *framer, i int) {
			id := head(f, i)
			_ = f.WritePriority(id, http2.PriorityParam{StreamDep: id})
		}, false, false},
		{"continuations", func(f *framer, i int) {
			if i == 0 {
				_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: true, BlockFragment: f.request()})
			}
			_ = f.WriteContinuation(1, false, f.block("x", strings.Repeat("y", 1000)))
		}, false, true},
		{"empty continuations", func(f *framer, i int) {
			if i == 0 {
				_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: true, BlockFragment: f.request()})
			}
			_ = f.WriteContinuation(1, false, nil)
		}, false, false},
		{"a small block that is large when decoded", func(f *framer, i int) {
			if i >= floods/20 { // each of them is work enough
				return
			}
			b := f.request("x", strings.Repeat("y", 3000))
			for range 4000 { // the newest entry of the table, again and again
				b = append(b, 0xbe)
			}
			f.headers(uint32(2*i+1), true, b) //nolint:gosec // small
		}, false, false},
		{"settings, unread", func(f *framer, _ int) {
			for range 20 {
				_ = f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
			}
		}, true, false},
		{"pings, unread", func(f *framer, _ int) {
			for range 20 {
				_ = f.WritePing(false, [8]byte{})
			}
		}, true, false},
		{"requests, answers unread", func(f *framer, i int) { head(f, i) }, true, false},
		{"empty data", func(f *framer, i int) {
			if i == 0 {
				f.headers(1, false, f.request())
			}
			_ = f.WriteData(1, false, nil)
		}, false, false},
		{"priorities of streams that are not", func(f *framer, i int) {
			_ = f.WritePriority(uint32(2*i+1), http2.PriorityParam{StreamDep: uint32(2*i + 3)}) //nolint:gosec // small
		}, false, false},
		{"unknown frames", func(f *framer, _ int) { _ = f.WriteRawFrame(0xfa, 0, 0, make([]byte, 1000)) }, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, func(c *rigConfig) { c.h2 = true; c.live.PerSession = 5000 })
			var inside, most atomic.Int32
			r.app.handler = func(w http.ResponseWriter, q *http.Request) {
				if q.Header.Get("X-Forwarded-User") == "m-ben" {
					_, _ = w.Write([]byte("ok"))
					return
				}
				n := inside.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				defer inside.Add(-1)
				if c.deaf || c.name == "benign" {
					_, _ = w.Write(make([]byte, 10<<10))
					return
				}
				if _, err := io.Copy(io.Discard, q.Body); err == nil {
					<-q.Context().Done() // an application that works for long
				}
			}
			other := r.client()
			ask := func() {
				t.Helper()
				q, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, r.server.URL+"/other", nil)
				q.Header.Set("Cookie", cookieName+"=ben")
				res, err := other.Do(q)
				if err != nil || res.StatusCode != http.StatusOK {
					t.Fatalf("somebody else: %v %v", res, err)
				}
				_ = res.Body.Close()
			}
			ask()
			goroutines, heap := footprint()
			f := r.frames(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 10})
			var reading sync.WaitGroup
			if !c.deaf {
				reading.Go(f.listen)
			} else {
				_ = socket(f.conn).(interface{ SetReadBuffer(int) error }).SetReadBuffer(4096)
			}
			var sending sync.WaitGroup
			var sent atomic.Int32
			sending.Go(func() {
				for i := range floods {
					if sent.Add(1); !f.dead.over.Load() {
						c.send(f, i)
					}
				}
			})
			// A deaf client's writes block once the server has stopped to read: a bound too.
			var top int64
			for last, since := int32(0), time.Now(); sent.Load() < floods && (!c.deaf || time.Since(since) < 300*time.Millisecond); {
				ask()
				if _, h := footprint(); h > top {
					top = h
				}
				if n := sent.Load(); n != last {
					last, since = n, time.Now()
				}
			}
			if top > heap+64<<20 {
				t.Errorf("%d MiB of heap while it goes on", (top-heap)>>20)
			}
			if n := int(most.Load()); n > 128+5 {
				t.Errorf("the application had %d requests at once", n)
			}
			if !c.deaf {
				sending.Wait()
			}
			switch {
			case c.name == "benign":
				if got := f.until("status 200"); got != "status 200" {
					t.Error(got)
				}
			case c.ends:
				_ = f.conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
				eventually(t, "the server hangs up", func() bool { return f.WritePing(false, [8]byte{}) != nil })
			}
			ask()
			_ = socket(f.conn).Close()
			sending.Wait()
			reading.Wait()
			eventually(t, "the application is left alone", func() bool { return inside.Load() == 0 && r.inFlight() == 0 })
			f = nil
			other.CloseIdleConnections()
			r.app.reset()
			r.log.reset()
			returnsTo(t, goroutines, heap)
			t.Logf("at most %d requests at once, %d KiB of heap above the start", most.Load(), (top-heap)>>10)
		})
	}
}
