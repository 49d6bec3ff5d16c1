package proxy

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// T01: whatever the framing, the application sees at most one request of what
// was sent as one, and never a request that was hidden in a body. net/http reads
// CL+TE as TE and drops CL before anything of ours runs (RFC 9112 section 6.1
// allows it): such a request is not refused, but re-framed.
func TestT01NoFramingSmugglesASecondRequest(t *testing.T) {
	r := newRig(t)
	const hidden = "GET /admin/smuggled HTTP/1.1\r\nHost: app.example.com\r\nX: "
	head := "POST / HTTP/1.1\r\nHost: " + appHost + "\r\n" + as("ben") + "\r\nConnection: close\r\n"
	if res := r.raw(head + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"); res.StatusCode != 200 || r.one().body != "abc" {
		t.Fatalf("benign chunked: %d", res.StatusCode)
	}
	r.app.reset()
	if res := r.raw(head + "Content-Length: 3\r\n\r\nabc"); res.StatusCode != 200 || r.one().body != "abc" {
		t.Fatalf("benign length: %d", res.StatusCode)
	}
	te := []string{
		"Transfer-Encoding : chunked", "Transfer-Encoding: xchunked", "Transfer-Encoding: chunked, identity", "Transfer-Encoding: identity, chunked",
		"Transfer-Encoding: gzip, chunked", "Transfer-Encoding:\tchunked", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
		"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", "X: x\nTransfer-Encoding: chunked", "Transfer-Encoding\n: chunked", " Transfer-Encoding: chunked",
		"Transfer-Encoding:\x0bchunked", "Transfer-Encoding: chunked\x00", "Transfer_Encoding: chunked", "Transfer-Encoding: \"chunked\"", "Transfer-Encoding: chun\tked", "transfer-encoding: CHUNKED",
		"Transfer-Encoding: ", "Transfer-Encoding: chunked;q=1", "TE: chunked",
	}
	for _, enc := range te {
		for _, cl := range []string{"Content-Length: %d", "Content-Length: +%d", "Content-Length: %d, 0", "Content-Length: %d\r\nContent-Length: 0", "Content-Length: -%d", "Content-Length: 0x%x"} {
			for _, version := range []string{"HTTP/1.1", "HTTP/1.0"} {
				r.app.reset()
				body := "0\r\n\r\n" + hidden
				req := strings.Replace(head, "HTTP/1.1", version, 1) + enc + "\r\n" + fmt.Sprintf(cl, len(body)) + "\r\n\r\n" + body
				res := r.raw(req)
				got := r.app.requests()
				if len(got) > 1 || len(got) == 1 && (got[0].target != "/" || got[0].method != "POST") {
					t.Errorf("%q with %q in %s: the application saw %v", enc, cl, version, got)
				}
				if strings.Contains(res.rest, "HTTP/1.") {
					t.Errorf("%q with %q in %s: two answers to one request", enc, cl, version)
				}
			}
		}
	}
}

func TestT02LexicalTricks(t *testing.T) {
	r := newRig(t)
	base := "GET / HTTP/1.1\r\nHost: " + appHost + "\r\n" + as("ana") + "\r\nConnection: close\r\n"
	if res := r.raw(base + "X-A: b\r\n\r\n"); res.StatusCode != 200 {
		t.Fatalf("benign: %d", res.StatusCode)
	}
	r.app.reset()
	for name, request := range map[string]string{
		"obs-fold before names":   strings.Replace(base, "Host", " Host", 1) + "\r\n",
		"bare CR in a value":      base + "X-A: b\rX-Forwarded-User: root\r\n\r\n",
		"NUL in a value":          base + "X-A: b\x00c\r\n\r\n",
		"NUL in a name":           base + "X\x00A: b\r\n\r\n",
		"space before colon":      base + "X-A : b\r\n\r\n",
		"no colon":                base + "X-A\r\n\r\n",
		"empty name":              base + ": b\r\n\r\n",
		"bare CR in request line": strings.Replace(base, "GET / ", "GET /\r ", 1) + "\r\n",
		"tab in request line":     strings.Replace(base, "GET / ", "GET\t/ ", 1) + "\r\n",
		"two spaces":              strings.Replace(base, "GET / ", "GET  / ", 1) + "\r\n",
		"no version":              "GET /\r\n\r\n",
		"HTTP/3.0":                strings.Replace(base, "HTTP/1.1", "HTTP/3.0", 1) + "\r\n",
	} {
		if res := r.raw(request); res.StatusCode != 400 && res.StatusCode != 505 {
			t.Errorf("%s: %d", name, res.StatusCode)
		}
	}
	r.none("the request has two readings")
	// A folded line is one value to net/http; what matters is that it stays one.
	r.raw(base + "X-A: b\r\n X-Forwarded-User: root\r\n\r\n")
	for _, got := range r.app.requests() {
		if v := got.header["X-Forwarded-User"]; len(v) != 1 || v[0] != "m-ana" || strings.Contains(got.header.Get("X-A"), "\n") {
			t.Errorf("obs-fold: %v", got.header)
		}
	}
}

func TestT02BrokenChunksAbortTheUpload(t *testing.T) {
	r := newRig(t)
	finished := make(chan bool, 16)
	r.app.handler = func(w http.ResponseWriter, q *http.Request) {
		buf := make([]byte, 1024)
		var err error
		for err == nil {
			_, err = q.Body.Read(buf)
		}
		finished <- err.Error() == "EOF"
		w.WriteHeader(204)
	}
	head := "POST / HTTP/1.1\r\nHost: " + appHost + "\r\n" + as("ana") + "\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
	if res := r.raw(head + "3\r\nabc\r\n0\r\n\r\n"); res.StatusCode != 204 || !<-finished {
		t.Fatalf("benign: %d", res.StatusCode)
	}
	for _, body := range []string{"3\r\nabcX\r\n0\r\n\r\n", "zz\r\nabc\r\n", "-3\r\nabc\r\n0\r\n\r\n", "3;a\nb\r\nabc\rX0\r\n\r\n", "ffffffffffffffff1\r\nabc"} {
		res := r.raw(head + body)
		if res.StatusCode != 400 {
			t.Errorf("%q: %d, want 400", body, res.StatusCode)
		}
		select {
		case whole := <-finished:
			if whole {
				t.Errorf("%q: the application took a broken body for a whole one", body)
			}
		default: // it never got a request, or is still finding out
		}
	}
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
