package h1

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// benchServer answers each head on each connection with the same 1 KiB, for as
// little as possible.
func benchServer(l net.Listener) {
	answer := []byte("HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: text/html\r\n" +
		"Content-Length: 1024\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nConnection: keep-alive\r\nETag: \"65a-400\"\r\nAccept-Ranges: bytes\r\n\r\n" +
		strings.Repeat("x", 1024))
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = c.Close() }()
			br := bufio.NewReader(c)
			for {
				line, err := br.ReadSlice('\n')
				if err != nil {
					return
				}
				if len(line) == 2 {
					if _, err := c.Write(answer); err != nil {
						return
					}
				}
			}
		}()
	}
}

// TestMain is also the server of the benchmark, which must not count as the
// client's CPU time.
func serveBench() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		os.Exit(1)
	}
	_, _ = os.Stdout.WriteString(l.Addr().String() + "\n")
	go benchServer(l)
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent is gone
}

const benchEnv = "SSOGATE_H1_BENCH_SERVER"

func startBenchServer(b *testing.B) string {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), benchEnv+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(addr)
}

func standardTransport(addr string) *http.Transport {
	d := &net.Dialer{}
	return &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) },
		DisableCompression: true, MaxIdleConns: 2048, MaxIdleConnsPerHost: 512, IdleConnTimeout: 50 * time.Second,
		ResponseHeaderTimeout: 60 * time.Second, ExpectContinueTimeout: time.Second, MaxResponseHeaderBytes: 256 << 10,
	}
}

func dialTo(addr string) func(context.Context) (net.Conn, error) {
	d := &net.Dialer{}
	return func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkGet asks for 1 KiB over a kept connection, with the request context
// and trace that the gate's requests have. Server and client are two processes:
// cpu-ns/op is the client's alone.
func BenchmarkGet(b *testing.B) {
	addr := startBenchServer(b)
	target := &url.URL{Scheme: "http", Host: addr, Opaque: "/"}
	trace := &httptrace.ClientTrace{}
	for _, c := range []struct {
		name string
		rt   http.RoundTripper
	}{{"nothing", nothing{}}, {"bare", &bare{dial: dialTo(addr)}}, {"h1", New(Options{Dial: dialTo(addr)})}, {"standard", standardTransport(addr)}} {
		one := func(b *testing.B, buf []byte) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			req := (&http.Request{Method: http.MethodGet, URL: target, Header: benchHeader, ProtoMajor: 1, ProtoMinor: 1}).WithContext(httptrace.WithClientTrace(ctx, trace))
			res, err := c.rt.RoundTrip(req)
			if err != nil {
				b.Error(err)
				return
			}
			n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{res.Body}, buf)
			if n != 1024 || err != nil {
				b.Error(n, err)
			}
			_ = res.Body.Close()
		}
		for _, way := range []string{"serial", "parallel"} {
			b.Run(c.name+"/"+way, func(b *testing.B) {
				b.ReportAllocs()
				start := cpu()
				if way == "serial" {
					buf := make([]byte, 32<<10)
					for b.Loop() {
						one(b, buf)
					}
				} else {
					b.SetParallelism(32)
					b.RunParallel(func(pb *testing.PB) {
						buf := make([]byte, 32<<10)
						for pb.Next() {
							one(b, buf)
						}
					})
				}
				b.ReportMetric(float64(cpu()-start)/float64(b.N), "cpu-ns/op")
			})
		}
	}
}

var benchHeader = http.Header{
	"User-Agent": {"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}, "Accept": {"text/html,application/xhtml+xml"},
	"Accept-Encoding": {"gzip, deflate, br"}, "Accept-Language": {"en"}, "Cookie": {"a=1; b=2"}, "X-Forwarded-User": {"m-1"},
	"X-Forwarded-Email": {"ana@example.com"}, "X-Forwarded-For": {"192.0.2.1"}, "X-Forwarded-Host": {"app.example.com"}, "X-Forwarded-Proto": {"https"},
}

// nothing is what the benchmark itself costs.
type nothing struct{}

func (nothing) RoundTrip(r *http.Request) (*http.Response, error) {
	_ = r.Context().Done()
	return nothingAnswer, nil
}

var nothingAnswer = &http.Response{Body: nothingBody{}}

type nothingBody struct{}

func (nothingBody) Read(p []byte) (int, error) { return 1024, io.EOF }
func (nothingBody) Close() error               { return nil }

// bare writes the same bytes and reads until the answer is there, without looking
// at it: what the kernel and the poller cost, below which nobody gets.
type bare struct {
	dial  func(context.Context) (net.Conn, error)
	conns sync.Pool
}

func (b *bare) RoundTrip(r *http.Request) (*http.Response, error) {
	type bareConn struct {
		net.Conn
		head, buf []byte
	}
	c, ok := b.conns.Get().(*bareConn)
	if !ok {
		nc, err := b.dial(r.Context())
		if err != nil {
			return nil, err
		}
		head, err := appendHead(nil, r, nil)
		if err != nil {
			return nil, err
		}
		c = &bareConn{nc, head, make([]byte, 4096)}
	}
	if _, err := c.Write(c.head); err != nil {
		return nil, err
	}
	if _, err := io.ReadAtLeast(c, c.buf, 1024); err != nil {
		return nil, err
	}
	b.conns.Put(c)
	return nothingAnswer, nil
}
