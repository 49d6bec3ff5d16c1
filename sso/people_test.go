package sso_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso"
)

// invite provisions a person who has not accepted yet.
func (w *world) invite(name string) {
	w.t.Helper()
	s := *w.live.Load()
	conn := member.Connection{ID: "okta", Provider: "okta", Activation: member.ActivateInvitation, Match: member.MatchUserName}
	s.Connections = []settings.Connection{{Connection: conn}}
	w.live.Store(&s)
	if err := w.members.Update(w.t.Context(), func(tx member.Tx) error {
		return tx.InsertMember(member.Member{
			ID: member.ID("m-" + name), UserName: name, Role: member.RoleMember, Source: member.SourceSCIM,
			Wish: true, Epoch: 1, Version: 1, Connection: "okta", Created: w.clock.Now(), Modified: w.clock.Now(),
		})
	}); err != nil {
		w.t.Fatal(err)
	}
}

func TestAnInvitationIsAcceptedByOneClickInTheSameBrowser(t *testing.T) {
	w := newWorld(t)
	w.invite("ana")
	b := w.browser()
	page := b.open(app+"/deep", "ana")
	form := url.Values{"code": {page.field("code")}}
	if page.StatusCode != http.StatusOK || form.Get("code") == "" {
		t.Fatalf("no invitation page: %s", page.reason())
	}
	page.untouched(t, "before the click")
	for _, bad := range []url.Values{{}, {"code": {"a", "b"}}} {
		if a := b.post(gateway+"/complete/accept", bad); a.StatusCode != http.StatusBadRequest {
			t.Errorf("form %v: %s", bad, a.reason())
		}
	}
	if a := b.send(http.MethodPost, gateway+"/complete/accept", form, "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"); a.StatusCode != http.StatusForbidden {
		t.Errorf("U01: a form of another site: %s", a.reason())
	}
	other := w.browser()
	other.get(gateway + "/login?provider=okta")
	if a := other.post(gateway+"/complete/accept", form); a.StatusCode != http.StatusGone {
		t.Errorf("another browser: %s", a.reason())
	}
	for _, op := range []string{"get", "take"} {
		w.pending.on(failing(errDown, op, sso.KindAccept))
		b.post(gateway+"/complete/accept", form).unavailable(t, op)
		w.pending.on(nil)
	}
	a := b.post(gateway+"/complete/accept", form)
	if a.StatusCode != http.StatusOK || a.Header.Get("Location") != "" || a.refresh == "" {
		t.Fatalf("W1: a form whose success leads to another origin answers a page, got %s", a.reason())
	}
	if end := b.follow(a, ""); end.body != "app for ana" || end.at.String() != app+"/deep" {
		t.Errorf("ended with %s", end.reason())
	}
	if a := b.post(gateway+"/complete/accept", form); a.StatusCode != http.StatusGone {
		t.Errorf("the button twice: %s", a.reason())
	}
}

func TestAClickThatCannotAcceptIsNotOfferedAgain(t *testing.T) {
	w := newWorld(t)
	w.dir.set(&member.Refusal{Code: member.RefusedInvitationPending}, nil)
	b := w.browser()
	page := b.open(app+"/", "ana")
	a := b.post(gateway+"/complete/accept", url.Values{"code": {page.field("code")}})
	if a.StatusCode != http.StatusForbidden || a.field("code") != "" {
		t.Errorf("pressed, and offered again: %s", a.reason())
	}
	w.pending.on(failing(errDown, "put", sso.KindAccept))
	w.browser().open(app+"/", "ana").unavailable(t, "invitation page that cannot be kept")
	w.dir.set(&member.Refusal{Code: member.RefusedRemoved}, nil)
	w.pending.on(nil)
	b = w.browser()
	c := b.code(app+"/", "ana")
	w.pending.on(failing(sso.ErrFull, "put", sso.KindLogin))
	if a := b.get(c); a.StatusCode != http.StatusForbidden || a.link("another account") == "" || !contains(w.audit.reasons(), "removed") {
		t.Errorf("a refusal stands whatever the budget: %s", a.reason())
	}
}

func TestLogoutIsForSignedInPeopleAndByPostOnly(t *testing.T) {
	for _, origin := range []string{app, gateway} {
		path := origin + "/logout"
		if origin == app {
			path = origin + "/.sso/logout"
		}
		w := newWorld(t)
		b := w.signedIn("ana")
		if a := b.get(path); a.StatusCode != http.StatusOK || !strings.Contains(a.body, "ana") {
			t.Errorf("page: %s", a.reason())
		}
		if a := b.send(http.MethodPost, path, url.Values{}, "Origin", "https://evil.example"); a.StatusCode != http.StatusForbidden {
			t.Errorf("U01: %s", a.reason())
		}
		if a := b.get(app + "/"); a.body != "app for ana" {
			t.Fatalf("K05: signed out by a GET or another site: %s", a.reason())
		}
		thief := w.browser()
		thief.jar = map[string]map[string]string{"app.example.com": {"__Host-ssogate-app-session": b.cookie(app, "app-session")}}
		a := b.post(path, url.Values{})
		if a.StatusCode != http.StatusOK || b.cookie(origin, strings.TrimPrefix(map[string]string{app: "app", gateway: "gateway"}[origin], "")+"-session") != "" {
			t.Errorf("logout: %s", a.reason())
		}
		if a := thief.get(app + "/"); a.StatusCode == http.StatusOK {
			t.Errorf("K05: the cookie lives on: %s", a.reason())
		}
		if w.audit.count("signout") != 1 {
			t.Error("logout not audited")
		}
		if a := b.post(path, url.Values{}); a.StatusCode != http.StatusOK {
			t.Errorf("twice: %s", a.reason())
		}
	}
}

