package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/ssogate/ssogate/proxy/canonical"
	"github.com/ssogate/ssogate/proxy/upstream"
)

// aim reads where a route's requests go and under which names.
func (rt *Route) aim(s RouteSpec) error {
	rt.to = s.To
	if s.Upstream != "" {
		if len(s.To.URLs) > 0 {
			return errors.New("upstream stands beside a list of them")
		}
		rt.to.URLs = []string{s.Upstream}
	}
	var err error
	if rt.pool, err = upstream.New(rt.to, nil); err != nil {
		return err
	}
	rt.stamp = rt.to.Stamp()
	switch {
	case s.Host != "" && s.PreserveHost:
		return errors.New("host and preserve_host are two answers to one question")
	case s.Host != "":
		if rt.host, err = canonical.Host(s.Host); err != nil {
			return fmt.Errorf("host: %w", err)
		}
	}
	rt.keepHost = s.PreserveHost
	if s.BodyLimit < 0 {
		return errors.New("body limit below zero")
	}
	rt.rewrite, err = newRewrite(rt.prefix, s)
	return err
}

// rewrite changes the path between what was decided about and what is sent. It works
// on the bytes as they came, so that what it does not touch is not read in a second
// way, and it is the same for every request (G3). The zero value changes nothing.
type rewrite struct {
	strip string // as a client may spell it: the one spelling without escapes
	add   string
}

func newRewrite(prefix string, s RouteSpec) (rewrite, error) {
	w := rewrite{add: strings.TrimSuffix(s.AddPrefix, "/")}
	if s.StripPrefix {
		w.strip = prefix
		if strings.ContainsFunc(prefix, func(r rune) bool { return r >= 0x80 || r == '%' || r <= ' ' }) {
			return rewrite{}, errors.New("a path prefix that needs escapes has several spellings and cannot be stripped")
		}
	}
	if w.add != "" {
		if path, err := rulePath(w.add); err != nil || path != w.add {
			return rewrite{}, fmt.Errorf("added prefix %q is not a plain path", s.AddPrefix)
		}
	}
	return w, nil
}

// outward is the path that is sent. ok is false for a spelling of the prefix that
// cannot be taken off byte by byte: rules compared its decoded form.
func (w rewrite) outward(path string) (_ string, ok bool) {
	if w.strip != "" {
		rest, found := strings.CutPrefix(path, w.strip)
		if !found || rest != "" && rest[0] != '/' {
			return "", false
		}
		if path = rest; path == "" {
			path = "/"
		}
	}
	if w.add != "" {
		path = w.add + path
	}
	return path, true
}

// inward is the path under which a browser finds what the application calls path.
func (w rewrite) inward(path string) (string, bool) {
	if w.add != "" {
		rest, found := strings.CutPrefix(path, w.add)
		if !found || rest != "" && rest[0] != '/' {
			return "", false
		}
		path = rest
	}
	if path = w.strip + path; path == "" {
		path = "/"
	}
	return path, true
}

// mapBack turns a Location of the application's own, as it knows itself, into what the
// browser can open. Any other Location is the application's business.
func (x *exchange) mapBack(h http.Header) {
	for _, name := range []string{"Location", "Content-Location"} {
		at := h.Get(name)
		if at == "" {
			continue
		}
		u, err := url.Parse(at)
		if err != nil || u.Opaque != "" || u.User != nil {
			continue
		}
		switch {
		case u.Host == "" && u.Scheme == "" && strings.HasPrefix(at, "/"):
		case strings.EqualFold(u.Host, x.out.Host) && (u.Scheme == "http" || u.Scheme == "https"):
		default:
			continue
		}
		_, rest, _ := strings.Cut(at, "://")
		if u.Host == "" {
			rest = at
		} else {
			rest = rest[len(u.Host):]
		}
		path, tail := rest, ""
		if i := strings.IndexAny(rest, "?#"); i >= 0 {
			path, tail = rest[:i], rest[i:]
		}
		if path, ok := x.rt.rewrite.inward(path); ok {
			if u.Host != "" {
				path = x.st.origin + path
			}
			h.Set(name, path+tail)
		}
	}
}

// pools runs the health checks of the routes in force. Pools are kept from one table
// to the next where their spec is the same, so that a reload costs no connection.
type pools struct {
	mu      sync.Mutex
	running map[*upstream.Pool]context.CancelFunc
	start   func(*upstream.Pool) context.CancelFunc // nil before Run
}

// inherit gives the routes of t the pools of old where nothing about them changed.
func (t *Routes) inherit(old *Routes) {
	if old == nil {
		return
	}
	have := map[string]*Route{}
	for _, rt := range old.all {
		have[rt.name] = rt
	}
	for _, rt := range t.all {
		if o := have[rt.name]; o != nil && o.pool != rt.pool && o.to.Equal(rt.to) && o.stamp == rt.stamp {
			rt.pool = o.pool
		}
	}
}

// follow starts the checks of the pools of t and stops those of all others.
func (ps *pools) follow(t *Routes) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	wanted := map[*upstream.Pool]bool{}
	for _, rt := range t.all {
		wanted[rt.pool] = true
	}
	for p, stop := range ps.running {
		if !wanted[p] {
			stop()
			p.Close()
			delete(ps.running, p)
		}
	}
	if ps.start == nil {
		return
	}
	for p := range wanted {
		if ps.running[p] == nil {
			ps.running[p] = ps.start(p)
		}
	}
}

// Run checks the health of upstreams, and tells applications of sign-outs, until ctx
// ends. Call it once.
func (g *Gate) Run(ctx context.Context) {
	g.swap.Lock()
	g.pools.mu.Lock()
	g.pools.start = func(p *upstream.Pool) context.CancelFunc {
		ctx, cancel := context.WithCancel(ctx)
		go p.Run(ctx)
		return cancel
	}
	g.pools.mu.Unlock()
	g.pools.follow(g.routes.Load())
	g.swap.Unlock()
	g.calls.run(ctx)
}
