package gatetest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/internal/testserver"
	"github.com/ssogate/ssogate/sso/ssotest"
)

// tab is one tab of a real Chromium.
type tab struct {
	t   *testing.T
	ctx context.Context
}

func newBrowser(t *testing.T, opts ...chromedp.ExecAllocatorOption) tab {
	t.Helper()
	return tab{t, testserver.Browser(t, append(opts, chromedp.Flag("disable-background-networking", true))...)}
}

// open makes another tab of the same browser.
func (b tab) open() tab {
	b.t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx)
	b.t.Cleanup(cancel)
	// A tab in the background has no size of its own.
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(1280, 900)); err != nil {
		b.t.Fatal(err)
	}
	return tab{b.t, ctx}
}

// visit starts a navigation and does not wait for where it ends.
func (b tab) visit(u string) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, chromedp.Navigate("about:blank"), chromedp.Navigate(u)); err != nil {
		b.t.Fatalf("visit %s: %v", u, err)
	}
}

// eval asks the page as it is now; while it navigates there is no answer.
func (b tab) eval(js string) string {
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](js))
	if err != nil {
		return ""
	}
	return v
}

// until polls the page for a JavaScript condition.
func (b tab) until(what, js string) {
	b.t.Helper()
	for range 600 {
		if b.eval(`(() => (`+js+`) ? "yes" : "")()`) == "yes" {
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	b.t.Fatalf("never: %s; the tab shows %s\n%s", what, b.eval(`location.href`), b.eval(`document.body ? document.body.innerText.slice(0, 600) : ""`))
}

// arrive waits until the tab shows exactly this address, loaded.
func (b tab) arrive(u string) {
	b.t.Helper()
	b.until("arrive at "+u, `document.readyState === "complete" && location.href === `+quote(u))
}

func quote(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// choose presses the provider's button on the sign-in page.
func (b tab) choose(provider string) {
	b.t.Helper()
	find := `[...document.querySelectorAll("a.button")].find(a => a.textContent.includes(` + quote(provider) + `))`
	b.until("a button for "+provider, find)
	b.eval(find + `.click()`)
}

// password fills in the identity provider's form and sends it.
func (b tab) password(p ssotest.Person) {
	b.t.Helper()
	b.until("the identity provider's form", `document.readyState === "complete" && document.querySelector("input[type=password]")`)
	b.eval(`(() => { const p = document.querySelector("input[type=password]"), f = p.form;
		f.querySelector("input:not([type=hidden]):not([type=password])").value = ` + quote(p.User) + `;
		p.value = ` + quote(p.Password) + `; f.querySelector("button").click(); return "" })()`)
}

// accept presses the one button of the invitation page.
func (b tab) accept() {
	b.t.Helper()
	b.until("the invitation page", `document.querySelector('form[action$="/complete/accept"] button')`)
	b.eval(`document.querySelector('form[action$="/complete/accept"] button').click()`)
}

// member makes a person's invitation accepted, so that tests about something
// else need not click.
func (w *world) member(p ssotest.Person) { w.signedIn(p) }

func TestBrowserFollowsTheDemoStory(t *testing.T) {
	w := start(t)
	b := newBrowser(t)
	b.visit(w.Facts.App + "/")
	b.until("the sign-in page", `location.origin === `+quote(w.Facts.Gateway)+` && document.querySelector("a.button")`)
	testserver.Shot(t, b.ctx, "story-1-sign-in")
	b.choose("SAML")
	b.password(w.ana())
	b.until("the invitation page", `document.querySelector('form[action$="/complete/accept"] button')`)
	testserver.Shot(t, b.ctx, "story-2-invitation")
	b.accept()
	b.arrive(w.Facts.App + "/")
	b.until("the WebSocket is open", `document.querySelector('#socket[data-state="open"]')`)
	b.until("the event stream is open", `document.querySelector('#events[data-state="open"]')`)
	testserver.Shot(t, b.ctx, "story-3-application")

	// She deactivates herself on the provisioning page, in another tab.
	admin := b.open()
	admin.visit(w.Provisioning())
	path := `form[action*="` + url.PathEscape(w.ana().User) + `"] button, form[action*="` + w.ana().User + `"] button`
	admin.until("a button to deactivate her", `document.querySelector(`+quote(path)+`)`)
	admin.eval(`document.querySelector(` + quote(path) + `).click()`)
	admin.until("she is shown as deactivated", `document.querySelector("li.deactivated")`)
	testserver.Shot(t, admin.ctx, "story-4-deactivated")

	b.until("the WebSocket dropped", `document.querySelector('#socket[data-state="closed"]')`)
	b.until("the code is shown", `document.querySelector("#socket-state").textContent.includes("1008")`)
	testserver.Shot(t, b.ctx, "story-5-dropped")

	b.visit(w.Facts.App + "/")
	b.choose("SAML")
	b.until("the refusal", `document.title.includes("deactivated") && document.body.innerText.includes(`+quote(w.ana().User)+`)`)
	testserver.Shot(t, b.ctx, "story-6-refused")

	admin.eval(`document.querySelector(` + quote(path) + `).click()`)
	admin.until("she is active again", `!document.querySelector("li.deactivated")`)
	b.visit(w.Facts.App + "/")
	b.choose("SAML")
	b.arrive(w.Facts.App + "/")
	b.until("the WebSocket is open again", `document.querySelector('#socket[data-state="open"]')`)
}

func TestBrowserComesBackToPathQueryAndFragment(t *testing.T) {
	for _, protocol := range []string{"SAML", "OpenID"} {
		t.Run(protocol, func(t *testing.T) {
			w := start(t)
			w.member(w.ana())
			b := newBrowser(t)
			u := w.Facts.App + "/?q=a%20b&x=1;2#section-3/%C3%A9"
			b.visit(u)
			b.choose(protocol)
			b.password(w.ana())
			b.arrive(u)
		})
	}
}

func TestBrowserGoesStraightOnWithASingleProvider(t *testing.T) {
	w := start(t, onlySAML)
	w.member(w.ana())
	b := newBrowser(t)
	u := w.Facts.App + "/?a=1#here"
	b.visit(u)
	b.password(w.ana())
	b.arrive(u)
}

// Rows W3, W4, D01: twenty tabs at once in a browser that has never been here. They
// load a page without an event stream: Chromium keeps six connections to a host,
// and twenty streams would only wait for each other.
func TestBrowserTwentyColdTabsAllArrive(t *testing.T) {
	w := start(t, onlySAML)
	w.member(w.ana())
	b := newBrowser(t)
	// The person is signed in at the identity provider already, as in an office.
	b.visit(w.Facts.App + "/?first")
	b.password(w.ana())
	b.arrive(w.Facts.App + "/?first")
	w.setActive(w.ana(), false) // her session is dead everywhere, her cookies remain at the IdP
	w.setActive(w.ana(), true)
	if err := chromedp.Do(b.ctx, chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		for _, u := range []string{w.Facts.App, w.Facts.Gateway} {
			if _, err := chromedp.Call(ctx, network.DeleteCookies, network.DeleteCookiesParams{Name: "ssogate-app-binding", URL: u}); err != nil {
				return err
			}
			for _, n := range []string{"ssogate-app-session", "ssogate-gateway-session", "ssogate-gateway-binding"} {
				if _, err := chromedp.Call(ctx, network.DeleteCookies, network.DeleteCookiesParams{Name: n, URL: u}); err != nil {
					return err
				}
			}
		}
		return nil
	})); err != nil {
		t.Fatal(err)
	}
	const tabs = 20
	all := make([]tab, tabs)
	for i := range all {
		all[i] = b.open()
	}
	var wg sync.WaitGroup
	for i, x := range all {
		wg.Go(func() {
			_ = chromedp.Do(x.ctx, chromedp.Navigate(fmt.Sprintf("%s/whoami?tab=%d", w.Facts.App, i)))
		})
	}
	wg.Wait()
	for i, x := range all {
		x.arrive(fmt.Sprintf("%s/whoami?tab=%d", w.Facts.App, i))
	}
}

func TestBrowserTenMinutesAtTheIdentityProvider(t *testing.T) {
	w := start(t)
	w.member(w.ana())
	b := newBrowser(t)
	b.visit(w.Facts.App + "/?slow")
	b.choose("SAML")
	b.until("the form", `document.querySelector("input[type=password]")`)
	w.clock.Advance(10 * time.Minute)
	b.password(w.ana())
	b.arrive(w.Facts.App + "/?slow")

	// And the other side of the limit: whoever sits before the choice for more
	// than an hour is told so, and can begin again from there.
	late := newBrowser(t)
	late.visit(w.Facts.App + "/?late")
	late.until("the choice", `document.querySelector("a.button")`)
	w.clock.Advance(61 * time.Minute)
	late.choose("SAML")
	late.until("a page that says what to do", `document.title.includes("expired")`)
	late.eval(`document.querySelector("a.button").click()`)
	late.choose("SAML")
	late.password(w.ana())
	late.arrive(w.Facts.App + "/")
}

// W1: the SAML IdP of the demo allows its form to post to the ACS and nowhere
// else; Chromium would block a redirect chain that leaves it.
func TestBrowserPassesAnIdPWhoseFormActionNamesOnlyTheACS(t *testing.T) {
	w := start(t, onlySAML)
	w.member(w.ana())
	b := newBrowser(t)
	var mu sync.Mutex
	policies := map[string]string{}
	if err := chromedp.Listen(b.ctx, func(ev any) {
		if r, ok := ev.(*network.EventResponseReceived); ok && r.Type == network.ResourceTypeDocument {
			mu.Lock()
			defer mu.Unlock()
			for k, v := range r.Response.Headers {
				if strings.EqualFold(k, "Content-Security-Policy") {
					policies[r.Response.URL] = fmt.Sprint(v)
				}
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	b.visit(w.Facts.App + "/")
	b.password(w.ana())
	b.arrive(w.Facts.App + "/")
	mu.Lock()
	defer mu.Unlock()
	for u, p := range policies {
		if strings.HasPrefix(u, strings.TrimSuffix(w.Facts.SAML, "/metadata")) && strings.Contains(p, "form-action "+w.Facts.Gateway+"/saml/"+run.DemoSAML+"/acs") {
			return
		}
	}
	t.Fatalf("no page of the IdP restricted form-action to the ACS, so this test shows nothing: %v", policies)
}

func TestBrowserReloadOfAUsedCodeLeadsToTheReturnPath(t *testing.T) {
	w := start(t)
	w.member(w.ana())
	b := newBrowser(t)
	var mu sync.Mutex
	var codes []string
	if err := chromedp.Listen(b.ctx, func(ev any) {
		if r, ok := ev.(*network.EventRequestWillBeSent); ok && strings.Contains(r.Request.URL, "complete?code=") {
			mu.Lock()
			defer mu.Unlock()
			codes = append(codes, r.Request.URL)
		}
	}); err != nil {
		t.Fatal(err)
	}
	b.visit(w.Facts.App + "/?used")
	b.choose("SAML")
	b.password(w.ana())
	b.arrive(w.Facts.App + "/?used")
	mu.Lock()
	seen := append([]string(nil), codes...)
	mu.Unlock()
	if len(seen) < 2 {
		t.Fatalf("saw only %q", seen)
	}
	for _, u := range seen {
		b.visit(u)
		b.arrive(w.Facts.App + "/?used")
	}
	// The same addresses in another browser lead nowhere.
	thief := newBrowser(t)
	for _, u := range seen {
		thief.visit(u)
		thief.until("a refusal", `document.title.includes("sign in again")`)
	}
}

// D02: a browser that blocks cookies gets a page, not a loop.
func TestBrowserThatBlocksCookiesIsToldSo(t *testing.T) {
	w := start(t, onlySAML)
	w.member(w.ana())
	profile := t.TempDir()
	if err := os.MkdirAll(filepath.Join(profile, "Default"), 0o700); err != nil {
		t.Fatal(err)
	}
	prefs := `{"profile":{"default_content_setting_values":{"cookies":2}}}`
	if err := os.WriteFile(filepath.Join(profile, "Default", "Preferences"), []byte(prefs), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBrowser(t, chromedp.UserDataDir(profile))
	var mu sync.Mutex
	loads := 0
	if err := chromedp.Listen(b.ctx, func(ev any) {
		if r, ok := ev.(*network.EventRequestWillBeSent); ok && r.Type == network.ResourceTypeDocument {
			mu.Lock()
			defer mu.Unlock()
			loads++
		}
	}); err != nil {
		t.Fatal(err)
	}
	b.visit(w.Facts.App + "/")
	told := `document.body.innerText.includes("blocks cookies")`
	for range 5 { // the IdP forgets her too, so it may ask again
		b.until("the form or the page", told+` || document.querySelector("input[type=password]")`)
		if b.eval(`(() => `+told+` ? "yes" : "")()`) == "yes" {
			break
		}
		b.password(w.ana())
		b.until("the form is gone", `!document.querySelector("input[type=password]") || document.title !== ""`)
		time.Sleep(300 * time.Millisecond)
	}
	b.until("the page that names the cause", told)
	testserver.Shot(t, b.ctx, "cookies-blocked")
	mu.Lock()
	defer mu.Unlock()
	if loads > 40 {
		t.Errorf("%d page loads on the way: that is a loop", loads)
	}
}

// onlySAML leaves one provider, so that nobody is asked to choose.
func onlySAML(o *run.DemoOptions) { o.Adjust = firstProviderOnly }
