package sso_test

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso"
)

func TestAReloadOfAUsedCodeGoesWhereItWent(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	c := b.code(app+"/page?x", "ana")
	first := b.get(c)
	handoff := first.Header.Get("Location")
	b.get(handoff)
	for _, u := range []string{c, handoff} {
		if a := b.get(u); a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != app+"/page?x" {
			t.Errorf("reload of %s: %s to %q", u, a.reason(), a.Header.Get("Location"))
		}
		other := w.browser()
		other.get(gateway + "/login?provider=okta")
		if a := other.get(u); a.StatusCode != http.StatusGone || strings.Contains(a.body, "page?x") {
			t.Errorf("another browser learns %s", a.reason())
		}
	}
	w.clock.Advance(11 * time.Minute)
	if a := b.get(c); a.StatusCode != http.StatusGone {
		t.Errorf("after ten minutes: %s", a.reason())
	}
}

func TestPrefetchAndHEADBurnNothing(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	for _, u := range []string{b.code(app+"/", "ana")} {
		for _, h := range [][]string{{"Sec-Purpose", "prefetch;prerender"}, {"Purpose", "prefetch"}} {
			if a := b.get(u, h...); a.StatusCode != http.StatusNoContent {
				t.Errorf("%v: %s", h, a.reason())
			}
		}
		if a := b.send(http.MethodHead, u, nil); a.StatusCode != http.StatusNoContent {
			t.Errorf("HEAD: %s", a.reason())
		}
		a := b.get(u)
		h := a.Header.Get("Location")
		b.get(h, "Sec-Purpose", "prefetch")
		b.send(http.MethodHead, h, nil)
		if end := b.follow(b.get(h), ""); end.body != "app for ana" {
			t.Errorf("burned: %s", end.reason())
		}
	}
	// The way to the IdP and the OAuth answer neither.
	if a := b.get(gateway+"/login?provider=okta", "Sec-Purpose", "prefetch"); a.StatusCode != http.StatusNoContent {
		t.Errorf("login: %s", a.reason())
	}
	c := w.browser()
	at, _ := url.Parse(c.toIDP(gateway + "/login?provider=keycloak"))
	q := gateway + "/oauth/keycloak/callback?" + url.Values{"state": {at.Query().Get("state")}, "req": {at.Query().Get("req")}, "as": {"zoe"}, "assertion": {"z"}}.Encode()
	for _, a := range []*answer{c.send(http.MethodHead, q, nil), c.get(q, "Sec-Purpose", "prefetch")} {
		if a.StatusCode != http.StatusNoContent {
			t.Errorf("callback: %s", a.reason())
		}
	}
	if end := c.follow(c.get(q), ""); end.body != "app for zoe" {
		t.Errorf("the callback was used up by looking at it: %s", end.reason())
	}
}

func TestRowS30ADisabledProviderAndOtherLanes(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	at := b.toIDP(app + "/")
	w.providers("keycloak")
	if a := b.idp(at, "ana"); a.StatusCode != http.StatusNotFound {
		t.Errorf("answer of a disabled provider: %s", a.reason())
	}
	w.providers("okta", "keycloak")
	c := b.idp(at, "ana").refresh
	w.providers("keycloak")
	a := b.get(c)
	a.untouched(t, "disabled between answer and completion")
	if a.StatusCode != http.StatusForbidden {
		t.Errorf("completion with a disabled provider: %s", a.reason())
	}
	w.providers("okta", "keycloak")
	// SAML's answers come to SAML's address only, and the reverse.
	if a := b.send(http.MethodGet, gateway+"/oauth/okta/callback?state=x", nil); a.StatusCode != http.StatusNotFound {
		t.Errorf("OAuth callback of a SAML provider: %s", a.reason())
	}
	if a := b.send(http.MethodPost, gateway+"/saml/keycloak/acs", url.Values{}, "Origin", "https://"+idpHost); a.StatusCode != http.StatusNotFound {
		t.Errorf("ACS of an OIDC provider: %s", a.reason())
	}
	if a := b.get(gateway + "/saml/okta/acs"); a.StatusCode != http.StatusMethodNotAllowed || a.Header.Get("Allow") != "POST" {
		t.Errorf("GET of the ACS: %s", a.reason())
	}
}

