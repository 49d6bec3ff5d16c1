package config

import (
	"path/filepath"
	"strings"
)

// reserved is ssogate's own prefix on app origins; it is never forwarded.
const reserved = "/.sso"

// validateRoutes refuses routes of which it is unclear who answers, and public
// paths that two readers could read differently (rows P01 to P06).
func (c *Config) validateRoutes(fs *faults) {
	if len(c.Routes) == 0 {
		fs.add("routes", "is empty: there is nothing to protect", "add a route with a name, an origin and an upstream")
	}
	names := map[string]bool{}
	taken := map[string]string{} // origin and prefix -> key of the route
	for i := range c.Routes {
		r, at := &c.Routes[i], index("routes", i)
		switch {
		case !slug(r.Name):
			fs.add(join(at, "name"), "not a slug", slugFix)
		case names[r.Name]:
			fs.add(join(at, "name"), "used by two routes", "choose another: logs and decisions name routes")
		}
		names[r.Name] = true

		prefixOK := r.validatePrefix(fs, at)
		if len(r.Origins) == 0 {
			fs.add(join(at, "origins"), "is empty", "list the origin that people open, e.g. https://app.example.com")
		}
		c.validateOrigins(fs, at, r, prefixOK, taken)
		c.validateUpstreams(fs, at, r)
		r.validatePublic(fs, at)
		methods(fs, join(at, "methods"), r.Methods)
		r.validateForms(fs, at)
		r.validateAccess(fs, at)
		r.Identity.validate(fs, join(at, "identity"))
		r.validateLogout(fs, at)
		r.validateAnswering(fs, at)
		c.validateMachines(fs, at, r)
		for j, team := range r.Teams {
			if !teamSlug(team) {
				fs.add(index(join(at, "teams"), j), "not a team slug", "use a-z, 0-9, - _ and . as shown in the console")
			}
		}
		fs.unique(join(at, "teams"), r.Teams)
		fs.unique(join(at, "public"), r.Public)
	}
}

// validateOrigins checks where a route is reached; taken is who has which origin and
// path prefix already.
func (c *Config) validateOrigins(fs *faults, at string, r *Route, prefixOK bool, taken map[string]string) {
	gateway, problem, _ := ParseOrigin(c.URL)
	for j, text := range r.Origins {
		key := index(join(at, "origins"), j)
		plain, wild := withoutWildcard(text)
		if wild && !wildcardHost(plain) {
			fs.add(key, "a wildcard stands for one label before at least two others", "write it like https://*.apps.example.com")
			continue
		}
		o, ok := c.origin(fs, key, plain)
		if !ok {
			continue
		}
		if !wild && problem == "" && o.Host == gateway.Host && o.Port == gateway.Port {
			// A script of the app would be same-origin with the console (row U04).
			fs.add(key, "is the gateway's own origin (url)", "give the gateway a host or a port of its own")
		}
		if !prefixOK {
			continue
		}
		// Cookies and the Host header know no scheme: compare host and port.
		id := (Origin{"http", o.Host, o.Port}).String() + " " + strings.TrimSuffix(r.PathPrefix, "/")
		if wild {
			id = wildcard + id
		}
		if first, dup := taken[id]; dup {
			fs.add(key, "overlaps "+first+": the same origin and path prefix", "keep one, or give them different path_prefix")
		} else {
			taken[id] = at
		}
	}
}

// canonicalPath reports a path that every server reads alike.
func canonicalPath(p string) bool {
	if !strings.HasPrefix(p, "/") || len(p) > 1024 || strings.Contains(p, "//") {
		return false
	}
	for _, r := range p {
		if r <= ' ' || r > '~' || strings.ContainsRune(`%;?#\*"<>^`+"`{|}", r) {
			return false
		}
	}
	for segment := range strings.SplitSeq(p, "/") {
		if segment == "." || segment == ".." {
			return false
		}
	}
	return true
}

// ownPath is by segment and without case: a file system behind might fold it.
func ownPath(p string) bool {
	p = strings.ToLower(p)
	return p == reserved || strings.HasPrefix(p, reserved+"/")
}

func (r *Route) validatePrefix(fs *faults, at string) bool {
	key := join(at, "path_prefix")
	switch {
	case !canonicalPath(r.PathPrefix):
		fs.add(key, "not a plain path", `start it with / and leave out %, ;, *, // and ..`)
	case ownPath(r.PathPrefix):
		fs.add(key, "is ssogate's own", "choose a path outside "+reserved)
	default:
		return true
	}
	return false
}

