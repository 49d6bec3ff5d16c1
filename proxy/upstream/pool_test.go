package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func pool(t *testing.T, s Spec) *Pool {
	t.Helper()
	p, err := New(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func request(t *testing.T, method, path string) *http.Request {
	t.Helper()
	return (&http.Request{
		Method: method, URL: &url.URL{Opaque: path}, Header: http.Header{"User-Agent": {""}}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(t.Context())
}

func yes() bool { return true }

// do sends a request whole and answers the body.
func do(t *testing.T, p *Pool, req *http.Request) (string, error) {
	t.Helper()
	var l Lease
	defer l.Release()
	res, err := p.Do(req, &l, yes)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return string(b), err
}

func get(t *testing.T, p *Pool, path string) (string, error) {
	t.Helper()
	return do(t, p, request(t, http.MethodGet, path))
}

func named(t *testing.T, name string) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "%s %s %s", name, r.Proto, r.Host)
	}))
	t.Cleanup(srv.Close)
	return srv
}

func deadURL(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return "http://" + l.Addr().String()
}

func TestEverySchemeReachesItsApplication(t *testing.T) {
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := "nobody"
		if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
			who = "us"
		}
		_, _ = fmt.Fprintf(w, "%s %s %s", r.Proto, r.Host, who)
	})
	plain := httptest.NewServer(answer)
	t.Cleanup(plain.Close)

	h2c := httptest.NewUnstartedServer(answer)
	h2c.Config.Protocols = &http.Protocols{}
	h2c.Config.Protocols.SetUnencryptedHTTP2(true)
	h2c.Start()
	t.Cleanup(h2c.Close)

	sock := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	unix := &http.Server{Handler: answer} //nolint:gosec // a test's
	go func() { _ = unix.Serve(l) }()
	t.Cleanup(func() { _ = unix.Close() })

	secure := httptest.NewUnstartedServer(answer)
	secure.EnableHTTP2 = true
	secure.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS12}
	secure.StartTLS()
	t.Cleanup(secure.Close)
	files := TLS{CAFile: filepath.Join(t.TempDir(), "ca"), ServerName: "example.com"}
	write(t, files.CAFile, "CERTIFICATE", secure.Certificate().Raw)
	files.CertFile, files.KeyFile = files.CAFile, filepath.Join(t.TempDir(), "key")
	der, err := x509.MarshalPKCS8PrivateKey(secure.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write(t, files.KeyFile, "PRIVATE KEY", der)

	host := func(s *httptest.Server) string { return s.Listener.Addr().String() }
	for _, c := range []struct {
		name string
		spec Spec
		want string
	}{
		{"http", Spec{URLs: []string{plain.URL}}, "HTTP/1.1 " + host(plain) + " nobody"},
		{"http, standard", Spec{URLs: []string{plain.URL}, Transport: Standard}, "HTTP/1.1 " + host(plain) + " nobody"},
		{"h2c", Spec{URLs: []string{"h2c://" + host(h2c)}}, "HTTP/2.0 " + host(h2c) + " nobody"},
		{"unix", Spec{URLs: []string{"unix:" + sock}}, "HTTP/1.1 localhost nobody"},
		{"unix, standard", Spec{URLs: []string{"unix://" + sock}, Transport: Standard}, "HTTP/1.1 localhost nobody"},
		{"https", Spec{URLs: []string{secure.URL}, TLS: files}, "HTTP/2.0 " + host(secure) + " us"},
	} {
		if got, err := get(t, pool(t, c.spec), "/x"); err != nil || got != c.want {
			t.Errorf("%s: %q, %v; want %q", c.name, got, err, c.want)
		}
	}
	for name, tlsFiles := range map[string]TLS{
		"unknown CA": {CertFile: files.CertFile, KeyFile: files.KeyFile}, "other name": {CAFile: files.CAFile, ServerName: "other.example", CertFile: files.CertFile, KeyFile: files.KeyFile},
		"no certificate of ours": {CAFile: files.CAFile, ServerName: "example.com"},
	} {
		if got, err := get(t, pool(t, Spec{URLs: []string{secure.URL}, TLS: tlsFiles}), "/x"); err == nil {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func write(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFaultySpecsAreRefusedWhole(t *testing.T) {
	for want, s := range map[string]Spec{
		"no upstream":               {},
		"none of http":              {URLs: []string{"ftp://x"}},
		"more than scheme":          {URLs: []string{"http://x/base"}},
		"another scheme":            {URLs: []string{"http://x", "https://y"}},
		"there twice":               {URLs: []string{"http://x", "http://x"}},
		"absolute path":             {URLs: []string{"unix:relative"}},
		"tls of an upstream":        {URLs: []string{"http://x"}, TLS: TLS{ServerName: "y"}},
		"none of least_connections": {URLs: []string{"http://x"}, Balance: "cookie:a b"},
		"neither direct":            {URLs: []string{"http://x"}, Transport: "fast"},
		"is not a path":             {URLs: []string{"http://x"}, Health: Health{Path: "x"}},
		"without its key":           {URLs: []string{"https://x"}, TLS: TLS{CertFile: "/none"}},
	} {
		if _, err := New(s, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := New(Spec{URLs: []string{"http://x/a", "ftp://y"}, Balance: "z"}, nil); err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("three faults: %v", err)
	}
}

func TestLeastConnectionsAndStickiness(t *testing.T) {
	a, b, c := named(t, "a"), named(t, "b"), named(t, "c")
	urls := []string{a.URL, b.URL, c.URL}
	p := pool(t, Spec{URLs: urls})
	seen := map[string]int{}
	for range 30 {
		got, err := get(t, p, "/")
		if err != nil {
			t.Fatal(err)
		}
		seen[got[:1]]++
	}
	if seen["a"] != 10 || seen["b"] != 10 || seen["c"] != 10 {
		t.Errorf("idle ones take turns: %v", seen)
	}
	var held Lease
	res, err := p.Do(request(t, http.MethodGet, "/"), &held, yes)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	busy := held.t
	for range 20 {
		var l Lease
		if l.t, err = p.acquire(request(t, http.MethodGet, "/"), nil); err != nil || l.t == busy {
			t.Fatalf("%v; the busy one was chosen: %t", err, l.t == busy)
		}
		l.p = p
		l.Release()
	}
	held.Release()
	held.Release() // harmless
	if n, _, _ := p.Load(); n != 0 {
		t.Errorf("%d slots are held by nobody", n)
	}

	for _, how := range []string{"cookie:APP", "header:x-shard"} {
		p := pool(t, Spec{URLs: urls, Balance: how})
		at := map[string]string{}
		for round := range 3 {
			for i := range 60 {
				req := request(t, http.MethodGet, "/")
				value := fmt.Sprint("v", i)
				req.Header.Set("Cookie", "x=1; APP="+value)
				req.Header.Set("X-Shard", value)
				got, err := do(t, p, req)
				if err != nil {
					t.Fatal(err)
				}
				if round > 0 && at[value] != got[:1] {
					t.Errorf("%s: %s moved", how, value)
				}
				at[value] = got[:1]
			}
		}
		count := map[string]int{}
		for _, name := range at {
			count[name]++
		}
		if len(count) != 3 || min(count["a"], count["b"], count["c"]) < 8 {
			t.Errorf("%s: unevenly spread: %v", how, count)
		}
		// One goes: only what was there moves.
		p.mu.Lock()
		p.targets[0].health.down = true
		p.mu.Unlock()
		for value, was := range at {
			req := request(t, http.MethodGet, "/")
			req.Header.Set("Cookie", "APP="+value)
			req.Header.Set("X-Shard", value)
			got, err := do(t, p, req)
			if err != nil || got[:1] == "a" || was != "a" && got[:1] != was {
				t.Errorf("%s: %s was at %s and is at %q now, %v", how, value, was, got, err)
			}
		}
	}
}

// Fault 13: what an application does not take at once waits in a queue of bounded
// length, and beyond that is refused.
func TestFault13ConcurrencyAndQueueAreBounded(t *testing.T) {
	var at, most atomic.Int64
	gate := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := at.Add(1)
		defer at.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-gate
		_, _ = io.WriteString(w, "ok")
	}))
	t.Cleanup(srv.Close)
	p := pool(t, Spec{URLs: []string{srv.URL}, Concurrency: 2, Queue: 3, QueueWait: 20 * time.Second})
	results := make(chan error, 5)
	for range 5 {
		go func() {
			got, err := get(t, p, "/")
			if err == nil && got != "ok" {
				err = errors.New(got)
			}
			results <- err
		}()
	}
	for { // until two are there and three wait
		if n, waiting, _ := p.Load(); n == 2 && waiting == 3 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if _, err := get(t, p, "/"); !errors.Is(err, ErrFull) || Classify(err) != Busy || Classify(err).Status() != http.StatusServiceUnavailable {
		t.Errorf("the sixth: %v", err)
	}
	close(gate)
	for range 5 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if most.Load() > 2 {
		t.Errorf("%d at once, want 2", most.Load())
	}
	if n, w, _ := p.Load(); n != 0 || w != 0 {
		t.Errorf("%d requests and %d waiters are left over", n, w)
	}
}

func TestWhoWaitsIsAskedAboutAgainAndMayGiveUp(t *testing.T) {
	p := pool(t, Spec{URLs: []string{named(t, "a").URL}, Concurrency: 1, QueueWait: 20 * time.Second})
	hold := func() *Lease {
		l := &Lease{p: p}
		var err error
		if l.t, err = p.acquire(request(t, http.MethodGet, "/"), nil); err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := hold()
	cutOff := errors.New("cut off")
	ctx := context.WithValue(t.Context(), RecheckKey, Recheck(func() error { return cutOff }))
	ended := make(chan error, 1)
	wait := func(ctx context.Context) {
		go func() {
			var l Lease
			_, err := p.Do(request(t, http.MethodGet, "/").WithContext(ctx), &l, yes)
			l.Release()
			ended <- err
		}()
		for {
			if _, waiting, _ := p.Load(); waiting == 1 {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}
	wait(ctx)
	l.Release()
	if err := <-ended; !errors.Is(err, cutOff) {
		t.Errorf("C10: a request that waited was sent without a look: %v", err)
	}
	l = hold()
	gone, cancel := context.WithCancel(t.Context())
	wait(gone)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("a client that went away: %v", err)
	}
	// A stream holds no slot.
	l.Stream()
	if got, err := get(t, p, "/"); err != nil || got[:1] != "a" {
		t.Errorf("beside a stream: %q %v", got, err)
	}
	l.Release()
	if n, w, s := p.Load(); n != 0 || w != 0 || s != 0 {
		t.Errorf("left over: %d %d %d", n, w, s)
	}
}

func TestASecondAttemptIsMadeOnceAndOnlyWhereItIsSafe(t *testing.T) {
	// Reads a request and hangs up.
	var hangups atomic.Int64
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mute.Close() })
	go func() {
		for {
			c, err := mute.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = c.Read(make([]byte, 4096))
				hangups.Add(1)
				_ = c.Close()
			}()
		}
	}()
	good, muteURL := named(t, "good").URL, "http://"+mute.Addr().String()
	body := func(req *http.Request) *http.Request {
		req.Body, req.ContentLength = io.NopCloser(strings.NewReader("x")), 1
		return req
	}
	for _, c := range []struct {
		why    string
		spec   Spec
		method string
		fresh  bool // nothing of the body was read
		ok     bool
	}{
		{"not reachable: nothing was sent", Spec{URLs: []string{deadURL(t), good}}, http.MethodPost, true, true},
		{"not reachable, and the body is gone", Spec{URLs: []string{deadURL(t), good}}, http.MethodPost, false, false},
		{"hung up on a GET", Spec{URLs: []string{muteURL, good}}, http.MethodGet, true, true},
		{"hung up on a POST: it may have been done", Spec{URLs: []string{muteURL, good}}, http.MethodPost, true, false},
		{"the route says never", Spec{URLs: []string{deadURL(t), good}, NoRetries: true}, http.MethodGet, true, false},
		{"both are down", Spec{URLs: []string{deadURL(t), deadURL(t)}}, http.MethodGet, true, false},
	} {
		for _, transport := range []string{Direct, Standard} {
			c.spec.Transport = transport
			p := pool(t, c.spec)
			p.turn = 1 // the first one first
			req := request(t, c.method, "/")
			if !c.fresh || c.method == http.MethodPost {
				req = body(req)
			}
			var l Lease
			res, err := p.Do(req, &l, func() bool { return c.fresh })
			if err == nil {
				_ = res.Body.Close()
			}
			l.Release()
			if (err == nil) != c.ok {
				t.Errorf("%s (%s): %v", c.why, transport, err)
			}
			if n, _, _ := p.Load(); n != 0 {
				t.Errorf("%s: %d slots are left over", c.why, n)
			}
		}
	}
	asked := 0
	p := pool(t, Spec{URLs: []string{deadURL(t), good}})
	p.turn = 1
	req := request(t, http.MethodGet, "/")
	req = req.WithContext(context.WithValue(req.Context(), RecheckKey, Recheck(func() error { asked++; return nil })))
	if _, err := do(t, p, req); err != nil || asked != 1 {
		t.Errorf("%v, asked %d times: a second attempt is a new dispatch (C10)", err, asked)
	}
}

func TestFailingUpstreamsAreLeftAloneForAWhile(t *testing.T) {
	now := time.Now()
	var mu sync.Mutex
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	dead := deadURL(t)
	p, err := New(Spec{URLs: []string{dead, named(t, "good").URL}}, clock)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	for range 20 {
		if _, err := get(t, p, "/"); err != nil {
			t.Fatal(err)
		}
	}
	if s := p.States(); s[0].Healthy || !s[1].Healthy {
		t.Fatalf("%+v", s)
	}
	failed := p.targets[0].health.failed
	for range 10 {
		_, _ = get(t, p, "/")
	}
	if p.targets[0].health.failed != failed {
		t.Error("it was tried while it is out")
	}
	mu.Lock()
	now = now.Add(passiveLongest + time.Second)
	mu.Unlock()
	if !p.States()[0].Healthy {
		t.Error("it is never tried again")
	}
	// All out: the least bad is tried, for health alone fails no request.
	p.mu.Lock()
	for _, x := range p.targets {
		x.health.down = true
	}
	p.mu.Unlock()
	if got, err := get(t, p, "/"); err != nil || !strings.HasPrefix(got, "good") {
		t.Errorf("%q %v", got, err)
	}
}

func TestHealthChecksTakeOutAndBringBack(t *testing.T) {
	var sick atomic.Bool
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/health" || r.Header.Get("Cookie") != "" {
			t.Errorf("asked for %s", r.URL)
		}
		if sick.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(srv.Close)
	p := pool(t, Spec{URLs: []string{srv.URL}, Health: Health{Path: "/health", Unhealthy: 3, Healthy: 2}})
	x := p.targets[0]
	probe := func(n int) {
		for range n {
			p.probed(x, p.probe(t.Context(), x))
		}
	}
	healthy := func(want bool, when string) {
		t.Helper()
		if p.States()[0].Healthy != want {
			t.Errorf("%s: healthy %t", when, !want)
		}
	}
	probe(1)
	healthy(true, "at first")
	sick.Store(true)
	probe(2)
	healthy(true, "after two failures")
	probe(1)
	healthy(false, "after three")
	sick.Store(false)
	probe(1)
	healthy(false, "after one success")
	sick.Store(true)
	probe(1)
	sick.Store(false)
	probe(1)
	healthy(false, "successes count in a row")
	probe(1)
	healthy(true, "after two")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p.Run(ctx) // asks once, and ends
}

func TestSpecsAreComparedByWhatTheyAsk(t *testing.T) {
	a := Spec{URLs: []string{"http://x"}, Health: Health{Path: "/h"}}
	b := a
	b.URLs = []string{"http://x"}
	if !a.Equal(b) {
		t.Error("the same spec")
	}
	b.Concurrency = 7
	if a.Equal(b) {
		t.Error("another limit")
	}
	c := a
	c.URLs = []string{"http://y"}
	if a.Equal(c) {
		t.Error("another address")
	}
	f := filepath.Join(t.TempDir(), "ca")
	write(t, f, "CERTIFICATE", []byte("one"))
	s := Spec{TLS: TLS{CAFile: f}}
	before := s.Stamp()
	write(t, f, "CERTIFICATE", []byte("another one"))
	if s.Stamp() == before {
		t.Error("a renewed file would not be noticed")
	}
}
