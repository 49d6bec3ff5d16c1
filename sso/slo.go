package sso

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
)

// leavingLifetime is how long a browser may be at the IdP to sign out there.
const leavingLifetime = 10 * time.Minute

// leaving is a browser on its way to sign out at its IdP too. Our session has ended
// already: nothing here decides about access.
type leaving struct {
	Provider  string `json:"provider"`
	SignOut   []byte `json:"sign_out"` // sealed for the bearer of the id
	RequestID string `json:"request_id,omitempty"`
}

// SignOutContext is what the hint of a session's [SignOut] is sealed for.
func SignOutContext(h secret.Hash) string { return "signout|" + h.String() }

// keepSignOut stores how the provider will name this session when it ends it.
func (f *Flow) keepSignOut(ctx context.Context, m member.Member, r session.Record, a Assertion) error {
	s := a.SignOut
	if f.SignOuts == nil || (s.Person == "" && s.Index == "") {
		return nil
	}
	s.Session, s.Member, s.Provider, s.Expires = r.Hash, m.ID, r.Provider, r.Expires
	if len(s.Hint) > 0 {
		s.Hint = f.Sealer.Seal(s.Hint, SignOutContext(r.Hash))
	}
	return f.SignOuts.Keep(ctx, s)
}

// wayOut begins the sign-out at the IdP of a session that has just ended, and
// answers where the browser goes for it, or "". Signing out here never depends on
// it: whatever fails is logged, and the person is signed out here.
func (f *Flow) wayOut(ctx context.Context, p *session.Principal) string {
	if f.SignOuts == nil {
		return ""
	}
	front, ok := f.Providers(p.Provider).(FrontLogout)
	if !ok {
		return ""
	}
	s, err := f.SignOuts.Of(ctx, p.Session)
	if err == nil && len(s.Hint) > 0 {
		s.Hint, err = f.Sealer.Open(s.Hint, SignOutContext(p.Session))
	}
	id := secret.NewToken()
	var start Start
	if err == nil {
		// Asked now, so that nobody is sent on to an IdP that has no such service.
		if start, ok, err = front.BeginSignOut(ctx, s, id); err == nil && !ok {
			return ""
		}
	}
	if err == nil {
		err = f.putLeaving(ctx, id, s, start)
	}
	if err != nil {
		if !errors.Is(err, ErrNoRecord) {
			f.Log.WarnContext(ctx, "the identity provider is not told of a sign-out", "request", web.RequestID(ctx), "provider", p.Provider, "err", err)
		}
		return ""
	}
	return f.URL + "/logout/provider?id=" + id
}

func (f *Flow) putLeaving(ctx context.Context, id string, s SignOut, start Start) error {
	sealer, err := secret.NewSealer(secret.KeyFor("leaving", id))
	if err != nil {
		return err
	}
	plain, err := json.Marshal(away{start.URL, start.Form})
	if err != nil {
		return err
	}
	l := leaving{Provider: s.Provider, SignOut: sealer.Seal(plain, s.Provider), RequestID: start.RequestID}
	return f.putJSON(ctx, key(KindLeaving, id), l, f.Now().Add(leavingLifetime))
}

// away is a Start that is kept for a moment. It holds an ID token or a name.
type away struct {
	URL  string  `json:"url"`
	Form []Field `json:"form,omitempty"`
}

// toProvider sends the browser to its IdP to sign out there. A reload sends it again.
func (f *Flow) toProvider(w http.ResponseWriter, r *http.Request) {
	id := param(r, "id", maxID)
	var l leaving
	err := f.getJSON(r.Context(), key(KindLeaving, id), &l)
	var start away
	if err == nil {
		var sealer *secret.Sealer
		if sealer, err = secret.NewSealer(secret.KeyFor("leaving", id)); err == nil {
			var plain []byte
			if plain, err = sealer.Open(l.SignOut, l.Provider); err == nil {
				err = json.Unmarshal(plain, &start)
			}
		}
	}
	switch {
	case errors.Is(err, ErrNoRecord):
		f.signedOut(w, r, "")
	case err != nil:
		f.unavailable(w, r, err)
	default:
		f.sendAway(w, r, "Signing out", f.nameOf(l.Provider), Start{URL: start.URL, Form: start.Form})
	}
}

