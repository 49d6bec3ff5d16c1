package scim

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/scim/schema"
)

// Attributes of a user that have a column of their own in member.Member; all
// others are kept in Document. The column is the truth: what is in both is
// taken from the column.
//
//	userName displayName active externalId name.givenName name.familyName
//	emails: the list is in Document, the preferred address also in Email

// userTree is the resource a PATCH works on: everything the client may write,
// in canonical spelling, without what the server derives (id, meta, groups,
// schemas, state).
func userTree(m member.Member) (map[string]any, error) {
	tree := map[string]any{}
	if len(m.Document) > 0 {
		if err := json.Unmarshal(m.Document, &tree); err != nil {
			return nil, fmt.Errorf("scim: stored document of %s: %w", m.ID, err)
		}
	}
	setText(tree, "userName", m.UserName)
	setText(tree, "externalId", m.ExternalID)
	setText(tree, "displayName", m.DisplayName)
	tree["active"] = m.Wish
	name, _ := tree["name"].(map[string]any)
	if name == nil {
		name = map[string]any{}
	}
	setText(name, "givenName", m.GivenName)
	setText(name, "familyName", m.FamilyName)
	if len(name) > 0 {
		tree["name"] = name
	}
	if _, listed := tree["emails"]; !listed && m.Email != "" {
		// A member who joined by sign-in and was adopted has no list yet.
		tree["emails"] = []any{map[string]any{"value": m.Email, "type": "work", "primary": true}}
	}
	if m.Role != "" {
		tree[schema.MemberURN] = map[string]any{"role": string(m.Role)}
	}
	return tree, nil
}

func setText(m map[string]any, key, v string) {
	if v == "" {
		delete(m, key)
		return
	}
	m[key] = v
}

// storeUser writes a validated tree back into a member. An absent `active`
// keeps what is stored, whether a PUT left it out or a PATCH removed it: a flag
// that opens the gate must not flip by omission. password is
// dropped here and exists nowhere else.
func storeUser(m *member.Member, tree map[string]any) error {
	m.UserName = text(tree["userName"])
	m.ExternalID = text(tree["externalId"])
	m.DisplayName = text(tree["displayName"])
	if active, given := tree["active"].(bool); given {
		m.Wish = active
	}
	name, _ := tree["name"].(map[string]any)
	m.GivenName, m.FamilyName = text(name["givenName"]), text(name["familyName"])
	m.Email = preferred(tree["emails"])
	if x, ok := tree[schema.MemberURN].(map[string]any); ok && text(x["role"]) != "" {
		m.Role = member.Role(text(x["role"])) // what may become of it is the Directory's decision (C04)
	}

	rest := maps.Clone(tree)
	for _, k := range []string{
		"userName", "externalId", "displayName", "active", "password",
		"id", "meta", "groups", "schemas", schema.MemberURN,
	} {
		delete(rest, k)
	}
	name = maps.Clone(name)
	delete(name, "givenName")
	delete(name, "familyName")
	delete(rest, "name")
	if len(name) > 0 {
		rest["name"] = name
	}
	m.Document = nil
	if len(rest) == 0 {
		return nil
	}
	// Keys are sorted by the encoder, so the same tree is the same bytes and a
	// change that changes nothing is seen as none.
	doc, err := json.Marshal(rest)
	if err != nil {
		return fmt.Errorf("scim: document: %w", err)
	}
	if len(doc) > maxDocument {
		return badRequest(schema.InvalidValue, "the resource is larger than 64 KiB")
	}
	m.Document = doc
	return nil
}

// maxDocument bounds what one user may hold beside his columns.
const maxDocument = 64 << 10

func text(v any) string {
	s, _ := v.(string)
	return s
}

// preferred is the address for the Email column: the first one for work, else
// the primary one, else the first. Work comes first because it is what IdPs
// match by (`emails[type eq "work"].value`), which the store answers from this
// column. A label only; it never links accounts (G6).
func preferred(emails any) string {
	list, _ := emails.([]any)
	first, primary := "", ""
	for _, el := range list {
		m, _ := el.(map[string]any)
		v := text(m["value"])
		switch {
		case v == "":
			continue
		case strings.EqualFold(text(m["type"]), "work"):
			return v
		case schema.IsPrimary(m):
			primary = v
		case first == "":
			first = v
		}
	}
	if primary != "" {
		return primary
	}
	return first
}

// userResource is the whole resource as it is answered. teams are the member's;
// nil when the projection leaves them out. Only those of the member's own
// connection are shown: a connection sees no team that it did not make.
func (h *Handler) userResource(m member.Member, teams []member.Team) (map[string]any, error) {
	tree, err := userTree(m)
	if err != nil {
		return nil, err
	}
	tree[schema.MemberURN] = map[string]any{"role": string(m.Role), "state": string(m.State())}
	h.common(tree, h.registry.User, m.ID, m.Version, m.Created, m.Modified)
	if len(teams) > 0 {
		groups := make([]any, 0, len(teams))
		for _, t := range teams {
			if t.Connection != m.Connection {
				continue
			}
			groups = append(groups, map[string]any{
				"value": string(t.ID), "$ref": h.location(h.registry.Group, t.ID), "display": t.DisplayName, "type": "direct",
			})
		}
		if len(groups) > 0 {
			tree["groups"] = groups
		}
	}
	return tree, nil
}

// common adds what every resource has (RFC 7643 section 3.1).
func (h *Handler) common(tree map[string]any, rt *schema.ResourceType, id member.ID, version int64, created, modified time.Time) {
	tree["schemas"] = rt.URNs(tree)
	tree["id"] = string(id)
	tree["meta"] = map[string]any{
		"resourceType": rt.Name,
		"created":      created.UTC().Format(time.RFC3339Nano),
		"lastModified": modified.UTC().Format(time.RFC3339Nano),
		"location":     h.location(rt, id),
		"version":      etag(version),
	}
}

func (h *Handler) location(rt *schema.ResourceType, id member.ID) string {
	return h.base + rt.Endpoint + "/" + string(id)
}
