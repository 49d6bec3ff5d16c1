package oauth

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/ssotest"
)

func googlePreset(domains ...string) rigOption {
	return func(_ *ssotest.OPOptions, o *Options) {
		o.Provider.Preset = settings.Google
		o.Provider.OIDC.HostedDomains = domains
	}
}

func changedClaims(change func(map[string]any)) rigOption {
	return func(o *ssotest.OPOptions, _ *Options) { o.Hooks.Claims = change }
}

// signInAs is a sign-in by this login.
func signInAs(r *rig, l sso.Login) (sso.Assertion, error) {
	r.t.Helper()
	l = r.begin(l)
	return r.receive(l, r.callback(l))
}

func TestRowO13HostedDomain(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		domains    []string
		claims     map[string]any
		why        string
	}{
		{"ours", "", []string{"example.com"}, map[string]any{"hd": "example.com"}, "the benign twin"},
		{"another case", "", []string{"example.com"}, map[string]any{"hd": "Example.COM"}, "domains have no case"},
		{"one of several", "", []string{"example.org", "example.com"}, map[string]any{"hd": "example.com"}, "any of them"},
		{"no restriction", "", nil, map[string]any{}, "join is by invitation then"},
		{"absent", "hosted_domain", []string{"example.com"}, map[string]any{}, "a consumer account, though its address is ours"},
		{"null", "hosted_domain", []string{"example.com"}, map[string]any{"hd": nil}, "no value"},
		{"empty", "hosted_domain", []string{"example.com"}, map[string]any{"hd": ""}, "no value"},
		{"another, address ours", "hosted_domain", []string{"example.com"}, map[string]any{"hd": "evil.example"}, "the domain of an address proves nothing"},
		{"below ours", "hosted_domain", []string{"example.com"}, map[string]any{"hd": "sub.example.com"}, "another organisation"},
		{"ends like ours", "hosted_domain", []string{"example.com"}, map[string]any{"hd": "evilexample.com"}, "compared whole"},
		{"a list", "hosted_domain", []string{"example.com"}, map[string]any{"hd": []string{"example.com"}}, "not text"},
		{"ours, unverified", "email_unverified", []string{"example.com"}, map[string]any{"hd": "example.com", "email_verified": false}, "no address of that organisation"},
		{"ours, unverified as text", "email_unverified", []string{"example.com"}, map[string]any{"hd": "example.com", "email_verified": "false"}, "not true"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, googlePreset(tt.domains...), changedClaims(func(c map[string]any) {
				for k, v := range tt.claims {
					c[k] = v
				}
			}))
			if _, err := signInAs(r, r.login()); reasonOf(err) != tt.want {
				t.Errorf("%v, want %q: %s", err, tt.want, tt.why)
			}
		})
	}
}

// userinfo is not signed: what it says about the organisation counts for nothing.
func TestRowO13HostedDomainOfUserinfoIsNotBelieved(t *testing.T) {
	r := newRig(t, googlePreset("example.com"), func(o *ssotest.OPOptions, _ *Options) {
		o.Hooks.Claims = func(c map[string]any) { delete(c, "name") } // so that userinfo is asked
		o.Hooks.UserInfo = func(c map[string]any) { c["hd"] = "example.com" }
	})
	if _, err := signInAs(r, r.login()); reasonOf(err) != "hosted_domain" {
		t.Errorf("%v", err)
	}
}

