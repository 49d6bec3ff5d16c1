package saml_test

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/beevik/etree"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/saml"
	"github.com/ssogate/ssogate/sso/ssotest"
)

const gateway = "https://sso.example.com"

// keys are made once: RSA keys take a while, and no test changes them.
type keys struct {
	sp             crypto.Signer
	spCert         *x509.Certificate
	idp, stranger  *rsa.PrivateKey
	idpCert, other *x509.Certificate
}

var testKeys = sync.OnceValue(func() keys {
	var k keys
	keyPEM, certPEM, err := saml.NewKey()
	if err != nil {
		panic(err)
	}
	if k.sp, k.spCert, err = saml.ParseKey(keyPEM, certPEM); err != nil {
		panic(err)
	}
	if k.idp, k.idpCert, err = ssotest.NewSAMLKey("idp"); err != nil {
		panic(err)
	}
	if k.stranger, k.other, err = ssotest.NewSAMLKey("stranger"); err != nil {
		panic(err)
	}
	return k
})

// fixture is one provider with one genuine IdP behind it.
type fixture struct {
	t   testing.TB
	idp *ssotest.SAMLIdP
	p   *saml.Provider
	now time.Time // both sides' clock; moved by hand
	k   keys

	set   settings.SAMLProvider
	twins map[string]bool // rows whose benign form was accepted
}

// shared is the fixture of every scenario that changes no settings and does not
// move the clock.
var shared = sync.OnceValue(func() *fixture { return newFixture(panicking{}) })

func sharedFixture(t testing.TB) *fixture {
	f := *shared()
	f.t = t
	return &f
}

// panicking stands in for a test where there is none to fail.
type panicking struct{ testing.TB }

func (panicking) Helper()           {}
func (panicking) Fatal(args ...any) { panic(args) }

func newFixture(t testing.TB, change ...func(*settings.Provider)) *fixture {
	t.Helper()
	f := &fixture{t: t, k: testKeys(), now: time.Now().Truncate(time.Second), twins: map[string]bool{}}
	clock := func() time.Time { return f.now }
	var err error
	f.idp, err = ssotest.NewSAMLIdP(ssotest.SAMLOptions{
		BaseURL: "https://idp.example.com", Now: clock, Key: f.k.idp, Cert: f.k.idpCert,
		People: []ssotest.Person{
			{
				User: "alice", Password: "wonderland", Email: "alice@example.com", GivenName: "Alice",
				FamilyName: "Liddell", DisplayName: "Alice Liddell", Groups: []string{"staff", "finance"},
			},
			{User: "mallory", Password: "evil", Email: "mallory@example.com"},
		},
	})
	f.ok(err)
	metadata, err := f.idp.Metadata()
	f.ok(err)
	set := settings.Provider{
		ID: "okta", Name: "Okta", Protocol: settings.SAML, Active: true,
		SAML: settings.SAMLProvider{MetadataXML: metadata},
	}
	for _, c := range change {
		c(&set)
	}
	f.set = set.SAML
	f.p, err = saml.New(saml.Options{Provider: set, URL: gateway, Keys: []saml.KeyPair{{Key: f.k.sp, Cert: f.k.spCert}}, Now: clock})
	f.ok(err)
	sp, err := f.p.Metadata()
	f.ok(err)
	f.ok(f.idp.RegisterMetadata(sp))
	return f
}

