package config

import (
	"net/http"
	"strings"
	"time"

	"github.com/ssogate/ssogate/internal/header"
)

// validateAnswering checks what a route says about its answers and about pages of other
// origins.
func (r *Route) validateAnswering(fs *faults, at string) {
	const form = "write it like https://portal.example.com: scheme, host and no path"
	for key, list := range map[string][]string{"websocket_origins": r.WSOrigins, "cors.origins": r.CORS.Origins} {
		for j, o := range list {
			// "*" and "null" would be pages of anybody.
			if _, problem, _ := ParseOrigin(o); problem != "" {
				fs.add(index(join(at, key), j), "not an origin", form)
			}
		}
		fs.unique(join(at, key), list)
	}
	if r.NoWebSockets && len(r.WSOrigins) > 0 {
		fs.add(join(at, "websocket_origins"), "stands beside no_websockets", "keep one")
	}
	r.CORS.validate(fs, join(at, "cors"))
	if r.HSTS < 0 || r.HSTS > 0 && r.HSTS < time.Minute || r.HSTS > 2*366*24*time.Hour {
		fs.add(join(at, "hsts"), "not between a minute and two years", `write it like "8760h"`)
	}
	for j, h := range r.Answers {
		key := index(join(at, "response_headers"), j)
		switch {
		case !header.Token(h.Name) || strings.ContainsFunc(h.Value, func(c rune) bool { return c < ' ' || c > '~' }):
			fs.add(key, "not a header", "a name without spaces, and a value of printable ASCII")
		case notByRoute(h.Name):
			fs.add(key, "cannot be set for a whole route", "remove it: it is about one answer, about its framing, or has a key of its own")
		case h.Value == "" && !h.Replace:
			fs.add(key, "has no value, so it does nothing", "add value, or replace: true to take the application's away")
		}
	}
}

func (c *CORS) validate(fs *faults, at string) {
	if len(c.Origins) == 0 && (len(c.Methods)+len(c.Headers)+len(c.Expose) > 0 || c.Credentials || c.MaxAge != 0) {
		fs.add(join(at, "origins"), "is empty: nobody is allowed anything", "list origins, or remove cors")
	}
	for key, list := range map[string][]string{"methods": c.Methods, "headers": c.Headers, "expose": c.Expose} {
		for j, name := range list {
			if !header.Token(name) || name == "*" {
				fs.add(index(join(at, key), j), "not a name", "list names one by one")
			}
		}
		fs.unique(join(at, key), list)
	}
	if c.MaxAge < 0 || c.MaxAge > 24*time.Hour {
		fs.add(join(at, "max_age"), "not within a day", `write it like "10m"`)
	}
}

// notByRoute names what the gate or the application says about each answer.
func notByRoute(name string) bool {
	switch http.CanonicalHeaderKey(name) {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
		"Content-Length", "Content-Type", "Content-Encoding", "Content-Range", "Date", "Location", "Cache-Control", "Set-Cookie":
		return true
	}
	return false
}
