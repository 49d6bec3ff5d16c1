//go:build !race

package session

const defaultRounds = 2000
