package sso_test

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso"
)

// passwords is a LocalSignIn with one member.
type passwords struct {
	w     *world
	asked int
	err   error
	none  bool
}

func (p *passwords) InUse(context.Context) (bool, error) { return !p.none, p.err }

func (p *passwords) SignIn(ctx context.Context, user, password string, _ netip.Addr, _ string) (member.Member, error) {
	p.asked++
	switch {
	case p.err != nil:
		return member.Member{}, p.err
	case user != "ana" || password != "good":
		return member.Member{}, sso.ErrCredentials
	}
	m, err := p.w.dir.Lookup(ctx, "ana")
	if err != nil {
		return member.Member{}, err
	}
	return p.w.dir.AdmitLocal(ctx, m)
}

func withPasswords(t *testing.T) (*world, *passwords) {
	p := &passwords{}
	w := newWorld(t, func(o *sso.Options) { o.Local = p })
	p.w = w
	c := member.Connection{ID: "scim", Provider: "okta", Activation: member.ActivateImmediate}
	if _, err := w.dir.Create(t.Context(), member.Actor{Name: "cli"}, c, member.Member{UserName: "ana", Wish: true}); err != nil {
		t.Fatal(err)
	}
	return w, p
}

func (w *world) require(on bool) {
	s := *w.live.Load()
	s.RequireSSO = on
	w.live.Store(&s)
}

// form opens the password page of a sign-in that an app began, and answers its id.
func (b *browser) form(t *testing.T) string {
	t.Helper()
	page := b.follow(b.get(app+"/deep?x=1"), "")
	link := page.link("Sign in with a password")
	if link == "" {
		t.Fatalf("no such choice: %s", page.reason())
	}
	a := b.get(link)
	_, rest, ok := strings.Cut(a.body, `name="id" value="`)
	id, _, _ := strings.Cut(rest, `"`)
	if a.StatusCode != http.StatusOK || !ok || !strings.Contains(a.body, `autocomplete="current-password"`) {
		t.Fatalf("the form: %d", a.StatusCode)
	}
	return id
}

func TestMembersSignInWithAPasswordWhileRequireSSOIsOff(t *testing.T) {
	w, p := withPasswords(t)
	b := w.browser()
	id := b.form(t)
	to := gateway + "/login/password"
	a := b.post(to, url.Values{"id": {id}, "user": {"ana"}, "password": {"bad"}})
	if a.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(a.body, "are wrong") || !strings.Contains(a.body, `value="ana"`) || strings.Contains(a.body, `"bad"`) {
		t.Errorf("a wrong one: %s", a.reason())
	}
	p.err = &sso.WaitError{Wait: 8 * time.Second}
	if a := b.post(to, url.Values{"id": {id}, "user": {"ana"}, "password": {"good"}}); a.StatusCode != http.StatusTooManyRequests || a.Header.Get("Retry-After") != "8" {
		t.Errorf("slowed: %s", a.reason())
	}
	p.err = errors.New("down")
	if a := b.post(to, url.Values{"id": {id}, "user": {"ana"}, "password": {"good"}}); a.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("down: %s", a.reason())
	}
	p.err = nil
	end := b.follow(b.post(to, url.Values{"id": {id}, "user": {"ana"}, "password": {"good"}}), "")
	if end.body != "app for ana" || end.at.Path != "/deep" || end.at.RawQuery != "x=1" {
		t.Fatalf("ended at %s: %s", end.at, end.reason())
	}
	asked := p.asked
	if a := b.post(to, url.Values{"id": {id}, "user": {"ana"}, "password": {"good"}}); a.StatusCode != http.StatusGone || p.asked != asked {
		t.Errorf("the form twice: %s", a.reason())
	}
}

func TestWithRequireSSOAPasswordIsNotLookedAt(t *testing.T) {
	w, p := withPasswords(t)
	b := w.browser()
	id := b.form(t)
	w.require(true)
	a := b.post(gateway+"/login/password", url.Values{"id": {id}, "user": {"ana"}, "password": {"good"}})
	if p.asked != 0 || a.refresh != gateway+"/login" {
		t.Errorf("asked %d times, on to %q", p.asked, a.refresh)
	}
	if page := w.browser().get(gateway + "/login"); page.link("Sign in with a password") != "" {
		t.Error("the choice is still offered")
	}
	if a := w.browser().get(gateway + "/login/password"); a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "/login?" {
		t.Errorf("the page: %d, %q", a.StatusCode, a.Header.Get("Location"))
	}
}

// K01, U01: a form that somebody else fills in signs nobody in.
func TestAPasswordFormBelongsToOneBrowser(t *testing.T) {
	w, p := withPasswords(t)
	id := w.browser().form(t)
	other := w.browser()
	other.form(t) // it has a binding of its own
	good := url.Values{"id": {id}, "user": {"ana"}, "password": {"good"}}
	for name, a := range map[string]*answer{
		"another browser":               other.post(gateway+"/login/password", good),
		"one that has never been there": w.browser().post(gateway+"/login/password", good),
		"an id that is none":            other.post(gateway+"/login/password", url.Values{"id": {"x"}, "user": {"ana"}, "password": {"good"}}),
	} {
		if a.StatusCode != http.StatusGone || p.asked != 0 {
			t.Errorf("%s: %s, asked %d times", name, a.reason(), p.asked)
		}
	}
}

func TestPasswordsAreOfferedOnlyWhereAnybodyHasOne(t *testing.T) {
	w, p := withPasswords(t)
	w.providers("okta")
	p.none = true
	if a := w.browser().get(gateway + "/login"); a.refresh == "" {
		t.Errorf("with one provider and no password nobody is asked: %s", a.reason())
	}
	p.none = false
	if a := w.browser().get(gateway + "/login"); a.refresh != "" || a.link("Sign in with a password") == "" || a.link("Continue with Okta") == "" || a.link("Fallback owner") == "" {
		t.Errorf("no choice: %s", a.reason())
	}
	w.live.Store(&settings.Settings{Organization: w.live.Load().Organization})
	if a := w.browser().get(gateway + "/login"); a.StatusCode != http.StatusOK || a.link("Sign in with a password") == "" {
		t.Errorf("without providers: %s", a.reason())
	}
	p.err = errors.New("down")
	if a := w.browser().get(gateway + "/login"); a.StatusCode != http.StatusServiceUnavailable || a.link("Fallback owner") == "" {
		t.Errorf("without anything: %s", a.reason())
	}
}
