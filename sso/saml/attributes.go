package saml

import (
	"strings"

	"github.com/beevik/etree"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/sso"
)

// Limits of what is taken over from attributes. Everything taken is kept with
// the pending sign-in, which has 16 KiB.
const (
	maxAttributes = 512
	maxValue      = 512     // bytes of a profile value
	maxGroups     = 4 << 10 // bytes of all groups together
)

// attribute is one saml:Attribute by Name. FriendlyName is not read at all: the
// standard calls it a label, and IdPs let users choose some (row S21).
type attribute struct {
	values []string
	opaque bool // a value holds elements; nobody may take it for text
}

type attributes map[string]attribute

// readAttributes collects the statements; values of a Name that comes twice are
// joined, so that the second cannot hide behind the first.
func readAttributes(statements []*etree.Element) (attributes, error) {
	found := attributes{}
	count := 0
	for _, st := range statements {
		parts, err := children(st, slot{nsAssertion, "Attribute", 0, maxAttributes, false})
		if err != nil {
			return nil, err
		}
		for _, el := range parts[0] {
			if count++; count > maxAttributes {
				return nil, refuse("attributes", "more than %d attributes", maxAttributes)
			}
			name := attr(el, "Name")
			a := found[name]
			for _, v := range el.ChildElements() {
				if !is(v, nsAssertion, "AttributeValue") {
					return nil, refuse("attributes", "%s in an Attribute", quote(v.Tag))
				}
				value, err := text(v)
				if err != nil {
					a.opaque = true // such as eduPersonTargetedID; refused only if somebody asks for it
					continue
				}
				a.values = append(a.values, strings.TrimSpace(value))
			}
			found[name] = a
		}
	}
	return found, nil
}

// lookup finds the first of the names that is present with a value.
func (a attributes) lookup(names []string) (string, attribute) {
	for _, n := range names {
		if at, ok := a[n]; ok && (at.opaque || strings.Join(at.values, "") != "") {
			return n, at
		}
	}
	return "", attribute{}
}

// single is a value that others may act on (user name, e-mail): two different
// ones are refused rather than chosen between (row S21).
func (a attributes) single(names []string) (string, error) {
	name, at := a.lookup(names)
	if name == "" {
		return "", nil
	}
	if at.opaque {
		return "", refuse("attributes", "attribute %s is not text", quote(name))
	}
	for _, v := range at.values {
		if v != at.values[0] {
			return "", refuse("attributes", "attribute %s has %d values", quote(name), len(at.values))
		}
	}
	v := at.values[0]
	if len(v) > maxValue || strings.ContainsFunc(v, unseen) {
		return "", refuse("attributes", "attribute %s is too long or has invisible characters", quote(name))
	}
	return v, nil
}

// label is a value for people to read: the first, shortened to fit, white space
// folded, invisible characters dropped. LDAP often gives several cn.
func (a attributes) label(names []string) string {
	_, at := a.lookup(names)
	if at.opaque || len(at.values) == 0 {
		return ""
	}
	v := strings.Map(func(r rune) rune {
		if unseen(r) {
			return ' '
		}
		return r
	}, at.values[0])
	v = strings.Join(strings.Fields(v), " ")
	if len(v) > maxValue {
		v = strings.ToValidUTF8(v[:maxValue], "")
	}
	return v
}

// groups are taken whole or not at all: a list cut off at some length would
// grant an arbitrary part of what was meant. missing says why none are taken where
// there are some.
func (a attributes) groups(names []string) (groups []string, missing string) {
	if link, ok := a[entraGroupsLink]; ok && (link.opaque || len(link.values) > 0) {
		// Entra ID sends at most 150 groups in SAML and beyond them an address to ask.
		// We do not: it is not ours to call, and needs a credential nobody gave us.
		return nil, "overage: the person is in more groups than Entra ID sends; let it send only groups assigned to the application"
	}
	_, at := a.lookup(names)
	if at.opaque {
		return nil, "the attribute is not text"
	}
	size := 0
	for _, v := range at.values {
		if v == "" {
			continue
		}
		if size += len(v); size > maxGroups {
			return nil, "more than 4 KiB of groups"
		}
		if strings.ContainsFunc(v, unseen) {
			return nil, "a group has invisible characters"
		}
		groups = append(groups, v)
	}
	return groups, ""
}

// result turns a checked assertion into what the flow wants to know.
func (p *Provider) result(s statement) (sso.Assertion, error) {
	subject, object, err := p.subject(s)
	if err != nil {
		return sso.Assertion{}, err
	}
	userName, err := s.attributes.single(p.names.UserName)
	if err != nil {
		return sso.Assertion{}, err
	}
	if userName == "" {
		userName = s.nameID
	}
	email, err := s.attributes.single(p.names.Email)
	if err != nil {
		return sso.Assertion{}, err
	}
	if email == "" && s.format == formatEmail {
		email = s.nameID
	}
	until := s.until.Add(Skew)
	if limit := p.now().Add(replayHorizon); until.After(limit) {
		until = limit
	}
	groups, missing := s.attributes.groups(p.names.Groups)
	a := sso.Assertion{
		Identity: member.Identity{Provider: p.settings.ID, Issuer: s.issuer, Subject: subject},
		Profile: member.Profile{
			UserName:    userName,
			Email:       email,
			DisplayName: s.attributes.label(p.names.DisplayName),
			GivenName:   s.attributes.label(p.names.GivenName),
			FamilyName:  s.attributes.label(p.names.FamilyName),
		},
		Groups:        groups,
		GroupsMissing: missing,
		SessionIndex:  s.index,
		SignOut:       s.signOut(),
		SessionEnd:    s.sessionEnd,
		AuthTime:      s.authn,
		// The issuer is part of the key: ids are unique per IdP only.
		ReplayKey:   "saml\x00" + s.issuer + "\x00" + s.id,
		ReplayUntil: until,
	}
	if subject != s.nameID {
		a.Known = member.Known{UserName: s.nameID, ExternalID: object}
	}
	return a, nil
}
