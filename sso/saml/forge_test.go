package saml_test

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1"
	_ "crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"math/big"
	"testing"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
)

const (
	nsDSig    = "http://www.w3.org/2000/09/xmldsig#"
	excC14    = "http://www.w3.org/2001/10/xml-exc-c14n#"
	sha1ID    = "http://www.w3.org/2000/09/xmldsig#sha1"
	digest256 = "http://www.w3.org/2001/04/xmlenc#sha256"
)

// forgery is a signature made by hand with the IdP's real key: everything the
// libraries would not produce.
type forgery struct {
	method     string   // SignatureMethod
	digest     string   // DigestMethod
	c14n       string   // CanonicalizationMethod, default exclusive
	uri        *string  // default "#"+ID
	references int      // default 1
	transforms []string // default enveloped, exclusive
	hmacKey    []byte   // sign with HMAC-SHA256 under this key instead
	noKeyInfo  bool
}

// sign puts the forged signature behind the Issuer of el.
func (g forgery) sign(t testing.TB, el *etree.Element, key *rsa.PrivateKey, cert []byte) {
	t.Helper()
	if g.method == "" {
		g.method = dsig.RSASHA256SignatureMethod
	}
	if g.digest == "" {
		g.digest = digest256
	}
	if g.c14n == "" {
		g.c14n = excC14
	}
	if g.transforms == nil {
		g.transforms = []string{"http://www.w3.org/2000/09/xmldsig#enveloped-signature", excC14}
	}
	uri := "#" + el.SelectAttrValue("ID", "")
	if g.uri != nil {
		uri = *g.uri
	}
	sig := etree.NewElement("ds:Signature")
	sig.CreateAttr("xmlns:ds", nsDSig)
	info := sig.CreateElement("ds:SignedInfo")
	info.CreateElement("ds:CanonicalizationMethod").CreateAttr("Algorithm", g.c14n)
	info.CreateElement("ds:SignatureMethod").CreateAttr("Algorithm", g.method)
	digest := base64.StdEncoding.EncodeToString(hashOf(g.digest, canonical(t, el)))
	for range max(g.references, 1) {
		ref := info.CreateElement("ds:Reference")
		ref.CreateAttr("URI", uri)
		ts := ref.CreateElement("ds:Transforms")
		for _, a := range g.transforms {
			ts.CreateElement("ds:Transform").CreateAttr("Algorithm", a)
		}
		ref.CreateElement("ds:DigestMethod").CreateAttr("Algorithm", g.digest)
		ref.CreateElement("ds:DigestValue").SetText(digest)
	}
	value := sig.CreateElement("ds:SignatureValue")
	if !g.noKeyInfo {
		sig.CreateElement("ds:KeyInfo").CreateElement("ds:X509Data").CreateElement("ds:X509Certificate").
			SetText(base64.StdEncoding.EncodeToString(cert))
	}
	// SignedInfo is canonicalised where it will stand, under the Signature.
	alone := info.Copy()
	alone.CreateAttr("xmlns:ds", nsDSig)
	value.SetText(base64.StdEncoding.EncodeToString(g.value(t, canonical(t, alone), key)))
	at := 0
	for _, c := range el.ChildElements() {
		if c.Tag == "Issuer" {
			at = c.Index() + 1
		}
	}
	el.InsertChildAt(at, sig)
}

func (g forgery) value(t testing.TB, signed []byte, key *rsa.PrivateKey) []byte {
	t.Helper()
	if g.hmacKey != nil {
		m := hmac.New(crypto.SHA256.New, g.hmacKey)
		m.Write(signed)
		return m.Sum(nil)
	}
	hash := crypto.SHA256
	if g.method == dsig.RSASHA1SignatureMethod {
		hash = crypto.SHA1
	}
	h := hash.New()
	h.Write(signed)
	sum := h.Sum(nil)
	out, err := rsa.SignPKCS1v15(rand.Reader, key, hash, sum)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func canonical(t testing.TB, el *etree.Element) []byte {
	t.Helper()
	out, err := dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("").Canonicalize(el.Copy())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func hashOf(id string, data []byte) []byte {
	hash := crypto.SHA256
	if id == sha1ID {
		hash = crypto.SHA1
	}
	h := hash.New()
	h.Write(data)
	return h.Sum(nil)
}

// rawECDSA turns an ASN.1 signature into the form of XML signature.
func rawECDSA(t testing.TB, value string) string {
	t.Helper()
	der, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		t.Fatal(err)
	}
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &rs); err != nil {
		t.Fatal(err)
	}
	out := make([]byte, 64)
	rs.R.FillBytes(out[:32])
	rs.S.FillBytes(out[32:])
	return base64.StdEncoding.EncodeToString(out)
}
