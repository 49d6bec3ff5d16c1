// Package settings holds the live Auth record: which identity providers exist,
// whether Require SSO is on, and which SCIM connections are enabled.
//
// It owns [Live], an immutable value swapped atomically; readers take one
// snapshot per decision. Today the value comes from the config file; versions
// (draft, tested, published) join it here. It never shares a type with config.
package settings
