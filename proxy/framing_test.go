package proxy

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// wireRow is one line of proxy/wire/testdata: the same is sent through a whole gate here.
type wireRow struct{ reason, stream, explanation string }

func wireRows(t *testing.T, file string) (out []wireRow) {
	t.Helper()
	b, err := os.ReadFile("wire/testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		r := wireRow{}
		if line[0] != '"' {
			r.reason, line, _ = strings.Cut(line, "\t")
		}
		line, r.explanation, _ = strings.Cut(line, "\t")
		if r.stream, err = strconv.Unquote(line); err != nil {
			t.Fatalf("%s: %s: %v", file, line, err)
		}
		out = append(out, r)
	}
	return out
}

// refusedOnTheWire sends what must be refused: the application sees nothing of it, the
// client one answer and the end, and the operator the reason.
func (r *rig) refusedOnTheWire(c wireRow, status int) {
	r.t.Helper()
	r.log.reset()
	res := r.raw(c.stream)
	if res.StatusCode != status || !res.Close || res.rest != "" {
		r.t.Errorf("%q: %d, closed %t, then %q: %s", c.stream, res.StatusCode, res.Close, res.rest, c.explanation)
	}
	if got := r.app.requests(); len(got) > 0 {
		r.t.Fatalf("%q: the application saw %+v: %s", c.stream, got, c.explanation)
	}
	if ct := res.Header.Get("Content-Type"); ct != "application/problem+json" {
		r.t.Errorf("%q: refused as %q", c.stream, ct)
	}
	want := "reason=" + c.reason
	// The record is written when the request has ended, which the client may see first.
	eventually(r.t, "the access record", func() bool {
		return strings.Contains(r.log.String(), "verdict=malformed") && strings.Contains(r.log.String(), want)
	})
}

const smuggled = "GET /admin/smuggled HTTP/1.1\r\nHost: app.example.com\r\nX: "

// T01: a request that two servers frame differently is none.
func TestT01NoFramingSmugglesASecondRequest(t *testing.T) {
	r := newRig(t)
	head := "POST / HTTP/1.1\r\nHost: " + appHost + "\r\n" + as("ben") + "\r\nConnection: close\r\n"
	if res := r.raw(head + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"); res.StatusCode != 200 || r.one().body != "abc" {
		t.Fatalf("benign chunked: %d", res.StatusCode)
	}
	r.app.reset()
	if res := r.raw(head + "Content-Length: 3\r\n\r\nabc"); res.StatusCode != 200 || r.one().body != "abc" {
		t.Fatalf("benign length: %d", res.StatusCode)
	}
	r.app.reset()
	if res := r.raw(head + "TE: trailers\r\nContent-Length: 3\r\n\r\nabc"); res.StatusCode != 200 || r.one().body != "abc" {
		t.Fatalf("benign TE: %d", res.StatusCode)
	}
	r.app.reset()
	body := "0\r\n\r\n" + smuggled
	for _, enc := range wireRows(t, "encodings.txt") {
		for _, version := range []string{"HTTP/1.1", "HTTP/1.0"} {
			for _, with := range []string{enc.stream + "\r\n", enc.stream + fmt.Sprintf("\r\nContent-Length: %d\r\n", len(body)), fmt.Sprintf("Content-Length: %d\r\n", len(body)) + enc.stream + "\r\n"} {
				r.refusedOnTheWire(wireRow{"", strings.Replace(head, "HTTP/1.1", version, 1) + with + "\r\n" + body, "TE mutation " + enc.stream}, 400)
			}
		}
	}
	for _, enc := range []string{"Transfer-Encoding: chunked", "transfer-encoding: CHUNKED"} {
		for _, cl := range []string{"Content-Length: %d", "Content-Length: +%d", "Content-Length: %d, 0", "Content-Length: %d\r\nContent-Length: 0", "Content-Length: -%d", "Content-Length: 0x%x"} {
			r.refusedOnTheWire(wireRow{"", head + enc + "\r\n" + fmt.Sprintf(cl, len(body)) + "\r\n\r\n" + body, "both framings"}, 400)
		}
	}
	if got := r.events.reasons(); !slices.Contains(got, "transfer_encoding") || !slices.Contains(got, "framing_conflict") {
		t.Errorf("audit: %v", got)
	}
}

