package session_test

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
)

func TestGuaranteeNobodyIsAdmittedAfterTheBarrier(t *testing.T) {
	w := newWorld(t)
	ana := w.member("ana")
	_, req := w.signIn(ana)
	w.leased(req) // benign twin: admitted, and from the cache
	if err := w.cutoff.Barrier(t.Context(), w.dir.deactivate("ana")); err != nil {
		t.Fatal(err)
	}
	if p, err := w.m.Admit(t.Context(), req()); !errors.Is(err, session.ErrRevoked) {
		t.Fatalf("after the barrier Admit = %v, %v; want ErrRevoked", p, err)
	}
	// C6, C7, C10: re-activation revives no session, a new sign-in works.
	again := w.dir.reactivate("ana")
	if _, err := w.m.Admit(t.Context(), req()); !errors.Is(err, session.ErrRevoked) {
		t.Fatalf("re-activation revived a session: %v", err)
	}
	_, fresh := w.signIn(again)
	if _, err := w.m.Admit(t.Context(), fresh()); err != nil {
		t.Fatalf("sign-in after re-activation: %v", err)
	}
}

func TestGuaranteeStreamsAreCutBeforeTheBarrierReturns(t *testing.T) {
	w := newWorld(t)
	w.member("ana")
	applied := int64(-1)
	w.streams.before = func(r member.Revocation) { applied = w.cutoff.Applied() }
	seq := w.dir.deactivate("ana")
	if err := w.cutoff.Barrier(t.Context(), seq); err != nil {
		t.Fatal(err)
	}
	if applied != seq-1 {
		t.Fatalf("streams were cut when %d was acknowledged already, want %d: the acknowledgement must follow the cut (C5, C10)", applied, seq-1)
	}
}

func TestARecheckCanAskWhileItsRowIsBeingApplied(t *testing.T) {
	w := newWorld(t)
	_, req := w.signIn(w.member("ana"))
	w.leased(req)
	var err error
	w.streams.before = func(member.Revocation) { _, err = w.m.Admit(t.Context(), req()) }
	seq := w.log.add(member.Revocation{Kind: member.Recheck, Scope: member.ScopeAll})
	if err := w.cutoff.Barrier(t.Context(), seq); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatalf("asked from inside the cut: %v; streams of people who may stay would be closed", err)
	}
}

func TestAReadThatARevocationOvertookIsNotUsed(t *testing.T) {
	// C3: the snapshot was taken before the deactivation, its result arrives after it was applied.
	w := newWorld(t)
	ana := w.member("ana")
	_, req := w.signIn(ana)
	w.dir.mu.Lock()
	w.dir.during = func() {
		if err := w.cutoff.Barrier(t.Context(), w.dir.deactivate("ana")); err != nil {
			t.Error(err)
		}
	}
	w.dir.mu.Unlock()
	if p, err := w.m.Admit(t.Context(), req()); !errors.Is(err, session.ErrRevoked) {
		t.Fatalf("Admit = %v, %v; want ErrRevoked", p, err)
	}
}

func TestASignInRacingADeactivationIsNeverAdmitted(t *testing.T) {
	// C6, row C10: Directory.Admit answered, then the member was deactivated, then the session was made.
	w := newWorld(t)
	ana := w.member("ana")
	if err := w.cutoff.Barrier(t.Context(), w.dir.deactivate("ana")); err != nil {
		t.Fatal(err)
	}
	_, req := w.signIn(ana) // stamped with the epoch before
	if _, err := w.m.Admit(t.Context(), req()); !errors.Is(err, session.ErrRevoked) {
		t.Fatalf("Admit = %v, want ErrRevoked", err)
	}
	w.dir.reactivate("ana")
	if _, err := w.m.Admit(t.Context(), req()); !errors.Is(err, session.ErrRevoked) {
		t.Fatalf("Admit after re-activation = %v, want ErrRevoked", err)
	}
}

