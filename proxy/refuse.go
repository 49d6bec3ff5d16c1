package proxy

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/internal/bearer"
	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/proxy/canonical"
	"github.com/ssogate/ssogate/proxy/upstream"
	"github.com/ssogate/ssogate/session"
)

// audience is who reads a refusal.
type audience int

// Audiences. The zero value is a program: it is never redirected.
const (
	program audience = iota
	pageLoad
	formPost
)

// audienceOf tells a person's page load from a script, an API client or an
// upgrade. Browsers say it in Sec-Fetch-Mode (a header that scripts cannot set);
// where it is absent (old browsers, plain http) Accept decides.
func audienceOf(r *http.Request) audience {
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	// A bearer token is a program's; Basic may be a browser's, remembered for a legacy
	// application.
	if r.Header.Get("Upgrade") != "" || r.Header.Get("X-Requested-With") != "" || bearer.Presented(r.Header) {
		return program
	}
	// A part of a file that continues as a sign-in page would be a broken file;
	// a prefetch must not begin a sign-in that nobody asked for.
	if r.Header.Get("Range") != "" || strings.Contains(r.Header.Get("Sec-Purpose"), "prefetch") {
		return program
	}
	switch r.Header.Get("Sec-Fetch-Mode") {
	case "navigate":
	case "":
		if !acceptsHTML(r) {
			return program
		}
	default:
		return program
	}
	switch {
	case read:
		return pageLoad
	case r.Method == http.MethodPost:
		return formPost
	}
	return program
}

func acceptsHTML(r *http.Request) bool {
	for _, v := range r.Header["Accept"] {
		for t := range strings.SplitSeq(v, ",") {
			t, _, _ = strings.Cut(t, ";")
			if strings.EqualFold(strings.TrimSpace(t), "text/html") {
				return true
			}
		}
	}
	return false
}

// refuse answers a decision that is not to admit. p may be nil.
func (g *Gate) refuse(w http.ResponseWriter, r *http.Request, x *exchange, d Decision, p *session.Principal) {
	g.note(r, x.rt, d, p)
	switch d.Verdict {
	case NeedSession:
		if x.bearer {
			g.needToken(w, r, x)
			return
		}
		g.needSession(w, r, x, d.Reason == reasonTooOld)
	case Unavailable:
		// No cookie is touched: the session is as good as before (G2).
		setRetryAfter(w.Header())
		g.answer(w, r, web.Page{
			Status: http.StatusServiceUnavailable, Title: "Please try again in a moment", Retry: retryAfter * time.Second,
			Lead:    "The gateway cannot check your sign-in right now. You are still signed in, and nothing is lost.",
			Actions: retryAction(r, x),
		})
	default:
		if x.bearer {
			g.noScope(w, r, x, d)
			return
		}
		g.forbidden(w, r, x, d, p)
	}
}

// needSession starts a sign-in where somebody is there to do it. fresh: there is a
// session, but the credentials were shown too long ago for this page.
func (g *Gate) needSession(w http.ResponseWriter, r *http.Request, x *exchange, fresh bool) {
	st := x.st
	switch audienceOf(r) {
	case pageLoad:
		to, err := g.o.SignIn.BeginURL(w, r, Begin{Origin: st.origin, ReturnPath: x.q.Target(), Fresh: fresh})
		if err != nil {
			g.noSignIn(w, r, x, err)
			return
		}
		h := w.Header()
		h.Set("Location", to)
		h.Set("Cache-Control", "no-store")
		h.Set("Referrer-Policy", "no-referrer") // the query may hold what the next origin must not see
		h.Set("Content-Length", "0")
		w.WriteHeader(http.StatusFound)
	case formPost:
		if kept, err := x.keep(r); err != nil {
			g.formStoreFailed(r, err)
		} else if kept {
			x.formWaits(r)
			return
		}
		// A redirect would turn the POST into a GET and lose what was typed
		// without a word (row P09).
		setChallenge(w.Header(), st, g.o.GatewayURL, fresh)
		web.WritePage(w, r, web.Page{
			Status: http.StatusUnauthorized, Title: "Your form was not sent", Support: g.o.Support,
			Lead:    "You are signed out, so nothing was sent and nothing was changed. Sign in in a new tab, then come back to the form and send it again.",
			Actions: []web.Action{{Label: "Sign in", URL: formPage(r, st)}},
		})
	default:
		setChallenge(w.Header(), st, g.o.GatewayURL, fresh)
		if x.rt.machines.on() {
			w.Header().Add("WWW-Authenticate", bearerChallenge(st, ""))
		}
		title, detail := "sign-in required", "There is no valid session. Open "+st.origin+"/ in a browser to sign in, then repeat the request."
		if fresh {
			title, detail = "fresh sign-in required", "This needs a sign-in that is not so long ago. Open "+st.origin+x.q.Path+" in a browser, then repeat the request."
		}
		g.problem(w, r, http.StatusUnauthorized, title, detail)
	}
}

