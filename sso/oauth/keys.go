package oauth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
	"golang.org/x/sync/singleflight"

	"github.com/ssogate/ssogate/internal/clock"
)

const (
	maxKeys          = 64
	minRSABits       = 2048
	fetchesPerMinute = 3 // row O16: a thousand unknown key ids cost this many fetches
)

// algorithms that an ID token may be signed with: asymmetric ones only. With
// HS256 the "key" would be the client secret, or, to a careless verifier, the
// provider's public key (row O04).
func algorithms() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

func joseAlgorithms() []jose.SignatureAlgorithm {
	var out []jose.SignatureAlgorithm
	for _, a := range algorithms() {
		out = append(out, jose.SignatureAlgorithm(a))
	}
	return out
}

// keySet keeps the provider's signing keys. go-oidc's own set asks again for
// every unknown key id, without bound; this one counts. Safe for concurrent use.
type keySet struct {
	url     string
	client  *http.Client
	now     clock.Func
	timeout time.Duration
	flight  singleflight.Group

	mu      sync.Mutex
	keys    []jose.JSONWebKey
	fetched time.Time
	asked   []time.Time // fetches of the last minute
}

func newKeySet(url string, c *http.Client, now clock.Func, timeout time.Duration) *keySet {
	return &keySet{url: url, client: c, now: now, timeout: timeout}
}

// find answers the public keys that may have made a signature with this key id
// and algorithm. An unknown id is fetched for, within the budget; the error is
// an *sso.VerifyError when the provider's keys are known and none fits.
func (s *keySet) find(ctx context.Context, kid, alg string) ([]crypto.PublicKey, error) {
	found, known, fresh := s.cached(kid, alg)
	if len(found) > 0 && fresh {
		return found, nil
	}
	err := s.refresh(ctx)
	found, known2, _ := s.cached(kid, alg)
	switch {
	case len(found) > 0: // also the last good ones, when the fetch failed
		return found, nil
	case err == nil || errors.Is(err, errBudget) && (known || known2):
		return nil, refuse("key_unknown", fmt.Errorf("no %s key of this provider has the id %q", alg, printable(kid, 100)))
	}
	return nil, err
}

// cached looks in what is held. known: keys are held that are not too old.
func (s *keySet) cached(kid, alg string) (found []crypto.PublicKey, known, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	age := s.now().Sub(s.fetched)
	if s.fetched.IsZero() || age < 0 || age >= usableFor {
		return nil, false, false
	}
	for _, k := range s.keys {
		// Without a key id every key of the right kind is a candidate (Core 10.1).
		if (kid == "" || k.KeyID == kid) && (k.Algorithm == "" || k.Algorithm == alg) && fits(k.Key, alg) {
			found = append(found, k.Key)
		}
	}
	return found, true, age < freshFor
}

var errBudget = errors.New("keys were fetched too often in the last minute")

// refresh fetches the keys, one fetch at a time and a few per minute.
func (s *keySet) refresh(ctx context.Context) error {
	ch := s.flight.DoChan("", func() (any, error) {
		if !s.spend() {
			return nil, &UnavailableError{Step: "keys", Err: errBudget}
		}
		fctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
		defer cancel()
		body, err := fetch(fctx, s.client, "keys", s.url, "")
		if err != nil {
			return nil, err
		}
		keys, err := parseKeys(body)
		if err != nil {
			return nil, &UnavailableError{Step: "keys", Err: err}
		}
		s.mu.Lock()
		s.keys, s.fetched = keys, s.now()
		s.mu.Unlock()
		return struct{}{}, nil
	})
	select {
	case <-ctx.Done():
		return &UnavailableError{Step: "keys", Err: ctx.Err()}
	case r := <-ch:
		return r.Err
	}
}

// spend takes one fetch from the budget of the last minute.
func (s *keySet) spend() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	recent := s.asked[:0]
	for _, t := range s.asked {
		if age := now.Sub(t); age >= 0 && age < time.Minute {
			recent = append(recent, t)
		}
	}
	s.asked = recent
	if len(recent) >= fetchesPerMinute {
		return false
	}
	s.asked = append(s.asked, now)
	return true
}

// parseKeys reads a JWK Set. Keys that cannot verify an ID token are left out
// rather than refused (RFC 7517 section 5): providers publish encryption keys
// and curves that we do not know beside the ones that matter. Left out for our
// own safety: symmetric keys, private keys, short RSA keys.
func parseKeys(body []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, fmt.Errorf("not a JWK Set: %w", bounded(err))
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("%d keys, at most %d are read", len(set.Keys), maxKeys)
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if json.Unmarshal(raw, &k) != nil || !k.Valid() || !k.IsPublic() || (k.Use != "" && k.Use != "sig") {
			continue
		}
		if pub, ok := k.Key.(*rsa.PublicKey); ok && pub.N.BitLen() < minRSABits {
			continue
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, errors.New("no usable signing key in the JWK Set")
	}
	return keys, nil
}

// fits ties an algorithm to its key type and curve (RFC 7518 section 3.1), so
// that a key is never used with an algorithm of the token's choosing.
func fits(key any, alg string) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(alg, "RS") || strings.HasPrefix(alg, "PS")
	case *ecdsa.PublicKey:
		return map[string]int{"ES256": 256, "ES384": 384, "ES512": 521}[alg] == k.Curve.Params().BitSize
	case ed25519.PublicKey:
		return alg == "EdDSA"
	}
	return false
}
