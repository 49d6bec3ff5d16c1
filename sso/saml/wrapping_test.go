package saml_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/beevik/etree"

	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/ssotest"
)

// evilAssertion is a copy of the genuine assertion that speaks of mallory.
func evilAssertion(t testing.TB, root *etree.Element) (genuine, evil *etree.Element) {
	t.Helper()
	genuine = find(t, root, "./Assertion")
	evil = genuine.Copy()
	evil.CreateAttr("ID", "_evil")
	find(t, evil, "./Subject/NameID").SetText("mallory")
	return genuine, evil
}

func dropSignature(el *etree.Element) *etree.Element {
	for _, c := range el.ChildElements() {
		if c.Tag == "Signature" {
			el.RemoveChild(c)
			return c
		}
	}
	return nil
}

func signResponse(_ *fixture, d *ssotest.SAMLDraft) { d.SignAssertion, d.SignResponse = false, true }

// evilResponse turns root into a Response about mallory and returns a copy of
// the genuine one with its signature.
func evilResponse(t testing.TB, root *etree.Element) (genuine, sig *etree.Element) {
	t.Helper()
	genuine = root.Copy()
	root.CreateAttr("ID", "_evil")
	find(t, root, "./Assertion").CreateAttr("ID", "_evila")
	find(t, root, "./Assertion/Subject/NameID").SetText("mallory")
	sig = dropSignature(root)
	return genuine, sig
}

func TestWrappingS01(t *testing.T) {
	for _, s := range []scenario{
		{
			name: "XSW1 genuine response inside the signature of the evil one", draft: signResponse,
			surgery: func(f *fixture, root *etree.Element) {
				genuine, sig := evilResponse(f.t, root)
				dropSignature(genuine)
				sig.AddChild(genuine)
				root.InsertChildAt(1, sig)
			},
		},
		{
			name: "XSW2 genuine response beside the detached signature", draft: signResponse,
			surgery: func(f *fixture, root *etree.Element) {
				genuine, sig := evilResponse(f.t, root)
				dropSignature(genuine)
				root.InsertChildAt(1, sig)
				root.InsertChildAt(1, genuine)
			},
		},
		{
			name: "XSW3 evil assertion before the genuine one",
			surgery: func(f *fixture, root *etree.Element) {
				genuine, evil := evilAssertion(f.t, root)
				dropSignature(evil)
				root.InsertChildAt(genuine.Index(), evil)
			},
		},
		{
			name: "XSW4 genuine assertion inside the evil one",
			surgery: func(f *fixture, root *etree.Element) {
				genuine, evil := evilAssertion(f.t, root)
				dropSignature(evil)
				root.RemoveChild(genuine)
				evil.AddChild(genuine)
				root.AddChild(evil)
			},
		},
		{
			name: "XSW5 evil assertion carries the signature, genuine one behind it",
			surgery: func(f *fixture, root *etree.Element) {
				genuine, evil := evilAssertion(f.t, root)
				dropSignature(genuine)
				root.InsertChildAt(genuine.Index(), evil)
			},
		},
		{
			name: "XSW6 genuine assertion inside the signature of the evil one",
			surgery: func(f *fixture, root *etree.Element) {
				genuine, evil := evilAssertion(f.t, root)
				root.RemoveChild(genuine)
				dropSignature(genuine)
				find(f.t, evil, "./Signature").AddChild(genuine)
				root.AddChild(evil)
			},
		},
		{
			name: "XSW7 genuine assertion in Extensions",
			surgery: func(f *fixture, root *etree.Element) {
				genuine, evil := evilAssertion(f.t, root)
				root.RemoveChild(genuine)
				ext := etree.NewElement("samlp:Extensions")
				ext.AddChild(genuine)
				root.InsertChildAt(1, ext)
				dropSignature(evil)
				root.AddChild(evil)
			},
		},
		{
			name: "XSW8 genuine assertion in an Object of the signature",
			surgery: func(f *fixture, root *etree.Element) {
				genuine, evil := evilAssertion(f.t, root)
				root.RemoveChild(genuine)
				dropSignature(genuine)
				find(f.t, evil, "./Signature").CreateElement("ds:Object").AddChild(genuine)
				root.AddChild(evil)
			},
		},
		{
			name: "evil assertion under another prefix",
			surgery: func(f *fixture, root *etree.Element) {
				genuine, evil := evilAssertion(f.t, root)
				evil.Space = "x"
				evil.CreateAttr("xmlns:x", "urn:oasis:names:tc:SAML:2.0:assertion")
				dropSignature(evil)
				root.InsertChildAt(genuine.Index(), evil)
			},
		},
	} {
		s.why = "a signature over one element let another one be read"
		s.run(t)
	}
}

