package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// script is a connection whose other end sends these pieces, one for each Read where
// it fits, and then its end.
type script struct {
	net.Conn
	pieces [][]byte
}

func (s *script) Read(b []byte) (int, error) {
	for len(s.pieces) > 0 && len(s.pieces[0]) == 0 {
		s.pieces = s.pieces[1:]
	}
	if len(s.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(b, s.pieces[0])
	s.pieces[0] = s.pieces[0][n:]
	return n, nil
}

func (s *script) Close() error                    { return nil }
func (s *script) SetReadDeadline(time.Time) error { return nil }

// through sends pieces through a connection and answers what net/http would read, and
// why the rest was refused. size is that of the reads.
func through(size int, pieces ...[]byte) (out []byte, why string, err error) {
	c := &Conn{Conn: &script{pieces: pieces}, limit: 64 << 10}
	b := make([]byte, size)
	for {
		n, err := c.Read(b)
		out = append(out, b[:n]...)
		if err != nil {
			if no := c.why.Load(); no != nil {
				why = string(no.Reason)
			}
			return out, why, err
		}
	}
}

// pieces cuts a stream into pieces of n bytes.
func pieces(stream string, n int) (out [][]byte) {
	for i := 0; i < len(stream); i += n {
		out = append(out, []byte(stream[i:min(i+n, len(stream))]))
	}
	return out
}

const get = "GET /a HTTP/1.1\r\nHost: app.example.com\r\n\r\n"

// Benign twins of every row: what honest clients send arrives as it was sent, however
// it is cut.
func TestHonestStreamsPassUnchanged(t *testing.T) {
	for name, stream := range map[string]string{
		"a page":               get,
		"pipelined":            get + get + get,
		"1.0":                  "GET / HTTP/1.0\r\n\r\n",
		"1.0 kept":             "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n" + get,
		"length":               "POST / HTTP/1.1\r\nHost: a:80\r\nContent-Length: 5\r\n\r\n\r\n\x00\nX" + get,
		"length nought":        "POST / HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 0\r\n\r\n" + get,
		"chunked":              "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n" + get,
		"chunked, padded size": "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:chunked\r\n\r\n00000003\r\nabc\r\n000\r\n\r\n" + get,
		"coding in upper case": "POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: Chunked\r\n\r\n0\r\n\r\n" + get,
		"trailers":             "POST / HTTP/1.1\r\nHost: a\r\nTrailer: X-Sum, X-B\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\nX-B: \t2 \r\n\r\n" + get,
		"expect":               "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na" + get,
		"odd values":           "GET /%41?%zz=\xc3\xa9 HTTP/1.1\r\nHost: a\r\nX: \xe9 \t\"\\\r\nY:\r\nX_Y.z~: a\r\nCookie: " + strings.Repeat("x", 3000) + "\r\n\r\n" + get,
		"TE and other lists":   "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE, close\r\nTrailer:\r\n\r\n" + get,
		"a large head":         "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 60<<10) + "\r\n\r\n" + get,
		"the end of a head":    "GET / HTTP/1.1\r\nHost: a\r\n",
		"the end of a method":  "GE",
	} {
		for _, size := range []int{1, 3, 64, 4096, 1 << 20} {
			for _, n := range []int{1, 2, 7, 1000, 4096, len(stream)} {
				if size < 64 && len(stream) > 4096 && n > 7 {
					continue
				}
				out, why, err := through(size, pieces(stream, n)...)
				switch {
				case why != "" || !errors.Is(err, io.EOF):
					t.Fatalf("%s in pieces of %d, read by %d: refused (%s, %v)", name, n, size, why, err)
				case strings.HasPrefix(name, "the end"):
					// The method is handed over at once: net/http's time for a head begins with it.
					if method, _, _ := strings.Cut(stream, "/"); string(out) != method {
						t.Fatalf("%s: %q", name, out)
					}
				case string(out) != stream:
					t.Fatalf("%s in pieces of %d, read by %d: changed to %q", name, n, size, out)
				}
			}
		}
	}
}

func TestOneEmptyLineBeforeARequestIsDropped(t *testing.T) {
	post := "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na"
	for _, n := range []int{1, 2, 3, 50, 1000} {
		out, why, _ := through(64, pieces("\r\n"+post+"\r\n"+get+"\r\n", n)...)
		if why != "" || string(out) != post+get {
			t.Fatalf("in pieces of %d: %q (%s)", n, out, why)
		}
		if _, why, _ := through(64, pieces(post+"\r\n\r\n"+get, n)...); why != "request_line" {
			t.Fatalf("two of them: %q", why)
		}
	}
}

// refusals are streams of one request that must be refused, by the rows T01, T02, T03
// and P10. In "H" stands "Host: a".
var refusals = []struct{ why, what, head string }{
	{"request_line", "HTTP/0.9 has no fields to frame by", "GET /\r\n"},
	{"request_line", "two spaces: some readers take the second for the target", "GET  / HTTP/1.1\r\nH\r\n\r\n"},
	{"version", "a space behind the version", "GET / HTTP/1.1 \r\nH\r\n\r\n"},
	{"request_line", "a leading space", " GET / HTTP/1.1\r\nH\r\n\r\n"},
	{"request_line", "a tab for the space", "GET\t/ HTTP/1.1\r\nH\r\n\r\n"},
	{"request_line", "no target", "GET HTTP/1.1\r\nH\r\n\r\n"},
	{"request_line", "a control in the method", "GE\x00T / HTTP/1.1\r\nH\r\n\r\n"},
	{"request_line", "TLS on the plain port", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"},
	{"method", "an endless method", strings.Repeat("A", 33) + " / HTTP/1.1\r\nH\r\n\r\n"},
	{"version", "HTTP/2 without TLS is not offered", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
	{"version", "unknown versions frame by unknown rules", "GET / HTTP/3.0\r\nH\r\n\r\n"},
	{"version", "a version that sorts as 1.1 for some", "GET / HTTP/1.10\r\nH\r\n\r\n"},
	{"version", "lower case", "GET / http/1.1\r\nH\r\n\r\n"},
	{"version", "leading zero", "GET / HTTP/01.1\r\nH\r\n\r\n"},
	{"target_form", "absolute-form names a second host", "GET http://evil/ HTTP/1.1\r\nH\r\n\r\n"},
	{"target_form", "authority-form would be a tunnel", "CONNECT a:443 HTTP/1.1\r\nH\r\n\r\n"},
	{"target_form", "asterisk-form has no path", "OPTIONS * HTTP/1.1\r\nH\r\n\r\n"},
	{"target_byte", "a space in the target", "GET /a b HTTP/1.1\r\nH\r\n\r\n"},
	{"target_byte", "a control in the target", "GET /a\x01 HTTP/1.1\r\nH\r\n\r\n"},
	{"target_escape", "half an escape", "GET /%4 HTTP/1.1\r\nH\r\n\r\n"},
	{"target_too_long", "64 KB of target", "GET /" + strings.Repeat("a", 64<<10)},
	{"header_too_large", "2 MB of head", "GET / HTTP/1.1\r\nH\r\nX: " + strings.Repeat("a", 2<<20)},
	{"header_too_large", "very many lines", "GET / HTTP/1.1\r\nH\r\n" + strings.Repeat("X: a\r\n", 20000)},

	{"line_end", "bare LF behind the request line", "GET / HTTP/1.1\nH\r\n\r\n"},
	{"line_end", "bare LF behind a field", "GET / HTTP/1.1\r\nH\nX: a\r\n\r\n"},
	{"line_end", "bare LF ends the head", "GET / HTTP/1.1\r\nH\r\n\nX"},
	{"line_end", "a field hidden behind a bare LF", "POST / HTTP/1.1\r\nH\r\nX: x\nTransfer-Encoding: chunked\r\n\r\n"},
	{"line_end", "LF before CR", "GET / HTTP/1.1\n\rH\n\r\n\r"},
	{"target_byte", "bare CR in the request line", "GET / \r HTTP/1.1\r\nH\r\n\r\n"},
	{"header_value", "bare CR in a value", "GET / HTTP/1.1\r\nH\r\nX: a\rTransfer-Encoding: chunked\r\n\r\n"},
	{"header_value", "CR CR LF", "GET / HTTP/1.1\r\nH\r\nX: a\r\r\n\r\n"},
	{"header_value", "NUL", "GET / HTTP/1.1\r\nH\r\nX: a\x00\r\n\r\n"},
	{"header_value", "escape", "GET / HTTP/1.1\r\nH\r\nX: aaaaaaaaaaaaaaa\x1b[2J\r\n\r\n"},
	{"header_value", "DEL", "GET / HTTP/1.1\r\nH\r\nX: aaaaaaaaaaaaaaa\x7f\r\n\r\n"},
	{"header_name", "NUL in a name", "GET / HTTP/1.1\r\nH\r\nX\x00: a\r\n\r\n"},
	{"header_name", "not ASCII", "GET / HTTP/1.1\r\nH\r\nX\xe9: a\r\n\r\n"},
	{"header_name", "a space before the colon", "GET / HTTP/1.1\r\nH\r\nX : a\r\n\r\n"},
	{"header_name", "a space in a name", "GET / HTTP/1.1\r\nH\r\nX Y: a\r\n\r\n"},
	{"header_name", "no colon", "GET / HTTP/1.1\r\nH\r\nX\r\n\r\n"},
	{"header_name", "empty name", "GET / HTTP/1.1\r\nH\r\n: a\r\n\r\n"},
	{"header_fold", "a folded line", "GET / HTTP/1.1\r\nH\r\nX: a\r\n b\r\n\r\n"},
	{"header_fold", "folded by a tab", "GET / HTTP/1.1\r\nH\r\nX: a\r\n\tTransfer-Encoding: chunked\r\n\r\n"},
	{"header_fold", "folded before the first field", "GET / HTTP/1.1\r\n H\r\n\r\n"},

	{"host_missing", "no Host in 1.1", "GET / HTTP/1.1\r\n\r\n"},
	{"host_twice", "two hosts", "GET / HTTP/1.1\r\nH\r\nHost: b\r\n\r\n"},
	{"host_twice", "the same twice, in another case", "GET / HTTP/1.1\r\nH\r\nhOST: a\r\n\r\n"},
	{"host_twice", "two in 1.0", "GET / HTTP/1.0\r\nH\r\nHost: b\r\n\r\n"},
	{"host_syntax", "empty", "GET / HTTP/1.1\r\nHost:\r\n\r\n"},
	{"host_syntax", "userinfo", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"},
	{"host_syntax", "a list", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"},
	{"host_syntax", "a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"},
	{"host_syntax", "whitespace behind", "GET / HTTP/1.1\r\nHost: a \r\n\r\n"},
	{"host_syntax", "our own sign of a refusal", "GET / HTTP/1.1\r\nHost: " + RefusedHost + "\r\n\r\n"},

	{"framing_conflict", "length and encoding", "POST / HTTP/1.1\r\nH\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"},
	{"framing_conflict", "encoding and length", "POST / HTTP/1.1\r\nH\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n"},
	{"framing_conflict", "an encoding in 1.0", "POST / HTTP/1.0\r\nH\r\nTransfer-Encoding: chunked\r\n\r\n"},
	{"content_length", "twice", "POST / HTTP/1.1\r\nH\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\n"},
	{"content_length", "twice, different", "POST / HTTP/1.1\r\nH\r\nContent-Length: 4\r\ncontent-length: 5\r\n\r\n"},
	{"content_length", "a list", "POST / HTTP/1.1\r\nH\r\nContent-Length: 4, 4\r\n\r\n"},
	{"content_length", "a plus", "POST / HTTP/1.1\r\nH\r\nContent-Length: +4\r\n\r\n"},
	{"content_length", "a minus", "POST / HTTP/1.1\r\nH\r\nContent-Length: -4\r\n\r\n"},
	{"content_length", "empty", "POST / HTTP/1.1\r\nH\r\nContent-Length:\r\n\r\n"},
	{"content_length", "a space inside", "POST / HTTP/1.1\r\nH\r\nContent-Length: 1 2\r\n\r\n"},
	{"content_length", "a space behind", "POST / HTTP/1.1\r\nH\r\nContent-Length: 4 \r\n\r\n"},
	{"content_length", "two spaces", "POST / HTTP/1.1\r\nH\r\nContent-Length:  4\r\n\r\n"},
	{"content_length", "a tab", "POST / HTTP/1.1\r\nH\r\nContent-Length:\t4\r\n\r\n"},
	{"content_length", "hexadecimal", "POST / HTTP/1.1\r\nH\r\nContent-Length: 0x4\r\n\r\n"},
	{"content_length", "octal to some", "POST / HTTP/1.1\r\nH\r\nContent-Length: 010\r\n\r\n"},
	{"content_length", "a fraction", "POST / HTTP/1.1\r\nH\r\nContent-Length: 4.0\r\n\r\n"},
	{"content_length", "an exponent", "POST / HTTP/1.1\r\nH\r\nContent-Length: 1e1\r\n\r\n"},
	{"content_length", "quoted", "POST / HTTP/1.1\r\nH\r\nContent-Length: \"4\"\r\n\r\n"},
	{"content_length", "2^64 + 4", "POST / HTTP/1.1\r\nH\r\nContent-Length: 18446744073709551620\r\n\r\n"},
	{"content_length", "Arabic digits", "POST / HTTP/1.1\r\nH\r\nContent-Length: \xd9\xa4\r\n\r\n"},
	{"framing_alias", "an underscore", "POST / HTTP/1.1\r\nH\r\nContent_Length: 4\r\n\r\n"},
	{"trailer", "announced framing", "POST / HTTP/1.1\r\nH\r\nTrailer: X, Content-Length\r\nTransfer-Encoding: chunked\r\n\r\n"},
	{"trailer", "announced encoding", "POST / HTTP/1.1\r\nH\r\nTrailer: transfer-encoding\r\n\r\n"},
}

// encodings are mutations of one line (row T01).
var encodings = []string{
	"Transfer-Encoding : chunked", "Transfer-Encoding\t: chunked", "Transfer-Encoding:\tchunked", "Transfer-Encoding:  chunked", "Transfer-Encoding: chunked ",
	"Transfer-Encoding: chunked\t", "Transfer-Encoding:\x0bchunked", "Transfer-Encoding: \x0bchunked", "Transfer-Encoding:\x0cchunked", "Transfer-Encoding: chunked\x0b",
	"Transfer-Encoding: chunked\x00", "Transfer-Encoding:\x00chunked", "Transfer-Encoding:\xa0chunked", "Transfer-Encoding: \xc2\xa0chunked", "Transfer-Encoding: \xefchunked",
	"Transfer-Encoding: xchunked", "Transfer-Encoding: chunkedx", "Transfer-Encoding: chunk", "Transfer-Encoding: chunke", "Transfer-Encoding: chun ked", "Transfer-Encoding: chun\tked",
	"Transfer-Encoding: chunked, identity", "Transfer-Encoding: identity, chunked", "Transfer-Encoding: chunked,chunked", "Transfer-Encoding: chunked, chunked", "Transfer-Encoding: gzip, chunked",
	"Transfer-Encoding: chunked, gzip", "Transfer-Encoding: ,chunked", "Transfer-Encoding: chunked,", "Transfer-Encoding: , chunked", "Transfer-Encoding: identity", "Transfer-Encoding: gzip",
	"Transfer-Encoding: cow", "Transfer-Encoding:", "Transfer-Encoding: ", "Transfer-Encoding: \"chunked\"", "Transfer-Encoding: 'chunked'", "Transfer-Encoding: chunked;q=1", "Transfer-Encoding: chunked; x=y",
	"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
	"Transfer-Encoding: chunked\r\nTransfer-encoding: x", "Transfer-Encoding: x\r\ntransfer-encoding: chunked", "X: x\nTransfer-Encoding: chunked", "X: x\rTransfer-Encoding: chunked",
	"X: x\r\n\rTransfer-Encoding: chunked", "X: x\n\rTransfer-Encoding: chunked", "\nTransfer-Encoding: chunked", " Transfer-Encoding: chunked", "\tTransfer-Encoding: chunked", "\x0bTransfer-Encoding: chunked",
	"X:\r\n Transfer-Encoding: chunked", "Transfer-Encoding:\r\n chunked", "Transfer-Encoding:\n chunked", "Transfer-Encoding\r\n: chunked", "Transfer-Encoding\n: chunked", "Transfer\r-Encoding: chunked",
	"Transfer_Encoding: chunked", "Transfer.Encoding: chunked", "transfer~encoding: chunked", "Transfer Encoding: chunked", "Transfer-Encoding\x00: chunked", "Transfer-\x00Encoding: chunked",
	"Transfer-Encoding chunked", "Transfer-Encoding= chunked", "Transfer-Encoding;: chunked", "(Transfer-Encoding): chunked", "\"Transfer-Encoding\": chunked", "Transfer-Encoding: chunked\r", "Transfer-Encoding: chunked\rX: y",
	"Transfer-Encoding: \r\n chunked", "Transfer-Encoding: chunked\r\n identity", "Transfer-\xe2\x80\x90Encoding: chunked", "Transfer-Encod\xc4\xb1ng: chunked", "Transfer-Encoding: \xe2\x84\xaahunked", "TRANSFER-ENCODING: \\chunked",
}

// fill puts the Host line in.
func fill(stream string) string { return strings.Replace(stream, "H\r\n", "Host: a\r\n", 1) }

func TestT01T02T03RefusedHeads(t *testing.T) {
	type row struct{ why, what, stream string }
	var rows []row
	for _, r := range refusals {
		stream := fill(r.head)
		if strings.Contains(r.head, "H\n") {
			stream = strings.Replace(r.head, "H\n", "Host: a\n", 1)
		}
		rows = append(rows, row{r.why, r.what, stream})
	}
	for _, e := range encodings {
		rows = append(rows, row{"", "the row's mutation " + e, "POST / HTTP/1.1\r\nHost: a\r\n" + e + "\r\nX: y\r\n\r\n"})
		rows = append(rows, row{"", "the same beside a length, " + e, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n" + e + "\r\nX: y\r\n\r\n0\r\n\r\n"})
	}
	for _, r := range rows {
		for _, before := range []string{"", get, get + "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", "\r\n"} {
			for _, n := range []int{1, 5, 600, 4096, 4 << 20} {
				if len(r.stream) > 4096 && n < 600 {
					continue
				}
				out, why, err := through(4096, pieces(before+r.stream+get+"POST /next HTTP/1.1\r\n", n)...)
				if why == "" || r.why != "" && why != r.why {
					t.Errorf("%q in pieces of %d: %q, want %q: %s", short(r.stream), n, why, r.why, r.what)
					break
				}
				good, sign := strings.TrimPrefix(before, "\r\n"), refusedHead
				rest, ok := strings.CutPrefix(string(out), good)
				method, rest, _ := strings.Cut(rest, " ")
				if !ok || rest != sign || !errors.Is(err, io.EOF) {
					t.Fatalf("%q in pieces of %d: net/http reads %q, then %v: %s", short(r.stream), n, short(string(out)), err, r.what)
				}
				if q, err := http.ReadRequest(bufio.NewReader(strings.NewReader(method + " " + rest))); err != nil || q.Host != RefusedHost {
					t.Fatalf("%q: what stands for it is %v (%v)", short(r.stream), q, err)
				}
			}
		}
	}
}

func short(s string) string { return s[:min(len(s), 200)] }

// chunks are bodies that must be refused, row T02: each is legal up to its last part.
var chunks = []struct{ why, what, body string }{
	{"chunk_size", "no digits", "\r\nabc"},
	{"chunk_size", "a plus", "+3\r\nabc\r\n"},
	{"chunk_size", "a minus", "-3\r\nabc\r\n"},
	{"chunk_size", "0x", "0x3\r\nabc\r\n"},
	{"chunk_size", "a leading space", " 3\r\nabc\r\n"},
	{"chunk_size", "a space behind", "3 \r\nabc\r\n"},
	{"chunk_size", "a tab behind", "3\t\r\nabc\r\n"},
	{"chunk_size", "bare LF", "3\nabc\r\n"},
	{"chunk_size", "bare CR", "3\rabc\r\n"},
	{"chunk_size", "no hexadecimal", "g\r\nabc\r\n"},
	{"chunk_size", "an underscore", "1_0\r\nabc\r\n"},
	{"chunk_size", "2^64 + 3", "10000000000000003\r\nabc\r\n"},
	{"chunk_size", "2^60", "1000000000000000\r\nabc\r\n"},
	{"chunk_size", "zeros to no end", "0000000000000000000000000000003\r\nabc\r\n"},
	{"chunk_size", "zeros to no end in the last", "3\r\nabc\r\n000000000\r\n\r\n"},
	{"chunk_size", "NUL", "3\x00\r\nabc\r\n"},
	{"chunk_extension", "an extension", "3;x\r\nabc\r\n0\r\n\r\n"},
	{"chunk_extension", "an extension with LF", "3;\n\r\nabc\r\n"},
	{"chunk_extension", "a quoted CRLF", "3;a=\"\r\n\"\r\nabc\r\n"},
	{"chunk_end", "nothing behind the data", "3\r\nabc0\r\n\r\n"},
	{"chunk_end", "LF behind the data", "3\r\nabc\n0\r\n\r\n"},
	{"chunk_end", "CR behind the data", "3\r\nabc\r0\r\n\r\n"},
	{"chunk_end", "more data than said", "3\r\nabcd\r\n0\r\n\r\n"},
	{"chunk_end", "other bytes in their place", "3\r\nabcXX0\r\n\r\n"},
	{"trailer", "a length", "0\r\nContent-Length: 3\r\n\r\n"},
	{"trailer", "an encoding", "0\r\ntransfer-encoding: chunked\r\n\r\n"},
	{"trailer", "a host", "0\r\nX: y\r\nHost: b\r\n\r\n"},
	{"framing_alias", "an alias", "0\r\nTransfer_Encoding: chunked\r\n\r\n"},
	{"trailer", "too much", "0\r\nX: " + strings.Repeat("x", 5000) + "\r\n\r\n"},
	{"line_end", "bare LF in a trailer", "0\r\nX: y\n\r\n"},
	{"line_end", "bare LF after the last chunk", "0\r\n\n"},
	{"header_fold", "a folded trailer", "0\r\nX: y\r\n z\r\n\r\n"},
	{"header_value", "a control in a trailer", "0\r\nX: \x01\r\n\r\n"},
	{"header_name", "no trailer at all", "0\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n"},
}

// A body that is broken can never be read to its end: not by net/http behind the
// scanner, however it was cut.
func TestT02BrokenBodiesHaveNoEnd(t *testing.T) {
	const top = "POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, c := range chunks {
		for _, early := range []string{"", "4\r\ngood\r\n", strings.Repeat("1\r\nx\r\n", 2000)} {
			stream := early + c.body + get + get
			for _, n := range []int{1, 3, 500, len(stream)} {
				// The head by itself: it is handed over before the body is seen.
				out, why, err := through(4096, append([][]byte{[]byte(get), []byte(top)}, pieces(stream, n)...)...)
				if why != c.why || !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatalf("%q in pieces of %d: %q, %v, want %q: %s", c.body, n, why, err, c.why, c.what)
				}
				br := bufio.NewReader(bytes.NewReader(out))
				if q, err := http.ReadRequest(br); err != nil || q.URL.Path != "/a" {
					t.Fatalf("the request before: %v", err)
				}
				q, err := http.ReadRequest(br)
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(q.Body)
				if err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatalf("%q in pieces of %d: net/http reads %q and then %v, not an error of its own: it would wait for more", c.body, n, short(string(got)), err)
				}
				rest, _ := io.ReadAll(br)
				if bytes.Contains(rest, []byte("HTTP/1")) {
					t.Fatalf("%q: net/http still has %q to read", c.body, rest)
				}
				// Together with the head: nothing of the request is handed over.
				if n >= len(stream) && early == "" {
					out, why, _ := through(1<<20, append([]byte(get+top), stream...))
					if why != c.why || string(out) != get+"GET "+refusedHead {
						t.Fatalf("%q with its head: %q, %q", c.body, why, out)
					}
				}
			}
		}
	}
}

// net/http reads one byte at a time while a request is answered: what it finds must
// not end that request.
func TestTheEarlierRequestIsNotDisturbed(t *testing.T) {
	c := &Conn{Conn: &script{pieces: [][]byte{[]byte(get), []byte("\x00"), []byte(get)}}, limit: 1 << 16}
	b := make([]byte, 4096)
	if n, err := c.Read(b); err != nil || string(b[:n]) != get {
		t.Fatalf("%q %v", b[:n], err)
	}
	if n, err := c.Read(b[:1]); err != nil || b[0] != 'G' || n != 1 {
		t.Fatalf("behind the request net/http reads %q %v", b[:n], err)
	}
	if n, err := c.Read(b); err != nil || string(b[:n]) != "ET "+refusedHead {
		t.Fatalf("%q %v", b[:n], err)
	}
	if n, err := c.Read(b[:1]); n != 0 || !errors.Is(err, io.EOF) {
		t.Fatalf("then %q %v: what is behind a refused request is nothing", b[:n], err)
	}
}

// The values of fields are checked eight bytes at a time: no byte at no place may slip
// through.
func TestControlsAreFoundAtEveryPlace(t *testing.T) {
	for length := range 40 {
		for at := range length {
			for c := range 256 {
				v := []byte(strings.Repeat("x", length))
				v[at] = byte(c)
				want := c >= ' ' && c != 0x7f || c == '\t'
				if printable(v) != want {
					t.Fatalf("byte %#x at %d of %d", c, at, length)
				}
			}
		}
	}
}
