package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/proxy/canonical"
	"github.com/ssogate/ssogate/proxy/upstream"
	"github.com/ssogate/ssogate/proxy/wire"
	"github.com/ssogate/ssogate/session"
)

// Options of [New]. Sessions, SignIn, Reserved, Routes, Live and GatewayURL are
// required.
type Options struct {
	Sessions   Sessions
	Machines   Machines // nil: no bearer is admitted
	SignIn     SignIn
	Reserved   http.Handler // serves /.sso/ on every app origin; r.Host is the configured one
	Routes     *Routes
	Live       *Live
	Assertions Assertions     // nil: a route that asks for signed assertions answers 503
	Audit      audit.Recorder // nil: refusals are only counted
	// SignOut ends the session of p as ssogate's own sign-out does, everywhere before it
	// returns, and forgets the origin's cookies on w. nil: no route may watch a path.
	SignOut    func(w http.ResponseWriter, r *http.Request, p *session.Principal) error
	Outbound   *http.Client // that tells applications of sign-outs; nil: none is told
	GatewayURL string       // where people sign in
	Support    string       // whom a refused person should ask
	// OwnsDomain reports whether a provider is configured to own an e-mail domain
	// (lower case). nil owns none: rules that ask for a domain refuse everybody.
	OwnsDomain func(provider, domain string) bool
	Forms      FormStore      // of routes that keep forms; nil keeps none
	Fronts     []netip.Prefix // addresses of proxies that may ask for verdicts, see [Gate.ServeVerdict]
	Now        clock.Func     // default time.Now
	Log        *slog.Logger
	Metrics    prometheus.Registerer
}

// Gate is the handler of all app origins: every request to an application
// passes it, is read once, decided once, and forwarded exactly as decided.
// Safe for concurrent use.
type Gate struct {
	o       Options
	routes  atomic.Pointer[Routes]
	pools   pools
	swap    sync.Mutex
	denials *denials
	calls   *logoutCalls
	grace   time.Duration // signOutGrace
	metrics gateMetrics
}

// Limits on the number of header lines and cookies; their bytes are limited by
// http.Server.MaxHeaderBytes. Browsers keep at most 180 cookies of a host.
const (
	maxHeaderLines = 256
	maxCookies     = 500
)

// New checks the options and builds the gate. It starts nothing. Run it inside
// web.Handler, on an http.Server without WriteTimeout (streams) and with
// [ConnContext].
func New(o Options) (*Gate, error) {
	if o.Sessions == nil || o.SignIn == nil || o.Reserved == nil || o.Routes == nil || o.Live == nil || o.GatewayURL == "" {
		return nil, errors.New("proxy: sessions, sign-in, reserved, routes, live and gateway url are required")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	g := &Gate{o: o, grace: signOutGrace}
	g.calls = newLogoutCalls(g, o.Outbound)
	if err := g.metrics.register(o.Metrics); err != nil {
		return nil, err
	}
	g.denials = newDenials(o.Audit, o.Now, g.metrics.auditLost.Inc)
	g.routes.Store(o.Routes)
	if o.Metrics != nil {
		if err := errors.Join(o.Metrics.Register(g.calls.made), o.Metrics.Register(upstreams{g})); err != nil {
			return nil, fmt.Errorf("proxy: metrics: %w", err)
		}
	}
	g.pools.running = map[*upstream.Pool]context.CancelFunc{}
	return g, nil
}

// SetRoutes swaps the table. Running streams keep their connection and are asked
// about the new table at the next recheck.
// Upstreams that are the same in both tables keep their connections. t must not have
// been in force before.
func (g *Gate) SetRoutes(t *Routes) {
	g.swap.Lock()
	defer g.swap.Unlock()
	t.inherit(g.routes.Load())
	g.routes.Store(t)
	g.pools.follow(t)
}

// Owns reports whether a Host header names an app origin: the listener sends
// such requests here, and every other to the gateway's own handler.
func (g *Gate) Owns(host string) bool { return g.routes.Load().Owns(host) }

// ServeHTTP implements http.Handler.
func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if no := misframed(r); no != nil {
		g.malformed(w, r, no)
		return
	}
	x, r := g.read(w, r)
	if x == nil {
		return
	}
	if t, is := x.formSent(r); is {
		x.sendForm(r, t)
		return
	}
	x.pass(r)
}

