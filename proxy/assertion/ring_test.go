package assertion

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ssogate/ssogate/identity"
	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
)

// store keeps values in memory, as several nodes share them.
type store struct {
	mu     sync.Mutex
	values map[string][]byte
	fail   error
	kinds  []string
	reads  int
}

func (s *store) SealedKey(_ context.Context, name string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	if s.fail != nil {
		return nil, s.fail
	}
	v, ok := s.values[name]
	if !ok {
		return nil, member.ErrNotFound
	}
	return v, nil
}

func (s *store) PutSealedKeyIfAbsent(_ context.Context, name string, sealed []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return nil, s.fail
	}
	if _, ok := s.values[name]; !ok {
		s.values[name] = sealed
	}
	return s.values[name], nil
}

func (s *store) ReplaceSealedKey(_ context.Context, _ member.Actor, kind, name string, was, sealed []byte) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return 0, s.fail
	}
	if !bytes.Equal(s.values[name], was) {
		return 0, member.ErrVersion
	}
	s.values[name] = sealed
	s.kinds = append(s.kinds, kind+" "+name)
	return int64(len(s.kinds)), nil
}

func (s *store) setFail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

var errDown = errors.New("store is down")

func newRing(t testing.TB, s *store, now clock.Func) *Ring {
	t.Helper()
	sealer, err := secret.NewSealer(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return &Ring{Store: s, Sealer: sealer, Now: now}
}

func newStore() *store { return &store{values: map[string][]byte{}} }

var claims = Claims{Issuer: "https://sso.example.com", Audience: "reports", Subject: "m_1", Name: "Adéla", Groups: []string{"finance"}}

// published are the kids at /jwks.json.
func published(t testing.TB, r *Ring) []string {
	t.Helper()
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest("GET", "/jwks.json", nil))
	var set struct {
		Keys []map[string]string `json:"keys"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &set); err != nil || w.Code != 200 || w.Header().Get("Cache-Control") != "public, max-age=300" {
		t.Fatalf("%d %v %s: %v", w.Code, w.Header(), w.Body, err)
	}
	var out []string
	for _, k := range set.Keys {
		if k["d"]+k["p"]+k["q"] != "" {
			t.Fatal("a private key is published")
		}
		out = append(out, k["kid"])
	}
	return out
}

func TestKeysAreMadeOnceAndShared(t *testing.T) {
	s, c := newStore(), &clock.Manual{}
	a, b := newRing(t, s, c.Now), newRing(t, s, c.Now)
	if k := a.Signer(ES256, c.Now()); k != nil {
		t.Fatal("a key before any was made")
	}
	var wg sync.WaitGroup
	for _, r := range []*Ring{a, b} {
		wg.Go(func() {
			if err := r.Ensure(t.Context(), ES256, RS256); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, alg := range Algorithms() {
		if x, y := a.Signer(alg, c.Now()), b.Signer(alg, c.Now()); x == nil || y == nil || x.ID != y.ID {
			t.Errorf("%s: two nodes sign with different keys", alg)
		}
	}
	if a.Signer("none", c.Now()) != nil || a.Signer("", c.Now()) != nil {
		t.Error("a key for no algorithm")
	}
	for name, v := range s.values {
		if bytes.Contains(v, []byte("keys")) || len(v) < 100 {
			t.Errorf("%s is not sealed", name)
		}
	}
}

// What is signed here is what package identity believes, and lives for 60 s (row H09).
func TestH09TokensAreReadByPackageIdentity(t *testing.T) {
	c := &clock.Manual{}
	r := newRing(t, newStore(), c.Now)
	if err := r.Ensure(t.Context(), ES256, RS256); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(r)
	defer srv.Close()
	v, err := identity.NewVerifier("https://sso.example.com", "reports", identity.Options{KeysURL: srv.URL, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range Algorithms() {
		token, err := r.Signer(a, c.Now()).Sign(claims, c.Now())
		if err != nil {
			t.Fatal(err)
		}
		u, err := v.Verify(t.Context(), token)
		if err != nil || u.ID != "m_1" || u.Name != "Adéla" || !slices.Equal(u.Groups, []string{"finance"}) {
			t.Errorf("%s: %+v, %v", a, u, err)
		}
		raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(raw, &got); err != nil {
			t.Fatal(err)
		}
		iat, _ := got["iat"].(float64)
		if got["exp"] != iat+60 || got["nbf"] != iat || got["aud"] != "reports" || got["iss"] != "https://sso.example.com" || got["sid"] != nil || got["email"] != nil {
			t.Errorf("%s: %v", a, got)
		}
	}
	if _, err := (&Key{}).Sign(claims, c.Now()); err == nil {
		t.Error("the zero key signs")
	}
}

func TestRotationOverlaps(t *testing.T) {
	s, c := newStore(), &clock.Manual{}
	r, other := newRing(t, s, c.Now), newRing(t, s, c.Now)
	if err := errors.Join(r.Ensure(t.Context(), ES256), other.Ensure(t.Context(), ES256)); err != nil {
		t.Fatal(err)
	}
	old := r.Signer(ES256, c.Now()).ID
	i, seq, err := r.Rotate(t.Context(), Rotation{Actor: "cli:op", Algorithm: ES256})
	if err != nil || seq == 0 || i.State != "next" || i.Signs.Sub(c.Now()) < 2*PublishedFor-time.Second {
		t.Fatalf("%+v %d %v", i, seq, err)
	}
	signer := func(r *Ring) string { return r.Signer(ES256, c.Now()).ID }
	states := func() (out []string) {
		t.Helper()
		list, err := r.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range list {
			out = append(out, i.State)
		}
		return out
	}
	if err := r.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if signer(r) != old || !slices.Equal(states(), []string{"signs", "next"}) {
		t.Errorf("the new key signs before anybody can know it: %v", states())
	}
	if _, _, err := r.Rotate(t.Context(), Rotation{Algorithm: ES256}); err == nil {
		t.Error("a second rotation began before the first was over")
	}
	c.Advance(rereadEvery)
	// The other node has heard of nothing, and publishes both all the same.
	if got := published(t, other); !slices.Equal(got, []string{old, i.ID}) {
		t.Errorf("published: %v", got)
	}
	c.Advance(overlap)
	for _, n := range []*Ring{r, other} {
		if signer(n) != i.ID {
			t.Error("after the overlap the old key still signs")
		}
	}
	if got := published(t, r); !slices.Equal(got, []string{old, i.ID}) || !slices.Equal(states(), []string{"previous", "signs"}) {
		t.Errorf("the old key's tokens live on: %v %v", got, states())
	}
	if n, err := r.Prune(t.Context()); n != 0 || err != nil {
		t.Errorf("pruned %d, %v", n, err)
	}
	c.Advance(keep)
	if got := published(t, r); !slices.Equal(got, []string{i.ID}) {
		t.Errorf("published: %v", got)
	}
	if n, err := r.Prune(t.Context()); n != 1 || err != nil {
		t.Errorf("pruned %d, %v", n, err)
	}
	if n, err := r.Prune(t.Context()); n != 0 || err != nil {
		t.Errorf("pruned again: %d, %v", n, err)
	}
	if !slices.Equal(s.kinds, []string{"keys.assertion_rotated assertion/ES256", "keys.assertion_gone assertion/ES256"}) {
		t.Errorf("%v", s.kinds)
	}
	c.Advance(-time.Hour) // the clock is set back: published all the same, so it may sign
	if k := r.Signer(ES256, c.Now()); k == nil {
		t.Error("no key signs")
	}
}

func TestRotationAtOnceLeavesNothingOfTheOldKey(t *testing.T) {
	s, c := newStore(), &clock.Manual{}
	r := newRing(t, s, c.Now)
	if err := r.Ensure(t.Context(), ES256); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Rotate(t.Context(), Rotation{Algorithm: ES256}); err != nil {
		t.Fatal(err)
	}
	i, _, err := r.Rotate(t.Context(), Rotation{Algorithm: ES256, AtOnce: true})
	if err != nil || i.State != "signs" {
		t.Fatalf("%+v, %v", i, err)
	}
	c.Advance(rereadEvery)
	if got := published(t, r); !slices.Equal(got, []string{i.ID}) || r.Signer(ES256, c.Now()).ID != i.ID {
		t.Errorf("published: %v", got)
	}
}

func TestRotationRefuses(t *testing.T) {
	s, c := newStore(), &clock.Manual{}
	r := newRing(t, s, c.Now)
	for _, o := range []Rotation{{}, {Algorithm: "none"}, {Algorithm: ES256}, {Algorithm: RS256, AtOnce: true}} {
		if _, _, err := r.Rotate(t.Context(), o); err == nil || len(s.values) > 0 {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if err := r.Ensure(t.Context(), ES256); err != nil {
		t.Fatal(err)
	}
	s.setFail(errDown)
	if _, _, err := r.Rotate(t.Context(), Rotation{Algorithm: ES256}); !errors.Is(err, errDown) {
		t.Errorf("%v", err)
	}
}

func TestAStoreErrorKeepsTheKeys(t *testing.T) {
	s, c := newStore(), &clock.Manual{}
	r := newRing(t, s, c.Now)
	s.setFail(errDown)
	if err := r.Ensure(t.Context(), ES256); !errors.Is(err, errDown) || r.Signer(ES256, c.Now()) != nil {
		t.Fatalf("%v", err)
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest("GET", "/jwks.json", nil))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Retry-After") == "" {
		t.Errorf("no keys are known, and %d %v says that there are none", w.Code, w.Header())
	}
	s.setFail(nil)
	if err := r.Ensure(t.Context(), ES256); err != nil {
		t.Fatal(err)
	}
	k := r.Signer(ES256, c.Now())
	s.setFail(errDown)
	c.Advance(rereadEvery)
	if err := r.Load(t.Context()); !errors.Is(err, errDown) {
		t.Errorf("%v", err)
	}
	if r.Signer(ES256, c.Now()) != k || !slices.Equal(published(t, r), []string{k.ID}) {
		t.Error("a store that is down took the keys away")
	}
	s.setFail(nil)
	other, err := secret.NewSealer(bytes.Repeat([]byte{8}, 32))
	if err != nil {
		t.Fatal(err)
	}
	r.Sealer = other
	if err := r.Load(t.Context()); !errors.Is(err, secret.ErrOpen) || r.Signer(ES256, c.Now()) != k {
		t.Errorf("%v", err)
	}
}

func TestTheKeySetIsReadOnceASecondAtMost(t *testing.T) {
	s, c := newStore(), &clock.Manual{}
	r := newRing(t, s, func() time.Time { return time.Unix(1_800_000_000, 0).Add(time.Until(c.Now()).Round(time.Second)) })
	if got := published(t, r); len(got) != 0 {
		t.Errorf("%v", got)
	}
	reads := s.reads
	for range 50 {
		published(t, r)
	}
	if s.reads != reads {
		t.Errorf("%d reads more", s.reads-reads)
	}
	for _, m := range []string{"POST", "DELETE"} {
		w := httptest.NewRecorder()
		if r.ServeHTTP(w, httptest.NewRequest(m, "/jwks.json", nil)); w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d", m, w.Code)
		}
	}
}

func TestStoredKeysOfAnotherKindAreRefused(t *testing.T) {
	es, err := ES256.make()
	if err != nil {
		t.Fatal(err)
	}
	rs, err := RS256.make()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		a   Algorithm
		der []byte
		ok  bool
	}{{ES256, es, true}, {RS256, rs, true}, {ES256, rs, false}, {RS256, es, false}, {"", es, false}, {ES256, nil, false}, {ES256, es[:20], false}} {
		if k, err := parseKey(c.a, c.der, time.Time{}, time.Time{}); (err == nil) != c.ok || (k != nil) != c.ok {
			t.Errorf("%s: %v", c.a, err)
		}
	}
	if _, err := Algorithm("none").make(); err == nil {
		t.Error("a key for no algorithm")
	}
}

// The thumbprint of RFC 7638 section 3.1.
func TestThumbprintMembersAreInOrder(t *testing.T) {
	for _, c := range []struct {
		k    jwk
		want string
	}{
		{jwk{Kty: "RSA", N: "n", E: "AQAB"}, `{"e":"AQAB","kty":"RSA","n":"n"}`},
		{jwk{Kty: "EC", Crv: "P-256", X: "x", Y: "y"}, `{"crv":"P-256","kty":"EC","x":"x","y":"y"}`},
	} {
		if got, err := json.Marshal(c.k); err != nil || string(got) != c.want {
			t.Errorf("%s, %v", got, err)
		}
	}
}

func BenchmarkSign(b *testing.B) {
	c := &clock.Manual{}
	r := newRing(b, newStore(), c.Now)
	if err := r.Ensure(b.Context(), ES256, RS256); err != nil {
		b.Fatal(err)
	}
	for _, a := range Algorithms() {
		b.Run(fmt.Sprint(a), func(b *testing.B) {
			k := r.Signer(a, c.Now())
			for b.Loop() {
				if _, err := k.Sign(claims, c.Now()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
