package oauth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/outbound"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/machine"
)

const audience = "https://app.example.com"

// workload is an issuer of JWTs for machines: two documents and a key, and nothing
// that a sign-in needs.
type workload struct {
	t     *testing.T
	url   string
	key   *ecdsa.PrivateKey
	clock *clock.Manual
	i     *MachineIssuer

	mu    sync.Mutex
	hits  map[string]int
	serve func(w http.ResponseWriter, r *http.Request) bool
	keys  []jose.JSONWebKey
}

func newWorkload(t *testing.T, opts ...func(*MachineOptions)) *workload {
	t.Helper()
	w := &workload{t: t, key: ecKey(t), clock: &clock.Manual{}, hits: map[string]int{}}
	w.keys = []jose.JSONWebKey{{Key: w.key.Public(), KeyID: "k1", Use: "sig", Algorithm: "ES256"}}
	srv := httptest.NewServer(w)
	t.Cleanup(srv.Close)
	w.url = srv.URL
	client, err := outbound.New(outbound.Options{Allow: []string{strings.TrimPrefix(srv.URL, "http://")}})
	if err != nil {
		t.Fatal(err)
	}
	o := MachineOptions{
		Name: "ci", Issuer: srv.URL, Audience: audience, MaxLifetime: 2 * time.Hour, HTTP: client, Now: w.clock.Now, Timeout: time.Second,
		TeamsClaim: "groups", Teams: []TeamOf{{"example/deploy", "ops"}, {"example/reports", "finance"}, {"example/other", "finance"}},
	}
	for _, f := range opts {
		f(&o)
	}
	if w.i, err = NewMachineIssuer(o); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *workload) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	w.hits[r.URL.Path]++
	serve, keys := w.serve, w.keys
	w.mu.Unlock()
	switch {
	case serve != nil && serve(rw, r):
	case r.URL.Path == wellKnown:
		_ = json.NewEncoder(rw).Encode(map[string]any{"issuer": w.url, "jwks_uri": w.url + "/jwks"})
	case r.URL.Path == "/jwks":
		_ = json.NewEncoder(rw).Encode(jose.JSONWebKeySet{Keys: keys})
	default:
		http.NotFound(rw, r)
	}
}

func (w *workload) set(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	do()
}

func (w *workload) count(path string) (n int) {
	w.set(func() { n = w.hits[path] })
	return n
}

func (w *workload) claims(change ...func(map[string]any)) map[string]any {
	now := w.clock.Now()
	c := map[string]any{
		"iss": w.url, "sub": "repo:example/deploy:ref:refs/heads/main", "aud": audience, "jti": secret.NewToken(),
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(), "groups": []string{"example/deploy", "example/reports", "ops", "root"},
	}
	for _, f := range change {
		f(c)
	}
	return c
}

func (w *workload) header(extra map[jose.HeaderKey]any) *jose.SignerOptions {
	h := map[jose.HeaderKey]any{"kid": "k1"}
	maps.Copy(h, extra)
	return &jose.SignerOptions{ExtraHeaders: h}
}

func (w *workload) token(change ...func(map[string]any)) string {
	w.t.Helper()
	tok, err := signer(jose.ES256, w.key, w.header(nil))(w.claims(change...))
	if err != nil {
		w.t.Fatal(err)
	}
	return tok
}

// refusedAs wants a *machine.RefusedError with this reason, and nothing vouched for.
func refusedAs(t *testing.T, v machine.Vouched, err error, reason, why string) {
	t.Helper()
	no, ok := errors.AsType[*machine.RefusedError](err)
	if !ok || no.Reason != reason {
		t.Errorf("%s: %v, want a refusal as %s", why, err, reason)
	}
	if v.Subject != "" || v.Teams != nil || v.Issuer != "" {
		t.Errorf("%s: refused, and vouched for: %+v", why, v)
	}
}

func TestJWTOfAMachine(t *testing.T) {
	for name, opts := range map[string]func(*MachineOptions){"by discovery": func(*MachineOptions) {}, "keys given": func(o *MachineOptions) { o.JWKS = o.Issuer + "/jwks" }} {
		w := newWorkload(t, opts)
		if w.count(wellKnown)+w.count("/jwks") != 0 {
			t.Errorf("%s: New made a call", name)
		}
		tok := w.token()
		v, err := w.i.Verify(t.Context(), tok)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if v.Hash != secret.Sum(tok) || v.Issuer != "ci" || v.Subject != "repo:example/deploy:ref:refs/heads/main" || !v.Expires.Equal(w.clock.Now().Add(10*time.Minute).Truncate(time.Second)) {
			t.Errorf("%s: %+v", name, v)
		}
		// Only the operator's table names teams: a group that is called as one of ours is not it.
		if !slices.Equal(v.Teams, []string{"finance", "ops"}) {
			t.Errorf("%s: teams %v", name, v.Teams)
		}
		if name == "keys given" && w.count(wellKnown) != 0 {
			t.Error("the discovery document was fetched although the keys' address is given")
		}
	}
}

