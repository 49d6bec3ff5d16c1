package saml

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"encoding/xml"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/crewjam/saml"

	"github.com/ssogate/ssogate/settings"
)

// Limits of metadata.
const (
	maxMetadata = 1 << 20
	maxCerts    = 8
	maxEntityID = 1024 // metadata, section 2.3.2
	minRSABits  = 2048
)

// Errors of metadata, for pages and commands that explain them.
var (
	ErrNoCertificate   = errors.New("saml: the IdP's metadata has no signing certificate")
	ErrMetadataExpired = errors.New("saml: the IdP's metadata has expired (validUntil)")
	ErrEntityChanged   = errors.New("saml: the IdP's metadata is for another entityID")
	ErrNoMetadata      = errors.New("saml: the IdP's metadata could not be read yet")
)

// idp is the other side, as of one reading of its metadata. Immutable.
type idp struct {
	entityID string

	// Where messages of each binding go; nil where the IdP does not take them. At
	// least one of the first two is set. A logout response goes to its own address
	// if there is one (metadata, section 2.2.2), else to that of requests.
	ssoRedirect, ssoPost                 *url.URL
	sloRedirect, sloPost                 *url.URL
	sloRedirectResponse, sloPostResponse *url.URL

	certs      []*x509.Certificate
	validUntil time.Time     // zero = no limit
	cacheFor   time.Duration // cacheDuration; 0 = not said
	// transientOnly: the metadata offers no NameID that stays the same. A hint at
	// set-up; what counts is what comes.
	transientOnly bool
	read          time.Time
}

// parseMetadata reads IdP metadata (EntityDescriptor, or EntitiesDescriptor with
// exactly one IdP in it). Its signature is not verified: what makes metadata
// trustworthy is where the operator got it, by https or by hand.
//
// It refuses metadata without a certificate that may verify (row S05), past its
// validUntil (row S31), or without a single sign-on service that browsers can use.
func parseMetadata(raw []byte, now time.Time) (*idp, error) {
	if len(raw) > maxMetadata {
		return nil, fmt.Errorf("saml: metadata: more than %d bytes", maxMetadata)
	}
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf")) // ADFS files start with a byte order mark
	if err := scan(raw, metadataLimits); err != nil {
		return nil, fmt.Errorf("saml: metadata: %w", errors.Unwrap(err))
	}
	entity, validUntil, err := findIDP(raw)
	if err != nil {
		return nil, err
	}
	if entity.EntityID == "" || len(entity.EntityID) > maxEntityID {
		return nil, errors.New("saml: metadata: entityID is missing or too long")
	}
	d := entity.IDPSSODescriptors[0]
	for _, t := range []*time.Time{&entity.ValidUntil, d.ValidUntil} {
		if t != nil && !t.IsZero() && (validUntil.IsZero() || t.Before(validUntil)) {
			validUntil = *t
		}
	}
	if !validUntil.IsZero() && !now.Before(validUntil) {
		return nil, fmt.Errorf("%w: %s", ErrMetadataExpired, validUntil.UTC().Format(time.RFC3339))
	}
	certs, err := signingCertificates(d.KeyDescriptors)
	if err != nil {
		return nil, err
	}
	i := &idp{entityID: entity.EntityID, certs: certs, validUntil: validUntil, read: now}
	if i.cacheFor = max(entity.CacheDuration, d.CacheDuration, 0); entity.CacheDuration > 0 && d.CacheDuration > 0 {
		i.cacheFor = min(entity.CacheDuration, d.CacheDuration)
	}
	i.transientOnly = len(d.NameIDFormats) > 0 && !slices.ContainsFunc(d.NameIDFormats, func(f saml.NameIDFormat) bool { return f != formatTransient })
	if err := i.endpoints(d); err != nil {
		return nil, err
	}
	return i, nil
}

