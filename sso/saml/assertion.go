package saml

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/beevik/etree"
)

// Words of the standard.
const (
	statusSuccess       = "urn:oasis:names:tc:SAML:2.0:status:Success"
	statusAuthnFailed   = "urn:oasis:names:tc:SAML:2.0:status:AuthnFailed"
	statusRequestDenied = "urn:oasis:names:tc:SAML:2.0:status:RequestDenied"
	methodBearer        = "urn:oasis:names:tc:SAML:2.0:cm:bearer" //nolint:gosec // a method's name, no credential
	formatEntity        = "urn:oasis:names:tc:SAML:2.0:nameid-format:entity"
	formatTransient     = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
	formatEncrypted     = "urn:oasis:names:tc:SAML:2.0:nameid-format:encrypted"
	formatPersistent    = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
	formatEmail         = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
)

// maxNameID is the standard's own limit for a persistent identifier (core,
// section 8.3.7), in characters. It is a database key later.
const maxNameID = 256

// checker is step 7: what a verified message must say to be for us, now.
type checker struct {
	acs, entityID, issuer, requestID string

	contexts []string  // authentication contexts of which one must have been used; empty = any
	since    time.Time // the person must have authenticated after it; zero = whenever

	now time.Time
}

// statement is what is taken from an assertion.
type statement struct {
	id                     string
	issuer                 string
	nameID                 string
	format                 string
	qualifier, spQualifier string // of the NameID
	issued                 time.Time
	until                  time.Time // last moment at which it could be presented
	index                  string
	sessionEnd             time.Time
	authn                  time.Time // the earliest AuthnInstant
	attributes             attributes
}

// response checks the outside. Destination, issuer and status are only as
// trustworthy as the Response is signed; what must be true for certain is
// checked again in the assertion.
func (c checker) response(m message) error {
	el := m.response
	parts, err := children(el, responseModel...)
	if err != nil {
		return err
	}
	if v := attr(el, "Version"); v != "2.0" {
		return refuse("version", "Response version %s", quote(v))
	}
	if err := c.destination(m); err != nil {
		return err
	}
	if err := c.answers(el, "Response"); err != nil {
		return err
	}
	if issuer := parts.one(respIssuer); issuer != nil {
		if err := c.checkIssuer(issuer); err != nil {
			return err
		}
	}
	if _, err := c.notAhead(attr(el, "IssueInstant"), "Response IssueInstant"); err != nil {
		return err
	}
	return checkStatus(parts.one(respStatus))
}

// destination is bindings section 3.5.5.2: a signed message must say where it was sent.
func (c checker) destination(m message) error {
	if d := attr(m.response, "Destination"); d != c.acs && (d != "" || m.signed) {
		return refuse("destination", "Destination %s, not %s", quote(d), c.acs)
	}
	return nil
}

// answers wants the request of this very login named (row S12).
func (c checker) answers(el *etree.Element, what string) error {
	if in := attr(el, "InResponseTo"); in != c.requestID {
		return refuse("in_response_to", "%s InResponseTo %s is not this login's request", what, quote(in))
	}
	return nil
}

// checkStatus wants Success and nothing under it (row S19).
func checkStatus(el *etree.Element) error {
	parts, err := children(el,
		slot{nsProtocol, "StatusCode", 1, 1, false},
		slot{nsProtocol, "StatusMessage", 0, 1, false},
		slot{nsProtocol, "StatusDetail", 0, 1, false})
	if err != nil {
		return err
	}
	code := parts.one(0)
	if v := attr(code, "Value"); v != statusSuccess || len(code.ChildElements()) != 0 {
		nested := ""
		for _, sub := range code.ChildElements() {
			nested = attr(sub, "Value")
		}
		message := ""
		if el := parts.one(1); el != nil {
			message = el.Text()
		}
		// Somebody pressed "cancel" there, or is not assigned to us: a page of
		// its own, for nothing is broken.
		reason := "status"
		if v != statusSuccess && (nested == statusAuthnFailed || nested == statusRequestDenied) {
			reason = "access_denied"
		}
		return refuse(reason, "the IdP answered %s %s %s", quote(v), quote(nested), quote(message))
	}
	return nil
}

