package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ssogate/ssogate/proxy/upstream"
)

// behind gives a rig one route.
func behind(t *testing.T, change func(r *rig, s *RouteSpec)) *rig {
	t.Helper()
	r := newRig(t)
	s := RouteSpec{Name: "app", Origins: []string{"https://" + appHost}, Upstream: r.up.URL, Public: []string{"/public/*"}}
	change(r, &s)
	table, err := Compile([]RouteSpec{s}, "https://sso.example.com")
	if err != nil {
		t.Fatal(err)
	}
	r.gate.SetRoutes(table)
	return r
}

func TestPrefixesAreTakenOffAndPutOnByteForByte(t *testing.T) {
	for _, c := range []struct {
		why, prefix, add string
		strip            bool
		target, want     string // "" = 400, nothing sent
	}{
		{"as it came", "/", "", false, "/a%20b/c?x=%2f;y", "/a%20b/c?x=%2f;y"},
		{"taken off", "/app", "", true, "/app/a%20b?x", "/a%20b?x"},
		{"nothing is left", "/app", "", true, "/app", "/"},
		{"nothing but the query is left", "/app", "", true, "/app?x", "/?x"},
		{"put on", "/", "/base", false, "/a?x", "/base/a?x"},
		{"put on the root", "/", "/base/", false, "/", "/base/"},
		{"exchanged", "/app", "/base", true, "/app/x", "/base/x"},
		{"what the application would call ours is its own there", "/app", "", true, "/app/.sso", "/.sso"},
		{"a spelling of the prefix that is not its bytes", "/a_b", "", true, "/a%5Fb/x", ""},
	} {
		r := behind(t, func(_ *rig, s *RouteSpec) {
			s.PathPrefix, s.AddPrefix, s.StripPrefix, s.Public = c.prefix, c.add, c.strip, []string{strings.TrimSuffix(c.prefix, "/") + "/*", c.prefix}
		})
		res := r.get(c.target)
		got := r.app.requests()
		switch {
		case c.want == "":
			if res.StatusCode != 400 || len(got) != 0 {
				t.Errorf("%s: %d, %d sent", c.why, res.StatusCode, len(got))
			}
		case len(got) != 1 || got[0].target != c.want:
			t.Errorf("%s: %s was sent as %v, want %s (%d)", c.why, c.target, got, c.want, res.StatusCode)
		}
	}
}

func TestLocationsOfTheApplicationAreMappedBack(t *testing.T) {
	r := behind(t, func(_ *rig, s *RouteSpec) {
		s.PathPrefix, s.AddPrefix, s.StripPrefix, s.Host, s.Public = "/app", "/base", true, "app.internal:8080", []string{"/app/*"}
	})
	var location string
	r.app.handler = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", location)
		w.WriteHeader(http.StatusFound)
	}
	for in, want := range map[string]string{
		"/base/x?y#z":                     "/app/x?y#z",
		"/base":                           "/app",
		"http://app.internal:8080/base/x": "https://" + appHost + "/app/x",
		"HTTP://APP.internal:8080/base/x": "https://" + appHost + "/app/x",
		"https://elsewhere.example/base":  "https://elsewhere.example/base",
		"//elsewhere.example/base/x":      "//elsewhere.example/base/x",
		"/other":                          "/other",
		"/basement":                       "/basement",
		"relative?x":                      "relative?x",
		"http://u@app.internal:8080/base": "http://u@app.internal:8080/base",
	} {
		location = in
		if got := r.get("/app/1").Header.Get("Location"); got != want {
			t.Errorf("%s became %s, want %s", in, got, want)
		}
	}
	if got := r.app.requests()[0].host; got != "app.internal:8080" {
		t.Errorf("Host %q", got)
	}
}

