package session

import (
	"context"
	"errors"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
)

// RecordVersion is the format written today. A record with a later one is
// refused (row K09), so that a downgraded node never misreads.
const RecordVersion = 1

// Record is what a store keeps of one session. The session id itself is in the
// browser's cookie only; Hash names it everywhere else.
type Record struct {
	Version      int         `json:"v"`
	Hash         secret.Hash `json:"-"` // stored as the record's own id and compared after every read
	Member       member.ID   `json:"m"`
	Epoch        int64       `json:"e"` // the member's epoch at sign-in
	Seq          int64       `json:"n"` // the revocation log's number at sign-in, see member.Member.AsOf
	Provider     string      `json:"p"`
	SessionIndex string      `json:"si,omitempty"` // the IdP's own session, for single logout
	Issued       time.Time   `json:"iat"`
	LastSeen     time.Time   `json:"seen"`
	Expires      time.Time   `json:"exp"`         // absolute end; never moved
	AuthTime     time.Time   `json:"at,omitzero"` // credentials were last shown, as the provider says; zero = it does not say
	Address      string      `json:"ip,omitempty"`
	UserAgent    string      `json:"ua,omitempty"`
}

// ref is how a snapshot names the session.
func (r Record) ref() member.SessionRef {
	return member.SessionRef{Hash: r.Hash.String(), Provider: r.Provider, Index: r.SessionIndex}
}

// Used is one use, as [Store.Touch] takes it.
func Used(h secret.Hash, seen time.Time) []Use { return []Use{{h, seen}} }

// Use is when a session was last used, to be written back.
type Use struct {
	Hash secret.Hash
	Seen time.Time
}

// Errors of a Store. Any other error means the store could not answer: 503, and nothing is destroyed.
var (
	ErrNotFound = errors.New("session: not found")
	// ErrMismatch: the store answered with another session's record, a truncated
	// or a future-versioned one. That request is refused; nobody else notices.
	ErrMismatch = errors.New("session: record does not belong to this id")
)

// Remembered is how long a store still knows a session that came to its end by itself.
// Until then a form that was sent too late can be told from a forged one.
const Remembered = 24 * time.Hour

// Store keeps sessions. Implementations: store/redis and store/sql; both pass
// sessiontest.Store. Safe for concurrent use. Expired records (absolute end) are
// never returned, but by Past.
type Store interface {
	// Create adds a new record; an existing hash is an error.
	Create(ctx context.Context, r Record) error
	// Get returns the record or ErrNotFound / ErrMismatch.
	Get(ctx context.Context, h secret.Hash) (Record, error)
	// Past is Get also for a record whose absolute end was up to [Remembered] ago. One
	// that Delete removed is not found; of DeleteMember only the epoch tells.
	Past(ctx context.Context, h secret.Hash) (Record, error)
	// Touch sets LastSeen of those that exist and were last seen earlier: two
	// nodes may write back in any order. It never creates a session (C6) and never
	// moves the absolute end. Missing ones are no error. After an error some may be set.
	Touch(ctx context.Context, uses []Use) error
	// Delete removes one session; a missing one is no error.
	Delete(ctx context.Context, h secret.Hash) error
	// DeleteMember removes the member's sessions whose epoch is below, and answers how many (C7).
	DeleteMember(ctx context.Context, id member.ID, below int64) (int, error)
	// List returns the member's live sessions, newest first.
	List(ctx context.Context, id member.ID) ([]Record, error)
}
