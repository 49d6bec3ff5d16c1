package saml_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/beevik/etree"

	"github.com/ssogate/ssogate/sso/ssotest"
)

func encrypted(e ssotest.SAMLEncryption, change ...func(*ssotest.SAMLDraft)) func(*fixture, *ssotest.SAMLDraft) {
	return func(_ *fixture, d *ssotest.SAMLDraft) {
		d.Encrypt = &e
		for _, c := range change {
			c(d)
		}
	}
}

func unsignedAssertion(d *ssotest.SAMLDraft) { d.SignAssertion = false }
func signedOutside(d *ssotest.SAMLDraft)     { d.SignResponse = true }

func TestEncryptionThatIsAcceptedS25(t *testing.T) {
	oaep11 := ssotest.SAMLEncryption{Transport: ssotest.OAEP11, Digest: ssotest.DigestSHA256, MGF: ssotest.MGF1SHA256}
	for _, s := range []scenario{
		{name: "AES-256-GCM and OAEP", draft: encrypted(ssotest.SAMLEncryption{})},
		{name: "AES-128-GCM", draft: encrypted(ssotest.SAMLEncryption{Cipher: ssotest.AES128GCM})},
		{name: "OAEP with SHA-1 said", draft: encrypted(ssotest.SAMLEncryption{Digest: ssotest.DigestSHA1})},
		{name: "OAEP with SHA-256", draft: encrypted(ssotest.SAMLEncryption{Digest: ssotest.DigestSHA256})},
		{name: "xmlenc11 OAEP with SHA-256 and MGF1-SHA-256", draft: encrypted(oaep11)},
		{name: "xmlenc11 OAEP with SHA-256 and MGF1-SHA-1", draft: encrypted(ssotest.SAMLEncryption{Transport: ssotest.OAEP11, Digest: ssotest.DigestSHA256})},
		{name: "key beside the data", draft: encrypted(ssotest.SAMLEncryption{Sibling: true})},
		{name: "signed inside and outside", draft: encrypted(ssotest.SAMLEncryption{}, signedOutside)},
		{name: "signed outside only", draft: encrypted(ssotest.SAMLEncryption{}, signedOutside, unsignedAssertion)},
		{name: "AES-256-CBC in a signed response", draft: encrypted(ssotest.SAMLEncryption{Cipher: ssotest.AES256CBC}, signedOutside)},
		{name: "AES-128-CBC in a signed response", draft: encrypted(ssotest.SAMLEncryption{Cipher: ssotest.AES128CBC}, signedOutside, unsignedAssertion)},
	} {
		s.accept = true
		s.run(t)
	}
}

