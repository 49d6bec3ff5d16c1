//go:build interop

package interop

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"io"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/internal/testserver"
)

// variant is what a flow wants of SimpleSAMLphp, on top of its defaults.
type variant map[string]any

const (
	persistent = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
	sha256     = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
)

// usual is an identity provider as somebody sets it up who has read our page: a
// stable NameID, and everything of single logout signed.
func usual(more ...variant) variant {
	v := variant{
		"NameIDFormat": []string{persistent},
		"authproc": map[string]any{"3": map[string]any{
			"class": "saml:AttributeNameID", "attribute": "uid", "Format": persistent,
		}},
		"sign.logout": true, "validate.logout": true, "validate.authnrequest": true,
	}
	for _, m := range more {
		maps.Copy(v, m)
	}
	return v
}

// newSAML is a gateway before SimpleSAMLphp, which was given our metadata.
func newSAML(t *testing.T) *site {
	t.Helper()
	wanted(t, "php", filepath.Join(simplesaml, "www"))
	s := prepare(t)
	key, cert := keyPair(t)
	s.write("cert/idp.pem", key)
	s.write("cert/idp.crt", cert)
	for _, dir := range []string{"log", "data", "tmp", "sessions"} {
		s.write(filepath.Join(dir, ".keep"), nil)
	}
	s.wants(usual())
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	gatewayPort := strings.TrimPrefix(s.gateway(), "http://localhost:")
	metadata := s.provider() + "/saml2/idp/metadata.php"
	s.running = testserver.Program(t, []string{
		"SIMPLESAMLPHP_CONFIG_DIR=" + filepath.Join(here, "simplesamlphp"),
		"SSOGATE_INTEROP=" + s.dir, "SSOGATE_INTEROP_URL=" + s.provider(),
		"SSOGATE_INTEROP_GATEWAY=" + s.gateway(), "SSOGATE_INTEROP_GATEWAY_PORT=" + gatewayPort,
	}, metadata, "php", "-S", strings.TrimPrefix(s.provider(), "http://"), "-t", filepath.Join(simplesaml, "www"))
	t.Cleanup(func() {
		if b, err := os.ReadFile(filepath.Join(s.dir, "log", "simplesamlphp.log")); err == nil && t.Failed() {
			t.Logf("SimpleSAMLphp:\n%s", b[max(0, len(b)-6000):])
		}
	})
	s.start(config.Provider{
		ID: samlID, Name: samlName, Protocol: config.ProtocolSAML, Join: config.JoinIDP, Binding: "redirect", MetadataURL: metadata, Groups: "teams",
		Attributes: config.Attributes{
			UserName: []string{"mail"}, Email: []string{"mail"}, GivenName: []string{"givenName"}, FamilyName: []string{"sn"},
			DisplayName: []string{"displayName"}, Groups: []string{"eduPersonAffiliation"},
		},
	})
	s.write("sp.xml", s.fetch(s.gateway()+"/saml/"+samlID+"/metadata"))
	return s
}

// wants changes SimpleSAMLphp for what follows: itself, and its entry for us.
func (s *site) wants(idp variant, entry ...variant) {
	s.t.Helper()
	s.writeJSON("variant.json", idp)
	all := variant{}
	for _, e := range entry {
		maps.Copy(all, e)
	}
	s.writeJSON("entry.json", all)
}

// begin leads a new browser to SimpleSAMLphp's form.
func (s *site) begin(t *testing.T) tab {
	t.Helper()
	b := newTab(t)
	b.visit(s.Facts.App + "/")
	b.press(samlName)
	b.until("SimpleSAMLphp", `location.origin === `+quote(s.provider())+` && document.querySelector("input[type=password]")`)
	return b
}

// signIn signs Cléo in through SimpleSAMLphp and checks what arrived of her.
func (s *site) signIn(t *testing.T) tab {
	t.Helper()
	b := s.begin(t)
	b.password("cleo", "cleo-opens-the-gate")
	b.arrive(s.Facts.App + "/")
	w := b.whoami()
	if w.UserName != "cleo@interop.example" || w.DisplayName != "Cléo Nørgaard" || w.Email != "cleo@interop.example" || w.Provider != samlID {
		t.Fatalf("signed in as %+v", w)
	}
	return b
}

// Our metadata says WantAssertionsSigned, which SimpleSAMLphp's parser turns into
// its own option: without it an entry signs as the identity provider was told.
var unwanted = variant{"saml20.sign.assertion": false}

