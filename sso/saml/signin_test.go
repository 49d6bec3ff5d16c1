package saml_test

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	crewjam "github.com/crewjam/saml"

	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/ssotest"
)

func TestSignInBringsIdentityProfileAndReplayKey(t *testing.T) {
	f := newFixture(t)
	l := f.login()
	end := f.now.Add(2 * time.Hour)
	a := f.accept(l, f.respond(l, func(d *ssotest.SAMLDraft) {
		d.Assertion.AuthnStatements[0].SessionIndex = "idx"
		d.Assertion.AuthnStatements[0].SessionNotOnOrAfter = &end
	}))
	if got := a.Profile; got.UserName != "alice" || got.Email != "alice@example.com" || got.DisplayName != "Alice Liddell" ||
		got.GivenName != "Alice" || got.FamilyName != "Liddell" {
		t.Errorf("profile %+v", got)
	}
	if strings.Join(a.Groups, " ") != "staff finance" {
		t.Errorf("groups %q", a.Groups)
	}
	if a.SessionIndex != "idx" || !a.SessionEnd.Equal(end) {
		t.Errorf("session %q until %s", a.SessionIndex, a.SessionEnd)
	}
	if !strings.Contains(a.ReplayKey, f.idp.EntityID()) || a.ReplayUntil.Before(f.now.Add(5*time.Minute)) {
		t.Errorf("replay key %q until %s", a.ReplayKey, a.ReplayUntil)
	}
}

func TestEverySigningStyleIsAccepted(t *testing.T) {
	for _, s := range []scenario{
		{name: "assertion only"},
		{name: "response only", draft: func(_ *fixture, d *ssotest.SAMLDraft) { d.SignAssertion, d.SignResponse = false, true }},
		{name: "both", draft: func(_ *fixture, d *ssotest.SAMLDraft) { d.SignResponse = true }},
		{name: "SHA-512", draft: func(_ *fixture, d *ssotest.SAMLDraft) {
			d.Method = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512"
		}},
	} {
		s.accept = true
		s.run(t)
	}
}

// TestCrewjamAgrees: whatever is accepted here is accepted by crewjam's own
// reader too; the wrapper only ever takes away.
func TestCrewjamAgrees(t *testing.T) {
	f := newFixture(t)
	l := f.login()
	metadata, err := f.idp.Metadata()
	f.ok(err)
	var entity crewjam.EntityDescriptor
	f.ok(xml.Unmarshal(metadata, &entity))
	acs, err := url.Parse(f.p.ACS())
	f.ok(err)
	sp := crewjam.ServiceProvider{EntityID: f.p.EntityID(), AcsURL: *acs, IDPMetadata: &entity}
	for _, both := range []bool{false, true} {
		response := f.respond(l, func(d *ssotest.SAMLDraft) { d.SignResponse = both })
		f.accept(l, response)
		raw, err := base64.StdEncoding.DecodeString(response)
		f.ok(err)
		if a, err := sp.ParseXMLResponse(raw, []string{l.Start.RequestID}, *acs); err != nil {
			if why, ok := errors.AsType[*crewjam.InvalidResponseError](err); ok {
				err = why.PrivateErr
			}
			t.Errorf("signed both %v: %v", both, err)
		} else if a.Subject.NameID.Value != "alice" {
			t.Errorf("crewjam reads %q", a.Subject.NameID.Value)
		}
	}
}

func TestAuthnRequestIsSignedOverTheEscapedQuery(t *testing.T) {
	f := newFixture(t, func(p *settings.Provider) {
		p.SAML = settings.SAMLProvider{
			EntityID: "https://idp.example.com/metadata", SSOURL: "https://idp.example.com/sso?tenant=a%2Fb",
			Certificates: []string{certPEM(testKeys().idpCert)},
		}
	})
	l := sso.Login{ID: "a b&SigAlg=evil+/=", Kind: sso.Live, Provider: "okta", Expires: f.now.Add(time.Hour), ForceAuthn: true}
	start, err := f.p.Begin(context.Background(), l)
	f.ok(err)
	u, err := url.Parse(start.URL)
	f.ok(err)
	// The IdP's own query comes first and is not signed (bindings 3.4.4.1).
	rest, ok := strings.CutPrefix(u.RawQuery, "tenant=a%2Fb&")
	if !ok {
		t.Fatalf("query %q", u.RawQuery)
	}
	signed, sig, ok := strings.Cut(rest, "&Signature=")
	if !ok || !strings.HasPrefix(signed, "SAMLRequest=") || strings.Contains(sig, "&") {
		t.Fatalf("query %q", rest)
	}
	if got := u.Query()["RelayState"]; len(got) != 1 || got[0] != l.ID {
		t.Errorf("RelayState %q: it must survive escaping whole", got)
	}
	unescaped, err := url.QueryUnescape(sig)
	f.ok(err)
	raw, err := base64.StdEncoding.DecodeString(unescaped)
	f.ok(err)
	digest := sha256.Sum256([]byte(signed))
	if err := rsa.VerifyPKCS1v15(f.k.spCert.PublicKey.(*rsa.PublicKey), crypto.SHA256, digest[:], raw); err != nil {
		t.Errorf("signature: %v", err)
	}
}

func TestAuthnRequestsDifferAndForceAuthnIsAsked(t *testing.T) {
	f := newFixture(t)
	a, b := f.login(), f.login()
	if a.Start.RequestID == b.Start.RequestID || len(a.Start.RequestID) < 40 {
		t.Errorf("request ids %q and %q", a.Start.RequestID, b.Start.RequestID)
	}
	l := sso.Login{ID: a.ID, Kind: sso.Live, Provider: "okta", Expires: f.now.Add(time.Hour), ForceAuthn: true}
	start, err := f.p.Begin(context.Background(), l)
	f.ok(err)
	if got := requestXML(t, start.URL); !strings.Contains(got, `ForceAuthn="true"`) {
		t.Errorf("request %s", got)
	}
	if got := requestXML(t, a.Start.URL); strings.Contains(got, "ForceAuthn") || strings.Contains(got, "transient") ||
		strings.Contains(got, "RequestedAuthnContext") {
		t.Errorf("request %s", got)
	}
}

func TestMetadataIsWhatTheIdPNeeds(t *testing.T) {
	f := newFixture(t)
	w := httptest.NewRecorder()
	f.p.ServeMetadata(w, httptest.NewRequest("GET", gateway+"/saml/okta/metadata", nil))
	if got := w.Header().Get("Content-Type"); got != "application/samlmetadata+xml" {
		t.Errorf("content type %q", got)
	}
	var e crewjam.EntityDescriptor
	f.ok(xml.Unmarshal(w.Body.Bytes(), &e))
	sp := e.SPSSODescriptors[0]
	if e.EntityID != gateway+"/saml/okta/metadata" || !e.ValidUntil.IsZero() {
		t.Errorf("entity %q until %s", e.EntityID, e.ValidUntil)
	}
	if !*sp.WantAssertionsSigned || !*sp.AuthnRequestsSigned || len(sp.KeyDescriptors) != 2 {
		t.Errorf("descriptor %+v", sp)
	}
	if acs := sp.AssertionConsumerServices; len(acs) != 1 || acs[0].Location != gateway+"/saml/okta/acs" || acs[0].Binding != crewjam.HTTPPostBinding {
		t.Errorf("ACS %+v", acs)
	}
	for _, want := range []string{"aes256-gcm", "rsa-oaep"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(w.Body.String(), "PRIVATE") {
		t.Error("private key in metadata")
	}
}
