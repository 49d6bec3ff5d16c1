package member

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ssogate/ssogate/audit"
)

// Actor is who changes something, for the audit event.
type Actor struct {
	Name      string // "scim:okta", "member:<id>", "cli", "system"
	RequestID string
	Address   string
}

// Login is what a verified sign-in brings to [Directory.Admit].
type Login struct {
	Identity Identity
	Known    Known
	Profile  Profile
	Groups   []string
	// GroupsMissing says why Groups is empty although the provider has some for the
	// person; "" = Groups is all.
	GroupsMissing string
	Teams         bool        // his Groups are his teams; without effect where Connection is set
	Join          Join        // the provider's policy
	Connection    *Connection // the provider's enabled SCIM connection, or nil
	Invitation    string      // hash of the invitation token this browser opened, or ""
	Accept        bool        // the person just clicked "accept" on our page
	Actor         Actor
}

// Known is what a provider's directory calls a person: what its SCIM connection's
// Match attribute is compared with, and the marks of somebody it removed. The zero
// value is the Subject for both; it is set only where the Subject is made of
// something that SCIM does not carry.
type Known struct {
	UserName   string `json:"user_name,omitempty"`
	ExternalID string `json:"external_id,omitempty"`
}

func (l Login) known() Known {
	k := l.Known
	if k.UserName == "" {
		k.UserName = l.Identity.Subject
	}
	if k.ExternalID == "" {
		k.ExternalID = l.Identity.Subject
	}
	return k
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
type Refusal struct { //nolint:errname // a verdict that is also an error; its pages say "refusal"
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
	EndedBefore  int64    // the last row that ended this session among others (see [Marks]); sessions stamped lower are dead
	Settings     int64    // version of the live settings (C11)
}

// SessionRef names the session that a [Snapshot] is read for.
type SessionRef struct {
	Hash     string // hex of the hash of its id
	Provider string
	Index    string // the provider's own session, or ""
}

// Logins are what a logout at the provider may name to end this session: all that
// the member has there, or this one.
func (ref SessionRef) Logins(id ID) (all, one Logins) {
	return Logins{id, ref.Provider, ""}, Logins{id, ref.Provider, ref.Index}
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
// Store and Revoker are required.
//
// Every method that ends or narrows access waits for the Revoker's barrier
// after its commit. Its error then means "durable, not yet confirmed": callers
// answer 503, and a retry waits again for the same row (C2).
type Directory struct {
	Store   Store
	Revoker Revoker
	Now     func() time.Time // time.Now when nil
	// Letters writes invitations; nil where no mail can be sent: then none is made,
	// and a provisioned member accepts at his first sign-in.
	Letters Letters
}

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
	if err := d.Revoker.Barrier(ctx, seq); err != nil {
		return fmt.Errorf("member: cut-off %d is committed but not yet confirmed: %w", seq, err)
	}
	return nil
}

// event starts the audit event of a change by a.
func (a Actor) event(kind string, target ID, provider string) audit.Event {
	e := audit.Event{
		Kind: kind, Outcome: audit.Allowed, Actor: a.Name,
		Provider: provider, RequestID: a.RequestID, Address: a.Address,
	}
	if target != "" {
		e.Target, _, _ = strings.Cut(kind, ".")
		e.Target += ":" + string(target)
	}
	return e
}

// NewID makes the id of a member or team: 128 random bits, so that nobody can
// guess the next one (row C09).
func NewID() ID { return ID(strings.ToLower(rand.Text())) }

// MadeHere reports whether id has the form of [NewID].
func MadeHere(id ID) bool {
	return len(id) == len(NewID()) && strings.Trim(string(id), "abcdefghijklmnopqrstuvwxyz234567") == ""
}
