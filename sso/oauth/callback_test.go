package oauth

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/ssotest"
)

func TestSignInMapsClaims(t *testing.T) {
	r := newRig(t)
	l := r.begin(r.login())
	a, err := r.receive(l, r.callback(l))
	if err != nil {
		t.Fatal(err)
	}
	want := sso.Assertion{}
	want.Identity.Provider, want.Identity.Issuer, want.Identity.Subject = "acme", r.url, r.op.Sub("ada")
	if a.Identity != want.Identity {
		t.Errorf("identity %+v, want %+v", a.Identity, want.Identity)
	}
	if p := a.Profile; p.UserName != "ada" || p.Email != "ada@example.com" || p.DisplayName != "Ada Lovelace" || p.GivenName != "Ada" || p.FamilyName != "Lovelace" {
		t.Errorf("profile %+v", p)
	}
	if len(a.Groups) != 2 || a.Groups[0] != "finance" || a.SessionIndex == "" {
		t.Errorf("groups %v, session %q", a.Groups, a.SessionIndex)
	}
	if a.ReplayKey == "" || !a.ReplayUntil.After(l.Expires) || strings.Contains(a.ReplayKey, l.Start.Nonce) {
		t.Errorf("replay key %q until %v", a.ReplayKey, a.ReplayUntil)
	}
	if r.count("/userinfo") != 0 {
		t.Error("userinfo was asked although nothing was missing")
	}
}

func TestReplayKeyFollowsTheLoginNotTheCode(t *testing.T) {
	r := newRig(t)
	l := r.begin(r.login())
	a, err1 := r.receive(l, r.callback(l))
	b, err2 := r.receive(l, r.callback(l)) // another code for the same nonce
	c, err3 := r.signIn()
	if err1 != nil || err2 != nil || err3 != nil {
		t.Fatal(err1, err2, err3)
	}
	if a.ReplayKey != b.ReplayKey || a.ReplayKey == c.ReplayKey {
		t.Error("one Login must have one replay key, and two Logins two")
	}
}

func TestO01State(t *testing.T) {
	r := newRig(t)
	r.plain = true
	r.mustWork()
	l := r.begin(r.login())
	other := r.begin(r.login())
	cb := r.callback(l)
	for _, c := range []struct{ name, url, reason, why string }{
		{"missing", with(cb, "state", ""), "state", "an answer to no request of ours"},
		{"too short", with(cb, "state", l.ID[:42]), "state", "cannot be one of ours"},
		{"other characters", with(cb, "state", l.ID[:42]+"/"), "state", "cannot be one of ours"},
		{"another login's", with(cb, "state", other.ID), "state", "an attacker's state in a victim's browser"},
		{"unknown", with(cb, "state", secret.NewToken()), "state", "never issued"},
		{"case changed", with(cb, "state", strings.ToUpper(l.ID)), "state", "compared byte for byte"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := r.receive(l, c.url)
			mustRefuse(t, a, err, c.reason, c.why)
		})
	}
	a, err := r.receive(other, cb)
	mustRefuse(t, a, err, "state", "the answer belongs to another Login")
	if n := r.count("/token"); n != 1 { // the benign one
		t.Errorf("%d codes were sent to the token endpoint; a forged answer must not spend a genuine code", n-1)
	}
	if _, err := r.receive(l, cb); err != nil {
		t.Errorf("after the forgeries the genuine answer still works: %v", err)
	}
}

func TestO01LoginThatWasNotSentHere(t *testing.T) {
	r := newRig(t)
	r.mustWork()
	for name, change := range map[string]func(*sso.Login){
		"no id":            func(l *sso.Login) { l.ID = "" },
		"another provider": func(l *sso.Login) { l.Provider = "other" },
		"no provider":      func(l *sso.Login) { l.Provider = "" },
		"no nonce":         func(l *sso.Login) { l.Start.Nonce = "" },
		"no verifier":      func(l *sso.Login) { l.Start.Verifier = "" },
		"expired":          func(l *sso.Login) { l.Expires = r.clock.Now().Add(-time.Second) },
		"zero":             func(l *sso.Login) { *l = sso.Login{} },
	} {
		t.Run(name, func(t *testing.T) {
			l := r.begin(r.login())
			cb := r.callback(l)
			change(&l)
			a, err := r.receive(l, cb)
			mustRefuse(t, a, err, "", name)
		})
	}
}

