package session

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Lease timing (protocols C9).
const (
	leaseTime   = 750 * time.Millisecond // from the moment of sending
	pollEvery   = 250 * time.Millisecond
	maxWallJump = 200 * time.Millisecond // a larger jump of the wall clock voids the lease; C9 allows 250, and drift needs its part
)

// bootTime is CLOCK_BOOTTIME: unlike Go's monotonic clock it goes on while the
// machine sleeps, so a resumed laptop or VM finds its lease run out.
func bootTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0 // a lease that started at 0 and is compared with 0 never counts: see held
	}
	return time.Duration(ts.Nano())
}

// lease says until when this node may trust its principal cache. The zero value
// is no lease.
type lease struct {
	mu    sync.RWMutex
	boot  func() time.Duration
	wall  func() time.Time
	until time.Duration // boot time
	drift time.Duration // wall minus boot when it was last extended
	gen   int64         // raised whenever a lease begins after a gap (C4)
}

// held reports whether the lease is live now, and its generation.
func (l *lease) held() (gen int64, ok bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.gen, l.live(l.boot())
}

// live needs mu.
func (l *lease) live(now time.Duration) bool {
	if l.until == 0 || now <= 0 || now >= l.until {
		return false
	}
	jump := time.Duration(l.wall().UnixNano()) - now - l.drift
	return jump < maxWallJump && jump > -maxWallJump
}

// void ends the lease at once; what was read under it is never a hit again (C4).
func (l *lease) void() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = 0
	l.gen++
}

// extend counts from the moment the confirming read was SENT, not from when its
// answer came: the answer may have been on its way for long.
func (l *lease) extend(sent time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.boot()
	if !l.live(now) {
		l.gen++
	}
	l.until = sent + leaseTime
	l.drift = time.Duration(l.wall().UnixNano()) - now
}
