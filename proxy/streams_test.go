package proxy

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

// large is the size of the transfers in TestLargeTransfersTakeConstantMemory. "make
// streams" runs them with 10 GiB.
var large = flag.Int64("large", 512<<20, "bytes of a large transfer")

// h2cApp is an application that speaks HTTP/2 without TLS, as gRPC servers behind a proxy do.
func h2cApp(t *testing.T, h http.Handler) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h, Protocols: &http.Protocols{}, ReadHeaderTimeout: time.Minute}
	s.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return "h2c://" + l.Addr().String()
}

// echoRPC answers each message as it comes, and its status in trailers.
func echoRPC(t *testing.T) http.HandlerFunc {
	return func(w http.ResponseWriter, q *http.Request) {
		if q.ProtoMajor != 2 || q.Header.Get("Te") != "trailers" || q.Header.Get("X-Forwarded-User") != "m-ana" {
			t.Errorf("the application sees %s, TE %q, user %q", q.Proto, q.Header["Te"], q.Header["X-Forwarded-User"])
		}
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
		rc := http.NewResponseController(w)
		_ = rc.Flush()
		buf := make([]byte, 64)
		for {
			n, err := q.Body.Read(buf)
			if n > 0 {
				_, _ = w.Write(buf[:n])
				_ = rc.Flush()
			}
			if err != nil {
				w.Header().Set("Grpc-Status", map[bool]string{true: "0", false: "1"}[errors.Is(err, io.EOF)])
				w.Header().Set("Grpc-Message", "bye")
				return
			}
		}
	}
}

// Both directions of a gRPC call stream at once, and its status arrives in trailers.
func TestGRPCStreamsBothWaysOverHTTP2(t *testing.T) {
	up := h2cApp(t, echoRPC(t))
	r := newRig(t, func(c *rigConfig) { c.h2, c.upURL = true, up })
	pr, pw := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.server.URL+"/svc/Chat", pr)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = appHost
	req.Header = http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "Cookie": {cookieName + "=ana"}}
	res, err := r.server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.ProtoMajor != 2 || res.StatusCode != 200 {
		t.Fatalf("%s %s", res.Proto, res.Status)
	}
	buf := make([]byte, 5)
	for i := range 20 {
		msg := fmt.Sprintf("m%04d", i)
		if _, err := io.WriteString(pw, msg); err != nil {
			t.Fatal(err)
		}
		// Nothing more is sent until the answer to this has come.
		if _, err := io.ReadFull(res.Body, buf); err != nil || string(buf) != msg {
			t.Fatalf("%q, %v", buf, err)
		}
	}
	_ = pw.Close()
	if rest, err := io.ReadAll(res.Body); len(rest) > 0 || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
	if res.Trailer.Get("Grpc-Status") != "0" || res.Trailer.Get("Grpc-Message") != "bye" {
		t.Errorf("trailers %v", res.Trailer)
	}
}

// gRPC-Web comes by HTTP/1.1 from browsers, and has its trailers in the body: the bytes
// pass as they are, each message when it comes.
func TestGRPCWebMessagesPassAsTheyCome(t *testing.T) {
	next := make(chan string)
	r := newRig(t)
	r.app.handler = func(w http.ResponseWriter, q *http.Request) {
		b, _ := io.ReadAll(q.Body)
		w.Header().Set("Content-Type", "application/grpc-web+proto")
		_, _ = w.Write(b)
		_ = http.NewResponseController(w).Flush()
		for m := range next {
			_, _ = io.WriteString(w, m)
			_ = http.NewResponseController(w).Flush()
		}
	}
	c := r.dial()
	defer func() { _ = c.Close() }()
	message := "\x00\x00\x00\x00\x03abc"
	_, _ = fmt.Fprintf(c, "POST /svc/Watch HTTP/1.1\r\nHost: %s\r\n%s\r\nOrigin: https://%s\r\nContent-Type: application/grpc-web+proto\r\nX-Grpc-Web: 1\r\nContent-Length: %d\r\n\r\n%s",
		appHost, as("ana"), appHost, len(message), message)
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	}
	want := message
	for _, m := range []string{"", "\x00\x00\x00\x00\x01x", "\x80\x00\x00\x00\x0fgrpc-status:0\r\n"} {
		if m != "" {
			next <- m
			want = m
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != want {
			t.Fatalf("%q, %v; want %q", got, err, want)
		}
	}
	close(next)
}

