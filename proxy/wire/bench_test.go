package wire

import (
	"net"
	"strings"
	"testing"
)

// again sends one stream for ever, in one piece for each Read.
type again struct {
	net.Conn
	stream []byte
}

func (a *again) Read(b []byte) (int, error) { return copy(b, a.stream), nil }

const browser = "GET /app/page?x=1 HTTP/1.1\r\nHost: app.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Connection: keep-alive\r\nCookie: __Host-ssogate-app-session=MTc1NTI3NTI3NXxfXzEyMzQ1Njc4OTBhYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejEyMzQ1Njc4OTA; theme=dark\r\n" +
	"Upgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: none\r\nPriority: u=0, i\r\n\r\n"

func BenchmarkScan(b *testing.B) {
	for _, c := range []struct{ name, stream string }{
		{"browser", browser},
		{"bench", "GET / HTTP/1.1\r\nHost: app.example.com\r\nCookie: a=" + strings.Repeat("x", 100) + "\r\n\r\n"},
		{"upload 4K", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4000\r\n\r\n" + strings.Repeat("x", 4000)},
		{"chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n" + strings.Repeat("x", 1000) + "\r\n0\r\n\r\n"},
	} {
		b.Run(c.name, func(b *testing.B) {
			conn := &Conn{Conn: &again{stream: []byte(c.stream)}, limit: 64 << 10}
			buf := make([]byte, 4096)
			b.SetBytes(int64(len(c.stream)))
			b.ReportAllocs()
			for b.Loop() {
				if n, err := conn.Read(buf); err != nil || n != len(c.stream) {
					b.Fatal(n, err, conn.why.Load())
				}
			}
		})
	}
	// A head larger than net/http's reads is held, in a pooled buffer.
	b.Run("large head", func(b *testing.B) {
		stream := "GET / HTTP/1.1\r\nHost: a\r\nCookie: " + strings.Repeat("x", 8<<10) + "\r\n\r\n"
		s := &script{pieces: make([][]byte, 1)}
		conn := &Conn{Conn: s, limit: 64 << 10}
		buf := make([]byte, 4096)
		raw := []byte(stream)
		b.ReportAllocs()
		for b.Loop() {
			s.pieces = append(s.pieces[:0:1], raw)
			for n := 0; n < len(stream); {
				m, err := conn.Read(buf)
				if err != nil {
					b.Fatal(err)
				}
				n += m
			}
		}
	})
}
