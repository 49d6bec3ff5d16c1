// Package schema defines the SCIM resource types and their attributes
// (RFC 7643). One definition drives validation of what clients send,
// evaluation of filters, projection of answers and the discovery documents,
// so that what /Schemas says and what the server does cannot drift apart.
//
// It owns: User, Group, the enterprise extension and ssogate's member
// extension; canonical trees (map[string]any with the schema's spelling of
// every name). It must not know members, HTTP or what particular IdPs send:
// tolerance is scim/client's, before a value comes here.
package schema
