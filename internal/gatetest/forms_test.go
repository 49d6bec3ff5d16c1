package gatetest

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/internal/demo"
	"github.com/ssogate/ssogate/internal/testserver"
)

// keepsPosts is a demo whose application keeps forms over a sign-in.
func keepsPosts(o *run.DemoOptions) {
	o.Adjust = func(c *config.Config) {
		firstProviderOnly(c)
		for i := range c.Routes {
			c.Routes[i].KeepPosts = true
		}
	}
}

type echo struct{ Body, Type, User string }

// Protocols section 3, in a real browser: a form is sent after the session ran out. It
// arrives, once, after the person has signed in again and said so.
func TestBrowserSendsAFormAfterSigningInAgain(t *testing.T) {
	w := start(t, keepsPosts)
	w.member(w.ana())
	b := newBrowser(t)
	b.visit(w.Facts.App + "/whoami")
	b.password(w.ana())
	b.arrive(w.Facts.App + "/whoami")
	w.clock.Advance(9 * time.Hour)

	b.eval(`(() => { const f = document.createElement("form"); f.method = "post"; f.action = "/echo?x=1%2F2"; f.enctype = "multipart/form-data";
		const i = document.createElement("input"); i.name = "note"; i.value = "Adéla & co"; f.append(i); document.body.append(f); f.submit(); return "" })()`)
	b.until("the page that says that it is kept", `document.readyState === "complete" && document.querySelector('a[href="/.sso/form"]')`)
	testserver.Shot(t, b.ctx, "form-1-kept")
	b.eval(`document.querySelector('a[href="/.sso/form"]').click()`)
	b.until("the identity provider, or the question", `document.readyState === "complete" && (document.querySelector("input[type=password]") || document.querySelector('input[name="ssogate-form"]'))`)
	if b.eval(`document.querySelector("input[type=password]") ? "yes" : ""`) == "yes" {
		b.password(w.ana())
	}
	b.until("the question", `document.readyState === "complete" && location.pathname === "/.sso/form" && document.querySelector('input[name="ssogate-form"]')`)
	testserver.Shot(t, b.ctx, "form-2-question")
	b.eval(`document.querySelector('input[name="ssogate-form"]').form.querySelector("button").click()`)
	b.arrive(w.Facts.App + "/echo?x=1%2F2")
	var got echo
	if err := json.Unmarshal([]byte(b.eval(`document.body.innerText`)), &got); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(got.Body, "Adéla & co") || !strings.HasPrefix(got.Type, "multipart/form-data; boundary=") || got.User != w.ana().User {
		t.Errorf("%+v", got)
	}
}

// The same by its requests, on both kinds of stores, at the idle and at the absolute
// end, and not after signing out.
func TestFormsOutliveASessionThatRanOut(t *testing.T) {
	field := regexp.MustCompile(`name="(ssogate-form)" value="([0-9a-f]+)"`)
	engines(t, func(t *testing.T, with func(*run.DemoOptions)) {
		w := start(t, with, keepsPosts)
		post := func(v *demo.Visitor, body string) answer {
			return w.send(v, http.MethodPost, w.Facts.App+"/echo", strings.NewReader(body),
				"Origin", w.Facts.App, "Sec-Fetch-Mode", "navigate", "Content-Type", "application/x-www-form-urlencoded", "Accept", "text/html")
		}
		for _, after := range []time.Duration{9 * time.Hour, 30 * time.Hour} {
			v := w.signedIn(w.ana())
			if a := post(v, "a=1"); a.Status != http.StatusOK {
				t.Fatalf("benign: %d %s", a.Status, a.Body)
			}
			w.clock.Advance(after)
			if a := post(v, "a=2"); a.Status != http.StatusUnauthorized || !strings.Contains(a.Body, `href="/.sso/form"`) {
				t.Fatalf("after %s: %d %s", after, a.Status, a.Body)
			}
			if _, err := v.SignIn(t.Context(), w.Facts.App+"/whoami", "SAML", w.ana()); err != nil {
				t.Fatal(err)
			}
			page := w.get(v, w.Facts.App+"/.sso/form")
			m := field.FindStringSubmatch(page.Body)
			if page.Status != http.StatusOK || m == nil {
				t.Fatalf("after %s: the question: %d %s", after, page.Status, page.Body)
			}
			a := post(v, m[1]+"="+m[2])
			var got echo
			if err := json.Unmarshal([]byte(a.Body), &got); err != nil || got.Body != "a=2" || got.User != w.ana().User {
				t.Errorf("after %s: %d %s", after, a.Status, a.Body)
			}
			if a := post(v, m[1]+"="+m[2]); a.Status != http.StatusGone {
				t.Errorf("twice: %d", a.Status)
			}
		}
		for why, end := range map[string]func(){
			"deactivated": func() { w.setActive(w.ben(), false); w.setActive(w.ben(), true) },
		} {
			v := w.signedIn(w.ben())
			end()
			w.clock.Advance(9 * time.Hour)
			if a := post(v, "a=3"); a.Status != http.StatusUnauthorized || strings.Contains(a.Body, "/.sso/form") {
				t.Errorf("%s: %d %s", why, a.Status, a.Body)
			}
		}
	})
}
