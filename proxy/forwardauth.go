package proxy

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/proxy/canonical"
)

// Forward-auth: a proxy of another make stands in front of the application and asks
// for a verdict on every request. It gets the gate's own Decision about the same
// canonical request. What such a proxy cannot give is the rest of the guarantees: a
// verdict that was given cannot be recalled while the request runs (protocols C12),
// and what of a request is passed on is the proxy's to say.
const verdictPrefix = canonical.ReservedPrefix + "auth/"

// front is how one make of proxy asks.
type front struct {
	// read answers the request that is asked about. rest is the target behind the
	// front's name.
	read func(r *http.Request, rest string) (asked, bool)
	// own are the header lines that the proxy adds to ask; they are not the client's.
	own []string
	// blank says that an absent identity header leaves the client's own in place (Envoy),
	// or a placeholder (Caddy 2.6): it is answered as an empty one.
	blank bool
	// narrow says that only 401 and 403 are understood as refusals. Other answers are an
	// internal error to nginx, whatever they say.
	narrow bool
}

type asked struct{ method, host, target string }

// fronts by the last part of their URL.
var fronts = map[string]*front{
	"nginx":   {read: askedByNginx, own: []string{"X-Original-Method", "X-Original-Url"}, narrow: true},
	"traefik": {read: askedByForwarded, own: forwardedAsk},
	"caddy":   {read: askedByForwarded, own: forwardedAsk, blank: true},
	"envoy":   {read: askedByPath, blank: true},
}

var forwardedAsk = []string{"X-Forwarded-Method", "X-Forwarded-Host", "X-Forwarded-Uri"}

// askedByNginx reads what auth_request is given by hand, in the names that the
// ingress controller of the same make uses.
func askedByNginx(r *http.Request, _ string) (asked, bool) {
	method, ok := lone(r.Header, "X-Original-Method")
	raw, ok2 := lone(r.Header, "X-Original-Url")
	scheme, rest, ok3 := strings.Cut(raw, "://")
	at := strings.IndexByte(rest, '/')
	if !ok || !ok2 || !ok3 || at < 0 || scheme != "http" && scheme != "https" {
		return asked{}, false
	}
	return asked{method, rest[:at], rest[at:]}, true
}

// askedByForwarded is Traefik's forwardAuth and Caddy's forward_auth.
func askedByForwarded(r *http.Request, _ string) (asked, bool) {
	method, ok := lone(r.Header, "X-Forwarded-Method")
	host, ok2 := lone(r.Header, "X-Forwarded-Host")
	target, ok3 := lone(r.Header, "X-Forwarded-Uri")
	return asked{method, host, target}, ok && ok2 && ok3
}

// askedByPath is Envoy's ext_authz over HTTP with a path_prefix: the request itself,
// without its body.
func askedByPath(r *http.Request, rest string) (asked, bool) {
	return asked{r.Method, r.Host, rest}, rest != ""
}

// lone is a header that is there once. Two would let the proxy decide about one and
// us about the other.
func lone(h http.Header, name string) (string, bool) {
	v := h[name]
	if len(v) != 1 || v[0] == "" {
		return "", false
	}
	return v[0], true
}

// AsksForVerdict reports whether r is a question of a configured front. From anybody
// else it is an ordinary request, whatever headers it has: they would say for whom a
// verdict is given.
func (g *Gate) AsksForVerdict(r *http.Request) bool {
	if len(g.o.Fronts) == 0 || !strings.HasPrefix(r.URL.Path, verdictPrefix) {
		return false
	}
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	a := ap.Addr().Unmap().WithZone("")
	return slices.ContainsFunc(g.o.Fronts, func(p netip.Prefix) bool { return p.Contains(a) })
}

