// Package scim is the SCIM 2.0 service provider (RFC 7643, RFC 7644): what the
// identity provider's provisioning client talks to.
//
// It owns: routes under /api/0/organizations/{org}/scim/v2/, bearer tokens,
// error bodies, paging, and the mapping between resources and members. Below
// it: scim/schema (attribute definitions), scim/filter (parser), scim/patch
// (operations to a change), scim/client (tolerance for what IdPs really send).
//
// It must not import sso or proxy, and reaches sessions only through
// member.Directory, whose success means the cut-off is true everywhere.
package scim
