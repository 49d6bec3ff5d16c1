package saml

import (
	"context"
	"io"
	"net/http"

	"github.com/ssogate/ssogate/sso"
)

// Inspect implements sso.Inspector: what can be told without a browser. Metadata
// from a URL is read again first. It makes at most two calls, each within 10 seconds.
func (p *Provider) Inspect(ctx context.Context) []sso.Check {
	x := &examination{p: p, now: p.now()}
	if u := p.settings.SAML.MetadataURL; u != "" {
		if err := p.Refresh(ctx); err != nil {
			x.fail("metadata", err.Error())
		} else {
			x.pass("metadata", "%s was read", quote(u))
		}
	}
	idp, err := p.trusted(x.now)
	if err != nil {
		x.ask("metadata", err, "")
		return x.checks
	}
	x.pass("issuer", "%s", quote(idp.entityID))
	x.inspectCertificates(idp)
	x.endpoint(ctx, idp)
	if p.settings.SAML.InsecureAllowSHA1 {
		x.warn("algorithm", "SHA-1 signatures are accepted")
	}
	return x.checks
}

// inspectCertificates wants one that serves: an expired one beside it is normal
// during a change of certificates.
func (x *examination) inspectCertificates(idp *idp) {
	good := false
	from := len(x.checks)
	for _, cert := range idp.certs {
		c := certificateCheck(cert, x.now)
		good = good || c.Verdict != sso.Fail
		x.checks = append(x.checks, c)
	}
	for i := from; good && i < len(x.checks); i++ {
		if x.checks[i].Verdict == sso.Fail {
			x.checks[i].Verdict = sso.Warn
		}
	}
}

// endpoint asks for the single sign-on URL. What it answers to a request without a
// message does not matter; that it answers does, and what time it says it is.
func (x *examination) endpoint(ctx context.Context, idp *idp) {
	if x.p.client == nil {
		return
	}
	place := first(idp.ssoRedirect, idp.ssoPost)
	if place == nil {
		x.fail("endpoint", "the metadata names no place to sign in")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, place.String(), nil)
	if err != nil {
		x.fail("endpoint", err.Error())
		return
	}
	resp, err := x.p.client.Do(req)
	if err != nil {
		// People's browsers go there, this host need not be able to: an IdP inside of a
		// network may well answer them alone.
		x.warn("endpoint", "%s did not answer this host: %v", quote(place.Host), err)
		return
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 1<<10)
	_ = resp.Body.Close()
	x.pass("endpoint", "%s answered with status %d", quote(place.Host), resp.StatusCode)
	x.checks = append(x.checks, sso.ClockCheck(resp.Header.Get("Date"), x.now)...)
}

var _ sso.Inspector = (*Provider)(nil)
