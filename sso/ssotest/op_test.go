package ssotest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/sso/ssotest"
)

const opCallback = "https://sso.example.com/oauth/demo/callback"

// opBrowser is a browser in front of an OP, with cookies and without script.
type opBrowser struct {
	t     *testing.T
	op    *ssotest.OP
	url   string
	clock *clock.Manual
	http  *http.Client
}

func newOPBrowser(t *testing.T) *opBrowser {
	t.Helper()
	b := &opBrowser{t: t, clock: &clock.Manual{}}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { b.op.ServeHTTP(w, r) }))
	b.url = "http://" + srv.Listener.Addr().String()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b.op, err = ssotest.NewOP(ssotest.OPOptions{
		Issuer: b.url, ClientID: "c", ClientSecret: "s", RedirectURIs: []string{opCallback}, PostLogoutRedirectURIs: []string{"https://sso.example.com/bye"},
		People: []ssotest.Person{{User: "ada", Password: "pw", Email: "ada@example.com", DisplayName: "Ada"}}, Key: key, Now: b.clock.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(srv.Close)
	b.forget()
	return b
}

// forget is another browser.
func (b *opBrowser) forget() {
	jar, _ := cookiejar.New(nil)
	b.http = &http.Client{Jar: jar, Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func (b *opBrowser) do(method, u string, form url.Values) (*http.Response, string) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, u, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := b.http.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp, string(body)
}

func (b *opBrowser) authorizeURL(verifier string, pairs ...string) string {
	v := url.Values{
		"response_type": {"code"}, "client_id": {"c"}, "redirect_uri": {opCallback}, "scope": {"openid email"}, "state": {"st"}, "nonce": {"no"},
		"code_challenge": {oauth2.S256ChallengeFromVerifier(verifier)}, "code_challenge_method": {"S256"},
	}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return b.url + "/authorize?" + v.Encode()
}

// fill submits the sign-in form on a page.
func (b *opBrowser) fill(page, user, password string) (*http.Response, string) {
	b.t.Helper()
	m := regexp.MustCompile(`name="request" value="([^"]*)"`).FindStringSubmatch(page)
	if m == nil {
		b.t.Fatalf("no form on the page:\n%s", page)
	}
	return b.do(http.MethodPost, b.url+"/sign-in", url.Values{"request": {html.UnescapeString(m[1])}, "username": {user}, "password": {password}})
}

// code signs ada in through the form and returns the code.
func (b *opBrowser) code(verifier string) string {
	b.t.Helper()
	_, page := b.do(http.MethodGet, b.authorizeURL(verifier, "prompt", "login"), nil)
	resp, _ := b.fill(page, "ada", "pw")
	u, err := resp.Location()
	if err != nil {
		b.t.Fatal(err)
	}
	return u.Query().Get("code")
}

func (b *opBrowser) token(basic bool, pairs ...string) (int, map[string]any) {
	b.t.Helper()
	v := url.Values{"grant_type": {"authorization_code"}, "redirect_uri": {opCallback}}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.url+"/token", strings.NewReader(v.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if basic {
		req.SetBasicAuth("c", "s")
	}
	resp, err := b.http.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var m map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&m); err != nil {
		b.t.Fatal(err)
	}
	return resp.StatusCode, m
}

func TestOPSignsInByFormOnceAndThenSilently(t *testing.T) {
	b := newOPBrowser(t)
	v := oauth2.GenerateVerifier()
	resp, page := b.do(http.MethodGet, b.authorizeURL(v), nil)
	if resp.StatusCode != http.StatusOK || !strings.Contains(page, `<label for="username">`) || !strings.Contains(page, `autocomplete="current-password"`) {
		t.Fatalf("%d\n%s", resp.StatusCode, page)
	}
	csp := resp.Header.Get("Content-Security-Policy")
	if !strings.Contains(csp, "form-action 'self' https://sso.example.com") || !strings.Contains(csp, "default-src 'none'") || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("policy %q", csp)
	}
	if resp, page := b.fill(page, "ada", "wrong"); resp.StatusCode != http.StatusUnauthorized || !strings.Contains(page, `role="alert"`) {
		t.Errorf("wrong password: %d", resp.StatusCode)
	}
	if resp, _ := b.fill(page, "<script>", "pw"); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("unknown user: %d", resp.StatusCode)
	}
	resp, _ = b.fill(page, "ada", "pw")
	u, err := resp.Location()
	if err != nil || resp.StatusCode != http.StatusSeeOther || u.Query().Get("state") != "st" || u.Query().Get("iss") != b.url || u.Query().Get("code") == "" {
		t.Fatalf("%d %v %v", resp.StatusCode, u, err)
	}
	if resp, _ := b.do(http.MethodGet, b.authorizeURL(v), nil); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("the second sign-in must be silent: %d", resp.StatusCode)
	}
	for _, again := range [][]string{{"prompt", "login"}, {"prompt", "select_account"}, {"max_age", "0"}} {
		if resp, _ := b.do(http.MethodGet, b.authorizeURL(v, again...), nil); resp.StatusCode != http.StatusOK {
			t.Errorf("%v must show the form: %d", again, resp.StatusCode)
		}
	}
	b.clock.Advance(9 * time.Hour)
	resp, _ = b.do(http.MethodGet, b.authorizeURL(v, "prompt", "none"), nil)
	if u, err := resp.Location(); err != nil || u.Query().Get("error") != "login_required" {
		t.Errorf("the session ends, and prompt=none says so: %v %v", u, err)
	}
}

