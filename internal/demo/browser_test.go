package demo

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/ssogate/ssogate/internal/testserver"
)

func TestPagesInChromium(t *testing.T) {
	_, client := scimPair(t)
	scim := httptest.NewServer(client)
	defer scim.Close()
	if err := client.Seed(t.Context()); err != nil {
		t.Fatal(err)
	}
	app := newApp(pace{tick: 20 * time.Millisecond, chunks: 1, chunk: 1, every: time.Millisecond})
	running, drop := context.WithCancel(t.Context())
	defer drop()
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for k, v := range map[string]string{
			"X-Forwarded-User": "mem_7f3kq2v9x4", "X-Forwarded-Preferred-Username": "ana@example.com",
			"X-Forwarded-Name": "Ana Moreau", "X-Forwarded-Email": "ana@example.com", "X-Forwarded-Groups": "keepers,harbour",
		} {
			r.Header.Set(k, v)
		}
		app.ServeHTTP(w, r.WithContext(running))
	}))
	defer front.Close()
	direct := httptest.NewServer(app)
	defer direct.Close()
	ctx := testserver.Browser(t)
	testserver.Look(t, ctx, "app-open", front.URL, `#socket[data-state="open"]`)
	testserver.Look(t, ctx, "app-direct", direct.URL, `#socket[data-state="open"]`)
	testserver.Look(t, ctx, "scim-empty", scim.URL, "h1")

	// The drop, as a person sees it: connections are cut while the page is open.
	err := chromedp.Do(ctx, chromedp.Navigate(front.URL), chromedp.WaitVisible(chromedp.CSS(`#socket[data-state="open"]`)))
	if err != nil {
		t.Fatal(err)
	}
	drop()
	err = chromedp.Do(ctx, chromedp.WaitVisible(chromedp.CSS(`#socket[data-state="closed"]`)), chromedp.WaitVisible(chromedp.CSS(`#events[data-state="closed"]`)))
	if err != nil {
		t.Fatalf("the page does not show the drop: %v", err)
	}
	said, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.getElementById("socket-state").textContent`))
	if err != nil || !strings.Contains(said, "code 1006") {
		t.Errorf("the page says %q (%v), want the close code", said, err)
	}
	testserver.Shot(t, ctx, "app-dropped")

	press(client, "ana@example.com", "deactivate", nil)
	press(client, "ben@example.com", "deactivate", nil)
	press(client, "ben@example.com", "reactivate", nil)
	testserver.Look(t, ctx, "scim-used", scim.URL, "details")
}
