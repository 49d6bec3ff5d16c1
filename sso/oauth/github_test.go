package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/outbound"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/ssotest"
)

// hubRig is one provider of ours in front of a GitHub in process.
type hubRig struct {
	t     *testing.T
	hub   *ssotest.GitHub
	url   string
	p     *GitHub
	clock *clock.Manual
}

func octo() ssotest.GitHubUser {
	return ssotest.GitHubUser{
		ID: 583231, Login: "octo", Name: "Octo Cat",
		Emails: []ssotest.GitHubEmail{{Email: "old@victim.example", Verified: true}, {Email: "octo@example.com", Primary: true, Verified: true}},
		Orgs:   map[string]string{"Acme": "active", "other": "active"},
		Teams:  map[string]string{"Acme/finance": "active", "other/finance": "active"},
	}
}

func newHub(t *testing.T, change func(*settings.Provider, *ssotest.GitHub)) *hubRig {
	t.Helper()
	r := &hubRig{t: t, clock: &clock.Manual{}}
	r.hub = &ssotest.GitHub{ClientID: "Iv1.client", ClientSecret: "client-secret", RedirectURI: gateway + "/oauth/hub/callback"}
	r.hub.Set(octo())
	r.hub.Choose(583231)
	srv := httptest.NewServer(r.hub)
	r.url = srv.URL
	client, err := outbound.New(outbound.Options{Allow: []string{strings.TrimPrefix(r.url, "http://")}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.CloseIdleConnections(); srv.Close() })
	p := settings.Provider{
		ID: "hub", Name: "GitHub", Protocol: settings.GitHub, Active: true,
		OIDC:   settings.OIDCProvider{ClientID: r.hub.ClientID, ClientSecret: r.hub.ClientSecret, Recheck: time.Minute},
		GitHub: settings.GitHubProvider{BaseURL: r.url, Organizations: []string{"acme"}},
	}
	if change != nil {
		change(&p, r.hub)
	}
	if r.p, err = NewGitHub(Options{Provider: p, URL: gateway, HTTP: client, Now: r.clock.Now}); err != nil {
		t.Fatal(err)
	}
	return r
}

// answer goes to GitHub and reads what the browser brings back.
func (r *hubRig) answer() (sso.Login, sso.Response) {
	r.t.Helper()
	l := sso.Login{ID: secret.NewToken(), Kind: sso.Live, Provider: "hub", Expires: r.clock.Now().Add(sso.LoginLifetime)}
	var err error
	if l.Start, err = r.p.Begin(r.t.Context(), l); err != nil {
		r.t.Fatal(err)
	}
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.Get(l.Start.URL)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = resp.Body.Close()
	req := httptest.NewRequest(http.MethodGet, resp.Header.Get("Location"), nil)
	a, err := r.p.Receive(nil, req)
	if err != nil {
		r.t.Fatal(err)
	}
	return l, a
}

func (r *hubRig) signIn() (sso.Assertion, error) {
	r.t.Helper()
	l, a := r.answer()
	return a.Verify(r.t.Context(), l)
}

func reasonOf(err error) string {
	if v, ok := errors.AsType[*sso.VerifyError](err); ok {
		return v.Reason
	}
	if err != nil {
		return "unavailable"
	}
	return ""
}

func TestGitHubSignIn(t *testing.T) {
	r := newHub(t, func(p *settings.Provider, _ *ssotest.GitHub) { p.GitHub.Teams = []string{"other/none"} })
	a, err := r.signIn()
	if err != nil {
		t.Fatal(err)
	}
	if a.Identity.Issuer != r.url || a.Identity.Subject != "583231" || a.Identity.Provider != "hub" {
		t.Errorf("identity %+v: the key is the numeric id", a.Identity)
	}
	if a.Profile.Email != "octo@example.com" || a.Profile.UserName != "octo" || a.Profile.DisplayName != "Octo Cat" {
		t.Errorf("profile %+v", a.Profile)
	}
	if !slices.Equal(a.Groups, []string{"acme/finance", "other/finance"}) {
		t.Errorf("groups %q: the teams of the configured organisations", a.Groups)
	}
	if a.ReplayKey == "" || a.RefreshToken == "" {
		t.Error("no replay key, or nothing to ask again with")
	}
	q := r.hub.Asked()[0]
	if q.Get("code_challenge_method") != "S256" || q.Get("scope") != "read:user user:email read:org" {
		t.Errorf("O07: authorization request %v", q)
	}
}

