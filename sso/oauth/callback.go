package oauth

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/ssogate/ssogate/sso"
)

// Limits of what a browser may bring. Entra's codes are the longest seen, below 2 KB.
const (
	maxQuery  = 12 << 10
	maxParams = 32
	maxCode   = 4 << 10
	stateLen  = 43 // secret.NewToken
)

// brought is an authorization response as a browser brings it.
type brought struct {
	state  string
	code   string
	errors idpError
	issuer string // iss, RFC 9207
	hasIss bool
}

// answer is an authorization response of an OpenID provider. It implements
// [sso.Response].
type answer struct {
	brought
	p *Provider
}

type idpError struct{ code, description string }

// Receive implements sso.Provider: the request to the redirect URI, taken apart
// but not believed. Only GET: response_mode=form_post was not asked for, and a
// body is one more thing to bound. The error is a *sso.VerifyError.
func (p *Provider) Receive(_ http.ResponseWriter, r *http.Request) (sso.Response, error) {
	b, err := readBrought(r)
	if err != nil {
		return nil, err
	}
	return &answer{brought: b, p: p}, nil
}

func readBrought(r *http.Request) (brought, error) {
	if r.Method != http.MethodGet {
		return brought{}, refuse("method", fmt.Errorf("%s", printable(r.Method, 20)))
	}
	v, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return brought{}, err
	}
	b := brought{state: v.Get("state"), code: v.Get("code"), issuer: v.Get("iss"), hasIss: v.Has("iss")}
	b.errors = idpError{code: v.Get("error"), description: v.Get("error_description")}
	switch {
	case !stateShape(b.state):
		return brought{}, refuse("state", errors.New("missing or not one of ours"))
	case (b.code == "") == (b.errors.code == ""):
		return brought{}, refuse("malformed", errors.New("want either a code or an error"))
	case len(b.code) > maxCode:
		return brought{}, refuse("malformed", errors.New("code is too long"))
	}
	return b, nil
}

// parseQuery reads the parameters once. A repeated one is refused (RFC 6749
// section 3.1): two readers could each take another value for the real one.
func parseQuery(raw string) (url.Values, error) {
	if len(raw) > maxQuery {
		return nil, refuse("malformed", errors.New("query is too long"))
	}
	v, err := url.ParseQuery(raw)
	if err != nil {
		return nil, refuse("malformed", errors.New("query cannot be read"))
	}
	if len(v) > maxParams {
		return nil, refuse("malformed", errors.New("too many parameters"))
	}
	for name, values := range v {
		if len(values) != 1 {
			return nil, refuse("repeated_parameter", errors.New(printable(name, 40)))
		}
	}
	return v, nil
}

