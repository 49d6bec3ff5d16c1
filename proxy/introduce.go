package proxy

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/ssogate/ssogate/identity"
	"github.com/ssogate/ssogate/internal/header"
	"github.com/ssogate/ssogate/proxy/assertion"
)

// IdentitySpec says how a route tells its application who asks. The zero value is the
// five headers of package identity.
type IdentitySpec struct {
	Headers   []header.Spec // none: the five
	Assertion AssertionSpec
	Basic     BasicSpec
	Bearer    string // sent as Authorization: Bearer
	Cookie    CookieSpec
}

// AssertionSpec asks for a signed assertion. Without an algorithm there is none.
type AssertionSpec struct {
	Algorithm assertion.Algorithm
	Header    string // default [identity.HeaderAssertion]
	Audience  string // default the route's name
}

// BasicSpec sends Authorization: Basic (RFC 7617) to an application that knows nothing else.
type BasicSpec struct {
	User     string // a value as of [header.ParseValue]
	Password string // the same for everybody: that it came from here
}

// CookieSpec adds a cookie to the client's.
type CookieSpec struct {
	Name, Value string
	Encoding    header.Encoding // Percent, Base64 or Plain
}

// maxHeaders bounds the identity headers of one route.
const maxHeaders = 32

// introduction is an IdentitySpec made ready to be filled in. Immutable.
type introduction struct {
	headers   []header.Header
	assertion AssertionSpec // without an algorithm: none
	basic     []header.Part // of the user; nil: none
	password  string
	bearer    []string // of Authorization; nil: none
	cookie    header.Header
	hasCookie bool
	// What a client may not send, by letters: what is set here, and what any route to the
	// same application sets.
	removed map[string]struct{}
	cookies map[string]struct{}
	more    bool // removed has some that are not removed everywhere anyway
}

// usual are the headers of a route that says nothing else.
func usual() []header.Spec {
	return []header.Spec{
		{Name: identity.HeaderUser, Value: "{id}"},
		{Name: identity.HeaderPreferredUsername, Value: "{user_name}"},
		{Name: identity.HeaderEmail, Value: "{email}"},
		{Name: identity.HeaderName, Value: "{name}"},
		{Name: identity.HeaderGroups, Value: "{teams}"},
	}
}

func compileIdentity(s IdentitySpec, route string) (introduction, error) {
	in := introduction{removed: map[string]struct{}{}, cookies: map[string]struct{}{}, assertion: s.Assertion}
	specs := s.Headers
	if len(specs) == 0 {
		specs = usual()
	}
	if len(specs) > maxHeaders {
		return in, fmt.Errorf("identity: more than %d headers", maxHeaders)
	}
	var faults []error
	claim := func(letters, name string) {
		if _, twice := in.removed[letters]; twice {
			faults = append(faults, fmt.Errorf("identity: header %q is there twice, as careless readers see it", name))
		}
		in.removed[letters] = struct{}{}
	}
	for _, spec := range specs {
		h, nerr, verr, eerr := spec.Read()
		for i, err := range []error{nerr, verr, eerr} {
			if err != nil {
				faults = append(faults, fmt.Errorf("identity: %s of header %q %w", [...]string{"name", "value", "encoding"}[i], spec.Name, err))
			}
		}
		claim(h.Letters, h.Name)
		in.headers = append(in.headers, h)
	}
	if a := &in.assertion; a.Algorithm != "" {
		if a.Header == "" {
			a.Header = identity.HeaderAssertion
		}
		if a.Audience == "" {
			a.Audience = route
		}
		if err := header.CheckName(a.Header); err != nil {
			faults = append(faults, fmt.Errorf("identity: assertion header %q %w", a.Header, err))
		}
		if !a.Algorithm.Valid() {
			faults = append(faults, fmt.Errorf("identity: assertion algorithm %q is neither ES256 nor RS256", a.Algorithm))
		}
		claim(header.Letters(a.Header), a.Header)
	}
	faults = append(faults, in.adapt(s))
	return in, errors.Join(faults...)
}