func TestBodiesAreHeldToTheRoutesLimit(t *testing.T) {
	r := behind(t, func(_ *rig, s *RouteSpec) { s.BodyLimit = 1000 })
	post := func(head, body string) answerOf {
		return r.raw("POST /public/x HTTP/1.1\r\nHost: " + appHost + "\r\nConnection: close\r\n" + head + "\r\n\r\n" + body)
	}
	chunk := func(n int) string { return fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", n, strings.Repeat("x", n)) }
	for _, c := range []struct {
		why, head, body string
		want            int
	}{
		{"up to it", "Content-Length: 1000", strings.Repeat("x", 1000), 200},
		{"chunked, up to it", "Transfer-Encoding: chunked", chunk(1000), 200},
		{"said to be more", "Content-Length: 1001", "", 413},
		{"chunked, more", "Transfer-Encoding: chunked", chunk(1001), 413},
	} {
		r.app.reset()
		if res := post(c.head, c.body); res.StatusCode != c.want {
			t.Errorf("%s: %d, want %d", c.why, res.StatusCode, c.want)
		}
		for _, s := range r.app.requests() {
			if c.want == 413 && len(s.body) > 0 && !strings.Contains(c.head, "chunked") {
				t.Errorf("%s: the application saw %d bytes", c.why, len(s.body))
			}
		}
	}
}

// Fault 12 with several upstreams: the one that is left answers for all.
func TestFault12AnotherUpstreamAnswersForOneThatIsDown(t *testing.T) {
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	r := behind(t, func(r *rig, s *RouteSpec) {
		s.Upstream, s.To = "", upstream.Spec{URLs: []string{dead.URL, r.up.URL}}
	})
	for range 6 {
		res := r.raw("POST /public/x HTTP/1.1\r\nHost: " + appHost + "\r\nConnection: close\r\nContent-Length: 4\r\n\r\nform")
		if res.StatusCode != 200 {
			t.Fatalf("%d", res.StatusCode)
		}
	}
	for _, s := range r.app.requests() {
		if s.body != "form" {
			t.Errorf("body %q", s.body)
		}
	}
	if n := len(r.app.requests()); n != 6 {
		t.Errorf("%d requests for 6", n)
	}
}

// C10: a request that waited in the queue is not sent for somebody who was cut off
// meanwhile; and one too many is told to come back.
func TestFault13ABusyApplicationIs503AndTheQueueIsCutToo(t *testing.T) {
	r := behind(t, func(r *rig, s *RouteSpec) {
		s.Upstream, s.To = "", upstream.Spec{URLs: []string{r.up.URL}, Concurrency: 1, Queue: 1}
	})
	inside, free := make(chan struct{}), make(chan struct{})
	r.app.handler = func(w http.ResponseWriter, _ *http.Request) {
		inside <- struct{}{}
		<-free
		_, _ = io.WriteString(w, "ok")
	}
	answers := make(chan int, 2)
	ask := func(who string) { go func() { answers <- r.get("/x", as(who)).StatusCode }() }
	ask("ben")
	<-inside
	ana := r.sessions.by["ana"]
	ask("ana")
	for r.gate.routes.Load().all[0].waiting() == 0 {
		// until she waits
	}
	if res := r.get("/x", as("ben")); res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
		t.Errorf("one too many: %d", res.StatusCode)
	}
	r.sessions.change(func() { r.sessions.stale[ana] = true })
	close(free)
	got := map[int]int{<-answers: 1}
	got[<-answers]++
	if got[200] != 1 || got[503] != 1 {
		t.Errorf("%v: he is answered, she is not sent on", got)
	}
	if n := len(r.app.requests()); n != 1 {
		t.Errorf("the application saw %d requests", n)
	}
}

func (rt *Route) waiting() int {
	_, n, _ := rt.pool.Load()
	return n
}

func TestAReloadKeepsTheConnectionsOfWhatStayedTheSame(t *testing.T) {
	r := newRig(t)
	spec := RouteSpec{Name: "app", Origins: []string{"https://" + appHost}, Upstream: r.up.URL, Public: []string{"/*"}}
	load := func(s RouteSpec) *upstream.Pool {
		table, err := Compile([]RouteSpec{s}, "https://sso.example.com")
		if err != nil {
			t.Fatal(err)
		}
		r.gate.SetRoutes(table)
		return table.all[0].pool
	}
	first := load(spec)
	spec.Public, spec.Teams = nil, []string{"x"}
	if load(spec) != first {
		t.Error("other rules, the same upstream: its connections were dropped")
	}
	spec.To.Concurrency = 5
	if load(spec) == first {
		t.Error("another limit, and the old pool goes on")
	}
}
