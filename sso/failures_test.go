package sso_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/ssotest"
)

// Fault 1 and G2 at every step: 503, no cookie touched, nothing used up, and the
// very same address works when the store is back.
func TestGuaranteeAPendingStoreThatFailsUsesNothingUp(t *testing.T) {
	for _, tt := range []struct {
		op   string
		kind sso.RecordKind
		at   string
	}{
		{"put", sso.KindLogin, "login"},
		{"get", sso.KindLogin, "login id"},
		{"get", sso.KindLogin, "acs"},
		{"once", sso.KindAssertion, "acs"},
		{"get", sso.KindCode, "complete"},
		{"put", sso.KindUsed, "complete"},
		{"take", sso.KindCode, "complete"},
		{"get", sso.KindHandoff, "app"},
		{"put", sso.KindUsed, "app"},
		{"take", sso.KindHandoff, "app"},
	} {
		for _, fault := range []error{errDown, sso.ErrFull, context.Canceled} {
			name := fmt.Sprint(tt.at, ": ", tt.op, " ", tt.kind, ": ", fault)
			w := newWorld(t)
			b := w.browser()
			begun := b.get(app + "/p").Header.Get("Location")
			var step func() *answer
			switch tt.at {
			case "login":
				step = func() *answer { return b.get(gateway + "/login?provider=okta&return=%2Fme") }
			case "login id":
				step = func() *answer { return b.get(begun + "&provider=okta") }
			case "acs":
				at := b.toIDP(begun)
				step = func() *answer { return b.idp(at, "ana") }
			case "complete":
				c := b.idp(b.toIDP(begun), "ana").refresh
				step = func() *answer { return b.get(c) }
			case "app":
				h := b.get(b.idp(b.toIDP(begun), "ana").refresh).Header.Get("Location")
				step = func() *answer { return b.get(h) }
			}
			w.pending.on(failing(fault, tt.op, tt.kind))
			a := step()
			if errors.Is(fault, sso.ErrFull) {
				if a.StatusCode != http.StatusTooManyRequests || a.Header.Get("Retry-After") == "" {
					t.Errorf("%s: %s; want 429", name, a.reason())
				}
				a.untouched(t, name)
			} else {
				a.unavailable(t, name)
			}
			w.pending.on(nil)
			if end := b.follow(step(), "ana"); end.body != "app for ana" && end.at.String() != gateway+"/me" {
				t.Errorf("%s: afterwards %s", name, end.reason())
			}
		}
	}
}

func TestGuaranteeOtherStoresThatFailLeaveTheBrowserAsItWas(t *testing.T) {
	for why, fail := range map[string]func(*world, error){
		"directory":     func(w *world, err error) { w.dir.set(err, nil) },
		"audit":         func(w *world, err error) { w.audit.fail(err) },
		"session store": func(w *world, err error) { w.store.Fail(err) },
		"hand-off": func(w *world, err error) {
			w.pending.on(nil)
			if err != nil {
				w.pending.on(failing(err, "put", sso.KindHandoff))
			}
		},
	} {
		w := newWorld(t)
		b := w.browser()
		c := b.code(app+"/p", "ana")
		fail(w, errDown)
		b.get(c).unavailable(t, why)
		fail(w, nil)
		if a := b.open(c, "ana"); a.body != "app for ana" || a.at.String() != app+"/p" {
			t.Errorf("%s: the same address afterwards: %s", why, a.reason())
		}
	}
}

func TestGuaranteeAFailedChangeOfAccountKeepsTheOldSession(t *testing.T) {
	for why, fail := range map[string]func(*world, error){
		"audit":    func(w *world, err error) { w.audit.fail(err) },
		"hand-off": func(w *world, err error) { w.pending.on(failing(err, "put", sso.KindHandoff)) },
		"cut-off":  func(w *world, err error) { w.dir.set(nil, err) },
	} {
		w := newWorld(t)
		b := w.browser()
		early := b.toIDP(app + "/") // a tab that waits at the IdP while another signs in
		if a := b.open(app+"/", "ana"); a.body != "app for ana" {
			t.Fatal(a.reason())
		}
		c := b.idp(early, "ben").refresh
		fail(w, errDown)
		b.get(c).unavailable(t, why)
		fail(w, nil)
		if a := b.get(app + "/"); a.body != "app for ana" {
			t.Errorf("%s: the old session is gone: %s", why, a.reason())
		}
	}
}