// RFC 9068 section 4, and rows O02 to O06 for bearers.
func TestJWTClaimsOfMachines(t *testing.T) {
	w := newWorkload(t)
	at := func(d time.Duration) int64 { return w.clock.Now().Add(d).Unix() }
	for _, c := range []struct {
		why, reason string // "" is accepted
		change      func(map[string]any)
	}{
		{"benign", "", func(map[string]any) {}},
		{"one of several audiences", "", set("aud", []string{"other", audience})},
		{"without nbf and jti", "", func(c map[string]any) { delete(c, "nbf"); delete(c, "jti") }},
		{"no groups", "", set("groups", nil)},
		{"one group as text", "", set("groups", "example/deploy")},
		{"clocks differ", "", func(c map[string]any) { c["iat"], c["nbf"] = at(50*time.Second), at(50*time.Second) }},
		{"claims we do not know", "", set("repository", map[string]any{"a": []int{1}})},

		{"other issuer", "jwt_issuer", set("iss", "https://evil.example.com")},
		{"issuer with a slash", "jwt_issuer", set("iss", w.url+"/")},
		{"no issuer", "jwt_issuer", set("iss", nil)},
		{"issuer as a list", "jwt_issuer", set("iss", []string{w.url})},
		{"other audience", "jwt_audience", set("aud", "https://other.example.com")},
		{"audience longer than ours", "jwt_audience", set("aud", audience+"/")},
		{"no audience", "jwt_audience", set("aud", nil)},
		{"no audience in a list", "jwt_audience", set("aud", []string{})},
		{"audience of another type", "jwt_audience", set("aud", map[string]any{audience: true})},
		{"expired", "jwt_time", func(c map[string]any) { c["iat"], c["exp"] = at(-time.Hour), at(0) }},
		{"without an end", "jwt_time", set("exp", nil)},
		{"without a beginning", "jwt_time", set("iat", nil)},
		{"end as text", "jwt_time", set("exp", "9999999999")},
		{"far end", "jwt_time", set("exp", json.RawMessage("1e300"))},
		{"issued tomorrow", "jwt_time", func(c map[string]any) { c["iat"], c["exp"] = at(24*time.Hour), at(25*time.Hour) }},
		{"not valid yet", "jwt_time", set("nbf", at(2*time.Minute))},
		{"good for too long", "jwt_time", set("exp", at(2*time.Hour+time.Minute))},
		{"an ID token", "jwt_id_token", set("nonce", "n")},
		{"bound to a key", "jwt_bound", set("cnf", map[string]string{"jkt": "x"})},
		{"no subject", "jwt_subject", set("sub", nil)},
		{"empty subject", "jwt_subject", set("sub", "")},
		{"long subject", "jwt_subject", set("sub", strings.Repeat("x", 256))},
		{"subject with a line break", "jwt_subject", set("sub", "a\nb")},
		{"subject as a number", "jwt_subject", set("sub", 7)},
		{"groups of another type", "jwt_teams", set("groups", 7)},
		{"claim twice", "jwt_malformed", set("\x00raw", `{"iss":"`+w.url+`","sub":"a","sub":"b"}`)},
		{"no object", "jwt_malformed", set("\x00raw", `["iss"]`)},
		{"hundreds of claims", "jwt_malformed", func(c map[string]any) {
			for i := range 300 {
				c[fmt.Sprint("c", i)] = 1
			}
		}},
	} {
		v, err := w.i.Verify(t.Context(), w.token(c.change))
		switch {
		case c.reason != "":
			refusedAs(t, v, err, c.reason, c.why)
		case err != nil:
			t.Errorf("%s: %v", c.why, err)
		}
	}
}

