package saml_test

import (
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"

	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso/ssotest"
)

// forged signs the assertion by hand instead of the IdP doing it.
func forged(g forgery) func(*fixture, *ssotest.SAMLDraft) {
	return func(f *fixture, d *ssotest.SAMLDraft) {
		d.SignAssertion = false
		d.EditAssertion = func(el *etree.Element) { g.sign(f.t, el, f.k.idp, f.k.idpCert.Raw) }
	}
}

func TestForgedSignatureOfTheUsualKindIsAccepted(t *testing.T) {
	// The benign twin of everything made with forgery below.
	scenario{name: "by hand", draft: forged(forgery{}), accept: true}.run(t)
	scenario{name: "no KeyInfo", draft: forged(forgery{noKeyInfo: true}), accept: true}.run(t)
	scenario{name: "with comments", draft: forged(forgery{transforms: []string{
		"http://www.w3.org/2000/09/xmldsig#enveloped-signature", excC14 + "WithComments",
	}}), accept: true}.run(t)
}

func TestAlgorithmsS06(t *testing.T) {
	sha1 := forgery{method: dsig.RSASHA1SignatureMethod, digest: sha1ID}
	digestOnly := forgery{digest: sha1ID}
	for _, s := range []scenario{
		{name: "RSA-SHA1", draft: forged(sha1), reasons: []string{"sha1"}},
		{name: "SHA-1 digest under RSA-SHA256", draft: forged(digestOnly), reasons: []string{"sha1"}},
		{
			name: "HMAC keyed with the public certificate", reasons: []string{"algorithm"},
			draft: func(f *fixture, d *ssotest.SAMLDraft) {
				forged(forgery{
					method:  "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256",
					hmacKey: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.k.idpCert.Raw}),
				})(f, d)
			},
		},
		{name: "MD5", draft: forged(forgery{method: "http://www.w3.org/2001/04/xmldsig-more#rsa-md5"}), reasons: []string{"algorithm"}},
		{name: "DSA", draft: forged(forgery{method: "http://www.w3.org/2000/09/xmldsig#dsa-sha1"}), reasons: []string{"algorithm"}},
		{name: "no method", draft: forged(forgery{method: " "}), reasons: []string{"algorithm"}},
		{name: "ECDSA name over an RSA key", draft: forged(forgery{method: dsig.ECDSASHA256SignatureMethod}), reasons: []string{"signature"}},
		{name: "inclusive canonicalization", draft: forged(forgery{c14n: "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"}), reasons: []string{"algorithm"}},
	} {
		s.why = "a weak or forged signature algorithm"
		s.run(t)
	}
	// SHA-1 passes only where the operator opted in, and HMAC never.
	optIn := func(p *settings.Provider) { p.SAML.InsecureAllowSHA1 = true }
	scenario{name: "RSA-SHA1 opted in", draft: forged(sha1), accept: true}.run(t, optIn)
	scenario{name: "SHA-1 digest opted in", draft: forged(digestOnly), accept: true}.run(t, optIn)
	scenario{
		name: "HMAC with SHA-1 opted in", reasons: []string{"algorithm"}, why: "opting in to SHA-1 opened HMAC",
		draft: forged(forgery{method: "http://www.w3.org/2000/09/xmldsig#hmac-sha1", hmacKey: []byte("x")}),
	}.run(t, optIn)
	if f := newFixture(t, optIn); !f.p.Health().SHA1 {
		t.Error("the opt-in is not reported, so nobody can be warned")
	}
}

func TestReferencesS07(t *testing.T) {
	uri := func(s string) *string { return &s }
	const enveloped = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
	for _, s := range []scenario{
		{name: "empty URI on the assertion", draft: forged(forgery{uri: uri("")}), reasons: []string{"references"}},
		{name: "other URI", draft: forged(forgery{uri: uri("#_other")}), reasons: []string{"references"}},
		{name: "external URI", draft: forged(forgery{uri: uri("https://evil.example.com/x")}), reasons: []string{"references"}},
		{name: "XPointer", draft: forged(forgery{uri: uri("#xpointer(/)")}), reasons: []string{"references"}},
		{name: "two references", draft: forged(forgery{references: 2}), reasons: []string{"references"}},
		{name: "three references", draft: forged(forgery{references: 3}), reasons: []string{"shape"}},
		{name: "XPath", draft: forged(forgery{transforms: []string{enveloped, "http://www.w3.org/TR/1999/REC-xpath-19991116", excC14}}), reasons: []string{"transforms"}},
		{name: "XSLT", draft: forged(forgery{transforms: []string{"http://www.w3.org/TR/1999/REC-xslt-19991116", excC14}}), reasons: []string{"transforms"}},
		{name: "base64", draft: forged(forgery{transforms: []string{enveloped, "http://www.w3.org/2000/09/xmldsig#base64"}}), reasons: []string{"transforms"}},
		{name: "enveloped only", draft: forged(forgery{transforms: []string{enveloped}}), reasons: []string{"transforms"}},
		{name: "canonicalization only", draft: forged(forgery{transforms: []string{excC14}}), reasons: []string{"transforms"}},
		{name: "none", draft: forged(forgery{transforms: []string{}}), reasons: []string{"shape"}},
		{name: "inclusive", draft: forged(forgery{transforms: []string{enveloped, "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"}}), reasons: []string{"transforms"}},
		{name: "twice enveloped", draft: forged(forgery{transforms: []string{enveloped, enveloped, excC14}}), reasons: []string{"transforms"}},
	} {
		s.why = "a reference that does not cover exactly what is read"
		s.run(t)
	}
	t.Run("namespaces", func(t *testing.T) {
		f := newFixture(t)
		l := f.login()
		response := f.respond(l)
		f.accept(l, response)
		for _, ns := range []string{"relative", "../up", "%zz", "http://www.w3.org/2000/xmlns/", "http://www.w3.org/XML/1998/namespace"} {
			f.refuse(l, replace(t, response, "<samlp:Response ", `<samlp:Response xmlns:x="`+ns+`" `),
				"a namespace on which canonicalisation is undefined: "+ns, "xml_namespace")
		}
		f.refuse(l, replace(t, response, "<samlp:Response ", `<samlp:Response xmlns:x="" `), "a prefix undone", "xml_namespace")
		f.refuse(l, replace(t, response, "<saml:Subject>", `<nobody:Subject>`), "a prefix nobody declared", "xml_namespace", "xml_malformed")
	})
}