func TestSignedInPeopleAreNotSentAwayWhileStoresAreDown(t *testing.T) {
	w := newWorld(t)
	b := w.signedIn("ana")
	fresh := w.browser() // the same cookies under no lease's cache: another user agent knows them
	fresh.jar = b.jar
	w.store.Fail(errDown)
	w.dir.set(nil, errDown)
	for _, u := range []string{gateway + "/logout", gateway + "/login"} {
		a := b.get(u)
		switch a.StatusCode {
		case http.StatusServiceUnavailable:
			a.unavailable(t, u)
		case http.StatusFound:
			t.Errorf("%s: sent to the IdP: %s", u, a.Header.Get("Location"))
		}
	}
	a := b.post(app+"/.sso/logout", url.Values{})
	a.unavailable(t, "logout that cannot end the session")
	w.store.Fail(nil)
	w.dir.set(nil, nil)
	if a := b.get(app + "/"); a.body != "app for ana" {
		t.Errorf("afterwards: %s", a.reason())
	}
}

func TestSessionsThatWouldEndAtOnceAreRefusedOnAPage(t *testing.T) {
	// SessionNotOnOrAfter within the allowed skew, but over: not a 503, and no loop.
	for _, d := range []time.Duration{-30 * time.Second, 0, 2 * time.Second} {
		w := newWorld(t)
		w.okta.change = func(a *sso.Assertion) { a.SessionEnd = w.clock.Now().Add(d) }
		a := w.browser().open(app+"/", "ana")
		if a.StatusCode != http.StatusForbidden || !strings.Contains(a.body, "run out") || w.store.Len() != 0 {
			t.Errorf("%v: %s", d, a.reason())
		}
	}
	w := newWorld(t)
	w.okta.change = func(a *sso.Assertion) { a.SessionEnd = w.clock.Now().Add(10 * time.Minute) }
	b := w.signedIn("ana")
	w.clock.Advance(11 * time.Minute)
	if a := b.get(app + "/"); a.StatusCode != http.StatusFound {
		t.Errorf("after SessionNotOnOrAfter: %s", a.reason())
	}
}

func TestManyGroupsDoNotStopASignIn(t *testing.T) {
	w := newWorld(t)
	w.okta.change = func(a *sso.Assertion) {
		for i := range 1000 {
			a.Groups = append(a.Groups, fmt.Sprintf("6d2f1c3e-0000-4000-8000-%012d", i))
		}
	}
	w.signedIn("ana")
	w.okta.change = func(a *sso.Assertion) { a.Profile.DisplayName = strings.Repeat("x", 20<<10) }
	if a := w.browser().open(app+"/", "ana"); a.StatusCode != http.StatusForbidden {
		t.Errorf("what cannot be kept is refused, not retried for ever: %s", a.reason())
	}
}

