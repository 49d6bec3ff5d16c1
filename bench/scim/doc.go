// Package scim measures provisioning at the size that the product promises: a
// million members and a group of a hundred thousand, on SQLite and PostgreSQL,
// through the real handler over HTTP on loopback.
//
//	make scimbench
//
// It owns the measurement only, and must not be imported. In `go test` it runs
// small, so that it cannot rot.
package scim
