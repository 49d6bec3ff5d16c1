// Package membertest is what tests of members share: the conformance suite
// that every member.Store passes, a small store in memory, and a barrier that
// records what waited for it.
//
// It must not be imported by anything but tests and the demo.
package membertest
