package sso_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestSignInEndsWhereItBegan(t *testing.T) {
	for _, tt := range []struct{ page, end string }{
		{app + "/", app + "/"},
		{app + "/a/b?q=1&r=%20", app + "/a/b?q=1&r=%20"},
		{two + "/x", two + "/x"},
		{gateway + "/login?provider=okta&return=%2Fme%3Fa=1", gateway + "/me?a=1"},
		{gateway + "/login?provider=okta", app + "/"},
	} {
		w := newWorld(t)
		a := w.browser().open(tt.page, "ana")
		if a.at.String() != tt.end {
			t.Errorf("from %s to %s (%s), want %s", tt.page, a.at, a.reason(), tt.end)
		}
	}
}

func TestOneSignInServesEveryAppHost(t *testing.T) {
	w := newWorld(t)
	b := w.signedIn("ana")
	if a := b.open(two+"/x?y", ""); a.body != "app for ana" || a.at.String() != two+"/x?y" {
		t.Fatalf("another app host: %s", a.reason())
	}
	if n := w.store.Len(); n != 1 {
		t.Errorf("%d sessions, want one for all origins", n)
	}
	if got := w.audit.count("signin"); got != 1 {
		t.Errorf("%d sign-ins audited, want 1", got)
	}
}

func TestRowK01ACodeCarriedIntoAnotherBrowserSignsNobodyIn(t *testing.T) {
	w := newWorld(t)
	w.signedIn("ana") // benign twin
	evil, victim := w.browser(), w.browser()
	victim.get(gateway + "/login?provider=okta") // has binding cookies of its own
	c := evil.code(app+"/?evil", "mallory")
	if a := victim.get(c); a.refresh != c+"&retry=1" {
		t.Errorf("W3: first a refresh from our own page, got %s", a.reason())
	}
	a := victim.follow(victim.get(c), "")
	if victim.cookie(gateway, "gateway-session") != "" || strings.Contains(a.body, "mallory") {
		t.Fatalf("login CSRF: %s", a.reason())
	}
	// The victim was only sent to sign in himself, and the code was not burned (W3).
	if !strings.HasPrefix(a.Header.Get("Idp"), "https://"+idpHost) {
		t.Errorf("victim ended at %s", a.reason())
	}
	if a := evil.follow(evil.get(c), ""); a.body != "app for mallory" {
		t.Errorf("the code was burned by another browser: %s", a.reason())
	}
}

func TestRowK01AHandoffCarriedIntoAnotherBrowserSignsNobodyIn(t *testing.T) {
	w := newWorld(t)
	evil, victim := w.signedIn("mallory"), w.signedIn("ana")
	victim.open(two+"/", "") // has a binding of her own there
	victim.drop(two, "app-session")
	a := evil.get(evil.get(two + "/").Header.Get("Location"))
	handoff := a.Header.Get("Location")
	if !strings.HasPrefix(handoff, two+"/.sso/complete?code=") {
		t.Fatalf("no hand-off: %s", a.reason())
	}
	if a := victim.follow(victim.get(handoff), ""); a.body != "app for ana" {
		t.Errorf("victim ends with %s, want to stay ana", a.reason())
	}
	if a := evil.follow(evil.get(handoff), ""); a.body != "app for mallory" {
		t.Errorf("the hand-off was burned by another browser: %s", a.reason())
	}
}

func TestAHandoffIsForItsOwnHostOnly(t *testing.T) {
	w := newWorld(t)
	b := w.signedIn("ana")
	a := b.get(b.get(two + "/").Header.Get("Location"))
	handoff := a.Header.Get("Location")
	moved := strings.Replace(handoff, two, app, 1)
	if a := b.get(moved); a.StatusCode != http.StatusGone {
		t.Errorf("hand-off of another host: %s", a.reason())
	}
	if a := b.follow(b.get(handoff), ""); a.body != "app for ana" {
		t.Errorf("the genuine one was used up: %s", a.reason())
	}
}

