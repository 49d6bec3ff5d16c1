package oauth

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/outbound"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/ssotest"
)

const gateway = "https://sso.example.com"

var ada = ssotest.Person{
	User: "ada", Password: "correct horse", Email: "ada@example.com", GivenName: "Ada", FamilyName: "Lovelace",
	DisplayName: "Ada Lovelace", Groups: []string{"finance", "engineers"},
}

var mallory = ssotest.Person{User: "mallory", Password: "battery staple", Email: "mallory@example.com", GivenName: "Mal", FamilyName: "Lory", DisplayName: "Mal Lory"}

// rig is one provider of ours in front of one in-process OpenID provider.
type rig struct {
	t     *testing.T
	op    *ssotest.OP
	url   string // issuer
	p     *Provider
	clock *clock.Manual

	mu   sync.Mutex
	hits map[string]int // requests seen by the OpenID provider, by path

	plain bool // sign-ins are not examined besides: the test counts requests
}

type rigOption func(*ssotest.OPOptions, *Options)

func newRig(t *testing.T, opts ...rigOption) *rig {
	t.Helper()
	r := &rig{t: t, clock: &clock.Manual{}, hits: make(map[string]int)}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		r.hits[req.URL.Path]++
		r.mu.Unlock()
		r.op.ServeHTTP(w, req)
	}))
	r.url = "http://" + srv.Listener.Addr().String()
	o := ssotest.OPOptions{
		Issuer: r.url, ClientID: "client", ClientSecret: "s3cret/+ %", RedirectURIs: []string{gateway + "/oauth/acme/callback"},
		People: []ssotest.Person{ada, mallory}, Key: ecKey(t), Now: r.clock.Now,
	}
	client, err := outbound.New(outbound.Options{Allow: []string{strings.TrimPrefix(r.url, "http://")}})
	if err != nil {
		t.Fatal(err)
	}
	po := Options{
		Provider: settings.Provider{
			ID: "acme", Name: "Acme", Protocol: settings.OIDC, Active: true,
			OIDC: settings.OIDCProvider{Issuer: r.url, ClientID: o.ClientID, ClientSecret: o.ClientSecret, Scopes: []string{"openid", "profile", "email", "groups"}},
		},
		URL: gateway, HTTP: client, Now: r.clock.Now,
	}
	for _, f := range opts {
		f(&o, &po)
	}
	if r.op, err = ssotest.NewOP(o); err != nil {
		t.Fatal(err)
	}
	if r.p, err = New(po); err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { client.CloseIdleConnections(); srv.Close() })
	return r
}

func (r *rig) count(path string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hits[path]
}

func (r *rig) login() sso.Login {
	return sso.Login{ID: secret.NewToken(), Kind: sso.Live, Provider: "acme", Expires: r.clock.Now().Add(sso.LoginLifetime)}
}

// begin sends a fresh Login to the provider.
func (r *rig) begin(l sso.Login) sso.Login {
	r.t.Helper()
	start, err := r.p.Begin(context.Background(), l)
	if err != nil {
		r.t.Fatalf("begin: %v", err)
	}
	l.Start = start
	return l
}

// callback is what the browser brings back for a Login after ada signed in.
func (r *rig) callback(l sso.Login) string {
	r.t.Helper()
	u, err := r.op.SignIn(l.Start.URL, "ada")
	if err != nil {
		r.t.Fatal(err)
	}
	return u
}

// receive reads and verifies a callback URL for a Login.
func (r *rig) receive(l sso.Login, callback string) (sso.Assertion, error) {
	r.t.Helper()
	resp, err := r.p.Receive(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, callback, nil))
	if err != nil {
		return sso.Assertion{}, err
	}
	return resp.Verify(context.Background(), l)
}

// signIn is the whole handshake under the current hooks.
func (r *rig) signIn() (sso.Assertion, error) {
	r.t.Helper()
	l := r.begin(r.login())
	a, err := r.receive(l, r.callback(l))
	if _, refused := errors.AsType[*sso.VerifyError](err); !r.plain && (err == nil || refused) {
		r.examined(err)
	}
	return a, err
}

