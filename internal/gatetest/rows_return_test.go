package gatetest

import (
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/internal/demo"
)

// hostileReturns are return URLs that have left an origin somewhere, each with
// EVIL for the attacker's host.
var hostileReturns = []string{
	"https://EVIL/", "http://EVIL", "//EVIL", "///EVIL", "////EVIL", `/\EVIL`, `\\EVIL`, `\/EVIL`, `/\/EVIL`, `//\EVIL`, "https:EVIL", "https:/EVIL", "https:///EVIL", `https:\\EVIL`,
	"/\t/EVIL", "/\n/EVIL", "/\r/EVIL", "\t//EVIL", " //EVIL", "\x0b//EVIL", "\x00//EVIL", "/\x00/EVIL", "/%09/EVIL", "/%0a/EVIL", "/%0d/EVIL", "/%5cEVIL", "/%2fEVIL", "/%2f%2fEVIL", "%2f%2fEVIL",
	"／／EVIL", "/／EVIL", "／EVIL", "⁄⁄EVIL", "/∕EVIL", "/。/EVIL", "//EVIL。", "/.//EVIL", "/..//EVIL", "/./\\EVIL", "/x/..//EVIL", "/;//EVIL", "/;@EVIL", "/@EVIL", "@EVIL", ".EVIL", ":EVIL",
	"javascript:alert(1)", "java\nscript:alert(1)", "JaVaScRiPt:alert(1)//EVIL", "data:text/html,EVIL", "vbscript:x", "blob:https://EVIL/", "file:///etc/passwd", "about:blank",
	"/me//EVIL", "/me/../..//EVIL", `/me\..\..\\EVIL`, "/me@EVIL", "/meEVIL", "//me@EVIL/", "/settings.EVIL", "/me%2f..%2f..%2fEVIL", "/me/%2e%2e//EVIL", "/me;//EVIL", "/me\t//EVIL", "/me?x\r\nLocation: https://EVIL",
	"http://localhost@EVIL/", "https://localhost.EVIL/", "//localhost:80@EVIL/", "http:localhost@EVIL", "?//EVIL", "#//EVIL", "", "/", "me", "../me", "./",
}

// browserOrigin resolves a Location as the URL standard of browsers does, as far
// as the origin is concerned: leading and trailing C0 and space stripped, tab
// and newline gone wherever they stand, a backslash is a slash.
func browserOrigin(base, location string) string {
	s := strings.Map(func(r rune) rune {
		switch r {
		case '\t', '\n', '\r':
			return -1
		case '\\':
			return '/'
		}
		return r
	}, strings.TrimFunc(location, func(r rune) bool { return r <= ' ' }))
	if i := strings.IndexAny(s, ":/?#"); i > 0 && s[i] == ':' { // a scheme, or something like it
		scheme, rest, _ := strings.Cut(s, ":")
		host, _, _ := strings.Cut(strings.TrimLeft(rest, "/"), "/")
		host, _, _ = strings.Cut(host, "?")
		host, _, _ = strings.Cut(host, "#")
		return strings.ToLower(scheme + "://" + host)
	}
	if strings.HasPrefix(s, "//") {
		return "other host: " + s
	}
	return base
}

