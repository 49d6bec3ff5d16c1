package canonical

import (
	"bufio"
	"errors"
	"net/http"
	"strings"
	"testing"
)

// Every row first shows that its benign twin passes: a parser that refuses
// everything would pass the rest.
func TestBenignTargetsAreAcceptedUnchanged(t *testing.T) {
	for _, c := range []struct{ target, match string }{
		{"/", "/"},
		{"/a/b", "/a/b"},
		{"/a/b/", "/a/b/"},
		{"/a?", "/a"},
		{"/a?b=1;c=2&d=100%&e=/../x//y", "/a"},
		{"/caf%C3%A9/a%20b", "/café/a b"},
		{"/caf%c3%a9", "/café"},
		{"/wiki/C%23_and_What%3F", "/wiki/C#_and_What?"},
		{"/wiki/%23/%3F/a..%23b/...%23/..a%20", "/wiki/#/?/a..#b/...#/..a "},
		{"/~user/%7Euser/a-b_c.d/...", "/~user/~user/a-b_c.d/..."},
		{"/100%25", "/100%"},
		{"/100%25.txt", "/100%.txt"},
		{"/:@!$&'()*+,=[]|", "/:@!$&'()*+,=[]|"},
		{"/.well-known/x", "/.well-known/x"},
		{"/a..b/..c/d..", "/a..b/..c/d.."},
	} {
		q, err := ParseTarget(c.target)
		if err != nil {
			t.Errorf("%s: refused (%v); an ordinary browser or client sends this", c.target, err)
			continue
		}
		if q.Target() != c.target {
			t.Errorf("%s: would be forwarded as %q; what was decided about must be what is forwarded (G3)", c.target, q.Target())
		}
		if q.Match != c.match {
			t.Errorf("%s: rules see %q, want %q", c.target, q.Match, c.match)
		}
	}
}

func TestTargetsWithTwoReadingsAreRefused(t *testing.T) {
	for _, c := range []struct {
		row, target string
		why         Reason
	}{
		{"P01 dot segment", "/public/../admin", DotSegment},
		{"P01 dot at end", "/public/..", DotSegment},
		{"P01 single dot", "/./admin", DotSegment},
		{"P01 single dot at end", "/admin/.", DotSegment},
		{"P01 dots before an encoded fragment", "/public/..%23", DotSegment},
		{"P01 dots before an encoded fragment and more", "/public/..%23x/admin", DotSegment},
		{"P01 dot before an encoded fragment", "/public/.%23", DotSegment},
		{"P01 dots before an encoded query", "/public/..%3Fx", DotSegment},
		{"P01 dots and a space, as Windows reads them", "/public/..%20/admin", DotSegment},
		{"P01 a space and dots", "/public/%20..%20%23/admin", DotSegment},
		{"P01 encoded dots", "/public/%2e%2e/admin", HiddenByte},
		{"P01 half-encoded dots", "/public/.%2E/admin", HiddenByte},
		{"P01 encoded slash", "/public/..%2fadmin", HiddenByte},
		{"P01 encoded slash upper", "/public%2Fadmin", HiddenByte},
		{"P01 encoded backslash", "/public/..%5cadmin", HiddenByte},
		{"P01 backslash", `/public/..\admin`, BadByte},
		{"P01 parameter", "/public/..;/admin", PathParameter},
		{"P01 parameter with value", "/admin;jsessionid=1", PathParameter},
		{"P01 encoded parameter", "/public/..%3b/admin", HiddenByte},
		{"P01 double slash", "//admin", EmptySegment},
		{"P01 double slash inside", "/public//admin", EmptySegment},
		{"P01 double slash at end", "/public//", EmptySegment},
		{"P01 double encoding", "/public/%252e%252e/admin", DoubleEscape},
		{"P01 needless escape", "/%61dmin", NeedlessEsc},
		{"P01 needless digit", "/v%31", NeedlessEsc},
		{"P01 overlong slash", "/public/..%c0%afadmin", NotUTF8},
		{"P01 surrogate", "/%ed%a0%80", NotUTF8},
		{"P01 lone continuation", "/%80", NotUTF8},
		{"P02 raw fragment", "/admin#/public", BadByte},
		{"P02 fragment in query", "/admin?x#/public", BadByte},
		{"P03 NUL", "/public%00", HiddenByte},
		{"P03 newline", "/public%0a", HiddenByte},
		{"P03 DEL", "/public%7f", HiddenByte},
		{"P03 C1 control", "/public%c2%85", HiddenByte},
		{"P03 line separator", "/public%e2%80%a8", HiddenByte},
		{"P04 absolute-form", "http://evil.example/admin", AbsoluteForm},
		{"P04 authority-form", "app.example.com:443", AbsoluteForm},
		{"P04 asterisk", "*", AbsoluteForm},
		{"empty", "", AbsoluteForm},
		{"raw space", "/a b", BadByte},
		{"raw tab", "/a\tb", BadByte},
		{"raw control in query", "/a?\x01", BadByte},
		{"raw UTF-8", "/café", BadByte},
		{"raw UTF-8 in query", "/a?é", BadByte},
		{"cut escape", "/a%2", BadEscape},
		{"no hex", "/a%zz", BadEscape},
		{"IIS unicode", "/a%u002e", BadEscape},
		{"quote", `/a"b`, BadByte},
		{"braces", "/{a}", BadByte},
		{"T06 long target", "/?" + strings.Repeat("a", MaxTarget), TooLong},
		{"T06 long path", "/" + strings.Repeat("a", MaxPath), TooLong},
	} {
		t.Run(c.row, func(t *testing.T) {
			q, err := ParseTarget(c.target)
			var no *Refusal
			if !errors.As(err, &no) {
				t.Fatalf("%.60q accepted as path %q: another server may read it differently", c.target, q.Path)
			}
			if no.Reason != c.why {
				t.Errorf("%.60q refused because of %s, want %s", c.target, no.Reason, c.why)
			}
			if no.Status != 400 && no.Status != 414 {
				t.Errorf("status %d", no.Status)
			}
		})
	}
}

