package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/ssogate/ssogate/internal/secret"
)

// Door is the kind of origin a cookie belongs to. The gateway may share a host
// name with an app (another port), and cookies ignore ports: the two doors
// therefore use different names, and a value made for one never opens the other.
type Door string

// Doors.
const (
	Gateway Door = "gateway"
	App     Door = "app"
)

const (
	cookiePrefix = "ssogate-"
	hostPrefix   = "__Host-"
	// maxCookieValue bounds what is hashed, decoded or used as a cache key. Ours are about 200 bytes.
	maxCookieValue = 512
)

// Cookies makes and reads ssogate's cookies: opaque ids, authenticated and
// encrypted by securecookie, bound inside to door and host, one per origin.
// Safe for concurrent use.
type Cookies struct {
	ring   keyRing
	reread reread
	secure bool
	app    string // name of the session cookie there, which every request asks for
}

// NewCookies takes 64-byte keys (32 to authenticate, 32 to encrypt), the current
// one first; the others are still, or already, read. secure is false only on
// plain http (localhost, or insecure_plain_http): Safari drops Secure cookies
// there, and __Host- needs Secure, so plain names are used then and only then
// (protocols W6).
func NewCookies(secure bool, keys ...[]byte) (*Cookies, error) {
	c := &Cookies{secure: secure}
	c.app = c.spell(App, "session")
	if err := c.SetKeys(keys...); err != nil {
		return nil, err
	}
	return c, nil
}

// name of a cookie: purpose is "session" or "binding".
func (c *Cookies) name(d Door, purpose string) string {
	if d == App && purpose == "session" && c.app != "" {
		return c.app
	}
	return c.spell(d, purpose)
}

func (c *Cookies) spell(d Door, purpose string) string {
	n := cookiePrefix + string(d) + "-" + purpose
	if c.secure {
		return hostPrefix + n
	}
	return n
}

// IsOurs reports whether a cookie name is, or could pass for, one of ours under
// any spelling: such cookies are never forwarded and an upstream may not set them (H07, G4).
func (c *Cookies) IsOurs(name string) bool {
	n := strings.TrimFunc(name, notToken)
	n = cutPrefixFold(n, hostPrefix)
	n = cutPrefixFold(n, "__Secure-")
	return len(n) >= len(cookiePrefix) && strings.EqualFold(n[:len(cookiePrefix)], cookiePrefix)
}

func cutPrefixFold(s, prefix string) string {
	if len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix) {
		return s[len(prefix):]
	}
	return s
}

// notToken is true for what may surround a name without being part of it to some
// other parser: white space of any alphabet, controls, '$', quotes.
func notToken(r rune) bool {
	return r <= ' ' || r == '$' || r == '"' || r >= 0x7f
}

// Host is the host name a cookie is bound to: lower case, no port, no brackets
// removed. Ports share a cookie jar, so they are not part of the binding.
func Host(hostport string) string {
	h := strings.ToLower(hostport)
	if i := strings.LastIndexByte(h, ':'); i >= 0 && !strings.HasSuffix(h, "]") {
		if _, err := netip.ParseAddr(h); err != nil { // a bare IPv6 address has no port to cut
			h = h[:i]
		}
	}
	return h
}

// read finds the one cookie of exactly this name. Another spelling that some
// parser takes for it (case, white space, quotes, $Version), or a second copy,
// means someone tossed cookies at this browser: neither is believed (K03).
func (c *Cookies) read(r *http.Request, name string) (string, error) {
	value, seen := "", false
	for _, line := range r.Header["Cookie"] {
		for part := range strings.SplitSeq(line, ";") {
			part = strings.TrimPrefix(part, " ")
			n, v, _ := strings.Cut(part, "=")
			if n != name {
				if strings.EqualFold(strings.TrimFunc(n, notToken), name) {
					return "", ErrBadCookie
				}
				continue
			}
			if seen {
				return "", ErrBadCookie
			}
			value, seen = v, true
		}
	}
	switch {
	case !seen:
		return "", ErrNoCookie
	case value == "" || len(value) > maxCookieValue:
		return "", ErrBadCookie
	}
	return value, nil
}