func TestAPrincipalReadBeforeARevocationDoesNotPassTheRecheck(t *testing.T) {
	w := newWorld(t)
	_, req := w.signIn(w.member("ana"))
	_, other := w.signIn(w.member("ben"))
	p, err := w.m.Admit(t.Context(), req())
	if err != nil {
		t.Fatal(err)
	}
	q, err := w.m.Admit(t.Context(), other())
	if err != nil {
		t.Fatal(err)
	}
	if !w.m.Still(p) || w.m.Still(nil) {
		t.Fatal("Still is wrong before any revocation")
	}
	if err := w.cutoff.Barrier(t.Context(), w.dir.deactivate("ana")); err != nil {
		t.Fatal(err)
	}
	if w.m.Still(p) || !w.m.Still(q) {
		t.Fatal("the revoked principal must fail the re-check (C10), another member's must not")
	}
}

func TestGuaranteeStoreErrorsAreNeverAVerdict(t *testing.T) {
	// G2: neither admitted nor "ended", and the same cookie works afterwards.
	w := newWorld(t)
	_, req := w.signIn(w.member("ana"))
	for name, fail := range map[string]func(error){"session store": w.store.Fail, "directory": w.dir.setFail} {
		fail(errDown)
		_, err := w.m.Admit(t.Context(), req())
		if session.Reason(err) != "store_unavailable" {
			t.Errorf("%s down: Admit = %v, want an error that is no verdict", name, err)
		}
		fail(nil)
	}
	if _, err := w.m.Admit(t.Context(), req()); err != nil {
		t.Errorf("after recovery the same cookie gives %v", err)
	}
}

func TestCachedPrincipalsGoOnWhileTheSessionStoreIsDown(t *testing.T) {
	w := newWorld(t) // fault 1
	_, req := w.signIn(w.member("ana"))
	w.leased(req)
	w.store.Fail(errDown)
	if _, err := w.m.Admit(t.Context(), req()); err != nil {
		t.Fatalf("cached principal refused while the store is down: %v", err)
	}
	// The cut-off needs no session store either (C1).
	if err := w.cutoff.Barrier(t.Context(), w.dir.deactivate("ana")); err != nil {
		t.Fatal(err)
	}
	if p, _ := w.m.Admit(t.Context(), req()); p != nil {
		t.Fatal("cut off while the store is down, and still admitted")
	}
}

func TestWithoutALeaseNothingIsAnsweredFromTheCache(t *testing.T) {
	w := newWorld(t) // fault 24
	_, req := w.signIn(w.member("ana"))
	w.leased(req)
	w.log.setFail(errDown)
	eventually(t, "the lease runs out", func() bool {
		w.store.Fail(errDown)
		defer w.store.Fail(nil)
		_, err := w.m.Admit(t.Context(), req())
		return err != nil
	})
	if _, err := w.m.Admit(t.Context(), req()); err != nil {
		t.Fatalf("without a lease the stores are asked, and they say yes: %v", err)
	}
	eventually(t, "streams are closed after the grace (C12)", func() bool { return w.streams.cutAll() == 1 })
	w.log.setFail(nil)
	w.leased(req)
}

func TestAWallClockJumpVoidsTheLease(t *testing.T) {
	w := newWorld(t) // C9
	_, req := w.signIn(w.member("ana"))
	w.leased(req)
	w.log.setFail(errDown) // so that the loop cannot extend it at once
	w.clock.Advance(time.Second)
	w.store.Fail(errDown)
	if _, err := w.m.Admit(t.Context(), req()); err == nil {
		t.Fatal("the cache was used although the wall clock had jumped")
	}
}