func TestSimpleSAMLphp(t *testing.T) {
	site := newSAML(t)
	for _, flow := range []struct {
		name, why  string
		idp, entry variant
	}{
		{"as it comes", "Response and Assertion are signed", nil, nil},
		{"signed assertion only", "the Response is not signed", variant{"saml20.sign.response": false}, nil},
		{"signed response only", "the Assertion is not signed", nil, unwanted},
		{"SHA-512", "another digest", variant{"signature.algorithm": strings.ReplaceAll(sha256, "256", "512")}, nil},
		{"encrypted", "AES-128-CBC and RSA-OAEP, signed inside and outside", variant{"assertion.encryption": true}, nil},
		{"encrypted, signed outside only", "the signature is around the ciphertext", variant{"assertion.encryption": true}, unwanted},
		{"URI names of attributes", "the NameFormat is of no interest", variant{"attributes.NameFormat": "urn:oasis:names:tc:SAML:2.0:attrname-format:uri"}, nil},
	} {
		t.Run(flow.name, func(t *testing.T) {
			t.Log(flow.why)
			s := site.in(t)
			s.wants(usual(flow.idp), flow.entry)
			s.signIn(t)
		})
	}
	for _, flow := range []struct {
		name, why, reason string
		idp, entry        variant
	}{
		{"nothing signed", "anybody could have written it", "signature_missing", usual(variant{"saml20.sign.response": false}), unwanted},
		{
			"encrypted and not signed", "anybody can encrypt to us", "encryption_unsigned",
			usual(variant{"assertion.encryption": true, "saml20.sign.response": false}), unwanted,
		},
		{
			"encrypted, signed inside only", "CBC that can be altered on its way is an oracle", "encryption_unsigned",
			usual(variant{"assertion.encryption": true, "saml20.sign.response": false}), nil,
		},
		{"SHA-1", "collisions", "sha1", usual(variant{"signature.algorithm": "http://www.w3.org/2000/09/xmldsig#rsa-sha1"}), nil},
		{"encrypted NameID", "not supported, and said so", "encrypted_id", usual(variant{"nameid.encryption": true}), nil},
		{"its own default", "a transient NameID is another one at every sign-in", "name_id_transient", variant{}, nil},
	} {
		t.Run("refused: "+flow.name, func(t *testing.T) {
			s := site.in(t)
			s.wants(flow.idp, flow.entry)
			b := s.begin(t)
			b.password("cleo", "cleo-opens-the-gate")
			s.refused(b, flow.reason)
			b.visit(s.Facts.App + "/")
			if b.until("some page", `document.readyState === "complete"`); strings.HasPrefix(b.eval(`location.href`), s.Facts.App) {
				t.Errorf("signed in although %s", flow.why)
			}
		})
	}
	site.wants(usual())
	site.signIn(t) // the benign twin, after all that
}

// refused waits for the page of a refusal and for its reason in the log.
func (s *site) refused(b tab, reason string) {
	s.t.Helper()
	b.until("a page of refusal", `location.origin === `+quote(s.gateway())+` && location.pathname.endsWith("/acs") && document.body && document.body.innerText.includes("Reference")`)
	s.logged("sign-in refused", `"provider":"`+samlID+`"`, `"reason":"`+reason+`"`)
}

// IdP-initiated: what arrives unasked becomes a sign-in of ours at the same
// provider, which answers at once because it knows the browser.
func TestSimpleSAMLphpTileNeedsOneBounce(t *testing.T) {
	s := newSAML(t)
	b := newTab(t)
	b.visit(s.provider() + "/saml2/idp/SSOService.php?spentityid=" + url.QueryEscape(s.gateway()+"/saml/"+samlID+"/metadata"))
	b.password("ana", "ana-opens-the-gate")
	b.arrive(s.Facts.App + "/")
	if w := b.whoami(); w.UserName != "ana@interop.example" {
		t.Errorf("signed in as %+v", w)
	}
}

// A response that SimpleSAMLphp made for another application is not for us, even
// though it answers a request of ours and was sent to our ACS.
func TestSimpleSAMLphpAnswerForAnotherApplication(t *testing.T) {
	s := newSAML(t)
	// Not even the name's qualifier tells that it is another application's.
	s.wants(usual(variant{"validate.authnrequest": false, "authproc": map[string]any{"3": map[string]any{
		"class": "saml:AttributeNameID", "attribute": "uid", "Format": persistent, "SPNameQualifier": false,
	}}}))
	b := s.begin(t)
	b.visit(s.asElsewhere(s.lastRequest()))
	b.password("cleo", "cleo-opens-the-gate")
	s.refused(b, "audience")
}

// lastRequest is the address of the last AuthnRequest, from the log of PHP's server.
func (s *site) lastRequest() (target string) {
	s.t.Helper()
	const path = "/saml2/idp/SSOService.php?SAMLRequest="
	s.eventually("an AuthnRequest", func() bool {
		log, err := os.ReadFile(s.running.Log)
		if err != nil {
			s.t.Fatal(err)
		}
		at := bytes.LastIndex(log, []byte("GET "+path))
		if at < 0 {
			return false
		}
		line, _, whole := strings.Cut(string(log[at+len("GET "):]), "\n")
		target = s.provider() + line
		return whole
	})
	return target
}

