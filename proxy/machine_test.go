package proxy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/machine"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
)

// serviceToken is a value of the right form for a machine of the fake.
func serviceToken(name string) string {
	return "ssogate_machine_" + (name + strings.Repeat("0", 43))[:43]
}

func machineOf(token, name string, routes []string, teams ...string) *session.Principal {
	return &session.Principal{
		Session: secret.Sum(token), Machine: &session.Machine{ID: session.MachineID(name), Routes: routes}, Teams: teams, Issued: time.Now(),
	}
}

// fakeMachines admits the tokens of its table.
type fakeMachines struct {
	mu    sync.Mutex
	by    map[string]*session.Principal
	errs  map[string]error
	again int
}

func newFakeMachines() *fakeMachines {
	m := &fakeMachines{by: map[string]*session.Principal{}, errs: map[string]error{"expired": &machine.RefusedError{Reason: "token_expired"}, "down": errors.New("database is down")}}
	for name, p := range map[string]struct {
		routes, teams []string
	}{"deploy": {[]string{"api", "strict"}, nil}, "report": {[]string{"api"}, []string{"finance"}}, "other": {[]string{"admin"}, nil}, "expired": {[]string{"api"}, nil}} {
		m.by[serviceToken(name)] = machineOf(serviceToken(name), name, p.routes, p.teams...)
	}
	return m
}

func (m *fakeMachines) Admit(_ context.Context, token string, _ netip.Addr) (*session.Principal, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.by[token]
	for name, err := range m.errs {
		if token == serviceToken(name) {
			return p, err
		}
	}
	if p == nil {
		return nil, &machine.RefusedError{Reason: "token_unknown"}
	}
	return p, nil
}

func (m *fakeMachines) Again(_ context.Context, p *session.Principal) (*session.Principal, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.again++
	for _, have := range m.by {
		if have.Session == p.Session {
			return have, nil
		}
	}
	return nil, &machine.RefusedError{Reason: "token_unknown"}
}

func (m *fakeMachines) Vouched(v machine.Vouched) *session.Principal {
	return &session.Principal{
		Session: v.Hash, Machine: &session.Machine{ID: session.MachineID(v.Issuer + "/" + v.Subject), Issuer: v.Issuer}, Teams: v.Teams, Expires: v.Expires,
	}
}

func (m *fakeMachines) change(do func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	do()
}

// fakeIssuer vouches for "NAME.subject.team".
type fakeIssuer struct {
	name string
	err  error // of its own tokens
}

func (f *fakeIssuer) Name() string { return f.name }

func (f *fakeIssuer) Verify(_ context.Context, token string) (machine.Vouched, error) {
	part := strings.Split(token, ".")
	switch {
	case len(part) != 3 || part[0] != f.name:
		return machine.Vouched{}, &machine.RefusedError{Reason: machine.NotMine}
	case f.err != nil:
		return machine.Vouched{}, f.err
	}
	v := machine.Vouched{Hash: secret.Sum(token), Issuer: f.name, Subject: part[1], Expires: time.Now().Add(time.Hour)}
	if part[2] != "" {
		v.Teams = []string{part[2]}
	}
	return v, nil
}

// machineRoutes: /api takes service tokens and two issuers, /pass and /strict say what
// becomes of Authorization, everything else takes sessions only.
func machineRoutes(c *rigConfig) {
	at := []string{"https://" + appHost}
	both := MachineSpec{Tokens: true, Issuers: []Issuer{&fakeIssuer{name: "ci"}, &fakeIssuer{name: "late", err: errors.New("keys cannot be fetched")}}}
	c.specs = []RouteSpec{
		{Name: "app", Origins: at, Public: []string{"/public/*"}},
		{Name: "api", Origins: at, PathPrefix: "/api", Machines: both, Access: []RuleSpec{
			{Name: "open", Paths: []string{"/api/open"}, Allow: AllowPublic},
			{Name: "finance", Paths: []string{"/api/finance/*"}, Allow: AllowMembers, Teams: []string{"finance"}},
			{Name: "owners", Paths: []string{"/api/owners"}, Allow: AllowMembers, Roles: []member.Role{member.RoleOwner}},
			{Name: "deploy", Paths: []string{"/api/deploy"}, Allow: AllowMembers, Machines: []string{"deploy", "ci/main"}},
			{Name: "ci", Paths: []string{"/api/ci"}, Allow: AllowMembers, Machines: []string{"ci/*"}},
			{Name: "closed", Paths: []string{"/api/closed"}},
			{Name: "rest", Allow: AllowMembers},
		}},
		{Name: "pass", Origins: at, PathPrefix: "/pass", Machines: both, Authorization: AuthorizationPass, Teams: []string{"finance"}},
		{Name: "strict", Origins: at, PathPrefix: "/strict", Machines: both, Authorization: AuthorizationStrip, Public: []string{"/strict/open"}},
	}
}

