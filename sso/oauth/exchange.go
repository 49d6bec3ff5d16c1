package oauth

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// tokens are what the code was exchanged for.
type tokens struct {
	access string
	typ    string
	id     string // the ID token, unverified
	// refresh is the refresh token, "" = none, or none that could be kept.
	refresh string
}

// exchange redeems the code with the code verifier (RFC 7636). The error is an
// *sso.VerifyError when the provider does not accept the code, else an
// *UnavailableError.
func (p *Provider) exchange(ctx context.Context, m *metadata, code, verifier string) (tokens, error) {
	t, err := p.oauth2(m).Exchange(oidc.ClientContext(ctx, p.direct), code, oauth2.VerifierOption(verifier))
	if err != nil {
		return tokens{}, tokenError(err)
	}
	id, ok := t.Extra("id_token").(string)
	switch {
	case !ok || id == "":
		return tokens{}, refuse("id_token_missing", nil)
	case len(id) > maxToken || len(t.AccessToken) > maxToken:
		return tokens{}, refuse("token_too_large", nil)
	}
	return tokens{access: t.AccessToken, typ: t.TokenType, id: id, refresh: keepable(t.RefreshToken)}, nil
}

// tokenError types the errors of the token endpoint. *oauth2.RetrieveError is
// never wrapped: it carries the response body.
func tokenError(err error) error {
	re, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		return &UnavailableError{Step: "token", Err: err}
	}
	status := re.Response.StatusCode
	if status >= 300 && status < 400 {
		return &UnavailableError{Step: "token", Status: status, Err: errors.New("the token endpoint redirects")}
	}
	// Used, expired, or not issued to us with this verifier: the code is bad, not
	// the provider (row O08). Everything else concerns our registration there.
	if re.ErrorCode == "invalid_grant" {
		return refuse("code", errors.New("the provider does not accept the code"))
	}
	code := re.ErrorCode
	known := []string{"invalid_request", "invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope", "server_error", "temporarily_unavailable"}
	if !slices.Contains(known, code) {
		code = printable(code, 40)
	}
	return &UnavailableError{Step: "token", Status: status, Code: code}
}

// complete asks the userinfo endpoint for claims that the ID token lacks, and
// only then: the ID token is signed and bound to this sign-in, the endpoint's
// answer is not. Its subject must be the same (Core section 5.3.2), and it may
// add but never change (row O10).
func (p *Provider) complete(ctx context.Context, m *metadata, t tokens, c claims) (claims, error) {
	if m.UserInfo == "" || !strings.EqualFold(t.typ, "Bearer") || !p.lacking(c) {
		return c, nil
	}
	body, err := fetch(ctx, p.direct, "userinfo", m.UserInfo, t.access)
	if err != nil {
		// A refusal of the access token just issued is the provider's fault too.
		return nil, err
	}
	info, err := parseClaims(body)
	if err != nil {
		return nil, &UnavailableError{Step: "userinfo", Err: err}
	}
	sub, err := c.text("sub")
	if err != nil {
		return nil, refuse("subject", err)
	}
	if other, err := info.text("sub"); err != nil || other != sub {
		return nil, refuse("userinfo_subject", errors.New("userinfo is about another subject"))
	}
	return merge(c, info)
}

// merge adds userinfo's claims to those of the ID token. The e-mail address and
// its verification are one statement and are never mixed from two sources.
func merge(c, info claims) (claims, error) {
	mine, _ := c.text("email")
	theirs, _ := info.text("email")
	if mine != "" && theirs != "" && !strings.EqualFold(mine, theirs) {
		return nil, refuse("userinfo_email", errors.New("userinfo has another e-mail address than the ID token"))
	}
	out := make(claims, len(c)+len(info))
	for name, v := range info {
		if !protocolClaim(name) {
			out[name] = v
		}
	}
	if mine == "" && theirs != "" {
		c = c.without("email", "email_verified")
	}
	if mine != "" && theirs == "" {
		delete(out, "email_verified") // of which address?
	}
	for name, v := range c {
		out[name] = v
	}
	return out, nil
}

// protocolClaim names the claims that only a signed token may state.
func protocolClaim(name string) bool {
	return slices.Contains([]string{"iss", "sub", "aud", "azp", "exp", "iat", "nbf", "jti", "nonce", "at_hash", "c_hash", "auth_time", "sid", "acr", "amr"}, name)
}
