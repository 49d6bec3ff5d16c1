//go:build race

package scim_test

// bigGroup is smaller under the race detector, which makes SQLite (Go code)
// some twenty times slower.
const bigGroup = 1000
