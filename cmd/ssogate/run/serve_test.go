package run

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"

	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/proxy/wire"
)

// T01, and a reload of certificates: the public listener holds requests to one framing
// with and without TLS, offers HTTP/2, and shows the certificates of now.
func TestPublicListenersAreStrict(t *testing.T) {
	for _, secure := range []bool{false, true} {
		s := &Server{cfg: &config.Config{}, log: slog.New(slog.DiscardHandler)}
		show := func(name string) {
			pair := pairFor(t, name)
			s.cfg.TLS = config.TLS{CertFile: pair.CertFile, KeyFile: pair.KeyFile}
			list, err := readCertificates(s.cfg)
			if err != nil {
				t.Fatal(err)
			}
			s.certs.list.Store(&list)
		}
		if secure {
			show("one.example.com")
		}
		s.public = &http.Server{HTTP2: wire.HTTP2(), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { //nolint:gosec // a test's
			_, _ = io.WriteString(w, r.Proto+" "+r.Host)
		})}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error)
		go func() { served <- s.public.Serve(s.strict(l)) }()
		dial := func(protos ...string) (net.Conn, string) {
			t.Helper()
			if !secure {
				c, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				return c, ""
			}
			c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: protos}) //nolint:gosec // a test's
			if err != nil {
				t.Fatal(err)
			}
			return c, c.ConnectionState().PeerCertificates[0].DNSNames[0] + " " + c.ConnectionState().NegotiatedProtocol
		}
		ask := func(c net.Conn, head string) string {
			_, _ = io.WriteString(c, head+"\r\nConnection: close\r\n\r\n")
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			_ = c.Close()
			return string(b)
		}
		c, who := dial("http/1.1")
		if secure && who != "one.example.com http/1.1" {
			t.Error(who)
		}
		if got := ask(c, "GET / HTTP/1.1\r\nHost: a"); got != "HTTP/1.1 a" {
			t.Errorf("benign: %q", got)
		}
		c, _ = dial()
		if got := ask(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked"); got != "HTTP/1.1 "+wire.RefusedHost {
			t.Errorf("secure %t: both framings reach the handler: %q", secure, got)
		}
		if secure {
			show("two.example.com")
			if c, who = dial("h2", "http/1.1"); who != "two.example.com h2" {
				t.Errorf("after a reload: %s", who)
			}
			_ = c.Close()
		}
		_ = s.public.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}
}