func TestIdleAndAbsoluteLimits(t *testing.T) {
	w := newWorld(t) // K06
	rec, req := w.signIn(w.member("ana"))
	for range 15 { // in use every half hour: idle never ends it, the absolute limit does
		w.clock.Advance(30 * time.Minute)
		if _, err := w.m.Admit(t.Context(), req()); err != nil {
			t.Fatalf("in use, %v after sign-in: %v", w.clock.Now().Sub(rec.Issued), err)
		}
	}
	w.clock.Advance(31 * time.Minute)
	if _, err := w.m.Admit(t.Context(), req()); !errors.Is(err, session.ErrExpired) && !errors.Is(err, session.ErrRevoked) {
		t.Fatalf("past the absolute end: %v", err)
	}
	_, idle := w.signIn(w.member("ben"))
	if _, err := w.m.Admit(t.Context(), idle()); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(61 * time.Minute)
	if _, err := w.m.Admit(t.Context(), idle()); !errors.Is(err, session.ErrExpired) {
		t.Fatalf("idle for 61 minutes: %v, want ErrExpired", err)
	}
	// The clock going back lengthens nothing past what was shown: the absolute end is a date of its own.
	w.clock.Advance(-24 * time.Hour)
	if p, err := w.m.Admit(t.Context(), req()); err == nil && p.Expires.After(rec.Expires) {
		t.Fatal("the absolute end moved")
	}
}

func TestSessionNotOnOrAfterCapsTheSession(t *testing.T) {
	w := newWorld(t)
	ana := w.member("ana")
	end := w.clock.Now().Add(10 * time.Minute)
	_, rec, err := w.m.Start(t.Context(), session.Start{Member: ana, Provider: "okta", NotAfter: end})
	if err != nil {
		t.Fatal(err)
	}
	if rec.Expires.After(end) {
		t.Fatalf("ends %v, the IdP allowed until %v", rec.Expires, end)
	}
}

func TestOnlyAdmittedMembersGetASession(t *testing.T) {
	w := newWorld(t)
	for _, m := range []member.Member{{}, {ID: "x", Wish: true}, {ID: "x", Accepted: true}, {ID: "x", Wish: true, Accepted: true, Suspended: true}} {
		if _, _, err := w.m.Start(t.Context(), session.Start{Member: m, Provider: "okta"}); err == nil {
			t.Errorf("session for %+v", m)
		}
	}
}