// examined is the property that keeps Verify and Examine together: whatever the
// provider is made to answer, Verify accepts exactly when no check fails. The code
// works once, so it is a sign-in of its own.
func (r *rig) examined(verdict error) {
	r.t.Helper()
	l := r.begin(r.login())
	resp, err := r.p.Receive(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, r.callback(l), nil))
	if err != nil {
		r.t.Fatal(err)
	}
	e, ok := resp.(sso.Examiner)
	if !ok {
		r.t.Fatal("an OpenID answer is no Examiner")
	}
	x := e.Examine(context.Background(), l)
	if sso.Passed(x.Checks) != (verdict == nil) || (x.Assertion.ReplayKey != "") != (verdict == nil) {
		r.t.Fatalf("Verify says %v, Examine %+v", verdict, x.Checks)
	}
	if v, ok := errors.AsType[*sso.VerifyError](verdict); ok {
		for _, c := range x.Checks {
			if c.Name == sso.CheckOf(v.Reason) && c.Verdict == sso.Fail {
				return
			}
		}
		r.t.Fatalf("Verify refused for %q, which no failed check names: %+v", v.Reason, x.Checks)
	}
}

// mustWork is the benign twin that every attack runs first.
func (r *rig) mustWork() sso.Assertion {
	r.t.Helper()
	r.op.SetHooks(ssotest.OPHooks{})
	a, err := r.signIn()
	if err != nil {
		r.t.Fatalf("the benign sign-in was refused: %v", err)
	}
	if a.Identity.Subject != r.op.Sub("ada") {
		r.t.Fatalf("the benign sign-in is somebody else: %+v", a.Identity)
	}
	return a
}

// mustRefuse wants a *sso.VerifyError with this reason ("" = any).
func mustRefuse(t *testing.T, a sso.Assertion, err error, reason, why string) {
	t.Helper()
	v, ok := errors.AsType[*sso.VerifyError](err)
	if !ok {
		t.Errorf("got %v, want a refusal: %s", err, why)
		return
	}
	if reason != "" && v.Reason != reason {
		t.Errorf("refused as %q (%v), want %q: %s", v.Reason, v.Err, reason, why)
	}
	if a.Identity.Subject != "" || a.ReplayKey != "" {
		t.Errorf("a refusal came with an assertion: %s", why)
	}
}

func mustBeUnavailable(t *testing.T, a sso.Assertion, err error, step, why string) {
	t.Helper()
	u, ok := errors.AsType[*UnavailableError](err)
	if !ok || u.Step != step {
		t.Errorf("got %v, want an *UnavailableError of step %q: %s", err, step, why)
	}
	if a.Identity.Subject != "" {
		t.Errorf("an error came with an assertion: %s", why)
	}
}

func ecKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// with replaces parameters of a URL; "" deletes one.
func with(u string, pairs ...string) string {
	p, err := url.Parse(u)
	if err != nil {
		return u
	}
	q := p.Query()
	for i := 0; i < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
		if pairs[i+1] == "" {
			q.Del(pairs[i])
		}
	}
	p.RawQuery = q.Encode()
	return p.String()
}

// claimsHook changes the ID token's claims before the provider's real key signs them.
func claimsHook(f func(c map[string]any)) ssotest.OPHooks { return ssotest.OPHooks{Claims: f} }

func set(name string, v any) func(map[string]any) {
	return func(c map[string]any) {
		if v == nil {
			delete(c, name)
			return
		}
		c[name] = v
	}
}

func (r *rig) at(d time.Duration) int64 { return r.clock.Now().Add(d).Unix() }

func zero() sso.Assertion { return sso.Assertion{} }

func smallRSA(t *testing.T) jose.JSONWebKey {
	t.Helper()
	n := new(big.Int).Lsh(big.NewInt(1), 1023) // only its size matters: it verifies nothing
	return jose.JSONWebKey{Key: &rsa.PublicKey{N: n.Add(n, big.NewInt(1)), E: 65537}, KeyID: "small"}
}