// adapt reads what speaks to applications that know no proxy.
func (in *introduction) adapt(s IdentitySpec) error {
	var faults []error
	switch {
	case s.Basic != (BasicSpec{}) && s.Bearer != "":
		faults = append(faults, errors.New("identity: basic stands beside bearer, and there is one Authorization"))
	case s.Basic != (BasicSpec{}):
		parts, err := header.ParseValue(s.Basic.User)
		if err != nil {
			faults = append(faults, fmt.Errorf("identity: basic user %w", err))
		}
		if s.Basic.Password == "" || strings.ContainsFunc(s.Basic.Password, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			faults = append(faults, errors.New("identity: basic has no password, or one with control characters"))
		}
		in.basic, in.password = parts, s.Basic.Password
		in.removed["authorization"] = struct{}{}
	case s.Bearer != "":
		if strings.ContainsFunc(s.Bearer, func(r rune) bool { return r <= ' ' || r > '~' }) {
			faults = append(faults, errors.New("identity: bearer is not a token of printable ASCII"))
		}
		in.bearer = []string{"Bearer " + s.Bearer}
		in.removed["authorization"] = struct{}{}
	}
	if c := s.Cookie; c != (CookieSpec{}) {
		h := header.Header{Name: c.Name, Letters: header.Letters(c.Name), Encoding: c.Encoding}
		if err := header.CheckCookieName(c.Name); err != nil {
			faults = append(faults, fmt.Errorf("identity: cookie %q %w", c.Name, err))
		}
		var err error
		if h.Parts, err = header.ParseValue(c.Value); err != nil {
			faults = append(faults, fmt.Errorf("identity: value of cookie %q %w", c.Name, err))
		}
		switch h.Encoding {
		case "":
			h.Encoding = header.Percent
		case header.Percent, header.Base64, header.Plain:
		default:
			faults = append(faults, fmt.Errorf("identity: encoding of cookie %q is none of percent, base64, plain", c.Name))
		}
		in.cookie, in.hasCookie = h, true
		in.cookies[h.Letters] = struct{}{}
	}
	return errors.Join(faults...)
}

// shareNames makes every route to an application remove what any route to it sets:
// it believes a header wherever it comes in, also on a path for which the operator did
// not repeat it (row H01).
func (t *Routes) shareNames() {
	headers, cookies := map[string][]string{}, map[string][]string{} // by upstream
	for _, rt := range t.all {
		for _, u := range rt.to.URLs {
			u = strings.TrimSuffix(u, "/")
			for name := range rt.intro.removed {
				if name != "authorization" { // a route that sends its own takes the client's away; others leave it
					headers[u] = append(headers[u], name)
				}
			}
			for name := range rt.intro.cookies {
				cookies[u] = append(cookies[u], name)
			}
		}
	}
	for _, rt := range t.all {
		for _, u := range rt.to.URLs {
			u = strings.TrimSuffix(u, "/")
			for _, name := range headers[u] {
				rt.intro.removed[name] = struct{}{}
			}
			for _, name := range cookies[u] {
				rt.intro.cookies[name] = struct{}{}
			}
		}
		for name := range rt.intro.removed {
			rt.intro.more = rt.intro.more || !managed(name)
		}
	}
}

// claims reports whether a name means one that a route to this application sets.
func (in *introduction) claims(name string) bool {
	var buf [maxLetters]byte
	_, ours := in.removed[string(buf[:letters(&buf, name)])]
	return ours
}

// Algorithms are those that the routes sign with: each needs a key.
func (t *Routes) Algorithms() []assertion.Algorithm {
	var out []assertion.Algorithm
	for _, rt := range t.all {
		if a := rt.intro.assertion.Algorithm; a != "" && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

// removes reports whether the application must not see a header that a client sends, in
// whatever spelling.
func (rt *Route) removes(name string) bool {
	var buf [maxLetters]byte
	b := buf[:letters(&buf, name)]
	if managedLetters(b) {
		return true
	}
	if !rt.intro.more {
		return false
	}
	_, ours := rt.intro.removed[string(b)]
	return ours
}

// withholds reports whether no trailer of an answer may have a name: those that HTTP
// forbids, and what means who asks to whoever reads the same connection.
func (rt *Route) withholds(name string) bool { return forbiddenTrailer(name) || rt.removes(name) }

// names are the headers that may be set for a person, in canonical form.
func (in *introduction) names() []string {
	var out []string
	for _, h := range in.headers {
		out = append(out, http.CanonicalHeaderKey(h.Name))
	}
	if in.assertion.Algorithm != "" {
		out = append(out, http.CanonicalHeaderKey(in.assertion.Header))
	}
	if in.basic != nil || in.bearer != nil {
		out = append(out, "Authorization")
	}
	return out
}

// authorization is the header for a user, or "" where Basic cannot name him: a colon
// ends the name, and nothing says how to write another character (RFC 7617 section 2).
func (in *introduction) authorization(user string) string {
	if user == "" || strings.ContainsFunc(user, func(r rune) bool { return r < ' ' || r == ':' || r == 0x7f }) {
		return ""
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+in.password))
}
