package gatetest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/identity"
	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/proxy/assertion"
)

// verifying is an application that believes signed assertions and nothing else.
type verifying struct {
	mu    sync.Mutex
	v     *identity.Verifier
	token string // the last one
}

func (a *verifying) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.token = r.Header.Get(identity.HeaderAssertion)
	u, err := a.v.FromRequest(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	_, _ = fmt.Fprintf(w, "%s %s %s", u.ID, u.PreferredUsername, r.Header.Get(identity.HeaderUser))
}

func (a *verifying) use(v *identity.Verifier) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.v = v
}

func (a *verifying) last() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.token
}

// kids are what the gateway publishes.
func (w *world) kids() (out []string) {
	w.t.Helper()
	a := w.send(nil, http.MethodGet, w.Facts.Gateway+"/jwks.json", nil)
	var set struct {
		Keys []struct{ Kid string }
	}
	if err := json.Unmarshal([]byte(a.Body), &set); err != nil || a.Status != http.StatusOK {
		w.t.Fatalf("jwks.json: %d %s", a.Status, a.Body)
	}
	if cc := a.Header.Get("Cache-Control"); cc != "public, max-age=300" || a.Header.Get("Content-Type") != "application/jwk-set+json" || len(a.Header["Set-Cookie"]) > 0 {
		w.t.Errorf("jwks.json: %v", a.Header)
	}
	for _, k := range set.Keys {
		out = append(out, k.Kid)
	}
	return out
}