// read reads a request, once, and finds the route it is for. Where the answer is nil,
// the request has been answered.
func (g *Gate) read(w http.ResponseWriter, r *http.Request) (*exchange, *http.Request) {
	q, err := canonical.Parse(r)
	if err != nil {
		if no := wire.Refusal(connOf(r.Context()), r.Host); no != nil {
			err = no
		}
		g.malformed(w, r, err)
		return nil, nil
	}
	st := g.routes.Load().at(q.Host)
	if st == nil {
		g.notHere(w, r, http.StatusMisdirectedRequest, "unknown_host")
		return nil, nil
	}
	if r.Host != st.host {
		// Cookies and sign-in are bound to the configured name: one origin, one name.
		r = r.WithContext(r.Context()) // a shallow copy
		r.Host = st.host
	}
	switch {
	case !canonical.KnownMethod(q.Method) && strings.HasPrefix(q.Path, canonical.ReservedPrefix):
		g.malformed(w, r, &canonical.Refusal{Status: http.StatusMethodNotAllowed, Reason: canonical.BadMethod})
		return nil, nil
	case q.Path == web.FormPath:
		g.forms(w, r, q, st)
		return nil, nil
	case q.Reserved():
		g.o.Reserved.ServeHTTP(w, r)
		return nil, nil
	case q.NearReserved():
		g.notHere(w, r, http.StatusNotFound, "near_reserved")
		return nil, nil
	case headerLines(r.Header) > maxHeaderLines || cookieCount(r.Header) > maxCookies:
		g.malformed(w, r, &canonical.Refusal{Status: http.StatusRequestHeaderFieldsTooLarge, Reason: "too_many_headers"})
		return nil, nil
	}
	return g.exchange(w, r, q, st), r
}

// exchange finds the route of a request and holds the request to it. Where the answer
// is nil, it has been refused.
func (g *Gate) exchange(w http.ResponseWriter, r *http.Request, q canonical.Request, st *site) *exchange {
	ws, ok := webSocket(r)
	if !ok {
		g.malformed(w, r, &canonical.Refusal{Status: http.StatusBadRequest, Reason: "upgrade"})
		return nil
	}
	rt, near := st.find(q)
	if no := rt.tolerates(q); no != nil {
		g.malformed(w, r, no)
		return nil
	}
	if rt == nil || near {
		g.notHere(w, r, http.StatusNotFound, map[bool]string{true: "near_route", false: "no_route"}[near])
		return nil
	}
	web.Annotate(r.Context(), "route", rt.name)
	path, ok := rt.rewrite.outward(q.Path)
	switch {
	case !rt.allows(q.Method):
		g.methodNotAllowed(w, r, rt)
	case !ok:
		g.malformed(w, r, &canonical.Refusal{Status: http.StatusBadRequest, Reason: "prefix_spelling"})
	case rt.limit > 0 && r.ContentLength > rt.limit:
		g.tooLarge(w, r, rt)
	default:
		return &exchange{ResponseWriter: w, g: g, q: q, path: path, st: st, rt: rt, webSocket: ws, client: clientAddr(r)}
	}
	return nil
}

// pass decides, and forwards what may pass.
func (x *exchange) pass(r *http.Request) {
	var ok bool
	if len(x.rt.cors.origins) > 0 {
		x.crossOrigin(r)
		if preflight(r) {
			x.answerPreflight(r)
			return
		}
	}
	switch x.d = x.early(); x.d.Verdict {
	case Deny:
		x.g.refuse(x.ResponseWriter, r, x, x.d, nil)
		return
	case Public:
		x.g.metrics.public.Inc()
		r, ok = x.enter(r)
	default:
		r, ok = x.admit(r)
	}
	if ok {
		x.forward(r)
	}
}

// facts are those of when the request came.
func (x *exchange) facts() facts {
	if x.f.now == nil {
		x.f = x.g.factsOf(x.client)
	}
	return x.f
}

// factsOf a request from an address, as decisions may ask for them.
func (g *Gate) factsOf(a netip.Addr) facts {
	return facts{addr: a, now: g.o.Now, owns: g.o.OwnsDomain}
}

// OwnsOrigin reports whether an origin is one of an application's, now.
func (g *Gate) OwnsOrigin(origin string) bool { return g.routes.Load().OwnsOrigin(origin) }

