package saml_test

import (
	"context"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	csaml "github.com/crewjam/saml"

	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/saml"
	"github.com/ssogate/ssogate/sso/ssotest"
)

// examine posts a response and answers what an examination says of it.
func (f *fixture) examine(l sso.Login, response string) sso.Examination {
	f.t.Helper()
	r, err := f.p.Receive(httptest.NewRecorder(), acsRequest(url.Values{"SAMLResponse": {response}, "RelayState": {l.ID}}))
	f.ok(err)
	e, ok := r.(sso.Examiner)
	if !ok {
		f.t.Fatal("no Examiner")
	}
	return e.Examine(context.Background(), l)
}

func failed(list []sso.Check) (names []string) {
	for _, c := range list {
		if c.Verdict == sso.Fail && !slices.Contains(names, c.Name) {
			names = append(names, c.Name)
		}
	}
	return names
}

func TestExaminationOfAGoodAnswer(t *testing.T) {
	f := newFixture(t)
	l := f.login()
	x := f.examine(l, f.respond(l))
	if !sso.Passed(x.Checks) || x.Assertion.Identity.Subject != "alice" {
		t.Fatalf("%+v", x)
	}
	for name, evidence := range map[string]string{
		"in_response_to": "answers", "metadata": f.idp.EntityID(), "signature": "rsa-sha256", "certificate": "SHA-256 ", "destination": f.p.ACS(), "issuer": f.idp.EntityID(),
		"audience": f.p.EntityID(), "recipient": f.p.ACS(), "status": "Success", "clock": "by 0 s", "name_id": `"alice"`, "times": "issued",
		"attributes": `"displayName", "email"`, "attribute:email": `"alice@example.com" from "email"`, "groups": `2: "staff", "finance"`,
	} {
		if !slices.ContainsFunc(x.Checks, func(c sso.Check) bool { return c.Name == name && strings.Contains(c.Evidence, evidence) }) {
			t.Errorf("no check %s with %q in %+v", name, evidence, x.Checks)
		}
	}
}

