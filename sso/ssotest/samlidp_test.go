package ssotest

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/saml"
)

// samlBrowser is a browser without script before a SAML IdP that speaks to a
// real service provider.
type samlBrowser struct {
	t      *testing.T
	idp    *SAMLIdP
	sp     *saml.Provider
	server *httptest.Server
	client *http.Client
	clock  *clock.Manual
}

// samlTestKeys are made once: RSA keys take a while.
type samlTestKeys struct {
	key, cert []byte // of the service provider
	idp       *rsa.PrivateKey
	idpCert   *x509.Certificate
	err       error
}

var samlTestKey = sync.OnceValue(func() (k samlTestKeys) {
	if k.key, k.cert, k.err = saml.NewKey(); k.err == nil {
		k.idp, k.idpCert, k.err = NewSAMLKey("idp")
	}
	return k
})

func newSAMLBrowser(t *testing.T) *samlBrowser {
	t.Helper()
	b := &samlBrowser{t: t, clock: &clock.Manual{}}
	b.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { b.idp.ServeHTTP(w, r) }))
	t.Cleanup(b.server.Close)
	k := samlTestKey()
	b.ok(k.err)
	var err error
	b.idp, err = NewSAMLIdP(SAMLOptions{
		Key: k.idp, Cert: k.idpCert, BaseURL: b.server.URL, Now: b.clock.Now,
		People: []Person{{User: "alice", Password: "wonderland", Email: "alice@example.com"}, {User: "bob"}},
	})
	b.ok(err)
	key, cert, err := saml.ParseKey(k.key, k.cert)
	b.ok(err)
	b.sp, err = saml.New(saml.Options{
		Provider: settings.Provider{ID: "demo", Protocol: settings.SAML, Active: true, SAML: settings.SAMLProvider{MetadataURL: b.server.URL + "/metadata"}},
		URL:      "http://localhost:8081", Keys: []saml.KeyPair{{Key: key, Cert: cert}}, HTTP: b.server.Client(), Now: b.clock.Now,
	})
	b.ok(err)
	b.ok(b.sp.Health().Err)
	raw, err := b.sp.Metadata()
	b.ok(err)
	b.ok(b.idp.RegisterMetadata(raw))
	jar, err := cookiejar.New(nil)
	b.ok(err)
	b.client = &http.Client{Jar: jar}
	return b
}

func (b *samlBrowser) ok(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *samlBrowser) login(force bool) sso.Login {
	b.t.Helper()
	l := sso.Login{ID: newSecret(), Kind: sso.Live, Provider: "demo", Expires: b.clock.Now().Add(sso.LoginLifetime), ForceAuthn: force}
	var err error
	l.Start, err = b.sp.Begin(context.Background(), l)
	b.ok(err)
	return l
}

// samlTestPage is one answer of the IdP.
type samlTestPage struct {
	status int
	body   string
	policy string
}

func (b *samlBrowser) get(target string) samlTestPage {
	b.t.Helper()
	r, err := b.client.Get(target)
	b.ok(err)
	return b.read(r)
}

func (b *samlBrowser) post(path string, form url.Values) samlTestPage {
	b.t.Helper()
	r, err := b.client.PostForm(b.server.URL+path, form)
	b.ok(err)
	return b.read(r)
}

func (b *samlBrowser) read(r *http.Response) samlTestPage {
	b.t.Helper()
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	b.ok(err)
	if got := r.Header.Get("Cache-Control"); !strings.Contains(r.Header.Get("Content-Type"), "xml") && got != "no-store" {
		b.t.Errorf("Cache-Control %q", got)
	}
	return samlTestPage{r.StatusCode, string(body), r.Header.Get("Content-Security-Policy")}
}

func (p samlTestPage) field(t *testing.T, name string) string {
	t.Helper()
	m := regexp.MustCompile(`name="` + name + `" value="([^"]*)"`).FindStringSubmatch(p.body)
	if m == nil {
		t.Fatalf("no field %s in %d %s", name, p.status, p.body)
	}
	return html.UnescapeString(m[1])
}

