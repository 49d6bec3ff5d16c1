package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/ssogate/ssogate/internal/outbound"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso/ssotest"
)

// only answers one path and leaves the rest to the provider.
func only(path string, h http.HandlerFunc) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != path {
			return false
		}
		h(w, r)
		return true
	}
}

// hang reads the request, so that the server notices when the client gives up,
// and never answers.
func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

const wellKnown = "/.well-known/openid-configuration"

func TestProviderDownAtStartIsAnErrorOfBeginOnly(t *testing.T) {
	r := newRig(t) // New succeeded without a call
	if r.count(wellKnown) != 0 {
		t.Error("New made a call")
	}
	var down atomic.Bool
	down.Store(true)
	r.op.SetHooks(ssotest.OPHooks{Serve: only(wellKnown, func(w http.ResponseWriter, req *http.Request) {
		if down.Load() {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = w.Write([]byte("secret of the provider's proxy"))
			return
		}
		rec := httptest.NewRecorder()
		r.op.SetHooks(ssotest.OPHooks{})
		r.op.ServeHTTP(rec, req)
		_, _ = w.Write(rec.Body.Bytes())
	})})
	_, err := r.p.Begin(t.Context(), r.login())
	u, ok := errors.AsType[*UnavailableError](err)
	if !ok || u.Step != "discovery" || u.Status != http.StatusBadGateway || strings.Contains(err.Error(), "secret") {
		t.Fatalf("got %v", err)
	}
	for range 50 { // people press reload
		if _, err := r.p.Begin(t.Context(), r.login()); err == nil {
			t.Fatal("begun although the provider is down")
		}
	}
	if n := r.count(wellKnown); n != 1 {
		t.Errorf("%d discovery requests in one moment, want 1: back off", n)
	}
	down.Store(false)
	r.clock.Advance(2 * time.Second)
	if _, err := r.p.Begin(t.Context(), r.login()); err != nil {
		t.Errorf("the provider is back: %v", err)
	}
}

func TestBackOffGrowsAndIsBounded(t *testing.T) {
	r := newRig(t)
	r.op.SetHooks(ssotest.OPHooks{Serve: only(wellKnown, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })})
	for range 600 { // ten minutes, one visitor a second
		_, _ = r.p.Begin(t.Context(), r.login())
		r.clock.Advance(time.Second)
	}
	if n := r.count(wellKnown); n < 10 || n > 20 {
		t.Errorf("%d requests in ten minutes of outage", n)
	}
	r.op.SetHooks(ssotest.OPHooks{})
	r.clock.Advance(maxBackOff + maxBackOff/4 + time.Second)
	if _, err := r.p.Begin(t.Context(), r.login()); err != nil {
		t.Errorf("after the longest wait the provider is asked again: %v", err)
	}
}

func TestDiscoveryIsSharedKeptAndRefreshed(t *testing.T) {
	r := newRig(t)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := r.p.Begin(context.Background(), r.login()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := r.count(wellKnown); n != 1 {
		t.Errorf("%d discovery requests for 50 visitors at once", n)
	}
	r.op.SetHooks(ssotest.OPHooks{Serve: only(wellKnown, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })})
	r.clock.Advance(2 * time.Hour)
	if _, err := r.signIn(); err != nil {
		t.Errorf("the last good document serves while discovery fails: %v", err)
	}
	r.clock.Advance(23 * time.Hour)
	if _, err := r.p.Begin(t.Context(), r.login()); err == nil {
		t.Error("a document of 25 hours still serves")
	}
}

func TestOneClosedTabDoesNotFailTheOthers(t *testing.T) {
	r := newRig(t)
	arrived, release := make(chan struct{}), make(chan struct{})
	r.op.SetHooks(ssotest.OPHooks{Discovery: func(map[string]any) { close(arrived); <-release }})
	ctx, cancel := context.WithCancel(context.Background())
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { _, err := r.p.Begin(ctx, r.login()); first <- err }()
	<-arrived
	go func() { _, err := r.p.Begin(context.Background(), r.login()); second <- err }()
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the closed tab: %v", err)
	}
	close(release)
	if err := <-second; err != nil {
		t.Errorf("the other tab: %v", err)
	}
}

