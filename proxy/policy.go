package proxy

import (
	"errors"

	"github.com/ssogate/ssogate/session"
)

// decide says whether p may pass on this route. A nil principal and the zero
// Route are denied.
func (rt *Route) decide(p *session.Principal) Decision {
	if rt == nil || rt.name == "" {
		return Decision{Verdict: Deny, Reason: "no_route"}
	}
	// Admit checked this already; asking again costs three comparisons and keeps
	// a fault there from opening an application.
	if p == nil || !p.Member.Admitted() {
		return Decision{Verdict: Deny, Rule: rt.ruleMember, Reason: "member_inactive"}
	}
	if len(rt.teams) == 0 {
		return Decision{Verdict: Admit, Rule: rt.ruleMember}
	}
	for _, team := range rt.teams {
		if p.Has(team) {
			return Decision{Verdict: Admit, Rule: rt.ruleTeams}
		}
	}
	return Decision{Verdict: Deny, Rule: rt.ruleTeams, Reason: "team_missing"}
}

// withoutSession turns an error of Sessions.Admit into a decision.
func (rt *Route) withoutSession(err error) Decision {
	d := Decision{Rule: rt.ruleMember, Reason: session.Reason(err)}
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
