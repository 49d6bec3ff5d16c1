package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso"
)

// Skew is how far the provider's clock and ours may differ.
const Skew = 60 * time.Second

// DefaultTimeout bounds Begin and Verify, all calls to the provider together
// (row O17: a token endpoint that hangs is given up within 10 s).
const DefaultTimeout = 8 * time.Second

// Options of a provider.
type Options struct {
	Provider settings.Provider
	URL      string        // gateway origin; the redirect URI is {URL}/oauth/{id}/callback
	HTTP     *http.Client  // from internal/outbound; its redirect rule is used for discovery and keys only
	Now      clock.Func    // nil = time.Now
	Timeout  time.Duration // of Begin and of Verify; 0 = DefaultTimeout
}

// Provider is one OpenID provider. It implements [sso.Provider] and is safe for
// concurrent use.
type Provider struct {
	cfg      settings.Provider
	redirect string // redirect URI
	scopes   []string
	client   *http.Client // discovery and keys
	direct   *http.Client // token and userinfo: never follows a redirect
	now      clock.Func
	timeout  time.Duration
	disc     *discovery
	groups   *directory // Google Workspace; nil: groups are what the claims say
}

// New checks the options. It makes no call: a provider that is down must not
// keep the gateway from starting.
func New(o Options) (*Provider, error) {
	p := o.Provider
	if p.Protocol != settings.OIDC {
		return nil, fmt.Errorf("oauth: provider %q speaks %q", p.ID, p.Protocol)
	}
	if !providerID().MatchString(p.ID) {
		return nil, fmt.Errorf("oauth: provider id %q is not a slug", p.ID)
	}
	if err := checkIssuer(p.OIDC.Issuer); err != nil {
		return nil, fmt.Errorf("oauth: provider %q: %w", p.ID, err)
	}
	if p.OIDC.ClientID == "" {
		return nil, fmt.Errorf("oauth: provider %q: no client id", p.ID)
	}
	if err := checkSubjectNames(p.Attributes.Subject); err != nil {
		return nil, fmt.Errorf("oauth: provider %q: %w", p.ID, err)
	}
	if o.HTTP == nil {
		// http.DefaultClient has no deadline and may be led inside (row F02).
		return nil, errors.New("oauth: no HTTP client")
	}
	origin, err := url.Parse(o.URL)
	if err != nil || origin.Scheme == "" || origin.Host == "" || strings.HasSuffix(o.URL, "/") {
		return nil, fmt.Errorf("oauth: gateway origin %q is not scheme://host", o.URL)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	pr := &Provider{
		cfg: p, redirect: o.URL + "/oauth/" + p.ID + "/callback", scopes: withOpenID(p.OIDC.Scopes),
		client: o.HTTP, direct: withoutRedirects(o.HTTP), now: o.Now, timeout: o.Timeout,
	}
	// A third of the whole for each document: a key set that hangs must leave time
	// for going on with the last good keys.
	pr.disc = newDiscovery(p.OIDC.Issuer, p.OIDC.ClientSecret != "", o.HTTP, o.Now, o.Timeout/3)
	if pr.google() {
		if pr.groups, err = newDirectory(p, pr.direct, o.Now); err != nil {
			return nil, fmt.Errorf("oauth: provider %q: %w", p.ID, err)
		}
	}
	return pr, nil
}

// providerID is what may stand in a URL path without escaping.
func providerID() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`) }

// withOpenID makes sure that an ID token is asked for (Core section 3.1.2.1).
func withOpenID(scopes []string) []string {
	if len(scopes) == 0 {
		return []string{"openid", "profile", "email"}
	}
	if slices.Contains(scopes, "openid") {
		return slices.Clone(scopes)
	}
	return append([]string{"openid"}, scopes...)
}

// checkIssuer applies Discovery section 3: a URL without query or fragment.
// Plain http is left to the HTTP client, which speaks it only to hosts that the
// operator allows.
func checkIssuer(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return fmt.Errorf("issuer: %w", err)
	case u.Scheme != "https" && u.Scheme != "http", u.Host == "":
		return fmt.Errorf("issuer %q is not an https URL", s)
	case u.User != nil, u.RawQuery != "", u.ForceQuery, u.Fragment != "", strings.HasSuffix(s, "#"):
		return fmt.Errorf("issuer %q has a user, query or fragment", s)
	}
	return nil
}

// Info implements sso.Provider.
func (p *Provider) Info() sso.Info {
	return sso.Info{ID: p.cfg.ID, Name: p.cfg.Name, Protocol: string(settings.OIDC)}
}

// RedirectURI is what the operator registers at the provider.
func (p *Provider) RedirectURI() string { return p.redirect }

// Begin makes the authorization request. State is the Login's id; nonce and
// code verifier are fresh 256-bit values that never leave the server except as
// the protocol says. The error is an *UnavailableError when the provider cannot
// be discovered.
func (p *Provider) Begin(ctx context.Context, l sso.Login) (sso.Start, error) {
	if !stateShape(l.ID) {
		return sso.Start{}, errors.New("oauth: login without an id")
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	m, err := p.disc.get(ctx)
	if err != nil {
		return sso.Start{}, err
	}
	start := sso.Start{Nonce: secret.NewToken(), Verifier: oauth2.GenerateVerifier(), Issuer: p.cfg.OIDC.Issuer, Redirect: p.redirect}
	opts := []oauth2.AuthCodeOption{
		oauth2.SetAuthURLParam("nonce", start.Nonce),
		// Always S256, whatever discovery lists (row O07): a provider that knows no
		// PKCE ignores the parameters, and "plain" would protect nothing.
		oauth2.S256ChallengeOption(start.Verifier),
	}
	switch {
	case p.google():
		opts = append(opts, p.googleParams(l.ForceAuthn)...)
	case l.ForceAuthn:
		// prompt=login is a wish; max_age makes auth_time mandatory in the ID
		// token, so that Verify can see whether the wish was met (Core 3.1.2.1).
		opts = append(opts, oauth2.SetAuthURLParam("prompt", "login"), oauth2.SetAuthURLParam("max_age", "0"))
	}
	start.URL = p.oauth2(m).AuthCodeURL(l.ID, opts...)
	return start, nil
}

func (p *Provider) oauth2(m *metadata) *oauth2.Config {
	return &oauth2.Config{
		ClientID: p.cfg.OIDC.ClientID, ClientSecret: p.cfg.OIDC.ClientSecret, RedirectURL: p.redirect, Scopes: p.scopesAt(m),
		// The style is fixed by discovery. x/oauth2's guessing would send a code a
		// second time after a refusal, which providers take for a stolen one.
		Endpoint: oauth2.Endpoint{AuthURL: m.Authorization, TokenURL: m.Token, AuthStyle: m.style},
	}
}

var _ sso.Provider = (*Provider)(nil)
