package proxy

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/proxy/upstream"
	"github.com/ssogate/ssogate/proxy/wire"
	"github.com/ssogate/ssogate/session"
)

// cookieName is a name that the fake sessions call ours, as the real ones do.
const cookieName = "__Host-ssogate-app-session"

// fakeSessions admits the values of its table. The whole product is tested
// elsewhere; here the gate is.
type fakeSessions struct {
	mu    sync.Mutex
	by    map[string]*session.Principal
	errs  map[string]error
	stale map[*session.Principal]bool
	past  map[string]member.ID
	calls int

	panics bool
}

func (f *fakeSessions) Admit(_ context.Context, r *http.Request) (*session.Principal, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	if f.panics {
		panic("boom") // the injected fault (25): a check that breaks while a stream is open
	}
	cs := r.CookiesNamed(cookieName)
	if len(cs) == 0 {
		return nil, session.ErrNoCookie
	}
	if len(cs) > 1 {
		return nil, session.ErrBadCookie
	}
	if err := f.errs[cs[0].Value]; err != nil {
		return nil, err
	}
	if p := f.by[cs[0].Value]; p != nil {
		return p, nil
	}
	return nil, session.ErrBadCookie
}

// Again implements Sessions: here whoever may begin may also go on.
func (f *fakeSessions) Again(ctx context.Context, r *http.Request) (*session.Principal, error) {
	return f.Admit(ctx, r)
}

// Expired implements Sessions: by the cookie's value, whose session it was.
func (f *fakeSessions) Expired(_ context.Context, r *http.Request) (session.Past, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	cs := r.CookiesNamed(cookieName)
	if len(cs) != 1 {
		return session.Past{}, session.ErrNoCookie
	}
	if err := f.errs["past "+cs[0].Value]; err != nil {
		return session.Past{}, err
	}
	if id := f.past[cs[0].Value]; id != "" {
		return session.Past{Session: secret.Sum(cs[0].Value), Member: id}, nil
	}
	return session.Past{}, session.ErrNotPast
}

func (f *fakeSessions) Still(p *session.Principal) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.stale[p]
}

func (f *fakeSessions) IsOurCookie(name string) bool {
	n := strings.TrimPrefix(strings.ToLower(name), "__host-")
	return strings.HasPrefix(n, "ssogate-")
}

func (f *fakeSessions) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

type fakeSignIn struct {
	mu      sync.Mutex
	returns []string
	fresh   []bool
	err     error
	tooMany bool
}

func (s *fakeSignIn) BeginURL(w http.ResponseWriter, _ *http.Request, b Begin) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return "", s.err
	}
	s.returns = append(s.returns, b.Origin+b.ReturnPath)
	s.fresh = append(s.fresh, b.Fresh)
	w.Header().Add("Set-Cookie", "ssogate-app-binding=b; HttpOnly")
	return "https://sso.example.com/login?id=1", nil
}

func (s *fakeSignIn) TooMany(error) bool { return s.tooMany }

type events struct {
	mu   sync.Mutex
	list []audit.Event
	err  error
}

func (e *events) Record(_ context.Context, ev audit.Event) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, ev)
	return e.err
}

func (e *events) reasons() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []string
	for _, ev := range e.list {
		out = append(out, ev.Reason)
	}
	return out
}

// seen is one request as the application received it.
type seen struct {
	method, target, host string
	header               http.Header
	body                 string
}

// app is an application that remembers what it saw.
type app struct {
	mu      sync.Mutex
	seen    []seen
	handler http.HandlerFunc // after remembering; nil answers 200 "app"
}

func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	i := len(a.seen)
	a.seen = append(a.seen, seen{method: r.Method, target: r.RequestURI, host: r.Host, header: r.Header.Clone()})
	h := a.handler
	a.mu.Unlock()
	if h != nil {
		h(w, r)
		return
	}
	b, _ := io.ReadAll(r.Body)
	a.mu.Lock()
	a.seen[i].body = string(b)
	a.mu.Unlock()
	_, _ = io.WriteString(w, "app")
}

func (a *app) requests() []seen {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.seen)
}

func (a *app) reset() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen = nil
}