// asElsewhere rewrites an AuthnRequest into one of another application with the
// same ID, RelayState and ACS, unsigned.
func (s *site) asElsewhere(target string) string {
	s.t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		s.t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(u.Query().Get("SAMLRequest"))
	if err != nil {
		s.t.Fatal(err)
	}
	xml, err := io.ReadAll(flate.NewReader(bytes.NewReader(raw)))
	if err != nil {
		s.t.Fatal(err)
	}
	own := s.gateway() + "/saml/" + samlID + "/metadata"
	if !bytes.Contains(xml, []byte(own)) {
		s.t.Fatalf("no issuer in %s", xml)
	}
	xml = bytes.ReplaceAll(xml, []byte(own), []byte("https://elsewhere.example/metadata"))
	var packed bytes.Buffer
	w, _ := flate.NewWriter(&packed, flate.DefaultCompression)
	if _, err := w.Write(xml); err != nil || w.Close() != nil {
		s.t.Fatal(err)
	}
	q := url.Values{"SAMLRequest": {base64.StdEncoding.EncodeToString(packed.Bytes())}, "RelayState": {u.Query().Get("RelayState")}}
	return s.provider() + u.Path + "?" + q.Encode()
}

// Another account: ForceAuthn, and AuthnInstant says that it was done.
func TestSimpleSAMLphpAnotherAccount(t *testing.T) {
	s := newSAML(t)
	b := s.signIn(t)
	b.visit(s.gateway() + "/login?force=1")
	b.press(samlName)
	b.password("ana", "ana-opens-the-gate")
	b.arrive(s.Facts.App + "/")
	if w := b.whoami(); w.UserName != "ana@interop.example" {
		t.Errorf("signed in as %+v", w)
	}
}

// Signed out at the application, the browser is signed out at SimpleSAMLphp too.
func TestSimpleSAMLphpLogoutThatBeginsHere(t *testing.T) {
	s := newSAML(t)
	b := s.signIn(t)
	b.visit(s.Facts.App + "/.sso/logout")
	b.press("Sign out")
	b.reads(s.gateway(), samlName+" has signed you out too")
	b.signedOut(s.Facts.App)
	b.press(samlName)
	b.until("SimpleSAMLphp asks for the password again", `location.origin === `+quote(s.provider())+` && document.querySelector("input[type=password]")`)
}

// Signed out at SimpleSAMLphp, the browser is signed out of the application. Another
// browser of the same person has another SessionIndex, and stays.
func TestSimpleSAMLphpLogoutThatBeginsThere(t *testing.T) {
	s := newSAML(t)
	away := s.provider() + "/saml2/idp/initSLO.php?RelayState=" + url.QueryEscape(s.gateway()+"/login")
	b, other := s.signIn(t), s.signIn(t)
	b.visit(away)
	b.arrive(s.gateway() + "/login")
	b.signedOut(s.Facts.App)
	if w := other.whoami(); w.Provider != samlID {
		t.Errorf("the other browser is %+v", w)
	}
}

// SimpleSAMLphp signs logout messages only if told to. An unsigned one ends nothing.
func TestSimpleSAMLphpLogoutUnsigned(t *testing.T) {
	s := newSAML(t)
	b := s.signIn(t)
	s.wants(usual(variant{"sign.logout": false}))
	b.visit(s.provider() + "/saml2/idp/initSLO.php?RelayState=" + url.QueryEscape(s.gateway()+"/login"))
	b.reads(s.gateway(), "was not accepted as a sign-out")
	s.logged(`"provider":"`+samlID+`"`, `"reason":"signature_missing"`)
	b.visit(s.Facts.App + "/")
	b.arrive(s.Facts.App + "/")
	if w := b.whoami(); w.Provider != samlID {
		t.Errorf("the browser is %+v", w)
	}
}

// Metadata may be signed, which we need not check over a connection of our own
// choosing; what matters is that it is read. A second certificate is a rollover:
// SimpleSAMLphp publishes the next one before it signs with it.
func TestSimpleSAMLphpNextCertificate(t *testing.T) {
	s := newSAML(t)
	next, cert := keyPair(t)
	s.write("cert/next.pem", next)
	s.write("cert/next.crt", cert)
	s.wants(usual(variant{"new_privatekey": "next.pem", "new_certificate": "next.crt", "metadata.sign.enable": true, "metadata.sign.privatekey": "idp.pem", "metadata.sign.certificate": "idp.crt"}))
	s.signIn(t)
	// Without the operator's word a certificate that was not there before is not used.
	s.wants(usual(variant{"privatekey": "next.pem", "certificate": "next.crt"}))
	b := s.begin(t)
	b.password("cleo", "cleo-opens-the-gate")
	s.refused(b, "signature")
	s.wants(usual())
	s.signIn(t)
}
