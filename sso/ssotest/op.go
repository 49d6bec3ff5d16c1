package ssotest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/ssogate/ssogate/internal/clock"
)

// Lifetimes and budgets of the OP. They are short because they only have to
// outlive one sign-in, and counted because the demo may run for days.
const (
	opCodeLifetime    = 60 * time.Second
	opTokenLifetime   = 5 * time.Minute
	opSessionLifetime = 8 * time.Hour
	opRefreshLifetime = 30 * 24 * time.Hour
	opMaxRecords      = 10_000
	opMaxBody         = 64 << 10
)

// OPOptions describe an OpenID provider with one client.
type OPOptions struct {
	// Issuer is the URL the handler is reached at, without a trailing slash.
	// With https the session cookie is Secure.
	Issuer                 string
	ClientID, ClientSecret string
	RedirectURIs           []string // compared byte for byte (OAuth 2.0 Security BCP, RFC 9700 section 2.1)
	PostLogoutRedirectURIs []string
	People                 []Person
	Key                    crypto.Signer // RSA or ECDSA P-256; nil = a fresh RSA-2048 key
	Now                    clock.Func    // nil = time.Now
	Hooks                  OPHooks
}

// OPHooks make the provider misbehave. A nil hook changes nothing. They may be
// called from several goroutines at once.
type OPHooks struct {
	Discovery     func(doc map[string]any)                    // before it is sent
	Callback      func(query url.Values)                      // the redirect back to the client
	Claims        func(claims map[string]any)                 // of the ID token, before signing
	Sign          func(claims map[string]any) (string, error) // instead of signing
	TokenResponse func(body map[string]any)                   // of a successful token request
	UserInfo      func(claims map[string]any)                 // before it is sent
	RefreshClaims func(claims map[string]any)                 // of an ID token given for a refresh token, after Claims
	// Refresh looks at every refresh request of an authenticated client before its
	// token is used up; true = answered. See [RefuseRefresh] and its neighbours.
	Refresh func(w http.ResponseWriter, r *http.Request) bool
	Serve   func(w http.ResponseWriter, r *http.Request) bool // first look at every request; true = answered
}

// OP is an OpenID provider in process: authorization code flow with PKCE, real
// signatures, a sign-in form and a session of its own. It is an http.Handler,
// safe for concurrent use.
//
//	GET       /.well-known/openid-configuration
//	GET       /jwks
//	GET, POST /authorize      the form, or straight back with a session
//	POST      /sign-in        user and password
//	POST      /token          client_secret_basic and client_secret_post; codes and refresh tokens
//	GET, POST /userinfo
//	GET, POST /end_session
//	GET       /               who is signed in here
type OP struct {
	opts   OPOptions
	issuer *url.URL
	mux    *http.ServeMux
	hooks  atomic.Pointer[OPHooks]
	style  string // CSP hash of the one stylesheet

	mu       sync.Mutex
	keys     []opKey // the last one signs, all are published
	codes    map[string]*opGrant
	tokens   map[string]*opGrant // by access token
	sessions map[string]opSession
	refresh  map[string]*opRefresh // by refresh token, used ones too
	disabled map[string]bool       // by user
}

type opKey struct {
	id     string
	alg    jose.SignatureAlgorithm
	signer crypto.Signer
}

// opGrant is what one authorization code stands for, and later its tokens.
type opGrant struct {
	person      Person
	redirectURI string
	scopes      []string
	nonce       string
	challenge   string
	session     string
	authTime    time.Time
	expires     time.Time
	token       string // access token made from it; a second use of the code revokes it
	family      string // of the refresh tokens made from it, "" = none
}

type opSession struct {
	person   Person
	authTime time.Time
	expires  time.Time
	id       string // the sid claim: never the cookie's value
}

// NewOP checks the options and makes the provider.
func NewOP(o OPOptions) (*OP, error) {
	u, err := url.Parse(o.Issuer)
	if err != nil {
		return nil, fmt.Errorf("ssotest: issuer: %w", err)
	}
	if u.Scheme == "" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(o.Issuer, "/") {
		return nil, fmt.Errorf("ssotest: issuer %q: want scheme://host without a trailing slash", o.Issuer)
	}
	if o.ClientID == "" || o.ClientSecret == "" || len(o.RedirectURIs) == 0 {
		return nil, errors.New("ssotest: client id, client secret and a redirect URI are needed")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Key == nil {
		if o.Key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			return nil, fmt.Errorf("ssotest: key: %w", err)
		}
	}
	op := &OP{
		opts: o, issuer: u, style: opStyleHash(),
		codes: make(map[string]*opGrant), tokens: make(map[string]*opGrant), sessions: make(map[string]opSession),
		refresh: make(map[string]*opRefresh), disabled: make(map[string]bool),
	}
	op.SetHooks(o.Hooks)
	if err := op.RotateKey(o.Key); err != nil {
		return nil, err
	}
	op.mux = op.routes()
	return op, nil
}