// rig is a gate on a real listener in front of a real application.
type rig struct {
	t        *testing.T
	app      *app
	up       *httptest.Server
	sessions *fakeSessions
	machines *fakeMachines
	signIn   *fakeSignIn
	events   *events
	live     *Live
	gate     *Gate
	server   *server
	addr     string
	log      *lockedBuffer
	registry *prometheus.Registry
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Reset()
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

type rigOption func(*rigConfig)

type rigConfig struct {
	live       LiveOptions
	specs      []RouteSpec
	upstream   upstream.Times
	upURL      string
	assertions Assertions
	h2         bool
	fronts     []netip.Prefix
	forms      FormStore
	now        func() time.Time
	head       time.Duration // that a client has to send one; default 10s
}

const appHost = "app.example.com"

var ana = member.Member{
	ID: "m-ana", UserName: "ana@example.com", Email: "ana@example.com", DisplayName: "Ana", Wish: true, Accepted: true, Epoch: 3,
}

func principal(token string, m member.Member, teams ...string) *session.Principal {
	return &session.Principal{
		Session: secret.Sum(token), Member: m, Teams: teams, Provider: "okta",
		Issued: time.Now(), Expires: time.Now().Add(time.Hour),
	}
}

func newRig(t *testing.T, opts ...rigOption) *rig {
	t.Helper()
	a := &app{}
	up := httptest.NewServer(a)
	t.Cleanup(up.Close)
	c := rigConfig{upURL: up.URL}
	for _, o := range opts {
		o(&c)
	}
	if c.specs == nil {
		c.specs = []RouteSpec{
			{Name: "app", Origins: []string{"https://" + appHost}, Upstream: c.upURL, Public: []string{"/public/*", "/exact"}},
			{Name: "admin", Origins: []string{"https://" + appHost}, PathPrefix: "/admin", Upstream: c.upURL, Teams: []string{"finance", "ops"}},
		}
	}
	for i := range c.specs {
		if c.specs[i].Upstream == "" {
			c.specs[i].Upstream = c.upURL
		}
		c.specs[i].To.Times = c.upstream
	}
	routes, err := Compile(c.specs, "https://sso.example.com")
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, app: a, up: up, signIn: &fakeSignIn{}, events: &events{}, log: &lockedBuffer{}}
	r.sessions = &fakeSessions{
		by: map[string]*session.Principal{
			"ana": principal("ana", ana, "sales"),
			"ben": principal("ben", member.Member{ID: "m-ben", UserName: "ben", Wish: true, Accepted: true, Epoch: 1}, "finance"),
		},
		errs: map[string]error{
			"expired": session.ErrExpired, "revoked": session.ErrRevoked, "inactive": session.ErrMember, "down": errors.New("redis: connection refused"),
		},
		stale: map[*session.Principal]bool{},
	}
	r.machines = newFakeMachines()
	r.registry = prometheus.NewRegistry()
	c.live.Metrics = r.registry
	if r.live, err = NewLive(c.live); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(r.log, nil))
	r.gate, err = New(Options{
		Sessions: r.sessions, Machines: r.machines, SignIn: r.signIn, Routes: routes, Live: r.live, Audit: r.events, GatewayURL: "https://sso.example.com",
		Support: "help@example.com", Log: log, Assertions: c.assertions, Fronts: c.fronts, Forms: c.forms, Now: c.now,
		Reserved: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { _, _ = io.WriteString(w, "reserved "+q.URL.Path) }),
	})
	if err != nil {
		t.Fatal(err)
	}
	r.server = serve(web.Handler(http.HandlerFunc(r.serve), web.Options{Log: log, Secure: true, Trusted: c.fronts}), c,
		slog.NewLogLogger(log.Handler(), slog.LevelDebug))
	running, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	go r.gate.Run(running)
	r.addr = r.server.Listener.Addr().String()
	t.Cleanup(func() {
		// Streams that a test left open must not keep the server from closing.
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		r.live.Shutdown(ctx, 0)
		r.server.CloseClientConnections()
		r.server.Close()
	})
	return r
}

// server is a httptest.Server behind the listener of the product, which httptest's own
// TLS cannot be.
type server struct {
	*httptest.Server
	client *http.Client
}

func (s *server) Client() *http.Client { return s.client }

