package client

import (
	"strings"

	"github.com/ssogate/ssogate/scim/schema"
)

// PatchURN marks a PATCH request (RFC 7644 section 3.5.2).
const PatchURN = "urn:ietf:params:scim:api:messages:2.0:PatchOp"

// extension finds an extension by its URN or by one of the older or misspelled
// ones that templates still carry (T9: OneLogin's default template).
func (r reader) extension(key string) *schema.Schema {
	if x := r.rt.Extension(key); x != nil {
		return x
	}
	switch strings.ToLower(key) {
	case "urn:scim:schemas:extension:enterprise:1.0", "urn:scim:schemas:extension:enterprise:2.0",
		"urn:scim:schemas:extension:enterprise:2.0:user":
		if x := r.rt.Extension(schema.EnterpriseURN); x != nil {
			r.notes.add("T9")
			return x
		}
	}
	return nil
}

// checkSchemas is the RFC's demand in the strict profile; otherwise what is
// missing or foreign is only noted (T9: Entra lists a schema of its own in
// groups, and leaves `schemas` out of some PATCH bodies). What the body means
// never depends on it.
func checkSchemas(body map[string]any, base string, known func(string) bool, p Profile, notes *Notes) error {
	v, _ := get(body, "schemas")
	list, _ := v.([]any)
	found, foreign := false, ""
	for _, el := range list {
		urn, ok := el.(string)
		switch {
		case ok && strings.EqualFold(urn, base):
			found = true
		case !ok || !known(urn):
			foreign = urn
		}
	}
	if found && foreign == "" {
		return nil
	}
	if p == Strict {
		if !found {
			return syntax("schemas must list %s", base)
		}
		return syntax("schemas lists a schema this resource does not have")
	}
	notes.add("T9")
	return nil
}

// Message checks the `schemas` of a request that is no resource (a search or a
// bulk request): demanded by the strict profile, otherwise only noted.
func Message(body map[string]any, urn string, p Profile, notes *Notes) error {
	return checkSchemas(body, urn, func(string) bool { return false }, p, notes)
}
