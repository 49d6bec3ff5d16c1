package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// AssertionType is the typ of the token (RFC 8725 section 3.11): no other token,
// whoever made it, can pass for it.
const AssertionType = "ssogate+jwt"

const (
	maxToken    = 16 << 10
	maxLifetime = time.Minute // ssogate makes none that lives longer
	es256       = "ES256"
	rs256       = "RS256"
)

// errForm means that a token is not one that ssogate makes. The text says nothing of
// the token: errors are logged, and it opens the application.
var errForm = errors.New("identity: not a token of ssogate")

// publicKey is a key of the gateway with the one algorithm that it is for: a token
// does not choose how it is checked (RFC 8725 section 3.1).
type publicKey struct {
	alg string
	ec  *ecdsa.PublicKey
	rsa *rsa.PublicKey
}

// token is a JWS in compact form (RFC 7515 section 7.1), taken apart and not verified.
type token struct {
	kid, alg  string
	signed    string
	payload   []byte
	signature []byte
}

// strict refuses bits that no encoder writes: one token has one spelling.
var base64url = base64.RawURLEncoding.Strict()

func parseToken(s string) (token, error) {
	if len(s) > maxToken {
		return token{}, errForm
	}
	signed, sig, ok := cutLast(s)
	head, body, two := strings.Cut(signed, ".")
	if !ok || !two || strings.Contains(body, ".") || strings.ContainsAny(s, "\r\n") { // which the decoder would pass over
		return token{}, errForm
	}
	t := token{signed: signed}
	raw, err := base64url.DecodeString(head)
	if err != nil {
		return token{}, errForm
	}
	var h struct {
		Alg  string          `json:"alg"`
		Kid  string          `json:"kid"`
		Typ  string          `json:"typ"`
		Crit json.RawMessage `json:"crit"`
	}
	if err := json.Unmarshal(raw, &h); err != nil {
		return token{}, errForm
	}
	// crit asks for an extension, and we have none (RFC 7515 section 4.1.11).
	if h.Typ != AssertionType || h.Crit != nil || h.Kid == "" || h.Alg != es256 && h.Alg != rs256 {
		return token{}, errForm
	}
	t.kid, t.alg = h.Kid, h.Alg
	if t.payload, err = base64url.DecodeString(body); err != nil {
		return token{}, errForm
	}
	if t.signature, err = base64url.DecodeString(sig); err != nil {
		return token{}, errForm
	}
	return t, nil
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '.')
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}

// verifies reports whether k made the signature.
func (k publicKey) verifies(t token) bool {
	if k.alg != t.alg {
		return false
	}
	digest := sha256.Sum256([]byte(t.signed))
	switch {
	case k.alg == es256 && k.ec != nil: // RFC 7518 section 3.4: R and S, 32 bytes each
		return len(t.signature) == 64 &&
			ecdsa.Verify(k.ec, digest[:], new(big.Int).SetBytes(t.signature[:32]), new(big.Int).SetBytes(t.signature[32:]))
	case k.alg == rs256 && k.rsa != nil:
		return rsa.VerifyPKCS1v15(k.rsa, crypto.SHA256, digest[:], t.signature) == nil
	}
	return false
}

// claims are what ssogate writes. Other claims are passed over.
type claims struct {
	Issuer            string   `json:"iss"`
	Audience          string   `json:"aud"` // ssogate names one; a list is refused
	Subject           string   `json:"sub"`
	IssuedAt          int64    `json:"iat"`
	NotBefore         int64    `json:"nbf"`
	Expires           int64    `json:"exp"`
	PreferredUsername string   `json:"preferred_username"`
	Email             string   `json:"email"`
	Name              string   `json:"name"`
	Groups            []string `json:"groups"`
}

// check holds verified claims to what they must say.
func (c claims) check(issuer, audience string, now time.Time, skew time.Duration) error {
	iat, nbf, exp := time.Unix(c.IssuedAt, 0), time.Unix(c.NotBefore, 0), time.Unix(c.Expires, 0)
	switch {
	case c.Issuer != issuer:
		return errors.New("identity: token of another issuer")
	case c.Audience != audience:
		// What one application was sent opens no other one (row H09).
		return errors.New("identity: token for another application")
	case c.Subject == "":
		return fmt.Errorf("%w: no subject", errForm)
	case c.IssuedAt <= 0 || c.Expires <= c.IssuedAt || exp.Sub(iat) > maxLifetime:
		return fmt.Errorf("%w: its times", errForm)
	case now.After(exp.Add(skew)):
		return errors.New("identity: token has expired")
	case nbf.After(now.Add(skew)), iat.After(now.Add(skew)):
		return errors.New("identity: token is not valid yet: the clocks differ")
	}
	return nil
}