func TestUsingAnotherAccountAsksTheIdP(t *testing.T) {
	for _, path := range []string{app + "/.sso/logout", gateway + "/logout"} {
		w := newWorld(t)
		b := w.signedIn("ana")
		page := b.get(path + "?again=1")
		if page.field("again") != "1" {
			t.Fatalf("no button: %s", page.reason())
		}
		a := b.post(path, url.Values{"again": {"1"}})
		if a.refresh == "" || a.Header.Get("Location") != "" {
			t.Fatalf("W1: %s", a.reason())
		}
		if at := b.toIDP(a.refresh); !strings.Contains(at, "force=true") {
			t.Errorf("the IdP may sign ana in silently: %s", at)
		}
		if end := b.open(a.refresh, "ben"); end.body != "app for ben" {
			t.Errorf("%s: %s", path, end.reason())
		}
	}
	w := newWorld(t)
	b := w.signedIn("ana")
	w.pending.on(failing(sso.ErrFull, "put", sso.KindLogin))
	if a := b.post(app+"/.sso/logout", url.Values{"again": {"1"}}); a.StatusCode != http.StatusTooManyRequests {
		t.Errorf("budget spent: %s", a.reason())
	}
}

func TestWhoamiTellsTheAppWhoIsThere(t *testing.T) {
	w := newWorld(t)
	if a := w.browser().get(app + "/.sso/whoami"); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("nobody: %s", a.reason())
	}
	b := w.signedIn("ana")
	if a := b.get(app + "/.sso/whoami"); a.StatusCode != http.StatusOK || !strings.Contains(a.body, `"user_name":"ana"`) || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("ana: %s", a.body)
	}
	cold := newWorld(t)
	c := cold.signedIn("ana")
	cold.store.Fail(errDown)
	b2 := c.get("https://two.example.net/.sso/whoami")
	if b2.StatusCode != http.StatusUnauthorized { // no cookie there: no store is asked
		t.Errorf("other host: %s", b2.reason())
	}
	for _, u := range []string{gateway + "/nothing", app + "/.sso/nothing", gateway + "/saml/evil/metadata", gateway + "/saml/keycloakx/metadata"} {
		if a := b.get(u); a.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", u, a.reason())
		}
	}
	if a := b.get(gateway + "/saml/okta/metadata"); a.StatusCode != http.StatusOK {
		t.Errorf("metadata: %s", a.reason())
	}
}

func TestRowS30ATestLoginIsNoLiveOne(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	for _, kind := range []string{"test", "", "LIVE"} {
		id := secret.NewToken()
		v := fmt.Sprintf(`{"kind":%q,"provider":"okta","start":{"request_id":"r"},"expires":%q}`, kind, w.clock.Now().Add(time.Hour).Format(time.RFC3339))
		if err := w.pending.PendingFake.Put(t.Context(), sso.Key{Kind: sso.KindLogin, Hash: secret.Sum(id)}, []byte(v), w.clock.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if a := b.respond("okta", id, "r", "ana"); a.StatusCode != http.StatusForbidden || a.refresh != "" {
			t.Errorf("kind %q satisfied: %s", kind, a.reason())
		}
	}
	// A Login past its time is none, whatever the store's clock says.
	id := secret.NewToken()
	v := fmt.Sprintf(`{"kind":"live","provider":"okta","start":{"request_id":"r"},"expires":%q}`, w.clock.Now().Add(-time.Second).Format(time.RFC3339Nano))
	if err := w.pending.PendingFake.Put(t.Context(), sso.Key{Kind: sso.KindLogin, Hash: secret.Sum(id)}, []byte(v), w.clock.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if a := b.respond("okta", id, "r", "ana"); a.StatusCode != http.StatusForbidden || a.refresh != "" {
		t.Errorf("expired: %s", a.reason())
	}
	// Nor does an outcome of one make a session, however it came into the store.
	c := b.code(app+"/", "ana")
	u, _ := url.Parse(c)
	k := sso.Key{Kind: sso.KindCode, Hash: secret.Sum(u.Query().Get("code"))}
	raw, err := w.pending.Get(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.pending.Put(t.Context(), k, []byte(strings.Replace(string(raw), `"kind":"live"`, `"kind":"test"`, 1)), w.clock.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if a := b.get(c); a.StatusCode != http.StatusForbidden || w.store.Len() != 0 {
		t.Errorf("a test's outcome made a session: %s", a.reason())
	}
	if err := w.pending.Put(t.Context(), k, []byte(`{`), w.clock.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	b.get(c).unavailable(t, "a record that cannot be read")
}

func TestAFlowNeedsAllOfItsParts(t *testing.T) {
	if _, err := sso.New(sso.Options{}); err == nil {
		t.Error("a flow without parts")
	}
}
