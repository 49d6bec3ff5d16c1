package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/ssogate/ssogate/internal/bearer"
	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/machine"
	"github.com/ssogate/ssogate/session"
)

// Machines says whose a service token is. *machine.Admitter is the real one.
type Machines interface {
	// Admit answers a service token's principal. Errors: *machine.RefusedError is 401,
	// others are 503.
	Admit(ctx context.Context, token string, from netip.Addr) (*session.Principal, error)
	// Again is Admit for what was admitted before and still runs.
	Again(ctx context.Context, p *session.Principal) (*session.Principal, error)
	// Vouched makes a principal of what an issuer said.
	Vouched(v machine.Vouched) *session.Principal
}

// Issuer verifies the JWTs of one issuer. The real one is of sso/oauth.
type Issuer interface {
	Name() string // in rules: "NAME/subject" is a machine of its, "NAME/*" any
	// Verify answers whose a JWT is. Errors are those of [Machines].
	Verify(ctx context.Context, token string) (machine.Vouched, error)
}

// MachineSpec says which bearers a route takes besides sessions. The zero value takes none.
type MachineSpec struct {
	Tokens  bool // service tokens that name the route
	Issuers []Issuer
}

func (s *MachineSpec) on() bool { return s.Tokens || len(s.Issuers) > 0 }

// What becomes of the Authorization header that a client sends.
const (
	AuthorizationAuto  = ""      // goes to the application, unless the gate has used it
	AuthorizationPass  = "pass"  // also a JWT that the gate has used; a service token never
	AuthorizationStrip = "strip" // never
)

// maxBearer bounds what is looked at as a bearer; JWTs with many groups are long.
const maxBearer = 16 << 10

// machines compiles what a route says about bearers.
func (rt *Route) takeMachines(s RouteSpec) error {
	var faults []error
	for i, iss := range s.Machines.Issuers {
		if iss == nil || iss.Name() == "" {
			faults = append(faults, fmt.Errorf("machine issuer %d has no name", i))
		}
	}
	if !slices.Contains([]string{AuthorizationAuto, AuthorizationPass, AuthorizationStrip}, s.Authorization) {
		faults = append(faults, fmt.Errorf("authorization %q", s.Authorization))
	}
	rt.machines, rt.authorization = s.Machines, s.Authorization
	return errors.Join(faults...)
}

var errNoMachines = errors.New("proxy: a route takes bearers, but nobody knows whose they are")

// who finds out who asks. On a route that takes bearers a bearer decides alone, also
// beside a session's cookie and also where it is good for nothing: with a way back to
// the cookie, two readers of the log would name two people for one request, and a
// program whose token was revoked would go on as whoever's browser it borrows from.
func (x *exchange) who(r *http.Request) (*session.Principal, error) {
	if !x.rt.machines.on() || !bearer.Presented(r.Header) {
		return x.g.o.Sessions.Admit(r.Context(), r)
	}
	x.bearer = true
	token, ok := bearer.FromHeader(r.Header, maxBearer)
	switch {
	case !ok:
		return nil, &machine.RefusedError{Reason: "bearer_malformed"}
	case x.g.o.Machines == nil:
		return nil, errNoMachines
	case bearer.Ours(token):
		return x.byToken(r.Context(), token)
	}
	return x.byIssuer(r.Context(), token)
}

// byToken: on a route that a token does not name it is no token, and says nothing of
// where it would be one.
func (x *exchange) byToken(ctx context.Context, token string) (*session.Principal, error) {
	if !x.rt.machines.Tokens {
		return nil, &machine.RefusedError{Reason: "token_not_here"}
	}
	p, err := x.g.o.Machines.Admit(ctx, token, x.client)
	if err == nil && !x.rt.named(p) {
		err = &machine.RefusedError{Reason: "token_route"}
	}
	return p, err
}

// named reports whether a service token is for the route.
func (rt *Route) named(p *session.Principal) bool {
	return rt.machines.Tokens && p.Machine != nil && p.Machine.Issuer == "" && slices.Contains(p.Machine.Routes, rt.name)
}

// byIssuer asks the route's issuers in order. One that does not know the token passes it
// on; what is said in the end is by the one that came furthest.
func (x *exchange) byIssuer(ctx context.Context, token string) (*session.Principal, error) {
	last := error(&machine.RefusedError{Reason: "token_unknown"})
	for _, iss := range x.rt.machines.Issuers {
		v, err := iss.Verify(ctx, token)
		if err == nil {
			x.issuer = iss
			return x.g.o.Machines.Vouched(v), nil
		}
		if no, ok := errors.AsType[*machine.RefusedError](err); ok && no.Reason == machine.NotMine {
			continue
		}
		last = err
	}
	return nil, last
}