// setChallenge is the hint that a 401 owes its client (RFC 9110 section 11.6.1).
// The scheme is unknown to browsers, so none shows a password box.
// A fresh one is told as RFC 9470 section 3 tells it for bearer tokens.
func setChallenge(h http.Header, st *site, gateway string, fresh bool) {
	c := `SSO realm="` + st.origin + `", login_uri="` + strings.TrimSuffix(gateway, "/") + `/login"`
	if fresh {
		c += `, error="insufficient_user_authentication"`
	}
	h.Set("WWW-Authenticate", c)
}

// formPage is where the form probably stands: the page that sent it, if it is
// of this origin, else the front page.
func formPage(r *http.Request, st *site) string {
	if path, ok := strings.CutPrefix(r.Header.Get("Referer"), st.origin); ok {
		path, _, _ = strings.Cut(path, "#")
		if q, err := canonical.ParseTarget(path); err == nil && !q.Reserved() && !q.NearReserved() {
			return path
		}
	}
	return "/"
}

func (g *Gate) noSignIn(w http.ResponseWriter, r *http.Request, x *exchange, err error) {
	page := web.Page{
		Status: http.StatusServiceUnavailable, Title: "Signing in is not possible right now", Retry: retryAfter * time.Second,
		Lead:    "The gateway cannot begin a sign-in. Please try again in a moment.",
		Actions: retryAction(r, x),
	}
	reason := "sign_in_unavailable"
	if g.o.SignIn.TooMany(err) {
		page.Status, page.Title, reason = http.StatusTooManyRequests, "Many people are signing in right now", "sign_in_flood"
	}
	g.note(r, x.rt, Decision{Verdict: Unavailable, Rule: x.d.Rule, Reason: reason}, nil)
	g.answer(w, r, page)
}

// forbidden tells a signed-in person who they are to us, why they may not, and
// how to be somebody else: otherwise the only way out of a wrong account is to
// clear the browser (row D02).
func (g *Gate) forbidden(w http.ResponseWriter, r *http.Request, x *exchange, d Decision, p *session.Principal) {
	page := web.Page{
		Status: http.StatusForbidden, Title: "You may not open this page", Support: g.o.Support,
		Facts:   []web.Fact{{Label: "Application", Value: x.st.host}, {Label: "Reason", Value: reasonText(d.Reason)}},
		Lead:    "You are signed in, but this account has no access here. If you have another account, use that one; otherwise ask whoever looks after access.",
		Actions: []web.Action{{Label: "Use another account", URL: canonical.ReservedPrefix + "logout?again=1"}},
	}
	if p != nil {
		page.Account = p.Member.UserName
	} else if d.Reason == "address" || d.Reason == "nobody" || d.Reason == "no_websockets" || d.Reason == "cors_origin" || d.Reason == "no_rule" {
		// Decided before anybody was asked who they are: another account changes nothing.
		page.Lead = "The gateway does not let this through, whoever asks. If you think that it should, ask whoever looks after access."
		page.Actions = nil
	}
	g.answer(w, r, page)
}

