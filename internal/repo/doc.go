// Package repo guards the repository itself: it has no code, only tests that read
// the other files.
//
// It owns the floors of the packages (and keeps the depguard rules of
// .golangci.yml in step with them), and the promises that no compiler checks:
// every package explains itself, files stay short, nothing names a machine or a
// registry, every threat called tested has a test, and the shipped binary is
// static. It must not test behaviour of the gateway: that belongs beside the code.
package repo