func bearing(token string) string { return "Authorization: Bearer " + token }

// Row C01 for machines: a token that is not good here is nobody's, whoever else the
// request could be from, and is told so in the words of RFC 6750.
func TestC01OnlyALiveTokenOfThisRouteIsAMachine(t *testing.T) {
	r := newRig(t, machineRoutes)
	res := r.get("/api/x", bearing(serviceToken("deploy")))
	if res.StatusCode != 200 || r.one().header.Get("X-Forwarded-User") != "machine:deploy" {
		t.Fatalf("benign: %d, %v", res.StatusCode, r.one().header)
	}
	r.app.reset()
	r.events.list = nil
	for _, c := range []struct {
		what, reason string
		lines        []string
	}{
		{"unknown", "token_unknown", []string{bearing(serviceToken("nobody"))}},
		{"cut", "token_unknown", []string{bearing(serviceToken("deploy")[:58])}},
		{"of another route", "token_route", []string{bearing(serviceToken("other"))}},
		{"expired", "token_expired", []string{bearing(serviceToken("expired"))}},
		{"no token", "bearer_malformed", []string{"Authorization: Bearer"}},
		{"tab", "bearer_malformed", []string{"Authorization: Bearer\t" + serviceToken("deploy")}},
		{"two headers", "bearer_malformed", []string{bearing(serviceToken("deploy")), bearing(serviceToken("deploy"))}},
		{"beside Basic", "bearer_malformed", []string{"Authorization: Basic YTpi", bearing(serviceToken("deploy"))}},
		{"huge", "bearer_malformed", []string{bearing(strings.Repeat("x", maxBearer+1))}},
		{"SCIM's", "token_unknown", []string{bearing("ssogate_scim_" + strings.Repeat("x", 43))}},
		{"no JWT", "token_unknown", []string{bearing("abc")}},
		{"JWT of a stranger", "token_unknown", []string{bearing("evil.x.finance")}},
	} {
		for what, with := range map[string][]string{
			"alone": nil, "as a page load": {navigate, html}, "with a session": {as("ben")}, "as a form": {navigate, html, as("ana"), "Content-Length: 0"},
		} {
			method := map[bool]string{true: "POST", false: "GET"}[what == "as a form"]
			res := r.send(method, "/api/x", append(slices.Clone(c.lines), with...)...)
			if res.StatusCode != 401 || res.Header.Get("Www-Authenticate") != `Bearer realm="https://`+appHost+`", error="invalid_token"` {
				t.Errorf("%s %s: %d %q", c.what, what, res.StatusCode, res.Header["Www-Authenticate"])
			}
			if res.Header.Get("Location") != "" || res.Header.Get("Content-Type") != "application/problem+json" || res.Header.Get("Cache-Control") != "no-store" || len(res.Header["Set-Cookie"]) != 0 {
				t.Errorf("%s %s: %v", c.what, what, res.Header)
			}
		}
		if !strings.Contains(r.log.String(), "reason="+c.reason) {
			t.Errorf("%s: the log does not say %s", c.what, c.reason)
		}
	}
	for _, reason := range []string{"token_unknown", "token_route", "token_expired", "bearer_malformed"} {
		if !slices.Contains(r.events.reasons(), reason) {
			t.Errorf("%s is not audited", reason)
		}
	}
	for _, q := range []string{"access_token", "token", "bearer", "authorization"} {
		if res := r.get("/api/x?" + q + "=" + serviceToken("deploy")); res.StatusCode != 401 {
			t.Errorf("in the query as %s: %d", q, res.StatusCode)
		}
	}
	r.none("a refused request must not reach it")
	if log := r.log.String(); strings.Contains(log, serviceToken("deploy")) || strings.Contains(log, serviceToken("other")) {
		t.Error("L01: a token is in the log")
	}
}