func TestTextIsNotSplitS08(t *testing.T) {
	for _, c := range []struct{ name, old, with string }{
		{"comment in NameID", ">alice<", "><!-- -->alice<"},
		{"comment that cuts the NameID", ">alice<", ">ali<!---->ce<"},
		{"comment in an attribute", "alice@example.com", "alice@example.com<!-- -->.evil.com"},
		{"comment in the Audience", "/saml/okta/metadata</saml:Audience>", "/saml/okta/metadata<!-- --></saml:Audience>"},
		{"comment anywhere", "<saml:Subject>", "<!-- x --><saml:Subject>"},
		{"comment before the root", "<samlp:Response", "<!-- x --><samlp:Response"},
		{"processing instruction in NameID", ">alice<", ">ali<?x y?>ce<"},
		{"processing instruction before the root", "<samlp:Response", "<?xml-stylesheet href='x'?><samlp:Response"},
		{"second XML declaration", "<saml:Subject>", "<?xml version='1.0'?><saml:Subject>"},
		{"element in NameID", ">alice<", ">ali<saml:x/>ce<"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			l := f.login()
			response := f.respond(l)
			f.accept(l, response)
			f.refuse(l, replace(t, response, c.old, c.with), "text with a seam in it")
		})
	}
	// The same, signed that way by the IdP: a comment is not part of what
	// exclusive canonicalisation signs, so the signature would hold.
	scenario{
		name: "comment signed over", reasons: []string{"xml_comment"}, why: "a comment split the NameID of a genuine assertion",
		draft: func(_ *fixture, d *ssotest.SAMLDraft) { d.Assertion.Subject.NameID.Value = "alice@evil.example.com" },
		surgery: func(f *fixture, root *etree.Element) {
			id := find(f.t, root, "./Assertion/Subject/NameID")
			id.SetText("alice")
			id.CreateComment("")
			id.CreateText("@evil.example.com")
		},
	}.run(t)
}

func TestCDATAIsReadInFullS08(t *testing.T) {
	f := newFixture(t)
	l := f.login()
	response := f.respond(l, func(d *ssotest.SAMLDraft) { d.Assertion.Subject.NameID.Value = "alice.b" })
	// Canonicalisation turns CDATA into plain text, so the signature holds.
	a, err := f.present(l, replace(t, response, ">alice.b<", "><![CDATA[al]]>ice<![CDATA[.b]]><"))
	if err == nil && a.Identity.Subject != "alice.b" {
		t.Fatalf("CDATA cut the NameID to %q", a.Identity.Subject)
	}
	if err != nil {
		wantRefused(t, a, err, "")
	}
}

func TestXMLDeclarationIsAllowed(t *testing.T) {
	f := newFixture(t)
	l := f.login()
	response := f.respond(l)
	f.accept(l, replace(t, response, "<samlp:Response", `<?xml version="1.0" encoding="UTF-8"?><samlp:Response`))
	f.refuse(l, replace(t, response, "<samlp:Response", `<?xml version="1.0" encoding="UTF-16"?><samlp:Response`), "another encoding")
	f.refuse(l, replace(t, response, "<samlp:Response", `<?xml version="1.1"?><samlp:Response`), "another XML version")
	f.refuse(l, replace(t, response, ">alice<", ">al\xffice<"), "not UTF-8")
}

func TestDTDS09(t *testing.T) {
	bomb := `<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>`
	f := newFixture(t)
	l := f.login()
	response := f.respond(l)
	f.accept(l, response)
	for name, doctype := range map[string]string{
		"internal entity": `<!DOCTYPE r [<!ENTITY e "alice">]>`, "bomb": bomb,
		"external": `<!DOCTYPE r SYSTEM "https://evil.example.com/x.dtd">`, "parameter": `<!DOCTYPE r [<!ENTITY % x SYSTEM "file:///etc/passwd"> %x;]>`,
	} {
		start := cpu(t)
		f.refuse(l, replace(t, response, "<samlp:Response", doctype+"<samlp:Response"), name, "xml_dtd")
		if took := cpu(t) - start; took > 50*time.Millisecond*slow {
			t.Errorf("%s took %s", name, took)
		}
	}
	f.refuse(l, replace(t, response, ">alice<", ">&e;<"), "an entity without a declaration", "xml_malformed")
	// The bomb arrives inside the decrypted plaintext.
	f.refuse(l, f.respond(l, func(d *ssotest.SAMLDraft) {
		d.Encrypt = &ssotest.SAMLEncryption{Plaintext: func(b []byte) []byte {
			return []byte(bomb + strings.Replace(string(b), "alice", "&c;", 1))
		}}
	}), "a DTD in decrypted plaintext", "xml_dtd")
}
