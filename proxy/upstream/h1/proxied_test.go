package h1

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"
)

// front puts httputil.ReverseProxy before the server, on a real listener.
func front(t *testing.T, rt http.RoundTripper) *httptest.Server {
	t.Helper()
	rp := &httputil.ReverseProxy{Transport: rt, Rewrite: func(pr *httputil.ProxyRequest) {
		pr.Out.URL = &url.URL{Scheme: "http", Host: "app.internal", Opaque: pr.In.URL.EscapedPath(), RawQuery: pr.In.URL.RawQuery}
		pr.Out.Host = pr.In.Host
	}}
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// As the gate does: else net/http closes the request's body when the answer begins,
		// which may be before anybody has looked whether it has ended.
		_ = http.NewResponseController(w).EnableFullDuplex()
		rp.ServeHTTP(w, r)
	}))
	t.Cleanup(ts.Close)
	return ts
}

func TestBehindReverseProxy(t *testing.T) {
	s := newServer(t, func(p *peer, r *seen) {
		p.readBody(r)
		body := fmt.Sprintf("%s %s %d", r.method, r.target, len(r.body))
		p.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n",
			fmt.Sprintf("%x\r\n%s\r\n", len(body), body), "0\r\nX-Sum: 1\r\n\r\n")
	})
	tr := to(t, s, Options{})
	tr.settle = time.Minute // how soon a goroutine gets its turn is not what is tested
	ts := front(t, tr)
	c := ts.Client()
	for _, q := range []struct {
		method, body string
		length       int64
	}{
		{"GET", "", 0},
		{"POST", "", 0},
		{"POST", strings.Repeat("x", 100), 100},
		{"POST", strings.Repeat("x", 1<<20), 1 << 20},
		{"PUT", strings.Repeat("x", 1<<20), -1},
	} {
		req, _ := http.NewRequest(q.method, ts.URL+"/a%2Fb?q=1", io.NopCloser(strings.NewReader(q.body)))
		req.ContentLength = q.length
		if q.length == 0 {
			req.Body = nil
		}
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if want := fmt.Sprintf("%s /a%%2Fb?q=1 %d", q.method, len(q.body)); string(b) != want || err != nil {
			t.Errorf("%q, %v; want %q", b, err, want)
		}
		if res.Trailer.Get("X-Sum") != "1" {
			t.Errorf("trailer %v", res.Trailer)
		}
	}
	if s.accepted() != 1 {
		t.Errorf("%d connections for what one could carry", s.accepted())
	}
}

// Section 4.9: bytes that come with the 101 are part of the tunnel; each side's end
// is passed on alone. (Bytes that come with the client's handshake are lost by
// ReverseProxy; the gate has a tunnel of its own.)
func TestUpgradeThroughReverseProxy(t *testing.T) {
	got := make(chan string, 1)
	s := newServer(t, func(p *peer, _ *seen) {
		p.say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly")
		b, _ := io.ReadAll(p.br)
		got <- string(b)
		p.say(" late")
		_ = p.Close()
	})
	ts := front(t, to(t, s, Options{}))
	c, err := net.Dial("tcp", ts.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: app.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	br := bufio.NewReader(c)
	res, err := http.ReadResponse(br, &http.Request{Method: "GET"})
	if err != nil || res.StatusCode != 101 {
		t.Fatal(res, err)
	}
	early := make([]byte, 5)
	if _, err := io.ReadFull(br, early); err != nil || string(early) != "early" {
		t.Fatalf("%q, %v", early, err)
	}
	_, _ = io.WriteString(c, "from client")
	_ = c.(*net.TCPConn).CloseWrite()
	if b := await(t, got, "the client's bytes and end"); b != "from client" {
		t.Errorf("%q", b)
	}
	if b, err := io.ReadAll(br); string(b) != " late" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}
