package sso

import (
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/session"
)

const (
	// usedLifetime is how long a used code still leads its own browser to where it went (W3).
	usedLifetime = 10 * time.Minute
	// acceptLifetime is how long someone may read the invitation page.
	acceptLifetime = 15 * time.Minute
	// Without any binding cookie one more try tells that cookies are blocked; with
	// another tab's cookie the tabs may have crossed, so it may take a few (W3, W4).
	maxBouncesBlind   = 1
	maxBouncesCrossed = 4
)

// used remembers where a code led, for the browser that used it.
type used struct {
	Binding string `json:"binding"`
	URL     string `json:"url"`
}

// complete ends the browser's way back from the IdP: code plus binding cookie.
func (f *Flow) complete(w http.ResponseWriter, r *http.Request) {
	if prefetch(r) {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	ctx, code := r.Context(), param(r, "code", maxID)
	var o outcome
	err := f.getJSON(ctx, key(KindCode, code), &o)
	switch {
	case errors.Is(err, ErrNoRecord):
		f.reload(w, r, session.Gateway, code)
		return
	case err != nil:
		f.storeFailed(w, r, err)
		return
	}
	bound, have := f.cookies.Bound(r, session.Gateway)
	if !have || !matches(bound, o.Login.Binding) {
		f.unbound(w, r, o.Login, "/complete?code="+url.QueryEscape(code), have, session.Gateway)
		return
	}
	// Where this code led is written first: alone it gives nobody anything, and a
	// store that cannot write it has not used up the code either (G2).
	if err := f.putJSON(ctx, key(KindUsed, code), used{bound.String(), f.landing(o.Login)}, f.Now().Add(usedLifetime)); err != nil {
		f.storeFailed(w, r, err)
		return
	}
	// One step: of all who hold this code only one goes on, and the Login dies with it.
	if _, err := f.Pending.Take(ctx, key(KindCode, code), Key{KindLogin, o.LoginHash}); errors.Is(err, ErrNoRecord) {
		f.reload(w, r, session.Gateway, code)
		return
	} else if err != nil {
		f.storeFailed(w, r, err)
		return
	}
	f.clients.giveBack(r.Context(), clientOf(r))
	if err := o.openGrant(code); err != nil {
		f.unavailable(w, r, err)
		return
	}
	f.admit(w, r, o, false)
}

// matches compares a cookie's hash with the stored one, in constant time.
// An empty stored value matches nothing.
func matches(h secret.Hash, stored string) bool {
	want, err := secret.ParseHash(stored)
	return err == nil && !want.IsZero() && h.Equal(want)
}

// landing is where a Login leads in the end.
func (f *Flow) landing(l Login) string {
	switch {
	case l.AppHost != "" && f.Origins(l.AppHost):
		return l.AppHost + web.SafeReturn(l.ReturnPath)
	case l.ReturnPath != "" && l.ReturnPath != "/":
		return f.URL + web.SafeGatewayReturn(l.ReturnPath, "/me")
	case f.Home != "":
		return f.Home + "/"
	default:
		return f.URL + "/me"
	}
}

// unbound handles a genuine code in a browser without the matching binding
// cookie. Never burns the code, never loops (W3): once a same-origin refresh
// (the cookie may only be held back on this navigation); then, if the browser
// is signed in anyway, on to where it wanted; else one new sign-in; else a page.
// Twenty tabs opened cold end up here and all arrive.
func (f *Flow) unbound(w http.ResponseWriter, r *http.Request, l Login, self string, have bool, d session.Door) {
	if param(r, "retry", 1) != "1" {
		f.moveOn(w, r, self+"&retry=1")
		return
	}
	admit := f.Sessions.AdmitGateway
	if d == session.App {
		admit = f.Sessions.Admit
	}
	if _, err := admit(r.Context(), r); err == nil {
		w.Header().Set("Cache-Control", "no-store")
		http.Redirect(w, r, f.landing(l), http.StatusSeeOther)
		return
	} else if session.Reason(err) == "store_unavailable" {
		f.unavailable(w, r, err)
		return
	}
	limit := maxBouncesBlind
	if have {
		limit = maxBouncesCrossed
	}
	// Not the Invitation: this may be another browser than the one that opened it.
	n := Login{AppHost: l.AppHost, ReturnPath: l.ReturnPath, AppBinding: l.AppBinding, Bounces: l.Bounces, AppBounces: l.AppBounces, ForceAuthn: l.ForceAuthn, Fresh: l.Fresh}
	// Each door counts for itself: both cookies may have run out while the person
	// was at the IdP, and each costs one round of its own.
	count := &n.Bounces
	if d == session.App {
		count = &n.AppBounces
	}
	if *count >= limit {
		f.cookiesBlocked(w, r, l.Provider)
		return
	}
	*count++
	var next string
	var err error
	if d == session.App {
		next, err = f.begin(w, r, n) // this app host's own cookie, set now
	} else if err = f.newLogin(r.Context(), &n); err == nil {
		next = f.loginURL(n, l.Provider)
	}
	if err != nil {
		f.storeFailed(w, r, err)
		return
	}
	f.moveOn(w, r, next)
}

func (f *Flow) cookiesBlocked(w http.ResponseWriter, r *http.Request, provider string) {
	f.refuse(w, r, provider, "cookies_blocked", nil, f.again(http.StatusForbidden, "Your browser blocks cookies",
		"Signing in needs one cookie to know that it is still you. Allow cookies for this site and sign in again.", ""))
}

// reload answers a code that is gone: the browser that used it goes where it
// went before, anyone else learns nothing.
func (f *Flow) reload(w http.ResponseWriter, r *http.Request, d session.Door, code string) {
	var u used
	err := f.getJSON(r.Context(), key(KindUsed, code), &u)
	if err != nil && !errors.Is(err, ErrNoRecord) {
		f.storeFailed(w, r, err)
		return
	}
	if h, ok := f.cookies.Bound(r, d); err == nil && ok && matches(h, u.Binding) {
		w.Header().Set("Cache-Control", "no-store")
		http.Redirect(w, r, u.URL, http.StatusSeeOther)
		return
	}
	f.refuse(w, r, "", "code_unknown", nil, f.again(http.StatusGone, "Please sign in again",
		"This step of the sign-in has expired or was used already.", ""))
}