// Routes that say nothing of machines know none: what is sent there is not ours to read.
func TestBearerOnARouteWithoutMachinesIsNobody(t *testing.T) {
	r := newRig(t, machineRoutes)
	for _, lines := range [][]string{{bearing(serviceToken("deploy"))}, {bearing(serviceToken("deploy")), navigate, html}, {bearing("ci.main.finance")}} {
		res := r.get("/x", lines...)
		if res.StatusCode != 401 || res.Header.Get("Location") != "" {
			t.Errorf("%v: %d to %q; a program has nobody to sign in", lines, res.StatusCode, res.Header.Get("Location"))
		}
	}
	r.none("nobody asked")
	if res := r.get("/x", as("ana"), bearing("the-applications-own")); res.StatusCode != 200 || r.one().header.Get("Authorization") != "Bearer the-applications-own" {
		t.Errorf("%d: the application's own token beside a session", res.StatusCode)
	}
}

// A machine and a person are never one: the bearer decides, and nothing of the cookie.
func TestBearerDecidesBesideASession(t *testing.T) {
	r := newRig(t, machineRoutes)
	calls := r.sessions.calls
	if res := r.get("/api/x", as("ana"), bearing(serviceToken("report"))); res.StatusCode != 200 {
		t.Fatalf("%d", res.StatusCode)
	}
	h := r.one().header
	if h.Get("X-Forwarded-User") != "machine:report" || h.Get("X-Forwarded-Groups") != "finance" || r.sessions.calls != calls {
		t.Errorf("%v, sessions asked %d times", h, r.sessions.calls-calls)
	}
	for _, name := range []string{"X-Forwarded-Email", "X-Forwarded-Preferred-Username", "X-Forwarded-Name"} {
		if v := h[name]; v != nil {
			t.Errorf("%s is %q: a machine has none, and the person is not here", name, v)
		}
	}
	r.app.reset()
	if res := r.get("/api/x", as("ana")); res.StatusCode != 200 || r.one().header.Get("X-Forwarded-User") != "m-ana" {
		t.Errorf("without a bearer: %d", res.StatusCode)
	}
	r.app.reset()
	if res := r.get("/api/x", as("ana"), "Authorization: Basic YTpi"); res.StatusCode != 200 || r.one().header.Get("Authorization") != "Basic YTpi" {
		t.Errorf("Basic is the application's own: %d", res.StatusCode)
	}
	// H01: nobody calls himself a machine.
	r.app.reset()
	if res := r.get("/api/x", as("ana"), "X-Forwarded-User: machine:deploy"); res.StatusCode != 200 || r.one().header.Get("X-Forwarded-User") != "m-ana" {
		t.Errorf("%d, %v", res.StatusCode, r.one().header)
	}
}