// exchange is one request on its way through the gate.
type exchange struct {
	http.ResponseWriter
	g         *Gate
	q         canonical.Request
	path      string // that is sent
	st        *site
	rt        *Route
	p         *session.Principal // nil on a public path
	told      *told              // nil on a public path
	cookies   [1]string          // the Cookie line that is sent
	token     []string           // the signed assertion, where the route has one
	d         Decision
	f         facts
	ruling    ruling // of early; refuses before
	client    netip.Addr
	ctx       carried
	webSocket bool
	sendsForm bool   // it is about a kept form itself
	cors      bool   // a page of an allowed origin asks
	bearer    bool   // a bearer says who asks, and nothing else may
	issuer    Issuer // that vouches for it; nil with a service token
	flight    flight
	body      clientBody
	interim   interim
	out       http.Request       // to the application
	url       url.URL            // of it
	res       *http.Response     // the 101
	app       io.ReadWriteCloser // the application's side of a tunnel
	farewell  *time.Timer        // ends the answer to a sign-out
}

// admit decides, and registers what it admits. When it answers false, the
// refusal has been written.
func (x *exchange) admit(r *http.Request) (*http.Request, bool) {
	g, w := x.g, x.ResponseWriter
	// Twice at most: a revocation between reading the principal and registering
	// makes the first reading stale; it may have been about something else.
	for range 2 {
		if !x.person(r) {
			return nil, false
		}
		in, ok := x.enter(r)
		if !ok {
			return nil, false
		}
		if g.o.Sessions.Still(x.p) {
			g.metrics.admitted.Inc()
			annotate(r.Context(), x.p)
			return in, true
		}
		x.leave()
		x.flight = flight{}
	}
	g.refuse(w, r, x, Decision{Verdict: Unavailable, Rule: x.d.Rule, Reason: "revocation_race"}, nil)
	return nil, false
}

// person finds out who asks and decides about them. When it answers false, the refusal
// has been written.
func (x *exchange) person(r *http.Request) bool {
	g, w := x.g, x.ResponseWriter
	p, err := x.who(r)
	if err != nil {
		if r.Context().Err() != nil {
			panic(http.ErrAbortHandler) // the client has gone; there is nobody to answer
		}
		d := withoutSession(x.d, err)
		if x.bearer {
			d = withoutBearer(x.d, err)
			web.Annotate(r.Context(), "bearer", limited(err.Error()))
		}
		g.refuse(w, r, x, d, p)
		return false
	}
	x.p, x.d = p, x.rt.judge(x.q, x.ruling, p, x.facts())
	if x.d.Verdict != Admit {
		g.refuse(w, r, x, x.d, p)
		return false
	}
	if x.webSocket && !x.bearer && !x.mayOpen(r) {
		// The cookie came along by itself; only Origin says whose page asks (row W01).
		g.refuse(w, r, x, Decision{Verdict: Deny, Rule: x.rt.name + ": websocket origin", Reason: "origin"}, p)
		return false
	}
	return x.introduced(r)
}

// enter registers the request, which from then on can be cut, and answers it
// with the context that a cut cancels.
func (x *exchange) enter(r *http.Request) (*http.Request, bool) {
	x.interim.x = x
	x.ctx.begin(r.Context(), x)
	f := &x.flight
	f.live, f.p, f.w, f.ctx = x.g.o.Live, x.p, x.ResponseWriter, &x.ctx
	f.conn, f.shared = connOf(r.Context()), r.ProtoMajor != 1
	if x.p != nil {
		f.again = again{g: x.g, q: x.q, host: r.Host, cookies: r.Header["Cookie"], addr: x.client, issuer: x.issuer}
		if x.bearer {
			f.again.machine = x.p
		}
	}
	if x.webSocket && f.live.draining.Load() {
		x.ctx.finish()
		x.g.refuse(x.ResponseWriter, r, x, Decision{Verdict: Unavailable, Rule: x.d.Rule, Reason: "draining"}, x.p)
		return nil, false
	}
	if err := f.live.enter(f); err != nil {
		x.ctx.finish()
		x.g.tooMany(x.ResponseWriter, r, x, err)
		return nil, false
	}
	return r.WithContext(&x.ctx), true
}

// still is asked before a request is sent late: again, or after it waited (C10).
func (x *exchange) still() error {
	if why := x.flight.cutCause(); why != nil {
		return why
	}
	if x.p != nil && !x.g.o.Sessions.Still(x.p) {
		return errNotStill
	}
	return x.renew()
}

func (x *exchange) leave() {
	x.flight.leave()
	x.ctx.finish()
}

var _ http.Handler = (*Gate)(nil)
