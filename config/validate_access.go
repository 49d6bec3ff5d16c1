package config

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// minMaxAge is the shortest max_age: what was just given must be young enough when
// the browser comes back with it, although the provider's clock may be a minute behind.
const minMaxAge = 5 * time.Minute

// maxRules bounds the rules of one route: a request walks through them in order.
const maxRules = 200

const wildcard = "*."

// withoutWildcard takes the wildcard label off an origin.
func withoutWildcard(text string) (plain string, wild bool) {
	scheme, host, ok := strings.Cut(text, "://")
	rest, wild := strings.CutPrefix(host, wildcard)
	if !ok || !wild {
		return text, false
	}
	return scheme + "://" + rest, true
}

// wildcardHost reports whether a name is long enough to stand behind a wildcard:
// "*.com" would be everybody's, and an address has no labels.
func wildcardHost(origin string) bool {
	o, problem, _ := ParseOrigin(origin)
	_, err := netip.ParseAddr(o.Host)
	return problem == "" && err != nil && strings.Contains(o.Host, ".")
}

// usualMethods pass where a route lists none.
var usualMethods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

// methods reports methods that the gate never passes. Names are case-sensitive
// (RFC 9110 section 9.1).
func methods(fs *faults, at string, list []string) {
	for i, m := range list {
		switch name := strings.Trim(m, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-"); {
		case m == "" || name != "" || m[0] == '-' || len(m) > 24:
			fs.add(index(at, i), "not the name of a method", "write it in upper case, like GET or PROPFIND")
		case slices.Contains([]string{"TRACE", "CONNECT", "TRACK", "PRI"}, m):
			fs.add(index(at, i), "no method that the gate passes", "remove it: it would echo our headers, or open a tunnel")
		}
	}
	fs.unique(at, list)
}

// PathForms are what a route may allow its paths by name: forms that servers read
// differently.
var PathForms = []string{"encoded_slash", "path_parameters", "empty_segments", "needless_escapes"}

func (r *Route) validateForms(fs *faults, at string) {
	for i, f := range r.Allow {
		fs.oneOf(index(join(at, "allow"), i), f, PathForms...)
	}
	fs.unique(join(at, "allow"), r.Allow)
}

// reachable reports methods of a rule that its route does not take.
func (r *Route) reachable(fs *faults, at string, list []string) {
	taken := r.Methods
	if len(taken) == 0 {
		taken = usualMethods
	}
	for i, m := range list {
		// HEAD comes with GET.
		if !slices.Contains(taken, m) && (m != "HEAD" || !slices.Contains(taken, "GET")) {
			fs.add(index(at, i), "is not among the route's methods: it could never match", "list it in the methods of the route")
		}
	}
}

// validateAccess refuses rules that could be read in two ways: a tired operator must
// not open more than he meant.
func (r *Route) validateAccess(fs *faults, at string) {
	at = join(at, "access")
	if len(r.Access) > 0 && (len(r.Public) > 0 || len(r.Teams) > 0) {
		fs.add(at, "stands beside public or teams, which are its short form", "write them as rules of access, in the order in which they count")
	}
	if len(r.Access) > maxRules {
		fs.add(at, "has more than 200 rules", "give the paths a route of their own, or use teams")
		return
	}
	for i := range r.Access {
		rule, here := &r.Access[i], index(at, i)
		r.validatePatterns(fs, join(here, "paths"), rule.Paths)
		methods(fs, join(here, "methods"), rule.Methods)
		r.reachable(fs, join(here, "methods"), rule.Methods)
		rule.validateAllow(fs, here)
		rule.validateWho(fs, here)
		if i > 0 && len(r.Access[i-1].Paths) == 0 && len(r.Access[i-1].Methods) == 0 {
			fs.add(here, "can never match: the rule before it is about every request", "move it up: the first rule that matches decides")
		}
	}
}

func (u *Rule) validateAllow(fs *faults, at string) {
	conditions := len(u.Teams)+len(u.Roles)+len(u.Members)+len(u.EmailDomains)+len(u.Providers)+len(u.Machines) > 0 || u.MaxAge != 0
	switch u.Allow {
	case AllowMembers:
	case AllowPublic:
		if conditions {
			fs.add(at, "is public and asks who it is too", "remove allow: public, or the conditions")
		}
		if len(u.Paths) == 0 && len(u.Addresses) == 0 {
			fs.add(join(at, "paths"), "is empty: the rule would open the whole route", `list the paths, or write "/*" if that is meant`)
		}
	case AllowNobody:
		if conditions || len(u.Addresses) > 0 {
			fs.add(at, "is for nobody and has conditions", "remove the conditions")
		}
	default:
		fs.add(join(at, "allow"), "none of public, members, nobody", "choose one; members is the default")
	}
	if u.MaxAge != 0 && u.MaxAge < minMaxAge {
		fs.add(join(at, "max_age"), "below 5 minutes: signing in takes time, and clocks differ", `write at least "5m"`)
	}
	if len(u.Name) > 64 || strings.ContainsFunc(u.Name, isControl) {
		fs.add(join(at, "name"), "longer than 64 bytes", "shorten it: it is a label")
	}
}

func (u *Rule) validateWho(fs *faults, at string) {
	for j, team := range u.Teams {
		if !teamSlug(team) {
			fs.add(index(join(at, "teams"), j), "not a team slug", "use a-z, 0-9, - _ and . as shown in the console")
		}
	}
	for j, role := range u.Roles {
		if role != "member" && role != "manager" && role != "owner" {
			fs.add(index(join(at, "roles"), j), "no role", "use member, manager or owner")
		}
	}
	for j, m := range u.Members {
		if strings.TrimSpace(m) == "" || len(m) > 256 {
			fs.add(index(join(at, "members"), j), "names nobody", "write a member's id or user name")
		}
	}
	for j, d := range u.EmailDomains {
		key := index(join(at, "email_domains"), j)
		if strings.Contains(d, "@") || !strings.Contains(d, ".") || d != strings.ToLower(d) || strings.Trim(d, ".") != d {
			fs.add(key, "not a domain", "write it like corp.example.com, in lower case")
		}
	}
	for j, a := range u.Addresses {
		if p, err := netip.ParsePrefix(a); err != nil || p.Masked() != p {
			fs.add(index(join(at, "addresses"), j), "not a network", "write it like 10.20.0.0/16 or 2001:db8::/32; one address is /32 or /128")
		}
	}
	for _, l := range []struct {
		key  string
		list []string
	}{{"teams", u.Teams}, {"roles", u.Roles}, {"members", u.Members}, {"email_domains", u.EmailDomains}, {"providers", u.Providers}, {"addresses", u.Addresses}, {"paths", u.Paths}} {
		fs.unique(join(at, l.key), l.list)
	}
}
