package sso

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/settings"
)

// Directory decides which member a verified sign-in is. *member.Directory is the real one.
type Directory interface {
	Admit(ctx context.Context, l member.Login) (member.Member, error)
	// Foresee answers what Admit would, and leaves nothing behind.
	Foresee(ctx context.Context, l member.Login) (member.Member, error)
	LookInvitation(ctx context.Context, tokenHash string) (member.Invitation, member.Member, error)
	OpenInvitation(ctx context.Context, tokenHash string) (member.Invitation, error)
	EndLogins(ctx context.Context, by member.Actor, l member.Logins, reason string) error
}

// Options are what a Flow works with. All are required except Home, Budget, Grants,
// SignOuts with Sealer, Shares, TestProviders, Results, SignedOut, Local, Now and Registry.
type Options struct {
	URL       string                // gateway origin, no trailing slash
	Home      string                // app origin to land on when a sign-in began nowhere in particular, or ""
	Origins   func(string) bool     // whether an origin is one of our app origins
	Live      *settings.Live        //
	Providers func(string) Provider // by id; nil when unknown or not active
	Pending   Pending
	Budget    int    // pending sign-ins that Pending keeps at most; one client gets half (D01)
	Shares    Shares // so that one client gets that half once, not once on every node; or nil
	Sessions  *session.Manager
	Directory Directory
	Audit     audit.Recorder
	Grants    Grants         // nil: no refresh token is kept
	SignOuts  SignOuts       // nil: providers neither are told of sign-outs nor can ask for one
	Sealer    *secret.Sealer // of SignOuts
	// TestProviders answers the provider and settings of exactly this digest, active
	// or draft, for tests alone. nil: nothing can be tested.
	TestProviders func(id, digest string) (Provider, settings.Provider, bool)
	Results       settings.Results // of tests; nil: none is kept beyond its report
	// SignedOut is told of each session that its person has ended here. It must not
	// wait. nil: nobody wants to know.
	SignedOut func(*session.Principal)
	Local     LocalSignIn // nil: nobody signs in by a password
	Log       *slog.Logger
	Now       clock.Func
	Registry  prometheus.Registerer
}

// Flow is the sign-in of browsers, from the first redirect to the cookie on the
// app host. It is a state machine kept on the server: the browser carries only
// opaque ids. Safe for concurrent use.
//
//	Login (begun) -> at the IdP -> outcome under a code -> session -> hand-off -> app cookie
type Flow struct {
	Options
	cookies  *session.Cookies
	clients  *clients
	refusals *refusals
	starting *starting
	results  *prometheus.CounterVec
	tests    *Tests
}

// New makes a Flow.
func New(o Options) (*Flow, error) {
	if o.URL == "" || o.Origins == nil || o.Live == nil || o.Providers == nil || o.Pending == nil ||
		o.Sessions == nil || o.Directory == nil || o.Audit == nil || o.Log == nil {
		return nil, errors.New("sso: flow needs all of its parts")
	}
	if o.SignOuts != nil && o.Sealer == nil {
		return nil, errors.New("sso: sign-outs are kept sealed")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	f := &Flow{Options: o, cookies: o.Sessions.Cookies(), results: prometheus.NewCounterVec(
		prometheus.CounterOpts{Name: "signins_total", Help: "Sign-ins by provider and result."}, []string{"provider", "result"})}
	f.clients, f.starting = newClients(o.Budget, o.Shares, o.Now), newStarting(o.Now)
	f.tests = NewTests(o.URL, o.Pending, o.Now)
	f.refusals = newRefusals(o.Audit, o.Now, func(e audit.Event, err error) {
		o.Log.Error("audit event lost", "kind", e.Kind, "reason", e.Reason, "request", e.RequestID, "err", err)
	})
	if o.Registry != nil {
		o.Registry.MustRegister(f.results)
	}
	return f, nil
}

// Gateway is the handler of the flow's paths on the gateway origin.
func (f *Flow) Gateway() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /login", f.login)
	mux.HandleFunc("POST /login", f.byAddress)
	mux.HandleFunc("GET "+passwordPath, f.passwordPage)
	mux.HandleFunc("POST "+passwordPath, f.byPassword)
	mux.HandleFunc("GET /login/test", f.testBegin)
	mux.HandleFunc("GET /login/test/done", f.testDone)
	mux.HandleFunc("GET /saml/{provider}/metadata", f.metadata)
	mux.HandleFunc("POST /saml/{provider}/acs", f.callback(settings.SAML))
	mux.HandleFunc("GET /saml/{provider}/acs", f.wrongBinding)
	mux.HandleFunc("GET /oauth/{provider}/callback", f.callback(settings.OIDC, settings.GitHub))
	mux.HandleFunc("GET /saml/{provider}/slo", f.slo)
	mux.HandleFunc("POST /saml/{provider}/slo", f.slo)
	mux.HandleFunc("POST /oauth/{provider}/backchannel-logout", f.backchannel)
	mux.HandleFunc("GET /logout/provider", f.toProvider)
	mux.HandleFunc("GET /logout/done", f.logoutDone)
	mux.HandleFunc("GET /complete", f.complete)
	mux.HandleFunc("POST /complete/accept", f.accept)
	mux.HandleFunc("GET /invite/{token}", f.invitation)
	mux.HandleFunc("POST /invite/{token}", f.openInvitation)
	mux.HandleFunc("GET /logout", f.logoutPage(session.Gateway))
	mux.HandleFunc("POST /logout", f.logout(session.Gateway))
	mux.HandleFunc("/", f.notFound)
	return f.sameOrigin(mux)
}

