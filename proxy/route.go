package proxy

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/ssogate/ssogate/proxy/canonical"
)

// RouteSpec is one route as the operator wrote it. See [Compile].
type RouteSpec struct {
	Name         string
	Origins      []string // app origins: scheme://host[:port], nothing behind
	PathPrefix   string   // "" is "/"; matches at segment boundaries
	Upstream     string   // http:// or https:// with host, no path
	Public       []string // exact paths, or "/dir/*" for everything below /dir/
	Teams        []string // slugs, any of which may pass; none = any member
	PreserveHost bool     // send the app origin's Host instead of the upstream's
}

// Route is one compiled route. Immutable.
type Route struct {
	name       string
	site       *site
	prefix     string // without the slash at its end; "" matches everything
	upstream   *url.URL
	public     map[string]struct{}
	publicDirs []string // with the slash at their end
	teams      []string
	host       string // Host header for the upstream

	ruleMember, ruleTeams, rulePublic string
}

// site is one app origin.
type site struct {
	origin string // scheme://host[:port], lower case, default port left out
	scheme string
	host   string // host[:port] as in origin
	port   string // always set
	routes map[string]*Route
	folded map[string]*Route // by folded prefix, to notice near misses
}

// Routes is an immutable table: build with [Compile], swap whole. Looking up
// costs one map access per path segment, however many routes there are.
type Routes struct{ sites map[string]*site }

// Compile checks all specs and builds the table; it reports every fault at
// once. gatewayURL is the origin of ssogate's own pages: no application may
// share it (design section 1).
func Compile(specs []RouteSpec, gatewayURL string) (*Routes, error) {
	t := &Routes{sites: map[string]*site{}}
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
	return t, nil
}

func (t *Routes) add(s RouteSpec, gateway *site) error {
	up, err := parseUpstream(s.Upstream)
	if err != nil {
		return err
	}
	prefix, err := rulePath(s.PathPrefix)
	if err != nil {
		return fmt.Errorf("path prefix: %w", err)
	}
	prefix = strings.TrimSuffix(prefix, "/")
	if len(s.Origins) == 0 {
		return errors.New("no origins")
	}
	for _, raw := range s.Origins {
		o, err := parseOrigin(raw)
		if err != nil {
			return err
		}
		if o.origin == gateway.origin {
			return fmt.Errorf("origin %s is the gateway's own", o.origin)
		}
		st, err := t.site(o)
		if err != nil {
			return err
		}
		rt := &Route{
			name: s.Name, site: st, prefix: prefix, upstream: up, teams: append([]string(nil), s.Teams...), host: up.Host,
			ruleMember: s.Name + ": any member", ruleTeams: s.Name + ": teams", rulePublic: s.Name + ": public",
		}
		if s.PreserveHost {
			rt.host = st.host
		}
		if err := rt.setPublic(s.Public); err != nil {
			return err
		}
		if other := st.folded[foldPath(prefix)]; other != nil {
			return fmt.Errorf("path prefix %q of %s is taken by route %s", prefix+"/", st.origin, other.name)
		}
		st.routes[prefix], st.folded[foldPath(prefix)] = rt, rt
	}
	return nil
}

// site finds or makes the entry of an origin, under every Host header that a
// browser sends for it.
func (t *Routes) site(o *site) (*site, error) {
	if have := t.sites[o.host]; have != nil {
		if have.origin != o.origin {
			// http://app and https://app would share one Host header, and so one policy.
			return nil, fmt.Errorf("origins %s and %s cannot be told apart by host", have.origin, o.origin)
		}
		return have, nil
	}
	o.routes, o.folded = map[string]*Route{}, map[string]*Route{}
	t.sites[o.host] = o
	if !strings.HasSuffix(o.host, ":"+o.port) { // the default port, written out
		if have := t.sites[o.host+":"+o.port]; have != nil {
			return nil, fmt.Errorf("origins %s and %s cannot be told apart by host", have.origin, o.origin)
		}
		t.sites[o.host+":"+o.port] = o
	}
	return o, nil
}