// nameOf is what people call a provider.
func (f *Flow) nameOf(id string) string {
	if p := f.Providers(id); p != nil {
		return p.Info().Name
	}
	return "your identity provider"
}

// signedOut is the end of every way out.
func (f *Flow) signedOut(w http.ResponseWriter, r *http.Request, more string) {
	lead := "You are no longer signed in to any application behind this gateway."
	if more == "" {
		more = "Your identity provider may still know you."
	}
	f.page(w, r, web.Page{
		Status: http.StatusOK, Title: "You are signed out", Lead: lead + " " + more,
		Actions: []web.Action{{Label: "Sign in again", URL: f.landing(Login{})}, {Label: "Use another account", URL: f.URL + "/login?force=1", Quiet: true}},
	})
}

// logoutDone is where an OpenID provider sends the browser back. Its word is worth
// nothing here: anybody can open this page, and it changes nothing.
func (f *Flow) logoutDone(w http.ResponseWriter, r *http.Request) {
	var l leaving
	more := ""
	k := key(KindLeaving, param(r, "state", maxID))
	if err := f.getJSON(r.Context(), k, &l); err == nil {
		more = f.nameOf(l.Provider) + " has signed you out too."
		_, _ = f.Pending.Take(r.Context(), k) // else it runs out by itself
	}
	f.signedOut(w, r, more)
}

// slo is SAML 2.0 single logout, both messages and both bindings (row S29).
func (f *Flow) slo(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("provider")
	p, ok := f.Providers(id).(SingleLogout)
	if !ok {
		f.refuse(w, r, "", "unknown_provider", nil, web.Page{
			Status: http.StatusNotFound, Title: "There is no such identity provider",
			Lead: "The message came from one that is not set up here, or no longer.",
		})
		return
	}
	m, err := p.ReceiveSignOut(w, r)
	switch {
	case err != nil:
		f.refuseLogout(w, r, id, err)
	case m.Request:
		f.logoutAsked(w, r, id, p, m)
	default:
		f.logoutAnswered(w, r, id, m)
	}
}

// refuseLogout is refuseVerify for a message about the end of a session: signing in
// again would not help anybody.
func (f *Flow) refuseLogout(w http.ResponseWriter, r *http.Request, id string, err error) {
	var v *VerifyError
	if !errors.As(err, &v) {
		f.Log.ErrorContext(r.Context(), "logout message could not be verified", "request", web.RequestID(r.Context()), "provider", id, "err", err)
		web.Annotate(r.Context(), "reason", "idp_unreachable")
		f.page(w, r, web.Page{
			Status: http.StatusBadGateway, Title: "Signing out could not be finished",
			Lead: "The message of your identity provider cannot be checked at the moment. Sign out here, or try again.", Actions: []web.Action{{Label: "Sign out here", URL: f.URL + "/logout"}},
		})
		return
	}
	f.refuse(w, r, id, v.Reason, v.Err, web.Page{
		Status: http.StatusForbidden, Title: "That was not accepted as a sign-out",
		Lead: "The message did not come from your identity provider as it should. Nobody was signed out by it.", Actions: []web.Action{{Label: "Sign out here", URL: f.URL + "/logout"}},
	})
}

// logoutAsked ends what a verified LogoutRequest names, on every node, before the
// IdP is answered.
func (f *Flow) logoutAsked(w http.ResponseWriter, r *http.Request, id string, p SingleLogout, m SignOutMessage) {
	ctx := r.Context()
	// Remembered before anything ends: the same message next week must end nothing.
	if err := f.Pending.Once(ctx, key(KindAssertion, "logout|"+id+"|"+m.Issuer+"|"+m.ID), m.Until); errors.Is(err, ErrUsed) {
		f.refuseLogout(w, r, id, &VerifyError{Reason: "replay"})
		return
	} else if err != nil {
		f.storeFailed(w, r, err)
		return
	}
	indexes := m.Indexes
	if len(indexes) == 0 {
		indexes = []string{""}
	}
	for _, index := range indexes {
		if err := f.endNamed(ctx, r, id, m.Person, index); err != nil {
			f.unavailable(w, r, err)
			return
		}
	}
	start, ok, err := p.AnswerSignOut(ctx, m)
	if err != nil || !ok {
		f.Log.WarnContext(ctx, "a logout is not answered: the identity provider names no place for it", "request", web.RequestID(ctx), "provider", id, "err", err)
		f.signedOut(w, r, "")
		return
	}
	f.sendAway(w, r, "Signing out", f.nameOf(id), start)
}

