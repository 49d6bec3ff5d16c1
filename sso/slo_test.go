package sso_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/ssotest"
)

// leaver is the okta stub with every kind of logout. Its messages come as they are
// written in the query; what a real one verifies is tested beside the protocols.
type leaver struct {
	*provider
	none  bool  // it has no logout service
	err   error // of everything
	index []string
}

func (p *leaver) BeginSignOut(_ context.Context, s sso.SignOut, id string) (sso.Start, bool, error) {
	u := "https://" + idpHost + "/slo?relay=" + id + "&who=" + url.QueryEscape(s.Person) + "&hint=" + url.QueryEscape(string(s.Hint))
	return sso.Start{URL: u, RequestID: "out-1"}, !p.none, p.err
}

func (p *leaver) ReceiveSignOut(_ http.ResponseWriter, r *http.Request) (sso.SignOutMessage, error) {
	q := r.URL.Query()
	if q.Get("bad") != "" {
		return sso.SignOutMessage{}, &sso.VerifyError{Reason: "signature"}
	}
	return sso.SignOutMessage{
		Request: q.Get("request") != "", ID: q.Get("request"), Issuer: "https://idp", Person: q.Get("who"), Indexes: q["index"],
		Until: p.world.clock.Now().Add(time.Minute), RelayState: q.Get("relay"), InResponseTo: q.Get("to"), Done: q.Get("done") == "1",
	}, p.err
}

func (p *leaver) AnswerSignOut(_ context.Context, m sso.SignOutMessage) (sso.Start, bool, error) {
	return sso.Start{URL: "https://" + idpHost + "/answered?to=" + m.ID}, !p.none, p.err
}

func (p *leaver) ReceiveLogoutToken(_ http.ResponseWriter, r *http.Request) (sso.LogoutToken, error) {
	_ = r.ParseForm()
	if r.PostForm.Get("bad") != "" {
		return sso.LogoutToken{}, &sso.VerifyError{Reason: "signature"}
	}
	return sso.LogoutToken{ID: r.PostForm.Get("jti"), Person: r.PostForm.Get("sub"), Index: r.PostForm.Get("sid"), Until: p.world.clock.Now().Add(time.Minute)}, p.err
}

func leavingWorld(t *testing.T) (*world, *leaver, *ssotest.SignOutsFake) {
	t.Helper()
	l := &leaver{}
	store := &ssotest.SignOutsFake{}
	sealer, err := secret.NewSealer(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(o *sso.Options) {
		stubs := o.Providers
		o.Providers = func(id string) sso.Provider {
			if p, ok := stubs(id).(*provider); ok && id == "okta" {
				l.provider = p
				return l
			}
			return stubs(id)
		}
		o.SignOuts, o.Sealer = store, sealer
	})
	w.okta.change = func(a *sso.Assertion) {
		a.SessionIndex = fmt.Sprint("index-", len(l.index))
		l.index = append(l.index, a.SessionIndex)
		who := a.Identity.Subject
		a.SignOut = sso.SignOut{Person: who, Index: a.SessionIndex, Hint: []byte("hint-of-" + who)}
	}
	return w, l, store
}

func (b *browser) alive() bool { return strings.HasPrefix(b.get(app+"/").body, "app for") }