// withoutBearer turns an error of who into a decision about a bearer.
func withoutBearer(d Decision, err error) Decision {
	if no, ok := errors.AsType[*machine.RefusedError](err); ok {
		d.Verdict, d.Reason = NeedSession, no.Reason
		return d
	}
	d.Verdict, d.Reason = Unavailable, "store_unavailable"
	return d
}

// needToken is the 401 of RFC 6750 section 3.1. It says the same whatever was wrong
// (row C01), and never leads to a sign-in: nobody is there to make one.
func (g *Gate) needToken(w http.ResponseWriter, r *http.Request, x *exchange) {
	w.Header().Set("WWW-Authenticate", bearerChallenge(x.st, "invalid_token"))
	web.WriteProblem(w, r, http.StatusUnauthorized, "the bearer token is not valid here", "The token is malformed, unknown, expired, revoked, or not for this address.")
}

// noScope answers a machine that was recognized and may not pass (the same section).
func (g *Gate) noScope(w http.ResponseWriter, r *http.Request, x *exchange, d Decision) {
	w.Header().Set("WWW-Authenticate", bearerChallenge(x.st, "insufficient_scope"))
	web.WriteProblem(w, r, http.StatusForbidden, "this machine may not do that", "The token is valid, but "+reasonText(d.Reason)+".")
}

func bearerChallenge(st *site, code string) string {
	c := `Bearer realm="` + st.origin + `"`
	if code != "" {
		c += `, error="` + code + `"`
	}
	return c
}

// machine puts a machine to the rule. Whatever a rule asks of a person no machine is:
// it was provisioned by nobody, and showed no credentials of its own.
func (r *rule) machine(p *session.Principal, no func(string) Decision) Decision {
	m := p.Machine
	switch {
	case len(r.Members)+len(r.Roles)+len(r.EmailDomains)+len(r.Providers) > 0 || r.MaxAge > 0:
		return no("machine")
	case len(r.Teams) > 0 && !slices.ContainsFunc(r.Teams, p.Has):
		return no("team_missing")
	case len(r.Machines) > 0 && !slices.ContainsFunc(r.Machines, m.Is):
		return no("machine_not_named")
	case m.Issuer != "" && len(r.Teams)+len(r.Machines) == 0:
		// A service token was made for this route. An issuer vouches for everybody it
		// knows, which may be the whole world: GitHub signs a token with any audience for
		// any repository. Somebody has to have named the machine or its team.
		return no("machine_not_named")
	}
	return Decision{Verdict: Admit, Rule: r.label}
}

// stillMachine decides anew, with today's route, who is behind a running exchange.
func (a *again) stillMachine(ctx context.Context, rt *Route) (*session.Principal, error) {
	if a.issuer != nil {
		// What it vouched for holds until it expires, for as long as the issuer, as it was
		// configured then, counts here.
		if !slices.Contains(rt.machines.Issuers, a.issuer) {
			return nil, &machine.RefusedError{Reason: "token_unknown"}
		}
		return a.machine, nil
	}
	if !rt.machines.Tokens {
		return nil, &machine.RefusedError{Reason: "token_not_here"}
	}
	p, err := a.g.o.Machines.Again(ctx, a.machine)
	if err == nil && !rt.named(p) {
		err = &machine.RefusedError{Reason: "token_route"}
	}
	return p, err
}

// setAuthorization decides what of the client's Authorization the application sees.
func (x *exchange) setAuthorization(h http.Header) {
	values := h["Authorization"]
	switch {
	case len(values) == 0:
	case x.rt.authorization == AuthorizationStrip,
		x.bearer && (x.issuer == nil || x.rt.authorization != AuthorizationPass),
		slices.ContainsFunc(values, bearer.Ours): // also where it was not used: on a public path, on another route (row H08)
		delete(h, "Authorization")
	}
}

// validMachineName: "NAME" is a service token's machine, "ISSUER/subject" one that an
// issuer vouches for, "ISSUER/*" any of its.
func validMachineName(s string) bool {
	issuer, subject, ok := strings.Cut(s, "/")
	return issuer != "" && (!ok || subject != "") && len(s) <= 320
}
