package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/ssogate/ssogate/internal/testserver"
	"github.com/ssogate/ssogate/internal/web"
)

// pageKinds is one page of every kind that people meet.
func pageKinds() map[string]web.Page {
	return map[string]web.Page{
		"chooser": {
			Status: 200, Title: "Sign in", Lead: "Choose how you sign in to continue to app.example.com.", Support: "it@example.com",
			Actions: []web.Action{
				{Label: "Continue with Okta", URL: "/login?provider=okta"},
				{Label: "Continue with Google Workspace", URL: "/login?provider=google"},
				{Label: "Continue with the identity provider of a subsidiary with a rather long name", URL: "/login?provider=sub"},
			},
		},
		"address": {
			Status: 200, Title: "Sign in to Acme", Lead: "Choose how you sign in. Last time it was Okta.", Support: "it@example.com",
			Form:    &web.Form{URL: "/login", Button: "Continue", Inputs: []web.Input{{Label: "Your work e-mail address", Name: "address", Type: "email", Hint: "username"}}},
			Actions: []web.Action{{Label: "Continue with Okta", URL: "/login?provider=okta"}, {Label: "Continue with GitHub", URL: "/login?provider=github"}},
		},
		"invitation": {
			Status: 200, Title: "You are invited to Acme", Account: "ana@example.com", Support: "it@example.com",
			Lead:    "To accept, continue and sign in with your work account. The invitation counts for this address only.",
			Actions: []web.Action{{Label: "Continue", URL: "/invite/x", Method: "POST"}},
		},
		"moving": {Status: 200, Title: "Signing you in", Lead: "This takes a moment. If nothing happens, continue by hand.", Fragment: true},
		"denied": {
			Status: 403, Title: "This page is not open to you", Lead: "You are signed in, but your account is in none of the teams that may open app.example.com/reports.",
			Account: "ana@example.com", Support: "https://help.example.com/access",
			Facts:   []web.Fact{{Label: "Asked for", Value: "app.example.com/reports"}, {Label: "Teams that may", Value: "finance, audit"}},
			Actions: []web.Action{{Label: "Back to the start page", URL: "/"}, {Label: "Use another account", URL: "/login?force=1", Quiet: true}},
		},
		"formlost": {
			Status: 401, Title: "Your form was not sent", Lead: "Your session had ended, so nothing was saved. Sign in in another tab, then go back and send the form again.",
			Actions: []web.Action{{Label: "Sign in", URL: "/login"}},
		},
		"logout": {
			Status: 200, Title: "Sign out?", Lead: "This ends your session here and in every application behind this gateway.", Account: "ben@example.com",
			Actions: []web.Action{{Label: "Sign out", URL: "/logout", Method: "POST", Fields: []web.Field{{Name: "again", Value: "1"}}}, {Label: "Stay signed in", URL: "/", Quiet: true}},
		},
		"down": {
			Status: 503, Title: "Not available for a moment", Lead: "Your session cannot be looked up right now. It is not lost: try again in a few seconds.",
			Retry: 5 * time.Second, Actions: []web.Action{{Label: "Try again", URL: "/"}}, Support: "the service desk, extension 4711",
		},
		"hostile": {
			Status: 403, Title: strings.Repeat("W", 90), Lead: strings.Repeat("no break here please ", 20) + strings.Repeat("x", 200),
			Account: strings.Repeat("a", 120) + "@example.com",
			Facts:   []web.Fact{{Label: "Provider said", Value: `<img src=x onerror="document.title='owned'"></dd><script>document.title='owned'</script>`}},
			Actions: []web.Action{{Label: `"><svg onload="document.title='owned'">`, URL: "/"}},
		},
	}
}

func pageServer(t *testing.T) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/static/", web.Static())
	mux.HandleFunc("/page/{kind}", func(w http.ResponseWriter, r *http.Request) {
		p, ok := pageKinds()[r.PathValue("kind")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		web.WritePage(w, r, p)
	})
	mux.HandleFunc("/auto", func(w http.ResponseWriter, r *http.Request) {
		web.WritePage(w, r, web.Page{Status: 200, Title: "On the way", Refresh: "/landed?code=1", Fragment: r.URL.Query().Has("fragment")})
	})
	mux.HandleFunc("/post", func(w http.ResponseWriter, r *http.Request) {
		web.WritePage(w, r, web.Page{Status: 200, Title: "On the way", Post: &web.Post{
			URL: r.URL.Query().Get("to"), Fields: []web.Field{{Name: "submit", Value: "1"}, {Name: "SAMLRequest", Value: "a+b/c=\"<&"}},
		}})
	})
	mux.HandleFunc("POST /elsewhere", func(w http.ResponseWriter, r *http.Request) {
		web.WritePage(w, r, web.Page{Status: 200, Title: "landed " + r.PostFormValue("SAMLRequest")})
	})
	mux.HandleFunc("/landed", func(w http.ResponseWriter, r *http.Request) {
		web.WritePage(w, r, web.Page{Status: 200, Title: "landed " + r.URL.RawQuery})
	})
	srv := httptest.NewServer(web.Handler(mux, web.Options{}))
	t.Cleanup(srv.Close)
	return srv
}

