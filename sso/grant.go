package sso

import (
	"context"
	"encoding/json"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
)

// Refresher is a [Provider] that can be asked again, while the person is away,
// whether he may still be signed in: OpenID Connect with refresh tokens.
type Refresher interface {
	// Refresh redeems the refresh token that a sign-in of who brought (RFC 6749
	// section 6). It has a deadline of its own. Errors are *RefreshError.
	Refresh(ctx context.Context, who member.Identity, token string) (Refreshed, error)
}

// Refreshed is a provider's answer, read but not yet believed.
type Refreshed interface {
	// Token replaces the one that was redeemed, "" when that one stays in force. A
	// provider that rotates takes the old one for stolen from now on (RFC 9700
	// section 4.14.2): store it before anything else.
	Token() string
	// Verify checks that the answer is about the person who was asked about. It
	// has a deadline of its own. Errors are *RefreshError.
	Verify(ctx context.Context) error
}

// RefreshError says why a refresh confirmed nothing. The zero value is an
// unexplained failure, after which the session goes on until its own end.
type RefreshError struct {
	Outcome string // a machine word for log and counter
	// Refused: the provider no longer vouches for the person, and trying again
	// would not help.
	Refused    bool
	RetryAfter time.Duration // what the provider asked for, 0 = nothing
	Err        error         // never contains a token or the provider's answer
}

func (e *RefreshError) Error() string {
	if e.Err == nil {
		return "sso: refresh: " + e.Outcome
	}
	return "sso: refresh: " + e.Outcome + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *RefreshError) Unwrap() error { return e.Err }

// endUnused bounds ending a session that nobody has: the person is waiting.
const endUnused = 2 * time.Second

// Grants keep the refresh tokens of sessions. sso/refresh is the real one.
type Grants interface {
	// Keep stores what a new session needs to be asked about again, and does
	// nothing for a provider of which nobody asks. After an error the session
	// must not be given to anybody: it could never be asked about.
	Keep(ctx context.Context, r session.Record, who member.Identity, token string) error
}

// carried is what of a verified sign-in is sealed while it waits for its browser.
type carried struct {
	Refresh string  `json:"refresh,omitempty"`
	SignOut SignOut `json:"sign_out"`
}

// putOutcome keeps a verified sign-in until its browser comes back with the code.
// The tokens inside are sealed with a key that only the bearer of the code can
// derive: the store alone gives nobody a standing grant at the provider.
func (f *Flow) putOutcome(ctx context.Context, k RecordKind, code string, o outcome, until time.Time) error {
	o.Grant = nil
	c := carried{o.Assertion.RefreshToken, o.Assertion.SignOut}
	if len(c.SignOut.Hint) > maxHint {
		// It only spares the person a question at the provider.
		c.SignOut.Hint = nil
	}
	if c.Refresh != "" || c.SignOut.Person != "" || c.SignOut.Index != "" {
		sealer, err := secret.NewSealer(secret.KeyFor("grant", code))
		if err != nil {
			return err
		}
		plain, err := json.Marshal(c)
		if err != nil {
			return err
		}
		o.Grant = sealer.Seal(plain, grantContext(o))
	}
	return f.putJSON(ctx, key(k, code), o, until)
}

// openGrant puts what was sealed back where it was.
func (o *outcome) openGrant(code string) error {
	if o.Grant == nil {
		return nil
	}
	sealer, err := secret.NewSealer(secret.KeyFor("grant", code))
	if err != nil {
		return err
	}
	plain, err := sealer.Open(o.Grant, grantContext(*o))
	if err != nil {
		return err
	}
	var c carried
	if err := json.Unmarshal(plain, &c); err != nil {
		return err
	}
	o.Assertion.RefreshToken, o.Assertion.SignOut = c.Refresh, c.SignOut
	return nil
}

func grantContext(o outcome) string { return "grant|" + o.Assertion.Identity.Provider }

// keepGrant gives a new session what it will be asked about and ended with. Where
// that cannot be stored nobody gets the session: it would outlive the person's
// account at the provider, or a sign-out there, until its own end. Its id has not
// left this process, so nobody can use it meanwhile; it is ended all the same, so
// that no list of sessions shows it. The person signs in again.
func (f *Flow) keepGrant(ctx context.Context, by member.Actor, m member.Member, r session.Record, a Assertion) error {
	err := f.keepSignOut(ctx, m, r, a)
	if err == nil && f.Grants != nil {
		err = f.Grants.Keep(ctx, r, a.Identity, a.RefreshToken)
	}
	if err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endUnused)
	defer cancel()
	unused := &session.Principal{Session: r.Hash, Member: m, Provider: r.Provider, Expires: r.Expires}
	if end := f.Sessions.End(ctx, by, unused, "refresh_not_kept"); end != nil {
		f.Log.WarnContext(ctx, "a session that nobody has could not be ended; it is listed until its end", "session", r.Hash.Short(), "err", end)
	}
	return err
}