func (w *world) verifier(audience string, now clock.Func) *identity.Verifier {
	w.t.Helper()
	v, err := identity.NewVerifier(w.Facts.Gateway, audience, identity.Options{Now: now})
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// Row H09, from outside: an application verifies who asks by {url}/jwks.json, and goes on
// doing so while the keys rotate, on both engines.
func TestH09ApplicationsVerifyAssertionsWhileKeysRotate(t *testing.T) {
	engines(t, func(t *testing.T, with func(*run.DemoOptions)) {
		app := &verifying{}
		w := start(t, with, withApp(t, app.ServeHTTP), func(o *run.DemoOptions) {
			o.Adjust = func(c *config.Config) { c.Routes[0].Identity.Assertion.Algorithm = "ES256" }
		})
		route := "app"
		app.use(w.verifier(route, w.clock.Now))
		v := w.signedIn(w.ana())
		id := w.userID(w.ana())
		believed := func(when string) {
			t.Helper()
			var a answer
			eventually(t, when, func() bool { // moving the clock voids the lease, and a 503 may be right for a moment
				a = w.get(v, w.Facts.App+"/")
				return a.Status != http.StatusServiceUnavailable
			})
			if want := id + " " + w.ana().User + " " + id; a.Status != http.StatusOK || a.Body != want {
				t.Errorf("%s: %d %q, want %q", when, a.Status, a.Body, want)
			}
		}
		kid := func() string { return kidOf(t, app.last()) }
		believed("at first")
		first, early := kid(), app.last()
		if got := w.kids(); len(got) != 1 || got[0] != first {
			t.Fatalf("published %v, signs %s", got, first)
		}
		if u, err := w.verifier("another", w.clock.Now).Verify(t.Context(), early); err == nil || u.ID != "" {
			t.Errorf("replayed to another application: %+v", u)
		}

		next, err := w.Server.AssertionAdmin().Rotate(t.Context(), assertion.Rotation{Actor: "cli:op", Algorithm: assertion.ES256})
		if err != nil {
			t.Fatal(err)
		}
		w.clock.Advance(2 * time.Second)
		if got := w.kids(); len(got) != 2 || got[1] != next.ID {
			t.Errorf("published %v, want %s too", got, next.ID)
		}
		believed("published, and not signing yet")
		if kid() != first {
			t.Error("the new key signs before anybody can know it")
		}
		w.clock.Advance(10 * time.Minute)
		believed("the new key signs")
		if kid() != next.ID {
			t.Error("the new key does not sign")
		}
		if u, err := w.verifier(route, w.clock.Now).Verify(t.Context(), early); err == nil || u.ID != "" {
			t.Errorf("replayed ten minutes later: %+v", u)
		}
		w.clock.Advance(5 * time.Minute)
		if got := w.kids(); len(got) != 1 || got[0] != next.ID {
			t.Errorf("published %v: the old key's tokens are over", got)
		}
		believed("the old key is gone")

		now, err := w.Server.AssertionAdmin().Rotate(t.Context(), assertion.Rotation{Actor: "cli:op", Algorithm: assertion.ES256, AtOnce: true})
		if err != nil {
			t.Fatal(err)
		}
		w.clock.Advance(31 * time.Second) // so often the application looks for keys it does not know
		believed("at once")
		if got := w.kids(); kid() != now.ID || len(got) != 1 || got[0] != now.ID {
			t.Errorf("published %v, signed by %s", got, kid())
		}
		if strings.Contains(w.log.String(), app.last()) || strings.Contains(w.log.String(), early) {
			t.Error("L01: a token is in the log")
		}
		if a := w.send(nil, http.MethodPost, w.Facts.Gateway+"/jwks.json", nil); a.Status != http.StatusMethodNotAllowed {
			t.Errorf("POST: %d", a.Status)
		}
	})
}

func kidOf(t *testing.T, token string) string {
	t.Helper()
	head, _, _ := strings.Cut(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		t.Fatal(err)
	}
	var h struct{ Kid, Typ, Alg string }
	if err := json.Unmarshal(raw, &h); err != nil || h.Typ != identity.AssertionType || h.Alg != "ES256" {
		t.Fatalf("%q: %+v, %v", head, h, err)
	}
	return h.Kid
}

// The commands speak to the running process, whose /jwks.json follows.
func TestAssertionKeysFromTheCommandLine(t *testing.T) {
	s := install(t)
	s.replaceConfig("    upstream: ", "    identity: {assertion: {algorithm: \"ES256\"}}\n    upstream: ")
	s.serve()
	published := func(want int) bool {
		return strings.Count(fetch(t, s.gateway+"/jwks.json"), `"kid"`) == want
	}
	if !published(1) {
		t.Fatal(fetch(t, s.gateway+"/jwks.json"))
	}
	list := func() (out []assertion.Info) {
		t.Helper()
		text, errs, code := s.runSplit("keys", "assertion", "list", "--json", "--config", s.config)
		if err := json.Unmarshal([]byte(text), &out); err != nil || code != 0 {
			t.Fatalf("list: %d %s %v", code, errs, err)
		}
		return out
	}
	first := list()
	if len(first) != 1 || first[0].State != "signs" || first[0].Algorithm != assertion.ES256 {
		t.Fatalf("%+v", first)
	}
	out, code := s.run("keys", "assertion", "rotate", "--config", s.config)
	if code != 0 || !strings.Contains(out, "published, and signs from ") {
		t.Fatalf("rotate: %d %s", code, out)
	}
	eventually(t, "two keys are published", func() bool { return published(2) })
	if l := list(); len(l) != 2 || l[0].ID != first[0].ID || l[0].State != "signs" || l[0].Gone.IsZero() || l[1].State != "next" {
		t.Errorf("%+v", l)
	}
	if out, code := s.run("keys", "assertion", "rotate", "--config", s.config); code == 0 || !strings.Contains(out, "is published already") {
		t.Errorf("a second rotation: %d %s", code, out)
	}
	// They are secrets at rest like the others.
	if out, code := s.run("keys", "rotate", "--seal", "--config", s.config); code != 0 || !strings.Contains(out, " were already") {
		t.Errorf("reseal: %d %s", code, out)
	}
	out, code = s.run("keys", "assertion", "rotate", "--at-once", "--config", s.config)
	if code != 0 || !strings.Contains(out, "signs now, and all others are gone") {
		t.Fatalf("rotate --at-once: %d %s", code, out)
	}
	eventually(t, "one key is published", func() bool { return published(1) })
	if l := list(); len(l) != 1 || l[0].ID == first[0].ID || l[0].State != "signs" {
		t.Errorf("%+v", l)
	}
}

// replaceConfig changes the first occurrence of a text in the config file.
func (s *site) replaceConfig(old, text string) {
	s.t.Helper()
	b, err := os.ReadFile(s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	if !strings.Contains(string(b), old) {
		s.t.Fatalf("the config has no %q", old)
	}
	if err := os.WriteFile(s.config, []byte(strings.Replace(string(b), old, text, 1)), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// The two directions of signing out, from outside: what the application's own sign-out
// does here, and what it hears of ours.
func TestSigningOutOfApplicationAndGatewayGoTogether(t *testing.T) {
	engines(t, func(t *testing.T, with func(*run.DemoOptions)) {
		told := make(chan string, 10)
		app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/told" && r.Header.Get("X-Forwarded-Host") == "" {
				told <- strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
				w.WriteHeader(http.StatusNoContent)
				return
			}
			_, _ = fmt.Fprintf(w, "page %s", r.URL.Path)
		})
		w := start(t, with, withApp(t, app.ServeHTTP), func(o *run.DemoOptions) {
			o.Adjust = func(c *config.Config) {
				r := &c.Routes[0]
				r.Identity.Assertion.Algorithm = "ES256"
				r.Logout = config.Logout{Path: "/bye", URL: r.Upstream + "/told"}
				c.Outbound.Allow = append(c.Outbound.Allow, "127.0.0.1")
			}
		})
		v := w.signedIn(w.ana())
		first := w.userID(w.ana())
		heard := func(who, why string) {
			t.Helper()
			select {
			case token := <-told:
				if u, err := w.verifier("app", w.clock.Now).Verify(t.Context(), token); err != nil || u.ID != who || u.Email != "" {
					t.Errorf("%s: the application hears of %+v, %v", why, u, err)
				}
			case <-time.After(10 * time.Second):
				t.Errorf("%s: the application heard nothing", why)
			}
		}
		saved := cookieHeader(t, v, w.Facts.App)
		a := w.get(v, w.Facts.App+"/bye", "Sec-Fetch-Site", "cross-site")
		if b := w.get(v, w.Facts.App+"/"); a.Status != http.StatusOK || b.Status != http.StatusOK {
			t.Fatalf("a link of another site signed somebody out: %d %d", a.Status, b.Status)
		}
		a = w.get(v, w.Facts.App+"/bye", "Sec-Fetch-Site", "same-origin")
		if a.Status != http.StatusOK || a.Body != "page /bye" || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("the application's own answer: %d %q %v", a.Status, a.Body, a.Header)
		}
		if strings.Contains(cookieHeader(t, v, w.Facts.App), "ssogate-app-") { // the gateway's are of the same host here
			t.Errorf("the browser still has %q", cookieHeader(t, v, w.Facts.App))
		}
		if a := w.send(nil, http.MethodGet, w.Facts.App+"/", nil, "Cookie", saved, "Accept", "application/json"); a.Status != http.StatusUnauthorized {
			t.Errorf("the session goes on: %d", a.Status)
		}
		heard(first, "signed out at the application")

		v = w.signedIn(w.ana())
		if a := w.send(v, http.MethodPost, w.Facts.App+"/.sso/logout", nil, "Origin", w.Facts.App, "Sec-Fetch-Site", "same-origin"); a.Status != http.StatusOK {
			t.Fatalf("sign out here: %d %s", a.Status, a.Body)
		}
		heard(first, "signed out here")
		select {
		case <-told:
			t.Error("told twice")
		default:
		}
	})
}
