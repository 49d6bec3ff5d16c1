package secret

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestTokensAreLongAndNeverTheSame(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		tok := NewToken()
		if len(tok) != 43 || strings.ContainsAny(tok, "+/=") {
			t.Fatalf("token %q: want 43 characters of base64url (256 bits)", tok)
		}
		if seen[tok] {
			t.Fatal("a token came twice")
		}
		seen[tok] = true
	}
}

func TestHashReadsBackAndComparesWhole(t *testing.T) {
	h := Sum("x")
	got, err := ParseHash(h.String())
	if err != nil || !got.Equal(h) || got.IsZero() || !(Hash{}).IsZero() {
		t.Fatalf("%v %v", got, err)
	}
	last := h
	last[len(last)-1] ^= 1
	if h.Equal(last) || Sum("y").Equal(h) {
		t.Error("different hashes compare equal")
	}
	for _, bad := range []string{"", "00", strings.Repeat("z", 64), h.String() + "00", h.String()[:63]} {
		if _, err := ParseHash(bad); err == nil {
			t.Errorf("%q was taken for a hash", bad)
		}
	}
	if len(h.Short()) != 8 || !strings.HasPrefix(h.String(), h.Short()) {
		t.Errorf("short form %q", h.Short())
	}
}

func TestSealedValuesOpenOnlyWithTheirKeyAndContext(t *testing.T) {
	k1, k2 := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	s, err := NewSealer(k1)
	if err != nil {
		t.Fatal(err)
	}
	plain := []byte("client secret")
	sealed := s.Seal(plain, "provider/okta")
	if bytes.Contains(sealed, plain) || bytes.Equal(sealed, s.Seal(plain, "provider/okta")) {
		t.Error("sealing shows the value, or is the same twice")
	}
	if got, err := s.Open(sealed, "provider/okta"); err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("%q %v", got, err)
	}
	if _, err := s.Open(sealed, "provider/entra"); !errors.Is(err, ErrOpen) {
		t.Errorf("moved to another record it opens: %v", err)
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := s.Open(bad, "provider/okta"); !errors.Is(err, ErrOpen) {
			t.Fatalf("altered at byte %d it opens: %v", i, err)
		}
	}
	for n := range len(sealed) {
		if _, err := s.Open(sealed[:n], "provider/okta"); !errors.Is(err, ErrOpen) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	both, err := NewSealer(k2, k1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := both.Open(sealed, "provider/okta"); err != nil {
		t.Errorf("K08: the previous key no longer opens while both are set: %v", err)
	}
	if _, err := s.Open(both.Seal(plain, "c"), "c"); !errors.Is(err, ErrOpen) {
		t.Error("the new key was not used to seal")
	}
}

func TestWrongKeysAreRefused(t *testing.T) {
	for why, keys := range map[string][][]byte{
		"none": nil, "short": {make([]byte, 16)}, "long": {make([]byte, 33)}, "second short": {bytes.Repeat([]byte{1}, 32), {1}},
	} {
		if _, err := NewSealer(keys...); err == nil {
			t.Errorf("%s: accepted", why)
		}
	}
}

func TestDerivedKeysDependOnUseAndToken(t *testing.T) {
	a := KeyFor("handoff", "token")
	if len(a) != 32 || bytes.Equal(a, KeyFor("post", "token")) || bytes.Equal(a, KeyFor("handoff", "other")) {
		t.Error("one token's key serves two uses, or two tokens share one")
	}
}

func FuzzOpen(f *testing.F) {
	s, err := NewSealer(bytes.Repeat([]byte{1}, 32))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("x"), "c")
	f.Add(s.Seal([]byte("x"), "c"), "d")
	f.Fuzz(func(t *testing.T, sealed []byte, context string) {
		if _, err := s.Open(sealed, context); err == nil {
			t.Error("something that was never sealed here opened")
		}
	})
}

func TestCurrentTellsWhatIsLeftToSealAnew(t *testing.T) {
	older, newer := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	before, err := NewSealer(older)
	if err != nil {
		t.Fatal(err)
	}
	now, err := NewSealer(newer, older)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		why    string
		sealed []byte
		bound  string
		want   bool
	}{
		{"sealed with the key that seals today", now.Seal([]byte("x"), "a"), "a", true},
		{"sealed with the one before", before.Seal([]byte("x"), "a"), "a", false},
		{"moved to another record", now.Seal([]byte("x"), "a"), "b", false},
		{"nothing", nil, "a", false},
	} {
		if got := now.Current(tt.sealed, tt.bound); got != tt.want {
			t.Errorf("%s: %v", tt.why, got)
		}
	}
}
