package oauth

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/sso"
)

// offline is the scope that asks for a refresh token (Core section 11). Its rule
// that prompt=consent goes with it is left to the provider's registration of this
// client: a consent page at every sign-in would be the price of following it.
const offline = "offline_access"

// maxRefreshToken bounds what is kept. Entra's have about 2 KB; a pending sign-in
// has 16 KiB for everything.
const maxRefreshToken = 4 << 10

// scopesAt adds offline_access where a refresh token is wanted and the provider
// knows the scope: others refuse the whole request for an unknown one. A provider
// that lists no scopes may know it all the same; the operator writes it then.
func (p *Provider) scopesAt(m *metadata) []string {
	if p.cfg.OIDC.Recheck <= 0 || slices.Contains(p.scopes, offline) || !slices.Contains(m.Scopes, offline) {
		return p.scopes
	}
	return append(slices.Clone(p.scopes), offline)
}

// keepable is the refresh token, or "" when it is not one that can be kept.
func keepable(token string) string {
	if len(token) > maxRefreshToken {
		return ""
	}
	return token
}

// Refresh implements sso.Refresher. The client authenticates as it does for a code.
func (p *Provider) Refresh(ctx context.Context, who member.Identity, token string) (sso.Refreshed, error) {
	if who.Provider != p.cfg.ID || who.Issuer != p.cfg.OIDC.Issuer {
		// The token belongs to the issuer that gave it and is shown to no other. The
		// operator has replaced it, so nobody vouches for this person any more.
		return nil, &sso.RefreshError{Outcome: "issuer_changed", Refused: true}
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	m, err := p.disc.get(ctx)
	if err != nil {
		return nil, &sso.RefreshError{Outcome: "discovery", Err: err}
	}
	t, err := p.oauth2(m).TokenSource(oidc.ClientContext(ctx, p.direct), &oauth2.Token{RefreshToken: token}).Token()
	if err != nil {
		return nil, refreshError(ctx, err, p.now())
	}
	r := &refreshed{p: p, m: m, who: who}
	if t.RefreshToken != token { // x/oauth2 repeats the old one where the provider sent none
		if r.next = keepable(t.RefreshToken); r.next == "" {
			return nil, &sso.RefreshError{Outcome: "malformed", Err: errors.New("the new refresh token is too long to keep")}
		}
	}
	if id, ok := t.Extra("id_token").(string); ok && id != "" {
		r.tokens = tokens{access: t.AccessToken, typ: t.TokenType, id: id}
	}
	return r, nil
}

// refreshed is the token endpoint's answer as read. It implements [sso.Refreshed].
type refreshed struct {
	p      *Provider
	m      *metadata
	who    member.Identity
	next   string
	tokens tokens // without an ID token where the answer has none
}

// Token implements sso.Refreshed.
func (r *refreshed) Token() string { return r.next }

// Verify implements sso.Refreshed: Core section 12.2. An answer without an ID
// token is allowed there, and says that the grant still stands; a grant is bound
// to its person. One about somebody else, or for another client, ends what was
// built on it. nonce and auth_time are not compared: they tie a token to a
// browser's request, and this one came straight from the token endpoint.
func (r *refreshed) Verify(ctx context.Context) error {
	if r.tokens.id == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.p.timeout)
	defer cancel()
	_, err := r.p.checkToken(ctx, r.m, r.tokens, []func(claims) error{
		func(c claims) error { return r.p.checkParties(c, r.m) },
		r.sameSubject,
		r.p.checkTimes,
		r.sameDomain,
	})
	if err == nil {
		return nil
	}
	v, ok := errors.AsType[*sso.VerifyError](err)
	switch {
	case !ok:
		return &sso.RefreshError{Outcome: "keys", Err: err}
	// Read from a token whose signature was good.
	case slices.Contains([]string{"issuer", "audience", "azp", "subject", "hosted_domain"}, v.Reason):
		return &sso.RefreshError{Outcome: "mismatch", Refused: true, Err: err}
	default: // unreadable, unsigned, out of date: nothing is known of the person
		return &sso.RefreshError{Outcome: "id_token", Err: err}
	}
}

func (r *refreshed) sameSubject(c claims) error {
	if err := checkSubject(c); err != nil {
		return err
	}
	sub, err := c.text("sub")
	if err != nil {
		return refuse("subject", err)
	}
	subject, err := r.p.subject(c, sub)
	if err != nil {
		return err
	}
	if subject != r.who.Subject {
		return refuse("subject", errors.New("the token is about somebody else"))
	}
	return nil
}

// sameDomain: an account that was moved to another organisation is out. A token
// given for a refresh token may lack the claim (Core section 12.2 asks for few).
func (r *refreshed) sameDomain(c claims) error {
	if !c.has("hd") {
		return nil
	}
	return r.p.checkHostedDomain(c.without("email"))
}

// refreshError sorts what the token endpoint said. Only invalid_grant (RFC 6749
// section 5.2) is the provider's word about this grant, and only with a status
// that means it: everything else is about the registration, the network or the
// moment. *oauth2.RetrieveError is never wrapped: it carries the response body.
func refreshError(ctx context.Context, err error, now time.Time) *sso.RefreshError {
	re, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		return &sso.RefreshError{Outcome: connection(ctx, err), Err: bounded(err)}
	}
	status := re.Response.StatusCode
	e := &sso.RefreshError{
		RetryAfter: retryAfter(re.Response.Header.Get("Retry-After"), now),
		Err:        fmt.Errorf("oauth: token: status %d: %s", status, printable(re.ErrorCode, 40)),
	}
	switch {
	case status == http.StatusTooManyRequests || re.ErrorCode == "slow_down":
		e.Outcome = "rate_limited"
	case status >= http.StatusInternalServerError, re.ErrorCode == "server_error", re.ErrorCode == "temporarily_unavailable":
		e.Outcome = "unavailable"
	case re.ErrorCode == "invalid_grant":
		e.Outcome, e.Refused = "refused", true
	case re.ErrorCode == "invalid_client", re.ErrorCode == "unauthorized_client":
		e.Outcome = "client"
	default: // a redirect, a page, a code of its own
		e.Outcome = "malformed"
	}
	return e
}

// connection names a failure that left no answer to read.
func connection(ctx context.Context, err error) string {
	var timeout net.Error
	var call *url.Error
	switch {
	// x/oauth2 does not wrap an error of reading the body.
	case ctx.Err() != nil, errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.As(err, &call):
		return "network"
	}
	return "malformed"
}

// retryAfter reads RFC 9110 section 10.2.3: seconds or a date. 0 when it is neither.
func retryAfter(s string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(s); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}

// Interface guards.
var (
	_ sso.Refresher = (*Provider)(nil)
	_ sso.Refreshed = (*refreshed)(nil)
)
