package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ssogate/ssogate/proxy/canonical"
	"github.com/ssogate/ssogate/proxy/upstream"
)

// RouteSpec is one route as the operator wrote it. See [Compile].
type RouteSpec struct {
	Name         string
	Origins      []string // app origins: scheme://host[:port], nothing behind; the host may begin with "*."
	PathPrefix   string   // "" is "/"; matches at segment boundaries
	Methods      []string // that may be used at all; none = [canonical.Methods]
	Lenient      []string // names of [canonical.Leniencies] that paths may take
	Upstream     string   // the short form of To with one URL
	To           upstream.Spec
	Host         string           // to send instead of the upstream's
	PreserveHost bool             // send the app origin's
	StripPrefix  bool             // take PathPrefix off before it is sent
	AddPrefix    string           // put before what is sent then
	BodyLimit    int64            // bytes of a request's body; 0 = none
	NoWebSockets bool             // upgrades are refused
	WSOrigins    []string         // other than the app's own from which WebSockets may be opened
	CORS         CORS             //
	SharedCache  bool             // what the application says of shared caches stands, also about members' pages
	HSTS         time.Duration    // Strict-Transport-Security on its answers; 0 = the application's own
	Answers      []ResponseHeader // that its answers get
	KeepForms    bool             // a form that meets a session that ran out is kept over the sign-in
	Identity     IdentitySpec     // how the application is told who asks
	Logout       LogoutSpec       // how its sign-out and ours go together

	Machines      MachineSpec // that may use it with a bearer
	Authorization string      // what becomes of the client's: AuthorizationAuto, -Pass or -Strip

	Access []RuleSpec // in order; the first that matches decides
	// Public and Teams are the short form of Access: what is public, and the teams of
	// which a member must be in any for the rest; none = any member. Not beside Access.
	Public []string // exact paths, or "/dir/*" for everything below /dir/
	Teams  []string // slugs
}

// Route is one compiled route. Immutable.
type Route struct {
	name       string
	prefix     string // without the slash at its end; "" matches everything
	methods    []string
	pool       *upstream.Pool
	to         upstream.Spec // of the pool
	stamp      string        // of its files
	rules      rules
	host       string // Host header for the upstream; "" is the upstream's own
	keepHost   bool   // it is the app origin's
	noWS       bool
	wsOrigins  []string
	cors       cors
	shared     bool
	answers    []answered
	keepForms  bool
	intro      introduction
	logoutPath string // folded; "" watches none
	logoutURL  string
	rewrite    rewrite
	limit      int64

	machines      MachineSpec
	authorization string
	lenient       canonical.Leniency
}

// Routes is an immutable table: build with [Compile], swap whole. Looking up
// costs one map access per path segment, however many routes there are.
type Routes struct {
	all   []*Route
	sites map[string]*site
	wild  map[string]*site // by what stands behind "*."
}

