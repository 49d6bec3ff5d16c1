package schema

// SchemaURN and ResourceTypeURN mark discovery documents (RFC 7643 sections 6 and 7).
const (
	SchemaURN       = "urn:ietf:params:scim:schemas:core:2.0:Schema"
	ResourceTypeURN = "urn:ietf:params:scim:schemas:core:2.0:ResourceType"
)

// Document is a schema as /Schemas shows it. base is the SCIM base URL without
// a trailing slash. Entra and Google build their mappings from it, so every
// flag comes from the definition that validation uses.
func (s *Schema) Document(base string) map[string]any {
	return map[string]any{
		"schemas":     []string{SchemaURN},
		"id":          s.ID,
		"name":        s.Name,
		"description": s.Description,
		"attributes":  s.Attributes,
		"meta":        map[string]any{"resourceType": "Schema", "location": base + "/Schemas/" + s.ID},
	}
}

// Document is a resource type as /ResourceTypes shows it.
func (rt *ResourceType) Document(base string) map[string]any {
	extensions := make([]map[string]any, 0, len(rt.Extensions))
	for _, x := range rt.Extensions {
		extensions = append(extensions, map[string]any{"schema": x.ID, "required": false})
	}
	return map[string]any{
		"schemas":          []string{ResourceTypeURN},
		"id":               rt.Name,
		"name":             rt.Name,
		"endpoint":         rt.Endpoint,
		"description":      rt.Description,
		"schema":           rt.Core.ID,
		"schemaExtensions": extensions,
		"meta":             map[string]any{"resourceType": "ResourceType", "location": base + "/ResourceTypes/" + rt.Name},
	}
}
