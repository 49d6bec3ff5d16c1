package saml

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"math/big"
	"strings"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
)

// verifier checks signatures against the certificates of the IdP's metadata
// and nothing else. KeyInfo in the message is a hint at best (row S04).
type verifier struct {
	certs     []*x509.Certificate
	allowSHA1 bool
	now       time.Time
}

// verify is step 4. It returns the element as it was digested: parsed anew
// from the canonical bytes, without its signature. el is not modified.
func (v verifier) verify(el, sig *etree.Element) (*etree.Element, error) {
	if sig.Parent() != el {
		return nil, refuse("signature_place", "signature is not a direct child of what it signs")
	}
	if err := checkSignature(sig, attr(el, "ID"), v.allowSHA1); err != nil {
		return nil, err
	}
	last := refuse("trust", "the provider has no signing certificate")
	for _, cert := range v.candidates(sig) {
		verified, err := v.try(el, sig, cert)
		if err == nil {
			return verified, nil
		}
		// Fault 11: the certificate that did make it is the reason to read, not the
		// next one that did not.
		if Reason(last) != "certificate_expired" {
			last = err
		}
	}
	return nil, last
}

// candidates are the certificates worth trying: the one that KeyInfo names if
// the metadata has it, else all. This only saves work; an unknown certificate
// in KeyInfo changes nothing.
func (v verifier) candidates(sig *etree.Element) []*x509.Certificate {
	for _, el := range sig.FindElements("./KeyInfo/X509Data/X509Certificate") {
		der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(el.Text()), ""))
		if err != nil {
			continue
		}
		for _, c := range v.certs {
			if string(c.Raw) == string(der) {
				return []*x509.Certificate{c}
			}
		}
	}
	return v.certs
}

// try refuses a certificate outside of its time. Whether that is the reason is
// found out by verifying as of a time when it was good; only the refusal says so.
func (v verifier) try(el, sig *etree.Element, cert *x509.Certificate) (*etree.Element, error) {
	if !v.now.Before(cert.NotBefore) && !v.now.After(cert.NotAfter) {
		return v.check(el, sig, cert, v.now)
	}
	if _, err := v.check(el, sig, cert, cert.NotBefore); err != nil {
		return nil, err
	}
	return nil, refuse("certificate_expired", "IdP certificate SHA-256 %s is valid from %s to %s",
		fingerprint(cert.Raw), cert.NotBefore.UTC().Format(time.RFC3339), cert.NotAfter.UTC().Format(time.RFC3339))
}

func (v verifier) check(el, sig *etree.Element, cert *x509.Certificate, at time.Time) (*etree.Element, error) {
	detached := detach(el)
	own, ok := detached.Child[sig.Index()].(*etree.Element)
	if !ok {
		return nil, refuse("signature", "lost its place")
	}
	// Without KeyInfo goxmldsig verifies with the only root it has. Neither
	// KeyInfo nor SignatureValue is covered by a digest, so both may be changed.
	for _, c := range own.ChildElements() {
		switch c.Tag {
		case "KeyInfo":
			own.RemoveChild(c)
		case "SignatureValue":
			c.SetText(signatureValue(c.Text(), cert))
		}
	}
	ctx := dsig.NewDefaultValidationContext(&dsig.MemoryX509CertificateStore{Roots: []*x509.Certificate{cert}})
	ctx.Clock = dsig.NewFakeClockAt(at) // "fake" is goxmldsig's word for an injected clock
	verified, err := ctx.Validate(detached)
	if err != nil {
		return nil, refuse("signature", "%w", err)
	}
	if verified == nil || verified.Tag != el.Tag || attr(verified, "ID") != attr(el, "ID") {
		return nil, refuse("signature", "verified another element")
	}
	return verified, nil
}

// detach copies an element with the namespaces of its ancestors declared on it,
// so that it means the same alone. (goxmldsig's own NSDetatch stops at a
// thousand elements, which a person in many groups has.)
func detach(el *etree.Element) *etree.Element {
	c := el.Copy()
	declared := map[string]bool{}
	for e := el; e != nil; e = e.Parent() {
		for _, a := range e.Attr {
			if a.Space != "xmlns" && (a.Space != "" || a.Key != "xmlns") {
				continue
			}
			if key := a.FullKey(); !declared[key] {
				declared[key] = true
				c.CreateAttr(key, a.Value)
			}
		}
	}
	return c
}

// signatureValue turns an ECDSA value from XML signature's form (r and s side
// by side, RFC 9231 section 2.3.6) into the ASN.1 form that crypto/x509 reads.
// Every other value is returned without white space.
func signatureValue(value string, cert *x509.Certificate) string {
	value = strings.Join(strings.Fields(value), "")
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return value
	}
	raw, err := base64.StdEncoding.DecodeString(value)
	size := (key.Curve.Params().BitSize + 7) / 8
	if err != nil || len(raw) != 2*size {
		return value
	}
	der, err := asn1.Marshal(struct{ R, S *big.Int }{
		new(big.Int).SetBytes(raw[:size]), new(big.Int).SetBytes(raw[size:]),
	})
	if err != nil {
		return value
	}
	return base64.StdEncoding.EncodeToString(der)
}