// TestWrappingNeverYieldsAnotherPersonS01 is the property behind XSW1 to XSW8:
// wherever in the message copies of the assertion are put, with or without its
// ID and signature, the answer is a refusal or alice, never mallory.
func TestWrappingNeverYieldsAnotherPersonS01(t *testing.T) {
	f := newFixture(t)
	tried := 0
	for _, style := range []string{"assertion", "response", "both"} {
		l := f.login()
		response := f.respond(l, func(d *ssotest.SAMLDraft) {
			d.SignAssertion, d.SignResponse = style != "response", style != "assertion"
		})
		f.accept(l, response)
		places := count(t, response)
		for place := 0; place < places; place += stride {
			for _, keepID := range []bool{false, true} {
				for _, keepSig := range []bool{false, true} {
					for _, swap := range []bool{false, true} {
						attack := operate(t, response, func(root *etree.Element) {
							wrap(t, root, place, keepID, keepSig, swap)
						})
						a, err := f.present(l, attack)
						tried++
						if err == nil && a.Identity.Subject != "alice" {
							t.Fatalf("%s signed, place %d, same ID %v, signature %v, swapped %v: signed in as %q",
								style, place, keepID, keepSig, swap, a.Identity.Subject)
						}
					}
				}
			}
		}
	}
	if tried < 600/stride {
		t.Errorf("only %d attacks", tried)
	}
}

func elements(root *etree.Element) []*etree.Element {
	all := []*etree.Element{root}
	for _, c := range root.ChildElements() {
		all = append(all, elements(c)...)
	}
	return all
}

func count(t testing.TB, response string) (n int) {
	operate(t, response, func(root *etree.Element) { n = len(elements(root)) })
	return n
}

// wrap puts an evil copy at one place of the tree, or the genuine one there and
// the evil one in its stead.
func wrap(t testing.TB, root *etree.Element, place int, keepID, keepSig, swap bool) {
	genuine, evil := evilAssertion(t, root)
	if keepID {
		evil.CreateAttr("ID", genuine.SelectAttrValue("ID", ""))
	}
	if !keepSig {
		dropSignature(evil)
	}
	target := elements(root)[place]
	inside := target == genuine
	for p := target.Parent(); p != nil; p = p.Parent() {
		inside = inside || p == genuine
	}
	switch {
	case !swap:
		target.AddChild(evil)
	case inside:
		// The genuine one goes to the same place inside the evil one.
		at := genuine.Index()
		offset := 0
		for i, el := range elements(genuine) {
			if el == target {
				offset = i
			}
		}
		root.RemoveChild(genuine)
		root.InsertChildAt(at, evil)
		if all := elements(evil); offset < len(all) {
			all[offset].AddChild(genuine)
		}
	default:
		at := genuine.Index()
		root.RemoveChild(genuine)
		root.InsertChildAt(at, evil)
		target.AddChild(genuine)
	}
}

// TestNoByteOfAnAssertionCanBeChangedS01 flips every text and attribute of a
// signed message in turn. What is left standing must not matter.
func TestNoByteOfAnAssertionCanBeChangedS01(t *testing.T) {
	f := newFixture(t)
	l := f.login()
	response := f.respond(l)
	want := fmt.Sprintf("%+v", f.accept(l, response))
	for place := range count(t, response) {
		for _, part := range []string{"text", "attribute 0", "attribute 1", "attribute 2", "tag"} {
			touched := ""
			attack := operate(t, response, func(root *etree.Element) { touched = tamper(elements(root)[place], part) })
			if touched == "" {
				continue
			}
			a, err := f.present(l, attack)
			if err == nil && fmt.Sprintf("%+v", a) != want {
				t.Errorf("changing %s changed the outcome to %+v", touched, a)
			}
			if err == nil && strings.Contains(touched, "Assertion/") && !strings.Contains(touched, "KeyInfo") {
				t.Errorf("changing %s inside the signed assertion went unnoticed", touched)
			}
		}
	}
}

