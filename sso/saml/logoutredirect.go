package saml

import (
	"bytes"
	"compress/flate"
	"crypto"
	"crypto/rand"
	_ "crypto/sha512" // SHA-384 and SHA-512
	"crypto/x509"
	"encoding/base64"
	"io"
	"net/url"
	"strings"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"

	"github.com/ssogate/ssogate/sso"
)

// maxRedirect bounds the query of the redirect binding, and what it inflates to.
const (
	maxRedirect = 32 << 10
	maxInflated = 128 << 10
)

// signedRedirect signs by the rules of bindings section 3.4.4.1: over exactly these
// three parameters, in this order, as they are escaped in the URL, whatever query
// the IdP's own URL has.
func (p *Provider) signedRedirect(to *url.URL, name string, message *etree.Element, relayState string) (string, error) {
	query, err := redirectQuery(name, message, relayState)
	if err != nil {
		return "", err
	}
	query += "&SigAlg=" + url.QueryEscape(dsig.RSASHA256SignatureMethod)
	h := crypto.SHA256.New()
	h.Write([]byte(query))
	signature, err := p.signer().Sign(rand.Reader, h.Sum(nil), crypto.SHA256)
	if err != nil {
		return "", err
	}
	return withQuery(to, query+"&Signature="+url.QueryEscape(base64.StdEncoding.EncodeToString(signature))), nil
}

// redirectQuery is the deflated message and, if there is one, the RelayState.
func redirectQuery(name string, message *etree.Element, relayState string) (string, error) {
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
	query := name + "=" + url.QueryEscape(base64.StdEncoding.EncodeToString(deflated.Bytes()))
	if relayState != "" {
		query += "&RelayState=" + url.QueryEscape(relayState)
	}
	return query, nil
}

func withQuery(to *url.URL, query string) string {
	u := *to
	if u.RawQuery != "" {
		query = u.RawQuery + "&" + query
	}
	u.RawQuery = query
	return u.String()
}

// postFields are those of the HTTP-POST binding (bindings, section 3.5.4).
func postFields(name string, message *etree.Element, relayState string) ([]sso.Field, error) {
	doc := etree.NewDocument()
	doc.SetRoot(message)
	doc.WriteSettings.CanonicalText, doc.WriteSettings.CanonicalAttrVal = true, true
	raw, err := doc.WriteToBytes()
	if err != nil {
		return nil, err
	}
	fields := []sso.Field{{Name: name, Value: base64.StdEncoding.EncodeToString(raw)}}
	if relayState != "" {
		fields = append(fields, sso.Field{Name: "RelayState", Value: relayState})
	}
	return fields, nil
}

// readRedirect reads the redirect binding (bindings, section 3.4.4.1). The signature
// covers the octets of the query as they arrived; taken apart and escaped anew they
// could be others, so the raw parameters are used and each may come once only.
func (v verifier) readRedirect(raw string) (*etree.Element, string, error) {
	if len(raw) > maxRedirect {
		return nil, "", refuse("body_too_large", "query of %d bytes", len(raw))
	}
	got := map[string]string{}
	for part := range strings.SplitSeq(raw, "&") {
		name, value, ok := strings.Cut(part, "=")
		switch name {
		case "SAMLRequest", "SAMLResponse", "RelayState", "SigAlg", "Signature":
		case "SAMLEncoding":
			return nil, "", refuse("encoding", "SAMLEncoding")
		default:
			// Also one of these names with an escape in it: another reader would see it.
			if plain, err := url.QueryUnescape(name); err != nil || plain != name || name == "SAMLart" {
				return nil, "", refuse("form", "parameter %s", quote(name))
			}
			continue
		}
		if _, twice := got[name]; twice || !ok {
			return nil, "", refuse("repeated_parameter", "%s", name)
		}
		got[name] = value
	}
	name, value := "SAMLRequest", got["SAMLRequest"]
	if value == "" {
		name, value = "SAMLResponse", got["SAMLResponse"]
	} else if got["SAMLResponse"] != "" {
		return nil, "", refuse("form", "both a request and a response")
	}
	signed := name + "=" + value
	relay, has := got["RelayState"]
	if has {
		signed += "&RelayState=" + relay
	}
	signed += "&SigAlg=" + got["SigAlg"]
	if err := v.detached(signed, got["SigAlg"], got["Signature"]); err != nil {
		return nil, "", err
	}
	root, err := readDeflated(value)
	if err != nil {
		return nil, "", err
	}
	if err := kind(root, name == "SAMLRequest"); err != nil {
		return nil, "", err
	}
	for _, c := range root.ChildElements() {
		if c.Tag == "Signature" { // the binding says it must not be there; which one would count?
			return nil, "", refuse("shape", "a signature inside a message that is signed outside")
		}
	}
	state, err := url.QueryUnescape(relay)
	if err != nil || len(state) > maxRelayState {
		return nil, "", refuse("relay_state", "RelayState")
	}
	return root, state, nil
}

