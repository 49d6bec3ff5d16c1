package proxy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ssogate/ssogate/proxy/canonical"
)

func compile(t *testing.T, specs ...RouteSpec) *Routes {
	t.Helper()
	for i := range specs {
		if specs[i].Upstream == "" {
			specs[i].Upstream = "http://127.0.0.1:1"
		}
		if specs[i].Origins == nil {
			specs[i].Origins = []string{"https://a.example"}
		}
	}
	r, err := Compile(specs, "https://sso.example")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func found(t *testing.T, r *Routes, host, target string) string {
	t.Helper()
	q, err := canonical.ParseTarget(target)
	if err != nil {
		t.Fatal(err)
	}
	st := r.at(host)
	if st == nil {
		return "no site"
	}
	rt, near := st.find(q)
	switch {
	case near:
		return "near"
	case rt == nil:
		return "none"
	}
	return rt.name
}

func TestLongestPrefixAtASegmentBoundaryWins(t *testing.T) {
	r := compile(t,
		RouteSpec{Name: "root"}, RouteSpec{Name: "a", PathPrefix: "/a"}, RouteSpec{Name: "ab", PathPrefix: "/a/b/"}, RouteSpec{Name: "café", PathPrefix: "/caf%C3%A9"},
		RouteSpec{Name: "only", Origins: []string{"http://b.example:8080"}, PathPrefix: "/x"},
	)
	for _, c := range []struct{ host, target, want string }{
		{"a.example", "/", "root"},
		{"a.example", "/a", "a"},
		{"a.example", "/a/", "a"},
		{"a.example", "/ab", "root"},
		{"a.example", "/a/b", "ab"},
		{"a.example", "/a/b/c/d", "ab"},
		{"a.example", "/a/bc", "a"},
		{"a.example:443", "/a/c", "a"},
		{"a.example", "/caf%c3%a9/x", "café"},
		{"a.example", "/x/a/b", "root"},
		{"b.example:8080", "/x/y", "only"},
		{"b.example:8080", "/", "none"},
		{"b.example:8080", "/xy", "none"},
		{"b.example", "/x", "no site"},
		{"a.example:80", "/", "no site"},
		{"a.example", "/A", "near"},
		{"a.example", "/a/B/c", "near"},
		{"a.example", "/a./b", "near"},
		{"a.example", "/Other", "root"},
		{"b.example:8080", "/X/y", "none"},
	} {
		if got := found(t, r, c.host, c.target); got != c.want {
			t.Errorf("%s%s goes to %s, want %s", c.host, c.target, got, c.want)
		}
	}
	if !r.Owns("A.example") || !r.Owns("a.example:443") || r.Owns("sso.example") || r.Owns("a.example.") || r.Owns("") {
		t.Error("Owns disagrees with the table")
	}
}

func TestCompileReportsEveryFault(t *testing.T) {
	ok := RouteSpec{Name: "ok", Origins: []string{"https://a.example"}, Upstream: "http://127.0.0.1:1"}
	bad := map[string]func(*RouteSpec){
		"name":                  func(s *RouteSpec) { s.Name = "" },
		"no origins":            func(s *RouteSpec) { s.Origins = nil },
		"gateway's own":         func(s *RouteSpec) { s.Origins = []string{"https://SSO.example:443"} },
		"neither http nor":      func(s *RouteSpec) { s.Origins = []string{"ftp://a.example"} },
		"not scheme":            func(s *RouteSpec) { s.Origins = []string{"https://a.example/path"} },
		"told apart":            func(s *RouteSpec) { s.Origins = []string{"http://a.example", "https://a.example"} },
		"host_syntax":           func(s *RouteSpec) { s.Origins = []string{"https://a.example."} },
		"more than scheme":      func(s *RouteSpec) { s.Upstream = "http://127.0.0.1:1/base" },
		"is none of http:":      func(s *RouteSpec) { s.Upstream = "127.0.0.1:1" },
		"reserved":              func(s *RouteSpec) { s.PathPrefix = "/.SSO" },
		"target_dot_segment":    func(s *RouteSpec) { s.PathPrefix = "/a/../b" },
		"ending in /*":          func(s *RouteSpec) { s.Public = []string{"/a*"} },
		"ending in /*: middle":  func(s *RouteSpec) { s.Public = []string{"/*/a"} },
		"outside of the route":  func(s *RouteSpec) { s.PathPrefix, s.Public = "/a", []string{"/ab"} },
		"reserved: public":      func(s *RouteSpec) { s.Public = []string{"/.sso/*"} },
		"ending in /*: empty":   func(s *RouteSpec) { s.Public = []string{""} },
		"target_empty_segment":  func(s *RouteSpec) { s.Public = []string{"//x"} },
		"taken by route: twice": func(s *RouteSpec) { s.Origins = []string{"https://a.example", "https://a.example:443"} },
	}
	for want, spoil := range bad {
		s := ok
		spoil(&s)
		_, err := Compile([]RouteSpec{s}, "https://sso.example")
		want, _, _ = strings.Cut(want, ": ")
		want = strings.TrimSuffix(want, " route")
		if err == nil || !strings.Contains(err.Error(), want) && want != "taken by" {
			t.Errorf("want a fault with %q, got %v", want, err)
		}
	}
	twice := ok
	twice.Name, twice.PathPrefix = "two", "/OK"
	three := ok
	three.Name, three.PathPrefix = "three", "/ok/"
	if _, err := Compile([]RouteSpec{ok, twice, three, ok}, "nonsense"); err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("prefixes that differ by case only, a name twice and a bad gateway are three faults: %v", err)
	}
}

func isPublic(rt *Route, q canonical.Request) bool {
	q.Method = "GET"
	d, _ := rt.before(q, facts{})
	return d.Verdict == Public
}

func TestPublicMatchesExactly(t *testing.T) {
	r := compile(t, RouteSpec{Name: "app", PathPrefix: "/app", Public: []string{"/app/p/*", "/app/x", "/app", "/app/s%20p"}})
	for target, want := range map[string]bool{
		"/app": true, "/app/x": true, "/app/p/": true, "/app/p/q/r": true, "/app/s%20p": true, "/app/x?y": true,
		"/app/": false, "/app/x/": false, "/app/p": false, "/app/px": false, "/app/X": false, "/app/y?/app/x": false,
	} {
		q, err := canonical.ParseTarget(target)
		if err != nil {
			t.Fatal(err)
		}
		if got := isPublic(r.sites["a.example"].paths.routes["/app"], q); got != want {
			t.Errorf("%s public: %t, want %t", target, got, want)
		}
	}
	all := compile(t, RouteSpec{Name: "open", Public: []string{"/*"}})
	q, _ := canonical.ParseTarget("/anything")
	if !isPublic(all.sites["a.example"].paths.routes[""], q) {
		t.Error("/* is everything")
	}
}

func BenchmarkFindAmong1000Routes(b *testing.B) {
	for _, n := range []int{1, 1000} {
		specs := make([]RouteSpec, n)
		for i := range specs {
			specs[i] = RouteSpec{Name: fmt.Sprint("r", i), Origins: []string{"https://a.example"}, PathPrefix: fmt.Sprintf("/app%d", i), Upstream: "http://127.0.0.1:1"}
		}
		r, err := Compile(specs, "https://sso.example")
		if err != nil {
			b.Fatal(err)
		}
		q, _ := canonical.ParseTarget("/app0/some/page/deep")
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.sites["a.example"].find(q)
			}
		})
	}
}