func TestALogoutRequestEndsTheSessionsItNames(t *testing.T) {
	w, l, _ := leavingWorld(t)
	ana, other, ben := w.signedIn("ana"), w.signedIn("ana"), w.signedIn("ben")
	for _, step := range []struct {
		why, query string
		want       [3]bool // ana, her other browser, ben
		status     int
	}{
		{"not verified", "bad=1&request=r0&who=ana", [3]bool{true, true, true}, http.StatusForbidden},
		{"nobody of that name", "request=r1&who=cleo", [3]bool{true, true, true}, http.StatusFound},
		{"an index of no session", "request=r2&who=ana&index=none", [3]bool{true, true, true}, http.StatusFound},
		{"one of her sessions", "request=r3&who=ana&index=" + l.index[0], [3]bool{false, true, true}, http.StatusFound},
		{"the same message again", "request=r3&who=ana", [3]bool{false, true, true}, http.StatusForbidden},
		{"all of hers", "request=r4&who=ana", [3]bool{false, false, true}, http.StatusFound},
	} {
		a := w.browser().send(http.MethodPost, gateway+"/saml/okta/slo?"+step.query, url.Values{}, "Origin", "https://"+idpHost, "Sec-Fetch-Site", "cross-site")
		if a.StatusCode != step.status {
			t.Errorf("%s: %s", step.why, a.reason())
		}
		if step.status == http.StatusFound && !strings.HasPrefix(a.Header.Get("Location"), "https://"+idpHost+"/answered?to=r") {
			t.Errorf("%s: not answered: %v", step.why, a.Header)
		}
		if got := [3]bool{ana.alive(), other.alive(), ben.alive()}; got != step.want {
			t.Errorf("%s: alive %v, want %v", step.why, got, step.want)
		}
	}
	l.none = true
	if a := w.browser().get(gateway + "/saml/okta/slo?request=r5&who=ben"); a.StatusCode != http.StatusOK || ben.alive() {
		t.Errorf("an IdP that names no place for the answer: %s", a.reason())
	}
	if a := w.browser().get(gateway + "/saml/keycloak/slo?request=r6&who=ben"); a.StatusCode != http.StatusNotFound {
		t.Errorf("a provider without single logout: %s", a.reason())
	}
}

func TestALogoutThatCannotBeCarriedOutIsNotConfirmed(t *testing.T) {
	w, l, store := leavingWorld(t)
	ana := w.signedIn("ana")
	ask := func() *answer { return w.browser().get(gateway + "/saml/okta/slo?request=x1&who=ana") }
	l.err = errors.New("metadata is away")
	if a := ask(); a.StatusCode != http.StatusBadGateway {
		t.Errorf("not verifiable: %s", a.reason())
	}
	l.err = nil
	w.pending.on(failing(errDown, "once", sso.KindAssertion))
	ask().unavailable(t, "the replay memory is down")
	w.pending.on(nil)
	store.Err = errDown
	ask().unavailable(t, "who is meant cannot be read")
	store.Err = nil
	if !ana.alive() {
		t.Error("ended by a logout that was not confirmed")
	}
	// A new message of the IdP's works: the first one was used up by the failure.
	if a := w.browser().get(gateway + "/saml/okta/slo?request=x2&who=ana"); a.StatusCode != http.StatusFound || ana.alive() {
		t.Errorf("afterwards: %s", a.reason())
	}
}

