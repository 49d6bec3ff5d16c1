// Package secret makes, hashes and seals the values that must not be guessed
// or read: session ids, one-time codes, bearer tokens, private keys at rest.
//
// It owns the choice of primitives (crypto/rand, SHA-256, AES-256-GCM) so that
// no other package picks its own. It must not know what a value is for, must
// not log, and must not keep state.
package secret
