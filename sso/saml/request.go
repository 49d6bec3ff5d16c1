package saml

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"

	"github.com/beevik/etree"
	"github.com/crewjam/saml"
	dsig "github.com/russellhaering/goxmldsig"

	"github.com/ssogate/ssogate/sso"
)

// Begin makes a signed AuthnRequest for the HTTP-Redirect binding, with l.ID as
// RelayState. It asks for no NameID format and no authentication context: IdPs
// answer a wish they cannot meet with an error page (Entra: AADSTS75011), and
// what comes back is checked anyway.
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
	id := requestID()
	allowCreate := true
	req := saml.AuthnRequest{
		ID:                          id,
		Version:                     "2.0",
		IssueInstant:                p.now().UTC(),
		Destination:                 to.ssoURL.String(),
		ProtocolBinding:             saml.HTTPPostBinding,
		AssertionConsumerServiceURL: p.acs,
		Issuer:                      &saml.Issuer{Value: p.entityID},
		NameIDPolicy:                &saml.NameIDPolicy{AllowCreate: &allowCreate},
	}
	if l.ForceAuthn {
		force := true
		req.ForceAuthn = &force
	}
	target, err := p.redirect(to.ssoURL, req.Element(), l.ID)
	if err != nil {
		return sso.Start{}, fmt.Errorf("saml: begin: %w", err)
	}
	return sso.Start{URL: target, RequestID: id}, nil
}

// requestID is 160 bits, as core section 1.3.4 recommends; an ID starts with a
// letter or underscore.
func requestID() string {
	b := make([]byte, 20)
	_, _ = rand.Read(b)
	return "_" + hex.EncodeToString(b)
}

// redirect signs by the rules of bindings section 3.4.4.1: over exactly these
// three parameters, in this order, as they are escaped in the URL, whatever
// query the IdP's own URL has.
func (p *Provider) redirect(to *url.URL, message *etree.Element, relayState string) (string, error) {
	doc := etree.NewDocument()
	doc.SetRoot(message)
	raw, err := doc.WriteToBytes()
	if err != nil {
		return "", err
	}
	var deflated bytes.Buffer
	w, err := flate.NewWriter(&deflated, flate.BestCompression)
	if err != nil {
		return "", err
	}
	if _, err := w.Write(raw); err != nil {
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	query := "SAMLRequest=" + url.QueryEscape(base64.StdEncoding.EncodeToString(deflated.Bytes())) +
		"&RelayState=" + url.QueryEscape(relayState) +
		"&SigAlg=" + url.QueryEscape(dsig.RSASHA256SignatureMethod)
	digest := sha256.Sum256([]byte(query))
	signature, err := p.key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return "", err
	}
	query += "&Signature=" + url.QueryEscape(base64.StdEncoding.EncodeToString(signature))
	u := *to
	if u.RawQuery != "" {
		query = u.RawQuery + "&" + query
	}
	u.RawQuery = query
	return u.String(), nil
}
