package h1

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"
)

// The differential test: the same exchange by this package and by http.Transport. The
// outcome is the same, or a difference that stands in the table differences with a reason:
// stricter, and argued (decision 050). shared/protocols.md section 4 says what it must hold.

// exchangeCase is one exchange as a test writes it down.
type exchangeCase struct {
	name   string
	method string
	target string      // "" is "/"
	header http.Header // of the request
	body   string
	length int64 // of the request's body; -1 is unknown; 0 with a body is an unknown one too

	answer []string // in writes of their own
	end    ending   // of the connection, after the answer
	early  bool     // the answer does not wait for the request's body
	tags   []string // what is odd about it
}

// ending is what the application does with the connection after its answer.
type ending int

const (
	keepOpen ending = iota
	closeIt
	resetIt
)

func (c *exchangeCase) odd(tag string) bool { return slices.Contains(c.tags, tag) }

// outcome is what a caller sees of an exchange, and what the application saw.
type outcome struct {
	failed  bool // before a response
	broken  bool // in the body
	status  int
	proto   string
	header  string
	body    string
	trailer string
	kept    bool   // the next request comes by the same connection
	next    string // and what it was answered
	request string // the bytes of the request, without its body when the answer was early
}

func (o outcome) bad() bool { return o.failed || o.broken }

// scripted is an application on a raw socket that plays cases.
type scripted struct {
	l net.Listener

	mu    sync.Mutex
	now   *exchangeCase
	plays int
	wrote chan struct{} // closed once all of the case's answer is written
	conns int
	seen  bytes.Buffer // of the request to the case
	again []int        // connections on which follow-ups came
	open  []net.Conn
	wg    sync.WaitGroup
}

func newScripted(t testing.TB) *scripted {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scripted{l: l}
	s.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns++
			id := s.conns
			s.open = append(s.open, c)
			s.mu.Unlock()
			s.wg.Go(func() { s.serve(c.(*net.TCPConn), id) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); s.shut(); s.wg.Wait() })
	return s
}

// shut ends all connections.
func (s *scripted) shut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.open {
		_ = c.Close()
	}
	s.open = nil
}

const nextTarget = "/--next--"

func (s *scripted) serve(c *net.TCPConn, id int) {
	defer func() { _ = c.Close() }()
	var raw bytes.Buffer
	br := bufio.NewReader(io.TeeReader(c, &raw))
	for {
		raw.Reset()
		buffered := br.Buffered()
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		if req.RequestURI == nextTarget {
			s.mu.Lock()
			s.again = append(s.again, id)
			s.mu.Unlock()
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext")
			continue
		}
		s.mu.Lock()
		k, play := s.now, s.plays
		s.mu.Unlock()
		if buffered > 0 {
			return // a test's mistake: cases are not pipelined
		}
		body := "(not read)"
		if !k.early {
			b, err := io.ReadAll(req.Body)
			body = fmt.Sprint(string(b), err)
		}
		// Lines in any order, and a body in any chunks, are the same request.
		head, _, _ := bytes.Cut(raw.Bytes(), []byte("\r\n\r\n"))
		lines := strings.Split(string(head), "\r\n")
		sort.Strings(lines[1:])
		s.mu.Lock()
		if play == s.plays { // not a connection of before that has only now noticed its end
			s.seen.Reset()
			s.seen.WriteString(strings.Join(lines, "\n") + "\n" + body)
		}
		s.mu.Unlock()
		err = write(c, k.answer)
		s.answered(play)
		if err != nil {
			return
		}
		switch k.end {
		case closeIt:
			_ = c.CloseWrite()
			_, _ = io.Copy(io.Discard, c)
			return
		case resetIt:
			_ = c.SetLinger(0)
			return
		}
	}
}

func write(w io.Writer, pieces []string) error {
	for _, piece := range pieces {
		if _, err := io.WriteString(w, piece); err != nil {
			return err
		}
	}
	return nil
}

// answered notes that a case's answer is written. A request that is sent again is
// answered twice.
func (s *scripted) answered(play int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if play != s.plays {
		return
	}
	select {
	case <-s.wrote:
	default:
		close(s.wrote)
	}
}

func (s *scripted) play(k *exchangeCase) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now, s.again = k, nil
	s.plays++
	s.wrote = make(chan struct{})
	s.seen.Reset()
}

// transports under comparison, to the same application.
func ours(s *scripted) *Transport {
	t := New(Options{Dial: dialTo(s.l.Addr().String()), Continue: time.Minute})
	t.settle = time.Minute
	return t
}