// Each event arrives while the application waits to send the next.
func TestEventStreamIsNotCollected(t *testing.T) {
	for _, kind := range []string{"text/event-stream", "Text/Event-Stream; charset=utf-8"} {
		seen := make(chan bool)
		r := newRig(t)
		r.app.handler = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			for i := range 5 {
				_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
				_ = http.NewResponseController(w).Flush()
				<-seen
			}
		}
		c := r.dial()
		_, _ = fmt.Fprintf(c, "GET /events HTTP/1.1\r\nHost: %s\r\n%s\r\nAccept: text/event-stream\r\n\r\n", appHost, as("ana"))
		br := bufio.NewReader(c)
		res, err := http.ReadResponse(br, nil)
		if err != nil || res.StatusCode != 200 {
			t.Fatal(res, err)
		}
		body := bufio.NewReader(res.Body)
		for i := range 5 {
			line, err := body.ReadString('\n')
			_, _ = body.ReadString('\n')
			if err != nil || line != fmt.Sprintf("data: %d\n", i) {
				t.Fatalf("%q, %v", line, err)
			}
			seen <- true
		}
		_ = c.Close()
	}
}

// A file in parts, and whether it is still the same file, are between client and
// application.
func TestRangeRequestsPass(t *testing.T) {
	r := newRig(t)
	content := strings.Repeat("0123456789", 100)
	r.app.handler = func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Etag", `"v1"`)
		http.ServeContent(w, q, "file.bin", time.Unix(1e9, 0), strings.NewReader(content))
	}
	for _, c := range []struct {
		lines  []string
		status int
		body   string
		which  string
	}{
		{[]string{"Range: bytes=10-14"}, 206, content[10:15], "bytes 10-14/1000"},
		{[]string{"Range: bytes=-5"}, 206, content[995:], "bytes 995-999/1000"},
		{[]string{"Range: bytes=10-14", `If-Range: "v1"`}, 206, content[10:15], "bytes 10-14/1000"},
		{[]string{"Range: bytes=10-14", `If-Range: "v0"`}, 200, content, ""},
		{[]string{"Range: bytes=5000-"}, 416, "invalid range: failed to overlap\n", "bytes */1000"},
		{[]string{`If-None-Match: "v1"`}, 304, "", ""},
	} {
		res := r.get("/file", append(c.lines, as("ana"))...)
		if res.StatusCode != c.status || res.text != c.body || res.Header.Get("Content-Range") != c.which {
			t.Errorf("%q: %d %q %.20q", c.lines, res.StatusCode, res.Header.Get("Content-Range"), res.text)
		}
	}
	head := r.send("HEAD", "/file", as("ana"))
	if head.StatusCode != 200 || head.Header.Get("Content-Length") != "1000" || head.text != "" {
		t.Errorf("HEAD: %d %v", head.StatusCode, head.Header)
	}
}

// What passes is never held: memory does not grow with the size of a transfer, in
// either direction.
func TestLargeTransfersTakeConstantMemory(t *testing.T) {
	r := newRig(t)
	r.app.handler = func(w http.ResponseWriter, q *http.Request) {
		if q.Method == http.MethodPost {
			n, err := io.Copy(io.Discard, q.Body)
			_, _ = fmt.Fprint(w, n, err)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(*large))
		_, _ = io.CopyN(w, zeros{}, *large)
	}
	peak := heapPeak(t)
	c := r.dial()
	defer func() { _ = c.Close() }()
	br := bufio.NewReader(c)
	_, _ = fmt.Fprintf(c, "GET /down HTTP/1.1\r\nHost: %s\r\n%s\r\n\r\n", appHost, as("ana"))
	res, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, res.Body); n != *large || err != nil {
		t.Errorf("down: %d, %v", n, err)
	}
	_, _ = fmt.Fprintf(c, "POST /up HTTP/1.1\r\nHost: %s\r\n%s\r\nContent-Length: %d\r\n\r\n", appHost, as("ana"), *large)
	if _, err := io.CopyN(c, zeros{}, *large); err != nil {
		t.Fatal(err)
	}
	if res, err = http.ReadResponse(br, nil); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(res.Body); string(b) != fmt.Sprint(*large, " <nil>") || err != nil {
		t.Errorf("up: %q, %v", b, err)
	}
	if got := peak(); got > 64<<20 {
		t.Errorf("%d MiB of heap for client, gate and application together", got>>20)
	} else {
		t.Logf("%d MiB there and back, %d MiB of heap at most", *large>>20, got>>20)
	}
}

// heapPeak samples the heap until the function it answers is called.
func heapPeak(t *testing.T) func() uint64 {
	t.Helper()
	runtime.GC()
	stop, done := make(chan struct{}), make(chan uint64)
	go func() {
		var most uint64
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapInuse)
			select {
			case <-stop:
				done <- most
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return func() uint64 { close(stop); return <-done }
}