func (rt *Route) setPublic(patterns []string) error {
	rt.public = map[string]struct{}{}
	for _, p := range patterns {
		dir, isDir := strings.CutSuffix(p, "/*")
		path := p
		if isDir {
			path = dir + "/"
		}
		path, err := rulePath(path)
		switch {
		case p == "" || strings.Contains(path, "*"):
			return fmt.Errorf("public path %q: an exact path or one ending in /*", p)
		case err != nil:
			return fmt.Errorf("public path %q: %w", p, err)
		case !under(path, rt.prefix):
			return fmt.Errorf("public path %q is outside of the route's prefix", p)
		}
		if isDir {
			rt.publicDirs = append(rt.publicDirs, path)
		} else {
			rt.public[path] = struct{}{}
		}
	}
	return nil
}

// isPublic compares the decoded path exactly: no case folding, no prefix without
// a slash, never the query (rows P01 to P03).
func (rt *Route) isPublic(q canonical.Request) bool {
	if _, ok := rt.public[q.Match]; ok {
		return true
	}
	for _, dir := range rt.publicDirs {
		if strings.HasPrefix(q.Match, dir) {
			return true
		}
	}
	return false
}

// Owns reports whether a Host header names an app origin of the table.
func (t *Routes) Owns(host string) bool {
	h, err := canonical.Host(host)
	return err == nil && t.sites[h] != nil
}

// find is the route with the longest prefix at a segment boundary. near is true
// when another spelling of the path (case, full-width letters, trailing dots)
// would have found another route: a server that folds such spellings would
// serve the other route's pages under this route's rule.
func (st *site) find(q canonical.Request) (rt *Route, near bool) {
	rt = longest(st.routes, q.Match)
	if len(st.folded) > 1 {
		near = longest(st.folded, foldPath(q.Match)) != rt
	}
	return rt, near
}

func longest(table map[string]*Route, path string) *Route {
	for end := len(path); ; end = strings.LastIndexByte(path[:end], '/') {
		if end < 0 {
			return nil
		}
		if rt, ok := table[path[:end]]; ok {
			return rt
		}
	}
}

func under(path, prefix string) bool {
	return path == prefix || strings.HasPrefix(path, prefix) && path[len(prefix)] == '/'
}

func foldPath(p string) string {
	segs := strings.Split(p, "/")
	for i, s := range segs {
		segs[i] = canonical.Fold(s)
	}
	return strings.Join(segs, "/")
}

// rulePath reads a path written by the operator with the reader that requests
// go through, and answers its decoded form.
func rulePath(p string) (string, error) {
	if p == "" {
		p = "/"
	}
	if p[0] != '/' || strings.ContainsAny(p, "?") {
		return "", fmt.Errorf("%q is not a path", p)
	}
	q, err := canonical.ParseTarget(p)
	if err != nil {
		return "", err
	}
	if q.Reserved() || q.NearReserved() {
		return "", fmt.Errorf("%q is reserved for ssogate", p)
	}
	return q.Match, nil
}

// parseOrigin reads scheme://host[:port] as browsers compare origins.
func parseOrigin(raw string) (*site, error) {
	u, err := url.Parse(raw)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/" {
		return nil, fmt.Errorf("origin %q is not scheme://host[:port]", raw)
	}
	host, err := canonical.Host(u.Host)
	if err != nil {
		return nil, fmt.Errorf("origin %q: %w", raw, err)
	}
	standard := map[string]string{"http": "80", "https": "443"}[u.Scheme]
	if standard == "" {
		return nil, fmt.Errorf("origin %q is neither http nor https", raw)
	}
	st := &site{scheme: u.Scheme, port: u.Port()}
	if st.port == "" || st.port == standard {
		host, st.port = strings.TrimSuffix(host, ":"+standard), standard
	}
	st.host, st.origin = host, u.Scheme+"://"+host
	return st, nil
}

func parseUpstream(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return nil, fmt.Errorf("upstream %q is not an http or https url", raw)
	case u.User != nil, u.RawQuery != "", u.Fragment != "", u.Path != "" && u.Path != "/":
		// A base path would have to be joined, and then what is forwarded is no
		// longer what was decided about.
		return nil, fmt.Errorf("upstream %q has more than scheme, host and port", raw)
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}
