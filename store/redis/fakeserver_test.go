package redis_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// fakeServer speaks the protocol for what no real server does on demand: being
// old, naming any master, or hanging up instead of an answer.
type fakeServer struct {
	Addr string

	mu     sync.Mutex
	answer func(args []string) string // "" hangs up
	seen   map[string]int             // commands by lower-case name
}

// startFake answers with f, and with what every client asks first.
func startFake(t *testing.T, f func(args []string) string) *fakeServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &fakeServer{Addr: l.Addr().String(), answer: f, seen: map[string]int{}}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			wg.Go(func() { s.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return s
}

func (s *fakeServer) set(f func(args []string) string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = f
}

func (s *fakeServer) count(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[name]
}

func (s *fakeServer) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	r := bufio.NewReader(c)
	for {
		args, err := readCommand(r)
		if err != nil {
			return
		}
		name := strings.ToLower(args[0])
		s.mu.Lock()
		s.seen[name]++
		f := s.answer
		s.mu.Unlock()
		out := "-ERR unknown command\r\n"
		switch name {
		case "hello":
		case "ping":
			out = "+PONG\r\n"
		default:
			out = f(append([]string{name}, args[1:]...))
		}
		if out == "" {
			return
		}
		if _, err := io.WriteString(c, out); err != nil {
			return
		}
	}
}

func readCommand(r *bufio.Reader) ([]string, error) {
	n, err := readLength(r)
	if err != nil {
		return nil, err
	}
	args := make([]string, n)
	for i := range args {
		size, err := readLength(r)
		if err != nil {
			return nil, err
		}
		b := make([]byte, size+2)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		args[i] = string(b[:size])
	}
	return args, nil
}

func readLength(r *bufio.Reader) (int, error) {
	line, err := r.ReadString('\n')
	if err != nil || len(line) < 3 {
		return 0, io.ErrUnexpectedEOF
	}
	return strconv.Atoi(strings.TrimSpace(line[1:]))
}

func bulk(parts ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(parts))
	for _, p := range parts {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(p), p)
	}
	return b.String()
}

// fakeSentinel names whatever master it is told to, and tells nobody of a change.
func fakeSentinel(t *testing.T, addr string) (s *fakeServer, name func(addr string)) {
	t.Helper()
	says := func(addr string) func([]string) string {
		host, port, _ := net.SplitHostPort(addr)
		return func(args []string) string {
			switch {
			case args[0] == "sentinel" && strings.EqualFold(args[1], "get-master-addr-by-name"):
				return bulk(host, port)
			case args[0] == "sentinel":
				return "*0\r\n"
			case args[0] == "role":
				return bulk("sentinel")
			case args[0] == "subscribe":
				out := ""
				for i, c := range args[1:] {
					out += fmt.Sprintf("*3\r\n$9\r\nsubscribe\r\n$%d\r\n%s\r\n:%d\r\n", len(c), c, i+1)
				}
				return out
			}
			return "-ERR unknown command\r\n"
		}
	}
	s = startFake(t, says(addr))
	return s, func(addr string) { s.set(says(addr)) }
}