// Row O04: only the issuer's published keys, with algorithms that the operator allows,
// and what the header says of other keys is not looked at.
func TestO04JWTSignaturesOfMachines(t *testing.T) {
	w := newWorkload(t, func(o *MachineOptions) { o.Algorithms = []string{"ES256"} })
	never := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a URL in the token's header was fetched") }))
	defer never.Close()
	evil := ecKey(t)
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	w.set(func() { w.keys = append(w.keys, jose.JSONWebKey{Key: weak.Public(), KeyID: "rsa", Use: "sig"}) })
	der, err := x509.MarshalPKIXPublicKey(w.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	pemKey := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	for _, c := range []struct {
		why, reason string
		sign        func(map[string]any) (string, error)
	}{
		{"benign", "", signer(jose.ES256, w.key, w.header(nil))},
		{"typ JWT", "", signer(jose.ES256, w.key, w.header(map[jose.HeaderKey]any{"typ": "JWT"}))},
		{"typ at+jwt", "", signer(jose.ES256, w.key, w.header(map[jose.HeaderKey]any{"typ": "at+jwt"}))},
		{"typ in full and capitals", "", signer(jose.ES256, w.key, w.header(map[jose.HeaderKey]any{"typ": "application/AT+JWT"}))},
		{"without a key id", "", signer(jose.ES256, w.key, nil)},
		{"typ logout+jwt", "jwt_token_type", signer(jose.ES256, w.key, w.header(map[jose.HeaderKey]any{"typ": "logout+jwt"}))},
		{"typ secevent+jwt", "jwt_token_type", signer(jose.ES256, w.key, w.header(map[jose.HeaderKey]any{"typ": "secevent+jwt"}))},
		{"typ dpop+jwt", "jwt_token_type", signer(jose.ES256, w.key, w.header(map[jose.HeaderKey]any{"typ": "dpop+jwt"}))},
		{"none", "jwt_alg", raw(`{"alg":"none"}`, "")},
		{"NONE with a signature", "jwt_alg", raw(`{"alg":"NONE"}`, "AAAA")},
		{"HS256 with the public key", "jwt_alg", signer(jose.HS256, pemKey, w.header(nil))},
		{"an algorithm that is not allowed here", "jwt_alg", signer(jose.RS256, weak, w.header(map[jose.HeaderKey]any{"kid": "rsa"}))},
		{"somebody's key under the right id", "jwt_signature", signer(jose.ES256, evil, w.header(nil))},
		{"somebody's key in the header", "jwt_signature", signer(jose.ES256, evil, w.header(map[jose.HeaderKey]any{"jwk": jose.JSONWebKey{Key: evil.Public()}}))},
		{"somebody's key at a URL", "jwt_signature", signer(jose.ES256, evil, w.header(map[jose.HeaderKey]any{"jku": never.URL, "x5u": never.URL}))},
		{"critical extension", "jwt_signature", signer(jose.ES256, w.key, w.header(map[jose.HeaderKey]any{"crit": []string{"x"}, "x": 1}))},
	} {
		tok, err := c.sign(w.claims())
		if err != nil {
			t.Fatal(err)
		}
		v, err := w.i.Verify(t.Context(), tok)
		switch {
		case c.reason != "":
			refusedAs(t, v, err, c.reason, c.why)
		case err != nil:
			t.Errorf("%s: %v", c.why, err)
		}
	}
	good := w.token()
	for what, bad := range map[string]string{
		"empty": "", "one part": "abc", "two parts": "a.b", "five parts": "a.b.c.d.e", "JSON": `{"payload":"x"}`, "cut": good[:len(good)-4], "huge": good + strings.Repeat("A", maxToken),
		"with a space": good + " ", "another payload": strings.Split(good, ".")[0] + "." + strings.Split(w.token(set("sub", "x")), ".")[1] + "." + strings.Split(good, ".")[2],
	} {
		v, err := w.i.Verify(t.Context(), bad)
		if _, ok := errors.AsType[*machine.RefusedError](err); !ok || v.Subject != "" {
			t.Errorf("%s: %+v, %v", what, v, err)
		}
	}
}

// Row O16: strangers' tokens cost no fetch, unknown keys a few, and a set that cannot be
// had is no verdict about the token.
func TestO16KeysOfMachineIssuers(t *testing.T) {
	w := newWorkload(t)
	stranger := w.token(set("iss", "https://evil.example.com"))
	for range 10 {
		v, err := w.i.Verify(t.Context(), stranger)
		refusedAs(t, v, err, machine.NotMine, "a stranger's token")
	}
	if n := w.count(wellKnown) + w.count("/jwks"); n != 0 {
		t.Errorf("strangers' tokens caused %d fetches", n)
	}
	if _, err := w.i.Verify(t.Context(), w.token()); err != nil {
		t.Fatal(err)
	}
	before := w.count("/jwks")
	evil := ecKey(t)
	for i := range 1000 {
		tok, err := signer(jose.ES256, evil, w.header(map[jose.HeaderKey]any{"kid": fmt.Sprint("kid-", i)}))(w.claims())
		if err != nil {
			t.Fatal(err)
		}
		v, err := w.i.Verify(t.Context(), tok)
		refusedAs(t, v, err, "jwt_key_unknown", "an unknown key id")
	}
	if n := w.count("/jwks") - before; n > fetchesPerMinute {
		t.Errorf("1000 unknown key ids caused %d fetches", n)
	}
	if _, err := w.i.Verify(t.Context(), w.token()); err != nil {
		t.Errorf("the machine with the known key meanwhile: %v", err)
	}
	for name, h := range map[string]http.HandlerFunc{
		"500": func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(500) }, "html": func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte("<html>")) }, "slow": hang,
		"50 MB": func(rw http.ResponseWriter, _ *http.Request) {
			for range 50 {
				if _, err := rw.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		},
	} {
		for _, path := range []string{"/jwks", wellKnown} {
			w := newWorkload(t, func(o *MachineOptions) { o.Timeout = 300 * time.Millisecond })
			w.serve = only(path, h)
			v, err := w.i.Verify(t.Context(), w.token())
			if _, refused := errors.AsType[*machine.RefusedError](err); err == nil || refused || v.Subject != "" {
				t.Errorf("%s at %s: %v: nothing is known about the token", name, path, err)
			}
		}
	}
}

