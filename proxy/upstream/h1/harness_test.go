package h1

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long a test waits for what must happen. Nothing is asserted
// about time.
const patience = 10 * time.Second

// server is an application on raw sockets: it says exactly the bytes that a test
// gives it, and remembers what it was asked.
type server struct {
	t      testing.TB
	l      net.Listener
	handle func(p *peer, r *seen)

	mu    sync.Mutex
	conns []*peer
	seen  []*seen
	wg    sync.WaitGroup
}

// peer is one connection to the server.
type peer struct {
	*net.TCPConn
	br *bufio.Reader
	id int
	s  *server
}

// seen is one request as it came.
type seen struct {
	conn           int
	method, target string
	fields         []string // "Name: value" in order
	body           []byte
	bodyErr        error
}

func (r *seen) get(name string) []string {
	var out []string
	for _, f := range r.fields {
		if n, v, _ := strings.Cut(f, ": "); n == name {
			out = append(out, v)
		}
	}
	return out
}

// newServer calls handle for each request of each connection; it reads the body
// itself if it wants to. A connection ends when handle closes it.
func newServer(t testing.TB, handle func(p *peer, r *seen)) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, l: l, handle: handle}
	s.wg.Go(s.accept)
	t.Cleanup(s.close)
	return s
}

func (s *server) close() {
	_ = s.l.Close()
	s.mu.Lock()
	for _, p := range s.conns {
		_ = p.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

func (s *server) addr() string { return s.l.Addr().String() }

func (s *server) accept() {
	for {
		c, err := s.l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		p := &peer{TCPConn: c.(*net.TCPConn), br: bufio.NewReader(c), id: len(s.conns), s: s}
		s.conns = append(s.conns, p)
		s.mu.Unlock()
		s.wg.Go(p.serve)
	}
}

func (p *peer) serve() {
	defer func() { _ = p.Close() }()
	for {
		r, err := p.readHead()
		if err != nil {
			return
		}
		p.s.mu.Lock()
		p.s.seen = append(p.s.seen, r)
		p.s.mu.Unlock()
		p.s.handle(p, r)
	}
}

// readHead is strict: what it does not understand, the test should see.
func (p *peer) readHead() (*seen, error) {
	var lines []string
	for {
		line, err := p.br.ReadString('\n')
		if err != nil {
			return nil, err
		}
		line, ok := strings.CutSuffix(line, "\r\n")
		if !ok {
			p.s.t.Errorf("request line without CRLF: %q", line)
			return nil, io.ErrUnexpectedEOF
		}
		if line == "" {
			break
		}
		lines = append(lines, line)
	}
	if len(lines) == 0 {
		p.s.t.Error("empty request head")
		return nil, io.ErrUnexpectedEOF
	}
	parts := strings.Split(lines[0], " ")
	if len(parts) != 3 || parts[2] != "HTTP/1.1" {
		p.s.t.Errorf("request line %q", lines[0])
		return nil, io.ErrUnexpectedEOF
	}
	return &seen{conn: p.id, method: parts[0], target: parts[1], fields: lines[1:]}, nil
}

// readBody reads the body as the head declares it.
func (p *peer) readBody(r *seen) {
	r.body, r.bodyErr = p.bodyOf(r)
}

func (p *peer) bodyOf(r *seen) ([]byte, error) {
	if te := r.get("Transfer-Encoding"); len(te) > 0 {
		var out []byte
		for {
			line, err := p.br.ReadString('\n')
			if err != nil {
				return out, err
			}
			n, err := strconv.ParseInt(strings.TrimSuffix(line, "\r\n"), 16, 64)
			if err != nil {
				return out, err
			}
			data := make([]byte, n+2)
			if _, err := io.ReadFull(p.br, data); err != nil {
				return out, io.ErrUnexpectedEOF
			}
			if string(data[n:]) != "\r\n" {
				return out, errors.New("chunk without an end")
			}
			if n == 0 {
				return out, nil
			}
			out = append(out, data[:n]...)
		}
	}
	cl := r.get("Content-Length")
	if len(cl) == 0 {
		return nil, nil
	}
	n, err := strconv.Atoi(cl[0])
	if err != nil || len(cl) > 1 {
		return nil, fmt.Errorf("lengths %q", cl)
	}
	out := make([]byte, n)
	m, err := io.ReadFull(p.br, out)
	return out[:m], err
}

// say writes pieces, each in a write of its own.
func (p *peer) say(pieces ...string) {
	for _, s := range pieces {
		if _, err := io.WriteString(p, s); err != nil {
			return
		}
	}
}

// reset closes with a RST.
func (p *peer) reset() {
	_ = p.SetLinger(0)
	_ = p.Close()
}

// requests is what came so far.
func (s *server) requests() []*seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

func (s *server) accepted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// to makes a transport to the server that is checked for leaks at the end.
func to(t testing.TB, s *server, o Options) *Transport {
	t.Helper()
	if o.Dial == nil {
		o.Dial = dialTo(s.addr())
	}
	tr := New(o)
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		// A tunnel ends on goroutines that no server waits for.
		for end := time.Now().Add(patience); tr.InUse() != 0 && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		if n := tr.InUse(); n != 0 {
			t.Errorf("%d connections are still in use", n)
		}
	})
	return tr
}

// request makes one as proxy/forward.go does: the target in Opaque.
func request(t testing.TB, method, target string, body io.Reader) *http.Request {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	path, query, asked := strings.Cut(target, "?")
	r := &http.Request{
		Method: method, URL: &url.URL{Scheme: "http", Host: "app.internal", Opaque: path, RawQuery: query, ForceQuery: asked},
		Host: "app.example.com", Header: http.Header{}, ProtoMajor: 1, ProtoMinor: 1,
	}
	if body != nil {
		r.Body, r.ContentLength = io.NopCloser(body), -1
		if l, ok := body.(interface{ Len() int }); ok {
			r.ContentLength = int64(l.Len())
		}
	}
	return r.WithContext(ctx)
}

// get asks and reads the answer to its end.
func get(t testing.TB, rt http.RoundTripper, r *http.Request) (*http.Response, string, error) {
	t.Helper()
	res, err := rt.RoundTrip(r)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	return res, string(b), err
}

// mustGet fails the test unless it gets that body.
func mustGet(t testing.TB, rt http.RoundTripper, target, want string) *http.Response {
	t.Helper()
	res, body, err := get(t, rt, request(t, "GET", target, nil))
	if err != nil || body != want {
		t.Fatalf("%s: %q, %v; want %q", target, body, err, want)
	}
	return res
}

// await waits for what another goroutine is about to do.
func await[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
	}
	var none T // Fatalf does not return
	return none
}