func tamper(el *etree.Element, part string) string {
	path := el.GetPath()
	switch {
	case part == "tag":
		el.Tag += "x"
		return path + " tag"
	case part == "text":
		if len(el.ChildElements()) > 0 || el.Text() == "" {
			return ""
		}
		el.SetText(el.Text() + "x")
		return path + " text"
	}
	n := int(part[len(part)-1] - '0')
	if n >= len(el.Attr) {
		return ""
	}
	el.Attr[n].Value += "x"
	return path + " @" + el.Attr[n].Key
}

func TestOneAssertionS02(t *testing.T) {
	unsigned := func(f *fixture, root *etree.Element) *etree.Element {
		_, evil := evilAssertion(f.t, root)
		dropSignature(evil)
		return evil
	}
	for _, s := range []scenario{
		{name: "unsigned extra before", surgery: func(f *fixture, root *etree.Element) {
			root.InsertChildAt(find(f.t, root, "./Assertion").Index(), unsigned(f, root))
		}},
		{name: "unsigned extra after", surgery: func(f *fixture, root *etree.Element) { root.AddChild(unsigned(f, root)) }},
		{name: "two validly signed, two users", surgery: func(f *fixture, root *etree.Element) {
			evil := unsigned(f, root)
			f.ok(f.idp.Sign(evil, ""))
			root.AddChild(evil)
		}},
		{name: "two validly signed inside a signed response", draft: func(f *fixture, d *ssotest.SAMLDraft) {
			d.SignResponse = true
			d.EditResponse = func(root *etree.Element) {
				evil := unsigned(f, root)
				f.ok(f.idp.Sign(evil, ""))
				root.AddChild(evil)
			}
		}},
		{name: "one plain, one encrypted", surgery: func(_ *fixture, root *etree.Element) { root.CreateElement("saml:EncryptedAssertion") }},
		{name: "ten", surgery: func(f *fixture, root *etree.Element) {
			for i := range 10 {
				evil := unsigned(f, root)
				evil.CreateAttr("ID", fmt.Sprintf("_evil%d", i))
				root.AddChild(evil)
			}
		}},
		{name: "hidden in an AttributeValue, signed", draft: func(f *fixture, d *ssotest.SAMLDraft) {
			d.EditAssertion = func(el *etree.Element) {
				evil := el.Copy()
				evil.CreateAttr("ID", "_evil")
				find(f.t, el, "./AttributeStatement/Attribute/AttributeValue").AddChild(evil)
			}
		}},
	} {
		s.why, s.reasons = "more than one assertion in a message", []string{"assertion_count"}
		s.run(t)
	}
}

func TestIdentityOfIDsS03(t *testing.T) {
	for _, s := range []scenario{
		{
			name: "evil copy with the same ID and the copied signature", reasons: []string{"xml_duplicate_id"},
			surgery: func(f *fixture, root *etree.Element) {
				genuine, evil := evilAssertion(f.t, root)
				evil.CreateAttr("ID", genuine.SelectAttrValue("ID", ""))
				root.InsertChildAt(genuine.Index(), evil)
			},
		},
		{
			name: "Response and Assertion share the ID", reasons: []string{"xml_duplicate_id"},
			surgery: func(f *fixture, root *etree.Element) {
				root.CreateAttr("ID", find(f.t, root, "./Assertion").SelectAttrValue("ID", ""))
			},
		},
		{
			name: "prefixed ID before the real one", reasons: []string{"xml_duplicate_id"},
			surgery: func(f *fixture, root *etree.Element) {
				genuine, evil := evilAssertion(f.t, root)
				evil.Attr = append([]etree.Attr{{Space: "saml", Key: "ID", Value: genuine.SelectAttrValue("ID", "")}}, evil.Attr...)
				root.RemoveChild(genuine)
				root.AddChild(evil)
			},
		},
		{
			name: "xml:id", reasons: []string{"xml_duplicate_id"},
			surgery: func(f *fixture, root *etree.Element) {
				find(f.t, root, "./Assertion/Subject").CreateAttr("xml:id", "_x")
			},
		},
		{
			name: "Id in other letters", reasons: []string{"xml_duplicate_id"},
			surgery: func(f *fixture, root *etree.Element) {
				a := find(f.t, root, "./Assertion")
				find(f.t, a, "./Subject").CreateAttr("id", a.SelectAttrValue("ID", ""))
			},
		},
		{
			name: "ID that is no NCName", reasons: []string{"xml_malformed"},
			surgery: func(_ *fixture, root *etree.Element) { root.CreateAttr("ID", "#x") },
		},
		{
			name: "no ID on the assertion", reasons: []string{"references"},
			surgery: func(f *fixture, root *etree.Element) { find(f.t, root, "./Assertion").RemoveAttr("ID") },
		},
	} {
		s.why = "an ID that two elements could answer to"
		s.run(t)
	}
}

