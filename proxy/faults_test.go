package proxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ssogate/ssogate/proxy/upstream"
)

func withUpstream(u string, o upstream.Times) rigOption {
	return func(c *rigConfig) { c.upURL, c.upstream = u, o }
}

// rawUpstream answers each connection's first request with bytes of the test's
// choice, and then does what after says.
func rawUpstream(t *testing.T, answer string, after func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
					return
				}
				_, _ = io.WriteString(c, answer)
				if after != nil {
					after(c)
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

func reset(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }

func TestFault12UpstreamDownIs502AtOnce(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := "http://" + l.Addr().String()
	_ = l.Close()
	r := newRig(t, withUpstream(dead, upstream.Times{}))
	start := time.Now()
	res := r.get("/", as("ana"), navigate)
	if res.StatusCode != 502 || !strings.Contains(res.text, "does not answer") || res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d %s", res.StatusCode, res.text)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("took %s", took)
	}
	if res := r.get("/", as("ana")); res.StatusCode != 502 || !strings.Contains(res.Header.Get("Content-Type"), "problem") {
		t.Errorf("program: %d", res.StatusCode)
	}
	if res := r.get("/.sso/whoami"); res.StatusCode != 200 {
		t.Errorf("our own pages must keep working: %d", res.StatusCode)
	}
	if log := r.log.String(); !strings.Contains(log, "upstream_unreachable") {
		t.Errorf("the operator learns nothing:\n%s", log)
	}
}

func TestFault13UpstreamSilentIs504(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	u := rawUpstream(t, "", func(net.Conn) { <-hang })
	r := newRig(t, withUpstream(u, upstream.Times{Header: 50 * time.Millisecond}))
	if res := r.get("/", as("ana"), navigate); res.StatusCode != 504 || !strings.Contains(res.text, "takes too long") {
		t.Errorf("%d", res.StatusCode)
	}
	if r.inFlight() != 0 {
		t.Errorf("%d requests pile up", r.inFlight())
	}
}

func TestFault13HeaderTimeoutDoesNotCutStreams(t *testing.T) {
	more := make(chan struct{})
	u := rawUpstream(t, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n", func(c net.Conn) {
		<-more
		_, _ = io.WriteString(c, "data: 2\n\n")
	})
	r := newRig(t, withUpstream(u, upstream.Times{Header: 30 * time.Millisecond}))
	c := r.dial()
	defer func() { _ = c.Close() }()
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+appHost+"\r\n"+as("ana")+"\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64)
	n, err := res.Body.Read(buf)
	if err != nil || string(buf[:n]) != "data: 1\n\n" {
		t.Fatalf("an event is held back: %q %v", buf[:n], err)
	}
	time.AfterFunc(100*time.Millisecond, func() { close(more) }) // longer than the header time-out
	rest, err := io.ReadAll(res.Body)
	if err != nil || string(rest) != "data: 2\n\n" {
		t.Errorf("%q %v", rest, err)
	}
}