func TestO02Issuer(t *testing.T) {
	r := newRig(t)
	r.mustWork()
	for _, c := range []struct {
		name  string
		hooks ssotest.OPHooks
		why   string
	}{
		{"wrong iss parameter", ssotest.OPHooks{Callback: func(v url.Values) { v.Set("iss", "https://evil.example") }}, "mix-up: the code belongs to another provider"},
		{"iss parameter with a slash", ssotest.OPHooks{Callback: func(v url.Values) { v.Set("iss", r.url+"/") }}, "compared byte for byte"},
		{"empty iss parameter", ssotest.OPHooks{Callback: func(v url.Values) { v.Set("iss", "") }}, "present but wrong"},
		{"no iss parameter", ssotest.OPHooks{Callback: func(v url.Values) { v.Del("iss") }}, "discovery promises it in every answer (RFC 9207)"},
		{"other iss claim", claimsHook(set("iss", "https://evil.example")), "token of another issuer, signed with the right key"},
		{"iss claim with a slash", claimsHook(func(c map[string]any) { c["iss"] = r.url + "/" }), "compared byte for byte"},
		{"no iss claim", claimsHook(set("iss", nil)), "required"},
		{"iss claim not a string", claimsHook(func(c map[string]any) { c["iss"] = []string{r.url} }), "required to be a string"},
		{"ISS instead of iss", claimsHook(func(c map[string]any) { c["ISS"] = c["iss"]; delete(c, "iss") }), "claim names are case-sensitive"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r.op.SetHooks(c.hooks)
			a, err := r.signIn()
			mustRefuse(t, a, err, "issuer", c.why)
		})
	}
}

func TestIssuerParameterIsOptionalWhereDiscoveryDoesNotPromiseIt(t *testing.T) {
	r := newRig(t)
	r.op.SetHooks(ssotest.OPHooks{
		Discovery: func(d map[string]any) { delete(d, "authorization_response_iss_parameter_supported") },
		Callback:  func(v url.Values) { v.Del("iss") },
	})
	if _, err := r.signIn(); err != nil {
		t.Errorf("most providers send no iss parameter: %v", err)
	}
	r.op.SetHooks(ssotest.OPHooks{Callback: func(v url.Values) { v.Set("iss", "https://evil.example") }})
	a, err := r.signIn()
	mustRefuse(t, a, err, "issuer", "where it is sent it must be right")
}