// endpoints takes the first address of each service and binding.
func (i *idp) endpoints(d saml.IDPSSODescriptor) error {
	take := func(into **url.URL, location string) (err error) {
		if *into == nil && location != "" {
			*into, err = browserURL(location)
		}
		return err
	}
	for _, s := range d.SingleSignOnServices {
		var err error
		switch s.Binding {
		case saml.HTTPRedirectBinding:
			err = take(&i.ssoRedirect, s.Location)
		case saml.HTTPPostBinding:
			err = take(&i.ssoPost, s.Location)
		}
		if err != nil {
			return err
		}
	}
	if i.ssoRedirect == nil && i.ssoPost == nil {
		return errors.New("saml: metadata: no SingleSignOnService with the HTTP-Redirect or the HTTP-POST binding")
	}
	for _, s := range d.SingleLogoutServices {
		response := s.ResponseLocation
		if response == "" {
			response = s.Location
		}
		var err error
		switch s.Binding {
		case saml.HTTPRedirectBinding:
			err = errors.Join(take(&i.sloRedirect, s.Location), take(&i.sloRedirectResponse, response))
		case saml.HTTPPostBinding:
			err = errors.Join(take(&i.sloPost, s.Location), take(&i.sloPostResponse, response))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// findIDP answers the one entity that has an IDPSSODescriptor, and the earliest
// validUntil of the descriptors around it.
func findIDP(raw []byte) (*saml.EntityDescriptor, time.Time, error) {
	root, err := parse(raw)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("saml: metadata: %w", errors.Unwrap(err))
	}
	var validUntil time.Time
	entities := saml.EntitiesDescriptor{}
	switch {
	case is(root, nsMetadata, "EntityDescriptor"):
		entities.EntityDescriptors = make([]saml.EntityDescriptor, 1)
		err = xml.Unmarshal(raw, &entities.EntityDescriptors[0])
	case is(root, nsMetadata, "EntitiesDescriptor"):
		err = xml.Unmarshal(raw, &entities)
		if entities.ValidUntil != nil {
			validUntil = *entities.ValidUntil
		}
	default:
		err = fmt.Errorf("root is %s, not EntityDescriptor", quote(root.FullTag()))
	}
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("saml: metadata: %w", err)
	}
	var found *saml.EntityDescriptor
	for i := range entities.EntityDescriptors {
		switch n := len(entities.EntityDescriptors[i].IDPSSODescriptors); {
		case n == 0:
		case n > 1 || found != nil:
			return nil, time.Time{}, errors.New("saml: metadata: more than one IdP; use metadata of a single one")
		default:
			found = &entities.EntityDescriptors[i]
		}
	}
	if found == nil {
		return nil, time.Time{}, errors.New("saml: metadata: no IDPSSODescriptor: is this the metadata of a service provider?")
	}
	return found, validUntil, nil
}

// signingCertificates takes those for signing and those for any use (row S05).
func signingCertificates(keys []saml.KeyDescriptor) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for _, k := range keys {
		if k.Use != "" && k.Use != "signing" {
			continue
		}
		for _, c := range k.KeyInfo.X509Data.X509Certificates {
			der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(c.Data), ""))
			if err != nil {
				return nil, fmt.Errorf("saml: metadata: certificate: %w", err)
			}
			if certs, err = addCertificate(certs, der); err != nil {
				return nil, err
			}
		}
	}
	if len(certs) == 0 {
		return nil, ErrNoCertificate
	}
	return certs, nil
}

func addCertificate(certs []*x509.Certificate, der []byte) ([]*x509.Certificate, error) {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("saml: certificate: %w", err)
	}
	if k, ok := c.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() < minRSABits {
		return nil, fmt.Errorf("saml: certificate %s: RSA key of %d bits, at least %d are needed", quote(c.Subject.String()), k.N.BitLen(), minRSABits)
	}
	for _, old := range certs {
		if old.Equal(c) {
			return certs, nil
		}
	}
	if len(certs) == maxCerts {
		return nil, fmt.Errorf("saml: more than %d signing certificates", maxCerts)
	}
	return append(certs, c), nil
}

// browserURL checks where browsers will be sent.
func browserURL(location string) (*url.URL, error) {
	u, err := url.Parse(location)
	if err != nil {
		return nil, fmt.Errorf("saml: endpoint: %w", err)
	}
	if (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil || u.Fragment != "" {
		return nil, fmt.Errorf("saml: endpoint %s is not a plain http(s) URL", quote(location))
	}
	return u, nil
}

// fromSettings builds the IdP side where no URL has to be fetched.
func fromSettings(s settings.SAMLProvider, now time.Time) (*idp, error) {
	if len(s.MetadataXML) > 0 {
		return parseMetadata(s.MetadataXML, now)
	}
	if s.EntityID == "" || len(s.EntityID) > maxEntityID {
		return nil, errors.New("saml: entity id is missing or too long")
	}
	i := &idp{entityID: s.EntityID, read: now}
	var err error
	if i.ssoRedirect, err = browserURL(s.SSOURL); err != nil {
		return nil, err
	}
	if s.Binding == settings.PostBinding { // one address was given: it is the one for the binding that was chosen
		i.ssoRedirect, i.ssoPost = nil, i.ssoRedirect
	}
	if s.SLOURL != "" {
		if i.sloRedirect, err = browserURL(s.SLOURL); err != nil {
			return nil, err
		}
		i.sloRedirectResponse = i.sloRedirect
	}
	var certs []*x509.Certificate
	for _, text := range s.Certificates {
		rest := []byte(text)
		for {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			if block.Type != "CERTIFICATE" {
				return nil, fmt.Errorf("saml: certificate: found a PEM block %s", quote(block.Type))
			}
			if certs, err = addCertificate(certs, block.Bytes); err != nil {
				return nil, err
			}
		}
	}
	if len(certs) == 0 {
		return nil, ErrNoCertificate
	}
	i.certs = certs
	return i, nil
}