func TestSigningOutHereLeadsToTheProvider(t *testing.T) {
	w, l, store := leavingWorld(t)
	ana := w.signedIn("ana")
	out := ana.post(app+"/.sso/logout", url.Values{})
	if out.refresh == "" || ana.alive() {
		t.Fatalf("not signed out here, or not sent on: %s", out.reason())
	}
	away := ana.get(out.refresh)
	to, _ := url.Parse(away.Header.Get("Location"))
	if to.Host != idpHost || to.Query().Get("who") != "ana" || to.Query().Get("hint") != "hint-of-ana" {
		t.Fatalf("sent to %s", to)
	}
	relay := to.Query().Get("relay")
	for _, step := range []struct{ why, query, want string }{
		{"an answer to another request", "relay=" + relay + "&to=out-2&done=1", "not accepted"},
		{"of another way out", "relay=" + strings.Repeat("x", 43) + "&to=out-1&done=1", "may still know you"},
		{"partly", "relay=" + relay + "&to=out-1", "close your browser"},
		{"a reload", "relay=" + relay + "&to=out-1&done=1", "may still know you"},
	} {
		if a := ana.get(gateway + "/saml/okta/slo?" + step.query); !strings.Contains(a.body, step.want) {
			t.Errorf("%s: %s", step.why, a.reason())
		}
	}
	ben := w.signedIn("ben")
	at, _ := url.Parse(ben.get(ben.post(gateway+"/logout", url.Values{}).refresh).Header.Get("Location"))
	if a := ben.get(gateway + "/saml/okta/slo?to=out-1&done=1&relay=" + at.Query().Get("relay")); !strings.Contains(a.body, "Okta has signed you out too") {
		t.Errorf("confirmed: %s", a.reason())
	}
	cleo := w.signedIn("cleo")
	at, _ = url.Parse(cleo.get(cleo.post(gateway+"/logout", url.Values{}).refresh).Header.Get("Location"))
	if a := cleo.get(gateway + "/logout/done?state=" + at.Query().Get("relay")); !strings.Contains(a.body, "Okta has signed you out too") {
		t.Errorf("by OpenID Connect: %s", a.reason())
	}
	// Signing out here never depends on the provider.
	for why, spoil := range map[string]func(){
		"no such service": func() { l.none = true }, "the IdP is away": func() { l.err = errDown }, "the store is down": func() { store.Err = errDown },
		"the pending store is down": func() { w.pending.on(failing(errDown, "put", sso.KindLeaving)) },
	} {
		b := w.signedIn("dan")
		spoil()
		if a := b.post(gateway+"/logout", url.Values{}); a.StatusCode != http.StatusOK || a.refresh != "" || !strings.Contains(a.body, "You are signed out") {
			t.Errorf("%s: %s", why, a.reason())
		}
		l.none, l.err, store.Err = false, nil, nil
		w.pending.on(nil)
		if b.alive() {
			t.Errorf("%s: still signed in", why)
		}
	}
	if strings.Contains(w.log.String(), "hint-of-") {
		t.Error("L01: a hint is in the log")
	}
}

func TestRowO18ALogoutTokenEndsTheSessionsItNames(t *testing.T) {
	w, l, _ := leavingWorld(t)
	ana, other, ben := w.signedIn("ana"), w.signedIn("ana"), w.signedIn("ben")
	send := func(form url.Values) *answer {
		return w.browser().send(http.MethodPost, gateway+"/oauth/okta/backchannel-logout", form)
	}
	for _, step := range []struct {
		why    string
		form   url.Values
		want   [3]bool
		status int
	}{
		{"not verified", url.Values{"bad": {"1"}, "jti": {"1"}, "sub": {"ana"}}, [3]bool{true, true, true}, http.StatusBadRequest},
		{"nobody", url.Values{"jti": {"2"}, "sub": {"cleo"}}, [3]bool{true, true, true}, http.StatusOK},
		{"one session, by sid alone", url.Values{"jti": {"3"}, "sid": {l.index[0]}}, [3]bool{false, true, true}, http.StatusOK},
		{"jti replay", url.Values{"jti": {"3"}, "sub": {"ana"}}, [3]bool{false, true, true}, http.StatusBadRequest},
		{"all of hers", url.Values{"jti": {"4"}, "sub": {"ana"}}, [3]bool{false, false, true}, http.StatusOK},
	} {
		a := send(step.form)
		if a.StatusCode != step.status || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", step.why, a.StatusCode, a.Header)
		}
		if got := [3]bool{ana.alive(), other.alive(), ben.alive()}; got != step.want {
			t.Errorf("%s: alive %v, want %v", step.why, got, step.want)
		}
	}
	l.err = errDown
	if a := send(url.Values{"jti": {"5"}, "sub": {"ben"}}); a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" {
		t.Errorf("a provider whose keys cannot be read: %d", a.StatusCode)
	}
}

func TestASessionThatNoLogoutCouldEndIsNotGiven(t *testing.T) {
	w, _, store := leavingWorld(t)
	b := w.browser()
	store.Err = errDown
	if a := b.open(app+"/", "ana"); a.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%s", a.reason())
	}
	store.Err = nil
	if b.alive() {
		t.Error("signed in all the same")
	}
}