// endNamed ends the sessions that a provider names, everywhere, before it returns.
func (f *Flow) endNamed(ctx context.Context, r *http.Request, provider, person, index string) error {
	if f.SignOuts == nil {
		return errors.New("sso: sign-outs are not kept")
	}
	who, err := f.SignOuts.Named(ctx, provider, person, index, f.Now())
	if err != nil {
		return err
	}
	for _, m := range who {
		if err := f.Directory.EndLogins(ctx, f.actor(r, "idp:"+provider), member.Logins{Member: m, Provider: provider, Index: index}, "idp_logout"); err != nil {
			return err
		}
	}
	e := f.event(r, "logout.by_provider", audit.Allowed, provider, "")
	e.Actor = "idp:" + provider
	return f.Audit.Record(ctx, e)
}

// logoutAnswered ends the way that wayOut began.
func (f *Flow) logoutAnswered(w http.ResponseWriter, r *http.Request, id string, m SignOutMessage) {
	var l leaving
	k := key(KindLeaving, m.RelayState)
	err := ErrNoRecord
	if m.RelayState != "" && len(m.RelayState) <= maxID {
		err = f.getJSON(r.Context(), k, &l)
	}
	switch {
	case errors.Is(err, ErrNoRecord):
		f.signedOut(w, r, "") // a reload, or one that nobody asked for: it changes nothing
		return
	case err != nil:
		f.storeFailed(w, r, err)
		return
	case l.Provider != id || l.RequestID == "" || l.RequestID != m.InResponseTo:
		f.refuseLogout(w, r, id, &VerifyError{Reason: "in_response_to"})
		return
	}
	_, _ = f.Pending.Take(r.Context(), k)
	name := f.nameOf(id)
	if m.Done {
		f.signedOut(w, r, name+" has signed you out too.")
		return
	}
	f.signedOut(w, r, name+" could not sign you out everywhere: close your browser if others use this computer.")
}

// backchannel is OpenID Connect Back-Channel Logout 1.0, section 2.5 to 2.8 (row O18).
func (f *Flow) backchannel(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("provider")
	ctx := r.Context()
	w.Header().Set("Cache-Control", "no-store")
	p, ok := f.Providers(id).(BackLogout)
	if !ok {
		http.NotFound(w, r)
		return
	}
	t, err := p.ReceiveLogoutToken(w, r)
	var v *VerifyError
	if errors.As(err, &v) {
		f.results.WithLabelValues(id, "logout_refused").Inc()
		web.Annotate(ctx, "reason", v.Reason)
		f.Log.WarnContext(ctx, "logout token refused", "request", web.RequestID(ctx), "provider", id, "reason", v.Reason, "err", v.Err)
		f.refusals.record(ctx, f.event(r, "logout.refused", audit.Denied, id, v.Reason))
		backchannelError(w, http.StatusBadRequest, "invalid_request")
		return
	}
	if err == nil {
		err = f.Pending.Once(ctx, key(KindAssertion, "logout|"+id+"|"+t.ID), t.Until)
		if errors.Is(err, ErrUsed) {
			web.Annotate(ctx, "reason", "replay")
			f.refusals.record(ctx, f.event(r, "logout.refused", audit.Denied, id, "replay"))
			backchannelError(w, http.StatusBadRequest, "invalid_request")
			return
		}
	}
	if err == nil {
		err = f.endNamed(ctx, r, id, t.Person, t.Index)
	}
	if err != nil {
		f.Log.ErrorContext(ctx, "a logout of the provider could not be carried out", "request", web.RequestID(ctx), "provider", id, "err", err)
		w.Header().Set("Retry-After", "5")
		backchannelError(w, http.StatusServiceUnavailable, "temporarily_unavailable")
		return
	}
	w.WriteHeader(http.StatusOK)
}

func backchannelError(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": code})
}
