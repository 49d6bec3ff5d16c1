package oauth

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/ssogate/ssogate/sso"
)

// checkIDToken is Core section 3.1.3.7. Our own checks come first because each
// refusal needs its reason; go-oidc's verifier then reads the same token once
// more, so that a slip in either is caught by the other.
func (p *Provider) checkIDToken(ctx context.Context, m *metadata, t tokens, l sso.Login) (claims, error) {
	return p.checkToken(ctx, m, t, []func(claims) error{
		func(c claims) error { return p.checkParties(c, m) },
		p.checkTimes,
		func(c claims) error { return checkNonce(c, l.Start.Nonce) },
		func(c claims) error { return p.checkFreshness(c, l) },
		checkSubject,
		p.checkHostedDomain,
	})
}

// checkToken verifies an ID token's signature, then its claims by checks, then
// all of it again by go-oidc.
func (p *Provider) checkToken(ctx context.Context, m *metadata, t tokens, checks []func(claims) error) (claims, error) {
	keys, payload, err := checkSignature(ctx, m.keys, t.id, "")
	if err != nil {
		return nil, err
	}
	c, err := parseClaims(payload)
	if err != nil {
		return nil, refuse("malformed", bounded(err))
	}
	for _, check := range checks {
		if err := check(c); err != nil {
			return nil, err
		}
	}
	v := oidc.NewVerifier(m.Issuer, keys, &oidc.Config{
		ClientID: p.cfg.OIDC.ClientID, SupportedSigningAlgs: algorithms(),
		Now: func() time.Time { return p.now().Add(-Skew) }, // it allows no skew of its own for exp
	})
	tok, err := v.Verify(ctx, t.id)
	if err != nil {
		return nil, refuse("id_token", bounded(err))
	}
	// Optional in the code flow (Core section 3.1.3.6), binding when present.
	if c.has("at_hash") {
		if err := tok.VerifyAccessToken(t.access); err != nil {
			return nil, refuse("at_hash", bounded(err))
		}
	}
	return c, nil
}

// checkSignature verifies the token against the provider's published keys and
// nothing else: jwk, jku, x5c and x5u in the header are not looked at (row O04).
func checkSignature(ctx context.Context, ks *keySet, raw, typ string) (*oidc.StaticKeySet, []byte, error) {
	jws, err := jose.ParseSignedCompact(raw, joseAlgorithms())
	if err != nil {
		if _, ok := errors.AsType[*jose.ErrUnexpectedSignatureAlgorithm](err); ok {
			return nil, nil, refuse("alg", bounded(err))
		}
		return nil, nil, refuse("malformed", errors.New("not a signed JWT"))
	}
	if len(jws.Signatures) != 1 {
		return nil, nil, refuse("malformed", errors.New("want one signature"))
	}
	h := jws.Signatures[0].Protected
	// RFC 8725 section 3.11: an access token (at+jwt) or logout token of the same
	// provider and key is not an ID token. Those have no type of their own.
	if is, _ := h.ExtraHeaders[jose.HeaderType].(string); strings.HasSuffix(strings.ToLower(is), "+jwt") && !strings.EqualFold(is, typ) {
		return nil, nil, refuse("token_type", errors.New(printable(is, 40)))
	}
	found, err := ks.find(ctx, h.KeyID, h.Algorithm)
	if err != nil {
		return nil, nil, err
	}
	keys := &oidc.StaticKeySet{PublicKeys: found}
	payload, err := keys.VerifySignature(ctx, raw)
	if err != nil {
		return nil, nil, refuse("signature", bounded(err))
	}
	return keys, payload, nil
}

// checkParties: made by the configured issuer, for us, at our request (rows O02, O05).
func (p *Provider) checkParties(c claims, m *metadata) error {
	iss, err := c.text("iss")
	if err != nil || iss != m.Issuer {
		return refuse("issuer", fmt.Errorf("iss claim is %q", printable(iss, 200)))
	}
	id := p.cfg.OIDC.ClientID
	aud, err := c.list("aud")
	if err != nil {
		return refuse("audience", err)
	}
	if !slices.Contains(aud, id) {
		return refuse("audience", errors.New("the token is for another client"))
	}
	// Several audiences: only azp tells for whom it was made. The specification
	// says SHOULD; without it, a token that another client obtained would do.
	azp, err := c.text("azp")
	if err != nil || (azp == "" && (len(aud) > 1 || c.has("azp"))) || (azp != "" && azp != id) {
		return refuse("azp", fmt.Errorf("azp claim is %q among %d audiences", printable(azp, 100), len(aud)))
	}
	return nil
}

// checkTimes allows the two clocks to differ by Skew, and exp and iat to be
// missing never (row O06).
func (p *Provider) checkTimes(c claims) error {
	now := p.now()
	exp, err1 := c.when("exp")
	iat, err2 := c.when("iat")
	nbf, err3 := c.when("nbf")
	if err := errors.Join(err1, err2, err3); err != nil {
		return refuse("time", err)
	}
	switch {
	case exp.IsZero() || iat.IsZero():
		return refuse("time", errors.New("exp or iat is missing"))
	case !now.Before(exp.Add(Skew)):
		return refuse("time", fmt.Errorf("expired %s ago", now.Sub(exp).Round(time.Second)))
	case iat.After(now.Add(Skew)):
		return refuse("time", fmt.Errorf("issued %s in the future", iat.Sub(now).Round(time.Second)))
	case nbf.After(now.Add(Skew)):
		return refuse("time", fmt.Errorf("not valid for another %s", nbf.Sub(now).Round(time.Second)))
	}
	return nil
}

// checkNonce: the token answers this very request (row O03). go-oidc leaves the
// nonce to its caller.
func checkNonce(c claims, want string) error {
	nonce, err := c.text("nonce")
	if err != nil || want == "" || subtle.ConstantTimeCompare([]byte(nonce), []byte(want)) != 1 {
		return refuse("nonce", errors.New("missing or of another login"))
	}
	return nil
}

// checkFreshness: where the person had to sign in anew ("use another account"),
// auth_time must say that it happened since the Login was made. A provider that
// ignored prompt=login would otherwise hand the old account back in silence.
func (p *Provider) checkFreshness(c claims, l sso.Login) error {
	// Google states no auth_time (see googleParams): there another account is a wish, but
	// fresh credentials cannot be had.
	if !l.Fresh && (!l.ForceAuthn || p.google()) {
		return nil
	}
	at, err := c.when("auth_time")
	if err != nil || at.IsZero() || at.Before(started(l).Add(-Skew)) || at.After(p.now().Add(Skew)) {
		return refuse("auth_time", errors.New("the provider did not ask the person to sign in again"))
	}
	return nil
}

// authTime is when credentials were last given, or zero where the provider does not
// say so in the ID token, or says something that cannot be.
func (p *Provider) authTime(c claims) time.Time {
	at, err := c.when("auth_time")
	if err != nil || at.After(p.now().Add(Skew)) {
		return time.Time{}
	}
	return at
}

// checkSubject is Core section 2: at most 255 characters, locally unique and
// never reassigned. It becomes the account's key (G6).
func checkSubject(c claims) error {
	sub, err := c.text("sub")
	if err != nil || sub == "" || len(sub) > 255 {
		return refuse("subject", errors.New("missing, too long or malformed"))
	}
	return nil
}
