package identity

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// gateway publishes keys and signs with them, as the real one does.
type gateway struct {
	*httptest.Server
	mu      sync.Mutex
	keys    []map[string]any
	fetches atomic.Int64
	answer  func(http.ResponseWriter) bool // true: it has answered
	cache   string
	ec      *ecdsa.PrivateKey
	rsa     *rsa.PrivateKey
}

var rsaKeyOnce = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

func newGateway(t testing.TB) *gateway {
	t.Helper()
	g := &gateway{rsa: rsaKeyOnce()}
	var err error
	if g.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	g.publish(ecJWK("ec", &g.ec.PublicKey), rsaJWK("rsa", &g.rsa.PublicKey))
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.fetches.Add(1)
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.answer != nil && g.answer(w) {
			return
		}
		if r.URL.Path != "/jwks.json" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Cache-Control", g.cache)
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": g.keys})
	}))
	t.Cleanup(g.Close)
	return g
}

func (g *gateway) publish(keys ...map[string]any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.keys = keys
}

func (g *gateway) answers(f func(http.ResponseWriter) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answer = f
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func ecJWK(kid string, k *ecdsa.PublicKey) map[string]any {
	raw, err := k.Bytes()
	if err != nil {
		panic(err)
	}
	return map[string]any{"kty": "EC", "use": "sig", "alg": "ES256", "kid": kid, "crv": "P-256", "x": b64(raw[1:33]), "y": b64(raw[33:])}
}

func rsaJWK(kid string, k *rsa.PublicKey) map[string]any {
	return map[string]any{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": b64(k.N.Bytes()), "e": b64(big.NewInt(int64(k.E)).Bytes())}
}

type fields = map[string]any

// sign makes a token of these header fields and claims; alg "" follows the kid.
func (g *gateway) sign(t testing.TB, head, body fields) string {
	t.Helper()
	h, err := json.Marshal(head)
	if err != nil {
		t.Fatal(err)
	}
	c, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	signed := b64(h) + "." + b64(c)
	digest := sha256.Sum256([]byte(signed))
	if head["alg"] == "RS256" {
		sig, err := rsa.SignPKCS1v15(rand.Reader, g.rsa, crypto.SHA256, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		return signed + "." + b64(sig)
	}
	r, s, err := ecdsa.Sign(rand.Reader, g.ec, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + b64(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

var testNow = time.Unix(1_800_000_000, 0)

func head(change ...fields) fields {
	return with(fields{"alg": "ES256", "kid": "ec", "typ": AssertionType}, change)
}

func (g *gateway) claims(change ...fields) fields {
	return with(fields{
		"iss": g.URL, "aud": "reports", "sub": "m_1", "iat": testNow.Unix(), "nbf": testNow.Unix(), "exp": testNow.Unix() + 60,
		"preferred_username": "ada", "email": "a@example.com", "name": "Adéla\r\n", "groups": []string{"finance", "a,b"},
	}, change)
}

func with(f fields, change []fields) fields {
	for _, c := range change {
		maps.Copy(f, c)
	}
	for k, v := range f {
		if v == nil {
			delete(f, k)
		}
	}
	return f
}

// at is a verifier whose clock says testNow plus *since.
func (g *gateway) verifier(t testing.TB, audience string, since *time.Duration) *Verifier {
	t.Helper()
	v, err := NewVerifier(g.URL, audience, Options{Now: func() time.Time { return testNow.Add(time.Duration(atomic.LoadInt64((*int64)(since)))) }})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVerifierBelievesTheGateway(t *testing.T) {
	g, since := newGateway(t), time.Duration(0)
	v := g.verifier(t, "reports", &since)
	for _, h := range []fields{head(), head(fields{"alg": "RS256", "kid": "rsa"})} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set(HeaderAssertion, g.sign(t, h, g.claims()))
		u, err := v.FromRequest(r)
		if err != nil || u.ID != "m_1" || u.PreferredUsername != "ada" || u.Email != "a@example.com" || u.Name != "Adéla\r\n" || !slices.Equal(u.Groups, []string{"finance", "a,b"}) {
			t.Errorf("%v: %+v, %v", h, u, err)
		}
	}
	if n := g.fetches.Load(); n != 1 {
		t.Errorf("two tokens cost %d fetches of the keys", n)
	}
	u, err := v.Verify(t.Context(), g.sign(t, head(), g.claims(fields{"groups": nil, "email": nil, "extra": 1})))
	if err != nil || u.Groups != nil || u.Email != "" {
		t.Errorf("absent claims: %+v, %v", u, err)
	}
	if _, err := v.FromRequest(httptest.NewRequest("GET", "/", nil)); !errors.Is(err, ErrNoUser) {
		t.Errorf("no token: %v", err)
	}
	other, err := NewVerifier(g.URL+"/", "reports", Options{Header: "X-Who", KeysURL: g.URL + "/jwks.json", Client: g.Client(), Skew: time.Minute, Now: func() time.Time { return testNow.Add(119 * time.Second) }})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("X-Who", g.sign(t, head(), g.claims()))
	if u, err := other.FromRequest(r); err != nil || u.ID != "m_1" {
		t.Errorf("with options: %+v, %v", u, err)
	}
}

// Row H09: aud, a life of 60 s at most, and nothing else that would make one
// application's token good for another.
func TestH09VerifierRefuses(t *testing.T) {
	g, since := newGateway(t), time.Duration(0)
	v := g.verifier(t, "reports", &since)
	good := g.sign(t, head(), g.claims())
	if _, err := v.Verify(t.Context(), good); err != nil {
		t.Fatalf("benign: %v", err)
	}
	other := newGateway(t)
	unsigned := b64([]byte(`{"alg":"none","kid":"ec","typ":"`+AssertionType+`"}`)) + good[strings.IndexByte(good, '.'):strings.LastIndexByte(good, '.')+1]
	for why, token := range map[string]string{
		"other application":     g.sign(t, head(), g.claims(fields{"aud": "payroll"})),
		"several applications":  g.sign(t, head(), g.claims(fields{"aud": []string{"reports", "payroll"}})),
		"no audience":           g.sign(t, head(), g.claims(fields{"aud": nil})),
		"other issuer":          g.sign(t, head(), g.claims(fields{"iss": "https://sso.example.org"})),
		"issuer with a slash":   g.sign(t, head(), g.claims(fields{"iss": g.URL + "/"})),
		"no subject":            g.sign(t, head(), g.claims(fields{"sub": nil})),
		"expired":               g.sign(t, head(), g.claims(fields{"iat": testNow.Unix() - 90, "nbf": testNow.Unix() - 90, "exp": testNow.Unix() - 30})),
		"lives for an hour":     g.sign(t, head(), g.claims(fields{"exp": testNow.Unix() + 3600})),
		"lives for 61 s":        g.sign(t, head(), g.claims(fields{"exp": testNow.Unix() + 61})),
		"no expiry":             g.sign(t, head(), g.claims(fields{"exp": nil})),
		"no iat":                g.sign(t, head(), g.claims(fields{"iat": nil})),
		"of tomorrow":           g.sign(t, head(), g.claims(fields{"iat": testNow.Unix() + 60, "nbf": testNow.Unix() + 60, "exp": testNow.Unix() + 120})),
		"not yet":               g.sign(t, head(), g.claims(fields{"nbf": testNow.Unix() + 60})),
		"another kind of token": g.sign(t, head(fields{"typ": "JWT"}), g.claims()),
		"no kind":               g.sign(t, head(fields{"typ": nil}), g.claims()),
		"crit":                  g.sign(t, head(fields{"crit": []string{"b64"}}), g.claims()),
		"no kid":                g.sign(t, head(fields{"kid": nil}), g.claims()),
		"HS256":                 g.sign(t, head(fields{"alg": "HS256"}), g.claims()),
		"ES256 with RSA's key":  g.sign(t, head(fields{"kid": "rsa"}), g.claims()),
		"RS256 with EC's key":   g.sign(t, head(fields{"alg": "RS256"}), g.claims()),
		"none":                  unsigned,
		"none with a signature": unsigned + "AAAA",
		"other gateway's key":   other.sign(t, head(), g.claims()),
		"unknown key":           g.sign(t, head(fields{"kid": "new"}), g.claims()),
		"signature cut off":     good[:strings.LastIndexByte(good, '.')+1],
		"a line break":          good[:len(good)-1] + "\n" + good[len(good)-1:],
		"four parts":            good + ".AAAA",
		"two parts":             good[:strings.LastIndexByte(good, '.')],
		"nothing":               ".",
		"too long":              good + strings.Repeat("A", maxToken),
		"other claims":          good[:strings.IndexByte(good, '.')+1] + b64([]byte(`{"sub":"root"}`)) + good[strings.LastIndexByte(good, '.'):],
		"claims are no object":  g.sign(t, head(), g.claims(fields{"sub": []int{1}})),
	} {
		if u, err := v.Verify(t.Context(), token); err == nil || u.ID != "" {
			t.Errorf("%s: %+v, %v", why, u, err)
		} else if len(token) > 50 && strings.Contains(err.Error(), token[:50]) {
			t.Errorf("%s: the error repeats the token, and errors are logged: %v", why, err)
		}
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Add(HeaderAssertion, good)
	r.Header.Add(HeaderAssertion, good)
	if u, err := v.FromRequest(r); err == nil || u.ID != "" {
		t.Errorf("two tokens: %+v, %v", u, err)
	}
	if u, err := g.verifier(t, "payroll", &since).Verify(t.Context(), good); err == nil || u.ID != "" {
		t.Errorf("replayed to the other application: %+v, %v", u, err)
	}
	since = 70 * time.Second
	if u, err := v.Verify(t.Context(), good); err != nil || u.ID != "m_1" {
		t.Errorf("at the end of its life, inside the skew: %+v, %v", u, err)
	}
	since = 71 * time.Second
	if u, err := v.Verify(t.Context(), good); err == nil || u.ID != "" {
		t.Errorf("replayed after its life: %+v, %v", u, err)
	}
}

func TestEverySingleBitOfATokenCounts(t *testing.T) {
	g, since := newGateway(t), time.Duration(0)
	v := g.verifier(t, "reports", &since)
	good := g.sign(t, head(), g.claims())
	for i := range good {
		for bit := range 7 {
			bad := []byte(good)
			bad[i] ^= 1 << bit
			if u, err := v.Verify(t.Context(), string(bad)); err == nil || u.ID != "" {
				t.Fatalf("byte %d, bit %d: %+v, %v", i, bit, u, err)
			}
		}
	}
	if n := g.fetches.Load(); n > 2 {
		t.Errorf("broken tokens made it fetch the keys %d times", n)
	}
}

func TestUnknownKeysAreLookedUpButNotForEveryToken(t *testing.T) {
	g, since := newGateway(t), time.Duration(0)
	v := g.verifier(t, "reports", &since)
	if _, err := v.Verify(t.Context(), g.sign(t, head(), g.claims())); err != nil {
		t.Fatal(err)
	}
	// The gateway has rotated its keys.
	rotated := g.sign(t, head(fields{"kid": "ec-2"}), g.claims())
	g.publish(ecJWK("ec-2", &g.ec.PublicKey))
	since = fetchEvery - time.Second
	for range 50 {
		if u, err := v.Verify(t.Context(), rotated); err == nil || u.ID != "" || errors.Is(err, ErrKeys) {
			t.Fatalf("%+v, %v", u, err)
		}
	}
	if n := g.fetches.Load(); n != 1 {
		t.Errorf("50 unknown kids within 30 s made it fetch %d times", n-1)
	}
	since = fetchEvery
	if u, err := v.Verify(t.Context(), rotated); err != nil || u.ID != "m_1" {
		t.Errorf("after 30 s: %+v, %v", u, err)
	}
	if u, err := v.Verify(t.Context(), g.sign(t, head(), g.claims())); err == nil || u.ID != "" {
		t.Errorf("a key that is no longer published: %+v, %v", u, err)
	}
	if n := g.fetches.Load(); n != 2 {
		t.Errorf("%d fetches", n)
	}
}

func TestKeysAreRenewedAndSurviveAnOutage(t *testing.T) {
	g, since := newGateway(t), time.Duration(0)
	g.cache = "public, max-age=300"
	v := g.verifier(t, "reports", &since)
	// Keys are renewed beside a verification, by the same clock.
	pass := func(to time.Duration) { atomic.StoreInt64((*int64)(&since), int64(to)) }
	ok := func(want bool) {
		t.Helper()
		now := testNow.Add(since).Unix()
		u, err := v.Verify(t.Context(), g.sign(t, head(), g.claims(fields{"iat": now, "nbf": now, "exp": now + 60})))
		if (err == nil) != want || !want && (!errors.Is(err, ErrKeys) || u.ID != "") {
			t.Fatalf("after %s: %+v, %v", since, u, err)
		}
	}
	ok(true)
	g.answers(func(w http.ResponseWriter) bool { w.WriteHeader(500); return true })
	pass(299 * time.Second)
	ok(true)
	if g.fetches.Load() != 1 {
		t.Error("fetched before it was due")
	}
	pass(301 * time.Second)
	ok(true) // and renews beside it
	for g.fetches.Load() < 2 {
		time.Sleep(time.Millisecond)
	}
	for v.keys.busy.Load() {
		time.Sleep(time.Millisecond)
	}
	pass(5*time.Minute + keepUnfresh)
	ok(true)
	pass(since + time.Second)
	ok(false) // whether a key was withdrawn cannot be told any more
	g.answers(nil)
	pass(since + fetchEvery)
	ok(true)
}

func TestHostileKeySetsAreRefused(t *testing.T) {
	for why, answer := range map[string]func(http.ResponseWriter) bool{
		"500":          func(w http.ResponseWriter) bool { w.WriteHeader(500); return true },
		"HTML":         func(w http.ResponseWriter) bool { _, _ = w.Write([]byte("<html>")); return true },
		"endless":      func(w http.ResponseWriter) bool { _, _ = w.Write(make([]byte, maxKeySet+1)); return true },
		"a redirect":   func(w http.ResponseWriter) bool { w.Header().Set("Location", "/x"); w.WriteHeader(302); return true },
		"off curve":    jwks(map[string]any{"kty": "EC", "use": "sig", "alg": "ES256", "kid": "ec", "crv": "P-256", "x": b64(make([]byte, 32)), "y": b64(make([]byte, 32))}),
		"a short RSA":  jwks(map[string]any{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "rsa", "n": b64(slices.Repeat([]byte{255}, 128)), "e": "AQAB"}),
		"exponent 1":   jwks(map[string]any{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "rsa", "n": b64(slices.Repeat([]byte{255}, 256)), "e": "AQ"}),
		"a kid twice":  jwks(rsaJWK("a", &rsaKeyOnce().PublicKey), rsaJWK("a", &rsaKeyOnce().PublicKey)),
		"too many":     jwks(slices.Repeat([]map[string]any{{"kty": "oct", "kid": "x"}}, maxKeys+1)...),
		"not a set":    func(w http.ResponseWriter) bool { _, _ = w.Write([]byte(`{"keys":{}}`)); return true },
		"silence, cut": func(http.ResponseWriter) bool { panic(http.ErrAbortHandler) },
	} {
		g, since := newGateway(t), time.Duration(0)
		g.answers(answer)
		v := g.verifier(t, "reports", &since)
		if u, err := v.Verify(t.Context(), g.sign(t, head(), g.claims())); !errors.Is(err, ErrKeys) || u.ID != "" {
			t.Errorf("%s: %+v, %v", why, u, err)
		}
		g.answers(nil)
		since = firstEvery
		if _, err := v.Verify(t.Context(), g.sign(t, head(), g.claims())); err != nil {
			t.Errorf("%s: afterwards: %v", why, err)
		}
	}
	// Keys of kinds that this version does not know stand beside ours.
	g, since := newGateway(t), time.Duration(0)
	g.publish(map[string]any{"kty": "OKP", "use": "sig", "alg": "EdDSA", "kid": "ed"}, map[string]any{"kty": "EC", "use": "enc", "kid": "e"}, ecJWK("ec", &g.ec.PublicKey))
	if _, err := g.verifier(t, "reports", &since).Verify(t.Context(), g.sign(t, head(), g.claims())); err != nil {
		t.Errorf("benign: %v", err)
	}
}

func jwks(keys ...map[string]any) func(http.ResponseWriter) bool {
	return func(w http.ResponseWriter) bool {
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": keys})
		return true
	}
}

func TestManyAtOnceShareAFetch(t *testing.T) {
	g, since := newGateway(t), time.Duration(0)
	v := g.verifier(t, "reports", &since)
	token := g.sign(t, head(), g.claims())
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := v.Verify(context.Background(), token); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := g.fetches.Load(); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

func TestNewVerifierRefuses(t *testing.T) {
	for _, c := range []struct {
		issuer, audience string
		o                Options
	}{
		{"", "a", Options{}},
		{"sso.example.com", "a", Options{}},
		{"ftp://sso.example.com", "a", Options{}},
		{"https://sso.example.com", "", Options{}},
		{"https://sso.example.com", "a", Options{Skew: time.Hour}},
		{"https://sso.example.com", "a", Options{Skew: -1}},
	} {
		if v, err := NewVerifier(c.issuer, c.audience, c.o); err == nil || v != nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}

func TestFreshnessIsBounded(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"": usualFresh, "public, max-age=300": 5 * time.Minute, "max-age=0": minFresh, "MAX-AGE=86400": maxFresh, "max-age=-1": usualFresh,
		"max-age=" + fmt.Sprint(uint64(1)<<40): usualFresh, "no-store": usualFresh,
	} {
		if got := freshness(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

func FuzzVerify(f *testing.F) {
	g, since := newGateway(f), time.Duration(0)
	v := g.verifier(f, "reports", &since)
	good := g.sign(f, head(), g.claims())
	f.Add(good)
	f.Add("..")
	f.Add(good[:40] + "." + good[41:])
	f.Fuzz(func(t *testing.T, token string) {
		u, err := v.Verify(context.Background(), token)
		if token == good {
			if err != nil {
				t.Fatal(err)
			}
			return
		}
		// The keys of this run are new: nobody can have signed anything else.
		if err == nil || u.ID != "" {
			t.Fatalf("%q: %+v, %v", token, u, err)
		}
	})
}

func FuzzKeySet(f *testing.F) {
	f.Add(`{"keys":[{"kty":"EC","use":"sig","alg":"ES256","kid":"a","crv":"P-256","x":"AA","y":""}]}`)
	f.Add(`{"keys":[{"kty":"RSA","use":"sig","alg":"RS256","kid":"a","n":"AQAB","e":"AQAB"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := parseKeys([]byte(text))
		if err != nil && keys != nil {
			t.Fatal("keys and an error")
		}
		for kid, k := range keys {
			if kid == "" || (k.ec == nil) == (k.rsa == nil) {
				t.Fatalf("%q: %+v", kid, k)
			}
		}
	})
}