func (f *fixture) ok(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// login starts a sign-in the way the flow does.
func (f *fixture) login() sso.Login {
	f.t.Helper()
	l := sso.Login{ID: secret.NewToken(), Kind: sso.Live, Provider: "okta", ReturnPath: "/", Expires: f.now.Add(sso.LoginLifetime)}
	start, err := f.p.Begin(context.Background(), l)
	f.ok(err)
	l.Start = start
	return l
}

// respond lets the IdP answer l for alice.
func (f *fixture) respond(l sso.Login, mutate ...func(*ssotest.SAMLDraft)) string {
	f.t.Helper()
	acs, response, relayState, err := f.idp.Respond(l.Start.URL, "alice", mutate...)
	f.ok(err)
	if acs != f.p.ACS() || relayState != l.ID {
		f.t.Fatalf("the IdP was told ACS %q and RelayState %q", acs, relayState)
	}
	return response
}

// acsRequest is the browser's POST.
func acsRequest(values url.Values) *http.Request {
	r := httptest.NewRequest(http.MethodPost, gateway+"/saml/okta/acs", strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

// present posts a response and verifies it against l.
func (f *fixture) present(l sso.Login, response string) (sso.Assertion, error) {
	f.t.Helper()
	a, err := f.verify(l, response)
	if onPresent != nil {
		onPresent(presented{name: f.t.Name(), at: f.now, f: f, l: l, response: response, ours: a, err: err})
	}
	return a, err
}

func (f *fixture) verify(l sso.Login, response string) (sso.Assertion, error) {
	f.t.Helper()
	r, err := f.p.Receive(httptest.NewRecorder(), acsRequest(url.Values{"SAMLResponse": {response}, "RelayState": {l.ID}}))
	if err != nil {
		return sso.Assertion{}, err
	}
	a, err := r.Verify(context.Background(), l)
	f.examined(r, l, err)
	return a, err
}

// examined is the property that keeps Verify and Examine together: over every
// document of every test, Verify accepts exactly when no check fails.
func (f *fixture) examined(r sso.Response, l sso.Login, verdict error) {
	f.t.Helper()
	e, ok := r.(sso.Examiner)
	if !ok {
		f.t.Fatal("a SAML response is no Examiner")
	}
	x := e.Examine(context.Background(), l)
	if sso.Passed(x.Checks) != (verdict == nil) || (x.Assertion.ReplayKey != "") != (verdict == nil) {
		f.t.Fatalf("Verify says %v, Examine %+v", verdict, x.Checks)
	}
	if reason := saml.Reason(verdict); reason != "" {
		for _, c := range x.Checks {
			if c.Name == sso.CheckOf(reason) && c.Verdict == sso.Fail {
				return
			}
		}
		f.t.Fatalf("Verify refused for %q, which no failed check names: %+v", reason, x.Checks)
	}
}

// accept wants alice to be signed in.
func (f *fixture) accept(l sso.Login, response string) sso.Assertion {
	f.t.Helper()
	a, err := f.present(l, response)
	if err != nil {
		f.t.Fatalf("the benign form must be accepted: %v", err)
	}
	if a.Identity.Subject != "alice" || a.Identity.Provider != "okta" || a.Identity.Issuer != f.idp.EntityID() {
		f.t.Fatalf("identity %+v", a.Identity)
	}
	return a
}

// refuse wants a VerifyError with one of the reasons.
func (f *fixture) refuse(l sso.Login, response, why string, reasons ...string) {
	f.t.Helper()
	a, err := f.present(l, response)
	wantRefused(f.t, a, err, why, reasons...)
}

func wantRefused(t testing.TB, a sso.Assertion, err error, why string, reasons ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("accepted as %q: %s", a.Identity.Subject, why)
	}
	if a.Identity.Subject != "" || a.ReplayKey != "" {
		t.Fatalf("an identity beside an error: %+v", a)
	}
	got := saml.Reason(err)
	if got == "" {
		t.Fatalf("not a refusal: %v", err)
	}
	if got == "panic" {
		t.Fatalf("it took the recover: %v", err)
	}
	for _, r := range reasons {
		if r == got {
			return
		}
	}
	if len(reasons) > 0 {
		t.Fatalf("refused as %q, want %q (%v): %s", got, reasons, err, why)
	}
}

// operate decodes a response, lets surgery change the tree and encodes it.
func operate(t testing.TB, response string, surgery func(root *etree.Element)) string {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(response)
	if err != nil {
		t.Fatal(err)
	}
	doc := etree.NewDocument()
	if err := doc.ReadFromBytes(raw); err != nil {
		t.Fatal(err)
	}
	surgery(doc.Root())
	return encode(t, doc)
}

func encode(t testing.TB, doc *etree.Document) string {
	t.Helper()
	doc.WriteSettings.CanonicalText, doc.WriteSettings.CanonicalAttrVal = true, true
	raw, err := doc.WriteToBytes()
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(raw)
}

// replace changes the bytes of a response, where a tree would hide the change.
func replace(t testing.TB, response, old, with string) string {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(response)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(raw), old) {
		t.Fatalf("no %q in %s", old, raw)
	}
	return base64.StdEncoding.EncodeToString([]byte(strings.Replace(string(raw), old, with, 1)))
}

func certPEM(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

// scenario is a row of a table: what the IdP is made to sign, and what is done
// to the message on its way.
type scenario struct {
	name    string
	why     string // printed when it is accepted
	draft   func(f *fixture, d *ssotest.SAMLDraft)
	surgery func(f *fixture, root *etree.Element)
	reasons []string // nil: any
	accept  bool
}

func (s scenario) run(t *testing.T, change ...func(*settings.Provider)) {
	t.Helper()
	t.Run(s.name, func(t *testing.T) {
		f := sharedFixture(t)
		if len(change) > 0 {
			f = newFixture(t, change...)
		}
		l := f.login()
		if row, _, _ := strings.Cut(t.Name(), "/"); len(change) > 0 || !f.twins[row] {
			f.accept(l, f.respond(l)) // the benign twin, once for each row
			f.twins[row] = true
		}
		mutate := func(d *ssotest.SAMLDraft) {
			if s.draft != nil {
				s.draft(f, d)
			}
		}
		response := f.respond(l, mutate)
		if s.surgery != nil {
			response = operate(t, response, func(root *etree.Element) { s.surgery(f, root) })
		}
		if s.accept {
			f.accept(l, response)
			return
		}
		f.refuse(l, response, s.why, s.reasons...)
	})
}

func find(t testing.TB, root *etree.Element, path string) *etree.Element {
	t.Helper()
	el := root.FindElement(path)
	if el == nil {
		t.Fatalf("no %s", path)
	}
	return el
}

// requestXML inflates the AuthnRequest of a redirect URL.
func requestXML(t testing.TB, target string) string {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(u.Query().Get("SAMLRequest"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(flate.NewReader(bytes.NewReader(raw)))
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func rawRequest(body string) (http.ResponseWriter, *http.Request) {
	r := httptest.NewRequest(http.MethodPost, gateway+"/saml/okta/acs", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return httptest.NewRecorder(), r
}