func TestSignatureIsNeededS04(t *testing.T) {
	for _, s := range []scenario{
		{
			name: "none anywhere", reasons: []string{"signature_missing"},
			draft: func(_ *fixture, d *ssotest.SAMLDraft) { d.SignAssertion = false },
		},
		{
			name: "own key and own KeyInfo certificate", reasons: []string{"signature"},
			surgery: func(f *fixture, root *etree.Element) {
				a := find(f.t, root, "./Assertion")
				dropSignature(a)
				f.ok(ssotest.SignElement(a, f.k.stranger, f.k.other.Raw, ""))
			},
		},
		{
			name: "own key under the IdP's certificate", reasons: []string{"signature"},
			surgery: func(f *fixture, root *etree.Element) {
				a := find(f.t, root, "./Assertion")
				dropSignature(a)
				f.ok(ssotest.SignElement(a, f.k.stranger, f.k.idpCert.Raw, ""))
			},
		},
		{
			name: "empty SignatureValue", reasons: []string{"signature_empty"},
			surgery: func(f *fixture, root *etree.Element) {
				find(f.t, root, "./Assertion/Signature/SignatureValue").SetText(" \n")
			},
		},
		{
			name: "SignatureValue of zeros", reasons: []string{"signature"},
			surgery: func(f *fixture, root *etree.Element) {
				find(f.t, root, "./Assertion/Signature/SignatureValue").SetText(base64.StdEncoding.EncodeToString(make([]byte, 256)))
			},
		},
		{
			name: "good assertion in a response with a bad signature", reasons: []string{"signature"},
			draft: func(_ *fixture, d *ssotest.SAMLDraft) { d.SignResponse = true },
			surgery: func(_ *fixture, root *etree.Element) {
				root.CreateAttr("Consent", "urn:oasis:names:tc:SAML:2.0:consent:obtained")
			},
		},
		{
			name: "bad assertion signature in a well-signed response", reasons: []string{"signature"},
			draft: func(f *fixture, d *ssotest.SAMLDraft) {
				d.SignResponse = true
				d.EditResponse = func(root *etree.Element) {
					find(f.t, root, "./Assertion/Subject/NameID").SetText("mallory")
				}
			},
		},
		{
			name: "signature without SignedInfo", reasons: []string{"shape"},
			surgery: func(f *fixture, root *etree.Element) {
				sig := find(f.t, root, "./Assertion/Signature")
				sig.RemoveChild(find(f.t, sig, "./SignedInfo"))
			},
		},
		{
			name: "two SignedInfo", reasons: []string{"shape"},
			surgery: func(f *fixture, root *etree.Element) {
				info := find(f.t, root, "./Assertion/Signature/SignedInfo")
				info.Parent().InsertChildAt(0, info.Copy())
			},
		},
		{
			name: "signature behind the subject", reasons: []string{"shape"},
			surgery: func(f *fixture, root *etree.Element) {
				a := find(f.t, root, "./Assertion")
				a.AddChild(dropSignature(a))
			},
		},
		{
			name: "signature in the namespace of nobody",
			surgery: func(f *fixture, root *etree.Element) {
				find(f.t, root, "./Assertion/Signature").CreateAttr("xmlns:ds", "urn:nobody")
			},
		},
	} {
		s.why = "an assertion without a good signature"
		s.run(t)
	}
}

// TestLoginOfZeroValueIsRefused: the zero value of anything refuses.
func TestLoginOfZeroValueIsRefused(t *testing.T) {
	f := newFixture(t)
	l := f.login()
	response := f.respond(l)
	f.accept(l, response)
	f.refuse(sso.Login{}, response, "a Login nobody made")
}
