//go:build race

package session

// The race detector makes a round ten times as long and finds nothing in it: one
// goroutine at a time runs. It checks here that the model is whole.
const defaultRounds = 40