func TestO07PKCEIsAlwaysS256(t *testing.T) {
	for name, methods := range map[string]any{"S256": []string{"S256"}, "plain only": []string{"plain"}, "none listed": nil} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.op.SetHooks(ssotest.OPHooks{Discovery: set("code_challenge_methods_supported", methods)})
			l := r.begin(r.login())
			u, err := url.Parse(l.Start.URL)
			if err != nil {
				t.Fatal(err)
			}
			q := u.Query()
			if q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 || strings.Contains(l.Start.URL, l.Start.Verifier) {
				t.Errorf("request %s", l.Start.URL)
			}
			if q.Get("state") != l.ID || len(q.Get("nonce")) != 43 || q.Get("nonce") == l.ID || q.Get("redirect_uri") != gateway+"/oauth/acme/callback" || q.Get("response_type") != "code" {
				t.Errorf("request %s", l.Start.URL)
			}
			if _, err := r.receive(l, r.callback(l)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestO07WrongVerifierIsRefusedByTheProvider(t *testing.T) {
	r := newRig(t)
	r.mustWork()
	l, thief := r.begin(r.login()), r.begin(r.login())
	// A code stolen from one browser, injected into the answer to another Login.
	stolen, err := url.Parse(r.callback(l))
	if err != nil {
		t.Fatal(err)
	}
	a, err := r.receive(thief, with(r.callback(thief), "code", stolen.Query().Get("code")))
	mustRefuse(t, a, err, "code", "code injection: the verifier belongs to another request")
}

func TestO08CodeReplay(t *testing.T) {
	r := newRig(t)
	l := r.begin(r.login())
	cb := r.callback(l)
	if _, err := r.receive(l, cb); err != nil {
		t.Fatal(err)
	}
	a, err := r.receive(l, cb)
	mustRefuse(t, a, err, "code", "the callback was reloaded")
}

func TestO09ErrorCallback(t *testing.T) {
	r := newRig(t)
	r.mustWork()
	l := r.begin(r.login())
	base := gateway + "/oauth/acme/callback?state=" + l.ID + "&iss=" + url.QueryEscape(r.url)
	for _, c := range []struct{ name, query, reason string }{
		{"access denied", "&error=access_denied&error_description=no", "access_denied"},
		{"html", "&error=access_denied&error_description=" + url.QueryEscape(`<img src=x onerror=alert(1)>`), "access_denied"},
		{"line break", "&error=login_required&error_description=" + url.QueryEscape("a\r\nlevel=INFO msg=forged"), "login_required"},
		{"escape codes", "&error=invalid_scope&error_description=" + url.QueryEscape("\x1b[2Jé\u202e"), "invalid_scope"},
		{"made-up code", "&error=" + url.QueryEscape("own\nreason"), "idp_error"},
		{"very long", "&error=access_denied&error_description=" + strings.Repeat("A", 8000), "access_denied"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := r.receive(l, base+c.query)
			mustRefuse(t, a, err, c.reason, c.name)
			if strings.ContainsAny(err.Error(), "\r\n\x1b\u202e") || len(err.Error()) > 400 {
				t.Errorf("the text is not fit for a log: %q", err.Error())
			}
		})
	}
	a, err := r.receive(l, base+"&error=temporarily_unavailable")
	mustBeUnavailable(t, a, err, "authorization", "trying again helps")
	a, err = r.receive(l, with(base+"&error=access_denied", "iss", "https://evil.example"))
	mustRefuse(t, a, err, "issuer", "an error of another provider ends nobody's sign-in")
}

func TestCallbackIsReadStrictly(t *testing.T) {
	r := newRig(t)
	r.mustWork()
	l := r.begin(r.login())
	cb := r.callback(l)
	for _, c := range []struct{ name, method, url, reason string }{
		{"POST", http.MethodPost, cb, "method"},
		{"HEAD", http.MethodHead, cb, "method"},
		{"repeated code", http.MethodGet, cb + "&code=x", "repeated_parameter"},
		{"repeated state", http.MethodGet, cb + "&state=" + l.ID, "repeated_parameter"},
		{"repeated unknown", http.MethodGet, cb + "&x=1&x=2", "repeated_parameter"},
		{"semicolon", http.MethodGet, cb + ";a=b", "malformed"},
		{"bad escape", http.MethodGet, cb + "&a=%zz", "malformed"},
		{"code and error", http.MethodGet, cb + "&error=access_denied", "malformed"},
		{"neither", http.MethodGet, with(cb, "code", ""), "malformed"},
		{"long code", http.MethodGet, with(cb, "code", strings.Repeat("c", maxCode+1)), "malformed"},
		{"long query", http.MethodGet, cb + "&x=" + strings.Repeat("y", maxQuery), "malformed"},
		{"many parameters", http.MethodGet, cb + "&" + manyParams(), "malformed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			req := httptest.NewRequest(http.MethodGet, "/", nil)
			req.Method = c.method
			req.URL = &url.URL{RawQuery: c.url[strings.Index(c.url, "?")+1:]}
			resp, err := r.p.Receive(httptest.NewRecorder(), req)
			if resp != nil {
				t.Error("a response came with the refusal")
			}
			mustRefuse(t, sso.Assertion{}, err, c.reason, c.name)
		})
	}
	if _, err := r.receive(l, cb+"&session_state=abc&scope=openid&authuser=0&prompt=none&hd=example.com"); err != nil {
		t.Errorf("what Google, Keycloak and Entra add is ignored: %v", err)
	}
}

func manyParams() string {
	v := url.Values{}
	for i := range maxParams {
		v.Set("p"+string(rune('a'+i%26))+strings.Repeat("x", i), "1")
	}
	return v.Encode()
}