// The property behind P01: whatever is put between two harmless segments, the
// accepted path never holds a segment that a decoder or resolver could move.
func TestP01NoAcceptedPathMovesWhenDecodedAgain(t *testing.T) {
	pieces := []string{".", "..", "%2e", "%2E", "/", "%2f", `\`, "%5c", ";", "%3b", "%25", "2e", "2f", "%", "a", "%00", "?", "#", " ", "%20", "%c0", "%ae", "%ef%bc%8f"}
	var walk func(prefix string, depth int)
	walk = func(prefix string, depth int) {
		target := "/public/" + prefix + "/admin"
		if q, err := ParseTarget(target); err == nil {
			path := q.Path
			for range 3 { // applications that decode up to three times
				path = lenientDecode(path)
				for seg := range strings.SplitSeq(strings.ReplaceAll(path, `\`, "/"), "/") {
					if cut, _, _ := strings.Cut(seg, ";"); cut == ".." || cut == "." {
						t.Errorf("%q accepted, but decoding again gives %q", target, path)
					}
				}
			}
		}
		if depth == 0 {
			return
		}
		for _, p := range pieces {
			walk(prefix+p, depth-1)
		}
	}
	walk("", 3)
}

func lenientDecode(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]) {
			b.WriteByte(unhex(s[i+1])<<4 | unhex(s[i+2]))
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func TestP04T03HostSyntax(t *testing.T) {
	for in, want := range map[string]string{
		"app.example.com":      "app.example.com",
		"APP.Example.COM":      "app.example.com",
		"app.example.com:8443": "app.example.com:8443",
		"localhost:8080":       "localhost:8080",
		"127.0.0.1:8080":       "127.0.0.1:8080",
		"[::1]:8080":           "[::1]:8080",
		"[::1]":                "[::1]",
		"my_host":              "my_host",
	} {
		if got, err := Host(in); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", ".", "app.example.com.", "a..b", "user@app.example.com", "user:pw@app", "app:", "app:0", "app:080", "app:65536", "app:80:80",
		"app:8o", "app/", "app?x", "app#", "app, evil", "app evil", "app%2eexample", "[::1", "::1", "[::1]x", "[fe80::1%25eth0]", "[fe80::1%eth0]", "[0:0:0:0:0:0:0:1]", "[127.0.0.1]",
		"apｐ", "app\x00", "app\tb", strings.Repeat("a", 64) + ".com", strings.Repeat("a.", 200) + "com", "*.example.com", "app\\evil", "app;x",
	} {
		if got, err := Host(in); err == nil {
			t.Errorf("%q accepted as %q: another server may read another host", in, got)
		}
	}
}

func TestP08MethodsOutsideTheListAreRefused(t *testing.T) {
	for _, m := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "MKCOL", "VERSION-CONTROL"} {
		if _, err := Parse(&http.Request{Method: m, Host: "a", RequestURI: "/"}); err != nil {
			t.Errorf("%s: %v", m, err)
		}
	}
	for _, m := range []string{"TRACE", "CONNECT", "TRACK", "get", "Get", "PRI", "", "-", "PROP_FIND", "GET\x00", "M1", strings.Repeat("A", 25)} {
		_, err := Parse(&http.Request{Method: m, Host: "a", RequestURI: "/"})
		var no *Refusal
		if !errors.As(err, &no) || no.Status != 405 {
			t.Errorf("%q: %v, want 405", m, err)
		}
	}
}

func TestP06SpellingsNearOurPrefix(t *testing.T) {
	for path, want := range map[string]string{
		"/.sso/": "ours", "/.sso/complete": "ours", "/.sso/x/y": "ours",
		"/.sso": "near", "/.SSO": "near", "/.SSO/complete": "near", "/.Sso/": "near", "/.sso%20/": "near", "/.sso./x": "near",
		"/.s%C5%BFo/x": "near", "/%EF%BC%8Esso": "near", "/.%EF%BD%93so/": "near", "/.s%E2%80%8Bso/": "near", "/.%CD%8Fsso/": "near",
		"/sso/": "app", "/.ssox": "app", "/.ss": "app", "/a/.sso/": "app", "/": "app", "/x.sso/": "app",
	} {
		q, err := ParseTarget(path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		got := "app"
		switch {
		case q.Reserved():
			got = "ours"
		case q.NearReserved():
			got = "near"
		}
		if got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"/", "/a?b", "/%2e", "/a;b", "//", "/a/../b", "/caf%C3%A9?x#", "/%25%32%65", "*", "/.sso/x", "/a|b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, target string) {
		q, err := ParseTarget(target)
		if err != nil {
			var no *Refusal
			if !errors.As(err, &no) || no.Status < 400 {
				t.Fatalf("untyped refusal %v", err)
			}
			return
		}
		if q.Target() != target {
			t.Fatalf("%q forwarded as %q", target, q.Target())
		}
		// What net/http reads from those very bytes is what we read.
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n")))
		if err != nil {
			t.Fatalf("%q accepted, but net/http refuses it: %v", target, err)
		}
		if r.URL.Path != q.Match || r.URL.RawQuery != q.Query {
			t.Fatalf("%q: net/http reads path %q query %q, we %q %q", target, r.URL.Path, r.URL.RawQuery, q.Match, q.Query)
		}
		again, err := ParseTarget(q.Target())
		if err != nil || again != q {
			t.Fatalf("%q reads differently the second time", target)
		}
	})
}

func FuzzHost(f *testing.F) {
	for _, s := range []string{"a", "A:1", "[::1]:2", "a..b", "u@h", "[fe80::1%25a]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		h, err := Host(raw)
		if err != nil {
			return
		}
		if h != strings.ToLower(raw) || strings.ContainsAny(h, "@/\\?#% ,;\r\n\t\x00") {
			t.Fatalf("%q accepted as %q", raw, h)
		}
		if again, err := Host(h); err != nil || again != h {
			t.Fatalf("%q is not stable", h)
		}
	})
}
