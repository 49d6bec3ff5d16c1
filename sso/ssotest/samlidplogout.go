package ssotest

import (
	"bytes"
	"compress/flate"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html"
	"net/url"
	"time"

	dsig "github.com/russellhaering/goxmldsig"
)

// LogoutURL is where the IdP sends a browser to sign a person out at an SP: a signed
// LogoutRequest by redirect for all of his sessions, or for the one of index.
func (i *SAMLIdP) LogoutURL(slo, nameID, index string) (string, error) {
	id := make([]byte, 16)
	_, _ = rand.Read(id)
	session := ""
	if index != "" {
		session = "<samlp:SessionIndex>" + html.EscapeString(index) + "</samlp:SessionIndex>"
	}
	message := fmt.Sprintf(`<samlp:LogoutRequest xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_%s" Version="2.0" IssueInstant="%s" Destination="%s"><saml:Issuer>%s</saml:Issuer><saml:NameID>%s</saml:NameID>%s</samlp:LogoutRequest>`,
		hex.EncodeToString(id), i.opts.Now().UTC().Format(time.RFC3339), html.EscapeString(slo), html.EscapeString(i.EntityID()), html.EscapeString(nameID), session)
	var deflated bytes.Buffer
	w, err := flate.NewWriter(&deflated, flate.BestCompression)
	if err != nil {
		return "", err
	}
	if _, err := w.Write([]byte(message)); err != nil {
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	query := "SAMLRequest=" + url.QueryEscape(base64.StdEncoding.EncodeToString(deflated.Bytes())) + "&SigAlg=" + url.QueryEscape(dsig.RSASHA256SignatureMethod)
	key, _ := i.signer()
	sum := sha256.Sum256([]byte(query))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		return "", err
	}
	return slo + "?" + query + "&Signature=" + url.QueryEscape(base64.StdEncoding.EncodeToString(signature)), nil
}
