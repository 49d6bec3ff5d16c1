package main

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestAnAnswerIsWholeOrAFault(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nServer: x\r\ncontent-LENGTH:  5\r\nX: y\r\n\r\n"
	for _, tc := range []struct {
		name, answer string
		whole, fault bool
	}{
		{"whole", head + "12345", true, false},
		{"the body is on its way", head + "1234", false, false},
		{"the head is on its way", head[:20], false, false},
		{"more than was asked for", head + "123456", false, true},
		{"another length", strings.Replace(head, "5", "6", 1) + "12345", false, true},
		{"no length", "HTTP/1.1 200 OK\r\n\r\n12345", false, true},
		{"no number", strings.Replace(head, "5", "five", 1) + "12345", false, true},
		{"a refusal", strings.Replace(head, "200 OK", "503 No", 1) + "12345", false, true},
		{"a redirect of HTTP/1.0", "HTTP/1.0 302 Found\r\nContent-Length: 5\r\n\r\n12345", false, true},
	} {
		whole, err := answered([]byte(tc.answer), 5)
		if whole != tc.whole || (err != nil) != tc.fault {
			t.Errorf("%s: %v, %v", tc.name, whole, err)
		}
	}
}

func testLoad(t *testing.T, h http.HandlerFunc, rate int) (*load, *httptest.Server) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	addr, err := netip.ParseAddrPort(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return &load{addr: addr, request: []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), body: 5, conns: 4, rate: rate}, srv
}

func TestLoadCountsWhatWasAnswered(t *testing.T) {
	for _, rate := range []int{0, 500} {
		l, _ := testLoad(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("12345")) }, rate)
		marks := 0
		res, err := l.run(20*time.Millisecond, 100*time.Millisecond, func() { marks++ })
		if err != nil {
			t.Fatal(err)
		}
		if marks != 2 || res.requests == 0 || len(res.times) == 0 || len(res.times) > res.requests || res.took <= 0 {
			t.Errorf("rate %d: %d marks, %d requests, %d times in %v", rate, marks, res.requests, len(res.times), res.took)
		}
	}
}

func TestLoadEndsWithAFault(t *testing.T) {
	l, _ := testLoad(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, 0)
	if _, err := l.run(0, time.Hour, func() {}); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("refused: %v", err)
	}
	l, srv := testLoad(t, func(w http.ResponseWriter, _ *http.Request) {}, 0)
	srv.Close()
	if _, err := l.run(0, time.Hour, func() {}); err == nil {
		t.Error("nobody listens, and no fault")
	}
}

func TestStatusPageAndProfileAreRead(t *testing.T) {
	const page = "Active connections: 2 \nserver accepts handled requests\n 71 71 4242 \nReading: 0 Writing: 1 Waiting: 1 \n"
	if n, err := acceptedOf(page); n != 71 || err != nil {
		t.Errorf("accepted: %d, %v", n, err)
	}
	if n, err := liveOf("heap profile: 1: 2\n# Stack = 30 / 40\n# HeapAlloc = 12\n# HeapSys = 99\n"); n != 42 || err != nil {
		t.Errorf("live: %d, %v", n, err)
	}
	for _, bad := range []string{"", "server accepts handled requests\n x", "# Stack = 1\n", "# Stack = x\n# HeapAlloc = 1\n"} {
		if n, err := acceptedOf(bad); err == nil {
			t.Errorf("%q accepted %d", bad, n)
		}
		if n, err := liveOf(bad); err == nil {
			t.Errorf("%q lives %d", bad, n)
		}
	}
}
