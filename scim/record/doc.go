// Package record is what SCIM asks of a store: lists of members and teams by
// filter, and bearer tokens.
//
// It owns the contract only, below both sides: package scim consumes it (under
// the same names), store/sql fulfills it, and neither imports the other. It must
// not know HTTP or SQL.
package record
