package scim

import (
	"net/http"
	"strings"

	"github.com/ssogate/ssogate/scim/client"
)

// serviceProviderConfig says what this server can do (RFC 7643 section 5), no
// more: authentik switches features off when a REQUIRED part is missing, and
// clients believe the flags. documentationUri is left out rather than empty.
func (c *call) serviceProviderConfig() (reply, error) {
	supported := func(b bool) map[string]any { return map[string]any{"supported": b} }
	location := c.h.base + "/ServiceProviderConfig"
	return reply{status: http.StatusOK, location: location, body: map[string]any{
		"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"},
		"patch":   supported(true),
		"bulk": map[string]any{
			"supported": true, "maxOperations": maxBulk, "maxPayloadSize": MaxBody,
		},
		"filter":         map[string]any{"supported": true, "maxResults": maxCount},
		"changePassword": supported(false),
		"sort":           supported(true),
		"etag":           supported(true),
		// RFC 9865 section 4. A server that had index paging keeps it as the default.
		"pagination": map[string]any{
			"cursor": true, "index": true, "defaultPaginationMethod": "index",
			"defaultPageSize": defaultCount, "maxPageSize": maxCount, "cursorTimeout": int(cursorLife.Seconds()),
		},
		"authenticationSchemes": []map[string]any{{
			"type": "oauthbearertoken", "name": "Bearer token",
			"description": "Authorization: Bearer, with a token made for this connection", "primary": true,
		}, {
			"type": "oauth2", "name": "OAuth 2.0 client credentials",
			"description": "An access token from " + c.h.origin() + TokenPath + " (RFC 6749 section 4.4)",
		}},
		"meta": map[string]any{"resourceType": "ServiceProviderConfig", "location": location},
	}}, nil
}

// noFilter is RFC 7644 section 4: a filter on a discovery endpoint is refused
// with 403, so that no client believes it was applied.
func (c *call) noFilter() error {
	q, err := client.Query(c.r.URL.RawQuery, "filter")
	if err != nil {
		return err
	}
	if _, given := q["filter"]; given {
		return &fault{Status: http.StatusForbidden, Detail: "discovery endpoints cannot be filtered"}
	}
	return nil
}

func (c *call) listSchemas() (reply, error) {
	var docs []any
	for _, s := range c.h.registry.Schemas() {
		docs = append(docs, s.Document(c.h.base))
	}
	return reply{status: http.StatusOK, body: listResponse(docs, len(docs), 1)}, c.noFilter()
}

func (c *call) getSchema() (reply, error) {
	for _, s := range c.h.registry.Schemas() {
		if strings.EqualFold(s.ID, c.name) {
			return reply{status: http.StatusOK, body: s.Document(c.h.base), location: c.h.base + "/Schemas/" + s.ID}, nil
		}
	}
	return reply{}, notFound("no such schema")
}

func (c *call) listResourceTypes() (reply, error) {
	var docs []any
	for _, rt := range c.h.registry.Types() {
		docs = append(docs, rt.Document(c.h.base))
	}
	return reply{status: http.StatusOK, body: listResponse(docs, len(docs), 1)}, c.noFilter()
}

func (c *call) getResourceType() (reply, error) {
	for _, rt := range c.h.registry.Types() {
		if rt.Name == c.name {
			return reply{status: http.StatusOK, body: rt.Document(c.h.base), location: c.h.base + "/ResourceTypes/" + rt.Name}, nil
		}
	}
	return reply{}, notFound("no such resource type")
}
