package h1

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
)

// generated is how many exchanges are made up in an ordinary run.
const generated = 4000

// gen makes up one exchange.
type gen struct {
	*rand.Rand
	k *exchangeCase
}

func (g gen) one(list ...string) string { return list[g.IntN(len(list))] }

func (g gen) chance(p float64) bool { return g.Float64() < p }

func (g gen) text(most int) string {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789 \r\n:%;"
	b := make([]byte, g.IntN(most+1))
	for i := range b {
		b[i] = letters[g.IntN(len(letters))]
	}
	return string(b)
}

func generate(r *rand.Rand) *exchangeCase {
	g := gen{r, &exchangeCase{}}
	k := g.k
	k.method = g.one("GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
	k.target = g.one("/", "/a%2Fb;c?x=1;y=%00", "/a//b/../c", "/?", "/%zz")
	k.header = http.Header{}
	if g.chance(.3) {
		k.header["X-Odd"] = []string{"a", "", " spaced "}[:1+g.IntN(3)]
	}
	if g.chance(.2) {
		k.header["User-Agent"] = []string{"test"}
	}
	if k.method == "POST" || k.method == "PUT" || k.method == "PATCH" || g.chance(.1) {
		g.requestBody()
	}
	var out strings.Builder
	for range g.IntN(3) * g.IntN(2) {
		fmt.Fprintf(&out, "HTTP/1.1 %s\r\n%s\r\n", g.one("100 Continue", "103 Early Hints", "102 Processing"), g.one("", "Link: </a>\r\n"))
	}
	g.response(&out)
	k.answer = g.pieces(out.String())
	return k
}

func (g gen) requestBody() {
	g.k.body = strings.Repeat("b", g.IntN(5)*g.IntN(2000))
	g.k.length = int64(len(g.k.body))
	if g.chance(.4) {
		g.k.length = -1
	}
}

// response writes the final answer: a status, fields, and a body framed in one of the ways.
func (g gen) response(out *strings.Builder) {
	k := g.k
	proto := g.one("HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0")
	status := g.one("200 OK", "200", "201 Created", "204 No Content", "304 Not Modified", "404 Not Found", "500 Oh No ", "302 Found", "299 ")
	body := strings.Repeat(g.text(40), g.IntN(60))
	fmt.Fprintf(out, "%s %s\r\n", proto, status)
	for range g.IntN(6) {
		fmt.Fprintf(out, "%s:%s%s%s\r\n", g.one("X-A", "x-b", "SET-COOKIE", "Set-Cookie", "Date", "Etag", "X_under", "Vary"),
			g.one("", " ", "  ", "\t"), g.one("v", "a=1; path=/", "", "two words", "caf\xc3\xa9"), g.one("", " ", "\t"))
	}
	if g.chance(.15) {
		fmt.Fprintf(out, "Connection: %s\r\n", g.one("close", "keep-alive", "Keep-Alive, X-A", "Close"))
	}
	bodiless := k.method == "HEAD" || strings.HasPrefix(status, "204") || strings.HasPrefix(status, "304")
	switch framing := g.IntN(4); {
	case bodiless && framing < 2:
		out.WriteString(g.one("", "Content-Length: 0\r\n"))
		if k.method == "HEAD" && g.chance(.5) {
			fmt.Fprintf(out, "Content-Length-Hint: x\r\n")
		}
		out.WriteString("\r\n")
	case bodiless:
		out.WriteString("\r\n")
	case framing == 0 && proto == "HTTP/1.1":
		g.chunked(out, body)
	case framing == 1:
		k.end = closeIt
		out.WriteString("\r\n" + body)
	default:
		fmt.Fprintf(out, "Content-Length: %d\r\n\r\n%s", len(body), body)
		if g.chance(.1) && len(body) > 0 {
			g.cut(out, 1+g.IntN(len(body)))
		}
	}
}

// cut takes bytes off the end: a body that is shorter than it said.
func (g gen) cut(out *strings.Builder, n int) {
	s := out.String()
	out.Reset()
	out.WriteString(s[:len(s)-n])
	g.k.end = []ending{closeIt, resetIt}[g.IntN(2)]
	g.k.tags = append(g.k.tags, "short body")
}

func (g gen) chunked(out *strings.Builder, body string) {
	trailers := g.chance(.3)
	if trailers && g.chance(.7) {
		out.WriteString("Trailer: X-Sum, X-T\r\n")
	}
	fmt.Fprintf(out, "%s: %s\r\n\r\n", g.one("Transfer-Encoding", "transfer-encoding"), g.one("chunked", "chunked", "Chunked"))
	for body != "" {
		n := min(len(body), 1+g.IntN(300))
		fmt.Fprintf(out, "%s%s\r\n%s\r\n", g.one(fmt.Sprintf("%x", n), fmt.Sprintf("%X", n), fmt.Sprintf("0%x", n)), g.one("", "", "", ";a=b"), body[:n])
		body = body[n:]
	}
	if g.chance(.1) {
		g.k.end = closeIt // without the last chunk
		g.k.tags = append(g.k.tags, "short body")
		return
	}
	out.WriteString("0\r\n")
	if trailers {
		out.WriteString("X-Sum: 1\r\nX-T: a\r\nX-T: b\r\n")
	}
	out.WriteString("\r\n")
}

// pieces splits an answer into writes.
func (g gen) pieces(s string) []string {
	var out []string
	for range g.IntN(4) {
		if len(s) < 2 {
			break
		}
		n := 1 + g.IntN(len(s)-1)
		out = append(out, s[:n])
		s = s[n:]
	}
	return append(out, s)
}
