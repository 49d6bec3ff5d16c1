package assertion

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/ssogate/ssogate/identity"
)

// Algorithm is how a token is signed (RFC 7518 section 3.1). The zero value is none.
type Algorithm string

// Algorithms.
const (
	ES256 Algorithm = "ES256"
	RS256 Algorithm = "RS256" // for applications that know nothing else: some 30 times the work of signing
)

// Algorithms are all there are.
func Algorithms() []Algorithm { return []Algorithm{ES256, RS256} }

// Valid reports whether a is one of them.
func (a Algorithm) Valid() bool { return a == ES256 || a == RS256 }

const rsaBits = 2048

// Key signs tokens. Immutable.
type Key struct {
	ID        string // kid: the thumbprint of the public key (RFC 7638)
	Algorithm Algorithm
	Signs     time.Time // from when; published before
	Gone      time.Time // from when it is not published; zero = not decided

	ec   *ecdsa.PrivateKey
	rsa  *rsa.PrivateKey
	head string // of every token, encoded
	jwk  jwk
}

// jwk is a public key (RFC 7517). The members that a thumbprint is made of are in
// alphabetical order in each kind, as RFC 7638 section 3 wants them.
type jwk struct {
	Crv string `json:"crv,omitempty"`
	E   string `json:"e,omitempty"`
	Kty string `json:"kty"`
	N   string `json:"n,omitempty"`
	X   string `json:"x,omitempty"`
	Y   string `json:"y,omitempty"`

	Use string    `json:"use,omitempty"`
	Alg Algorithm `json:"alg,omitempty"`
	Kid string    `json:"kid,omitempty"`
}

// make is a new private key in the form that is stored.
func (a Algorithm) make() (der []byte, err error) {
	var k any
	switch a {
	case ES256:
		k, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case RS256:
		k, err = rsa.GenerateKey(rand.Reader, rsaBits)
	default:
		err = fmt.Errorf("assertion: no algorithm %q", a)
	}
	if err != nil {
		return nil, err
	}
	return x509.MarshalPKCS8PrivateKey(k)
}

// parseKey reads a stored private key, which must be of the algorithm's kind.
func parseKey(a Algorithm, der []byte, signs, gone time.Time) (*Key, error) {
	private, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("assertion: stored key: %w", err)
	}
	k := &Key{Algorithm: a, Signs: signs, Gone: gone}
	switch p := private.(type) {
	case *ecdsa.PrivateKey:
		raw, err := p.PublicKey.Bytes()
		if err != nil || a != ES256 || p.Curve != elliptic.P256() {
			return nil, errors.New("assertion: stored key is of another kind")
		}
		k.ec, k.jwk = p, jwk{Kty: "EC", Crv: "P-256", X: encode(raw[1:33]), Y: encode(raw[33:])}
	case *rsa.PrivateKey:
		if a != RS256 || p.N.BitLen() < rsaBits {
			return nil, errors.New("assertion: stored key is of another kind")
		}
		k.rsa, k.jwk = p, jwk{Kty: "RSA", N: encode(p.N.Bytes()), E: encode(big.NewInt(int64(p.E)).Bytes())}
	default:
		return nil, errors.New("assertion: stored key is of another kind")
	}
	canonical, err := json.Marshal(k.jwk)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(canonical)
	k.ID = encode(sum[:])
	k.jwk.Use, k.jwk.Alg, k.jwk.Kid = "sig", a, k.ID
	head, err := json.Marshal(map[string]string{"alg": string(a), "kid": k.ID, "typ": identity.AssertionType})
	if err != nil {
		return nil, err
	}
	k.head = encode(head) + "."
	return k, nil
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// Lifetime of a token, from when it was signed.
const Lifetime = time.Minute

// Claims are what a token says (RFC 7519 section 4.1, OpenID Connect Core section
// 5.1). Times are set by [Key.Sign]. Nothing names the session: who can read a token
// shall not learn anything that opens more than it says. There is no jti either: one
// token serves many requests.
type Claims struct {
	Issuer            string   `json:"iss"`
	Audience          string   `json:"aud"`
	Subject           string   `json:"sub"`
	IssuedAt          int64    `json:"iat"`
	NotBefore         int64    `json:"nbf"`
	Expires           int64    `json:"exp"`
	PreferredUsername string   `json:"preferred_username,omitempty"`
	Email             string   `json:"email,omitempty"`
	Name              string   `json:"name,omitempty"`
	Groups            []string `json:"groups,omitempty"`
}

// Sign makes a token that is good from now on for [Lifetime] (RFC 7515 section 3.1).
func (k *Key) Sign(c Claims, now time.Time) (string, error) {
	c.IssuedAt = now.Unix()
	c.NotBefore, c.Expires = c.IssuedAt, c.IssuedAt+int64(Lifetime/time.Second)
	body, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("assertion: claims: %w", err)
	}
	signed := k.head + encode(body)
	digest := sha256.Sum256([]byte(signed))
	var sig []byte
	switch {
	case k.ec != nil:
		r, s, err := ecdsa.Sign(rand.Reader, k.ec, digest[:])
		if err != nil {
			return "", fmt.Errorf("assertion: sign: %w", err)
		}
		sig = make([]byte, 64) // RFC 7518 section 3.4
		r.FillBytes(sig[:32])
		s.FillBytes(sig[32:])
	case k.rsa != nil:
		if sig, err = rsa.SignPKCS1v15(rand.Reader, k.rsa, crypto.SHA256, digest[:]); err != nil {
			return "", fmt.Errorf("assertion: sign: %w", err)
		}
	default:
		return "", errors.New("assertion: no key")
	}
	return signed + "." + encode(sig), nil
}
