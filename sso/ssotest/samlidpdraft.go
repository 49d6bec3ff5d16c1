package ssotest

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/beevik/etree"
	"github.com/crewjam/saml"
	dsig "github.com/russellhaering/goxmldsig"
)

// SAMLDraft is a response before it is signed. A test changes it to make the
// IdP say what it should not, with a genuine signature under it.
type SAMLDraft struct {
	Response  *saml.Response  // without the assertion
	Assertion *saml.Assertion // nil: none is sent

	SignResponse  bool
	SignAssertion bool   // the default
	Method        string // signature algorithm, default RSA-SHA256
	Encrypt       *SAMLEncryption

	// Edits of the XML, each before the signature that covers it is made.
	EditAssertion func(*etree.Element)
	EditResponse  func(*etree.Element)
}

// Respond answers an AuthnRequest as if user had signed in, without a browser:
// the ACS to post to, the SAMLResponse in base64, and the RelayState.
func (i *SAMLIdP) Respond(authnRequestURL, user string, mutate ...func(*SAMLDraft)) (acs, samlResponse, relayState string, err error) {
	person, ok := FindPerson(i.opts.People, user)
	if !ok {
		return "", "", "", fmt.Errorf("ssotest: nobody is called %q", user)
	}
	req, err := i.parseRedirect(authnRequestURL)
	if err != nil {
		return "", "", "", err
	}
	now := i.opts.Now()
	m, err := i.answer(req, samlSession{person: person, index: newSecret(), at: now}, mutate...)
	return m.ACS, m.SAMLResponse, m.RelayState, err
}

// Unsolicited makes an IdP-initiated response for the service provider with
// this entityID ("" = the first registered).
func (i *SAMLIdP) Unsolicited(entityID, user string, mutate ...func(*SAMLDraft)) (acs, samlResponse string, err error) {
	person, ok := FindPerson(i.opts.People, user)
	if !ok {
		return "", "", fmt.Errorf("ssotest: nobody is called %q", user)
	}
	sp, ok := i.sp(entityID)
	if !ok {
		return "", "", errors.New("ssotest: no service provider is registered")
	}
	m, err := i.answer(samlRequest{sp: sp}, samlSession{person: person, index: newSecret(), at: i.opts.Now()}, mutate...)
	return m.ACS, m.SAMLResponse, err
}

// samlMessage is what the browser carries to the ACS.
type samlMessage struct{ ACS, SAMLResponse, RelayState string }

func (i *SAMLIdP) answer(req samlRequest, s samlSession, mutate ...func(*SAMLDraft)) (samlMessage, error) {
	d := i.draft(req, s)
	if i.opts.Draft != nil {
		mutate = append([]func(*SAMLDraft){i.opts.Draft}, mutate...)
	}
	for _, m := range mutate {
		m(d)
	}
	root, err := i.seal(d, req.sp)
	if err != nil {
		return samlMessage{}, err
	}
	doc := etree.NewDocument()
	doc.SetRoot(root)
	// A bare carriage return would arrive as a line feed, and the digest fail.
	doc.WriteSettings.CanonicalText, doc.WriteSettings.CanonicalAttrVal = true, true
	raw, err := doc.WriteToBytes()
	if err != nil {
		return samlMessage{}, fmt.Errorf("ssotest: response: %w", err)
	}
	return samlMessage{ACS: req.sp.acs, SAMLResponse: base64.StdEncoding.EncodeToString(raw), RelayState: req.relayState}, nil
}

// draft is the response that follows the standard (profiles, section 4.1.4.2).
func (i *SAMLIdP) draft(req samlRequest, s samlSession) *SAMLDraft {
	now := i.opts.Now().UTC()
	until := now.Add(5 * time.Minute)
	return &SAMLDraft{
		SignAssertion: true,
		Response: &saml.Response{
			ID: samlID(), InResponseTo: req.id, Version: "2.0", IssueInstant: now, Destination: req.sp.acs,
			Issuer: &saml.Issuer{Value: i.EntityID()},
			Status: saml.Status{StatusCode: saml.StatusCode{Value: "urn:oasis:names:tc:SAML:2.0:status:Success"}},
		},
		Assertion: &saml.Assertion{
			ID: samlID(), Version: "2.0", IssueInstant: now, Issuer: saml.Issuer{Value: i.EntityID()},
			Subject: &saml.Subject{
				NameID: &saml.NameID{Format: string(saml.UnspecifiedNameIDFormat), Value: s.person.User},
				SubjectConfirmations: []saml.SubjectConfirmation{{
					Method: "urn:oasis:names:tc:SAML:2.0:cm:bearer",
					SubjectConfirmationData: &saml.SubjectConfirmationData{
						InResponseTo: req.id, Recipient: req.sp.acs, NotOnOrAfter: until,
					},
				}},
			},
			Conditions: &saml.Conditions{
				NotBefore: now, NotOnOrAfter: until,
				AudienceRestrictions: []saml.AudienceRestriction{{Audience: saml.Audience{Value: req.sp.entityID}}},
			},
			AuthnStatements: []saml.AuthnStatement{{
				AuthnInstant: s.at.UTC(), SessionIndex: s.index,
				AuthnContext: saml.AuthnContext{AuthnContextClassRef: &saml.AuthnContextClassRef{
					Value: "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport",
				}},
			}},
			AttributeStatements: samlAttributes(s.person),
		},
	}
}