func TestGitHubTeamsOfOtherOrganisationsAreNotGroups(t *testing.T) {
	a, err := newHub(t, nil).signIn()
	if err != nil || !slices.Equal(a.Groups, []string{"acme/finance"}) {
		t.Errorf("groups %q, %v: anybody can make an organisation with a team called finance", a.Groups, err)
	}
}

// Row O14, O15: who GitHub says somebody is.
func TestRowO14GitHubAccounts(t *testing.T) {
	for _, tt := range []struct {
		name, want, why string
		change          func(*ssotest.GitHubUser)
	}{
		{"benign", "", "the twin of all that follow", func(*ssotest.GitHubUser) {}},
		{"renamed", "", "another login is the same person", func(u *ssotest.GitHubUser) { u.Login = "cat" }},
		{"no name", "", "a display name is optional there", func(u *ssotest.GitHubUser) { u.Name = "" }},
		{"primary unverified", "email_unverified", "anybody can type any address", func(u *ssotest.GitHubUser) { u.Emails[1].Verified = false }},
		{"verified secondary only", "email_unverified", "a former employer's address stays there for ever", func(u *ssotest.GitHubUser) { u.Emails = u.Emails[:1] }},
		{"two primaries", "email_unverified", "which?", func(u *ssotest.GitHubUser) { u.Emails[0].Primary = true }},
		{"no address", "email_unverified", "nothing is vouched for", func(u *ssotest.GitHubUser) { u.Emails = nil }},
		{"O15 quoted", "claims", "two parsers, two domains", func(u *ssotest.GitHubUser) { u.Emails[1].Email = `"a@corp.example"@evil.example` }},
		{"O15 two at signs", "claims", "two parsers, two domains", func(u *ssotest.GitHubUser) { u.Emails[1].Email = "a@example.com@evil.example" }},
		{"an organisation", "subject", "its token is nobody's", func(u *ssotest.GitHubUser) { u.Type = "Organization" }},
		{"a bot", "subject", "a bot is no person", func(u *ssotest.GitHubUser) { u.Type = "Bot" }},
		{"hostile login", "subject", "it goes into URLs", func(u *ssotest.GitHubUser) { u.Login = "../../admin" }},
		{"suspended", "suspended", "Enterprise Server says so", func(u *ssotest.GitHubUser) { u.Suspended = true }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newHub(t, nil)
			u := octo()
			tt.change(&u)
			r.hub.Set(u)
			a, err := r.signIn()
			if got := reasonOf(err); got != tt.want {
				t.Fatalf("%v, want %q: %s", err, tt.want, tt.why)
			}
			if err == nil && a.Identity.Subject != "583231" {
				t.Errorf("subject %s: the id, whatever the login is", a.Identity.Subject)
			}
		})
	}
}

func TestGitHubIDZeroIsNobody(t *testing.T) {
	r := newHub(t, nil)
	u := octo()
	u.ID = 0
	r.hub.Set(u)
	r.hub.Choose(0)
	if _, err := r.signIn(); reasonOf(err) != "subject" {
		t.Errorf("%v: an answer without an id names nobody", err)
	}
}

