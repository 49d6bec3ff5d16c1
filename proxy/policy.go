package proxy

import (
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/proxy/canonical"
	"github.com/ssogate/ssogate/session"
)

// facts are what a decision needs beside the request and the person.
type facts struct {
	addr netip.Addr // of the client, as internal/web decided
	now  clock.Func // asked only where a rule has an age
	owns func(provider, domain string) bool
}

// opens decides about one reading of a request what can be decided without knowing who
// asks.
func (rt *Route) opens(q canonical.Request, f facts) (Decision, ruling) {
	if rt == nil || rt.name == "" {
		return Decision{Verdict: Deny, Reason: "no_route"}, ruling{}
	}
	ru := rt.rules.ruling(q)
	d := rt.open(ru.named, f)
	if ru.folded == ru.named || d.Verdict == Deny {
		return d, ru
	}
	switch o := rt.open(ru.folded, f); {
	case o.Verdict == Deny, d.Verdict == Public:
		return o, ru
	}
	return d, ru
}

func (rt *Route) open(r *rule, f facts) Decision {
	switch {
	case r == nil:
		return Decision{Verdict: Deny, Rule: rt.name + ": no rule", Reason: "no_rule"}
	case r.Allow != AllowPublic && r.Allow != AllowMembers:
		return Decision{Verdict: Deny, Rule: r.label, Reason: "nobody"}
	case !r.from(f.addr):
		return Decision{Verdict: Deny, Rule: r.label, Reason: "address"}
	case r.Allow == AllowPublic:
		return Decision{Verdict: Public, Rule: r.label}
	}
	return Decision{Verdict: NeedSession, Rule: r.label, Reason: "no_session"}
}

// from reports whether a client address satisfies the rule. An unknown one does
// not, where the rule asks.
func (r *rule) from(a netip.Addr) bool {
	if len(r.Addresses) == 0 {
		return true
	}
	a = a.Unmap().WithZone("")
	return a.IsValid() && slices.ContainsFunc(r.Addresses, func(p netip.Prefix) bool { return p.Contains(a) })
}

// person puts a signed-in person, or a machine, to the rule. On a public rule every one passes.
func (r *rule) person(p *session.Principal, f facts) Decision {
	no := func(reason string) Decision { return Decision{Verdict: Deny, Rule: r.label, Reason: reason} }
	if r.Allow == AllowPublic && p != nil {
		return Decision{Verdict: Admit, Rule: r.label}
	}
	if p != nil && p.Machine != nil {
		return r.machine(p, no)
	}
	// Admit checked this already; asking again costs three comparisons and keeps
	// a fault there from opening an application.
	if p == nil || !p.Member.Admitted() {
		return no("member_inactive")
	}
	m := &p.Member
	switch {
	case len(r.Machines) > 0:
		return no("machines_only")
	case len(r.Teams) > 0 && !slices.ContainsFunc(r.Teams, p.Has):
		return no("team_missing")
	case len(r.Roles) > 0 && !slices.Contains(r.Roles, m.Role):
		return no("role_missing")
	case len(r.Members) > 0 && !r.names(m):
		return no("member_not_named")
	case len(r.Providers) > 0 && !slices.Contains(r.Providers, p.Provider):
		return no("provider")
	case len(r.EmailDomains) > 0 && !r.mail(p, f.owns):
		return no("email_domain")
	case r.MaxAge > 0 && (p.AuthTime.IsZero() || f.now().Sub(p.AuthTime) > r.MaxAge):
		// Not a refusal of the person: who signs in again passes. When the session was made
		// says nothing: the provider may have made it without asking for anything.
		return Decision{Verdict: NeedSession, Rule: r.label, Reason: reasonTooOld}
	}
	return Decision{Verdict: Admit, Rule: r.label}
}

// reasonTooOld asks for fresh credentials, not merely for a session.
const reasonTooOld = "session_too_old"

// names: what has the form of an id names only an id, so that nobody can take an
// id for a user name and so pass for its owner.
func (r *rule) names(m *member.Member) bool {
	name := member.FoldUserName(m.UserName)
	return slices.ContainsFunc(r.Members, func(want string) bool {
		if member.MadeHere(member.ID(want)) {
			return want == string(m.ID)
		}
		return want == name
	})
}

// mail: an address says something only where the provider that made this session
// is configured to own its domain. Any other provider could have written anything
// into it (G6).
func (r *rule) mail(p *session.Principal, owns func(provider, domain string) bool) bool {
	_, domain, ok := strings.Cut(p.Member.Email, "@")
	domain = strings.ToLower(domain)
	return ok && slices.Contains(r.EmailDomains, domain) && owns != nil && owns(p.Provider, domain)
}

// withoutSession turns an error of Sessions.Admit into a decision. d is what
// [Route.before] said.
func withoutSession(d Decision, err error) Decision {
	d.Reason = session.Reason(err)
	switch {
	case errors.Is(err, session.ErrMember):
		// Signed in as somebody who may not pass: another sign-in as the same
		// person would come back here, so no redirect (row D02).
		d.Verdict = Deny
	case errors.Is(err, session.ErrNoCookie), errors.Is(err, session.ErrBadCookie),
		errors.Is(err, session.ErrExpired), errors.Is(err, session.ErrRevoked):
		d.Verdict = NeedSession
	default:
		d.Verdict = Unavailable // G2: we do not know; nothing is destroyed
	}
	return d
}
