package sso

import (
	"errors"
	"fmt"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
)

// Limits of a [Pending] store.
const (
	MaxPendingValue = 16 << 10  // bytes of one value
	MaxFormValue    = 264 << 10 // of one of KindForm
	MaxTake         = 8         // keys of one Take

	// verifiedFactor: records made only after an IdP's answer was verified get
	// this many times the budget of anonymous ones. A flood of strangers must
	// not keep those out who have already signed in at their IdP (row D01).
	verifiedFactor = 10
	// meanValue times the number of anonymous records is the byte budget of a
	// kind: a flood of the largest values is stopped earlier than one of small ones.
	meanValue = 4 << 10
)

// ErrPending means the caller asked for something no Pending store does: a
// value too large, a key without hash, a record that has expired already.
var ErrPending = errors.New("sso: not a valid pending record")

// Anonymous reports whether a stranger can cause records of this kind without
// having signed in anywhere. Kinds not known to come after a verified answer are.
func (k RecordKind) Anonymous() bool {
	switch k {
	case KindCode, KindHandoff, KindUsed, KindAssertion, KindAccept, KindForm:
		return false
	default:
		return true
	}
}

// Budget is how many records and bytes of kind k a store holds at most, when
// the operator allows n pending sign-ins. Each kind has a budget of its own. (C13)
func (k RecordKind) Budget(n int) (records, bytes int64) {
	records, bytes = int64(n), int64(n)*meanValue
	switch {
	case k == KindForm:
		// Forms are large and few, and losing one to a full store is a nuisance, no more.
		records = max(records/10, 1)
	case !k.Anonymous():
		records *= verifiedFactor
	}
	return records, bytes
}

// MaxValue is how many bytes one value of kind k may have.
func (k RecordKind) MaxValue() int {
	if k == KindForm {
		return MaxFormValue
	}
	return MaxPendingValue
}

// Check reports whether k can name a record: a kind of lower-case letters (it
// becomes part of a store's key) and a hash that was set.
func (k Key) Check() error {
	if k.Kind == "" || len(k.Kind) > 32 {
		return fmt.Errorf("%w: kind of %d bytes", ErrPending, len(k.Kind))
	}
	for _, c := range []byte(k.Kind) {
		if c < 'a' || c > 'z' {
			return fmt.Errorf("%w: kind %q", ErrPending, k.Kind)
		}
	}
	if k.Hash.IsZero() {
		return fmt.Errorf("%w: %s without hash", ErrPending, k.Kind)
	}
	return nil
}

// CheckPut reports whether a record may be written at now. One that has expired
// is refused and not dropped in silence: for Once that would be a replay
// accepted (row S17).
func CheckPut(k Key, value []byte, until, now time.Time) error {
	if err := k.Check(); err != nil {
		return err
	}
	if len(value) > k.Kind.MaxValue() {
		return fmt.Errorf("%w: %s of %d bytes, at most %d", ErrPending, k.Kind, len(value), k.Kind.MaxValue())
	}
	if until.Sub(now) < time.Millisecond {
		return fmt.Errorf("%w: %s has already expired", ErrPending, k.Kind)
	}
	return nil
}

// CheckTake reports whether keys can be taken together: one to [MaxTake], each
// of them once.
func CheckTake(keys []Key) error {
	if len(keys) == 0 || len(keys) > MaxTake {
		return fmt.Errorf("%w: take of %d keys", ErrPending, len(keys))
	}
	seen := make(map[secret.Hash]RecordKind, len(keys))
	for _, k := range keys {
		if err := k.Check(); err != nil {
			return err
		}
		if kind, ok := seen[k.Hash]; ok && kind == k.Kind {
			return fmt.Errorf("%w: the same %s twice", ErrPending, k.Kind)
		}
		seen[k.Hash] = k.Kind
	}
	return nil
}
