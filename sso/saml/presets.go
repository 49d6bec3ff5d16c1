package saml

import (
	"errors"
	"net/url"
	"strings"

	"github.com/ssogate/ssogate/settings"
)

// Names of claims, as Entra ID and others that speak WS-Federation's language
// write them.
const (
	claims          = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"
	microsoft       = "http://schemas.microsoft.com/identity/claims/"
	entraTenant     = microsoft + "tenantid"
	entraObject     = microsoft + "objectidentifier"
	entraGroups     = "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups"
	entraGroupsLink = "http://schemas.microsoft.com/claims/groups.link"
	auth0           = "http://schemas.auth0.com/"
)

// nameIDWord in a Subject list is the NameID: how an operator takes it back where
// a preset has chosen attributes.
const nameIDWord = "NameID"

// presetNames are what the named products send when they are set up as their own
// guides say; an empty list means the usual names. Only for Entra ID is the NameID
// not the subject: there it is the user principal name, which a person loses on
// marriage and the next one of that name is given. A tenant and an object id in it
// are for ever.
func presetNames(p settings.Preset) settings.Attributes {
	switch p {
	case settings.Okta:
		return settings.Attributes{
			Email: []string{"email"}, DisplayName: []string{"displayName"},
			GivenName: []string{"firstName", "givenName"}, FamilyName: []string{"lastName", "familyName"}, Groups: []string{"groups"},
		}
	case settings.Entra:
		return settings.Attributes{
			Subject:  []string{entraTenant, entraObject},
			UserName: []string{claims + "name"},
			Email:    []string{claims + "emailaddress"}, DisplayName: []string{microsoft + "displayname"},
			GivenName: []string{claims + "givenname"}, FamilyName: []string{claims + "surname"}, Groups: []string{entraGroups},
		}
	case settings.Auth0:
		return settings.Attributes{
			Email:       []string{claims + "emailaddress", "email"},
			DisplayName: []string{claims + "name", auth0 + "name", "name"},
			GivenName:   []string{claims + "givenname", auth0 + "given_name", "given_name"},
			FamilyName:  []string{claims + "surname", auth0 + "family_name", "family_name"},
			Groups:      []string{auth0 + "groups", "http://schemas.xmlsoap.org/claims/Group", "groups"},
		}
	case settings.OneLogin:
		return settings.Attributes{
			Email: []string{"User.email", "email"}, DisplayName: []string{"User.DisplayName", "displayName"},
			GivenName: []string{"User.FirstName", "firstName"}, FamilyName: []string{"User.LastName", "lastName"},
			Groups: []string{"memberOf", "groups"},
		}
	}
	return settings.Attributes{}
}

// Names that the usual IdPs send, in order of preference, where neither operator
// nor preset says: Okta and Auth0 (plain names), Entra ID and ADFS (claim URIs),
// OneLogin (User.*), and X.500 object ids. There is none for UserName: that is
// the NameID unless the operator says otherwise.
func defaultNames() settings.Attributes {
	return settings.Attributes{
		Email:       []string{"email", "mail", "User.email", claims + "emailaddress", "urn:oid:0.9.2342.19200300.100.1.3"},
		DisplayName: []string{"displayName", microsoft + "displayname", "urn:oid:2.16.840.1.113730.3.1.241", "urn:oid:2.5.4.3"},
		GivenName:   []string{"givenName", "firstName", "User.FirstName", claims + "givenname", "urn:oid:2.5.4.42"},
		FamilyName:  []string{"familyName", "lastName", "surname", "sn", "User.LastName", claims + "surname", "urn:oid:2.5.4.4"},
		Groups:      []string{"groups", entraGroups, "http://schemas.xmlsoap.org/claims/Group"},
	}
}

// withDefaults fills the empty lists of what the operator configured: from the
// preset, else from the usual names.
func withDefaults(a settings.Attributes, preset settings.Preset) (settings.Attributes, error) {
	for _, from := range []settings.Attributes{presetNames(preset), defaultNames()} {
		fill := func(list *[]string, names []string) {
			if len(*list) == 0 {
				*list = names
			}
		}
		fill(&a.Subject, from.Subject)
		fill(&a.UserName, from.UserName)
		fill(&a.Email, from.Email)
		fill(&a.DisplayName, from.DisplayName)
		fill(&a.GivenName, from.GivenName)
		fill(&a.FamilyName, from.FamilyName)
		fill(&a.Groups, from.Groups)
	}
	if len(a.Subject) == 1 && a.Subject[0] == nameIDWord {
		a.Subject = nil
	}
	for _, name := range a.Subject {
		if name == nameIDWord {
			return a, errors.New("saml: attributes.subject: NameID stands alone or not at all")
		}
	}
	return a, nil
}

// subjectPrefix begins every subject that is made of attributes, and no NameID may
// begin with it. Were both written alike, an operator who changes from one to the
// other would hand the account of whoever had the NameID "7" to the person whose
// attribute is now "7". This way nobody's old link fits anybody, and the change is
// seen: as second_subject for provisioned members.
const subjectPrefix = "attribute:"

// maxSubject is what a directory takes (member.MaxSubject).
const maxSubject = 1024

// subject is the identifier: the NameID, or all of the configured attributes
// together. All, not the first that is there: with the second one missing a person
// would be somebody else, perhaps one who exists. The names are part of it, for the
// same reason as the prefix.
//
// object is the value of the last attribute: what a provisioning connection knows
// the person by (externalId; for Entra ID the object id).
func (p *Provider) subject(s statement) (subject, object string, err error) {
	if len(p.names.Subject) == 0 {
		return s.nameID, s.nameID, nil
	}
	var parts []string
	for _, name := range p.names.Subject {
		if object, err = s.attributes.single([]string{name}); err != nil {
			return "", "", err
		}
		if object == "" {
			return "", "", refuse("subject_missing", "the response carries no attribute %s, which identifies people", quote(name))
		}
		parts = append(parts, url.QueryEscape(name)+"="+url.QueryEscape(object))
	}
	subject = subjectPrefix + strings.Join(parts, "&")
	if len(subject) > maxSubject {
		return "", "", refuse("subject", "subject of %d bytes", len(subject))
	}
	return subject, object, nil
}
