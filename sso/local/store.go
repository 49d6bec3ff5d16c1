package local

import (
	"context"
	"errors"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/member"
)

// Errors of a [Store] that a caller branches on; member.ErrNotFound is another one.
var (
	// ErrLink means a one-time link that is unknown, used or over.
	ErrLink = errors.New("local: link cannot be used")
	// ErrUsed means a code that there is not, or that was used, or a password that
	// was changed since it was compared.
	ErrUsed = errors.New("local: code cannot be used")
)

// Store keeps credentials, links, counters and uses. store/sql is the real one.
type Store interface {
	Credentials
	Codes
	Links
	Attempts
	Uses
}

// Credential is what a member signs in with here.
type Credential struct {
	Member   member.ID
	Password string // argon2id in PHC form
	TOTP     []byte // sealed in SealContext; empty = none
	Step     int64  // of TOTP that was used last
	Updated  time.Time
}

// SealContext is what a member's TOTP secret is sealed in.
func SealContext(id member.ID) string { return "totp of member " + string(id) }

// Setting is one change of a member's credentials. It happens whole or not at all.
type Setting struct {
	Credential
	Codes []string // hashes of new recovery codes in the place of all others; nil keeps them
	Link  string   // hash of the link that allows it and is used up, or ""
}

// Redemption is one use of a second factor.
type Redemption struct {
	Member   member.ID
	Password string // in PHC form, as it was compared
	Code     string // hash of a recovery code, or ""
	Step     int64  // of TOTP, where Code is ""
	Use      Use
}

// Credentials are passwords, and the secrets of authenticator apps.
type Credentials interface {
	// Credential is a member's own, or member.ErrNotFound.
	Credential(ctx context.Context, id member.ID) (Credential, error)
	// SetCredential writes one and uses up its link: [ErrLink]. All other links of
	// the member end with it.
	SetCredential(ctx context.Context, s Setting, e audit.Event) error
	// AnyPassword reports whether anybody but fallback owners has one.
	AnyPassword(ctx context.Context) (bool, error)
}

// Codes are the second factors, each of which opens once.
type Codes interface {
	// ReplaceCodes exchanges all recovery codes: member.ErrNotFound without a password.
	ReplaceCodes(ctx context.Context, id member.ID, hashes []string, e audit.Event) error
	// Redeem uses up a code, or a step and all before it, at most once: [ErrUsed].
	Redeem(ctx context.Context, r Redemption, e audit.Event) error
	// Holds reports whether a recovery code can be used, and uses nothing up.
	Holds(ctx context.Context, id member.ID, hash string) (bool, error)
	// CodesLeft counts the recovery codes that can still be used.
	CodesLeft(ctx context.Context, id member.ID) (int, error)
}

// Purpose is what a one-time link is for. The zero value is for nothing.
type Purpose string

// Purposes.
const (
	Setup Purpose = "setup" // of a fallback owner: password and codes
	Reset Purpose = "reset" // of a member's password
)

// Link lets its bearer set a member's credentials, once. Only its hash is kept.
type Link struct {
	Hash    string
	Member  member.ID
	Purpose Purpose
	Created time.Time
	Expires time.Time
}

// Links are one-time links.
type Links interface {
	// InsertLink ends the other links of the member that have the same purpose.
	InsertLink(ctx context.Context, l Link, e audit.Event) error
	// Link reads one that can be used at a moment, without any effect: [ErrLink].
	Link(ctx context.Context, hash string, at time.Time) (Link, error)
}

// Counter is how often something failed.
type Counter struct {
	Name     string
	Failures int
	Last     time.Time
}

// Attempts are the counters that slow guessing.
type Attempts interface {
	// Count reads counters (zero where there is none), lets fn change them, and
	// writes them, in one step: nobody else changes one meanwhile. fn may run again.
	Count(ctx context.Context, names []string, fn func([]Counter)) error
	// SweepLocal removes counters that were not touched since, and links that ended before.
	SweepLocal(ctx context.Context, before time.Time) error
}

// Use is one time that a fallback owner got in.
type Use struct {
	ID           string
	Member       member.ID
	UserName     string
	At           time.Time
	Address      string
	RequestID    string
	Factor       string // "totp" or "recovery_code"
	Acknowledged time.Time
	Acknowledger string // who said that he has seen it
}

// Uses are the uses of the break-glass way in, for the banner that stays until an
// owner has seen it.
type Uses interface {
	// FallbackUses lists those that nobody has acknowledged, newest first.
	FallbackUses(ctx context.Context) ([]Use, error)
	// AcknowledgeFallback notes who has seen one: member.ErrNotFound for none that is open.
	AcknowledgeFallback(ctx context.Context, id string, by member.Actor, at time.Time) error
	// Owners lists the owners who are admitted, for those who must be told.
	Owners(ctx context.Context) ([]member.Member, error)
}
