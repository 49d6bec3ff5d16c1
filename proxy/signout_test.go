package proxy

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/proxy/assertion"
	"github.com/ssogate/ssogate/session"
)

// signOuts does what sso.Flow.SignOut does, as far as the gate sees it.
type signOuts struct {
	mu    sync.Mutex
	ended []string
	err   error
	live  *Live
}

func (s *signOuts) signOut(w http.ResponseWriter, r *http.Request, p *session.Principal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.ended = append(s.ended, string(p.Member.ID))
	s.live.Cut(r.Context(), member.Revocation{Kind: member.End, Scope: member.ScopeSession, Target: p.Session.String()})
	w.Header().Add("Set-Cookie", cookieName+"=; Max-Age=0")
	w.Header().Set("Cache-Control", "no-store")
	return nil
}

func (s *signOuts) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.ended
	s.ended = nil
	return out
}

func signingOut(t *testing.T, more ...RouteSpec) (*rig, *signOuts) {
	t.Helper()
	r, _ := introducing(t, IdentitySpec{}, append([]RouteSpec{
		{Name: "shop", Origins: []string{"https://" + appHost}, PathPrefix: "/shop", Public: []string{"/shop/public/*"}, Logout: LogoutSpec{Path: "/shop/logout"}},
	}, more...)...)
	s := &signOuts{live: r.live}
	r.gate.o.SignOut = s.signOut
	return r, s
}

// What the application answers is what the person sees, with our cookies gone; before
// that the session is over.
func TestSigningOutOfTheApplicationSignsOut(t *testing.T) {
	r, s := signingOut(t)
	r.app.handler = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Add("Set-Cookie", "theirs=; Max-Age=0")
		w.Header().Add("Set-Cookie", cookieName+"=evil")
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Location", "/shop/bye")
		w.WriteHeader(http.StatusFound)
		_, _ = io.WriteString(w, "bye")
	}
	for _, target := range []string{"/shop/logout", "/shop/logout?next=/", "/shop/Logout"} {
		for _, method := range []string{"GET", "POST"} {
			res := r.send(method, target, as("ana"), "Content-Length: 0", "Sec-Fetch-Site: same-origin")
			if res.StatusCode != http.StatusFound || res.text != "bye" || res.Header.Get("Location") != "/shop/bye" {
				t.Errorf("%s %s: %d %q", method, target, res.StatusCode, res.text)
			}
			if got := strings.Join(res.Header["Set-Cookie"], "|"); got != "theirs=; Max-Age=0|"+cookieName+"=; Max-Age=0" || res.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s %s: %q %q", method, target, got, res.Header.Get("Cache-Control"))
			}
			if got := s.take(); len(got) != 1 || got[0] != "m-ana" {
				t.Errorf("%s %s: ended %v", method, target, got)
			}
		}
	}
}

// Row K05: what is not the person's own doing, or is no sign-out, ends nothing.
func TestK05OtherRequestsSignNobodyOut(t *testing.T) {
	r, s := signingOut(t)
	for _, c := range []struct {
		why, method, target string
		lines               []string
	}{
		{"another path", "GET", "/shop/logout/", []string{as("ana")}},
		{"another path", "GET", "/shop/logouts", []string{as("ana")}},
		{"another route", "GET", "/logout", []string{as("ana")}},
		{"another site", "GET", "/shop/logout", []string{as("ana"), "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"}},
		{"another site's image", "GET", "/shop/logout", []string{as("ana"), "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"}},
		{"fetched ahead", "GET", "/shop/logout", []string{as("ana"), "Sec-Purpose: prefetch;prerender"}},
		{"HEAD", "HEAD", "/shop/logout", []string{as("ana")}},
		{"OPTIONS", "OPTIONS", "/shop/logout", []string{as("ana")}},
		{"nobody", "GET", "/shop/logout", nil},
		{"an expired session", "GET", "/shop/logout", []string{as("expired")}},
	} {
		r.send(c.method, c.target, c.lines...)
		if got := s.take(); len(got) > 0 {
			t.Errorf("%s: %s %s ended %v", c.why, c.method, c.target, got)
		}
	}
	r.app.handler = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }
	if res := r.get("/shop/logout", as("ana")); res.StatusCode != 500 || len(s.take()) > 0 {
		t.Error("the application could not sign out, and the session ended all the same")
	}
	r.app.handler = nil
	if r.get("/shop/logout", as("ana")); len(s.take()) != 1 {
		t.Error("benign: not signed out")
	}
}

// G2: a session that could not be ended is not called ended, whatever the application says.
func TestASignOutThatFailsIsNotAnswered(t *testing.T) {
	r, s := signingOut(t)
	for _, err := range []error{errors.New("store is down"), nil} {
		s.err = err
		if err == nil {
			r.gate.o.SignOut = nil
		}
		res := r.get("/shop/logout", as("ana"), navigate, html)
		if res.StatusCode != http.StatusServiceUnavailable || strings.Contains(res.text, "app") && !strings.Contains(res.text, "<html") || len(res.Header["Set-Cookie"]) > 0 || res.Header.Get("Retry-After") == "" {
			t.Errorf("%v: %d %v", err, res.StatusCode, res.Header)
		}
		if res := r.get("/", as("ana")); res.StatusCode != 200 {
			t.Errorf("%v: the session is as good as before: %d", err, res.StatusCode)
		}
	}
}

