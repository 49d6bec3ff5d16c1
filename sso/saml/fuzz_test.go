package saml_test

import (
	"encoding/base64"
	"testing"

	"github.com/ssogate/ssogate/sso/ssotest"
)

// FuzzReceiveVerify: whatever is done to a genuine message, the answer is a
// refusal or alice, without a panic. The input is two edits of a response and
// not the response itself, since every fuzzing process has keys of its own.
func FuzzReceiveVerify(f *testing.F) {
	fx := newFixture(f)
	l := fx.login()
	var genuine [][]byte
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
		genuine = append(genuine, raw)
	}
	f.Add(uint8(0), uint16(0), uint16(0), []byte{}, uint16(0), uint16(0), []byte{})
	f.Add(uint8(1), uint16(900), uint16(0), []byte("<!---->"), uint16(2000), uint16(5), []byte("mallory"))
	f.Add(uint8(2), uint16(300), uint16(3), []byte("</saml:Issuer><saml:Issuer>"), uint16(0), uint16(0), []byte("<?xml version=\"1.0\"?>"))
	f.Add(uint8(3), uint16(1500), uint16(0), []byte(" ID=\"_x\""), uint16(1800), uint16(400), []byte{})
	f.Fuzz(func(t *testing.T, style uint8, at1, cut1 uint16, put1 []byte, at2, cut2 uint16, put2 []byte) {
		raw := splice(splice(genuine[int(style)%len(genuine)], at1, cut1, put1), at2, cut2, put2)
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

func splice(raw []byte, at, cut uint16, put []byte) []byte {
	from := min(int(at), len(raw))
	to := min(from+int(cut), len(raw))
	out := append([]byte{}, raw[:from]...)
	return append(append(out, put...), raw[to:]...)
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
