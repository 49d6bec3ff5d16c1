package machine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/ssogate/ssogate/internal/bearer"
	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
)

// maxHeld bounds how many tokens are held; past it an arbitrary one makes room.
const maxHeld = 10_000

// RefusedError means that a bearer is good for nothing here, whatever it is: 401. Every
// other error means that it cannot be known now: 503.
type RefusedError struct {
	Reason string // machine word, for log and audit: token_unknown, jwt_audience
	Err    error  // more of it, for the log, or nil
}

func (e *RefusedError) Error() string {
	if e.Err != nil {
		return "machine: " + e.Reason + ": " + e.Err.Error()
	}
	return "machine: " + e.Reason
}

// Unwrap returns the cause.
func (e *RefusedError) Unwrap() error { return e.Err }

// NotMine is the reason of an issuer that has not made the token: another may have.
const NotMine = "jwt_issuer"

func refused(reason string) error { return &RefusedError{Reason: reason} }

// Options of [NewAdmitter]. Tokens and Cutoff are required.
type Options struct {
	Tokens Tokens
	Cutoff *session.Cutoff
	Now    clock.Func // time.Now when nil
	Log    *slog.Logger
}

// Admitter answers whose a service token is. Safe for concurrent use.
type Admitter struct {
	o    Options
	held *session.Leased
	uses uses
}

// NewAdmitter makes one. Run must be running for uses to be written down.
func NewAdmitter(o Options) (*Admitter, error) {
	if o.Tokens == nil || o.Cutoff == nil {
		return nil, errors.New("machine: tokens and cutoff are required")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Now = session.Steady(o.Now) // a clock set back lengthens no token's life
	return &Admitter{o: o, held: o.Cutoff.NewLeased(maxHeld), uses: uses{m: map[secret.Hash]use{}}}, nil
}

// Admit answers whose a token is and notes its use. Which routes it is for is in the
// answer, for the caller to hold it to. Errors are a *[RefusedError], then the
// principal says whose it was where that is known, or the store's.
func (a *Admitter) Admit(ctx context.Context, token string, from netip.Addr) (*session.Principal, error) {
	// Only what has the form of a token we made is worth a question to the store.
	if !bearer.HasForm(token, bearer.Machine) {
		return nil, refused("token_unknown")
	}
	h := secret.Sum(token)
	p := a.held.Get(h)
	if p == nil {
		var err error
		if p, err = a.read(ctx, h); err != nil {
			return nil, err
		}
	}
	now := a.o.Now()
	if over(p, now) {
		return p, refused("token_expired")
	}
	a.uses.note(p.Session, now, from)
	return p, nil
}

// Again answers whether what a token was admitted for may go on, by a read of its own.
// It is no use of the token. Errors are those of Admit.
func (a *Admitter) Again(ctx context.Context, p *session.Principal) (*session.Principal, error) {
	p, err := a.read(ctx, p.Session)
	if err == nil && over(p, a.o.Now()) {
		return p, refused("token_expired")
	}
	return p, err
}

func over(p *session.Principal, now time.Time) bool {
	return !p.Expires.IsZero() && !now.Before(p.Expires)
}

func (a *Admitter) read(ctx context.Context, h secret.Hash) (*session.Principal, error) {
	return a.held.Read(ctx, h, func(ctx context.Context) (session.Principal, int64, error) {
		t, seq, err := a.o.Tokens.MachineToken(ctx, h.String())
		switch {
		case errors.Is(err, member.ErrNotFound):
			return session.Principal{}, 0, refused("token_unknown")
		case err != nil:
			return session.Principal{}, 0, fmt.Errorf("machine: read token: %w", err)
		case !t.Is(h):
			return session.Principal{}, 0, refused("token_unknown")
		}
		return t.Principal(), seq, nil
	})
}

// Vouched is what an issuer says of the machine that holds a JWT of its.
type Vouched struct {
	Hash    secret.Hash // of the JWT
	Issuer  string      // its name in the config file
	Subject string
	Teams   []string // slugs of ours, sorted
	Issued  time.Time
	Expires time.Time
}

// Vouched makes a principal of it. Issuers name their machines as they like, so the
// issuer's own name stands before, with a slash, which no service token's name has.
func (a *Admitter) Vouched(v Vouched) *session.Principal {
	return a.o.Cutoff.Stamp(session.Principal{
		Session: v.Hash, Machine: &session.Machine{ID: session.MachineID(v.Issuer + "/" + v.Subject), Issuer: v.Issuer},
		Teams: v.Teams, Issued: v.Issued, Expires: v.Expires,
	})
}
