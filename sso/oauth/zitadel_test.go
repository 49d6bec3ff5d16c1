package oauth

import (
	"context"
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

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"

	"github.com/ssogate/ssogate/internal/outbound"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso"
)

// TestAnIndependentProviderSignsIn runs the handshake against an OpenID provider
// that somebody else wrote: a misreading of the standard that this package and
// ssotest.OP share would show here. Its ID tokens are thin, so userinfo is part
// of it; its issuer ends with a slash.
func TestAnIndependentProviderSignsIn(t *testing.T) {
	for name, c := range map[string]struct{ id, secret string }{"confidential client": {"web", "s3cret"}, "public client": {"native", ""}} {
		t.Run(name, func(t *testing.T) {
			var h http.Handler
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) }))
			base := "http://" + srv.Listener.Addr().String()
			redirect := gateway + "/oauth/acme/callback"
			if c.secret == "" {
				storage.RegisterClients(storage.NativeClient(c.id, redirect))
			} else {
				storage.RegisterClients(storage.WebClient(c.id, c.secret, redirect))
			}
			h = exampleop.SetupServer(base+"/", storage.NewStorage(storage.NewUserStore(base+"/")), nil, false)
			srv.Start()
			defer srv.Close()

			client, err := outbound.New(outbound.Options{Allow: []string{strings.TrimPrefix(base, "http://")}})
			if err != nil {
				t.Fatal(err)
			}
			defer client.CloseIdleConnections()
			p, err := New(Options{URL: gateway, HTTP: client, Provider: settings.Provider{
				ID: "acme", Protocol: settings.OIDC, OIDC: settings.OIDCProvider{Issuer: base + "/", ClientID: c.id, ClientSecret: c.secret, Recheck: time.Hour},
			}})
			if err != nil {
				t.Fatal(err)
			}
			l := sso.Login{ID: secret.NewToken(), Kind: sso.Live, Provider: "acme", Expires: time.Now().Add(sso.LoginLifetime)}
			if l.Start, err = p.Begin(context.Background(), l); err != nil {
				t.Fatal(err)
			}
			callback := zitadelForm(t, base, l.Start.URL)
			resp, err := p.Receive(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, callback, nil))
			if err != nil {
				t.Fatal(err)
			}
			a, err := resp.Verify(context.Background(), l)
			if err != nil {
				t.Fatal(err)
			}
			if a.Identity.Subject != "id1" || a.Identity.Issuer != base+"/" || a.Profile.Email != "test-user@zitadel.ch" || a.Profile.DisplayName != "Test User" || !strings.HasPrefix(a.Profile.UserName, "test-user@") {
				t.Errorf("%+v", a)
			}
			again, err := p.Refresh(t.Context(), a.Identity, a.RefreshToken)
			if err != nil {
				t.Fatalf("refresh: %v", err)
			}
			if err := again.Verify(t.Context()); err != nil || again.Token() == "" {
				t.Errorf("refreshed: token %q, %v", again.Token(), err)
			}
			_, err = p.Refresh(t.Context(), a.Identity, a.RefreshToken)
			wantOutcome(t, err, "refused", true, "a used refresh token")
			// And its refusal: the same code again.
			if again, err := resp.Verify(context.Background(), l); err == nil {
				t.Errorf("a used code was accepted: %+v", again)
			}
		})
	}
}

// zitadelForm walks from the authorization request through the sign-in form to
// the redirect that leaves the provider.
func zitadelForm(t *testing.T, base, start string) string {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	var left string
	b := &http.Client{Jar: jar, Timeout: 10 * time.Second, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), gateway) {
			left = r.URL.String()
			return http.ErrUseLastResponse
		}
		return nil
	}}
	resp, err := b.Get(start)
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`name="id" value="([^"]*)"`).FindSubmatch(page)
	if m == nil {
		t.Fatalf("no form:\n%s", page)
	}
	user := "test-user@" + strings.Split(strings.TrimPrefix(base, "http://"), ":")[0]
	resp, err = b.PostForm(base+"/login/username", url.Values{"id": {html.UnescapeString(string(m[1]))}, "username": {user}, "password": {"verysecure"}})
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if left == "" {
		t.Fatalf("the provider did not send the browser back: %s", resp.Status)
	}
	return left
}
