package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http/httpguts"
)

// message is one request as a reader frames it.
type message struct {
	method, target, host, body string
	end                        int // in the stream
}

// framed is what the scanner accepted of a stream, sent byte by byte: the only thing
// that is asked of it is where requests end.
func framed(t *testing.T, stream string) (out string, ends []int, why string) {
	t.Helper()
	c := &Conn{Conn: &script{pieces: pieces(stream, 1)}, limit: 64 << 10}
	b := make([]byte, 4096)
	for {
		n, err := c.Read(b)
		out += string(b[:n])
		if err != nil {
			break
		}
		if (c.scanner.phase == start || c.scanner.phase == offered) && c.held == nil && !c.scanner.empty && c.why.Load() == nil {
			ends = append(ends, len(out))
		}
	}
	if no := c.why.Load(); no != nil {
		why = string(no.Reason)
	}
	if c.held != nil && why == "" && c.held.off > len(c.held.b) {
		t.Fatal("more was delivered than read")
	}
	return out, ends, why
}

// read is net/http's reading of a stream, with the checks of its server, until it ends
// or cannot be read.
func read(stream string) (ms []message, err error) {
	src := strings.NewReader(stream)
	br := bufio.NewReaderSize(src, 4096)
	for {
		q, err := http.ReadRequest(br)
		if err != nil {
			if src.Len() == 0 && br.Buffered() == 0 && errors.Is(err, io.EOF) {
				err = nil
			}
			return ms, err
		}
		if q.ProtoAtLeast(1, 1) && q.Host == "" || !httpguts.ValidHostHeader(q.Host) || len(q.Header["Host"]) > 1 {
			return ms, errors.New("host")
		}
		for k, vs := range q.Header {
			if !httpguts.ValidHeaderFieldName(k) || !httpguts.ValidHeaderFieldValue(strings.Join(vs, "")) {
				return ms, errors.New("header")
			}
		}
		b, err := io.ReadAll(q.Body)
		if err != nil {
			return ms, fmt.Errorf("body: %w", err)
		}
		ms = append(ms, message{q.Method, q.RequestURI, q.Host, string(b), len(stream) - src.Len() - br.Buffered()})
	}
}

