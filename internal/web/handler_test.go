package web_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ssogate/ssogate/internal/web"
)

// logBuffer is a log that a test can read while a server writes it.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// records decodes the lines with the given message.
func (l *logBuffer) records(t *testing.T, msg string) []map[string]any {
	t.Helper()
	var out []map[string]any
	for line := range strings.Lines(l.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}
		if m["msg"] == msg {
			out = append(out, m)
		}
	}
	return out
}

// serve starts h behind the middleware, logging at the most talkative level.
func serve(t *testing.T, h http.HandlerFunc, o web.Options) (*httptest.Server, *logBuffer) {
	t.Helper()
	l := &logBuffer{}
	o.Log = slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
	srv := httptest.NewUnstartedServer(web.Handler(h, o))
	srv.Config.ErrorLog = slog.NewLogLogger(slog.NewJSONHandler(l, nil), slog.LevelError)
	srv.Start()
	t.Cleanup(srv.Close)
	return srv, l
}

func fetch(t *testing.T, req *http.Request) (*http.Response, string) {
	t.Helper()
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

func request(t *testing.T, method, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEachRequestHasOneRecord(t *testing.T) {
	var clock time.Time
	srv, l := serve(t, func(w http.ResponseWriter, r *http.Request) {
		clock = clock.Add(1500 * time.Millisecond)
		web.Annotate(r.Context(), "member", "m1")
		web.Annotate(r.Context(), "rule", "first")
		web.Annotate(r.Context(), "rule", "reports: teams\x1b[31m\nforged line")
		r.Method, r.Host, r.URL.Path = "REWRITTEN", "rewritten", "/rewritten"
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write([]byte("12345"))
	}, web.Options{Now: func() time.Time { return clock }})
	req := request(t, "POST", srv.URL+"/a/b?secret=1")
	req.Header.Set("X-Request-Id", "chosen-by-client")
	fetch(t, req)
	recs := l.records(t, "request")
	if len(recs) != 1 {
		t.Fatalf("%d records, want 1:\n%s", len(recs), l)
	}
	rec := recs[0]
	for k, want := range map[string]any{
		"method": "POST", "path": "/a/b", "status": 418.0, "bytes": 5.0, "address": "127.0.0.1", "member": "m1",
		"rule": "reports: teams[31m forged line", "duration": 1.5e9, "host": strings.TrimPrefix(srv.URL, "http://"),
	} {
		if rec[k] != want {
			t.Errorf("%s is %v, want %v", k, rec[k], want)
		}
	}
	if id, _ := rec["request_id"].(string); !regexp.MustCompile(`^[a-z2-9]{16}$`).MatchString(id) {
		t.Errorf("request id %q is not ours", id)
	}
}

func TestRequestIDsDiffer(t *testing.T) {
	seen := map[string]bool{}
	h := web.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen[web.RequestID(r.Context())] = true }), web.Options{})
	for range 1000 {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	}
	if len(seen) != 1000 {
		t.Errorf("%d different ids in 1000 requests", len(seen))
	}
}

func TestOutsideTheMiddlewareNothingIsKnownAndNothingBreaks(t *testing.T) {
	ctx := t.Context()
	web.Annotate(ctx, "k", "v")
	if web.RequestID(ctx) != "" || web.ClientAddr(ctx) != (netip.Addr{}) {
		t.Error("a context without a request has an id or address")
	}
}

// L01 as a property: whatever place a secret travels in, no log line holds it,
// also when the handler panics with it.
func TestL01SecretsNeverReachTheLog(t *testing.T) {
	const secret = "s3cr3t-V4lue"
	srv, l := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		switch r.URL.Path { // fault 25, with each kind of value that a panic may carry
		case "/panic-text":
			panic("bad value " + r.FormValue("SAMLResponse"))
		case "/panic-error":
			panic(fmt.Errorf("bad value %s", r.FormValue("SAMLResponse")))
		case "/panic-late":
			_, _ = w.Write([]byte("x"))
			panic(struct{ v string }{r.FormValue("SAMLResponse")})
		}
		http.Redirect(w, r, "/next?code="+secret, http.StatusFound)
	}, web.Options{})
	for _, path := range []string{
		"/complete", "/panic-text", "/panic-error", "/panic-late", "/invite/" + secret, "/setup/" + secret, "/INVITE/" + secret + "/x", "/x/invite/" + secret,
		"//invite/" + secret, "/%69nvite/" + secret, "/invite/setup/" + secret, "/setup/a/b/invite/" + secret,
	} {
		req, err := http.NewRequest(http.MethodPost, srv.URL+path+"?code="+secret+"&token="+secret, strings.NewReader("SAMLResponse="+secret))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for _, k := range []string{"Cookie", "Authorization", "Referer", "X-Request-Id", "User-Agent", "Origin", "X-Forwarded-For"} {
			req.Header.Set(k, "a="+secret)
		}
		c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		if res, err := c.Do(req); err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}
	}
	srv.Close()
	if got := len(l.records(t, "request")); got != 12 {
		t.Errorf("%d records of 12 requests: the search below proves nothing", got)
	}
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, secret) || strings.Contains(line, "code=") {
			t.Errorf("L01: secret in the log: %s", line)
		}
	}
}