func (op *OP) routes() *http.ServeMux {
	// Forms of this provider are only ever sent by its own pages; a page of
	// another site must not sign somebody in or out here.
	sameOrigin := http.NewCrossOriginProtection()
	m := http.NewServeMux()
	m.HandleFunc("GET /.well-known/openid-configuration", op.discovery)
	m.HandleFunc("GET /jwks", op.jwks)
	m.HandleFunc("GET /authorize", op.authorize)
	m.HandleFunc("POST /authorize", op.authorize)
	m.Handle("POST /sign-in", sameOrigin.Handler(http.HandlerFunc(op.signIn)))
	m.HandleFunc("POST /token", op.token)
	m.HandleFunc("GET /userinfo", op.userInfo)
	m.HandleFunc("POST /userinfo", op.userInfo)
	m.HandleFunc("GET /end_session", op.endSession)
	m.Handle("POST /end_session", sameOrigin.Handler(http.HandlerFunc(op.endSession)))
	m.HandleFunc("GET /{$}", op.home)
	return m
}

// ServeHTTP implements http.Handler.
func (op *OP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Body != nil {
		r.Body = http.MaxBytesReader(w, r.Body, opMaxBody)
	}
	if h := op.hook().Serve; h != nil && h(w, r) {
		return
	}
	op.mux.ServeHTTP(w, r)
}

// SetHooks replaces the hooks.
func (op *OP) SetHooks(h OPHooks) { op.hooks.Store(&h) }

func (op *OP) hook() OPHooks { return *op.hooks.Load() }

// RotateKey makes key the signing key. Earlier keys stay published.
func (op *OP) RotateKey(key crypto.Signer) error {
	k := opKey{signer: key}
	switch pub := key.Public().(type) {
	case *rsa.PublicKey:
		k.alg = jose.RS256
	case *ecdsa.PublicKey:
		k.alg = jose.ES256
	default:
		return fmt.Errorf("ssotest: key type %T cannot sign ID tokens here", pub)
	}
	thumb, err := (&jose.JSONWebKey{Key: key.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		return fmt.Errorf("ssotest: key: %w", err)
	}
	k.id = hex.EncodeToString(thumb[:8])
	op.mu.Lock()
	defer op.mu.Unlock()
	op.keys = append(op.keys, k)
	return nil
}

// Sub is the subject under which a person is known here: stable over restarts,
// and neither the user name nor the e-mail address, as at a real provider.
func (op *OP) Sub(user string) string {
	h := sha256.Sum256([]byte("ssotest\x00" + user))
	return hex.EncodeToString(h[:12])
}

// discovery answers OpenID Connect Discovery 1.0 section 4.
func (op *OP) discovery(w http.ResponseWriter, _ *http.Request) {
	iss := op.opts.Issuer
	doc := map[string]any{
		"issuer":                                iss,
		"authorization_endpoint":                iss + "/authorize",
		"token_endpoint":                        iss + "/token",
		"userinfo_endpoint":                     iss + "/userinfo",
		"jwks_uri":                              iss + "/jwks",
		"end_session_endpoint":                  iss + "/end_session",
		"response_types_supported":              []string{"code"},
		"response_modes_supported":              []string{"query"},
		"grant_types_supported":                 []string{"authorization_code", "refresh_token"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{string(op.current().alg)},
		"scopes_supported":                      []string{"openid", "profile", "email", "groups", "offline_access"},
		"claims_supported":                      []string{"sub", "email", "email_verified", "name", "given_name", "family_name", "preferred_username", "groups"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "client_secret_post"},
		"code_challenge_methods_supported":      []string{"S256"},
		"prompt_values_supported":               []string{"none", "login", "select_account"},
		// RFC 9207: the client may rely on iss in every authorization response.
		"authorization_response_iss_parameter_supported": true,
	}
	if h := op.hook().Discovery; h != nil {
		h(doc)
	}
	writeJSON(w, http.StatusOK, doc)
}

func (op *OP) jwks(w http.ResponseWriter, _ *http.Request) {
	op.mu.Lock()
	keys := slices.Clone(op.keys)
	op.mu.Unlock()
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, k := range keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.signer.Public(), KeyID: k.id, Algorithm: string(k.alg), Use: "sig"})
	}
	writeJSON(w, http.StatusOK, set)
}

func (op *OP) current() opKey {
	op.mu.Lock()
	defer op.mu.Unlock()
	return op.keys[len(op.keys)-1]
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store") // RFC 6749 section 5.1
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// newSecret is 256 random bits, and never an empty string.
func newSecret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails since Go 1.24: it ends the process instead
	return base64.RawURLEncoding.EncodeToString(b)
}

var _ http.Handler = (*OP)(nil)
