package member

import (
	"context"
	"errors"
	"time"

	"github.com/ssogate/ssogate/audit"
)

// Errors a caller branches on. Stores wrap them; compare with errors.Is.
var (
	ErrNotFound = errors.New("member: not found")
	ErrConflict = errors.New("member: already taken")          // unique value in use
	ErrVersion  = errors.New("member: version does not match") // optimistic lock lost
	ErrFallback = errors.New("member: fallback owner is out of reach")
	ErrRole     = errors.New("member: a connection may not give or take this role")
)

// Store runs functions inside one SQL transaction. Update commits when fn
// returns nil and rolls back otherwise; it may run fn again after a
// serialization failure, so fn must have no effect outside tx. An error of
// COMMIT whose outcome is unknown is returned, never swallowed (C12).
type Store interface {
	View(ctx context.Context, fn func(Tx) error) error
	Update(ctx context.Context, fn func(Tx) error) error
}

// Tx is everything one transaction can do. It is valid only inside fn. Inside
// Update, a row that was read stays as read until the transaction ends.
type Tx interface {
	Members
	Names
	Identities
	Teams
	Memberships
	Invitations
	Journal
	Marks
}

// Members are the member rows.
type Members interface {
	Member(id ID) (Member, error)
	InsertMember(m Member) error                  // ErrConflict when the user name's key is taken
	UpdateMember(m Member, ifVersion int64) error // ErrVersion, ErrConflict; stores m as given
	DeleteMember(id ID, ifVersion int64) error    // with identities, memberships, invitations
}

// Names find members by what others call them.
type Names interface {
	MemberByUserName(folded string) (Member, error) // see FoldUserName
	// MemberByExternalID answers ErrConflict when several members of the
	// connection carry the label: RFC 7643 section 3.1 does not make it unique.
	MemberByExternalID(connection, externalID string) (Member, error)
	UserNameTaken(key string) (bool, error) // see UserNameKey
	EmailTaken(folded string) (bool, error) // false for ""
}

// Identities are (provider, issuer, subject) keys and their tombstones.
type Identities interface {
	MemberByIdentity(i Identity) (Member, error)
	IdentitiesOf(id ID) ([]Identity, error)
	InsertIdentity(id ID, i Identity) error // ErrConflict
	DeleteIdentity(id ID, i Identity) error // no error when there is none
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

// TeamMember is one member of a team, as lists show him.
type TeamMember struct {
	ID          ID
	DisplayName string
}

// Memberships are rows, never a document, so concurrent writers lose nobody (G7).
type Memberships interface {
	TeamsOf(id ID) ([]Team, error)                           // by slug
	MembersOf(team ID) ([]TeamMember, error)                 // by id
	AddMemberships(team ID, ids []ID) (added int, err error) // ErrNotFound for an unknown member
	RemoveMemberships(team ID, ids []ID) (removed int, err error)
	UnknownMembers(connection string, ids []ID) ([]ID, error) // those that do not exist in the connection's scope
}

// Invitations are pending acceptances.
type Invitations interface {
	Invitation(tokenHash string) (Invitation, error)
	InvitationsOf(id ID) ([]Invitation, error) // oldest first
	InsertInvitation(i Invitation) error
	AcceptInvitations(id ID) error
	// DropInvitations removes those that are not accepted, and their letters that
	// are not sent.
	DropInvitations(id ID) error
	OpenInvitation(tokenHash string, at time.Time) error // keeps the first time
	// QueueMail puts a letter into the outbox.
	QueueMail(m Mail) error
	// MailOf is what became of an invitation's letter: [ErrNotFound] when it has none.
	MailOf(tokenHash string) (state MailState, reason string, err error)
}

// Journal is the revocation log and the audit log, written with the change.
type Journal interface {
	// Revoke appends a row and returns its number. It must be the LAST write of
	// the transaction before commit: it locks the counter row (C1).
	Revoke(r Revocation) (seq int64, err error)
	// LatestRevocation is the number of the last row of that target, 0 when
	// there is none. The empty scope asks for the log's number.
	LatestRevocation(scope RevocationScope, target string) (seq int64, err error)
	Audit(e audit.Event) error // before Revoke
	// EndSession writes the tombstone of one session: hash until its absolute end (C6).
	EndSession(s EndedSession) error
	SessionEnded(hash string) (bool, error)
}

// Marks are what an admission compares besides the member's own row.
type Marks interface {
	// EndedBefore is the number of the last End row of scope all, provider or
	// logins that concerns a member's session; 0 when there is none. Such rows are
	// kept for longer than any session lives.
	EndedBefore(id ID, ref SessionRef) (seq int64, err error)
	// SettingsVersion is the version of the live settings (C11).
	SettingsVersion() (int64, error)
}