func readDeflated(value string) (*etree.Element, error) {
	plain, err := url.QueryUnescape(value)
	if err != nil || plain == "" {
		return nil, refuse("form", "no message")
	}
	deflated, err := decodeMessage(plain)
	if err != nil {
		return nil, err
	}
	r := flate.NewReader(bytes.NewReader(deflated))
	raw, err := io.ReadAll(io.LimitReader(r, maxInflated+1))
	if err != nil {
		return nil, refuse("deflate", "%w", err)
	}
	if len(raw) > maxInflated {
		return nil, refuse("body_too_large", "message inflates to more than %d bytes", maxInflated)
	}
	return readLogout(raw)
}

func decodeMessage(s string) ([]byte, error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, refuse("base64", "%w", err)
	}
	return raw, nil
}

// detached verifies a signature over the octets of a query.
func (v verifier) detached(signed, sigAlg, signature string) error {
	if sigAlg == "" || signature == "" {
		return refuse("signature_missing", "%w", errNoSignature)
	}
	method, err := url.QueryUnescape(sigAlg)
	if err != nil {
		return refuse("algorithm", "%w", err)
	}
	if err := checkStrength(signatureStrength, method, v.allowSHA1); err != nil {
		return err
	}
	value, err := url.QueryUnescape(signature)
	if err != nil {
		return refuse("signature", "%w", err)
	}
	algorithm := x509Algorithm(method)
	last := refuse("trust", "the provider has no signing certificate")
	for _, cert := range v.certs {
		raw, err := base64.StdEncoding.DecodeString(signatureValue(value, cert))
		if err != nil {
			return refuse("base64", "Signature: %w", err)
		}
		if err := cert.CheckSignature(algorithm, []byte(signed), raw); err != nil {
			if Reason(last) != "certificate_expired" {
				last = refuse("signature", "%w", err)
			}
			continue
		}
		if v.now.Before(cert.NotBefore) || v.now.After(cert.NotAfter) {
			last = refuse("certificate_expired", "IdP certificate SHA-256 %s is out of date", fingerprint(cert.Raw))
			continue
		}
		return nil
	}
	return last
}

func x509Algorithm(method string) x509.SignatureAlgorithm {
	switch method {
	case dsig.RSASHA1SignatureMethod:
		return x509.SHA1WithRSA
	case dsig.RSASHA256SignatureMethod:
		return x509.SHA256WithRSA
	case dsig.RSASHA384SignatureMethod:
		return x509.SHA384WithRSA
	case dsig.RSASHA512SignatureMethod:
		return x509.SHA512WithRSA
	case dsig.ECDSASHA256SignatureMethod:
		return x509.ECDSAWithSHA256
	case dsig.ECDSASHA384SignatureMethod:
		return x509.ECDSAWithSHA384
	case dsig.ECDSASHA512SignatureMethod:
		return x509.ECDSAWithSHA512
	}
	return x509.UnknownSignatureAlgorithm
}