func TestGoogleIsAskedInItsOwnWords(t *testing.T) {
	for _, tt := range []struct {
		domains []string
		recheck time.Duration
		force   bool
		hd      string
		prompt  string
		access  string
		why     string
	}{
		{nil, 0, false, "", "", "", "nothing special"},
		{[]string{"example.com"}, 0, false, "example.com", "", "", "spares people the wrong account"},
		{[]string{"a.example", "b.example"}, 0, true, "*", "select_account", "", "prompt=login is an error there"},
		{nil, time.Hour, false, "", "consent", "offline", "that is how a refresh token comes"},
		{nil, time.Hour, true, "", "select_account consent", "offline", "both"},
	} {
		r := newRig(t, googlePreset(tt.domains...), func(_ *ssotest.OPOptions, o *Options) { o.Provider.OIDC.Recheck = tt.recheck })
		l := r.login()
		l.ForceAuthn = tt.force
		at, err := url.Parse(r.begin(l).Start.URL)
		if err != nil {
			t.Fatal(err)
		}
		q := at.Query()
		if q.Get("hd") != tt.hd || q.Get("prompt") != tt.prompt || q.Get("access_type") != tt.access || q.Has("max_age") || q.Get("code_challenge_method") != "S256" {
			t.Errorf("%s: %v", tt.why, q)
		}
	}
}

func TestOtherProvidersAreNotAskedInGooglesWords(t *testing.T) {
	r := newRig(t, func(_ *ssotest.OPOptions, o *Options) { o.Provider.OIDC.Recheck = time.Hour })
	at, _ := url.Parse(r.begin(r.login()).Start.URL)
	if q := at.Query(); q.Has("hd") || q.Has("access_type") || q.Has("prompt") {
		t.Errorf("%v", q)
	}
}

// workspace is Google's token endpoint for service accounts and its Directory API.
type workspace struct {
	key     *rsa.PrivateKey
	groups  int // of the account
	status  int // of the API, 0 = 200
	tokens  atomic.Int32
	calls   atomic.Int32
	expired atomic.Bool // the current access token is refused once
	url     string
}

func newWorkspace(t *testing.T, groups int) *workspace {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return &workspace{key: key, groups: groups}
}

func (g *workspace) option(o *ssotest.OPOptions, po *Options) {
	g.url = o.Issuer
	pkcs8, _ := x509.MarshalPKCS8PrivateKey(g.key)
	file, _ := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "reader@project.iam.gserviceaccount.com", "private_key_id": "k1", "client_id": "1",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})), "token_uri": g.url + "/token",
	})
	po.Provider.Preset = settings.Google
	po.Provider.OIDC.DirectoryKey, po.Provider.OIDC.DirectoryAdmin = file, "admin@example.com"
	o.Hooks.Serve = g.serve
}