func TestForceAuthnIsAskedForAndChecked(t *testing.T) {
	r := newRig(t)
	forced := func() sso.Login { l := r.login(); l.ForceAuthn = true; return r.begin(l) }
	l := forced()
	u, err := url.Parse(l.Start.URL)
	if err != nil {
		t.Fatal(err)
	}
	if u.Query().Get("prompt") != "login" || u.Query().Get("max_age") != "0" {
		t.Fatalf("request %s", l.Start.URL)
	}
	if _, err := r.receive(l, r.callback(l)); err != nil {
		t.Fatalf("a fresh sign-in at the provider: %v", err)
	}
	slow := forced()
	r.clock.Advance(30 * time.Minute) // the person takes a while
	if _, err := r.receive(slow, r.callback(slow)); err != nil {
		t.Errorf("signing in late is still signing in anew: %v", err)
	}
	for name, f := range map[string]func(map[string]any){
		"missing":          set("auth_time", nil),
		"before the Login": func(c map[string]any) { c["auth_time"] = r.at(-10 * time.Minute) },
		"in the future":    func(c map[string]any) { c["auth_time"] = r.at(10 * time.Minute) },
		"text":             set("auth_time", "now"),
		"zero":             set("auth_time", 0),
	} {
		r.op.SetHooks(claimsHook(f))
		l := forced()
		a, err := r.receive(l, r.callback(l))
		mustRefuse(t, a, err, "auth_time", name)
	}
	r.op.SetHooks(claimsHook(set("auth_time", nil)))
	if _, err := r.signIn(); err != nil {
		t.Errorf("auth_time is nobody's business otherwise: %v", err)
	}
}

func TestBeginRefusesALoginWithoutID(t *testing.T) {
	r := newRig(t)
	if s, err := r.p.Begin(context.Background(), sso.Login{}); err == nil || s.URL != "" {
		t.Errorf("got %+v, %v", s, err)
	}
}

func FuzzReceive(f *testing.F) {
	for _, s := range []string{"code=a&state=" + strings.Repeat("x", 43), "error=access_denied&state=" + strings.Repeat("x", 43), "code=a&code=b", "%zz", ";", "a=b&&=", "state=\x00"} {
		f.Add(s)
	}
	p := &Provider{}
	f.Fuzz(func(t *testing.T, raw string) {
		req := httptest.NewRequest(http.MethodGet, "/", nil)
		req.URL = &url.URL{RawQuery: raw}
		resp, err := p.Receive(httptest.NewRecorder(), req)
		if (resp == nil) == (err == nil) {
			t.Fatalf("%q: response %v and error %v", raw, resp, err)
		}
		if err == nil && (len(resp.LoginID()) != stateLen || resp.Unsolicited()) {
			t.Fatalf("%q: login id %q", raw, resp.LoginID())
		}
	})
}

// A provider that says nothing about when credentials were given cannot prove that it
// was a moment ago.
func TestAFreshSignInNeedsAuthTime(t *testing.T) {
	for name, r := range map[string]*rig{"generic": newRig(t), "google": newRig(t, googlePreset())} {
		fresh := func() sso.Login { l := r.login(); l.ForceAuthn, l.Fresh = true, true; return r.begin(l) }
		if name == "generic" {
			l := fresh()
			a, err := r.receive(l, r.callback(l))
			if err != nil || a.AuthTime.IsZero() {
				t.Fatalf("benign: %s, %v", a.AuthTime, err)
			}
		}
		r.op.SetHooks(claimsHook(set("auth_time", nil)))
		l := fresh()
		a, err := r.receive(l, r.callback(l))
		mustRefuse(t, a, err, "auth_time", name)
	}
}

func TestGitHubCannotProveAFreshSignIn(t *testing.T) {
	r := newHub(t, nil)
	l, a := r.answer()
	l.Fresh = true
	got, err := a.Verify(t.Context(), l)
	mustRefuse(t, got, err, "auth_time", "github says nothing about when")
	if _, err := r.signIn(); err != nil {
		t.Errorf("benign: %v", err)
	}
}
