package proxy

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/proxy/assertion"
	"github.com/ssogate/ssogate/proxy/canonical"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/session/sessiontest"
)

// quiet is a revocation log, a directory and a registry of streams in which nothing happens.
type quiet struct{ m member.Member }

func (quiet) Revocations(context.Context, int64, int) ([]member.Revocation, error) { return nil, nil }
func (quiet) LastRevocation(context.Context) (int64, error)                        { return 0, nil }
func (quiet) Cut(context.Context, member.Revocation)                               {}
func (quiet) CutAll(context.Context, string)                                       {}

func (q quiet) Snapshot(context.Context, member.ID, member.SessionRef) (member.Snapshot, error) {
	return member.Snapshot{Member: q.m, Teams: []string{"finance", "sales"}}, nil
}

func (quiet) EndSession(context.Context, member.Actor, member.EndedSession) error { return nil }

func (quiet) EndSessions(context.Context, member.Actor, member.ID, string) error { return nil }

// realSessions is a session.Manager under a lease, and a cookie that it admits.
func realSessions(t testing.TB, m member.Member) (*session.Manager, string) {
	t.Helper()
	q := quiet{m}
	store, primary := sessiontest.NewFake(time.Now), &sessiontest.FakePrimary{Rows: q}
	cutoff, err := session.NewCutoff(t.Context(), session.CutoffOptions{
		Log: primary, Registry: primary, Finisher: primary, Store: store, Streams: q, LeaseGrace: 10 * time.Second,
		Logger: slog.New(slog.DiscardHandler), Now: time.Now, Name: "bench",
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = cutoff.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	cookies, err := session.NewCookies(true, bytes.Repeat([]byte{1}, 64))
	if err != nil {
		t.Fatal(err)
	}
	manager, err := session.NewManager(session.ManagerOptions{
		Store: store, Directory: q, Cookies: cookies, Cutoff: cutoff, ProviderActive: func(string) bool { return true },
		Limits: session.Limits{Idle: time.Hour, Absolute: 8 * time.Hour},
	})
	if err != nil {
		t.Fatal(err)
	}
	id, _, err := manager.Start(t.Context(), session.Start{Member: m, Provider: "okta"})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	if err := cookies.SetSession(w, session.App, appHost, id); err != nil {
		t.Fatal(err)
	}
	c := w.Result().Cookies()[0]
	return manager, c.Name + "=" + c.Value
}

// authentic is what authentication adds to one request: everything between finding
// the route and sending.
type authentic struct {
	x   *exchange
	r   *http.Request
	out http.Header
}

func newAuthentic(t testing.TB, id IdentitySpec) *authentic {
	t.Helper()
	routes, err := Compile([]RouteSpec{{
		Name: "app", Origins: []string{"https://" + appHost}, Upstream: "http://127.0.0.1:1", Identity: id,
		Access: []RuleSpec{{Paths: []string{"/public/*"}, Allow: AllowPublic}, {Allow: AllowMembers, Teams: []string{"ops", "sales"}}},
	}}, "https://sso.example.com")
	if err != nil {
		t.Fatal(err)
	}
	live, err := NewLive(LiveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m := ana
	m.ID = "m-bench"
	manager, cookie := realSessions(t, m)
	gate, err := New(Options{
		Sessions: manager, SignIn: &fakeSignIn{}, Reserved: http.NotFoundHandler(), Routes: routes, Live: live,
		Assertions: newRing(t, time.Now, assertion.ES256), GatewayURL: "https://sso.example.com",
	})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, "https://"+appHost+"/page?q=1", nil)
	r.RequestURI = "/page?q=1"
	for name, v := range map[string]string{
		"Cookie": "lang=en; " + cookie + "; JSESSIONID=0123456789abcdef", "User-Agent": "Mozilla/5.0 (X11; Linux x86_64)", "Accept": "text/html,*/*;q=0.8",
		"Accept-Language": "en", "Accept-Encoding": "gzip, br", "Referer": "https://app.example.com/", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate",
		"Sec-Fetch-Dest": "document", "Upgrade-Insecure-Requests": "1", "Priority": "u=0",
	} {
		r.Header.Set(name, v)
	}
	q, err := canonical.Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	st := routes.at(q.Host)
	rt, _ := st.find(q)
	a := &authentic{x: &exchange{g: gate, q: q, st: st, rt: rt, client: netip.MustParseAddr("192.0.2.1")}, r: r, out: http.Header{}}
	for range 400 { // until there is a lease and the principal is cached
		if err := a.once(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
		if p := a.x.p; a.once() == nil && a.x.p == p {
			return a
		}
	}
	t.Fatal("the principal is never cached")
	return nil
}

var errNotAdmitted = errors.New("not admitted")

func (a *authentic) once() (err error) {
	x := a.x
	x.f = facts{}
	if x.d = x.early(); x.d.Verdict != NeedSession {
		return errNotAdmitted
	}
	if x.p, err = x.g.o.Sessions.Admit(a.r.Context(), a.r); err != nil {
		return err
	}
	if x.d = x.rt.judge(x.q, x.ruling, x.p, x.facts()); x.d.Verdict != Admit {
		return errNotAdmitted
	}
	if err := x.introduce(); err != nil {
		return err
	}
	if !x.g.o.Sessions.Still(x.p) {
		return errNotAdmitted
	}
	x.setIdentity(a.out)
	return nil
}

// head also takes away of the client's header what is not for the application, as is
// done for everybody.
func (a *authentic) head() error {
	x := a.x
	clear(a.out)
	for name, v := range a.r.Header {
		if !x.rt.removes(name) {
			a.out[name] = v
		}
	}
	x.setCookies(a.out)
	return a.once()
}

// A hit of the cache costs no allocation, whatever a route tells: nothing is rendered,
// and nothing is signed. The Cookie line without ours is the only string that is made.
func TestAHitOfTheCacheRendersAndSignsNothing(t *testing.T) {
	for name, id := range introductions() {
		a := newAuthentic(t, id)
		for what, c := range map[string]struct {
			do   func() error
			most float64
		}{"auth": {a.once, 0}, "head": {a.head, 1}} {
			n := testing.AllocsPerRun(200, func() {
				if err := c.do(); err != nil {
					t.Error(err)
				}
			})
			if n > c.most {
				t.Errorf("%s, %s: %v allocations", name, what, n)
			}
		}
	}
}

func introductions() map[string]IdentitySpec {
	return map[string]IdentitySpec{
		"headers": {},
		"assertion": {
			Headers:   headersOf("X-User", "{user_name}", "plain", "X-Name", "{given_name} {family_name}", "base64", "X-Teams", "{teams}", ""),
			Assertion: AssertionSpec{Algorithm: assertion.ES256}, Basic: BasicSpec{User: "{user_name}", Password: "p"},
		},
	}
}

// BenchmarkAuthOnCacheHit is what authenticating costs an admitted request, with the
// real session.Manager under its lease: to admit, to decide, and to set the headers.
func BenchmarkAuthOnCacheHit(b *testing.B) {
	for name, id := range introductions() {
		a := newAuthentic(b, id)
		for what, do := range map[string]func() error{"auth": a.once, "head": a.head} {
			b.Run(name+"/"+what, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := do(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
