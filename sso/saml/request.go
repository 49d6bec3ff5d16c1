package saml

import (
	"context"
	"crypto"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"

	"github.com/beevik/etree"
	"github.com/crewjam/saml"
	dsig "github.com/russellhaering/goxmldsig"

	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso"
)

// Begin makes an AuthnRequest with l.ID as RelayState: a URL to go to
// (HTTP-Redirect binding), or with Start.Form a form to post there (HTTP-POST). The
// operator's choice of binding is a preference: an IdP that takes only the other
// one gets the other one, for both carry the same message under the same signature.
//
// It asks for a NameID format or an authentication context only where the operator
// says so: IdPs answer a wish they cannot meet with an error page (Entra:
// AADSTS75011), and what comes back is checked anyway.
//
// Errors: [ErrNoMetadata] and *sso.VerifyError if the IdP side cannot be relied on.
func (p *Provider) Begin(ctx context.Context, l sso.Login) (sso.Start, error) {
	if !p.settings.Active {
		return sso.Start{}, refuse("provider_disabled", "provider %s is not active", p.settings.ID)
	}
	if l.ID == "" {
		return sso.Start{}, fmt.Errorf("saml: begin: login without id")
	}
	to, err := p.ready(ctx)
	if err != nil {
		return sso.Start{}, err
	}
	start := sso.Start{RequestID: requestID()}
	if to.ssoPost != nil && (to.ssoRedirect == nil || p.settings.SAML.Binding == settings.PostBinding) {
		start.URL = to.ssoPost.String()
		start.Form, err = p.post("SAMLRequest", p.authnRequest(start.RequestID, to.ssoPost, l), l.ID)
	} else {
		start.URL, err = p.redirect(to.ssoRedirect, p.authnRequest(start.RequestID, to.ssoRedirect, l), l.ID)
	}
	if err != nil {
		return sso.Start{}, fmt.Errorf("saml: begin: %w", err)
	}
	return start, nil
}

func (p *Provider) authnRequest(id string, to *url.URL, l sso.Login) *etree.Element {
	wish := p.settings.SAML
	allowCreate := true
	req := saml.AuthnRequest{
		ID:                          id,
		Version:                     "2.0",
		IssueInstant:                p.now().UTC(),
		Destination:                 to.String(),
		ProtocolBinding:             saml.HTTPPostBinding,
		AssertionConsumerServiceURL: p.acs,
		Issuer:                      &saml.Issuer{Value: p.entityID},
		NameIDPolicy:                &saml.NameIDPolicy{AllowCreate: &allowCreate},
	}
	if wish.NameIDFormat != "" {
		req.NameIDPolicy.Format = &wish.NameIDFormat
	}
	if l.ForceAuthn || wish.ForceAuthn {
		force := true
		req.ForceAuthn = &force
	}
	el := req.Element()
	if len(wish.AuthnContext) > 0 {
		// Written by hand: the library's type has room for one class only. It is the
		// last child, as the schema's sequence wants.
		asked := el.CreateElement("samlp:RequestedAuthnContext")
		asked.CreateAttr("Comparison", "exact")
		for _, class := range wish.AuthnContext {
			asked.CreateElement("saml:AuthnContextClassRef").SetText(class)
		}
	}
	return el
}

// requestID is 160 bits, as core section 1.3.4 recommends; an ID starts with a
// letter or underscore.
func requestID() string {
	b := make([]byte, 20)
	_, _ = rand.Read(b)
	return "_" + hex.EncodeToString(b)
}

// redirect is the redirect binding of a sign-in request.
func (p *Provider) redirect(to *url.URL, message *etree.Element, relayState string) (string, error) {
	if !p.settings.SAML.UnsignedRequests {
		return p.signedRedirect(to, "SAMLRequest", message, relayState)
	}
	query, err := redirectQuery("SAMLRequest", message, relayState)
	if err != nil {
		return "", err
	}
	return withQuery(to, query), nil
}

// post is the POST binding of a sign-in request, where the signature is inside the
// message.
func (p *Provider) post(name string, message *etree.Element, relayState string) ([]sso.Field, error) {
	if !p.settings.SAML.UnsignedRequests {
		if err := p.sign(message); err != nil {
			return nil, err
		}
	}
	return postFields(name, message, relayState)
}

// signer is the key that signs what we send.
func (p *Provider) signer() crypto.Signer { return p.keyPairs()[0].Key }

// sign puts an enveloped signature after the Issuer, the one place where the
// schema has it.
func (p *Provider) sign(message *etree.Element) error {
	k := p.keyPairs()[0] // one look: key and certificate belong together
	ctx, err := dsig.NewSigningContext(k.Key, [][]byte{k.Cert.Raw})
	if err != nil {
		return err
	}
	ctx.Canonicalizer = dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("")
	if err := ctx.SetSignatureMethod(dsig.RSASHA256SignatureMethod); err != nil {
		return err
	}
	signature, err := ctx.ConstructSignature(message, true)
	if err != nil {
		return err
	}
	issuer := message.FindElement("./Issuer")
	if issuer == nil {
		return errors.New("message without an Issuer")
	}
	message.InsertChildAt(issuer.Index()+1, signature)
	return nil
}
