package session

import (
	"errors"
	"strings"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
)

// Principal is who was admitted: a person, with session, member and teams as of one
// moment, or a machine, with its bearer in the place of a session and no member at
// all. Immutable; shared between requests through the cache.
type Principal struct {
	Session  secret.Hash   // of a machine: the hash of its bearer
	Member   member.Member // Document is not loaded; zero, and so never admitted, for a machine
	Machine  *Machine      // nil for a person
	Teams    []string      // slugs, sorted
	Provider string
	Index    string // the provider's own session, or ""
	Issued   time.Time
	AuthTime time.Time // credentials were last shown to the provider; zero = it does not say
	Expires  time.Time // absolute end
	Seq      int64     // the revocation log's number at sign-in: what ends everybody from a later row on ends this
	asOf     int64     // applied number before the reads (C3)
	memo     *Memo     // see [Principal.Memo]
}

// Machine is who a request is from that no person makes.
type Machine struct {
	ID     string   // see [MachineID]
	Issuer string   // who vouches for it; "" = a service token of ours, which Routes bounds
	Routes []string // by name
}

const machinePrefix = "machine:"

// MachineID is how applications, log and audit know a machine. No member has such an
// id: theirs have no colon.
func MachineID(name string) string { return machinePrefix + name }

// Name is the machine's in rules and lists.
func (m *Machine) Name() string { return strings.TrimPrefix(m.ID, machinePrefix) }

// Is reports whether a rule's word means the machine: its name, or "ISSUER/*" for any
// that the issuer vouches for.
func (m *Machine) Is(word string) bool {
	if issuer, any := strings.CutSuffix(word, "/*"); any && m.Issuer != "" {
		return issuer == m.Issuer
	}
	return word == m.Name()
}

// Subject is who the principal is to an application: the member's id or the machine's.
func (p *Principal) Subject() string {
	if p.Machine != nil {
		return p.Machine.ID
	}
	return string(p.Member.ID)
}

// Actor is who the principal is in the audit log.
func (p *Principal) Actor() string {
	if p.Machine != nil {
		return p.Machine.ID
	}
	return "member:" + string(p.Member.ID)
}

// Has reports whether the principal is in the team.
func (p *Principal) Has(team string) bool {
	for _, t := range p.Teams {
		if t == team {
			return true
		}
	}
	return false
}

// Why there is no Principal. Every other error from Admit means the stores
// could not answer: 503, nothing destroyed (G2).
var (
	ErrNoCookie  = errors.New("session: no cookie")
	ErrBadCookie = errors.New("session: cookie is not ours, altered, or for another host")
	ErrExpired   = errors.New("session: expired")             // idle or absolute end
	ErrRevoked   = errors.New("session: ended")               // logout, deactivation, revocation, unknown
	ErrMember    = errors.New("session: member may not pass") // exists but is not admitted now
)

// Reason is the word that Admit errors give to access log, audit and pages.
func Reason(err error) string {
	switch {
	case errors.Is(err, ErrNoCookie):
		return "no_session"
	case errors.Is(err, ErrBadCookie):
		return "bad_cookie"
	case errors.Is(err, ErrExpired):
		return "session_expired"
	case errors.Is(err, ErrMember):
		return "member_inactive"
	case errors.Is(err, ErrRevoked):
		return "session_ended"
	case err == nil:
		return ""
	default:
		return "store_unavailable"
	}
}
