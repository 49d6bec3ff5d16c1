package sso

import (
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/settings"
)

// outcome is a verified sign-in waiting for its browser to come back with the
// binding cookie. It is stored under the hash of a one-time code.
type outcome struct {
	Login     Login       `json:"login"`
	LoginHash secret.Hash `json:"login_hash"`
	Assertion Assertion   `json:"assertion"`
	Grant     []byte      `json:"grant,omitempty"` // the refresh token, sealed for the bearer of the code
}

// callback receives the IdP's answer: the SAML ACS and the OAuth redirect URI.
// No session cookie can be relied on here (an IdP's POST is cross-site, so Lax
// cookies stay at home): the answer is verified against exactly one Login and
// remembered under a code; the browser binding is checked at /complete (W2).
func (f *Flow) callback(protocols ...settings.Protocol) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if prefetch(r) { // reading it would spend the authorization code (W3)
			w.WriteHeader(http.StatusNoContent)
			return
		}
		if login, ok := testLane(r); ok {
			f.testCallback(w, r, login)
			return
		}
		id := r.PathValue("provider")
		p := f.Providers(id)
		if p == nil || !slices.Contains(protocols, settings.Protocol(p.Info().Protocol)) {
			// Also a provider that was switched off while someone was at its IdP (S30).
			f.refuse(w, r, "", "unknown_provider", nil, web.Page{
				Status: http.StatusNotFound, Title: "There is no such identity provider",
				Lead: "The answer came from one that is not set up here, or no longer.",
			})
			return
		}
		resp, err := p.Receive(w, r)
		if err != nil {
			f.refuseVerify(w, r, id, err)
			return
		}
		if resp.Unsolicited() {
			f.bounce(w, r, id)
			return
		}
		f.verify(w, r, id, resp)
	}
}

// bounce answers an unsolicited response (the IdP's app tile): it is thrown
// away and a sign-in of our own begins at the same IdP (S13).
func (f *Flow) bounce(w http.ResponseWriter, r *http.Request, provider string) {
	web.Annotate(r.Context(), "reason", "unsolicited")
	u := "/login?provider=" + url.QueryEscape(provider) + "&bounce=1"
	f.page(w, r, web.Page{
		Status: http.StatusOK, Title: "Signing in", Lead: "You are being taken to your identity provider.",
		Refresh: u,
	})
}

func (f *Flow) verify(w http.ResponseWriter, r *http.Request, id string, resp Response) {
	ctx := r.Context()
	l, err := f.loadLogin(ctx, resp.LoginID())
	switch {
	case errors.Is(err, ErrNoRecord):
		f.refuse(w, r, id, "login_unknown", err, f.again(http.StatusForbidden, "Please sign in again",
			"The answer of your identity provider belongs to a sign-in that has expired or was used already.", id))
		return
	case err != nil:
		f.storeFailed(w, r, err)
		return
	case l.Provider != id:
		// A response of one provider never satisfies a Login that was sent to another.
		f.refuse(w, r, id, "login_of_other_provider", nil, f.again(http.StatusForbidden, "Please sign in again",
			"The answer came from another identity provider than the one you were sent to.", ""))
		return
	}
	a, err := resp.Verify(ctx, l)
	if err != nil {
		f.refuseVerify(w, r, id, err)
		return
	}
	// The zero value of anything that names a person refuses, whatever a provider's code did.
	if a.Identity.Provider != id || a.Identity.Issuer == "" || a.Identity.Subject == "" || a.ReplayKey == "" || !f.Now().Before(a.ReplayUntil) {
		f.refuseVerify(w, r, id, &VerifyError{Reason: "incomplete"})
		return
	}
	if a = withGroups(a); a.GroupsMissing != "" {
		f.Log.WarnContext(ctx, "groups of a person are not known", "request", web.RequestID(ctx), "provider", id, "why", a.GroupsMissing)
	}
	// Remembered before any session is made; a store that cannot remember refuses the sign-in.
	if err := f.Pending.Once(ctx, key(KindAssertion, id+"|"+a.ReplayKey), a.ReplayUntil); errors.Is(err, ErrUsed) {
		f.refuseVerify(w, r, id, &VerifyError{Reason: "replay"})
		return
	} else if err != nil {
		f.storeFailed(w, r, err)
		return
	}
	code := secret.NewToken()
	o := outcome{Login: l, LoginHash: secret.Sum(l.ID), Assertion: a}
	if err := f.putOutcome(ctx, KindCode, code, o, f.Now().Add(CodeLifetime)); errors.Is(err, ErrPending) {
		f.refuseVerify(w, r, id, &VerifyError{Reason: "too_large", Err: err}) // trying again would never help
		return
	} else if err != nil {
		f.storeFailed(w, r, err)
		return
	}
	f.moveOn(w, r, "/complete?code="+code)
}

// maxGroups bounds the bytes of all groups of a pending sign-in, which has 16 KiB:
// some IdPs send hundreds.
const maxGroups = 4 << 10

// withGroups keeps the groups of an assertion whole or not at all: a list cut off
// somewhere would grant an arbitrary part, and one that is dropped is not empty.
func withGroups(a Assertion) Assertion {
	if size(a.Groups) > maxGroups {
		a.Groups, a.GroupsMissing = nil, "too_many"
	}
	return a
}

func size(list []string) (n int) {
	for _, s := range list {
		n += len(s)
	}
	return n
}

// moveOn is the page after the IdP's answer. Not a redirect: Chromium applies
// the IdP page's form-action to the whole redirect chain of its form, and a
// navigation from here is same-site, so the Lax binding cookie comes along (W1).
func (f *Flow) moveOn(w http.ResponseWriter, r *http.Request, u string) {
	f.page(w, r, web.Page{
		Status: http.StatusOK, Title: "Signing in", Lead: "One moment.",
		Refresh: u,
	})
}

// refuseVerify maps an error of Receive or Verify: refused, or could not tell.
func (f *Flow) refuseVerify(w http.ResponseWriter, r *http.Request, id string, err error) {
	var v *VerifyError
	if !errors.As(err, &v) {
		f.results.WithLabelValues(id, "error").Inc()
		f.Log.ErrorContext(r.Context(), "sign-in could not be verified", "request", web.RequestID(r.Context()), "provider", id, "err", err)
		web.Annotate(r.Context(), "reason", "idp_unreachable")
		f.page(w, r, f.again(http.StatusBadGateway, "Your identity provider did not answer",
			"The sign-in could not be finished because it did not answer in time. Try again in a moment.", id))
		return
	}
	if v.Reason == "access_denied" {
		f.refuse(w, r, id, v.Reason, v.Err, f.again(http.StatusForbidden, "You were not signed in",
			"Your identity provider says that the sign-in was cancelled or is not allowed for this account.", id))
		return
	}
	f.refuse(w, r, id, v.Reason, v.Err, f.again(http.StatusForbidden, "You could not be signed in",
		"The answer of your identity provider was not accepted. Signing in again often helps; if it does not, give the reference below to whoever runs the gateway.", id))
}
