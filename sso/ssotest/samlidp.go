package ssotest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"encoding/xml"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/beevik/etree"
	"github.com/crewjam/saml"

	"github.com/ssogate/ssogate/internal/clock"
)

// Lifetimes and budgets of the IdP.
const (
	samlTicketLifetime  = time.Hour // how long somebody may sit before the sign-in form
	samlSessionLifetime = 8 * time.Hour
	samlMaxRecords      = 10_000
	samlMaxBody         = 256 << 10
)

// SAMLOptions describe an identity provider. BaseURL is required.
type SAMLOptions struct {
	// BaseURL is the origin the handler is reached at, without a trailing slash.
	// With https the session cookie is Secure.
	BaseURL string
	People  []Person
	Key     *rsa.PrivateKey // with Cert; nil = a fresh RSA-2048 key
	Cert    *x509.Certificate
	Now     clock.Func       // nil = time.Now
	Draft   func(*SAMLDraft) // changes every response before it is signed
}

// SAMLIdP is a SAML 2.0 identity provider in process: real signatures, a
// sign-in form and a session of its own. It is an http.Handler, safe for
// concurrent use. The response goes out as a page that posts itself to the ACS,
// with a button for browsers without script, under a Content-Security-Policy
// whose form-action names only that ACS, as strict IdPs have it.
//
//	GET       /metadata
//	GET, POST /sso       AuthnRequest by redirect or form
//	POST      /sign-in   user and password
//	GET, POST /logout
//	GET       /tile      ?user= &sp= &relay_state=: an unsolicited response
//	GET       /          who is signed in here
type SAMLIdP struct {
	opts SAMLOptions
	base *url.URL
	mux  *http.ServeMux
	page *samlPages

	mu       sync.Mutex
	key      *rsa.PrivateKey
	cert     *x509.Certificate
	sps      []samlSP // a slice: the first one is the tile's default
	tickets  map[string]samlTicket
	sessions map[string]samlSession
}

// samlSP is a service provider that may be answered.
type samlSP struct {
	entityID, acs string
	cert          *x509.Certificate // nil: its requests need not be signed
}

// samlTicket is an AuthnRequest that waits for a person to sign in.
type samlTicket struct {
	request samlRequest
	expires time.Time
}

type samlSession struct {
	person  Person
	index   string // SessionIndex: never the cookie's value
	at      time.Time
	expires time.Time
}

// NewSAMLIdP checks the options and makes the provider. Nobody is answered
// until a service provider was registered.
func NewSAMLIdP(o SAMLOptions) (*SAMLIdP, error) {
	u, err := url.Parse(o.BaseURL)
	if err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("ssotest: base URL %q: want scheme://host without a path", o.BaseURL)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	i := &SAMLIdP{opts: o, base: u, tickets: make(map[string]samlTicket), sessions: make(map[string]samlSession)}
	if i.page, err = newSAMLPages(); err != nil {
		return nil, err
	}
	key, cert := o.Key, o.Cert
	if key == nil {
		if key, cert, err = NewSAMLKey("ssotest SAML IdP"); err != nil {
			return nil, err
		}
	}
	if err := i.RotateKey(key, cert); err != nil {
		return nil, err
	}
	i.mux = i.routes()
	return i, nil
}

// NewSAMLKey makes an RSA-2048 key and a self-signed certificate for it.
func NewSAMLKey(name string) (*rsa.PrivateKey, *x509.Certificate, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, nil, fmt.Errorf("ssotest: key: %w", err)
	}
	cert, err := SelfSigned(key, name, time.Now().Add(-24*time.Hour), time.Now().Add(10*365*24*time.Hour))
	return key, cert, err
}

