package proxy

import (
	"encoding/hex"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ssogate/ssogate/internal/header"
	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/proxy/assertion"
	"github.com/ssogate/ssogate/session"
)

// told is what the application of one route is told of one principal, ready to be
// sent. Requests share it: it is kept in the principal's memo, under the route, so that
// a route of a new table, or a principal that was read anew, never finds an old one.
type told struct {
	fields []field // of shared slices, which nobody may append to
	cookie string  // name=value
	claims assertion.Claims
	token  atomic.Pointer[token]
	mu     sync.Mutex // one signs
}

type field struct {
	name  string
	value []string
}

// token is a signed assertion.
type token struct {
	value []string
	iat   time.Time
	key   string
}

// A token is made anew when it is renewAfter old. Who comes while that is done sends
// the one before, for as long as it will live mustLive more: a request may wait for
// its application, and an application's clock may be ahead.
const (
	renewAfter = 30 * time.Second
	mustLive   = 20 * time.Second
)

// usable reports whether a token may be sent. One of a key that does not sign any more
// may not: it may have been withdrawn.
func (t *token) usable(k *assertion.Key, now time.Time, until time.Duration) bool {
	if t == nil || t.key != k.ID {
		return false
	}
	age := now.Sub(t.iat)
	return age >= 0 && age < until
}

var errNoKey = errors.New("proxy: no key to sign assertions with")

// signed answers a token of k's.
func (t *told) signed(k *assertion.Key, now time.Time) ([]string, error) {
	if k == nil {
		return nil, errNoKey
	}
	c := t.token.Load()
	if c.usable(k, now, renewAfter) {
		return c.value, nil
	}
	if !c.usable(k, now, assertion.Lifetime-mustLive) {
		t.mu.Lock()
	} else if !t.mu.TryLock() {
		return c.value, nil // somebody makes the next one
	}
	defer t.mu.Unlock()
	if c = t.token.Load(); c.usable(k, now, renewAfter) {
		return c.value, nil
	}
	s, err := k.Sign(t.claims, now)
	if err != nil {
		return nil, err
	}
	next := &token{value: []string{s}, iat: time.Unix(now.Unix(), 0), key: k.ID}
	t.token.Store(next)
	return next.value, nil
}

// introduce finds out what the application is told of the person who asks. An error
// means that the assertion cannot be made, and that the request must not go on: without
// it the application might take it for one that nobody makes.
func (x *exchange) introduce() error {
	t, ok := x.p.Memo().Get(x.rt).(*told)
	if !ok {
		t, _ = x.p.Memo().Put(x.rt, x.rt.intro.tell(x.p, x.g.o.GatewayURL)).(*told)
	}
	x.told = t
	a := &x.rt.intro.assertion
	if a.Algorithm == "" {
		return nil
	}
	if x.g.o.Assertions == nil {
		return errNoKey
	}
	now := x.g.o.Now()
	var err error
	x.token, err = t.signed(x.g.o.Assertions.Signer(a.Algorithm, now), now)
	return err
}

// introduced is introduce for a request. When it answers false, the refusal has been written.
func (x *exchange) introduced(r *http.Request) bool {
	err := x.introduce()
	if err == nil {
		return true
	}
	g := x.g
	if g.denials.mayLog("no_assertion") {
		g.o.Log.LogAttrs(r.Context(), slog.LevelError, "an application cannot be told who asks",
			slog.String("route", x.rt.name), slog.String("error", err.Error()), slog.String("request_id", web.RequestID(r.Context())))
	}
	g.refuse(x.ResponseWriter, r, x, Decision{Verdict: Unavailable, Rule: x.d.Rule, Reason: "no_assertion"}, x.p)
	return false
}

// renew exchanges an assertion that grew old while its request waited for the
// application, or was sent to an upstream that could not take it.
func (x *exchange) renew() error {
	had := x.token
	if len(had) == 0 {
		return nil
	}
	if err := x.introduce(); err != nil {
		return err
	}
	if &had[0] != &x.token[0] {
		// Not in place: a transport that failed may still be reading.
		h := maps.Clone(x.out.Header)
		h[x.rt.intro.assertion.Header] = x.token
		x.out.Header = h
	}
	return nil
}