func TestALoginCarriedIntoAnotherBrowserStartsThereAnew(t *testing.T) {
	// The attacker begins at the app and sends his Login to a signed-in victim.
	w := newWorld(t)
	evil, victim := w.browser(), w.signedIn("ana")
	u := evil.get(app + "/evil").Header.Get("Location")
	if a := victim.follow(victim.get(u), ""); a.body != "app for ana" {
		t.Errorf("victim ends with %s", a.reason())
	}
	if evil.cookie(app, "app-session") != "" {
		t.Error("the attacker has a session")
	}
	if a := evil.open(app+"/", ""); strings.HasPrefix(a.body, "app for") {
		t.Error("the attacker is signed in")
	}
}

func TestARequestStartedInOneBrowserAndAnsweredInAnotherSignsNobodyIn(t *testing.T) {
	w := newWorld(t)
	evil, victim := w.browser(), w.browser()
	at := evil.toIDP(app + "/") // the attacker sends this address to the victim
	a := victim.follow(victim.idp(at, "ana"), "")
	if victim.cookie(gateway, "gateway-session") != "" {
		t.Fatalf("session without a binding: %s", a.reason())
	}
	if a := evil.open(app+"/", ""); strings.HasPrefix(a.body, "app for") {
		t.Fatal("the attacker got the victim's session")
	}
}

func TestRowS12AnAnswerCountsOnceAndOnlyForItsLogin(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	at, _ := url.Parse(b.toIDP(app + "/"))
	state, req := at.Query().Get("state"), at.Query().Get("req")
	for _, tt := range []struct{ why, provider, state, req string }{
		{"unknown login", "okta", strings.Repeat("x", 43), req},
		{"no login", "keycloak", "", req},
		{"too long", "okta", strings.Repeat("x", 2000), req},
		{"another request", "okta", state, "req-99"},
		{"another provider", "keycloak", state, req},
	} {
		a := b.respond(tt.provider, tt.state, tt.req, "ana")
		if a.StatusCode != http.StatusForbidden || a.refresh != "" || a.link("Sign in again") == "" || a.link("Use another account") == "" {
			t.Errorf("%s: %s; want 403 with two ways on", tt.why, a.reason())
		}
		a.untouched(t, tt.why)
	}
	a := b.respond("okta", state, req, "ana") // the benign twin still works after all that
	if a.refresh == "" {
		t.Fatalf("genuine: %s", a.reason())
	}
	if again := b.respond("okta", state, req, "ana"); again.StatusCode != http.StatusForbidden {
		t.Errorf("S17: the same assertion twice: %s", again.reason())
	}
	b.follow(a, "")
	b.hops++ // another assertion for the same, now used, Login
	if late := b.respond("okta", state, req, "ana"); late.StatusCode != http.StatusForbidden {
		t.Errorf("a used Login was satisfied again: %s", late.reason())
	}
	w.clock.Advance(61 * time.Minute)
	if late := b.respond("okta", state, req, "ana"); late.StatusCode != http.StatusForbidden {
		t.Errorf("an expired Login was satisfied: %s", late.reason())
	}
}

func TestTwoAnswersToOneLoginMakeOneSession(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	at := b.toIDP(app + "/")
	first := b.idp(at, "ana").refresh
	b.hops++
	second := b.idp(at, "ana").refresh
	if first == "" || second == "" || first == second {
		t.Fatal("no two codes")
	}
	var wg sync.WaitGroup
	for _, c := range []string{first, second, first, second, first} {
		wg.Go(func() { b.get(c) })
	}
	wg.Wait()
	if n := w.store.Len(); n != 1 {
		t.Errorf("%d sessions, want 1", n)
	}
}

func TestRowS13AnUnsolicitedAnswerBouncesOnceAndNeverSignsIn(t *testing.T) {
	for _, state := range []string{"", strings.Repeat("x", 43)} {
		w := newWorld(t)
		b := w.signedIn("ben") // knows cookies; the session is somebody's, so it is dropped
		b.post(gateway+"/logout", url.Values{})
		a := b.respond("okta", state, "", "ana")
		a.untouched(t, "unsolicited")
		if a.StatusCode != http.StatusOK || a.refresh == "" {
			t.Fatalf("state %q: unsolicited: %s", state, a.reason())
		}
		if end := b.follow(a, "ana"); end.body != "app for ana" {
			t.Errorf("after the bounce: %s", end.reason())
		}
	}
}

