//go:build !race

package scim_test

// bigGroup is the size of one membership PATCH for which a time is promised.
const bigGroup = 10_000
