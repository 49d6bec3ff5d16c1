package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
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

// refusals are heads that must be refused, by the rows T01, T02, T03 and P10: those of
// the file, and what is too long for it. H stands for a good Host line.
var refusals = append(rows("testdata/heads.txt"),
	row{"method", "an endless method", strings.Repeat("A", 33) + " / HTTP/1.1\r\nH\r\n\r\n"},
	row{"target_too_long", "64 KB of target", "GET /" + strings.Repeat("a", 64<<10)},
	row{"header_too_large", "2 MB of head", "GET / HTTP/1.1\r\nH\r\nX: " + strings.Repeat("a", 2<<20)},
	row{"header_too_large", "very many lines", "GET / HTTP/1.1\r\nH\r\n" + strings.Repeat("X: a\r\n", 20000)},
	row{"host_syntax", "our own sign of a refusal", "GET / HTTP/1.1\r\nHost: " + RefusedHost + "\r\n\r\n"},
)

// encodings are mutations of one line (row T01).
var encodings = rows("testdata/encodings.txt")

// row is one thing to refuse.
type row struct{ why, what, stream string }

// rows reads a table; proxy's tests send the same through a whole gate.
func rows(file string) (out []row) {
	b, err := os.ReadFile(file)
	if err != nil {
		panic(err)
	}
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		r := row{}
		if line[0] != '"' {
			r.why, line, _ = strings.Cut(line, "\t")
		}
		line, r.what, _ = strings.Cut(line, "\t")
		if r.stream, err = strconv.Unquote(line); err != nil {
			panic(file + ": " + line)
		}
		out = append(out, r)
	}
	return out
}

// fill puts the Host line in, by whatever it ends.
func fill(stream string) string {
	return strings.Replace(strings.Replace(stream, "H\r\n", "Host: a\r\n", 1), "H\n", "Host: a\n", 1)
}

func TestT01T02T03RefusedHeads(t *testing.T) {
	all := slices.Clone(refusals)
	for _, e := range encodings {
		all = append(all, row{"", "a mutation", "POST / HTTP/1.1\r\nHost: a\r\n" + e.stream + "\r\nX: y\r\n\r\n"})
		all = append(all, row{"", "a mutation beside a length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n" + e.stream + "\r\nX: y\r\n\r\n0\r\n\r\n"})
	}
	for _, r := range all {
		r.stream = fill(r.stream)
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

// chunks are bodies that must be refused (row T02).
var chunks = append(rows("testdata/chunks.txt"),
	row{"trailer", "too much", "0\r\nX: " + strings.Repeat("x", 5000) + "\r\n\r\n"},
)

// A body that is broken can never be read to its end: not by net/http behind the
// scanner, however it was cut.
func TestT02BrokenBodiesHaveNoEnd(t *testing.T) {
	const top = "POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, c := range chunks {
		for _, early := range []string{"", "4\r\ngood\r\n", strings.Repeat("1\r\nx\r\n", 2000)} {
			stream := early + c.stream + get + get
			for _, n := range []int{1, 3, 500, len(stream)} {
				// The head by itself: it is handed over before the body is seen.
				out, why, err := through(4096, append([][]byte{[]byte(get), []byte(top)}, pieces(stream, n)...)...)
				if why != c.why || !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatalf("%q in pieces of %d: %q, %v, want %q: %s", c.stream, n, why, err, c.why, c.what)
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
					t.Fatalf("%q in pieces of %d: net/http reads %q and then %v, not an error of its own: it would wait for more", c.stream, n, short(string(got)), err)
				}
				rest, _ := io.ReadAll(br)
				if bytes.Contains(rest, []byte("HTTP/1")) {
					t.Fatalf("%q: net/http still has %q to read", c.stream, rest)
				}
				// Together with the head: nothing of the request is handed over.
				if n >= len(stream) && early == "" {
					out, why, _ := through(1<<20, append([]byte(get+top), stream...))
					if why != c.why || string(out) != get+"POST "+refusedHead {
						t.Fatalf("%q with its head: %q, %q", c.stream, why, out)
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
