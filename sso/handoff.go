package sso

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/session"
)

// handoffRecord is a session on its way from the gateway to an app host. The session
// id inside is sealed with a key that only the bearer of the code can derive, so
// the store alone gives nobody a session.
type handoffRecord struct {
	AppHost    string `json:"app_host"`
	ReturnPath string `json:"return_path"`
	AppBinding string `json:"app_binding"`
	AppBounces int    `json:"app_bounces,omitempty"`
	Sealed     []byte `json:"sealed"`
}

// forward sends a browser that is already signed in on to where l leads.
func (f *Flow) forward(w http.ResponseWriter, r *http.Request, l Login, form bool) {
	id, err := f.Sessions.Token(r)
	if err != nil {
		f.unavailable(w, r, err)
		return
	}
	f.handoff(w, r, l, id, form)
}

// handoff answers with the way to where l leads.
func (f *Flow) handoff(w http.ResponseWriter, r *http.Request, l Login, id string, form bool) {
	next, err := f.wayOn(r.Context(), l, id)
	if err != nil {
		f.storeFailed(w, r, err)
		return
	}
	f.goOn(w, r, next, form)
}

// wayOn is where l leads: with a one-time code that carries the session to an
// app host, or a page of the gateway.
func (f *Flow) wayOn(ctx context.Context, l Login, id string) (string, error) {
	if l.AppHost == "" || !f.Origins(l.AppHost) {
		return f.landing(l), nil
	}
	code := secret.NewToken()
	sealer, err := secret.NewSealer(secret.KeyFor("handoff", code))
	if err != nil {
		return "", err
	}
	h := handoffRecord{
		AppHost: l.AppHost, ReturnPath: l.ReturnPath, AppBinding: l.AppBinding, AppBounces: l.AppBounces,
		Sealed: sealer.Seal([]byte(id), "handoff|"+l.AppHost),
	}
	if err := f.putJSON(ctx, key(KindHandoff, code), h, f.Now().Add(CodeLifetime)); err != nil {
		return "", err
	}
	return l.AppHost + "/.sso/complete?code=" + code, nil
}

// goOn sends the browser there. After a form it is a page, not a redirect,
// because the next origin may be another one (W1).
func (f *Flow) goOn(w http.ResponseWriter, r *http.Request, next string, form bool) {
	if form {
		f.moveOn(w, r, next)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	http.Redirect(w, r, next, http.StatusSeeOther) //nolint:gosec // G710: landing allows our own origins only
}

// appComplete gives an app host its own cookie of the session. The binding is
// checked here too: a code carried into another browser signs nobody in (K01).
func (f *Flow) appComplete(w http.ResponseWriter, r *http.Request) {
	if prefetch(r) {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	ctx, code := r.Context(), param(r, "code", maxID)
	var h handoffRecord
	switch err := f.getJSON(ctx, key(KindHandoff, code), &h); {
	case errors.Is(err, ErrNoRecord):
		f.reload(w, r, session.App, code)
		return
	case err != nil:
		f.storeFailed(w, r, err)
		return
	case !sameHost(h.AppHost, r):
		f.reload(w, r, session.App, "") // for another app host: here it is no code at all
		return
	}
	bound, have := f.cookies.Bound(r, session.App)
	if !have || !matches(bound, h.AppBinding) {
		f.unbound(w, r, Login{AppHost: h.AppHost, ReturnPath: h.ReturnPath, AppBounces: h.AppBounces},
			"/.sso/complete?code="+url.QueryEscape(code), have, session.App)
		return
	}
	to := h.AppHost + web.SafeReturn(h.ReturnPath)
	if err := f.putJSON(ctx, key(KindUsed, code), used{bound.String(), to}, f.Now().Add(usedLifetime)); err != nil {
		f.storeFailed(w, r, err)
		return
	}
	taken, err := f.Pending.Take(ctx, key(KindHandoff, code))
	if err == nil {
		err = json.Unmarshal(taken[0], &h)
	}
	switch {
	case errors.Is(err, ErrNoRecord):
		f.reload(w, r, session.App, code)
		return
	case err != nil:
		f.storeFailed(w, r, err)
		return
	}
	sealer, err := secret.NewSealer(secret.KeyFor("handoff", code))
	if err != nil {
		f.unavailable(w, r, err)
		return
	}
	id, err := sealer.Open(h.Sealed, "handoff|"+h.AppHost)
	if err != nil {
		f.unavailable(w, r, err)
		return
	}
	if err := f.cookies.SetSession(w, session.App, r.Host, string(id)); err != nil {
		f.unavailable(w, r, err)
		return
	}
	w.Header().Set("Referrer-Policy", "no-referrer")
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// sameHost reports whether an origin is the one this request was sent to.
func sameHost(origin string, r *http.Request) bool {
	_, host, ok := strings.Cut(origin, "://")
	return ok && strings.EqualFold(host, r.Host)
}
