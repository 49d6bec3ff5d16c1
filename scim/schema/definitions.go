package schema

// Schema URNs.
const (
	UserURN       = "urn:ietf:params:scim:schemas:core:2.0:User"
	GroupURN      = "urn:ietf:params:scim:schemas:core:2.0:Group"
	EnterpriseURN = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
	MemberURN     = "urn:ssogate:params:scim:schemas:extension:member:2.0:User"
)

// commonAttributes are part of every resource but of no schema document
// (RFC 7643 section 3.1).
func commonAttributes() []*Attribute {
	return []*Attribute{
		attr("schemas", Reference, "URNs of the schemas present", multi, always, readOnly, caseExact),
		str("id", "Our identifier of the resource", always, readOnly, caseExact, unique, column("id")),
		// Not unique: it is the client's label, scoped to its connection.
		str("externalId", "The provisioning client's identifier", caseExact, column("external_id")),
		attr("meta", Complex, "Resource metadata", sub(
			str("resourceType", "Resource type", caseExact),
			attr("created", DateTime, "When the resource was created", column("created")),
			attr("lastModified", DateTime, "When the resource last changed", column("modified")),
			attr("location", Reference, "URI of the resource", refers("uri")),
			str("version", "Entity tag of the resource", caseExact),
		), readOnly),
	}
}

// userSchema is RFC 7643 section 4.1.
func userSchema() *Schema {
	return &Schema{
		ID: UserURN, Name: "User", Description: "User account",
		Attributes: []*Attribute{
			// Section 4.1.1: case-insensitive and unique. Nothing asks for an
			// e-mail address, and several clients do not send one.
			str("userName", "Name that identifies the user to the service provider", required, unique, column("user_name_folded")),
			attr("name", Complex, "Components of the user's name", sub(
				str("formatted", "Full name"),
				str("familyName", "Family name", column("family_folded")),
				str("givenName", "Given name", column("given_folded")),
				str("middleName", "Middle names"),
				str("honorificPrefix", "Honorific prefix"),
				str("honorificSuffix", "Honorific suffix"),
			)),
			str("displayName", "Name suitable for display", column("display_folded")),
			str("nickName", "Casual name"),
			attr("profileUrl", Reference, "URL of a page about the user", refers("external")),
			str("title", "Title"),
			str("userType", "Relationship to the organisation"),
			str("preferredLanguage", "Preferred language"),
			str("locale", "Default location for localisation"),
			str("timezone", "Time zone"),
			attr("active", Boolean, "Whether the identity provider wants the user to have access", column("wish")),
			str("password", "Accepted and ignored; never stored", writeOnly),
			valued(plural("emails", "E-mail addresses", String, "work", "home", "other"), "email_folded"),
			plural("phoneNumbers", "Phone numbers", String, "work", "home", "mobile", "fax", "pager", "other"),
			plural("ims", "Instant messaging addresses", String),
			plural("photos", "URLs of photos", Reference, "photo", "thumbnail"),
			addresses(),
			attr("groups", Complex, "Teams the user is in; changed through the groups", multi, sub(
				str("value", "Identifier of the group", caseExact, column("team_members.team")),
				attr("$ref", Reference, "URI of the group", refers("Group")),
				str("display", "Name of the group"),
				str("type", "direct or indirect", canonical("direct", "indirect")),
			), readOnly),
			plural("entitlements", "Entitlements", String),
			// Stored without effect: what a member may do is decided here, not
			// by a free-form label of the IdP (threats C02).
			plural("roles", "Roles at the identity provider; stored without effect", String),
			plural("x509Certificates", "Certificates of the user", Binary),
		},
	}
}

// valued sets the column of a plural attribute's values. The store keeps one
// value of several there, which package scim chooses.
func valued(a *Attribute, name string) *Attribute {
	a.Lookup("value").Column = name
	return a
}

// plural is a multi-valued attribute with the usual sub-attributes
// (RFC 7643 section 2.4).
func plural(name, description string, value Type, types ...string) *Attribute {
	v := attr("value", value, "The value")
	switch value {
	case Reference:
		v.ReferenceTypes, v.CaseExact = []string{"external"}, true
	case Binary:
		v.CaseExact = true
	}
	return attr(name, Complex, description, multi, sub(
		v,
		str("display", "Human-readable name of the value"),
		str("type", "Label of the value's function", canonical(types...)),
		attr("primary", Boolean, "Whether this is the preferred value"),
	))
}

func addresses() *Attribute {
	return attr("addresses", Complex, "Physical addresses", multi, sub(
		str("formatted", "Full address"),
		str("streetAddress", "Street, house number, PO box"),
		str("locality", "City"),
		str("region", "State or region"),
		str("postalCode", "Postal code"),
		str("country", "Country"),
		str("type", "Label of the address's function", canonical("work", "home", "other")),
		attr("primary", Boolean, "Whether this is the preferred address"),
	))
}

// groupSchema is RFC 7643 section 4.2. displayName is required there in text
// only, and unique because Entra's documentation and validator demand it.
func groupSchema() *Schema {
	return &Schema{
		ID: GroupURN, Name: "Group", Description: "Group",
		Attributes: []*Attribute{
			str("displayName", "Name of the group", required, unique, column("display_folded")),
			attr("members", Complex, "Members of the group", multi, sub(
				str("value", "Identifier of the member", immutable, caseExact, column("team_members.member")),
				attr("$ref", Reference, "URI of the member", immutable, refers("User")),
				str("type", "Kind of member", immutable, canonical("User")),
				str("display", "Name of the member", readOnly),
			)),
		},
	}
}

// enterpriseSchema is RFC 7643 section 4.3.
func enterpriseSchema() *Schema {
	return &Schema{
		ID: EnterpriseURN, Name: "EnterpriseUser", Description: "Enterprise user",
		Attributes: []*Attribute{
			str("employeeNumber", "Identifier given by the organisation"),
			str("costCenter", "Cost center"),
			str("organization", "Organisation"),
			str("division", "Division"),
			str("department", "Department"),
			attr("manager", Complex, "The user's manager", sub(
				str("value", "Identifier of the manager", caseExact),
				attr("$ref", Reference, "URI of the manager", refers("User")),
				str("displayName", "Name of the manager", readOnly),
			)),
		},
	}
}

// memberSchema is ssogate's own extension. There is no way to make an owner
// here, whatever a connection may do.
func memberSchema() *Schema {
	return &Schema{
		ID: MemberURN, Name: "Member", Description: "What ssogate knows of the member",
		Attributes: []*Attribute{
			str("role", "Role in ssogate; taken only from connections that may set it, and never owner",
				canonical("member", "manager")),
			str("state", "Whether the member may pass", readOnly,
				canonical("invited", "active", "deactivated", "suspended")),
		},
	}
}