func TestLogoutEndsTheSessionOnEveryOrigin(t *testing.T) {
	w := newWorld(t) // K05
	ana := w.member("ana")
	id, _, err := w.m.Start(t.Context(), session.Start{Member: ana, Provider: "okta"})
	if err != nil {
		t.Fatal(err)
	}
	at := func(d session.Door, host string) *http.Request {
		rr := httptest.NewRecorder()
		if err := w.cookies.SetSession(rr, d, host, id); err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("GET", "https://"+host+"/", nil)
		r.AddCookie(rr.Result().Cookies()[0])
		return r
	}
	app, gw := at(session.App, "app.example.com"), at(session.Gateway, "sso.example.com")
	p, err := w.m.Admit(t.Context(), app)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.m.AdmitGateway(t.Context(), gw); err != nil {
		t.Fatal(err)
	}
	if err := w.m.End(t.Context(), member.Actor{Name: "member:ana"}, p, "logout"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.m.Admit(t.Context(), app); !errors.Is(err, session.ErrRevoked) {
		t.Errorf("app origin after logout: %v", err)
	}
	if _, err := w.m.AdmitGateway(t.Context(), gw); !errors.Is(err, session.ErrRevoked) {
		t.Errorf("gateway after logout: %v", err)
	}
}

func TestCookieValueOpensOnlyItsOwnDoorAndHost(t *testing.T) {
	w := newWorld(t)
	ana := w.member("ana")
	id, _, err := w.m.Start(t.Context(), session.Start{Member: ana, Provider: "okta"})
	if err != nil {
		t.Fatal(err)
	}
	rr := httptest.NewRecorder()
	if err := w.cookies.SetSession(rr, session.App, "app.example.com:8443", id); err != nil {
		t.Fatal(err)
	}
	c := rr.Result().Cookies()[0]
	if c.Name != "__Host-ssogate-app-session" || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Domain != "" || c.Path != "/" {
		t.Errorf("K04: cookie is %+v", c)
	}
	if rr.Header().Get("Cache-Control") != "no-store" {
		t.Error("K10: an answer that sets a cookie must not be stored")
	}
	if strings.Contains(c.Value, id) {
		t.Error("the session id can be read in the cookie")
	}
	try := func(host, name, value string) error {
		r := httptest.NewRequest("GET", "https://"+host+"/", nil)
		r.Header.Set("Cookie", name+"="+value)
		_, err := w.m.Admit(t.Context(), r)
		if strings.Contains(name, "gateway") {
			_, err = w.m.AdmitGateway(t.Context(), r)
		}
		return err
	}
	if err := try("APP.example.com", c.Name, c.Value); err != nil {
		t.Errorf("another port and case of the same host: %v", err)
	}
	if err := try("evil.example.com", c.Name, c.Value); !errors.Is(err, session.ErrBadCookie) {
		t.Errorf("another host: %v", err)
	}
	if err := try("app.example.com", "__Host-ssogate-gateway-session", c.Value); !errors.Is(err, session.ErrBadCookie) {
		t.Errorf("the gateway's door: %v", err)
	}
	for i := range len(c.Value) { // K02
		bad := []byte(c.Value)
		bad[i] ^= 1
		if err := try("app.example.com", c.Name, string(bad)); !errors.Is(err, session.ErrBadCookie) {
			t.Fatalf("bit flipped at %d: %v", i, err)
		}
	}
	for _, v := range []string{"", "x", "AAAAAAAAAAAA", strings.Repeat("A", 8<<10)} {
		if err := try("app.example.com", c.Name, v); !errors.Is(err, session.ErrBadCookie) {
			t.Errorf("K02: value of %d bytes: %v", len(v), err)
		}
	}
}

func TestTossedCookiesAreNeverBelieved(t *testing.T) {
	w := newWorld(t) // K03
	_, req := w.signIn(w.member("ana"))
	good := req().Header.Get("Cookie")
	name, value, _ := strings.Cut(good, "=")
	for _, tt := range []struct{ why, header string }{
		{"two copies", good + "; " + good},
		{"a second copy with another value", good + "; " + name + "=x"},
		{"$Version makes some parsers take the next pair", `$Version=1; ` + name + ` =` + value},
		{"space before =", name + " =" + value},
		{"tab before the name", "a=b;\t" + name + "=" + value},
		{"upper case", strings.ToUpper(name) + "=" + value},
		{"dollar", "$" + name + "=" + value},
		{"unicode space", "\u2000" + name + "=" + value},
		{"genuine plus look-alike", good + "; \u2000" + name + "=" + value},
		{"quoted name", `"` + name + `"=` + value},
	} {
		r := httptest.NewRequest("GET", "https://app.example.com/", nil)
		r.Header.Set("Cookie", tt.header)
		if p, err := w.m.Admit(t.Context(), r); !errors.Is(err, session.ErrBadCookie) && !errors.Is(err, session.ErrNoCookie) {
			t.Errorf("%s: Admit = %v, %v", tt.why, p, err)
		}
	}
	r := httptest.NewRequest("GET", "https://app.example.com/", nil)
	r.Header.Set("Cookie", "a=b; theme=dark; "+good+"; ssogate-other=1")
	if _, err := w.m.Admit(t.Context(), r); err != nil {
		t.Errorf("benign neighbours: %v", err)
	}
}

func TestCookieKeyRotation(t *testing.T) {
	w := newWorld(t) // K08
	ana := w.member("ana")
	id, _, err := w.m.Start(t.Context(), session.Start{Member: ana, Provider: "okta"})
	if err != nil {
		t.Fatal(err)
	}
	oldKey, newKey := bytes.Repeat([]byte{1}, 64), bytes.Repeat([]byte{2}, 64)
	both, err := session.NewCookies(true, newKey, oldKey)
	if err != nil {
		t.Fatal(err)
	}
	only, err := session.NewCookies(true, newKey)
	if err != nil {
		t.Fatal(err)
	}
	made := func(c *session.Cookies) *http.Request {
		rr := httptest.NewRecorder()
		if err := c.SetSession(rr, session.App, "app.example.com", id); err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("GET", "https://app.example.com/", nil)
		r.AddCookie(rr.Result().Cookies()[0])
		return r
	}
	manager := func(c *session.Cookies) *session.Manager {
		m, err := session.NewManager(session.ManagerOptions{
			Store: w.store, Directory: w.dir, Cookies: c, Cutoff: w.cutoff, Now: w.clock.Now,
			Limits: session.Limits{Idle: time.Hour, Absolute: time.Hour}, ProviderActive: func(string) bool { return true },
		})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	for _, tt := range []struct {
		why   string
		m     *session.Manager
		r     *http.Request
		admit bool
	}{
		{"the old key still decodes while both are set", manager(both), made(w.cookies), true},
		{"the new key encodes", manager(only), made(both), true},
		{"the old key removed: sign in again", manager(only), made(w.cookies), false},
	} {
		if _, err := tt.m.Admit(t.Context(), tt.r); (err == nil) != tt.admit {
			t.Errorf("%s: %v", tt.why, err)
		}
	}
	if _, err := session.NewCookies(true, []byte("short")); err == nil {
		t.Error("a short key was accepted")
	}
}

func TestIsOurCookieKnowsEverySpelling(t *testing.T) {
	w := newWorld(t)
	for _, n := range []string{"ssogate-app-session", "__Host-ssogate-app-session", "__HOST-SSOGATE-gateway-binding", " ssogate-x", "$ssogate-x", "__Secure-ssogate-x", "\u2000__Host-ssogate-app-session"} {
		if !w.m.IsOurCookie(n) {
			t.Errorf("%q would be forwarded", n)
		}
	}
	for _, n := range []string{"session", "theme", "my-ssogate", "sso"} {
		if w.m.IsOurCookie(n) {
			t.Errorf("%q belongs to the app", n)
		}
	}
}

func TestBindingIsOneCookiePerBrowser(t *testing.T) {
	w := newWorld(t)
	rr := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "https://sso.example.com/login", nil)
	h, err := w.cookies.Binding(rr, r, session.Gateway)
	if err != nil || h.IsZero() {
		t.Fatal(h, err)
	}
	c := rr.Result().Cookies()[0]
	if c.MaxAge <= 0 || c.MaxAge > 3600 {
		t.Errorf("binding lives %d s, want at most an hour", c.MaxAge)
	}
	r.AddCookie(c)
	rr = httptest.NewRecorder()
	again, err := w.cookies.Binding(rr, r, session.Gateway)
	if err != nil || again != h || len(rr.Result().Cookies()) != 0 {
		t.Errorf("a second tab gets another binding: %v %v", again, err)
	}
	r = httptest.NewRequest("GET", "https://app.example.com/", nil)
	r.AddCookie(c)
	if _, ok := w.cookies.Bound(r, session.App); ok {
		t.Error("the gateway's binding counts on an app origin")
	}
}

func TestUseIsWrittenBackWithoutMovingTheEnd(t *testing.T) {
	w := newWorld(t)
	rec, req := w.signIn(w.member("ana"))
	w.clock.Advance(10 * time.Minute)
	if _, err := w.m.Admit(t.Context(), req()); err != nil {
		t.Fatal(err)
	}
	w.m.RunTouches(closed(t), discard())
	got, err := w.store.Get(t.Context(), rec.Hash)
	if err != nil {
		t.Fatal(err)
	}
	if got.LastSeen.Sub(rec.LastSeen) < 9*time.Minute || !got.Expires.Equal(rec.Expires) {
		t.Errorf("stored: seen %v, ends %v; was %v, %v", got.LastSeen, got.Expires, rec.LastSeen, rec.Expires)
	}
}
