package saml

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/ssogate/ssogate/settings"
)

const (
	fetchTimeout = 10 * time.Second
	retryAfter   = 5 * time.Second // between fetches that browsers cause
)

// Refresh fetches the metadata URL again. A copy that is good replaces the old
// one whole; anything else is an error and leaves the last good one in use
// (row S31): no certificate, expired, another entityID, unreachable. Without a
// metadata URL it does nothing. Concurrent calls wait for one another.
//
// It makes one GET through Options.HTTP, with a deadline of 10 seconds (or
// ctx's) and 1 MB of body.
func (p *Provider) Refresh(ctx context.Context) error {
	if p.settings.SAML.MetadataURL == "" {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failure = p.refresh(ctx)
	p.tried = p.now()
	return p.failure
}

func (p *Provider) refresh(ctx context.Context) error {
	raw, err := p.fetch(ctx)
	if err != nil {
		return fmt.Errorf("saml: provider %s: fetch metadata: %w", p.settings.ID, err)
	}
	found, err := parseMetadata(raw, p.now())
	if err != nil {
		return fmt.Errorf("saml: provider %s: %w", p.settings.ID, err)
	}
	// Accounts are keyed by issuer: a metadata URL that suddenly speaks for
	// another entity would hand every account to it.
	if old := p.idp.Load(); old != nil && old.entityID != found.entityID {
		return fmt.Errorf("saml: provider %s: %w: %s instead of %s", p.settings.ID, ErrEntityChanged, quote(found.entityID), quote(old.entityID))
	}
	p.idp.Store(found)
	return nil
}

func (p *Provider) fetch(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.settings.SAML.MetadataURL, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/samlmetadata+xml, application/xml, text/xml")
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxMetadata+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxMetadata {
		return nil, fmt.Errorf("more than %d bytes", maxMetadata)
	}
	return raw, nil
}

// ready is [Provider.trusted] for Begin: where no metadata was ever read it
// tries once more, at most every few seconds however many browsers ask.
func (p *Provider) ready(ctx context.Context) (*idp, error) {
	if p.idp.Load() == nil && p.due() {
		// A browser that gives up must not fail the fetch for the others.
		if err := p.Refresh(context.WithoutCancel(ctx)); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNoMetadata, err)
		}
	}
	return p.trusted(p.now())
}

func (p *Provider) due() bool {
	if !p.mu.TryLock() { // somebody is fetching: do not queue up behind a slow IdP
		return false
	}
	defer p.mu.Unlock()
	if since := p.now().Sub(p.tried); since >= 0 && since < retryAfter {
		return false
	}
	p.tried = p.now()
	return true
}

// KeepFresh refreshes the metadata every interval until ctx ends, and sooner
// after a failure. report, if not nil, is told each failure. It returns at
// once if there is no metadata URL.
func (p *Provider) KeepFresh(ctx context.Context, interval time.Duration, report func(error)) {
	if p.settings.SAML.MetadataURL == "" {
		return
	}
	wait := interval
	for {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		wait = interval
		if err := p.Refresh(ctx); err != nil && ctx.Err() == nil {
			wait = min(interval, time.Minute)
			if report != nil {
				report(err)
			}
		}
	}
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
	p.mu.Lock()
	defer p.mu.Unlock()
	h.Err = p.failure
	return h
}

// observe notes how far the IdP's clock is from ours (fault 15).
func (p *Provider) observe(issued, now time.Time) { p.skew.Store(int64(issued.Sub(now))) }