// The end of the session cuts its other requests, spares the one that brought it about,
// and that one not for long.
func TestSigningOutCutsTheSessionsOtherRequests(t *testing.T) {
	r, _ := signingOut(t)
	r.gate.grace = 50 * time.Millisecond
	started, leave := make(chan struct{}), make(chan struct{})
	defer close(leave)
	r.app.handler = func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/shop/logout" {
			_, _ = io.WriteString(w, "first")
			_ = http.NewResponseController(w).Flush()
			if q.URL.RawQuery == "long" {
				<-leave
			}
			return
		}
		close(started)
		<-leave
	}
	c := r.dial()
	defer func() { _ = c.Close() }()
	_, _ = io.WriteString(c, "GET /slow HTTP/1.1\r\nHost: "+appHost+"\r\n"+as("ana")+"\r\n\r\n")
	<-started
	res := r.get("/shop/logout", as("ana"))
	if res.StatusCode != 200 || res.text != "first" {
		t.Errorf("%d %q", res.StatusCode, res.text)
	}
	if b, err := io.ReadAll(c); len(b) > 0 {
		t.Errorf("a request of the ended session was answered %q, %v", b, err)
	}
	// An answer that never ends is no way to stay.
	d := r.dial()
	defer func() { _ = d.Close() }()
	_, _ = io.WriteString(d, "GET /shop/logout?long HTTP/1.1\r\nHost: "+appHost+"\r\n"+as("ben")+"\r\n\r\n")
	br := bufio.NewReader(d)
	if _, err := http.ReadResponse(br, nil); err != nil {
		t.Fatal(err)
	}
	ended(t, br)
	eventually(t, "nothing runs", func() bool { return r.inFlight() == 0 })
}

// told counts the calls of the route "told" that ended so.
func (r *rig) told(result string) float64 {
	r.t.Helper()
	var m dto.Metric
	if err := r.gate.calls.made.WithLabelValues("told", result).Write(&m); err != nil {
		r.t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

func TestLogoutCallsTellTheApplication(t *testing.T) {
	type call struct{ method, auth string }
	calls := make(chan call, 10)
	status := make(chan int, 10)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		calls <- call{q.Method + " " + q.URL.RequestURI(), q.Header.Get("Authorization")}
		code, more := <-status
		if !more {
			code = http.StatusNoContent
		}
		if code == http.StatusFound {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(code)
	}))
	defer srv.Close()
	r, c := introducing(t, IdentitySpec{}, RouteSpec{
		Name: "told", Origins: []string{"https://" + appHost}, PathPrefix: "/told", Logout: LogoutSpec{URL: srv.URL + "/bye?x=1"},
		Identity: IdentitySpec{Assertion: AssertionSpec{Algorithm: assertion.ES256}},
	})
	ring, _ := r.gate.o.Assertions.(*assertion.Ring)
	v := verifierOf(t, ring, "told", c.Now)
	own := *srv.Client()
	r.gate.calls.client = newLogoutCalls(r.gate, &own).client
	r.gate.calls.pauses = []time.Duration{time.Millisecond, time.Millisecond}
	result := func(want string) {
		t.Helper()
		eventually(t, want, func() bool { return r.told(want) == 1 })
	}
	status <- http.StatusNoContent
	r.gate.SignedOut(principal("ana", ana))
	got := <-calls
	token, bearer := strings.CutPrefix(got.auth, "Bearer ")
	u, err := v.Verify(t.Context(), token)
	if !bearer || err != nil || got.method != "POST /bye?x=1" || u.ID != "m-ana" || u.Email+u.Name+u.PreferredUsername != "" || u.Groups != nil {
		t.Errorf("%+v %+v, %v: who signed out, and nothing else of him", got, u, err)
	}
	result("told")
	// Three attempts, and no redirect is followed.
	for range 3 {
		status <- http.StatusFound
	}
	r.gate.SignedOut(principal("ana", ana))
	for range 3 {
		if got := <-calls; got.method != "POST /bye?x=1" {
			t.Errorf("%+v", got)
		}
	}
	result("failed")
	if !strings.Contains(r.log.String(), "an application could not be told of a sign-out") || strings.Contains(r.log.String(), token) {
		t.Errorf("log: %s", r.log)
	}
	// The queue is bounded, and nobody waits for it.
	for range logoutQueue + logoutWorkers + 10 {
		r.gate.SignedOut(principal("ana", ana))
	}
	if r.told("lost") == 0 {
		t.Error("more than the queue holds, and nothing is lost?")
	}
	close(status)
}

func TestCompileRefusesLogout(t *testing.T) {
	signed := IdentitySpec{Assertion: AssertionSpec{Algorithm: assertion.ES256}}
	for why, s := range map[string]RouteSpec{
		"outside":    {PathPrefix: "/a", Logout: LogoutSpec{Path: "/logout"}},
		"no path":    {Logout: LogoutSpec{Path: "logout"}},
		"ours":       {Logout: LogoutSpec{Path: "/.sso/logout"}},
		"no URL":     {Logout: LogoutSpec{URL: "/logout"}, Identity: signed},
		"a password": {Logout: LogoutSpec{URL: "https://a:b@app/logout"}, Identity: signed},
		"unsigned":   {Logout: LogoutSpec{URL: "https://app/logout"}},
	} {
		s.Name, s.Origins, s.Upstream = "app", []string{"https://" + appHost}, "http://127.0.0.1:1"
		if _, err := Compile([]RouteSpec{s}, "https://sso.example.com"); err == nil || !strings.Contains(err.Error(), "logout") {
			t.Errorf("%s: %v", why, err)
		}
	}
}