func TestRulesForMachines(t *testing.T) {
	r := newRig(t, machineRoutes)
	deploy, report := bearing(serviceToken("deploy")), bearing(serviceToken("report"))
	for _, c := range []struct {
		target, who, reason string // "" passes
	}{
		{"/api/x", deploy, ""},
		{"/api/finance/x", report, ""},
		{"/api/finance/x", deploy, "team_missing"},
		{"/api/owners", report, "machine"},
		{"/api/deploy", deploy, ""},
		{"/api/deploy", report, "machine_not_named"},
		{"/api/ci", deploy, "machine_not_named"},
		{"/api/closed", deploy, "nobody"},
		{"/api/open", deploy, ""},
		// What an issuer vouches for has to be named, or be in a team that is.
		{"/api/x", bearing("ci.main."), "machine_not_named"},
		{"/api/x", bearing("ci.main.finance"), "machine_not_named"},
		{"/api/deploy", bearing("ci.main."), ""},
		{"/api/deploy", bearing("ci.deploy."), "machine_not_named"},
		{"/api/ci", bearing("ci.anything."), ""},
		{"/api/finance/x", bearing("ci.x.finance"), ""},
		{"/api/finance/x", bearing("ci.x.sales"), "team_missing"},
		// People are no machines, whatever they are called.
		{"/api/deploy", as("ben"), "machines_only"},
		{"/api/finance/x", as("ben"), ""},
	} {
		r.app.reset()
		r.events.list = nil
		res := r.get(c.target, c.who)
		switch {
		case c.reason == "" && (res.StatusCode != 200 || len(r.app.requests()) != 1):
			t.Errorf("%s by %s: %d, want 200", c.target, c.who, res.StatusCode)
		case c.reason != "" && (res.StatusCode != 403 || len(r.app.requests()) != 0 || !slices.Equal(r.events.reasons(), []string{c.reason})):
			t.Errorf("%s by %s: %d %v, want 403 %s and nothing at the application", c.target, c.who, res.StatusCode, r.events.reasons(), c.reason)
		case c.reason != "" && strings.HasPrefix(c.who, "Auth") && c.reason != "nobody":
			if want := `Bearer realm="https://` + appHost + `", error="insufficient_scope"`; res.Header.Get("Www-Authenticate") != want {
				t.Errorf("%s by %s: %q", c.target, c.who, res.Header.Get("Www-Authenticate"))
			}
			if e := r.events.list[0]; !strings.HasPrefix(e.Actor, "machine:") || e.Target != "route:api" {
				t.Errorf("audit %+v", e)
			}
		}
	}
}

// G2: a store, or an issuer's keys, that cannot be asked refuse nobody for good.
func TestG2BearerThatCannotBeCheckedIs503(t *testing.T) {
	r := newRig(t, machineRoutes)
	for what, line := range map[string]string{"store": bearing(serviceToken("down")), "issuer": bearing("late.x.finance")} {
		res := r.get("/api/x", line, as("ana"), navigate)
		if res.StatusCode != 503 || res.Header.Get("Retry-After") != "5" || res.Header.Get("Www-Authenticate") != "" || res.Header.Get("Location") != "" {
			t.Errorf("%s: %d %v", what, res.StatusCode, res.Header)
		}
	}
	r.none("nobody knows who asked")
	r.gate.o.Machines = nil
	if res := r.get("/api/x", bearing(serviceToken("deploy"))); res.StatusCode != 503 {
		t.Errorf("nobody to ask: %d", res.StatusCode)
	}
	r.none("nobody was asked")
}

// Row H08: what the gate has used as a key it does not hand on, and our own tokens never.
func TestH08AuthorizationOfMachines(t *testing.T) {
	r := newRig(t, machineRoutes)
	token, scim := serviceToken("deploy"), "ssogate_scim_"+strings.Repeat("x", 43)
	r.machines.by[token].Machine.Routes = []string{"api", "pass", "strict"}
	r.machines.by[token].Teams = []string{"finance"}
	for _, c := range []struct {
		target, value string
		session       bool
		want          string
	}{
		{"/api/x", "Bearer " + token, false, ""},
		{"/pass/x", "Bearer " + token, false, ""},
		{"/strict/x", "Bearer " + token, false, ""},
		{"/api/finance/x", "Bearer ci.x.finance", false, ""},
		{"/pass/x", "Bearer ci.x.finance", false, "Bearer ci.x.finance"},
		// What the gate did not use is the application's, unless it is one of our tokens.
		{"/api/x", "Basic YTpi", true, "Basic YTpi"},
		{"/strict/x", "Basic YTpi", true, ""},
		{"/x", "Bearer own", true, "Bearer own"},
		{"/x", "Bearer " + token, true, ""},
		{"/x", "bearer,x " + token, true, ""},
		{"/x", "Bearer " + scim, true, ""},
		{"/public/x", "Bearer " + token, false, ""},
		{"/api/open", "Bearer " + token, false, ""},
		{"/api/open", "Bearer own", false, "Bearer own"},
		{"/strict/open", "Bearer own", false, ""},
	} {
		r.app.reset()
		lines := []string{"Authorization: " + c.value}
		if c.session {
			lines = append(lines, as("ana"))
		}
		res := r.get(c.target, lines...)
		if res.StatusCode != 200 {
			t.Errorf("%s with %q: %d", c.target, c.value, res.StatusCode)
			continue
		}
		if got := r.one().header.Get("Authorization"); got != c.want {
			t.Errorf("%s with %q: the application saw %q, want %q", c.target, c.value, got, c.want)
		}
	}
}

