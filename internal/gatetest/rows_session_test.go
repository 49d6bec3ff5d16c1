package gatetest

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/internal/demo"
	"github.com/ssogate/ssogate/sso/ssotest"
)

const (
	appSession     = "ssogate-app-session"
	gatewaySession = "ssogate-gateway-session"
)

// cookieValue is one cookie of a visitor.
func cookieValue(t *testing.T, v *demo.Visitor, u, name string) string {
	t.Helper()
	for c := range strings.SplitSeq(cookieHeader(t, v, u), "; ") {
		if value, ok := strings.CutPrefix(c, name+"="); ok {
			return value
		}
	}
	t.Fatalf("no cookie %s", name)
	return ""
}

// Row K01: nobody is signed in by a link, at either door.
func TestGuaranteeNoTakeoverByALinkIntoAnotherBrowser(t *testing.T) {
	w := start(t)
	w.member(w.ana())
	w.member(w.ben())
	links := map[string]func(t *testing.T) string{
		"SAML completion": func(t *testing.T) string {
			v := demo.NewVisitor()
			acs, form := w.samlAnswer(v, w.ana())
			return codeURL(t, w.Facts.Gateway, w.fromIdP(v, acs, form))
		},
		"SAML completion, second try": func(t *testing.T) string {
			v := demo.NewVisitor()
			acs, form := w.samlAnswer(v, w.ana())
			return codeURL(t, w.Facts.Gateway, w.fromIdP(v, acs, form)) + "&retry=1"
		},
		"OpenID callback": func(t *testing.T) string {
			u, err := w.OP.SignIn(w.begin(demo.NewVisitor(), run.DemoOIDC), w.ana().User)
			if err != nil {
				t.Fatal(err)
			}
			return u
		},
		"hand-off to the application": func(t *testing.T) string {
			v := w.signedIn(w.ana())
			a := w.get(nil, w.Facts.App+"/x")
			// The attacker's own browser would go on; he keeps the address instead.
			a = w.get(v, a.Header.Get("Location"))
			if u := a.Header.Get("Location"); strings.HasPrefix(u, w.Facts.App+"/.sso/complete?code=") {
				return u
			}
			t.Fatalf("no hand-off: %d", a.Status)
			return ""
		},
	}
	victims := map[string]func() *demo.Visitor{
		"a browser that was never here": demo.NewVisitor,
		"a browser about to sign in": func() *demo.Visitor {
			v := demo.NewVisitor()
			w.begin(v, run.DemoSAML)
			return v
		},
		"somebody who is signed in": func() *demo.Visitor { return w.signedIn(w.ben()) },
	}
	for name, link := range links {
		for who, victim := range victims {
			t.Run("K01 S12 "+name+", "+who, func(t *testing.T) {
				w.as(t).notSignedInBy(victim(), link(t), w.ana().User)
			})
		}
	}
	t.Run("K01 the IdP's answer posted in another browser", func(t *testing.T) {
		w := w.as(t)
		acs, form := w.samlAnswer(demo.NewVisitor(), w.ana())
		victim := demo.NewVisitor()
		w.begin(victim, run.DemoSAML)
		w.notSignedInBy(victim, codeURL(t, w.Facts.Gateway, w.fromIdP(victim, acs, form)), w.ana().User)
	})
	t.Run("K01 the id changes with the person", func(t *testing.T) {
		w := w.as(t)
		v := w.signedIn(w.ana())
		old := cookieHeader(t, v, w.Facts.App)
		if _, err := v.Open(t.Context(), strings.TrimSuffix(w.Facts.SAML, "/metadata")+"/logout"); err != nil {
			t.Fatal(err)
		}
		acs, resp, state, err := w.SAML.Respond(w.leave(v, w.Facts.Gateway+"/login?force=1&provider="+run.DemoSAML), w.ben().User)
		if err != nil {
			t.Fatal(err)
		}
		finish(t, v, codeURL(t, w.Facts.Gateway, w.fromIdP(v, acs, url.Values{"SAMLResponse": {resp}, "RelayState": {state}})))
		if a := w.get(v, w.Facts.Gateway+"/me"); !strings.Contains(a.Body, w.ben().User) {
			t.Fatalf("benign: not signed in as the other person: %d", a.Status)
		}
		if a := w.send(nil, http.MethodGet, w.Facts.App+"/", nil, "Cookie", old, "Accept", "application/json"); a.Status != http.StatusUnauthorized {
			t.Errorf("the session of before is alive: %d", a.Status)
		}
	})
	t.Run("O12 the same address at another provider is another person", func(t *testing.T) {
		w := w.as(t)
		w.OP.SetHooks(ssotest.OPHooks{Claims: func(c map[string]any) { c["email"], c["email_verified"] = w.ana().User, true }})
		defer w.OP.SetHooks(ssotest.OPHooks{})
		ana := w.signedIn(w.ana())
		mine := whoami(t, w, ana)["id"]
		v := demo.NewVisitor()
		u, err := w.OP.SignIn(w.begin(v, run.DemoOIDC), w.person(2).User)
		if err != nil {
			t.Fatal(err)
		}
		finish(t, v, u)
		if a := w.api(v, "/.sso/whoami"); a.Status == http.StatusOK && whoami(t, w, v)["id"] == mine {
			t.Error("an e-mail address alone opened her account")
		}
	})
}

