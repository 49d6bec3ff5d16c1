package saml_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"

	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/saml"
	"github.com/ssogate/ssogate/sso/ssotest"
)

// key is a KeyDescriptor of generated metadata.
type key struct {
	use  string
	cert *x509.Certificate
}

type descriptor struct {
	entityID, attributes, inner string
	keys                        []key
	sso                         string
}

func (d descriptor) xml() string {
	if d.entityID == "" {
		d.entityID = "https://idp.example.com/metadata"
	}
	if d.sso == "" {
		d.sso = `<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="https://idp.example.com/sso"/>`
	}
	var keys strings.Builder
	for _, k := range d.keys {
		use := ""
		if k.use != "" {
			use = ` use="` + k.use + `"`
		}
		fmt.Fprintf(&keys, `<md:KeyDescriptor%s><ds:KeyInfo><ds:X509Data><ds:X509Certificate>%s</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>`,
			use, base64.StdEncoding.EncodeToString(k.cert.Raw))
	}
	return `<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" xmlns:ds="http://www.w3.org/2000/09/xmldsig#" entityID="` + d.entityID + `" ` + d.attributes + `>` +
		`<md:IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol" ` + d.inner + `>` + keys.String() + d.sso + `</md:IDPSSODescriptor></md:EntityDescriptor>`
}

func withMetadata(xml string) func(*settings.Provider) {
	return func(p *settings.Provider) { p.SAML = settings.SAMLProvider{MetadataXML: []byte(xml)} }
}

// create makes a provider from settings alone.
func create(change ...func(*settings.Provider)) (*saml.Provider, error) {
	set := settings.Provider{ID: "okta", Protocol: settings.SAML, Active: true}
	for _, c := range change {
		c(&set)
	}
	k := testKeys()
	return saml.New(saml.Options{Provider: set, URL: gateway, Keys: []saml.KeyPair{{Key: k.sp, Cert: k.spCert}}})
}

