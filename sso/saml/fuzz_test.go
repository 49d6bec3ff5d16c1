package saml_test

import (
	"encoding/base64"
	"testing"

	"github.com/ssogate/ssogate/sso/ssotest"
)

// FuzzReceiveVerify: whatever is done to a genuine message, the answer is a
// refusal or alice, without a panic.
func FuzzReceiveVerify(f *testing.F) {
	fx := newFixture(f)
	l := fx.login()
	for _, change := range []func(*ssotest.SAMLDraft){
		func(*ssotest.SAMLDraft) {},
		func(d *ssotest.SAMLDraft) { d.SignResponse = true },
		func(d *ssotest.SAMLDraft) { d.Encrypt = &ssotest.SAMLEncryption{} },
		func(d *ssotest.SAMLDraft) {
			d.SignResponse, d.Encrypt = true, &ssotest.SAMLEncryption{Cipher: ssotest.AES256CBC}
		},
	} {
		raw, err := base64.StdEncoding.DecodeString(fx.respond(l, change))
		fx.ok(err)
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		g := *fx
		g.t = t
		a, err := g.present(l, base64.StdEncoding.EncodeToString(raw))
		if err == nil && a.Identity.Subject != "alice" {
			t.Errorf("signed in as %q", a.Identity.Subject)
		}
		if err != nil {
			wantRefused(t, a, err, "")
		}
	})
}

// FuzzForm: no form makes Receive panic or let an odd login id through.
func FuzzForm(f *testing.F) {
	fx := newFixture(f)
	f.Add("SAMLResponse=PGEvPg%3D%3D&RelayState=x")
	f.Add("SAMLart=x")
	f.Fuzz(func(t *testing.T, body string) {
		r, err := fx.p.Receive(rawRequest(body))
		if err == nil && r.LoginID() != "" && len(r.LoginID()) != 43 {
			t.Errorf("login id %q", r.LoginID())
		}
	})
}
