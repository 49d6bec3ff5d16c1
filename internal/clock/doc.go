// Package clock is the injected time source of everything that has a limit.
//
// It owns the real clock and a hand-moved one for tests. It must not know what
// is being timed.
package clock