func TestGitHubOrganisationsAndTeams(t *testing.T) {
	many := func(u *ssotest.GitHubUser, n int) {
		for i := range n {
			u.Teams[fmt.Sprintf("Acme/a%04d", i)] = "active"
		}
	}
	for _, tt := range []struct {
		name, want  string
		orgs, teams []string
		change      func(*ssotest.GitHubUser)
		why         string
	}{
		{"organisation", "", []string{"acme"}, nil, nil, "active there; names have no case"},
		{"any of two", "", []string{"none", "acme"}, nil, nil, "one is enough"},
		{"not there", "organization", []string{"none"}, nil, nil, "not a member"},
		{"pending", "organization", []string{"acme"}, nil, func(u *ssotest.GitHubUser) { u.Orgs["Acme"] = "pending" }, "invited is not in"},
		{"unknown state", "organization", []string{"acme"}, nil, func(u *ssotest.GitHubUser) { u.Orgs["Acme"] = "" }, "the zero value denies"},
		{"team", "", nil, []string{"acme/finance"}, nil, "active in the team"},
		{"another team", "organization", nil, []string{"acme/platform"}, nil, "in the organisation is not in the team"},
		{"same team elsewhere", "organization", nil, []string{"none/finance"}, nil, "a team has an organisation"},
		{"team pending", "organization", nil, []string{"acme/finance"}, func(u *ssotest.GitHubUser) { u.Teams["Acme/finance"] = "pending" }, "invited is not in"},
		{"team, organisation pending", "organization", nil, []string{"acme/finance"}, func(u *ssotest.GitHubUser) { u.Orgs["Acme"] = "pending" }, "listed, but not in yet"},
		{"team on the third page", "", nil, []string{"acme/zz"}, func(u *ssotest.GitHubUser) { many(u, 250); u.Teams["Acme/zz"] = "active" }, "lists have pages"},
		{"more teams than are read", "unavailable", nil, []string{"acme/finance"}, func(u *ssotest.GitHubUser) { many(u, 1100) }, "half a list would take teams away"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newHub(t, func(p *settings.Provider, _ *ssotest.GitHub) {
				p.GitHub.Organizations, p.GitHub.Teams = tt.orgs, tt.teams
			})
			u := octo()
			if tt.change != nil {
				tt.change(&u)
			}
			r.hub.Set(u)
			if _, err := r.signIn(); reasonOf(err) != tt.want {
				t.Errorf("%v, want %q: %s", err, tt.want, tt.why)
			}
		})
	}
}

// What GitHub says besides yes: a refusal of the person, or nothing about him.
func TestGitHubAnswersAreSorted(t *testing.T) {
	const orgPath = "/api/v3/user/memberships/orgs/acme"
	say := func(path string, status int, headers ...string) func(w http.ResponseWriter, r *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != path {
				return false
			}
			for i := 0; i < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte(`{"message":"no"}`))
			return true
		}
	}
	for _, tt := range []struct {
		name, want string // of a sign-in
		refused    bool   // of a question again
		outcome    string
		serve      func(http.ResponseWriter, *http.Request) bool
	}{
		{"not a member", "organization", true, "refused", say(orgPath, 404)},
		{"the organisation blocks the app", "organization_blocked", false, "client", say(orgPath, 403)},
		{"the organisation wants SAML", "saml_sso_required", false, "client", say(orgPath, 403, "X-GitHub-SSO", "required; url=https://github.com/orgs/acme/sso")},
		{"rate limit", "unavailable", false, "rate_limited", say(orgPath, 403, "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "1")},
		{"secondary rate limit", "unavailable", false, "rate_limited", say(orgPath, 429, "Retry-After", "60")},
		{"token revoked", "token_refused", true, "refused", say("/api/v3/user", 401)},
		{"server error", "unavailable", false, "unavailable", say("/api/v3/user", 502)},
		{"redirect", "unavailable", false, "unavailable", say("/api/v3/user", 301, "Location", "http://127.0.0.1:1/")},
		{"not JSON", "unavailable", false, "malformed", say("/api/v3/user", 200, "Content-Type", "text/html")},
		{"too large", "unavailable", false, "malformed", func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/api/v3/user/teams" {
				return false
			}
			_, _ = w.Write([]byte("[" + strings.Repeat(" ", maxDocument) + "]"))
			return true
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			serve := tt.serve
			if tt.name == "not JSON" {
				serve = func(w http.ResponseWriter, r *http.Request) bool {
					if r.URL.Path == "/api/v3/user" {
						_, _ = w.Write([]byte("<html>unicorn</html>"))
						return true
					}
					return false
				}
			}
			off := true
			r := newHub(t, func(_ *settings.Provider, g *ssotest.GitHub) {
				g.Serve = func(w http.ResponseWriter, r *http.Request) bool { return !off && serve(w, r) }
			})
			a, err := r.signIn()
			if err != nil {
				t.Fatalf("benign: %v", err)
			}
			if err := again(r, a); err != nil {
				t.Fatalf("asked again, benign: %v", err)
			}
			off = false
			if _, err := r.signIn(); reasonOf(err) != tt.want {
				t.Errorf("sign-in: %v, want %s", err, tt.want)
			}
			var e *sso.RefreshError
			if err := again(r, a); !errors.As(err, &e) || e.Refused != tt.refused || (tt.outcome != "malformed" && e.Outcome != tt.outcome) {
				t.Errorf("asked again: %v, want refused %t (%s)", err, tt.refused, tt.outcome)
			}
		})
	}
}

