package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
)

// TokenBytes is the entropy of every bearer value ssogate makes: 256 bits, so
// that a store of millions of live values still cannot be guessed into.
const TokenBytes = 32

// ErrOpen means a sealed value was not made with this key and this context:
// it was altered, moved from another record, or sealed with a retired key.
var ErrOpen = errors.New("secret: sealed value cannot be opened")

// Hash is the SHA-256 of a bearer value. Stores hold only hashes, so a copy of
// the store signs nobody in. A plain hash (no salt, no stretching) is right
// here because the input is 256 random bits, never a password.
type Hash [sha256.Size]byte

// String is the hash in lower-case hexadecimal, the form stores use as a key.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Short is the first 8 hexadecimal digits: enough to correlate two log lines,
// too few to name a session to anyone.
func (h Hash) Short() string { return hex.EncodeToString(h[:4]) }

// Equal compares in constant time.
func (h Hash) Equal(o Hash) bool { return subtle.ConstantTimeCompare(h[:], o[:]) == 1 }

// IsZero reports whether the hash was never set.
func (h Hash) IsZero() bool { return h == Hash{} }

// ParseHash reads the form written by [Hash.String].
func ParseHash(s string) (Hash, error) {
	var h Hash
	if len(s) != hex.EncodedLen(len(h)) {
		return Hash{}, fmt.Errorf("secret: hash has %d digits, want %d", len(s), hex.EncodedLen(len(h)))
	}
	if _, err := hex.Decode(h[:], []byte(s)); err != nil {
		return Hash{}, fmt.Errorf("secret: hash: %w", err)
	}
	return h, nil
}

// NewToken is 256 random bits in unpadded base64url (43 characters).
// crypto/rand.Read never fails on Go 1.24 and later: it ends the process instead.
func NewToken() string {
	b := make([]byte, TokenBytes)
	_, _ = rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// Sum hashes a bearer value for storage or look-up.
func Sum(token string) Hash { return sha256.Sum256([]byte(token)) }

// Sealer encrypts values at rest. The first key seals; every key opens, so two
// keys overlap while one is being retired. Safe for concurrent use.
type Sealer struct{ aeads []cipher.AEAD }

// NewSealer takes 32-byte keys, the current one first.
func NewSealer(keys ...[]byte) (*Sealer, error) {
	if len(keys) == 0 {
		return nil, errors.New("secret: no sealing key")
	}
	s := &Sealer{}
	for i, k := range keys {
		if len(k) != 32 {
			return nil, fmt.Errorf("secret: sealing key %d has %d bytes, want 32", i, len(k))
		}
		block, err := aes.NewCipher(k)
		if err != nil {
			return nil, fmt.Errorf("secret: sealing key %d: %w", i, err)
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, fmt.Errorf("secret: sealing key %d: %w", i, err)
		}
		s.aeads = append(s.aeads, aead)
	}
	return s, nil
}

// KeyFor derives a sealing key from a bearer value, so that a record can hold
// something only the bearer of that value can read. label separates uses.
func KeyFor(label, token string) []byte {
	h := sha256.Sum256([]byte("ssogate/" + label + "\x00" + token))
	return h[:]
}

// KeyID names a key in logs, lists and metrics: 64 bits of a hash of its own
// domain, which tell nothing about the key and are the same on every node.
func KeyID(key []byte) string {
	h := sha256.Sum256(append([]byte("ssogate/key-id\x00"), key...))
	return hex.EncodeToString(h[:8])
}

// Seal encrypts plain. context is authenticated, not stored: a value sealed
// for one record does not open in another.
func (s *Sealer) Seal(plain []byte, context string) []byte {
	aead := s.aeads[0]
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(plain)+aead.Overhead())
	_, _ = rand.Read(nonce)
	return aead.Seal(nonce, nonce, plain, []byte(context))
}

// Current reports whether a value is sealed with the key that seals today. One
// that is not and that [Sealer.Open] opens should be sealed anew before the older
// key is given up.
func (s *Sealer) Current(sealed []byte, context string) bool {
	_, err := (&Sealer{aeads: s.aeads[:1]}).Open(sealed, context)
	return err == nil
}

// Open reverses Seal, or answers [ErrOpen].
func (s *Sealer) Open(sealed []byte, context string) ([]byte, error) {
	for _, aead := range s.aeads {
		if len(sealed) < aead.NonceSize()+aead.Overhead() {
			return nil, ErrOpen
		}
		plain, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], []byte(context))
		if err == nil {
			return plain, nil
		}
	}
	return nil, ErrOpen
}
