package saml_test

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"
	crewjam "github.com/crewjam/saml"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/saml"
	"github.com/ssogate/ssogate/sso/ssotest"
)

func byPost(p *settings.Provider) { p.SAML.Binding = settings.PostBinding }

// posted is what a browser that posts the form is answered by the IdP, which
// verifies the signature of every request.
func (f *fixture) posted(s sso.Start) int {
	f.t.Helper()
	form := url.Values{}
	for _, field := range s.Form {
		form.Add(field.Name, field.Value)
	}
	r := httptest.NewRequest(http.MethodPost, s.URL, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	f.idp.ServeHTTP(w, r)
	return w.Code
}

func (f *fixture) begin() (sso.Login, string) {
	f.t.Helper()
	l := sso.Login{ID: secret.NewToken(), Kind: sso.Live, Provider: "okta", ReturnPath: "/", Expires: f.now.Add(sso.LoginLifetime)}
	var err error
	l.Start, err = f.p.Begin(context.Background(), l)
	f.ok(err)
	if len(l.Start.Form) == 0 {
		return l, requestXML(f.t, l.Start.URL)
	}
	raw, err := base64.StdEncoding.DecodeString(l.Start.Form[0].Value)
	f.ok(err)
	return l, string(raw)
}

func TestAuthnRequestByPostIsSigned(t *testing.T) {
	f := newFixture(t, byPost)
	l, message := f.begin()
	form := l.Start.Form
	if l.Start.URL != f.idp.SSOURL() || len(form) != 2 || form[0].Name != "SAMLRequest" || form[1] != (sso.Field{Name: "RelayState", Value: l.ID}) {
		t.Fatalf("start %+v", l.Start)
	}
	// Schema order: the signature stands right behind the Issuer, and the whole is valid.
	if !strings.Contains(message, "</saml:Issuer><ds:Signature") || strings.Contains(message, "PRIVATE") {
		t.Errorf("message %s", message)
	}
	if code := f.posted(l.Start); code != http.StatusOK {
		t.Errorf("the IdP answers %d", code)
	}
	changed := l.Start
	changed.Form = []sso.Field{{Name: "SAMLRequest", Value: base64.StdEncoding.EncodeToString([]byte(strings.Replace(message, "okta/acs", "okta/acx", 1)))}, form[1]}
	if code := f.posted(changed); code == http.StatusOK {
		t.Error("the IdP takes an altered request: the signature covers nothing")
	}
}

func TestBindingIsWhatTheIdPTakes(t *testing.T) {
	d := descriptor{keys: []key{{"", testKeys().idpCert}}}
	postOnly := strings.ReplaceAll(d.xml(), "HTTP-Redirect", "HTTP-POST")
	for _, c := range []struct {
		name, xml string
		binding   settings.Binding
		form      bool
	}{
		{"redirect", d.xml(), "", false},
		{"only redirect, though POST is wished", d.xml(), settings.PostBinding, false},
		{"only POST", postOnly, "", true},
		{"only POST, though redirect is wished", postOnly, settings.RedirectBinding, true},
		{"POST", postOnly, settings.PostBinding, true},
	} {
		p, err := create(withMetadata(c.xml), func(p *settings.Provider) { p.SAML.Binding = c.binding })
		if err != nil {
			t.Fatal(err)
		}
		start, err := p.Begin(context.Background(), sso.Login{ID: "x"})
		if err != nil || (len(start.Form) > 0) != c.form || !strings.HasPrefix(start.URL, "https://idp.example.com/sso") {
			t.Errorf("%s: %+v, %v", c.name, start, err)
		}
	}
}

func TestUnsignedRequests(t *testing.T) {
	for name, change := range map[string]func(*settings.Provider){"redirect": func(*settings.Provider) {}, "post": byPost} {
		f := newFixture(t, change, func(p *settings.Provider) { p.SAML.UnsignedRequests = true })
		l, message := f.begin()
		if strings.Contains(l.Start.URL, "Sig") || strings.Contains(message, "Signature") || !strings.Contains(message, `ID="`+l.Start.RequestID+`"`) {
			t.Errorf("%s: %s %s", name, l.Start.URL, message)
		}
		metadata, err := f.p.Metadata()
		f.ok(err)
		if !strings.Contains(string(metadata), `AuthnRequestsSigned="false"`) {
			t.Errorf("metadata %s", metadata)
		}
	}
}

const mfa, password = "https://refeds.org/profile/mfa", "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport"

func TestRequestSaysWhatTheOperatorWants(t *testing.T) {
	f := newFixture(t, func(p *settings.Provider) {
		p.SAML.ForceAuthn, p.SAML.NameIDFormat, p.SAML.AuthnContext = true, "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent", []string{mfa, password}
	})
	_, message := f.begin()
	doc := etree.NewDocument()
	f.ok(doc.ReadFromString(message))
	asked := doc.Root().FindElements("./RequestedAuthnContext[@Comparison='exact']/AuthnContextClassRef")
	if len(asked) != 2 || asked[0].Text() != mfa || asked[1].Text() != password {
		t.Errorf("request %s", message)
	}
	if doc.Root().SelectAttrValue("ForceAuthn", "") != "true" ||
		find(t, doc.Root(), "./NameIDPolicy").SelectAttrValue("Format", "") != "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent" {
		t.Errorf("request %s", message)
	}
}

func usedContexts(list ...string) func(*fixture, *ssotest.SAMLDraft) {
	return func(_ *fixture, d *ssotest.SAMLDraft) {
		first := d.Assertion.AuthnStatements[0]
		d.Assertion.AuthnStatements = nil
		for _, class := range list {
			st := first
			st.AuthnContext = crewjam.AuthnContext{AuthnContextClassRef: &crewjam.AuthnContextClassRef{Value: class}}
			d.Assertion.AuthnStatements = append(d.Assertion.AuthnStatements, st)
		}
	}
}

func TestRequiredAuthnContextIsRequiredOfTheAnswer(t *testing.T) {
	wish := func(p *settings.Provider) { p.SAML.AuthnContext = []string{password, mfa} }
	for _, s := range []scenario{
		{name: "one of them", draft: usedContexts(mfa), accept: true},
		{name: "the other", draft: usedContexts(password), accept: true},
		{name: "two statements, both good", draft: usedContexts(password, mfa), accept: true},
		{name: "another", draft: usedContexts("urn:oasis:names:tc:SAML:2.0:ac:classes:Password"), why: "a weaker sign-in than was asked for"},
		{name: "a longer name", draft: usedContexts(mfa + "x"), why: "contexts are compared whole"},
		{name: "one good, one not", draft: usedContexts(mfa, "urn:x"), why: "which of the two made the session?"},
		{name: "none", why: "an answer that does not say how", draft: edit(func(f *fixture, el *etree.Element) {
			c := find(f.t, el, "./AuthnStatement/AuthnContext")
			c.RemoveChild(c.ChildElements()[0])
		})},
		{name: "two in one statement", why: "one could hide behind the other", draft: edit(func(f *fixture, el *etree.Element) {
			find(f.t, el, "./AuthnStatement/AuthnContext").CreateElement("saml:AuthnContextClassRef").SetText(mfa)
		})},
		{name: "in another namespace", why: "it is no AuthnContextClassRef", draft: edit(func(f *fixture, el *etree.Element) {
			find(f.t, el, "./AuthnStatement/AuthnContext/AuthnContextClassRef").Space = "samlp"
			el.CreateAttr("xmlns:samlp", "urn:oasis:names:tc:SAML:2.0:protocol")
		})},
	} {
		if !s.accept {
			s.reasons = []string{"authn_context"}
		}
		s.run(t, wish)
	}
}

// ForceAuthn passes through the browser: an answer about a sign-in of this morning
// shows that the IdP never saw it, or did not care.
func TestForcedAuthenticationIsCheckedInTheAnswer(t *testing.T) {
	ago := func(d time.Duration) func(*fixture, *ssotest.SAMLDraft) {
		return func(f *fixture, draft *ssotest.SAMLDraft) {
			draft.Assertion.AuthnStatements[0].AuthnInstant = f.now.Add(-d)
		}
	}
	force := func(p *settings.Provider) { p.SAML.ForceAuthn = true }
	scenario{name: "within the skew", draft: ago(50 * time.Second), accept: true}.run(t, force)
	scenario{name: "this morning", draft: ago(3 * time.Hour), why: "nobody was asked for credentials", reasons: []string{"authn_instant"}}.run(t, force)
	scenario{name: "this morning, and nobody forced it", draft: ago(3 * time.Hour), accept: true}.run(t)
}

// A key is replaced while the IdP still uses the one before.
func TestSeveralSPKeys(t *testing.T) {
	f := newFixture(t)
	keyPEM, certPEM, err := saml.NewKey()
	f.ok(err)
	next, nextCert, err := saml.ParseKey(keyPEM, certPEM)
	f.ok(err)
	metadata, err := f.idp.Metadata()
	f.ok(err)
	set := settings.Provider{ID: "okta", Protocol: settings.SAML, Active: true, SAML: settings.SAMLProvider{MetadataXML: metadata}}
	f.p, err = saml.New(saml.Options{
		Provider: set, URL: gateway, Now: func() time.Time { return f.now },
		Keys: []saml.KeyPair{{Key: next, Cert: nextCert}, {Key: f.k.sp, Cert: f.k.spCert}},
	})
	f.ok(err)
	published, err := f.p.Metadata()
	f.ok(err)
	if n := strings.Count(string(published), "<md:KeyDescriptor"); n != 4 {
		t.Errorf("%d KeyDescriptors, want two of each use", n)
	}
	f.ok(f.idp.RegisterMetadata(published)) // it takes the first one: requests are signed with it
	for name, cert := range map[string]ssotest.SAMLEncryption{"new key": {Key: nextCert}, "key before": {Key: f.k.spCert}} {
		l := f.login()
		_, err := f.present(l, f.respond(l, func(d *ssotest.SAMLDraft) { d.Encrypt = &cert }))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	l := f.login()
	f.refuse(l, f.respond(l, func(d *ssotest.SAMLDraft) { d.Encrypt = &ssotest.SAMLEncryption{Key: f.k.other} }), "encrypted to nobody's key", "decrypt")
}

// A page that wants fresh credentials is not content with a new session: the IdP's
// word for when they were shown decides, whatever the provider's settings.
func TestAFreshSignInIsProvenByTheAnswer(t *testing.T) {
	f := newFixture(t)
	at := func(d time.Duration) func(*ssotest.SAMLDraft) {
		return func(draft *ssotest.SAMLDraft) { draft.Assertion.AuthnStatements[0].AuthnInstant = f.now.Add(d) }
	}
	l := f.login()
	if a := f.accept(l, f.respond(l, at(-3*time.Hour))); !a.AuthTime.Equal(f.now.Add(-3 * time.Hour).Truncate(time.Second)) {
		t.Errorf("an ordinary sign-in says when: %s", a.AuthTime)
	}
	l = f.login()
	l.Fresh = true
	f.accept(l, f.respond(l, at(-30*time.Second)))
	l = f.login()
	l.Fresh = true
	f.refuse(l, f.respond(l, at(-3*time.Hour)), "nobody was asked for credentials", "authn_instant")
}
