package config

import (
	"strings"

	"github.com/ssogate/ssogate/internal/header"
)

// Identity says how an application is told who asks. The zero value is the five
// X-Forwarded headers.
type Identity struct {
	Headers    []IdentityHeader `key:"headers"`   // instead of the five
	Assertion  Assertion        `key:"assertion"` // beside them
	Basic      IdentityBasic    `key:"basic"`
	Bearer     string           `key:"bearer" secret:"yes"` // always the same
	BearerFile string           `key:"bearer_file"`
	Cookie     IdentityCookie   `key:"cookie"`
}

// IdentityHeader is one header; see [header.ParseValue] for its value.
type IdentityHeader struct {
	Name     string `key:"name"`
	Value    string `key:"value"`
	Encoding string `key:"encoding"` // percent (default), rfc8187, base64 or plain
}

// Assertion is a signed token; without an algorithm there is none.
type Assertion struct {
	Algorithm string `key:"algorithm"` // ES256 or RS256
	Header    string `key:"header"`    // default X-Ssogate-Assertion
	Audience  string `key:"audience"`  // default the route's name
}

// IdentityBasic names the user in Authorization: Basic, with one password for all.
type IdentityBasic struct {
	User         string `key:"user"`
	Password     string `key:"password" secret:"yes"`
	PasswordFile string `key:"password_file"`
}

// IdentityCookie is added to the cookies that the browser sends.
type IdentityCookie struct {
	Name     string `key:"name"`
	Value    string `key:"value"`
	Encoding string `key:"encoding"` // percent (default), base64 or plain
}

// Logout ties the application's own sign-out to that of ssogate.
type Logout struct {
	Path string `key:"path"` // who is answered here is signed out of ssogate too
	URL  string `key:"url"`  // called when somebody signs out of ssogate
}

// String never contains a secret.
func (i Identity) String() string { return text(i) }

// GoString is String.
func (i Identity) GoString() string { return text(i) }

// MarshalJSON is String.
func (i Identity) MarshalJSON() ([]byte, error) { return marshal(i) }

// String never contains the password.
func (b IdentityBasic) String() string { return text(b) }

// GoString is String.
func (b IdentityBasic) GoString() string { return text(b) }

// MarshalJSON is String.
func (b IdentityBasic) MarshalJSON() ([]byte, error) { return marshal(b) }

// identities resolves the secrets that applications are told.
func (r *fileReader) identities(routes []Route) {
	for i := range routes {
		id, at := &routes[i].Identity, join(index("routes", i), "identity")
		r.secret(join(at, "bearer"), &id.Bearer, &id.BearerFile)
		r.secret(join(at, "basic.password"), &id.Basic.Password, &id.Basic.PasswordFile)
	}
}

const (
	maxIdentityHeaders = 32
	valueFix           = `write text and fields, like "{user_name}" or "CORP\\{user_name}"`
)

// validate refuses what could name one person as another.
func (i *Identity) validate(fs *faults, at string) {
	taken := map[string]string{} // letters -> key
	claim := func(key, name string) {
		letters := header.Letters(name)
		if first, twice := taken[letters]; twice && letters != "" {
			fs.add(key, "is the same as "+first+" to applications that read - and _ alike", "choose another name")
		}
		taken[letters] = key
	}
	if len(i.Headers) > maxIdentityHeaders {
		fs.addf(join(at, "headers"), "tell the application less: it has the id", "has more than %d entries", maxIdentityHeaders)
	}
	for j, h := range i.Headers {
		key := index(join(at, "headers"), j)
		_, nerr, verr, eerr := header.Spec{Name: h.Name, Value: h.Value, Encoding: header.Encoding(h.Encoding)}.Read()
		if nerr != nil {
			fs.add(join(key, "name"), nerr.Error(), `write a header of its own, like "X-Remote-User"`)
		}
		if verr != nil {
			fs.add(join(key, "value"), verr.Error(), valueFix)
		}
		if eerr != nil {
			fs.add(join(key, "encoding"), eerr.Error(), "choose one; percent is the default")
		}
		claim(join(key, "name"), h.Name)
	}
	a, key := &i.Assertion, join(at, "assertion")
	switch {
	case a.Algorithm == "" && *a != (Assertion{}):
		fs.add(join(key, "algorithm"), "is empty: nothing is signed", "write ES256, or RS256 where the application knows nothing else")
	case a.Algorithm != "" && a.Algorithm != "ES256" && a.Algorithm != "RS256":
		fs.add(join(key, "algorithm"), "neither ES256 nor RS256", "write ES256, or RS256 where the application knows nothing else")
	}
	name := a.Header
	if name == "" && a.Algorithm != "" {
		name = "X-Ssogate-Assertion"
	}
	if name != "" {
		if err := header.CheckName(name); err != nil {
			fs.add(join(key, "header"), err.Error(), "leave it out for X-Ssogate-Assertion")
		}
		claim(join(key, "header"), name)
	}
	if len(a.Audience) > 256 || strings.ContainsFunc(a.Audience, func(r rune) bool { return r <= ' ' || r > '~' }) {
		fs.add(join(key, "audience"), "not a word of printable ASCII", "leave it out for the route's name")
	}
	i.validateAdapters(fs, at)
}

