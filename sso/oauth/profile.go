package oauth

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso"
)

// names are the claims that profile values come from: the operator's, or those
// of Core section 5.1. groups is not standard but what Okta, Keycloak, Entra
// and others call it.
func (p *Provider) names() settings.Attributes {
	a := p.cfg.Attributes
	usual := func(list *[]string, names ...string) {
		if len(*list) == 0 {
			*list = names
		}
	}
	usual(&a.UserName, "preferred_username", "email")
	usual(&a.Email, "email")
	usual(&a.DisplayName, "name")
	usual(&a.GivenName, "given_name")
	usual(&a.FamilyName, "family_name")
	usual(&a.Groups, "groups")
	return a
}

// lacking reports whether userinfo could add something wanted: a name to call
// the person by, an address with its verification, or groups that the operator
// asked for by name.
func (p *Provider) lacking(c claims) bool {
	n := p.names()
	absent := func(names []string) bool {
		for _, name := range names {
			if c.has(name) {
				return false
			}
		}
		return true
	}
	return absent(n.UserName) || absent(n.Email) || absent(n.DisplayName) ||
		(c.has("email") && !c.has("email_verified")) ||
		(len(p.cfg.Attributes.Groups) > 0 && absent(n.Groups))
}

// assertion maps verified claims; what identifies the person is read from the signed
// ones alone. The key is (provider, issuer, sub) and nothing
// else: an e-mail address or user name, verified or not, is a label (row O12).
func (p *Provider) assertion(signed, c claims, l sso.Login) (sso.Assertion, error) {
	sub, err := signed.text("sub")
	if err != nil {
		return sso.Assertion{}, refuse("subject", err)
	}
	c, err = p.vouched(c)
	if err != nil {
		return sso.Assertion{}, err
	}
	profile, err := p.profile(c)
	if err != nil {
		return sso.Assertion{}, refuse("claims", err)
	}
	if profile.UserName == "" {
		profile.UserName = sub
	}
	groups, err := first(p.names().Groups, c.list, func(l []string) bool { return len(l) == 0 })
	if err != nil {
		return sso.Assertion{}, refuse("groups", err)
	}
	sid, err := c.text("sid")
	if err != nil {
		return sso.Assertion{}, refuse("claims", err)
	}
	subject, err := p.subject(signed, sub)
	if err != nil {
		return sso.Assertion{}, err
	}
	issuer := p.cfg.OIDC.Issuer
	return sso.Assertion{
		Identity:     member.Identity{Provider: p.cfg.ID, Issuer: issuer, Subject: subject},
		Profile:      profile,
		Groups:       groups,
		SessionIndex: sid,
		AuthTime:     p.authTime(signed),
		SignOut:      sso.SignOut{Person: sub, Index: sid},
		// The nonce is what makes an ID token ours: one token per Login is ever
		// accepted, however often it is presented and under whatever code.
		ReplayKey:   issuer + "#" + secret.Sum(l.Start.Nonce).String(),
		ReplayUntil: l.Expires.Add(Skew),
	}, nil
}

// subjectPrefix begins every subject that is made of claims. A provider may not
// use it for a sub: an operator who changes from one to the other must never hand
// the account of whoever had the sub "7" to the person whose claim is now "7".
const subjectPrefix = "claim:"

// subject is what identifies a person: sub, or all of the claims that the operator
// named together (attributes.subject; such as tid and oid of Entra ID, whose sub
// differs from one registration to the next). All, not the first that is there:
// with one missing somebody would be somebody else.
func (p *Provider) subject(c claims, sub string) (string, error) {
	names := p.cfg.Attributes.Subject
	if len(names) == 0 || (len(names) == 1 && names[0] == "sub") {
		if strings.HasPrefix(sub, subjectPrefix) {
			return "", refuse("subject", errors.New("sub looks like one that is made of claims"))
		}
		return sub, nil
	}
	var parts []string
	for _, name := range names {
		v, err := c.text(name)
		if err != nil || v == "" {
			return "", refuse("subject_missing", fmt.Errorf("the token carries no text claim %q, which identifies people", printable(name, 60)))
		}
		parts = append(parts, url.QueryEscape(name)+"="+url.QueryEscape(v))
	}
	subject := subjectPrefix + strings.Join(parts, "&")
	if len(subject) > member.MaxSubject {
		return "", refuse("subject", errors.New("the claims that identify people are too long"))
	}
	return subject, nil
}

// checkSubjectNames refuses claims that change hands: whoever gets an old address
// or name next would be the one who had it (row O12).
func checkSubjectNames(names []string) error {
	for _, n := range names {
		switch strings.ToLower(n) {
		case "email", "preferred_username", "upn", "unique_name", "name", "nickname", "phone_number":
			return fmt.Errorf("attributes.subject: %s can pass to another person; name a claim that never does", n)
		}
	}
	return nil
}

func (p *Provider) profile(c claims) (member.Profile, error) {
	n := p.names()
	var out member.Profile
	for _, f := range []struct {
		to    *string
		names []string
	}{
		{&out.UserName, n.UserName},
		{&out.Email, n.Email},
		{&out.DisplayName, n.DisplayName},
		{&out.GivenName, n.GivenName},
		{&out.FamilyName, n.FamilyName},
	} {
		v, err := first(f.names, c.text, func(s string) bool { return s == "" })
		if err != nil {
			return member.Profile{}, err
		}
		*f.to = strings.TrimSpace(v)
	}
	if out.DisplayName == "" {
		out.DisplayName = strings.TrimSpace(out.GivenName + " " + out.FamilyName)
	}
	if out.Email != "" && !sso.PlainAddress(out.Email) {
		return member.Profile{}, errors.New("the e-mail address is not a plain one")
	}
	return out, nil
}

// first is the first of the named claims that says something.
func first[T any](names []string, read func(string) (T, error), empty func(T) bool) (T, error) {
	for _, name := range names {
		if v, err := read(name); err != nil || !empty(v) {
			return v, err
		}
	}
	var none T
	return none, nil
}

// vouched applies the provider's policy on addresses it does not vouch for (row
// O11). An application behind may take the address for an identity, so an
// unverified one must not get that far by default. It covers the claim "email",
// under whatever it is mapped to; a claim of another name that the operator maps
// is the operator's word.
func (p *Provider) vouched(c claims) (claims, error) {
	if email, _ := c.text("email"); email == "" && !c.has("email") {
		return c, nil
	}
	if c.truth("email_verified") {
		return c, nil
	}
	switch p.cfg.OIDC.UnverifiedEmail {
	case settings.InsecureTrustUnverifiedEmail:
		return c, nil
	case settings.DropUnverifiedEmail:
		return c.without("email"), nil
	case settings.RefuseUnverifiedEmail:
	}
	return nil, refuse("email_unverified", errors.New("email_verified is not true"))
}
