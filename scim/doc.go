// Package scim is the SCIM 2.0 service provider (RFC 7643, RFC 7644): what the
// identity provider's provisioning client talks to.
//
// It owns: routes under /api/0/organizations/{org}/scim/v2/, bearer tokens,
// error bodies, paging, and the mapping between resources and members. Below
// it: scim/schema (attribute definitions), scim/filter (parser), scim/patch
// (operations to a change), scim/client (tolerance for what IdPs really send).
//
// It must not import sso or proxy, and reaches sessions only through
// member.Directory, whose success means the cut-off is true everywhere: a 2xx
// for `active=false` or DELETE is written only after that.
//
// One request: recover and 30 s limit (handler.go) -> bearer token to
// connection (auth.go) -> rate limit (limit.go) -> route (route.go) -> handler
// (users.go, groups.go, discovery.go) -> reply or error (respond.go, fault.go).
//
//	/Users                 GET list (list.go), POST
//	/Users/{id}            GET, PUT, PATCH, DELETE
//	/Groups                GET list, POST
//	/Groups/{id}           GET, PUT, PATCH, DELETE
//	/Schemas[/{urn}]       GET
//	/ResourceTypes[/{id}]  GET
//	/ServiceProviderConfig GET
//	/Users/.search         POST (search.go)
//	/Groups/.search        POST
//	/Me /Bulk /.search     501
//
// Every route, also an unknown one, answers 401 without a valid token: nothing
// can be learned about what exists (C09).
package scim