func serve(h http.Handler, c rigConfig, log *log.Logger) *server {
	s := &server{Server: httptest.NewUnstartedServer(h)}
	s.Config.ConnContext = ConnContext
	s.Config.ErrorLog = log
	s.Config.ReadHeaderTimeout, s.Config.MaxHeaderBytes = cmp.Or(c.head, 10*time.Second), 64<<10
	s.Config.HTTP2 = wire.HTTP2()
	o := wire.Options{HeaderBytes: s.Config.MaxHeaderBytes, ErrorLog: log}
	if c.h2 {
		example := httptest.NewUnstartedServer(nil)
		example.EnableHTTP2 = true
		example.StartTLS()
		s.TLS, s.client = example.TLS.Clone(), example.Client()
		example.Close()
		s.TLS.NextProtos = nil // the listener's own
		o.TLS = s.TLS
	}
	s.Listener = wire.Listen(s.Listener, o)
	s.Start()
	if !c.h2 {
		s.client = s.Server.Client()
		return s
	}
	s.URL = strings.Replace(s.URL, "http:", "https:", 1)
	return s
}

// as is the same rig for a sub-test to fail in.
func (r *rig) as(t *testing.T) *rig {
	c := *r
	c.t = t
	return &c
}

// serve tells questions of fronts from requests, as the whole product does.
func (r *rig) serve(w http.ResponseWriter, q *http.Request) {
	if r.gate.AsksForVerdict(q) {
		r.gate.ServeVerdict(w, q)
		return
	}
	r.gate.ServeHTTP(w, q)
}

// answerOf is what a raw exchange brought.
type answerOf struct {
	*http.Response
	text string
	rest string // bytes after the first response
}

// raw sends bytes as they are: net/http's client would tidy them. It reads one
// answer, and then what else comes: until the end where the connection is to
// close, else for a moment. (Closing the sending side first would look to the
// server like a client that left.)
func (r *rig) raw(request string) answerOf {
	r.t.Helper()
	c := r.dial()
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, request); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		r.t.Logf("write: %v", err) // refused while we were still sending: fine
	}
	return readAnswer(r.t, c, strings.HasPrefix(request, "HEAD "))
}

func readAnswer(t *testing.T, c net.Conn, head bool) answerOf {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	br := bufio.NewReader(c)
	req := &http.Request{Method: "GET"}
	if head {
		req.Method = "HEAD"
	}
	res, err := http.ReadResponse(br, req)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	b, _ := io.ReadAll(res.Body)
	if !res.Close {
		_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	}
	rest, _ := io.ReadAll(br)
	return answerOf{Response: res, text: string(b), rest: string(rest)}
}

func (r *rig) dial() net.Conn {
	r.t.Helper()
	var c net.Conn
	var err error
	if r.server.TLS != nil {
		c, err = tls.Dial("tcp", r.addr, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // a test's own server
	} else {
		c, err = net.Dial("tcp", r.addr)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// get sends a well-formed request with these header lines.
func (r *rig) get(target string, lines ...string) answerOf {
	r.t.Helper()
	return r.send("GET", target, lines...)
}

func (r *rig) send(method, target string, lines ...string) answerOf {
	r.t.Helper()
	var b strings.Builder
	b.WriteString(method + " " + target + " HTTP/1.1\r\n")
	if !slices.ContainsFunc(lines, func(s string) bool { return strings.HasPrefix(s, "Host:") }) {
		b.WriteString("Host: " + appHost + "\r\n")
	}
	if !slices.ContainsFunc(lines, func(s string) bool { return strings.HasPrefix(s, "Connection:") }) {
		b.WriteString("Connection: close\r\n")
	}
	for _, l := range lines {
		b.WriteString(l + "\r\n")
	}
	b.WriteString("\r\n")
	return r.raw(b.String())
}

func as(token string) string { return "Cookie: " + cookieName + "=" + token }

const (
	navigate = "Sec-Fetch-Mode: navigate"
	html     = "Accept: text/html,application/xhtml+xml"
)

// one answers the single request the application saw.
func (r *rig) one() seen {
	r.t.Helper()
	got := r.app.requests()
	if len(got) != 1 {
		r.t.Fatalf("the application saw %d requests, want 1", len(got))
	}
	return got[0]
}

// none fails when a byte reached the application.
func (r *rig) none(why string) {
	r.t.Helper()
	if got := r.app.requests(); len(got) != 0 {
		r.t.Fatalf("the application saw %s %s: %s", got[0].method, got[0].target, why)
	}
}

// eventually waits for a condition that another goroutine makes true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("did not happen within 5 s: %s", what)
}