// Reserved is the handler of /.sso/ on every app origin. The caller has already
// made sure that the request is for a known app origin.
func (f *Flow) Reserved() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.sso/complete", f.appComplete)
	mux.HandleFunc("GET /.sso/logout", f.logoutPage(session.App))
	mux.HandleFunc("POST /.sso/logout", f.logout(session.App))
	mux.HandleFunc("GET /.sso/whoami", f.whoami)
	mux.HandleFunc("/", f.notFound)
	return f.sameOrigin(mux)
}

// sameOrigin is [web.SameOrigin] for all but what an IdP sends: its POST is cross-site
// by nature, and it is believed for its signature, never for cookies (protocols W2).
func (f *Flow) sameOrigin(next http.Handler) http.Handler {
	return web.SameOrigin(next, f.page, "POST /saml/{provider}/acs", "POST /saml/{provider}/slo", "POST /oauth/{provider}/backchannel-logout")
}

// page writes a page with what all pages of the flow share.
func (f *Flow) page(w http.ResponseWriter, r *http.Request, p web.Page) {
	if p.Support == "" && p.Status >= 400 {
		p.Support = f.Live.Load().Organization.Support
	}
	web.WritePage(w, r, p)
}

// unavailable answers a store that could not: 503, nothing destroyed (G2).
func (f *Flow) unavailable(w http.ResponseWriter, r *http.Request, err error) {
	f.Log.ErrorContext(r.Context(), "sign-in unavailable", "request", web.RequestID(r.Context()), "err", err)
	web.Annotate(r.Context(), "reason", "store_unavailable")
	w.Header().Del("Set-Cookie") // a binding cookie may have been set for a sign-in that does not begin
	f.page(w, r, web.Page{
		Status: http.StatusServiceUnavailable, Title: "Signing in is not possible right now", Retry: 5 * time.Second,
		Lead: "Something that ssogate needs does not answer. Nothing is lost: wait a moment and try again.",
	})
}

// TooMany reports whether an error of BeginURL means that too many sign-ins are pending.
func (f *Flow) TooMany(err error) bool { return errors.Is(err, ErrFull) }

// storeFailed answers an error of the pending store: full is 429, else 503.
func (f *Flow) storeFailed(w http.ResponseWriter, r *http.Request, err error) {
	if !f.TooMany(err) {
		f.unavailable(w, r, err)
		return
	}
	web.Annotate(r.Context(), "reason", "too_many_sign_ins")
	w.Header().Del("Set-Cookie")
	f.page(w, r, web.Page{
		Status: http.StatusTooManyRequests, Title: "Too many people are signing in", Retry: 30 * time.Second,
		Lead: "Wait half a minute and open the page again. Those who are signed in already are not affected.",
	})
}