func reasonText(reason string) string {
	switch reason {
	case "team_missing":
		return "the account is in none of the teams that may use this application"
	case "member_inactive":
		return "the account is not active"
	case "role_missing":
		return "the account does not have the role that this page asks for"
	case "machine":
		return "this asks for something that only a person can have"
	case "machine_not_named":
		return "this machine is not one of those that may use this address"
	case "machines_only":
		return "this page is for programs only"
	case "member_not_named":
		return "the account is not one of those that may use this page"
	case "provider":
		return "the account signed in through another identity provider than this page asks for"
	case "email_domain":
		return "the account has no address that its identity provider vouches for in the right domain"
	case "address":
		return "this page can only be opened from certain networks"
	case "nobody", "no_rule":
		return "this page is closed to everybody"
	case "no_websockets":
		return "this page takes no WebSockets"
	case "cors_origin":
		return "pages of other sites may not use this"
	case "origin":
		return "the connection was opened by a page of another site"
	default:
		return reason
	}
}

// tooMany answers a registration that was over a limit.
func (g *Gate) tooMany(w http.ResponseWriter, r *http.Request, x *exchange, err error) {
	page := web.Page{
		Status: http.StatusServiceUnavailable, Title: "Too much is going on right now", Retry: retryAfter * time.Second,
		Lead:    "The gateway is at its limit. Please try again in a moment.",
		Actions: retryAction(r, x),
	}
	d := Decision{Verdict: Unavailable, Rule: x.d.Rule, Reason: "limit_total"}
	if errors.Is(err, errPerSession) {
		page.Status, page.Title = http.StatusTooManyRequests, "Too many open tabs or downloads"
		page.Lead = "You have more requests open at once than one session may. Close some and try again."
		d.Reason = "limit_session"
	}
	g.note(r, x.rt, d, x.p)
	g.answer(w, r, page)
}

// applicationDown is faults 12 and 13. Our own pages keep working meanwhile.
func (g *Gate) applicationDown(w http.ResponseWriter, r *http.Request, x *exchange, f upstream.Fault) {
	page := web.Page{
		Status: f.Status(), Title: "The application does not answer", Support: g.o.Support,
		Lead:    "You are signed in and the gateway works, but the application behind it could not be reached. Please try again in a moment.",
		Actions: retryAction(r, x),
	}
	if f == upstream.TooSlow {
		page.Title = "The application takes too long"
		page.Lead = "You are signed in and the gateway works, but the application behind it did not answer in time. What you sent may or may not have been done."
	}
	if f == upstream.Busy {
		page.Title, page.Retry = "The application is busy", retryAfter*time.Second
		page.Lead = "You are signed in and the gateway works, but more people use the application right now than it takes at once. Please try again in a moment."
	}
	g.answer(w, r, page)
}

// retryAction offers the same page again where that repeats nothing.
func retryAction(r *http.Request, x *exchange) []web.Action {
	if r.Method != http.MethodGet {
		return nil
	}
	return []web.Action{{Label: "Try again", URL: x.q.Target()}}
}

// malformed refuses a request that has no single reading, or too many parts.
// The connection is closed: what follows on it cannot be trusted to begin where
// we think it does.
func (g *Gate) malformed(w http.ResponseWriter, r *http.Request, err error) {
	status, reason := http.StatusBadRequest, canonical.Reason("malformed")
	if no, ok := errors.AsType[*canonical.Refusal](err); ok {
		status, reason = no.Status, no.Reason
	}
	g.note(r, nil, Decision{Verdict: Malformed, Rule: "canonical request", Reason: string(reason)}, nil)
	h := w.Header()
	h.Set("Connection", "close")
	if r.ProtoMajor == 1 {
		// Otherwise net/http waits for the rest of the body before it closes.
		_ = http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0))
	}
	if status == http.StatusMethodNotAllowed {
		h.Set("Allow", canonical.Methods)
	}
	g.answer(w, r, web.Page{
		Status: status, Title: "This request cannot be passed on", Support: g.o.Support,
		Lead:  "The address or the request has a form that different servers read differently, so the gateway refuses it. If you followed a link, tell whoever made it.",
		Facts: []web.Fact{{Label: "Reason", Value: string(reason)}},
	})
}

