package h1

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
)

// answered is a case of a GET without a body. The tag is the part of section 4 and what is odd.
func answered(tag string, answer ...string) *exchangeCase {
	return &exchangeCase{name: tag, method: http.MethodGet, answer: answer, tags: []string{tag}}
}

func (c *exchangeCase) ends(e ending) *exchangeCase { c.end = e; return c }

func (c *exchangeCase) by(method string) *exchangeCase { c.method = method; return c }

const ok11 = "HTTP/1.1 200 OK\r\n"

// framings are section 4.2: who reads a length otherwise than another reads the next
// answer of somebody else.
func framings() []*exchangeCase {
	var out []*exchangeCase
	for _, method := range []string{"GET", "HEAD", "POST"} {
		for tag, answer := range map[string]string{
			"4.2 length and coding":          ok11 + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
			"4.2 coding and length":          ok11 + "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
			"4.2 same length twice":          ok11 + "Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
			"4.2 two lengths":                ok11 + "Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
			"4.2 list of lengths":            ok11 + "Content-Length: 2, 2\r\n\r\nok",
			"4.2 length with plus":           ok11 + "Content-Length: +2\r\n\r\nok",
			"4.2 length with minus":          ok11 + "Content-Length: -2\r\n\r\nok",
			"4.2 length in hex":              ok11 + "Content-Length: 0x2\r\n\r\nok",
			"4.2 length overflows":           ok11 + "Content-Length: 18446744073709551618\r\n\r\nok",
			"4.2 empty length":               ok11 + "Content-Length: \r\n\r\nok",
			"4.2 length with space inside":   ok11 + "Content-Length: 2 2\r\n\r\nok",
			"4.2 other coding too":           ok11 + "Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
			"4.2 two codings":                ok11 + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
			"4.2 chunked twice":              ok11 + "Transfer-Encoding: chunked, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
			"4.2 identity coding":            ok11 + "Transfer-Encoding: identity\r\n\r\nok",
			"4.2 xchunked":                   ok11 + "Transfer-Encoding: xchunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
			"4.2 chunked in quotes":          ok11 + "Transfer-Encoding: \"chunked\"\r\n\r\n2\r\nok\r\n0\r\n\r\n",
			"4.2 vertical tab before coding": ok11 + "Transfer-Encoding: \x0bchunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
			"4.2 coding in HTTP/1.0":         "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
			"4.2 empty coding":               ok11 + "Transfer-Encoding: \r\n\r\nok",
			"4.2 chunk size overflows":       ok11 + "Transfer-Encoding: chunked\r\n\r\n10000000000000002\r\nok\r\n0\r\n\r\n",
			"4.2 chunk size with plus":       ok11 + "Transfer-Encoding: chunked\r\n\r\n+2\r\nok\r\n0\r\n\r\n",
			"4.2 chunk size with minus":      ok11 + "Transfer-Encoding: chunked\r\n\r\n-2\r\nok\r\n0\r\n\r\n",
			"4.2 chunk size in 0x":           ok11 + "Transfer-Encoding: chunked\r\n\r\n0x2\r\nok\r\n0\r\n\r\n",
			"4.2 no chunk size":              ok11 + "Transfer-Encoding: chunked\r\n\r\n\r\nok\r\n0\r\n\r\n",
			"4.2 space behind chunk size":    ok11 + "Transfer-Encoding: chunked\r\n\r\n2 \r\nok\r\n0\r\n\r\n",
			"4.2 space before chunk size":    ok11 + "Transfer-Encoding: chunked\r\n\r\n 2\r\nok\r\n0\r\n\r\n",
			"4.2 bare LF behind chunk size":  ok11 + "Transfer-Encoding: chunked\r\n\r\n2\nok\r\n0\r\n\r\n",
			"4.2 bare LF in an extension":    ok11 + "Transfer-Encoding: chunked\r\n\r\n2;a\n\r\nok\r\n0\r\n\r\n",
			"4.2 bare LF behind a chunk":     ok11 + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\n0\r\n\r\n",
			"4.2 nothing behind a chunk":     ok11 + "Transfer-Encoding: chunked\r\n\r\n2\r\nok0\r\n\r\n",
			"4.2 chunk longer than said":     ok11 + "Transfer-Encoding: chunked\r\n\r\n2\r\nokay\r\n0\r\n\r\n",
			"4.2 long extension":             ok11 + "Transfer-Encoding: chunked\r\n\r\n2;" + strings.Repeat("a", 20<<10) + "\r\nok\r\n0\r\n\r\n",
			"4.2 bare LF behind the last":    ok11 + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\n\n",
			"4.2 length in a trailer":        ok11 + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nContent-Length: 7\r\n\r\n",
			"4.2 length on 204":              "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n",
			"4.2 coding on 204":              "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
			"4.2 length on 304":              "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
			"4.2 coding on 304":              "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
			"4.2 length on 100":              "HTTP/1.1 100 Continue\r\nContent-Length: 2\r\n\r\n" + okAnswer,
			"4.2 coding on 103":              "HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n" + okAnswer,
		} {
			k := answered(tag, answer).by(method)
			k.name = method + " " + tag
			if method == "HEAD" {
				head, _, _ := strings.Cut(answer, "\r\n\r\n")
				if strings.HasPrefix(answer, "HTTP/1.1 1") {
					continue
				}
				k.answer = []string{head + "\r\n\r\n"}
			}
			k.end = closeIt
			out = append(out, k)
		}
	}
	return append(out,
		answered("4.2 short body", ok11+"Content-Length: 5\r\n\r\nok").ends(closeIt),
		answered("4.2 short body, reset", ok11+"Content-Length: 5\r\n\r\nok").ends(resetIt),
		answered("4.2 missing last chunk", ok11+"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n").ends(closeIt),
		answered("4.2 missing end of trailers", ok11+"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-A: b\r\n").ends(closeIt),
		answered("4.2 body ends with the connection", ok11+"\r\nok").ends(closeIt),
		answered("4.2 body ends with a reset", ok11+"\r\nok").ends(resetIt),
	)
}

