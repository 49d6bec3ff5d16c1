package member

import (
	"context"
	"errors"

	"github.com/ssogate/ssogate/audit"
)

// Errors a caller branches on. Stores wrap them; compare with errors.Is.
var (
	ErrNotFound = errors.New("member: not found")
	ErrConflict = errors.New("member: already taken")          // unique value in use
	ErrVersion  = errors.New("member: version does not match") // optimistic lock lost
	ErrFallback = errors.New("member: fallback owner is out of reach")
)

// Store runs functions inside one SQL transaction. Update commits when fn
// returns nil and rolls back otherwise; it may run fn again after a
// serialization failure, so fn must have no effect outside tx. An error of
// COMMIT whose outcome is unknown is returned, never swallowed (C12).
type Store interface {
	View(ctx context.Context, fn func(Tx) error) error
	Update(ctx context.Context, fn func(Tx) error) error
}

// Tx is everything one transaction can do. It is valid only inside fn.
type Tx interface {
	Members
	Identities
	Teams
	Memberships
	Invitations
	Journal
}

// Members are the member rows.
type Members interface {
	Member(id ID) (Member, error)
	MemberByUserName(folded string) (Member, error) // see FoldUserName
	MemberByExternalID(connection, externalID string) (Member, error)
	InsertMember(m Member) error                  // ErrConflict on userName
	UpdateMember(m Member, ifVersion int64) error // ErrVersion, ErrConflict; stores m as given
	DeleteMember(id ID, ifVersion int64) error    // with identities, memberships, invitations
}

// Identities are (provider, issuer, subject) keys and their tombstones.
type Identities interface {
	MemberByIdentity(i Identity) (Member, error)
	IdentitiesOf(id ID) ([]Identity, error)
	InsertIdentity(id ID, i Identity) error // ErrConflict
	Tombstone(i Identity) (Tombstone, error)
	InsertTombstone(t Tombstone) error        // replaces
	DeleteTombstones(id ID, i Identity) error // by member id when i is zero, else by identity
}

// Teams are the team rows.
type Teams interface {
	Team(id ID) (Team, error)
	TeamByName(connection, foldedDisplayName string) (Team, error)
	TeamBySlug(slug string) (Team, error)
	InsertTeam(t Team) error
	UpdateTeam(t Team, ifVersion int64) error
	DeleteTeam(id ID, ifVersion int64) error
}

// Memberships are rows, never a document, so concurrent writers lose nobody (G7).
type Memberships interface {
	TeamsOf(id ID) ([]Team, error)
	MembersOf(team ID) ([]ID, error)
	AddMembership(team, id ID) (added bool, err error) // ErrNotFound for an unknown member
	RemoveMembership(team, id ID) (removed bool, err error)
	UnknownMembers(connection string, ids []ID) ([]ID, error) // those that do not exist in the connection's scope
}

// Invitations are pending acceptances.
type Invitations interface {
	Invitation(tokenHash string) (Invitation, error)
	InsertInvitation(i Invitation) error
	AcceptInvitations(id ID) error
}

// Journal is the revocation log and the audit log, written with the change.
type Journal interface {
	// Revoke appends a row and returns its number. It must be the LAST write of
	// the transaction before commit: it locks the counter row (C1).
	Revoke(r Revocation) (seq int64, err error)
	LatestRevocation(scope RevocationScope, target string) (seq int64, err error) // 0 when none
	Audit(e audit.Event) error
	// EndSession writes the tombstone of one session: hash until its absolute end (C6).
	EndSession(s EndedSession) error
	SessionEnded(hash string) (bool, error)
}
