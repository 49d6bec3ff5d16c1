package canonical

import (
	"errors"
	"math/rand/v2"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func lenientTarget(target string) (Request, error) { return ParseParts("GET", "a", target) }

func TestALenientPathHasAllItsReadings(t *testing.T) {
	for _, c := range []struct {
		target string
		used   Leniency
		want   []string // the first is what it says
	}{
		{"/a/b", 0, []string{"/a/b"}},
		{"/caf%C3%A9", 0, []string{"/café"}},
		{"/api/projects/group%2fname", EncodedSlash, []string{"/api/projects/group%2Fname", "/api/projects/group/name"}},
		{"/a%2F%2Fb", EncodedSlash, []string{"/a%2F%2Fb", "/a//b", "/a/b"}},
		{"/page;jsessionid=1", PathParameters, []string{"/page;jsessionid=1", "/page"}},
		{"/a;x=1/b;y", PathParameters, []string{"/a;x=1/b;y", "/a/b", "/a"}},
		{"/a%3Bb.pdf", PathParameters, []string{"/a%3Bb.pdf", "/a;b.pdf", "/a"}},
		{"/a//b", EmptySegments, []string{"/a//b", "/a/b"}},
		{"//admin", EmptySegments, []string{"//admin", "/admin"}},
		{"/a///", EmptySegments, []string{"/a///", "/a/"}},
		{"/%61dmin", NeedlessEscapes, []string{"/admin", "/%61dmin"}},
		{"/%61/caf%C3%A9", NeedlessEscapes, []string{"/a/café", "/%61/café"}},
		{"/a;x=%2Fadmin", EncodedSlash | PathParameters, []string{"/a;x=%2Fadmin", "/a;x=/admin", "/a", "/a/admin"}},
		{"/;/admin", PathParameters, []string{"/;/admin", "//admin", "/admin", "/"}},
	} {
		q, err := lenientTarget(c.target)
		if err != nil {
			t.Errorf("%s: %v", c.target, err)
			continue
		}
		got, want := slices.Sorted(slices.Values(q.Readings())), slices.Sorted(slices.Values(c.want))
		if q.Used() != c.used || q.Match != c.want[0] || q.Target() != c.target || !slices.Equal(got, want) {
			t.Errorf("%s: uses %b, says %q, and could be %q; want %b, %q", c.target, q.Used(), q.Match, q.Readings(), c.used, c.want)
		}
		_, err = ParseTarget(c.target)
		if (err == nil) != (c.used == 0) {
			t.Errorf("%s: without liberties %v", c.target, err)
		}
	}
}

// P01: a liberty allows its own form and nothing that resolves to somewhere else.
func TestNoLeniencyOpensAnotherPath(t *testing.T) {
	for _, target := range []string{
		"/public/..%2fadmin", "/public/%2e%2e%2fadmin", "/public%2F..%2Fadmin", "/public/..;/admin", "/public/..;x=1/admin", "/public/..%3b/admin", "/public/.;/admin", "/a%2f.%2fb",
		"/public/;/../admin", "/public//../admin", "/a%2f%2e", "/a/..%2f", "/..%2f", "/a;/..;b/c", "/a;x=../b", "/public/%252e%252e/admin", "/a%252fb", "/a%25%32%46b", "/%2%35", "/a%5cb", `/a\b`,
		"/a%00b", "/a%01", "/%25%36%31", "/a/%2e/b", "/a;%2f../b", "/a;/%2e%2e/b", "/a%2f..;x/b", "/a%2f..%23", "/a/..%2f%2f", "/a%20", "/..%20;x/a", "/a#;", "/a%c0%af",
		"/" + strings.Repeat("a;", 1500),
	} {
		q, err := lenientTarget(target)
		if target == "/a%20" {
			if err != nil {
				t.Errorf("benign: %v", err)
			}
			continue
		}
		var no *Refusal
		if err == nil || !errors.As(err, &no) {
			if target == "/a;x=../b" {
				continue // "x=.." is no dot segment to anybody
			}
			t.Errorf("%s is %q", target, q.Readings())
		}
	}
	for _, target := range []string{"/.sso;/x", "//.sso/x", "/;/.sso/x", "/.sso%2fx", "/.s%73o/x", "/.sso/;x", "/.SSO;a/x", "/.sso//x", "/.sso/a%2fb"} {
		q, err := lenientTarget(target)
		if err == nil && (q.Reserved() || !q.NearReserved()) {
			t.Errorf("P06 %s: reserved %t, near %t", target, q.Reserved(), q.NearReserved())
		}
	}
}

// servers are readers of paths, by what their sources do. None knows of liberties.
var servers = map[string]func(raw string) string{
	"raw":                      keepSlash,
	"nginx":                    func(p string) string { return clean(merge(decode(p))) },
	"apache, slashes on":       func(p string) string { return clean(merge(decode(p))) },
	"apache, slashes kept":     func(p string) string { return clean(merge(keepSlash(p))) },
	"tomcat":                   func(p string) string { return clean(merge(decode(cut(p)))) },
	"tomcat, slashes kept":     func(p string) string { return clean(merge(keepSlash(cut(p)))) },
	"jetty, no merging":        func(p string) string { return clean(decode(cut(p))) },
	"decodes, then cuts":       func(p string) string { return clean(merge(cut(decode(p)))) },
	"cuts all":                 func(p string) string { first, _, _ := strings.Cut(p, ";"); return clean(decode(first)) },
	"decodes, cuts all":        func(p string) string { first, _, _ := strings.Cut(decode(p), ";"); return clean(first) },
	"merges before it cuts":    func(p string) string { return clean(decode(cut(merge(p)))) },
	"normalises before":        func(p string) string { return decode(clean(p)) },
	"decodes only what it may": func(p string) string { return keepBoth(p) },
}

func decode(p string) string {
	d, err := url.PathUnescape(p)
	if err != nil {
		return p
	}
	return d
}

var slashes, semicolons = regexp.MustCompile(`(?i)%2f`), regexp.MustCompile(`(?i)%3b`)

func keepSlash(p string) string {
	parts := slashes.Split(p, -1)
	for i := range parts {
		parts[i] = decode(parts[i])
	}
	return strings.Join(parts, "%2F")
}

func keepBoth(p string) string {
	parts := semicolons.Split(p, -1)
	for i := range parts {
		parts[i] = keepSlash(parts[i])
	}
	return strings.Join(parts, "%3B")
}

func merge(p string) string { return regexp.MustCompile(`/+`).ReplaceAllString(p, "/") }

func cut(p string) string { return regexp.MustCompile(`;[^/]*`).ReplaceAllString(p, "") }

// clean resolves dot segments and nothing else.
func clean(p string) string {
	var out []string
	for _, s := range strings.Split(p, "/")[1:] {
		switch s {
		case ".":
		case "..":
			out = out[:max(len(out)-1, 0)]
		default:
			out = append(out, s)
		}
	}
	return "/" + strings.Join(out, "/")
}

// Whatever a path is made of: if it passes with liberties, then what any of the servers
// takes it for is one of its readings, so that rules were asked about it.
func TestEveryServersReadingIsAmongTheReadings(t *testing.T) {
	pieces := []string{"a", "admin", "public", "/", "/", "/", "//", "%2f", "%2F", ";", ";x=1", "%3b", "%3B", "..", ".", "%61", "%41", "é", "%C3%A9", "%20", "%23", "%25", "~", "-", "=", "%2e", "..;", "%5c"}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	passed := 0
	for range 30000 {
		target := "/"
		for range 1 + rnd.IntN(8) {
			target += pieces[rnd.IntN(len(pieces))]
		}
		q, err := lenientTarget(target)
		if err != nil {
			continue
		}
		if q.Used() != 0 {
			passed++
		}
		for name, server := range servers {
			if got := server(q.Path); !slices.Contains(q.Readings(), got) {
				t.Fatalf("%s: %s serves %q, which is none of %q", target, name, got, q.Readings())
			}
		}
	}
	if passed < 1000 {
		t.Errorf("only %d paths took liberties", passed)
	}
}

func FuzzLenientTarget(f *testing.F) {
	for _, s := range []string{"/a%2fb", "/a;b", "//a", "/%61", "/a%3b..", "/..;/a", "/a%25%32%46", "/;//;%2f;"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, target string) {
		q, err := lenientTarget(target)
		if err != nil {
			return
		}
		if strict, err := ParseTarget(target); (err == nil) != (q.Used() == 0) || err == nil && strict.Match != q.Match {
			t.Fatalf("%q uses %b, and without liberties %v", target, q.Used(), err)
		}
		if q.Target() != target || len(q.Readings()) > maxReadings+len(steps) || q.Readings()[0] != q.Match {
			t.Fatalf("%q: %q, %q", target, q.Target(), q.Readings())
		}
		for _, p := range q.Readings() {
			if p == "" || p[0] != '/' || strings.ContainsAny(p, "\x00\x01") || clean(p) != p && clean(p)+"/" != p {
				t.Fatalf("%q could be %q", target, p)
			}
		}
	})
}
