package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/member"
)

// LogoutSpec ties the application's own sign-out to that of ssogate.
type LogoutSpec struct {
	// Path is where the application signs people out: whoever is answered there below
	// 500 is signed out of ssogate too, before he sees the answer.
	Path string
	URL  string // POSTed to when somebody signs out of ssogate; needs an assertion
}

const (
	// signOutTime bounds a sign-out: its barrier waits for other nodes.
	signOutTime = 15 * time.Second
	// signOutGrace is how long the application's answer to it may still take. It is the
	// one exchange that the end of the session does not cut, or nobody could be told.
	signOutGrace = 10 * time.Second
)

var errSignOut = errors.New("proxy: the session could not be ended")

func (rt *Route) compileLogout(s RouteSpec) error {
	if s.Logout.Path != "" {
		p, err := rulePath(s.Logout.Path)
		if err != nil {
			return fmt.Errorf("logout path: %w", err)
		}
		if !under(p, rt.prefix) {
			return errors.New("logout path: outside of the route's prefix")
		}
		rt.logoutPath = foldPath(p)
	}
	if s.Logout.URL != "" {
		u, err := url.Parse(s.Logout.URL)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
			return errors.New("logout url: not an http URL")
		}
		if s.Identity.Assertion.Algorithm == "" {
			return errors.New("logout url: without an assertion the application could not know who calls")
		}
	}
	rt.logoutURL = s.Logout.URL
	return nil
}

// signsOut reports whether an answer of the application is its sign-out of the person
// who asks. A page of another site must not bring it about (row K05): a link would
// carry the cookie, though no form or image does. Nor does a browser that fetches ahead.
func (x *exchange) signsOut(r *http.Request, status int) bool {
	if x.rt.logoutPath == "" || x.p == nil || x.bearer || status >= 500 || foldPath(x.q.Match) != x.rt.logoutPath {
		return false
	}
	if r.Method == http.MethodHead || r.Method == http.MethodOptions {
		return false
	}
	return r.Header.Get("Sec-Fetch-Site") != "cross-site" && !strings.HasPrefix(r.Header.Get("Sec-Purpose"), "prefetch")
}

// signOut ends the session everywhere before the application's answer is passed on
// (G1), and has the answer forget this origin's cookies. An error means that it may go
// on: the application's answer, which says otherwise, must not be passed on then.
func (x *exchange) signOut(r *http.Request, res *http.Response) error {
	if x.g.o.SignOut == nil {
		return errSignOut
	}
	x.flight.signingOut.Store(true)
	// On its own: a browser that hangs up meanwhile has asked for it all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), signOutTime)
	defer cancel()
	h := x.Header()
	had := h["Set-Cookie"]
	if err := x.g.o.SignOut(x.ResponseWriter, r.WithContext(ctx), x.p); err != nil {
		x.flight.signingOut.Store(false)
		return fmt.Errorf("%w: %w", errSignOut, err)
	}
	web.Annotate(r.Context(), "signed_out", "application")
	res.Header["Set-Cookie"] = append(res.Header["Set-Cookie"], h["Set-Cookie"][len(had):]...)
	res.Header["Cache-Control"] = []string{"no-store"}
	f := &x.flight
	x.farewell = time.AfterFunc(x.g.grace, func() {
		f.cut(&cutError{code: closePolicy, text: "session ended", reason: "signed_out"})
	})
	return nil
}

// spared reports whether a flight is not concerned by the end of its session: it has
// brought it about.
func spared(f *flight, r member.Revocation) bool {
	return r.Scope == member.ScopeSession && r.Kind == member.End && f.signingOut.Load()
}

// signOutFailed answers for a session that could not be ended.
func (g *Gate) signOutFailed(x *exchange, r *http.Request, err error) {
	g.o.Log.LogAttrs(r.Context(), slog.LevelError, "a sign-out at an application could not be carried on",
		slog.String("route", x.rt.name), slog.String("error", err.Error()), slog.String("request_id", web.RequestID(r.Context())))
	g.refuse(x.ResponseWriter, r, x, Decision{Verdict: Unavailable, Rule: x.d.Rule, Reason: "sign_out_failed"}, x.p)
}