// tooLarge is for a body beyond the route's limit (RFC 9110 section 15.5.14).
func (g *Gate) tooLarge(w http.ResponseWriter, r *http.Request, rt *Route) {
	g.note(r, rt, Decision{Verdict: NotHere, Rule: rt.name + ": body limit", Reason: "body_too_large"}, nil)
	w.Header().Set("Connection", "close") // the rest of it is not read
	g.answer(w, r, web.Page{
		Status: http.StatusRequestEntityTooLarge, Title: "That is too large", Support: g.o.Support,
		Lead: "The application takes no requests of this size. Nothing was sent to it as a whole.",
	})
}

// methodNotAllowed is for a method that the route does not take (RFC 9110 section 15.5.6).
func (g *Gate) methodNotAllowed(w http.ResponseWriter, r *http.Request, rt *Route) {
	g.note(r, rt, Decision{Verdict: NotHere, Rule: rt.name + ": methods", Reason: "method"}, nil)
	w.Header().Set("Allow", rt.takes())
	g.answer(w, r, web.Page{
		Status: http.StatusMethodNotAllowed, Title: "This cannot be done here", Support: g.o.Support,
		Lead: "The application takes no requests of this kind at this address.",
	})
}

// malformedBody is for a body that turned out broken while it was passed on.
func (g *Gate) malformedBody(w http.ResponseWriter, r *http.Request) {
	g.malformed(w, r, &canonical.Refusal{Status: http.StatusBadRequest, Reason: "body"})
}

// notHere is for hosts, paths and routes that do not exist.
func (g *Gate) notHere(w http.ResponseWriter, r *http.Request, status int, reason string) {
	g.note(r, nil, Decision{Verdict: NotHere, Rule: "routes", Reason: reason}, nil)
	page := web.Page{Status: status, Title: "There is nothing here", Lead: "No application is reachable at this address.", Support: g.o.Support}
	if status == http.StatusMisdirectedRequest {
		page.Title, page.Lead = "This address is not served here", "The gateway does not know this host name."
	}
	g.answer(w, r, page)
}

// answer gives people a page and programs problem+json. Both are no-store.
func (g *Gate) answer(w http.ResponseWriter, r *http.Request, p web.Page) {
	if audienceOf(r) != program {
		web.WritePage(w, r, p)
		return
	}
	if p.Retry > 0 {
		setRetryAfter(w.Header())
	}
	g.problem(w, r, p.Status, p.Title, p.Lead)
}

// note puts a decision into the access record, the metrics and, where it is a
// refusal that matters, the audit log. Being signed out is not news; a cookie
// that was tampered with is.
func (g *Gate) note(r *http.Request, rt *Route, d Decision, p *session.Principal) {
	ctx := r.Context()
	g.metrics.decisions.WithLabelValues(string(d.Verdict), d.Reason).Inc()
	web.Annotate(ctx, "verdict", verdictWord(d.Verdict))
	web.Annotate(ctx, "rule", d.Rule)
	web.Annotate(ctx, "reason", d.Reason)
	if p != nil {
		annotate(ctx, p)
	}
	if d.Verdict == Unavailable || d.Verdict == NeedSession && (d.Reason == "no_session" || d.Reason == "session_expired") {
		return
	}
	e := audit.Event{
		Kind: "access.refused", Outcome: audit.Denied, Actor: "anonymous", Reason: d.Reason,
		RequestID: web.RequestID(ctx), Detail: map[string]string{"rule": d.Rule, "host": limited(r.Host), "method": limited(r.Method)},
	}
	if a := clientAddr(r); a.IsValid() {
		e.Address = a.String()
	}
	if rt != nil {
		e.Target = "route:" + rt.name
	}
	if p != nil {
		e.Actor, e.Provider = p.Actor(), p.Provider
	}
	g.denials.record(ctx, e)
}

// annotate says in the access record who asked.
func annotate(ctx context.Context, p *session.Principal) {
	if p.Machine != nil {
		web.Annotate(ctx, "machine", p.Machine.Name())
		return
	}
	web.Annotate(ctx, "member", string(p.Member.ID))
}

// verdictWord is a verdict for the log, where the zero value needs a name.
func verdictWord(v Verdict) string {
	if v == Deny {
		return "deny"
	}
	return string(v)
}
