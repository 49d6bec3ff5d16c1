package wire

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"
)

type connKey struct{}

// host is a http.Server behind a listener of ours. It answers what it was asked, and
// remembers refusals.
type host struct {
	t      *testing.T
	addr   string
	secure *tls.Config // for clients; nil is plain
	server *http.Server

	mu      sync.Mutex
	refused []string
	targets []string
	handler http.HandlerFunc // instead
}

func newHost(t *testing.T, secure bool) *host {
	t.Helper()
	h := &host{t: t}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.addr = l.Addr().String()
	o := Options{}
	if secure {
		example := httptest.NewTLSServer(nil)
		o.TLS = &tls.Config{Certificates: example.TLS.Certificates} //nolint:gosec // a test's
		h.secure = example.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
		h.secure.ServerName = "example.com"
		example.Close()
	}
	h.server = &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, HTTP2: HTTP2(), DisableGeneralOptionsHandler: true,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
	}
	served := make(chan error)
	go func() { served <- h.server.Serve(Listen(l, o)) }()
	t.Cleanup(func() {
		_ = h.server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return h
}

func (h *host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, _ := r.Context().Value(connKey{}).(net.Conn)
	if no := Refusal(c, r.Host); no != nil {
		h.mu.Lock()
		h.refused = append(h.refused, string(no.Reason))
		h.mu.Unlock()
		w.Header().Set("Connection", "close")
		http.Error(w, string(no.Reason), no.Status)
		return
	}
	h.mu.Lock()
	h.targets = append(h.targets, r.RequestURI)
	handler := h.handler
	h.mu.Unlock()
	if handler != nil {
		handler(w, r)
		return
	}
	sum := sha256.New()
	n, err := io.Copy(sum, r.Body)
	if err != nil {
		w.Header().Set("Connection", "close")
		http.Error(w, "body", http.StatusBadRequest)
		return
	}
	_, _ = fmt.Fprintf(w, "%s %s %d %x %t", r.Proto, r.RequestURI, n, sum.Sum(nil)[:4], r.TLS != nil)
}

func (h *host) dial() net.Conn {
	h.t.Helper()
	c, err := net.Dial("tcp", h.addr)
	if err != nil {
		h.t.Fatal(err)
	}
	if h.secure != nil {
		c = tls.Client(c, h.secure)
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	h.t.Cleanup(func() { _ = c.Close() })
	return c
}

// answers reads all answers, to the end of the connection.
func answers(t *testing.T, c net.Conn) (out []string) {
	t.Helper()
	br := bufio.NewReader(c)
	for {
		res, err := http.ReadResponse(br, nil)
		if err != nil {
			if _, more := br.Peek(1); more == nil {
				t.Fatalf("after %q: %v", out, err)
			}
			return out
		}
		b, _ := io.ReadAll(res.Body)
		out = append(out, strconv.Itoa(res.StatusCode)+" "+strings.TrimSpace(string(b)))
	}
}

func both(t *testing.T, do func(t *testing.T, h *host)) {
	for _, secure := range []bool{false, true} {
		t.Run(map[bool]string{false: "plain", true: "TLS"}[secure], func(t *testing.T) { do(t, newHost(t, secure)) })
	}
}

// What came before a refused request is answered as if nothing were behind it; then
// comes one refusal, and the end.
func TestEarlierRequestsAreAnsweredFirst(t *testing.T) {
	both(t, func(t *testing.T, h *host) {
		for _, c := range []struct{ why, bad string }{
			{"framing_conflict", "POST /bad HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"},
			{"request_line", "\x00"},
			{"line_end", "GET /bad HTTP/1.1\nHost: a\r\n\r\n"},
			{"chunk_size", "POST /bad HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n"},
			{"target_form", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"},
		} {
			for _, together := range []bool{true, false} {
				h.refused, h.targets = nil, nil
				blocked, goOn := make(chan context.Context, 1), make(chan struct{})
				h.handler = func(w http.ResponseWriter, r *http.Request) {
					blocked <- r.Context()
					<-goOn
					_, _ = io.WriteString(w, r.RequestURI)
				}
				client := h.dial()
				first := "GET /first HTTP/1.1\r\nHost: a\r\n\r\n"
				if together {
					_, _ = io.WriteString(client, first+c.bad+first)
				} else {
					_, _ = io.WriteString(client, first)
				}
				running := <-blocked
				if !together {
					_, _ = io.WriteString(client, c.bad+first)
				}
				// While the first is answered, reading goes on behind it.
				if running.Err() != nil {
					t.Errorf("%s: the request before was cancelled", c.why)
				}
				close(goOn)
				got := answers(t, client)
				if len(got) != 2 || got[0] != "200 /first" || got[1] != "400 "+c.why {
					t.Errorf("%s (together: %t): %q", c.why, together, got)
				}
				if running.Err() == nil {
					t.Error("the context outlives its request")
				}
				if len(h.refused) != 1 || len(h.targets) != 1 {
					t.Errorf("%s: served %q, refused %q", c.why, h.targets, h.refused)
				}
			}
		}
	})
}

// Benign twins of T01 and T02: everyday traffic on one kept connection.
func TestEverydayTrafficOnOneConnection(t *testing.T) {
	both(t, func(t *testing.T, h *host) {
		client := h.dial()
		var stream bytes.Buffer
		for i := range 50 {
			_, _ = fmt.Fprintf(&stream, "GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", i)
			_, _ = fmt.Fprintf(&stream, "POST /%d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n3\r\nabc\r\n%x\r\n%s\r\n0\r\nX: y\r\n\r\n", i, 100*i+1, strings.Repeat("y", 100*i+1))
			_, _ = fmt.Fprintf(&stream, "PUT /%d HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s\r\n", i, 70*i, strings.Repeat("z", 70*i))
		}
		stream.WriteString("GET /end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		go func() { _, _ = client.Write(stream.Bytes()) }()
		got := answers(t, client)
		if len(got) != 151 || !strings.Contains(got[150], "/end") || !strings.Contains(got[147], "HTTP/1.1 /49 0 ") || !strings.Contains(got[148], fmt.Sprintf("/49 %d ", 4904)) || !strings.HasSuffix(got[149], strconv.FormatBool(h.secure != nil)) {
			t.Errorf("%d answers, at the end %q", len(got), got[max(len(got)-4, 0):])
		}
	})
}

func TestExpectContinue(t *testing.T) {
	h := newHost(t, false)
	client := h.dial()
	_, _ = io.WriteString(client, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\nConnection: close\r\n\r\n")
	br := bufio.NewReader(client)
	if line, _ := br.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("%q", line)
	}
	_, _ = br.ReadString('\n')
	_, _ = io.WriteString(client, "hello")
	if res, err := http.ReadResponse(br, nil); err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	}
}

// 10 MB, split wherever an odd number of bytes ends.
func TestLargeUploadsAreCountedNotCopied(t *testing.T) {
	data := make([]byte, 10<<20)
	for i := range data {
		data[i] = byte(i>>8) ^ byte(i)
	}
	both(t, func(t *testing.T, h *host) {
		for _, n := range []int{1<<10 + 1, 4095, 4097, 16<<10 - 1, 65537, 1<<20 + 1} {
			for _, chunked := range []bool{false, true} {
				client := h.dial()
				go func() {
					w := bufio.NewWriterSize(client, 333)
					if !chunked {
						_, _ = fmt.Fprintf(w, "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n", len(data))
						_ = w.Flush()
						for rest := data; len(rest) > 0; rest = rest[min(n, len(rest)):] {
							_, _ = client.Write(rest[:min(n, len(rest))])
						}
						return
					}
					_, _ = io.WriteString(w, "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
					for rest := data; len(rest) > 0; rest = rest[min(n, len(rest)):] {
						_, _ = fmt.Fprintf(w, "%x\r\n%s\r\n", min(n, len(rest)), rest[:min(n, len(rest))])
					}
					_, _ = io.WriteString(w, "0\r\n\r\n")
					_ = w.Flush()
				}()
				sum := sha256.Sum256(data)
				want := fmt.Sprintf("200 HTTP/1.1 / %d %x %t", len(data), sum[:4], h.secure != nil)
				if got := answers(t, client); len(got) != 1 || got[0] != want {
					t.Fatalf("in pieces of %d, chunked %t: %q, want %q", n, chunked, got, want)
				}
			}
		}
	})
}

// T06: the answer arrives although the client is still sending, and its connection ends.
func TestT06RefusedWhileSending(t *testing.T) {
	both(t, func(t *testing.T, h *host) {
		for why, c := range map[string]struct {
			head   string
			status string
		}{
			"header_too_large": {"GET / HTTP/1.1\r\nHost: a\r\nX: ", "431"}, "target_too_long": {"GET /", "414"},
		} {
			client := h.dial()
			go func() { _, _ = io.WriteString(client, c.head+strings.Repeat("x", 2<<20)) }()
			if got := answers(t, client); len(got) != 1 || got[0] != c.status+" "+why {
				t.Errorf("%q, want %s %s", got, c.status, why)
			}
		}
	})
}

func TestHTTP2PassesUnwrapped(t *testing.T) {
	h := newHost(t, true)
	for _, protos := range [][]string{{"h2", "http/1.1"}, {"http/1.1"}, nil} {
		conf := h.secure.Clone()
		conf.NextProtos = protos
		cl := &http.Client{Transport: &http.Transport{TLSClientConfig: conf, ForceAttemptHTTP2: len(protos) == 2}}
		h.handler = func(w http.ResponseWriter, r *http.Request) {
			c, _ := r.Context().Value(connKey{}).(net.Conn)
			_, _ = fmt.Fprintf(w, "%d %t %t", r.ProtoMajor, of(c) != nil, r.TLS != nil && r.TLS.HandshakeComplete)
		}
		res, err := cl.Get("https://" + h.addr + "/")
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		want := map[bool]string{true: "2 false true", false: "1 true true"}[len(protos) == 2]
		if string(b) != want {
			t.Errorf("%v: %s, want %s", protos, b, want)
		}
		cl.CloseIdleConnections()
	}
}

// What net/http asks of a TCP connection is still there, and of TLS only what it has.
func TestWhatTheConnectionCanDoIsKept(t *testing.T) {
	both(t, func(t *testing.T, h *host) {
		h.handler = func(w http.ResponseWriter, r *http.Request) {
			c, _ := r.Context().Value(connKey{}).(net.Conn)
			_, copies := c.(io.ReaderFrom)
			_, halves := c.(interface{ CloseWrite() error })
			_, states := c.(interface{ ConnectionState() tls.ConnectionState })
			in, _ := Detach(c)
			_, bare := in.(*net.TCPConn)
			if secure := h.secure != nil; copies == secure || !halves || states != secure || bare == secure {
				t.Errorf("ReaderFrom %t, CloseWrite %t, ConnectionState %t, %T inside", copies, halves, states, in)
			}
			f, err := os.Open("doc.go") // sendfile where it can be
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = f.Close() }()
			w.Header().Set("Content-Length", "100000")
			_, _ = io.Copy(w, io.LimitReader(f, 1000))
			_, _ = io.Copy(w, strings.NewReader(strings.Repeat("x", 99000)))
		}
		client := h.dial()
		_, _ = io.WriteString(client, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		if got := answers(t, client); len(got) != 1 || len(got[0]) != 4+100000 {
			t.Errorf("%d answers", len(got))
		}
	})
	if n := unsafe.Sizeof(plainConn{}); n > 100 {
		t.Errorf("%d bytes for each connection", n)
	}
}

// T05: clients that begin a handshake and go silent hold up nobody, and leave with the
// listener.
func TestT05SlowHandshakes(t *testing.T) {
	h := newHost(t, true)
	var silent []net.Conn
	for range 300 {
		c, err := net.Dial("tcp", h.addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte("\x16\x03\x01")) // the beginning of a ClientHello
		silent = append(silent, c)
	}
	client := h.dial()
	_, _ = io.WriteString(client, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	if got := answers(t, client); len(got) != 1 || !strings.HasPrefix(got[0], "200") {
		t.Errorf("somebody else: %q", got)
	}
	_ = h.server.Close()
	for _, c := range silent {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, err := io.ReadAll(c)
		var ne net.Error
		if errors.As(err, &ne) && ne.Timeout() {
			t.Fatal("a handshake outlives the listener")
		}
		_ = c.Close()
	}
}

func TestPlainHTTPOnTheTLSPort(t *testing.T) {
	h := newHost(t, true)
	c, err := net.Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if b, _ := io.ReadAll(c); !bytes.HasPrefix(b, []byte("HTTP/1.0 400 ")) || !bytes.Contains(b, []byte("https")) {
		t.Errorf("%q", b)
	}
	if len(h.targets)+len(h.refused) != 0 {
		t.Error("it was served")
	}
}

// A closed listener says so, whatever waits.
func TestListenersClose(t *testing.T) {
	for _, o := range []Options{{}, {TLS: &tls.Config{}}} { //nolint:gosec // a test's
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		w := Listen(l, o)
		ended := make(chan error)
		go func() { _, err := w.Accept(); ended <- err }()
		_ = w.Close()
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		if _, err := w.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}
}