// tell fills in what a route tells of a person. An absent value is an absent header
// (row H06).
func (in *introduction) tell(p *session.Principal, issuer string) *told {
	t := &told{}
	add := func(name, value string) {
		if value != "" {
			t.fields = append(t.fields, field{name, []string{value}})
		}
	}
	for i := range in.headers {
		add(in.headers[i].Name, render(&in.headers[i], p))
	}
	switch {
	case in.basic != nil:
		add("Authorization", in.authorization(joined(in.basic, p)))
	case in.bearer != nil:
		t.fields = append(t.fields, field{"Authorization", in.bearer})
	}
	if in.hasCookie {
		if v := renderCookie(&in.cookie, p); v != "" {
			t.cookie = in.cookie.Name + "=" + v
		}
	}
	if in.assertion.Algorithm != "" {
		t.claims = claimsOf(p, issuer, in.assertion.Audience)
	}
	return t
}

func claimsOf(p *session.Principal, issuer, audience string) assertion.Claims {
	short := func(s string) string {
		if len(s) > maxIdentityValue {
			return "" // as in a header
		}
		return s
	}
	m := &p.Member
	c := assertion.Claims{
		Issuer: issuer, Audience: audience, Subject: of(p, header.ID),
		PreferredUsername: short(m.UserName), Email: short(m.Email), Name: short(m.DisplayName),
	}
	n := 0
	for _, t := range p.Teams {
		n += len(t) + 3
	}
	if n <= maxGroupsValue {
		c.Groups = p.Teams
	}
	return c
}

// setIdentity adds who asks; on a public path nobody does. What of the client's stood
// under the same names has been removed.
func (x *exchange) setIdentity(h http.Header) {
	if x.told == nil {
		return
	}
	for i := range x.told.fields {
		f := &x.told.fields[i]
		h[f.name] = f.value
	}
	if x.token != nil {
		h[x.rt.intro.assertion.Header] = x.token
	}
}

// setCookies takes our cookies out of the Cookie lines, and those that tell the
// application who asks; then it adds ours of that kind. Lines are never changed in place.
func (x *exchange) setCookies(h http.Header) {
	if lines := h["Cookie"]; len(lines) == 1 { // as browsers send them: without an allocation
		switch out := stripCookieLine(lines[0], x.g.o.Sessions.IsOurCookie); out {
		case lines[0]:
		case "":
			delete(h, "Cookie")
		default:
			x.cookies[0] = out
			h["Cookie"] = x.cookies[:]
		}
	} else {
		stripCookies(h, x.g.o.Sessions.IsOurCookie)
	}
	if in := &x.rt.intro; len(in.cookies) > 0 {
		in.dropCookies(h)
	}
	if x.told == nil || x.told.cookie == "" {
		return
	}
	lines := slices.Clone(h["Cookie"])
	if n := len(lines); n > 0 {
		lines[n-1] += "; " + x.told.cookie // one line where there was one: not everybody reads a second
	} else {
		lines = []string{x.told.cookie}
	}
	h["Cookie"] = lines
}

// dropCookies removes what the application could take for a cookie of ours.
func (in *introduction) dropCookies(h http.Header) {
	var kept []string
	for _, line := range h["Cookie"] {
		var parts []string
		for part := range strings.SplitSeq(line, ";") {
			if !in.looksToldBy(part) {
				parts = append(parts, part)
			}
		}
		if out := strings.TrimLeft(strings.Join(parts, ";"), " \t"); out != "" {
			kept = append(kept, out)
		}
	}
	if kept == nil {
		delete(h, "Cookie")
		return
	}
	h["Cookie"] = kept
}

// looksToldBy judges "name=value" by the letters of its name, as some parser may find
// it: PHP takes "user[0]" for "user", and older ones decode "%75ser"; a pair without a
// name is sent as its bare value, which a parser may split again.
func (in *introduction) looksToldBy(pair string) bool {
	for range 4 {
		name, rest, more := strings.Cut(pair, "=")
		name, _, _ = strings.Cut(unescaped(name), "[")
		letters := header.Letters(name)
		if _, ours := in.cookies[letters]; ours {
			return true
		}
		if !more || letters != "" {
			return false
		}
		pair = rest
	}
	return true
}

// unescaped decodes what looks like an escape, and leaves what does not.
func unescaped(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, err := hex.DecodeString(s[i+1 : i+3]); err == nil {
				b.Write(c)
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
