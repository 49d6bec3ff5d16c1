package config

import (
	"bytes"
	"encoding/base64"
	"strings"
)

// Sizes of decoded keys. A cookie key is a hash key and a block key of 32 bytes
// each; securecookie itself would accept a single byte.
const (
	CookieKeySize = 64
	SealKeySize   = 32
)

// CookieKeys are the decoded cookie keys, current first, each 32 bytes of hash
// key followed by 32 bytes of block key. Call only after [Load] or a Validate
// without faults: a key that does not decode is left out.
func (c *Config) CookieKeys() [][]byte {
	return decodeKeys(c.Secrets.CookieKey, c.Secrets.CookieKeyPrevious)
}

// SealKeys are the decoded keys of secrets at rest, current first; see
// [Config.CookieKeys].
func (c *Config) SealKeys() [][]byte {
	return decodeKeys(c.Secrets.SealKey, c.Secrets.SealKeyPrevious)
}

func decodeKeys(texts ...string) [][]byte {
	var out [][]byte
	for _, t := range texts {
		if k, ok := decodeKey(t); ok && len(k) > 0 {
			out = append(out, k)
		}
	}
	return out
}

// decodeKey reads base64 in either alphabet, padded or not: openssl, Go and
// secret managers each write their own.
func decodeKey(s string) ([]byte, bool) {
	s = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(s), "=")
	k, err := base64.RawStdEncoding.DecodeString(s)
	return k, err == nil
}

// placeholder reports words that stand where a secret belongs. They come from
// examples, tutorials and haste.
func placeholder(s string) bool {
	s = strings.ToLower(s)
	for _, word := range []string{
		"replace", "change", "example", "secret", "password", "passw0rd", "fixme", "your-", "your_",
		"xxxxx", "*****", ".....", "<", "12345678", "abcdefgh", "qwerty", "letmein", "dummy", "sample",
	} {
		if strings.Contains(s, word) {
			return true
		}
	}
	return false
}

// guessable reports a key that was typed or made by a pattern instead of drawn.
// Of n random bytes far more than half are distinct and nearly none is text:
// a drawn key fails here less than once in 2^60.
func guessable(k []byte) bool {
	distinct := map[byte]bool{}
	text := true
	for _, b := range k {
		distinct[b] = true
		text = text && b >= 0x20 && b < 0x7f
	}
	if len(distinct) < len(k)/2 || text {
		return true
	}
	steps := map[byte]bool{} // 00 01 02 ... and its kin
	for i := 1; i < len(k); i++ {
		steps[k[i]-k[i-1]] = true
	}
	return len(steps) < len(k)/4
}

// validateSecrets refuses keys that an attacker could have: anyone with the
// cookie key forges cookies, anyone with the seal key reads client secrets.
func (c *Config) validateSecrets(fs *faults) {
	s := c.Secrets
	cookie := fs.key("secrets.cookie_key", s.CookieKey, s.CookieKeyFile, CookieKeySize, true)
	cookiePrev := fs.key("secrets.cookie_key_previous", s.CookieKeyPrevious, s.CookieKeyPreviousFile, CookieKeySize, false)
	seal := fs.key("secrets.seal_key", s.SealKey, s.SealKeyFile, SealKeySize, true)
	sealPrev := fs.key("secrets.seal_key_previous", s.SealKeyPrevious, s.SealKeyPreviousFile, SealKeySize, false)

	if cookie != nil && bytes.Equal(cookie, cookiePrev) {
		fs.add("secrets.cookie_key_previous", "the same key as secrets.cookie_key", "remove it, or finish the rotation: "+makeKey(CookieKeySize))
	}
	if seal != nil && bytes.Equal(seal, sealPrev) {
		fs.add("secrets.seal_key_previous", "the same key as secrets.seal_key", "remove it, or finish the rotation: "+makeKey(SealKeySize))
	}
	for _, k := range []struct {
		path string
		key  []byte
	}{{"secrets.cookie_key", cookie}, {"secrets.cookie_key_previous", cookiePrev}} {
		if k.key == nil {
			continue
		}
		hash, block := k.key[:32], k.key[32:]
		for _, other := range [][]byte{seal, sealPrev} {
			if other != nil && (bytes.Equal(hash, other) || bytes.Equal(block, other)) {
				fs.add(k.path, "shares bytes with a seal key", "make each key on its own: "+makeKey(CookieKeySize))
			}
		}
		if bytes.Equal(hash, block) {
			fs.add(k.path, "its two halves are the same", makeKey(CookieKeySize))
		}
	}
}

func makeKey(size int) string {
	if size == CookieKeySize {
		return `make one with "openssl rand -base64 64"`
	}
	return `make one with "openssl rand -base64 32"`
}

// key checks one key and answers it decoded, or nil.
func (fs *faults) key(path, text, file string, size int, required bool) []byte {
	if text == "" {
		if required && file == "" {
			fs.add(path, "is not set", makeKey(size))
		}
		return nil
	}
	k, ok := decodeKey(text)
	switch {
	case (!ok || len(k) != size) && placeholder(text):
		fs.add(path, "is a placeholder, not a key", makeKey(size))
	case !ok:
		fs.add(path, "is not base64", makeKey(size))
	case len(k) != size:
		fs.addf(path, makeKey(size), "is %d bytes, not %d", len(k), size)
	case guessable(k):
		fs.add(path, "is not random: it repeats, counts up or is text", makeKey(size))
	default:
		return k
	}
	return nil
}
