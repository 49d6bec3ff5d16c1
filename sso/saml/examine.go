package saml

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/beevik/etree"

	"github.com/ssogate/ssogate/sso"
)

// certWarning is how early an expiry is worth a word.
const certWarning = 30 * 24 * time.Hour

// Examine implements sso.Examiner: what Verify asks, one question at a time and
// without stopping. Verify itself decides; what it refuses and no question here
// names becomes a check of its own. Parts that no signature covered are looked at
// too, to be reported, and nothing of them is ever believed.
func (r *response) Examine(ctx context.Context, l sso.Login) (out sso.Examination) {
	a, err := r.Verify(ctx, l)
	x := &examination{p: r.provider, verified: err == nil, now: r.provider.now()}
	defer func() {
		if v := recover(); v != nil { // as in Verify: a panic passes nothing
			r.provider.panics.Add(1)
			x.fail("answer", "the answer could not be examined to the end")
		}
		out.Checks = x.checks
		if err != nil {
			out.Checks = sso.Refused(err, x.checks)
		} else if sso.Passed(x.checks) {
			out.Assertion = a
		}
	}()
	x.look(r, l)
	if err == nil {
		x.mapped(a)
	}
	return out
}

// examination collects checks.
type examination struct {
	p        *Provider
	checks   []sso.Check
	verified bool
	now      time.Time
	c        checker
}

func (x *examination) pass(name, evidence string, args ...any) {
	x.checks = append(x.checks, sso.Check{Name: name, Verdict: sso.Pass, Evidence: fmt.Sprintf(evidence, args...)})
}

func (x *examination) warn(name, evidence string, args ...any) {
	x.checks = append(x.checks, sso.Check{Name: name, Verdict: sso.Warn, Evidence: fmt.Sprintf(evidence, args...)})
}

func (x *examination) fail(name, evidence string) {
	x.checks = append(x.checks, sso.Check{Name: name, Verdict: sso.Fail, Evidence: evidence})
}

// ask files the answer of one checker under the name it belongs to: that of its
// reason, or name where it passed.
func (x *examination) ask(name string, err error, evidence string, args ...any) bool {
	if err == nil {
		x.pass(name, evidence, args...)
		return true
	}
	if reason := Reason(err); reason != "" && reason != "shape" {
		name = sso.CheckOf(reason)
	}
	if v, ok := errors.AsType[*sso.VerifyError](err); ok && v.Err != nil {
		err = v.Err
	}
	x.fail(name, err.Error())
	return false
}

func (x *examination) look(r *response, l sso.Login) {
	p := x.p
	x.ask("in_response_to", p.belongs(r, l, x.now), "the answer belongs to this sign-in")
	idp, err := p.trusted(x.now)
	if errors.Is(err, ErrNoMetadata) {
		x.fail("metadata", err.Error())
		return
	}
	if !x.ask("metadata", err, "entityID %s", quote(p.entityOf())) {
		return
	}
	x.c = checker{acs: p.acs, entityID: p.entityID, issuer: idp.entityID, requestID: l.Start.RequestID, now: x.now}
	p.wishes(&x.c, l)
	root, err := parse(r.raw)
	if err != nil {
		return // Receive has parsed it; Verify says the rest
	}
	e, err := open(root)
	if err != nil {
		return
	}
	m := x.signatures(verifier{certs: idp.certs, allowSHA1: p.settings.SAML.InsecureAllowSHA1, now: x.now}, e)
	x.outside(m)
	if m.assertion != nil {
		x.inside(m.assertion)
	}
}

// entityOf is the IdP's entityID, "" before its metadata was read.
func (p *Provider) entityOf() string {
	if i := p.idp.Load(); i != nil {
		return i.entityID
	}
	return ""
}