func TestDiscoveryDocumentIsChecked(t *testing.T) {
	r := newRig(t)
	r.mustWork()
	for name, f := range map[string]func(map[string]any){
		"other issuer":         set("issuer", "https://evil.example"),
		"issuer with a slash":  func(d map[string]any) { d["issuer"] = r.url + "/" },
		"no issuer":            set("issuer", nil),
		"no jwks_uri":          set("jwks_uri", nil),
		"no token endpoint":    set("token_endpoint", nil),
		"javascript":           set("authorization_endpoint", "javascript:alert(1)//x"),
		"relative":             set("authorization_endpoint", "/authorize"),
		"user in the URL":      set("token_endpoint", "http://u:p@127.0.0.1/"),
		"fragment":             set("authorization_endpoint", r.url+"/authorize#x"),
		"only HS256":           set("id_token_signing_alg_values_supported", []string{"HS256", "none"}),
		"only private_key_jwt": set("token_endpoint_auth_methods_supported", []string{"private_key_jwt"}),
		"file":                 set("jwks_uri", "file:///etc/passwd"),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			if strings.Contains(name, "slash") {
				f = set("issuer", r.url+"/")
			}
			r.op.SetHooks(ssotest.OPHooks{Discovery: f})
			_, err := r.p.Begin(t.Context(), r.login())
			u, ok := errors.AsType[*UnavailableError](err)
			if !ok || u.Step != "discovery" {
				t.Errorf("got %v", err)
			}
		})
	}
	// An https issuer may not lead to plain http.
	m := metadata{Issuer: "https://idp.example", Authorization: "https://idp.example/a", Token: "https://idp.example/t", JWKS: "https://idp.example/k"}
	if err := m.check("https://idp.example", true); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*string{&m.Authorization, &m.Token, &m.JWKS} {
		old := *p
		*p = strings.Replace(old, "https", "http", 1)
		if m.check("https://idp.example", true) == nil {
			t.Errorf("%s accepted below an https issuer", *p)
		}
		*p = old
	}
}

func TestTokenEndpointAuthentication(t *testing.T) {
	for name, c := range map[string]struct {
		methods any
		basic   bool
	}{"default": {nil, true}, "basic": {[]string{"client_secret_basic"}, true}, "post": {[]string{"client_secret_post"}, false}, "both": {[]string{"client_secret_post", "client_secret_basic"}, true}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.plain = true
			r.op.SetHooks(ssotest.OPHooks{
				Discovery: set("token_endpoint_auth_methods_supported", c.methods),
				Serve: func(_ http.ResponseWriter, req *http.Request) bool {
					if _, _, basic := req.BasicAuth(); req.URL.Path == "/token" && basic != c.basic {
						t.Errorf("Basic %v", basic)
					}
					return false
				},
			})
			if _, err := r.signIn(); err != nil || r.count("/token") != 1 {
				t.Errorf("%v after %d token requests; a code is sent once", err, r.count("/token"))
			}
		})
	}
}

