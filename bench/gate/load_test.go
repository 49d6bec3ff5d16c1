package gate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// client is one keep-alive connection that sends the same request again and again. It
// does as little as possible: it shares its processor with the upstream.
type client struct {
	addr    string
	request []byte
	c       net.Conn
	buf     []byte
	dials   int
}

// do sends the request once, and once more where a kept connection turned out to be
// closed: Apache closes some whenever it likes. Answers must have a Content-Length and
// be 200.
func (c *client) do() error {
	kept := c.c != nil
	err := c.once()
	if kept && errors.Is(err, io.EOF) {
		err = c.once()
	}
	return err
}

func (c *client) once() error {
	if c.c == nil {
		var err error
		if c.c, err = net.Dial("tcp", c.addr); err != nil {
			return err
		}
		c.dials++
		if c.buf == nil {
			c.buf = make([]byte, 16<<10)
		}
	}
	_ = c.c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.c.Write(c.request); err != nil {
		c.close()
		return err
	}
	n, want := 0, -1
	for want < 0 || n < want {
		m, err := c.c.Read(c.buf[n:])
		if err != nil {
			c.close()
			return err
		}
		n += m
		if want >= 0 {
			continue
		}
		if want, err = length(c.buf[:n]); err != nil {
			c.close()
			return err
		}
	}
	if n != want {
		c.close()
		return fmt.Errorf("%d bytes beyond the answer", n-want)
	}
	return nil
}

func (c *client) close() {
	if c.c != nil {
		_ = c.c.Close()
		c.c = nil
	}
}

var (
	headEnd  = []byte("\r\n\r\n")
	ok200    = []byte("HTTP/1.1 200")
	errShape = errors.New("answer without a length")
)

// length of a whole answer, or -1 while its head is not there.
func length(b []byte) (int, error) {
	end := bytes.Index(b, headEnd)
	if end < 0 {
		return -1, nil
	}
	if !bytes.HasPrefix(b, ok200) {
		return -1, fmt.Errorf("answer %.60q", b)
	}
	for line := range bytes.SplitSeq(b[:end], []byte("\r\n")) {
		if len(line) > 15 && (line[0]|0x20) == 'c' && strings.EqualFold(string(line[:15]), "content-length:") {
			n, err := strconv.Atoi(strings.TrimSpace(string(line[15:])))
			return end + 4 + n, err
		}
	}
	return -1, errShape
}

// slice is what some clients did in a while.
type slice struct {
	requests int
	took     time.Duration
	lat      latencies
}

// drive lets all clients send as fast as they get answers or, with a rate, that many
// requests a second by a timetable: who is late then waits no less for it.
func drive(clients []*client, d time.Duration, rate float64) (slice, error) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var total slice
	var failed error
	start := time.Now()
	end := start.Add(d)
	for i, c := range clients {
		wg.Go(func() {
			var mine slice
			var err error
			step := time.Duration(0)
			if rate > 0 {
				step = time.Duration(float64(len(clients)) / rate * float64(time.Second))
			}
			due := start.Add(step * time.Duration(i) / time.Duration(len(clients)))
			for err == nil {
				if step > 0 {
					time.Sleep(time.Until(due))
				} else {
					due = time.Now()
				}
				if !due.Before(end) {
					break
				}
				if err = c.do(); err == nil {
					mine.requests++
					mine.lat.add(int64(time.Since(due)))
				}
				due = due.Add(step)
			}
			mu.Lock()
			defer mu.Unlock()
			total.requests += mine.requests
			total.lat.merge(&mine.lat)
			failed = errors.Join(failed, err)
		})
	}
	wg.Wait()
	total.took = time.Since(start)
	return total, failed
}

func TestClientsCountWhatWasAnswered(t *testing.T) {
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/x" {
			w.WriteHeader(http.StatusTeapot)
		}
		_, _ = io.WriteString(w, "hello")
	}))
	defer ts.Close()
	make4 := func(path string) (out []*client) {
		for range 4 {
			out = append(out, &client{addr: ts.Listener.Addr().String(), request: []byte("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n")})
		}
		return out
	}
	cs := make4("/x")
	s, err := drive(cs, 50*time.Millisecond, 0)
	if err != nil || s.requests == 0 || s.lat.n != s.requests {
		t.Errorf("%+v, %v", s.requests, err)
	}
	if s, err = drive(cs, 100*time.Millisecond, 200); err != nil || s.requests > 21 || s.requests == 0 {
		t.Errorf("200 a second: %d in 100 ms, %v", s.requests, err)
	}
	for _, c := range cs {
		if c.dials != 1 {
			t.Errorf("%d connections", c.dials)
		}
		c.close()
	}
	if _, err := drive(make4("/y"), 10*time.Millisecond, 0); err == nil {
		t.Error("a refusal counts as an answer")
	}
}