// T02, T03, P04, P10: every head of the table, alone and behind a request of the same
// connection, which is answered first and alone reaches the application.
func TestT02T03RefusedHeads(t *testing.T) {
	r := newRig(t)
	first := "GET /first HTTP/1.1\r\nHost: " + appHost + "\r\n" + as("ana") + "\r\n\r\n"
	if res := r.raw(strings.Replace(first, "\r\n\r\n", "\r\nX-A: b\r\nConnection: close\r\n\r\n", 1)); res.StatusCode != 200 {
		t.Fatalf("benign: %d", res.StatusCode)
	}
	r.app.reset()
	for _, c := range wireRows(t, "heads.txt") {
		c.stream = strings.Replace(c.stream, "H\r\n", "Host: "+appHost+"\r\n"+as("ana")+"\r\n", 1)
		c.stream = strings.Replace(c.stream, "H\n", "Host: "+appHost+"\n", 1) + smuggled
		r.refusedOnTheWire(c, 400)
		res := r.raw(first + c.stream)
		if res.StatusCode != 200 || strings.Count(res.rest, "HTTP/1.1 ") != 1 || !strings.HasPrefix(res.rest, "HTTP/1.1 400 ") {
			t.Errorf("%q behind a good request: %d, then %q: %s", c.stream, res.StatusCode, res.rest, c.explanation)
		}
		if got := r.one(); got.target != "/first" {
			t.Errorf("%q: the application saw %+v: %s", c.stream, got, c.explanation)
		}
		r.app.reset()
	}
}

// T02: a body that is seen to be broken before it is handed over takes its request with
// it; later it is an upload that the application sees break.
func TestT02BrokenChunksAbortTheUpload(t *testing.T) {
	r := newRig(t)
	began, finished := make(chan bool, 1), make(chan bool, 1)
	r.app.handler = func(w http.ResponseWriter, q *http.Request) {
		buf := make([]byte, 1024)
		_, err := q.Body.Read(buf[:4])
		began <- true
		for err == nil {
			_, err = q.Body.Read(buf)
		}
		finished <- errors.Is(err, io.EOF)
		w.WriteHeader(204)
	}
	head := "POST / HTTP/1.1\r\nHost: " + appHost + "\r\n" + as("ana") + "\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
	if res := r.raw(head + "3\r\nabc\r\n0\r\n\r\n"); res.StatusCode != 204 || !<-finished || !<-began {
		t.Fatalf("benign: %d", res.StatusCode)
	}
	r.app.reset()
	for _, c := range wireRows(t, "chunks.txt") {
		r.refusedOnTheWire(wireRow{c.reason, head + c.stream + smuggled, c.explanation}, 400)

		client := r.dial()
		_, _ = io.WriteString(client, head+"4\r\ngood\r\n")
		<-began
		_, _ = io.WriteString(client, c.stream+smuggled)
		if whole := <-finished; whole {
			t.Errorf("%q: the application took a broken body for a whole one: %s", c.stream, c.explanation)
		}
		if res := readAnswer(t, client, false); res.StatusCode != 400 || !res.Close || res.rest != "" {
			t.Errorf("%q in the middle: %d, then %q", c.stream, res.StatusCode, res.rest)
		}
		_ = client.Close()
		if got := r.one(); got.target != "/" {
			t.Errorf("%q: the application saw %+v", c.stream, got)
		}
		r.app.reset()
	}
}