// signatures looks at encryption and at each signature. It answers the message as it
// was verified, or as it arrived where it could not be.
func (x *examination) signatures(v verifier, e *envelope) message {
	if m, err := x.p.message(v, e); err == nil {
		x.signed(v, e, m)
		return m
	}
	m := message{response: e.root, assertion: e.assertion}
	found := false
	if sig := e.parts.one(respSignature); sig != nil {
		found = true
		if verified, err := v.verify(e.root, sig); x.ask("signature", err, "Response: %s", method(sig)) {
			m.response, m.signed = verified, true
		}
	}
	if e.encrypted != nil {
		// What it takes to open it says Verify: a second look at ciphertext is a second
		// question to an oracle (row S23).
		return m
	}
	if e.assertion == nil {
		return m
	}
	parts, err := children(e.assertion, assertionModel...)
	if err != nil {
		return m
	}
	if sig := parts.one(asrtSignature); sig != nil {
		found = true
		_, err := v.verify(e.assertion, sig)
		x.ask("signature", err, "Assertion: %s", method(sig))
	}
	if !found {
		x.fail("signature", "neither Response nor Assertion is signed")
	}
	return m
}

// signed reports what was verified, and with which certificate.
func (x *examination) signed(v verifier, e *envelope, m message) {
	sig := e.parts.one(respSignature)
	what := "Response"
	if sig == nil && e.assertion != nil {
		if parts, err := children(e.assertion, assertionModel...); err == nil {
			sig, what = parts.one(asrtSignature), "Assertion"
		}
	}
	if sig == nil {
		if m.assertion != nil {
			x.pass("signature", "the encrypted Assertion is signed")
		}
	} else {
		x.pass("signature", "%s is signed with %s", what, method(sig))
		x.certificate(v, sig)
	}
	if e.encrypted != nil {
		x.pass("encryption", "the Assertion is encrypted to us")
	}
}

func method(sig *etree.Element) string {
	el := sig.FindElement("./SignedInfo/SignatureMethod")
	if el == nil {
		return "no algorithm"
	}
	name := attr(el, "Algorithm")
	if _, short, ok := strings.Cut(name, "#"); ok {
		name = short
	}
	return quote(name)
}

// certificate reports the one that made a verified signature.
func (x *examination) certificate(v verifier, sig *etree.Element) {
	for _, cert := range v.candidates(sig) {
		if _, err := v.try(sig.Parent(), sig, cert); err == nil {
			x.checks = append(x.checks, certificateCheck(cert, x.now))
			return
		}
	}
}

// certificateCheck is how long a certificate serves.
func certificateCheck(cert *x509.Certificate, now time.Time) sso.Check {
	sum := sha256.Sum256(cert.Raw)
	left := cert.NotAfter.Sub(now)
	c := sso.Check{Name: "certificate", Verdict: sso.Pass, Evidence: fmt.Sprintf("SHA-256 %s, valid until %s (%d days)",
		hex.EncodeToString(sum[:]), cert.NotAfter.UTC().Format(time.DateOnly), int(left.Hours()/24))}
	switch {
	case left < 0 || now.Before(cert.NotBefore):
		c.Verdict = sso.Fail
		c.Evidence += fmt.Sprintf("; it is valid from %s", cert.NotBefore.UTC().Format(time.DateOnly))
	case left < certWarning:
		c.Verdict = sso.Warn
	}
	return c
}

// outside asks what checker.response asks.
func (x *examination) outside(m message) {
	parts, err := children(m.response, responseModel...)
	if err != nil {
		return
	}
	if d := attr(m.response, "Destination"); d == "" {
		x.ask("destination", x.c.destination(m), "not named, as an unsigned Response may")
	} else {
		x.ask("destination", x.c.destination(m), "%s", quote(d))
	}
	x.ask("in_response_to", x.c.answers(m.response, "Response"), "Response answers this request")
	if issuer := parts.one(respIssuer); issuer != nil {
		x.ask("issuer", x.c.checkIssuer(issuer), "Response: %s", quote(x.c.issuer))
	}
	_, err = x.c.notAhead(attr(m.response, "IssueInstant"), "Response IssueInstant")
	x.ask("times", err, "Response issued %s", quote(attr(m.response, "IssueInstant")))
	x.ask("status", checkStatus(parts.one(respStatus)), "Success")
}

