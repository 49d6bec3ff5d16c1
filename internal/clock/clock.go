package clock

import (
	"sync"
	"time"
)

// Func tells the time. time.Now is one.
type Func func() time.Time

// Manual is a clock moved by hand, for tests that open sockets (where
// testing/synctest cannot be used). Safe for concurrent use.
type Manual struct {
	mu  sync.Mutex
	off time.Duration
}

// Now is the wall clock plus what was added so far. It keeps running, so that
// deadlines of real sockets stay meaningful.
func (m *Manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Now().Add(m.off)
}

// Advance moves the clock forward (or back, when d is negative).
func (m *Manual) Advance(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.off += d
}
