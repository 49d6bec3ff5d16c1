// Command testrun runs go test and says at the end what a long run hides: which
// tests were skipped because a real server is missing, how long each part took,
// and, last, go test's own line for every package.
//
// It owns the printing of "make test" and the rule that with CI=true a missing
// server is a failure. It must not choose which tests run: everything after "--"
// goes to go test as it is.
package main