// refuse ends a sign-in: a plain page, an audit event with the reason, and no
// detail of why for whoever holds the browser (row D of the threat table).
func (f *Flow) refuse(w http.ResponseWriter, r *http.Request, provider, reason string, cause error, p web.Page) {
	f.refusePerson(w, r, provider, reason, "", cause, p)
}

// refusePerson is refuse for somebody whom the directory knows.
func (f *Flow) refusePerson(w http.ResponseWriter, r *http.Request, provider, reason string, who member.ID, cause error, p web.Page) {
	f.results.WithLabelValues(provider, "refused").Inc()
	web.Annotate(r.Context(), "reason", reason)
	f.Log.WarnContext(r.Context(), "sign-in refused", "request", web.RequestID(r.Context()), "provider", provider, "reason", reason, "err", cause)
	e := f.event(r, "signin.refused", audit.Denied, provider, reason)
	if who != "" {
		e.Target = "member:" + string(who)
	}
	f.refusals.record(r.Context(), e)
	f.page(w, r, p)
}

func (f *Flow) event(r *http.Request, kind string, o audit.Outcome, provider, reason string) audit.Event {
	e := audit.Event{
		Time: f.Now().UTC(), Kind: kind, Outcome: o, Actor: "anonymous", Provider: provider,
		RequestID: web.RequestID(r.Context()), Reason: reason,
	}
	if a := web.ClientAddr(r.Context()); a.IsValid() {
		e.Address = a.String()
	}
	return e
}

// again is the page after a refusal that a new attempt may mend.
func (f *Flow) again(status int, title, lead, provider string) web.Page {
	q := url.Values{}
	if provider != "" {
		q.Set("provider", provider)
	}
	again := f.URL + "/login"
	if len(q) > 0 {
		again += "?" + q.Encode()
	}
	// The IdP may go on with whom it knows; asked to, it lets somebody else in.
	q.Set("force", "1")
	return web.Page{Status: status, Title: title, Lead: lead, Actions: []web.Action{
		{Label: "Sign in again", URL: again}, {Label: "Use another account", URL: f.URL + "/login?" + q.Encode(), Quiet: true},
	}}
}

func (f *Flow) notFound(w http.ResponseWriter, r *http.Request) {
	f.page(w, r, web.Page{Status: http.StatusNotFound, Title: "There is no such page", Lead: "Check the address, or start from the application you wanted to use."})
}

func (f *Flow) wrongBinding(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Allow", http.MethodPost)
	f.page(w, r, f.again(http.StatusMethodNotAllowed, "This address only takes answers from the identity provider",
		"Opening it in a browser does nothing. Start from the application you wanted to use.", ""))
}

// metadata serves the SP metadata of a SAML provider.
func (f *Flow) metadata(w http.ResponseWriter, r *http.Request) {
	if m, ok := f.Providers(r.PathValue("provider")).(interface {
		ServeMetadata(http.ResponseWriter, *http.Request)
	}); ok {
		m.ServeMetadata(w, r)
		return
	}
	f.notFound(w, r)
}

// prefetch reports a request made by the browser on its own account: it must
// not use up anything (W3). HEAD is another.
func prefetch(r *http.Request) bool {
	return r.Method == http.MethodHead || strings.Contains(r.Header.Get("Sec-Purpose"), "prefetch") ||
		strings.Contains(r.Header.Get("Purpose"), "prefetch")
}

// param is one query parameter of ours: at most once, at most max bytes. A
// repeated one is refused as absent: two readers might pick different ones.
func param(r *http.Request, name string, limit int) string {
	v := r.URL.Query()[name]
	if len(v) != 1 || len(v[0]) > limit {
		return ""
	}
	return v[0]
}

// putJSON and getJSON keep the pending store free of our types.
func (f *Flow) putJSON(ctx context.Context, k Key, v any, until time.Time) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("sso: encode %s: %w", k.Kind, err)
	}
	return f.Pending.Put(ctx, k, b, until)
}

func (f *Flow) getJSON(ctx context.Context, k Key, v any) error {
	b, err := f.Pending.Get(ctx, k)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("sso: decode %s: %w", k.Kind, err)
	}
	return nil
}

func key(k RecordKind, token string) Key { return Key{Kind: k, Hash: secret.Sum(token)} }
