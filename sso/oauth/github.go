package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso"
)

// gitHubScopes: who somebody is, his addresses, and where he is a member. Read
// access only; organisations show a member's place to nobody without read:org.
var gitHubScopes = []string{"read:user", "user:email", "read:org"} //nolint:gochecknoglobals // a constant

// GitHub is github.com or one GitHub Enterprise Server, which speak OAuth 2.0
// without OpenID: there is no ID token, so everything about a person comes from
// the API, asked with the token that the code was exchanged for. It implements
// [sso.Provider] and [sso.Refresher] and is safe for concurrent use.
//
// The key of a person is his numeric id: user names can be changed, and the old
// one then belongs to whoever takes it (row O14).
type GitHub struct {
	cfg      settings.Provider
	base     string // https://github.com, also the issuer of identities
	api      string // https://api.github.com or base/api/v3
	redirect string
	client   *http.Client // never follows a redirect: it carries tokens
	now      clock.Func
	timeout  time.Duration
}

// NewGitHub checks the options. It makes no call.
func NewGitHub(o Options) (*GitHub, error) {
	p := o.Provider
	if p.Protocol != settings.GitHub {
		return nil, fmt.Errorf("oauth: provider %q speaks %q", p.ID, p.Protocol)
	}
	if !providerID().MatchString(p.ID) {
		return nil, fmt.Errorf("oauth: provider id %q is not a slug", p.ID)
	}
	base := strings.TrimSuffix(p.GitHub.BaseURL, "/")
	u, err := url.Parse(base)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("oauth: provider %q: %q is not the URL of a GitHub", p.ID, p.GitHub.BaseURL)
	}
	if p.OIDC.ClientID == "" || p.OIDC.ClientSecret == "" {
		return nil, fmt.Errorf("oauth: provider %q: no client id or secret", p.ID)
	}
	if o.HTTP == nil {
		return nil, errors.New("oauth: no HTTP client")
	}
	origin, err := url.Parse(o.URL)
	if err != nil || origin.Scheme == "" || origin.Host == "" || strings.HasSuffix(o.URL, "/") {
		return nil, fmt.Errorf("oauth: gateway origin %q is not scheme://host", o.URL)
	}
	g := &GitHub{
		cfg: p, base: base, api: base + "/api/v3", redirect: o.URL + "/oauth/" + p.ID + "/callback",
		client: withoutRedirects(o.HTTP), now: o.Now, timeout: o.Timeout,
	}
	if strings.EqualFold(u.Host, "github.com") {
		g.api = "https://api.github.com"
	}
	if g.now == nil {
		g.now = time.Now
	}
	if g.timeout == 0 {
		g.timeout = DefaultTimeout
	}
	return g, nil
}

// withoutRedirects is the client for requests that carry a secret: a redirected
// one would carry it to wherever the answer points.
func withoutRedirects(c *http.Client) *http.Client {
	direct := *c
	direct.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &direct
}

// Info implements sso.Provider.
func (g *GitHub) Info() sso.Info {
	return sso.Info{ID: g.cfg.ID, Name: g.cfg.Name, Protocol: string(settings.GitHub)}
}

// RedirectURI is the authorization callback URL that the operator registers.
func (g *GitHub) RedirectURI() string { return g.redirect }

func (g *GitHub) oauth2() *oauth2.Config {
	return &oauth2.Config{
		ClientID: g.cfg.OIDC.ClientID, ClientSecret: g.cfg.OIDC.ClientSecret, RedirectURL: g.redirect, Scopes: gitHubScopes,
		Endpoint: oauth2.Endpoint{
			AuthURL: g.base + "/login/oauth/authorize", TokenURL: g.base + "/login/oauth/access_token", AuthStyle: oauth2.AuthStyleInParams,
		},
	}
}

// Begin makes the authorization request, with PKCE S256 (an older Enterprise
// Server ignores it). "Use another account" can only ask GitHub to show its
// account picker: it knows no way to ask for credentials, and says nothing about
// when they were given.
func (g *GitHub) Begin(_ context.Context, l sso.Login) (sso.Start, error) {
	if !stateShape(l.ID) {
		return sso.Start{}, errors.New("oauth: login without an id")
	}
	start := sso.Start{Verifier: oauth2.GenerateVerifier(), Issuer: g.base, Redirect: g.redirect}
	opts := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(start.Verifier), oauth2.SetAuthURLParam("allow_signup", "false")}
	if l.ForceAuthn {
		opts = append(opts, oauth2.SetAuthURLParam("prompt", "select_account"))
	}
	start.URL = g.oauth2().AuthCodeURL(l.ID, opts...)
	return start, nil
}

