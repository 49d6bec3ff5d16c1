package member

import (
	"context"
	"errors"
	"time"
)

// Actor is who changes something, for the audit event.
type Actor struct {
	Name      string // "scim:okta", "member:<id>", "cli", "system"
	RequestID string
	Address   string
}

// Login is what a verified sign-in brings to [Directory.Admit].
type Login struct {
	Identity   Identity
	Profile    Profile
	Groups     []string
	Join       Join        // the provider's policy
	Connection *Connection // the provider's enabled SCIM connection, or nil
	Invitation string      // hash of the invitation token this browser opened, or ""
	Accept     bool        // the person just clicked "accept" on our page
	Actor      Actor
}

// RefusalCode says why a verified person may not pass. The zero value is an
// unexplained refusal, and still a refusal.
type RefusalCode string

// Refusals. Each has its own page.
const (
	RefusedUnknown           RefusalCode = ""
	RefusedNotMember         RefusalCode = "not_a_member"
	RefusedDeactivated       RefusalCode = "deactivated"
	RefusedSuspended         RefusalCode = "suspended"
	RefusedInvitationPending RefusalCode = "invitation_pending" // one click accepts
	RefusedRemoved           RefusalCode = "removed"            // tombstone
	RefusedSecondSubject     RefusalCode = "second_subject"     // the provisioned member is already linked to another subject
	RefusedUserNameTaken     RefusalCode = "user_name_taken"
)

// Refusal is the typed error of [Directory.Admit]. Member is set when known.
type Refusal struct {
	Code   RefusalCode
	Member Member
}

func (r *Refusal) Error() string { return "member: refused: " + string(r.Code) }

// Snapshot is the uncached read of one admission: everything about one member
// as of one point in time (C11).
type Snapshot struct {
	Member       Member
	Teams        []string // slugs, sorted
	SessionEnded bool     // a tombstone for this session exists
	Seq          int64    // the revocation log's number at the read
}

// EndedSession is the tombstone of one session.
type EndedSession struct {
	Hash   string
	Member ID
	Until  time.Time // the session's absolute end
	Reason string
}

// TeamChange is one atomic change of a team. Nil fields keep what is stored.
type TeamChange struct {
	DisplayName *string
	ExternalID  *string
	// Steps are applied in order inside one transaction.
	Steps []MembershipStep
}

// MembershipStep adds, removes or replaces members of a team.
type MembershipStep struct {
	Op  MembershipOp
	IDs []ID // Replace with none empties the team
}

// MembershipOp is the verb of a [MembershipStep].
type MembershipOp string

// Membership operations.
const (
	AddMembers     MembershipOp = "add"
	RemoveMembers  MembershipOp = "remove" // an id that is not in the team is no error
	ReplaceMembers MembershipOp = "replace"
)

// UnknownMembersError names the ids a membership change could not resolve.
// Nothing was applied.
type UnknownMembersError struct{ IDs []ID }

func (e *UnknownMembersError) Error() string { return "member: unknown members" }

// ErrOutOfScope means the member or team belongs to another connection or to none.
// SCIM answers it as 404, the same as a missing id (C09).
var ErrOutOfScope = errors.New("member: not in this connection's scope")

// Directory is the only writer of members and teams. Safe for concurrent use.
// All fields are required except Now.
type Directory struct {
	Store   Store
	Revoker Revoker
	Now     func() time.Time // time.Now when nil
}

// The methods of Directory and their contract (bodies in the files beside this one):
//
// admit.go
//	Admit(ctx, Login) (Member, error)
//	    linked identity -> that member; else the member that Login.Connection provisioned and whose Match
//	    attribute equals the subject (userName compared folded, externalId exactly), linked once; else the
//	    invitation in Login.Invitation; else a new member when Join == idp and no tombstone. *Refusal otherwise.
//	    With Accept (or Activation first_sign_in) a pending invitation is accepted in the same transaction.
//	    A second subject for a linked provisioned member: RefusedSecondSubject + audit. E-mail never links (G6).
//	    Writes audit events for joins, links, acceptance; the sign-in itself is audited by sso.
//	Snapshot(ctx, ID, sessionHash string) (Snapshot, error)     one View; ErrNotFound when the member is gone
//
// provision.go (SCIM)
//	Create(ctx, Actor, Connection, Member) (Member, error)      ErrConflict; draft's userName etc.; clears no tombstone of others,
//	                                                            but clears tombstones of the member it re-creates (same connection match)
//	Get(ctx, Connection, ID) (Member, []Team, error)
//	Update(ctx, Actor, Connection, ID, ifVersion int64, change func(*Member) error) (Member, error)
//	    ifVersion 0 = any. change edits a copy inside the transaction; only UserName, names, Email, ExternalID, Wish,
//	    Document and (MaySetRole, never owner) Role may differ. No difference: no version bump, no Modified bump.
//	    Wish true->false: Epoch+1, Revoke(End, member, Epoch). Wish false->true: Epoch+1 (no revocation row needed).
//	    Wish false on an already inactive member: waits for LatestRevocation's barrier again (C2).
//	    Fallback owner: ErrFallback for deactivation, rename, delete.
//	Delete(ctx, Actor, Connection, ID, ifVersion int64) error   tombstones of all its identities, revocation, barrier
//	CreateTeam(ctx, Actor, Connection, Team, []ID) (Team, error)   slug from displayName; on a collision "<provider>.<slug>", then -2, -3...
//	GetTeam(ctx, Connection, ID) (Team, error)
//	TeamMembers(ctx, Connection, ID) ([]TeamMember, error)
//	UpdateTeam(ctx, Actor, Connection, ID, ifVersion int64, TeamChange) (Team, error)
//	    *UnknownMembersError applies nothing; one Recheck row per change set with members who lost or gained the team
//	    (scope member, target each? no: ONE row, scope all) then barrier.
//	DeleteTeam(ctx, Actor, Connection, ID, ifVersion int64) error
//
// sessions.go
//	EndSession(ctx, Actor, EndedSession) error                  tombstone + Revoke(End, session, hash) + barrier
//	EndSessions(ctx, Actor, ID, reason string) error            "sign out everywhere": Epoch+1, Revoke(End, member), barrier
//	Suspend(ctx, Actor, ID, bool) (Member, error)               an owner's suspension; same cut-off as deactivation
//
// names.go
//	FoldUserName(s string) string                               NFKC, then full Unicode case folding, trimmed; C03

// now is the injected clock, or the wall clock, in UTC and at the precision both stores keep.
func (d *Directory) now() time.Time {
	n := time.Now
	if d.Now != nil {
		n = d.Now
	}
	return n().UTC().Truncate(time.Millisecond)
}

// barrier waits until a committed revocation is true everywhere.
func (d *Directory) barrier(ctx context.Context, seq int64) error {
	if seq == 0 {
		return nil
	}
	return d.Revoker.Barrier(ctx, seq)
}