// ServeVerdict answers a question for which [Gate.AsksForVerdict] is true: 200 with the
// identity headers to copy and, as Cookie, the client's cookies without ours; or what
// the gate itself would have answered, in a form that the front understands.
func (g *Gate) ServeVerdict(w http.ResponseWriter, r *http.Request) {
	name, rest := frontOf(r.RequestURI)
	f := fronts[name]
	if f == nil {
		g.notHere(w, r, http.StatusNotFound, "unknown_front")
		return
	}
	web.Annotate(r.Context(), "front", name)
	if f.narrow {
		w = &narrowed{ResponseWriter: w}
	}
	w.Header().Set("X-Ssogate-Reference", web.RequestID(r.Context()))
	a, ok := f.read(r, rest)
	if !ok {
		g.malformed(w, r, &canonical.Refusal{Status: http.StatusBadRequest, Reason: "front_headers"})
		return
	}
	if q, err := canonical.ParseTarget(a.target); err == nil && q.Reserved() {
		// A 200 of our own page would let the front pass the request on to the application (row P06).
		g.notHere(w, r, http.StatusNotFound, "reserved_path")
		return
	}
	r = f.about(r, a)
	x, r := g.read(w, r)
	if x == nil {
		return
	}
	if x.rt.aliased(r.Header) {
		// The front would pass it on beside the header that we answer, and an application
		// that folds names would find either (row H01).
		g.malformed(w, r, &canonical.Refusal{Status: http.StatusBadRequest, Reason: "identity_header_alias"})
		return
	}
	web.Annotate(r.Context(), "about", x.st.host+x.q.Path)
	// Without the connection of an upgrade only its fields tell. A front that passes on
	// a handshake passes the key.
	x.webSocket = len(r.Header["Upgrade"]) > 0 || len(r.Header["Sec-Websocket-Key"]) > 0
	x.verdict(r, f)
}

// frontOf splits a target into the front's name and what stands behind it.
func frontOf(target string) (name, rest string) {
	target = strings.TrimPrefix(target, verdictPrefix)
	if at := strings.IndexAny(target, "/?"); at >= 0 {
		return target[:at], target[at:]
	}
	return target, ""
}

// about is the request that is asked about.
func (f *front) about(r *http.Request, a asked) *http.Request {
	in := r.WithContext(r.Context())
	in.Method, in.Host, in.RequestURI = a.method, a.host, a.target
	in.Body, in.ContentLength, in.TransferEncoding = http.NoBody, 0, nil
	path, query, _ := strings.Cut(a.target, "?")
	in.URL = &url.URL{Path: path, RawQuery: query}
	in.Header = r.Header.Clone()
	for _, name := range f.own {
		delete(in.Header, name)
	}
	if len(in.Header["Upgrade"]) > 0 {
		in.Header["Connection"] = connectionUpgrade // the front's own connection to us is none
	}
	return in
}

// verdict decides as pass does, and says so instead of forwarding.
func (x *exchange) verdict(r *http.Request, f *front) {
	switch x.d = x.early(); x.d.Verdict {
	case Deny:
		x.g.refuse(x.ResponseWriter, r, x, x.d, nil)
		return
	case Public:
		x.g.metrics.public.Inc()
	default:
		if !x.person(r) {
			return
		}
		if !x.g.o.Sessions.Still(x.p) {
			// Asking again is the front's to do; there is nothing here that began.
			x.g.refuse(x.ResponseWriter, r, x, Decision{Verdict: Unavailable, Rule: x.d.Rule, Reason: "revocation_race"}, nil)
			return
		}
		x.g.metrics.admitted.Inc()
		annotate(r.Context(), x.p)
	}
	h := x.Header()
	x.setIdentity(h)
	cookies := http.Header{"Cookie": slices.Clone(r.Header["Cookie"])}
	x.setCookies(cookies)
	if c := strings.Join(cookies["Cookie"], "; "); c != "" {
		h["Cookie"] = []string{c}
	}
	if f.blank {
		for _, name := range append(x.rt.intro.names(), "Cookie") {
			if _, ok := h[name]; !ok {
				h[name] = noUserAgent
			}
		}
	}
	h.Set("Cache-Control", "no-store") // of the verdict, not of the page
	h.Set("Content-Length", "0")
	x.WriteHeader(http.StatusOK)
}

// aliased reports whether a header is there that an application could take for one
// that says who asks, under another name than the front overwrites.
func (rt *Route) aliased(h http.Header) bool {
	ours := rt.intro.names()
	for name := range h {
		if (namesPerson(name) || rt.intro.claims(name)) && !slices.Contains(ours, name) {
			return true
		}
	}
	return false
}

// narrowed gives nginx's auth_request the two refusals it knows. A redirect is a 401
// with the Location in place, for error_page to follow; the status that it would have
// been stands beside a 403. Faults stay what they are, and nginx answers 500.
type narrowed struct{ http.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (n *narrowed) WriteHeader(status int) {
	switch {
	case status == http.StatusFound:
		status = http.StatusUnauthorized
	case status >= 400 && status < 500 && status != http.StatusUnauthorized:
		n.Header().Set("X-Ssogate-Status", strconv.Itoa(status))
		status = http.StatusForbidden
	}
	n.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (n *narrowed) Unwrap() http.ResponseWriter { return n.ResponseWriter }

var _ http.ResponseWriter = (*narrowed)(nil)