func TestAnswersThatSayNotEnoughAreRefused(t *testing.T) {
	for why, change := range map[string]func(*sso.Assertion){
		"no subject":        func(a *sso.Assertion) { a.Identity.Subject = "" },
		"no issuer":         func(a *sso.Assertion) { a.Identity.Issuer = "" },
		"other provider":    func(a *sso.Assertion) { a.Identity.Provider = "keycloak" },
		"nothing to replay": func(a *sso.Assertion) { a.ReplayKey = "" },
		"already over":      func(a *sso.Assertion) { a.ReplayUntil = time.Now().Add(-time.Second) },
		"zero":              func(a *sso.Assertion) { *a = sso.Assertion{} },
	} {
		w := newWorld(t)
		w.okta.change = change
		b := w.browser()
		if a := b.open(app+"/", "ana"); a.StatusCode != http.StatusForbidden || w.store.Len() != 0 {
			t.Errorf("%s: %s", why, a.reason())
		}
	}
}

func TestVerdictsOfProvidersHaveTheirPages(t *testing.T) {
	for _, tt := range []struct {
		why    string
		err    error
		status int
		words  string
	}{
		{"refused", &sso.VerifyError{Reason: "signature", Err: errors.New("secret detail")}, 403, "could not be signed in"},
		{"cancelled", &sso.VerifyError{Reason: "access_denied"}, 403, "cancelled"},
		{"unreachable", errors.New("secret detail"), 502, "did not answer"},
	} {
		for _, where := range []string{"receive", "verify"} {
			w := newWorld(t)
			b := w.browser()
			at := b.toIDP(app + "/")
			if where == "receive" {
				w.okta.recv = tt.err
			} else {
				w.okta.refuse = tt.err
			}
			a := b.idp(at, "ana")
			if a.StatusCode != tt.status || !strings.Contains(a.body, tt.words) || strings.Contains(a.body, "secret detail") {
				t.Errorf("%s at %s: %s", tt.why, where, a.reason())
			}
			a.untouched(t, tt.why)
		}
	}
	w := newWorld(t)
	w.okta.begin = errors.New("no metadata")
	if a := w.browser().get(gateway + "/login?provider=okta"); a.StatusCode != http.StatusBadGateway {
		t.Errorf("begin: %s", a.reason())
	}
	if (&sso.VerifyError{Reason: "a"}).Error() == "" || !errors.Is(&sso.VerifyError{Reason: "a", Err: errDown}, errDown) {
		t.Error("VerifyError hides its cause")
	}
}

func TestTheChoiceOfProviders(t *testing.T) {
	w := newWorld(t)
	a := w.browser().get(gateway + "/login")
	if a.link("Okta") == "" || a.link("Keycloak") == "" || a.refresh != "" {
		t.Errorf("two providers: %s", a.body)
	}
	w.providers("okta")
	if a := w.browser().get(gateway + "/login"); a.refresh != gateway+"/login?provider=okta" {
		t.Errorf("one provider goes to %q", a.refresh)
	}
	if a := w.browser().get(gateway + "/login?force=1&return=%2Fme"); a.refresh != gateway+"/login?force=1&provider=okta&return=%2Fme" {
		t.Errorf("one provider keeps what was asked: %q", a.refresh)
	}
	for _, u := range []string{"/login?provider=evil", "/login?provider=keycloak"} {
		if a := w.browser().get(gateway + u); a.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", u, a.reason())
		}
	}
	w.live.Store(&settings.Settings{})
	if a := w.browser().get(gateway + "/login"); a.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("no provider: %s", a.reason())
	}
}

func TestRowR02ReturnPathsLeadToPagesOnly(t *testing.T) {
	for _, ret := range []string{"https://evil.example/", "//evil.example/", `/\evil.example`, "javascript:alert(1)", "/logout", "/saml/okta/acs", "/complete?code=x", "/.sso/logout", "/me/../logout", "/%2e%2e/logout", "/me\r\nX: y"} {
		w := newWorld(t)
		a := w.browser().open(gateway+"/login?provider=okta&return="+url.QueryEscape(ret), "ana")
		if got := a.at.String(); got != gateway+"/me" && got != app+"/" {
			t.Errorf("return=%q leads to %s", ret, got)
		}
	}
	w := newWorld(t)
	if a := w.browser().open(gateway+"/login?provider=okta&return=%2Fme&return=%2F%2Fevil.example", "ana"); a.at.String() != app+"/" {
		t.Errorf("a repeated return leads to %s", a.at)
	}
}