func TestFault14UpstreamResetInTheMiddleAbortsTheClient(t *testing.T) {
	for name, answer := range map[string]string{
		"declared length": "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 5000),
		"chunked":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nxxxxx\r\n",
		"chunk cut":       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n500\r\nxxxxx",
	} {
		t.Run(name, func(t *testing.T) {
			for _, after := range []func(net.Conn){reset, nil} {
				r := newRig(t, withUpstream(rawUpstream(t, answer, after), upstream.Times{}))
				res, err := r.client().Get(r.server.URL + "/")
				if err == nil {
					_, err = io.ReadAll(res.Body)
					_ = res.Body.Close()
				}
				if err == nil {
					t.Error("the client takes half an answer for a whole one")
				}
			}
		})
	}
	whole := rawUpstream(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", nil)
	r := newRig(t, withUpstream(whole, upstream.Times{}))
	if res := r.get("/", as("ana")); res.text != "ok" {
		t.Errorf("benign: %q", res.text)
	}
}

func TestFault14BrokenAnswersAre502(t *testing.T) {
	for name, answer := range map[string]string{
		"not http": "SSH-2.0-OpenSSH\r\n", "closed at once": "", "cut in the headers": "HTTP/1.1 200 OK\r\nContent-Le", "unasked 101": "HTTP/1.1 101 Switching Protocols\r\n\r\n",
		"unasked websocket": "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "endless headers": "HTTP/1.1 200 OK\r\n" + strings.Repeat("X-A: "+strings.Repeat("b", 1000)+"\r\n", 400),
		"two lengths": "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "bad length": "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na",
	} {
		r := newRig(t, withUpstream(rawUpstream(t, answer, nil), upstream.Times{}))
		if res := r.get("/", as("ana")); res.StatusCode != 502 {
			t.Errorf("%s: %d", name, res.StatusCode)
		}
	}
}

func TestPOSTIsNotSentTwice(t *testing.T) {
	var n atomic.Int32
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() { // answers the first request of each connection, then drops the second unanswered
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				br := bufio.NewReader(c)
				for i := range 2 {
					q, err := http.ReadRequest(br)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, q.Body)
					if q.Method == "POST" {
						n.Add(1)
					}
					if i == 0 {
						_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
					}
				}
			}()
		}
	}()
	r := newRig(t, withUpstream("http://"+l.Addr().String(), upstream.Times{}))
	if res := r.get("/", as("ana")); res.text != "ok" {
		t.Fatalf("benign: %d", res.StatusCode)
	}
	res := r.raw("POST / HTTP/1.1\r\nHost: " + appHost + "\r\n" + as("ana") + "\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc")
	if res.StatusCode != 502 || n.Load() != 1 {
		t.Errorf("%d; the application got the POST %d times, want once and an honest 502", res.StatusCode, n.Load())
	}
}

func TestClientThatLeavesCancelsTheApplication(t *testing.T) {
	r := newRig(t)
	started, ended := make(chan struct{}), make(chan struct{})
	r.app.handler = func(_ http.ResponseWriter, q *http.Request) {
		close(started)
		<-q.Context().Done()
		close(ended)
	}
	c := r.dial()
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+appHost+"\r\n"+as("ana")+"\r\n\r\n")
	<-started
	_ = c.Close()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("the application goes on working for nobody")
	}
}

func TestTrailersPassWithoutManagedNames(t *testing.T) {
	r := newRig(t)
	r.app.handler = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "Grpc-Status, Set-Cookie")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("Grpc-Status", "0")
		w.Header().Set("Set-Cookie", cookieName+"=evil")
		w.Header().Set(http.TrailerPrefix+"X-Late", "1")
	}
	res, err := r.client().Get(r.server.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil || string(b) != "body" || res.Trailer.Get("Grpc-Status") != "0" || res.Trailer.Get("X-Late") != "1" || res.Trailer.Get("Set-Cookie") != "" {
		t.Errorf("%v %q %v", err, b, res.Trailer)
	}
}

func TestLargeBodiesPassBothWays(t *testing.T) {
	r := newRig(t)
	const size = 32 << 20
	r.app.handler = func(w http.ResponseWriter, q *http.Request) {
		n, _ := io.Copy(io.Discard, q.Body)
		if n != size {
			w.WriteHeader(500)
			return
		}
		_, _ = io.CopyN(w, zeros{}, size)
	}
	req, _ := http.NewRequestWithContext(context.Background(), "PUT", r.server.URL+"/big", io.LimitReader(zeros{}, size))
	res, err := r.client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	if err != nil || n != size {
		t.Errorf("%d bytes, %v", n, err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// client is net/http's, signed in as ana, whatever address it dials.
func (r *rig) client() *http.Client {
	tr := &http.Transport{DisableCompression: true}
	if r.server.TLS != nil {
		tr = r.server.Client().Transport.(*http.Transport).Clone()
	}
	r.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: signedIn{tr}}
}

type signedIn struct{ next http.RoundTripper }

func (s signedIn) RoundTrip(q *http.Request) (*http.Response, error) {
	q = q.Clone(q.Context())
	q.Host = appHost
	if q.Header.Get("Cookie") == "" {
		q.Header.Set("Cookie", cookieName+"=ana")
	}
	return s.next.RoundTrip(q)
}