// inside asks what checker.assertion asks.
func (x *examination) inside(el *etree.Element) {
	parts, err := children(el, assertionModel...)
	if err != nil {
		return
	}
	x.ask("issuer", x.c.checkIssuer(parts.one(asrtIssuer)), "Assertion: %s", quote(x.c.issuer))
	issued, err := x.c.notAhead(attr(el, "IssueInstant"), "Assertion IssueInstant")
	if x.ask("times", err, "Assertion issued %s", quote(attr(el, "IssueInstant"))) {
		x.clock(issued)
	} else if t, err := instant(attr(el, "IssueInstant"), ""); err == nil {
		x.clock(t)
	}
	x.subjectOf(parts.one(asrtSubject))
	x.conditionsOf(parts.one(asrtConditions))
	for _, authn := range parts[asrtAuthn] {
		if err := x.c.authn(authn, &statement{}); err != nil {
			x.ask("times", err, "")
		}
	}
	found, err := readAttributes(parts[asrtAttributes])
	if !x.ask("attributes", err, "the response carried: %s", carried(found)) {
		return
	}
	x.wanted(found)
}

// clock tells how far apart the clocks are. Of itself it refuses nothing: the times
// in the answer do.
func (x *examination) clock(issued time.Time) {
	diff := issued.Sub(x.now).Round(time.Second)
	if diff.Abs() > Skew/2 {
		x.warn("clock", "the identity provider's clock differs from this host's by %d s", int(diff.Seconds()))
		return
	}
	x.pass("clock", "the clocks differ by %d s", int(diff.Seconds()))
}

func (x *examination) subjectOf(el *etree.Element) {
	parts, err := children(el,
		slot{nsAssertion, "NameID", 1, 1, false},
		slot{nsAssertion, "SubjectConfirmation", 0, 8, false})
	if err != nil {
		x.ask("name_id", err, "")
		return
	}
	id := parts.one(0)
	var s statement
	err = x.c.nameID(id, &s)
	switch {
	case err != nil:
		x.ask("name_id", err, "")
	case s.format == formatEmail:
		x.warn("name_id", "%s: an e-mail address; a person whose address changes becomes somebody else", quote(s.nameID))
	default:
		x.pass("name_id", "%s, format %s", quote(s.nameID), quote(s.format))
	}
	x.confirmations(parts[1])
}

// confirmations: one that holds is enough; where none does, each fault of the first
// bearer confirmation is named.
func (x *examination) confirmations(list []*etree.Element) {
	var first *etree.Element
	for _, sc := range list {
		if attr(sc, "Method") != methodBearer {
			continue
		}
		if x.c.confirm(sc, &statement{}) == nil {
			x.pass("recipient", "%s", quote(x.c.acs))
			return
		}
		if first == nil {
			first = sc
		}
	}
	if first == nil {
		x.fail("confirmation", "no bearer SubjectConfirmation")
		return
	}
	data := first.FindElement("./SubjectConfirmationData")
	if data == nil {
		x.fail("confirmation", "no SubjectConfirmationData")
		return
	}
	x.ask("recipient", x.c.recipient(data), "%s", quote(x.c.acs))
	x.ask("in_response_to", x.c.answers(data, "confirmation"), "the confirmation answers this request")
	_, err := x.c.notPast(attr(data, "NotOnOrAfter"), "SubjectConfirmationData NotOnOrAfter")
	x.ask("times", err, "the confirmation is in time")
	if err := x.c.confirm(first, &statement{}); err != nil && Reason(err) == "confirmation" {
		x.ask("confirmation", err, "")
	}
}

func (x *examination) conditionsOf(el *etree.Element) {
	if nb := attr(el, "NotBefore"); nb != "" {
		_, err := x.c.notAhead(nb, "Conditions NotBefore")
		x.ask("times", err, "valid from %s", quote(nb))
	}
	if na := attr(el, "NotOnOrAfter"); na != "" {
		_, err := x.c.notPast(na, "Conditions NotOnOrAfter")
		x.ask("times", err, "valid until %s", quote(na))
	}
	named := false
	for _, cond := range el.ChildElements() {
		if is(cond, nsAssertion, "AudienceRestriction") {
			named = true
			x.ask("audience", x.c.audience(cond), "%s", quote(x.c.entityID))
		}
	}
	if !named {
		x.fail("audience", "no AudienceRestriction")
	}
}

var _ sso.Examiner = (*response)(nil)