// SelfSigned makes a certificate with the given life.
func SelfSigned(key *rsa.PrivateKey, name string, from, until time.Time) (*x509.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: from, NotAfter: until, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("ssotest: certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// RotateKey makes key the signing key, and the only published one.
func (i *SAMLIdP) RotateKey(key *rsa.PrivateKey, cert *x509.Certificate) error {
	if key == nil || cert == nil || !key.PublicKey.Equal(cert.PublicKey) {
		return errors.New("ssotest: key and certificate do not belong together")
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.key, i.cert = key, cert
	return nil
}

// EntityID is the IdP's entityID, which is also its metadata URL.
func (i *SAMLIdP) EntityID() string { return i.opts.BaseURL + "/metadata" }

// SSOURL is the single sign-on service.
func (i *SAMLIdP) SSOURL() string { return i.opts.BaseURL + "/sso" }

// Certificate is the signing certificate as PEM.
func (i *SAMLIdP) Certificate() []byte {
	_, cert := i.signer()
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

func (i *SAMLIdP) signer() (*rsa.PrivateKey, *x509.Certificate) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.key, i.cert
}

// Register lets a service provider be answered at this ACS and nowhere else.
// With a certificate its AuthnRequests must be signed, and assertions can be
// encrypted to it. An entityID registered before is replaced.
func (i *SAMLIdP) Register(entityID, acs string, certPEM []byte) error {
	sp := samlSP{entityID: entityID, acs: acs}
	if len(certPEM) > 0 {
		block, _ := pem.Decode(certPEM)
		if block == nil {
			return errors.New("ssotest: register: certificate is not PEM")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("ssotest: register: %w", err)
		}
		sp.cert = cert
	}
	return i.register(sp)
}

// RegisterMetadata registers a service provider from its metadata document.
func (i *SAMLIdP) RegisterMetadata(raw []byte) error {
	var entity saml.EntityDescriptor
	if err := xml.Unmarshal(raw, &entity); err != nil {
		return fmt.Errorf("ssotest: register: %w", err)
	}
	sp := samlSP{entityID: entity.EntityID}
	for _, d := range entity.SPSSODescriptors {
		for _, acs := range d.AssertionConsumerServices {
			if sp.acs == "" && acs.Binding == saml.HTTPPostBinding {
				sp.acs = acs.Location
			}
		}
		for _, k := range d.KeyDescriptors {
			if sp.cert != nil || k.Use == "encryption" || len(k.KeyInfo.X509Data.X509Certificates) == 0 {
				continue
			}
			der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(k.KeyInfo.X509Data.X509Certificates[0].Data), ""))
			if err != nil {
				return fmt.Errorf("ssotest: register: %w", err)
			}
			if sp.cert, err = x509.ParseCertificate(der); err != nil {
				return fmt.Errorf("ssotest: register: %w", err)
			}
		}
	}
	return i.register(sp)
}

func (i *SAMLIdP) register(sp samlSP) error {
	if sp.entityID == "" || sp.acs == "" {
		return errors.New("ssotest: register: entityID and ACS are needed")
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.sps = slices.DeleteFunc(i.sps, func(old samlSP) bool { return old.entityID == sp.entityID })
	i.sps = append(i.sps, sp)
	return nil
}

// sp finds a service provider; "" is the first one.
func (i *SAMLIdP) sp(entityID string) (samlSP, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, sp := range i.sps {
		if sp.entityID == entityID || entityID == "" {
			return sp, true
		}
	}
	return samlSP{}, false
}

// Metadata is the IdP's metadata document.
func (i *SAMLIdP) Metadata() ([]byte, error) {
	_, cert := i.signer()
	doc := etree.NewDocument()
	entity := doc.CreateElement("md:EntityDescriptor")
	entity.CreateAttr("xmlns:md", "urn:oasis:names:tc:SAML:2.0:metadata")
	entity.CreateAttr("xmlns:ds", "http://www.w3.org/2000/09/xmldsig#")
	entity.CreateAttr("entityID", i.EntityID())
	idp := entity.CreateElement("md:IDPSSODescriptor")
	idp.CreateAttr("WantAuthnRequestsSigned", "true")
	idp.CreateAttr("protocolSupportEnumeration", "urn:oasis:names:tc:SAML:2.0:protocol")
	key := idp.CreateElement("md:KeyDescriptor")
	key.CreateAttr("use", "signing")
	key.CreateElement("ds:KeyInfo").CreateElement("ds:X509Data").CreateElement("ds:X509Certificate").
		SetText(base64.StdEncoding.EncodeToString(cert.Raw))
	idp.CreateElement("md:NameIDFormat").SetText(string(saml.UnspecifiedNameIDFormat))
	for _, binding := range []string{saml.HTTPRedirectBinding, saml.HTTPPostBinding} {
		s := idp.CreateElement("md:SingleSignOnService")
		s.CreateAttr("Binding", binding)
		s.CreateAttr("Location", i.SSOURL())
	}
	doc.Indent(2)
	return doc.WriteToBytes()
}
