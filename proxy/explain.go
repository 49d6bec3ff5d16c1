package proxy

import (
	"net/netip"
	"strings"
	"time"

	"github.com/ssogate/ssogate/proxy/canonical"
	"github.com/ssogate/ssogate/session"
)

// Question is a request that has not been made, and who would make it.
type Question struct {
	Method    string
	Host      string             // as in the Host header
	Target    string             // path?query as it would be sent
	Principal *session.Principal // nil: nobody who is signed in
	Address   netip.Addr         // of the client; the zero Addr satisfies no rule that asks
	Now       time.Time
	Owns      func(provider, domain string) bool
}

// Explanation is what the gate would decide, by the very code that decides, and why.
type Explanation struct {
	Decision
	Route   string
	Because string   // the reason in plain words
	Asked   []string // what the rule asks for, one condition a line
}

// Explain answers a question by this table. Nothing is counted, logged or changed.
func (t *Routes) Explain(q Question) Explanation {
	e := Explanation{}
	req, err := canonical.ParseParts(q.Method, q.Host, q.Target)
	if err != nil {
		e.Decision = Decision{Verdict: Malformed, Rule: "canonical request", Reason: err.Error()}
		e.Because = "the request has a form that different servers read differently: it is refused before anything is decided"
		return e
	}
	st := t.at(req.Host)
	if st == nil {
		e.Decision = Decision{Verdict: NotHere, Rule: "routes", Reason: "unknown_host"}
		e.Because = "no route has an origin with this host"
		return e
	}
	if req.Reserved() || req.NearReserved() {
		e.Decision = Decision{Verdict: NotHere, Rule: "routes", Reason: "reserved"}
		e.Because = "the path is ssogate's own: no application gets it"
		return e
	}
	rt, near := st.find(req)
	if no := rt.tolerates(req); no != nil {
		e.Decision = Decision{Verdict: Malformed, Rule: "canonical request", Reason: no.Error()}
		e.Because = "the path has a form that different servers read differently, and the route does not allow it"
		return e
	}
	switch {
	case near:
		e.Decision = Decision{Verdict: NotHere, Rule: "routes", Reason: "near_route"}
		e.Because = "another spelling of the path belongs to another route, so nobody gets it"
		return e
	case rt == nil:
		e.Decision = Decision{Verdict: NotHere, Rule: "routes", Reason: "no_route"}
		e.Because = "no route of this host has the path"
		return e
	}
	e.Route = rt.name
	if !rt.allows(req.Method) {
		e.Decision = Decision{Verdict: NotHere, Rule: rt.name + ": methods", Reason: "method"}
		e.Because = "the route takes " + rt.takes() + " only"
		return e
	}
	f := facts{addr: q.Address, now: func() time.Time { return q.Now }, owns: q.Owns}
	var ru ruling
	e.Decision, ru = rt.before(req, f)
	switch {
	case e.Verdict != NeedSession || q.Principal == nil:
	case q.Principal.Machine != nil && !rt.named(q.Principal):
		e.Reason = "token_route"
	default:
		e.Decision = rt.decide(req, q.Principal, f)
	}
	e.Because = because(e.Decision)
	for _, r := range []*rule{ru.named, ru.folded} {
		if r != nil && r.label == e.Rule {
			e.Asked = r.asks()
			break
		}
	}
	return e
}

func because(d Decision) string {
	switch d.Verdict {
	case Admit:
		return "everything that the rule asks for is there"
	case Public:
		return "the rule lets everybody through, also without a session"
	case NeedSession:
		if d.Reason == reasonTooOld {
			return "the credentials were shown too long ago, or the identity provider does not say when: a fresh sign-in is asked for"
		}
		if d.Reason == "token_route" {
			return "the token is not for this route, or the route takes none: 401"
		}
		return "a session is needed: a browser is sent to sign in, a program gets 401"
	case Deny, NotHere, Malformed, Unavailable:
	}
	return reasonText(d.Reason)
}

// asks lists the conditions of a rule, for people.
func (r *rule) asks() []string {
	var out []string
	add := func(what string, list []string) {
		if len(list) > 0 {
			out = append(out, what+" "+strings.Join(list, " or "))
		}
	}
	add("team", r.Teams)
	roles := make([]string, len(r.Roles))
	for i, role := range r.Roles {
		roles[i] = string(role)
	}
	add("role", roles)
	add("member", r.Members)
	add("machine", r.Machines)
	add("an address that the provider owns at", r.EmailDomains)
	add("a session through", r.Providers)
	addresses := make([]string, len(r.Addresses))
	for i, a := range r.Addresses {
		addresses[i] = a.String()
	}
	add("a client in", addresses)
	if r.MaxAge > 0 {
		out = append(out, "credentials shown in the last "+r.MaxAge.String())
	}
	if r.Allow == AllowMembers && len(out) == 0 {
		out = append(out, "any member")
	}
	return out
}

// Explain answers a question by the routes of now.
func (g *Gate) Explain(q Question) Explanation { return g.routes.Load().Explain(q) }