// One browser for all of these: starting it costs more than what they do.
func TestInChromium(t *testing.T) {
	ctx := testserver.Browser(t)
	t.Run("U02 pages look right and are inert", func(t *testing.T) { checkPages(t, ctx) })
	t.Run("refresh page moves on", func(t *testing.T) { checkRefresh(t, ctx) })
	t.Run("a message is posted to another site", func(t *testing.T) { checkPost(t, ctx) })
	t.Run("R01 return path stays on the origin", func(t *testing.T) { checkReturns(t, ctx) })
}

func checkPages(t *testing.T, ctx context.Context) { //nolint:revive // t first, as in testing helpers
	srv := pageServer(t)
	kinds := pageKinds()
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		p := kinds[kind]
		testserver.Look(t, ctx, "page-"+kind, srv.URL+"/page/"+kind, "main")
		title, err := chromedp.Run(ctx, chromedp.Title())
		if err != nil {
			t.Fatal(err)
		}
		if title != p.Title {
			t.Errorf("U02 %s: title is %q, want %q: text of a stranger ran as script or was altered", kind, title, p.Title)
		}
	}
}

// A refresh page moves on by itself, and carries the fragment only where asked.
func checkRefresh(t *testing.T, ctx context.Context) { //nolint:revive // as above
	srv := pageServer(t)
	for _, c := range []struct{ from, want string }{
		{"/auto", "landed code=1"},
		{"/auto?fragment", "landed code=1"},
		{"/auto?fragment#row=7&x=%20y", "landed code=1&fragment=row%3D7%26x%3D%2520y"},
		{"/auto?fragment#" + strings.Repeat("a", 1025), "landed code=1"},
	} {
		err := chromedp.Do(ctx, chromedp.Navigate("about:blank"), chromedp.Navigate(srv.URL+c.from))
		if err != nil {
			t.Fatal(err)
		}
		var title string
		for range 100 { // the page moves on when it likes; look until it has
			title, err = chromedp.Run(ctx, chromedp.Title())
			if err == nil && strings.HasPrefix(title, "landed") {
				break
			}
			_ = chromedp.Do(ctx, chromedp.Sleep(20*time.Millisecond))
		}
		if title != c.want {
			t.Errorf("%.60s: arrived at %q (%v), want %q", c.from, title, err, c.want)
		}
	}
}

// The policy lets the form go to the one origin it is for, and the script sends it.
func checkPost(t *testing.T, ctx context.Context) { //nolint:revive // as above
	srv, idp := pageServer(t), pageServer(t)
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank"), chromedp.Navigate(srv.URL+"/post?to="+url.QueryEscape(idp.URL+"/elsewhere"))); err != nil {
		t.Fatal(err)
	}
	var title string
	var err error
	for range 100 { // as above
		title, err = chromedp.Run(ctx, chromedp.Title())
		if err == nil && strings.HasPrefix(title, "landed") {
			break
		}
		_ = chromedp.Do(ctx, chromedp.Sleep(20*time.Millisecond))
	}
	if want := `landed a+b/c="<&`; title != want {
		t.Errorf("arrived at %q (%v), want %q", title, err, want)
	}
}

// R01 as the browser reads it: whatever SafeReturn answers, Chromium's own URL
// parser resolves it to our origin and to no reserved path.
func checkReturns(t *testing.T, ctx context.Context) { //nolint:revive // as above
	var safe []string
	for _, in := range append(hostileReturns(), benignReturns()...) {
		safe = append(safe, web.SafeReturn(in))
	}
	list, err := json.Marshal(safe)
	if err != nil {
		t.Fatal(err)
	}
	const origin = "https://app.example.com"
	js := fmt.Sprintf(`(() => %s.flatMap(s => [new URL(s, %q), new URL(%q + s)].map(u => [s, u.origin, u.pathname])))()`, list, origin+"/any/where?q", origin)
	got, err := chromedp.Run(ctx, chromedp.Evaluate[[][]string](js))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2*len(safe) {
		t.Fatalf("%d answers for %d inputs", len(got), len(safe))
	}
	for _, g := range got {
		path, err := url.PathUnescape(g[2])
		if err != nil || g[1] != origin || strings.HasPrefix(path, "//") || reserved(path) {
			t.Errorf("R01: %q leads to origin %s, path %s", g[0], g[1], g[2])
		}
	}
}

func reserved(path string) bool {
	low := strings.ToLower(path)
	return low == "/.sso" || strings.HasPrefix(low, "/.sso/") || strings.HasPrefix(low, "/.sso;")
}
