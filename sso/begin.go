package sso

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/session"
)

// maxID bounds ids and codes in queries; ours have 43 characters.
const maxID = 64

// Begin is what a sign-in that an app origin asks for is about.
type Begin = struct {
	Origin     string // scheme://host[:port]
	ReturnPath string // path?query there
	Fresh      bool   // credentials must be asked for, also of somebody who is signed in
}

// BeginURL stores a pending Login for a page load on an app origin without a
// session, or without a fresh enough one, and answers where on the gateway to send
// the browser. It gives the browser this origin's binding cookie if it has none.
func (f *Flow) BeginURL(w http.ResponseWriter, r *http.Request, b Begin) (string, error) {
	return f.begin(w, r, Login{AppHost: b.Origin, ReturnPath: b.ReturnPath, ForceAuthn: b.Fresh, Fresh: b.Fresh})
}

// begin completes and stores a Login that belongs to an app origin.
func (f *Flow) begin(w http.ResponseWriter, r *http.Request, l Login) (string, error) {
	b, err := f.cookies.Binding(w, r, session.App)
	if err != nil {
		return "", err
	}
	l.AppBinding = b.String()
	if err := f.newLogin(r.Context(), &l); err != nil {
		w.Header().Del("Set-Cookie") // a failed answer changes nothing in the browser (G2)
		return "", err
	}
	return f.URL + "/login?id=" + l.ID, nil
}

// newLogin gives l an id and a lifetime and stores it.
func (f *Flow) newLogin(ctx context.Context, l *Login) error {
	l.ID, l.Kind = liveID(), Live
	l.ReturnPath = web.SafeReturn(l.ReturnPath)
	l.Expires = f.Now().Add(LoginLifetime)
	if !f.clients.take(ctx, client(ctx)) {
		return ErrFull
	}
	return f.putJSON(ctx, key(KindLogin, l.ID), l, l.Expires)
}

// loadLogin finds a Login that is still good. A record past its time is no
// record, whatever the store's own clock says.
func (f *Flow) loadLogin(ctx context.Context, id string) (Login, error) {
	if id == "" || len(id) > maxID {
		return Login{}, ErrNoRecord
	}
	var l Login
	if err := f.getJSON(ctx, key(KindLogin, id), &l); err != nil {
		return Login{}, err
	}
	l.ID = id
	if !f.Now().Before(l.Expires) || l.Kind != Live {
		return Login{}, ErrNoRecord
	}
	return l, nil
}

