package proxy

import (
	"bufio"
	"context"
	"math/rand/v2"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/proxy/canonical"
)

// legacy is a rig whose application needs these forms of paths and methods.
func legacy(t *testing.T, forms, methods []string) *rig {
	t.Helper()
	return newRig(t, func(c *rigConfig) {
		c.specs = []RouteSpec{
			{
				Name: "app", Origins: []string{"https://" + appHost}, Lenient: forms, Methods: methods,
				Access: []RuleSpec{
					{Name: "open", Paths: []string{"/public/*"}, Allow: AllowPublic},
					{Name: "dav", Paths: []string{"/dav/*"}, Methods: []string{"OPTIONS", "PROPFIND"}, Allow: AllowPublic},
					{Name: "secret", Paths: []string{"/files/secret/*", "/files/caf%C3%A9/*"}, Allow: AllowMembers, Teams: []string{"finance"}},
					{Name: "closed", Paths: []string{"/files/closed/*"}},
					{Name: "rest", Allow: AllowMembers},
				},
			},
			{Name: "admin", Origins: []string{"https://" + appHost}, PathPrefix: "/admin", Teams: []string{"finance"}},
		}
	})
}

// P01: an application that needs a form gets it by name, as it was sent, and nothing
// else changes.
func TestFormsOfPathsAreAllowedByName(t *testing.T) {
	all := canonical.Leniencies()
	targets := map[string][]string{
		"encoded_slash":    {"/projects/group%2Fname", "/projects/group%2fname?x=%2F", "/x/http:%2F%2Fhost%2F"},
		"path_parameters":  {"/page;jsessionid=1?x", "/a;x=1/b;y", "/files/a%3Bb.pdf"},
		"empty_segments":   {"/a//b", "/proxy/http://host/x", "//"},
		"needless_escapes": {"/%41%62c", "/v%31/x"},
	}
	for _, form := range all {
		r := legacy(t, []string{form}, nil)
		if res := r.get("/plain", as("ana")); res.StatusCode != 200 {
			t.Fatalf("benign: %d", res.StatusCode)
		}
		r.app.reset()
		for _, other := range all {
			for _, target := range targets[other] {
				res := r.get(target, as("ana"))
				if other == form {
					if res.StatusCode != 200 || r.one().target != target {
						t.Errorf("%s with %s: %d, the application sees %v", target, form, res.StatusCode, r.app.requests())
					}
				} else if res.StatusCode != 400 || !res.Close || len(r.app.requests()) != 0 {
					t.Errorf("%s with %s: %d, the application sees %v", target, form, res.StatusCode, r.app.requests())
				}
				r.app.reset()
			}
		}
	}
	r := legacy(t, nil, nil)
	for form, list := range targets {
		for _, target := range list {
			for _, who := range []string{as("ana"), "X: y"} {
				if res := r.get(target, who); res.StatusCode != 400 {
					t.Errorf("%s, for which %s was not allowed: %d", target, form, res.StatusCode)
				}
			}
		}
	}
	r.none("nothing was allowed")
}

