package proxy

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/ssogate/ssogate/proxy/canonical"
)

// site is one app origin: the part of [Routes] that one Host header leads to. The
// site of a wildcard is copied, with the host that was asked for, for each request.
type site struct {
	origin string // scheme://host[:port], lower case, default port left out
	scheme string
	host   string // host[:port] as in origin
	port   string // always set
	paths  *pathTable
}

// pathTable is what the sites of one origin, under all names of it, share.
type pathTable struct {
	routes map[string]*Route
	folded map[string]*Route // by folded prefix, to notice near misses
}

// wildcard is the label that stands for any one label, as in certificates (RFC 9525
// section 6.3): *.example.com is a.example.com, and neither example.com nor a.b.example.com.
const wildcard = "*."

// at is the site of a Host header that [canonical.Host] has read, or nil. An origin
// that is named beats a wildcard.
func (t *Routes) at(host string) *site {
	if st := t.sites[host]; st != nil {
		return st
	}
	if len(t.wild) == 0 {
		return nil
	}
	label, rest, ok := strings.Cut(host, ".")
	if !ok || label == "" {
		return nil
	}
	w := t.wild[rest]
	if w == nil {
		return nil
	}
	st := *w
	st.host = label + "." + w.host
	st.origin = st.scheme + "://" + st.host
	return &st
}

// Owns reports whether a Host header names an app origin of the table.
func (t *Routes) Owns(host string) bool {
	h, err := canonical.Host(host)
	return err == nil && t.at(h) != nil
}

// OwnsOrigin reports whether origin is one of the table's, as browsers write it.
func (t *Routes) OwnsOrigin(origin string) bool {
	o, err := parseOrigin(origin)
	if err != nil {
		return false
	}
	st := t.at(o.host)
	return st != nil && st.origin == o.origin
}

// site finds or makes the entry of an origin, under every Host header that a
// browser sends for it.
func (t *Routes) site(o *site, wild bool) (*site, error) {
	table := t.sites
	if wild {
		table = t.wild
	}
	if have := table[o.host]; have != nil {
		if have.origin != o.origin {
			// http://app and https://app would share one Host header, and so one policy.
			return nil, fmt.Errorf("origins %s and %s cannot be told apart by host", have.origin, o.origin)
		}
		return have, nil
	}
	o.paths = &pathTable{routes: map[string]*Route{}, folded: map[string]*Route{}}
	table[o.host] = o
	if !strings.HasSuffix(o.host, ":"+o.port) { // the default port, written out
		if have := table[o.host+":"+o.port]; have != nil {
			return nil, fmt.Errorf("origins %s and %s cannot be told apart by host", have.origin, o.origin)
		}
		table[o.host+":"+o.port] = o
	}
	return o, nil
}

func (st *site) findPath(path string) (rt *Route, near bool) {
	rt = longest(st.paths.routes, path)
	if len(st.paths.folded) > 1 {
		near = longest(st.paths.folded, foldPath(path)) != rt
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

// foldPath folds every segment. The common path is answered as it is.
func foldPath(p string) string {
	if folded(p) {
		return p
	}
	segs := strings.Split(p, "/")
	for i, s := range segs {
		segs[i] = canonical.Fold(s)
	}
	return strings.Join(segs, "/")
}

// folded reports a path on which folding changes nothing.
func folded(p string) bool {
	for i := range len(p) {
		switch c := p[i]; {
		case c >= 0x80, c >= 'A' && c <= 'Z':
			return false
		case (c == '.' || c == ' ') && (i+1 == len(p) || p[i+1] == '/'):
			return false
		}
	}
	return true
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

// parseWild reads an origin that may begin with a wildcard label, and answers it
// without that label.
func parseWild(raw string) (o *site, wild bool, err error) {
	scheme, host, ok := strings.Cut(raw, "://")
	rest, wild := strings.CutPrefix(host, wildcard)
	if !ok || !wild {
		o, err = parseOrigin(raw)
		return o, false, err
	}
	if o, err = parseOrigin(scheme + "://" + rest); err != nil {
		return nil, true, fmt.Errorf("origin %q: %w", raw, err)
	}
	if name, _, _ := strings.Cut(o.host, ":"); !strings.Contains(name, ".") || strings.HasPrefix(o.host, "[") {
		// "*.com" would be the whole of it; an address has no labels.
		return nil, true, errors.New("origin " + raw + ": a wildcard stands before at least two labels")
	}
	return o, true, nil
}