// heads are sections 4.4 and 4.10: what a head may hold.
func heads() []*exchangeCase {
	many := strings.Repeat("X-A: b\r\n", 2000)
	var out []*exchangeCase
	for tag, answer := range map[string]string{
		"4.10 folded field":              ok11 + "X-A: b\r\n c\r\nContent-Length: 2\r\n\r\nok",
		"4.10 folded length":             ok11 + "Content-Length:\r\n 2\r\n\r\nok",
		"4.10 space before colon":        ok11 + "X-A : b\r\nContent-Length: 2\r\n\r\nok",
		"4.10 space before a name":       ok11 + " X-A: b\r\nContent-Length: 2\r\n\r\nok",
		"4.10 no colon":                  ok11 + "X-A\r\nContent-Length: 2\r\n\r\nok",
		"4.10 empty name":                ok11 + ": b\r\nContent-Length: 2\r\n\r\nok",
		"4.10 name in quotes":            ok11 + "\"X\": b\r\nContent-Length: 2\r\n\r\nok",
		"4.10 control in a name":         ok11 + "X\x01A: b\r\nContent-Length: 2\r\n\r\nok",
		"4.10 NUL in a value":            ok11 + "X-A: b\x00c\r\nContent-Length: 2\r\n\r\nok",
		"4.10 bare CR in a value":        ok11 + "X-A: b\rc\r\nContent-Length: 2\r\n\r\nok",
		"4.10 control in a value":        ok11 + "X-A: b\x01c\r\nContent-Length: 2\r\n\r\nok",
		"4.10 bare LF in the head":       ok11 + "X-A: b\nContent-Length: 2\r\n\r\nok",
		"4.10 bare LF everywhere":        "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
		"4.10 lower-case protocol":       "http/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"4.10 HTTP/1.2":                  "HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"4.10 HTTP/2":                    "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"4.10 HTTP/0.9":                  "HTTP/0.9 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"4.10 no protocol":               "hello\r\n\r\nok",
		"4.10 two digits":                "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
		"4.10 four digits":               "HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok",
		"4.10 status with plus":          "HTTP/1.1 +20 OK\r\nContent-Length: 2\r\n\r\nok",
		"4.10 status 099":                "HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok",
		"4.10 status 600":                "HTTP/1.1 600 OK\r\nContent-Length: 2\r\n\r\nok",
		"4.10 status 000":                "HTTP/1.1 000 OK\r\nContent-Length: 2\r\n\r\nok",
		"4.10 two spaces":                "HTTP/1.1  200 OK\r\nContent-Length: 2\r\n\r\nok",
		"4.10 no reason":                 "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
		"4.10 control in the reason":     "HTTP/1.1 200 O\x01K\r\nContent-Length: 2\r\n\r\nok",
		"4.10 empty line first":          "\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"4.10 two thousand fields":       ok11 + many + "Content-Length: 2\r\n\r\nok",
		"4.10 a megabyte":                ok11 + "X-A: " + strings.Repeat("b", 1<<20) + "\r\nContent-Length: 2\r\n\r\nok",
		"4.4 unsolicited 100":            "HTTP/1.1 100 Continue\r\n\r\n" + okAnswer,
		"4.4 103 with hop-by-hop fields": "HTTP/1.1 103 Early Hints\r\nConnection: X-A\r\nX-A: b\r\nLink: </a>\r\n\r\n" + okAnswer,
		"4.4 a thousand 103":             strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 1000) + okAnswer,
		"4.4 103 without an end":         strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 3),
		"4.4 101 that nobody asked for":  "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		"4.4 199":                        "HTTP/1.1 199 Odd\r\n\r\n" + okAnswer,
		"4.9 order of cookies":           ok11 + "Set-Cookie: b=2\r\nX-A: 1\r\nset-cookie: a=1\r\nSet-Cookie: c=3\r\nContent-Length: 2\r\n\r\nok",
		"4.9 framing of a refused 4xx":   "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
		"4.9 trailer of managed names":   ok11 + "Transfer-Encoding: chunked\r\nTrailer: Content-Length, X-A\r\n\r\n0\r\nX-A: b\r\nTransfer-Encoding: gzip\r\n\r\n",
		"nothing":                        "",
		"half a status line":             "HTTP/1.1 2",
		"half a head":                    ok11 + "X-A: b\r\n",
	} {
		out = append(out, answered(tag, answer).ends(closeIt))
	}
	return out
}

