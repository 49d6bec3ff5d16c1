package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// scripted is an application that speaks raw bytes: it reads one request's head and
// answers what it is told to.
func scripted(t *testing.T, r *rig, answer func(net.Conn, *bufio.Reader)) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				br := bufio.NewReader(c)
				for {
					line, err := br.ReadString('\n')
					if err != nil {
						return
					}
					if line == "\r\n" {
						break
					}
				}
				answer(c, br)
			}()
		}
	}()
	table, err := Compile([]RouteSpec{{
		Name: "app", Origins: []string{"https://" + appHost}, Upstream: "http://" + l.Addr().String(), Public: []string{"/public/*"},
	}}, "https://sso.example.com")
	if err != nil {
		t.Fatal(err)
	}
	r.gate.SetRoutes(table)
}

func TestNothingIsAddedToTheApplicationsAnswer(t *testing.T) {
	r := newRig(t)
	scripted(t, r, func(c net.Conn, _ *bufio.Reader) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n<html>hi</html>")
	})
	res := r.get("/public/x")
	if got, ok := res.Header["Content-Type"]; ok {
		t.Errorf("a type was guessed: %q; a browser told nosniff would believe it", got)
	}
	if res.text != "<html>hi</html>" {
		t.Errorf("body %q", res.text)
	}
}

func TestInterimAnswersAreBoundedAndHintAtLinksOnly(t *testing.T) {
	r := newRig(t)
	n := 3
	scripted(t, r, func(c net.Conn, _ *bufio.Reader) {
		for range n {
			_, _ = io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </x.css>; rel=preload\r\nSet-Cookie: "+cookieName+"=evil\r\n\r\n")
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	})
	first := r.raw("GET /public/x HTTP/1.1\r\nHost: " + appHost + "\r\nConnection: close\r\n\r\n")
	all := fmt.Sprint(first.StatusCode, first.Header) + first.text + first.rest
	if first.StatusCode != http.StatusEarlyHints || !strings.Contains(all, "rel=preload") || strings.Contains(all, "evil") || !strings.HasSuffix(all, "ok") {
		t.Errorf("benign: %s", all)
	}
	n = 1000
	if res := r.raw("GET /public/x HTTP/1.1\r\nHost: " + appHost + "\r\nConnection: close\r\n\r\n"); strings.Contains(res.rest+res.text, "ok") && !strings.Contains(res.rest+res.text, "502") {
		t.Errorf("a thousand interim answers were followed to the end")
	}
}

// An application that has seen enough answers before it has read the upload; the
// client must get that answer, and not wait for somebody to read the rest.
func TestAnEarlyAnswerReachesAClientThatStillUploads(t *testing.T) {
	r := newRig(t)
	scripted(t, r, func(c net.Conn, _ *bufio.Reader) {
		_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
	})
	c := r.dial()
	defer func() { _ = c.Close() }()
	_, _ = fmt.Fprintf(c, "POST /public/x HTTP/1.1\r\nHost: %s\r\nContent-Length: 100000000\r\n\r\n%s", appHost, strings.Repeat("x", 64<<10))
	if res := readAnswer(t, c, false); res.StatusCode != 413 || !strings.Contains(res.text, "big") {
		t.Errorf("%d %q", res.StatusCode, res.text)
	}
}

func TestOnlyTrailersPassOfTE(t *testing.T) {
	r := newRig(t)
	r.get("/public/x", "TE: trailers, deflate;q=0.5", "Connection: TE")
	if got := r.app.requests()[0].header["Te"]; len(got) != 1 || got[0] != "trailers" {
		t.Errorf("gRPC needs it: %q", got)
	}
	r.app.reset()
	r.get("/public/x", "TE: deflate", "Connection: TE")
	if got, ok := r.app.requests()[0].header["Te"]; ok {
		t.Errorf("a coding that we cannot undo was asked for: %q", got)
	}
}