// assertion checks the inside.
func (c checker) assertion(el *etree.Element) (statement, error) {
	if !is(el, nsAssertion, "Assertion") {
		return statement{}, refuse("shape", "%s is not an Assertion", quote(el.FullTag()))
	}
	parts, err := children(el, assertionModel...)
	if err != nil {
		return statement{}, err
	}
	if v := attr(el, "Version"); v != "2.0" {
		return statement{}, refuse("version", "Assertion version %s", quote(v))
	}
	s := statement{id: attr(el, "ID"), issuer: c.issuer}
	if !ncName.MatchString(s.id) {
		return statement{}, refuse("shape", "Assertion ID %s", quote(s.id))
	}
	if err := c.checkIssuer(parts.one(asrtIssuer)); err != nil {
		return statement{}, err
	}
	if s.issued, err = c.notAhead(attr(el, "IssueInstant"), "Assertion IssueInstant"); err != nil {
		return statement{}, err
	}
	if err := c.subject(parts.one(asrtSubject), &s); err != nil {
		return statement{}, err
	}
	if err := c.conditions(parts.one(asrtConditions), &s); err != nil {
		return statement{}, err
	}
	for _, authn := range parts[asrtAuthn] {
		if err := c.authn(authn, &s); err != nil {
			return statement{}, err
		}
	}
	s.attributes, err = readAttributes(parts[asrtAttributes])
	return s, err
}

// checkIssuer compares byte for byte (row S18).
func (c checker) checkIssuer(el *etree.Element) error {
	value, err := text(el)
	if err != nil {
		return err
	}
	if f := attr(el, "Format"); f != "" && f != formatEntity {
		return refuse("issuer", "issuer format %s", quote(f))
	}
	if value != c.issuer {
		return refuse("issuer", "issuer %s, not %s", quote(value), quote(c.issuer))
	}
	return nil
}

// subject takes the one NameID and wants one bearer confirmation that holds.
func (c checker) subject(el *etree.Element, s *statement) error {
	parts, err := children(el,
		slot{nsAssertion, "NameID", 1, 1, false},
		slot{nsAssertion, "SubjectConfirmation", 0, 8, false})
	if err != nil {
		return refuse("subject", "%w", err)
	}
	if err := c.nameID(parts.one(0), s); err != nil {
		return err
	}
	err = refuse("confirmation", "no bearer SubjectConfirmation")
	for _, sc := range parts[1] {
		if attr(sc, "Method") != methodBearer {
			continue // holder-of-key: nothing here could check the key
		}
		// Profiles section 4.1.4.3: at least one must hold.
		if err = c.confirm(sc, s); err == nil {
			return nil
		}
	}
	return err
}

// nameID refuses what is no stable key of one person (row S20).
func (c checker) nameID(el *etree.Element, s *statement) error {
	value, err := text(el)
	if err != nil {
		return err
	}
	s.nameID, s.format = value, attr(el, "Format")
	s.qualifier, s.spQualifier = attr(el, "NameQualifier"), attr(el, "SPNameQualifier")
	switch {
	case s.format == formatTransient:
		return refuse("name_id_transient", "transient NameID: it changes at every sign-in; choose a persistent one at the IdP")
	case s.format == formatEncrypted:
		return refuse("encrypted_id", "encrypted NameID")
	case value == "":
		return refuse("subject", "empty NameID")
	case strings.HasPrefix(value, subjectPrefix):
		return refuse("subject", "NameID %s looks like a subject made of attributes", quote(value))
	case utf8.RuneCountInString(value) > maxNameID:
		return refuse("subject", "NameID of %d characters", utf8.RuneCountInString(value))
	case strings.TrimSpace(value) != value, strings.ContainsFunc(value, unseen):
		return refuse("subject", "NameID %s has white space around it or invisible characters in it", quote(value))
	}
	// A persistent identifier is unique only within its qualifiers.
	if s.format == formatPersistent {
		if q := attr(el, "NameQualifier"); q != "" && q != c.issuer {
			return refuse("subject", "NameQualifier %s", quote(q))
		}
		if q := attr(el, "SPNameQualifier"); q != "" && q != c.entityID {
			return refuse("subject", "SPNameQualifier %s", quote(q))
		}
	}
	return nil
}

// unseen tells characters that make two identifiers look alike to a person.
func unseen(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r)
}