func whoami(t *testing.T, w *world, v *demo.Visitor) map[string]any {
	t.Helper()
	a := w.api(v, "/.sso/whoami")
	m := map[string]any{}
	if err := jsonInto(a.Body, &m); a.Status != http.StatusOK || err != nil {
		t.Fatalf("whoami: %d %s", a.Status, a.Body)
	}
	return m
}

// Rows K02, K03: what is not exactly one genuine cookie is none.
func TestTamperedAndTossedCookiesAreNobody(t *testing.T) {
	w, seen := gated(t)
	ana, ben := w.signedIn(w.ana()), w.signedIn(w.ben())
	value, other := cookieValue(t, ana, w.Facts.App, appSession), cookieValue(t, ben, w.Facts.App, appSession)
	atGateway := cookieValue(t, ana, w.Facts.Gateway, gatewaySession)
	if status, _, _ := w.raw(line("/", "Cookie: "+appSession+"="+value)); status != http.StatusOK {
		t.Fatalf("benign: %d", status)
	}
	genuine := seen.take()
	me := genuine[len(genuine)-1].Header.Get("X-Forwarded-User")

	type bad struct{ row, what, field string }
	cases := []bad{
		{"K02", "empty", appSession + "="},
		{"K02", "8 KB", appSession + "=" + strings.Repeat("A", 8<<10)},
		{"K02", "cut in half", appSession + "=" + value[:len(value)/2]},
		{"K02", "something appended", appSession + "=" + value + "A"},
		{"K02", "twice itself", appSession + "=" + value + value},
		{"K02", "the MAC of another cookie", appSession + "=" + value[:len(value)-43] + other[len(other)-43:]},
		{"K02", "the other door's cookie", appSession + "=" + atGateway},
		{"K02", "quoted", appSession + `="` + value + `"`},
		{"K03", "two of one name, the genuine first", appSession + "=" + value + "; " + appSession + "=" + other},
		{"K03", "two of one name, the genuine last", appSession + "=x; " + appSession + "=" + value},
		{"K03", "$Version", "$Version=1; " + appSession + "=" + other + "; " + appSession + "=" + value},
		{"K03", "a space before =", appSession + " =" + other + "; " + appSession + "=" + value},
		{"K03", "a tab", "\t" + appSession + "=" + other + "; " + appSession + "=" + value},
		{"K03", "U+2000", "\u2000" + appSession + "=" + other + "; " + appSession + "=" + value},
		{"K03", "other case", strings.ToUpper(appSession) + "=" + other + "; " + appSession + "=" + value},
		{"K03", "two Cookie lines", appSession + "=" + value + "\r\nCookie: " + appSession + "=" + other},
		{"K03", "the __Host- name on plain http", "__Host-" + appSession + "=" + value},
	}
	for _, n := range []int{1, 3, 11} {
		cases = append(cases, bad{"K02", fmt.Sprint(n, " bytes"), appSession + "=" + value[:n]})
	}
	for i := 0; i < len(value); i += 5 {
		b := []byte(value)
		if b[i] ^= 1; b[i] != '=' && b[i] != '-' && b[i] != '_' && (b[i] < '0' || b[i] > 'z') {
			continue
		}
		if i == len(value)-1 || strings.HasSuffix(value, "=") && i == len(value)-2 {
			continue // spare bits of base64
		}
		cases = append(cases, bad{"K02", fmt.Sprint("bit flipped in byte ", i), appSession + "=" + string(b)})
	}
	for _, tt := range cases {
		t.Run(tt.row+" "+tt.what, func(t *testing.T) {
			w := w.as(t)
			seen.take()
			status, h, body := w.raw(line("/", "Cookie: "+tt.field))
			got := seen.take()
			if tt.row == "K03" && status == http.StatusOK && len(got) == 1 && got[0].Header.Get("X-Forwarded-User") == me {
				return // the genuine one only
			}
			if status != http.StatusUnauthorized && status != http.StatusBadRequest || len(got) > 0 {
				t.Errorf("%d, %d requests reached the application: %.200s", status, len(got), body)
			}
			if c := h.Values("Set-Cookie"); len(c) > 0 {
				t.Errorf("a script is given cookies: %q", c)
			}
		})
	}
	if a := w.api(ana, "/"); a.Status != http.StatusOK {
		t.Errorf("somebody else's bad cookies ended her session: %d", a.Status)
	}
}

