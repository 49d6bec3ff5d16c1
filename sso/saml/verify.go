package saml

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/beevik/etree"

	"github.com/ssogate/ssogate/sso"
)

// Skew is how far the IdP's clock may be from ours, either way (row S16).
const Skew = 60 * time.Second

// replayHorizon bounds how long an assertion id is remembered, whatever the IdP
// says. Beyond it the request id protects: it lives an hour and works once.
const replayHorizon = 24 * time.Hour

// Verify is steps 3 to 7: it checks the response against exactly this Login and
// returns what the IdP vouches for, read only from verified bytes. It may be
// called from several goroutines and keeps nothing.
//
// Errors are *sso.VerifyError, except where there is no metadata to verify with.
func (r *response) Verify(_ context.Context, l sso.Login) (_ sso.Assertion, err error) {
	p := r.provider
	defer p.recovered(&err)
	now := p.now()
	if err := p.belongs(r, l, now); err != nil {
		return sso.Assertion{}, err
	}
	idp, err := p.trusted(now)
	if err != nil {
		return sso.Assertion{}, err
	}
	root, err := parse(r.raw)
	if err != nil {
		return sso.Assertion{}, err
	}
	e, err := open(root)
	if err != nil {
		return sso.Assertion{}, err
	}
	v := verifier{certs: idp.certs, allowSHA1: p.settings.SAML.InsecureAllowSHA1, now: now}
	m, err := p.message(v, e)
	if err != nil {
		return sso.Assertion{}, err
	}
	c := checker{acs: p.acs, entityID: p.entityID, issuer: idp.entityID, requestID: l.Start.RequestID, now: now}
	p.wishes(&c, l)
	if err := c.response(m); err != nil {
		return sso.Assertion{}, err
	}
	// Status first: an error Response has no assertion, and its code is what
	// the operator needs to read.
	if m.assertion == nil {
		return sso.Assertion{}, refuse("assertion_count", "no assertion")
	}
	s, err := c.assertion(m.assertion)
	if err != nil {
		return sso.Assertion{}, err
	}
	p.observe(s.issued, now)
	return p.result(s)
}

// wishes are what was asked for at the sign-in and must be in the answer.
func (p *Provider) wishes(c *checker, l sso.Login) {
	if p.settings.SAML.ForceAuthn || l.Fresh {
		c.since = l.Expires.Add(-sso.LoginLifetime)
	}
	c.contexts = p.settings.SAML.AuthnContext
}

// belongs is step 6 as far as this package can see it: the Login that the flow
// found for this RelayState must have been sent to this provider, for this
// response. Rows S12, S30.
func (p *Provider) belongs(r *response, l sso.Login, now time.Time) error {
	switch {
	case !p.settings.Active:
		return refuse("provider_disabled", "provider %s is not active", p.settings.ID)
	case l.Kind != sso.Live && l.Kind != sso.Test:
		return refuse("lane", "login of kind %s", quote(string(l.Kind)))
	case l.Provider != p.settings.ID:
		return refuse("provider", "login belongs to provider %s", quote(l.Provider))
	case l.ID == "" || l.ID != r.relayState:
		return refuse("relay_state", "RelayState does not name this login")
	case l.Start.RequestID == "":
		return refuse("in_response_to", "login was never sent to the IdP")
	case !now.Before(l.Expires):
		return refuse("login_expired", "login expired at %s", l.Expires.UTC().Format(time.RFC3339))
	case r.unsolicited:
		return refuse("unsolicited", "no InResponseTo")
	}
	return nil
}

// message is a Response of which every part was covered by a signature, except
// where signed is false: then only the assertion was.
type message struct {
	response  *etree.Element
	assertion *etree.Element // nil: none
	signed    bool           // the Response itself is signed
}

// message is steps 3 to 5. Every signature that is present must verify, at
// least one must be, and everything is read from what it covered.
func (p *Provider) message(v verifier, e *envelope) (message, error) {
	m := message{response: e.root}
	sealed := e.encrypted
	if sig := e.parts.one(respSignature); sig != nil {
		verified, err := v.verify(e.root, sig)
		if err != nil {
			return message{}, err
		}
		again, err := open(verified)
		if err != nil {
			return message{}, err
		}
		m = message{response: verified, assertion: again.assertion, signed: true}
		sealed = again.encrypted
	}
	plain := e.assertion
	if sealed != nil {
		var err error
		if plain, err = (decrypter{keys: p.keyPairs(), signed: m.signed}).assertion(sealed); err != nil {
			return message{}, err
		}
		m.assertion = plain // believed only if m.signed; see below
	}
	if plain == nil {
		return m, nil
	}
	parts, err := children(plain, assertionModel...)
	if err != nil {
		return message{}, err
	}
	sig := parts.one(asrtSignature)
	switch {
	case sig != nil:
		// Verified where it arrived, not inside the verified Response:
		// canonicalising that may have dropped prefixes this digest counts.
		if m.assertion, err = v.verify(plain, sig); err != nil {
			return message{}, err
		}
	case !m.signed:
		return message{}, refuse("signature_missing", "neither Response nor Assertion is signed")
	}
	return m, nil
}

// recovered is step 9: a panic is a refusal, never a crash and never a pass.
func (p *Provider) recovered(err *error) {
	if v := recover(); v != nil {
		p.panics.Add(1)
		*err = &sso.VerifyError{Reason: "panic", Err: fmt.Errorf("saml: panic: %v\n%s", v, debug.Stack())}
	}
}

// Reason is the machine word of a refusal, "" for any other error.
func Reason(err error) string {
	if v, ok := errors.AsType[*sso.VerifyError](err); ok {
		return v.Reason
	}
	return ""
}