// plainly reads one accepted message by RFC 9112 with the simplest code there is. It
// knows that the message is well-formed, and nothing of the scanner.
func plainly(raw string) (m message) {
	head, rest, _ := strings.Cut(raw, "\r\n\r\n")
	for i, line := range strings.Split(head, "\r\n") {
		if i == 0 {
			parts := strings.Split(line, " ")
			m.method, m.target = parts[0], parts[1]
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.Trim(value, " \t")
		switch strings.ToLower(name) {
		case "host":
			m.host = value
		case "content-length":
			m.body = rest
			if strconv.Itoa(len(rest)) != value {
				m.body = "not of its length"
			}
		case "transfer-encoding":
			for {
				digits, more, _ := strings.Cut(rest, "\r\n")
				n, err := strconv.ParseUint(digits, 16, 31)
				if err != nil || n == 0 {
					break
				}
				m.body += more[:n]
				rest = more[n+2:]
			}
		}
	}
	return m
}

// agree fails unless net/http and a plain reading of the RFC frame what the scanner
// accepts as it does, and find in what it refuses only the sign of a refusal.
func agree(t *testing.T, stream string, cut uint16) {
	t.Helper()
	out, ends, why := framed(t, stream)
	ms, err := read(out)
	if why == "" {
		last := 0
		if len(ends) > 0 {
			last = ends[len(ends)-1]
		}
		if ms, err = read(out[:last]); err != nil {
			t.Fatalf("%q is accepted, and net/http refuses it (%v) after %d requests", stream, err, len(ms))
		}
	} else if len(ms) == len(ends)+1 && ms[len(ends)].host == RefusedHost {
		if err != nil || ms[len(ends)].end != len(out) {
			t.Fatalf("%q: behind the refusal net/http reads on: %v", stream, err)
		}
		ms = ms[:len(ends)]
	} else if err == nil {
		t.Fatalf("%q is refused (%s), but net/http reads %q to a good end", stream, why, out)
	}
	if len(ms) != len(ends) {
		t.Fatalf("%q: the scanner accepts %d requests, net/http reads %d: %+v", stream, len(ends), len(ms), ms)
	}
	from := 0
	for i, m := range ms {
		p := plainly(out[from:ends[i]])
		p.end, from = ends[i], ends[i]
		if m != p {
			t.Fatalf("%q, request %d:\nnet/http %+v\nscanner  %+v", stream, i, m, p)
		}
	}
	// However it is cut, the same is accepted, and the same refused.
	var cuts [][]byte
	for rnd, rest := rand.New(rand.NewPCG(uint64(cut), 1)), []byte(stream); len(rest) > 0; {
		n := min(1+rnd.IntN(1<<rnd.IntN(12)), len(rest))
		cuts, rest = append(cuts, slices.Clone(rest[:n])), rest[n:]
	}
	other, whyToo, _ := through(2+int(cut)%5000, cuts...) // one byte is a look, see Conn.peek
	if (why == "") != (whyToo == "") {
		t.Fatalf("%q: refused %q, and cut in another way %q", stream, why, whyToo)
	}
	good := 0
	if len(ends) > 0 {
		good = ends[len(ends)-1]
	}
	if why == "" && string(other) != out || len(other) < good || !bytes.Equal(other[:good], []byte(out[:good])) {
		t.Fatalf("%q: delivered %q, and cut in another way %q", stream, out, other)
	}
}

// honest is how many of the seeds are.
const honest = 8

// seeds are all streams of the tables and their honest twins, which come first.
func seeds() (out []string) {
	out = append(out, get, get+get, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"+get,
		"POST /x?y HTTP/1.1\r\nHost: a:1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n"+get,
		"GET / HTTP/1.0\r\n\r\n", "\r\n"+get, "POST / HTTP/1.1\r\nHost: a\r\nTrailer: X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n",
		shake+get)
	for _, r := range refusals {
		if len(r.stream) < 4096 {
			out = append(out, fill(r.stream)+get)
		}
	}
	for _, e := range encodings {
		out = append(out, "POST / HTTP/1.1\r\nHost: a\r\n"+e.stream+"\r\n\r\n0\r\n\r\n"+get)
	}
	for _, c := range chunks {
		if len(c.stream) < 4096 {
			out = append(out, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"+c.stream+get)
		}
	}
	return out
}

// parts are what mutations are made of.
var parts = []string{
	"\r\n", "\n", "\r", "\r\n\r\n", " ", "\t", "\x0b", "\x00", ":", ";", ",", "0", "1", "3", "a", "+", "-", "0x", "chunked", "identity", "Transfer-Encoding: chunked\r\n", "Content-Length: 3\r\n",
	"Content-Length: 0\r\n", "Host: b\r\n", "HTTP/1.1", "HTTP/1.0", "GET /smuggled HTTP/1.1\r\n", "0\r\n\r\n", "3\r\nabc\r\n", "\xc3\xa9", "\xff", "X: y\r\n", "Trailer: X\r\n", "Expect: 100-continue\r\n", "_",
	"Transfer-Encoding", "Content-Length", "Host", "Upgrade: h2c\r\n", "POST ", "%", "?", "/", "//", "abc", "00000000", "fffffffff",
}

func mutate(rnd *rand.Rand, s string) string {
	for range 1 + rnd.IntN(4) {
		at := rnd.IntN(len(s) + 1)
		to := min(at+rnd.IntN(4), len(s))
		switch rnd.IntN(6) {
		case 0, 1:
			s = s[:at] + parts[rnd.IntN(len(parts))] + s[at:]
		case 2:
			s = s[:at] + parts[rnd.IntN(len(parts))] + s[to:]
		case 3:
			s = s[:at] + s[to:]
		case 4: // another case, or another separator
			if at < len(s) {
				s = s[:at] + string(s[at]^0x20) + s[at+1:]
			}
		default: // a line twice
			lines := strings.SplitAfter(s, "\r\n")
			i := rnd.IntN(len(lines))
			s = strings.Join(slices.Insert(lines, i, lines[i]), "")
		}
	}
	return s
}

// Rows T01, T02 and T03 beyond their lists: whatever is accepted, net/http frames as
// the scanner does.
func TestAcceptedStreamsAreFramedAlike(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	all := seeds()
	for _, s := range all {
		agree(t, s, 1)
	}
	accepted := 0
	const rounds = 20000
	for i := range rounds {
		from := all
		if i%2 == 0 {
			from = all[:honest]
		}
		s := mutate(rnd, from[rnd.IntN(len(from))])
		agree(t, s, uint16(rnd.Uint32()))
		if _, ends, why := framed(t, s); why == "" && len(ends) > 0 {
			accepted++
		}
	}
	if accepted < rounds/100 {
		t.Errorf("only %d of %d streams were accepted: nothing was compared", accepted, rounds)
	}
	t.Logf("%d of %d streams accepted", accepted, rounds)
}

func FuzzScan(f *testing.F) {
	for i, s := range seeds() {
		f.Add(s, uint16(i*37))
	}
	f.Fuzz(func(t *testing.T, stream string, cut uint16) {
		if len(stream) < 16<<10 {
			agree(t, stream, cut)
		}
	})
}
