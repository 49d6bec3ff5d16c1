package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/ssogate/ssogate/internal/web"
)

// CORS says which pages of other origins may read what a route answers, and call it with
// more than a form could. A preflight carries no cookie (Fetch standard, section 4.8), so
// behind a sign-in the application never sees it: the gate answers it.
type CORS struct {
	Origins     []string // scheme://host[:port], exactly
	Methods     []string // beside GET, HEAD and POST; none = those of the route
	Headers     []string // that scripts may send
	Expose      []string // that scripts may read
	Credentials bool     // with cookies; of a page of the same site, since ours are Lax
	MaxAge      time.Duration
}

// cors is CORS made ready to be sent. The zero value allows nothing.
type cors struct {
	origins                          []string
	methods, headers, expose, maxAge string
	credentials                      bool
}

func compileCORS(c CORS, rt *Route) (cors, error) {
	if len(c.Origins) == 0 {
		if len(c.Methods)+len(c.Headers)+len(c.Expose) > 0 || c.Credentials || c.MaxAge != 0 {
			return cors{}, errors.New("cors: no origins")
		}
		return cors{}, nil
	}
	out := cors{credentials: c.Credentials}
	for _, raw := range c.Origins {
		o, err := parseOrigin(raw)
		if err != nil {
			// "*" and "null" are origins of anybody.
			return cors{}, fmt.Errorf("cors: %w", err)
		}
		out.origins = append(out.origins, o.origin)
	}
	for _, names := range [][]string{c.Headers, c.Expose} {
		for _, n := range names {
			if !httpguts.ValidHeaderFieldName(n) || n == "*" {
				return cors{}, fmt.Errorf("cors: %q is not a header name", n)
			}
		}
	}
	methods := c.Methods
	if len(methods) == 0 {
		methods = rt.methods
	}
	for _, m := range methods {
		if !httpguts.ValidHeaderFieldName(m) || m == "*" {
			return cors{}, fmt.Errorf("cors: %q is not a method", m)
		}
	}
	if c.MaxAge < 0 || c.MaxAge > 24*time.Hour {
		return cors{}, errors.New("cors: max age is not within a day")
	}
	out.methods, out.headers, out.expose = strings.Join(methods, ", "), strings.Join(c.Headers, ", "), strings.Join(c.Expose, ", ")
	if c.MaxAge > 0 {
		out.maxAge = strconv.Itoa(int(c.MaxAge.Seconds()))
	}
	return out, nil
}

// preflight reports a question about a request, of a script's browser.
func preflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && len(r.Header["Origin"]) == 1 && len(r.Header["Access-Control-Request-Method"]) == 1
}

// crossOrigin lets a page of an allowed origin read what is answered, refusals included:
// a script that cannot read a 401 only knows that the network failed.
func (x *exchange) crossOrigin(r *http.Request) {
	o, h := r.Header["Origin"], x.Header()
	h["Vary"] = varyOrigin // also where nobody is allowed: a cache must not give that answer to others
	if len(o) != 1 || !slices.Contains(x.rt.cors.origins, o[0]) {
		return
	}
	c := &x.rt.cors
	h["Access-Control-Allow-Origin"] = []string{o[0]}
	if c.credentials {
		h["Access-Control-Allow-Credentials"] = yes
	}
	if c.expose != "" {
		h["Access-Control-Expose-Headers"] = []string{c.expose}
	}
	x.cors = true
}

var (
	varyOrigin = []string{"Origin"}
	yes        = []string{"true"}
)

// answerPreflight answers for the application, which cannot know who will ask. Nothing
// is admitted by it: the request itself comes, with its cookie, or does not.
func (x *exchange) answerPreflight(r *http.Request) {
	if !x.cors {
		x.g.refuse(x.ResponseWriter, r, x, Decision{Verdict: Deny, Rule: x.rt.name + ": cors", Reason: "cors_origin"}, nil)
		return
	}
	h, c := x.Header(), &x.rt.cors
	for name, value := range map[string]string{
		"Access-Control-Allow-Methods": c.methods, "Access-Control-Allow-Headers": c.headers, "Access-Control-Max-Age": c.maxAge,
	} {
		if value != "" {
			h[name] = []string{value}
		}
	}
	delete(h, "Access-Control-Expose-Headers")
	h.Set("Cache-Control", "no-store")
	web.Annotate(r.Context(), "cors", "preflight")
	x.WriteHeader(http.StatusNoContent)
}

// mergeCORS is for the application's answer: what it says itself stands.
func (x *exchange) mergeCORS(res http.Header) {
	if len(x.rt.cors.origins) == 0 {
		return
	}
	if _, own := res["Access-Control-Allow-Origin"]; own {
		for _, name := range []string{"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Expose-Headers"} {
			delete(x.Header(), name)
		}
	}
	if vary := res["Vary"]; len(vary) > 0 {
		res["Vary"] = append(slices.Clone(vary), varyOrigin...)
	}
}