// requests are section 4.8: what an application is asked.
func requests() []*exchangeCase {
	var out []*exchangeCase
	for i, target := range []string{"/", "/?", "/a;b?c;d", "/%2e%2E/%00", "//x", "*", "/\xc3\xa9", "/a?b?c#"} {
		k := answered("4.8 target", okAnswer)
		if k.target = target; target == "*" {
			k.method = "OPTIONS"
		}
		k.name = fmt.Sprint("4.8 target ", i)
		out = append(out, k)
	}
	for _, method := range []string{"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"} {
		for _, b := range []struct {
			body   string
			length int64
		}{{"", 0}, {"", -1}, {"abc", 3}, {"abc", -1}, {strings.Repeat("x", 100_000), 100_000}, {strings.Repeat("x", 100_000), -1}} {
			k := answered("4.8 body", okAnswer).by(method)
			k.body, k.length = b.body, b.length
			k.name = fmt.Sprintf("4.8 %s of %d bytes, length %d", method, len(b.body), b.length)
			out = append(out, k)
		}
	}
	for name, v := range map[string]string{"X-Cr": "a\rb", "X-Lf": "a\nb", "X-Nul": "a\x00b", "X\r\nY": "b", "X Y": "b", "": "b"} {
		k := answered("4.8 bytes that would be another line", okAnswer)
		k.header = http.Header{name: {v}}
		k.name = fmt.Sprintf("4.8 field %q", name)
		out = append(out, k)
	}
	k := answered("4.8 short body", okAnswer).by("POST")
	k.body, k.length = "abc", 10
	long := answered("4.8 long body", okAnswer).by("POST")
	long.body, long.length = "abcdef", 3
	early := answered("4.5 early answer", "HTTP/1.1 413 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno").by("POST").ends(closeIt)
	early.body, early.length, early.early = strings.Repeat("x", 8<<20), 8<<20, true
	expect := answered("4.4 final answer instead of 100", "HTTP/1.1 417 No\r\nContent-Length: 2\r\n\r\nno").by("POST")
	expect.body, expect.length, expect.header, expect.early = "abc", 3, http.Header{"Expect": {"100-continue"}}, true
	return append(out, k, long, early, expect)
}

// Section 4: line by line, and thousands of exchanges that nobody thought of one by one.
func TestExchangesGoAsWithHTTPTransport(t *testing.T) {
	s := newScripted(t)
	hits := map[string]int{}
	t.Run("hand-made", func(t *testing.T) {
		for _, k := range append(append(framings(), heads()...), requests()...) {
			compare(t, s, k, hits)
		}
	})
	t.Run("generated", func(t *testing.T) {
		for seed := range uint64(generated) {
			k := generate(rand.New(rand.NewPCG(seed, 4)))
			k.name = fmt.Sprint("seed ", seed)
			compare(t, s, k, hits)
		}
	})
	t.Logf("wanted differences: %v", hits)
	for _, d := range differences {
		if hits[d.name] == 0 && d.name != "longer body than said" { // that one is a race
			t.Errorf("no case meets the difference %q", d.name)
		}
	}
}

// Section 4.1: bytes behind an answer never answer the next request, however they are cut.
func TestBytesBehindAnAnswerAreNobodysAnswer(t *testing.T) {
	s := newScripted(t)
	for _, rest := range []string{"x", "\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen", strings.Repeat("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 5)} {
		for _, first := range []string{okAnswer, "HTTP/1.1 204 No Content\r\n\r\n", ok11 + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"} {
			for _, answer := range [][]string{{first + rest}, {first, rest}} {
				tr := ours(s)
				o := run(t, s, tr, &exchangeCase{name: "leftover", method: "GET", answer: answer})
				if o.bad() || o.next != "200 next <nil>" {
					t.Errorf("%q: %s", answer, short(o))
				}
				tr.CloseIdleConnections()
				s.shut()
			}
		}
	}
}