// samlAttributes are sent under the plain names that Okta's wizard suggests.
func samlAttributes(p Person) []saml.AttributeStatement {
	var st saml.AttributeStatement
	add := func(name string, values ...string) {
		a := saml.Attribute{Name: name, NameFormat: "urn:oasis:names:tc:SAML:2.0:attrname-format:basic"}
		for _, v := range values {
			if v != "" {
				a.Values = append(a.Values, saml.AttributeValue{Type: "xs:string", Value: v})
			}
		}
		if len(a.Values) > 0 {
			st.Attributes = append(st.Attributes, a)
		}
	}
	add("email", p.Email)
	add("givenName", p.GivenName)
	add("familyName", p.FamilyName)
	add("displayName", p.DisplayName)
	add("groups", p.Groups...)
	if len(st.Attributes) == 0 { // an empty statement is not valid
		return nil
	}
	return []saml.AttributeStatement{st}
}

// seal edits, signs and encrypts: the assertion first, then the response
// around it. Signatures go right behind the Issuer, where the schema wants them.
func (i *SAMLIdP) seal(d *SAMLDraft, sp samlSP) (*etree.Element, error) {
	root := d.Response.Element()
	if d.Assertion != nil {
		el := d.Assertion.Element()
		if d.EditAssertion != nil {
			d.EditAssertion(el)
		}
		if d.SignAssertion {
			if err := i.Sign(el, d.Method); err != nil {
				return nil, err
			}
		}
		if d.Encrypt != nil {
			enc, err := encryptAssertion(sp.cert, el, *d.Encrypt)
			if err != nil {
				return nil, err
			}
			el = enc
		}
		root.AddChild(el)
	}
	if d.EditResponse != nil {
		d.EditResponse(root)
	}
	if d.SignResponse {
		if err := i.Sign(root, d.Method); err != nil {
			return nil, err
		}
	}
	return root, nil
}

// Sign puts an enveloped signature over el into it, behind its Issuer, with the
// IdP's key: what a test needs to sign what the IdP never would. The default
// method is RSA-SHA256.
func (i *SAMLIdP) Sign(el *etree.Element, method string) error {
	key, cert := i.signer()
	return signElement(el, key, cert.Raw, method)
}

// SignElement is [SAMLIdP.Sign] with any key and certificate (DER).
func SignElement(el *etree.Element, key *rsa.PrivateKey, cert []byte, method string) error {
	return signElement(el, key, cert, method)
}

func signElement(el *etree.Element, key *rsa.PrivateKey, cert []byte, method string) error {
	if method == "" {
		method = dsig.RSASHA256SignatureMethod
	}
	ctx, err := dsig.NewSigningContext(key, [][]byte{cert})
	if err != nil {
		return fmt.Errorf("ssotest: sign: %w", err)
	}
	ctx.Canonicalizer = dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("")
	if err := ctx.SetSignatureMethod(method); err != nil {
		return fmt.Errorf("ssotest: sign: %w", err)
	}
	sig, err := ctx.ConstructSignature(el, true)
	if err != nil {
		return fmt.Errorf("ssotest: sign: %w", err)
	}
	at := 0
	for _, c := range el.ChildElements() {
		if c.Tag == "Issuer" {
			at = c.Index() + 1
			break
		}
	}
	el.InsertChildAt(at, sig)
	return nil
}

// samlID is an ID as core section 1.3.4 wants it.
func samlID() string {
	b := make([]byte, 20)
	_, _ = rand.Read(b)
	return "_" + hex.EncodeToString(b)
}