// confirm checks SubjectConfirmationData (profiles, section 4.1.4.3).
func (c checker) confirm(el *etree.Element, s *statement) error {
	var data *etree.Element
	for _, child := range el.ChildElements() {
		if is(child, nsAssertion, "SubjectConfirmationData") {
			if data != nil {
				return refuse("confirmation", "two SubjectConfirmationData")
			}
			data = child
		}
	}
	if data == nil {
		return refuse("confirmation", "no SubjectConfirmationData")
	}
	if err := c.recipient(data); err != nil {
		return err
	}
	if err := c.answers(data, "confirmation"); err != nil {
		return err
	}
	until, err := c.notPast(attr(data, "NotOnOrAfter"), "SubjectConfirmationData NotOnOrAfter")
	if err != nil {
		return err
	}
	s.until = until
	// The profile forbids NotBefore here; what some IdPs send is harmless once past.
	if nb := attr(data, "NotBefore"); nb != "" {
		if _, err := c.notAhead(nb, "SubjectConfirmationData NotBefore"); err != nil {
			return err
		}
	}
	return nil
}

func (c checker) recipient(data *etree.Element) error {
	if r := attr(data, "Recipient"); r != c.acs {
		return refuse("recipient", "Recipient %s, not %s", quote(r), c.acs)
	}
	return nil
}

// conditions wants every audience restriction to name us (row S10): several
// restrictions are joined by AND, the audiences within one by OR (core,
// section 2.5.1.4). A condition we do not know makes the assertion
// indeterminate (section 2.5.1.1), which is to say: refused.
func (c checker) conditions(el *etree.Element, s *statement) error {
	if nb := attr(el, "NotBefore"); nb != "" {
		if _, err := c.notAhead(nb, "Conditions NotBefore"); err != nil {
			return err
		}
	}
	if na := attr(el, "NotOnOrAfter"); na != "" {
		until, err := c.notPast(na, "Conditions NotOnOrAfter")
		if err != nil {
			return err
		}
		if until.Before(s.until) {
			s.until = until
		}
	}
	restrictions := 0
	for _, cond := range el.ChildElements() {
		switch {
		case is(cond, nsAssertion, "AudienceRestriction"):
			restrictions++
			if err := c.audience(cond); err != nil {
				return err
			}
		case is(cond, nsAssertion, "OneTimeUse"): // kept anyway, by ReplayKey
		case is(cond, nsAssertion, "ProxyRestriction"): // we issue nothing onwards
		default:
			return refuse("condition", "unknown condition %s", quote(cond.FullTag()))
		}
	}
	if restrictions == 0 {
		return refuse("audience", "no AudienceRestriction")
	}
	return nil
}

func (c checker) audience(el *etree.Element) error {
	parts, err := children(el, slot{nsAssertion, "Audience", 1, 64, false})
	if err != nil {
		return err
	}
	first := ""
	for i, a := range parts[0] {
		value, err := text(a)
		if err != nil {
			return err
		}
		if value == c.entityID {
			return nil
		}
		if i == 0 {
			first = value
		}
	}
	return refuse("audience", "audience %s, not %s", quote(first), c.entityID)
}

// notAhead reads a time that must not lie in the future.
func (c checker) notAhead(value, what string) (time.Time, error) {
	t, err := instant(value, what)
	if err != nil {
		return time.Time{}, err
	}
	if t.After(c.now.Add(Skew)) {
		return time.Time{}, refuse("time_ahead", "%s is %s ahead of this host's clock", what, t.Sub(c.now).Round(time.Second))
	}
	return t, nil
}

// notPast reads a time that must not have come yet.
func (c checker) notPast(value, what string) (time.Time, error) {
	t, err := instant(value, what)
	if err != nil {
		return time.Time{}, err
	}
	if !c.now.Before(t.Add(Skew)) {
		return time.Time{}, refuse("time_past", "%s was %s ago by this host's clock", what, c.now.Sub(t).Round(time.Second))
	}
	return t, nil
}

// instant reads xs:dateTime. Core section 1.3.3 wants UTC; a value without a
// zone is therefore UTC. A missing one is refused: every time read here is
// required, or was seen to be there.
func instant(value, what string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999"} {
		if t, err := time.Parse(layout, value); err == nil {
			return t, nil
		}
	}
	return time.Time{}, refuse("time", "%s %s", what, quote(value))
}