func TestO16Keys(t *testing.T) {
	r := newRig(t)
	r.mustWork()
	before := r.count("/jwks")
	evil := ecKey(t)
	for i := range 1000 {
		ks := r.p.disc.good.keys
		tok, err := signer(jose.ES256, jose.JSONWebKey{Key: evil, KeyID: fmt.Sprint("kid-", i)}, nil)(map[string]any{"sub": "x"})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := checkSignature(t.Context(), ks, tok, ""); err == nil {
			t.Fatal("an unknown key was accepted")
		} else if i > fetchesPerMinute {
			mustRefuse(t, zero(), err, "key_unknown", "known keys, and none of them")
		}
	}
	if n := r.count("/jwks") - before; n > fetchesPerMinute {
		t.Errorf("1000 unknown key ids caused %d fetches", n)
	}
	r.clock.Advance(time.Minute)
	if err := r.op.RotateKey(ecKey(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.signIn(); err != nil {
		t.Errorf("a rotated key is found a minute after the flood: %v", err)
	}
}

func TestO16KeyDocuments(t *testing.T) {
	small := smallRSA(t)
	for name, h := range map[string]http.HandlerFunc{
		"500":          func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"html":         func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>sign in</html>")) },
		"no keys":      func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[]}`)) },
		"keys missing": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{}`)) },
		"keys twice":   func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[],"keys":[]}`)) },
		"symmetric only": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"keys":[{"kty":"oct","k":"AAAA"}]}`))
		},
		"short RSA key": func(w http.ResponseWriter, _ *http.Request) {
			_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{small}})
		},
		"private key": func(w http.ResponseWriter, _ *http.Request) {
			_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{jose.JSONWebKey{Key: ecKey(t)}}})
		},
		"deep": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"keys":` + strings.Repeat("[", 100_000)))
		},
		"65 keys": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"keys":[{}` + strings.Repeat(",{}", maxKeys) + `]}`))
		},
		"50 MB": func(w http.ResponseWriter, _ *http.Request) {
			for range 50 {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		},
		"slow": hang,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(_ *ssotest.OPOptions, o *Options) { o.Timeout = 300 * time.Millisecond })
			r.op.SetHooks(ssotest.OPHooks{Serve: only("/jwks", h)})
			begin := time.Now()
			for range 10 {
				a, err := r.signIn()
				mustBeUnavailable(t, a, err, "keys", name)
				if name == "slow" {
					break
				}
			}
			if d := time.Since(begin); d > 5*time.Second {
				t.Errorf("took %s", d)
			}
			if n := r.count("/jwks"); n > fetchesPerMinute {
				t.Errorf("%d fetches", n)
			}
			r.op.SetHooks(ssotest.OPHooks{})
			r.clock.Advance(time.Minute)
			if _, err := r.signIn(); err != nil {
				t.Errorf("healed: %v", err)
			}
		})
	}
}

// TestO16WhichKeysAreKept has one unwanted key beside a good one, in turn.
func TestO16WhichKeysAreKept(t *testing.T) {
	set := func(keys ...any) []byte {
		b, err := json.Marshal(map[string]any{"keys": keys})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	private := ecKey(t)
	good := jose.JSONWebKey{Key: private.Public(), KeyID: "good", Use: "sig"}
	for name, other := range map[string]any{
		"encryption key":   jose.JSONWebKey{Key: ecKey(t).Public(), KeyID: "x", Use: "enc"},
		"private key":      jose.JSONWebKey{Key: private, KeyID: "x"},
		"short RSA key":    smallRSA(t),
		"symmetric key":    map[string]string{"kty": "oct", "kid": "x", "k": "c2VjcmV0"},
		"unknown key type": map[string]string{"kty": "AKP", "kid": "x", "alg": "ML-DSA-44"},
		"point off curve":  map[string]string{"kty": "EC", "crv": "P-256", "kid": "x", "x": "AQ", "y": "AQ"},
		"text":             "key",
	} {
		keys, err := parseKeys(set(good, other))
		if err != nil || len(keys) != 1 || keys[0].KeyID != "good" {
			t.Errorf("%s: %d keys, %v", name, len(keys), err)
		}
	}
	many := make([]any, maxKeys)
	for i := range many {
		many[i] = good
	}
	if keys, err := parseKeys(set(many...)); err != nil || len(keys) != maxKeys {
		t.Errorf("%d keys, %v", len(keys), err)
	}
	if _, err := parseKeys(set(slices.Concat(many, []any{good})...)); err == nil {
		t.Error("more keys than the limit")
	}
}

// TestDocumentCutAtTheLimitIsNoDocument: what is left of a cut one may well be
// valid JSON.
func TestDocumentCutAtTheLimitIsNoDocument(t *testing.T) {
	r := newRig(t)
	pad := func(n int) ssotest.OPHooks {
		return ssotest.OPHooks{Serve: func(w http.ResponseWriter, req *http.Request) bool {
			if req.URL.Path == wellKnown {
				doc := fmt.Sprintf(`{"issuer":%q,"authorization_endpoint":"%[2]s/authorize","token_endpoint":"%[2]s/token","jwks_uri":"%[2]s/jwks"}`, r.url, r.url)
				_, _ = io.WriteString(w, doc+strings.Repeat(" ", n-len(doc)))
			}
			return req.URL.Path == wellKnown
		}}
	}
	r.op.SetHooks(pad(maxDocument + 1))
	if _, err := r.p.Begin(t.Context(), r.login()); !errors.Is(err, errTooLarge) {
		t.Errorf("one byte beyond the limit: %v", err)
	}
	r.clock.Advance(time.Minute)
	r.op.SetHooks(pad(maxDocument))
	if _, err := r.p.Begin(t.Context(), r.login()); err != nil {
		t.Errorf("at the limit: %v", err)
	}
}

func TestO16LastGoodKeysServeWhileTheProviderFails(t *testing.T) {
	r := newRig(t, func(_ *ssotest.OPOptions, o *Options) { o.Timeout = 1500 * time.Millisecond })
	r.mustWork()
	r.op.SetHooks(ssotest.OPHooks{Serve: only("/jwks", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })})
	r.clock.Advance(5 * time.Hour)
	if _, err := r.signIn(); err != nil {
		t.Errorf("keys of five hours: %v", err)
	}
	r.clock.Advance(time.Minute)
	r.op.SetHooks(ssotest.OPHooks{Serve: only("/jwks", hang)})
	if _, err := r.signIn(); err != nil {
		t.Errorf("keys of five hours, and a key set that hangs: %v", err)
	}
	r.clock.Advance(20 * time.Hour)
	a, err := r.signIn()
	mustBeUnavailable(t, a, err, "keys", "keys of more than a day are not used: the provider may have withdrawn them")
}

