package proxy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/proxy/canonical"
)

// Allowance is whom a rule may let through at all. The zero value is nobody.
type Allowance string

// Allowances. Members are held to the lists of the rule besides.
const (
	AllowNobody  Allowance = ""
	AllowPublic  Allowance = "public"  // also without a session
	AllowMembers Allowance = "members" // any member, where the lists are empty
)

// RuleSpec is one rule as the operator wrote it. The first rule of a route whose
// paths and methods match decides, and only that one: where it refuses, no later
// rule is asked. Every list that is not empty must be met; one entry of it is
// enough. What no rule matches is refused.
type RuleSpec struct {
	Name    string   // for log, page and explain; default "access[i]"
	Paths   []string // exact, or "/dir/*" for everything below /dir/; none = every path
	Methods []string // none = every method
	Allow   Allowance

	Teams        []string      // slugs
	Roles        []member.Role //
	Members      []string      // ids, or user names
	EmailDomains []string      // and the session's provider owns the domain, see Options.OwnsDomain
	Providers    []string      // ids; the session was made through one
	MaxAge       time.Duration // since credentials were shown, as the provider vouches; 0 = as long as the session
	Addresses    []netip.Prefix
	Machines     []string // names, or "ISSUER/*"; people are none
}

// minMaxAge keeps a step-up from going round in a circle: what was just given must
// be young enough when the browser comes back with it, although the provider's clock
// may be a minute behind.
const minMaxAge = 5 * time.Minute

// rule is one compiled rule. Immutable.
type rule struct {
	RuleSpec
	label         string // route and rule
	exact, folded paths
	position      int
}

// paths says which decoded paths a rule is about. The zero value is every path.
type paths struct {
	some  bool
	exact map[string]struct{}
	dirs  []string // with the slash at their end
}

func (ps *paths) match(p string) bool {
	if !ps.some {
		return true
	}
	if _, ok := ps.exact[p]; ok {
		return true
	}
	for _, dir := range ps.dirs {
		if strings.HasPrefix(p, dir) {
			return true
		}
	}
	return false
}

func (ps *paths) add(p string, dir bool) {
	ps.some = true
	if dir {
		ps.dirs = append(ps.dirs, p)
		return
	}
	if ps.exact == nil {
		ps.exact = map[string]struct{}{}
	}
	ps.exact[p] = struct{}{}
}

// compileRule checks one rule of a route and answers it ready to be asked.
func compileRule(s RuleSpec, route, prefix string, i int) (*rule, error) {
	if s.Name == "" {
		s.Name = fmt.Sprintf("access[%d]", i)
	}
	r := &rule{RuleSpec: s, label: route + ": " + s.Name, position: i}
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	for _, p := range s.Paths {
		path, dir, err := rulePattern(p, prefix)
		if err != nil {
			fault("path %q: %w", p, err)
			continue
		}
		r.add(path, dir)
		if whole, ok := strings.CutSuffix(path, "/"); ok && dir && s.Allow != AllowPublic && under(whole, prefix) {
			// Most applications serve /admin like /admin/: a rule that holds people off
			// the one must not leave the other to the next rule. A public rule opens
			// exactly what it says.
			r.add(whole, false)
		}
	}
	for _, m := range s.Methods {
		if !canonical.MethodName(m) {
			fault("method %q can never pass", m)
		}
	}
	r.Methods = withHead(s.Methods)
	person := len(s.Roles) + len(s.Members) + len(s.EmailDomains) + len(s.Providers)
	conditions := person + len(s.Teams) + len(s.Machines)
	switch {
	case s.Allow != AllowNobody && s.Allow != AllowPublic && s.Allow != AllowMembers:
		fault("allowance %q", s.Allow)
	case s.Allow != AllowMembers && (conditions > 0 || s.MaxAge != 0):
		fault("conditions about who asks in a rule for %s", map[Allowance]string{AllowPublic: "everybody", AllowNobody: "nobody"}[s.Allow])
	case s.MaxAge != 0 && s.MaxAge < minMaxAge:
		fault("maximum age %s is below %s", s.MaxAge, minMaxAge)
	}
	if len(s.Machines) > 0 && (person > 0 || s.MaxAge != 0) {
		fault("machines beside what only a person can be: nobody is both")
	}
	for _, m := range s.Machines {
		if !validMachineName(m) {
			fault("machine %q is neither NAME nor ISSUER/subject", m)
		}
	}
	r.Members = slices.Clone(s.Members)
	for i, m := range r.Members {
		if !member.MadeHere(member.ID(m)) {
			r.Members[i] = member.FoldUserName(m)
		}
	}
	r.EmailDomains = slices.Clone(s.EmailDomains)
	for i, d := range r.EmailDomains {
		r.EmailDomains[i] = strings.ToLower(d)
	}
	return r, errors.Join(faults...)
}

func (r *rule) add(path string, dir bool) {
	r.exact.add(path, dir)
	r.folded.add(foldPath(path), dir)
}

// rulePattern reads "/exact" or "/dir/*" and answers it decoded.
func rulePattern(p, prefix string) (path string, dir bool, err error) {
	path = p
	if d, ok := strings.CutSuffix(p, "/*"); ok {
		path, dir = d+"/", true
	}
	path, err = rulePath(path)
	switch {
	case err != nil:
		return "", false, err
	case p == "" || strings.Contains(path, "*"):
		return "", false, errors.New("an exact path or one ending in /*")
	case !under(path, prefix):
		return "", false, errors.New("outside of the route's prefix")
	}
	return path, dir, nil
}

// rules is the ordered list of a route. With [rules.ruling] each request is put to
// one rule, or to two.
type rules struct {
	list   []*rule
	byPath bool // some rule asks for a path: other spellings matter
}

// ruling is what decides about one request: the rule that its path names, and the
// rule that a server which folds spellings ("/Admin", "/admin.") would have named.
// Both must let it through: the application may serve /Admin/x as /admin/x, and a
// sign-in page in front of the public /PUBLIC costs nothing (rows P01, P03). A nil
// rule refuses.
type ruling struct{ named, folded *rule }

func (rs *rules) ruling(q canonical.Request) ruling {
	r := rs.first(q, false)
	if !rs.byPath {
		return ruling{r, r}
	}
	return ruling{r, rs.first(q, true)}
}

func (rs *rules) first(q canonical.Request, folded bool) *rule {
	path := q.Match
	if folded {
		path = foldPath(path)
	}
	for _, r := range rs.list {
		ps := &r.exact
		if folded {
			ps = &r.folded
		}
		if ps.match(path) && (len(r.Methods) == 0 || slices.Contains(r.Methods, q.Method)) {
			return r
		}
	}
	return nil
}