// signsIn reports whether the page carries a response that the service provider
// accepts for l.
func (b *samlBrowser) signsIn(p samlTestPage, l sso.Login) sso.Assertion {
	b.t.Helper()
	form := url.Values{"SAMLResponse": {p.field(b.t, "SAMLResponse")}, "RelayState": {p.field(b.t, "RelayState")}}
	r := httptest.NewRequest(http.MethodPost, b.sp.ACS(), strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := b.sp.Receive(httptest.NewRecorder(), r)
	b.ok(err)
	if resp.LoginID() != l.ID {
		b.t.Fatalf("RelayState %q", resp.LoginID())
	}
	a, err := resp.Verify(context.Background(), l)
	b.ok(err)
	return a
}

func TestSAMLIdPSignsInThroughItsForm(t *testing.T) {
	b := newSAMLBrowser(t)
	l := b.login(false)
	form := b.get(l.Start.URL)
	for _, want := range []string{`lang="en"`, `<label for="username">`, `<label for="password">`, `autocomplete="current-password"`, `<button type="submit">`} {
		if !strings.Contains(form.body, want) {
			t.Errorf("form without %s", want)
		}
	}
	ticket := form.field(t, "ticket")
	for _, c := range []url.Values{
		{"ticket": {ticket}, "username": {"alice"}, "password": {"wrong"}},
		{"ticket": {ticket}, "username": {"alice"}},
		{"ticket": {ticket}, "username": {"nobody"}, "password": {""}},
		{"ticket": {ticket}, "username": {"bob"}, "password": {""}}, // no password is no way in
	} {
		if p := b.post("/sign-in", c); p.status != http.StatusUnauthorized || !strings.Contains(p.body, `role="alert"`) || strings.Contains(p.body, "SAMLResponse") {
			t.Errorf("%v: %d", c, p.status)
		}
	}
	// Ten minutes at the form are allowed.
	b.clock.Advance(10 * time.Minute)
	p := b.post("/sign-in", url.Values{"ticket": {ticket}, "username": {"alice"}, "password": {"wonderland"}})
	a := b.signsIn(p, l)
	if a.Identity.Subject != "alice" || a.Profile.Email != "alice@example.com" {
		t.Errorf("%+v", a)
	}
	// W1: the form may go to the ACS and nowhere else; the script is allowed by
	// its hash, and a button does without it.
	if !strings.Contains(p.policy, "form-action "+b.sp.ACS()+";") || strings.Contains(p.policy, "'self'") || strings.Contains(p.policy, "unsafe") {
		t.Errorf("policy %q", p.policy)
	}
	if !strings.Contains(p.body, `<button type="submit">Continue</button>`) || !strings.Contains(p.policy, "script-src 'sha256-") {
		t.Errorf("page %s", p.body)
	}
}

func TestSAMLIdPSecondSignInIsSilentUnlessForced(t *testing.T) {
	b := newSAMLBrowser(t)
	l := b.login(false)
	first := b.post("/sign-in", url.Values{"ticket": {b.get(l.Start.URL).field(t, "ticket")}, "username": {"alice"}, "password": {"wonderland"}})
	one := b.signsIn(first, l)
	l = b.login(false)
	two := b.signsIn(b.get(l.Start.URL), l)
	if one.SessionIndex == "" || one.SessionIndex != two.SessionIndex || one.ReplayKey == two.ReplayKey {
		t.Errorf("%+v then %+v", one, two)
	}
	l = b.login(true)
	if p := b.get(l.Start.URL); strings.Contains(p.body, "SAMLResponse") {
		t.Error("ForceAuthn was not honoured")
	} else {
		b.signsIn(b.post("/sign-in", url.Values{"ticket": {p.field(t, "ticket")}, "username": {"alice"}, "password": {"wonderland"}}), l)
	}
	if p := b.get(b.server.URL + "/"); !strings.Contains(p.body, "signed in here as alice") || !strings.Contains(p.body, "/tile?") {
		t.Errorf("home %s", p.body)
	}
	if p := b.get(b.server.URL + "/logout"); !strings.Contains(p.body, "Sign out") {
		t.Errorf("logout %s", p.body)
	}
	b.post("/logout", nil)
	if p := b.get(b.login(false).Start.URL); strings.Contains(p.body, "SAMLResponse") {
		t.Error("still signed in")
	}
}

func TestSAMLIdPSessionsEnd(t *testing.T) {
	b := newSAMLBrowser(t)
	l := b.login(false)
	ticket := b.get(l.Start.URL).field(t, "ticket")
	b.post("/sign-in", url.Values{"ticket": {ticket}, "username": {"alice"}, "password": {"wonderland"}})
	b.clock.Advance(samlSessionLifetime)
	if p := b.get(b.login(false).Start.URL); strings.Contains(p.body, "SAMLResponse") {
		t.Error("a session without end")
	}
	if p := b.post("/sign-in", url.Values{"ticket": {ticket}, "username": {"alice"}, "password": {"wonderland"}}); p.status != http.StatusBadRequest {
		t.Errorf("an old ticket: %d", p.status)
	}
}

func TestSAMLIdPRefusesRequestsThatAreNotTheServiceProviders(t *testing.T) {
	b := newSAMLBrowser(t)
	good := b.login(false).Start.URL
	if p := b.get(good); p.status != http.StatusOK {
		t.Fatalf("benign: %d %s", p.status, p.body)
	}
	cut := func(s, name string) string {
		return regexp.MustCompile(`&?`+name+`=[^&]*`).ReplaceAllString(s, "")
	}
	for name, target := range map[string]string{
		"no signature": cut(good, "Signature"), "no RelayState": cut(good, "RelayState"), "no request": cut(good, "SAMLRequest"),
		"altered RelayState": strings.Replace(good, "RelayState=", "RelayState=x", 1),
		"parameter twice":    good + "&RelayState=x",
		"not deflated":       b.idp.SSOURL() + "?SAMLRequest=" + base64.StdEncoding.EncodeToString([]byte("<a/>")),
		"not base64":         b.idp.SSOURL() + "?SAMLRequest=!",
		"nothing":            b.idp.SSOURL(),
	} {
		if p := b.get(target); p.status != http.StatusBadRequest || strings.Contains(p.body, "SAMLResponse") {
			t.Errorf("%s: %d", name, p.status)
		}
		if _, _, _, err := b.idp.Respond(target, "alice"); err == nil {
			t.Errorf("%s: answered", name)
		}
	}
	b.clock.Advance(2 * time.Hour)
	if p := b.get(good); p.status != http.StatusBadRequest {
		t.Errorf("two hours old: %d", p.status)
	}
	b.clock.Advance(-2 * time.Hour)
	b.ok(b.idp.Register(b.sp.EntityID(), "https://elsewhere.example.com/acs", nil))
	if p := b.get(good); p.status != http.StatusBadRequest {
		t.Errorf("an ACS that is not registered: %d", p.status)
	}
}

func TestSAMLIdPTakesRequestsByForm(t *testing.T) {
	b := newSAMLBrowser(t)
	b.ok(b.idp.Register("https://post.example.com", "https://post.example.com/acs", nil))
	request := func(issuer string) url.Values {
		raw := `<samlp:AuthnRequest xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_1" Version="2.0" IssueInstant="` +
			b.clock.Now().UTC().Format(time.RFC3339) + `"><saml:Issuer>` + issuer + `</saml:Issuer></samlp:AuthnRequest>`
		return url.Values{"SAMLRequest": {base64.StdEncoding.EncodeToString([]byte(raw))}, "RelayState": {"state"}}
	}
	form := b.post("/sso", request("https://post.example.com"))
	p := b.post("/sign-in", url.Values{"ticket": {form.field(t, "ticket")}, "username": {"alice"}, "password": {"wonderland"}})
	if p.field(t, "RelayState") != "state" || !strings.Contains(p.body, `action="https://post.example.com/acs"`) {
		t.Errorf("page %s", p.body)
	}
	if p := b.post("/sso", request(b.sp.EntityID())); p.status != http.StatusBadRequest {
		t.Errorf("unsigned, for a service provider with a certificate: %d", p.status)
	}
	if p := b.post("/sso", request("https://nobody.example.com")); p.status != http.StatusBadRequest {
		t.Errorf("unknown service provider: %d", p.status)
	}
}

func TestSAMLIdPTileSendsAnUnsolicitedResponse(t *testing.T) {
	b := newSAMLBrowser(t)
	p := b.get(b.server.URL + "/tile?user=alice&relay_state=%2Fdeep")
	raw, err := base64.StdEncoding.DecodeString(p.field(t, "SAMLResponse"))
	b.ok(err)
	if strings.Contains(string(raw), "InResponseTo") || p.field(t, "RelayState") != "/deep" {
		t.Errorf("response %s", raw)
	}
	for _, q := range []string{"", "?user=nobody", "?user=alice&sp=https://nobody"} {
		if p := b.get(b.server.URL + "/tile" + q); p.status != http.StatusNotFound {
			t.Errorf("%q: %d", q, p.status)
		}
	}
}

func TestSAMLIdPEscapesWhatItIsGiven(t *testing.T) {
	b := newSAMLBrowser(t)
	const evil = `"><script>alert(1)</script>`
	p := b.get(b.server.URL + "/tile?user=alice&relay_state=" + url.QueryEscape(evil))
	if strings.Contains(p.body, evil) || p.field(t, "RelayState") != evil {
		t.Errorf("page %s", p.body)
	}
	form := b.get(b.login(false).Start.URL)
	p = b.post("/sign-in", url.Values{"ticket": {form.field(t, "ticket")}, "username": {evil}})
	if strings.Contains(p.body, evil) {
		t.Errorf("page %s", p.body)
	}
}

func TestSAMLIdPFormsAreForItsOwnPages(t *testing.T) {
	b := newSAMLBrowser(t)
	for _, path := range []string{"/sign-in", "/logout"} {
		r := httptest.NewRequest(http.MethodPost, b.server.URL+path, strings.NewReader(""))
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		w := httptest.NewRecorder()
		b.idp.ServeHTTP(w, r)
		if w.Code != http.StatusForbidden {
			t.Errorf("%s from another site: %d", path, w.Code)
		}
	}
}

func TestSAMLIdPOptionsThatAreRefused(t *testing.T) {
	for _, u := range []string{"", "idp.example.com", "https://idp.example.com/", "https://idp.example.com/path", "https://idp.example.com?x"} {
		if _, err := NewSAMLIdP(SAMLOptions{BaseURL: u}); err == nil {
			t.Errorf("base URL %q accepted", u)
		}
	}
	b := newSAMLBrowser(t)
	if block, _ := pem.Decode(b.idp.Certificate()); block == nil {
		t.Error("certificate is not PEM")
	}
	for name, err := range map[string]error{
		"no ACS": b.idp.Register("x", "", nil), "no entityID": b.idp.Register("", "x", nil),
		"broken certificate": b.idp.Register("x", "y", []byte("z")), "broken metadata": b.idp.RegisterMetadata([]byte("<a")),
	} {
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, _, err := b.idp.Unsolicited("https://nobody", "alice"); err == nil {
		t.Error("answered an unknown service provider")
	}
	if _, _, _, err := b.idp.Respond(b.login(false).Start.URL, "nobody"); err == nil {
		t.Error("answered for nobody")
	}
}