func (r *Route) validatePublic(fs *faults, at string) {
	r.validatePatterns(fs, join(at, "public"), r.Public)
}

// validatePatterns reports paths that two readers could read differently.
func (r *Route) validatePatterns(fs *faults, at string, patterns []string) {
	for j, p := range patterns {
		key := index(at, j)
		plain := strings.TrimSuffix(p, "*")
		switch {
		case plain != p && !strings.HasSuffix(plain, "/"), !canonicalPath(plain):
			fs.add(key, `neither an exact path nor one that ends in "/*"`, `write it like "/favicon.ico" or "/assets/*"`)
		case ownPath(strings.TrimSuffix(plain, "/")):
			fs.add(key, "is ssogate's own", "remove it: "+reserved+" is never forwarded")
		case !below(p, r.PathPrefix):
			fs.add(key, "outside path_prefix: it could never match", "put it into the route that serves it")
		}
	}
}

// below reports whether path is at or under prefix, by whole segments.
func below(path, prefix string) bool {
	prefix = strings.TrimSuffix(prefix, "/")
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}

// validateUpstreams checks where a route's requests go.
func (c *Config) validateUpstreams(fs *faults, at string, r *Route) {
	keys, urls := []string{join(at, "upstream")}, []string{r.Upstream}
	if len(r.Upstreams) > 0 {
		if r.Upstream != "" {
			fs.add(join(at, "upstream"), "stands beside upstreams", "keep the list")
		}
		keys, urls = nil, r.Upstreams
		for j := range urls {
			keys = append(keys, index(join(at, "upstreams"), j))
		}
		fs.unique(join(at, "upstreams"), r.Upstreams)
	}
	schemes := map[string]bool{}
	for j, u := range urls {
		c.validateUpstream(fs, keys[j], u)
		scheme, _, _ := strings.Cut(u, ":")
		if schemes[scheme] = true; len(schemes) == 2 {
			fs.add(keys[j], "has another scheme than the first", "use one kind of upstream in a route")
		}
	}
	r.validateForwarding(fs, at)
	r.Backend.validate(fs, join(at, "backend"), urls[0])
}

func (c *Config) validateUpstream(fs *faults, key, s string) {
	const form = "write it like http://127.0.0.1:8080, https://app.internal, h2c://127.0.0.1:8080 or unix:/run/app.sock"
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		if path = strings.TrimPrefix(path, "//"); !filepath.IsAbs(path) || len(path) > 100 {
			fs.add(key, "not the absolute path of a socket, or longer than 100 bytes", form)
		}
		return
	}
	plain := s
	if rest, ok := strings.CutPrefix(s, "h2c://"); ok {
		plain = "http://" + rest
	}
	u, o, p := httpURL(plain)
	switch {
	case p.what != "":
		fs.add(key, p.what, form+"; WebSockets and gRPC use the same URL")
		return
	case u.RawQuery != "" || u.ForceQuery || (u.Path != "" && u.Path != "/"):
		// The path is forwarded exactly as it was judged (G3); what is put before it is
		// said by add_prefix.
		fs.add(key, "has a path or query", "write "+o.String()+" here, and the path as add_prefix")
		return
	}
	if c.loops(o) {
		fs.add(key, "points back at ssogate: requests would go round in a circle", "name the address of the application itself")
	}
	if _, private, ok := listenAddr(c.PrivateListen); ok && private != 0 && o.Port == private && local(o.Host) {
		fs.add(key, "is the private listener: it would publish health and metrics", "name the address of the application itself")
	}
}

// loops reports an upstream that is one of our own origins or our own listener.
func (c *Config) loops(o Origin) bool {
	same := func(text string) bool {
		own, problem, _ := ParseOrigin(text)
		return problem == "" && own.Port == o.Port && (own.Host == o.Host || (own.Loopback() && o.Loopback()))
	}
	if same(c.URL) {
		return true
	}
	for _, r := range c.Routes {
		for _, text := range r.Origins {
			if same(text) {
				return true
			}
		}
	}
	host, p, ok := listenAddr(c.Listen)
	return ok && p != 0 && o.Port == p && (host == o.Host || (local(host) && local(o.Host)))
}