func TestTrustAnchorS05(t *testing.T) {
	k := testKeys()
	signing := key{"signing", k.idpCert}
	for name, keys := range map[string][]key{
		"signing": {signing}, "without use": {{"", k.idpCert}}, "two, the second signs": {{"signing", k.other}, signing},
		"beside an encryption key": {{"encryption", k.other}, signing},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, withMetadata(descriptor{keys: keys}.xml()))
			l := f.login()
			f.accept(l, f.respond(l))
			// Row S25: several certificates and no hint which.
			f.accept(l, f.respond(l, func(d *ssotest.SAMLDraft) { forged(forgery{noKeyInfo: true})(f, d) }))
		})
	}
	f := newFixture(t, withMetadata(descriptor{keys: []key{{"encryption", k.idpCert}, {"signing", k.other}}}.xml()))
	l := f.login()
	f.refuse(l, f.respond(l), "a certificate that is for encryption only was believed", "signature")
	for name, change := range map[string]func(*settings.Provider){
		"encryption only":    withMetadata(descriptor{keys: []key{{"encryption", k.idpCert}}}.xml()),
		"no key":             withMetadata(descriptor{}.xml()),
		"manual without any": func(p *settings.Provider) { p.SAML.EntityID, p.SAML.SSOURL = "https://idp", "https://idp/sso" },
		"manual, empty PEM": func(p *settings.Provider) {
			p.SAML = settings.SAMLProvider{EntityID: "https://idp", SSOURL: "https://idp/sso", Certificates: []string{"x"}}
		},
	} {
		if p, err := create(change); p != nil || !errors.Is(err, saml.ErrNoCertificate) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMetadataThatIsRefused(t *testing.T) {
	k := testKeys()
	good := descriptor{keys: []key{{"signing", k.idpCert}}}
	if _, err := create(withMetadata(good.xml())); err != nil {
		t.Fatal(err)
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	weak, err := ssotest.SelfSigned(small, "weak", time.Now(), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)
	at := func(location string) descriptor {
		d := good
		d.sso = `<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="` + location + `"/>`
		return d
	}
	two := `<md:EntitiesDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata">` + good.xml() + strings.Replace(good.xml(), "idp.example.com/metadata", "other.example.com", 1) + `</md:EntitiesDescriptor>`
	for name, xml := range map[string]string{
		"nothing": "", "text": "metadata", "HTML": "<!DOCTYPE html><html></html>", "unclosed": "<a>",
		"SP metadata":          strings.ReplaceAll(good.xml(), "IDPSSODescriptor", "SPSSODescriptor"),
		"validUntil past":      descriptor{keys: good.keys, attributes: `validUntil="` + past + `"`}.xml(),
		"inner validUntil":     descriptor{keys: good.keys, inner: `validUntil="` + past + `"`}.xml(),
		"outer validUntil":     `<md:EntitiesDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" validUntil="` + past + `">` + good.xml() + `</md:EntitiesDescriptor>`,
		"two IdPs":             two,
		"no entityID":          strings.Replace(good.xml(), `entityID="https://idp.example.com/metadata"`, "", 1),
		"weak key":             descriptor{keys: []key{{"signing", weak}}}.xml(),
		"broken certificate":   strings.Replace(good.xml(), "<ds:X509Certificate>", "<ds:X509Certificate>AAAA", 1),
		"artifact only":        strings.ReplaceAll(good.xml(), "HTTP-Redirect", "HTTP-Artifact"),
		"script for a URL":     at("javascript:alert(1)").xml(),
		"relative URL":         at("/sso").xml(),
		"URL with a password":  at("https://a:b@idp.example.com/sso").xml(),
		"URL with a fragment":  at("https://idp.example.com/sso#x").xml(),
		"DTD":                  `<!DOCTYPE a [<!ENTITY b "c">]>` + good.xml(),
		"too large":            good.xml() + strings.Repeat(" ", 1<<20),
		"too deep":             strings.Repeat("<a>", 100),
		"too many signing":     descriptor{keys: manyKeys(t)}.xml(),
		"duplicate attribute":  strings.Replace(good.xml(), `entityID="`, `entityID="https://evil.example.com" entityID="`, 1),
		"entities in entities": `<md:EntitiesDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata">` + `<md:EntitiesDescriptor>` + good.xml() + `</md:EntitiesDescriptor></md:EntitiesDescriptor>`,
	} {
		if p, err := create(withMetadata(xml)); err == nil || p != nil {
			t.Errorf("%s: accepted", name)
		} else if !strings.HasPrefix(err.Error(), "saml: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, xml := range map[string]string{
		"byte order mark": "\xef\xbb\xbf" + good.xml(), "comments": "<!-- a --><?x y?>" + good.xml() + "<!-- b -->",
		"POST binding only":    strings.ReplaceAll(good.xml(), "HTTP-Redirect", "HTTP-POST"),
		"one IdP among others": `<md:EntitiesDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata">` + good.xml() + `</md:EntitiesDescriptor>`,
		"validUntil ahead":     descriptor{keys: good.keys, attributes: `validUntil="2099-01-01T00:00:00Z" cacheDuration="PT24H"`}.xml(),
	} {
		if _, err := create(withMetadata(xml)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func manyKeys(t testing.TB) (keys []key) {
	t.Helper()
	for i := range 9 {
		c, err := ssotest.SelfSigned(testKeys().idp, fmt.Sprint(i), time.Now(), time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key{"signing", c})
	}
	return keys
}

func TestOptionsThatAreRefused(t *testing.T) {
	k := testKeys()
	pair := saml.KeyPair{Key: k.sp, Cert: k.spCert}
	good := saml.Options{
		Provider: settings.Provider{ID: "okta", Protocol: settings.SAML, SAML: settings.SAMLProvider{MetadataXML: []byte(descriptor{keys: []key{{"", k.idpCert}}}.xml())}},
		URL:      gateway + "/", Keys: []saml.KeyPair{pair},
	}
	p, err := saml.New(good)
	if err != nil {
		t.Fatal(err)
	}
	if p.ACS() != gateway+"/saml/okta/acs" || p.EntityID() != gateway+"/saml/okta/metadata" {
		t.Errorf("ACS %q, entity id %q", p.ACS(), p.EntityID())
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*saml.Options){
		"no id": func(o *saml.Options) { o.Provider.ID = "" }, "id with a slash": func(o *saml.Options) { o.Provider.ID = "a/b" },
		"another protocol": func(o *saml.Options) { o.Provider.Protocol = settings.OIDC },
		"no URL":           func(o *saml.Options) { o.URL = "" }, "URL with a path": func(o *saml.Options) { o.URL += "x" },
		"URL with a query": func(o *saml.Options) { o.URL += "?x" }, "URL without host": func(o *saml.Options) { o.URL = "https://" },
		"no keys": func(o *saml.Options) { o.Keys = nil }, "too many keys": func(o *saml.Options) { o.Keys = []saml.KeyPair{pair, pair, pair, pair} },
		"no key": func(o *saml.Options) { o.Keys = []saml.KeyPair{pair, {Cert: k.spCert}} }, "no certificate": func(o *saml.Options) { o.Keys = []saml.KeyPair{{Key: k.sp}} },
		"certificate of another key":  func(o *saml.Options) { o.Keys = []saml.KeyPair{{Key: k.sp, Cert: k.other}} },
		"ECDSA key":                   func(o *saml.Options) { o.Keys = []saml.KeyPair{{Key: ec, Cert: k.spCert}} },
		"metadata URL without client": func(o *saml.Options) { o.Provider.SAML = settings.SAMLProvider{MetadataURL: "https://idp"} },
	} {
		o := good
		change(&o)
		if p, err := saml.New(o); err == nil || p != nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// metadataServer is an IdP's metadata endpoint that can be made to misbehave.
type metadataServer struct {
	*httptest.Server
	serve atomic.Pointer[http.HandlerFunc]
	calls atomic.Int64
}

func newMetadataServer(t testing.TB) *metadataServer {
	s := &metadataServer{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.calls.Add(1)
		(*s.serve.Load())(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *metadataServer) answer(status int, body string) {
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	})
	s.serve.Store(&h)
}

func TestMetadataRefreshKeepsTheLastGoodS31(t *testing.T) {
	k := testKeys()
	s := newMetadataServer(t)
	good := descriptor{keys: []key{{"signing", k.idpCert}}}
	s.answer(200, good.xml())
	f := newFixture(t)
	now := f.now
	p, err := saml.New(saml.Options{
		Provider: settings.Provider{ID: "okta", Protocol: settings.SAML, Active: true, SAML: settings.SAMLProvider{MetadataURL: s.URL, AutoAccept: true}},
		URL:      gateway, Keys: []saml.KeyPair{{Key: k.sp, Cert: k.spCert}}, HTTP: s.Client(), Now: func() time.Time { return now },
	})
	f.ok(err)
	f.p = p
	l := f.login()
	response := f.respond(l)
	f.accept(l, response)
	if h := p.Health(); h.Err != nil || h.EntityID != f.idp.EntityID() || h.CertExpiry.IsZero() || !h.MetadataRead.Equal(now) {
		t.Errorf("health %+v", h)
	}
	past := now.Add(-time.Minute).UTC().Format(time.RFC3339)
	for name, c := range map[string]struct {
		status int
		body   string
		want   error
	}{
		"zero certificates": {200, descriptor{}.xml(), saml.ErrNoCertificate},
		"encryption only":   {200, descriptor{keys: []key{{"encryption", k.idpCert}}}.xml(), saml.ErrNoCertificate},
		"entityID changed":  {200, descriptor{entityID: "https://evil.example.com", keys: good.keys}.xml(), saml.ErrEntityChanged},
		"validUntil past":   {200, descriptor{keys: good.keys, attributes: `validUntil="` + past + `"`}.xml(), saml.ErrMetadataExpired},
		"500":               {500, good.xml(), nil},
		"404":               {404, "", nil},
		"204":               {204, "", nil},
		"sign-in page":      {200, "<html><body>sign in</body></html>", nil},
		"too large":         {200, good.xml() + strings.Repeat(" ", 1<<20), nil},
	} {
		s.answer(c.status, c.body)
		err := p.Refresh(context.Background())
		if err == nil || (c.want != nil && !errors.Is(err, c.want)) {
			t.Errorf("%s: %v", name, err)
		}
		if p.Health().Err == nil {
			t.Errorf("%s: nobody is told", name)
		}
		f.accept(l, response)
	}
	// A rotation with auto_accept: the new certificate counts at once, the old one no longer.
	s.answer(200, descriptor{keys: []key{{"signing", k.other}}}.xml())
	f.ok(p.Refresh(context.Background()))
	f.refuse(l, response, "signed with a certificate that was withdrawn", "signature")
	f.ok(f.idp.RotateKey(k.stranger, k.other))
	f.accept(l, f.respond(l))
	if p.Health().Err != nil {
		t.Error("an old failure is still reported")
	}
}

func TestMetadataPastValidUntilRefusesSignInsS31(t *testing.T) {
	f := newFixture(t)
	until := f.now.Add(30 * time.Minute)
	p, err := saml.New(saml.Options{
		Provider: settings.Provider{ID: "okta", Protocol: settings.SAML, Active: true, SAML: settings.SAMLProvider{
			MetadataXML: []byte(descriptor{keys: []key{{"", f.k.idpCert}}, attributes: `validUntil="` + until.UTC().Format(time.RFC3339) + `"`}.xml()),
		}},
		URL: gateway, Keys: []saml.KeyPair{{Key: f.k.sp, Cert: f.k.spCert}}, Now: func() time.Time { return f.now },
	})
	f.ok(err)
	f.p = p
	l := f.login()
	response := f.respond(l, func(d *ssotest.SAMLDraft) {
		confirmation(d).NotOnOrAfter = f.now.Add(time.Hour)
		d.Assertion.Conditions.NotOnOrAfter = f.now.Add(time.Hour)
	})
	f.now = until.Add(-time.Second)
	f.accept(l, response)
	f.now = until
	f.refuse(l, response, "metadata past its validUntil", "metadata_expired")
	if _, err := p.Begin(context.Background(), l); !errors.Is(err, saml.ErrMetadataExpired) {
		t.Errorf("begin: %v", err)
	}
}

func TestExpiredCertificateIsRefused(t *testing.T) {
	f := newFixture(t)
	l := f.login()
	f.accept(l, f.respond(l))
	for name, life := range map[string][2]time.Duration{"expired": {-48 * time.Hour, -time.Hour}, "not yet valid": {time.Hour, 48 * time.Hour}} {
		c, err := ssotest.SelfSigned(f.k.idp, name, f.now.Add(life[0]), f.now.Add(life[1]))
		f.ok(err)
		f2 := newFixture(t, withMetadata(descriptor{keys: []key{{"", c}}}.xml()))
		l := f2.login()
		f2.refuse(l, f2.respond(l), name, "certificate_expired")
		// Beside good ones and without a hint which: the reason is still the expired one,
		// and it is not given for what another key signed.
		for _, keys := range [][]key{{{"", c}, {"", f.k.other}}, {{"", f.k.other}, {"", c}}} {
			f2 = newFixture(t, withMetadata(descriptor{keys: keys}.xml()))
			l = f2.login()
			f2.refuse(l, f2.respond(l, func(d *ssotest.SAMLDraft) { forged(forgery{noKeyInfo: true})(f2, d) }), name, "certificate_expired")
			f2.refuse(l, replace(t, f2.respond(l), ">alice<", ">mallory<"), "altered", "signature")
		}
	}
}

// TestIdPDownAtStart: the provider is made all the same, answers that it cannot
// tell (not that the person was refused), and recovers by itself.
func TestIdPDownAtStart(t *testing.T) {
	k := testKeys()
	s := newMetadataServer(t)
	s.answer(503, "")
	f := newFixture(t)
	p, err := saml.New(saml.Options{
		Provider: settings.Provider{ID: "okta", Protocol: settings.SAML, Active: true, SAML: settings.SAMLProvider{MetadataURL: s.URL}},
		URL:      gateway, Keys: []saml.KeyPair{{Key: k.sp, Cert: k.spCert}}, HTTP: s.Client(), Now: func() time.Time { return f.now },
	})
	f.ok(err)
	l := f.login()
	response := f.respond(l)
	f.p = p
	if p.Health().Err == nil {
		t.Error("nobody is told")
	}
	if _, err := p.Begin(context.Background(), l); !errors.Is(err, saml.ErrNoMetadata) {
		t.Errorf("begin: %v", err)
	}
	if _, err := f.present(l, response); !errors.Is(err, saml.ErrNoMetadata) || saml.Reason(err) != "" {
		t.Errorf("verify: %v: not being able to tell is no refusal", err)
	}
	// A crowd of browsers makes one fetch, not one each.
	calls := s.calls.Load()
	for range 50 {
		_, _ = p.Begin(context.Background(), l)
	}
	if n := s.calls.Load() - calls; n > 1 {
		t.Errorf("%d fetches", n)
	}
	s.answer(200, descriptor{keys: []key{{"", k.idpCert}}}.xml())
	f.now = f.now.Add(10 * time.Second)
	l = f.login()
	f.accept(l, f.respond(l))
}

func TestSlowMetadataHasADeadline(t *testing.T) {
	s := newMetadataServer(t)
	stop := make(chan struct{})
	hang := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-stop:
		}
	})
	s.answer(200, descriptor{keys: []key{{"", testKeys().idpCert}}}.xml())
	p, err := saml.New(saml.Options{
		Provider: settings.Provider{ID: "okta", Protocol: settings.SAML, Active: true, SAML: settings.SAMLProvider{MetadataURL: s.URL}},
		URL:      gateway, Keys: []saml.KeyPair{{Key: testKeys().sp, Cert: testKeys().spCert}}, HTTP: s.Client(),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.serve.Store(&hang)
	defer close(stop)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := p.Refresh(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("refresh: %v", err)
	}
	if _, err := p.Begin(context.Background(), sso.Login{ID: "x"}); err != nil {
		t.Errorf("the last good copy is gone: %v", err)
	}
}

func TestKeepFreshStopsWithItsContext(t *testing.T) {
	s := newMetadataServer(t)
	s.answer(200, descriptor{keys: []key{{"", testKeys().idpCert}}}.xml())
	p, err := saml.New(saml.Options{
		Provider: settings.Provider{ID: "okta", Protocol: settings.SAML, Active: true, SAML: settings.SAMLProvider{MetadataURL: s.URL}},
		URL:      gateway, Keys: []saml.KeyPair{{Key: testKeys().sp, Cert: testKeys().spCert}}, HTTP: s.Client(),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.answer(500, "")
	ctx, cancel := context.WithCancel(context.Background())
	failed, done := make(chan error, 16), make(chan struct{})
	go func() {
		defer close(done)
		p.KeepFresh(ctx, time.Millisecond, func(n saml.Notice) {
			if n.Kind != "metadata_failed" {
				return
			}
			select {
			case failed <- n.Err:
			default:
			}
		})
	}()
	if err := <-failed; err == nil {
		t.Error("a failure without an error")
	}
	cancel()
	<-done
}

// TestECDSASignatureInItsTwoForms: XML signature writes r and s side by side,
// goxmldsig writes ASN.1; IdPs follow the standard.
func TestECDSASignatureInItsTwoForms(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ec"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, ec.Public(), ec)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, withMetadata(descriptor{keys: []key{{"", cert}}}.xml()))
	l := f.login()
	for _, raw := range []bool{false, true} {
		response := f.respond(l, func(d *ssotest.SAMLDraft) {
			d.SignAssertion = false
			d.EditAssertion = func(el *etree.Element) {
				ctx, err := dsig.NewSigningContext(ec, [][]byte{der})
				f.ok(err)
				ctx.Canonicalizer = dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("")
				f.ok(ctx.SetSignatureMethod(dsig.ECDSASHA256SignatureMethod))
				sig, err := ctx.ConstructSignature(el, true)
				f.ok(err)
				if raw {
					value := find(t, sig, "./SignatureValue")
					value.SetText(rawECDSA(t, value.Text()))
				}
				el.InsertChildAt(1, sig)
			}
		})
		f.accept(l, response)
		f.refuse(l, replace(t, response, ">alice<", ">mallory<"), "altered", "signature")
	}
}

func TestNewKeyIsFitForUse(t *testing.T) {
	keyPEM, cert, err := saml.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	signer, parsed, err := saml.ParseKey(keyPEM, cert)
	if err != nil {
		t.Fatal(err)
	}
	if bits := signer.Public().(*rsa.PublicKey).N.BitLen(); bits != 2048 {
		t.Errorf("%d bits", bits)
	}
	if life := time.Until(parsed.NotAfter); life < 9*365*24*time.Hour {
		t.Errorf("lives %s", life)
	}
	for name, c := range map[string][2]string{
		"nothing": {"", ""}, "key for certificate": {string(keyPEM), string(keyPEM)}, "certificate for key": {string(cert), string(cert)},
		"no certificate": {string(keyPEM), ""}, "cut off": {string(keyPEM[:200]), string(cert)},
	} {
		if _, _, err := saml.ParseKey([]byte(c[0]), []byte(c[1])); err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), "MII") {
			t.Errorf("%s: the error quotes the key", name)
		}
	}
}
