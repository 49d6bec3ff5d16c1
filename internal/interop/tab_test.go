//go:build interop

package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/ssogate/ssogate/internal/testserver"
)

// tab is one tab of a Chromium of its own, with its own cookies.
type tab struct {
	t   *testing.T
	ctx context.Context
}

func newTab(t *testing.T) tab {
	t.Helper()
	return tab{t, testserver.Browser(t, chromedp.Flag("disable-background-networking", true))}
}

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
	b.t.Fatalf("never: %s; the tab shows %s\n%s", what, b.eval(`location.href`), b.eval(`document.body ? document.body.innerText.slice(0, 1500) : ""`))
}

func quote(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// arrive waits until the tab shows exactly this address, loaded.
func (b tab) arrive(u string) {
	b.t.Helper()
	b.until("arrive at "+u, `document.readyState === "complete" && location.href === `+quote(u))
}

// reads waits for a text on a page of origin.
func (b tab) reads(origin, text string) {
	b.t.Helper()
	b.until(fmt.Sprintf("%q at %s", text, origin), `location.origin === `+quote(origin)+` && document.body && document.body.innerText.includes(`+quote(text)+`)`)
}

// press presses the button or link with this text.
func (b tab) press(text string) {
	b.t.Helper()
	find := `[...document.querySelectorAll("a, button, input[type=submit]")].find(e => (e.innerText || e.value || "").includes(` + quote(text) + `))`
	b.until("a button "+text, `document.readyState === "complete" && `+find)
	b.eval(find + `.click()`)
}

// password fills in a provider's form and sends it.
func (b tab) password(user, password string) {
	b.t.Helper()
	b.until("the provider's form", `document.readyState === "complete" && document.querySelector("input[type=password]")`)
	b.eval(`(() => { const p = document.querySelector("input[type=password]"), f = p.form;
		f.querySelector("input[type=text], input[name=username]").value = ` + quote(user) + `;
		p.value = ` + quote(password) + `; f.querySelector("button, input[type=submit]").click(); return "" })()`)
}

// who is what the gateway says about this tab's session, from the application.
type who struct {
	UserName    string   `json:"user_name"`
	DisplayName string   `json:"display_name"`
	Email       string   `json:"email"`
	Provider    string   `json:"provider"`
	Teams       []string `json:"teams"`
}

// whoami asks within the application's page; the zero value is nobody.
func (b tab) whoami() (w who) {
	b.t.Helper()
	b.eval(`(() => { window.who = ""; fetch("/.sso/whoami").then(async r => { window.who = r.ok ? await r.text() : "{}" }); return "" })()`)
	b.until("an answer of whoami", `window.who`)
	if err := json.Unmarshal([]byte(b.eval(`window.who`)), &w); err != nil {
		b.t.Fatal(err)
	}
	return w
}

// signedOut waits until the application's page is nobody's any more.
func (b tab) signedOut(app string) {
	b.t.Helper()
	b.visit(app + "/")
	b.until("the sign-in page", `location.origin !== `+quote(app)+` && document.body && document.body.innerText.includes("Continue with")`)
}