// stateShape reports whether s could be a Login id: nothing else is looked up.
func stateShape(s string) bool {
	if len(s) != stateLen {
		return false
	}
	return !slices.ContainsFunc([]byte(s), func(c byte) bool {
		return (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '-' && c != '_'
	})
}

// LoginID implements sso.Response.
func (b brought) LoginID() string { return b.state }

// Unsolicited implements sso.Response. An answer without state was refused by
// Receive: OpenID Connect has no IdP-initiated responses.
func (brought) Unsolicited() bool { return false }

// Verify implements sso.Response. Everything the browser brought is compared
// with the Login before the code is spent, so that a forged answer cannot use
// up a genuine one.
func (a *answer) Verify(ctx context.Context, l sso.Login) (sso.Assertion, error) {
	return a.verify(ctx, l, func(*metadata, tokens) {})
}

// verify is Verify that shows the tokens to an examination (see Examine): the code
// that they were exchanged for works once.
func (a *answer) verify(ctx context.Context, l sso.Login, seen func(*metadata, tokens)) (sso.Assertion, error) {
	ctx, cancel := context.WithTimeout(ctx, a.p.timeout)
	defer cancel()
	if err := a.matches(l, parties{a.p.cfg.ID, a.p.cfg.OIDC.Issuer, a.p.redirect}, a.p.now()); err != nil {
		return sso.Assertion{}, err
	}
	if l.Start.Nonce == "" {
		return sso.Assertion{}, refuse("state", errors.New("the login was never sent to an OpenID provider"))
	}
	m, err := a.p.disc.get(ctx)
	if err != nil {
		return sso.Assertion{}, err
	}
	if err := a.checkIssuer(m); err != nil {
		return sso.Assertion{}, err
	}
	if a.errors.code != "" {
		return sso.Assertion{}, a.errors.asError()
	}
	t, err := a.p.exchange(ctx, m, a.code, l.Start.Verifier)
	if err != nil {
		return sso.Assertion{}, err
	}
	seen(m, t)
	signed, err := a.p.checkIDToken(ctx, m, t, l)
	if err != nil {
		return sso.Assertion{}, err
	}
	c, err := a.p.complete(ctx, m, t, signed)
	if err != nil {
		return sso.Assertion{}, err
	}
	out, err := a.p.assertion(signed, c, l)
	if err == nil && a.p.groups != nil {
		sub, _ := c.text("sub") // checked above
		out.Groups, err = a.p.groups.groups(ctx, sub)
	}
	if err == nil && a.p.cfg.OIDC.Recheck > 0 {
		out.RefreshToken = t.refresh // otherwise nobody needs it: what is not kept cannot leak
	}
	if err != nil {
		return sso.Assertion{}, err
	}
	out.SignOut.Hint = []byte(t.id) // id_token_hint at the end of the session
	return out, nil
}

// parties are between whom a sign-in is.
type parties struct{ provider, issuer, redirect string }

// matches binds what a browser brought to exactly this Login (rows O01, O08).
func (b brought) matches(l sso.Login, us parties, now time.Time) error {
	switch {
	case l.ID == "" || subtle.ConstantTimeCompare([]byte(l.ID), []byte(b.state)) != 1:
		return refuse("state", errors.New("another login"))
	case l.Provider != us.provider:
		return refuse("provider", errors.New("the login was sent to another provider"))
	case l.Start.Verifier == "":
		return refuse("state", errors.New("the login was never sent to a provider"))
	case l.Start.Issuer != us.issuer || l.Start.Redirect != us.redirect:
		return refuse("provider", errors.New("the provider was replaced since the login was sent to it"))
	case !now.Before(l.Expires):
		return refuse("expired", errors.New("the login has expired"))
	}
	return nil
}

// checkIssuer is RFC 9207 section 2.4: with several providers, the answer of an
// honest one must not be taken for the answer of an attacker's, or the code
// would be sent to the attacker's token endpoint (mix-up).
func (a *answer) checkIssuer(m *metadata) error {
	if a.hasIss && a.issuer != m.Issuer {
		return refuse("issuer", fmt.Errorf("iss parameter is %q", printable(a.issuer, 200)))
	}
	if !a.hasIss && m.SendsIssuer {
		return refuse("issuer", errors.New("iss parameter is missing although the provider always sends it"))
	}
	return nil
}

// asError sorts the provider's refusals (RFC 6749 section 4.1.2.1, Core section
// 3.1.2.6). The text is the provider's or, as likely, an attacker's: it goes to
// the log made harmless, and to no page (row O09).
func (e idpError) asError() error {
	known := []string{
		"access_denied", "invalid_request", "unauthorized_client", "unsupported_response_type", "invalid_scope", "interaction_required",
		"login_required", "account_selection_required", "consent_required", "request_not_supported", "registration_not_supported",
	}
	reason := "idp_error"
	switch {
	case e.code == "server_error", e.code == "temporarily_unavailable":
		return &UnavailableError{Step: "authorization", Code: e.code, Err: errors.New(printable(e.description, 200))}
	case slices.Contains(known, e.code):
		reason = e.code
	}
	return refuse(reason, fmt.Errorf("%s: %s", printable(e.code, 60), printable(e.description, 200)))
}

// started is when the Login was made.
func started(l sso.Login) time.Time { return l.Expires.Add(-sso.LoginLifetime) }

var _ sso.Response = (*answer)(nil)
