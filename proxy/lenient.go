package proxy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ssogate/ssogate/proxy/canonical"
	"github.com/ssogate/ssogate/session"
)

// liberties reads what an operator lets paths of a route look like.
func liberties(names []string) (canonical.Leniency, error) {
	var all canonical.Leniency
	for _, n := range names {
		l, ok := canonical.ParseLeniency(n)
		if !ok {
			return 0, fmt.Errorf("%q is none of %s", n, strings.Join(canonical.Leniencies(), ", "))
		}
		all |= l
	}
	return all, nil
}

// tolerates answers nil for a request that takes no liberties but the route's. No route
// allows none.
func (rt *Route) tolerates(q canonical.Request) error {
	var allowed canonical.Leniency
	if rt != nil {
		allowed = rt.lenient
	}
	return (q.Used() &^ allowed).Refusal()
}

// find is the route with the longest prefix at a segment boundary. near is true
// when another spelling of the path (case, full-width letters, trailing dots), or
// another reading of its liberties, would have found another route: a server that folds
// such spellings would serve the other route's pages under this route's rule.
func (st *site) find(q canonical.Request) (rt *Route, near bool) {
	rt, near = st.findPath(q.Match)
	if q.Used() != 0 {
		for _, path := range q.Readings()[1:] {
			other, n := st.findPath(path)
			near = near || n || other != rt
		}
	}
	return rt, near
}

// before decides what can be decided without knowing who asks. NeedSession means
// that a person has to be found first. Of a path with liberties every reading is asked
// about: one that is refused refuses the request. None of them is public, because what
// decides about the path is then what some server makes of it, and a session at least
// says whose request it is.
func (rt *Route) before(q canonical.Request, f facts) (Decision, ruling) {
	d, ru := rt.opens(q, f)
	if q.Used() != 0 {
		for _, path := range q.Readings()[1:] {
			if o, other := rt.opens(q.As(path), f); o.Verdict == Deny && d.Verdict != Deny {
				return o, other
			}
		}
	}
	if d.Verdict == Public && (q.Used() != 0 || !ru.namesMethod(q.Method)) {
		d.Verdict, d.Reason = NeedSession, "no_session"
	}
	return d, ru
}

// namesMethod: a public rule without methods is about the usual ones.
func (ru ruling) namesMethod(m string) bool {
	return canonical.KnownMethod(m) || slices.Contains(ru.named.Methods, m) && slices.Contains(ru.folded.Methods, m)
}

// decide says whether p may pass. A nil principal and the zero Route are denied.
func (rt *Route) decide(q canonical.Request, p *session.Principal, f facts) Decision {
	d, ru := rt.before(q, f)
	if d.Verdict != NeedSession {
		return d
	}
	return rt.judge(q, ru, p, f)
}

// judge is decide where before has said NeedSession, and which rules that is by.
func (rt *Route) judge(q canonical.Request, ru ruling, p *session.Principal, f facts) Decision {
	d := ru.person(p, f)
	if d.Verdict != Admit || q.Used() == 0 {
		return d
	}
	for _, path := range q.Readings()[1:] {
		if o := rt.rules.ruling(q.As(path)).person(p, f); o.Verdict != Admit {
			return o
		}
	}
	return d
}

// person puts a signed-in person to both rules of a ruling that [Route.opens] let by.
func (ru ruling) person(p *session.Principal, f facts) Decision {
	if ru.named == nil || ru.folded == nil {
		return Decision{Verdict: Deny, Reason: "no_rule"}
	}
	d := ru.named.person(p, f)
	if d.Verdict == Admit && ru.folded != ru.named {
		if o := ru.folded.person(p, f); o.Verdict != Admit {
			return o
		}
	}
	return d
}