// loopingIDP answers every request with an answer that nobody asked for.
func loopingIDP(b *browser) (a *answer, rounds int) {
	a = b.respond("okta", "", "", "ana")
	for range 30 {
		next := a.refresh
		if l := a.Header.Get("Location"); l != "" {
			next = a.abs(l)
		}
		if next == "" {
			return a, rounds
		}
		if strings.HasPrefix(next, "https://"+idpHost) {
			rounds++
			a = b.respond("okta", "", "", "ana")
			continue
		}
		a = b.get(next)
	}
	return a, rounds
}

func TestRowD02AnIdPThatNeverAnswersDoesNotLoop(t *testing.T) {
	for _, blocks := range []bool{false, true} {
		w := newWorld(t)
		b := w.browser()
		b.blocks = blocks
		a, rounds := loopingIDP(b)
		if a.StatusCode != http.StatusForbidden || rounds > 2 {
			t.Errorf("cookies blocked %v: %d rounds, then %s; want a page after at most 2", blocks, rounds, a.reason())
		}
	}
}

func TestRowD02BlockedCookiesEndOnAPage(t *testing.T) {
	for _, host := range []string{"", "app", "gateway"} {
		w := newWorld(t)
		b := w.browser()
		b.blocks = host == ""
		a, idp := b.get(app+"/"), 0
		for range 40 {
			switch host { // one origin only: its cookies vanish after every answer
			case "app":
				b.jar["app.example.com"] = nil
			case "gateway":
				b.jar["sso.example.com"] = nil
			}
			next := a.refresh
			if l := a.Header.Get("Location"); l != "" {
				next = a.abs(l)
			}
			if next == "" && a.StatusCode == http.StatusOK {
				next = a.link("Continue with Okta")
			}
			if next == "" {
				break
			}
			if strings.HasPrefix(next, "https://"+idpHost) {
				idp++
				b.hops++
				a = b.idp(next, "ana")
				continue
			}
			a = b.get(next)
		}
		if a.StatusCode != http.StatusForbidden || !strings.Contains(a.body, "blocks cookies") || idp > 2 {
			t.Errorf("%q blocked: %d times at the IdP, then %s", host, idp, a.reason())
		}
	}
}

func TestABindingThatRanOutAtTheIdPCostsOneMoreRoundOnly(t *testing.T) {
	// Both binding cookies were nearly an hour old when the sign-in began.
	w := newWorld(t)
	b := w.browser()
	at := b.toIDP(app + "/deep?x=1")
	a := b.idp(at, "ana")
	b.drop(gateway, "gateway-binding")
	b.drop(app, "app-binding")
	if a = b.follow(a, "ana"); a.body != "app for ana" || a.at.String() != app+"/deep?x=1" {
		t.Errorf("ended with %s, want the page: no dead end", a.reason())
	}
}

func TestRowW4TwentyTabsOpenedColdAllArriveInOneSession(t *testing.T) {
	w := newWorld(t)
	w.providers("okta")
	w.signedIn("ana") // the member exists
	before := w.store.Len()
	b := w.browser()
	// All tabs come as far as the answer of the IdP before any of them completes.
	pages := make([]*answer, 20)
	for i := range pages {
		u := b.get(app + "/" + string(rune('a'+i))).Header.Get("Location")
		b.hops++
		at := b.toIDP(u)
		pages[i] = b.idp(at, "ana")
	}
	var wg sync.WaitGroup
	for i, p := range pages {
		wg.Go(func() {
			end := b.finish(p)
			if want := app + "/" + string(rune('a'+i)); end.at.String() != want || end.body != "app for ana" {
				t.Errorf("tab %d: %s", i, end.reason())
			}
		})
	}
	wg.Wait()
	if n := w.store.Len() - before; n != 1 {
		t.Errorf("%d sessions, want 1: signing out would end only one of them", n)
	}
}

// finish is follow for tabs that run at once: it counts nothing.
func (b *browser) finish(a *answer) *answer {
	for range 40 {
		next := a.refresh
		if l := a.Header.Get("Location"); l != "" {
			next = a.abs(l)
		}
		if next == "" {
			return a
		}
		if strings.HasPrefix(next, "https://"+idpHost) {
			a = b.idp(next, "ana")
			continue
		}
		a = b.get(next)
	}
	return a
}