// Rows R01 and R02 through both ways by which a return URL comes in.
func TestReturnURLsStayAtHome(t *testing.T) {
	w := start(t)
	v := w.signedIn(w.ana())
	for _, benign := range []string{"/me", "/me?tab=1#x", "/settings/auth"} {
		if a := w.get(v, w.Facts.Gateway+"/login?return="+url.QueryEscape(benign)); a.Header.Get("Location") != w.Facts.Gateway+benign {
			t.Fatalf("benign %s: %d to %q", benign, a.Status, a.Header.Get("Location"))
		}
	}
	targets := append([]string{}, hostileReturns...)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 300 { // what the list does not think of
		a, b := []rune(hostileReturns[rnd.IntN(len(hostileReturns))]), []rune(hostileReturns[rnd.IntN(len(hostileReturns))])
		targets = append(targets, string(a[:rnd.IntN(len(a)+1)])+[]string{"", "/", `\`, "\t", "%2f", "me", "/me", "?", "#", ";"}[rnd.IntN(10)]+string(b[rnd.IntN(len(b)+1):]))
	}
	t.Run("R01 login?return=", func(t *testing.T) {
		w := w.as(t)
		for _, target := range targets {
			target := strings.ReplaceAll(target, "EVIL", "evil.example")
			a := w.get(v, w.Facts.Gateway+"/login?return="+url.QueryEscape(target))
			loc := a.Header.Get("Location")
			if a.Status != http.StatusSeeOther {
				t.Errorf("%q: status %d", target, a.Status)
			}
			o := browserOrigin(w.Facts.Gateway, loc)
			if o != w.Facts.Gateway && o != w.Facts.App {
				t.Errorf("%q leads to %q, which a browser reads as %q", target, loc, o)
			}
		}
	})
	t.Run("R01 path of an application", func(t *testing.T) {
		w := w.as(t)
		reached := 0
		for _, target := range targets {
			target := strings.ReplaceAll(target, "EVIL", "evil.example")
			if !strings.HasPrefix(target, "/") {
				target = "/" + target
			}
			to, ok := w.throughSignIn(v, target)
			if !ok {
				continue // the gate refuses such a path at once
			}
			reached++
			if o := browserOrigin(w.Facts.App, to); o != w.Facts.App {
				t.Errorf("%q leads to %q, which a browser reads as %q", target, to, o)
			}
		}
		if reached < 5 {
			t.Errorf("only %d targets came through: this shows nothing", reached)
		}
	})
	t.Run("R02", func(t *testing.T) {
		w := w.as(t)
		for _, target := range []string{
			"/logout", "/logout?again=1", "/saml/" + run.DemoSAML + "/acs", "/complete?code=x", "/complete/accept", "/login", "/login?force=1", "/scim/token", "/api/0/organizations/demo/scim/v2/Users",
			"/oauth/" + run.DemoOIDC + "/callback", "/invite/x", "/setup/x", "/fallback", "/me/../logout", "/ME", "/me%2f..%2flogout", "/static/x", "/jwks.json",
		} {
			a := w.get(v, w.Facts.Gateway+"/login?return="+url.QueryEscape(target))
			if loc := a.Header.Get("Location"); loc != w.Facts.Gateway+"/me" {
				t.Errorf("return=%s leads to %q", target, loc)
			}
		}
		for _, target := range []string{"/.sso/logout", "/.SSO/logout", "/%2esso/logout", "/.sso", "/.sso;x/logout"} {
			if to, ok := w.throughSignIn(v, target); ok && strings.Contains(strings.ToLower(to), "sso/") {
				t.Errorf("a sign-in for %s ends on %s", target, to)
			}
		}
		if a := w.api(v, "/"); a.Status != http.StatusOK {
			t.Errorf("one of these was an action: she is signed out (%d)", a.Status)
		}
	})
	t.Run("R01 in Chromium", func(t *testing.T) {
		w := w.as(t)
		b := newBrowser(t)
		b.visit(w.Facts.App + "/whoami")
		b.choose("SAML")
		b.password(w.ana())
		b.arrive(w.Facts.App + "/whoami")
		for _, target := range []string{"//evil.invalid", `/\evil.invalid`, "/\t/evil.invalid", "https:evil.invalid", "／／evil.invalid", "/me/..//evil.invalid", "javascript:alert(1)", "\x0b//evil.invalid", "/%09/evil.invalid"} {
			b.visit(w.Facts.Gateway + "/login?return=" + url.QueryEscape(target))
			b.until("a page of our own for "+quote(target), `document.readyState === "complete" && [`+quote(w.Facts.Gateway)+`, `+quote(w.Facts.App)+`].includes(location.origin)`)
		}
	})
}

// throughSignIn opens a path of the application in a browser that has lost only
// its application cookie, and answers where the hand-off leads. ok is false
// when the gate refuses the path before any sign-in.
func (w *world) throughSignIn(v *demo.Visitor, target string) (to string, ok bool) {
	w.t.Helper()
	gateway := cookieHeader(w.t, v, w.Facts.Gateway) // cookies know no ports: both doors' cookies
	gatewayOnly := []string{}
	for _, c := range strings.Split(gateway, "; ") {
		if strings.HasPrefix(c, "ssogate-gateway") {
			gatewayOnly = append(gatewayOnly, c)
		}
	}
	status, h, _ := w.raw(line(target, "Accept: text/html", "Sec-Fetch-Mode: navigate"))
	if status != http.StatusFound {
		if status >= 500 {
			w.t.Errorf("%q: %d", target, status)
		}
		return "", false
	}
	binding, _, _ := strings.Cut(h.Get("Set-Cookie"), ";")
	a := w.get(nil, h.Get("Location"), "Cookie", strings.Join(gatewayOnly, "; "))
	if a.Status != http.StatusSeeOther || !strings.HasPrefix(a.Header.Get("Location"), w.Facts.App+"/.sso/complete?code=") {
		w.t.Fatalf("%q: at the gateway %d to %q", target, a.Status, a.Header.Get("Location"))
	}
	a = w.get(nil, a.Header.Get("Location"), "Cookie", binding)
	if a.Status != http.StatusSeeOther {
		w.t.Fatalf("%q: hand-off %d", target, a.Status)
	}
	return a.Header.Get("Location"), true
}

// walk follows everything a page does by itself and what the identity provider
// would answer by itself, and fails when it does not come to rest.
func (w *world) walk(v *demo.Visitor, u string, idp func(question string) (acs string, form url.Values)) (steps int, last answer) {
	w.t.Helper()
	for steps = range 30 {
		a := w.get(v, u)
		next := a.Header.Get("Location")
		if r := refreshOf(a.Body); next == "" && r != "" {
			base, _ := url.Parse(u)
			to, err := base.Parse(r)
			if err != nil {
				w.t.Fatal(err)
			}
			next = to.String()
		}
		if next == "" {
			return steps, a
		}
		if strings.Contains(next, "SAMLRequest=") {
			acs, form := idp(next)
			p := w.fromIdP(v, acs, form)
			steps++
			r := refreshOf(p.Body)
			if r == "" {
				return steps, p
			}
			next = w.Facts.Gateway + r
		}
		u = next
	}
	w.t.Fatalf("never comes to rest: %s", u)
	return
}

func refreshOf(body string) string {
	_, rest, ok := strings.Cut(body, `http-equiv="refresh" content="`)
	if !ok {
		return ""
	}
	content, _, _ := strings.Cut(rest, `"`)
	_, u, _ := strings.Cut(content, "url=")
	return strings.ReplaceAll(strings.Trim(u, "'"), "&amp;", "&")
}

// Row D02: whatever is wrong, the browser comes to rest on a page.
func TestNothingSendsABrowserRoundInCircles(t *testing.T) {
	w := start(t, onlySAML)
	w.member(w.ana())
	honest := func(question string) (string, url.Values) {
		acs, resp, state, err := w.SAML.Respond(question, w.ana().User)
		if err != nil {
			t.Fatal(err)
		}
		return acs, url.Values{"SAMLResponse": {resp}, "RelayState": {state}}
	}
	never := func(string) (string, url.Values) {
		acs, resp, err := w.SAML.Unsolicited("", w.ana().User)
		if err != nil {
			t.Fatal(err)
		}
		return acs, url.Values{"SAMLResponse": {resp}}
	}
	t.Run("benign", func(t *testing.T) {
		w := w.as(t)
		if steps, a := w.walk(demo.NewVisitor(), w.Facts.App+"/", honest); a.Status != http.StatusOK || steps > 10 {
			t.Fatalf("%d after %d steps", a.Status, steps)
		}
	})
	t.Run("IdP that answers every question with an unsolicited response", func(t *testing.T) {
		w := w.as(t)
		steps, a := w.walk(demo.NewVisitor(), w.Facts.App+"/", never)
		if a.Status != http.StatusForbidden || steps > 15 {
			t.Errorf("%d after %d steps", a.Status, steps)
		}
	})
	t.Run("the same, and the browser keeps no cookies", func(t *testing.T) {
		w := w.as(t)
		if steps, a := w.walk(nil, w.Facts.App+"/", never); a.Status != http.StatusForbidden || steps > 15 {
			t.Errorf("%d after %d steps", a.Status, steps)
		}
	})
	t.Run("the browser keeps no cookies", func(t *testing.T) {
		w := w.as(t)
		if steps, a := w.walk(nil, w.Facts.App+"/", honest); a.Status != http.StatusForbidden || !strings.Contains(a.Body, "blocks cookies") || steps > 20 {
			t.Errorf("%d after %d steps: %.300s", a.Status, steps, a.Body)
		}
	})
	t.Run("denied member", func(t *testing.T) {
		w := w.as(t)
		w.setActive(w.ana(), false)
		defer w.setActive(w.ana(), true)
		v := demo.NewVisitor()
		steps, a := w.walk(v, w.Facts.App+"/", honest)
		if a.Status != http.StatusForbidden || steps > 6 || !strings.Contains(a.Body, w.ana().User) {
			t.Errorf("%d after %d steps", a.Status, steps)
		}
		// And once more, in the same browser.
		if steps, a := w.walk(v, w.Facts.App+"/", honest); a.Status != http.StatusForbidden || steps > 6 {
			t.Errorf("again: %d after %d steps", a.Status, steps)
		}
	})
	t.Run("link to /login?bounce", func(t *testing.T) {
		w := w.as(t)
		v := demo.NewVisitor()
		for range 3 {
			if steps, _ := w.walk(v, w.Facts.Gateway+"/login?bounce=1&provider="+run.DemoSAML, never); steps > 15 {
				t.Errorf("%d steps", steps)
			}
		}
	})
}