func theirs(s *scripted) *http.Transport {
	addr := s.l.Addr().String()
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		},
		DisableCompression: true, MaxResponseHeaderBytes: 256 << 10, ExpectContinueTimeout: time.Minute,
	}
}

// run plays a case on a transport, then asks once more.
func run(t testing.TB, s *scripted, rt http.RoundTripper, k *exchangeCase) outcome {
	t.Helper()
	s.play(k)
	var o outcome
	target := k.target
	if target == "" {
		target = "/"
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req := request(t, k.method, target, nil).WithContext(ctx)
	req.Header["User-Agent"] = []string{""} // else http.Transport writes its own name
	for name, v := range k.header {
		req.Header[name] = v
	}
	if k.body != "" || k.length < 0 {
		req.Body, req.ContentLength = io.NopCloser(strings.NewReader(k.body)), k.length
	}
	res, err := rt.RoundTrip(req)
	if err != nil {
		o.failed = true
		if errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %T waits for ever", k.name, rt)
		}
	} else {
		o.status, o.proto, o.header = res.StatusCode, res.Proto, flat(res.Header)
		if res.StatusCode != http.StatusSwitchingProtocols {
			b, err := io.ReadAll(res.Body)
			o.body, o.broken, o.trailer = string(b), err != nil, flat(res.Trailer)
		}
		_ = res.Body.Close()
	}
	s.mu.Lock()
	o.request = s.seen.String()
	conns, wrote := s.conns, s.wrote
	s.mu.Unlock()
	if k.end == keepOpen && !o.bad() && o.status != http.StatusSwitchingProtocols {
		// What the application sends after the next request has left is, to any client,
		// the answer to that one: only what was there before can be told from it.
		select {
		case <-wrote:
		case <-ctx.Done():
			t.Errorf("%s: the application is not done", k.name)
		}
		o.next = follow(t, rt)
		s.mu.Lock()
		o.kept = s.conns == conns
		s.mu.Unlock()
	}
	return o
}

// follow asks for something else, and answers what came.
func follow(t testing.TB, rt http.RoundTripper) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	res, err := rt.RoundTrip(request(t, http.MethodGet, nextTarget, nil).WithContext(ctx))
	if err != nil {
		return "error"
	}
	b, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	return fmt.Sprint(res.StatusCode, " ", string(b), " ", err)
}

// flat writes a header down: names sorted, values in their order.
func flat(h http.Header) string {
	var lines []string
	for name, vs := range h {
		lines = append(lines, fmt.Sprintf("%s: %q", name, vs))
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

// difference is one that is wanted.
type difference struct {
	name string
	why  string
	when func(k *exchangeCase, a, b outcome) bool // a is ours
}

// stricter: where a case has one of the tags we refuse what http.Transport takes.
func stricter(tags ...string) func(*exchangeCase, outcome, outcome) bool {
	return func(k *exchangeCase, a, b outcome) bool {
		return a.bad() && !b.bad() && slices.ContainsFunc(tags, k.odd)
	}
}

// compare reports differences that are not in the table, and counts those that are.
func compare(t testing.TB, s *scripted, k *exchangeCase, hits map[string]int) {
	t.Helper()
	mine := ours(s)
	a := run(t, s, mine, k)
	mine.CloseIdleConnections()
	if n := mine.InUse(); n != 0 {
		t.Errorf("%s: %d connections are still in use", k.name, n)
	}
	s.shut()
	std := theirs(s)
	b := run(t, s, std, k)
	std.CloseIdleConnections()
	s.shut()
	if a.next != "" && a.next != "200 next <nil>" {
		t.Errorf("%s: the next request was answered %q", k.name, a.next) // 4.1, whatever http.Transport does
	}
	if same(a, b) {
		return
	}
	for _, d := range differences {
		if d.when(k, a, b) {
			hits[d.name]++
			return
		}
	}
	t.Errorf("%s %s %q\n%.400q\nours:   %s\ntheirs: %s", k.name, k.method, k.tags, strings.Join(k.answer, "|"), short(a), short(b))
}

// short is an outcome without the bulk of its bodies.
func short(o outcome) string {
	o.body = fmt.Sprintf("%d bytes %.40q", len(o.body), o.body)
	o.request = fmt.Sprintf("%.300q", o.request)
	return fmt.Sprintf("%+v", o)
}

func same(a, b outcome) bool {
	if a.failed && b.failed {
		return true // what is said of a failure is for people
	}
	if a.broken && b.broken {
		// How much of a broken body was delivered depends on buffers.
		a.body, b.body, a.trailer, b.trailer = "", "", "", ""
	}
	b.next = a.next
	return a == b
}
