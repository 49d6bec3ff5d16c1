package saml

import (
	"strings"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
)

// Digest algorithms (RFC 9231 and XML encryption; the names differ by history).
const (
	digestSHA1   = "http://www.w3.org/2000/09/xmldsig#sha1"
	digestSHA256 = "http://www.w3.org/2001/04/xmlenc#sha256"
	digestSHA384 = "http://www.w3.org/2001/04/xmldsig-more#sha384"
	digestSHA512 = "http://www.w3.org/2001/04/xmlenc#sha512"

	transformEnveloped = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
)

// strength of an algorithm. The zero value is refused.
type strength int

const (
	unknown strength = iota
	weak             // SHA-1: only where the operator opted in (row S06)
	strong
)

// signatureStrength is an allow-list. HMAC is not on it: an attacker would key
// it with the public certificate.
func signatureStrength(method string) strength {
	switch method {
	case dsig.RSASHA256SignatureMethod, dsig.RSASHA384SignatureMethod, dsig.RSASHA512SignatureMethod,
		dsig.ECDSASHA256SignatureMethod, dsig.ECDSASHA384SignatureMethod, dsig.ECDSASHA512SignatureMethod:
		return strong
	case dsig.RSASHA1SignatureMethod:
		return weak
	}
	return unknown
}

func digestStrength(method string) strength {
	switch method {
	case digestSHA256, digestSHA384, digestSHA512:
		return strong
	case digestSHA1:
		return weak
	}
	return unknown
}

func isExclusiveC14N(method string) bool {
	// With and without comments are the same here: step 2 refused comments.
	return method == string(dsig.CanonicalXML10ExclusiveAlgorithmId) ||
		method == string(dsig.CanonicalXML10ExclusiveWithCommentsAlgorithmId)
}

// checkSignature holds a ds:Signature to the profile of SAML core section 5.4:
// enveloped, exclusive canonicalisation, exactly one reference, and that one to
// the ID of the very element that will be consumed. goxmldsig would take the
// first reference that fits and accept more transforms. Nothing is verified yet.
func checkSignature(sig *etree.Element, id string, allowSHA1 bool) error {
	parts, err := children(sig,
		slot{nsDSig, "SignedInfo", 1, 1, false},
		slot{nsDSig, "SignatureValue", 1, 1, false},
		slot{nsDSig, "KeyInfo", 0, 1, false})
	if err != nil {
		return err
	}
	value, err := text(parts.one(1))
	if err != nil {
		return err
	}
	if strings.TrimSpace(value) == "" {
		return refuse("signature_empty", "empty SignatureValue")
	}
	info, err := children(parts.one(0),
		slot{nsDSig, "CanonicalizationMethod", 1, 1, false},
		slot{nsDSig, "SignatureMethod", 1, 1, false},
		slot{nsDSig, "Reference", 1, 2, false}) // the second gets a reason of its own
	if err != nil {
		return err
	}
	if c14n := attr(info.one(0), "Algorithm"); !isExclusiveC14N(c14n) || len(info.one(0).ChildElements()) != 0 {
		return refuse("algorithm", "canonicalization %s", quote(c14n))
	}
	if err := checkStrength(signatureStrength, attr(info.one(1), "Algorithm"), allowSHA1); err != nil {
		return err
	}
	if len(info[2]) != 1 {
		return refuse("references", "%d references", len(info[2]))
	}
	return checkReference(info.one(2), id, allowSHA1)
}

func checkStrength(of func(string) strength, method string, allowSHA1 bool) error {
	switch s := of(method); {
	case s == strong, s == weak && allowSHA1:
		return nil
	case s == weak:
		return refuse("sha1", "%s (allow it for this provider only while an old IdP is being replaced)", quote(method))
	}
	return refuse("algorithm", "%s", quote(method))
}

func checkReference(ref *etree.Element, id string, allowSHA1 bool) error {
	// Row S07: URI="" means the whole document, whichever element is consumed.
	if uri := attr(ref, "URI"); id == "" || uri != "#"+id {
		return refuse("references", "reference to %s, not to the signed element %s", quote(uri), quote(id))
	}
	parts, err := children(ref,
		slot{nsDSig, "Transforms", 1, 1, false},
		slot{nsDSig, "DigestMethod", 1, 1, false},
		slot{nsDSig, "DigestValue", 1, 1, false})
	if err != nil {
		return err
	}
	transforms, err := children(parts.one(0), slot{nsDSig, "Transform", 1, 8, false})
	if err != nil {
		return err
	}
	// Exactly these two, in this order: XPath and XSLT transforms choose what
	// is digested, inclusive canonicalisation drags in the surroundings.
	if len(transforms[0]) != 2 || attr(transforms[0][0], "Algorithm") != transformEnveloped ||
		!isExclusiveC14N(attr(transforms[0][1], "Algorithm")) || len(transforms[0][0].ChildElements()) != 0 {
		return refuse("transforms", "transforms other than enveloped-signature and exclusive canonicalization")
	}
	prefixes, err := children(transforms[0][1], slot{nsExcC14N, "InclusiveNamespaces", 0, 1, false})
	if err != nil {
		return err
	}
	if p := prefixes.one(0); p != nil && len(attr(p, "PrefixList")) > 1024 {
		return refuse("transforms", "prefix list too long")
	}
	return checkStrength(digestStrength, attr(parts.one(1), "Algorithm"), allowSHA1)
}
