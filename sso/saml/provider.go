package saml

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso"
)

// KeyPair is one SP key: RSA of at least 2048 bits, and its certificate.
type KeyPair struct {
	Key  crypto.Signer
	Cert *x509.Certificate
}

// Options make a Provider. All but HTTP (needed for a metadata URL only) and
// Now are required.
type Options struct {
	Provider settings.Provider
	URL      string // gateway origin, e.g. https://sso.example.com
	// Keys are at least one and at most [MaxKeys]. The first signs what we send.
	// All of them open encrypted assertions and all are published in the SP
	// metadata, so that a key can be replaced while an IdP still uses the other.
	Keys []KeyPair
	HTTP *http.Client // SSRF-safe client that fetches metadata
	// Store keeps the last good copy of fetched metadata, and what waits for
	// approval; nil keeps both in memory only.
	Store Store
	Now   clock.Func // default time.Now
}

// MaxKeys bounds [Options].Keys: each one is a decryption that an unsigned
// message can ask for. Replacing a key needs two, a hurried second time three.
const MaxKeys = 3

// Provider is one SAML identity provider, seen from our side. Safe for
// concurrent use.
type Provider struct {
	settings settings.Provider
	names    settings.Attributes
	entityID string // ours
	acs      string
	slo      string
	keys     atomic.Pointer[[]KeyPair] // [0] signs; never nil
	client   *http.Client
	now      clock.Func

	idp     atomic.Pointer[idp]    // nil until metadata was read once
	failure atomic.Pointer[error]  // of the last refresh; outside of mu, for whoever asks while one hangs
	pending atomic.Pointer[string] // digest of the change that waits
	panics  atomic.Int64
	skew    atomic.Int64 // nanoseconds, of the last accepted assertion

	store Store

	mu      sync.Mutex // one fetch at a time; guards what follows
	kept    kept       // of the metadata URL
	tried   time.Time
	notices []Notice        // not yet told
	told    map[string]bool // notices that were given; bounded by certificates and dates
}

// New makes a provider. What the settings hold (XML, or entity id, URL and
// certificates) is checked now, and any fault is an error.
//
// A metadata URL that Options.Store has a copy of waits for [Provider.KeepFresh].
// Otherwise it is fetched now, within 10 seconds. If that fails the provider
// is returned all the same, so that an IdP that is down cannot keep the gateway
// from starting: [Provider.Health] tells why, Begin and Verify answer
// [ErrNoMetadata], and Begin tries again.
func New(o Options) (*Provider, error) {
	names, err := withDefaults(o.Provider.Attributes, o.Provider.Preset)
	if err != nil {
		return nil, err
	}
	p := &Provider{
		settings: o.Provider, names: names,
		client: o.HTTP, store: o.Store, now: o.Now, told: map[string]bool{},
	}
	if p.now == nil {
		p.now = time.Now
	}
	id := o.Provider.ID
	if id == "" || url.PathEscape(id) != id || o.Provider.Protocol != settings.SAML {
		return nil, fmt.Errorf("saml: provider %s is not a SAML provider with an id fit for a URL", quote(id))
	}
	base, err := url.Parse(o.URL)
	if err != nil || (base.Scheme != "https" && base.Scheme != "http") || base.Host == "" ||
		(base.Path != "" && base.Path != "/") || base.RawQuery != "" || base.Fragment != "" || base.User != nil {
		return nil, fmt.Errorf("saml: %s is not an origin", quote(o.URL))
	}
	origin := base.Scheme + "://" + base.Host
	p.entityID = origin + "/saml/" + id + "/metadata"
	p.acs = origin + "/saml/" + id + "/acs"
	p.slo = origin + "/saml/" + id + "/slo"
	if err := p.SetKeys(o.Keys); err != nil {
		return nil, err
	}
	if o.Provider.SAML.MetadataURL == "" {
		found, err := fromSettings(o.Provider.SAML, p.now())
		if err != nil {
			return nil, err
		}
		p.idp.Store(found)
		return p, nil
	}
	if p.client == nil {
		return nil, errors.New("saml: a metadata URL needs an HTTP client")
	}
	if err := p.Reload(context.Background()); err != nil {
		return nil, err
	}
	if !p.kept.known() {
		_ = p.Refresh(context.Background()) // kept for Health
	}
	return p, nil
}

// SetKeys replaces the keys, while sign-ins are under way: the first signs from now
// on, all decrypt and are in the metadata. An error changes nothing.
func (p *Provider) SetKeys(keys []KeyPair) error {
	if err := checkKeys(keys); err != nil {
		return err
	}
	keys = slices.Clone(keys)
	p.keys.Store(&keys)
	return nil
}

func (p *Provider) keyPairs() []KeyPair { return *p.keys.Load() }

func checkKeys(keys []KeyPair) error {
	if len(keys) == 0 || len(keys) > MaxKeys {
		return fmt.Errorf("saml: %d signing keys, 1 to %d are needed", len(keys), MaxKeys)
	}
	for _, k := range keys {
		if k.Key == nil || k.Cert == nil {
			return errors.New("saml: no signing key and certificate")
		}
		public, ok := k.Key.Public().(*rsa.PublicKey)
		if !ok || public.N.BitLen() < minRSABits {
			return fmt.Errorf("saml: signing key must be RSA of at least %d bits", minRSABits)
		}
		if !public.Equal(k.Cert.PublicKey) {
			return errors.New("saml: signing key and certificate do not belong together")
		}
	}
	return nil
}

// Info describes the provider.
func (p *Provider) Info() sso.Info {
	return sso.Info{ID: p.settings.ID, Name: p.settings.Name, Protocol: string(settings.SAML)}
}

// EntityID is our entityID towards this IdP, also the audience it must name.
func (p *Provider) EntityID() string { return p.entityID }

// ACS is the URL of our assertion consumer service.
func (p *Provider) ACS() string { return p.acs }

// SLO is the URL of our single logout service, the same for both bindings.
func (p *Provider) SLO() string { return p.slo }

// trusted is the IdP side if it may be relied on now.
func (p *Provider) trusted(now time.Time) (*idp, error) {
	i := p.idp.Load()
	if i == nil {
		return nil, fmt.Errorf("saml: provider %s: %w", p.settings.ID, ErrNoMetadata)
	}
	// Fault 10: the last good copy serves until its own validUntil, no longer.
	if !i.validUntil.IsZero() && !now.Before(i.validUntil) {
		return nil, refuse("metadata_expired", "provider %s: %w", p.settings.ID, ErrMetadataExpired)
	}
	return i, nil
}

var _ sso.Provider = (*Provider)(nil)
