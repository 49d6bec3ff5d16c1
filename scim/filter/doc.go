// Package filter reads SCIM filter expressions (RFC 7644 section 3.4.2.2) into
// a typed tree.
//
// It owns the lexer, the parser, its limits (4 KB, depth 32, 200 terms) and
// the leniency for what IdPs send. It must not know schemas, SQL or HTTP.
package filter