// open authenticates a cookie value and returns the token inside, and the key
// that it was made with. When no key opens it, the keys are read again first.
func (c *Cookies) open(ctx context.Context, d Door, purpose, host, value string) (string, *cookieKey, error) {
	// The name given to securecookie is what it authenticates, so door and host
	// are bound without being stored.
	bound := c.name(d, purpose) + "|" + Host(host)
	had := c.ring.now.Load()
	token, k, err := c.try(bound, value)
	if err == nil {
		return token, k, nil
	}
	if err := c.lookAgain(ctx); err != nil {
		return "", nil, fmt.Errorf("session: read cookie keys: %w", err)
	}
	if c.ring.now.Load() != had {
		return c.try(bound, value)
	}
	return "", nil, err
}

func (c *Cookies) try(bound, value string) (string, *cookieKey, error) {
	var errs []error
	for _, k := range c.ring.keys() {
		var raw []byte
		err := k.codec.Decode(bound, value, &raw)
		if err == nil {
			return string(raw), k, nil
		}
		errs = append(errs, err)
	}
	return "", nil, fmt.Errorf("%w: %w", ErrBadCookie, errors.Join(errs...))
}

func (c *Cookies) seal(d Door, purpose, host, token string) (string, error) {
	v, err := c.ring.keys()[0].codec.Encode(c.name(d, purpose)+"|"+Host(host), []byte(token))
	if err != nil {
		return "", fmt.Errorf("session: encode cookie: %w", err)
	}
	return v, nil
}

func (c *Cookies) set(w http.ResponseWriter, d Door, purpose, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // G124: Secure is off only where Secure cookies cannot work, see NewCookies
		Name: c.name(d, purpose), Value: value, Path: "/", MaxAge: maxAge,
		Secure: c.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
	// Whatever sets a cookie is about one person and may not be kept by a cache (K10).
	w.Header().Set("Cache-Control", "no-store")
}

// SetSession gives this origin's cookie the session id. It is a browser-session
// cookie: the store, not the browser, decides when it ends.
func (c *Cookies) SetSession(w http.ResponseWriter, d Door, host, id string) error {
	v, err := c.seal(d, "session", host, id)
	if err != nil {
		return err
	}
	c.set(w, d, "session", v, 0)
	return nil
}

// ClearSession removes this origin's session cookie. Only logout and account
// change do that, never an error (G2).
func (c *Cookies) ClearSession(w http.ResponseWriter, d Door) { c.set(w, d, "session", "", -1) }

// bindingAge is how long a binding cookie lives, in seconds: as long as a Login (protocols W2).
const bindingAge = 3600

// Binding answers the hash of this browser's binding cookie for the door, and
// makes the cookie when there is none: 256 bits that tie a pending sign-in to
// the browser it began in (login CSRF, row K01). One serves all tabs.
func (c *Cookies) Binding(w http.ResponseWriter, r *http.Request, d Door) (secret.Hash, error) {
	if h, ok := c.Bound(r, d); ok {
		return h, nil
	}
	t := secret.NewToken()
	v, err := c.seal(d, "binding", r.Host, t)
	if err != nil {
		return secret.Hash{}, err
	}
	c.set(w, d, "binding", v, bindingAge)
	return secret.Sum(t), nil
}

// Bound answers the hash of the binding cookie the browser sent, if it sent a genuine one.
func (c *Cookies) Bound(r *http.Request, d Door) (secret.Hash, bool) {
	v, err := c.read(r, c.name(d, "binding"))
	if err != nil {
		return secret.Hash{}, false
	}
	t, _, err := c.open(r.Context(), d, "binding", r.Host, v)
	if err != nil {
		return secret.Hash{}, false
	}
	return secret.Sum(t), true
}

// RotateBinding forgets the binding cookie, at logout and account change (W2).
func (c *Cookies) RotateBinding(w http.ResponseWriter, d Door) { c.set(w, d, "binding", "", -1) }

// preferAge is how long a browser remembers a choice, in seconds.
const preferAge = 180 * 24 * 3600

// Prefer lets this browser remember which identity provider it was sent to. It is a
// convenience that decides nothing, so it is not sealed: whoever changes it changes
// the order of buttons.
func (c *Cookies) Prefer(w http.ResponseWriter, provider string) {
	c.set(w, Gateway, "last", provider, preferAge)
}

// Preferred is what [Cookies.Prefer] set, or "". The caller compares it with what exists.
func (c *Cookies) Preferred(r *http.Request) string {
	v, err := c.read(r, c.name(Gateway, "last"))
	if err != nil {
		return ""
	}
	return v
}