// Row F02: an issuer cannot make us call inside.
func TestF02MachineIssuerCannotLeadInside(t *testing.T) {
	inner := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the inner server was reached") }))
	defer inner.Close()
	for _, target := range []string{inner.URL, "http://169.254.169.254/latest", "https://10.0.0.1/x", strings.Replace(inner.URL, "127.0.0.1", "0x7f000001", 1)} {
		w := newWorkload(t)
		w.serve = only(wellKnown, func(rw http.ResponseWriter, _ *http.Request) {
			_ = json.NewEncoder(rw).Encode(map[string]any{"issuer": w.url, "jwks_uri": target})
		})
		_, err := w.i.Verify(t.Context(), w.token())
		if _, ok := errors.AsType[*outbound.RefusedError](err); !ok {
			t.Errorf("%s: %v, want a refusal by the client", target, err)
		}
	}
	w := newWorkload(t)
	w.serve = only(wellKnown, func(rw http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(rw).Encode(map[string]any{"issuer": "https://other.example.com", "jwks_uri": w.url + "/jwks"})
	})
	if _, err := w.i.Verify(t.Context(), w.token()); err == nil {
		t.Error("a document of another issuer was used")
	}
}

// A verification is remembered for five minutes, never beyond the token's end, never
// without bound, and a withdrawn key counts no longer afterwards.
func TestVerifiedJWTsAreRemembered(t *testing.T) {
	w := newWorkload(t)
	tok := w.token(func(c map[string]any) { c["exp"] = w.clock.Now().Add(2 * time.Minute).Unix() })
	long := w.token(func(c map[string]any) { c["exp"] = w.clock.Now().Add(time.Hour + 50*time.Minute).Unix() })
	verify := func(tok string) error { _, err := w.i.Verify(t.Context(), tok); return err }
	if err := errors.Join(verify(tok), verify(long)); err != nil {
		t.Fatal(err)
	}
	if len(w.i.verified) != 2 {
		t.Fatalf("%d remembered", len(w.i.verified))
	}
	w.i.keys, w.i.disc = newKeySet("http://127.0.0.1:1/", w.i.o.HTTP, w.clock.Now, time.Second), nil // nothing can be verified any more
	w.clock.Advance(time.Minute)
	if err := errors.Join(verify(tok), verify(long)); err != nil {
		t.Errorf("remembered: %v", err)
	}
	w.clock.Advance(time.Minute)
	v, err := w.i.Verify(t.Context(), tok)
	if err == nil || v.Subject != "" {
		t.Errorf("at its end: %+v, %v", v, err)
	}
	w.clock.Advance(3*time.Minute - time.Millisecond)
	if err := verify(long); err != nil {
		t.Errorf("within five minutes: %v", err)
	}
	w.clock.Advance(time.Millisecond)
	if err := verify(long); err == nil {
		t.Error("remembered for more than five minutes")
	}
	for i := range maxVerified + 10 {
		w.i.remember(machine.Vouched{Hash: secret.Sum(fmt.Sprint(i)), Expires: w.clock.Now().Add(time.Hour)})
	}
	if n := len(w.i.verified); n != maxVerified {
		t.Errorf("%d remembered, at most %d", n, maxVerified)
	}
	// What was refused is not remembered as anything.
	if _, ok := w.i.remembered(secret.Sum(w.token(set("aud", "x")))); ok {
		t.Error("never verified, and remembered")
	}
}