func (i *Identity) validateAdapters(fs *faults, at string) {
	b, key := &i.Basic, join(at, "basic")
	if *b != (IdentityBasic{}) {
		if i.Bearer != "" {
			fs.add(key, "stands beside bearer, and there is one Authorization header", "keep one")
		}
		if _, err := header.ParseValue(b.User); err != nil {
			fs.add(join(key, "user"), err.Error(), valueFix)
		}
		if b.Password == "" {
			fs.add(join(key, "password"), "is empty: whoever reaches the application could say who he is", `set password_file; "openssl rand -base64 32" makes one`)
		} else if strings.ContainsFunc(b.Password, isControl) {
			fs.add(join(key, "password"), "has control characters", "write one line of text")
		}
	}
	if strings.ContainsFunc(i.Bearer, func(r rune) bool { return r <= ' ' || r > '~' }) {
		fs.add(join(at, "bearer"), "not a token of printable ASCII", "write it without spaces")
	}
	c, key := &i.Cookie, join(at, "cookie")
	if *c == (IdentityCookie{}) {
		return
	}
	if err := header.CheckCookieName(c.Name); err != nil {
		fs.add(join(key, "name"), err.Error(), "letters, digits, - _ and .")
	}
	if _, err := header.ParseValue(c.Value); err != nil {
		fs.add(join(key, "value"), err.Error(), valueFix)
	}
	if c.Encoding != "" {
		fs.oneOf(join(key, "encoding"), c.Encoding, string(header.Percent), string(header.Base64), string(header.Plain))
	}
}

// validateAuthorization: of two who set it, one would be surprised.
func (r *Route) validateAuthorization(fs *faults, at string) {
	if r.Authorization == "pass" && (r.Identity.Basic != (IdentityBasic{}) || r.Identity.Bearer != "") {
		fs.add(join(at, "authorization"), "passes what identity.basic or identity.bearer replaces", "keep one")
	}
}

// validateLogout checks both directions of signing out.
func (r *Route) validateLogout(fs *faults, at string) {
	r.validateAuthorization(fs, at)
	at = join(at, "logout")
	if p := r.Logout.Path; p != "" {
		switch {
		case !canonicalPath(p):
			fs.add(join(at, "path"), "not a plain path", `write it like "/logout"`)
		case ownPath(p):
			fs.add(join(at, "path"), "is ssogate's own", "remove it: "+reserved+"/logout signs out of everything anyway")
		case !below(p, r.PathPrefix):
			fs.add(join(at, "path"), "outside path_prefix: it could never match", "put it into the route that serves it")
		}
	}
	if u := r.Logout.URL; u != "" {
		if _, _, p := httpURL(u); p.what != "" {
			fs.add(join(at, "url"), p.what, "write it like https://app.internal/logout")
		}
		if r.Identity.Assertion.Algorithm == "" {
			fs.add(join(at, "url"), "needs identity.assertion: without it the application could not know who calls", "set identity.assertion.algorithm to ES256")
		}
	}
}
