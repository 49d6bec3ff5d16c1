package saml

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/member"
)

const (
	fetchTimeout = 10 * time.Second
	retryAfter   = 5 * time.Second // between fetches that browsers cause
	maxValidator = 512             // bytes of an ETag or Last-Modified that is kept
)

// Refresh asks the metadata URL again, saying which copy is had (ETag,
// Last-Modified). What is good is taken up as far as it needs no approval; what
// does need it is kept as pending, in Options.Store. Anything else is an error and
// leaves the last good copy in use (row S31): no certificate, expired, another
// entityID, unreachable. Without a metadata URL it does nothing. Concurrent calls
// wait for one another.
//
// It makes one GET through Options.HTTP, with a deadline of 10 seconds (or
// ctx's) and 1 MB of body.
func (p *Provider) Refresh(ctx context.Context) error {
	if p.settings.SAML.MetadataURL == "" {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.refresh(ctx)
	if err != nil {
		err = fmt.Errorf("saml: provider %s: %w", p.settings.ID, err)
	}
	p.failure.Store(&err)
	p.tried = p.now()
	return err
}

// Reload reads again from Options.Store what another node or a command has
// approved. It makes no call to the IdP.
func (p *Provider) Reload(ctx context.Context) error {
	if p.store == nil || p.settings.SAML.MetadataURL == "" {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reload(ctx)
}

// reload needs p.mu. What another metadata URL said is no copy of this one's, but
// its version is where the next write goes. This process goes on with what it has:
// otherwise two nodes whose configs differ would each trust its URL anew, every time.
func (p *Provider) reload(ctx context.Context) error {
	if p.store == nil {
		return nil
	}
	k, err := load(ctx, p.store, p.settings.ID)
	if err != nil {
		return err
	}
	if k.URL != p.settings.SAML.MetadataURL {
		mine := p.kept
		mine.version = k.version
		k = mine
	}
	return p.use(k)
}

// use needs p.mu.
func (p *Provider) use(k kept) error {
	if k.known() {
		i, err := k.idp()
		if err != nil {
			return err
		}
		p.idp.Store(i)
	}
	p.kept = k
	pending := ""
	if k.Pending != nil {
		pending = k.Pending.digest()
	}
	p.pending.Store(&pending)
	return nil
}

func (p *Provider) refresh(ctx context.Context) error {
	// First what other nodes and operators have decided meanwhile: a node that has
	// missed an approval, or a call to drop a key, learns of it here at the latest.
	if err := p.reload(ctx); err != nil {
		return err
	}
	got, err := p.fetch(ctx)
	if err != nil {
		return fmt.Errorf("fetch metadata: %w", err)
	}
	for range maxConflicts {
		next, events, err := p.after(got)
		if err != nil {
			return err
		}
		if p.store != nil {
			err = save(ctx, p.store, p.settings.ID, &next, events, p.now())
		}
		switch {
		case errors.Is(err, member.ErrConflict):
			if err := p.reload(ctx); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		for _, e := range events {
			p.notices = append(p.notices, Notice{Kind: e.Kind, Detail: e.Detail})
		}
		return p.use(next)
	}
	return errors.New("other nodes write at the same time again and again")
}

// after is what is kept once got has been read.
func (p *Provider) after(got fetched) (kept, []audit.Event, error) {
	now := p.now()
	if got.raw == nil { // not modified
		next := p.kept
		next.Read = now
		if !next.ValidUntil.IsZero() && !now.Before(next.ValidUntil) {
			return kept{}, nil, fmt.Errorf("%w: %s, and the IdP says it has no newer", ErrMetadataExpired, next.ValidUntil.UTC().Format(time.RFC3339))
		}
		return next, nil, nil
	}
	found, err := parseMetadata(got.raw, now)
	if err != nil {
		return kept{}, nil, err
	}
	// Accounts are keyed by issuer: a metadata URL that suddenly speaks for
	// another entity would hand every account to it.
	if old := p.idp.Load(); old != nil && old.entityID != found.entityID {
		return kept{}, nil, fmt.Errorf("%w: %s instead of %s", ErrEntityChanged, quote(found.entityID), quote(old.entityID))
	}
	next, events := p.kept.take(found, now, p.settings.SAML.AutoAccept)
	next.URL, next.ETag, next.Modified = p.settings.SAML.MetadataURL, got.etag, got.modified
	return next, events, nil
}

// fetched is an answer of the metadata URL. raw nil means not modified.
type fetched struct {
	raw            []byte
	etag, modified string
}

func (p *Provider) fetch(ctx context.Context) (fetched, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.settings.SAML.MetadataURL, nil)
	if err != nil {
		return fetched{}, err
	}
	req.Header.Set("Accept", "application/samlmetadata+xml, application/xml, text/xml")
	asked := false
	// Without them where auto_accept was switched on meanwhile: there is something to
	// accept, and "not modified" would not say what.
	if p.kept.known() && !(p.settings.SAML.AutoAccept && (p.kept.Pending != nil || p.kept.Rejected != "")) {
		for name, value := range map[string]string{"If-None-Match": p.kept.ETag, "If-Modified-Since": p.kept.Modified} {
			if value != "" {
				req.Header.Set(name, value)
				asked = true
			}
		}
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return fetched{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotModified && asked {
		return fetched{}, nil
	}
	if resp.StatusCode != http.StatusOK {
		return fetched{}, fmt.Errorf("status %d", resp.StatusCode)
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxMetadata+1))
	if err != nil {
		return fetched{}, err
	}
	if len(raw) > maxMetadata {
		return fetched{}, fmt.Errorf("more than %d bytes", maxMetadata)
	}
	got := fetched{raw: append([]byte{}, raw...)}
	if v := resp.Header.Get("Etag"); len(v) <= maxValidator {
		got.etag = v
	}
	if v := resp.Header.Get("Last-Modified"); len(v) <= maxValidator {
		got.modified = v
	}
	return got, nil
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
