package refresh

import (
	"context"
	"errors"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
)

// Grant is what one session is asked about with.
type Grant struct {
	Session  secret.Hash
	Member   member.ID
	Epoch    int64           // these two as the session was stamped with them
	Seq      int64           //
	Identity member.Identity // whom the provider vouched for
	Token    []byte          // the refresh token, sealed for this session
	Due      time.Time       // when the provider is asked next
	Expires  time.Time       // the session's absolute end; nobody is asked after it
	Failures int             // in a row
}

// maxSealed bounds a sealed token: a token of 4 KiB with nonce and tag.
const maxSealed = 4<<10 + 64

// Check refuses a grant that could not be used, or would be too large to keep.
func (g Grant) Check() error {
	switch {
	case g.Session.IsZero(), g.Member == "", g.Identity.Provider == "", g.Identity.Issuer == "", g.Identity.Subject == "":
		return errors.New("refresh: grant without a session, member or identity")
	case len(g.Token) == 0 || len(g.Token) > maxSealed:
		return errors.New("refresh: grant without a token, or with one too large")
	case g.Due.IsZero() || g.Expires.IsZero():
		return errors.New("refresh: grant without its times")
	}
	return nil
}

// Claim asks a [Store] for work.
type Claim struct {
	ID       string // random; names this claim and no other
	Provider string
	Now      time.Time
	Until    time.Time // when the lease runs out unless it is renewed
	Limit    int
}

// ErrLost means that the claim does not hold the grant: its lease ran out and
// another took it, or the grant is gone.
var ErrLost = errors.New("refresh: the claim does not hold this grant")

// Store keeps grants. store/sql is the real one; it passes ssotest.Grants. Safe
// for concurrent use, by several nodes at once. It has no clock of its own, so
// the nodes' clocks may differ by what a lease is longer than the time in which
// it is renewed.
type Store interface {
	// Put adds the grant of a new session; a second one of a session is an error.
	Put(ctx context.Context, g Grant) error
	// Claim leases at most c.Limit grants of the provider that are due, not expired
	// and not leased, those that wait longest first. Two claims never get one grant.
	Claim(ctx context.Context, c Claim) ([]Grant, error)
	// Hold extends the lease and, unless token is nil, replaces the token, in one
	// step. [ErrLost]. Repeating it changes nothing more.
	Hold(ctx context.Context, session secret.Hash, claim string, until time.Time, token []byte) error
	// Settle ends the lease: due is when it is asked next. [ErrLost].
	Settle(ctx context.Context, session secret.Hash, claim string, due time.Time, failures int) error
	// Delete removes a grant under its claim. [ErrLost].
	Delete(ctx context.Context, session secret.Hash, claim string) error
}