func TestTheFragmentComesBackAndNothingElse(t *testing.T) {
	for frag, want := range map[string]string{
		"section-2": app + "/p#section-2", "/r?x=1": app + "/p#/r?x=1",
		"\" onload=": app + "/p", "a\nb": app + "/p", strings.Repeat("f", 1500): app + "/p",
	} {
		w := newWorld(t)
		b := w.browser()
		u := b.get(app + "/p").Header.Get("Location")
		a := b.open(u+"&provider=okta&fragment="+url.QueryEscape(frag), "ana")
		if a.at.String() != want {
			t.Errorf("%q: ended at %s, want %s", frag, a.at, want)
		}
	}
}

func TestLoginsThatAreGone(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	u := b.get(app + "/").Header.Get("Location")
	w.clock.Advance(61 * time.Minute)
	for _, x := range []string{u, gateway + "/login?id=" + strings.Repeat("x", 43)} {
		if a := b.get(x); a.StatusCode != http.StatusGone || a.link("Sign in again") == "" {
			t.Errorf("%s: %s", x, a.reason())
		}
	}
	if got := w.audit.reasons(); !slices.Contains(got, "login_expired") {
		t.Errorf("audited: %v", got)
	}
}

func TestRefusedPeopleGetAPageAndNoLoop(t *testing.T) {
	w := newWorld(t)
	w.signedIn("ana")
	var ana member.Member
	if err := w.members.View(t.Context(), func(tx member.Tx) (err error) {
		ana, err = tx.MemberByUserName("ana")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.dir.Suspend(t.Context(), member.Actor{Name: "cli"}, ana.ID, true); err != nil {
		t.Fatal(err)
	}
	b := w.browser()
	a := b.open(app+"/x", "ana")
	if a.StatusCode != http.StatusForbidden || !strings.Contains(a.body, "suspended") || !strings.Contains(a.body, "ana@example.com") {
		t.Fatalf("suspended: %s", a.reason())
	}
	a.untouched(t, "suspended")
	if !slices.Contains(w.audit.reasons(), "suspended") {
		t.Errorf("audited: %v", w.audit.reasons())
	}
	// Whoever has another account comes to the page he wanted, and is asked for it.
	other := a.link("Use another account")
	at := b.toIDP(other)
	if !strings.Contains(at, "force=true") {
		t.Errorf("the IdP is not told to ask: %s", at)
	}
	if end := b.follow(b.idp(at, "ben"), ""); end.body != "app for ben" || end.at.String() != app+"/x" {
		t.Errorf("the other account ends with %s", end.reason())
	}
	for _, code := range []member.RefusalCode{member.RefusedDeactivated, member.RefusedRemoved, member.RefusedSecondSubject, member.RefusedUserNameTaken, member.RefusedNotMember, member.RefusedUnknown, "of_tomorrow"} {
		w.dir.set(&member.Refusal{Code: code}, nil)
		if a := w.browser().open(app+"/", "ana"); a.StatusCode != http.StatusForbidden || a.refresh != "" {
			t.Errorf("%q: %s", code, a.reason())
		}
	}
}

func TestAccountChangeEndsTheOldSessionAndRotatesTheBinding(t *testing.T) {
	w := newWorld(t)
	b := w.signedIn("ana")
	old, binding := b.cookie(app, "app-session"), b.cookie(gateway, "gateway-binding")
	at := b.toIDP(gateway + "/login?provider=okta&force=1")
	c := b.idp(at, "ben")
	done := b.get(c.refresh)
	if b.cookie(gateway, "gateway-binding") == binding {
		t.Error("W2: the binding of the other account stays")
	}
	_ = done
	thief := w.browser()
	thief.jar["app.example.com"] = map[string]string{"__Host-ssogate-app-session": old}
	if a := thief.get(app + "/"); a.StatusCode == http.StatusOK {
		t.Errorf("the old session lives on: %s", a.reason())
	}
	if a := b.open(app+"/", ""); a.body != "app for ben" {
		t.Errorf("the new account is not signed in: %s", a.reason())
	}
	// The same person who was asked again gets a fresh session id (K01).
	before := b.cookie(gateway, "gateway-session")
	b.follow(b.idp(b.toIDP(gateway+"/login?provider=okta&force=1"), "ben"), "")
	if b.cookie(gateway, "gateway-session") == before {
		t.Error("a forced sign-in kept the session id")
	}
}