// P01, P03: the rules hold for everything that some server takes the path for.
func TestEveryReadingMustPass(t *testing.T) {
	r := legacy(t, canonical.Leniencies(), nil)
	for _, c := range []struct {
		target   string
		ana, ben int // in the team or not
		why      string
	}{
		{"/files/x", 200, 200, "benign"},
		{"/files/a%2Fb", 200, 200, "benign, with its liberty"},
		{"/files/secret/x", 403, 200, "benign, with its team"},
		{"/files/secret%2Fx", 403, 200, "a slash to some"},
		{"/files%2Fsecret%2Fx", 403, 200, "all of them slashes to some"},
		{"/files/secret;v=1/x", 403, 200, "cut at the semicolon by some"},
		{"/files/secret%3Bv=1/x", 403, 200, "decoded and then cut by some"},
		{"/files//secret//x", 403, 200, "merged by some"},
		{"//files/secret/x", 403, 200, "merged by some"},
		{"/files/%73ecret/x", 403, 200, "decoded by all but some"},
		{"/files/%73ecret%2fx;y", 403, 200, "all at once"},
		{"/files/x;/secret/y", 200, 200, "a parameter holds no slash"},
		{"/files/x;a=%2Fsecret%2Fy", 200, 200, "below x in every reading"},
		{"/files/;a=%2F/secret/y", 403, 200, "the parameter is all of its segment"},
		{"/files/CAF%C3%89%2Fx", 403, 200, "folded as well"},
		{"/files/closed%2Fx", 403, 403, "closed to everybody, in one reading"},
		{"/files/closed;x", 403, 403, "the directory itself, in one reading"},
		{"/admin/x", 403, 200, "benign, another route"},
		{"/admin%2Fx", 404, 404, "another route, to some"},
		{"/x;/../admin", 400, 400, "dots resolve, whatever is allowed"},
		{"//admin", 404, 404, "another route, to some"},
		{"/;/admin", 404, 404, "another route, to some"},
		{"/admin;x/y", 404, 404, "another route, to some"},
		{"/%61dmin", 400, 400, "a route that allows nothing, by what it says"},
		{"/admin/a;b", 400, 400, "the other route allows nothing"},
		{"/files/..%2Fadmin", 400, 400, "dots resolve"},
		{"/files/..;/admin", 400, 400, "dots resolve"},
		{"/files/a%5Cb", 400, 400, "there is no name for a backslash"},
		{"/.sso%2Fx", 404, 404, "P06: ours, to some"},
		{"/.sso/;x", 404, 404, "P06: ours, with a liberty"},
		{"//.sso/x", 404, 404, "P06: ours, to some"},
		{"/;x/.sso/", 404, 404, "P06: ours, to some"},
	} {
		for who, want := range map[string]int{"ana": c.ana, "ben": c.ben} {
			r.app.reset()
			res := r.get(c.target, as(who))
			if res.StatusCode != want {
				t.Errorf("%s as %s: %d, want %d: %s", c.target, who, res.StatusCode, want, c.why)
			}
			if got := r.app.requests(); len(got) != 0 && (want != 200 || got[0].target != c.target) {
				t.Errorf("%s as %s: the application saw %s: %s", c.target, who, got[0].target, c.why)
			}
			e := r.gate.Explain(Question{Method: "GET", Host: appHost, Target: c.target, Principal: r.sessions.by[who], Now: time.Now()})
			if (e.Verdict == Admit) != (want == 200) {
				t.Errorf("%s as %s is explained as %q, %s", c.target, who, e.Verdict, e.Because)
			}
		}
	}
}

// P01: a path with a liberty is never public.
func TestNoLibertyIsPublic(t *testing.T) {
	r := legacy(t, canonical.Leniencies(), nil)
	if res := r.get("/public/x"); res.StatusCode != 200 {
		t.Fatalf("benign: %d", res.StatusCode)
	}
	r.app.reset()
	for _, target := range []string{"/public/a%2Fb", "/public/a;b", "/public//a", "/public/%61", "/public/a%3bb", "/public;x/a", "/%70ublic/a"} {
		if res := r.get(target); res.StatusCode != 401 {
			t.Errorf("%s without a session: %d", target, res.StatusCode)
		}
		if res := r.get(target, navigate); res.StatusCode != 302 {
			t.Errorf("%s opened in a browser: %d", target, res.StatusCode)
		}
		r.none("it has no session")
		if res := r.get(target, as("ana")); res.StatusCode != 200 {
			t.Errorf("%s with a session: %d", target, res.StatusCode)
		}
		r.app.reset()
	}
}

// P08: methods that are named pass, and open nothing that was not meant for them.
func TestP08MethodsAreAllowedByName(t *testing.T) {
	r := legacy(t, nil, []string{"GET", "POST", "OPTIONS", "PROPFIND", "REPORT", "MKCOL"})
	for _, c := range []struct {
		method, target, who string
		want                int
	}{
		{"GET", "/x", "ana", 200},
		{"PROPFIND", "/x", "ana", 200},
		{"REPORT", "/files/x", "ana", 200},
		{"MKCOL", "/files/secret/x", "ana", 403},
		{"MKCOL", "/files/secret/x", "ben", 200},
		{"GET", "/public/x", "", 200},
		{"PROPFIND", "/public/x", "", 401}, // the rule does not name it
		{"PROPFIND", "/public/x", "ana", 200},
		{"PROPFIND", "/dav/x", "", 200},
		{"REPORT", "/dav/x", "", 401},
		{"PUT", "/x", "ana", 405}, // the list is the whole list
		{"LOCK", "/x", "ana", 405},
		{"propfind", "/x", "ana", 405},
		{"TRACE", "/x", "ana", 405},
		{"CONNECT", "/x", "ana", 405},
		{"PROPFIND", "/admin/x", "ben", 405}, // another route
		{"PROPFIND", "/.sso/whoami", "ana", 405},
	} {
		r.app.reset()
		var lines []string
		if c.who != "" {
			lines = append(lines, as(c.who))
		}
		if c.method != "GET" {
			lines = append(lines, "Content-Length: 0")
		}
		res := r.send(c.method, c.target, lines...)
		if res.StatusCode != c.want {
			t.Errorf("%s %s as %q: %d, want %d", c.method, c.target, c.who, res.StatusCode, c.want)
		}
		if got := r.app.requests(); len(got) != 0 && (c.want != 200 || got[0].method != c.method) {
			t.Errorf("%s %s: the application saw %s", c.method, c.target, got[0].method)
		}
		if res.StatusCode == 405 && !strings.Contains(res.Header.Get("Allow"), "GET") {
			t.Errorf("%s: 405 without Allow", c.method)
		}
	}
	for _, m := range []string{"TRACE", "CONNECT", "TRACK", "PRI", "get", "", "A B"} {
		if _, err := Compile([]RouteSpec{{Name: "a", Origins: []string{"https://" + appHost}, Upstream: "http://127.0.0.1:1", Methods: []string{m}}}, "https://sso.example.com"); err == nil {
			t.Errorf("a route lists %q", m)
		}
	}
	if _, err := Compile([]RouteSpec{{Name: "a", Origins: []string{"https://" + appHost}, Upstream: "http://127.0.0.1:1", Lenient: []string{"backslash"}}}, "https://sso.example.com"); err == nil {
		t.Error("a form that is none")
	}
}