func again(r *hubRig, a sso.Assertion) error {
	ref, err := r.p.Refresh(r.t.Context(), a.Identity, a.RefreshToken)
	if err != nil {
		return err
	}
	return ref.Verify(r.t.Context())
}

func TestGitHubIsAskedAgain(t *testing.T) {
	for _, tt := range []struct {
		name    string
		refused bool
		why     string
		change  func(*hubRig, *ssotest.GitHubUser)
	}{
		{"nothing changed", false, "the benign twin", func(*hubRig, *ssotest.GitHubUser) {}},
		{"renamed", false, "the same person", func(_ *hubRig, u *ssotest.GitHubUser) { u.Login = "cat" }},
		{"address lost", false, "it decides nothing about a session that exists", func(_ *hubRig, u *ssotest.GitHubUser) { u.Emails = nil }},
		{"lost organisation", true, "he left", func(_ *hubRig, u *ssotest.GitHubUser) { delete(u.Orgs, "Acme") }},
		{"suspended", true, "his account is closed", func(_ *hubRig, u *ssotest.GitHubUser) { u.Suspended = true }},
		{"token revoked", true, "he or an owner withdrew the app's access", func(r *hubRig, _ *ssotest.GitHubUser) { r.hub.Revoke(583231) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newHub(t, nil)
			a, err := r.signIn()
			if err != nil {
				t.Fatal(err)
			}
			u := octo()
			tt.change(r, &u)
			r.hub.Set(u)
			var e *sso.RefreshError
			if err := again(r, a); errors.As(err, &e) != tt.refused || (tt.refused && !e.Refused) {
				t.Errorf("%v, want refused %t: %s", err, tt.refused, tt.why)
			}
		})
	}
}

func TestGitHubTokenOfSomebodyElseEndsTheSession(t *testing.T) {
	r := newHub(t, nil)
	a, err := r.signIn()
	if err != nil {
		t.Fatal(err)
	}
	other := a.Identity
	other.Subject = "1"
	ref, err := r.p.Refresh(t.Context(), other, a.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	var e *sso.RefreshError
	if err := ref.Verify(t.Context()); !errors.As(err, &e) || !e.Refused {
		t.Errorf("%v", err)
	}
	other = a.Identity
	other.Issuer = "https://github.com"
	before := r.hub.Calls("/api/v3/user")
	if _, err := r.p.Refresh(t.Context(), other, a.RefreshToken); !errors.As(err, &e) || !e.Refused || r.hub.Calls("/api/v3/user") != before {
		t.Errorf("%v: a token is shown to no other GitHub", err)
	}
}

// Rows O01, O08, O02, O17 for GitHub.
func TestGitHubAnswersOfOtherLoginsAreRefused(t *testing.T) {
	r := newHub(t, nil)
	l, a := r.answer()
	for why, change := range map[string]func(*sso.Login){
		"another login":    func(l *sso.Login) { l.ID = secret.NewToken() },
		"another provider": func(l *sso.Login) { l.Provider = "okta" },
		"another GitHub":   func(l *sso.Login) { l.Start.Issuer = "https://github.com" },
		"never sent":       func(l *sso.Login) { l.Start.Verifier = "" },
		"expired":          func(l *sso.Login) { l.Expires = r.clock.Now() },
	} {
		other := l
		change(&other)
		if _, err := a.Verify(t.Context(), other); reasonOf(err) == "" || reasonOf(err) == "unavailable" {
			t.Errorf("%s: %v", why, err)
		}
	}
	if n := r.hub.Calls("/login/oauth/access_token"); n != 0 {
		t.Errorf("the code was spent %d times for logins that are not its own", n)
	}
	first, err := a.Verify(t.Context(), l)
	if err != nil {
		t.Fatalf("benign: %v", err)
	}
	if _, err := a.Verify(t.Context(), l); reasonOf(err) != "code" {
		t.Errorf("O08: %v, first was %+v", err, first.Identity)
	}
	// PKCE: a code that was stolen on its way is of no use in another sign-in.
	_, stolen := r.answer()
	mine, _ := r.answer()
	stolen.(*gitHubAnswer).state = mine.ID
	if _, err := stolen.Verify(t.Context(), mine); reasonOf(err) != "code" {
		t.Errorf("O07: a code of another sign-in: %v", err)
	}
}

func TestGitHubWithoutItsScopesIsRefused(t *testing.T) {
	for scopes, want := range map[string]string{
		"": "", "user,admin:org": "", "read:org,read:user,user:email,repo": "",
		"read:user,user:email": "scope", "repo": "scope",
	} {
		r := newHub(t, func(_ *settings.Provider, g *ssotest.GitHub) { g.Scopes = scopes })
		if _, err := r.signIn(); reasonOf(err) != want {
			t.Errorf("granted %q: %v, want %q", scopes, err, want)
		}
	}
}

func TestGitHubErrorsOfTheTokenEndpoint(t *testing.T) {
	for _, tt := range []struct{ code, want string }{
		{"bad_verification_code", "code"},
		{"unverified_user_email", "email_unverified"},
		{"incorrect_client_credentials", "unavailable"},
		{"redirect_uri_mismatch", "unavailable"},
		{"application_suspended", "unavailable"},
		{"<script>", "unavailable"},
	} {
		r := newHub(t, func(_ *settings.Provider, g *ssotest.GitHub) {
			g.Serve = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != "/login/oauth/access_token" {
					return false
				}
				w.Header().Set("Content-Type", "application/x-www-form-urlencoded")
				_, _ = w.Write([]byte(url.Values{"error": {tt.code}, "error_description": {"gho_secret"}}.Encode()))
				return true
			}
		})
		_, err := r.signIn()
		if reasonOf(err) != tt.want {
			t.Errorf("%s: %v", tt.code, err)
		}
		if err != nil && strings.Contains(err.Error(), "gho_secret") {
			t.Errorf("L01: %v repeats what the endpoint sent", err)
		}
	}
}