func TestO16WithdrawnKeyIsForgotten(t *testing.T) {
	r := newRig(t)
	r.mustWork()
	stolen := r.signingKey() // published, then withdrawn
	kid := r.publicKey().KeyID
	if _, err := r.signIn(); err != nil {
		t.Fatal(err)
	}
	other := ecKey(t)
	r.op.SetHooks(ssotest.OPHooks{
		Sign:  signer(jose.ES256, jose.JSONWebKey{Key: stolen, KeyID: kid}, nil),
		Serve: serveKeys(jose.JSONWebKey{Key: other.Public(), KeyID: "new", Use: "sig"}),
	})
	r.clock.Advance(freshFor + time.Minute)
	a, err := r.signIn()
	mustRefuse(t, a, err, "key_unknown", "withdrawn an hour ago")
}

func TestO17TokenEndpoint(t *testing.T) {
	r := newRig(t, func(_ *ssotest.OPOptions, o *Options) { o.Timeout = time.Second })
	r.mustWork()
	inner := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the code went where the token endpoint pointed") }))
	defer inner.Close()
	body := func(status int, s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(s))
		}
	}
	redirect := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, req *http.Request) { http.Redirect(w, req, inner.URL, status) }
	}
	for name, h := range map[string]http.HandlerFunc{
		"hangs":           hang,
		"HTML 200":        func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>hunter2</html>")) },
		"302 inside":      redirect(302),
		"307 inside":      redirect(307),
		"308 inside":      redirect(308),
		"500":             body(500, `{"hunter2":1}`),
		"invalid_client":  body(401, `{"error":"invalid_client","error_description":"hunter2"}`),
		"error with 200":  body(200, `{"error":"server_error"}`),
		"own error code":  body(400, `{"error":"hunter\r\nforged"}`),
		"no access token": body(200, `{"id_token":"x"}`),
		"empty":           body(200, ``),
		"null":            body(200, `null`),
		"closes":          func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"2 MB":            body(200, `{"access_token":"`+strings.Repeat("a", 2<<20)+`"}`),
	} {
		t.Run(name, func(t *testing.T) {
			r.op.SetHooks(ssotest.OPHooks{Serve: only("/token", h)})
			begin := time.Now()
			a, err := r.signIn()
			mustBeUnavailable(t, a, err, "token", name)
			if d := time.Since(begin); d > 3*time.Second {
				t.Errorf("took %s", d)
			}
			if strings.Contains(err.Error(), "hunter2") || strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("the body is in the error: %q", err)
			}
		})
	}
	for name, resp := range map[string]func(map[string]any){
		"no ID token": set("id_token", nil), "ID token as a number": set("id_token", 5), "ID token null": set("id_token", json.RawMessage("null")), "long access token": set("access_token", strings.Repeat("a", maxToken+1)),
	} {
		r.op.SetHooks(ssotest.OPHooks{TokenResponse: resp})
		a, err := r.signIn()
		mustRefuse(t, a, err, "", name)
	}
	if DefaultTimeout > 10*time.Second {
		t.Error("row O17 wants an end within 10 s")
	}
}