// login chooses the provider for a Login and sends the browser there.
//
//	id        the Login an app origin began; without it the sign-in ends on the gateway
//	provider  the choice; with a single provider nobody is asked
//	fragment  the page's #fragment, added by a small script (a fragment follows
//	          redirects in browsers but never reaches a server by itself)
//	force     "use another account": the IdP is told to ask for credentials
func (f *Flow) login(w http.ResponseWriter, r *http.Request) {
	if prefetch(r) {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	l := Login{ForceAuthn: param(r, "force", 1) == "1"}
	if back := param(r, "return", 2048); back != "" {
		// Pages of our own only: a link to the sign-in must not end in an action (R02).
		l.ReturnPath = web.SafeGatewayReturn(back, "/me")
	}
	if id := param(r, "id", maxID); id != "" {
		var err error
		if l, err = f.loadLogin(r.Context(), id); errors.Is(err, ErrNoRecord) {
			f.refuse(w, r, "", "login_expired", err, f.again(http.StatusGone, "This sign-in has expired",
				"It was begun more than an hour ago or has been used already. Go back to the application, or sign in again here.", ""))
			return
		} else if err != nil {
			f.storeFailed(w, r, err)
			return
		}
	}
	if l.Invitation != "" {
		// It counts in the browser that opened it, and nowhere else: this address may
		// have been passed on (row I01).
		if b, ok := f.cookies.Bound(r, session.Gateway); !ok || !matches(b, l.Binding) {
			l.Invitation = ""
		}
	}
	// A browser that is signed in already goes straight on (another app host, another
	// tab); not with an invitation, which may be somebody else's.
	if !l.ForceAuthn && l.Invitation == "" {
		switch p, err := f.Sessions.AdmitGateway(r.Context(), r); {
		case err == nil:
			f.addFragment(&l, r)
			web.Annotate(r.Context(), "member", string(p.Member.ID))
			if !f.shorten(w, r, l) {
				return
			}
			f.forward(w, r, l, false)
			return
		case session.Reason(err) == "store_unavailable":
			f.unavailable(w, r, err)
			return
		}
	}
	f.choose(w, r, l)
}

// shorten keeps the Login of somebody who needs no sign-in only as long as he may
// reload this address: whoever opens pages all day would fill the budget (C13).
func (f *Flow) shorten(w http.ResponseWriter, r *http.Request, l Login) bool {
	end := f.Now().Add(usedLifetime)
	if l.ID == "" || !end.Before(l.Expires) {
		return true
	}
	l.Expires = end
	if err := f.putJSON(r.Context(), key(KindLogin, l.ID), l, end); err != nil {
		f.storeFailed(w, r, err)
		return false
	}
	return true
}

func (f *Flow) addFragment(l *Login, r *http.Request) {
	if frag := web.SafeFragment(param(r, "fragment", 2048)); frag != "" && !strings.Contains(l.ReturnPath, "#") {
		l.ReturnPath = web.SafeReturn(l.ReturnPath + "#" + frag)
	}
}

// choose goes to the chosen provider, or shows the choice.
func (f *Flow) choose(w http.ResponseWriter, r *http.Request, l Login) {
	wanted := param(r, "provider", 64)
	if wanted == "" && l.Fresh {
		// The same person again: the provider of the session that is too old is asked,
		// instead of asking the person for one.
		if p, err := f.Sessions.AdmitGateway(r.Context(), r); err == nil && f.Providers(p.Provider) != nil {
			wanted = p.Provider
		}
	}
	if p := f.Providers(wanted); wanted != "" && p != nil {
		f.leave(w, r, l, p)
		return
	}
	if wanted != "" {
		f.refuse(w, r, "", "unknown_provider", nil, f.again(http.StatusNotFound, "There is no such identity provider",
			"The link you followed names one that is not set up here.", ""))
		return
	}
	f.choices(w, r, l, http.StatusOK, "")
}

// loginURL is the same sign-in with a provider chosen.
func (f *Flow) loginURL(l Login, provider string) string {
	q := url.Values{}
	if provider != "" {
		q.Set("provider", provider)
	}
	if l.ID != "" {
		q.Set("id", l.ID)
	} else {
		if l.ReturnPath != "" {
			q.Set("return", l.ReturnPath)
		}
		if l.ForceAuthn {
			q.Set("force", "1")
		}
	}
	return "/login?" + q.Encode()
}

// bind gives the Login to this browser and a provider, or has refused the request.
func (f *Flow) bind(w http.ResponseWriter, r *http.Request, l *Login, provider string) bool {
	f.addFragment(l, r)
	b, err := f.cookies.Binding(w, r, session.Gateway)
	if err != nil {
		f.unavailable(w, r, err)
		return false
	}
	if l.ID == "" {
		if err := f.newLogin(r.Context(), l); err != nil {
			f.storeFailed(w, r, err)
			return false
		}
	}
	l.Binding, l.Provider = b.String(), provider
	return true
}

// leave binds the Login to this browser and provider and sends the browser to the IdP.
func (f *Flow) leave(w http.ResponseWriter, r *http.Request, l Login, p Provider) {
	ctx := r.Context()
	if b := param(r, "bounce", 1); b != "" && !f.mayBounce(w, r, p, b) {
		return
	}
	if !f.bind(w, r, &l, p.Info().ID) {
		return
	}
	var err error
	if l.Start, err = p.Begin(ctx, l); err != nil {
		f.results.WithLabelValues(l.Provider, "error").Inc()
		f.Log.ErrorContext(ctx, "identity provider cannot be used", "request", web.RequestID(ctx), "provider", l.Provider, "err", err)
		web.Annotate(ctx, "reason", "idp_unreachable")
		page := f.again(http.StatusBadGateway, p.Info().Name+" cannot be reached",
			"Signing in through it is not possible at the moment. Those who are signed in already are not affected.", l.Provider)
		page.Actions = append(page.Actions, f.rescue()...)
		f.page(w, r, page)
		return
	}
	if err := f.putJSON(ctx, key(KindLogin, l.ID), l, l.Expires); err != nil {
		f.storeFailed(w, r, err)
		return
	}
	f.cookies.Prefer(w, l.Provider)
	f.sendAway(w, r, "Signing in", p.Info().Name, l.Start)
}

// sendAway sends the browser to the IdP with a message: by a redirect, or by a page
// that posts it (HTTP-POST binding).
func (f *Flow) sendAway(w http.ResponseWriter, r *http.Request, title, name string, s Start) {
	if len(s.Form) == 0 {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Referrer-Policy", "no-referrer")
		http.Redirect(w, r, s.URL, http.StatusFound) //nolint:gosec // G710: made by the provider from its own metadata
		return
	}
	form := &web.Post{URL: s.URL}
	for _, field := range s.Form {
		form.Fields = append(form.Fields, web.Field(field))
	}
	f.page(w, r, web.Page{Status: http.StatusOK, Title: title, Lead: "You are being taken to " + name + ".", Post: form})
}

// mayBounce lets a browser be sent to the IdP by itself once in a while for an
// unsolicited response, so that an IdP which never answers our requests cannot
// send it round in circles (rows S13, D02).
//
// A browser without a binding cookie gets one and comes back by itself: where it
// does not come along then, cookies are blocked, and nothing could count the rounds.
func (f *Flow) mayBounce(w http.ResponseWriter, r *http.Request, p Provider, step string) bool {
	b, ok := f.cookies.Bound(r, session.Gateway)
	if !ok && step == "1" {
		if _, err := f.cookies.Binding(w, r, session.Gateway); err != nil {
			f.unavailable(w, r, err)
			return false
		}
		f.moveOn(w, r, "/login?provider="+url.QueryEscape(p.Info().ID)+"&bounce=2")
		return false
	}
	if !ok {
		f.cookiesBlocked(w, r, p.Info().ID)
		return false
	}
	k := key(KindBounce, b.String()+"|"+p.Info().ID)
	err := f.Pending.Once(r.Context(), k, f.Now().Add(CodeLifetime))
	switch {
	case err == nil:
		return true
	case errors.Is(err, ErrUsed):
		f.refuse(w, r, p.Info().ID, "unsolicited_again", err, f.again(http.StatusForbidden, "The identity provider did not answer our question",
			"It keeps sending answers that nobody asked for. Sign in from here; if this comes back, tell whoever runs the gateway.", p.Info().ID))
	default:
		f.storeFailed(w, r, err)
	}
	return false
}
