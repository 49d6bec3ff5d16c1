package saml

import (
	"context"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/ssogate/ssogate/settings"
)

// Notice is something an operator should read. All but failures are given once:
// the same threshold again is no news.
type Notice struct {
	// Kind is a machine word: metadata_failed, metadata_aging, metadata_expired,
	// certificate_expiring, certificate_expired, name_id_transient, or the kind of an
	// audit event about changed metadata.
	Kind   string
	Detail map[string]string
	Err    error // of metadata_failed
}

// expiryWarnings are how long before a certificate's end its operator is told, the
// last one first (fault 11).
var expiryWarnings = []time.Duration{0, 24 * time.Hour, 7 * 24 * time.Hour, 30 * 24 * time.Hour}

// KeepFresh refreshes the metadata every interval (and as its cacheDuration and
// validUntil ask) until ctx ends, sooner after a failure: after a minute, then two,
// four, up to the interval. All waits are shortened by up to a quarter at random,
// so that nodes do not ask together. report, if not nil, is told each [Notice].
// Without a metadata URL it only watches certificates and validity.
func (p *Provider) KeepFresh(ctx context.Context, interval time.Duration, report func(Notice)) {
	failures := 0
	for {
		for _, n := range p.Notices() {
			if report != nil {
				report(n)
			}
		}
		wait := p.wait(interval, failures)
		if p.untried() { // what Store had may be of last week
			wait = 0
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		failures++
		if err := p.Refresh(ctx); err == nil {
			failures = 0
		} else if report != nil && ctx.Err() == nil {
			report(Notice{Kind: "metadata_failed", Err: err})
		}
	}
}

func (p *Provider) untried() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tried.IsZero() && p.settings.SAML.MetadataURL != ""
}

// wait is how long until the next refresh.
func (p *Provider) wait(interval time.Duration, failures int) time.Duration {
	const least = time.Minute // however short a cacheDuration: an IdP is no clock
	wait := interval
	if failures > 0 {
		wait = least << min(failures-1, 20)
	} else if i := p.idp.Load(); i != nil {
		if i.cacheFor > 0 {
			wait = min(wait, i.cacheFor)
		}
		if !i.validUntil.IsZero() {
			wait = min(wait, i.validUntil.Sub(p.now())/2)
		}
		wait = max(wait, least)
	}
	wait = min(wait, interval)
	return wait - rand.N(wait/4+1) //nolint:gosec // spreads load, protects nothing
}

// Notices answers what has become worth telling since it was last called.
func (p *Provider) Notices() []Notice {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.notices
	p.notices = nil
	tell := func(n Notice, key string) {
		if key = n.Kind + " " + key; !p.told[key] {
			p.told[key] = true
			out = append(out, n)
		}
	}
	i := p.idp.Load()
	if i == nil {
		return out
	}
	if i.transientOnly {
		tell(Notice{Kind: "name_id_transient"}, "")
	}
	now := p.now()
	if !i.validUntil.IsZero() {
		detail := map[string]string{"valid_until": i.validUntil.UTC().Format(time.RFC3339)}
		switch {
		case !now.Before(i.validUntil):
			tell(Notice{Kind: "metadata_expired", Detail: detail}, detail["valid_until"])
		case now.Sub(i.read) > i.validUntil.Sub(i.read)/2: // fault 10
			tell(Notice{Kind: "metadata_aging", Detail: detail}, detail["valid_until"])
		}
	}
	for _, c := range i.certs {
		if kind, threshold := expiry(c, now); kind != "" {
			tell(Notice{Kind: kind, Detail: map[string]string{
				"certificate": fingerprint(c.Raw), "not_after": c.NotAfter.UTC().Format(time.RFC3339),
			}}, fmt.Sprint(fingerprint(c.Raw), threshold))
		}
	}
	return out
}

// expiry is the threshold that a certificate has passed last.
func expiry(c *x509.Certificate, now time.Time) (kind string, threshold time.Duration) {
	for _, d := range expiryWarnings {
		if c.NotAfter.Sub(now) > d {
			continue
		}
		if d == 0 {
			return "certificate_expired", d
		}
		return "certificate_expiring", d
	}
	return "", 0
}

// Health is the state of the IdP side, for metrics, readiness and the console.
type Health struct {
	EntityID      string
	MetadataRead  time.Time     // zero: never
	MetadataUntil time.Time     // validUntil; zero: no limit
	CertExpiry    time.Time     // the last of the signing certificates to expire
	ClockSkew     time.Duration // IdP minus us, from the last accepted assertion
	Panics        int64         // recovered while reading a response
	Err           error         // why the last fetch failed; nil if it did not
	Pending       string        // digest of changed metadata that waits for approval, "" = none
	SHA1          bool          // SHA-1 signatures are accepted: to be shown as a warning
}

// Health reports the state. It makes no call.
func (p *Provider) Health() Health {
	h := Health{
		ClockSkew: time.Duration(p.skew.Load()), Panics: p.panics.Load(),
		SHA1: p.settings.Protocol == settings.SAML && p.settings.SAML.InsecureAllowSHA1,
	}
	if i := p.idp.Load(); i != nil {
		h.EntityID, h.MetadataRead, h.MetadataUntil = i.entityID, i.read, i.validUntil
		for _, c := range i.certs {
			if c.NotAfter.After(h.CertExpiry) {
				h.CertExpiry = c.NotAfter
			}
		}
	}
	if err := p.failure.Load(); err != nil {
		h.Err = *err
	}
	if digest := p.pending.Load(); digest != nil {
		h.Pending = *digest
	}
	return h
}

// observe notes how far the IdP's clock is from ours (fault 15).
func (p *Provider) observe(issued, now time.Time) { p.skew.Store(int64(issued.Sub(now))) }