// RFC 6750 section 3: who brings nothing is told what could be brought.
func TestWithoutACredentialBothWaysAreNamed(t *testing.T) {
	r := newRig(t, machineRoutes)
	res := r.get("/api/x")
	got := res.Header["Www-Authenticate"]
	if res.StatusCode != 401 || len(got) != 2 || !strings.HasPrefix(got[0], "SSO ") || got[1] != `Bearer realm="https://`+appHost+`"` {
		t.Errorf("%d %q", res.StatusCode, got)
	}
	if res := r.get("/api/x", navigate, html); res.StatusCode != 302 {
		t.Errorf("a person signs in: %d", res.StatusCode)
	}
	if res := r.get("/x"); len(res.Header["Www-Authenticate"]) != 1 {
		t.Errorf("where no bearer counts none is asked for: %q", res.Header["Www-Authenticate"])
	}
}

// C10: a token revoked between its reading and the registration of the request.
func TestStaleMachineIsAskedForAgain(t *testing.T) {
	r := newRig(t, machineRoutes)
	r.sessions.stale[r.machines.by[serviceToken("deploy")]] = true
	if res := r.get("/api/x", bearing(serviceToken("deploy"))); res.StatusCode != 503 || r.inFlight() != 0 {
		t.Errorf("%d, %d in flight", res.StatusCode, r.inFlight())
	}
	r.none("its revocation may have ended it")
}

func (r *rig) machineStream(bearer string) *bufio.Reader {
	r.t.Helper()
	c := r.dial()
	r.t.Cleanup(func() { _ = c.Close() })
	_, _ = io.WriteString(c, "GET /api/finance/live HTTP/1.1\r\nHost: "+appHost+"\r\n"+bearing(bearer)+"\r\n\r\n")
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.StatusCode != 200 {
		r.t.Fatalf("%v %v", res, err)
	}
	return bufio.NewReader(res.Body)
}

// G1, K07, W02: what runs with a token ends with it, and with nothing else.
func TestGuaranteeCutOffOfWhatAMachineHasRunning(t *testing.T) {
	r := newRig(t, machineRoutes)
	var open atomic.Int32
	r.app.handler = streaming(&open, nil)
	a, ci := r.machineStream(serviceToken("report")), r.machineStream("ci.x.finance")
	person := openStream(t, r, "ana")
	end := member.Revocation{Seq: 1, Kind: member.End, Scope: member.ScopeSession, Target: r.machines.by[serviceToken("deploy")].Session.String()}
	r.live.Cut(t.Context(), end)
	if r.inFlight() != 3 {
		t.Fatalf("benign: %d of 3 left", r.inFlight())
	}
	end.Target = r.machines.by[serviceToken("report")].Session.String()
	r.live.Cut(t.Context(), end)
	ended(t, a)
	if r.inFlight() != 2 {
		t.Errorf("%d left, want the person and the other machine", r.inFlight())
	}
	r.live.CutAll(t.Context(), "database unreachable") // fault 24
	ended(t, ci)
	ended(t, person)
	r.notForced()
}

