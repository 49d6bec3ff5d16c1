// Package settings holds the live Auth record: which identity providers exist,
// whether Require SSO is on, and which SCIM connections are enabled.
//
// It owns [Live], an immutable value swapped atomically, of which readers take one
// snapshot per decision, and the part of it that is changed while ssogate runs: a
// [Manager] keeps that as numbered versions, which [Merge] joins with what the config
// file fixes. It never shares a type with config, and reaches sessions only through
// rows of the revocation log.
//
//	draft -> published -> superseded
//
// A test counts for the [Digest] of a provider. What Require SSO asks of a change is
// in decision 043.
package settings