func TestRowD01OneClientCannotSpendTheBudgetOfAll(t *testing.T) {
	w := newWorld(t, func(o *sso.Options) { o.Budget = 100 })
	evil := w.browser()
	full := 0
	for range 200 {
		evil.jar = map[string]map[string]string{}
		if evil.get(app+"/").StatusCode == http.StatusTooManyRequests {
			full++
		}
	}
	if full != 150 {
		t.Errorf("%d of 200 refused, want 150", full)
	}
	other := w.browser()
	other.addr = "198.51.100.7:1"
	if a := other.open(app+"/", "ana"); a.body != "app for ana" {
		t.Errorf("others: %s", a.reason())
	}
	w.clock.Advance(31 * time.Minute)
	if a := evil.open(app+"/", "eve"); a.body != "app for eve" {
		t.Errorf("half an hour later: %s", a.reason())
	}
	// An office behind one address: whoever arrives gives back.
	office := newWorld(t, func(o *sso.Options) { o.Budget = 10 })
	for i := range 30 {
		office.signedIn(fmt.Sprint("p", i))
	}
	// An IPv6 customer has a whole /48 to come from.
	six := newWorld(t, func(o *sso.Options) { o.Budget = 20 })
	v := six.browser()
	for i := range 30 {
		v.addr = fmt.Sprintf("[2001:db8:1:%x::1]:1", i)
		v.jar = map[string]map[string]string{}
		v.get(app + "/")
	}
	if a := v.get(app + "/"); a.StatusCode != http.StatusTooManyRequests {
		t.Errorf("IPv6: %s", a.reason())
	}
}

func TestOpeningPagesWhileSignedInDoesNotFillTheBudget(t *testing.T) {
	w := newWorld(t, func(o *sso.Options) { o.Pending = ssotest.NewPendingFake(o.Now, 50) })
	b := w.signedIn("ana")
	for range 6 {
		for range 20 {
			b.drop(app, "app-session")
			if a := b.open(app+"/", ""); a.body != "app for ana" {
				t.Fatalf("%s", a.reason())
			}
		}
		w.clock.Advance(11 * time.Minute)
	}
}

func TestRowL02RefusalsAreAuditedButNotWithoutBound(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	for range 500 {
		b.get(gateway + "/complete?code=x")
	}
	if n := w.audit.count("signin.refused"); n == 0 || n > 60 {
		t.Errorf("%d events for 500 refusals of one kind within a moment", n)
	}
	if a := b.get(gateway + "/login?provider=evil"); a.StatusCode != http.StatusNotFound || !contains(w.audit.reasons(), "unknown_provider") {
		t.Error("another reason was drowned")
	}
	w.audit.fail(errDown) // a refusal stands although it cannot be written down
	if a := b.get(gateway + "/login?provider=evil"); a.StatusCode != http.StatusNotFound {
		t.Errorf("sink full: %s", a.reason())
	}
}

func contains(list []string, s string) bool {
	return strings.Contains(" "+strings.Join(list, " ")+" ", " "+s+" ")
}

func TestRowW4TabsThatCompleteAtTheSameMomentShareOneSession(t *testing.T) {
	w := newWorld(t)
	w.signedIn("ana")
	before := w.store.Len()
	b := w.browser()
	var codes []string
	for range 5 {
		b.hops++
		codes = append(codes, b.code(app+"/", "ana"))
	}
	var all sync.WaitGroup // none goes on before all have come, each without a session cookie
	all.Add(len(codes))
	w.dir.before = func() { all.Done(); all.Wait() }
	var tabs sync.WaitGroup
	for _, c := range codes {
		tabs.Go(func() {
			if a := b.get(c); a.StatusCode != http.StatusSeeOther {
				t.Errorf("tab: %s", a.reason())
			}
		})
	}
	tabs.Wait()
	w.dir.before = nil
	if n := w.store.Len() - before; n != 1 {
		t.Fatalf("%d sessions; signing out would end one and leave the others signed in", n)
	}
	if a := b.open(app+"/", ""); a.body != "app for ana" {
		t.Fatalf("%s", a.reason())
	}
	b.post(app+"/.sso/logout", url.Values{})
	if a := b.get(gateway + "/login?provider=okta"); a.StatusCode != http.StatusFound || !strings.Contains(a.Header.Get("Location"), idpHost) {
		t.Errorf("signed out, and still known at the gateway: %s", a.reason())
	}
	// Signing in again within the ten seconds is a new session, not the ended one.
	if a := b.open(app+"/", "ana"); a.body != "app for ana" {
		t.Errorf("sign-in right after signing out: %s", a.reason())
	}
}