// A recheck asks about machines too, by the route of today, and without their bearers.
func TestRecheckOfMachines(t *testing.T) {
	recheck := member.Revocation{Seq: 3, Kind: member.Recheck, Scope: member.ScopeAll}
	for _, c := range []struct {
		name   string
		change func(r *rig, spec *rigConfig)
		left   int
	}{
		{"benign", func(*rig, *rigConfig) {}, 2},
		{"teams of the token", func(r *rig, _ *rigConfig) {
			r.machines.by[serviceToken("report")] = machineOf(serviceToken("report"), "report", []string{"api"})
		}, 1},
		{"routes of the token", func(r *rig, _ *rigConfig) {
			r.machines.by[serviceToken("report")] = machineOf(serviceToken("report"), "report", []string{"other"}, "finance")
		}, 1},
		{"the token is gone", func(r *rig, _ *rigConfig) { delete(r.machines.by, serviceToken("report")) }, 1},
		{"the route takes no tokens", func(_ *rig, c *rigConfig) { c.specs[1].Machines.Tokens = false }, 1},
		{"the route has another issuer of the name", func(_ *rig, c *rigConfig) { c.specs[1].Machines.Issuers = []Issuer{&fakeIssuer{name: "ci"}} }, 1},
		{"the route takes no machines", func(_ *rig, c *rigConfig) { c.specs[1].Machines = MachineSpec{} }, 0},
		{"the rule asks for a person", func(_ *rig, c *rigConfig) { c.specs[1].Access[1].Roles = []member.Role{member.RoleOwner} }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var conf rigConfig
			machineRoutes(&conf)
			r := newRig(t, func(rc *rigConfig) { rc.specs = conf.specs })
			var open atomic.Int32
			r.app.handler = streaming(&open, nil)
			r.machineStream(serviceToken("report"))
			r.machineStream("ci.x.finance")
			r.machines.change(func() { c.change(r, &conf) })
			routes, err := Compile(conf.specs, "https://sso.example.com")
			if err != nil {
				t.Fatal(err)
			}
			r.gate.SetRoutes(routes)
			r.live.Cut(t.Context(), recheck)
			if r.inFlight() != c.left {
				t.Errorf("%d left, want %d", r.inFlight(), c.left)
			}
		})
	}
}

// A program's WebSocket needs no Origin: its bearer does not come along by itself (row
// W01). It ends with the token.
func TestW01W02WebSocketOfAMachine(t *testing.T) {
	r := newRig(t, machineRoutes)
	var open atomic.Int32
	r.app.handler = echo(&open)
	dial := func(h http.Header) (*websocket.Conn, *http.Response, error) {
		return websocket.Dial(t.Context(), r.server.URL+"/api/ws", &websocket.DialOptions{HTTPClient: r.server.Client(), Host: appHost, HTTPHeader: h})
	}
	bear := http.Header{"Authorization": {"Bearer " + serviceToken("deploy")}}
	c, _, err := dial(bear)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	roundTrip(t, c, "hello")
	if _, res, err := dial(http.Header{"Cookie": {cookieName + "=ana"}}); err == nil || res.StatusCode != 403 {
		t.Errorf("a cookie without an Origin: %v", err)
	}
	r.live.Cut(t.Context(), member.Revocation{Seq: 2, Kind: member.Recheck, Scope: member.ScopeAll})
	roundTrip(t, c, "still here")
	if r.machines.again != 1 {
		t.Errorf("asked %d times", r.machines.again)
	}
	closed := make(chan struct{})
	go func() { closedWith(t, c, websocket.StatusPolicyViolation, "session ended"); close(closed) }()
	r.live.Cut(t.Context(), member.Revocation{Seq: 3, Kind: member.End, Scope: member.ScopeSession, Target: secret.Sum(serviceToken("deploy")).String()})
	<-closed
}

func TestExpiryOfATokenClosesItsStreams(t *testing.T) {
	r := newRig(t, machineRoutes, func(c *rigConfig) { c.live.Sweep = 5 * time.Millisecond })
	var open atomic.Int32
	r.app.handler = streaming(&open, nil)
	r.machines.by[serviceToken("report")].Expires = time.Now().Add(300 * time.Millisecond)
	ended(t, r.machineStream(serviceToken("report")))
}