func TestSubjectAndScopesOfMachines(t *testing.T) {
	w := newWorkload(t, func(o *MachineOptions) {
		o.Subject, o.TeamsClaim, o.Teams = "client_id", "scope", []TeamOf{{"reports:read", "finance"}, {"deploy", "ops"}}
	})
	for _, c := range []struct {
		scope any
		want  []string
	}{{"openid reports:read", []string{"finance"}}, {"deploy reports:read", []string{"finance", "ops"}}, {[]string{"deploy"}, []string{"ops"}}, {"deployment", nil}, {"", nil}, {nil, nil}} {
		v, err := w.i.Verify(t.Context(), w.token(set("client_id", "builder"), set("scope", c.scope)))
		if err != nil || v.Subject != "builder" || !slices.Equal(v.Teams, c.want) {
			t.Errorf("scope %v: %+v, %v", c.scope, v, err)
		}
	}
	v, err := w.i.Verify(t.Context(), w.token())
	refusedAs(t, v, err, "jwt_subject", "without the claim that names it")
}

func TestMachineIssuersThatCannotBeMade(t *testing.T) {
	good := MachineOptions{Name: "ci", Issuer: "https://ci.example.com", Audience: audience, MaxLifetime: time.Hour, HTTP: &http.Client{}}
	if _, err := NewMachineIssuer(good); err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func(*MachineOptions){
		"no name":              func(o *MachineOptions) { o.Name = "" },
		"name with a slash":    func(o *MachineOptions) { o.Name = "ci/x" },
		"no issuer":            func(o *MachineOptions) { o.Issuer = "" },
		"issuer with a query":  func(o *MachineOptions) { o.Issuer += "?x" },
		"no audience":          func(o *MachineOptions) { o.Audience = "" },
		"no bound on lifetime": func(o *MachineOptions) { o.MaxLifetime = 0 },
		"no client":            func(o *MachineOptions) { o.HTTP = nil },
		"symmetric algorithm":  func(o *MachineOptions) { o.Algorithms = []string{"HS256"} },
		"no algorithm":         func(o *MachineOptions) { o.Algorithms = []string{"none"} },
		"keys without TLS":     func(o *MachineOptions) { o.JWKS = "http://ci.example.com/jwks" },
	} {
		o := good
		spoil(&o)
		if _, err := NewMachineIssuer(o); err == nil {
			t.Errorf("made: %s", what)
		}
	}
}

// Whatever is sent as a token: never a panic, a fetch for a stranger's, or a machine
// without the key.
func FuzzMachineToken(f *testing.F) {
	client, err := outbound.New(outbound.Options{})
	if err != nil {
		f.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	i, err := NewMachineIssuer(MachineOptions{Name: "ci", Issuer: "https://ci.example.com", Audience: audience, MaxLifetime: time.Hour, HTTP: client, JWKS: "https://ci.example.com/jwks"})
	if err != nil {
		f.Fatal(err)
	}
	i.keys.keys, i.keys.fetched = []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1"}}, time.Now()
	i.keys.asked = []time.Time{time.Now(), time.Now(), time.Now()} // no fetch is left
	for _, s := range []string{`{"iss":"https://ci.example.com","aud":["` + audience + `"],"exp":9e9}`, `{"iss":1}`, `[]`, ``} {
		f.Add(`{"alg":"ES256","kid":"k1"}`, []byte(s), "AAAA")
	}
	f.Add(`{"alg":"none","typ":"at+jwt"}`, []byte("{}"), "")
	f.Fuzz(func(t *testing.T, header string, payload []byte, signature string) {
		tok, err := raw(header, signature)(nil)
		if err != nil {
			t.Fatal(err)
		}
		part := strings.Split(tok, ".")
		body := base64.RawURLEncoding.EncodeToString(payload)
		for _, token := range []string{part[0] + "." + body + "." + signature, header + "." + string(payload), part[0] + "." + body} {
			if v, err := i.Verify(t.Context(), token); err == nil || v.Subject != "" {
				t.Fatalf("%q is %+v", token, v)
			}
		}
		if c, err := parseClaims(payload); err == nil {
			if v, err := i.believe(c); err == nil && (v.Subject == "" || v.Expires.IsZero() || v.Issued.IsZero()) {
				t.Fatalf("%q is believed as %+v", payload, v)
			}
		}
	})
}