func TestGitHubAPIOfEachKind(t *testing.T) {
	for base, want := range map[string]string{
		"https://github.com": "https://api.github.com", "https://GitHub.com": "https://api.github.com",
		"https://ghe.example.com": "https://ghe.example.com/api/v3", "https://github.com.example": "https://github.com.example/api/v3",
	} {
		p, err := NewGitHub(Options{URL: gateway, HTTP: http.DefaultClient, Provider: settings.Provider{
			ID: "hub", Protocol: settings.GitHub, OIDC: settings.OIDCProvider{ClientID: "a", ClientSecret: "b"}, GitHub: settings.GitHubProvider{BaseURL: base},
		}})
		if err != nil || p.api != want {
			t.Errorf("%s: %v %v", base, p, err)
		}
	}
	for _, base := range []string{"", "github.com", "ftp://github.com", "https://u@github.com", "https://github.com/x", "https://github.com?x"} {
		if _, err := NewGitHub(Options{URL: gateway, HTTP: http.DefaultClient, Provider: settings.Provider{
			ID: "hub", Protocol: settings.GitHub, OIDC: settings.OIDCProvider{ClientID: "a", ClientSecret: "b"}, GitHub: settings.GitHubProvider{BaseURL: base},
		}}); err == nil {
			t.Errorf("%q was accepted", base)
		}
	}
}

func TestGitHubAppTokensAreRenewed(t *testing.T) {
	r := newHub(t, func(_ *settings.Provider, g *ssotest.GitHub) {
		g.Serve = func(w http.ResponseWriter, r *http.Request) bool {
			_ = r.ParseForm()
			if r.PostForm.Get("grant_type") != "refresh_token" {
				return false
			}
			w.Header().Set("Content-Type", "application/json")
			if r.PostForm.Get("refresh_token") != "ghr_1" {
				_, _ = w.Write([]byte(`{"error":"bad_refresh_token"}`))
				return true
			}
			_, _ = w.Write([]byte(`{"access_token":"ghu_2","token_type":"bearer","refresh_token":"ghr_2","expires_in":28800}`))
			return true
		}
	})
	a, err := r.signIn()
	if err != nil {
		t.Fatal(err)
	}
	ref, err := r.p.Refresh(context.Background(), a.Identity, keptRefresh+"ghr_1")
	if err != nil || ref.Token() != keptRefresh+"ghr_2" {
		t.Fatalf("%v %v: the new token replaces the old", ref, err)
	}
	var e *sso.RefreshError
	if _, err := r.p.Refresh(context.Background(), a.Identity, keptRefresh+"ghr_0"); !errors.As(err, &e) || !e.Refused {
		t.Errorf("a used refresh token: %v", err)
	}
	if _, err := r.p.Refresh(context.Background(), a.Identity, "ghr_1"); !errors.As(err, &e) || e.Refused {
		t.Errorf("a token that was kept for something else: %v", err)
	}
}
