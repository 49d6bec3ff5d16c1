package saml

import (
	"encoding/base64"
	"net/http"
	"strconv"

	"github.com/beevik/etree"
	"github.com/crewjam/saml"
)

// Metadata is our SP metadata as an IdP imports it: entityID, ACS, single logout,
// every certificate for signing, and the same for encryption with the algorithms
// that are accepted. It has no validUntil: IdPs that import it once would refuse us
// the day after.
func (p *Provider) Metadata() ([]byte, error) {
	doc := etree.NewDocument()
	doc.CreateProcInst("xml", `version="1.0" encoding="UTF-8"`)
	entity := doc.CreateElement("md:EntityDescriptor")
	entity.CreateAttr("xmlns:md", nsMetadata)
	entity.CreateAttr("xmlns:ds", nsDSig)
	entity.CreateAttr("entityID", p.entityID)
	sp := entity.CreateElement("md:SPSSODescriptor")
	sp.CreateAttr("AuthnRequestsSigned", strconv.FormatBool(!p.settings.SAML.UnsignedRequests))
	sp.CreateAttr("WantAssertionsSigned", "true")
	sp.CreateAttr("protocolSupportEnumeration", nsProtocol)
	for _, k := range p.keyPairs() {
		keyDescriptor(sp, k, "signing")
	}
	for _, k := range p.keyPairs() {
		keyDescriptor(sp, k, "encryption")
	}
	for _, binding := range []string{saml.HTTPRedirectBinding, saml.HTTPPostBinding} {
		slo := sp.CreateElement("md:SingleLogoutService") // before NameIDFormat and ACS: the schema is a sequence
		slo.CreateAttr("Binding", binding)
		slo.CreateAttr("Location", p.slo)
	}
	acs := sp.CreateElement("md:AssertionConsumerService")
	acs.CreateAttr("Binding", saml.HTTPPostBinding)
	acs.CreateAttr("Location", p.acs)
	acs.CreateAttr("index", "0")
	acs.CreateAttr("isDefault", "true")
	doc.Indent(2)
	return doc.WriteToBytes()
}

func keyDescriptor(sp *etree.Element, k KeyPair, use string) {
	key := sp.CreateElement("md:KeyDescriptor")
	key.CreateAttr("use", use)
	key.CreateElement("ds:KeyInfo").CreateElement("ds:X509Data").CreateElement("ds:X509Certificate").
		SetText(base64.StdEncoding.EncodeToString(k.Cert.Raw))
	if use != "encryption" {
		return
	}
	// CBC is left out although step 5 can open it: an IdP that can choose
	// should choose what nobody can alter.
	for _, algorithm := range []string{encAES256GCM, encAES128GCM, encOAEP} {
		key.CreateElement("md:EncryptionMethod").CreateAttr("Algorithm", algorithm)
	}
}

// ServeMetadata answers GET {url}/saml/{provider}/metadata. It is public: it
// holds nothing but URLs and a certificate.
func (p *Provider) ServeMetadata(w http.ResponseWriter, _ *http.Request) {
	raw, err := p.Metadata()
	if err != nil {
		http.Error(w, "metadata could not be written", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/samlmetadata+xml")
	h.Set("Content-Disposition", `inline; filename="ssogate-`+p.settings.ID+`.xml"`)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-cache")
	_, _ = w.Write(raw) // a client that went away is nobody's fault
}