func TestPanicIsAPageACounterAndOneLine(t *testing.T) {
	reg := prometheus.NewRegistry()
	m, err := web.NewMetrics(reg)
	if err != nil {
		t.Fatal(err)
	}
	srv, l := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_ = make([]int, 3)[len(r.Header)+3]
	}, web.Options{Metrics: m, Kind: func(*http.Request) string { return "gateway" }})
	res, body := fetch(t, request(t, "GET", srv.URL))
	if res.StatusCode != http.StatusInternalServerError || !res.Close || strings.Contains(body, "out of range") || strings.Contains(body, ".go:") {
		t.Errorf("status %d, close %v, body %.400s", res.StatusCode, res.Close, body)
	}
	panics := l.records(t, "panic")
	if len(panics) != 1 || !strings.HasPrefix(panics[0]["error"].(string), "runtime error: index out of range") || !strings.Contains(panics[0]["stack"].(string), "handler_test.go") {
		t.Fatalf("panic record: %v", panics)
	}
	if id := panics[0]["request_id"].(string); !strings.Contains(body, id) {
		t.Error("the page's reference does not find the panic in the log")
	}
	if err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP panics_total Panics recovered in handlers. Any value above 0 is a bug worth reporting.
# TYPE panics_total counter
panics_total 1
# HELP http_requests_total Requests ended, by status class and what served them.
# TYPE http_requests_total counter
http_requests_total{code="5xx",kind="gateway"} 1
# HELP http_requests_in_flight Requests and streams running now.
# TYPE http_requests_in_flight gauge
http_requests_in_flight 0
`), "panics_total", "http_requests_total", "http_requests_in_flight"); err != nil {
		t.Error(err)
	}
}

func TestPanicAfterTheStartTearsTheResponseDown(t *testing.T) {
	for name, v := range map[string]any{"a fault": "boom", "an abort": http.ErrAbortHandler} {
		srv, l := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte("half"))
			_ = http.NewResponseController(w).Flush()
			panic(v) // the injected fault (25): too late for another status
		}, web.Options{})
		res, err := http.Get(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(res.Body); err == nil {
			t.Errorf("%s: the client took half a response for a whole one", name)
		}
		_ = res.Body.Close()
		srv.Close()
		recs := l.records(t, "request")
		if len(recs) != 1 || recs[0]["aborted"] != true || recs[0]["bytes"] != 4.0 {
			t.Errorf("%s: record %v", name, recs)
		}
	}
}

func TestWriterKeepsItsAbilities(t *testing.T) {
	hijacked := make(chan error, 1)
	release := make(chan struct{})
	srv, l := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/flush":
			_, _ = w.Write([]byte("first"))
			w.(http.Flusher).Flush()
			<-release
		case "/readfrom":
			_, _ = w.(io.ReaderFrom).ReadFrom(io.LimitReader(strings.NewReader(strings.Repeat("z", 1<<20)), 1<<20))
		case "/duplex":
			if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		case "/early":
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusNoContent)
		case "/hijack":
			c, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				if _, bare := c.(*net.TCPConn); !bare {
					err = errors.New("hijacked connection is wrapped: a slow peer could not be reset")
				}
				_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
				<-release
				_ = c.Close()
			}
			hijacked <- err
		}
	}, web.Options{})

	res, err := http.Get(srv.URL + "/flush")
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 5)
	if _, err := io.ReadFull(res.Body, first); err != nil || string(first) != "first" {
		t.Errorf("flush: %q, %v", first, err)
	}
	if n := len(l.records(t, "request")); n != 0 {
		t.Errorf("a stream that runs has %d records already", n)
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(srv.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /hijack HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
	if up, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || up.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade: %v, %v", up, err)
	}
	close(release)
	if err := <-hijacked; err != nil {
		t.Error(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()

	for path, want := range map[string]struct {
		status int
		bytes  int
	}{"/readfrom": {200, 1 << 20}, "/duplex": {200, 0}, "/early": {204, 0}} {
		if res, body := fetch(t, request(t, "GET", srv.URL+path)); res.StatusCode != want.status || len(body) != want.bytes {
			t.Errorf("%s: status %d, %d bytes", path, res.StatusCode, len(body))
		}
	}
	srv.Close()
	got := map[string][2]float64{}
	for _, r := range l.records(t, "request") {
		got[r["path"].(string)] = [2]float64{r["status"].(float64), r["bytes"].(float64)}
	}
	for path, want := range map[string][2]float64{"/flush": {200, 5}, "/readfrom": {200, 1 << 20}, "/duplex": {200, 0}, "/early": {204, 0}, "/hijack": {101, 0}} {
		if got[path] != want {
			t.Errorf("record of %s is status and bytes %v, want %v", path, got[path], want)
		}
	}
}

func TestAnnotationsAreBounded(t *testing.T) {
	srv, l := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() { web.Annotate(r.Context(), fmt.Sprintf("k%d", i), strings.Repeat("v", 10_000)) })
		}
		wg.Wait()
	}, web.Options{})
	fetch(t, request(t, "GET", srv.URL+"/"+strings.Repeat("p", 4000)))
	srv.Close()
	if n := len(l.String()); n > 12_000 {
		t.Errorf("one access record has %d bytes", n)
	}
}