// Rows K05 and U01: only a form of our own page signs anyone out or accepts
// anything.
func TestOnlyOurOwnPagesAct(t *testing.T) {
	w := start(t)
	v := w.signedIn(w.ana())
	stays := func(t *testing.T, what string) {
		t.Helper()
		if a := w.api(v, "/"); a.Status != http.StatusOK {
			t.Fatalf("%s ended the session: %d", what, a.Status)
		}
	}
	doors := []struct{ origin, path string }{{w.Facts.Gateway, "/logout"}, {w.Facts.App, "/.sso/logout"}, {w.Facts.Gateway, "/complete/accept"}}
	for _, d := range doors {
		for _, header := range [][]string{
			{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"},
			{"Sec-Fetch-Site", "cross-site"},
			{"Sec-Fetch-Site", "same-site", "Origin", "http://app.localhost"},
			{"Origin", "null"},
			{"Origin", "https://evil.example"},
			{"Origin", "http://localhost"},
			{"Origin", w.Facts.OIDC},
			{"Sec-Fetch-Site", "same-site", "Origin", otherOf(d.origin, w.Facts.App, w.Facts.Gateway)},
		} {
			t.Run(fmt.Sprint("U01 POST ", d.path, " ", header), func(t *testing.T) {
				w := w.as(t)
				for _, ct := range []string{"application/x-www-form-urlencoded", "text/plain"} {
					a := w.send(v, http.MethodPost, d.origin+d.path, strings.NewReader("code=x&again=1"), append([]string{"Content-Type", ct}, header...)...)
					if a.Status != http.StatusForbidden || len(a.Header.Values("Set-Cookie")) > 0 {
						t.Errorf("%s: %d %q", ct, a.Status, a.Header.Values("Set-Cookie"))
					}
				}
				stays(t, "it")
			})
		}
	}
	t.Run("K05 GET", func(t *testing.T) {
		w := w.as(t)
		for _, u := range []string{w.Facts.Gateway + "/logout", w.Facts.App + "/.sso/logout", w.Facts.App + "/.sso/logout?again=1", w.Facts.Gateway + "/logout?again=1"} {
			a := w.send(v, http.MethodGet, u, nil, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Dest", "image", "Accept", "image/*")
			if len(a.Header.Values("Set-Cookie")) > 0 || a.Header.Get("Location") != "" {
				t.Errorf("GET %s: %d %q", u, a.Status, a.Header.Values("Set-Cookie"))
			}
			if !strings.Contains(a.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
				t.Errorf("GET %s can be framed (U03)", u)
			}
			stays(t, u)
		}
		a := w.send(v, http.MethodHead, w.Facts.App+"/.sso/logout", nil)
		if len(a.Header.Values("Set-Cookie")) > 0 {
			t.Errorf("HEAD: %d", a.Status)
		}
		stays(t, "HEAD")
	})
	for _, d := range doors[:2] {
		t.Run("K05 the cookie afterwards, "+d.path, func(t *testing.T) {
			w := w.as(t)
			v := w.signedIn(w.ben())
			old := cookieHeader(t, v, w.Facts.App)
			a := w.send(v, http.MethodPost, d.origin+d.path, nil, "Origin", d.origin, "Sec-Fetch-Site", "same-origin", "Content-Type", "application/x-www-form-urlencoded")
			if a.Status != http.StatusOK || !strings.Contains(a.Body, "signed out") {
				t.Fatalf("benign: %d", a.Status)
			}
			for _, u := range []string{w.Facts.App + "/", w.Facts.App + "/.sso/whoami"} {
				if a := w.send(nil, http.MethodGet, u, nil, "Cookie", old, "Accept", "application/json"); a.Status != http.StatusUnauthorized {
					t.Errorf("replayed at %s: %d", u, a.Status)
				}
			}
			if a := w.get(nil, w.Facts.Gateway+"/me", "Cookie", old); a.Status == http.StatusOK {
				t.Errorf("replayed at the gateway: %d", a.Status)
			}
		})
	}
}

func otherOf(a, b, c string) string {
	if a == b {
		return c
	}
	return b
}

// Row K10: nothing that depends on who asks may be kept by a shared cache.
func TestNothingPersonalIsSharedCacheable(t *testing.T) {
	w, seen := gated(t)
	v := w.signedIn(w.ana())
	for _, cc := range []string{"", "public, max-age=3600", "s-maxage=600", "max-age=60, immutable", "no-store", "private, max-age=5"} {
		if cc != "" {
			seen.answers("Cache-Control", cc)
		}
		for _, p := range []string{"/", "/account/x.css", "/report.pdf"} {
			a := w.get(v, w.Facts.App+p)
			got := strings.ToLower(strings.Join(a.Header.Values("Cache-Control"), ","))
			if a.Status != http.StatusOK || !(strings.Contains(got, "private") || strings.Contains(got, "no-store")) || strings.Contains(got, "public") || strings.Contains(got, "s-maxage") {
				t.Errorf("%s with the application's %q: %d %q", p, cc, a.Status, got)
			}
		}
	}
	seen.answers("Cache-Control")
	for what, a := range map[string]answer{
		"302":           w.get(nil, w.Facts.App+"/x"),
		"401":           w.api(nil, "/x"),
		"sign-in page":  w.get(nil, w.Facts.Gateway+"/login"),
		"to the IdP":    w.get(nil, w.Facts.Gateway+"/login?provider="+run.DemoSAML),
		"/me":           w.get(v, w.Facts.Gateway+"/me"),
		"whoami":        w.api(v, "/.sso/whoami"),
		"a wrong code":  w.get(nil, w.Facts.Gateway+"/complete?code=x"),
		"a logout page": w.get(v, w.Facts.Gateway+"/logout"),
	} {
		if cc := a.Header.Get("Cache-Control"); !strings.Contains(cc, "no-store") {
			t.Errorf("%s: Cache-Control %q (status %d)", what, cc, a.Status)
		}
	}
	if a := w.get(v, w.Facts.App+"/x", "If-None-Match", `"1"`); a.Status != http.StatusNotModified {
		t.Fatalf("benign 304: %d", a.Status)
	}
	old := cookieHeader(t, v, w.Facts.App)
	w.setActive(w.ana(), false)
	defer w.setActive(w.ana(), true)
	if a := w.send(nil, http.MethodGet, w.Facts.App+"/x", nil, "Cookie", old, "If-None-Match", `"1"`); a.Status != http.StatusUnauthorized {
		t.Errorf("If-None-Match after the cut-off: %d: the browser would show what it has", a.Status)
	}
}

// Row C10: a deactivation that races a sign-in wins.
func TestDeactivationDuringASignInWins(t *testing.T) {
	engines(t, func(t *testing.T, with func(*run.DemoOptions)) {
		w := start(t, with)
		w.member(w.ana())
		t.Run("C10 between the IdP's answer and the completion", func(t *testing.T) {
			w := w.as(t)
			v := demo.NewVisitor()
			acs, form := w.samlAnswer(v, w.ana())
			code := codeURL(t, w.Facts.Gateway, w.fromIdP(v, acs, form))
			w.setActive(w.ana(), false)
			page, _ := finish(t, v, code)
			if page.Status != http.StatusForbidden || w.api(v, "/").Status != http.StatusUnauthorized {
				t.Errorf("%s: %d", page.URL, page.Status)
			}
			w.setActive(w.ana(), true)
			if a := w.api(v, "/"); a.Status != http.StatusUnauthorized {
				t.Errorf("re-activation finished the sign-in: %d", a.Status)
			}
		})
		t.Run("C10 between session and hand-off", func(t *testing.T) {
			w := w.as(t)
			v := demo.NewVisitor()
			acs, form := w.samlAnswer(v, w.ana())
			a := w.get(v, codeURL(t, w.Facts.Gateway, w.fromIdP(v, acs, form)))
			handoff := a.Header.Get("Location")
			if !strings.HasPrefix(handoff, w.Facts.App+"/.sso/complete?code=") {
				t.Fatalf("no hand-off: %d %q", a.Status, handoff)
			}
			w.setActive(w.ana(), false)
			w.setActive(w.ana(), true)
			w.get(v, handoff)
			if a := w.api(v, "/"); a.Status != http.StatusUnauthorized {
				t.Errorf("a session from before the deactivation: %d", a.Status)
			}
		})
		t.Run("C10 deleted and created again", func(t *testing.T) {
			w := w.as(t)
			v := w.signedIn(w.ben())
			w.scim(http.MethodDelete, "/Users/"+w.userID(w.ben()), "")
			if a := w.scim(http.MethodPost, "/Users", userBody(w.ben().User, "Ben again")); a.Status != http.StatusCreated {
				t.Fatalf("%d %s", a.Status, a.Body)
			}
			if a := w.api(v, "/"); a.Status != http.StatusUnauthorized {
				t.Errorf("the session of the deleted member: %d", a.Status)
			}
		})
	})
}