func TestOPChecksTheAuthorizationRequest(t *testing.T) {
	b := newOPBrowser(t)
	v := oauth2.GenerateVerifier()
	for _, c := range []struct{ name, value, code string }{ // code "" = a page, never a redirect
		{"redirect_uri", "https://evil.example/", ""},
		{"redirect_uri", opCallback + "/x", ""},
		{"client_id", "other", ""},
		{"response_type", "token", "unsupported_response_type"},
		{"scope", "email", "invalid_scope"},
		{"code_challenge_method", "plain", "invalid_request"},
		{"code_challenge", "", "invalid_request"},
		{"max_age", "-1", "invalid_request"},
		{"prompt", "none login", "invalid_request"},
	} {
		resp, _ := b.do(http.MethodGet, b.authorizeURL(v, c.name, c.value), nil)
		u, err := resp.Location()
		switch {
		case c.code == "" && (resp.StatusCode != http.StatusBadRequest || err == nil):
			t.Errorf("%s=%s: %d to %v", c.name, c.value, resp.StatusCode, u)
		case c.code != "" && (err != nil || u.Query().Get("error") != c.code || u.Query().Get("state") != "st"):
			t.Errorf("%s=%s: %d to %v", c.name, c.value, resp.StatusCode, u)
		}
	}
	if resp, _ := b.do(http.MethodGet, b.authorizeURL(v)+"&client_id=c", nil); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("repeated parameter: %d", resp.StatusCode)
	}
}