// A stream on a path whose form is no longer allowed ends at the next recheck.
func TestStreamsEndWithTheLiberty(t *testing.T) {
	r := legacy(t, []string{"encoded_slash"}, nil)
	var open atomic.Int32
	r.app.handler = streaming(&open, nil)
	client := r.dial()
	defer func() { _ = client.Close() }()
	_, _ = client.Write([]byte("GET /events%2Fall HTTP/1.1\r\nHost: " + appHost + "\r\n" + as("ana") + "\r\n\r\n"))
	br := bufio.NewReader(client)
	if res, err := http.ReadResponse(br, nil); err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	}
	recheck := member.Revocation{Kind: member.Recheck, Scope: member.ScopeAll}
	r.live.Cut(context.Background(), recheck)
	if r.inFlight() != 1 {
		t.Fatal("benign: the recheck ended it")
	}
	strict, err := Compile([]RouteSpec{{Name: "app", Origins: []string{"https://" + appHost}, Upstream: r.up.URL}}, "https://sso.example.com")
	if err != nil {
		t.Fatal(err)
	}
	r.gate.SetRoutes(strict)
	r.live.Cut(context.Background(), recheck)
	if r.inFlight() != 0 {
		t.Error("it goes on")
	}
}

// P01 beyond the lists, with every liberty allowed: what reaches the application is what
// was sent, is public only without liberties, and leads nowhere that the person may not
// go, by a reader who decodes, cuts and resolves as often as he can.
func TestP01AnythingElseWithAllLiberties(t *testing.T) {
	r := legacy(t, canonical.Leniencies(), nil)
	pieces := []string{
		"public", "/public/", "files", "/files/", "secret", "/secret/", "closed", "admin", "..", ".", "/", "//", "%2f", "%2F", ";", ";x", "%3b", "%73", "%61", "%25", "%252f", "%2e", "?", "%23", "%20", "x", "~", "é", "%5c",
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	params, slashes := regexp.MustCompile(`;[^/]*`), regexp.MustCompile(`/+`)
	passed := 0
	for range 3000 {
		target := []string{"/public/", "/files/", "/", "/files/secret"}[rnd.IntN(4)]
		for range rnd.IntN(6) {
			target += pieces[rnd.IntN(len(pieces))]
		}
		who := []string{as("ana"), "X: y"}[rnd.IntN(2)]
		res := r.get(target, who)
		for _, q := range r.app.requests() {
			passed++
			if q.target != target {
				t.Fatalf("%q was forwarded as %q", target, q.target)
			}
			plain, _, _ := strings.Cut(target, "?")
			public := true
			for range 3 {
				if d, err := url.PathUnescape(plain); err == nil {
					plain = d
				}
				for _, p := range []string{plain, params.ReplaceAllString(plain, "")} {
					p = path.Clean(slashes.ReplaceAllString(p, "/")) + "/"
					public = public && strings.HasPrefix(p, "/public/")
					for _, closed := range []string{"/files/secret/", "/files/closed/", "/admin/", "/.sso/"} {
						if strings.HasPrefix(p, closed) {
							t.Fatalf("%q, as %s, is %q to some", target, who, p)
						}
					}
				}
			}
			if _, err := canonical.ParseTarget(target); who == "X: y" && (!public || err != nil) {
				t.Fatalf("%q passed without a session (%v)", target, err)
			}
		}
		if res.StatusCode >= 500 {
			t.Fatalf("%q: %d", target, res.StatusCode)
		}
		r.app.reset()
	}
	if passed < 100 {
		t.Errorf("%d requests passed: nothing was compared", passed)
	}
	t.Logf("%d passed", passed)
}
