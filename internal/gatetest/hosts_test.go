package gatetest

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/internal/demo"
	"github.com/ssogate/ssogate/sso/ssotest"
)

// straight reaches every host of example.test and its like at one address by plain HTTP,
// as a TLS front would; browsers see https.
type straight struct{ addr string }

func (s straight) RoundTrip(r *http.Request) (*http.Response, error) {
	out := r.Clone(r.Context())
	if out.URL.Scheme == "https" {
		out.Host = r.URL.Host
		out.URL.Scheme, out.URL.Host = "http", s.addr
	}
	res, err := http.DefaultTransport.RoundTrip(out)
	if res != nil {
		res.Request = r
	}
	return res, err
}

// fifty app origins: names of one domain, of a wildcard, and of domains of their own.
func fifty() (listed, visited []string) {
	for i := range 20 {
		listed = append(listed, fmt.Sprintf("https://app%d.example.test", i))
	}
	for i := range 15 {
		listed = append(listed, fmt.Sprintf("https://www.company%d.test", i))
	}
	visited = append(visited, listed...)
	for i := range 15 {
		visited = append(visited, fmt.Sprintf("https://team%d.apps.example.test", i))
	}
	return append(listed, "https://*.apps.example.test"), visited
}

// One sign-in serves fifty hosts on many domains, each by a cookie of its own that no
// other host is sent; signing out on one ends all.
func TestOneSignInServesFiftyHostsAndEndsOnAll(t *testing.T) {
	listed, visited := fifty()
	g := startBehind(t, "https://sso.example.test", visited[0], func(c *config.Config) {
		c.Routes[0].Origins = listed
	})
	rt := straight{g.addr}
	g.create(rt, g.ana.User)
	v := demo.NewVisitor().Through(rt)
	if _, err := v.SignIn(t.Context(), visited[0]+"/", "SAML", g.ana); err != nil {
		t.Fatal(err)
	}
	user := g.seen.Load().Get("X-Forwarded-User")
	cookies := map[string]string{}
	for _, origin := range visited {
		// Nobody is asked for anything any more: this person has no password.
		page, err := v.SignIn(t.Context(), origin+"/whoami?from=here", "SAML", ssotest.Person{})
		if err != nil {
			t.Fatalf("%s: %v", origin, err)
		}
		if page.URL.String() != origin+"/whoami?from=here" || g.seen.Load().Get("X-Forwarded-User") != user || user == "" {
			t.Errorf("%s: arrived at %s as %q, not %q", origin, page.URL, g.seen.Load().Get("X-Forwarded-User"), user)
		}
		u, _ := url.Parse(origin)
		for _, c := range v.Jar().Cookies(u) {
			if c.Name == "__Host-ssogate-app-session" {
				if other := cookies[c.Value]; other != "" {
					t.Errorf("%s and %s share a cookie", origin, other)
				}
				cookies[c.Value] = origin
			}
		}
	}
	if len(cookies) != len(visited) {
		t.Fatalf("%d hosts have cookies, of %d", len(cookies), len(visited))
	}
	ask := func(origin, cookie string) int {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, origin+"/whoami", nil)
		req.Header.Set("Cookie", "__Host-ssogate-app-session="+cookie)
		res, err := rt.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	// K01, H07: a cookie opens the host it was made for.
	var first string
	for value, origin := range cookies {
		if first == "" {
			first = value
		}
		if got := ask(origin, value); got != http.StatusOK {
			t.Errorf("%s with its own cookie: %d", origin, got)
		}
		if origin != cookies[first] {
			if got := ask(origin, first); got != http.StatusUnauthorized {
				t.Errorf("%s with the cookie of %s: %d", origin, cookies[first], got)
			}
		}
	}
	for _, origin := range []string{"https://apps.example.test", "https://a.b.apps.example.test", "https://evil.test"} {
		if got := ask(origin, first); got != http.StatusMisdirectedRequest {
			t.Errorf("%s is nobody's: %d", origin, got)
		}
	}

	out := cookies[first]
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, out+"/.sso/logout", strings.NewReader(""))
	req.Header.Set("Cookie", "__Host-ssogate-app-session="+first)
	req.Header.Set("Origin", out)
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	res, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	for value, origin := range cookies {
		if got := ask(origin, value); got != http.StatusUnauthorized {
			t.Errorf("signed out on %s, and %s answers %d", out, origin, got)
		}
	}
}
