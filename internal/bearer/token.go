package bearer

import (
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ssogate/ssogate/internal/secret"
)

// Labels in front of tokens make a leaked one recognizable to secret scanners, to
// the person who finds it in a log, and to the gate, which forwards none.
const (
	SCIM    = "ssogate_scim_"    // also of client secrets and access tokens
	Machine = "ssogate_machine_" //
)

// random is how many characters secret.NewToken has: 256 bits in base64url.
const random = 43

// UseEvery is how often a token's last use is written at most.
const UseEvery = time.Minute

const maxName = 100 // characters

// Stored is a token, or a client secret, as it is kept. The value itself was shown
// once; only its hash is kept.
type Stored struct {
	ID       string
	Name     string
	Hash     string // hex SHA-256
	Created  time.Time
	Creator  string
	Expires  time.Time // zero = never
	LastUsed time.Time
	LastAddr string
}

// New makes a token: a label and 256 random bits.
func New(label string) (token string, hash secret.Hash) {
	token = label + secret.NewToken()
	return token, secret.Sum(token)
}

// ID is a name for a token in lists and commands: unique, because it is part of its
// hash, and tells nothing of the token.
func ID(hash secret.Hash) string { return hash.String()[:16] }

// Keep is what is kept of a new token. A zero expires never ends. The error says, for
// people, what of it cannot be.
func Keep(id string, hash secret.Hash, name, creator string, expires time.Time) (Stored, error) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	switch {
	case name == "" || utf8.RuneCountInString(name) > maxName || !printable(name):
		return Stored{}, errors.New("the name must be 1 to 100 printable characters")
	case !expires.IsZero() && !expires.After(now):
		return Stored{}, errors.New("it would already have expired")
	}
	return Stored{ID: id, Name: name, Hash: hash.String(), Created: now, Creator: creator, Expires: expires}, nil
}

func printable(s string) bool {
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return utf8.ValidString(s)
}

// HasForm reports whether a value could be a token that New made with this label.
// Only such a value is worth a question to the store.
func HasForm(token, label string) bool {
	return len(token) == len(label)+random && strings.HasPrefix(token, label)
}

// Ours reports whether a header's value holds anything with a label of ours, in
// whatever form: no application has a use for it (row H08).
func Ours(value string) bool {
	return strings.Contains(value, "ssogate_") && (strings.Contains(value, Machine) || strings.Contains(value, SCIM))
}

// Is reports whether s is the token with this hash. A store finds tokens by an index,
// which is no comparison in constant time; the hash tells an attacker nothing about
// the token, but compare anyway.
func (s *Stored) Is(hash secret.Hash) bool {
	stored, err := secret.ParseHash(s.Hash)
	return err == nil && stored.Equal(hash)
}

// Expired reports whether the token is over. The moment of its end is over.
func (s *Stored) Expired(now time.Time) bool { return !s.Expires.IsZero() && !now.Before(s.Expires) }

// UseDue reports whether a use now is worth writing down: an import must not write a
// row per request.
func (s *Stored) UseDue(now time.Time) bool { return now.Sub(s.LastUsed) >= UseEvery }
