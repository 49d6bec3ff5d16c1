package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// ErrKeys means that the gateway's keys could not be had, so nothing can be said
// about a token: answer 503, not 401.
var ErrKeys = errors.New("identity: the keys of the gateway cannot be read")

var errUnknownKey = errors.New("identity: token signed with a key that the gateway does not publish")

const (
	fetchTime   = 5 * time.Second
	maxKeySet   = 64 << 10
	maxKeys     = 16
	fetchEvery  = 30 * time.Second // however many unknown kids come
	firstEvery  = time.Second      // while there are none at all
	minFresh    = time.Minute
	maxFresh    = time.Hour
	usualFresh  = 5 * time.Minute
	keepUnfresh = time.Hour // what was fetched last, while the gateway's keys cannot be had
)

// keySet is the gateway's keys as they were fetched last.
type keySet struct {
	url    string
	client *http.Client
	now    func() time.Time

	held atomic.Pointer[heldKeys]
	mu   sync.Mutex // one fetch at a time
	last time.Time  // when it began
	some bool       // there was one
	busy atomic.Bool
}

type heldKeys struct {
	by    map[string]publicKey
	at    time.Time
	fresh time.Duration
}

// find answers the key of a kid. A key that is known is answered at once, and the set
// is renewed beside it; for one that is not, the set is fetched, at most every 30 s.
func (s *keySet) find(ctx context.Context, kid string) (publicKey, error) {
	h, now := s.held.Load(), s.now()
	if h != nil && now.Sub(h.at) <= h.fresh+keepUnfresh {
		if k, ok := h.by[kid]; ok {
			if now.Sub(h.at) > h.fresh && s.busy.CompareAndSwap(false, true) {
				go func() {
					defer s.busy.Store(false)
					_ = s.refresh(context.WithoutCancel(ctx), h) // the next one tries again
				}()
			}
			return k, nil
		}
	}
	err := s.refresh(ctx, h)
	now = s.now()
	switch h = s.held.Load(); {
	case h == nil || now.Sub(h.at) > h.fresh+keepUnfresh:
		if err == nil {
			err = errors.New("asked a moment ago")
		}
		return publicKey{}, fmt.Errorf("%w: %w", ErrKeys, err)
	default:
		if k, ok := h.by[kid]; ok {
			return k, nil
		}
		if err != nil {
			return publicKey{}, fmt.Errorf("%w: %w", ErrKeys, err) // it may be new, and that could not be told
		}
		return publicKey{}, errUnknownKey
	}
}

// refresh fetches the set unless somebody has done so since had was read, or a moment
// ago. Those who come while one fetches wait for it.
func (s *keySet) refresh(ctx context.Context, had *heldKeys) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.held.Load()
	if h != had {
		return nil
	}
	pause := fetchEvery
	if h == nil {
		pause = firstEvery
	}
	now := s.now()
	if gone := now.Sub(s.last); s.some && gone >= 0 && gone < pause {
		return nil
	}
	s.last, s.some = now, true
	// On its own: whoever began it may hang up while others wait.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTime)
	defer cancel()
	next, err := s.fetch(ctx)
	if err != nil {
		return err
	}
	next.at = now
	s.held.Store(next)
	return nil
}

func (s *keySet) fetch(ctx context.Context) (*heldKeys, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	res, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", res.StatusCode)
	}
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxKeySet+1))
	switch {
	case err != nil:
		return nil, err
	case len(raw) > maxKeySet:
		return nil, errors.New("key set is too large")
	}
	by, err := parseKeys(raw)
	if err != nil {
		return nil, err
	}
	return &heldKeys{by: by, fresh: freshness(res.Header.Get("Cache-Control"))}, nil
}

// freshness is how long a set is used without asking again.
func freshness(cacheControl string) time.Duration {
	for d := range strings.SplitSeq(cacheControl, ",") {
		if v, ok := strings.CutPrefix(strings.TrimSpace(strings.ToLower(d)), "max-age="); ok {
			if n, err := strconv.ParseUint(v, 10, 31); err == nil {
				return min(max(time.Duration(n)*time.Second, minFresh), maxFresh)
			}
		}
	}
	return usualFresh
}

// parseKeys reads a JWK set (RFC 7517). A key of a kind that ssogate does not make is
// passed over: a later version may publish others too. One that is broken, or a kid
// that is there twice, refuses the set.
func parseKeys(raw []byte) (map[string]publicKey, error) {
	var set struct {
		Keys []struct {
			Kty string `json:"kty"`
			Use string `json:"use"`
			Alg string `json:"alg"`
			Kid string `json:"kid"`
			Crv string `json:"crv"`
			X   string `json:"x"`
			Y   string `json:"y"`
			N   string `json:"n"`
			E   string `json:"e"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(raw, &set); err != nil {
		return nil, errors.New("not a key set")
	}
	if len(set.Keys) > maxKeys {
		return nil, errors.New("key set has too many keys")
	}
	out := map[string]publicKey{}
	for _, j := range set.Keys {
		var k publicKey
		var err error
		switch {
		case j.Use != "sig" || j.Kid == "":
			continue
		case j.Kty == "EC" && j.Alg == es256 && j.Crv == "P-256":
			k, err = ecKey(j.X, j.Y)
		case j.Kty == "RSA" && j.Alg == rs256:
			k, err = rsaKey(j.N, j.E)
		default:
			continue
		}
		if err != nil {
			return nil, err
		}
		if _, twice := out[j.Kid]; twice {
			return nil, errors.New("key set names a key twice")
		}
		out[j.Kid] = k
	}
	return out, nil
}

func ecKey(x, y string) (publicKey, error) {
	bx, errX := base64url.DecodeString(x)
	by, errY := base64url.DecodeString(y)
	if errX != nil || errY != nil || len(bx) != 32 || len(by) != 32 { // RFC 7518 section 6.2.1.2: always whole
		return publicKey{}, errors.New("key set has a broken EC key")
	}
	point := append(append([]byte{4}, bx...), by...)
	pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point) // refuses what is not on the curve
	if err != nil {
		return publicKey{}, errors.New("key set has a broken EC key")
	}
	return publicKey{alg: es256, ec: pub}, nil
}

func rsaKey(n, e string) (publicKey, error) {
	bn, errN := base64url.DecodeString(n)
	be, errE := base64url.DecodeString(e)
	if errN != nil || errE != nil || len(bn) < 256 || len(bn) > 1024 || len(be) == 0 || len(be) > 4 {
		return publicKey{}, errors.New("key set has an RSA key that is broken, or below 2048 bits")
	}
	pub := &rsa.PublicKey{N: new(big.Int).SetBytes(bn), E: int(new(big.Int).SetBytes(be).Int64())}
	if pub.N.BitLen() < 2048 || pub.E < 3 || pub.E%2 == 0 {
		return publicKey{}, errors.New("key set has an RSA key that is broken, or below 2048 bits")
	}
	return publicKey{alg: rs256, rsa: pub}, nil
}