// Compile checks all specs and builds the table; it reports every fault at
// once. gatewayURL is the origin of ssogate's own pages: no application may
// share it (design section 1).
func Compile(specs []RouteSpec, gatewayURL string) (*Routes, error) {
	t := &Routes{sites: map[string]*site{}, wild: map[string]*site{}}
	var faults []error
	gateway, err := parseOrigin(gatewayURL)
	if err != nil {
		faults = append(faults, fmt.Errorf("proxy: gateway url: %w", err))
		gateway = &site{}
	}
	names := map[string]bool{}
	for i, s := range specs {
		if s.Name == "" || names[s.Name] {
			faults = append(faults, fmt.Errorf("proxy: routes[%d]: name %q is empty or used twice", i, s.Name))
			continue
		}
		names[s.Name] = true
		if err := t.add(s, gateway); err != nil {
			faults = append(faults, fmt.Errorf("proxy: route %s: %w", s.Name, err))
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	t.shareNames()
	return t, nil
}

func (t *Routes) add(s RouteSpec, gateway *site) error {
	rt, err := compileRoute(s)
	if err != nil {
		return err
	}
	if len(s.Origins) == 0 {
		return errors.New("no origins")
	}
	t.all = append(t.all, rt)
	for _, raw := range s.Origins {
		o, wild, err := parseWild(raw)
		if err != nil {
			return err
		}
		if !wild && o.origin == gateway.origin {
			return fmt.Errorf("origin %s is the gateway's own", o.origin)
		}
		st, err := t.site(o, wild)
		if err != nil {
			return err
		}
		fold := foldPath(rt.prefix)
		if other := st.paths.folded[fold]; other != nil {
			return fmt.Errorf("path prefix %q of %s is taken by route %s", rt.prefix+"/", raw, other.name)
		}
		st.paths.routes[rt.prefix], st.paths.folded[fold] = rt, rt
	}
	return nil
}

// compileRoute is everything about a route that does not depend on its origins.
func compileRoute(s RouteSpec) (*Route, error) {
	prefix, err := rulePath(s.PathPrefix)
	if err != nil {
		return nil, fmt.Errorf("path prefix: %w", err)
	}
	rt := &Route{name: s.Name, prefix: strings.TrimSuffix(prefix, "/"), methods: withHead(s.Methods), limit: s.BodyLimit, keepForms: s.KeepForms, noWS: s.NoWebSockets, shared: s.SharedCache}
	if err := errors.Join(rt.aim(s), rt.takeMachines(s)); err != nil {
		return nil, err
	}
	for _, m := range s.Methods {
		if !canonical.MethodName(m) {
			return nil, fmt.Errorf("method %q can never pass", m)
		}
	}
	if err := rt.answering(s); err != nil {
		return nil, err
	}
	if rt.lenient, err = liberties(s.Lenient); err != nil {
		return nil, fmt.Errorf("lenient: %w", err)
	}
	specs, err := s.access()
	if err != nil {
		return nil, err
	}
	var faults []error
	if rt.intro, err = compileIdentity(s.Identity, s.Name); err != nil {
		faults = append(faults, err)
	}
	if err := rt.compileLogout(s); err != nil {
		faults = append(faults, err)
	}
	for i, spec := range specs {
		r, err := compileRule(spec, s.Name, rt.prefix, i)
		if err != nil {
			faults = append(faults, fmt.Errorf("access[%d]: %w", i, err))
			continue
		}
		rt.rules.list = append(rt.rules.list, r)
		rt.rules.byPath = rt.rules.byPath || r.exact.some
	}
	return rt, errors.Join(faults...)
}

// answering reads what concerns answers, and pages of other origins.
func (rt *Route) answering(s RouteSpec) (err error) {
	for _, raw := range s.WSOrigins {
		o, err := parseOrigin(raw)
		if err != nil {
			return fmt.Errorf("websocket origins: %w", err)
		}
		rt.wsOrigins = append(rt.wsOrigins, o.origin)
	}
	if rt.noWS && len(rt.wsOrigins) > 0 {
		return errors.New("websocket origins, and no websockets")
	}
	if rt.cors, err = compileCORS(s.CORS, rt); err != nil {
		return err
	}
	rt.answers, err = compileAnswers(s.Answers, s.HSTS)
	return err
}

// access is the list of rules, also where the short form was written.
func (s *RouteSpec) access() ([]RuleSpec, error) {
	if len(s.Access) > 0 {
		if len(s.Public) > 0 || len(s.Teams) > 0 {
			return nil, errors.New("public and teams are the short form of access: write either")
		}
		return s.Access, nil
	}
	var out []RuleSpec
	if len(s.Public) > 0 {
		out = append(out, RuleSpec{Name: "public", Paths: s.Public, Allow: AllowPublic})
	}
	name := "any member"
	if len(s.Teams) > 0 {
		name = "teams"
	}
	return append(out, RuleSpec{Name: name, Allow: AllowMembers, Teams: s.Teams}), nil
}

// withHead: HEAD asks for GET's answer without its body (RFC 9110 section 9.3.2), so
// who lists the one means the other.
func withHead(methods []string) []string {
	out := slices.Clone(methods)
	if slices.Contains(out, http.MethodGet) && !slices.Contains(out, http.MethodHead) {
		out = append(out, http.MethodHead)
	}
	return out
}

// allows reports whether the route takes a method at all.
func (rt *Route) allows(method string) bool {
	if len(rt.methods) == 0 {
		return canonical.KnownMethod(method)
	}
	return slices.Contains(rt.methods, method)
}

// takes lists the methods, for people.
func (rt *Route) takes() string {
	if len(rt.methods) == 0 {
		return canonical.Methods
	}
	return strings.Join(rt.methods, ", ")
}
