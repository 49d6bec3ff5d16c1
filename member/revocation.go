package member

import (
	"context"
	"strings"
	"time"
)

// RevocationKind tells what a revocation does to what it names.
type RevocationKind string

// Kinds of revocation.
const (
	// End kills sessions, requests in flight and streams.
	End RevocationKind = "end"
	// Recheck makes principals stale and closes streams whose route now refuses.
	Recheck RevocationKind = "recheck"
	// Reload makes every node read something again before it acknowledges the
	// row. Target is what: [ReloadSettings], [ReloadKeys] or [ReloadMetadata]; the scope is all.
	Reload RevocationKind = "reload"
)

// Targets of a [Reload].
const (
	ReloadSettings = "settings" // principals become stale and streams are asked again too (C11)
	ReloadKeys     = "keys"     // the cookie key ring; nobody's access changes
	ReloadMetadata = "metadata" // what was approved of identity providers' metadata; nobody's access changes
)

// RevocationScope tells what Target names.
type RevocationScope string

// Scopes.
const (
	ScopeSession  RevocationScope = "session"  // Target: hex of the session hash
	ScopeMember   RevocationScope = "member"   // Target: member id
	ScopeMembers  RevocationScope = "members"  // Target: member ids with a space between; only for Recheck
	ScopeProvider RevocationScope = "provider" // Target: provider id
	ScopeLogins   RevocationScope = "logins"   // Target: see [Logins]; only for End
	ScopeAll      RevocationScope = "all"      // Target: ""
)

// MaxTarget bounds a Target, in bytes: an entry of a PostgreSQL index holds 2704
// with everything beside it, and a larger row could never be written.
const MaxTarget = 2000

// Revocation is one row of the revocation log (protocols C1). Seq is dense and
// in commit order: it comes from one counter row locked last in the transaction.
// Epoch is the epoch that ended: only sessions with a LOWER epoch than Epoch die
// (C7), so a late row never kills sessions made after re-activation.
type Revocation struct {
	Seq    int64
	Kind   RevocationKind
	Scope  RevocationScope
	Target string
	Epoch  int64
	Reason string
	At     time.Time
}

// Revoker makes a committed revocation true everywhere. session.Cutoff is the
// real one.
type Revoker interface {
	// Barrier returns nil once no node can admit what rows up to seq ended and
	// the streams concerned are closed. An error means that is not yet known:
	// the caller answers 503, the row stays and a retry waits for it again (C2).
	Barrier(ctx context.Context, seq int64) error
}

// Logins are the sessions that a provider's own logout names: a member's, made
// through that provider, and of those only the one with its session index unless
// that is "". The row decides, not a list of sessions: a session store that lost
// some, or lost its index, must not turn a logout into a success that ended nothing (C1).
type Logins struct {
	Member   ID
	Provider string
	Index    string
}

// Target is how l stands in a row of [ScopeLogins]. The index comes last: an IdP
// chooses it.
func (l Logins) Target() string { return string(l.Member) + "\n" + l.Provider + "\n" + l.Index }

// ParseLogins reads what [Logins.Target] wrote; ok is false for anything else.
func ParseLogins(target string) (l Logins, ok bool) {
	id, rest, ok := strings.Cut(target, "\n")
	if !ok {
		return Logins{}, false
	}
	provider, index, ok := strings.Cut(rest, "\n")
	return Logins{ID(id), provider, index}, ok && id != "" && provider != ""
}

// Names reports whether a session of that provider with that index is meant. It
// does not ask whose it is.
func (l Logins) Names(provider, index string) bool {
	return l.Provider == provider && (l.Index == "" || l.Index == index)
}