// Receive implements sso.Provider.
func (g *GitHub) Receive(_ http.ResponseWriter, r *http.Request) (sso.Response, error) {
	b, err := readBrought(r)
	if err != nil {
		return nil, err
	}
	return &gitHubAnswer{brought: b, g: g}, nil
}

// gitHubAnswer implements [sso.Response].
type gitHubAnswer struct {
	brought
	g *GitHub
}

// Verify implements sso.Response. Everything the browser brought is compared
// with the Login before the code is spent.
func (a *gitHubAnswer) Verify(ctx context.Context, l sso.Login) (sso.Assertion, error) {
	if l.Fresh {
		// Nothing that GitHub says shows when credentials were given.
		return sso.Assertion{}, refuse("auth_time", errors.New("github cannot be asked for credentials again"))
	}
	return a.verify(ctx, l, func(string) {})
}

// verify is Verify that shows the access token to an examination (see Examine).
func (a *gitHubAnswer) verify(ctx context.Context, l sso.Login, seen func(access string)) (sso.Assertion, error) {
	g := a.g
	ctx, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	if err := a.matches(l, parties{g.cfg.ID, g.base, g.redirect}, g.now()); err != nil {
		return sso.Assertion{}, err
	}
	// RFC 9207: GitHub sends no iss; an answer that has one is somebody else's.
	if a.hasIss && a.issuer != g.base {
		return sso.Assertion{}, refuse("issuer", fmt.Errorf("iss parameter is %q", printable(a.issuer, 200)))
	}
	if a.errors.code != "" {
		return sso.Assertion{}, a.errors.asError()
	}
	t, err := g.oauth2().Exchange(context.WithValue(ctx, oauth2.HTTPClient, g.client), a.code, oauth2.VerifierOption(l.Start.Verifier))
	if err != nil {
		return sso.Assertion{}, gitHubTokenError(err)
	}
	if err := checkGitHubToken(t); err != nil {
		return sso.Assertion{}, err
	}
	seen(t.AccessToken)
	who, err := g.person(ctx, t.AccessToken)
	if err != nil {
		return sso.Assertion{}, err
	}
	out := sso.Assertion{
		Identity: who.identity(g), Profile: who.profile(), Groups: who.teams,
		// One code verifier belongs to one Login: its token is accepted once.
		ReplayKey:   g.base + "#" + secret.Sum(l.Start.Verifier).String(),
		ReplayUntil: l.Expires.Add(Skew),
	}
	if g.cfg.OIDC.Recheck > 0 {
		out.RefreshToken = keptGitHub(t)
	}
	return out, nil
}

// gitHubTokenError adds GitHub's own error codes, which come with status 200.
func gitHubTokenError(err error) error {
	re, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		return &UnavailableError{Step: "token", Err: bounded(err)}
	}
	switch re.ErrorCode {
	case "bad_verification_code":
		return refuse("code", errors.New("github does not accept the code"))
	case "unverified_user_email":
		return refuse("email_unverified", errors.New("github asks the person to verify the primary address first"))
	case "incorrect_client_credentials", "redirect_uri_mismatch", "application_suspended":
		return &UnavailableError{Step: "token", Status: re.Response.StatusCode, Code: re.ErrorCode}
	}
	return tokenError(err)
}

// checkGitHubToken wants a bearer token with the scopes that were asked for. The
// tokens of a GitHub App carry none, its permissions take their place.
func checkGitHubToken(t *oauth2.Token) error {
	switch {
	case t.AccessToken == "" || len(t.AccessToken) > maxRefreshToken || len(t.RefreshToken) > maxRefreshToken:
		return refuse("token_too_large", errors.New("no access token that can be used"))
	case !strings.EqualFold(t.TokenType, "bearer"):
		return &UnavailableError{Step: "token", Err: fmt.Errorf("token of type %s", printable(t.TokenType, 40))}
	}
	granted, _ := t.Extra("scope").(string)
	if granted == "" {
		return nil
	}
	have := strings.FieldsFunc(granted, func(r rune) bool { return r == ',' || r == ' ' })
	// Wider scopes contain the narrower ones, and GitHub then names only the wider.
	for _, want := range [][]string{
		{"read:user", "user"}, {"user:email", "user"}, {"read:org", "write:org", "admin:org"},
	} {
		if !slices.ContainsFunc(want, func(s string) bool { return slices.Contains(have, s) }) {
			return refuse("scope", fmt.Errorf("github granted %q, not %s", printable(granted, 200), want[0]))
		}
	}
	return nil
}

// Interface guards.
var (
	_ sso.Provider  = (*GitHub)(nil)
	_ sso.Refresher = (*GitHub)(nil)
	_ sso.Response  = (*gitHubAnswer)(nil)
)