// TestMistakesOfOperators: what is set up wrongly -> the check that fails -> what is
// said to do about it.
func TestMistakesOfOperators(t *testing.T) {
	for _, c := range []struct {
		name  string
		draft func(f *fixture, d *ssotest.SAMLDraft)
		want  []string // exactly these fail
		fix   string
	}{
		{"wrong audience", func(_ *fixture, d *ssotest.SAMLDraft) {
			d.Assertion.Conditions.AudienceRestrictions[0].Audience.Value = gateway + "/"
		}, []string{"audience"}, "Okta: SAML Settings > Audience URI"},
		{"old ACS URL", func(_ *fixture, d *ssotest.SAMLDraft) {
			d.Response.Destination = "https://old.example.com/acs"
			d.Assertion.Subject.SubjectConfirmations[0].SubjectConfirmationData.Recipient = "https://old.example.com/acs"
		}, []string{"destination", "recipient"}, "Okta: SAML Settings > Single sign-on URL"},
		{"nothing signed", func(_ *fixture, d *ssotest.SAMLDraft) { d.SignAssertion = false }, []string{"signature"}, "Assertion Signature: Signed"},
		{"SHA-1", func(_ *fixture, d *ssotest.SAMLDraft) {
			d.Method = "http://www.w3.org/2000/09/xmldsig#rsa-sha1"
		}, []string{"algorithm"}, "RSA-SHA256"},
		{"another application's issuer", func(_ *fixture, d *ssotest.SAMLDraft) {
			d.Response.Issuer.Value, d.Assertion.Issuer.Value = "http://www.okta.com/exkother", "http://www.okta.com/exkother"
		}, []string{"issuer"}, "metadata of the very application"},
		{"transient NameID", func(_ *fixture, d *ssotest.SAMLDraft) {
			d.Assertion.Subject.NameID.Format = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
		}, []string{"name_id"}, "Okta: SAML Settings > Name ID format"},
		{"clock behind", func(f *fixture, d *ssotest.SAMLDraft) {
			late := f.now.Add(-time.Hour)
			d.Assertion.Conditions.NotOnOrAfter = late
			d.Assertion.Subject.SubjectConfirmations[0].SubjectConfirmationData.NotOnOrAfter = late
		}, []string{"times"}, "compare both clocks"},
		{"person not assigned", func(_ *fixture, d *ssotest.SAMLDraft) {
			d.Response.Status.StatusCode.Value = "urn:oasis:names:tc:SAML:2.0:status:Responder"
			d.Response.Status.StatusCode.StatusCode = &csaml.StatusCode{Value: "urn:oasis:names:tc:SAML:2.0:status:RequestDenied"}
			d.Assertion, d.SignResponse = nil, true
		}, []string{"status"}, "Okta: Applications > your app > Assignments"},
		{"two e-mail addresses", func(_ *fixture, d *ssotest.SAMLDraft) {
			a := d.Assertion.AttributeStatements[0].Attributes
			a[0].Values = append(a[0].Values, csaml.AttributeValue{Type: "xs:string", Value: "b@example.com"})
		}, []string{"attribute:email", "attributes"}, "Attribute Statements"},
		{"everything at once", func(f *fixture, d *ssotest.SAMLDraft) {
			d.SignAssertion = false
			d.Response.Destination = "https://old.example.com/acs"
			d.Assertion.Issuer.Value = "other"
			d.Assertion.Conditions.AudienceRestrictions[0].Audience.Value = "other"
			d.Assertion.Conditions.NotOnOrAfter = f.now.Add(-time.Hour)
			d.Assertion.Subject.NameID.Value = ""
			d.Assertion.Subject.SubjectConfirmations[0].SubjectConfirmationData.Recipient = "elsewhere"
			d.Assertion.Subject.SubjectConfirmations[0].SubjectConfirmationData.InResponseTo = "_other"
		}, []string{"signature", "destination", "issuer", "audience", "times", "name_id", "recipient", "in_response_to"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			l := f.login()
			x := f.examine(l, f.respond(l, func(d *ssotest.SAMLDraft) { c.draft(f, d) }))
			got := failed(x.Checks)
			slices.Sort(got)
			slices.Sort(c.want)
			if !slices.Equal(got, c.want) || x.Assertion.ReplayKey != "" {
				t.Fatalf("failed %q, want %q: %+v", got, c.want, x.Checks)
			}
			for _, e := range sso.Explain(x.Checks, settings.Okta) {
				if e.Verdict == sso.Fail && e.Fix == "" {
					t.Errorf("%s has no fix", e.Name)
				}
				if e.Name == c.want[0] && e.Verdict == sso.Fail && !strings.Contains(e.Fix, c.fix) {
					t.Errorf("fix of %s: %q, want %q", e.Name, e.Fix, c.fix)
				}
			}
		})
	}
}

func TestInspectTellsOfCertificatesAndEndpoints(t *testing.T) {
	k := testKeys()
	now := k.idpCert.NotAfter.Add(-10 * 24 * time.Hour)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", now.Add(-5*time.Minute).UTC().Format(http.TimeFormat))
	}))
	defer srv.Close()
	inspect := func(certs ...*x509.Certificate) []sso.Check {
		set := settings.Provider{ID: "okta", Protocol: settings.SAML, Active: true, SAML: settings.SAMLProvider{EntityID: "idp", SSOURL: srv.URL}}
		for _, c := range certs {
			set.SAML.Certificates = append(set.SAML.Certificates, certPEM(c))
		}
		p, err := saml.New(saml.Options{Provider: set, URL: gateway, Keys: []saml.KeyPair{{Key: k.sp, Cert: k.spCert}}, HTTP: srv.Client(), Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		return p.Inspect(context.Background())
	}
	verdicts := map[string]sso.Verdict{}
	for _, c := range inspect(k.idpCert) {
		verdicts[c.Name] = c.Verdict
	}
	if verdicts["certificate"] != sso.Warn || verdicts["endpoint"] != sso.Pass || verdicts["clock"] != sso.Warn {
		t.Errorf("ten days before expiry, clock 5 min behind: %v", verdicts)
	}
	now = k.idpCert.NotAfter.Add(time.Hour)
	if got := failed(inspect(k.idpCert)); !slices.Equal(got, []string{"certificate"}) {
		t.Errorf("expired: %q", got)
	}
}