func TestOPTokenEndpoint(t *testing.T) {
	b := newOPBrowser(t)
	v := oauth2.GenerateVerifier()
	status, m := b.token(true, "code", b.code(v), "code_verifier", v)
	if status != 200 || m["token_type"] != "Bearer" || strings.Count(m["id_token"].(string), ".") != 2 {
		t.Fatalf("%d %v", status, m)
	}
	if status, m := b.token(false, "code", b.code(v), "code_verifier", v, "client_id", "c", "client_secret", "s"); status != 200 {
		t.Errorf("client_secret_post: %d %v", status, m)
	}
	used := b.code(v)
	b.token(true, "code", used, "code_verifier", v)
	for name, c := range map[string]struct {
		basic bool
		pairs []string
		code  string
	}{
		"used code":       {true, []string{"code", used, "code_verifier", v}, "invalid_grant"},
		"unknown code":    {true, []string{"code", "x", "code_verifier", v}, "invalid_grant"},
		"no verifier":     {true, []string{"code", b.code(v)}, "invalid_grant"},
		"other verifier":  {true, []string{"code", b.code(v), "code_verifier", oauth2.GenerateVerifier()}, "invalid_grant"},
		"other redirect":  {true, []string{"code", b.code(v), "code_verifier", v, "redirect_uri", "https://x/"}, "invalid_grant"},
		"no client":       {false, []string{"code", b.code(v), "code_verifier", v}, "invalid_client"},
		"wrong secret":    {false, []string{"code", b.code(v), "code_verifier", v, "client_id", "c", "client_secret", "t"}, "invalid_client"},
		"two credentials": {true, []string{"code", b.code(v), "code_verifier", v, "client_id", "c", "client_secret", "s"}, "invalid_client"},
		"other grant":     {true, []string{"grant_type", "password"}, "unsupported_grant_type"},
	} {
		if status, m := b.token(c.basic, c.pairs...); status < 400 || m["error"] != c.code {
			t.Errorf("%s: %d %v", name, status, m)
		}
	}
	late := b.code(v)
	b.clock.Advance(61 * time.Second)
	if status, m := b.token(true, "code", late, "code_verifier", v); status != 400 {
		t.Errorf("expired code: %d %v", status, m)
	}
}

func TestOPUsedCodeRevokesItsToken(t *testing.T) {
	b := newOPBrowser(t)
	v := oauth2.GenerateVerifier()
	code := b.code(v)
	_, m := b.token(true, "code", code, "code_verifier", v)
	info := func() int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.url+"/userinfo", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+m["access_token"].(string))
		resp, err := b.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	if s := info(); s != 200 {
		t.Fatalf("userinfo: %d", s)
	}
	b.token(true, "code", code, "code_verifier", v)
	if s := info(); s != 401 {
		t.Errorf("userinfo after the code was used twice: %d", s)
	}
}

func TestOPEndSession(t *testing.T) {
	b := newOPBrowser(t)
	v := oauth2.GenerateVerifier()
	_, m := b.token(true, "code", b.code(v), "code_verifier", v)
	end := b.url + "/end_session?post_logout_redirect_uri=" + url.QueryEscape("https://sso.example.com/bye") + "&state=x%26y"
	if resp, page := b.do(http.MethodGet, end, nil); resp.StatusCode != http.StatusOK || !strings.Contains(page, "Sign out?") {
		t.Errorf("a link alone signs nobody out: %d", resp.StatusCode)
	}
	resp, _ := b.do(http.MethodGet, end+"&id_token_hint="+m["id_token"].(string), nil)
	if u, err := resp.Location(); err != nil || u.String() != "https://sso.example.com/bye?state=x%26y" {
		t.Errorf("%d %v", resp.StatusCode, u)
	}
	if _, page := b.do(http.MethodGet, b.url+"/", nil); !strings.Contains(page, "Nobody is signed in") {
		t.Error("still signed in")
	}
	b.code(v)
	if resp, _ := b.do(http.MethodPost, b.url+"/end_session", url.Values{"confirm": {"1"}, "post_logout_redirect_uri": {"https://evil.example/"}}); resp.StatusCode != http.StatusOK {
		t.Errorf("an unregistered address is not gone to: %d", resp.StatusCode)
	}
	if resp, _ := b.do(http.MethodGet, b.authorizeURL(v), nil); resp.StatusCode != http.StatusOK {
		t.Error("still signed in")
	}
}

func TestOPFormsOfOtherSitesAreRefused(t *testing.T) {
	b := newOPBrowser(t)
	for _, path := range []string{"/sign-in", "/end_session"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+path, strings.NewReader("confirm=1"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Sec-Fetch-Site", "cross-site")
		resp, err := b.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
}
