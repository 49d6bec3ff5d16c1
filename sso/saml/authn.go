package saml

import (
	"slices"
	"strings"
	"time"

	"github.com/beevik/etree"
)

// authn reads an AuthnStatement. SessionNotOnOrAfter caps our session.
func (c checker) authn(el *etree.Element, s *statement) error {
	at, err := c.notAhead(attr(el, "AuthnInstant"), "AuthnInstant")
	if err != nil {
		return err
	}
	// ForceAuthn is a wish on a request that passed through the browser: only the
	// answer shows that it was granted.
	if at.Before(c.since.Add(-Skew)) {
		return refuse("authn_instant", "credentials were last asked for at %s, before this sign-in began", at.UTC().Format(time.RFC3339))
	}
	if s.authn.IsZero() || at.Before(s.authn) {
		s.authn = at
	}
	if err := c.context(el); err != nil {
		return err
	}
	if end := attr(el, "SessionNotOnOrAfter"); end != "" {
		t, err := c.notPast(end, "SessionNotOnOrAfter")
		if err != nil {
			return err
		}
		if s.sessionEnd.IsZero() || t.Before(s.sessionEnd) {
			s.sessionEnd = t
		}
	}
	if s.index == "" {
		s.index = attr(el, "SessionIndex")
	}
	if len(s.index) > maxNameID {
		return refuse("shape", "SessionIndex of %d bytes", len(s.index))
	}
	return nil
}

// context wants one of the classes that were asked for, in every statement: an IdP
// that passes over RequestedAuthnContext must not sign in with a password alone
// whom the operator wanted to see use a second factor.
func (c checker) context(statement *etree.Element) error {
	if len(c.contexts) == 0 {
		return nil
	}
	got := ""
	for _, el := range statement.ChildElements() {
		if !is(el, nsAssertion, "AuthnContext") {
			continue
		}
		for _, class := range el.ChildElements() {
			if !is(class, nsAssertion, "AuthnContextClassRef") {
				continue
			}
			value, err := text(class)
			if err != nil {
				return err
			}
			if got != "" {
				return refuse("authn_context", "two authentication contexts in one statement")
			}
			got = strings.TrimSpace(value)
		}
	}
	if !slices.Contains(c.contexts, got) {
		return refuse("authn_context", "authentication context %s is none of those required", quote(got))
	}
	return nil
}