func TestDecryptionDoesNotCrashS22(t *testing.T) {
	cut := func(n int) func([]byte) []byte {
		return func(b []byte) []byte { return b[:min(n, len(b))] }
	}
	plain := func(s string) func([]byte) []byte { return func([]byte) []byte { return []byte(s) } }
	decrypt, malformed := []string{"decrypt"}, []string{"xml_malformed"}
	before := runtime.NumGoroutine()
	for _, s := range []scenario{
		{name: "GCM 3 bytes", draft: encrypted(ssotest.SAMLEncryption{Ciphertext: cut(3)}), reasons: decrypt},
		{name: "GCM nothing", draft: encrypted(ssotest.SAMLEncryption{Ciphertext: cut(0)}), reasons: decrypt},
		{name: "GCM nonce only", draft: encrypted(ssotest.SAMLEncryption{Ciphertext: cut(12)}), reasons: decrypt},
		{name: "GCM one byte short of a tag", draft: encrypted(ssotest.SAMLEncryption{Ciphertext: cut(27)}), reasons: decrypt},
		{name: "GCM altered", draft: encrypted(ssotest.SAMLEncryption{Ciphertext: func(b []byte) []byte { b[20] ^= 1; return b }}), reasons: decrypt},
		{name: "CBC 17 bytes", draft: encrypted(ssotest.SAMLEncryption{Cipher: ssotest.AES256CBC, Ciphertext: cut(17)}, signedOutside), reasons: decrypt},
		{name: "CBC 16 bytes", draft: encrypted(ssotest.SAMLEncryption{Cipher: ssotest.AES256CBC, Ciphertext: cut(16)}, signedOutside), reasons: decrypt},
		{name: "CBC 15 bytes", draft: encrypted(ssotest.SAMLEncryption{Cipher: ssotest.AES256CBC, Ciphertext: cut(15)}, signedOutside), reasons: decrypt},
		{name: "CBC nothing", draft: encrypted(ssotest.SAMLEncryption{Cipher: ssotest.AES256CBC, Ciphertext: cut(0)}, signedOutside), reasons: decrypt},
		{name: "3DES", draft: encrypted(ssotest.SAMLEncryption{Cipher: ssotest.TripleDES}, signedOutside), reasons: []string{"encryption"}},
		{name: "no cipher", draft: encrypted(ssotest.SAMLEncryption{Cipher: " "}), reasons: []string{"encryption"}},
		{name: "empty plaintext", draft: encrypted(ssotest.SAMLEncryption{Plaintext: plain("")}), reasons: malformed},
		{name: "comment-only plaintext", draft: encrypted(ssotest.SAMLEncryption{Plaintext: plain("<!-- -->")}), reasons: []string{"xml_comment"}},
		{name: "text-only plaintext", draft: encrypted(ssotest.SAMLEncryption{Plaintext: plain("alice")}), reasons: malformed},
		{name: "another element", draft: encrypted(ssotest.SAMLEncryption{Plaintext: plain(`<x xmlns="urn:x"/>`)}), reasons: []string{"shape"}},
		{name: "two roots", draft: encrypted(ssotest.SAMLEncryption{Plaintext: func(b []byte) []byte { return append(b, b...) }}), reasons: []string{"xml_malformed", "xml_duplicate_id"}},
		{name: "to somebody else", reasons: decrypt, draft: func(f *fixture, d *ssotest.SAMLDraft) {
			d.Encrypt = &ssotest.SAMLEncryption{Key: f.k.other}
		}},
		{name: "CBC to somebody else", reasons: decrypt, draft: func(f *fixture, d *ssotest.SAMLDraft) {
			d.SignResponse, d.Encrypt = true, &ssotest.SAMLEncryption{Cipher: ssotest.AES256CBC, Key: f.k.other}
		}},
		{name: "two keys", reasons: []string{"encryption"}, draft: encrypted(ssotest.SAMLEncryption{Sibling: true}), surgery: func(f *fixture, root *etree.Element) {
			k := find(f.t, root, "./EncryptedAssertion/EncryptedKey").Copy()
			k.RemoveAttr("Id")
			find(f.t, root, "./EncryptedAssertion").AddChild(k)
		}},
		{name: "no key", reasons: []string{"encryption"}, draft: encrypted(ssotest.SAMLEncryption{Sibling: true}), surgery: func(f *fixture, root *etree.Element) {
			e := find(f.t, root, "./EncryptedAssertion")
			e.RemoveChild(find(f.t, e, "./EncryptedKey"))
		}},
		{name: "wrapped key of 3 bytes", reasons: decrypt, draft: encrypted(ssotest.SAMLEncryption{Sibling: true}), surgery: func(f *fixture, root *etree.Element) {
			find(f.t, root, "./EncryptedAssertion/EncryptedKey/CipherData/CipherValue").SetText("AAAA")
		}},
		{name: "not base64", reasons: decrypt, draft: encrypted(ssotest.SAMLEncryption{}), surgery: func(f *fixture, root *etree.Element) {
			find(f.t, root, "./EncryptedAssertion/EncryptedData/CipherData/CipherValue").SetText("!!!")
		}},
		{name: "cipher reference", reasons: []string{"shape"}, draft: encrypted(ssotest.SAMLEncryption{}), surgery: func(f *fixture, root *etree.Element) {
			find(f.t, root, "./EncryptedAssertion/EncryptedData/CipherData/CipherValue").Tag = "CipherReference"
		}},
		{name: "another type", reasons: []string{"encryption"}, draft: encrypted(ssotest.SAMLEncryption{}), surgery: func(f *fixture, root *etree.Element) {
			find(f.t, root, "./EncryptedAssertion/EncryptedData").CreateAttr("Type", "http://www.w3.org/2001/04/xmlenc#Content")
		}},
		{name: "OAEP label", reasons: []string{"encryption"}, draft: encrypted(ssotest.SAMLEncryption{}), surgery: func(f *fixture, root *etree.Element) {
			find(f.t, root, "//EncryptedKey/EncryptionMethod").CreateElement("xenc:OAEPparams").SetText("AAAA")
		}},
	} {
		s.why = "ciphertext that is broken"
		s.run(t)
	}
	for range 50 { // goroutines of the test framework come and go
		if runtime.NumGoroutine() <= before+2 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

// TestNoOracleS23: rsa-1_5 is refused by its name, before the key is touched,
// and what does not open is refused with the same words whatever is wrong.
func TestNoOracleS23(t *testing.T) {
	scenario{
		name: "rsa-1_5", draft: encrypted(ssotest.SAMLEncryption{Transport: ssotest.RSA15}), reasons: []string{"encryption"},
		why: "Bleichenbacher's attack needs it",
	}.run(t)
	scenario{
		name: "rsa-1_5 in a signed response", draft: encrypted(ssotest.SAMLEncryption{Transport: ssotest.RSA15}, signedOutside),
		reasons: []string{"encryption"}, why: "Bleichenbacher's attack needs it",
	}.run(t)
	f := newFixture(t)
	l := f.login()
	f.accept(l, f.respond(l))
	texts := map[string]bool{}
	for name, e := range map[string]ssotest.SAMLEncryption{
		"padding": {Cipher: ssotest.AES256CBC, Ciphertext: func(b []byte) []byte { b[len(b)-1] ^= 0x80; return b }},
		"length":  {Cipher: ssotest.AES256CBC, Ciphertext: func(b []byte) []byte { return b[:17] }},
		"tag":     {Ciphertext: func(b []byte) []byte { b[len(b)-1] ^= 1; return b }},
		"key":     {Key: f.k.other},
	} {
		a, err := f.present(l, f.respond(l, func(d *ssotest.SAMLDraft) { d.Encrypt, d.SignResponse = &e, true }))
		// A padding that still reads as one leaves broken XML instead.
		wantRefused(t, a, err, name, "decrypt", "xml_malformed")
		if name != "padding" {
			texts[err.Error()] = true
		}
	}
	if len(texts) != 1 {
		t.Errorf("told apart by %v", texts)
	}
}

func TestEncryptionIsNoSignatureS24(t *testing.T) {
	for _, s := range []scenario{
		{name: "unsigned response, unsigned encrypted assertion", draft: encrypted(ssotest.SAMLEncryption{}, unsignedAssertion), reasons: []string{"signature_missing"}},
		{name: "CBC outside a signed response", draft: encrypted(ssotest.SAMLEncryption{Cipher: ssotest.AES256CBC}), reasons: []string{"encryption_unsigned"}},
		{
			name: "signed by a stranger inside", reasons: []string{"signature"},
			draft: func(f *fixture, d *ssotest.SAMLDraft) {
				d.SignAssertion, d.Encrypt = false, &ssotest.SAMLEncryption{}
				d.EditAssertion = func(el *etree.Element) { f.ok(ssotest.SignElement(el, f.k.stranger, f.k.other.Raw, "")) }
			},
		},
		{
			name: "broken signature inside a signed response", reasons: []string{"signature"},
			draft: encrypted(ssotest.SAMLEncryption{Plaintext: func(b []byte) []byte {
				return []byte(string(b[:len(b)-len("</saml:Assertion>")]) + "<saml:AttributeStatement/></saml:Assertion>")
			}}, signedOutside),
		},
		{
			name: "a second assertion inside the encrypted one, all signed", reasons: []string{"assertion_count"},
			draft: func(f *fixture, d *ssotest.SAMLDraft) {
				d.SignResponse, d.Encrypt = true, &ssotest.SAMLEncryption{}
				d.EditAssertion = func(el *etree.Element) {
					evil := el.Copy()
					evil.CreateAttr("ID", "_evil")
					find(f.t, el, "./AttributeStatement/Attribute/AttributeValue").AddChild(evil)
				}
			},
		},
		{
			name: "exchanged for another ciphertext in a signed response", reasons: []string{"signature"},
			draft: encrypted(ssotest.SAMLEncryption{}, signedOutside),
			surgery: func(f *fixture, root *etree.Element) {
				other := f.respond(f.login(), func(d *ssotest.SAMLDraft) { d.Encrypt = &ssotest.SAMLEncryption{} })
				operate(f.t, other, func(o *etree.Element) {
					mine := find(f.t, root, "./EncryptedAssertion")
					at := mine.Index()
					root.RemoveChild(mine)
					root.InsertChildAt(at, find(f.t, o, "./EncryptedAssertion").Copy())
				})
			},
		},
	} {
		s.why = "anybody can encrypt to us"
		s.run(t)
	}
}