// TestF02ProviderCannotLeadInside: the issuer itself, and each endpoint its
// document names, points at a server of ours that is not allowed.
func TestF02ProviderCannotLeadInside(t *testing.T) {
	inner := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	var conns atomic.Int64
	inner.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	inner.Start()
	defer inner.Close()
	targets := []string{inner.URL, strings.Replace(inner.URL, "127.0.0.1", "[::ffff:127.0.0.1]", 1), strings.Replace(inner.URL, "127.0.0.1", "0x7f000001", 1), strings.Replace(inner.URL, "http:", "https:", 1), "http://169.254.169.254/latest", "https://10.0.0.1/x"}
	for _, target := range targets {
		for endpoint, step := range map[string]string{"jwks_uri": "keys", "token_endpoint": "token", "userinfo_endpoint": "userinfo"} {
			r := newRig(t)
			h := thin(nil)
			h.Discovery = set(endpoint, target)
			r.op.SetHooks(h)
			a, err := r.signIn()
			mustBeUnavailable(t, a, err, step, endpoint+" at "+target)
			if _, ok := errors.AsType[*outbound.RefusedError](err); !ok {
				t.Errorf("%s at %s: %v, want a refusal by the client", endpoint, target, err)
			}
		}
		client, err := outbound.New(outbound.Options{})
		if err != nil {
			t.Fatal(err)
		}
		p, err := New(Options{URL: gateway, HTTP: client, Provider: settings.Provider{ID: "x", Protocol: settings.OIDC, OIDC: settings.OIDCProvider{Issuer: target, ClientID: "c"}}})
		if err != nil {
			continue // refused even earlier
		}
		if _, err := p.Begin(t.Context(), newRig(t).login()); err == nil {
			t.Errorf("issuer %s was discovered", target)
		}
	}
	if n := conns.Load(); n != 0 {
		t.Errorf("%d connections reached the inner server", n)
	}
}

func TestNewRefuses(t *testing.T) {
	good := Options{URL: gateway, HTTP: &http.Client{}, Provider: settings.Provider{ID: "acme", Protocol: settings.OIDC, OIDC: settings.OIDCProvider{Issuer: "https://idp.example", ClientID: "c"}}}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func(*Options){
		"no client":           func(o *Options) { o.HTTP = nil },
		"SAML":                func(o *Options) { o.Provider.Protocol = settings.SAML },
		"no client id":        func(o *Options) { o.Provider.OIDC.ClientID = "" },
		"no issuer":           func(o *Options) { o.Provider.OIDC.Issuer = "" },
		"issuer with a query": func(o *Options) { o.Provider.OIDC.Issuer = "https://idp.example?x=1" },
		"issuer with a user":  func(o *Options) { o.Provider.OIDC.Issuer = "https://u@idp.example" },
		"issuer fragment":     func(o *Options) { o.Provider.OIDC.Issuer = "https://idp.example#" },
		"file issuer":         func(o *Options) { o.Provider.OIDC.Issuer = "file:///etc" },
		"id with a slash":     func(o *Options) { o.Provider.ID = "a/b" },
		"no id":               func(o *Options) { o.Provider.ID = "" },
		"no origin":           func(o *Options) { o.URL = "" },
		"origin with a slash": func(o *Options) { o.URL = gateway + "/" },
	} {
		o := good
		f(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}