func (g *workspace) serve(w http.ResponseWriter, r *http.Request) bool {
	switch r.URL.Path {
	case "/token":
		_ = r.ParseForm()
		if r.PostForm.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
			return false
		}
		tok, err := jwt.ParseSigned(r.PostForm.Get("assertion"), []jose.SignatureAlgorithm{jose.RS256})
		var c struct {
			jwt.Claims
			Scope string `json:"scope"`
		}
		if err != nil || tok.Claims(g.key.Public(), &c) != nil || c.Subject != "admin@example.com" || c.Scope != directoryScope || !c.Audience.Contains(g.url+"/token") {
			http.Error(w, `{"error":"invalid_grant","error_description":"secret-detail"}`, http.StatusBadRequest)
			return true
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"access_token":"ya29.%d","token_type":"Bearer","expires_in":3600}`, g.tokens.Add(1))
		return true
	case "/admin/directory/v1/groups":
		g.calls.Add(1)
		g.list(w, r)
		return true
	}
	return false
}

func (g *workspace) list(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != fmt.Sprintf("Bearer ya29.%d", g.tokens.Load()) || g.expired.CompareAndSwap(true, false) {
		http.Error(w, `{}`, http.StatusUnauthorized)
		return
	}
	if g.status != 0 {
		http.Error(w, `{"error":{"message":"secret-detail"}}`, g.status)
		return
	}
	from := 0
	_, _ = fmt.Sscanf(r.URL.Query().Get("pageToken"), "%d", &from)
	to := min(from+directoryPage, g.groups)
	list := []map[string]string{}
	for i := from; i < to; i++ {
		list = append(list, map[string]string{"email": fmt.Sprintf("Group%04d@example.com", i)})
	}
	out := map[string]any{"groups": list}
	if to < g.groups {
		out["nextPageToken"] = fmt.Sprint(to)
	}
	_ = json.NewEncoder(w).Encode(out)
}

func TestGoogleGroupsComeFromTheDirectory(t *testing.T) {
	for _, tt := range []struct {
		groups, status int
		want           string
		why            string
	}{
		{0, 0, "", "in no group"},
		{3, 0, "", "a few"},
		{450, 0, "", "lists have pages"},
		{5000, 0, "unavailable", "half a list would take teams away"},
		{3, 403, "unavailable", "delegation is missing: nobody's rights are known"},
		{3, 500, "unavailable", "it could not be asked"},
		{3, 301, "unavailable", "a redirect would carry the token away"},
		{3, 404, "", "an account that the directory does not know is in no group"},
	} {
		g := newWorkspace(t, tt.groups)
		g.status = tt.status
		r := newRig(t, g.option)
		a, err := signInAs(r, r.login())
		if reasonOf(err) != tt.want {
			t.Errorf("%s: %v", tt.why, err)
			continue
		}
		if err != nil {
			if strings.Contains(err.Error(), "secret-detail") {
				t.Errorf("L01: %v", err)
			}
			continue
		}
		want := tt.groups
		if tt.status != 0 {
			want = 0
		}
		if len(a.Groups) != want || (want > 0 && !slices.Contains(a.Groups, "group0000@example.com")) {
			t.Errorf("%s: %d groups", tt.why, len(a.Groups))
		}
	}
}

func TestGoogleDirectoryTokenIsKeptAndRenewed(t *testing.T) {
	g := newWorkspace(t, 1)
	r := newRig(t, g.option)
	for range 3 {
		if _, err := signInAs(r, r.login()); err != nil {
			t.Fatal(err)
		}
	}
	if n := g.tokens.Load(); n != 1 {
		t.Errorf("%d access tokens for three sign-ins", n)
	}
	g.expired.Store(true)
	if _, err := signInAs(r, r.login()); err != nil || g.tokens.Load() != 2 {
		t.Errorf("after its token was withdrawn: %v, %d tokens", err, g.tokens.Load())
	}
}

func TestGoogleDirectoryKeysAreChecked(t *testing.T) {
	g := newWorkspace(t, 1)
	for why, change := range map[string]func(map[string]string){
		"":                          func(map[string]string) {},
		"F02: another token server": func(m map[string]string) { m["token_uri"] = "https://evil.example/token" },
		"a user's credentials":      func(m map[string]string) { m["type"] = "authorized_user" },
		"no key":                    func(m map[string]string) { m["private_key"] = "" },
	} {
		o := ssotest.OPOptions{Issuer: "http://127.0.0.1:1"}
		po := Options{URL: gateway, HTTP: http.DefaultClient, Provider: settings.Provider{
			ID: "acme", Protocol: settings.OIDC, OIDC: settings.OIDCProvider{Issuer: o.Issuer, ClientID: "c", ClientSecret: "s"},
		}}
		g.option(&o, &po)
		var m map[string]string
		_ = json.Unmarshal(po.Provider.OIDC.DirectoryKey, &m)
		change(m)
		po.Provider.OIDC.DirectoryKey, _ = json.Marshal(m)
		_, err := New(po)
		if (err != nil) != (why != "") {
			t.Errorf("%q: %v", why, err)
		}
		if err != nil && strings.Contains(err.Error(), "PRIVATE KEY") {
			t.Errorf("L01: %v", err)
		}
	}
}

func TestSubjectsMadeOfClaims(t *testing.T) {
	entra := func(_ *ssotest.OPOptions, o *Options) { o.Provider.Attributes.Subject = []string{"tid", "oid"} }
	tenant := func(tid, oid string) rigOption {
		return changedClaims(func(c map[string]any) {
			c["tid"], c["oid"] = tid, oid
			if oid == "" {
				delete(c, "oid")
			}
		})
	}
	subject := func(opts ...rigOption) (string, error) {
		r := newRig(t, opts...)
		a, err := signInAs(r, r.login())
		return a.Identity.Subject, err
	}
	ours, err := subject(entra, tenant("t1", "o1"))
	if err != nil || ours != "claim:tid=t1&oid=o1" {
		t.Fatalf("%q %v", ours, err)
	}
	// Row O12: the same object id in another tenant is somebody else.
	if other, err := subject(entra, tenant("t2", "o1")); err != nil || other == ours {
		t.Errorf("%q %v", other, err)
	}
	if joined, err := subject(entra, tenant("t1&oid=o1", "x")); err != nil || strings.HasPrefix(joined, ours) {
		t.Errorf("%q %v: a value may not look like two", joined, err)
	}
	if _, err := subject(entra, tenant("t1", ""), func(o *ssotest.OPOptions, _ *Options) {
		o.Hooks.UserInfo = func(c map[string]any) { c["oid"] = "o1" } // not signed: it identifies nobody
	}); reasonOf(err) != "subject_missing" {
		t.Errorf("one missing: %v", err)
	}
	if _, err := subject(changedClaims(func(c map[string]any) { c["sub"] = ours })); reasonOf(err) != "subject" {
		t.Errorf("a sub that looks like one made of claims: %v", err)
	}
}

func TestAccountMovedToAnotherOrganisationIsOut(t *testing.T) {
	for hd, refused := range map[string]bool{"example.com": false, "evil.example": true, "": false} {
		r := newRig(t, googlePreset("example.com"), func(o *ssotest.OPOptions, po *Options) {
			po.Provider.OIDC.Recheck = time.Minute
			po.Provider.OIDC.Scopes = append(po.Provider.OIDC.Scopes, offline)
			o.Hooks.Claims = func(c map[string]any) { c["hd"] = "example.com" }
			o.Hooks.RefreshClaims = func(c map[string]any) {
				c["hd"] = hd
				if hd == "" {
					delete(c, "hd")
				}
			}
		})
		a, err := signInAs(r, r.login())
		if err != nil {
			t.Fatal(err)
		}
		ref, err := r.p.Refresh(t.Context(), a.Identity, a.RefreshToken)
		if err != nil {
			t.Fatal(err)
		}
		var e *sso.RefreshError
		if err := ref.Verify(t.Context()); errors.As(err, &e) != refused || (refused && !e.Refused) {
			t.Errorf("hd %q: %v, want refused %t", hd, err, refused)
		}
	}
}

func TestClaimsThatChangeHandsIdentifyNobody(t *testing.T) {
	for claim, refused := range map[string]bool{"oid": false, "employee_id": false, "email": true, "UPN": true, "preferred_username": true} {
		_, err := New(Options{URL: gateway, HTTP: http.DefaultClient, Provider: settings.Provider{
			ID: "acme", Protocol: settings.OIDC, OIDC: settings.OIDCProvider{Issuer: "https://id.example.com", ClientID: "c"},
			Attributes: settings.Attributes{Subject: []string{claim}},
		}})
		if (err != nil) != refused {
			t.Errorf("%s: %v", claim, err)
		}
	}
}

// Rows O01, S30: a code is redeemed by the provider that the person was sent to, as it was then.
func TestAProviderReplacedMeanwhileRedeemsNoCode(t *testing.T) {
	r := newRig(t)
	l := r.begin(r.login())
	back := r.callback(l)
	for why, change := range map[string]func(*sso.Login){
		"another issuer":       func(l *sso.Login) { l.Start.Issuer = "https://old.example.com" },
		"another redirect URI": func(l *sso.Login) { l.Start.Redirect = "https://old.example.com/oauth/acme/callback" },
		"neither":              func(l *sso.Login) { l.Start.Issuer, l.Start.Redirect = "", "" },
	} {
		other := l
		change(&other)
		if _, err := r.receive(other, back); reasonOf(err) != "provider" || r.count("/token") != 0 {
			t.Errorf("%s: %v", why, err)
		}
	}
	if _, err := r.receive(l, back); err != nil {
		t.Errorf("benign: %v", err)
	}
}