// K10: what a machine was answered no shared cache keeps.
func TestAnswersToMachinesArePrivate(t *testing.T) {
	r := newRig(t, machineRoutes)
	r.app.handler = func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Cache-Control", "public, max-age=60") }
	if res := r.get("/api/x", bearing(serviceToken("deploy"))); !strings.HasPrefix(res.Header.Get("Cache-Control"), "private") {
		t.Errorf("%q", res.Header.Get("Cache-Control"))
	}
}

func TestMachineSpecsAreChecked(t *testing.T) {
	good := func() RouteSpec {
		return RouteSpec{Name: "api", Origins: []string{"https://" + appHost}, Upstream: "http://127.0.0.1:1", Machines: MachineSpec{Tokens: true, Issuers: []Issuer{&fakeIssuer{name: "ci"}}}, Access: []RuleSpec{
			{Allow: AllowMembers, Teams: []string{"ops"}, Machines: []string{"deploy", "ci/*", "ci/repo:a/b:ref"}},
		}}
	}
	if _, err := Compile([]RouteSpec{good()}, "https://sso.example.com"); err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func(*RouteSpec){
		"authorization of another word": func(s *RouteSpec) { s.Authorization = "keep" },
		"issuer without a name":         func(s *RouteSpec) { s.Machines.Issuers = []Issuer{&fakeIssuer{}} },
		"no issuer":                     func(s *RouteSpec) { s.Machines.Issuers = []Issuer{nil} },
		"machine without a name":        func(s *RouteSpec) { s.Access[0].Machines = []string{""} },
		"subject without an issuer":     func(s *RouteSpec) { s.Access[0].Machines = []string{"/x"} },
		"issuer without a subject":      func(s *RouteSpec) { s.Access[0].Machines = []string{"ci/"} },
		"nobody could be both":          func(s *RouteSpec) { s.Access[0].Members = []string{"ana"} },
		"nor show credentials":          func(s *RouteSpec) { s.Access[0].MaxAge = time.Hour },
		"in a public rule":              func(s *RouteSpec) { s.Access[0].Allow, s.Access[0].Teams = AllowPublic, nil },
	} {
		s := good()
		spoil(&s)
		if _, err := Compile([]RouteSpec{s}, "https://sso.example.com"); err == nil {
			t.Errorf("accepted: %s", what)
		}
	}
}

// The zero values of a machine deny.
func TestZeroMachinesDeny(t *testing.T) {
	rt := &Route{name: "api"}
	for what, p := range map[string]*session.Principal{
		"zero machine": {Machine: &session.Machine{}}, "person": principal("x", ana), "issuer's": {Machine: &session.Machine{Issuer: "ci", Routes: []string{"api"}}},
	} {
		rt.machines.Tokens = true
		if rt.named(p) {
			t.Errorf("%s is named", what)
		}
	}
	p := machineOf("x", "deploy", []string{"api"})
	if !rt.named(p) {
		t.Error("benign")
	}
	if rt.machines.Tokens = false; rt.named(p) {
		t.Error("the route takes none")
	}
}

func TestExplainOfAMachine(t *testing.T) {
	r := newRig(t, machineRoutes)
	for _, c := range []struct {
		target, token string
		want          Verdict
		reason        string
	}{
		{"/api/x", "deploy", Admit, ""},
		{"/api/finance/x", "deploy", Deny, "team_missing"},
		{"/x", "deploy", NeedSession, "token_route"},
		{"/api/x", "other", NeedSession, "token_route"},
		{"/api/open", "other", Public, ""},
	} {
		e := r.gate.Explain(Question{Method: "GET", Host: appHost, Target: c.target, Principal: r.machines.by[serviceToken(c.token)], Now: time.Now()})
		if e.Verdict != c.want || e.Reason != c.reason || e.Because == "" {
			t.Errorf("%s by %s: %+v", c.target, c.token, e)
		}
	}
}
