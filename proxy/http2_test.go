package proxy

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestGuaranteeCutOffEndsHTTP2StreamsAndSparesTheConnection(t *testing.T) {
	r := newRig(t, func(c *rigConfig) { c.h2 = true })
	var open atomic.Int32
	stream := streaming(&open, nil)
	r.app.handler = func(w http.ResponseWriter, q *http.Request) {
		switch q.URL.Path {
		case "/events":
			stream(w, q)
		case "/big":
			_, _ = io.Copy(w, zeros{})
		default:
			_, _ = io.WriteString(w, "ok")
		}
	}
	cl := r.client()
	do := func(path, token string) *http.Response {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		t.Cleanup(cancel)
		q, _ := http.NewRequestWithContext(ctx, http.MethodGet, r.server.URL+path, nil)
		q.Header.Set("Cookie", cookieName+"="+token)
		res, err := cl.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = res.Body.Close() })
		if res.ProtoMajor != 2 || res.StatusCode != 200 {
			t.Fatalf("%s %d", res.Proto, res.StatusCode)
		}
		return res
	}
	a := bufio.NewReader(do("/events", "ana").Body)
	if line, err := a.ReadString('\n'); err != nil {
		t.Fatalf("%q %v", line, err)
	}
	big := do("/big", "ana") // not read: flow control stalls it
	b := do("/events", "ben")
	start := time.Now()
	r.live.Cut(context.Background(), endMember("m-ana", 4))
	t.Logf("cut took %s", time.Since(start))
	r.notForced()
	if took := time.Since(start); took > time.Second || r.inFlight() != 1 {
		t.Errorf("took %s, %d left", took, r.inFlight())
	}
	ended(t, a)
	if _, err := io.Copy(io.Discard, big.Body); err == nil {
		t.Error("the download ended as if it were whole")
	}
	// Both people came over one connection; the other's stream and requests live.
	buf := make([]byte, 8)
	if _, err := io.ReadFull(b.Body, buf[:1]); err != nil {
		t.Errorf("the other person's stream was cut: %v", err)
	}
	if body, _ := io.ReadAll(do("/x", "ben").Body); string(body) != "ok" {
		t.Errorf("%q", body)
	}
}

func TestHTTP2RequestsAreReadTheSameWay(t *testing.T) {
	r := newRig(t, func(c *rigConfig) { c.h2 = true })
	cl := r.client()
	get := func(target string, header ...string) *http.Response {
		t.Helper()
		q, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, r.server.URL+"/", nil)
		q.URL.Opaque = target
		for i := 0; i < len(header); i += 2 {
			q.Header[header[i]] = append(q.Header[header[i]], header[i+1])
		}
		res, err := cl.Do(q)
		if err != nil {
			t.Fatalf("%s: %v", target, err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		return res
	}
	if res := get("/a%20b?c;d", "Cookie", "x=1", "Cookie", cookieName+"=ana", "X_forwarded_user", "root"); res.StatusCode != 200 {
		t.Fatalf("benign: %d", res.StatusCode)
	}
	if got := r.one(); got.target != "/a%20b?c;d" || strings.Join(got.header["Cookie"], ";") != "x=1" || got.header.Get("X-Forwarded-User") != "m-ana" || got.header["X_forwarded_user"] != nil {
		t.Errorf("%+v", got)
	}
	r.app.reset()
	for _, target := range []string{"/public/%2e%2e/admin", "/a/../admin", "/.SSO/x", "/a;b"} {
		if res := get(target); res.StatusCode != 400 && res.StatusCode != 404 {
			t.Errorf("%s: %d", target, res.StatusCode)
		}
	}
	r.none("two readings")
}