// The same tricks beyond the lists: whatever reaches the application is what was sent as
// the first request, once, and there is at most one answer that is no refusal.
func TestT01T02AnythingElse(t *testing.T) {
	r := newRig(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	lines := []string{
		"Transfer-Encoding: chunked", "Transfer-Encoding: identity", "Transfer-Encoding:chunked", "Transfer_Encoding: chunked", "Content-Length: 5", "Content-Length: 0", "Content-Length:5",
		"X: y", "Connection: close", "Connection: keep-alive, Content-Length", "Host: evil.example", "Trailer: Content-Length", "Expect: 100-continue", "Upgrade: h2c", "TE: chunked",
	}
	ends := []string{"\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r", "\r\r\n", " \r\n", "\r\n ", "\x00\r\n", "\n\r"}
	bodies := []string{"", "0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", "hello", "3\r\nabc\r\n0\r\n\r\n", "0\r\nX: y\r\n\r\n", "0;x\r\n\r\n", "00\r\n\r\n"}
	passed := 0
	for i := range 1500 {
		var b strings.Builder
		_, _ = fmt.Fprintf(&b, "POST /%d HTTP/1.%d\r\nHost: %s\r\n%s\r\n", i, min(rnd.IntN(8), 1), appHost, as("ben"))
		for range rnd.IntN(4) {
			b.WriteString(lines[rnd.IntN(len(lines))] + ends[rnd.IntN(len(ends))])
		}
		b.WriteString("\r\n" + bodies[rnd.IntN(len(bodies))])
		sent := b.String()
		res := r.raw(sent + "GET /admin/smuggled HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
		got := r.app.requests()
		if len(got) > 1 || len(got) == 1 && (got[0].target != fmt.Sprintf("/%d", i) || got[0].method != "POST" || strings.Contains(got[0].body, "smuggled")) {
			t.Fatalf("%q: the application saw %+v", sent, got)
		}
		passed += len(got)
		all := fmt.Sprintf("HTTP/1.1 %d ", res.StatusCode) + res.rest
		if n := strings.Count(all, "HTTP/1.1 2"); n > len(got) || strings.Count(all, "HTTP/1.1 ")-strings.Count(all, "HTTP/1.1 100 ") > 2 {
			t.Fatalf("%q: answered %q", sent, all)
		}
		r.app.reset()
	}
	if passed < 20 {
		t.Errorf("%d requests passed: nothing was compared", passed)
	}
	t.Logf("%d passed", passed)
}

func TestT03HostHeaders(t *testing.T) {
	r := newRig(t)
	rest := as("ana") + "\r\nConnection: close\r\n\r\n"
	if res := r.raw("GET / HTTP/1.1\r\nHost: " + appHost + "\r\n" + rest); res.StatusCode != 200 {
		t.Fatalf("benign: %d", res.StatusCode)
	}
	r.app.reset()
	for name, lines := range map[string]string{
		"two hosts":        "Host: " + appHost + "\r\nHost: evil.example\r\n",
		"same host twice":  "Host: " + appHost + "\r\nHost: " + appHost + "\r\n",
		"none":             "",
		"empty":            "Host:\r\n",
		"userinfo":         "Host: ana@" + appHost + "\r\n",
		"space before":     "Host : " + appHost + "\r\n",
		"folded":           "Host:\r\n " + appHost + "\r\n evil\r\n",
		"path":             "Host: " + appHost + "/x\r\n",
		"other and X-Host": "Host: evil.example/" + appHost + "\r\nX-Forwarded-Host: " + appHost + "\r\n",
	} {
		if res := r.raw("GET / HTTP/1.1\r\n" + lines + rest); res.StatusCode != 400 {
			t.Errorf("%s: %d, want 400", name, res.StatusCode)
		}
	}
	if res := r.raw("GET / HTTP/1.0\r\n" + rest); res.StatusCode != 400 {
		t.Errorf("HTTP/1.0 without Host: %d: no app origin was named", res.StatusCode)
	}
	r.none("no single host")
}
